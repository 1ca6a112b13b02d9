"""Reading files in several processes, each file under a guard, in the order of the files.

The blocks come in the order of the files whatever process was faster, so the result is the same for any
number of processes. A file that takes too long, that wants too much memory or that ends its process is
reported as damaged, and reading goes on. Only `Domain.read` and `Domain.identity` are called.
"""

import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from musicae.data.reading import BLOCK_FILES, Block
from musicae.data.worker import NO_FILE, Failed, Finished, Job, Mark, OutOfMemory, Ready, Task
from musicae.domain import Domain
from musicae.errors import MusicaeError

_HELD_BYTES = 256 * 2**20
"""Finished blocks that wait for an earlier one; beyond it no new files are begun."""
_TASK_FILES = 4 * BLOCK_FILES
"""At most: a process that has done its task waits until it is given another."""
_TASKS_PER_PROCESS = 16
"""At least; files of very different sizes are spread evenly."""
_ACCIDENTS = 100
"""Times that a process may end between files, which no file explains, before reading gives up."""


@dataclass(frozen=True)
class Guard:
    """What one file may take.

    Attributes:
        seconds: of wall time.
        memory_gb: beyond what the process has when it begins with some files. Held on Linux only.
    """

    seconds: float = 30.0
    memory_gb: float = 2.0

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and 0 < self.memory_gb < math.inf):
            raise ValueError(
                f"a file's seconds and memory_gb must be positive, and memory_gb finite, got {self.seconds}, "
                f"{self.memory_gb}."
            )


def is_sendable(domain: Domain) -> bool:
    """Whether another process can build the domain: not if its class is defined in a script or a function."""
    if not sys.executable or type(domain).__module__ == "__main__":
        return False
    try:
        pickle.dumps((type(domain), domain.config))
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True


def read_in_processes(
    domain: Domain, files: Sequence[tuple[str, Path]], processes: int, guard: Guard
) -> Iterator[Block]:
    """Reads files in other processes.

    Args:
        domain: built anew in each process, of its class and config.
        files: `(item name, path)`.
        processes: how many, at least 1.
        guard: what one file may take.

    Yields:
        Blocks in the order of the files. Close the iterator to end the processes early.

    Raises:
        MusicaeError: of `Domain.read`, where it is no `DamagedFileError`; or the processes don't start.
    """
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}.")
    with _Pool(domain, files, processes, guard) as pool:
        yield from pool.blocks()


