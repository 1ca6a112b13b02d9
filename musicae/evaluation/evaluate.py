"""Scores of a trained model on a split that it was not trained on, as plain numbers.

With a Gaussian latent z is drawn from the posterior, since only then the KL is the information that z carries; the same
scores at the posterior's mean are named `…_mean`. Test examples whose content is also in training are left out.
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

from musicae.capabilities import mean_over_views
from musicae.data.dataset import DataSet, load_dataset, split_of_run, unseen
from musicae.data.named_sets import locate
from musicae.data.table import ExampleTable
from musicae.domain import Baseline, Batch
from musicae.errors import MusicaeError
from musicae.evaluation.bootstrap import mean_intervals
from musicae.evaluation.bounds import negative_log_likelihood
from musicae.evaluation.linear import pca_scores, ridge_scores
from musicae.evaluation.probes import code_scores
from musicae.evaluation.sample_quality import path_quality, sample_quality
from musicae.nn.latent import Latent, Posterior
from musicae.nn.quantisation import DiscreteLatent
from musicae.spec import Layout
from musicae.trained import TrainedModel

_BITS_PER_NAT = 1 / math.log(2)
# Limits of the data that baselines are fitted on.
_FITTED_EXAMPLES, _FITTED_NUMBERS = 20_000, 20_000_000
# A unit carries information if its mean varies over the data (Burda et al., 2016, section 5.2).
_ACTIVE_VARIANCE = 0.01
_WITHOUT_INTERVAL = (
    "_mean",
    "_refined",
    "real_time_factor",
    "_teacher_forced",
    "_corrupted",
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
        limit: most examples to score, spread over the split.
        seed: of the corruption and of the draws of z.
        importance: draws of z for each example, for `nll_importance_nats`; 0: leave this score out.
        samples: number of draws from the prior to compare with real examples; see `sample_quality.sample_quality`.
        pairs: number of paths between examples to compare with crossfades; see `sample_quality.path_quality`.

    Returns:
        Name → value, units in the names:
        - `examples`: how many were scored; `left_out_seen_in_training`: how many were not.
        - `…_low`, `…_high`: a 95% bootstrap interval, drawn by item (song, recording) if the data state items.
        - `…_refined`: of a model that refines (`TrainedModel.refining`); its paths begin and end at refined codes too,
          and all else is of the encoder's.
        - `…_hold`, `…_copy` (symbols): score of the most frequent symbol throughout; of each bar as a copy of the
          one before it.
        - `…_corrupted` (symbols), `…_in` (pictures): score of a restorer's input; for `upscale` its bicubic upsampling.
        - `codebook_…`: of a discrete latent, see `codebook_use`.
        - `kl_bits_…`: of each part of a code that has several, such as notes and feel.
        - `pca_mse`, `ridge_…`: linear baselines, see `linear`; and for pictures with classes the accuracies of
          `probes.class_accuracy`. All of these learn from the training split of the data that is scored.
        - `bits_per_number`: the negative ELBO over the numbers of an example. It can be compared with that of other
          models only if numbers have levels (symbols, black and white, discretised).

    Raises:
        MusicaeError: no example of the split is left; or a likelihood is asked of a model without densities, or samples
            of one without a prior.
    """
    model, domain = trained.network, trained.domain
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
        result |= codebook_use(model.latent, means)
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
        result |= code_scores(trained.refining(0), dataset, fitted_on, kept)
    if samples:
        result |= sample_quality(trained, dataset, samples, split=split, seed=seed)
    if pairs:
        result |= path_quality(trained, dataset, pairs, split=split, draws=importance, seed=seed)
    return result | {"examples": len(kept), "left_out_seen_in_training": left_out}


