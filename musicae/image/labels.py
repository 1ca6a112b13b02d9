"""What pictures are labelled with: the sub-folder they lie in, or the labels of a set (see `PICTURE_SETS`).

Classes are names, in the order of the alphabet, numbers in their own; 0 stands for "none" and the first
class is 1.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from musicae.errors import DamagedFileError, MusicaeError, unknown_name
from musicae.image.picture_sets import picture_set

NONE = 0
MOST_CLASSES = 255


def set_names(path: Path, *, required: bool) -> list[str] | None:
    """Class names of the pictures of a set's file, in their order; None where there are none.

    Args:
        path: of a format in `PICTURE_SETS`.
        required: whether labels that can't be read, or are not as many as the pictures, are an error, or none.

    Raises:
        DamagedFileError: they are required.
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
        required: whether a model is to be told them. If not, labels that can't be read are none, and pictures
            of one class, or of more than are stored, have no classes.

    Raises:
        MusicaeError: they are required, and there are fewer than two, or more than are stored.
        DamagedFileError: they are required, and a set's can't be read, or are not as many as its pictures.
    """
    found = set[str]()
    for path in files:
        found |= {path.parent.name} if picture_set(path) is None else set(set_names(path, required=required) or ())
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
