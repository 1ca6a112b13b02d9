"""The store of a data set: memory-mapped arrays in one folder, written block by block.

    examples.bin  identity.bin  owner.bin   one row for each example, in the order of the files
    content.bin   file.bin                  one number for each item
    items.json    report.json               names, shape and type; what was left out
    checksums.json                          of all of these

While it is written, a journal states up to where everything is complete, so that an interrupted reading continues from
there; it has checksums of its own. The folder gets its final name when it is complete and on the disk. Nothing here
knows files of media, processes or splits.
"""

import json
import math
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from uuid import uuid4
from zlib import crc32

import numpy as np

from musicae.atomic_io import sync_files, sync_folder
from musicae.data.checksums import RunningChecksum, checksum_of, damage, write_checksums
from musicae.data.reading import Block
from musicae.errors import DamagedFileError, MusicaeError

_ARRAYS = ("examples", "identity", "owner")
JOURNAL = "journal.jsonl"
_NONE = np.zeros(0)
_WAIT_S = 0.2
_SAID_AFTER_S = 2.0
"""Seconds of waiting for another process before it is said."""


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
        content: uint64 `(items,)`, a hash of what each holds; see `Block`.
        file: int64 `(items,)`, the number of the file that each comes from.
        report: what was read and what was left out.
    """

    examples: np.ndarray
    identity: np.ndarray
    owner: np.ndarray
    items: list[str]
    content: np.ndarray
    file: np.ndarray
    report: ReadReport


def open_store(store: Path) -> Stored:
    """Opens a complete store. Raises `DamagedFileError` if it is not as it was written."""
    if fault := damage(store):
        raise DamagedFileError(f"the store {store} is damaged: {fault}. Read the files again: musicae prepare.")
    layout = json.loads((store / "items.json").read_bytes())
    report = ReadReport(**json.loads((store / "report.json").read_bytes()))
    examples = _mapped(store / "examples.bin", layout["dtype"]).reshape(layout["shape"])
    identity, owner = _mapped(store / "identity.bin", np.uint64), _mapped(store / "owner.bin", np.int64)
    content, file = np.fromfile(store / "content.bin", np.uint64), np.fromfile(store / "file.bin", np.int64)
    return Stored(examples, identity, owner, layout["items"], content, file, report)


def _mapped(path: Path, dtype: str | type) -> np.ndarray:
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.zeros(0, dtype)  # an empty file can't be mapped


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
        self._content: list[int] = []  # of the items
        self._file: list[int] = []
        self._skipped, self._stopped = Counter[str](), Counter[str]()
        self._damaged: dict[str, str] = {}
        self._layout = _Layout()
        self._checksums = {name: RunningChecksum() for name in _ARRAYS}
        complete = self._replay()
        self.worth_keeping = complete > 0  # whether a later writer would find an entry
        self._pending: list[list[Any]] = []  # since the last entry: blocks without their arrays
        self._pending_crc = dict.fromkeys(_ARRAYS, 0)  # and the CRC-32 of what was added to their arrays
        self._journal = (folder / JOURNAL).open("r+b" if complete else "wb")
        self._journal.truncate(complete)
        self._journal.seek(complete)
        self._outputs = {name: (folder / f"{name}.bin").open("r+b" if complete else "wb") for name in _ARRAYS}
        for name, size in self._layout.sizes(self.examples).items():
            self._outputs[name].truncate(size)
            self._outputs[name].seek(size)
        self._since = time.monotonic()

    @property
    def nbytes(self) -> int:
        """Size of the arrays that are written by now."""
        return sum(checksum.size for checksum in self._checksums.values())

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for output in (self._journal, *self._outputs.values()):
            with suppress(OSError):  # the disk is full, which `write` has said; what `finish` wrote is on the disk
                output.close()

    def write(self, block: Block) -> None:
        """Adds the next block. Raises `ValueError` if its examples have another shape or type."""
        if len(block.examples):
            layout = _Layout.of(block.examples.shape[1:], block.examples.dtype.name)
            if self.examples and layout != self._layout:
                raise ValueError(f"examples are {self._layout}, but those of {block.items[0]!r} are {layout}.")
            arrays = (block.examples, block.identity.astype(np.uint64), block.owner + len(self._items))
            for name, array in zip(_ARRAYS, arrays, strict=True):
                content = np.ascontiguousarray(array).data.cast("B")
                self._outputs[name].write(content)
                self._checksums[name].update(content)
                self._pending_crc[name] = crc32(content, self._pending_crc[name])
            self._layout = layout
            self.examples += len(block.examples)
        self._count(block)
        items = [block.items, block.content.tolist(), block.file.tolist()]
        self._pending.append([block.files, *items, block.skipped, block.damaged, block.stopped])
        if time.monotonic() - self._since >= self._journal_s:
            self._write_journal_entry()

    def finish(self) -> ReadReport:
        """Writes names, layout, report and checksums. Then the folder is complete, except for its name."""
        for output in self._outputs.values():
            output.flush()
        identity = np.fromfile(self._folder / "identity.bin", np.uint64)
        duplicates = len(identity) - len(np.unique(identity))
        report = ReadReport(
            len(self._items), self.examples, dict(self._skipped), self._damaged, dict(self._stopped), duplicates
        )
        layout = {"items": self._items, "shape": [self.examples, *self._layout.shape], "dtype": self._layout.dtype}
        small = {
            "content.bin": np.array(self._content, np.uint64).tobytes(),
            "file.bin": np.array(self._file, np.int64).tobytes(),
            "items.json": json.dumps(layout).encode(),
            "report.json": json.dumps(asdict(report), sort_keys=True).encode(),
        }
        for name, content in small.items():
            (self._folder / name).write_bytes(content)
        checksums = {f"{name}.bin": checksum.describe() for name, checksum in self._checksums.items()}
        checksums |= {name: checksum_of(content) for name, content in small.items()}
        write_checksums(self._folder, checksums)
        return report

    def _count(self, block: Block) -> None:
        self._content += block.content.tolist()
        self._file += (block.file + self.files).tolist()
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
        entry = {"rows": self.examples, "layout": self._layout, "crc32": self._pending_crc, "blocks": self._pending}
        line = json.dumps(entry).encode()
        self._journal.write(b"%08x %s\n" % (crc32(line), line))
        self._journal.flush()
        os.fsync(self._journal.fileno())
        self.worth_keeping = True
        self._pending, self._since = [], time.monotonic()
        self._pending_crc = dict.fromkeys(_ARRAYS, 0)

    def _replay(self) -> int:
        """Restores the state from the journal's complete entries; returns their size in bytes."""
        complete = 0
        # There may be no journal, or its writer ended in the middle of a line.
        with suppress(OSError, ValueError), ExitStack() as stack:
            stored = {name: stack.enter_context((self._folder / f"{name}.bin").open("rb")) for name in _ARRAYS}
            for line in (self._folder / JOURNAL).read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n") or int(line[:8], 16) != crc32(line[9:-1]):
                    break
                entry = json.loads(line[9:])
                layout = _Layout.of(*entry["layout"])
                sizes = layout.sizes(entry["rows"])
                added = {name: stored[name].read(sizes[name] - self._checksums[name].size) for name in _ARRAYS}
                if any(crc32(added[name]) != entry["crc32"][name] for name in _ARRAYS):
                    break
                for name in _ARRAYS:
                    self._checksums[name].update(added[name])
                for files, items, content, file, *left_out in entry["blocks"]:
                    numbers = np.array(content, np.uint64), np.array(file, np.int64)
                    self._count(Block(files, _NONE, _NONE, _NONE, items, *numbers, *left_out))
                self.examples, self._layout = entry["rows"], layout
                complete += len(line)
        return complete


