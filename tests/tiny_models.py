"""Small models: trained once a session, for tests of what is done with them, and untrained ones of every type."""

from pathlib import Path

import numpy as np
import soundfile

from musicae.domains import domain_class
from musicae.models import MODELS, build_model
from musicae.models.autoencoder import Autoencoder
from musicae.spec import Layout
from musicae.training.checkpoint import Manifest
from musicae.training.experiment import Experiment

_SHORT = {"warmup_steps": 5, "batch_size": 32, "precision": "no", "evaluate_examples": 64, "log_with": ()}
SETTINGS = {
    "music": {"steps": 250, "evaluate_every": 250, "width": 128, "step_width": 32, "embedding": 16, "unrolled": 16}
    | {"latent_size": 24, "learning_rate": 3e-3, "beta": 0.01},
    "image": {"steps": 200, "evaluate_every": 100, "width": 64, "latent_size": 4, "learning_rate": 3e-3},
    "plain": {"steps": 20, "evaluate_every": 20, "latent": "deterministic", "width": 64, "latent_size": 4},
    "audio": {"steps": 15, "evaluate_every": 15, "batch_size": 4, "widths": (4, 8), "latent_size": 8, "n_fft": 256}
    | {"sample_rate_hz": 8000, "chunk_s": 0.6, "learning_rate": 6e-3},
}
SETTINGS["common time"] = {**SETTINGS["music"], "time_signature": "4/4"}
_DOMAINS = {"plain": "image", "common time": "music"}

SIZES = {
    "conv": {"widths": [4, 6], "latent_size": 3},
    "spectrogram": {"widths": [4, 6], "latent_size": 3, "moment_size": 1},
    "spatial": {"widths": [4, 6], "latent_size": 3},
    "mlp": {"width": 8, "latent_size": 3},
    "unet": {"widths": [4, 6], "latent_size": 3},
    "causal": {"widths": [4, 6], "width": 8, "layers": 2, "latent_size": 3},
    "steps": {"width": 8, "step_width": 8, "embedding": 4, "unrolled": 4, "latent_size": 3},
    "restorer": {"width": 8, "step_width": 8, "embedding": 4, "unrolled": 4, "latent_size": 3, "reach": 2},
    "musicvae": {"encoder_width": 4, "decoder_width": 4, "latent_size": 3},
    "played": {"width": 8, "step_width": 8, "embedding": 4, "unrolled": 4, "latent_size": 3}
    | {"feel_size": 2, "feel_width": 8, "feel_layers": 1},
    "keyboard": {"width": 8, "latent_size": 3, "prior": "flow", "prior_width": 8, "prior_blocks": 1},
    "phrases": {"width": 8, "step_width": 8, "embedding": 4, "unrolled": 4, "latent_size": 3}
    | {"prior_width": 8, "prior_blocks": 1},
}
# Settings of the domain that a model needs.
_OF_DOMAIN = {"keyboard": {"part": "piano", "expression": True}, "played": {"expression": True}, "phrases": {"bars": 4}}


def untrained(name: str = "mlp", **settings) -> tuple[Autoencoder, Manifest]:
    """A small untrained model and its manifest."""
    is_music = MODELS[name].layout is Layout.STEPS
    cls = domain_class("music" if is_music else "audio" if name == "causal" else "image")
    config = cls.Config(**_OF_DOMAIN.get(name, {}))
    domain = cls(cls.configure(config, (), "reconstruct" if MODELS[name].reconstructs else "denoise"))
    sizes = {**SIZES[name], **settings}
    manifest = Manifest(
        domain=domain.name,
        domain_settings=domain.config.model_dump(mode="json"),
        task="reconstruct" if MODELS[name].reconstructs else "denoise",
        model=name,
        model_settings=sizes,
        metrics={"loss": 1.5},
    )
    return build_model(name, domain.spec, sizes), manifest


def train_tiny(name: str, folder: Path) -> Path:
    """Trains one of `SETTINGS` and returns its run folder.

    `music` learns the starter tunes, `common time` those in 4/4, `image` (a VAE) and `plain` (an autoencoder) the
    digits, and `audio` to denoise chords that are written beside the run.
    """
    domain = _DOMAINS.get(name, name)
    data: tuple[Path, ...] = ()
    if name == "audio":
        data = (write_chords(folder / "chords", count=4),)
    experiment = Experiment.resolve(
        domain,
        task="denoise" if name == "audio" else "reconstruct",
        data=data,
        model="mlp" if domain == "image" else None,
        settings={**_SHORT, **SETTINGS[name]},
    )
    run = folder / f"{name}-run"
    experiment.run(run, experiment.read())
    return run


def write_chords(folder: Path, count: int, sample_rate_hz: int = 8000, duration_s: float = 2.5) -> Path:
    """Writes `count` mono WAVs, each a chord that rises and falls, and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    for number in range(count):
        root_hz = 220 * 2 ** (number / 5)
        chord = sum(np.sin(2 * np.pi * root_hz * ratio * time_s) for ratio in (1, 1.25, 1.5))
        soundfile.write(folder / f"chord-{number}.wav", 0.2 * chord * np.sin(3 * time_s) ** 2, sample_rate_hz)
    return folder
