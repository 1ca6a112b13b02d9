"""A training step never waits for the device, but once: proved without a GPU.

On the `meta` device tensors have shapes and no numbers, so whatever asks for a number raises: `.item()`, a boolean
mask, `nonzero`. A count of such requests on the CPU is a second oracle, for the whole loop.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from musicae.audio.corruption import AddNoise
from musicae.audio.noise import NOISES
from musicae.audio.noise_recordings import NoiseRecordings
from musicae.domain import Domain
from musicae.domains import DOMAINS, domain_class
from musicae.likelihoods import LIKELIHOODS
from musicae.models import MODELS, build_model
from musicae.nn.prior import PRIORS
from musicae.training.experiment import Experiment
from musicae.training.loop import TrainingRun
from musicae.training.run_log import RunLog

META = torch.device("meta")
AUDIO = {"sample_rate_hz": 8000, "n_fft": 256, "chunk_s": 0.6}
IMAGE = {"size": 8, "channels": 1}
SIZES: dict[str, dict[str, Any]] = {
    "conv": {"widths": (4, 8), "latent_size": 4},
    "spatial": {"widths": (4, 8), "latent_size": 4},
    "mlp": {"width": 16, "latent_size": 4},
    "unet": {"widths": (4, 8), "latent_size": 4},
    "causal": {"widths": (8, 12), "width": 16, "layers": 2, "latent_size": 4},
    "spectrogram": {"widths": (4, 4, 8), "latent_size": 4, "moment_size": 2},
    "steps": {"width": 32, "step_width": 16, "latent_size": 8, "dropout": 0.1},
    "restorer": {"width": 32, "step_width": 16, "latent_size": 8, "reach": 2},
    "musicvae": {"encoder_width": 16, "decoder_width": 16, "latent_size": 8, "sampling_rate": 1e-3},
    "played": {"width": 32, "step_width": 16, "latent_size": 8, "feel_size": 4, "feel_width": 8, "feel_dropout": 0.1},
    "keyboard": {"width": 32, "latent_size": 8, "prior": "flow", "prior_width": 8, "prior_blocks": 1},
    "phrases": {"width": 32, "step_width": 16, "latent_size": 8, "prior_width": 8, "prior_blocks": 1},
}
JUDGED = {"patch_discriminator": 1.0, "perceptual": 1.0}
# Domain, task, the domain's settings, model, the model's settings beside `SIZES`.
CASES: dict[str, tuple[str, str, dict[str, Any], str, dict[str, Any]]] = {
    "grey": ("image", "reconstruct", IMAGE, "conv", {}),
    "tokens": ("image", "reconstruct", IMAGE, "spatial", {"latent": "vq", "entries": 8, "token_numbers": 2}),
    "binarised": ("image", "reconstruct", {**IMAGE, "binarised": True}, "mlp", {"prior": "mixture"}),
    "levels": ("image", "reconstruct", {**IMAGE, "likelihood": "discretised_logistic"}, "mlp", {"prior": "flow"}),
    "labels": ("image", "reconstruct", {**IMAGE, "labels": True, "classes": ("a", "b")}, "conv", {}),
    "adversarial": ("image", "reconstruct", IMAGE, "mlp", {"latent": "adversarial"}),
    **{
        kind: ("image", "denoise", {**IMAGE, "channels": 3, "likelihood": "gaussian", "corruption": kind}, "unet", {})
        for kind in ("gaussian", "speckle", "salt_and_pepper", "blocks")
    },
    "each its own deviation": ("image", "denoise", {**IMAGE, "likelihood": "student_t"}, "unet", JUDGED),
    "sharper": ("image", "upscale", {**IMAGE, "likelihood": "gaussian"}, "unet", {"latent": "gaussian"}),
    "melody": ("music", "reconstruct", {}, "steps", {"prior": "flow"}),
    "played": ("music", "reconstruct", {"part": "trio", "expression": True}, "steps", {}),
    "notes and feel": ("music", "reconstruct", {"part": "trio", "expression": True}, "played", {"prior": "flow"}),
    "piano": ("music", "reconstruct", {"part": "piano", "expression": True}, "keyboard", {}),
    "flat piano": ("music", "reconstruct", {"part": "piano", "time_signature": "4/4"}, "keyboard", {"dropout": 0.1}),
    "phrases": ("music", "reconstruct", {"bars": 4}, "phrases", {}),
    "tapped": ("music", "tap", {"part": "drums", "expression": True}, "restorer", {}),
    "played by an LSTM": ("music", "reconstruct", {"part": "drums", "expression": True}, "musicvae", {}),
    "played wrong": ("music", "denoise", {"part": "drums", "expression": True}, "restorer", {}),
    "one time signature": ("music", "reconstruct", {"time_signature": "3/4"}, "steps", {}),
    "long melody": ("music", "reconstruct", {"bars": 4}, "steps", {"phrase_size": 8}),
    "drums": ("music", "reconstruct", {"part": "drums"}, "musicvae", {}),
    "chords": ("music", "reconstruct", {"part": "trio", "chords": True}, "steps", {}),
    "recombined": ("music", "reconstruct", {"part": "trio", "recombined": 0.5}, "steps", {}),
    "wrong notes": ("music", "denoise", {"part": "trio"}, "restorer", {}),
    "coarse": ("music", "upscale", {}, "restorer", {}),
    "sound": ("audio", "reconstruct", {**AUDIO, "representation": "magnitude"}, "spectrogram", {}),
    "noisy": ("audio", "denoise", {**AUDIO, "representation": "spectrum"}, "unet", {}),
    "live": ("audio", "denoise", {**AUDIO, "representation": "spectrum"}, "causal", {}),
    "dull": ("audio", "upscale", {**AUDIO, "representation": "top"}, "unet", {}),
}


def domain_of(case: str) -> Domain:
    name, _, settings, _, _ = CASES[case]
    domain_type = domain_class(name)
    return domain_type(domain_type.Config(**settings))


def stored_of(domain: Domain, count: int) -> np.ndarray:
    """Random stored examples."""
    random = np.random.default_rng(0)
    if domain.name == "audio":
        return (0.1 * random.standard_normal((count, domain.config.chunk_samples))).astype(np.float16)
    if domain.name == "image":
        rows = domain.spec.shape[1] + bool(domain.config.classes)
        pixels = random.integers(0, 256, (count, domain.spec.shape[0], rows, domain.spec.shape[2])).astype(np.uint8)
        if domain.config.classes:
            pixels[:, 0, -1, 0] = random.integers(0, 3, count)
        return pixels
    chords, numbers = [49] * domain.config.chords, [4] * domain.config.slots.are_several
    sizes = [*domain.spec.vocabulary, *(column.levels for column in domain.spec.values), *chords]
    columns = [random.integers(0, size, (count, domain.config.steps)) for size in sizes]
    columns += [np.repeat(random.integers(0, size, (count, 1)), domain.config.steps, 1) for size in numbers]
    return np.stack(columns, -1).astype(domain.config.plan.dtype)


def test_the_cases_have_every_model_likelihood_prior_and_task():
    domains = {case: domain_of(case) for case in CASES}
    assert {model for _, _, _, model, _ in CASES.values()} == set(MODELS) == set(SIZES)
    assert {domain.spec.likelihood for domain in domains.values()} == set(LIKELIHOODS)
    assert {settings.get("prior", "standard") for *_, settings in CASES.values()} == set(PRIORS)
    assert {(name, task) for name, task, *_ in CASES.values()} == {
        (name, task) for name in DOMAINS for task in domain_class(name).tasks
    }


class Generator(torch.Generator):
    """Draws on the meta device, for which torch has no generator, but accepts one of the CPU."""

    device = META


@pytest.mark.parametrize("case", CASES)
def test_a_step_asks_the_device_for_nothing(case):
    domain = domain_of(case)
    _, task, _, name, settings = CASES[case]
    model = build_model(name, domain.spec, {**SIZES[name], **settings}).to(META).train()
    stored = torch.from_numpy(stored_of(domain, 4)).to(META)
    corruption = domain.corruption(task)
    target, condition = domain.tensor(stored, Generator())
    corrupted = target if corruption is None else corruption(target, Generator())
    weights = {"beta": 0.5, "free_nats": 1.0, "sparsity": 0.1}
    loss = model(corrupted, target, **weights, generator=Generator(), condition=condition)
    loss.total.backward()
    assert corrupted.device == target.device == loss.total.device == META
    assert corrupted.shape == target.shape == (4, *domain.spec.shape)
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("families", [(), tuple(NOISES)], ids=["recorded", "recorded and made"])
def test_noise_is_mixed_in_without_asking_the_device(families):
    random = np.random.default_rng(0)
    recordings = NoiseRecordings([random.standard_normal(length).astype(np.float32) for length in (900, 9000)])
    add = AddNoise(
        sample_rate_hz=8000, n_fft=256, chunk_samples=4800, snr_db_range=(0, 10), silent_power=0.01,
        families=families, clean_share=0.1, recordings=recordings, varied=True,
    )  # fmt: skip
    clean = torch.empty(32, 2, 129, 76, device=META)
    assert add(clean, Generator()).shape == clean.shape


@pytest.mark.parametrize("family", NOISES)
def test_a_family_of_noise_is_made_without_asking_the_device(family):
    assert NOISES[family](3, 4000, Generator(), sample_rate_hz=8000).device == META


def test_a_request_for_a_number_is_noticed():
    drawn = torch.rand(3, device=META, generator=Generator())
    for ask in (
        lambda: drawn[0].item(),
        lambda: drawn.nonzero(),
        lambda: drawn[drawn > 0.5],
        lambda: bool(drawn.any()),
    ):
        with pytest.raises((RuntimeError, NotImplementedError)):
            ask()


class Requests(TorchDispatchMode):
    """Counts the operations for whose result the host would wait."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique", "_unique2", "is_nonzero")

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else ()
        is_mask = any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)
        if name in self.WAITING or is_mask:
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", CASES)
def test_the_loop_waits_for_the_device_at_most_once_a_step(case, tmp_path):
    run = run_of(case, tmp_path)
    with RunLog(tmp_path, visible=False, track=lambda numbers, step: None) as log:
        run.update(log)  # the first step also makes the optimizer's state
        with Requests() as requests:
            run.update(log)
            run.agree(0.1, is_interrupted=False)
    assert requests.found == {"_local_scalar_dense": 1}


