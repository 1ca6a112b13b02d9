"""Kills a process at a chosen write, rename, fsync or removal in a folder.

The process is a fork, so that nothing has to be imported again. It counts the calls that change the disk, as Python and
safetensors make them, and sends itself SIGKILL before one of them, or in the middle of it, where it writes.
"""

import io
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch

CHANGES = ("replace", "rename", "mkdir", "unlink", "rmdir")
"""Functions of `os` that change a folder."""


class Disk:
    """Counts what changes a folder, and kills the process at one of these points.

    Args:
        folder: only what is below it counts.
        at: number of the point; None only counts.
        fail: called in place of the kill, as by a test of a full disk.
    """

    def __init__(self, folder: Path, at: int | None, fail: Callable[[], None] | None = None) -> None:
        self.points: list[str] = []
        self._folder, self._at = str(folder.absolute()), at
        self._fail = fail or (lambda: os.kill(os.getpid(), signal.SIGKILL))

    def watch(self) -> None:
        """Replaces the functions; there is no way back, since the process ends."""
        for name in CHANGES:
            setattr(os, name, self._before(name, getattr(os, name)))
        os.fsync = self._before("fsync", os.fsync, lambda descriptor: os.readlink(f"/proc/self/fd/{descriptor}"))
        io.open = self._opening(io.open)  # what pathlib calls
        write = safetensors.torch.serialize_file
        safetensors.torch.serialize_file = self._half_written(write)

    def _reached(self, what: str, place: object) -> bool:
        path = os.path.abspath(os.fspath(place)) if isinstance(place, (str, os.PathLike)) else str(place)
        if not path.startswith(self._folder):
            return False
        self.points.append(f"{what} {os.path.relpath(path, self._folder)}")
        return len(self.points) - 1 == self._at

    def _before(self, name: str, function: Callable, place: Callable[[Any], object] = lambda first: first) -> Callable:
        def counted(*args: Any, **kwargs: Any) -> Any:
            first = place(args[0])
            if kwargs.get("dir_fd") is not None:  # as rmtree calls it
                first = os.path.join(os.readlink(f"/proc/self/fd/{kwargs['dir_fd']}"), first)
            if self._reached(name, first):
                self._fail()
            return function(*args, **kwargs)

        return counted

    def _half_written(self, write: Callable) -> Callable:
        def counted(flat: Any, path: Any, *args: Any, **kwargs: Any) -> None:
            if self._reached("write", path):
                write(flat, path, *args, **kwargs)
                os.truncate(path, os.path.getsize(path) // 2)
                self._fail()
            write(flat, path, *args, **kwargs)

        return counted

    def _opening(self, original: Callable) -> Callable:
        def opened(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            result = original(file, mode, *args, **kwargs)
            is_new = any(letter in mode for letter in "wax+") and not isinstance(file, int)
            return _Counted(result, lambda: self._reached("write", file), self._fail) if is_new else result

        return opened


class _Counted:
    """A file open for writing, of which one call of `write` may store half of the content."""

    def __init__(self, file: Any, reached: Callable[[], bool], fail: Callable[[], None]) -> None:
        self._file, self._reached, self._fail = file, reached, fail

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Counted":
        self._file.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._file.__exit__(*error)

    def write(self, content: Any) -> int:
        if self._reached():
            self._file.write(content[: len(content) // 2])
            self._file.flush()
            self._fail()
        return self._file.write(content)


def in_a_fork(work: Callable[[], object]) -> int:
    """Runs a function in a fork of this process.

    Returns:
        0; 1 if it raised; minus the signal that killed it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, from Python 3.12 on
        child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
