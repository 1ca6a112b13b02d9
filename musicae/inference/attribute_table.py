"""Measures the attributes of media objects: a table on the screen or as CSV. It needs a domain, but no model."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from musicae.atomic_io import atomic_write
from musicae.capabilities import HasAttributes
from musicae.domain import Batch, Domain, Reading
from musicae.errors import DamagedFileError, MusicaeError


class AttributeTable(NamedTuple):
    """One row for each file, or for each window.

    Attributes:
        names: of the attributes.
        files: name of each row's file in its folder.
        windows: how many windows each row is the mean of; if a row is a window, its number from 1.
        values: `(rows, attributes)`.
        each_window: whether a row is a window.
        remarks: a line for each file that was left out.
    """

    names: tuple[str, ...]
    files: tuple[str, ...]
    windows: tuple[int, ...]
    values: np.ndarray
    each_window: bool = False
    remarks: tuple[str, ...] = ()

    def text(self) -> str:
        """The table in columns, for a screen."""
        rows = [[file, str(windows), *(f"{value:.4g}" for value in values)] for file, windows, values in self._rows()]
        rows.insert(0, list(self._header()))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join(
            "  ".join(
                [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
            )
            for row in rows
        )

    def save(self, path: Path | str) -> Path:
        """Writes the table as CSV."""
        return write_csv(Path(path), [self._header(), *([file, windows, *v] for file, windows, v in self._rows())])

    def _header(self) -> tuple[str, ...]:
        return ("file", "window" if self.each_window else "windows", *self.names)

    def _rows(self) -> Iterator[tuple[str, int, list[float]]]:
        yield from zip(self.files, self.windows, self.values.tolist(), strict=True)


def measure(domain: Domain, sources: Sequence[Any], *, each_window: bool = False) -> AttributeTable:
    """Measures every window of media objects.

    Args:
        domain: reads them and measures the attributes.
        sources: files, folders, or media objects.
        each_window: a row for each window, in place of the mean over the windows of a file.

    Raises:
        MusicaeError: the domain measures no attributes, or no file gave a window.
    """
    if not isinstance(domain, HasAttributes):
        raise no_attributes(domain)
    names: tuple[str, ...] = ()
    files: list[str] = []
    windows: list[int] = []
    values: list[np.ndarray] = []
    remarks: list[str] = []
    for name, reading in readings(domain, sources, remarks):
        measured = [domain.attributes(batch.target) for _, batch in parts(domain, reading)]
        names = tuple(measured[0])
        columns = [torch.cat([part[name] for part in measured]) for name in names]
        rows = np.stack([column.cpu().double().numpy() for column in columns], 1)  # (windows, attributes)
        files += [name] * (len(rows) if each_window else 1)
        windows += range(1, len(rows) + 1) if each_window else [len(rows)]
        values.append(rows if each_window else rows.mean(0, keepdims=True))
    return AttributeTable(
        names, tuple(files), tuple(windows), np.concatenate(values), each_window, remarks=tuple(remarks)
    )


def parts(domain: Domain, reading: Reading) -> Iterator[tuple[Tensor, Batch]]:
    """The examples of a file as they are stored, and as tensors, in parts: those of an hour of sound take gigabytes."""
    size = domain.spec.evaluation_batch
    for start in range(0, len(reading.examples), size):
        stored = torch.from_numpy(np.ascontiguousarray(reading.examples[start : start + size]))
        yield stored, domain.tensor(stored)


def no_attributes(domain: Domain) -> MusicaeError:
    """The error for a domain without attributes; it names the domains that have some."""
    from musicae.domains import DOMAINS

    known = [name for name in DOMAINS if hasattr(DOMAINS[name](), "attributes")]
    return MusicaeError(f"{domain.name} has no attributes; models of these domains have: {', '.join(known) or 'none'}.")


def readings(domain: Domain, sources: Sequence[Any], remarks: list[str]) -> Iterator[tuple[str, Reading]]:
    """Reads files, folders and media objects, and yields those with at least one example under their names.

    Args:
        domain: reads them.
        sources: files, folders, or what `Domain.open` takes.
        remarks: a list to which a line is added for each file that is left out.

    Raises:
        MusicaeError: nothing is left; `DamagedFileError` where every file is damaged.
        ValueError: no sources, or an object of the wrong type.
    """
    from musicae.data.files import describe_skipped, find_files  # so that a folder is listed as for a data set

    if not sources:
        raise ValueError("expected at least one file, folder or media object, got none")
    places = [Path(source) for source in sources if isinstance(source, (str, Path))]
    for path in places:
        if path.is_file():
            domain.check_readable(path)
    opened = [domain.open(source) for source in sources if not isinstance(source, (str, Path))]
    named: list[tuple[str, Any]] = [
        (f"{item.name or type(item).__name__} {n}", item) for n, item in enumerate(opened, 1)
    ]
    named += find_files(domain, places) if places else []
    used, damaged, skipped = 0, {}, dict[str, int]()
    for name, source in named:
        try:
            reading = domain.read(source) if isinstance(source, Path) else domain.examples(source)
        except DamagedFileError as error:
            damaged[name] = str(error)
            remarks.append(f"{name}: left out: {error}")
            continue
        for reason, count in reading.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
        if len(reading.examples):
            used += 1
            yield name, reading
        else:
            remarks.append(f"{name}: left out: {describe_skipped(reading.skipped, {})}")
    if used == 0:
        if damaged and len(damaged) == len(named):
            raise DamagedFileError(
                next(iter(damaged.values())) if len(damaged) == 1 else f"all {len(damaged)} files are damaged."
            )
        many = f"{len(named)} file{'s' * (len(named) != 1)}"
        raise MusicaeError(f"no window to measure in {many}. Left out: {describe_skipped(skipped, damaged)}.")


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    """Writes rows as CSV, atomically.

    Raises:
        MusicaeError: the place is a folder, or cannot be written to.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with atomic_write(path) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")
    return path
