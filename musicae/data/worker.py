"""A process that reads files for `musicae.data.pool`: its `main`, run by a fresh interpreter.

On standard input it gets its job, then tasks; on standard output it answers; both as pickles between a
parent and its own child. It is neither a fork, which is unsafe beside torch's threads, nor
`multiprocessing`'s spawn, which runs the user's script again. A small file, the mark, holds the number of
the file that is being read, so that the parent knows which one was at fault if this process hangs or dies.
"""

import mmap
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from musicae.data.reading import Outcome
    from musicae.domain import Domain, DomainConfig

# At the top are no heavy imports: Ctrl-C must be left to the parent before they begin.
NO_FILE = -1
"""What the mark holds between files."""


@dataclass(frozen=True)
class Job:
    """What is the same for all tasks; `memory_bytes` may be allocated beyond what a task starts with."""

    domain: "type[Domain]"
    config: "DomainConfig"
    memory_bytes: int


@dataclass(frozen=True)
class Task:
    """Consecutive files, the first of them number `start`."""

    start: int
    files: list[tuple[str, Path]]


@dataclass(frozen=True)
class Ready:
    """The first answer: imports are done."""


@dataclass(frozen=True)
class Finished:
    """The last answer to a task, after its blocks."""


@dataclass(frozen=True)
class OutOfMemory:
    """In place of the remaining answers: file number `index` needed too much."""

    index: int


@dataclass(frozen=True)
class Failed:
    """In place of the remaining answers: an error that no other file would mend."""

    error: Exception


class Mark:
    """One number in a file that two processes share."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(NO_FILE.to_bytes(8, "little", signed=True))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8)

    def write(self, index: int) -> None:
        """Number of the file whose reading begins, or `NO_FILE`."""
        self._map[:] = index.to_bytes(8, "little", signed=True)

    def read(self) -> int:
        """What was written last."""
        return int.from_bytes(self._map[:], "little", signed=True)

    def close(self) -> None:
        """Lets go of the file."""
        self._map.close()


def main() -> None:
    """Reads until the parent closes its end; the path of the mark is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)  # what a library prints must not mix with the answers
        tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(sys.stdin.buffer, tasks), daemon=True).start()
        # The job is packed twice: unpacking it imports the domain, which is left to the main thread.
        job = pickle.loads(tasks.get())
        import torch

        torch.set_num_threads(1)
        _work(job, tasks, Mark(Path(sys.argv[1])), output)


def _listen(source: BinaryIO, tasks: "queue.SimpleQueue[Any]") -> None:
    """Takes in tasks. When the parent is gone the process ends at once, whatever it is reading."""
    try:
        while True:
            tasks.put(pickle.load(source))
    except EOFError:
        os._exit(0)
    except Exception:
        traceback.print_exc()
        os._exit(1)


def _work(job: Job, tasks: "queue.SimpleQueue[Task]", mark: Mark, output: BinaryIO) -> None:
    from musicae.data.reading import gather_blocks

    domain = job.domain(job.config)

    def answer(content: object) -> None:
        try:
            pickle.dump(content, output, protocol=pickle.HIGHEST_PROTOCOL)
            output.flush()
        except BrokenPipeError:  # the parent is gone
            os._exit(0)

    answer(Ready())
    while True:
        task = tasks.get()
        _limit_memory(job.memory_bytes)
        result: object = Finished()
        try:
            for block in gather_blocks(domain, _marked(domain, task, mark)):
                mark.write(NO_FILE)  # a parent that is slow to take the block is no fault of a file
                answer(block)
        except MemoryError:
            result = OutOfMemory(mark.read())
        except Exception as error:
            # torch has no error of its own for it.
            full = "can't allocate memory" in str(error)
            result = OutOfMemory(mark.read()) if full else Failed(_portable(error))
        mark.write(NO_FILE)
        answer(result)


def _marked(domain: "Domain", task: Task, mark: Mark) -> "Iterator[Outcome]":
    from musicae.data.reading import read_all

    for index, file in enumerate(task.files, task.start):
        mark.write(index)
        yield from read_all(domain, [file])


def _limit_memory(extra_bytes: int) -> None:
    """Lets allocations fail beyond what the process has now, where the system can (Linux)."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = now + extra_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard < 0 else min(limit, hard), hard))


def _portable(error: Exception) -> Exception:
    """The error itself if it survives pickling, with where it happened."""
    trace = traceback.format_exc()
    try:
        error.add_note(f"In a reading process:\n{trace}")
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(trace)
    return error
