"""Files that each hold many pictures of one size: `PICTURE_SETS`, a row for each format.

A new format is a module that reads it and a row here; domains and labels know only the row.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from musicae.image.cifar import CIFAR_BATCHES, cifar_beside, cifar_labels, cifar_shape, is_cifar_test, read_cifar
from musicae.image.idx import IDX_SUFFIXES, idx_beside, idx_labels, idx_shape, is_idx_test, read_idx


class PictureSet(NamedTuple):
    """How files of one format are told and read. What takes a path raises `DamagedFileError` if it can't be read.

    Attributes:
        endings: of the whole name, in lower case.
        shape: path → `(pictures, channels, height, width)`, without reading the pictures.
        read: path → uint8 `(pictures, channels, height, width)`, 1 or 3 channels.
        labels: path → the class of each picture; None where there are none.
        beside: path → the files that hold the labels, or what classes are called, if they are there.
        is_test: whether a file is the set's test part, by its name.
    """

    endings: tuple[str, ...]
    shape: Callable[[Path], tuple[int, int, int, int]]
    read: Callable[[Path], np.ndarray]
    labels: Callable[[Path], list[str] | None]
    beside: Callable[[Path], list[Path]]
    is_test: Callable[[Path], bool]


PICTURE_SETS: dict[str, PictureSet] = {
    "idx": PictureSet(IDX_SUFFIXES, idx_shape, read_idx, idx_labels, idx_beside, is_idx_test),
    "cifar": PictureSet(CIFAR_BATCHES, cifar_shape, read_cifar, cifar_labels, cifar_beside, is_cifar_test),
}
PICTURE_SET_SUFFIXES = tuple(ending for known in PICTURE_SETS.values() for ending in known.endings)


def picture_set(path: Path) -> PictureSet | None:
    """The format of a file that holds many pictures, by its name; None for any other file."""
    name = path.name.lower()
    return next((known for known in PICTURE_SETS.values() if name.endswith(known.endings)), None)
