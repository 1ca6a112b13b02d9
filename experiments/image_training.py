"""How fast pictures are learned beside Pythae's VAE: the same network, batch and data; results as JSON and a table.

    pip install pythae
    python experiments/image_training.py --mnist FOLDER

`--mnist` is a folder with MNIST's IDX files. Pythae (https://pypi.org/project/pythae, float32) trains the very layers
musicae does, by its own trainer; musicae trains with its defaults, and once more in float32, which tells what of the
gain is the loop's and what is bfloat16's. All begin with the same weights, each in a process of its own, and take turns
epoch by epoch, so that a busy minute of the machine hits all of them. The median epoch counts; reading, building,
evaluating and saving are left out of it. The loss is the negative ELBO of the test pictures in nats, taken of all in
the same way, in float32.
"""

import dataclasses
import importlib.metadata
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from musicae.data.dataset import DataSet
from musicae.models import Autoencoder, build_model
from musicae.precision import resolve_precision
from musicae.training.experiment import Experiment
from musicae.training.loop import TrainingRun
from musicae.training.run_log import RunLog

RESULTS = Path(__file__).parent / "image_training.json"
CONTENDERS = ("pythae", "musicae_float32", "musicae")
PICTURES = {"mlp": None, "conv": 6400}  # of an epoch; convolutions take a processor too long for all of them
_BATCH = 128
_LEARNING_RATE = 1e-3
_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Plan:
    """What one contender is to do.

    Attributes:
        contender: one of `CONTENDERS`.
        model: a key of `PICTURES`.
        mnist: folder of IDX files.
        pictures: of an epoch; None for all of the training split.
        epochs: how many there will be.
        threads: that torch may use.
        workers: processes that load pictures for Pythae.
    """

    contender: str
    model: str
    mnist: Path
    pictures: int | None
    epochs: int
    threads: int
    workers: int = 0


@dataclass(frozen=True)
class Trainee:
    """A contender that is ready to train.

    Attributes:
        epoch: trains for one.
        trained: gives the network as it would be kept.
        pictures: learned from in an epoch.
        told: what the results say of it.
        close: ends its log.
    """

    epoch: Callable[[], None]
    trained: Callable[[], Autoencoder]
    pictures: int
    told: dict[str, Any]
    close: Callable[[], None] = lambda: None


def build(plan: Plan, folder: Path) -> tuple[Trainee, torch.Tensor]:
    """The contender, and the test pictures it is scored on."""
    precision = "no" if plan.contender == "musicae_float32" else "auto"
    settings = {"batch_size": _BATCH, "learning_rate": _LEARNING_RATE, "precision": precision}
    experiment = Experiment.resolve("image", data=[plan.mnist], model=plan.model, settings=settings)
    dataset = experiment.read()
    train = dataset.splits["train"][: plan.pictures]
    dataset = dataclasses.replace(dataset, splits={**dataset.splits, "train": train})
    test = experiment.domain.to_tensor(torch.from_numpy(dataset.examples[dataset.splits["test"]]))
    torch.manual_seed(0)
    network = build_model(plan.model, experiment.domain.spec, experiment.manifest.model_settings)
    make = _pythae if plan.contender == "pythae" else _musicae
    return make(plan, experiment, network, dataset, folder), test


def _musicae(plan: Plan, experiment: Experiment, network: Autoencoder, dataset: DataSet, folder: Path) -> Trainee:
    updates = len(dataset.splits["train"]) // _BATCH
    config = experiment.config.model_copy(update={"steps": updates * plan.epochs})
    run = TrainingRun(experiment.domain, network, dataset, config, experiment.manifest, folder)
    stack = ExitStack()
    log = stack.enter_context(RunLog(folder, visible=True))  # as in any training

    def epoch() -> None:
        for _ in range(updates):
            run.update(log)

    told = {"precision": resolve_precision(config.precision)}
    return Trainee(epoch, lambda: run.evaluated_model, updates * _BATCH, told, stack.close)


def _pythae(plan: Plan, experiment: Experiment, network: Autoencoder, dataset: DataSet, folder: Path) -> Trainee:
    from pythae_training import train_epoch, trainer

    train = np.array(dataset.examples[dataset.splits["train"]])
    pictures = experiment.domain.to_tensor(torch.from_numpy(train))
    sizes = {"batch_size": _BATCH, "learning_rate": _LEARNING_RATE, "workers": plan.workers}
    made = trainer(network, pictures, **sizes, folder=folder)
    told = {"precision": "no", "workers": plan.workers, "version": importlib.metadata.version("pythae")}
    return Trainee(lambda: train_epoch(made, 1), lambda: network, len(pictures), told)


