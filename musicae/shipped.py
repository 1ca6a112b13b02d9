"""Where models are found: the ones that come with the package, by name, and runs, by folder.

Which shipped model serves a medium by default is a row in `SHIPPED_FOR`. Nothing here
imports torch or pydantic, so that a name that does not exist is refused at once.
"""

from pathlib import Path

from musicae.errors import CheckpointError, unknown_name

WEIGHTS, MANIFEST = "model.safetensors", "config.json"
"""Of a checkpoint's folder."""
PRETRAINED = Path(__file__).parent / "pretrained"
LIVE_MODEL = "denoise-live-16k"
"""Cleans sound as it arrives."""

SHIPPED_FOR: dict[str, dict[str, str]] = {
    "reconstruct": {"music": "melody-2bar", "audio": "notes-16k"},
    "denoise": {"audio": "denoise-16k"},
    "upscale": {"audio": "upscale-16k"},
}
"""Task → domain → the model that does it where none is named."""


def shipped_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(folder.name for folder in PRETRAINED.iterdir() if (folder / MANIFEST).is_file())


def find_model(model: str) -> Path:
    """A shipped name, a run's folder, or a checkpoint's → the checkpoint's folder.

    Raises:
        CheckpointError: there is none.
    """
    if (PRETRAINED / model / MANIFEST).is_file():
        return PRETRAINED / model
    folder = Path(model)
    for candidate in (folder, folder / "best", folder / "last"):
        if (candidate / MANIFEST).is_file():
            return candidate
    if folder.exists():
        raise CheckpointError(f"{folder} is no model: neither it nor its best/ has a {MANIFEST}.")
    raise CheckpointError(f"{unknown_name('model', model, shipped_models())} Or give a run's folder.")
