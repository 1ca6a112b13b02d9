"""Reports in words: what files hold for a model and what is left out, and which models there are."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicae.errors import DamagedFileError, MusicaeError

if TYPE_CHECKING:
    from musicae.domain import Reading


def inspect_files(domain: str, paths: Sequence[Path], settings: Mapping[str, Any]) -> Iterator[str]:
    """Says, file by file, what would be learned, and why the rest would not.

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
    from musicae.config import read_config
    from musicae.data.files import describe_skipped, find_files
    from musicae.data.reading import read_all
    from musicae.domains import domain_class

    cls = domain_class(domain)
    own = read_config(cls.Config, settings, f"{domain} setting")
    files = find_files(cls(own), paths)
    reader = cls(cls.configure(own, [path for _, path in files]))
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
    left_out = describe_skipped(skipped, damaged)
    if examples == 0:
        raise MusicaeError(f"nothing to learn from in {len(files)} {domain} file{'s' * (len(files) > 1)}: {left_out}.")
    yield f"In all: {examples} examples from {used} of {len(files)} files. Left out: {left_out}."


def describe_models() -> Iterator[str]:
    """One line for each shipped model, then one for each that can be trained; neither torch nor pydantic is needed."""
    from musicae.models import MODELS
    from musicae.shipped import MANIFEST, PRETRAINED, WEIGHTS, shipped_models

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


def _describe_reading(name: str, reading: "Reading") -> Iterator[str]:
    yield f"{name}: {len(reading.examples)} examples"
    yield from (f"  {part}" for part in reading.parts)
    yield from (f"  left out: {count} × {reason}" for reason, count in reading.skipped.items())
