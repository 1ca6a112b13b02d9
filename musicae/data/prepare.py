"""Reports in words on the files of a data set: what would be learned from them; and reads them into the store.

Training opens the same store, so reading it beforehand saves time later.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from musicae.capabilities import remark_on_files
from musicae.config import read_config
from musicae.data.dataset import SPLITS, open_dataset
from musicae.data.files import Prepared, describe_skipped, find_files, prepare_store
from musicae.data.named_sets import locate
from musicae.data.reading import read_all
from musicae.data.shards import Shard
from musicae.data.store import ReadReport, open_store
from musicae.domain import Domain, Reading
from musicae.domains import domain_class
from musicae.errors import DamagedFileError, MusicaeError

_NAMED_DAMAGED = 10
"""Number of damaged files that are listed by name; the store's `report.json` lists all."""


def inspect_files(
    domain: str, paths: Sequence[Path], settings: Mapping[str, Any], *, reader: Domain | None = None
) -> Iterator[str]:
    """Reports for each file what would be learned from it, and what is left out and why. Nothing is stored.

    Args:
        domain: a key of `DOMAINS`.
        paths: files and folders.
        settings: keys of the domain's config.
        reader: a model's domain, which reads them in place of one that is built from the three.

    Yields:
        Lines of text, the summary last.

    Raises:
        MusicaeError: a path is missing, or nothing at all is usable; `DamagedFileError` where every
            file is damaged.
    """
    domain_type = domain_class(domain)
    own = read_config(domain_type.Config, settings, f"{domain} setting")
    files = find_files(reader or domain_type(own), paths)
    paths_found = [path for _, path in files]
    if reader is None:
        reader = domain_type(domain_type.configure(own, paths_found))
        if remark := remark_on_files(reader, paths_found):
            yield remark
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
    yield f"In all: {_count(examples, 'example')} from {used} of {_count(len(files), 'file')}. Left out: {left_out}."
    if others := _others(reader, paths, paths_found):
        yield f"{_count(others, 'other file')} {'is' if others == 1 else 'are'} not read as {domain}."


def prepare_lines(
    domain_name: str,
    paths: Sequence[Path],
    settings: Mapping[str, Any] | None = None,
    processes: int | None = None,
    unique: bool = False,
    shard: str | None = None,
    merge: int | None = None,
) -> Iterator[str]:
    """Reads files into a store, continuing an interrupted reading, and reports what it holds.

    Args:
        domain_name: a key of `DOMAINS`.
        paths: files, folders and names of sets.
        settings: keys of the domain's config.
        processes: number of reading processes; see `musicae.data.files.prepare_store`.
        unique: also report what is left of the training split without duplicates.
        shard: read only this part of the files, such as "3/16".
        merge: the number of shards, whose stores are merged.

    Yields:
        Lines of text.

    Raises:
        MusicaeError: an unknown name, key or value, a missing path, or nothing that is usable.
    """
    if processes is not None and processes < 0:
        raise ValueError(f"processes must be 0 or more, got {processes}.")
    domain, places, remark = _resolve(domain_name, paths, settings or {})
    if remark:
        yield remark
    part = None if shard is None else Shard.parse(shard)
    prepared = prepare_store(domain, places, processes=processes, shard=part, merge=merge)
    if part is not None:
        report = open_store(prepared.store).report
        yield f"shard {part}: {report.examples:,} examples of {report.items:,} items in {len(prepared.files):,} files"
        yield from _left_out(report)
        yield _speed(prepared)
        yield f"store: {prepared.store}"
        return
    dataset = open_dataset(domain, prepared)
    report = dataset.report
    files = f" in {len(prepared.files):,} files" if prepared.files else ", the starter data"
    yield f"{report.examples:,} examples of {report.items:,} items{files}"
    counts = {split: len(rows) for split, rows in dataset.splits.items()}
    yield "  " + ", ".join(f"{counts[split]:,} {split}" for split in SPLITS)
    share = report.duplicates / report.examples
    yield f"  {report.duplicates:,} are duplicates of earlier ones, {share:.1%}"
    if unique:
        kept = len(open_dataset(domain, prepared, unique=True).splits["train"])
        yield f"  {kept:,} train without the duplicates among them"
    yield from _left_out(report)
    yield _speed(prepared)
    yield f"store: {prepared.store}"


def _resolve(
    domain_name: str, paths: Sequence[Path], settings: Mapping[str, Any]
) -> tuple[Domain, list[Path], str | None]:
    """The domain as `train` would build it for these files, their paths, and a remark on what becomes of them."""
    domain_type = domain_class(domain_name)
    own = read_config(domain_type.Config, dict(settings), f"{domain_name} setting")
    places = [locate(path, domain_name) for path in paths]
    files = [path for _, path in find_files(domain_type(own), places)]
    domain = domain_type(domain_type.configure(own, files))
    return domain, places, remark_on_files(domain, files)


def _left_out(report: ReadReport) -> Iterator[str]:
    if report.skipped or report.damaged:
        yield "left out:"
    for reason, count in sorted(report.skipped.items(), key=lambda row: -row[1]):
        yield f"  {count:,} × {reason}"
    if report.damaged:
        yield f"  {len(report.damaged):,} damaged file{'s' * (len(report.damaged) > 1)}"
    yield from (f"    {count:,} of them: reading {reason}" for reason, count in report.stopped.items())
    for number, (name, sentence) in enumerate(report.damaged.items()):
        if number == _NAMED_DAMAGED:
            yield f"    … and {len(report.damaged) - number:,} more in the store's report.json"
            return
        yield f"    {name}: {sentence}"


def _speed(prepared: Prepared) -> str:
    if not prepared.files_read:
        return "all of it was read by an earlier call"
    files, examples = prepared.files_read / prepared.seconds, prepared.examples_read / prepared.seconds
    readers = f"{prepared.processes} process{'es' * (prepared.processes > 1)}" if prepared.processes else "this process"
    earlier = max(0, len(prepared.files) - prepared.files_read)
    rest = f"; {earlier:,} files were read by an earlier call" if earlier else ""
    return (
        f"read {prepared.files_read:,} files in {prepared.seconds:.1f} s by {readers}: "
        f"{files:,.0f} files/s, {examples:,.0f} windows/s{rest}"
    )


def _describe_reading(name: str, reading: Reading) -> Iterator[str]:
    yield f"{name}: {_count(len(reading.examples), 'example')}"
    yield from (f"  {part}" for part in reading.parts)
    yield from (f"  left out: {count} × {reason}" for reason, count in reading.skipped.items())


def _others(domain: Domain, paths: Sequence[Path], files: Sequence[Path]) -> int:
    """Number of files below folders that are neither read nor belong to one that is; hidden ones don't count."""
    read = {*files, *(other for file in files for other in domain.companion_files(file))}
    below = (file for path in paths if path.is_dir() for file in path.resolve().rglob("*") if file.is_file())
    return sum(file not in read and not file.name.startswith(".") for file in below)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
