"""The runs whose figures the README quotes: what each trains on, how, and how it is scored; figures.py makes them."""

from dataclasses import dataclass, field
from typing import Any

_PLAIN = "deterministic"
_CLOCK = 1_000_000  # steps: more than any of these runs gets to, so that the clock ends it


@dataclass(frozen=True)
class Figure:
    """One run: what it trains on, how, and how it is scored.

    Attributes:
        domain, task, model: as for `musicae train`.
        sets: names of the data sets trained and scored on (their own test split).
        settings: of domain, model and training; `noise` names sets too.
        scored_on: sets scored on where that is not all of `sets`: what an earlier leg was dealt otherwise is left out.
        scored_with: settings changed for scoring.
        reported: the scores the table shows.
        importance: draws of the importance-weighted bound.
        samples: draws from the prior that are compared with held-out examples.
        pairs: paths between held-out examples that are compared with crossfades.
        calibrated: whether the mask is shifted on validation noise after training, see calibration.py.
    """

    domain: str
    sets: tuple[str, ...]
    settings: dict[str, Any]
    reported: tuple[str, ...]
    task: str = "reconstruct"
    model: str | None = None
    scored_on: tuple[str, ...] = ()
    scored_with: dict[str, Any] = field(default_factory=dict)
    importance: int = 0
    samples: int = 0
    pairs: int = 0
    calibrated: bool = False


def _mnist(minutes: float, size: int, latent: str, model: str = "mlp", **settings: Any) -> Figure:
    chosen = {"likelihood": "gaussian", "batch_size": 512, "latent_size": size, "latent": latent, "minutes": minutes}
    reported = ("mse", "mse_mean", "pca_mse", "kl_bits", "knn_accuracy", "pca_knn_accuracy")
    return Figure("image", ("mnist",), {**chosen, "steps": _CLOCK, **settings}, reported, model=model)


def _convolutional(minutes: float, size: int, latent: str, **settings: Any) -> Figure:
    chosen = {"widths": (32, 64, 96), "batch_size": 64, "learning_rate": 2e-3, **settings}
    return _mnist(minutes, size, latent, model="conv", **chosen)


# Under a Gaussian with a small deviation the code's closeness to the prior would weigh next to nothing.
_DRAWING = {"likelihood": "bernoulli", "patch": 2, "batch_size": 128}
_TWO_NUMBERS = {"width": 512, "depth": 4}
# Few numbers have to be bent far before cells can be made of them.
_FEW_NUMBERS = {"widths": (32, 64, 128), "patch": 2, "dense_blocks": 2, "batch_size": 128}


def _pictures(name: str, task: str, minutes: float, **settings: Any) -> Figure:
    """A restorer of pictures."""
    chosen = {"minutes": minutes, "steps": _CLOCK, "learning_rate": 2e-3, "evaluate_every": 300, **settings}
    return Figure("image", (name,), chosen, ("psnr_in_db", "psnr_db", "ssim_in", "ssim"), task=task)


def _music(sets: tuple[str, ...], minutes: float, model: str | None = None, **settings: Any) -> Figure:
    chosen = {"minutes": minutes, "steps": _CLOCK, "evaluate_every": 1500, **settings}
    pairs = 0 if chosen.get("part") == "trio" else 100  # of long trios they take longer than the training
    return Figure("music", sets, chosen, _MUSIC_SCORES, model=model, samples=2000, pairs=pairs)


_NOISE = ("sound/noise_train", "noise_room")
_CLEAN = ("speech_kerstin16k", "sound/digits_train", "sound/music_train")
_EVEN = ("speech_kerstin16k", "sound/digits_train", "sound/music_third")
_FREE_SOUNDS = ("sound/free_speech", "sound/free_music")
_FREE_NOISE = (*_NOISE, "sound/free_noise")
_EVERYTHING = (*_CLEAN, *_FREE_SOUNDS, "sound/tones_train", "sound/font_music")
_EVERY_NOISE = (*_FREE_NOISE, "sound/free_bustle", "sound/free_traffic")
_LONGER = {"chunk_s": 4.0, "batch_size": 4}
_WHOLE_BAND = {"widths": (32, 64, 96, 128, 160, 192), "square_halvings": 3}
_NOTES = ("notes16k", "sound/notes_train")
"""Of these `sound/…` are made by experiments/sound_sets.py, `sound/free_…` by experiments/free_sounds.py."""
_SOUND_SCORES = {
    "denoise": ("si_sdr_in_db", "si_sdr_out_db", "si_sdr_gain_db", "si_sdr_gain_db_wiener", "log_mel_l1"),
    "reconstruct": ("log_mel_l1", "log_spectral_distance_db", "kl_bits"),
    "upscale": ("missing_band_distance_in_db", "missing_band_distance_db", "log_mel_l1"),
}