def loss_of(network: Autoencoder, pictures: torch.Tensor) -> float:
    """Negative ELBO in nats a picture, in float32, with one draw of z that is the same for all contenders."""
    device = next(network.parameters()).device
    network = network.eval()
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        batches = [batch.to(device) for batch in pictures.split(256)]
        losses = [network.score(batch, batch, generator).loss.total.double().cpu() for batch in batches]
    return float(torch.cat(losses).mean())


# In a contender's own process

_trainee: Trainee
_test: torch.Tensor


def _begin(plan: Plan, folder: Path) -> dict[str, Any]:
    global _trainee, _test
    torch.set_num_threads(plan.threads)
    _trainee, _test = build(plan, folder)
    weights = sum(parameter.numel() for parameter in _trainee.trained().parameters())
    return {"weights": weights, "pictures": _trainee.pictures, **_trainee.told}


def _epoch() -> float:
    """Seconds."""
    started = time.perf_counter()
    _trainee.epoch()
    if _DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _end() -> float:
    _trainee.close()
    return loss_of(_trainee.trained(), _test)


def compare(plans: list[Plan]) -> dict[str, dict[str, Any]]:
    """Trains all contenders in turns; contender → what was measured."""
    found: dict[str, dict[str, Any]] = {}
    seconds: dict[str, list[float]] = {plan.contender: [] for plan in plans}
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        processes = {}
        for plan in plans:
            process = stack.enter_context(ProcessPoolExecutor(1, mp_context=context))
            found[plan.contender] = process.submit(_begin, plan, Path(folder) / plan.contender).result()
            processes[plan.contender] = process
        for _ in range(plans[0].epochs):
            for name, process in processes.items():
                seconds[name].append(process.submit(_epoch).result())
        for name, process in processes.items():
            speed = found[name]["pictures"] / statistics.median(seconds[name])
            found[name] |= {"images_per_s": speed, "test_loss_nats": process.submit(_end).result()}
            found[name]["epoch_s"] = [round(spent, 3) for spent in seconds[name]]
    return found


# Results


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results as one table."""
    lines = [
        "| network | images/s: Pythae | musicae in float32 | musicae | × Pythae "
        "| test loss: Pythae | musicae in float32 | musicae |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model, row in results.items():
        speeds = [f"{row[name]['images_per_s']:.0f}" for name in CONTENDERS]
        losses = [f"{row[name]['test_loss_nats']:.1f}" for name in CONTENDERS]
        what = f"{model}, {row['musicae']['weights'] / 1e6:.1f} million weights, {row['machine']['device']}"
        speeds.append(f"{row['times_pythae']:.1f} ×")
        lines.append(f"| {what} | {' | '.join(speeds)} | {' | '.join(losses)} |")
    return "\n".join(lines)


@click.command(help=__doc__)
@click.option("--mnist", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of IDX files.")
@click.option("--only", "models", multiple=True, type=click.Choice(list(PICTURES)), help="Network.  [default: all]")
@click.option("--pictures", type=click.IntRange(_BATCH), help="Of an epoch.  [default: mlp: all, conv: 6400]")
@click.option("--epochs", type=click.IntRange(1), default=5, show_default=True, help="Of which the median is taken.")
@click.option("--threads", type=click.IntRange(1), help="Of torch.  [default: all cores]")
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Loading for Pythae.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS, help="JSON that is written and added to.")
def main(
    mnist: Path,
    models: tuple[str, ...],
    pictures: int | None,
    epochs: int,
    threads: int | None,
    workers: int,
    out: Path,
) -> None:
    threads = threads or os.cpu_count() or 1
    results = json.loads(out.read_text()) if out.is_file() else {}
    for model in models or PICTURES:
        load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        share = pictures or PICTURES[model]
        plans = [Plan(name, model, mnist, share, epochs, threads, workers) for name in CONTENDERS]
        found = compare(plans)
        results[model] = {
            **found,
            "times_pythae": found["musicae"]["images_per_s"] / found["pythae"]["images_per_s"],
            "batch": _BATCH,
            "machine": {"device": _DEVICE, "threads": threads, "load": load, "torch": torch.__version__},
        }
        out.write_text(json.dumps(results, indent=2) + "\n")
        click.echo(f"{model}  {json.dumps(results[model])}")
    click.echo(table(results))


if __name__ == "__main__":
    main()
