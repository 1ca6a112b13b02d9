"""`Morph`: media objects that belong together, such as the steps of a path, samples, or the columns of a square.

They are composed when they are first read. Saving writes each as a file, all in sequence as one file, and a picture;
files are written atomically.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor

from musicae.atomic_io import atomic_files, unwritable
from musicae.domain import Domain, Savable

if TYPE_CHECKING:
    from PIL.Image import Image

_MOST_DRAWN = 100
"""Most parts in one picture and one sound; with more, the picture can't be read and the sound lasts for hours."""
_MOST_IN_A_ROW = 16
"""Most parts for which a picture of them side by side is saved."""


class Morph(Sequence[Any]):
    """Several media objects that one call returned, in order.

    Attributes:
        name: name of the whole, such as "interpolation".
        part: name of a part, such as "step": files are called `step-01`, `step-02`, ….
        tensor: `(parts, *spec.shape)`, or `(parts, examples, *spec.shape)` if a part has several examples; None if the
            parts are whole media objects that were changed.
        positions: how far along its path each part lies, 0 to 1; none where it is no path.
        remarks: notes for people.
    """

    def __init__(
        self,
        domain: Domain,
        *,
        name: str,
        part: str,
        tensor: Tensor | None = None,
        items: Sequence[Any] = (),
        frame: Any = None,
        frames: Sequence[Any] = (),
        first: str | None = None,
        rows: dict[str, Tensor] | None = None,
        columns: Sequence[str] = (),
        positions: Sequence[float] = (),
        originals: tuple[Tensor, Tensor] | None = None,
        remarks: Sequence[str] = (),
    ) -> None:
        """Takes media objects, or a tensor to compose them from.

        Args:
            domain: composes and draws.
            name, part: as in the attributes.
            tensor: `(parts, examples, *spec.shape)`.
            items: media objects, in place of a tensor.
            frame: a `Selection`'s.
            frames: of each part, where they differ; `frame` is that of all in a row.
            first: another name for the first part, such as "reconstruction".
            rows: label → examples, if the picture of the whole has other rows than the parts, as that of a square has.
            columns: labels of the columns of such a picture.
            positions: as in the attributes.
            originals: `(1, *spec.shape)` each, what lies at the ends of a path; drawn beside a row of pictures.
            remarks: remarks of the call; those of the composed media objects are added.
        """
        self.name, self.part, self.positions = name, part, tuple(positions)
        self._originals = originals
        self._frames = list(frames) or [frame] * (len(tensor) if tensor is not None else 0)
        self._domain, self._frame, self._rows, self._columns = domain, frame, rows, tuple(columns)
        self._parts = None if tensor is None else tensor.detach().cpu()
        self._items: list[Any] = [None] * len(tensor) if tensor is not None else list(items)
        if not self._items:
            raise ValueError("expected at least one part, got none")
        digits = max(2, len(str(len(self._items))))
        offset = 0 if first is not None else 1
        self.names = [f"{part}-{number:0{digits}d}" for number in range(offset, len(self._items) + offset)]
        if first is not None:
            self.names[0] = first
        self._remarks = tuple(remarks)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        """The media object at an index; it is composed at the first access."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if self._items[index] is None:
            assert self._parts is not None
            self._items[index] = self._domain.compose(self._parts[index], self._frames[index])
        return self._items[index]

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        return f"<Morph {self.name!r}: {len(self)} × {self.part}>"

    @property
    def tensor(self) -> Tensor | None:
        """The decoded examples; see the class."""
        if self._parts is None:
            return None
        return self._parts[:, 0] if self._parts.shape[1] == 1 else self._parts

    @cached_property
    def joined(self) -> Any:
        """All parts in sequence as one media object; None if the parts are whole media objects.

        Composed once: of sound it takes as long as all parts together.
        """
        return None if self._parts is None else self._domain.compose(self._parts.flatten(0, 1), self._frame)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes for people: which bars were taken, which part is silent."""
        own = [f"{name}: {remark}" for name, item in zip(self.names, self, strict=True) for remark in item.remarks]
        of_parts = {remark for item in self for remark in item.remarks}
        whole = () if self._parts is None else self.joined.remarks
        own += [f"{self.name}: {remark}" for remark in whole if remark not in of_parts]
        if self._is_drawn_in_part:
            own.append(
                f"{self.name} holds all {len(self)} parts; its picture and its sound are of the first {_MOST_DRAWN}"
            )
        return (*self._remarks, *dict.fromkeys(own))

    def each(self, change: Callable[[Any], Any]) -> "Morph":
        """The same with its media objects changed one by one.

        Args:
            change: a media object → another.

        Raises:
            ValueError: the parts are examples in a row and no whole media objects.
        """
        if self._parts is not None:
            raise ValueError("only whole media objects are changed one by one")
        items = [change(item) for item in self]
        return Morph(self._domain, name=self.name, part=self.part, items=items, remarks=self._remarks)

    def preview(self) -> dict[str, Savable]:
        """File ending → a picture of the whole, and a sound or a score of the same; see `Domain.preview`."""
        if self._parts is None:
            return {}
        if self._rows is not None:
            return self._domain.preview(self._rows, self._frame, columns=self._columns)
        places = [f"{position:.2f}" for position in self.positions]
        if not self._domain.stacks_rows and self._are_single:
            shown = self._parts.flatten(0, 1)
            if self._originals is not None:
                first, last = (original.detach().cpu() for original in self._originals)
                shown, places = torch.cat([first, shown, last]), ["original", *places, "original"]
            return self._domain.preview({self.name: shown}, self._frame, columns=places)
        labels = [re.sub(r"-0*(?=\d)", " ", name) for name in self.names]  # step-03 → step 3
        if places:
            labels = [f"{label}, {place}" for label, place in zip(labels, places, strict=True)]
        rows = dict(zip(labels, self._parts[:_MOST_DRAWN], strict=False))
        return self._domain.preview(rows, self._frame)

    def plot(self) -> "Image":
        """One picture of all parts."""
        drawn: Any = self.preview().get(".png")
        if drawn is None:
            drawn = self[0].plot()
        image: Image = drawn
        return image

    def _repr_html_(self) -> str:
        """A picture of all parts, and a player of them in sequence if they are sounds or music."""
        from musicae.plots import as_html

        image = as_html(self.plot())
        player = getattr(self.joined, "player_html", None)
        return image if player is None else f"{image}<br>{player()}"

    def files(self, folder: Path | str) -> list[Path]:
        """The files that `save` writes for the parts, and for the whole at the end."""
        folder = Path(folder)
        parts = [folder / f"{name}{self[0].suffix}" for name in self.names]
        return parts if self._parts is None else [*parts, folder / f"{self.name}{self[0].suffix}"]

    def replaces(self, folder: Path | str) -> bool:
        """Whether `save` would replace or remove files: those of these names, also of another medium's result."""
        folder = Path(folder)
        series = {_series(file.name) for file in self.files(folder)}
        old = folder.iterdir() if folder.is_dir() else ()
        return any(file.suffix in self._endings and _series(file.name) in series for file in old)

    def save(self, folder: Path | str) -> Path:
        """Writes each part as a file, all parts in sequence as one, and a picture; for music a WAV too.

        Files of the same names are replaced, and the remaining files of an earlier, longer result are removed.

        Args:
            folder: created if it does not exist; nothing is written there unless everything succeeds.

        Returns:
            The file with the whole; the folder, if the parts are whole media objects.

        Raises:
            MusicaeError: it cannot be written.
        """
        folder = Path(folder)
        suffix = self[0].suffix
        with atomic_files(folder) as temporary:
            for index, (name, item) in enumerate(zip(self.names, self, strict=True)):
                item.save(temporary / f"{name}{suffix}")
                if not self._are_single and self._rows is None and self._domain.stacks_rows and self._parts is not None:
                    # A part of several examples gets a picture and a sound of its own.
                    rows = {re.sub(r"-0*(?=\d)", " ", name): self._parts[index]}
                    _save_all(self._domain.preview(rows, self._frame), temporary / name, but=suffix)
            whole = self.joined
            if whole is not None:
                if self._is_drawn:
                    _save_all(self.preview(), temporary / self.name, but="" if suffix == ".png" else suffix)
                if not (self._is_drawn and suffix == ".png"):
                    whole.save(temporary / f"{self.name}{suffix}")
            made = {file.name for file in temporary.iterdir()}
        _remove_stale(folder, made, self._endings)
        return folder if self._parts is None else folder / f"{self.name}{suffix}"

    @property
    def _endings(self) -> set[str]:
        """Of the files that `save` may write."""
        return {self[0].suffix, ".png", ".wav"}

    @property
    def _are_single(self) -> bool:
        return self._parts is not None and self._parts.shape[1] == 1

    @property
    def _is_drawn(self) -> bool:
        """Whether the whole gets a picture: stacked rows of single examples do, and a row that is not too long."""
        if self._rows is not None:
            return True
        if self._domain.stacks_rows:
            return self._are_single
        return len(self) <= _MOST_IN_A_ROW or not self._are_single

    @property
    def _is_drawn_in_part(self) -> bool:
        return self._rows is None and self._domain.stacks_rows and self._are_single and len(self) > _MOST_DRAWN


