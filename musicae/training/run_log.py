"""What a run reports: a progress bar on standard error, `metrics.jsonl`, and trackers such as TensorBoard.

It knows no models. The loop starts the trackers, through Accelerate; this module knows their names, so that a missing
package is reported before any data are read.
"""

import json
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from musicae.errors import MusicaeError, unknown_name

TRACKERS = {
    "tensorboard": "tensorboard",
    "wandb": "wandb",
    "trackio": "trackio",
    "mlflow": "mlflow",
    "comet_ml": "comet-ml",
    "aim": "aim",
    "clearml": "clearml",
    "dvclive": "dvclive",
    "swanlab": "swanlab",
}
"""Tracker as Accelerate names it, which is also the module's name → the package to install."""


def check_trackers(names: Sequence[str]) -> None:
    """Raises `MusicaeError` for a tracker that is unknown or not installed."""
    for name in names:
        if name not in TRACKERS:
            raise MusicaeError(unknown_name("tracker", name, TRACKERS))
        if find_spec(name) is None:
            raise MusicaeError(f"log_with {name} needs a package that is not installed: pip install {TRACKERS[name]}.")


def describe_place(device: str, processes: int, threads: int, precision: str) -> str:
    """How many processes take part in a run, and on which device, in words.

    Args:
        device: "cpu", "mps", or a GPU's name.
        processes: how many there are.
        threads: of each.
        precision: as Accelerate names it.
    """
    several = f"{processes} process{'es' * (processes > 1)}"
    if device == "cpu":
        place = f"the CPU in {several} of {threads} thread{'s' * (threads > 1)}"
    else:
        place = f"{'a GPU of Apple' if device == 'mps' else device} in {several}{', a GPU each' * (device != 'mps')}"
    return f"training on {place}, precision {'float32' if precision == 'no' else precision}"


def describe_gain(start_from: str, gain: float) -> str:
    """What a restorer has gained, in words.

    Args:
        start_from: what it went on from.
        gain: in nats for each number of an example, of the validation split.
    """
    if not gain > 0:  # which not-a-number isn't either
        return f"no better than {start_from} on the validation examples; its weights stay the best"
    return f"better than {start_from} on the validation examples, by {gain:.3g} nats a number"


def time_left(elapsed_s: float, progress: float) -> str:
    """Minutes that are left of a run, for where no bar is drawn; empty where that is less than one or not known."""
    left_s = elapsed_s * (1 / progress - 1) if 0 < progress < 1 else 0.0
    return f"  {left_s / 60:.0f} min left" if left_s >= 60 else ""


class RunLog:
    """Writes a run's numbers to its folder, and shows them while it runs.

    Args:
        folder: the run's folder.
        visible: whether to write and show anything; False on all processes but the first.
        track: a function that passes numbers and their step on to the trackers.
    """

    def __init__(self, folder: Path, *, visible: bool, track: Callable[[dict[str, float], int], None]) -> None:
        self._visible, self._folder, self._track = visible, folder, track
        columns = (TextColumn("{task.description}"), BarColumn(20), TimeRemainingColumn())
        # Results go to standard output, so that they can be piped; everything else goes to standard error.
        self._progress = Progress(*columns, console=Console(stderr=True, force_jupyter=False), disable=not visible)

    def __enter__(self) -> "RunLog":
        if self._visible:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lines = (self._folder / "metrics.jsonl").open("a", encoding="utf-8")
        self._progress.start()
        self._bar = self._progress.add_task("starting", total=1.0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        if self._visible:
            self._lines.close()

    def show(self, progress: float, step: int, numbers: dict[str, float]) -> None:
        """Moves the bar. `progress` is the share of the run that is done."""
        text = "  ".join(f"{name} {value:,.4g}" for name, value in numbers.items())
        self._progress.update(self._bar, completed=min(progress, 1.0), description=f"step {step}  {text}")

    def record(self, step: int, numbers: dict[str, float]) -> None:
        """Appends a line to `metrics.jsonl`, and passes the numbers on to the trackers."""
        if not self._visible:
            return
        self._lines.write(json.dumps({"step": step, **numbers}) + "\n")
        self._lines.flush()
        if any(name.startswith("validation/") for name in numbers):  # the checkpoint that follows is flushed as well
            os.fsync(self._lines.fileno())
        self._track(numbers, step)

    def say(self, sentence: str) -> None:
        """Prints a line above the bar."""
        if self._visible:
            self._progress.console.print(sentence, highlight=False, soft_wrap=True)
