"""Recipes of pictures."""

from typing import Any

from recipe import NEXT_LEG, Recipe, split

_PLAIN = "deterministic"


def _mnist(minutes: float, size: int, latent: str, model: str = "mlp", **more: Any) -> Recipe:
    """A VAE or autoencoder of digits, with `size` numbers in the code."""
    own, settings = split({"reported": ("mse", "mse_mean", "mse_refined", "kl_bits", "knn_accuracy"), **more})
    chosen = {"likelihood": "gaussian", "batch_size": 512, "latent_size": size, "latent": latent, **settings}
    return Recipe("image", ("mnist",), minutes, chosen, model=model, **own)


def _convolutional(minutes: float, size: int, latent: str, **more: Any) -> Recipe:
    chosen = {"widths": (32, 64, 96), "batch_size": 64, "learning_rate": 2e-3, **more}
    return _mnist(minutes, size, latent, model="conv", **chosen)


def _picture_restorer(name: str, task: str, minutes: float, **settings: Any) -> Recipe:
    chosen = {"learning_rate": 2e-3, "evaluate_every": 300, **settings}
    return Recipe("image", (name,), minutes, chosen, ("psnr_in_db", "psnr_db", "ssim_in", "ssim"), task=task)


def _photograph_restorer(task: str, minutes: float, **settings: Any) -> Recipe:
    """Restores photographs: many crops, each corrupted in its own way. Scores are of one view."""
    own, more = split(settings)
    chosen = {
        "size": 96, "channels": 3, "corruption": "mixed", "widths": (64, 96, 128), "blocks": 2, "batch_size": 16,
        "learning_rate": 1e-3, "kl_warmup": 0, "evaluate_every": 500, "evaluate_examples": 512, **more,
    }  # fmt: skip
    reported = ("psnr_in_db", "psnr_db", "ssim_in", "ssim")
    return Recipe("image", ("photographs",), minutes, chosen, reported, task=task, scored_with={"ensemble": 1}, **own)


def _tokens(minutes: float, size: int, latent: str, **settings: Any) -> Recipe:
    """Digits by a vector of tokens."""
    chosen = {**_EIGHT_NUMBERS, "learning_rate": 1e-3, **settings}
    reported = ("mse", "kl_bits", "codebook_use", "codebook_perplexity", "knn_accuracy")
    return _convolutional(minutes, size, latent, reported=reported, **chosen)


def _flat_code(minutes: float, **settings: Any) -> Recipe:
    """A VAE of binarised digits with one flat code, whose likelihood is measured."""
    chosen = {
        "binarised": True, "latent_size": 40, "prior": "flow", "patch": 2, "widths": (32, 64), "batch_size": 64,
        "evaluate_every": 2000,
    }  # fmt: skip
    own, more = split(settings)
    reported = ("nll_importance_nats", "importance_draws", "elbo_nats", "kl_bits", "active_units")
    return Recipe("image", ("mnist",), minutes, {**chosen, **more}, reported, model="conv", **own)


def _grid(name: str, minutes: float, latent: str, **settings: Any) -> Recipe:
    """Pictures by a grid of codes."""
    own, more = split(settings)
    chosen = {"latent": latent, "learning_rate": 1e-3, "kl_warmup": 0, "evaluate_every": 300, **more}
    return Recipe("image", (name,), minutes, chosen, ("mse", "kl_bits", "bits_per_number"), model="spatial", **own)


def _drawn_grid(name: str, minutes: float, start_from: str, **settings: Any) -> Recipe:
    """The same, with what draws the codes."""
    chosen = {
        "second_stage": True, "flow_width": 192, "flow_blocks": 5, "learning_rate": 1e-3, "batch_size": 128,
        "evaluate_every": 300, **settings,
    }  # fmt: skip
    reported = ("mse", "kl_bits", "bits_per_number")
    return Recipe("image", (name,), minutes, chosen, reported, model="spatial", start_from=start_from)


# A Gaussian with a small deviation would leave the prior next to no weight in the loss.
_DRAWING = {"likelihood": "bernoulli", "patch": 2, "batch_size": 128}
_TWO_NUMBERS = {"width": 512, "depth": 4}
_DIGIT_GRID = {
    "likelihood": "bernoulli", "widths": (48, 96, 128), "latent_size": 3, "levels": (8, 8, 8), "batch_size": 128,
}  # fmt: skip
_SATELLITE_GRID = {"widths": (64, 96, 128), "latent_size": 16, "batch_size": 32, "turned": True}
_EIGHT_NUMBERS = {"widths": (32, 64, 128), "patch": 2, "dense_blocks": 2, "batch_size": 128}

_REFINED = 30  # steps, as `--refine 30`

# At a learning rate of 2e-3 it breaks down in the first hundred updates.
_ANY_SCALE = {"scale": "any", "widths": (48, 64, 96, 128), "blocks": 1, "learning_rate": 6e-4}
# With squared errors what is smooth, and nearly right from the start, becomes worse.
_MEAN_PSNR = {"likelihood": "student_t", "learning_rate": 6e-4}

