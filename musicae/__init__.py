"""musicae: one autoencoder core for pictures, music and sound.

import musicae

model = musicae.load("melody-2bar")
model.interpolate("a.mid", "b.mid", steps=13)
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from musicae.trained import TrainedModel, load

__all__ = ["TrainedModel", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Imports the API on first use, so that `import musicae` and `--help` cost nothing."""
    if name in ("load", "TrainedModel"):
        from musicae import trained

        return getattr(trained, name)
    raise AttributeError(f"module 'musicae' has no attribute {name!r}")
