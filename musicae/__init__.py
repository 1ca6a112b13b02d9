"""One autoencoder core for pictures, music and sound.

    import musicae

    model = musicae.load("melody-2bar")
    morph = model.interpolate("a.mid", "b.mid", steps=13)
    morph.save("out/")

`musicae.trained.TrainedModel` lists what a model can do.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from musicae.audio.sound import Sound
    from musicae.image.picture import Picture
    from musicae.music.piece import Piece
    from musicae.new_model import train
    from musicae.sharing import pull, push
    from musicae.trained import TrainedModel, load

_HOMES = {
    "load": "musicae.trained",
    "train": "musicae.new_model",
    "push": "musicae.sharing",
    "pull": "musicae.sharing",
    "TrainedModel": "musicae.trained",
    "Picture": "musicae.image.picture",
    "Piece": "musicae.music.piece",
    "Sound": "musicae.audio.sound",
}

__all__ = ["Picture", "Piece", "Sound", "TrainedModel", "__version__", "load", "pull", "push", "train"]


def __getattr__(name: str) -> Any:
    """Imports the API on first use, so that `import musicae` and `--help` cost nothing."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'musicae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
