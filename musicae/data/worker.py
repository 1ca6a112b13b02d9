"""The process that reads files for `musicae.data.pool`: its `main`, run by a new interpreter.

It receives a job and then tasks on standard input, and answers on standard output. Both are pickles, exchanged only
between a parent and its own child. It is no fork, which is unsafe beside torch's threads, and not `multiprocessing`'s
spawn, which runs the user's script again. A small file, the mark, holds the number of the file that is being read, so
that the parent knows which one was at fault if this process hangs or crashes.
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

# No heavy imports up here: `main` first leaves Ctrl-C to the parent.
NO_FILE = -1
"""The mark's value between two files."""


@dataclass(frozen=True)
class Job:
    """What all tasks share. `memory_bytes` may be allocated beyond what the process has when a task starts."""

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
    """Replaces the remaining answers of a task: file number `index` needed too much memory."""

    index: int


@dataclass(frozen=True)
class Failed:
    """Replaces the remaining answers of a task: an error that concerns more than one file."""

    error: Exception


class Mark:
    """One number in a file that two processes share."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(NO_FILE.to_bytes(8, "little", signed=True))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8)

    def write(self, index: int) -> None:
        """Stores the number of the file whose reading begins, or `NO_FILE`."""
        self._map[:] = index.to_bytes(8, "little", signed=True)

    def read(self) -> int:
        """The number that was written last."""
        return int.from_bytes(self._map[:], "little", signed=True)

    def close(self) -> None:
        """Closes the file."""
        self._map.close()


def main() -> None:
    """Reads until the parent closes the pipe; the path of the mark is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(os.dup(1), "wb") as output:
        os.dup2(2, 1)  # what a library prints must not get between the answers
        tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=_listen, args=(sys.stdin.buffer, tasks), daemon=True).start()
        # The job is pickled twice: unpickling it imports the domain, which the main thread has to do.
        job = pickle.loads(tasks.get())
        import torch

        torch.set_num_threads(1)
        _work(job, tasks, Mark(Path(sys.argv[1])), output)


def _listen(source: BinaryIO, tasks: "queue.SimpleQueue[Any]") -> None:
    """Receives tasks. When the parent has ended, this process ends at once, whatever it is reading."""
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
        except BrokenPipeError:  # the parent has ended
            os._exit(0)

    answer(Ready())
    while True:
        task = tasks.get()
        _limit_memory(job.memory_bytes)
        result: object = Finished()
        try:
            for block in gather_blocks(domain, _marked(domain, task, mark)):
                mark.write(NO_FILE)  # the time until the parent takes the block is not the file's
                answer(block)
        except MemoryError:
            result = OutOfMemory(mark.read())
        except Exception as error:
            # torch raises a plain RuntimeError where memory is short.
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
    """Makes allocations beyond what the process has now fail, where the system can do that (Linux)."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        now = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = now + extra_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard < 0 else min(limit, hard), hard))


def _portable(error: Exception) -> Exception:
    """The error with a note of where it happened; a `RuntimeError` with its traceback if it can't be pickled."""
    trace = traceback.format_exc()
    try:
        error.add_note(f"In a reading process:\n{trace}")
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(trace)
    return error
