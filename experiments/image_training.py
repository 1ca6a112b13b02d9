"""How fast pictures are learned, compared with Pythae's VAE: the same network, batch and data.

    pip install pythae
    python experiments/run.py --sets FOLDER image-training

Pythae (https://pypi.org/project/pythae, float32) trains the very layers that musicae does, by its own trainer,
optimiser, data loading and loss; its `amp` is left off, since it is written for CUDA alone, and for the loss "bce" the
trainer turns it off itself. musicae trains with its defaults, and once more in float32, which separates the gain of the
loop from that of bfloat16. All start from the same weights, each in a process of its own, and take turns epoch by
epoch, so that a busy minute of the machine affects all of them. The median epoch counts; reading, building, evaluating
and saving are left out. The loss is the negative ELBO of the test pictures in nats, computed alike for all, in float32.
"""

import contextlib
import dataclasses
import importlib.metadata
import io
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

import numpy as np
import torch

from musicae.data.dataset import DataSet
from musicae.models import Autoencoder, build_model
from musicae.precision import resolve_precision
from musicae.training.experiment import Experiment
from musicae.training.loop import TrainingRun
from musicae.training.run_log import RunLog

CONTENDERS = ("pythae", "musicae_float32", "musicae")
MODELS = ("mlp", "conv")
PICTURES, EPOCHS = 12_800, 8  # all of them would take convolutions too long on a CPU
_THREADS = 1
_BATCH = 128
_LEARNING_RATE = 1e-3
_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Plan:
    """What one contender trains.

    Attributes:
        contender: one of `CONTENDERS`.
        model: one of `MODELS`.
        mnist: folder of IDX files.
        pictures: of an epoch.
        epochs: how many.
        threads: that torch may use.
    """

    contender: str
    model: str
    mnist: Path
    pictures: int
    epochs: int
    threads: int


@dataclass(frozen=True)
class Trainee:
    """A contender that is ready to train.

    Attributes:
        epoch: trains for one epoch.
        trained: gives the network as it would be stored.
        pictures: learned from in an epoch.
        about: what the results say of it.
        close: ends its log.
    """

    epoch: Callable[[], None]
    trained: Callable[[], Autoencoder]
    pictures: int
    about: dict[str, Any]
    close: Callable[[], None] = lambda: None


def build(plan: Plan, folder: Path) -> tuple[Trainee, torch.Tensor]:
    """The contender, and the test pictures it is scored on."""
    precision = "no" if plan.contender == "musicae_float32" else "auto"
    settings = {"batch_size": _BATCH, "learning_rate": _LEARNING_RATE, "precision": precision}
    experiment = Experiment.resolve("image", data=[plan.mnist], model=plan.model, settings=settings)
    dataset = experiment.read()
    train = dataset.splits["train"][: plan.pictures]
    dataset = dataclasses.replace(dataset, splits={**dataset.splits, "train": train})
    test = experiment.domain.tensor(torch.from_numpy(dataset.examples[dataset.splits["test"]])).target
    torch.manual_seed(0)
    network = build_model(plan.model, experiment.domain.spec, experiment.manifest.model_settings)
    make = _pythae if plan.contender == "pythae" else _musicae
    return make(plan, experiment, network, dataset, folder), test


def _musicae(plan: Plan, experiment: Experiment, network: Autoencoder, dataset: DataSet, folder: Path) -> Trainee:
    updates = len(dataset.splits["train"]) // _BATCH
    config = experiment.config.model_copy(update={"steps": updates * plan.epochs})
    run = TrainingRun(experiment.domain, network, dataset, config, experiment.manifest, folder)
    stack = ExitStack()
    run.start_trackers()
    stack.callback(run.stop_trackers)
    log = stack.enter_context(RunLog(folder, visible=True, track=run.track))  # as in any training

    def epoch() -> None:
        for _ in range(updates):
            run.update(log)

    about = {"precision": resolve_precision(config.precision)}
    return Trainee(epoch, lambda: run.evaluated_model, updates * _BATCH, about, stack.close)


def _pythae(plan: Plan, experiment: Experiment, network: Autoencoder, dataset: DataSet, folder: Path) -> Trainee:
    train = np.array(dataset.examples[dataset.splits["train"]])
    pictures = experiment.domain.tensor(torch.from_numpy(train)).target
    made = pythae_trainer(network, pictures, folder, batch_size=_BATCH, learning_rate=_LEARNING_RATE)
    about = {"precision": "no", "version": importlib.metadata.version("pythae")}
    return Trainee(lambda: train_pythae_epoch(made, 1), lambda: network, len(pictures), about)


def pythae_vae(network: Autoencoder) -> Any:
    """Pythae's VAE around a network's encoder, latent and decoder; both hold the same weights."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> ModelOutput:
            posterior = self.network.encode(x)
            return ModelOutput(embedding=posterior.mean, log_covariance=posterior.log_variance)

    class Decoder(BaseDecoder):
        """Gives probabilities, not logits."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, z: torch.Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.network.parameters_of(z).sigmoid())

    latent = network.config.latent_size
    config = VAEConfig(input_dim=tuple(network.spec.shape), latent_dim=latent, reconstruction_loss="bce")
    return VAE(config, encoder=Encoder(), decoder=Decoder())


def pythae_trainer(
    network: Autoencoder, pictures: torch.Tensor, folder: Path, *, batch_size: int, learning_rate: float
) -> Any:
    """Pythae's trainer, ready for its first epoch.

    Args:
        network: trained in place.
        pictures: float32 `(pictures, *spec.shape)`, in memory.
        folder: Pythae makes its own in it.
        batch_size, learning_rate: of Adam, Pythae's default.
    """
    from pythae.data.datasets import BaseDataset
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    config = BaseTrainerConfig(
        output_dir=str(folder), per_device_train_batch_size=batch_size, learning_rate=learning_rate
    )
    made = BaseTrainer(pythae_vae(network), BaseDataset(pictures, torch.ones(len(pictures))), training_config=config)
    made.prepare_training()
    return made


def train_pythae_epoch(made: Any, epoch: int) -> None:
    """One epoch, without its progress bar."""
    with contextlib.redirect_stderr(io.StringIO()):
        made.train_step(epoch)


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
    return {"weights": weights, "pictures": _trainee.pictures, **_trainee.about}


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


def compare_all(sets: Path, runs: Path, *, pictures: int = PICTURES, epochs: int = EPOCHS) -> dict[str, Any]:
    """Both networks on MNIST: network → contender → speed and loss."""
    del runs
    results: dict[str, Any] = {}
    for model in MODELS:
        load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        found = compare([Plan(name, model, sets / "mnist", pictures, epochs, _THREADS) for name in CONTENDERS])
        results[model] = {
            **found,
            "times_pythae": found["musicae"]["images_per_s"] / found["pythae"]["images_per_s"],
            "batch": _BATCH,
            "machine": {"device": _DEVICE, "threads": _THREADS, "load": load, "torch": torch.__version__},
        }
    return results
