"""What pictures are labelled with: the sub-folder they lie in, or the labels of a set (see `PICTURE_SETS`).

Classes are names, in the order of the alphabet, numbers in their own; 0 stands for "none" and the first
class is 1.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from musicae.errors import DamagedFileError, MusicaeError, unknown_name
from musicae.pictures.picture_sets import picture_set

NONE = 0
MOST_CLASSES = 255


def set_names(path: Path) -> list[str] | None:
    """Class names of the pictures of a set's file, in their order; None where there are none.

    Raises:
        DamagedFileError: the labels can't be read, or are not as many as the pictures.
    """
    known = picture_set(path)
    assert known is not None
    names = known.labels(path)
    if names is not None and len(names) != (count := known.shape(path)[0]):
        raise DamagedFileError(f"{path} holds {count} pictures, and the file beside it {len(names)} labels.")
    return names


def find_classes(files: Iterable[Path]) -> tuple[str, ...]:
    """Names of the classes of some pictures.

    Raises:
        MusicaeError: fewer than two, or more than are stored.
        DamagedFileError: the labels of a set can't be read, or are not as many as its pictures.
    """
    found = set[str]()
    for path in files:
        found |= {path.parent.name} if picture_set(path) is None else set(set_names(path) or ())
    if not 2 <= len(found) <= MOST_CLASSES:
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