PICTURES: dict[str, Recipe] = {
    "mnist-vae-2": _mnist(5, 2, "gaussian", depth=3),
    # With two numbers it matters most how often the digits are seen: a narrow MLP sees them ten times as often as
    # convolutions would. A little noise on the code keeps similar digits together.
    "mnist-ae-2-start": _mnist(35, 2, "gaussian", **_TWO_NUMBERS, beta=0.3, learning_rate=2e-3, is_leg=True),
    "mnist-ae-2": _mnist(
        12,
        2,
        "gaussian",
        **_TWO_NUMBERS,
        **NEXT_LEG,
        beta=0.2,
        weight_decay=0.2,
        start_from="mnist-ae-2-start",
        refined=_REFINED,
    ),
    # Convolutions: with more numbers an MLP memorises the training digits (notebooks/LOG.md).
    "mnist-ae-8-start": _convolutional(25, 8, _PLAIN, **_EIGHT_NUMBERS, is_leg=True),
    "mnist-ae-8": _convolutional(
        12, 8, _PLAIN, **{**_EIGHT_NUMBERS, "learning_rate": 1e-3}, start_from="mnist-ae-8-start", refined=_REFINED
    ),
    "mnist-ae-32": _convolutional(15, 32, _PLAIN),
    "mnist-ae-128-start": _convolutional(5, 128, _PLAIN, is_leg=True),
    "mnist-ae-128": _convolutional(10, 128, _PLAIN, start_from="mnist-ae-128-start"),
    # Discrete codes of 60 and 64 bits.
    "mnist-fsq": _tokens(25, 20, "fsq", levels=(8, 8)),
    "mnist-vq": _tokens(25, 32, "vq", entries=256, token_numbers=4),
    # A grid of tokens, which a second stage learns to draw by the label.
    "mnist-grid-start": _grid("mnist", 12, "fsq", **_DIGIT_GRID, labels=True, is_leg=True),
    "mnist-grid": _drawn_grid("mnist", 25, start_from="mnist-grid-start", guidance=1.2),
    # Continuous codes, drawn by flow matching; a satellite's photograph has no upright. β = 0.1 keeps 5,200 bits of
    # each: with fewer, squared errors leave out the texture that tells a meadow from a field.
    "satellite-grid-start": _grid("eurosat64", 25, "gaussian", **_SATELLITE_GRID, beta=0.1, labels=True, is_leg=True),
    "satellite-grid": _drawn_grid(
        "eurosat64", 50, start_from="satellite-grid-start", turned=True, batch_size=64, guidance=2.0
    ),
    # Adversarial and conditional: drawn.py measures their samples.
    "mnist-aae-8": _convolutional(8, 8, "adversarial", **_DRAWING),
    # With a high price on bits the code leaves to the label what the label says.
    "mnist-conditional": _convolutional(8, 8, "gaussian", **_DRAWING, labels=True, beta=4.0, kl_warmup=0),
    # Pixels are drawn black or white from the grey of each digit: likelihoods that can be compared.
    "mnist-vae-40": _flat_code(20, learning_rate=2e-3, importance=500),
    # The noise of the notebook on autoencoders; its mean brightens all of the picture.
    "mnist-denoise": _picture_restorer("mnist", "denoise", 8, noise_mean=0.5, noise_deviation=0.5),
    "mnist-upscale-2": _picture_restorer("mnist", "upscale", 8, scale=2),
    "mnist-upscale-4": _picture_restorer("mnist", "upscale", 8, scale=4),
    "photo-denoise-start": _photograph_restorer("denoise", 90, is_leg=True),
    # With the usual 0.1 degrees of freedom clean pictures outweigh JPEGs (notebooks/LOG.md).
    "photo-denoise-middle": _photograph_restorer(
        "denoise",
        95,
        **_MEAN_PSNR,
        degrees_of_freedom=1.0,
        start_from="photo-denoise-start",
        is_leg=True,
    ),
    "photo-denoise": _photograph_restorer(
        "denoise",
        55,
        **_MEAN_PSNR,
        degrees_of_freedom=1.0,
        start_from="photo-denoise-middle",
        shipped_as="photo-denoise",
        bits=8,
        ensemble=2,
    ),
    "photo-upscale-start": _photograph_restorer("upscale", 40, **_ANY_SCALE, is_leg=True),
    "photo-upscale-middle": _photograph_restorer(
        "upscale", 45, **{**_ANY_SCALE, **_MEAN_PSNR}, start_from="photo-upscale-start", is_leg=True
    ),
    "photo-upscale-late": _photograph_restorer(
        "upscale",
        40,
        **{**_ANY_SCALE, **_MEAN_PSNR, "learning_rate": 4e-4},
        start_from="photo-upscale-middle",
        is_leg=True,
    ),
    "photo-upscale": _photograph_restorer(
        "upscale",
        35,
        **{**_ANY_SCALE, **_MEAN_PSNR, "learning_rate": 4e-4},
        start_from="photo-upscale-late",
        shipped_as="photo-upscale",
        bits=8,
        ensemble=2,
    ),
    # image.py enlarges photographs with these.
    "satellite-upscale-2": _picture_restorer("eurosat64", "upscale", 8, scale=2, batch_size=32),
    "satellite-upscale-3": _picture_restorer("eurosat64", "upscale", 7, scale=3, batch_size=32),
    "satellite-upscale-4": _picture_restorer("eurosat64", "upscale", 7, scale=4, batch_size=32),
}
