"""Reads files into blocks of examples, in one process or in each of several.

A block holds the examples of some consecutive files. Blocks joined in the order of the files give the same data
wherever they begin and end. Nothing here knows processes, splits or the store on disk.
"""

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from musicae.domain import Domain, Reading
from musicae.errors import DamagedFileError

Outcome = tuple[str, Reading | DamagedFileError]
"""A file's item name, and what it gave."""

BLOCK_FILES = 64
_BLOCK_BYTES = 8 * 2**20
_BLOCK_S = 0.2
"""A block is complete at the first of these three limits, so that memory stays small and the bar keeps moving."""


@dataclass
class Block:
    """The examples of some consecutive files.

    Attributes:
        files: how many files.
        examples: `(examples, ...)` in the domain's stored form.
        identity: uint64 `(examples,)` of `Domain.identity`.
        owner: int64 `(examples,)` indices into `items`.
        items: names of the items; all examples of one go into the same split.
        content: uint64 `(items,)`, a hash of what each item holds, whatever its name. It depends on the file's bytes
            alone and not on the domain's settings, so that a song is in the same split for every model.
        file: int64 `(items,)`, which of the block's files each item comes from.
        skipped: reason → number of windows that were left out.
        damaged: file name → the error's sentence, for every file that could not be read.
        stopped: reason → number of the damaged files that were given up while they were read.
    """

    files: int
    examples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    identity: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    owner: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    items: list[str] = field(default_factory=list)
    content: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    file: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    skipped: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Size of the arrays in bytes."""
        return self.examples.nbytes + self.identity.nbytes + self.owner.nbytes


def read_all(domain: Domain, files: Iterable[tuple[str, Path]]) -> Iterator[Outcome]:
    """Reads files one by one; for a damaged file the error is yielded, and reading continues."""
    for name, path in files:
        try:
            yield name, replace(domain.read(path), content=_digest(path))
        except DamagedFileError as error:
            yield name, error


def gather_blocks(domain: Domain, outcomes: Iterable[Outcome]) -> Iterator[Block]:
    """Joins consecutive files into blocks; a file is never split between blocks."""
    gathered: list[Outcome] = []
    size, since = 0, time.monotonic()
    for outcome in outcomes:
        gathered.append(outcome)
        size += 0 if isinstance(outcome[1], DamagedFileError) else outcome[1].examples.nbytes
        if len(gathered) >= BLOCK_FILES or size >= _BLOCK_BYTES or time.monotonic() - since >= _BLOCK_S:
            yield _join(domain, gathered)
            gathered, size, since = [], 0, time.monotonic()
    if gathered:
        yield _join(domain, gathered)


def _join(domain: Domain, outcomes: list[Outcome]) -> Block:
    block = Block(len(outcomes))
    skipped: defaultdict[str, int] = defaultdict(int)
    examples: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    contents: list[int] = []
    files: list[int] = []
    for number, (name, reading) in enumerate(outcomes):
        if isinstance(reading, DamagedFileError):
            block.damaged[name] = str(reading)
            continue
        for reason, count in reading.skipped.items():
            skipped[reason] += count
        if not len(reading.examples):
            continue
        examples.append(reading.examples)
        if reading.groups is None:
            owners.append(np.full(len(reading.examples), len(block.items), np.int64))
            block.items.append(name)
            contents.append(_number(reading.content or reading.examples.tobytes()))
        else:
            groups, inverse = np.unique(reading.groups, return_inverse=True)
            owners.append(inverse + len(block.items))
            block.items.extend(f"{name}#{group}" for group in groups)
            contents += _group_contents(reading, groups, inverse)
        files += [number] * (len(block.items) - len(files))
    block.skipped = dict(skipped)
    block.content, block.file = np.array(contents, np.uint64), np.array(files, np.int64)
    if examples:
        # A long file is a block alone, and is not copied.
        block.examples = examples[0] if len(examples) == 1 else np.concatenate(examples)
        block.owner = np.concatenate(owners)
        block.identity = domain.identity(block.examples)
    return block


def _group_contents(reading: Reading, groups: np.ndarray, inverse: np.ndarray) -> list[int]:
    """A hash for each group: of the file's bytes and the group's number; without a file, of the group's examples."""
    if reading.content:
        return [_number(reading.content + b"#%d" % group) for group in groups]
    rows = np.argsort(inverse, kind="stable")
    parts = np.split(rows, np.cumsum(np.bincount(inverse))[:-1])
    return [_number(reading.examples[part].tobytes()) for part in parts]


def file_content(path: Path) -> int:
    """The `content` of the one item of a file; see `Block`."""
    return _number(_digest(path))


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


def _number(content: bytes) -> int:
    """A hash of 64 bits."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big")
