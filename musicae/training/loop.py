"""The one training loop, for every domain, task and model. The only importer of Accelerate.

A step draws a batch, corrupts it if the task says so, and lowers the model's loss. Every draw of step n comes from
generators seeded with (seed, n), and batches from a permutation seeded with (seed, epoch). So a resumed run gives
exactly what an uninterrupted one gives. Several processes share each batch and each evaluation, and take the same
decisions, since all of them read the same clock and the same scores. The loop knows neither files nor networks: it is
given a domain, a model and a data set.
"""

import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import ProjectConfiguration, broadcast_object_list
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from musicae.data.dataset import DataSet
from musicae.data.table import ExampleTable
from musicae.domain import Domain
from musicae.errors import MusicaeError
from musicae.models.autoencoder import Autoencoder, Loss
from musicae.nn.layers import Share
from musicae.precision import best_device, resolve_precision
from musicae.training.callbacks import Callback, RunStatus
from musicae.training.checkpoint import Manifest
from musicae.training.config import TrainConfig
from musicae.training.environment import environment_now
from musicae.training.process import ends_with_the_others, interrupt_flag, keep_freed_memory, refuse_wrong_count
from musicae.training.run_folder import RunFolder, RunState, cut_metrics
from musicae.training.run_log import RunLog, describe_gain, describe_place, time_left
from musicae.training.trouble import divergence, halved, refuse_to_halve_less, until_it_fits
from musicae.training.update import Examples, add_gradients, clip_gradients, update_average
from musicae.training.validation import Validation

_SEED_STRIDE = 1_000_003  # keeps the seeds of neighbouring steps and processes apart
_BITS_PER_NAT = 1 / math.log(2)


@ends_with_the_others()
def train(
    domain: Domain,
    model: Autoencoder,
    dataset: DataSet,
    config: TrainConfig,
    manifest: Manifest,
    folder: Path,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    remarks: Sequence[str] = (),
) -> "TrainingRun":
    """Trains a model and keeps its best and its last state.

    Args:
        domain: makes tensors and corruptions.
        model: built for `domain.spec`; trained in place.
        dataset: its `train` and `validation` splits are used.
        config: the settings.
        manifest: goes into the checkpoints, with the metrics filled in.
        folder: the run's folder, see `run_folder.py`, which the caller has locked. Of several processes the first
            one's counts.
        resume: continue from its last checkpoint.
        callbacks: called after steps and evaluations and at the end, in this order.
        remarks: printed when training begins.

    Returns:
        The run as it ended; its checkpoint is in `best_folder`.

    Raises:
        MusicaeError: too many non-finite updates in a row, or nothing to resume.
    """
    run = TrainingRun(domain, model, dataset, config, manifest, folder, callbacks)
    if resume:
        run.restore()
    run.start_trackers()
    with RunLog(run.folder, visible=run.is_main, track=run.track) as log, interrupt_flag() as interrupted:
        for sentence in (run.place, *remarks):
            log.say(sentence)
        if not resume:
            if run.is_fine_tuning:
                run.evaluate(log)
            run.save()
        while not run.finished:
            started = time.perf_counter()
            run.update(log)
            is_interrupted = run.agree(time.perf_counter() - started, interrupted.is_set())
            if run.step % config.evaluate_every == 0 or run.finished:
                started = time.perf_counter()
                run.evaluate(log)
                run.save()
                run.call("on_evaluation")
                is_interrupted |= run.agree(time.perf_counter() - started, interrupted.is_set())
            if is_interrupted:
                run.save()
                log.say(f"stopped at step {run.step}; continue with --resume")
                break
        if run.is_stopped:
            log.say(f"stopped by a callback at step {run.step}")
        if run.is_fine_tuning and run.finished:
            gain = (run.first_total - run.best_total) / domain.spec.numel
            log.say(describe_gain(str(config.start_from), gain))
    run.call("on_end")
    run.wait()
    run.stop_trackers()
    return run


