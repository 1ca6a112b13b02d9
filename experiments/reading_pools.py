"""Reading MIDI files by the package's pool, and by pebble's: `pip install pebble` first.

    python experiments/reading_pools.py --files 4000

Both read the same files in two processes, with a limit of time for each file, and give the windows of all. pebble
limits the time of a task, so each file is a task of its own; imports are done by its initializer, since they would
count as the first task's time. The processor's seconds of all processes are shown beside the wall time: they say more
on a busy machine. `main_run_again` counts how often a reading process ran this script itself again.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from pathlib import Path
from typing import Any

RUNS = Path(tempfile.gettempdir()) / "reading-pools-runs"
with RUNS.open("a", encoding="utf-8") as runs:
    runs.write(f"{os.getpid()}\n")  # a line each time that a process runs this module

PROCESSES, LIMIT_S = 2, 30.0


def read_one(path: str) -> int:
    """Windows of a file, as pebble's processes read it."""
    from musicae.music.domain import MusicDomain

    return len(MusicDomain().read(Path(path)).examples)


def import_all() -> None:
    """What each of pebble's processes does first."""
    import torch

    import musicae.music.domain  # noqa: F401  # for its time alone

    torch.set_num_threads(1)


def with_pebble(files: list[Path], start: str) -> dict[str, Any]:
    """Reads with pebble, by a start method of `multiprocessing`."""
    from multiprocessing import get_context

    from pebble import ProcessExpired, ProcessPool

    windows, failed = 0, 0
    with ProcessPool(PROCESSES, initializer=import_all, context=get_context(start)) as pool:
        answers = pool.map(read_one, map(str, files), timeout=LIMIT_S, chunksize=1).result()
        while True:
            try:
                windows += next(answers)
            except StopIteration:
                break
            except (Late, ProcessExpired, MemoryError):
                failed += 1
    return {"windows": windows, "failed": failed}


def with_ours(files: list[Path]) -> dict[str, Any]:
    """Reads with the package's pool."""
    from musicae.data.pool import Guard, read_in_processes
    from musicae.music.domain import MusicDomain

    windows, failed = 0, 0
    named = [(path.name, path) for path in files]
    for block in read_in_processes(MusicDomain(), named, PROCESSES, Guard(LIMIT_S, 2.0)):
        windows += len(block.examples)
        failed += len(block.damaged)
    return {"windows": windows, "failed": failed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=4000)
    given = parser.parse_args()
    from prepare_memory import write_files

    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), given.files, None)
        files = sorted(Path(folder).rglob("*.mid"))
        pools: dict[str, Callable[[], dict[str, Any]]] = {
            "ours": lambda: with_ours(files),
            "pebble, spawn": lambda: with_pebble(files, "spawn"),
            "pebble, forkserver": lambda: with_pebble(files, "forkserver"),
        }
        for name, pool in pools.items():
            RUNS.unlink()
            RUNS.touch()
            before, started = _processor_s(), time.perf_counter()
            found = pool()
            found |= {
                "wall_s": round(time.perf_counter() - started, 1),
                "processor_s": round(_processor_s() - before, 1),
            }
            found["main_run_again"] = len(RUNS.read_text(encoding="utf-8").splitlines())
            print(f"{name:20}", json.dumps(found), flush=True)
    with suppress(OSError):
        RUNS.unlink()


def _processor_s() -> float:
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


if __name__ == "__main__":
    main()
