"""What a training run tells: a progress bar, `metrics.jsonl`, TensorBoard. It knows no models."""

import json
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class RunLog:
    """Writes a run's numbers to its folder, and shows them while it runs.

    Args:
        folder: the run's folder.
        visible: False on all processes but the first, which then write and show nothing.
    """

    def __init__(self, folder: Path, *, visible: bool) -> None:
        self._visible = visible
        self._folder = folder
        columns = (TextColumn("{task.description}"), BarColumn(20), TimeRemainingColumn())
        # Results go to standard output, so that they can be piped; what is only told goes beside it.
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not visible)

    def __enter__(self) -> "RunLog":
        if self._visible:
            from torch.utils.tensorboard import SummaryWriter

            self._folder.mkdir(parents=True, exist_ok=True)
            self._lines = (self._folder / "metrics.jsonl").open("a", encoding="utf-8")
            self._board = SummaryWriter(str(self._folder / "tensorboard"))
        self._progress.start()
        self._bar = self._progress.add_task("starting", total=1.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._visible:
            self._lines.close()
            self._board.close()

    def show(self, progress: float, step: int, numbers: dict[str, float]) -> None:
        """Moves the bar. `progress` is the share of the run that is done."""
        text = "  ".join(f"{name} {value:,.4g}" for name, value in numbers.items())
        self._progress.update(self._bar, completed=min(progress, 1.0), description=f"step {step}  {text}")

    def record(self, step: int, numbers: dict[str, float]) -> None:
        """Appends a line to `metrics.jsonl` and points to TensorBoard."""
        if not self._visible:
            return
        self._lines.write(json.dumps({"step": step, **numbers}) + "\n")
        self._lines.flush()
        for name, value in numbers.items():
            self._board.add_scalar(name, value, step)

    def say(self, sentence: str) -> None:
        """Prints a line above the bar."""
        if self._visible:
            self._progress.console.print(sentence, highlight=False)
