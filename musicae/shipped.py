"""Finds models: shipped ones by name, runs by folder, others on the Hugging Face Hub; and lists the shipped ones.

`SHIPPED_FOR` says which shipped model is the default for a medium. Nothing here imports torch or pydantic, so that an
unknown name is reported at once.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from musicae.errors import CheckpointError, unknown_name

WEIGHTS, MANIFEST = "model.safetensors", "config.json"
"""Names of the files in a checkpoint's folder."""
POINTER = "run.json"
"""Name of the file in a run's folder that says which checkpoint is the best and which the last."""
_POINTER_BYTES = 10_000
PRETRAINED = Path(__file__).parent / "pretrained"
HUB = "hf:/"
"""How the name of a model on the Hub begins, `hf://user/name`; a path has dropped a slash."""
LIVE_MODEL = "denoise-live-48k"
"""The shipped model that denoises sound while it arrives."""

SHIPPED_FOR: dict[str, dict[str, str]] = {
    "reconstruct": {"music": "melody-2bar", "audio": "notes-44k"},
    "denoise": {"audio": "denoise-48k", "image": "photo-denoise"},
    "upscale": {"audio": "upscale-48k", "image": "photo-upscale"},
}
"""Task → domain → the shipped model that is used if none is named."""


def shipped_models() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(folder.name for folder in PRETRAINED.iterdir() if (folder / MANIFEST).is_file())


def find_model(model: str) -> Path:
    """The folder of a checkpoint.

    Args:
        model: the name of a shipped model, a run's folder, a checkpoint's folder, or `hf://user/name`, which is
            downloaded.

    Raises:
        CheckpointError: there is no such model.
        MusicaeError: it can't be downloaded.
    """
    if model.startswith(HUB):
        from musicae.hub import fetch

        return fetch(model)
    if (PRETRAINED / model / MANIFEST).is_file():
        return PRETRAINED / model
    folder = Path(model)
    for candidate in _places(folder):
        if (candidate / MANIFEST).is_file():
            return candidate
    if folder.exists():
        raise CheckpointError(f"{folder} is no model: neither it nor its best checkpoint has a {MANIFEST}.")
    raise CheckpointError(
        f"{unknown_name('model', model, shipped_models())} Or give a run's folder, or hf://USER/NAME."
    )


def _places(folder: Path) -> Iterator[Path]:
    """Where the checkpoint of a folder may be: itself, or what `RUN`, `RUN/best` or `RUN/last` mean."""
    yield folder
    # Only these two names make the folder above a run's: it may hold a `run.json` of something else.
    named = [(folder.parent, folder.name)] if folder.name in ("best", "last") else []
    for run, name in [(folder, "best"), (folder, "last"), *named]:
        place = checkpoint_of(run, name)
        if place is not None:
            yield place


def checkpoint_of(run: Path, name: str) -> Path | None:
    """The folder of a run's checkpoint.

    Args:
        run: the run's folder.
        name: `best` or `last`.

    Returns:
        None where the run has none of that name, or the folder is no run.
    """
    place = read_pointer(run).get(name)
    if place is not None:
        return run / place
    # Runs of former versions have folders of these names, and no pointer.
    former = run / name
    return former if name in ("best", "last") and (former / MANIFEST).is_file() else None


def model_name(folder: Path) -> str:
    """What a checkpoint's folder is called in a message: the name of its run, of the shipped model, or `user/name`."""
    if folder.parent.name == "snapshots":  # in huggingface_hub's cache
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    if folder.parent.name == "checkpoints":
        return folder.parent.parent.name
    return folder.parent.name if folder.name in ("best", "last") else folder.name


def read_pointer(run: Path) -> dict[str, str]:
    """Reads a run's pointer: name → folder, relative to the run's. Empty where there is none.

    Raises:
        CheckpointError: it is damaged, or points outside of the run's folder.
    """
    path = run / POINTER
    if not path.is_file():
        return {}
    pointer: object = None
    with suppress(OSError, ValueError, RecursionError), path.open("rb") as file:
        pointer = json.loads(file.read(_POINTER_BYTES))
    if not isinstance(pointer, dict) or not all(isinstance(place, str) for place in pointer.values()):
        raise CheckpointError(f"{path} is damaged; give one of the folders in {run / 'checkpoints'} as the model.")
    for place in pointer.values():
        parts = PurePosixPath(place)
        if parts.is_absolute() or ".." in parts.parts or "\\" in place or ":" in place or "\0" in place:
            raise CheckpointError(f"{path} points outside of its folder, to {place!r}; it is no run of musicae's.")
    return pointer


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
