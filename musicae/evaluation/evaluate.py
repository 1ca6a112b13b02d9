"""Scores of a trained model on a split it was not trained on, as plain numbers.

Where the latent is Gaussian, scores quoted at a rate come from z drawn from the posterior, since
only then do the bits count what was transmitted; the same score at the posterior's mean stands
beside it as `…_mean`. Test examples that also stand in training are left out first.
"""

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musicae.config import read_config
from musicae.data.dataset import DataSet, ExampleTable, load_dataset, unseen
from musicae.data.named_sets import locate
from musicae.domain import Batch
from musicae.errors import MusicaeError
from musicae.evaluation.baselines import symbol_guesses
from musicae.evaluation.bootstrap import mean_intervals
from musicae.evaluation.bounds import negative_log_likelihood
from musicae.evaluation.generation_quality import path_quality, sample_quality
from musicae.evaluation.linear import pca_scores, ridge_scores
from musicae.evaluation.probes import code_scores
from musicae.nn.posterior import Posterior
from musicae.spec import Layout
from musicae.trained import TrainedModel

_BITS_PER_NAT = 1 / math.log(2)
# A unit carries information if its mean varies over the data (Burda et al., 2016, section 5.2).
_ACTIVE_VARIANCE = 0.01
_WITHOUT_INTERVAL = (
    "_mean",
    "real_time_factor",
    "_teacher_forced",
    "_damaged",
    "_hold",
    "_copy",
    "reconstruction_nats",
    "kl_nats",
)


@torch.no_grad()
def evaluate(
    trained: TrainedModel,
    dataset: DataSet,
    *,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    importance: int = 0,
    samples: int = 0,
    pairs: int = 0,
) -> dict[str, float]:
    """Scores a model.

    Args:
        trained: the model and its domain.
        dataset: read by that domain.
        split: `test` or `validation`, or `all` (see `DataSet.all_for_testing`).
        limit: score at most so many examples, spread over the split.
        seed: of the damage and of the draws of z.
        importance: draws of z an example for `nll_importance_nats`; 0: none, and no such score.
        samples: draws from the prior to compare with real examples; see `generation_quality.sample_quality`.
        pairs: paths between examples to compare with crossfades; see `generation_quality.path_quality`.

    Returns:
        Name → value, units in the names; `examples` says how many were scored and
        `left_out_seen_in_training` how many were not. `…_low` and `…_high` are the ends of a 95% bootstrap
        interval, drawn by item (song, recording) where the data knows it. Of symbols, `…_hold` is the score
        of the most frequent symbol throughout, `…_copy` that of every bar as the bar before it, and
        `…_damaged` that of what a model that restores was given. Of pictures, `…_in` is the score of what a model
        that restores was given (for `upscale` enlarged by bicubic interpolation). Beside them stand `pca_mse` or
        `ridge_…` (see `linear`), and where pictures have classes the accuracies of `probes.class_accuracy`; all of
        these learn from the training split of the data that is scored. `bits_per_number` is the negative ELBO of one
        number of an example; only where numbers have levels (symbols, black and white, discretised) can it be
        compared with other models'.

    Raises:
        MusicaeError: no example of the split is left, or a model without densities is asked for a likelihood, or one
            without a prior for samples.
    """
    model, domain = trained.model, trained.domain
    kept = unseen(domain, dataset, split)
    left_out = len(dataset.splits[split]) - len(kept)
    if limit is not None:
        kept = kept[:: max(1, math.ceil(len(kept) / limit))]
    if not len(kept):
        raise MusicaeError(
            f"the {split} split has no example that does not also stand in training; give more data, "
            "or split 'all' for files that the model never saw."
        )
    each, means = _scores_of(trained, dataset, kept, split, seed, importance)
    owner: np.ndarray | None = dataset.owner
    result = _with_intervals(each, None if owner is None else owner[kept], seed)
    if model.latent.has_density:
        result["active_units"] = int((means.var(0, correction=0) > _ACTIVE_VARIANCE).sum())
        result["bits_per_number"] = -result["elbo_nats"] * _BITS_PER_NAT / domain.spec.numel
    if importance:
        result["importance_draws"] = importance
        result["nll_importance_bits_per_number"] = result["nll_importance_nats"] * _BITS_PER_NAT / domain.spec.numel
    fitted_on = dataset.splits["train"]
    task, is_vector = trained.manifest.task, len(model.latent_shape) == 1
    if "mse" in result and len(fitted_on) and task != "reconstruct":
        result |= ridge_scores(domain, dataset, fitted_on, kept, task, seed)
    elif "mse" in result and len(fitted_on) and is_vector:
        result |= pca_scores(domain, dataset, fitted_on, kept, model.latent_shape[0])
        result |= code_scores(trained, dataset, fitted_on, kept)
    if samples:
        result |= sample_quality(trained, dataset, samples, split=split, seed=seed)
    if pairs:
        result |= path_quality(trained, dataset, pairs, split=split, draws=importance, seed=seed)
    return result | {"examples": len(kept), "left_out_seen_in_training": left_out}