def run_of(case: str, folder: Path, **settings: Any) -> TrainingRun:
    name, task, own, model, sizes = CASES[case]
    domain = domain_of(case)
    stored = stored_of(domain, 40)
    given = {"batch_size": 8, "precision": "no", "log_with": (), **own, **SIZES[model], **sizes, **settings}
    if name == "image":
        data: Any = stored[..., : domain.spec.shape[1], :].transpose(0, 2, 3, 1)
        given.pop("classes", None)
        data = [(row, "ab"[number % 2]) for number, row in enumerate(data)] if own.get("labels") else data
    elif name == "audio":
        data = stored.astype(np.float32)
    else:
        data = stored
    experiment = Experiment.resolve(name, task=task, data=data, model=model, settings=given)
    dataset = experiment.read()
    network = build_model(experiment.model, experiment.domain.spec, experiment.manifest.model_settings)
    return TrainingRun(experiment.domain, network, dataset, experiment.config, experiment.manifest, folder)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_a_gpu_is_waited_for_at_most_once_a_step(case, tmp_path):
    run = run_of(case, tmp_path)
    with RunLog(tmp_path, visible=False, track=lambda numbers, step: None) as log:
        run.update(log)
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with pytest.warns(UserWarning, match="synchroniz") as waits:
                run.update(log)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert len([wait for wait in waits if "synchroniz" in str(wait.message)]) == 1
