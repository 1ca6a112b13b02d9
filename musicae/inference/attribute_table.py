"""Attributes of files, measured: a table on the screen or as CSV. It needs a domain and no model."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from musicae.atomic_io import written_whole
from musicae.data.dataset import find_files, told_reasons
from musicae.domain import Domain, Reading
from musicae.domains import DOMAINS
from musicae.errors import DamagedFileError, MusicaeError

_WINDOWS_PER_PART = 4096


class AttributeTable(NamedTuple):
    """One row a file, or one a window.

    Attributes:
        names: of the attributes.
        files: the row's file, by the name it has in its folder.
        windows: how many windows the row is the mean of; in a table of windows their number, from 1.
        values: `(rows, attributes)`.
        each_window: whether a row is a window.
    """

    names: tuple[str, ...]
    files: tuple[str, ...]
    windows: tuple[int, ...]
    values: np.ndarray
    each_window: bool = False

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

    def write(self, path: Path | str) -> Path:
        """Writes the table as CSV."""
        return write_csv(Path(path), [self._header(), *([file, windows, *v] for file, windows, v in self._rows())])

    def _header(self) -> tuple[str, ...]:
        return ("file", "window" if self.each_window else "windows", *self.names)

    def _rows(self) -> Iterator[tuple[str, int, list[float]]]:
        yield from zip(self.files, self.windows, self.values.tolist(), strict=True)


def measure(domain: Domain, sources: Sequence[Any], *, each_window: bool = False) -> tuple[AttributeTable, list[str]]:
    """Measures every window of files.

    Args:
        domain: reads them and knows the attributes.
        sources: files, folders, or objects the domain reads.
        each_window: a row for each window in place of the mean over a file's.

    Returns:
        The table, and a line for each file that gave nothing.

    Raises:
        MusicaeError: the domain knows no attributes, or no file gave a window.
    """
    names: tuple[str, ...] = ()
    files: list[str] = []
    windows: list[int] = []
    values: list[np.ndarray] = []
    remarks: list[str] = []
    for name, reading in readings(domain, sources, remarks):
        tensor = domain.to_tensor(torch.from_numpy(np.ascontiguousarray(reading.examples)))
        measured = attributes_of(domain, tensor)
        names = tuple(measured)
        rows = np.stack([column.double().cpu().numpy() for column in measured.values()], 1)  # (windows, attributes)
        files += [name] * (len(rows) if each_window else 1)
        windows += range(1, len(rows) + 1) if each_window else [len(rows)]
        values.append(rows if each_window else rows.mean(0, keepdims=True))
    return AttributeTable(names, tuple(files), tuple(windows), np.concatenate(values), each_window), remarks


def attributes_of(domain: Domain, tensor: Tensor) -> dict[str, Tensor]:
    """Measures a batch in parts; raises `MusicaeError` where the domain knows no attributes."""
    parts = [domain.attributes(part) for part in tensor.split(_WINDOWS_PER_PART)]
    if not parts or not parts[0]:
        raise no_attributes(domain)
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def no_attributes(domain: Domain) -> MusicaeError:
    """The error for a domain that knows none, which says who does."""
    known = [name for name, kind in DOMAINS.items() if kind.attributes is not Domain.attributes]
    return MusicaeError(f"{domain.name} knows no attributes; models of these domains do: {', '.join(known) or 'none'}.")


def readings(domain: Domain, sources: Sequence[Any], remarks: list[str]) -> Iterator[tuple[str, Reading]]:
    """Reads files, folders and objects, and yields those with at least one example under their names.

    Args:
        domain: reads them.
        sources: files, folders, or objects the domain reads.
        remarks: gets a line for each file that is left out.

    Raises:
        MusicaeError: nothing is left; `DamagedFileError` where every file is damaged.
    """
    objects = [source for source in sources if isinstance(source, domain.objects)]
    places = [Path(source) for source in sources if not isinstance(source, domain.objects)]
    named: list[tuple[str, Any]] = [(f"{type(source).__name__} {n}", source) for n, source in enumerate(objects, 1)]
    named += _files(domain, places) if places else []
    used, damaged, skipped = 0, {}, dict[str, int]()
    for name, source in named:
        try:
            reading = domain.read(source)
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
            remarks.append(f"{name}: left out: {told_reasons(reading.skipped, {})}")
    if used == 0:
        if damaged and len(damaged) == len(named):
            raise DamagedFileError(
                next(iter(damaged.values())) if len(damaged) == 1 else f"all {len(damaged)} files are damaged."
            )
        many = f"{len(named)} file{'s' * (len(named) != 1)}"
        raise MusicaeError(f"no window to measure in {many}. Left out: {told_reasons(skipped, damaged)}.")


def _files(domain: Domain, places: list[Path]) -> list[tuple[str, Path]]:
    for path in places:
        if path.is_file() and not domain.reads(path):
            raise MusicaeError(
                f"{path.name} is no {domain.name} file, and this model takes no other "
                f"({', '.join(domain.suffixes)}); choose another file or --model."
            )
    return find_files(domain, places)


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    """Writes rows as CSV under a temporary name first, so that no half table is ever seen.

    Raises:
        MusicaeError: the place is a folder, or cannot be written to.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with written_whole(path) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")
    return path
