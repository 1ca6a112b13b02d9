"""`Training`: the one run that the studio trains at a time, in a process of its own: the command line's `train`.

The files that it learns from lie in a private temporary folder, which is removed when the studio ends. The run lies
where the command line would put it, under `runs/`: `--model` takes it, but without those files only the studio can go
on with it.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import Any

from musicae.domains import domain_of
from musicae.errors import MusicaeError
from musicae.studio.media import file_name

MOST_FILES = 5_000
MOST_BYTES = 2 * 2**30
_MOST_POINTS = 2_000  # of the curves
_MOST_LINES = 200  # of the log's end


class Training:
    """Files to learn from, and a run.

    Attributes:
        run: the run's folder; None before the first.
    """

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._arguments: list[str] = []
        self._files = self._nbytes = 0
        self._goes_on = self._was_stopped = False
        self._lock = RLock()  # requests come in several threads
        self.run: Path | None = None

    # files

    def add(self, name: str, data: bytes) -> None:
        """Takes a file to learn from. Raises `MusicaeError` when there are too many."""
        with self._lock:
            if self._files >= MOST_FILES or self._nbytes + len(data) > MOST_BYTES:
                raise MusicaeError(
                    f"the studio takes {MOST_FILES:,} files and {MOST_BYTES // 2**30} GB to learn from; for more use "
                    "the command line: musicae train --data FOLDER."
                )
            # Numbered: two files of a folder's subfolders may have one name.
            (self.data / f"{self._files + 1:05d}-{file_name(name)}").write_bytes(data)
            self._files, self._nbytes = self._files + 1, self._nbytes + len(data)

    def forget(self) -> None:
        """Removes the files; a run that learned from them can't go on."""
        with self._lock:
            if self.is_running:
                raise MusicaeError("a training is running; stop it first.")
            shutil.rmtree(self.data, ignore_errors=True)
            self._goes_on = self._goes_on and not self._files
            self._files = self._nbytes = 0

    @property
    def data(self) -> Path:
        """Where the files are."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="musicae-studio-"))
        folder = self._folder / "files"
        folder.mkdir(exist_ok=True)
        return folder

    def inspected(self) -> dict[str, Any]:
        """What `inspect` says of the files. Raises `MusicaeError` where nothing can be learned from them."""
        from musicae.data.prepare import inspect_files

        if not self._files:
            raise MusicaeError("choose a folder first.")
        domain = domain_of(self.data)
        if domain is None:
            raise MusicaeError("none of these files is music, sound or a picture.")
        lines = [line.replace(f"{self.data.name}/", "") for line in inspect_files(domain, [self.data], {})]
        return {"domain": domain, "files": self._files, "lines": lines}

    # the run

    def start(self, domain: str, start_from: str | None, task: str, minutes: float | None, steps: int | None) -> None:
        """Begins a run.

        Args:
            domain: of the files.
            start_from: a model to fine-tune; None: a new one.
            task: as for `musicae train`.
            minutes, steps: how long.

        Raises:
            MusicaeError: one is running.
        """
        from musicae.training.experiment import run_folder

        chosen = {"--start-from": start_from, "--minutes": minutes, "--steps": steps}
        options = [word for name, value in chosen.items() if value is not None for word in (name, str(value))]
        with self._lock:
            if self.is_running:
                raise MusicaeError("a training is running; stop it first.")
            self.run = run_folder(domain, task)
            # A few updates show something soon; nobody wants to look at nothing for a thousand.
            options += ["--out", str(self.run), "--set", "evaluate_every=50"]
            self._arguments = ["train", "--domain", domain, "--task", task, *options]
            self._goes_on = True
            self._begin([*self._arguments, *(["--data", str(self.data)] if self._files else [])])

    def resume(self) -> None:
        """Goes on with the run. Raises `MusicaeError` where there is none, or it runs."""
        with self._lock:
            if self.run is None:
                raise MusicaeError("there is no run to go on with; start one.")
            if not self._goes_on:
                raise MusicaeError("the files of that run are no longer here; start another from it.")
            if self.is_running:
                raise MusicaeError("the training is running.")
            self._begin(["train", "--resume", str(self.run)])

    def stop(self) -> None:
        """Ends the run as Ctrl-C would: it saves first."""
        if self._process is not None and self.is_running:
            self._was_stopped = True
            self._process.send_signal(signal.SIGINT)

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def state(self) -> dict[str, Any]:
        """For the page: curves, previews, the end of the log, and the command line."""
        process, run = self._process, self.run
        words = ["musicae", *self._arguments, *(["--data", "YOUR_FOLDER"] if self._files else [])]
        return {
            "running": self.is_running,
            "stopped": self._was_stopped,
            "exit_code": None if process is None else process.poll(),
            "files": self._files,
            "run": None if run is None else str(run),
            "command": shlex.join(words) if run is not None else None,
            "can_continue": run is not None and self._goes_on and not self.is_running,
            "metrics": [] if run is None else _metrics(run / "metrics.jsonl"),
            "previews": [] if run is None else self.previews(),
            "log": self._log_lines(),
        }

    def previews(self) -> list[str]:
        """Names of the previews, the first ones first."""
        assert self.run is not None
        with suppress(OSError):
            return sorted(path.name for path in (self.run / "previews").iterdir() if path.is_file())
        return []

    def preview(self, number: int) -> tuple[str, bytes]:
        """Name and content of a preview, by its place in `previews`. Raises `MusicaeError` where there is none."""
        names = [] if self.run is None else self.previews()
        if self.run is None or not 0 <= number < len(names):
            raise MusicaeError("there is no such preview.")
        return names[number], (self.run / "previews" / names[number]).read_bytes()

    def close(self) -> None:
        """Stops the run, waits until it has saved, and removes the files."""
        self.stop()
        if self._process is not None:
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _begin(self, arguments: list[str]) -> None:
        assert self.data.parent.is_dir()
        self._was_stopped = False
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "TERM": "dumb"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "musicae.cli", *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment,
            )  # fmt: skip

    @property
    def _log(self) -> Path:
        return self.data.parent / "log.txt"

    def _log_lines(self) -> list[str]:
        if self._process is None:
            return []
        text = self._log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n")
        lines = [line.rstrip() for line in text.splitlines() if line.strip()]
        return lines[-_MOST_LINES:]


def _metrics(path: Path) -> list[dict[str, float]]:
    """Rows of a run's numbers; a row that is being written is left out."""
    rows = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines()[-_MOST_POINTS:]:
            with suppress(ValueError):
                rows.append(json.loads(line))
    return rows