def codebook_use(latent: Latent, codes: Tensor) -> dict[str, float]:
    """How much of its codebook a discrete latent uses; empty for others.

    Each token of a vector counts by itself, since each stands for something else, and their mean is given; all tokens
    of a grid count together.

    Args:
        latent: of a model.
        codes: `(examples, numbers)`.

    Returns:
        `codebook_use`: share of the entries that any example has; `codebook_perplexity`: how many entries, if all were
        taken alike, would be as hard to guess.
    """
    if not isinstance(latent, DiscreteLatent):
        return {}
    tokens = latent.to_tokens(codes.to(next(latent.buffers()).device).view(-1, *latent.shape)).cpu()
    columns = tokens.T if len(latent.shape) == 1 else tokens.reshape(1, -1)
    counts = torch.stack([torch.bincount(column, minlength=latent.entries) for column in columns]).double()
    share = counts / counts.sum(1, keepdim=True)
    perplexity = torch.exp(-torch.special.xlogy(share, share).sum(1))
    return {"codebook_use": float((counts > 0).double().mean()), "codebook_perplexity": float(perplexity.mean())}


def _scores_of(
    trained: TrainedModel, dataset: DataSet, kept: np.ndarray, split: str, seed: int, importance: int
) -> tuple[dict[str, np.ndarray], Tensor]:
    """The scores of every kept example, `(examples,)` each, and the posterior means, `(examples, numbers)`.

    Codes without a density are not kept: those of an hour of sound take gigabytes.
    """
    model, domain = trained.network, trained.domain
    table = ExampleTable(dataset.examples, kept, trained.device, 0)
    baselines = domain.baselines(trained.manifest.task, _fitted_on(trained, dataset, kept))
    corrupt = domain.corruption(trained.manifest.task, split=split)
    generator, own_generator = (torch.Generator(trained.device).manual_seed(number) for number in (seed, seed + 1))
    scores: dict[str, list[Tensor]] = defaultdict(list)
    means: list[Tensor] = []
    for rows in torch.arange(len(table)).split(domain.spec.evaluation_batch):
        batch = domain.tensor(table.batch(rows))
        corrupted = batch.target if corrupt is None else corrupt(batch.target, generator)
        found, posterior = _batch_scores(trained, batch, corrupted, generator, baselines)
        if importance:
            found["nll_importance_nats"] = negative_log_likelihood(
                model, corrupted, batch.target, importance, own_generator, batch.condition
            )
        for name, values in found.items():
            scores[name].append(values)
        if model.latent.has_density:
            means.append(posterior.mean.flatten(1).cpu())
    each = {name: torch.cat([part.cpu().double() for part in parts]).numpy() for name, parts in scores.items()}
    return each, torch.cat(means) if means else torch.zeros(0, 0)


def _batch_scores(
    trained: TrainedModel,
    batch: Batch,
    corrupted: Tensor,
    generator: torch.Generator,
    baselines: Mapping[str, Baseline],
) -> tuple[dict[str, Tensor], Posterior]:
    """The scores of a batch, `(batch,)` each, and the posterior."""
    model, domain, (target, condition) = trained.network, trained.domain, batch
    loss, parameters, posterior, z = model.score(corrupted, target, generator, condition)
    scores = {"reconstruction_nats": loss.reconstruction}
    started = time.perf_counter()

    def restore(given: Tensor) -> Tensor:
        return model.reconstruct(given, generator=generator, condition=condition)

    estimates = {"": mean_over_views(domain, restore, corrupted) if model.restores else restore(corrupted)}
    if domain.example_duration_s is not None:
        if target.is_cuda:
            torch.cuda.synchronize()
        spent_s = time.perf_counter() - started
        scores["real_time_factor"] = torch.full((len(target),), domain.example_duration_s * len(target) / spent_s)
    if model.latent.has_density:
        estimates["_mean"] = model.reconstruct(corrupted, condition=condition)
        scores |= {"kl_nats": loss.kl, "kl_bits": loss.kl * _BITS_PER_NAT}
        scores |= {f"kl_bits_{name}": kl * _BITS_PER_NAT for name, kl in model.latent.kl_parts(posterior, z).items()}
        scores["elbo_nats"] = -(loss.reconstruction + loss.kl)
    if trained.refine_steps:
        estimates["_refined"] = trained.pipeline.reconstruct(batch)
    for suffix, estimate in estimates.items():
        for name, values in domain.metrics(estimate, target, corrupted).items():
            scores[_free_running(model.autoregressive, name) + suffix] = values
    if model.autoregressive:
        predicted = model.likelihood.mode(parameters)
        scores["accuracy_teacher_forced"] = domain.metrics(predicted, target, corrupted)["accuracy"]
    for baseline, estimated in baselines.items():
        for name, values in domain.metrics(estimated(corrupted, target), target, corrupted).items():
            if not _is_of_input(name):  # the input is the same for all
                scores[f"{name}_{baseline}"] = values
        if (metric := domain.primary_metric) is not None:
            scores[f"beats_{baseline}"] = (scores[metric] > scores[f"{metric}_{baseline}"]).float()
    if corrupted is not target and domain.spec.layout is Layout.STEPS:
        for name, values in domain.metrics(corrupted, target, corrupted).items():
            scores[name + "_corrupted"] = values
    return scores, posterior


