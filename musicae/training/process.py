"""The process that trains: its memory, Ctrl-C, and whether it is the main one of several. It knows no tensors.

Several processes train one model together when a launcher starts them and numbers them in `RANK` and `WORLD_SIZE`, as
torchrun does:

    torchrun --nproc-per-node 2 -m musicae.cli train …
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_… of malloc.h
_LARGE_BYTES = 1 << 28  # larger than a step's activations; a data set is larger and is given back
_LARGE_BYTES_OF_OLD_GLIBC = 1 << 25  # the largest that it accepts
_KEEP_ALL_BYTES = 2**31 - 1


def is_main_process() -> bool:
    """Whether this is the only process or the first of several: the one that writes files and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def keep_freed_memory() -> bool:
    """Makes malloc keep the memory that a training step frees for the next step; numbers stay the same.

    A step allocates and frees the same gigabytes again and again. glibc returns large blocks to the system at once,
    and the system then zeroes every page that it hands out again. On a CPU that took a quarter of a step of the
    default `mlp`, and a tenth of `conv`'s.

    Returns:
        Whether the process has glibc's malloc; other allocators are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = mallopt(_MMAP_THRESHOLD, _LARGE_BYTES) or mallopt(_MMAP_THRESHOLD, _LARGE_BYTES_OF_OLD_GLIBC)
    return bool(kept and mallopt(_TRIM_THRESHOLD, _KEEP_ALL_BYTES))


@contextmanager
def interrupt_flag() -> Iterator[threading.Event]:
    """Turns Ctrl-C and a launcher's request to end into a flag, read between steps, so that no save is interrupted."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return
    before = {number: signal.signal(number, lambda *_: flag.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