class _Worker:
    """The parent's side of one process. Files from `at` to `stop` are asked of it and not yet answered."""

    def __init__(self, job: bytes, mark: Path, answers: "queue.SimpleQueue[tuple[_Worker, object]]") -> None:
        # One thread each, of BLAS too; and modules are found where they are found here.
        places = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
        environment = {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.mark = Mark(mark)
        self.at = self.stop = 0
        self.ready = False
        self.late: int | None = None  # number of the file it was ended for
        self._watched, self._waited_s = NO_FILE, 0.0
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from musicae.data.worker import main; main()", str(mark)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._thread = threading.Thread(target=self._listen, args=(answers,), daemon=True)
        self._thread.start()
        self._send(pickle.dumps(job))

    @property
    def idle(self) -> bool:
        return self.ready and self.at == self.stop

    def give(self, start: int, files: Sequence[tuple[str, Path]]) -> None:
        self.at, self.stop = start, start + len(files)
        self._send(pickle.dumps(Task(start, list(files))))

    def end_if_late(self, passed_s: float, limit_s: float) -> None:
        """Counts the time since the last call toward the file being read, and kills when that is too long."""
        now = self.mark.read()
        self._waited_s = self._waited_s + passed_s if now == self._watched != NO_FILE else 0.0
        self._watched = now
        if self.late is None and self._waited_s > limit_s:
            self.late = now
            self.kill()

    def end(self) -> int:
        """Ends the process whatever it does, and returns its exit status; negative: the signal."""
        with suppress(OSError):
            self._process.kill()
        status = self._process.wait()
        self._thread.join()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what could not be sent
                stream.close()  # type: ignore[union-attr]  # both are pipes
        self.mark.close()
        return status

    def kill(self) -> None:
        self._process.kill()

    def _send(self, content: bytes) -> None:
        with suppress(OSError):  # it died: the thread will notice
            self._process.stdin.write(content)  # type: ignore[union-attr]  # a pipe
            self._process.stdin.flush()  # type: ignore[union-attr]

    def _listen(self, answers: "queue.SimpleQueue[tuple[_Worker, object]]") -> None:
        try:
            while True:
                answers.put((self, pickle.load(self._process.stdout)))  # type: ignore[arg-type]  # a pipe
        except Exception:  # the end of the stream, or of the process in the middle of an answer
            answers.put((self, None))


class _Pool:
    def __init__(self, domain: Domain, files: Sequence[tuple[str, Path]], processes: int, guard: Guard) -> None:
        self._job = pickle.dumps(Job(type(domain), domain.config, int(guard.memory_gb * 2**30)))
        self._files, self._guard = files, guard
        size = max(1, min(_TASK_FILES, len(files) // (processes * _TASKS_PER_PROCESS)))
        # Ranges of files that nobody reads yet, rising.
        self._open = [(start, min(start + size, len(files))) for start in range(0, len(files), size)][::-1]
        self._done: dict[int, Block | Exception] = {}  # by the number of the first file
        self._held_bytes = 0
        self._answers: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
        self._wanted = min(processes, len(self._open))
        self._workers: list[_Worker] = []
        self._started = self._accidents = 0

    def __enter__(self) -> "_Pool":
        self._folder = tempfile.TemporaryDirectory(prefix="musicae-", ignore_cleanup_errors=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.kill()
        for worker in self._workers:
            worker.end()
        self._folder.cleanup()

    def blocks(self) -> Iterator[Block]:
        """Yields blocks in the order of the files."""
        poll_s = min(0.5, self._guard.seconds / 10)
        following, looked = 0, time.monotonic()
        while following < len(self._files):
            self._hand_out(following)
            with suppress(queue.Empty):
                self._take(*self._answers.get(following not in self._done, poll_s))
            now = time.monotonic()
            if now - looked >= poll_s:
                # A machine that slept in between, or a stopped job, counts as one look.
                for worker in self._workers:
                    worker.end_if_late(min(now - looked, 2 * poll_s), self._guard.seconds)
                looked = now
            block = self._done.pop(following, None)
            if isinstance(block, Exception):
                raise block
            if block is not None:
                self._held_bytes -= block.nbytes
                following += block.files
                yield block

    def _hand_out(self, following: int) -> None:
        while len(self._workers) < self._wanted and self._open:
            self._started += 1
            self._workers.append(_Worker(self._job, Path(self._folder.name) / str(self._started), self._answers))
        for worker in self._workers:
            # However much is held, the files that all the others wait for are read.
            if worker.idle and self._open and (self._held_bytes < _HELD_BYTES or self._open[-1][0] == following):
                start, stop = self._open.pop()
                worker.give(start, self._files[start:stop])

    def _take(self, worker: _Worker, answer: object) -> None:
        if isinstance(answer, Ready):
            worker.ready = True
        elif isinstance(answer, Block):
            self._done[worker.at] = answer
            self._held_bytes += answer.nbytes
            worker.at += answer.files
        elif isinstance(answer, OutOfMemory):
            self._give_up(worker, answer.index, f"needed more than {self._guard.memory_gb:g} GB of memory")
        elif isinstance(answer, Failed):
            self._done[worker.at] = answer.error
            worker.at = worker.stop
        elif not isinstance(answer, Finished):
            self._bury(worker)

    def _bury(self, worker: _Worker) -> None:
        """Gives up the file that ended its process; another process is started when files are handed out."""
        index = worker.mark.read() if worker.late is None else worker.late
        status = worker.end()
        self._workers.remove(worker)
        if not worker.ready:
            raise MusicaeError(
                f"a process for reading ended before it began (exit status {status}); what it printed says why. "
                "Set MUSICAE_PROCESSES=0 to read without such processes."
            )
        death = f"ended its process ({_status(status)})"
        self._give_up(worker, index, death if worker.late is None else f"took longer than {self._guard.seconds:g} s")

    def _give_up(self, worker: _Worker, index: int, reason: str) -> None:
        """Gives up the file at fault, and has the others of its task read again."""
        if worker.at <= index < worker.stop:
            name, path = self._files[index]
            sentence = f"{path.name} was left out: reading it {reason}."
            self._done[index] = Block(1, damaged={name: sentence}, stopped={reason: 1})
            self._reopen(index + 1, worker.stop)
            self._reopen(worker.at, index)
        else:  # it had just been answered, or no file was being read
            self._accidents += 1
            if self._accidents > _ACCIDENTS:
                raise MusicaeError(
                    f"reading {reason} {self._accidents} times though no file was being read; is the machine out of "
                    "memory? Set MUSICAE_PROCESSES to a smaller number."
                )
            self._reopen(worker.at, worker.stop)
        worker.at = worker.stop

    def _reopen(self, start: int, stop: int) -> None:
        if start < stop:
            self._open.append((start, stop))
            self._open.sort(reverse=True)


def _status(status: int) -> str:
    if status < 0:
        with suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"
