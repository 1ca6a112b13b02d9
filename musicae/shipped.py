"""Finds models, shipped ones by name and runs by folder, and lists them.

`SHIPPED_FOR` says which shipped model is the default for a medium. Nothing here imports torch or pydantic, so that an
unknown name is reported at once.
"""

import json
from collections.abc import Iterator
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


def describe_models() -> Iterator[str]:
    """Yields a line for each shipped model, then one for each model that can be trained."""
    from musicae.models import MODELS

    yield "Shipped, for --model and musicae.load:"
    for name in shipped_models():
        about = json.loads((PRETRAINED / name / MANIFEST).read_text(encoding="utf-8"))
        size_mb = (PRETRAINED / name / WEIGHTS).stat().st_size / 1e6
        scores = ", ".join(f"{key} {value:.4g}" for key, value in about["metrics"].items())
        yield f"  {name}: {about['domain']}, {about['task']}, {size_mb:.1f} MB; {scores}"
    yield "Models, for train --model:"
    for name, entry in MODELS.items():
        fits = {"reconstructs": entry.reconstructs, "restores": entry.restores}
        uses = " and ".join(use for use in fits if fits[use])
        yield f"  {name}: {entry.layout} layout, {uses}; {entry.summary}"
