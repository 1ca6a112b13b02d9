"""Atomic file writes: a file or a folder is there whole or not at all, and one sentence where it can't be written."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from musicae.errors import MusicaeError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to, which gets its name if the block ends well and is removed if not.

    Raises:
        MusicaeError: the place cannot be written to, or the block failed to.
    """
    check_writable(path)
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder that takes `folder`'s place if the block ends well, and vanishes if not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.writing-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        if folder.exists():
            old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
            folder.rename(old)
            try:
                temporary.rename(folder)
            except BaseException:
                old.rename(folder)
                raise
            shutil.rmtree(old)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_files(folder: Path) -> Iterator[Path]:
    """Gives a temporary folder whose files are moved into `folder` if the block ends well; others there stay.

    Raises:
        MusicaeError: there is a file of that name, or nothing can be written there.
    """
    check_writable(folder, folder=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A folder that is there may be on another disk than its parent, or the only one that may be written to.
        place = folder if folder.is_dir() else folder.parent
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=place))
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        yield temporary
        try:
            folder.mkdir(exist_ok=True)
            for file in sorted(temporary.iterdir()):
                file.replace(folder / file.name)
        except OSError as error:
            raise unwritable(folder, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def partial_path(path: Path) -> Path:
    """A hidden name beside a path that no other writer has."""
    return path.with_name(f".{path.stem[:40]}-{uuid4().hex[:8]}.partial")


def free_path(path: Path) -> Path:
    """The path, or with the first number from 2 on that makes it a name nothing has: `a.mid`, `a-2.mid`."""
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def unwritable(place: Path, error: OSError) -> MusicaeError:
    """The error for a place that cannot be written to, by its own name and not by a temporary one."""
    return MusicaeError(f"{place} cannot be written ({error.strerror or error}); choose another --out or free space.")


def check_writable(path: Path, *, folder: bool = False) -> None:
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
