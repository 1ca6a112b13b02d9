"""The one training loop, for every domain, task and model. The only importer of Accelerate.

A step draws a batch, damages it if the task says so, and lowers the model's loss. Every draw of step
n comes from generators seeded with (seed, n), and batches from a permutation seeded with
(seed, epoch), so a resumed run continues exactly as an unbroken one. The loop knows neither files
nor networks: it gets a domain, a model and a data set.
"""

import math
import time
from pathlib import Path
from typing import cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from PIL import Image
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.swa_utils import AveragedModel

from musicae.data.dataset import DataSet, ExampleTable
from musicae.domain import Domain
from musicae.errors import MusicaeError
from musicae.models import Autoencoder, Loss
from musicae.plots import save_png
from musicae.precision import resolve_precision
from musicae.training.allocation import keep_freed_memory
from musicae.training.checkpoint import Manifest, save_checkpoint
from musicae.training.config import TrainConfig
from musicae.training.interruption import interrupt_flag
from musicae.training.run_log import RunLog
from musicae.training.run_state import read_state, write_state

_SEED_STRIDE = 1_000_003  # keeps the seeds of neighbouring steps and processes apart
_PREVIEW_EXAMPLES = 8
_BITS_PER_NAT = 1 / math.log(2)
_Tensors = tuple[Tensor, ...] | list[Tensor]


def train(
    domain: Domain,
    model: Autoencoder,
    dataset: DataSet,
    config: TrainConfig,
    manifest: Manifest,
    folder: Path,
    *,
    resume: bool = False,
) -> Path:
    """Trains a model and keeps its best and its last state.

    Args:
        domain: makes tensors and damage.
        model: built for `domain.spec`; trained in place.
        dataset: its `train` and `validation` splits are used.
        config: the settings.
        manifest: goes into the checkpoints, with the metrics filled in.
        folder: the run's folder: `best/`, `last/`, `state/`, `previews/`, `tensorboard/`, `metrics.jsonl`.
        resume: continue from `folder/state`.

    Returns:
        The folder of the best checkpoint; of the last, where it was stopped before the first evaluation.

    Raises:
        MusicaeError: too many non-finite updates in a row, or nothing to resume.
    """
    run = TrainingRun(domain, model, dataset, config, manifest, folder)
    if resume:
        run.restore()
    else:
        run.save_last()
    with RunLog(folder, visible=run.accelerator.is_main_process) as log, interrupt_flag() as interrupted:
        while not run.finished:
            started = time.perf_counter()
            run.update(log)
            is_stopped = run.agree(time.perf_counter() - started, interrupted.is_set())
            if run.step % config.evaluate_every == 0 or run.finished:
                started = time.perf_counter()
                run.evaluate(log)
                run.save_last()
                is_stopped |= run.agree(time.perf_counter() - started, interrupted.is_set())
            if is_stopped:
                run.save_last()
                log.say(f"stopped at step {run.step}; continue with --resume")
                break
    run.accelerator.wait_for_everyone()
    return folder / "best" if (folder / "best").exists() else folder / "last"


