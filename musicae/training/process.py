"""The process that trains: its memory, Ctrl-C, and its place among several. It knows no tensors.

Several processes train one model together when a launcher starts them and numbers them in `RANK` and `WORLD_SIZE`, as
torchrun does:

    torchrun --nproc-per-node 2 -m musicae.cli train …

On CPUs Accelerate also reads the numbers that an MPI launcher gives. Where a launcher started several processes and
Accelerate joins none, each would train alone, so that is refused.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from musicae.errors import MusicaeError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_… of malloc.h
_LARGE_BYTES = 1 << 28  # larger than a step's activations; a data set is larger and is given back
_LARGE_BYTES_OF_OLD_GLIBC = 1 << 25  # the largest that it accepts
_KEEP_ALL_BYTES = 2**31 - 1


_RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")  # in Accelerate's order
_COUNTS = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_SLURM_STEP = "SLURM_STEP_NUM_TASKS"
"""Only srun sets it: `SLURM_NTASKS` counts the tasks of the job, and stands in the job's one script as well."""
_BACKENDS = ("gloo", "nccl")
"""One of them is in each message of a backend, all of which are plain errors: the place in its source, or its name."""


def is_main_process() -> bool:
    """Whether this is the only process or the first of several: the one that writes files and prints."""
    return _first_number(os.environ, _RANKS, 0) == 0


def refuse_wrong_count(processes: int, environment: Mapping[str, str] = os.environ) -> None:
    """Compares what a launcher says with what torch.distributed has.

    Args:
        processes: how many train together, as torch.distributed says.
        environment: the variables that a launcher sets.

    Raises:
        MusicaeError: a launcher started another number of processes, or Accelerate's was asked for several.
    """
    said = _first_number(environment, _COUNTS, 0) or _first_number(environment, (_SLURM_STEP,), processes)
    # `accelerate launch --cpu` gives no count: it names a host for the processes to meet at, and starts one.
    asked_accelerate = "ACCELERATE_MIXED_PRECISION" in environment and "MASTER_ADDR" in environment
    is_numbered = any(name in environment for name in _COUNTS)
    if said != processes:
        launcher = f"the launcher started {said} processes"
    elif processes == 1 and asked_accelerate and not is_numbered:
        launcher = "accelerate launch was asked for several processes and started one"
    else:
        return
    raise MusicaeError(
        f"{launcher}, and torch.distributed joins {processes}; start them with torchrun, which numbers them: "
        "torchrun --nproc-per-node 2 -m musicae.cli train …"
    )


@contextmanager
def ends_with_the_others() -> Iterator[None]:
    """Turns the error of a process that has lost another one into a sentence.

    Raises:
        MusicaeError: another process of the run can't be reached.
    """
    import torch.distributed

    try:
        yield
    except RuntimeError as error:
        text = str(error)
        is_named = any(backend in text.lower() for backend in _BACKENDS)
        is_alone = not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1
        if is_alone or not (is_named or isinstance(error, torch.distributed.DistError)):
            raise
        reason = text.splitlines()[0].split("] ", 1)[-1].split(". ")[0]  # without the place in torch's source
        raise MusicaeError(
            f"another process of this run ended or can't be reached, so this one ends too ({reason}); see what the "
            "other one said, and continue from the last save by starting all of them with --resume."
        ) from error


def _first_number(environment: Mapping[str, str], names: tuple[str, ...], default: int) -> int:
    """The first of some variables that is a number."""
    return next((int(value) for name in names if (value := environment.get(name, "")).isdecimal()), default)


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
