"""Reads files in several processes, with limits of time and memory for each file.

Blocks come in the order of the files, whichever process is faster, so the result is the same for any number of
processes. A file that takes too long, needs too much memory or crashes its process is reported as damaged, and reading
continues. Only `Domain.read` and `Domain.identity` are called.
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
"""Size of finished blocks that wait for an earlier one; beyond it no new task is assigned."""
_TASK_FILES = 4 * BLOCK_FILES
"""Files in a task, at most: a process that has finished its task waits for the next one."""
_TASKS_PER_PROCESS = 16
"""At least, so that files of very different sizes are spread evenly."""
_MOST_UNEXPLAINED_EXITS = 100
"""Number of times that a process may end between two files, so that no file explains it."""


@dataclass(frozen=True)
class Guard:
    """Limits for reading one file.

    Attributes:
        seconds: wall time; less counts while more programs run than there are processors.
        memory_gb: memory beyond what the process has when its task begins. Enforced on Linux only.
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
    """Whether another process can build the domain; it can't if the class is defined in a script or a function."""
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
        domain: each process builds it again from its class and config.
        files: `(item name, path)`.
        processes: how many, at least 1.
        guard: limits for one file.

    Yields:
        Blocks in the order of the files. Close the iterator to end the processes early.

    Raises:
        MusicaeError: `Domain.read` raised one that is no `DamagedFileError`, or the processes don't start.
    """
    if processes < 1:
        raise ValueError(f"processes must be at least 1, got {processes}.")
    with _Pool(domain, files, processes, guard) as pool:
        yield from pool.blocks()


class _Worker:
    """The parent's side of one process. The files from `at` to `stop` are assigned to it and not yet answered."""

    def __init__(self, job: bytes, mark: Path, answers: "queue.SimpleQueue[tuple[_Worker, object]]") -> None:
        # One thread each, in BLAS too; the path is passed on, so that the same modules are found.
        places = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
        environment = {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.mark = Mark(mark)
        self.at = self.stop = 0
        self.ready = False
        self.late: int | None = None  # number of the file that took too long
        self._last_index, self._same_index_s = NO_FILE, 0.0
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

    def assign(self, start: int, files: Sequence[tuple[str, Path]]) -> None:
        self.at, self.stop = start, start + len(files)
        self._send(pickle.dumps(Task(start, list(files))))

    def end_if_late(self, passed_s: float, limit_s: float) -> None:
        """Adds the time since the last call to the current file's, and kills the process if that is too long."""
        now = self.mark.read()
        self._same_index_s = self._same_index_s + passed_s if now == self._last_index != NO_FILE else 0.0
        self._last_index = now
        if self.late is None and self._same_index_s > limit_s:
            self.late = now
            self.kill()

    def end(self) -> int:
        """Kills the process, and returns its exit status; negative: the number of the signal."""
        with suppress(OSError):
            self._process.kill()
        status = self._process.wait()
        self._thread.join()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # unsent data can't be flushed
                stream.close()  # type: ignore[union-attr]  # both are pipes
        self.mark.close()
        return status

    def kill(self) -> None:
        self._process.kill()

    def _send(self, content: bytes) -> None:
        with suppress(OSError):  # the process has ended: the thread will notice
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
        # Ranges of files that no process reads yet; the next one is at the end.
        self._unread = [(start, min(start + size, len(files))) for start in range(0, len(files), size)][::-1]
        self._done: dict[int, Block | Exception] = {}  # number of the first file → what reading gave
        self._held_bytes = 0
        self._answers: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
        self._wanted = min(processes, len(self._unread))
        self._workers: list[_Worker] = []
        self._started = self._unexplained_exits = 0

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
        next_file, looked = 0, time.monotonic()
        while next_file < len(self._files):
            self._assign_tasks(next_file)
            with suppress(queue.Empty):
                self._handle(*self._answers.get(next_file not in self._done, poll_s))
            now = time.monotonic()
            if now - looked >= poll_s:
                # Time in which the machine slept or the job was stopped counts as two polls at most.
                passed_s = min(now - looked, 2 * poll_s) * _share_of_a_processor()
                for worker in self._workers:
                    worker.end_if_late(passed_s, self._guard.seconds)
                looked = now
            block = self._done.pop(next_file, None)
            if isinstance(block, Exception):
                raise block
            if block is not None:
                self._held_bytes -= block.nbytes
                next_file += block.files
                yield block

    def _assign_tasks(self, next_file: int) -> None:
        while len(self._workers) < self._wanted and self._unread:
            self._started += 1
            self._workers.append(_Worker(self._job, Path(self._folder.name) / str(self._started), self._answers))
        for worker in self._workers:
            # The files that all finished blocks wait for are read however much is held.
            if worker.idle and self._unread and (self._held_bytes < _HELD_BYTES or self._unread[-1][0] == next_file):
                start, stop = self._unread.pop()
                worker.assign(start, self._files[start:stop])

    def _handle(self, worker: _Worker, answer: object) -> None:
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
            self._handle_exit(worker)

    def _handle_exit(self, worker: _Worker) -> None:
        """Gives up the file that ended its process; another process starts when tasks are next assigned."""
        index = worker.mark.read() if worker.late is None else worker.late
        status = worker.end()
        self._workers.remove(worker)
        if not worker.ready:
            raise MusicaeError(
                f"a process for reading ended before it began (exit status {status}); what it printed says why. "
                "Set MUSICAE_PROCESSES=0 to read without such processes."
            )
        crash = f"ended its process ({_status(status)})"
        self._give_up(worker, index, crash if worker.late is None else f"took longer than {self._guard.seconds:g} s")

    def _give_up(self, worker: _Worker, index: int, reason: str) -> None:
        """Gives up the file at fault, and schedules the others of its task again."""
        if worker.at <= index < worker.stop:
            name, path = self._files[index]
            sentence = f"{path.name} was left out: reading it {reason}."
            self._done[index] = Block(1, damaged={name: sentence}, stopped={reason: 1})
            self._read_again(index + 1, worker.stop)
            self._read_again(worker.at, index)
        else:  # the file had just been answered, or none was being read
            self._unexplained_exits += 1
            if self._unexplained_exits > _MOST_UNEXPLAINED_EXITS:
                raise MusicaeError(
                    f"reading {reason} {self._unexplained_exits} times though no file was being read; is the machine "
                    "out of memory? Set MUSICAE_PROCESSES to a smaller number."
                )
            self._read_again(worker.at, worker.stop)
        worker.at = worker.stop

    def _read_again(self, start: int, stop: int) -> None:
        if start < stop:
            self._unread.append((start, stop))
            self._unread.sort(reverse=True)


def _share_of_a_processor() -> float:
    """How much of one a process gets, by the load of the last minute; at least a quarter, so that a hang ends."""
    with suppress(AttributeError, OSError):  # Windows counts no load
        return max(0.25, min(1.0, (os.cpu_count() or 1) / max(os.getloadavg()[0], 1e-9)))
    return 1.0


def _status(status: int) -> str:
    if status < 0:
        with suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"