def _sound(
    task: str,
    sets: tuple[str, ...],
    minutes: float,
    model: str | None = None,
    calibrated: bool = False,
    **settings: Any,
) -> Figure:
    """Scored at 5 dB where it removes noise."""
    scored_with = {"snr_db_low": 5, "snr_db_high": 5} if task == "denoise" else {}
    chosen = {"minutes": minutes, "steps": _CLOCK, **settings}
    # Music is judged by audio.py: of two legs, each was dealt its pieces by the names of its own folders.
    speech = tuple(name for name in sets if "music" not in name and "tones" not in name)
    scored_on = speech if "start_from" in settings and task != "reconstruct" else ()
    reported, options = _SOUND_SCORES[task], {"scored_on": scored_on, "scored_with": scored_with}
    return Figure("audio", sets, chosen, reported, task=task, model=model, calibrated=calibrated, **options)


def _later_leg(
    start_from: str, minutes: float, learning_rate: float, sets: tuple[str, ...], noise: tuple[str, ...], **more: Any
) -> Figure:
    """A denoiser that sees the whole band goes on from another run."""
    settings = {"learning_rate": learning_rate, "noise": noise, "start_from": start_from, **_WHOLE_BAND, **_LONGER}
    return _sound("denoise", sets, minutes, **settings, **more)


def _mending(task: str, minutes: float) -> Figure:
    """Starts from what melodies are like."""
    settings = {"minutes": minutes, "steps": _CLOCK, "evaluate_every": 500, "start_from": "melody-2bar"}
    reported = ("accuracy_damaged", "accuracy_free_running", "onset_f1_damaged", "onset_f1")
    return Figure("music", _TUNE_BOOKS, settings, reported, task=task)


_TUNE_BOOKS = ("openewld", "openscore_lieder", "ryans_mammoth", "oneills1850", "airds_airs")
_LONG = {"bars": 16, "batch_size": 64, "latent_size": 512, "evaluate_every": 700}
# 120 pieces are soon known by heart.
_TRIO = {"part": "trio", "recombined": 0.8, "dropout": 0.2}
# Eight phrases' codes, each as in `trio-2bar`.
_SIDE_BY_SIDE = {"side_by_side": True, "latent_size": 2048, "prior": "standard", "kl_warmup": 0, "evaluate_every": 300}
# A run that goes on from another: the KL term is there from the first step.
_ON = {"kl_warmup": 0, "learning_rate": 5e-4}
_MUSIC_SCORES = (
    "accuracy_free_running",
    "onset_f1",
    "kl_bits",
    "accuracy_melody",
    "accuracy_bass",
    "accuracy_drums",
    "sample_in_scale",
    "path_jump",
)