def square(
    domain: Domain,
    cells: Tensor,
    name: str,
    frame: Any = None,
    remarks: Sequence[str] = (),
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> Morph:
    """A square of examples as a `Morph` of its columns.

    Args:
        domain: composes and draws.
        cells: `(rows, columns, *spec.shape)`.
        name: name of the whole.
        frame: that of a `Selection`.
        remarks: notes for people.
        rows, columns: labels; by default the rows are numbered.
    """
    cells = cells.detach().cpu()
    labels = rows or [f"row {number}" for number in range(1, len(cells) + 1)]
    return Morph(
        domain,
        name=name,
        part="column",
        tensor=cells.transpose(0, 1),
        frame=frame,
        rows=dict(zip(labels, cells, strict=True)),
        columns=columns,
        remarks=remarks,
    )


def name_of(source: Any) -> str:
    """The name of a source: that of its file without the ending, its own, or that of its type."""
    if isinstance(source, (str, Path)):
        return Path(source).stem
    return getattr(source, "name", "") or type(source).__name__


def _save_all(files: dict[str, Savable], stem: Path, *, but: str) -> None:
    """Writes the files of a preview under one name, except for the ending `but`."""
    from PIL.Image import Image

    from musicae.plots import save_png

    for ending, thing in files.items():
        if ending == but:
            continue
        path = stem.with_name(f"{stem.name}{ending}")
        if isinstance(thing, Image):
            save_png(thing, path)
        else:
            thing.save(path)


def _remove_stale(folder: Path, made: set[str], endings: set[str]) -> None:
    """Removes files of an earlier, longer result, as `step-13.mid` beside the new `step-01.mid` to `step-05.mid`."""
    series = {_series(name) for name in made}
    for old in list(folder.iterdir()):
        if old.suffix in endings and old.name not in made and _series(old.name) in series and old.is_file():
            try:
                old.unlink()
            except OSError as error:
                raise unwritable(old, error) from None


def _series(name: str) -> tuple[str, int]:
    """What the files of one result have in common: `step-03.mid` → `("step", 2)`, `samples.wav` → `("samples", 0)`."""
    stem = Path(name).stem
    found = re.fullmatch(r"(.+)-(\d+)", stem)
    return (found[1], len(found[2])) if found else (stem, 0)


def repeated_rows(tensor: Tensor, count: int) -> Tensor:
    """The rows of a tensor, repeated from the beginning until there are `count`."""
    return tensor[torch.arange(count, device=tensor.device) % len(tensor)]
