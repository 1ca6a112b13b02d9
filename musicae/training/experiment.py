"""Trains a model from names, files or arrays: resolves the settings, reads the data, runs the loop.

This is what `musicae train` and `musicae.train` call. Settings are one flat mapping: a key belongs to the domain, the
model or the training, whichever has it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from musicae.atomic_io import free_path
from musicae.capabilities import remark_on_files
from musicae.config import Config, has_key, read_config
from musicae.data.arrays import InMemory, is_in_memory
from musicae.data.dataset import DataSet, load_dataset, split_of_run
from musicae.data.files import find_files
from musicae.data.named_sets import locate
from musicae.domain import Domain
from musicae.domains import domain_class
from musicae.errors import MusicaeError, unknown_name
from musicae.models import MODELS, build_model, default_model, model_classes, model_name, refuse_misfit
from musicae.models.autoencoder import FREEZES, Autoencoder
from musicae.nn.latents import LATENTS
from musicae.pipeline import Pipeline
from musicae.precision import resolve_precision
from musicae.shipped import find_model
from musicae.spec import Layout
from musicae.starter import starter_settings
from musicae.training.callbacks import Callback, check_callbacks
from musicae.training.checkpoint import Manifest, load_checkpoint, read_manifest, take_over, write_checkpoint
from musicae.training.config import TrainConfig
from musicae.training.fit_prior import fit_prior
from musicae.training.loop import TrainingRun, train
from musicae.training.process import is_main_process
from musicae.training.run_folder import RunFolder
from musicae.training.run_log import check_trackers

_TOTALS = ("minutes_in_all", "updates_in_all")


@dataclass(frozen=True)
class Experiment:
    """A training run with every setting resolved.

    Attributes:
        domain: built, its settings filled in from the data.
        manifest: the description of the run that its checkpoints store.
        data: files and folders, none for the starter data; or data in memory.
        config: the training settings.
        model: a key of `MODELS` or a class of the user's own.
        remarks: what is worth knowing of the data before training begins, for people.
    """

    domain: Domain
    manifest: Manifest
    data: tuple[Path, ...] | InMemory
    config: TrainConfig
    model: str | type[Autoencoder]
    remarks: tuple[str, ...] = ()

    @classmethod
    def resolve(
        cls,
        domain: str,
        *,
        task: str = "reconstruct",
        data: Any = (),
        model: str | type[Autoencoder] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> "Experiment":
        """Resolves every setting.

        Args:
            domain: a key of `DOMAINS`.
            task: one of the domain's tasks.
            data: files, folders and names in `NAMED_SETS`, one or several; nothing for the starter data; or data in
                memory, see `musicae.data.arrays`.
            model: a key of `MODELS` or a subclass of `Autoencoder`; by default that of `start_from`, else the one for
                the domain's layout and the task.
            settings: keys of the domain's, the model's and the training's config. With `start_from` the settings of
                that model are the defaults.

        Raises:
            MusicaeError: an unknown name, key or value, or data that isn't there.
            ValueError: data in memory that this domain does not take.
        """
        domain_type = domain_class(domain)
        if task not in domain_type.tasks:
            raise MusicaeError(unknown_name(f"task for {domain}", task, domain_type.tasks))
        settings = dict(settings or {})
        start = _starting_manifest(settings.get("start_from"), domain)
        inherited = start.domain_settings if start else {}
        own = read_config(domain_type.Config, _merged(domain_type.Config, inherited, settings), f"{domain} setting")
        built, places, remarks = _domain_for(domain_type, own, data, task)
        chosen = _chosen_model(model, start, built, task)
        _, model_config = model_classes(chosen)
        tables: list[type[Config]] = [domain_type.Config, model_config, TrainConfig]
        for key in settings:
            if not any(has_key(table, key) for table in tables):
                raise MusicaeError(_unknown_setting(key, tables, model_name(chosen), built.spec.layout, task))
        inherited = dict(start.model_settings) if start and start.model == model_name(chosen) else {}
        for key in FREEZES:  # who fine-tunes a model wants it to learn
            inherited.pop(key, None)
        sizes = read_config(model_config, _merged(model_config, inherited, settings), f"{model_name(chosen)} setting")
        sizes = sizes.fitted_to(built.spec)
        freezing = [key for key in FREEZES if getattr(sizes, key, False)]
        if start is None and freezing:
            raise MusicaeError(f"{freezing[0]}=true keeps weights as they are; name a model to --start-from.")
        defaults = dict(domain_type.training_defaults)
        if places == () and start is None:
            defaults |= starter_settings(domain, timed=settings.get("minutes") is not None)
        config = read_config(TrainConfig, _merged(TrainConfig, defaults, settings), "training setting")
        check_trackers(config.log_with)
        latent = LATENTS[sizes.latent]
        if config.importance_draws > 1 and (latent.has_penalty or not latent.has_density):
            raise MusicaeError(
                f"importance_draws are for codes with a density, not for latent {sizes.latent}; leave it at 1."
            )
        refuse_misfit(chosen, built.spec, sizes.model_dump(mode="json"))
        about: dict[str, Any] = {"paths": [str(path.resolve()) for path in places] if isinstance(places, tuple) else []}
        # A run that goes on from a model splits as that did: what it held out stays held out.
        about["split"] = split_of_run(start.data) if start else "content"
        if isinstance(places, InMemory):
            about["in_memory"] = len(places.items)
        if start is not None:
            before = {name: start.data[name] for name in _TOTALS if name in start.data}
            about |= {"started_from": config.start_from, "before": before}
        manifest = Manifest(
            domain=domain,
            domain_settings=built.config.model_dump(mode="json"),
            task=task,
            model=model_name(chosen),
            model_settings=sizes.model_dump(mode="json"),
            training=config.model_dump(mode="json"),
            data=about,
        )
        return cls(built, manifest, places, config, chosen, remarks)

    @classmethod
    def of_run(cls, folder: Path, *, data: Any = None, model: type[Autoencoder] | None = None) -> "Experiment":
        """The experiment of an existing run, as it was resolved when the run began.

        Args:
            folder: the run's.
            data: the same data again, if the run's data were in memory.
            model: the same class again, if the model is a class of the user's own.

        Raises:
            CheckpointError: the folder holds no run.
            MusicaeError: data or class must be given again, and are missing or different.
        """
        manifest = read_manifest(RunFolder(folder).last)
        config = read_config(TrainConfig, manifest.training, "training setting")
        if manifest.model not in MODELS and model is None:
            raise MusicaeError(
                f"{folder} trains a model of your own, {manifest.model}; continue it in Python: "
                "musicae.train(..., model=THE_CLASS, resume=True)."
            )
        if "in_memory" not in manifest.data:
            places: tuple[Path, ...] | InMemory = manifest.data_paths
        elif is_in_memory(data):
            places = InMemory(data)
        else:
            raise MusicaeError(
                f"{folder} learned from data in memory; continue it in Python: "
                "musicae.train(..., data=DATA, resume=True)."
            )
        return cls(manifest.build_domain(), manifest, places, config, model or manifest.model)

    def read(self) -> DataSet:
        """Reads the data, or opens the store of an earlier reading.

        Raises:
            MusicaeError: nothing usable, with the reasons counted; or one item, which leaves none to validate on.
        """
        split_by = split_of_run(self.manifest.data)
        if isinstance(self.data, InMemory):
            dataset = self.data.read(self.domain, unique=self.config.unique, split_by=split_by)
        else:
            dataset = load_dataset(self.domain, self.data, unique=self.config.unique, split_by=split_by)
        if not len(dataset.splits["validation"]) and not len(dataset.splits["test"]):
            raise MusicaeError(
                "only one item: training needs at least two that differ, one of them to validate on. Add more files."
            )
        return dataset

    def run(self, folder: Path, dataset: DataSet, *, resume: bool = False, callbacks: Sequence[Callback] = ()) -> Path:
        """Trains, and returns the folder of the best checkpoint.

        Args:
            folder: the run's folder.
            dataset: what `read` gave.
            resume: continue from the folder's last state.
            callbacks: called after steps and evaluations and at the end.
        """
        check_callbacks(callbacks)
        counts = {split: len(indices) for split, indices in dataset.splits.items()}
        found = {"fingerprint": dataset.fingerprint, "content": dataset.content, "examples": counts}
        data = {**self.manifest.data, **found}
        if not all(counts[split] for split in ("train", "validation")):
            # Only an official split can do this: other sets are split into both.
            raise MusicaeError("the data has only test files; give the set's training files too.")
        if resume and not _are_same_data(self.manifest.data, found):
            raise MusicaeError("the data changed since the run began, so it can't be continued; start a new one.")
        # The precision is resolved once and stored, so that a resumed run computes as it began.
        config = self.config.model_copy(update={"precision": resolve_precision(self.config.precision)})
        manifest = self.manifest.model_copy(update={"data": data, "training": config.model_dump(mode="json")})
        torch.manual_seed(config.seed)  # for the initial weights
        model = build_model(self.model, self.domain.spec, manifest.model_settings)
        if config.start_from is not None and not resume:
            take_over(model, find_model(config.start_from))
        place = RunFolder(folder)
        with place.locked() if is_main_process() else nullcontext():
            if is_main_process() and not resume and place.holds_a_run:  # made since the folder was chosen
                raise _holds_a_run(folder)
            run = train(
                self.domain, model, dataset, config, manifest, folder,
                resume=resume, callbacks=callbacks, remarks=self.remarks,
            )  # fmt: skip
            if run.is_main:  # only one of several processes needs to
                self._finish(run, dataset)
        run.wait()
        return run.best_folder

    def _finish(self, run: TrainingRun, dataset: DataSet) -> None:
        """Adds to the best checkpoint the fitted prior, the attribute vectors, and the time that training took."""
        from musicae import attribute_vectors

        place, own = RunFolder(run.folder), self.model if isinstance(self.model, type) else None
        network, domain, manifest = load_checkpoint(place.best, own)
        added = {**run.totals, "complete": run.finished}
        if place.is_final and added.items() <= manifest.data.items():
            return
        manifest = fit_prior(network.to(run.device), domain, manifest, dataset)
        manifest = manifest.model_copy(update={"data": {**manifest.data, **added}})
        vectors = None
        if not network.restores:
            vectors = attribute_vectors.fit(Pipeline(network, domain, manifest.task, run.device), dataset)
        name = place.best.name.partition("-final")[0]
        with place.new_checkpoint(f"{name}-final", points=("best", "final")) as folder:
            write_checkpoint(folder, network, manifest)
            if vectors is not None and vectors.vectors:
                vectors.save(folder)


def run_training(
    domain: str,
    *,
    data: Any = None,
    task: str = "reconstruct",
    model: str | type[Autoencoder] | None = None,
    out: Path | str | None = None,
    start_from: str | None = None,
    callbacks: Iterable[Callback] = (),
    log_with: Sequence[str] = ("tensorboard",),
    resume: bool = False,
    **settings: Any,
) -> Path:
    """Trains a model, and returns the folder of its best checkpoint.

    Args:
        domain: `image`, `music` or `audio`.
        data: a file or folder, several, or a name in `NAMED_SETS`; an array `(N, H, W[, C])`, `(N, samples)` or
            `(N, steps, streams)`; a torch `Dataset` of arrays, pictures or pairs with a label; a column of a Hugging
            Face data set; a sequence of media objects. None: the starter data.
        task: one of the domain's `tasks`.
        model: a key of `MODELS`, or a subclass of `Autoencoder`.
        out: the run's folder; by default `runs/DOMAIN-TASK`, with a number if that exists.
        start_from: a shipped model or a run to go on from with other data: its settings are the defaults.
        callbacks: see `musicae.training.callbacks`.
        log_with: trackers, such as `wandb`; `metrics.jsonl` is written always.
        resume: continue the run in `out`. All other arguments must be as they were, except callbacks and trackers.
        **settings: of the domain, the model and the training, such as `minutes=10` or `latent_size=2`.

    Raises:
        MusicaeError: an unknown name, key or value, data that can't be used, or a folder that already holds a run.
        ValueError: data in memory or callbacks of the wrong type.
    """
    callbacks = tuple(callbacks)
    check_callbacks(callbacks)
    if resume:
        if out is None:
            raise ValueError("give out, the folder of the run that is to be continued")
        own = model if isinstance(model, type) else None
        experiment = Experiment.of_run(Path(out), data=data, model=own)
        _refuse_changes(
            experiment.manifest, domain, task, model, settings | ({"start_from": start_from} if start_from else {})
        )
        check_trackers(log_with)
        config = experiment.config.model_copy(update={"log_with": tuple(log_with)})
        experiment = replace(experiment, config=config)
    else:
        settings |= {"log_with": tuple(log_with)} | ({"start_from": start_from} if start_from else {})
        experiment = Experiment.resolve(domain, task=task, data=data, model=model, settings=settings)
    folder = run_folder(domain, task, out, resume=resume)
    return experiment.run(folder, experiment.read(), resume=resume, callbacks=callbacks)


def run_folder(domain: str, task: str, out: Path | str | None = None, *, resume: bool = False) -> Path:
    """The folder for a run: `out`, or the first of `runs/DOMAIN-TASK`, `runs/DOMAIN-TASK-2`, … that does not exist.

    Raises:
        MusicaeError: `out` already holds a run, and none is resumed; or it is a file.
    """
    if out is None:
        return free_path(Path("runs") / f"{domain}-{task}")
    if Path(out).is_file():
        raise MusicaeError(f"{out} is a file, and a run is a folder; choose another --out.")
    # Only the first of several processes checks: the others could find what it has already written.
    if not resume and is_main_process() and RunFolder(Path(out)).holds_a_run:
        raise _holds_a_run(Path(out))
    return Path(out)


def _are_same_data(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a run's data are what they were: files may have been moved, copied or touched since."""
    key = "content" if "content" in then else "fingerprint"
    return bool(then.get(key) == now[key] and then.get("examples", now["examples"]) == now["examples"])


