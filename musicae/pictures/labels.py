"""What pictures are labelled with: the sub-folder they lie in, or the labels beside an IDX file.

Classes are names, in the order of the alphabet, numbers in their own; 0 stands for "none" and the first
class is 1.
"""

import gzip
import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from musicae.errors import DamagedFileError, MusicaeError, unknown_name
from musicae.pictures.files import idx_shape, is_idx

NONE = 0
MOST_CLASSES = 255
_IDX_LABELS = 0x00000801  # uint8, one axis


def idx_labels(images: Path) -> np.ndarray | None:
    """Labels `(pictures,)` uint8 beside an IDX file of pictures (`train-labels-idx1-ubyte.gz`); None without one.

    Raises:
        DamagedFileError: the file is there and is not what it claims to be.
    """
    name = re.sub("idx3", "idx1", re.sub("images", "labels", images.name, flags=re.IGNORECASE), flags=re.IGNORECASE)
    path = next((file for file in images.parent.iterdir() if file.name.lower() == name.lower()), None)
    if path is None:
        return None
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        magic, count = struct.unpack(">2I", content[:8])
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise DamagedFileError(f"{path} is truncated or damaged ({error}).") from error
    if magic != _IDX_LABELS or len(content) != 8 + count:
        raise DamagedFileError(f"{path} holds no IDX labels, or not as many as its header says.")
    return np.frombuffer(content, np.uint8, offset=8)


def idx_names(images: Path, *, required: bool) -> list[str] | None:
    """Class names of the pictures of an IDX file, in their order; None where there are none.

    Args:
        images: the file of pictures; `idx_labels` says where its labels are.
        required: whether labels that can't be read are an error, or none.
    """
    try:
        labels = idx_labels(images)
    except DamagedFileError:
        if required:
            raise
        return None
    if labels is None:
        return None
    if len(labels) == idx_shape(images)[0]:
        return [str(label) for label in labels]
    if required:
        raise DamagedFileError(
            f"{images} holds {idx_shape(images)[0]} pictures, and the file beside it {len(labels)} labels."
        )
    return None


def find_classes(files: Iterable[Path], *, required: bool) -> tuple[str, ...]:
    """Names of the classes of some pictures.

    Args:
        files: pictures and IDX files.
        required: whether a model is to be told them. If not, labels that can't be read are none, and pictures
            of one class, or of more than are stored, have no classes.

    Raises:
        MusicaeError: they are required, and there are fewer than two, or more than are stored.
        DamagedFileError: they are required, and a file of labels is damaged.
    """
    found = set[str]()
    for path in files:
        if is_idx(path):
            found |= set(idx_names(path, required=required) or ())
        else:
            found.add(path.parent.name)
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
    return np.array([number_of.get(name, NONE) for name in names], np.uint8)


def class_number(name: str, classes: Sequence[str]) -> int:
    """The number of one class.

    Raises:
        MusicaeError: there is no such class.
    """
    if name not in classes:
        raise MusicaeError(unknown_name("label", name, classes))
    return classes.index(name) + 1