def _fitted_on(trained: TrainedModel, dataset: DataSet, kept: np.ndarray) -> Tensor:
    """Examples to fit baselines on: some of the training split, or of the scored ones if that is empty."""
    indices = dataset.splits["train"] if len(dataset.splits["train"]) else kept
    numbers = trained.domain.spec.numel
    stride = max(1, len(indices) // max(1, min(_FITTED_EXAMPLES, _FITTED_NUMBERS // numbers)))
    return trained.domain.tensor(torch.from_numpy(np.array(dataset.examples[indices[::stride]]))).target


def _is_of_input(name: str) -> bool:
    return name.endswith("_in") or "_in_" in name


def _free_running(autoregressive: bool, name: str) -> str:
    """The name of a score; `accuracy` of an autoregressive decoder is called `accuracy_free_running`."""
    return f"{name}_free_running" if autoregressive and name == "accuracy" else name


def _with_intervals(values: dict[str, np.ndarray], group: np.ndarray | None, seed: int) -> dict[str, float]:
    """Means of all scores, and intervals of those that are quoted: the model's own, at a drawn z."""
    result: dict[str, float] = {}
    names = [name for name, each in values.items() if not name.endswith(_WITHOUT_INTERVAL) and np.isfinite(each).all()]
    found = mean_intervals(np.stack([values[name] for name in names], axis=1), group, seed=seed)
    ends = {} if found is None else dict(zip(names, zip(*found, strict=True), strict=True))
    for name, each in values.items():
        # Some metrics are not defined for some examples, such as those without speech or pitch.
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
        paths: files and folders, split as training split them: by content, or by the names of folder and file for a
            model of an earlier version; and names in `NAMED_SETS`; empty: the model's own training data.
        settings: keys of the domain's config to change, such as the noise.
        split: as in `evaluate`, or `all` for files that the model never saw.
        limit, seed, importance, samples, pairs: as in `evaluate`.

    Returns:
        As `evaluate`, and `damaged_files`, if any files could not be read.

    Raises:
        MusicaeError: as `evaluate`; or `all` without paths, with samples, or of the training data.
    """
    if split == "all" and not paths:
        raise MusicaeError("split 'all' is for files that the model never saw; name them with --data.")
    if split == "all" and samples:
        raise MusicaeError("samples are compared with training files too, and 'all' keeps none; choose another split.")
    if settings:
        trained = trained.with_settings(**settings)
    domain = trained.domain
    if not paths and trained.manifest.data.get("sets"):
        sets = ", ".join(trained.manifest.data["sets"])
        raise MusicaeError(f"this model was trained on sets that do not come with it ({sets}); give files with --data.")
    places = [locate(path, domain.name) for path in paths or trained.manifest.data_paths]
    dataset = load_dataset(domain, places, split_by=split_of_run(trained.manifest.data))
    if split == "all":
        learned = trained.manifest.data
        if dataset.content == learned.get("content") or dataset.fingerprint == learned.get("fingerprint"):
            raise MusicaeError("these are the files the model was trained on; leave out split 'all', or give others.")
        dataset = dataset.all_for_testing()
    scores = evaluate(
        trained, dataset, split=split, limit=limit, seed=seed, importance=importance, samples=samples, pairs=pairs
    )
    return {**scores, "damaged_files": len(dataset.report.damaged)} if dataset.report.damaged else scores
