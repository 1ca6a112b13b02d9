"""`train`: a new model from data in one call."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicae.models.autoencoder import Autoencoder
from musicae.trained import TrainedModel, load

if TYPE_CHECKING:
    from musicae.training.callbacks import Callback


def train(
    domain: str,
    *,
    data: Any = None,
    task: str = "reconstruct",
    model: str | type[Autoencoder] | None = None,
    out: str | Path | None = None,
    start_from: str | Path | None = None,
    callbacks: "Sequence[Callback]" = (),
    log_with: Sequence[str] = ("tensorboard",),
    resume: bool = False,
    device: str | None = None,
    **settings: Any,
) -> TrainedModel:
    """Trains a model.

    Args:
        domain: a key of `DOMAINS`: "image", "music" or "audio".
        data: files and folders, a named set such as "mnist", a NumPy array `(N, H, W[, C])` or `(N, samples)`, a torch
            `Dataset`, a column of a Hugging Face dataset, or media objects; None for the starter data.
        task: one of the domain's `tasks`.
        model: a key of `MODELS`, or an `Autoencoder` subclass of one's own; by default what fits domain and task.
        out: the run's folder; by default `runs/DOMAIN-TASK`, with a number where that exists.
        start_from: fine-tuning: a shipped model or a run, whose weights are copied where names and shapes fit.
        callbacks: called after steps and evaluations and at the end; see `musicae.training.callbacks.Callback`.
        log_with: trackers, as Accelerate names them.
        resume: continue the run in `out` exactly; all other arguments must be as they were.
        device: where the returned model computes.
        **settings: keys of the domain's, the model's and the training's config, such as `bars=2` and `minutes=10`.

    Returns:
        The best checkpoint, loaded.

    Raises:
        MusicaeError: an unknown name, key or value, or data that can't be used.
    """
    from musicae.training.experiment import run_training

    if isinstance(data, (str, list, tuple)) and not data:
        raise ValueError("the data hold no items")
    best = run_training(
        domain, data=data, task=task, model=model, out=out, start_from=None if start_from is None else str(start_from),
        callbacks=callbacks, log_with=log_with, resume=resume, **settings,
    )  # fmt: skip
    return load(best, device, network_class=None if model is None or isinstance(model, str) else model)