@contextmanager
def writing_folder(store: Path, say: Callable[[str], None] = lambda sentence: None) -> Iterator[Path | None]:
    """Yields a folder to write a store in, where no other process writes; None once another has finished the store.

    It is `.reading-NAME` beside the store, and locked; a second process waits. Where folders can't be locked (Windows,
    some network drives) each process has a folder of its own, and an interrupted reading starts again.

    Args:
        store: the store's folder.
        say: is given a sentence when another process is waited for.
    """
    store.parent.mkdir(parents=True, exist_ok=True)
    folder, since, said = store.with_name(f".reading-{store.name}"), time.monotonic(), False
    while True:
        folder.mkdir(exist_ok=True)
        try:
            lock = _lock(folder)
        except FileNotFoundError:  # the other process has just published it
            continue
        except BlockingIOError:
            if not said and time.monotonic() - since > _SAID_AFTER_S:
                say("another process is reading these files; waiting for it.")
                said = True
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
                if store.is_dir() and damage(store) is None:  # published after this process last looked
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
    """Renames a complete store to its final name, in place of a damaged one, once all of it is on the disk.

    Where another process has written the same store in the meantime, that one stays.
    """
    with suppress(FileNotFoundError):
        (folder / JOURNAL).unlink()
    sync_files(folder)
    if store.is_dir() and damage(store) is not None:
        aside = store.with_name(f".damaged-{store.name}-{uuid4().hex[:8]}")
        with suppress(FileNotFoundError):  # another process was faster
            store.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
    try:
        folder.rename(store)
    except OSError:
        if damage(store) is not None:
            raise
    sync_folder(store.parent)


def refuse_if_unusable(report: ReadReport, domain_name: str, left_out: str) -> None:
    """Raises `MusicaeError` if there is no example to learn from."""
    if report.examples == 0:
        raise MusicaeError(f"nothing to learn from: no usable {domain_name} example. Left out: {left_out}.")
