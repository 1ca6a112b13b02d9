"""Checksums of a folder's files, so that files which were changed, cut or damaged are noticed before they are used.

Each file has a CRC-32 for every block of 4 MiB. A CRC finds every flipped bit and every damaged stretch of up to 32
bits, and other damage but for one case in four billion. It is no defence against an attacker, who could write new
checksums. It was chosen for its speed, which is above that of a cryptographic hash, so that even gigabytes are checked
whenever they are opened. Nothing here knows what the files hold.
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any
from zlib import crc32

CHECKSUMS = "checksums.json"
FORMAT = 3
"""Version of the layout of stores; one of another version is read anew."""

_BLOCK_BYTES = 4 * 2**20
_SPAN_BLOCKS = 16
"""Blocks that a thread reads one after another: neighbours, as disks like it."""
_MOST_THREADS = 4


class RunningChecksum:
    """The checksums of a file while it is written, piece by piece."""

    def __init__(self) -> None:
        self.size = 0
        self._blocks: list[int] = []
        self._open = 0  # of the block that is not full yet

    def update(self, content: Any) -> None:
        """Adds bytes, or an array's buffer, that are written next."""
        rest = memoryview(content).cast("B")
        while len(rest):
            piece = rest[: _BLOCK_BYTES - self.size % _BLOCK_BYTES]
            self._open = crc32(piece, self._open)
            self.size += len(piece)
            rest = rest[len(piece) :]
            if self.size % _BLOCK_BYTES == 0:
                self._blocks.append(self._open)
                self._open = 0

    def describe(self) -> dict[str, Any]:
        """Size in bytes and checksums, for `write_checksums`."""
        unfinished = [self._open] if self.size % _BLOCK_BYTES else []
        return {"size": self.size, "crc32": [*self._blocks, *unfinished]}


def checksum_of(content: bytes) -> dict[str, Any]:
    """Size and checksums of a file that is written at once."""
    running = RunningChecksum()
    running.update(content)
    return running.describe()


def write_checksums(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    """Writes the sizes and checksums of a folder's files: name → what `describe` gave."""
    content = {"format": FORMAT, "block_bytes": _BLOCK_BYTES, "files": files}
    (folder / CHECKSUMS).write_text(json.dumps({**content, "crc32": _own_checksum(content)}), encoding="utf-8")


def damage(folder: Path) -> str | None:
    """What is wrong with the files of a folder, in words; None if all are as they were written.

    All bytes are read and compared, once in a process as long as the files' sizes and times stay as they are.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
        states = [(folder / name).stat() for name in names]
    except OSError as error:
        return f"it can't be read ({error.strerror})"
    times = [(state.st_size, state.st_mtime_ns, state.st_ctime_ns) for state in states]
    return _damage(folder, tuple((name, *numbers) for name, numbers in zip(names, times, strict=True)))


@lru_cache(maxsize=64)
def _damage(folder: Path, states: tuple[tuple[str, int, int, int], ...]) -> str | None:
    sizes = {name: size for name, size, _, _ in states}
    if CHECKSUMS not in sizes:
        return "it has no checksums, as an older version wrote it"
    try:
        content = json.loads((folder / CHECKSUMS).read_bytes())
        own = content.pop("crc32")
        if own != _own_checksum(content):
            return f"{CHECKSUMS} is damaged"
        if content["format"] != FORMAT:
            return f"its format is {content['format']}, and not {FORMAT}"
        for name, expected in content["files"].items():
            if sizes.get(name) != expected["size"]:
                found = f"{sizes[name]:,} bytes" if name in sizes else "missing"
                return f"{name} is {found}, and not {expected['size']:,} bytes"
        for name, expected in content["files"].items():
            if tuple(expected["crc32"]) != tuple(_file_checksums(folder / name, expected["size"])):
                return f"{name} differs from its checksum"
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return f"{CHECKSUMS} is damaged, or a file can't be read"
    return None


def _file_checksums(path: Path, size: int) -> Iterator[int]:
    """The checksum of each block, computed by several threads: reading and CRC leave the others running."""
    span = _SPAN_BLOCKS * _BLOCK_BYTES
    if size <= span:
        yield from _span_checksums(path, 0)
        return
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as threads:
        for blocks in threads.map(_span_checksums, repeat(path), range(0, size, span)):
            yield from blocks


def _span_checksums(path: Path, start: int) -> list[int]:
    checksums, buffer = [], bytearray(_BLOCK_BYTES)
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        for _ in range(_SPAN_BLOCKS):
            length = _fill(file, buffer)
            if length:
                checksums.append(crc32(memoryview(buffer)[:length]))
            if length < _BLOCK_BYTES:
                break
    return checksums


def _fill(file: Any, buffer: bytearray) -> int:
    """Reads until the buffer is full or the file ends; a single read may give less."""
    length = 0
    while length < len(buffer) and (count := file.readinto(memoryview(buffer)[length:])):
        length += count
    return length


def _own_checksum(content: dict[str, Any]) -> int:
    return crc32(json.dumps(content, sort_keys=True).encode())
