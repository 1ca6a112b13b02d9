"""Atomic writes of files and folders, and one clear error where a place cannot be written to.

The content is written under a temporary name, flushed to the disk (fsync), and renamed when it is complete. So a reader
never finds half a file, and a write that is interrupted, even by a power failure, leaves the old file as it was.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from musicae.errors import MusicaeError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors of a full disk."""


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`. It is renamed to `path` if the block succeeds, and removed if it fails.

    Raises:
        MusicaeError: the place cannot be written to, or the block failed to.
    """
    check_writable(path)
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        sync_file(partial)
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder. It replaces `folder` if the block succeeds, and is removed if it fails.

    A kill between the two renames of a replacement leaves the old folder under another name; `recover_folder` brings it
    back.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    recover_folder(folder)
    temporary = folder.with_name(f".{folder.name}.writing-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        sync_files(temporary)
        if folder.exists():
            old = _replaced(folder)
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
            try:
                temporary.rename(folder)
            except BaseException:
                old.rename(folder)
                raise
            shutil.rmtree(old)
        else:
            temporary.rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Brings back a folder whose replacement was cut short between its two renames; otherwise does nothing."""
    # Former versions added the number of the process.
    for old in (_replaced(folder), *folder.parent.glob(f".{folder.name}.old-*")):
        if not folder.exists() and old.is_dir():
            with suppress(OSError):  # another process did it, or may
                old.rename(folder)


def _replaced(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


@contextmanager
def atomic_files(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder, whose files are moved into `folder` if the block succeeds; other files there stay.

    Raises:
        MusicaeError: there is a file of that name, or nothing can be written there.
    """
    check_writable(folder, folder=True)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # An existing folder may be on another disk than its parent, or its parent may be read-only.
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
            sync_folder(folder)
        except OSError as error:
            raise unwritable(folder, error) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync_file(path: Path) -> None:
    """Waits until a file's content is on the disk (fsync)."""
    _flush(path, os.O_RDWR)


def sync_folder(folder: Path) -> None:
    """Waits until a folder's names are on the disk. Windows, and some network drives, can't and needn't."""
    with suppress(OSError):
        _flush(folder, os.O_RDONLY)


def _flush(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(folder: Path) -> None:
    """Waits until a folder and the files in it, which nobody writes any more, are on the disk."""
    for path in sorted(folder.iterdir()):
        if path.is_file():
            sync_file(path)
    sync_folder(folder)


def partial_path(path: Path) -> Path:
    """A hidden name beside a path, different for every writer."""
    return path.with_name(f".{path.stem[:40]}-{uuid4().hex[:8]}.partial")


def free_path(path: Path) -> Path:
    """The path if nothing is there, else the first free one with a number: `a.mid`, `a-2.mid`, `a-3.mid`."""
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def unwritable(place: Path, error: OSError) -> MusicaeError:
    """The error for a path that cannot be written to; it names that path and not a temporary one."""
    reason = str(error.strerror or error) + (f"; {free_space(place)}" if error.errno in NO_SPACE else "")
    return MusicaeError(f"{place} cannot be written ({reason}); choose another --out or free space.")


def free_space(place: Path) -> str:
    """How much room is left where a path lies, in words."""
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    return f"{shutil.disk_usage(there).free / 1e6:.1f} MB are free there"


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Raises `MusicaeError` if a file, or a folder, could not be written. Called before long work is done for it."""
    if folder and path.exists() and not path.is_dir():
        raise MusicaeError(f"{path} is a file; --out wants a folder.")
    if not folder and path.is_dir():
        raise MusicaeError(f"{path} is a folder; --out wants a file.")
    there = next(place for place in (*([path] if folder else []), path.parent, *path.parent.parents) if place.exists())
    if not there.is_dir():
        raise MusicaeError(f"{path} cannot be written, since {there} is a file; choose another --out.")
    if not os.access(there, os.W_OK):
        raise MusicaeError(f"{path} cannot be written: {there} may not be changed; choose another --out.")
