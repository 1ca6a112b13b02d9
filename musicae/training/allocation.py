"""Memory that a training step frees is kept for the next one. It knows no tensors.

A step allocates and frees the same gigabytes again and again. glibc gives large pieces back to the system at
once, which hands them out anew page by page, zeroed: that was a quarter of a step of the default
`mlp` on a processor, a tenth of `conv`'s.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_… of malloc.h
_LARGE_BYTES = 1 << 28  # larger than a step's activations, smaller than a data set, which is given back
_LARGE_BYTES_OF_OLD_GLIBC = 1 << 25  # the most it takes
_KEEP_ALL_BYTES = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tells the process's allocator so; numbers stay the same.

    Returns:
        Whether there was a glibc to tell; other allocators are left as they are.
    """
    if not sys.platform.startswith("linux"):
        return False
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is None:
        return False
    kept = tell(_MMAP_THRESHOLD, _LARGE_BYTES) or tell(_MMAP_THRESHOLD, _LARGE_BYTES_OF_OLD_GLIBC)
    return bool(kept and tell(_TRIM_THRESHOLD, _KEEP_ALL_BYTES))
