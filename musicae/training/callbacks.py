"""`Callback`: functions of a script that the training loop calls, to observe a run, record it or stop it.

    class StopWhenGood(musicae.training.callbacks.Callback):
        def on_evaluation(self, run):
            if run.metrics["kl_bits"] < 20:
                run.stop()

    musicae.train("music", callbacks=[StopWhenGood()])

A callback sees the run as a `RunStatus`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from musicae.models.autoencoder import Autoencoder, Loss

_NAMES = ("on_step", "on_evaluation", "on_end")


@dataclass(frozen=True)
class RunStatus:
    """A run as a callback sees it.

    Attributes:
        step: updates done.
        progress: share of the run that is done, 0…1, by steps or by the clock.
        elapsed_s: time trained in this run, seconds.
        folder: the run's.
        model: the weights that are being trained in `on_step`; the averaged ones, in evaluation mode, in the others.
        loss: of the last batch, scalars on the device; in `on_step` only.
        metrics: of the last evaluation: `loss`, `reconstruction_nats`, `kl_bits`, `minutes` …; empty before the first.
        is_main_process: of several processes each calls its own callbacks; this one writes the files.
    """

    step: int
    progress: float
    elapsed_s: float
    folder: Path
    model: "Autoencoder"
    loss: "Loss | None" = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    is_main_process: bool = True
    _stop: Event = field(default_factory=Event, repr=False)

    def stop(self) -> None:
        """Ends the run after this step, with an evaluation; of several processes all end."""
        self._stop.set()


class Callback(Protocol):
    """What the loop calls. Override the methods you need, or give any object with these three methods."""

    def on_step(self, run: RunStatus) -> None:
        """Called after every update."""

    def on_evaluation(self, run: RunStatus) -> None:
        """Called after every evaluation, once the checkpoints are written."""

    def on_end(self, run: RunStatus) -> None:
        """Called once, when the run has ended or was interrupted."""


def check_callbacks(callbacks: Sequence[Callback]) -> None:
    """Raises `ValueError` for an object that lacks a method, or a class given in place of an object."""
    for callback in callbacks:
        missing = [name for name in _NAMES if not callable(getattr(callback, name, None))]
        if missing or isinstance(callback, type):
            what = callback.__name__ if isinstance(callback, type) else type(callback).__name__
            fault = f"has no {', '.join(missing)}" if missing else "is a class and no object of one"
            raise ValueError(f"callback {what} {fault}; subclass musicae.training.callbacks.Callback")
