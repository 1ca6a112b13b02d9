"""Sets of pictures in one file (IDX, CIFAR-10), the classes of pictures, and scikit-learn's digits.

`PICTURE_SETS` has a row for each format: IDX, which is that of MNIST (LeCun, yann.lecun.com/exdb/mnist), and the binary
batches of CIFAR-10 (Krizhevsky, cs.toronto.edu/~kriz/cifar.html). A new format needs its functions and a row. A
class is the sub-folder that a picture lies in, or its label in a set. Nothing here knows tensors or domains.
"""

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from musicae.errors import DamagedFileError, MusicaeError, unknown_name

MAX_SIDE = 30_000
"""Most pixels a side that are read."""
NO_CLASS = 0
"""The number of a picture that has no class; the first class is 1."""
MOST_CLASSES = 255

_MAX_BYTES = 4 * 2**30
# Packed, zeros take a thousandth of their size. Pictures don't, so a larger file that unpacks to more is none.
_MOST_UNPACKED_TIMES = 50
_ALWAYS_UNPACKED_BYTES = 64 * 2**20
_MOST_NAMES_BYTES = 2**16

_IDX_ENDINGS = ("images-idx3-ubyte", "images-idx3-ubyte.gz", "images.idx3-ubyte", "images.idx3-ubyte.gz")
_IDX_IMAGES = 0x00000803  # uint8, three axes
_IDX_LABELS = 0x00000801  # uint8, one axis
_BLOCK_BYTES = 16 * 2**20

# A record is one byte for the class, then the red, the green and the blue plane, each row by row. The version for
# Python is pickled, so it is not read.
_CIFAR_TEST = "test_batch.bin"
_CIFAR_BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), _CIFAR_TEST)
_CIFAR_CLASSES = "batches.meta.txt"  # one name a line; the class is the line's number, from 0
_CIFAR_CHANNELS, _CIFAR_SIDE = 3, 32
_CIFAR_RECORD_BYTES = 1 + _CIFAR_CHANNELS * _CIFAR_SIDE**2


class PictureSet(NamedTuple):
    """How files of one format are recognised and read. Functions raise `DamagedFileError` if a path can't be read.

    Attributes:
        endings: of the file's name, in lower case.
        shape: path → `(pictures, channels, height, width)`, without reading the pictures.
        read: path → uint8 `(pictures, channels, height, width)`, 1 or 3 channels.
        labels: path → the class of each picture; None where there are none.
        companions: path → the existing files that hold the labels or the names of classes.
        is_test: path → whether the file is the set's test part, by its name.
    """

    endings: tuple[str, ...]
    shape: Callable[[Path], tuple[int, int, int, int]]
    read: Callable[[Path], np.ndarray]
    labels: Callable[[Path], list[str] | None]
    companions: Callable[[Path], list[Path]]
    is_test: Callable[[Path], bool]


def picture_set(path: Path) -> PictureSet | None:
    """The format of a file that holds many pictures, by its name; None for any other file."""
    name = path.name.lower()
    return next((known for known in PICTURE_SETS.values() if name.endswith(known.endings)), None)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits with 17 grey values (Alpaydin & Kaynak, 1998).

    Returns:
        uint8 `(1797, 8, 8)`, and the digit of each, int64 `(1797,)`.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    return np.floor(data.images * (255 / 16) + 0.5).astype(np.uint8), data.target.astype(np.int64)


def set_labels(path: Path, *, required: bool) -> list[str] | None:
    """Class names of the pictures of a set's file, in their order; None where there are none.

    Args:
        path: of a format in `PICTURE_SETS`.
        required: if True, labels that can't be read, or are not as many as the pictures, are an error; if False,
            the result is then None.

    Raises:
        DamagedFileError: labels are required and can't be read, or are too few or too many.
    """
    known = picture_set(path)
    assert known is not None
    try:
        names = known.labels(path)
        if names is not None and len(names) != (count := known.shape(path)[0]):
            raise DamagedFileError(f"{path} holds {count} pictures, and the file beside it {len(names)} labels.")
    except DamagedFileError:
        if required:
            raise
        return None
    return names


