"""Reports in words: what files hold for a model and what is left out, and which models there are."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from musicae.config import read_config
from musicae.data.dataset import find_files, read_all, told_reasons
from musicae.domain import Reading
from musicae.domains import DOMAINS
from musicae.errors import DamagedFileError, MusicaeError
from musicae.models import MODELS
from musicae.trained import PRETRAINED, shipped_models
from musicae.training.checkpoint import read_manifest


def inspect_files(domain: str, paths: Sequence[Path], settings: Mapping[str, Any]) -> Iterator[str]:
    """Tells, file by file, what would be learned, and why the rest would not.

    Args:
        domain: a key of `DOMAINS`.
        paths: files and folders.
        settings: keys of the domain's config.

    Yields:
        Lines of text, the summary last.

    Raises:
        MusicaeError: a path is missing, or nothing at all is usable; `DamagedFileError` where every
            file is damaged.
    """
    kind = DOMAINS[domain]
    own = read_config(kind.Config, settings, f"{domain} setting")
    files = find_files(kind(own), paths)
    reader = kind(kind.suited(own, [path for _, path in files]))
    examples, used, damaged, skipped = 0, 0, {}, Counter[str]()
    for name, reading in read_all(reader, files):
        if isinstance(reading, DamagedFileError):
            damaged[name] = str(reading)
            yield f"{name}: refused: {reading}"
            continue
        examples += len(reading.examples)
        used += len(reading.examples) > 0
        skipped.update(reading.skipped)
        yield from _describe_reading(name, reading)
    if len(damaged) == len(files):
        message = next(iter(damaged.values())) if len(files) == 1 else f"all {len(files)} files are damaged."
        raise DamagedFileError(message)
    if examples == 0:
        raise MusicaeError(
            f"nothing to learn from in {len(files)} file{'s' * (len(files) > 1)}: {told_reasons(skipped, damaged)}."
        )
    yield f"In all: {examples} examples from {used} of {len(files)} files. Left out: {told_reasons(skipped, damaged)}."


def describe_models() -> Iterator[str]:
    """One line for each shipped model, then one for each kind that can be trained."""
    yield "Shipped, for --model and musicae.load:"
    for name in shipped_models():
        manifest = read_manifest(PRETRAINED / name)
        size_mb = (PRETRAINED / name / "model.safetensors").stat().st_size / 1e6
        scores = ", ".join(f"{key} {value:.4g}" for key, value in manifest.metrics.items())
        yield f"  {name}: {manifest.domain}, {manifest.task}, {size_mb:.1f} MB; {scores}"
    yield "Kinds, for train --model:"
    for name, entry in MODELS.items():
        summary = (entry.model.__doc__ or "").partition("\n")[0]
        kinds = {"rebuilding": entry.rebuilds, "restoring": entry.restores}
        uses = " and ".join(kind for kind, is_it in kinds.items() if is_it)
        yield f"  {name}: {entry.layout} layout, {uses}; {summary}"


def _describe_reading(name: str, reading: Reading) -> Iterator[str]:
    yield f"{name}: {len(reading.examples)} examples"
    yield from (f"  {part}" for part in reading.parts)
    yield from (f"  left out: {count} × {reason}" for reason, count in reading.skipped.items())