def _holds_a_run(folder: Path) -> MusicaeError:
    return MusicaeError(f"{folder} already holds a run; continue it with --resume {folder}, or choose another --out.")


def _starting_manifest(start_from: str | None, domain: str) -> Manifest | None:
    """The manifest of the model that a run starts from, with the present names of its settings."""
    if start_from is None:
        return None
    start = read_manifest(find_model(start_from))
    if start.domain != domain:
        raise MusicaeError(f"{start_from} is a model of {start.domain}, not of {domain}; start from another.")
    return start.model_copy(update={"domain_settings": start.build_domain().config.model_dump(mode="json")})


def _domain_for(
    domain_type: type[Domain], own: Any, data: Any, task: str
) -> tuple[Domain, tuple[Path, ...] | InMemory, tuple[str, ...]]:
    """The domain with its settings filled in from the data, such as the size of pictures; the data, and remarks."""
    if isinstance(data, InMemory) or is_in_memory(data):
        items = data if isinstance(data, InMemory) else InMemory(data)
        return domain_type(items.configure(domain_type, own, task)), items, ()
    places = () if data is None else (data,) if isinstance(data, (str, Path)) else tuple(data)
    paths = tuple(locate(Path(place), domain_type.name) for place in places)
    files = [path for _, path in find_files(domain_type(own), paths)] if paths else []
    domain = domain_type(domain_type.configure(own, files, task))
    remark = remark_on_files(domain, files)
    return domain, paths, () if remark is None else (remark,)