FIGURES: dict[str, Figure] = {
    "mnist-vae-2": _mnist(5, 2, "gaussian", depth=3),
    # With two numbers what counts is how often the digits are seen: a narrow MLP sees them ten times as often as
    # convolutions would. Noise on the code, priced low, keeps what is alike together.
    "mnist-ae-2-start": _mnist(35, 2, "gaussian", **_TWO_NUMBERS, beta=0.3, learning_rate=2e-3),
    "mnist-ae-2": _mnist(
        12, 2, "gaussian", **_TWO_NUMBERS, **_ON, beta=0.2, weight_decay=0.2, start_from="mnist-ae-2-start"
    ),
    # Convolutions: with more numbers an MLP learns the training digits by heart (notebooks/LOG.md).
    "mnist-ae-8-start": _convolutional(25, 8, _PLAIN, **_FEW_NUMBERS),
    "mnist-ae-8": _convolutional(
        12, 8, _PLAIN, **{**_FEW_NUMBERS, "learning_rate": 1e-3}, start_from="mnist-ae-8-start"
    ),
    "mnist-ae-32": _convolutional(15, 32, _PLAIN),
    "mnist-ae-128-start": _convolutional(5, 128, _PLAIN),
    "mnist-ae-128": _convolutional(10, 128, _PLAIN, start_from="mnist-ae-128-start"),
    # Adversarial and conditional: what their samples are like is measured by image.py.
    "mnist-aae-8": _convolutional(8, 8, "adversarial", **_DRAWING),
    # Where bits are dear, the code leaves to the class what the class says.
    "mnist-conditional": _convolutional(8, 8, "gaussian", **_DRAWING, labels=True, beta=4.0, kl_warmup=0),
    # Black and white drawn anew from the grey of each digit: likelihoods that can be compared.
    "mnist-vae-40": Figure(
        "image",
        ("mnist",),
        {"binarised": True, "latent_size": 40, "prior": "flow", "patch": 2, "widths": (32, 64), "minutes": 10}
        | {"steps": _CLOCK, "learning_rate": 2e-3, "batch_size": 128, "evaluate_every": 1000},
        ("nll_importance_nats", "importance_draws", "elbo_nats", "kl_bits", "active_units"),
        model="conv",
        importance=500,
    ),
    # The damage of the lesson; most of it is darkness that is not dark any more.
    "mnist-denoise": _pictures("mnist", "denoise", 8, noise_mean=0.5, noise_deviation=0.5),
    "mnist-upscale-2": _pictures("mnist", "upscale", 8, scale=2),
    "mnist-upscale-4": _pictures("mnist", "upscale", 8, scale=4),
    # Enlarges photographs too (image.py).
    "satellite-upscale-2": _pictures("eurosat64", "upscale", 8, scale=2, batch_size=32),
    "satellite-upscale-3": _pictures("eurosat64", "upscale", 7, scale=3, batch_size=32),
    "satellite-upscale-4": _pictures("eurosat64", "upscale", 7, scale=4, batch_size=32),
    # Speech, spoken digits and played tunes, in noise; what experiments/audio.py judges is none of it. Then as much
    # speech as music.
    "denoise-16k-start": _sound("denoise", _CLEAN, 55, learning_rate=1.5e-3, noise=_NOISE),
    "denoise-16k-even": _sound("denoise", _EVEN, 38, learning_rate=1e-3, noise=_NOISE, start_from="denoise-16k-start"),
    # Since then sounds are joined to denser ones.
    "denoise-16k-joined": _sound("denoise", _EVEN, 14, learning_rate=8e-4, noise=_NOISE, start_from="denoise-16k-even"),
    # Produced music, more voices and more noises; examples long enough to tell what lasts from what changes.
    "denoise-16k-free": _sound(
        "denoise",
        _EVEN + _FREE_SOUNDS,
        85,
        learning_rate=1e-3,
        noise=_FREE_NOISE,
        start_from="denoise-16k-joined",
        **_LONGER,
    ),
    # As many played tunes as produced music, kinds of noise evenly and varied, and a network that sees the whole band.
    "denoise-16k-varied": _later_leg(
        "denoise-16k-free", 95, 1e-3, _CLEAN + _FREE_SOUNDS, _FREE_NOISE, evaluate_every=500
    ),
    # Steady tones are no hum.
    "denoise-16k-tones": _later_leg(
        "denoise-16k-varied", 10, 5e-4, (*_CLEAN, *_FREE_SOUNDS, "sound/tones_train"), _FREE_NOISE
    ),
    # More instruments, and vehicles, tools, steps and animals for noise.
    "denoise-16k-bustle": _later_leg("denoise-16k-tones", 62, 8e-4, _EVERYTHING, _EVERY_NOISE, evaluate_every=500),
    # Compressed magnitudes weigh half of what they did; the mask is calibrated on noises it did not learn.
    "denoise-16k": _later_leg(
        "denoise-16k-bustle", 11, 2e-4, _EVERYTHING, _EVERY_NOISE, calibrated=True, evaluate_every=500
    ),
    # Looks 32 ms ahead and no further.
    "denoise-live-16k-start": _sound("denoise", _EVEN, 12, model="causal", n_fft=512, learning_rate=2e-3, noise=_NOISE),
    "denoise-live-16k": _sound(
        "denoise",
        _CLEAN + _FREE_SOUNDS,
        45,
        model="causal",
        n_fft=512,
        learning_rate=1.5e-3,
        noise=_FREE_NOISE,
        start_from="denoise-live-16k-start",
        **_LONGER,
    ),
    # 8 kHz to 16; spoken digits were recorded at 8.
    "upscale-16k-start": _sound(
        "upscale", ("speech_kerstin16k", *_FREE_SOUNDS, "sound/music_train"), 55, learning_rate=2e-3
    ),
    # The telephone voices end at 7 kHz, and taught that voices do.
    "upscale-16k-middle": _sound(
        "upscale",
        ("speech_kerstin16k", "sound/free_music", "sound/music_train"),
        30,
        learning_rate=1e-3,
        evaluate_every=500,
        start_from="upscale-16k-start",
    ),
    # More instruments.
    "upscale-16k": _sound(
        "upscale",
        ("speech_kerstin16k", "sound/free_music", "sound/music_train", "sound/font_music"),
        62,
        learning_rate=1e-3,
        evaluate_every=500,
        start_from="upscale-16k-middle",
    ),
    # Single notes, of recorded instruments and of the sound font.
    "notes-16k-start": _sound("reconstruct", _NOTES, 40, beta=0.1, learning_rate=2e-3),
    "notes-16k-middle": _sound(
        "reconstruct", _NOTES, 27, beta=0.1, learning_rate=1.2e-3, kl_warmup=0, start_from="notes-16k-start"
    ),
    "notes-16k": _sound(
        "reconstruct", _NOTES, 45, beta=0.1, learning_rate=1.2e-3, kl_warmup=0, start_from="notes-16k-middle"
    ),
    "melody-2bar-start": _music(_TUNE_BOOKS, 40, beta=0.35),
    "melody-2bar": _music(_TUNE_BOOKS, 50, **_ON, beta=0.37, start_from="melody-2bar-start"),
    # The reference architecture: the same tunes, the same time.
    "melody-2bar-musicvae": _music(_TUNE_BOOKS, 40, model="musicvae", beta=0.2),
    # Sixteen bars start from the layers of two, and then give up bits for a rate that can be compared.
    "melody-16bar-start": _music(_TUNE_BOOKS, 36, **_LONG, beta=0.25, start_from="melody-2bar-start"),
    "melody-16bar-low": _music(_TUNE_BOOKS, 10, **_LONG, **_ON, beta=0.55, start_from="melody-16bar-start"),
    "melody-16bar-middle": _music(_TUNE_BOOKS, 33, **_LONG, **_ON, beta=0.43, start_from="melody-16bar-low"),
    "melody-16bar": _music(
        _TUNE_BOOKS, 10, **_LONG, beta=0.455, kl_warmup=0, learning_rate=2e-4, start_from="melody-16bar-middle"
    ),
    "drums-2bar-start": _music(("groove",), 27, part="drums", beta=0.2, width=512),
    "drums-2bar": _music(("groove",), 40, **_ON, part="drums", beta=0.17, width=512, start_from="drums-2bar-start"),
    # Other rates: what the bits buy.
    "melody-2bar-fewer": _music(_TUNE_BOOKS, 4, **_ON, beta=0.8, start_from="melody-2bar"),
    "drums-2bar-fewest": _music(("groove",), 8, **_ON, part="drums", beta=2.5, width=512, start_from="drums-2bar"),
    "melody-2bar-denoise": _mending("denoise", 12),
    "melody-2bar-upscale": _mending("upscale", 6),
    # Measured, not shipped: the licences of the pieces.
    "melody-2bar-chords": _music(
        ("openewld", "nottingham", "pop909"), 12, chords=True, kl_warmup=0, start_from="melody-2bar"
    ),
    "trio-2bar": _music(("trio",), 15, **_TRIO, beta=0.12, evaluate_every=300),
    "trio-16bar-start": _music(("trio",), 34, **{**_LONG, **_TRIO, **_SIDE_BY_SIDE}, beta=0.25, start_from="trio-2bar"),
    "trio-16bar": _music(
        ("trio",),
        12,
        **{**_LONG, **_TRIO, **_SIDE_BY_SIDE},
        beta=0.4,
        learning_rate=5e-4,
        start_from="trio-16bar-start",
    ),
}
