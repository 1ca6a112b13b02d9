"""IDX files of grey pictures, gzipped or not, and the files of labels beside them: the format of MNIST.

A header says how many pictures of which size follow; LeCun describes it at yann.lecun.com/exdb/mnist.
"""

import gzip
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from musicae.errors import DamagedFileError, MusicaeError
from musicae.image.files import MAX_SIDE

IDX_SUFFIXES = ("images-idx3-ubyte", "images-idx3-ubyte.gz", "images.idx3-ubyte", "images.idx3-ubyte.gz")
"""Endings of the whole name; MNIST's are `train-images-idx3-ubyte.gz` and `t10k-images-idx3-ubyte.gz`."""

_MAX_IDX_BYTES = 4 * 2**30
_BLOCK_BYTES = 16 * 2**20
_IDX_IMAGES = 0x00000803  # uint8, three axes
_IDX_LABELS = 0x00000801  # uint8, one axis


def read_idx(path: Path) -> np.ndarray:
    """Reads the pictures of an IDX file: uint8 `(pictures, 1, height, width)`.

    Raises:
        DamagedFileError: not IDX, not pictures, or more or fewer bytes than its header says.
    """
    with _idx_opened(path) as (stream, shape):
        expected = int(np.prod(shape, dtype=np.int64))
        if expected > _MAX_IDX_BYTES:
            raise DamagedFileError(f"{path} says it holds {expected:,} bytes; at most {_MAX_IDX_BYTES:,} are read.")
        content = bytearray()
        while len(content) <= expected and (block := stream.read(min(_BLOCK_BYTES, expected + 1 - len(content)))):
            content += block
        if len(content) != expected:
            kind = "is truncated" if len(content) < expected else "goes on past its end"
            raise DamagedFileError(f"{path} {kind}: its header says {shape[0]} pictures of {shape[2]}×{shape[3]}.")
    return np.frombuffer(bytes(content), np.uint8).reshape(shape)


def idx_shape(path: Path) -> tuple[int, int, int, int]:
    """`(pictures, 1, height, width)` as an IDX file's header says."""
    with _idx_opened(path) as (_, shape):
        return shape


def is_idx_test(path: Path) -> bool:
    """Whether the name of an IDX file is that of a set's test part (`t10k-…`, `test-…`, `emnist-…-test-…`)."""
    return re.search(r"(^|-)(t10k|test)-images", path.name.lower()) is not None


def idx_beside(images: Path) -> list[Path]:
    """The file of labels beside an IDX file of pictures, if it is there."""
    name = re.sub("idx3", "idx1", re.sub("images", "labels", images.name, flags=re.IGNORECASE), flags=re.IGNORECASE)
    return [file for file in images.parent.iterdir() if file.name.lower() == name.lower()][:1]


def idx_labels(images: Path) -> list[str] | None:
    """Labels beside an IDX file of pictures (in `train-labels-idx1-ubyte.gz`), numbers as text; None without them.

    Raises:
        DamagedFileError: the file is there and is not what it claims to be.
    """
    beside = idx_beside(images)
    if not beside:
        return None
    path = beside[0]
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        magic, count = struct.unpack(">2I", content[:8])
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise DamagedFileError(f"{path} is truncated or damaged ({error}).") from error
    if magic != _IDX_LABELS or len(content) != 8 + count:
        raise DamagedFileError(f"{path} holds no IDX labels, or not as many as its header says.")
    return [str(label) for label in content[8:]]


@contextmanager
def _idx_opened(path: Path) -> Iterator[tuple[BinaryIO, tuple[int, int, int, int]]]:
    """Opens an IDX file, gzipped or not, and reads its header."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=file) if packed else file)
            magic, *shape = struct.unpack(">4I", stream.read(16))
            if magic != _IDX_IMAGES:
                raise DamagedFileError(f"{path} is no IDX file of pictures: it begins 0x{magic:08x}, not 0x00000803.")
            count, height, width = shape
            if min(shape) < 1 or max(height, width) > MAX_SIDE:
                raise DamagedFileError(f"{path} says it holds {count} pictures of {height}×{width} pixels.")
            yield stream, (count, 1, height, width)
    except FileNotFoundError:
        raise MusicaeError(f"no such file: {path}") from None
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise DamagedFileError(f"{path} is truncated or damaged ({error}).") from error
