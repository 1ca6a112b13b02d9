"""The store of a data set: memory-mapped arrays in one folder, written block by block.

    examples.bin  identity.bin  owner.bin   one row for each example, in the order of the files
    items.json    report.json               names, shape and type; what was left out

While it is written, a journal states up to where everything is complete, so that an interrupted reading continues from
there. The folder gets its final name when it is complete. Nothing here knows files of media, processes or splits.
"""

import json
import math
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from musicae.data.reading import Block
from musicae.errors import MusicaeError

_ARRAYS = ("examples", "identity", "owner")
_WAIT_S = 0.2


@dataclass(frozen=True)
class ReadReport:
    """The result of reading: counts, and the reason for everything that was left out."""

    items: int = 0
    examples: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)  # file name → the sentence
    stopped: dict[str, int] = field(default_factory=dict)  # reason → damaged files given up while they were read
    duplicates: int = 0  # examples with the identity of an earlier one; they are stored too


class Stored(NamedTuple):
    """A complete store.

    Attributes:
        examples: `(examples, ...)`, memory-mapped.
        identity: uint64 `(examples,)`.
        owner: int64 `(examples,)` indices into `items`.
        items: names of the items; all examples of one go into the same split.
        report: what was read and what was left out.
    """

    examples: np.ndarray
    identity: np.ndarray
    owner: np.ndarray
    items: list[str]
    report: ReadReport


def is_complete(store: Path) -> bool:
    """Whether the folder holds a complete store."""
    return (store / "report.json").is_file()


def open_store(store: Path) -> Stored:
    """Opens a complete store."""
    layout = json.loads((store / "items.json").read_text())
    report = ReadReport(**json.loads((store / "report.json").read_text()))
    examples = np.memmap(store / "examples.bin", dtype=layout["dtype"], mode="r", shape=tuple(layout["shape"]))
    identity, owner = np.fromfile(store / "identity.bin", np.uint64), np.fromfile(store / "owner.bin", np.int64)
    return Stored(examples, identity, owner, layout["items"], report)


class _Layout(NamedTuple):
    """Shape and type of one example."""

    shape: tuple[int, ...] = (0,)
    dtype: str = "uint8"

    @classmethod
    def of(cls, shape: Iterable[int], dtype: str) -> "_Layout":
        return cls(tuple(shape), dtype)

    def sizes(self, rows: int) -> dict[str, int]:
        """Bytes of each array."""
        example = math.prod(self.shape) * np.dtype(self.dtype).itemsize
        return {"examples": rows * example, "identity": rows * 8, "owner": rows * 8}


