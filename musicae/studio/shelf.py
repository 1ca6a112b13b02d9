"""`Shelf`: media objects of the running studio, in memory, by the hash of what they hold.

Nothing is written to the disk. What was not asked for longest is given up when there is too much.
"""

from collections import OrderedDict
from hashlib import sha256
from threading import Lock
from typing import Any, NamedTuple

from musicae.errors import MusicaeError

MOST_ITEMS = 2_000
MOST_BYTES = 512 * 2**20
_DIGITS = 24


class NotThereError(MusicaeError):
    """Something that is asked for and is not, or no longer, there."""


class Kept(NamedTuple):
    """A media object and its size.

    Attributes:
        item: itself.
        nbytes: about what it takes.
    """

    item: Any
    nbytes: int


class Shelf:
    """Holds media objects for a while.

    Args:
        most_items: how many at most.
        most_bytes: how much they may take in all.
    """

    def __init__(self, most_items: int = MOST_ITEMS, most_bytes: int = MOST_BYTES) -> None:
        self.most_items, self.most_bytes = most_items, most_bytes
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self._nbytes = 0
        self._lock = Lock()

    def add(self, item: Any, content: bytes) -> str:
        """Keeps a media object.

        Args:
            item: itself.
            content: the bytes that it is made of; equal ones have one name.

        Returns:
            Its name.
        """
        name = sha256(type(item).__name__.encode() + item.name.encode() + content).hexdigest()[:_DIGITS]
        with self._lock:
            former = self._kept.pop(name, None)
            self._nbytes += len(content) - (former.nbytes if former else 0)
            self._kept[name] = Kept(item, len(content))
            while len(self._kept) > 1 and (len(self._kept) > self.most_items or self._nbytes > self.most_bytes):
                self._nbytes -= self._kept.popitem(last=False)[1].nbytes
        return name

    def get(self, name: str) -> Any:
        """A media object by its name. Raises `NotThereError` where it is not there any more."""
        with self._lock:
            if name not in self._kept:
                raise NotThereError("this is no longer in the studio's memory; drop the file again.")
            self._kept.move_to_end(name)
            return self._kept[name].item

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """About what everything takes."""
        return self._nbytes