class TrainingRun:
    """State of one run and its three acts: update, evaluate, save."""

    def __init__(
        self,
        domain: Domain,
        model: Autoencoder,
        dataset: DataSet,
        config: TrainConfig,
        manifest: Manifest,
        folder: Path,
    ) -> None:
        self.domain, self.config, self.manifest, self.folder = domain, config, manifest, folder
        # Accelerate keeps one state a process, and would refuse a second run of another precision.
        AcceleratorState._reset_state()
        precision = resolve_precision(config.precision)
        # Of the accelerators, only CUDA has the double precision that scores are summed in.
        self.accelerator = Accelerator(mixed_precision=precision, cpu=not torch.cuda.is_available())
        self.device = self.accelerator.device
        if self.device.type == "cpu":
            keep_freed_memory()
        budget = int(config.resident_gb * 1e9)
        self.train_table = ExampleTable(dataset.examples, dataset.splits["train"], self.device, budget)
        validation = dataset.splits["validation"]
        # A stride keeps every part of the split in the share that is evaluated.
        validation = validation[:: max(1, math.ceil(len(validation) / config.evaluate_examples))]
        self.validation_table = ExampleTable(dataset.examples, validation, self.device, budget)
        self.damage = domain.corruption(manifest.task, split="train")
        self.validation_damage = domain.corruption(manifest.task, split="validation")
        self.average = AveragedModel(model.to(self.device), multi_avg_fn=self._average)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.batch_size = min(config.batch_size, len(self.train_table))
        self.batch_size -= self.batch_size % self.accelerator.num_processes  # equal shares
        if self.batch_size == 0:
            raise MusicaeError(f"fewer examples a batch than processes ({self.accelerator.num_processes}); use fewer.")
        self.step, self.elapsed_s = 0, 0.0
        self.best_total, self.stale_evaluations = math.inf, 0
        self.bad_in_a_row = self.bad_updates = 0
        self.examples_per_s = 0.0
        self._permutation: tuple[int, Tensor] = (-1, torch.empty(0))

    @property
    def progress(self) -> float:
        """Share of the run that is done, by steps or by the clock."""
        by_clock = self.elapsed_s / (60 * self.config.minutes) if self.config.minutes else 0.0
        return max(self.step / self.config.steps, by_clock)

    @property
    def finished(self) -> bool:
        return self.progress >= 1 or self.stale_evaluations >= self.config.patience

    def update(self, log: RunLog) -> None:
        """One step: draw, damage, lower the loss."""
        started = time.perf_counter()
        generator = self._generator(self.step, self.accelerator.process_index)
        target, condition = self.domain.tensor(self.train_table.batch(self._rows()), generator)
        damaged = target if self.damage is None else self.damage(target, generator)
        learning_rate = self.config.learning_rate_at(self.step, self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.model.train()
        beta, free_nats = self.config.beta_at(self.progress), self.config.free_bits / _BITS_PER_NAT
        weights = {"beta": beta, "free_nats": free_nats, "sparsity": self.config.sparsity}
        loss: Loss = self.model(damaged, target, **weights, generator=generator, condition=condition)
        # Divided by the size of an example, gradients and the clip mean the same in every domain.
        self.accelerator.backward(loss.total / self.domain.spec.numel)
        is_finite = math.isfinite(self._clip_gradients())
        if is_finite or self.accelerator.scaler is not None:
            self.optimizer.step()  # in float16 the scaler skips a bad update itself, and lowers its scale
        if is_finite:
            self.average.update_parameters(self.accelerator.unwrap_model(self.model))
            self.bad_in_a_row = 0
        else:
            self._count_bad_update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        spent = time.perf_counter() - started
        self.examples_per_s += 0.05 * (self.batch_size / spent - self.examples_per_s)
        if self.step % 20 == 0:
            parts = {"loss": loss.total.item(), "reconstruction": loss.reconstruction.item(), "kl": loss.kl.item()}
            if self._raw_model.latent.is_judged:
                parts["penalty"] = loss.penalty.item()
            if self.config.sparsity:
                parts["sparsity"] = loss.sparsity.item()
            speed = {"examples/s": self.examples_per_s, "learning_rate": learning_rate, "beta": beta}
            log.show(self.progress, self.step, {**parts, "examples/s": self.examples_per_s})
            log.record(self.step, {f"train/{name}": value for name, value in {**parts, **speed}.items()})

    def evaluate(self, log: RunLog) -> None:
        """Scores the averaged weights on the validation split; keeps them if they are the best."""
        model = self.evaluated_model
        sums = torch.zeros(len(Loss._fields), dtype=torch.float64)
        generator = self._generator(0, 0)
        with torch.no_grad():
            for rows in torch.arange(len(self.validation_table)).split(self.domain.spec.evaluation_batch):
                target, damaged, condition = self._validation_batch(rows, generator)
                weights = {"beta": self.config.beta, "sparsity": self.config.sparsity}
                loss = model(damaged, target, **weights, generator=generator, condition=condition)
                sums += len(rows) * torch.stack([part.double().cpu() for part in loss])
        total, reconstruction, kl, penalty, size = (sums / len(self.validation_table)).tolist()
        metrics = {
            "loss": total,
            "reconstruction_nats": reconstruction,
            "kl_bits": kl * _BITS_PER_NAT,
            "elbo_nats": -(reconstruction + kl),
            "penalty": penalty,
            "code_size": size,
            "skipped_updates": self.bad_updates,
            "minutes": self.elapsed_s / 60,
        }
        log.record(self.step, {f"validation/{name}": value for name, value in metrics.items()})
        told = ("loss", "reconstruction_nats", "penalty" if model.latent.is_judged else "kl_bits")
        shown = {name: metrics[name] for name in told}
        log.say(f"step {self.step}  validation  " + "  ".join(f"{name} {value:,.5g}" for name, value in shown.items()))
        if model.latent.has_density and kl * _BITS_PER_NAT < 0.1 and self.progress > self.config.kl_warmup:
            log.say("the latent has collapsed (KL below 0.1 bit): lower --beta or raise --free-bits")
        if math.isfinite(total) and total < self.best_total:
            self.best_total, self.stale_evaluations = total, 0
            self._save(self.folder / "best", metrics)
        else:
            self.stale_evaluations += 1
        self._preview(model)

    @property
    def evaluated_model(self) -> Autoencoder:
        """The averaged weights, in evaluation mode."""
        return cast(Autoencoder, self.average.module.eval())

    def agree(self, spent_s: float, is_interrupted: bool) -> bool:
        """Adds to the clock, the slowest process's; returns whether any process is to stop.

        The schedules and the end hang on the clock, so all processes must read the same one.
        """
        self.elapsed_s += spent_s
        if self.accelerator.num_processes == 1:
            return is_interrupted
        told = torch.tensor([[self.elapsed_s, float(is_interrupted)]], device=self.device, dtype=torch.float64)
        elapsed_s, stop = self.accelerator.gather(told).amax(0).tolist()
        self.elapsed_s = elapsed_s
        return stop > 0

    def save_last(self) -> None:
        """Writes `last/`: a checkpoint and everything `restore` needs."""
        if not self.accelerator.is_main_process:
            return
        self._save(self.folder / "last", {})
        counters = {name: getattr(self, name) for name in _COUNTERS}
        write_state(self.folder / "state", self._raw_model, self.average, self.optimizer, counters)

    def restore(self) -> None:
        """Continues from what `save_last` wrote. Raises `MusicaeError` where there is nothing."""
        for name, value in read_state(self.folder / "state", self._raw_model, self.average, self.optimizer).items():
            setattr(self, name, value)

    @property
    def _raw_model(self) -> Autoencoder:
        return self.accelerator.unwrap_model(self.model)

    def _rows(self) -> Tensor:
        """Row numbers of this step, this process's share of them."""
        per_epoch = len(self.train_table) // self.batch_size
        epoch, place = divmod(self.step, per_epoch)
        if self._permutation[0] != epoch:
            shuffler = torch.Generator().manual_seed(self.config.seed * _SEED_STRIDE + epoch)
            self._permutation = (epoch, torch.randperm(len(self.train_table), generator=shuffler))
        rows = self._permutation[1][place * self.batch_size : (place + 1) * self.batch_size]
        return rows[self.accelerator.process_index :: self.accelerator.num_processes]

    def _generator(self, step: int, process: int) -> torch.Generator:
        """The step's own generator; torch's global one is seeded too, for dropout."""
        seed = (self.config.seed * _SEED_STRIDE + step) * _SEED_STRIDE + process
        torch.manual_seed(seed % 2**63)
        return torch.Generator(self.device).manual_seed(seed % 2**63)

    def _clip_gradients(self) -> float:
        """Their norm, as it was; they are scaled only if it is too large, which it seldom is."""
        self.accelerator.unscale_gradients()
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        norm = get_total_norm([cast(Tensor, parameter.grad) for parameter in parameters])
        if norm + 1e-6 > self.config.gradient_clip:  # where clip_grad_norm_'s factor is below one
            clip_grads_with_norm_(parameters, self.config.gradient_clip, norm)
        return float(norm)

    def _average(self, averaged: _Tensors, current: _Tensors, _: Tensor | int) -> None:
        """Exponential moving average whose memory grows with the run, so that short runs are averaged too."""
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def _count_bad_update(self) -> None:
        self.bad_updates += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row >= self.config.bad_updates:
            raise MusicaeError(
                f"{self.bad_in_a_row} updates in a row were not finite; lower --learning-rate or use --precision no."
            )

    def _validation_batch(self, rows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """Target, input and condition."""
        target, condition = self.domain.tensor(self.validation_table.batch(rows))
        damaged = target if self.validation_damage is None else self.validation_damage(target, generator)
        return target, damaged, condition

    def _save(self, folder: Path, metrics: dict[str, float]) -> None:
        if self.accelerator.is_main_process:
            save_checkpoint(folder, self.evaluated_model, self.manifest.model_copy(update={"metrics": metrics}))

    def _preview(self, model: Autoencoder) -> None:
        if not self.accelerator.is_main_process:
            return
        rows = torch.arange(min(_PREVIEW_EXAMPLES, len(self.validation_table)))
        target, damaged, condition = self._validation_batch(rows, self._generator(0, 0))
        with torch.no_grad():
            answer = model.reconstruct(damaged, condition=condition)
        shown = {"original": target, "damaged": damaged, "model": answer}
        if self.damage is None:
            del shown["damaged"]
        folder = self.folder / "previews"
        folder.mkdir(parents=True, exist_ok=True)
        preview = self.domain.preview({label: tensor.cpu() for label, tensor in shown.items()})
        for ending, item in preview.items():
            path = folder / f"step-{self.step:06d}{ending}"
            # A picture drawn by Pillow would be half-written after a crash; media objects write atomically themselves.
            if isinstance(item, Image.Image):
                save_png(item, path)
            else:
                item.save(path)


_COUNTERS = ("step", "elapsed_s", "best_total", "stale_evaluations", "bad_in_a_row", "bad_updates", "examples_per_s")
