"""From names and folders to a trained model: resolves the settings, reads the data, trains.

This is what `musicae train` calls, and what a script should. Settings are one flat mapping: a key
belongs to the domain, the model or the training, whichever has it.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from musicae.config import Config, read_config
from musicae.data.dataset import DataSet, find_files, load_dataset
from musicae.data.named_sets import locate
from musicae.domain import Domain
from musicae.domains import domain_class
from musicae.errors import MusicaeError, unknown_name
from musicae.models import MODELS, build_model, default_model, refuse_misfit
from musicae.precision import resolve_precision
from musicae.shipped import find_model
from musicae.training.checkpoint import Manifest, read_manifest, take_over
from musicae.training.config import TrainConfig
from musicae.training.fit_prior import settle_prior
from musicae.training.loop import train


@dataclass(frozen=True)
class Experiment:
    """A resolved training run: nothing is left to defaults any more.

    Attributes:
        domain: built, its settings suited to the data.
        manifest: what the checkpoints will say of the run.
        data: files and folders; none for the starter data.
        config: the training settings.
    """

    domain: Domain
    manifest: Manifest
    data: tuple[Path, ...]
    config: TrainConfig

    @classmethod
    def resolve(
        cls,
        domain: str,
        *,
        task: str = "reconstruct",
        data: Sequence[Path] = (),
        model: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> "Experiment":
        """Works out every setting.

        Args:
            domain: a key of `DOMAINS`.
            task: one of the domain's tasks.
            data: files, folders and names in `NAMED_SETS`; none for the starter data.
            model: a key of `MODELS`; by default the one for the domain's layout and the task.
            settings: keys of the domain's, the model's and the training's config.

        Raises:
            MusicaeError: an unknown name, key or value, or data that isn't there.
        """
        kind = domain_class(domain)
        if task not in kind.tasks:
            raise MusicaeError(unknown_name(f"task for {domain}", task, kind.tasks))
        settings = dict(settings or {})
        own = read_config(kind.Config, _pick(kind.Config, settings), f"{domain} setting")
        data = [locate(place, domain) for place in data]
        # The files are looked at before anything is built: the size of the pictures sets the model's.
        files = [path for _, path in find_files(kind(own), data)] if data else []
        built = kind(kind.configure(own, files, task))
        fitting = default_model(built.spec, task != "reconstruct")
        name = model or fitting
        if name not in MODELS:
            raise MusicaeError(unknown_name("model", name, MODELS))
        if MODELS[name].layout is not built.spec.layout:
            raise MusicaeError(
                f"model {name!r} takes {MODELS[name].layout} tensors, not {built.spec.layout}; use --model {fitting}."
            )
        if not MODELS[name].fits(built.spec.layout, task != "reconstruct"):
            raise MusicaeError(f"model {name!r} does not fit task {task!r}; use --model {fitting}.")
        tables: list[type[Config]] = [kind.Config, MODELS[name].config, TrainConfig]
        for key in settings:
            if not any(key in table.model_fields for table in tables):
                raise MusicaeError(
                    unknown_name("setting", key, [key for table in tables for key in table.model_fields])
                )
        model_config = read_config(MODELS[name].config, _pick(MODELS[name].config, settings), f"{name} setting")
        chosen = {**kind.training_defaults, **_pick(TrainConfig, settings)}
        config = read_config(TrainConfig, chosen, "training setting")
        refuse_misfit(name, built.spec, model_config.model_dump(mode="json"))
        manifest = Manifest(
            domain=domain,
            domain_settings=built.config.model_dump(mode="json"),
            task=task,
            model=name,
            model_settings=model_config.model_dump(mode="json"),
            training=config.model_dump(mode="json"),
            data={"paths": [str(path.resolve()) for path in data]},
        )
        return cls(built, manifest, tuple(data), config)

    @classmethod
    def of_run(cls, folder: Path) -> "Experiment":
        """The experiment of a run's folder, as it was resolved then."""
        manifest = read_manifest(folder / "last")
        config = read_config(TrainConfig, manifest.training, "training setting")
        data = tuple(Path(path) for path in manifest.data["paths"])
        return cls(manifest.build_domain(), manifest, data, config)

    def read(self) -> DataSet:
        """Reads the data, or opens the store of an earlier reading.

        Raises:
            MusicaeError: nothing usable, with the reasons counted; or one item, which leaves none to validate on.
        """
        dataset = load_dataset(self.domain, self.data, unique=self.config.unique)
        if dataset.report.items < 2:
            raise MusicaeError(
                "only one item: training needs at least two, one of them to validate on. Add more files."
            )
        return dataset

    def run(self, folder: Path, dataset: DataSet, *, resume: bool = False) -> Path:
        """Trains, and returns the folder of the best checkpoint.

        Args:
            folder: the run's folder.
            dataset: what `read` gave.
            resume: continue from the folder's last state.
        """
        counts = {split: len(indices) for split, indices in dataset.splits.items()}
        data = {**self.manifest.data, "fingerprint": dataset.fingerprint, "examples": counts}
        if not all(counts[split] for split in ("train", "validation")):
            # Only a set's own custom does this: every other set is dealt to both.
            raise MusicaeError("the data has only test files; give the set's training files too.")
        if resume and self.manifest.data.get("fingerprint") != dataset.fingerprint:
            raise MusicaeError("the data changed since the run began, so it can't be continued; start a new one.")
        manifest = self.manifest.model_copy(update={"data": data})
        # Precision is settled once and written down, so that a resumed run computes as it began.
        config = self.config.model_copy(update={"precision": resolve_precision(self.config.precision)})
        manifest = manifest.model_copy(update={"training": config.model_dump(mode="json")})
        torch.manual_seed(config.seed)  # of the first weights
        model = build_model(manifest.model, self.domain.spec, manifest.model_settings)
        if config.start_from is not None and not resume:
            take_over(model, find_model(config.start_from))
        best = train(self.domain, model, dataset, config, manifest, folder, resume=resume)
        if os.environ.get("RANK", "0") == "0":  # of several processes one is enough
            settle_prior(best, dataset)
            from musicae import attribute_vectors

            attribute_vectors.store(best, dataset)
        return best


def _pick(config: type[Config], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key in config.model_fields}
