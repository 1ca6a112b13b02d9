"""Limits for a program that is run on somebody else's file: its memory, processor time, files and what it writes.

A converter or decoder that a crafted file takes over, or just drives mad, ends by itself. The system's own limits
(`ulimit`) are set by a shell that the program then replaces, since Python's way to set them between fork and exec isn't
safe beside other threads. Where there is no such shell (Windows) the program runs without them, and its caller's time
limit remains. Nothing here knows formats.
"""

import os
from collections.abc import Sequence
from pathlib import Path

_SHELL = Path("/bin/sh")


def limited(
    command: Sequence[str], *, cpu_s: int, memory_bytes: int, written_bytes: int, open_files: int | None = None
) -> list[str]:
    """A command that runs under limits; the process is the program's own, and so is its exit status.

    Args:
        command: the program's path and its arguments.
        cpu_s: seconds of the processor, after which the system ends it.
        memory_bytes: of address space; beyond it the program gets no more. macOS has no such limit.
        written_bytes: size of any file that it writes, after which the system ends it; pipes don't count.
        open_files: how many it may have open at once, its three standard ones included; None: as many as usual.
    """
    if os.name != "posix" or not _SHELL.exists():
        return list(command)
    limits = {"t": cpu_s, "v": memory_bytes // 1024, "f": written_bytes // 512, "n": open_files, "c": 0}
    # One that the system does not know is left out, and the others hold.
    settings = [f"ulimit -{name} {value} 2>/dev/null" for name, value in limits.items() if value is not None]
    return [str(_SHELL), "-c", "; ".join([*settings, 'exec "$@"']), "sh", *command]


def bare_environment() -> dict[str, str]:
    """The variables that a program needs to start, and none that say anything of the user."""
    return {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
