"""Finds models: shipped ones by name, and runs by folder.

`SHIPPED_FOR` says which shipped model is the default for a medium. Nothing here imports torch or pydantic, so that an
unknown name is reported at once.
"""

from pathlib import Path

from musicae.errors import CheckpointError, unknown_name

WEIGHTS, MANIFEST = "model.safetensors", "config.json"
"""Names of the files in a checkpoint's folder."""
PRETRAINED = Path(__file__).parent / "pretrained"
LIVE_MODEL = "denoise-live-16k"
"""The shipped model that denoises sound while it arrives."""

SHIPPED_FOR: dict[str, dict[str, str]] = {
    "reconstruct": {"music": "melody-2bar", "audio": "notes-16k"},
    "denoise": {"audio": "denoise-16k"},
    "upscale": {"audio": "upscale-16k"},
}
"""Task → domain → the shipped model that is used if none is named."""


def shipped_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(folder.name for folder in PRETRAINED.iterdir() if (folder / MANIFEST).is_file())


def find_model(model: str) -> Path:
    """The folder of a checkpoint.

    Args:
        model: the name of a shipped model, a run's folder, or a checkpoint's folder.

    Raises:
        CheckpointError: there is no such model.
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
