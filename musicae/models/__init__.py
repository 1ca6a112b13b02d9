"""`MODELS`: every model, imported when it is used. A new one needs a file and a row here.

The table is read without torch, so that listing the models is fast. Wherever a model is built, a class of the user's
own can be given in place of a name.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from musicae.errors import MusicaeError, unknown_name
from musicae.spec import Layout, TensorSpec

if TYPE_CHECKING:
    from musicae.models.autoencoder import Autoencoder
    from musicae.models.sizes import ModelConfig

    Classes = tuple[type[Autoencoder], type[ModelConfig]]


_FEW_STREAMS = 8
"""Most streams that are instruments; more are the keys of one."""


class ModelEntry(NamedTuple):
    """A model, and what it is for.

    Attributes:
        load: imports and returns the model's class and its config's.
        layout: the layout that it takes.
        summary: one line for people.
        reconstructs: whether it is for `reconstruct`: its decoder is given nothing of the input but the code.
        restores: whether it is for `denoise` and `upscale`.
        suits: whether it is the default for a spec, even if others stand before it in the table.
    """

    load: "Callable[[], Classes]"
    layout: Layout
    summary: str
    reconstructs: bool = False
    restores: bool = False
    suits: Callable[[TensorSpec], bool] = lambda spec: False

    def fits(self, layout: Layout, restoring: bool) -> bool:
        """Whether it takes the layout, and is for restoring or else for reconstructing."""
        return self.layout is layout and (self.restores if restoring else self.reconstructs)


def _conv() -> "Classes":
    from musicae.models.conv import ConvAutoencoder, ConvConfig

    return ConvAutoencoder, ConvConfig


def _spectrogram() -> "Classes":
    from musicae.models.spectrogram import SpectrogramAutoencoder, SpectrogramConfig

    return SpectrogramAutoencoder, SpectrogramConfig


def _spatial() -> "Classes":
    from musicae.models.spatial import SpatialAutoencoder, SpatialConfig

    return SpatialAutoencoder, SpatialConfig


def _mlp() -> "Classes":
    from musicae.models.conv import MLPAutoencoder, MLPConfig

    return MLPAutoencoder, MLPConfig


def _unet() -> "Classes":
    from musicae.models.unet import UNet, UNetConfig

    return UNet, UNetConfig


def _causal() -> "Classes":
    from musicae.models.causal import CausalConfig, CausalRestorer

    return CausalRestorer, CausalConfig


def _steps() -> "Classes":
    from musicae.models.steps import StepsAutoencoder, StepsConfig

    return StepsAutoencoder, StepsConfig


def _played() -> "Classes":
    from musicae.models.played import PlayedAutoencoder, PlayedConfig

    return PlayedAutoencoder, PlayedConfig


def _keyboard() -> "Classes":
    from musicae.models.keyboard import KeyboardAutoencoder, KeyboardConfig

    return KeyboardAutoencoder, KeyboardConfig


def _phrases() -> "Classes":
    from musicae.models.phrases import PhrasesAutoencoder, PhrasesConfig

    return PhrasesAutoencoder, PhrasesConfig


def _restorer() -> "Classes":
    from musicae.models.steps import RestorerConfig, StepsRestorer

    return StepsRestorer, RestorerConfig


def _musicvae() -> "Classes":
    from musicae.models.musicvae import MusicVAE, MusicVAEConfig

    return MusicVAE, MusicVAEConfig


# The first entry for a layout and a purpose is the default.
MODELS: dict[str, ModelEntry] = {
    "conv": ModelEntry(_conv, Layout.GRID, "residual convolutions down to a vector and up again", reconstructs=True),
    "spectrogram": ModelEntry(
        _spectrogram,
        Layout.GRID,
        "sound from a vector and a sequence",
        reconstructs=True,
        suits=lambda spec: spec.likelihood == "magnitude",
    ),
    "mlp": ModelEntry(_mlp, Layout.GRID, "dense layers: fast for small pictures", reconstructs=True),
    "unet": ModelEntry(_unet, Layout.GRID, "corrects its input, with skip connections", restores=True),
    "causal": ModelEntry(_causal, Layout.GRID, "cleans sound while it arrives", restores=True),
    "steps": ModelEntry(_steps, Layout.STEPS, "music in phrases of two bars", reconstructs=True),
    "played": ModelEntry(
        _played,
        Layout.STEPS,
        "music with velocity and timing: a code for the notes, another for the feel",
        reconstructs=True,
        suits=lambda spec: bool(spec.values) and len(spec.vocabulary) <= _FEW_STREAMS,
    ),
    "phrases": ModelEntry(
        _phrases, Layout.STEPS, "long music: a code for every two bars, each given the others", reconstructs=True
    ),
    "restorer": ModelEntry(_restorer, Layout.STEPS, "restores music; its decoder also reads the input", restores=True),
    "musicvae": ModelEntry(_musicvae, Layout.STEPS, "the published MusicVAE, for comparison", reconstructs=True),
    "keyboard": ModelEntry(
        _keyboard,
        Layout.STEPS,
        "piano music: a code for every few steps of all keys",
        reconstructs=True,
        suits=lambda spec: len(spec.vocabulary) > _FEW_STREAMS,
    ),
    "spatial": ModelEntry(
        _spatial, Layout.GRID, "pictures from a grid of codes: for large ones, and to be drawn", reconstructs=True
    ),
}


def model_classes(model: "str | type[Autoencoder]") -> "Classes":
    """The class of a model and of its config.

    Args:
        model: a key of `MODELS`, or a subclass of `Autoencoder`, whose `Config` says its settings.

    Raises:
        MusicaeError: a name that is not in `MODELS`.
    """
    if not isinstance(model, str):
        return model, model.Config
    if model not in MODELS:
        raise MusicaeError(unknown_name("model", model, MODELS))
    return MODELS[model].load()


def default_model(spec: TensorSpec, restoring: bool) -> str:
    """Name of the model that is used when none is asked for."""
    fitting = [name for name, entry in MODELS.items() if entry.fits(spec.layout, restoring)]
    return next((name for name in fitting if MODELS[name].suits(spec)), fitting[0])


def model_name(model: "str | type[Autoencoder]") -> str:
    """What a checkpoint calls a model: its key in `MODELS`, or "package.module:Class" for a class of the user's own.

    Raises:
        ValueError: neither a name nor a subclass of `Autoencoder`.
    """
    if isinstance(model, str):
        return model
    from musicae.models.autoencoder import Autoencoder

    if not (isinstance(model, type) and issubclass(model, Autoencoder)):
        raise ValueError(f"expected a model's name or a subclass of Autoencoder, got {model!r}")
    own = [name for name, entry in MODELS.items() if entry.load()[0] is model]
    return own[0] if own else f"{model.__module__}:{model.__qualname__}"


def build_model(model: "str | type[Autoencoder]", spec: TensorSpec, settings: Mapping[str, Any]) -> "Autoencoder":
    """Builds a model for a spec.

    Args:
        model: a key of `MODELS`, or a subclass of `Autoencoder`, called as `model(spec, model.Config(**settings))`.
        spec: the tensors it will take.
        settings: keys of the model's config; the others have their defaults.

    Raises:
        MusicaeError: an unknown model or key, a bad value, or a model of another layout.
        ValueError: settings that do not fit the spec.
    """
    cls, config = model_classes(model)
    if isinstance(model, str) and MODELS[model].layout is not spec.layout:
        fitting = [other for other, row in MODELS.items() if row.layout is spec.layout]
        raise MusicaeError(
            f"model {model!r} takes {MODELS[model].layout} tensors, not {spec.layout}; use {', '.join(fitting)}."
        )
    from musicae.config import read_config  # pydantic is not needed to list models

    return cls(spec, read_config(config, settings, "model setting"))


def refuse_misfit(model: "str | type[Autoencoder]", spec: TensorSpec, settings: Mapping[str, Any]) -> None:
    """Raises `MusicaeError` where `build_model` would fail, before data are read.

    Only the shapes of the model are built: no memory is used for weights, and no random number is drawn.
    """
    from musicae.models.meta import shapes_only

    try:
        with shapes_only():
            build_model(model, spec, settings)
    except ValueError as error:
        raise MusicaeError(f"{error}.") from None


def __getattr__(name: str) -> Any:
    """Imports the base classes on first use."""
    if name in ("Autoencoder", "Loss", "ModelConfig"):
        from musicae.models import autoencoder, sizes

        return getattr(sizes if name == "ModelConfig" else autoencoder, name)
    raise AttributeError(f"module 'musicae.models' has no attribute {name!r}")