def find_classes(files: Iterable[Path], *, required: bool) -> tuple[str, ...]:
    """Names of the classes of some pictures.

    Args:
        files: pictures and files of sets.
        required: if False, labels that can't be read are ignored, and the result is empty if there are fewer than two
            classes or more than 255.

    Raises:
        MusicaeError: classes are required, and there are fewer than two or more than 255.
        DamagedFileError: classes are required, and a set's labels can't be read, or are too few or too many.
    """
    found = set[str]()
    for path in files:
        found |= {path.parent.name} if picture_set(path) is None else set(set_labels(path, required=required) or ())
    return sorted_classes(found, required=required)


def sorted_classes(names: Iterable[str], *, required: bool) -> tuple[str, ...]:
    """The different names, sorted: numbers by value, then text by alphabet. `required` as in `find_classes`."""
    found = set(names)
    if not 2 <= len(found) <= MOST_CLASSES:
        if not required:
            return ()
        raise MusicaeError(
            f"labels=true needs 2 to {MOST_CLASSES} classes, and the data has {len(found)}; "
            "put each class into a sub-folder of its own, or the labels beside an IDX file."
        )
    return tuple(sorted(found, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)))


def class_numbers(names: Iterable[str], classes: Sequence[str]) -> np.ndarray:
    """Names → uint8 numbers from 1; 0 for a name that is no class."""
    number_of = {name: number for number, name in enumerate(classes, 1)}
    return np.array([number_of.get(name, NO_CLASS) for name in names], np.uint8)


def class_number(name: str, classes: Sequence[str]) -> int:
    """The number of one class.

    Raises:
        MusicaeError: there is no such class.
    """
    if name not in classes:
        raise MusicaeError(unknown_name("label", name, classes))
    return classes.index(name) + 1


def read_idx(path: Path) -> np.ndarray:
    """Reads the pictures of an IDX file: uint8 `(pictures, 1, height, width)`.

    Raises:
        DamagedFileError: not IDX, not pictures, or more or fewer bytes than its header says.
    """
    with _idx_opened(path) as (stream, shape):
        expected = int(np.prod(shape, dtype=object))  # four numbers of 32 bits overflow 64
        if expected > _MAX_BYTES:
            raise DamagedFileError(f"{path} says it holds {expected:,} bytes; at most {_MAX_BYTES:,} are read.")
        size_bytes = path.stat().st_size
        if expected > max(_ALWAYS_UNPACKED_BYTES, _MOST_UNPACKED_TIMES * size_bytes):
            raise DamagedFileError(
                f"{path} has {size_bytes:,} bytes and says it holds {expected:,}; unpacked, pictures are up to "
                f"{_MOST_UNPACKED_TIMES} times as large; fetch it again."
            )
        content = _read_at_most(stream, expected + 1)
        if len(content) != expected:
            fault = "is truncated" if len(content) < expected else "goes on past its end"
            raise DamagedFileError(f"{path} {fault}: its header says {shape[0]} pictures of {shape[2]}×{shape[3]}.")
    pictures = np.frombuffer(content, np.uint8).reshape(shape)
    pictures.flags.writeable = False
    return pictures


def _read_at_most(stream: BinaryIO, size: int) -> bytearray:
    """So many bytes of a stream, or all there are; no more memory is taken than they need."""
    content = bytearray()
    while len(content) < size and (block := stream.read(min(_BLOCK_BYTES, size - len(content)))):
        content += block
    return content


def idx_shape(path: Path) -> tuple[int, int, int, int]:
    """`(pictures, 1, height, width)` as an IDX file's header says."""
    with _idx_opened(path) as (_, shape):
        return shape


def is_idx_test(path: Path) -> bool:
    """Whether the name of an IDX file is that of a set's test part (`t10k-…`, `test-…`, `emnist-…-test-…`)."""
    return re.search(r"(^|-)(t10k|test)-images", path.name.lower()) is not None


def idx_companions(images: Path) -> list[Path]:
    """The file of labels beside an IDX file of pictures, if it is there."""
    name = re.sub("idx3", "idx1", re.sub("images", "labels", images.name, flags=re.IGNORECASE), flags=re.IGNORECASE)
    return [file for file in images.parent.iterdir() if file.name.lower() == name.lower()][:1]


def idx_labels(images: Path) -> list[str] | None:
    """Labels beside an IDX file of pictures (in `train-labels-idx1-ubyte.gz`), numbers as text; None without them.

    Raises:
        DamagedFileError: the file is there and is not what it claims to be.
    """
    companions = idx_companions(images)
    if not companions:
        return None
    path = companions[0]
    try:
        with _unpacked(path) as stream:
            magic, count = struct.unpack(">2I", stream.read(8))
            content = _read_at_most(stream, min(count, _ALWAYS_UNPACKED_BYTES) + 1)
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise DamagedFileError(f"{path} is truncated or damaged ({error}).") from error
    if magic != _IDX_LABELS or len(content) != count:
        raise DamagedFileError(f"{path} holds no IDX labels, or not as many as its header says.")
    return [str(label) for label in content]


@contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    """Opens a file, gzipped or not."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield cast(BinaryIO, gzip.GzipFile(fileobj=file) if packed else file)


@contextmanager
def _idx_opened(path: Path) -> Iterator[tuple[BinaryIO, tuple[int, int, int, int]]]:
    """Opens an IDX file, gzipped or not, and reads its header."""
    try:
        with _unpacked(path) as stream:
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


def read_cifar(path: Path) -> np.ndarray:
    """Reads the pictures of a batch: uint8 `(pictures, 3, 32, 32)`.

    Raises:
        DamagedFileError: empty, or not a whole number of records.
    """
    return _cifar_records(path)[:, 1:].reshape(-1, _CIFAR_CHANNELS, _CIFAR_SIDE, _CIFAR_SIDE)


def cifar_shape(path: Path) -> tuple[int, int, int, int]:
    """`(pictures, 3, 32, 32)` of a batch, by its size."""
    return _cifar_count(path), _CIFAR_CHANNELS, _CIFAR_SIDE, _CIFAR_SIDE


def is_cifar_test(path: Path) -> bool:
    """Whether the name of a batch is that of the test batch."""
    return path.name.lower().endswith(_CIFAR_TEST)


def cifar_companions(path: Path) -> list[Path]:
    """The file with the names of the classes, if it is there."""
    names = path.with_name(_CIFAR_CLASSES)
    return [names] if names.is_file() else []


def cifar_labels(path: Path) -> list[str]:
    """The class of each picture of a batch: its name, or its number as text where no file of names is there.

    Raises:
        DamagedFileError: the batch is damaged, or the file of names is no text or has too few.
    """
    labels = _cifar_records(path)[:, 0]
    names_path = path.with_name(_CIFAR_CLASSES)
    if not names_path.is_file():
        return [str(label) for label in labels]
    try:
        with names_path.open("rb") as file:
            text = file.read(_MOST_NAMES_BYTES).decode("utf-8")
        names = [line.strip() for line in text.rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{names_path} can't be read as names of classes ({error}).") from error
    if labels.max() >= len(names):
        raise DamagedFileError(f"{path} holds a picture of class {labels.max()}; {names_path} names {len(names)}.")
    return [names[label] for label in labels]


def _cifar_records(path: Path) -> np.ndarray:
    """uint8 `(pictures, 3073)`."""
    _cifar_count(path)
    try:
        return np.fromfile(path, np.uint8).reshape(-1, _CIFAR_RECORD_BYTES)
    except (OSError, ValueError) as error:  # ValueError: the file became shorter meanwhile
        raise DamagedFileError(f"{path} can't be read ({error}).") from error


def _cifar_count(path: Path) -> int:
    """Number of pictures in a batch. Raises `DamagedFileError` if the file can't be one."""
    try:
        size_bytes = path.stat().st_size
    except FileNotFoundError:
        raise MusicaeError(f"no such file: {path}") from None
    if size_bytes == 0:
        raise DamagedFileError(f"{path} is empty.")
    if size_bytes > _MAX_BYTES:
        raise DamagedFileError(f"{path} holds {size_bytes:,} bytes; at most {_MAX_BYTES:,} are read.")
    if size_bytes % _CIFAR_RECORD_BYTES:
        raise DamagedFileError(
            f"{path} is truncated or no batch of CIFAR-10: its {size_bytes:,} bytes are no whole number of records "
            f"of {_CIFAR_RECORD_BYTES:,}."
        )
    return size_bytes // _CIFAR_RECORD_BYTES


PICTURE_SETS: dict[str, PictureSet] = {
    "idx": PictureSet(_IDX_ENDINGS, idx_shape, read_idx, idx_labels, idx_companions, is_idx_test),
    "cifar": PictureSet(_CIFAR_BATCHES, cifar_shape, read_cifar, cifar_labels, cifar_companions, is_cifar_test),
}
"""Name of a format → how its files are read."""
PICTURE_SET_SUFFIXES = tuple(ending for known in PICTURE_SETS.values() for ending in known.endings)