class StoreWriter:
    """Writes blocks into a folder, continuing where the journal of an earlier writer ends.

    Args:
        folder: only this class writes there.
        journal_s: seconds between two entries of the journal: the work that an interruption may lose.
    """

    def __init__(self, folder: Path, journal_s: float = 5.0) -> None:
        self.files = self.examples = 0  # written by now
        self._folder, self._journal_s = folder, journal_s
        self._items: list[str] = []
        self._skipped, self._stopped = Counter[str](), Counter[str]()
        self._damaged: dict[str, str] = {}
        self._layout = _Layout()
        complete = self._replay()
        self.worth_keeping = complete > 0  # whether a later writer would find an entry
        self._pending: list[list[Any]] = []  # since the last entry: blocks without their arrays
        self._journal = (folder / "journal.jsonl").open("r+b" if complete else "wb")
        self._journal.truncate(complete)
        self._journal.seek(complete)
        self._outputs = {name: (folder / f"{name}.bin").open("r+b" if complete else "wb") for name in _ARRAYS}
        for name, size in self._layout.sizes(self.examples).items():
            self._outputs[name].truncate(size)
            self._outputs[name].seek(size)
        self._since = time.monotonic()

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for output in (self._journal, *self._outputs.values()):
            output.close()

    def write(self, block: Block) -> None:
        """Adds the next block. Raises `ValueError` if its examples have another shape or type."""
        if len(block.examples):
            layout = _Layout.of(block.examples.shape[1:], block.examples.dtype.name)
            if self.examples and layout != self._layout:
                raise ValueError(f"examples are {self._layout}, but those of {block.items[0]!r} are {layout}.")
            arrays = (block.examples, block.identity.astype(np.uint64), block.owner + len(self._items))
            for name, array in zip(_ARRAYS, arrays, strict=True):
                self._outputs[name].write(np.ascontiguousarray(array).data)
            self._layout = layout
            self.examples += len(block.examples)
        self._count(block)
        self._pending.append([block.files, block.items, block.skipped, block.damaged, block.stopped])
        if time.monotonic() - self._since >= self._journal_s:
            self._write_journal_entry()

    def finish(self) -> ReadReport:
        """Writes names, layout and report. Then the folder is complete, except for its name."""
        for output in self._outputs.values():
            output.flush()
        identity = np.fromfile(self._folder / "identity.bin", np.uint64)
        duplicates = len(identity) - len(np.unique(identity))
        report = ReadReport(
            len(self._items), self.examples, dict(self._skipped), self._damaged, dict(self._stopped), duplicates
        )
        layout = {"items": self._items, "shape": [self.examples, *self._layout.shape], "dtype": self._layout.dtype}
        (self._folder / "items.json").write_text(json.dumps(layout))
        (self._folder / "report.json").write_text(json.dumps(asdict(report)))
        return report

    def _count(self, block: Block) -> None:
        self.files += block.files
        self._items += block.items
        self._skipped.update(block.skipped)
        self._damaged.update(block.damaged)
        self._stopped.update(block.stopped)

    def _write_journal_entry(self) -> None:
        """Writes an entry, which states that everything up to here is on disk."""
        for output in self._outputs.values():
            output.flush()
            os.fsync(output.fileno())
        entry = {"rows": self.examples, "layout": self._layout, "blocks": self._pending}
        self._journal.write(json.dumps(entry).encode() + b"\n")
        self._journal.flush()
        self.worth_keeping = True
        self._pending, self._since = [], time.monotonic()

    def _replay(self) -> int:
        """Restores the state from the journal's complete entries; returns their size in bytes."""
        complete = 0
        with suppress(OSError, ValueError):  # there is no journal, or its writer ended in the middle of a line
            stored_sizes = {name: (self._folder / f"{name}.bin").stat().st_size for name in _ARRAYS}
            for line in (self._folder / "journal.jsonl").read_bytes().splitlines(keepends=True):
                entry = json.loads(line)
                layout = _Layout.of(*entry["layout"])
                sizes = layout.sizes(entry["rows"])
                if not line.endswith(b"\n") or any(stored_sizes[name] < sizes[name] for name in _ARRAYS):
                    break
                for files, items, skipped, damaged, stopped in entry["blocks"]:
                    self._count(Block(files, items=items, skipped=skipped, damaged=damaged, stopped=stopped))
                self.examples, self._layout = entry["rows"], layout
                complete += len(line)
        return complete


@contextmanager
def writing_folder(store: Path) -> Iterator[Path | None]:
    """Yields a folder to write a store in, where no other process writes; None once another has finished the store.

    It is `.reading-NAME` beside the store, and locked; a second process waits. Where folders can't be locked (Windows,
    some network drives) each process has a folder of its own, and an interrupted reading starts again.
    """
    store.parent.mkdir(parents=True, exist_ok=True)
    folder = store.with_name(f".reading-{store.name}")
    while not is_complete(store):
        folder.mkdir(exist_ok=True)
        try:
            lock = _lock(folder)
        except BlockingIOError:
            time.sleep(_WAIT_S)
            continue
        except (ImportError, OSError):
            with suppress(OSError):
                folder.rmdir()
            own = Path(tempfile.mkdtemp(prefix=".reading-", dir=store.parent))
            try:
                yield own
            finally:
                shutil.rmtree(own, ignore_errors=True)
            return
        try:
            # The folder may have been published or removed between being made and being locked.
            if folder.is_dir() and os.path.samestat(os.fstat(lock), folder.stat()):
                if is_complete(store):  # published after this process last looked
                    with suppress(OSError):
                        folder.rmdir()
                    break
                yield folder
                return
        finally:
            os.close(lock)
    yield None


def _lock(folder: Path) -> int:
    """Locks a folder while the returned descriptor is open; the end of the process unlocks it too."""
    import fcntl  # not on Windows

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def publish(folder: Path, store: Path) -> None:
    """Renames a complete store to its final name, unless another process has already written the same store."""
    try:
        folder.rename(store)
    except OSError:
        if not is_complete(store):
            raise
    with suppress(FileNotFoundError):
        (store / "journal.jsonl").unlink()


def refuse_if_unusable(report: ReadReport, domain_name: str, left_out: str) -> None:
    """Raises `MusicaeError` if there is no example to learn from."""
    if report.examples == 0:
        raise MusicaeError(f"nothing to learn from: no usable {domain_name} example. Left out: {left_out}.")