def _scores_of(
    trained: TrainedModel, dataset: DataSet, kept: np.ndarray, split: str, seed: int, importance: int
) -> tuple[dict[str, np.ndarray], Tensor]:
    """The scores of every kept example, `(examples,)` each, and the means of their codes, `(examples, numbers)`."""
    model, domain = trained.model, trained.domain
    table = ExampleTable(dataset.examples, kept, trained.device, 0)
    fitted_on = dataset.splits["train"]
    guesses = symbol_guesses(domain, dataset, fitted_on if len(fitted_on) else kept)
    damage = domain.corruption(trained.manifest.task, split=split)
    generator, own_generator = (torch.Generator(trained.device).manual_seed(number) for number in (seed, seed + 1))
    scores: dict[str, list[Tensor]] = defaultdict(list)
    means: list[Tensor] = []
    for rows in torch.arange(len(table)).split(domain.spec.evaluation_batch):
        batch = domain.to_batch(table.batch(rows))
        damaged = batch.target if damage is None else damage(batch.target, generator)
        found, posterior = _batch_scores(trained, batch, damaged, generator)
        for suffix, guess in guesses.items():
            for name, values in domain.metrics(guess(batch.target), batch.target, damaged).items():
                found[name + suffix] = values
        if importance:
            found["nll_importance_nats"] = negative_log_likelihood(
                model, damaged, batch.target, importance, own_generator, batch.condition
            )
        for name, values in found.items():
            scores[name].append(values)
        means.append(posterior.mean.flatten(1).cpu())
    each = {name: torch.cat([part.double().cpu() for part in parts]).numpy() for name, parts in scores.items()}
    return each, torch.cat(means)


def _batch_scores(
    trained: TrainedModel, batch: Batch, damaged: Tensor, generator: torch.Generator
) -> tuple[dict[str, Tensor], Posterior]:
    """The model's own scores of a batch, example by example, and what it made of the input."""
    model, domain, (target, condition) = trained.model, trained.domain, batch
    loss, parameters, posterior, _ = model.score(damaged, target, generator, condition)
    scores = {"reconstruction_nats": loss.reconstruction}
    started = time.perf_counter()
    estimates = {"": model.reconstruct(damaged, generator=generator, condition=condition)}
    if domain.example_s is not None:
        if target.is_cuda:
            torch.cuda.synchronize()
        spent_s = time.perf_counter() - started
        scores["real_time_factor"] = torch.full((len(target),), domain.example_s * len(target) / spent_s)
    if model.latent.has_density:
        estimates["_mean"] = model.reconstruct(damaged, condition=condition)
        scores |= {"kl_nats": loss.kl, "kl_bits": loss.kl * _BITS_PER_NAT}
        scores["elbo_nats"] = -(loss.reconstruction + loss.kl)
    for suffix, estimate in estimates.items():
        for name, values in domain.metrics(estimate, target, damaged).items():
            scores[_free_running(model.autoregressive, name) + suffix] = values
    if model.autoregressive:
        predicted = model.likelihood.mode(parameters)
        scores["accuracy_teacher_forced"] = domain.metrics(predicted, target, damaged)["accuracy"]
    for rival, restored in domain.rivals(trained.manifest.task).items():
        for name, values in domain.metrics(restored(damaged, target), target, damaged).items():
            if not _is_of_input(name):  # what was given is the same for both
                scores[f"{name}_{rival}"] = values
        if domain.judged_by is not None:
            scores[f"won_from_{rival}"] = (scores[domain.judged_by] > scores[f"{domain.judged_by}_{rival}"]).float()
    if damaged is not target and domain.spec.layout is Layout.STEPS:
        for name, values in domain.metrics(damaged, target, damaged).items():
            scores[name + "_damaged"] = values
    return scores, posterior