class TrainingRun:
    """The state of one run, and its three operations: update, evaluate, save.

    Arguments as in `train`.
    """

    def __init__(
        self,
        domain: Domain,
        model: Autoencoder,
        dataset: DataSet,
        config: TrainConfig,
        manifest: Manifest,
        folder: Path,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.domain, self.config, self.manifest, self.callbacks = domain, config, manifest, callbacks
        # Accelerate keeps one state a process, and would refuse a second run of another precision.
        AcceleratorState._reset_state()
        self.precision = resolve_precision(config.precision)
        self.accelerator = Accelerator(
            mixed_precision=self.precision,
            cpu=best_device().type == "cpu",
            log_with=list(config.log_with) or None,
            project_config=ProjectConfiguration(str(folder), str(folder / "tensorboard")),
        )
        own = environment_now(self.accelerator.device, self.accelerator.num_processes)
        self.manifest = manifest.model_copy(update={"environments": (*manifest.environments, own)})
        refuse_wrong_count(self.accelerator.num_processes)
        # Only the first process may choose a numbered folder: later ones would find that name taken.
        self.folder = Path(broadcast_object_list([str(folder)])[0])
        self.device = self.accelerator.device
        if self.device.type == "cpu":
            keep_freed_memory()
        budget = int(config.resident_gb * 1e9)
        self.train_table = ExampleTable(dataset.examples, dataset.splits["train"], self.device, budget)
        validation = dataset.splits["validation"]
        # A stride keeps every part of the split in the share that is evaluated.
        validation = validation[:: max(1, math.ceil(len(validation) / config.evaluate_examples))]
        self.corruption = domain.corruption(manifest.task, split="train")
        self.validation = Validation(
            domain,
            ExampleTable(dataset.examples, validation, self.device, budget),
            domain.corruption(manifest.task, split="validation"),
            generator=partial(self._generator, 0),
            precision=self.accelerator.autocast,
        )
        for name, parameter in model.named_parameters():
            if not model.learns(name):
                parameter.requires_grad_(False)
        self.average = AveragedModel(model.to(self.device))
        if config.compile:
            from musicae.training.compiled import compile_networks

            compile_networks(model, self.device)
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.batch_size = min(config.batch_size, len(self.train_table))
        if self.batch_size < self.accelerator.num_processes:
            raise MusicaeError(
                f"{self.accelerator.num_processes} processes can't share batches of {self.batch_size}; start fewer."
            )
        self.micro_batch = min(config.micro_batch or self.batch_size, self.batch_size)
        self.step, self.elapsed_s = 0, 0.0
        self.first_total = self.best_total = math.inf
        self.stale_evaluations = 0
        self.bad_in_a_row = self.bad_updates = 0
        self.examples_per_s = 0.0
        self.metrics: dict[str, float] = {}
        self._evaluated_step = self._best_step = self._saved_step = -1  # none yet
        self._stop, self.is_stopped = Event(), False  # set by a callback in this process; in any process
        self._permutation: tuple[int, Tensor] = (-1, torch.empty(0))

    @property
    def progress(self) -> float:
        """Share of the run that is done, by steps or by the clock."""
        by_clock = self.elapsed_s / (60 * self.config.minutes) if self.config.minutes else 0.0
        return max(self.step / self.config.steps, by_clock)

    @property
    def finished(self) -> bool:
        """Whether steps, minutes or patience have run out, or a callback stopped the run."""
        return self.progress >= 1 or self.stale_evaluations >= self.config.patience or self.is_stopped

    @property
    def is_fine_tuning(self) -> bool:
        """Whether a restorer goes on from another one's weights, which are then scored too, and may stay the best."""
        return self.config.start_from is not None and self.corruption is not None

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return bool(self.accelerator.is_main_process)

    @property
    def place(self) -> str:
        """How many processes take part, and on which device, in words."""
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return describe_place(device, self.accelerator.num_processes, torch.get_num_threads(), self.precision)

    @property
    def best_folder(self) -> Path:
        """The folder of the best checkpoint; of the last, where the run was stopped before the first evaluation."""
        return RunFolder(self.folder).best

    @property
    def totals(self) -> dict[str, float]:
        """Minutes and updates of this run and of those it started from; a number that is not known is left out."""
        own = {"minutes_in_all": self.elapsed_s / 60, "updates_in_all": self.step}
        before = self.manifest.data.get("before", dict.fromkeys(own, 0))
        return {name: value + before[name] for name, value in own.items() if name in before}

    def update(self, log: RunLog) -> None:
        """One step: draw, corrupt, lower the loss."""
        started = time.perf_counter()
        learning_rate = self.config.learning_rate_at(self.step, self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        beta, free_nats = self.config.beta_at(self.progress), self.config.free_bits / _BITS_PER_NAT
        weights: dict[str, float] = {"beta": beta, "free_nats": free_nats, "sparsity": self.config.sparsity}
        if self.config.importance_draws > 1:
            weights["draws"] = self.config.importance_draws
        loss, examples = self._gradients(log, weights)
        self.accelerator.unscale_gradients()
        is_finite = math.isfinite(clip_gradients(self.model.parameters(), self.config.gradient_clip))
        if is_finite or self.accelerator.scaler is not None:
            self.optimizer.step()  # in float16 the scaler skips a bad update itself, and lowers its scale
        if is_finite:
            update_average(self.average, self._raw_model, self._average_decay)
            self.bad_in_a_row = 0
        else:
            self._count_bad_update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        spent = time.perf_counter() - started
        self.examples_per_s += 0.05 * (self.batch_size / spent - self.examples_per_s)
        if self.step % 20 == 0:
            whole = self._loss_of_batch(loss, examples)
            parts = {"loss": whole["total"], "reconstruction": whole["reconstruction"], "kl": whole["kl"]}
            shown = {"penalty": self._raw_model.latent.has_penalty, "sparsity": self.config.sparsity > 0}
            parts |= {name: whole[name] for name, is_shown in shown.items() if is_shown}
            speed = {"examples/s": self.examples_per_s, "learning_rate": learning_rate, "beta": beta}
            log.show(self.progress, self.step, {**parts, "examples/s": self.examples_per_s})
            log.record(self.step, {f"train/{name}": value for name, value in {**parts, **speed}.items()})
        if self.callbacks:
            self.call("on_step", loss)

    def _gradients(self, log: RunLog, weights: dict[str, float]) -> tuple[Loss, int]:
        """Computes the gradients of a batch; halves the micro-batches until they fit into the memory.

        Returns:
            The loss without gradients, and over how many examples it is averaged: those of this process.
        """

        def attempt() -> tuple[Loss, int]:
            batch = self._training_batch()
            # Divided by the size of an example, gradients and the clip mean the same in every domain. The gradients of
            # several processes are averaged, so a share counts by its size.
            share = len(batch.target) * self.accelerator.num_processes / self.batch_size

            def backward(loss: Tensor, part: float) -> None:
                self.accelerator.backward(loss * (share * part) / self.domain.spec.numel)

            unsynchronised = partial(self.accelerator.no_sync, self.model)
            loss = add_gradients(
                self.model, batch, self.micro_batch, weights, backward=backward, unsynchronised=unsynchronised
            )
            return loss, len(batch.target)

        def ask_for_less() -> None:
            self.optimizer.zero_grad(set_to_none=True)
            # Of several processes others wait with their gradients for this one, so none can begin anew alone.
            smaller = halved(self.micro_batch) if self.accelerator.num_processes == 1 else 0
            refuse_to_halve_less(
                smaller,
                f"a step with {self.micro_batch} examples at a time (micro_batch)",
                f"that, --batch-size (now {self.batch_size}), or ",
            )
            self.micro_batch = smaller
            log.say(f"out of memory: from step {self.step} on a batch is computed in parts of {smaller} examples")

        self.model.train()
        return until_it_fits(attempt, ask_for_less)

    def _loss_of_batch(self, loss: Loss, examples: int) -> dict[str, float]:
        """The parts of the loss, averaged over the batch of all processes; they are read all at once."""
        parts = torch.stack(list(loss))
        if self.accelerator.num_processes > 1:
            parts = self._gather(examples * parts).sum(0) / self.batch_size
        return dict(zip(Loss._fields, parts.tolist(), strict=True))

    def evaluate(self, log: RunLog) -> None:
        """Scores the averaged weights on the validation split; keeps them if they are the best."""
        model, count = self.evaluated_model, len(self.validation.table)
        share = (self.accelerator.process_index, self.accelerator.num_processes)
        weights = {"beta": self.config.beta, "sparsity": self.config.sparsity}
        sums = self.validation.summed_loss(model, weights, log.say, share=share)
        # Added up in one order in all processes, so that they come to the same decisions.
        total, reconstruction, kl, penalty, size = (self._gather(sums).sum(0) / count).tolist()
        self.metrics = {
            "loss": total,
            "reconstruction_nats": reconstruction,
            "kl_bits": kl * _BITS_PER_NAT,
            "elbo_nats": -(reconstruction + kl),
            "penalty": penalty,
            "code_size": size,
            "skipped_updates": self.bad_updates,
            "minutes": self.elapsed_s / 60,
        }
        self._evaluated_step = self.step
        scores = self.validation.scores(model) if self.is_main else {}
        self.metrics |= scores
        log.record(self.step, {f"validation/{name}": value for name, value in self.metrics.items()})
        names = ("loss", "reconstruction_nats", "penalty" if model.latent.has_penalty else "kl_bits")
        shown = "  ".join(f"{name} {self.metrics[name]:,.5g}" for name in (("loss", *scores) if scores else names))
        log.say(f"step {self.step}  validation  {shown}{time_left(self.elapsed_s, self.progress)}")
        if sentence := divergence(total, self.first_total, self.best_total, self.domain.spec.numel):
            log.say(sentence)
        if not math.isfinite(self.first_total):
            self.first_total = total
        if model.latent.has_density and kl * _BITS_PER_NAT < 0.1 and self.progress > self.config.kl_warmup:
            log.say("the latent has collapsed (KL below 0.1 bit): lower --beta or raise --free-bits")
        if math.isfinite(total) and total < self.best_total:
            self.best_total, self.stale_evaluations, self._best_step = total, 0, self.step
        else:
            self.stale_evaluations += 1
        if self.is_main:
            self.validation.write_preview(model, self.folder / "previews", self.step)

    @property
    def evaluated_model(self) -> Autoencoder:
        """The averaged weights, in evaluation mode."""
        return cast(Autoencoder, self.average.module.eval())

    def agree(self, spent_s: float, is_interrupted: bool) -> bool:
        """Adds to the clock, which follows the slowest process; returns whether any process was interrupted.

        The schedules and the end depend on the clock, so all processes must read the same one; and when one is
        stopped by a callback, all end.
        """
        self.elapsed_s += spent_s
        own = (self.elapsed_s, float(is_interrupted), float(self._stop.is_set()))
        if self.accelerator.num_processes == 1:  # nothing is sent to a GPU to be read back
            self.is_stopped = self._stop.is_set()
            return is_interrupted
        gathered = self._gather(torch.tensor(own, device=self.device, dtype=torch.float64))
        self.elapsed_s, interrupted, stopped = gathered.amax(0).tolist()
        self.is_stopped = stopped > 0
        return interrupted > 0

    def call(self, name: str, loss: Loss | None = None) -> None:
        """Calls a method of every callback."""
        model = self.evaluated_model if loss is None else self._raw_model
        counted = (self.step, self.progress, self.elapsed_s, self.folder)
        status = RunStatus(*counted, model, loss, dict(self.metrics), self.is_main, self._stop)
        for callback in self.callbacks:
            getattr(callback, name)(status)

    def start_trackers(self) -> None:
        """Starts the config's trackers. TensorBoard writes below the run's folder, the others where they always do."""
        if not self.is_main or not self.config.log_with:
            return
        own = {"name": self.folder.name}
        self.accelerator.init_trackers("musicae", init_kwargs={"wandb": own, "trackio": own})
        settings = self.manifest.domain_settings | self.manifest.model_settings | self.manifest.training
        for tracker in self.accelerator.trackers:
            if tracker.name != "tensorboard":  # it would show the settings as another run
                tracker.store_init_configuration(settings)

    def track(self, numbers: dict[str, float], step: int) -> None:
        """Hands numbers to the trackers."""
        self.accelerator.log(numbers, step=step)

    def stop_trackers(self) -> None:
        """Makes the trackers write what they still hold."""
        for tracker in self.accelerator.trackers:
            tracker.finish()

    @ends_with_the_others()
    def wait(self) -> None:
        """Waits until every process has reached this call."""
        self.accelerator.wait_for_everyone()

    def save(self) -> None:
        """Writes a checkpoint of the averaged weights, and everything that `restore` needs."""
        if not self.is_main or self._saved_step == self.step:
            return
        is_evaluated, is_best = self._evaluated_step == self.step, self._best_step == self.step
        manifest = self.manifest.model_copy(
            update={"metrics": self.metrics if is_evaluated else {}, "data": {**self.manifest.data, **self.totals}}
        )
        RunFolder(self.folder).save(
            f"step-{self.step:06d}",
            self.evaluated_model,
            manifest,
            points=("last", "best") if is_best else ("last",),
            state=self._state,
        )
        self._saved_step = self.step

    def restore(self) -> None:
        """Continues from what `save` wrote last. Raises `MusicaeError` where there is nothing."""
        counters = RunFolder(self.folder).read_state(self._state)
        for name in _COUNTERS:
            setattr(self, name, counters.get(name, getattr(self, name)))  # a former version kept fewer
        if self.accelerator.scaler is not None and "scaler" in counters:
            self.accelerator.scaler.load_state_dict(counters["scaler"])
        self._saved_step = self.step
        if self.is_main:
            cut_metrics(self.folder / "metrics.jsonl", self.step)

    @property
    def _state(self) -> RunState:
        counters = {name: getattr(self, name) for name in _COUNTERS}
        if self.accelerator.scaler is not None:
            counters["scaler"] = self.accelerator.scaler.state_dict()
        return RunState(self._raw_model, self.average, self.optimizer, counters)

    @property
    def _raw_model(self) -> Autoencoder:
        return cast(Autoencoder, self.accelerator.unwrap_model(self.model))

    def _gather(self, own: Tensor) -> Tensor:
        """`(numbers,)` → `(processes, numbers)`, the same in every process."""
        if self.accelerator.num_processes == 1:
            return own[None]
        return cast(Tensor, self.accelerator.gather(own[None]))

    def _rows(self, step: int) -> Tensor:
        """Row numbers of a step's batch, the same for any number of processes."""
        per_epoch = len(self.train_table) // self.batch_size
        epoch, place = divmod(step, per_epoch)
        if self._permutation[0] != epoch:
            shuffler = torch.Generator().manual_seed(self.config.seed * _SEED_STRIDE + epoch)
            self._permutation = (epoch, torch.randperm(len(self.train_table), generator=shuffler))
        return self._permutation[1][place * self.batch_size : (place + 1) * self.batch_size]

    def _training_batch(self) -> Examples:
        """This process's share of the step's batch."""
        rows, index, count = self._rows(self.step), self.accelerator.process_index, self.accelerator.num_processes
        own = slice(index * len(rows) // count, (index + 1) * len(rows) // count)
        is_divided = count > 1 and self.config.equal_draws  # drawn for the whole batch, of which the own part is taken
        generator = self._generator(self.step, 0 if is_divided else index)
        wanted = slice(None) if is_divided else own
        stored = self.train_table.batch(rows[wanted])
        self.train_table.prefetch(self._rows(self.step + 1)[wanted])
        target, condition = self.domain.tensor(stored, generator)
        corrupted = target if self.corruption is None else self.corruption(target, generator)
        if not is_divided:
            return Examples(generator, None, target, corrupted, condition)
        share = Share(target, own.start, own.stop - own.start)
        own_condition = None if condition is None else condition[own]
        return Examples(generator, share, target[own], corrupted[own], own_condition)

    def _generator(self, step: int, part: int) -> torch.Generator:
        """A generator seeded by step and part; torch's global one is seeded too, for dropout."""
        seed = (self.config.seed * _SEED_STRIDE + step) * _SEED_STRIDE + part
        torch.manual_seed(seed % 2**63)
        return torch.Generator(self.device).manual_seed(seed % 2**63)

    @property
    def _average_decay(self) -> float:
        """Of the averaged weights; it grows with the run, so that short runs are averaged too. 0 before any update."""
        if self.step == self.bad_updates:
            return 0.0
        return min(self.config.ema_decay, (1 + self.step) / (10 + self.step))

    def _count_bad_update(self) -> None:
        self.bad_updates += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row >= self.config.bad_updates:
            raise MusicaeError(
                f"{self.bad_in_a_row} updates in a row were not finite; lower --learning-rate or use --precision no."
            )


_COUNTERS = (
    *("step", "elapsed_s", "first_total", "best_total", "stale_evaluations", "bad_in_a_row", "bad_updates"),
    *("examples_per_s", "micro_batch"),
)
