"""The bar that shows how far reading is: on a terminal only, and only when it takes more than a moment."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_MOMENT_S = 1.0


class ReadingProgress:
    """Shows files read, of how many, and how fast, on standard error.

    Args:
        total: files in all.
        done: files read by an earlier call.
        console: where to draw; standard error by default.
    """

    def __init__(self, total: int, done: int = 0, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self._visible, self._drawn = console.is_terminal, False
        self._first, self._since = done, time.monotonic()
        columns = (TextColumn("reading"), BarColumn(30), MofNCompleteColumn(), TextColumn("{task.description}"))
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
        self._bar = self._progress.add_task("", total=total, completed=done)

    def __enter__(self) -> "ReadingProgress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn:  # else it would end a line that was never begun
            self._progress.stop()

    def show(self, files: int, examples: int) -> None:
        """Moves the bar to `files` read in all; the first time after a moment draws it."""
        passed_s = time.monotonic() - self._since
        if not self._visible or passed_s < _MOMENT_S:
            return
        if not self._drawn:
            self._progress.start()
            self._drawn = True
        speed = f"{(files - self._first) / passed_s:,.0f} files/s, {examples:,} examples"
        self._progress.update(self._bar, completed=files, description=speed)
