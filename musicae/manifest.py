"""`Manifest`: what a checkpoint's `config.json` says. It rebuilds the domain and names the model.

Torch is not imported: listing models, or finding that there is none, costs no more than reading a small file.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from musicae import __version__
from musicae.config import Config, read_config
from musicae.errors import CheckpointError, MusicaeError
from musicae.shipped import MANIFEST, WEIGHTS

if TYPE_CHECKING:
    from musicae.domain import Domain

FORMAT_VERSION = 1

__all__ = ["FORMAT_VERSION", "MANIFEST", "WEIGHTS", "Manifest", "read_manifest"]


class Manifest(Config):
    """All that `config.json` holds.

    Attributes:
        format_version: of the folder's layout; a reader refuses a newer one.
        musicae_version: of the package that wrote it.
        domain, domain_settings: a key of `DOMAINS`, and its config.
        task: what it was trained for: `reconstruct`, `denoise`, `upscale`.
        model, model_settings: a key of `MODELS`, or the import path of a class of the user's own
            ("package.module:Class", which is never imported by itself), and its config.
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

    def build_domain(self) -> "Domain":
        """Builds the domain. Raises `MusicaeError` for a name or a setting that this version does not know."""
        from musicae.domains import domain_class  # a domain imports torch

        cls = domain_class(self.domain)
        return cls(read_config(cls.Config, self.domain_settings, f"{self.domain} setting"))


def read_manifest(folder: Path) -> Manifest:
    """Reads the `config.json` of a checkpoint's folder.

    Raises:
        CheckpointError: it is missing, damaged, or written by a newer version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckpointError(f"{folder} is no model: it has no {MANIFEST}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
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
