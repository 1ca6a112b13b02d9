"""CIFAR-10's binary batches: records of one byte for the class and 3,072 for a colour picture of 32×32.

The three planes, red, green and blue, follow each other, each row by row; what the classes are called
stands in `batches.meta.txt` beside the batches (Krizhevsky, cs.toronto.edu/~kriz/cifar.html). The
version for Python is pickled, and not read.
"""

from pathlib import Path

import numpy as np

from musicae.errors import DamagedFileError, MusicaeError

_TRAINING_BATCHES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST_BATCH = "test_batch.bin"
CIFAR_BATCHES = (*_TRAINING_BATCHES, _TEST_BATCH)
CIFAR_CLASSES = "batches.meta.txt"
"""A name a line; a class is the number of its line, from 0."""

_CHANNELS, _SIDE = 3, 32
_RECORD_BYTES = 1 + _CHANNELS * _SIDE**2
_MAX_BYTES = 4 * 2**30


def read_cifar(path: Path) -> np.ndarray:
    """Reads the pictures of a batch: uint8 `(pictures, 3, 32, 32)`.

    Raises:
        DamagedFileError: empty, or not a whole number of records.
    """
    return _records(path)[:, 1:].reshape(-1, _CHANNELS, _SIDE, _SIDE)


def cifar_shape(path: Path) -> tuple[int, int, int, int]:
    """`(pictures, 3, 32, 32)` of a batch, by its size."""
    return _count(path), _CHANNELS, _SIDE, _SIDE


def is_cifar_test(path: Path) -> bool:
    """Whether the name of a batch is that of the test batch."""
    return path.name.lower().endswith(_TEST_BATCH)


def cifar_beside(path: Path) -> list[Path]:
    """The file with the names of the classes, if it is there."""
    names = path.with_name(CIFAR_CLASSES)
    return [names] if names.is_file() else []


def cifar_labels(path: Path) -> list[str]:
    """The class of each picture of a batch: its name, or its number as text where no file of names is there.

    Raises:
        DamagedFileError: the batch is damaged, or the file of names is no text or has too few.
    """
    labels = _records(path)[:, 0]
    names_path = path.with_name(CIFAR_CLASSES)
    if not names_path.is_file():
        return [str(label) for label in labels]
    try:
        names = [line.strip() for line in names_path.read_text(encoding="utf-8").rstrip().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"{names_path} can't be read as names of classes ({error}).") from error
    if labels.max() >= len(names):
        raise DamagedFileError(f"{path} holds a picture of class {labels.max()}; {names_path} names {len(names)}.")
    return [names[label] for label in labels]


def _records(path: Path) -> np.ndarray:
    """uint8 `(pictures, 3073)`."""
    _count(path)
    try:
        return np.fromfile(path, np.uint8).reshape(-1, _RECORD_BYTES)
    except (OSError, ValueError) as error:  # ValueError: it shrank meanwhile
        raise DamagedFileError(f"{path} can't be read ({error}).") from error


def _count(path: Path) -> int:
    """How many pictures a batch holds; refuses what can't be one."""
    try:
        size_bytes = path.stat().st_size
    except FileNotFoundError:
        raise MusicaeError(f"no such file: {path}") from None
    if size_bytes == 0:
        raise DamagedFileError(f"{path} is empty.")
    if size_bytes > _MAX_BYTES:
        raise DamagedFileError(f"{path} holds {size_bytes:,} bytes; at most {_MAX_BYTES:,} are read.")
    if size_bytes % _RECORD_BYTES:
        raise DamagedFileError(
            f"{path} is truncated or no batch of CIFAR-10: its {size_bytes:,} bytes are no whole number of records "
            f"of {_RECORD_BYTES:,}."
        )
    return size_bytes // _RECORD_BYTES