def _unknown_setting(key: str, tables: Sequence[type[Config]], model: str, layout: Layout, task: str) -> str:
    """The text for a setting that neither domain, model nor training have, but maybe another model that would fit."""
    restoring = task != "reconstruct"
    fitting = [name for name in MODELS if MODELS[name].fits(layout, restoring)]
    others = [name for name in fitting if has_key(model_classes(name)[1], key)]
    if others:
        return f"model {model} has no setting {key}; leave it out, or use --model {' or '.join(others)}."
    return unknown_name("setting", key, [name for table in tables for name in table.model_fields])


def _chosen_model(
    model: str | type[Autoencoder] | None, start: Manifest | None, domain: Domain, task: str
) -> str | type[Autoencoder]:
    """The model asked for, else the one of `start` if it fits the task, else the default.

    Raises:
        MusicaeError: the model asked for fits neither the domain nor the task, or is unknown.
    """
    layout, restoring = domain.spec.layout, task != "reconstruct"
    fitting = default_model(domain.spec, restoring)
    if model is None and start is not None and start.model in MODELS and MODELS[start.model].fits(layout, restoring):
        return start.model
    chosen = model or fitting
    if not isinstance(chosen, str):
        model_name(chosen)  # raises if it is no model
        return chosen
    if chosen not in MODELS:
        raise MusicaeError(unknown_name("model", chosen, MODELS))
    if MODELS[chosen].layout is not layout:
        own = MODELS[chosen].layout
        raise MusicaeError(f"model {chosen!r} takes {own} tensors, not {layout}; use --model {fitting}.")
    if not MODELS[chosen].fits(layout, restoring):
        raise MusicaeError(f"model {chosen!r} does not fit task {task!r}; use --model {fitting}.")
    return chosen


def _merged(config: type[Config], defaults: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that belong to a config, under the present names of its keys, merged over defaults."""
    own = {config.RENAMED.get(key, key): value for key, value in settings.items() if has_key(config, key)}
    inherited = {config.RENAMED.get(key, key): value for key, value in defaults.items()}
    return {**inherited, **own}


def _refuse_changes(
    manifest: Manifest, domain: str, task: str, model: str | type[Autoencoder] | None, settings: Mapping[str, Any]
) -> None:
    """Raises `MusicaeError` if a resumed run is given other settings than it began with."""
    then = {**manifest.domain_settings, **manifest.model_settings, **manifest.training}
    then |= {"domain": manifest.domain, "task": manifest.task, "model": manifest.model}
    now = {**settings, "domain": domain, "task": task}
    if model is not None:
        now["model"] = model_name(model)
    for key, value in now.items():
        plain = json.loads(json.dumps(value, default=str))
        if key not in then or plain != then[key]:
            raise MusicaeError(
                f"{key}={value!r} is not what the run began with ({then.get(key)!r}), so it can't be continued; "
                f"leave {key} out, or start a new run."
            )
