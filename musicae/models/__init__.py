"""`MODELS`: every model, with its config. A new one is a file and a line here."""

from typing import Any, NamedTuple

import torch

from musicae.config import read_config
from musicae.errors import MusicaeError, unknown_name
from musicae.models.autoencoder import Autoencoder, Loss, ModelConfig
from musicae.models.causal import CausalConfig, CausalRestorer
from musicae.models.grid import ConvAutoencoder, ConvConfig, MLPAutoencoder, MLPConfig, UNet, UNetConfig
from musicae.models.musicvae import MusicVAE, MusicVAEConfig
from musicae.models.restorer import RestorerConfig, StepsRestorer
from musicae.models.spectrogram import SpectrogramAutoencoder, SpectrogramConfig
from musicae.models.steps import StepsAutoencoder, StepsConfig
from musicae.spec import Layout, TensorSpec


class ModelEntry(NamedTuple):
    """A model, its config, and what it is for.

    Attributes:
        model: the class.
        config: its config's class.
        layout: the layout it takes.
        rebuilds: whether it is for `reconstruct`: all it knows of its input is the code.
        restores: whether it is for `denoise` and `upscale`.
        made_for: a likelihood whose default it is, whatever stands before it.
    """

    model: type[Autoencoder]
    config: type[ModelConfig]
    layout: Layout
    rebuilds: bool
    restores: bool
    made_for: str | None = None

    def fits(self, layout: Layout, restoring: bool) -> bool:
        """Whether it takes the layout and is for restoring, or for rebuilding."""
        return self.layout is layout and (self.restores if restoring else self.rebuilds)


# The first entry of a layout and purpose is its default.
MODELS: dict[str, ModelEntry] = {
    "conv": ModelEntry(ConvAutoencoder, ConvConfig, Layout.GRID, True, False),
    "spectrogram": ModelEntry(
        SpectrogramAutoencoder, SpectrogramConfig, Layout.GRID, True, False, made_for="magnitude"
    ),
    "mlp": ModelEntry(MLPAutoencoder, MLPConfig, Layout.GRID, True, False),
    "unet": ModelEntry(UNet, UNetConfig, Layout.GRID, False, True),
    "causal": ModelEntry(CausalRestorer, CausalConfig, Layout.GRID, False, True),
    "steps": ModelEntry(StepsAutoencoder, StepsConfig, Layout.STEPS, True, False),
    "restorer": ModelEntry(StepsRestorer, RestorerConfig, Layout.STEPS, False, True),
    "musicvae": ModelEntry(MusicVAE, MusicVAEConfig, Layout.STEPS, True, False),
}


def default_model(spec: TensorSpec, restoring: bool) -> str:
    """Name of the model used when none is asked for."""
    fitting = [name for name, entry in MODELS.items() if entry.fits(spec.layout, restoring)]
    return next((name for name in fitting if MODELS[name].made_for == spec.likelihood), fitting[0])


def build_model(name: str, spec: TensorSpec, settings: dict[str, Any]) -> Autoencoder:
    """Builds a model for a spec.

    Args:
        name: a key of `MODELS`.
        spec: the tensors it will take.
        settings: keys of the model's config; the rest keeps its defaults.

    Raises:
        MusicaeError: an unknown model or key, a bad value, or a model of another layout.
    """
    if name not in MODELS:
        raise MusicaeError(unknown_name("model", name, MODELS))
    entry = MODELS[name]
    if entry.layout is not spec.layout:
        fitting = [other for other, row in MODELS.items() if row.layout is spec.layout]
        raise MusicaeError(f"model {name!r} takes {entry.layout} tensors, not {spec.layout}; use {', '.join(fitting)}.")
    return entry.model(spec, read_config(entry.config, settings, "model setting"))


def refuse_misfit(name: str, spec: TensorSpec, settings: dict[str, Any]) -> None:
    """Raises `MusicaeError` where `build_model` would fail, before data are read for it.

    The model is built without memory for its weights, on torch's device of that kind, and no random number is drawn.
    """
    try:
        with torch.device("meta"):
            build_model(name, spec, settings)
    except ValueError as error:
        raise MusicaeError(f"{error}.") from None


__all__ = [
    "MODELS",
    "Autoencoder",
    "CausalRestorer",
    "Loss",
    "ModelConfig",
    "ModelEntry",
    "build_model",
    "default_model",
    "refuse_misfit",
]
