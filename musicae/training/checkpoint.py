"""Checkpoints: a folder with `model.safetensors` and `config.json`; no pickle anywhere.

The JSON rebuilds the model *and* the domain. A folder is written under a temporary name and renamed,
so a reader finds a whole checkpoint or none.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from musicae import __version__
from musicae.config import Config, read_config
from musicae.domain import Domain
from musicae.domains import DOMAINS
from musicae.errors import CheckpointError, MusicaeError, unknown_name
from musicae.models import Autoencoder, build_model

FORMAT_VERSION = 1
WEIGHTS, MANIFEST = "model.safetensors", "config.json"


class Manifest(Config):
    """All that `config.json` holds.

    Attributes:
        format_version: of the folder's layout; a reader refuses a newer one.
        musicae_version: of the package that wrote it.
        domain, domain_settings: a key of `DOMAINS`, and its config.
        task: what it was trained for: `reconstruct`, `denoise`, `upscale`.
        model, model_settings: a key of `MODELS`, and its config.
        training: the training config.
        data: paths, fingerprint and counts of what it was trained on.
        metrics: scores at the time of saving.
    """

    format_version: int = FORMAT_VERSION
    musicae_version: str = __version__
    domain: str
    domain_settings: dict[str, Any]
    task: str
    model: str
    model_settings: dict[str, Any]
    training: dict[str, Any] = Field(default={})
    data: dict[str, Any] = Field(default={})
    metrics: dict[str, float] = Field(default={})

    def build_domain(self) -> Domain:
        """Builds the domain, ready to read and write files."""
        if self.domain not in DOMAINS:
            raise CheckpointError(unknown_name("domain", self.domain, DOMAINS))
        kind = DOMAINS[self.domain]
        return kind(read_config(kind.Config, self.domain_settings, f"{self.domain} setting"))


def save_checkpoint(folder: Path, model: Autoencoder, manifest: Manifest, *, half: bool = False) -> None:
    """Writes a checkpoint, replacing one of the same name.

    Args:
        folder: the checkpoint's folder.
        model: whose weights to store.
        manifest: the rest.
        half: store float16 weights, for shipping; they are loaded as float32.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if half:
        weights = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    with replaced_folder(folder) as temporary:
        save_file(weights, temporary / WEIGHTS)
        (temporary / MANIFEST).write_text(json.dumps(manifest.model_dump(mode="json"), indent=2) + "\n")


def load_checkpoint(folder: Path) -> tuple[Autoencoder, Domain, Manifest]:
    """Rebuilds model (on the CPU, in evaluation mode) and domain.

    Raises:
        CheckpointError: missing, damaged, or written by a newer version.
    """
    manifest = read_manifest(folder)
    try:
        domain = manifest.build_domain()
        model = build_model(manifest.model, domain.spec, manifest.model_settings)
    except CheckpointError:
        raise
    except (MusicaeError, ValueError) as error:
        raise CheckpointError(f"{folder / MANIFEST} does not fit musicae {__version__}: {error}") from error
    weights = read_tensors(folder / WEIGHTS)
    try:
        model.load_state_dict({name: _as_float32(value) for name, value in weights.items()})
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {folder} are not those of its config.json; train or copy it anew."
        ) from error
    return model.eval(), domain, manifest


def take_over(model: Autoencoder, folder: Path) -> int:
    """Copies into a new model what fits it of a trained one: all, or a long model's phrases from a short one.

    A learned prior comes along only where everything fits: codes of another model lie elsewhere.

    Args:
        model: changed in place.
        folder: a checkpoint's.

    Returns:
        How many tensors were taken over.

    Raises:
        CheckpointError: no such checkpoint, or nothing in it fits.
    """
    own = model.state_dict()
    stored = read_tensors(folder / WEIGHTS)
    fits = {name: name in own and value.shape == own[name].shape for name, value in stored.items()}
    is_same = stored.keys() == own.keys() and all(fits.values())
    weights = {
        name: _as_float32(value)
        for name, value in stored.items()
        if is_same or (fits[name] and not name.startswith("latent."))
    }
    if not weights:
        raise CheckpointError(f"nothing in {folder} fits this model; start from one of the same kind and sizes.")
    model.load_state_dict(weights, strict=False)
    return len(weights)


def read_manifest(folder: Path) -> Manifest:
    """Reads `config.json`. Raises `CheckpointError` where it is missing, damaged or newer."""
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckpointError(f"{folder} is no model: it has no {MANIFEST}.")
    try:
        content = json.loads(path.read_text())
        version = content["format_version"]
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise CheckpointError(f"{path} is damaged; train or copy the model anew.") from error
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format {version}, this musicae {__version__} reads up to {FORMAT_VERSION}; upgrade musicae."
        )
    try:
        return read_config(Manifest, content, "config.json key")
    except CheckpointError:
        raise
    except MusicaeError as error:
        raise CheckpointError(f"{path}: {error}") from error


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Reads a safetensors file. Raises `CheckpointError` where it is missing or damaged."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; the model folder is incomplete.")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); train or copy the model anew.") from error


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder that takes `folder`'s place if the block ends well, and vanishes if not.

    Raises:
        MusicaeError: safetensors could not write into it, as when no space is left.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.writing-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
            folder.rename(old)
            try:
                temporary.rename(folder)
            except BaseException:
                old.rename(folder)
                raise
            shutil.rmtree(old)
        else:
            temporary.rename(folder)
    except SafetensorError as error:
        raise MusicaeError(f"cannot write {folder}: {error}; free some space or choose another folder.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _as_float32(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.is_floating_point() else value
