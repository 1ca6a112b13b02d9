"""Folders of results: each part as a file, all in one file, and a picture; all of them or none."""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicae.atomic_io import refuse_place, unwritable
from musicae.domain import Domain

_MOST_DRAWN = 100
"""Parts in one picture and one sound: beyond, the picture can't be read and the sound lasts for hours."""

_MOST_IN_A_ROW = 16
"""Pictures that are large enough to be looked at side by side."""
_WRITTEN = (".mid", ".png", ".wav")

Parts = Mapping[str, Tensor]
"""Name of a file without its ending → the examples in it, `(examples, *spec.shape)`."""


def stem_of(source: Any) -> str:
    """What files made from a source are named after: its file's name, or its type's."""
    return Path(source).stem if isinstance(source, (str, Path)) else type(source).__name__


def numbered(part: str, batches: Tensor) -> dict[str, Tensor]:
    """`(parts, examples, *spec.shape)` → parts named `part-01`, `part-02`, …, so that names sort."""
    digits = max(2, len(str(len(batches))))
    return {f"{part}-{number:0{digits}d}": batch for number, batch in enumerate(batches, 1)}


def write_parts(domain: Domain, parts: Parts, folder: Path, name: str, source: Any = None) -> tuple[Path, list[str]]:
    """Writes each part as a file, all of them in a row as one, and a picture.

    Parts of several examples in a domain that draws one below the other (music) are pieces of their own:
    each gets its own picture and sound.

    Args:
        domain: writes the tensors.
        parts: at least one, all of the same length.
        folder: made if it is missing; nothing is written there unless all succeeds.
        name: of the file with the whole, without its ending.
        source: a `Selection`'s record.

    Returns:
        The file with the whole, and what is to be said of the parts.
    """
    parts = {stem: batch.detach().cpu() for stem, batch in parts.items()}
    whole, suffix = torch.cat(list(parts.values())), domain.output_suffix
    are_single = len(whole) == len(parts)
    labelled = {_label(stem): batch for stem, batch in parts.items()}
    drawn = dict(islice(labelled.items(), _MOST_DRAWN))
    with files_into(folder) as temporary:
        for stem, batch in parts.items():
            domain.write(batch, temporary / f"{stem}{suffix}", source)
            if not are_single and domain.drawn_below:
                domain.preview({_label(stem): batch}, temporary / stem, source)
        if domain.drawn_below and are_single:
            domain.preview(drawn, temporary / name, source)
        # After the preview, which writes what it drew under the same name.
        domain.write(whole, temporary / f"{name}{suffix}", source)
        # For pictures the preview is last: it is the whole too, large enough to be looked at. Many are a sheet.
        if not domain.drawn_below and (len(parts) <= _MOST_IN_A_ROW or not are_single):
            domain.preview({f"{name}": whole} if are_single else labelled, temporary / name, source)
    silent = ((stem, domain.remark(batch)) for stem, batch in parts.items())
    remarks = [f"{stem}{suffix}: {remark}" for stem, remark in silent if remark is not None]
    if domain.drawn_below and are_single and len(drawn) < len(parts):
        remarks.append(f"{name}{suffix} holds all {len(parts)}; picture and sound are of the first {len(drawn)}")
    return folder / f"{name}{suffix}", remarks


def write_square(domain: Domain, cells: Tensor, folder: Path, name: str, source: Any = None) -> tuple[Path, list[str]]:
    """Writes a square of examples: each column as a file, all of them in a row as one, and one picture.

    Args:
        domain: writes the tensors.
        cells: `(rows, columns, *spec.shape)`.
        folder, name, source: as in `write_parts`.

    Returns:
        As `write_parts`.
    """
    cells, suffix = cells.detach().cpu(), domain.output_suffix
    columns = numbered("column", cells.transpose(0, 1))
    with files_into(folder) as temporary:
        for stem, batch in columns.items():
            domain.write(batch, temporary / f"{stem}{suffix}", source)
        domain.write(torch.cat(list(columns.values())), temporary / f"{name}{suffix}", source)
        rows = {_label(stem): batch for stem, batch in numbered("row", cells).items()}
        domain.preview(rows, temporary / name, source)
    remarks = [
        f"{stem}{suffix}, row {row}: {remark}"
        for stem, batch in columns.items()
        for row, cell in enumerate(batch.split(1), 1)
        if (remark := domain.remark(cell)) is not None
    ]
    return folder / f"{name}{suffix}", remarks


def _label(stem: str) -> str:
    """`step-03` → `step 3`."""
    return re.sub(r"-0*(?=\d)", " ", stem)


def _series(file: Path) -> tuple[str, int]:
    """`step-03.mid` → `("step", 2)`, `samples.wav` → `("samples", 0)`: what the files of one result have in common."""
    found = re.fullmatch(r"(.+)-(\d+)", file.stem)
    return (found[1], len(found[2])) if found else (file.stem, 0)


@contextmanager
def files_into(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder whose files are moved into `folder` if the block ends well.

    What an earlier, longer result left there, such as `step-13.mid` beside the new `step-01.mid` to
    `step-05.mid`, is removed once the new files are there.

    Raises:
        MusicaeError: there is a file of that name, or nothing can be written there.
    """
    refuse_place(folder, folder=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A folder that is there may be on another disk than its parent, or the only one that may be written to.
        place = folder if folder.is_dir() else folder.parent
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=place))
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        yield temporary
        try:
            folder.mkdir(exist_ok=True)
            made = sorted(temporary.iterdir())
            for file in made:
                file.replace(folder / file.name)
            names, series = {file.name for file in made}, {_series(file) for file in made}
            for old in list(folder.iterdir()):
                if old.suffix in _WRITTEN and old.name not in names and _series(old) in series:
                    old.unlink()
        except OSError as error:
            raise unwritable(folder, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