def _is_of_input(name: str) -> bool:
    return name.endswith("_in") or "_in_" in name


def _free_running(autoregressive: bool, name: str) -> str:
    """`accuracy` of a decoder that sees its own symbols is said to be so."""
    return f"{name}_free_running" if autoregressive and name == "accuracy" else name


def _with_intervals(values: dict[str, np.ndarray], group: np.ndarray | None, seed: int) -> dict[str, float]:
    """Means, and the intervals of the model's own scores at a drawn z, which are the ones to be quoted."""
    result: dict[str, float] = {}
    names = [name for name, each in values.items() if not name.endswith(_WITHOUT_INTERVAL) and np.isfinite(each).all()]
    found = mean_intervals(np.stack([values[name] for name in names], axis=1), group, seed=seed)
    ends = {} if found is None else dict(zip(names, zip(*found, strict=True), strict=True))
    for name, each in values.items():
        # Some measures find nothing to judge in some examples, such as speech or a pitch.
        result[name] = float(each[np.isfinite(each)].mean()) if np.isfinite(each).any() else math.nan
        if name in ends:
            result[f"{name}_low"], result[f"{name}_high"] = map(float, ends[name])
    return result


def evaluate_files(
    trained: TrainedModel,
    paths: Sequence[Path],
    *,
    settings: Mapping[str, Any] | None = None,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    importance: int = 0,
    samples: int = 0,
    pairs: int = 0,
) -> dict[str, float]:
    """Scores a model on files, split as training split them.

    Args:
        trained: the model and its domain.
        paths: files and folders, named as in training (the split goes by the names of folder and file),
            and names in `NAMED_SETS`; none for what it was trained on.
        settings: keys of the domain's config to change, such as the noise of a test.
        split: as in `evaluate`, or `all` for files that the model never saw.
        limit, seed, importance, samples, pairs: as in `evaluate`.

    Returns:
        As `evaluate`; `damaged_files` counts those that could not be read, where there are some.
    """
    if split == "all" and not paths:
        raise MusicaeError("split 'all' is for files that the model never saw; name them with --data.")
    if split == "all" and samples:
        raise MusicaeError("samples are compared with training files too, and 'all' keeps none; choose another split.")
    domain = trained.domain
    if settings:
        changed = {**domain.config.model_dump(), **settings}
        domain = type(domain)(read_config(type(domain.config), changed, f"{domain.name} setting"))
        if domain.spec != trained.model.spec:
            raise MusicaeError("a setting that changes the shape of the model's tensors can't be changed afterwards.")
    if not paths and trained.manifest.data.get("sets"):
        sets = ", ".join(trained.manifest.data["sets"])
        raise MusicaeError(f"this model was trained on sets that do not come with it ({sets}); give files with --data.")
    places = [locate(path, domain.name) for path in paths or map(Path, trained.manifest.data.get("paths", ()))]
    dataset = load_dataset(domain, places)
    if split == "all":
        if dataset.fingerprint == trained.manifest.data.get("fingerprint"):
            raise MusicaeError("these are the files the model was trained on; leave out split 'all', or give others.")
        dataset = dataset.all_for_testing()
    scored = TrainedModel(trained.model, domain, trained.manifest, str(trained.device))
    scores = evaluate(
        scored, dataset, split=split, limit=limit, seed=seed, importance=importance, samples=samples, pairs=pairs
    )
    return {**scores, "damaged_files": len(dataset.report.damaged)} if dataset.report.damaged else scores
