"""Reading a data set on several machines: each reads a shard of the files, and the shards' stores are merged.

Shard 3 of 16 is every 16th file of the list, from the third on. All machines must see the same files under the same
names and with the same times, as on a shared drive, or in copies that keep times. The merged store is the same, to the
byte, as that of one machine which reads all files. Nothing here starts processes on other machines: any scheduler that
runs a command can.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from musicae.data.reading import Block
from musicae.data.store import Stored
from musicae.errors import MusicaeError

_Any = TypeVar("_Any")


@dataclass(frozen=True)
class Shard:
    """A part of a list of files.

    Attributes:
        number: from 1 on.
        count: how many shards there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Reads "3/16". Raises `MusicaeError` if it is no such text."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise MusicaeError(f"--shard {text!r} is no shard; expected NUMBER/COUNT, such as 3/16, counted from 1.")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def all_of(cls, count: int) -> "list[Shard]":
        """Every shard of a list that is divided into `count`."""
        return [cls(number, count) for number in range(1, count + 1)]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def part(self, files: Sequence[_Any]) -> list[_Any]:
        """The files of this shard."""
        return list(files[self.number - 1 :: self.count])

    def store_name(self, fingerprint: str) -> str:
        """Name of the shard's store, where `fingerprint` is that of all files."""
        return f"{fingerprint}-{self.number}-of-{self.count}"


def merged(shards: Sequence[Stored], files: int) -> Iterator[Block]:
    """Blocks of all shards' files, in the order of the whole list.

    Args:
        shards: in their order, from the first to the last.
        files: number of files in the whole list.
    """
    # The rows of a file are next to each other; so are its items.
    row_ends = [np.searchsorted(shard.file[shard.owner], np.arange(files), "right") for shard in shards]
    item_ends = [np.searchsorted(shard.file, np.arange(files), "right") for shard in shards]
    for number in range(files):
        place, which = divmod(number, len(shards))
        shard, rows, items = shards[which], row_ends[which], item_ends[which]
        row = slice(rows[place - 1] if place else 0, rows[place])
        item = slice(items[place - 1] if place else 0, items[place])
        yield Block(
            1,
            np.asarray(shard.examples[row]),
            np.asarray(shard.identity[row]),
            np.asarray(shard.owner[row]) - item.start,
            shard.items[item],
            shard.content[item],
            np.zeros(item.stop - item.start, np.int64),
        )
    for shard in shards:
        report = shard.report
        yield Block(0, skipped=report.skipped, damaged=report.damaged, stopped=report.stopped)
