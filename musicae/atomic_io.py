"""Files that are there whole or not at all, and the sentence where they can't be written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from musicae.errors import MusicaeError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to, which gets its name if the block ends well and is removed if not.

    Raises:
        MusicaeError: the place cannot be written to, or the block failed to.
    """
    refuse_place(path)
    partial = partial_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def partial_name(path: Path) -> Path:
    """A hidden name beside a path that no other writer has."""
    return path.with_name(f".{path.stem[:40]}-{uuid4().hex[:8]}.partial")


def unwritable(place: Path, error: OSError) -> MusicaeError:
    """The error for a place that cannot be written to, by its own name and not by a temporary one."""
    return MusicaeError(f"{place} cannot be written ({error.strerror or error}); choose another --out or free space.")


def refuse_place(path: Path, *, folder: bool = False) -> None:
    """Raises `MusicaeError` where a file, or a folder, could not be written, before long work is done for it."""
    if folder and path.exists() and not path.is_dir():
        raise MusicaeError(f"{path} is a file; --out wants a folder.")
    if not folder and path.is_dir():
        raise MusicaeError(f"{path} is a folder; --out wants a file.")
    there = next(place for place in (*([path] if folder else []), path.parent, *path.parent.parents) if place.exists())
    if not there.is_dir():
        raise MusicaeError(f"{path} cannot be written, since {there} is a file; choose another --out.")
    if not os.access(there, os.W_OK):
        raise MusicaeError(f"{path} cannot be written: {there} may not be changed; choose another --out.")
