"""Scores of a trained model on a split it was not trained on, as plain numbers.

Where the latent is Gaussian, scores quoted at a rate come from z drawn from the posterior, since
only then do the bits count what was transmitted; the same score at the posterior's mean stands
beside it as `…_mean`. Test examples that also stand in training are left out first.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musicae.config import read_config
from musicae.datasets import DataSet, ExampleTable, load_dataset, unseen
from musicae.errors import MusicaeError
from musicae.spec import Layout
from musicae.trained import TrainedModel

# What a baseline may learn from when a split is scored.
_FITTED_ON = {"test": ("train", "validation"), "validation": ("train",)}
_BITS_PER_NAT = 1 / math.log(2)
# A unit carries information if its mean varies over the data (Burda et al., 2016, section 5.2).
_ACTIVE_VARIANCE = 0.01
_LARGEST_EXACT_PCA = 2048


@torch.no_grad()
def evaluate(
    trained: TrainedModel, dataset: DataSet, *, split: str = "test", limit: int | None = None, seed: int = 0
) -> dict[str, float]:
    """Scores a model.

    Args:
        trained: the model and its domain.
        dataset: read by that domain.
        split: `test` or `validation`.
        limit: score at most so many examples, spread over the split.
        seed: of the damage and of the draws of z.

    Returns:
        Name → value, units in the names; `examples` says how many were scored and
        `left_out_seen_in_training` how many were not.

    Raises:
        MusicaeError: no example of the split is left.
    """
    model, domain = trained.model, trained.domain
    kept = unseen(domain, dataset, split)
    left_out = len(dataset.splits[split]) - len(kept)
    if limit is not None:
        kept = kept[:: max(1, math.ceil(len(kept) / limit))]
    if not len(kept):
        raise MusicaeError(f"the {split} split has no example that does not also stand in training; give more data.")
    table = ExampleTable(dataset.examples, kept, trained.device, 0)
    damage = domain.corruption(trained.manifest.task, split=split)
    generator = torch.Generator(trained.device).manual_seed(seed)
    gaussian = model.config.latent == "gaussian"
    scores: dict[str, list[Tensor]] = defaultdict(list)
    means: list[Tensor] = []
    for rows in torch.arange(len(table)).split(domain.spec.evaluation_batch):
        target = domain.to_tensor(table.batch(rows))
        damaged = target if damage is None else damage(target, generator)
        loss, predicted, posterior = model.score(damaged, target, generator)
        scores["reconstruction_nats"].append(loss.reconstruction)
        estimates = {"": model.reconstruct(damaged, generator=generator)}
        if gaussian:
            estimates["_mean"] = model.reconstruct(damaged)
            scores["kl_bits"].append(loss.kl * _BITS_PER_NAT)
            scores["elbo_nats"].append(-(loss.reconstruction + loss.kl))
            means.append(posterior.mean.flatten(1).cpu())
        for suffix, estimate in estimates.items():
            for name, values in domain.metrics(estimate, target, damaged).items():
                scores[_free_running(model.autoregressive, name) + suffix].append(values)
        if model.autoregressive:
            scores["accuracy_teacher_forced"].append(domain.metrics(predicted, target, damaged)["accuracy"])
    result = {name: float(torch.cat([part.cpu() for part in parts]).mean()) for name, parts in scores.items()}
    if gaussian:
        variance = torch.cat(means).var(0, correction=0)
        result["active_units"] = int((variance > _ACTIVE_VARIANCE).sum())
    if "mse" in result and len(model.latent_shape) == 1 and domain.spec.layout is Layout.GRID:
        fitted_on = np.concatenate([dataset.splits[name] for name in _FITTED_ON[split]])
        if len(fitted_on):
            result["pca_mse"] = _pca_mse(trained, dataset, fitted_on, kept)
    return result | {"examples": len(kept), "left_out_seen_in_training": left_out}


def _free_running(autoregressive: bool, name: str) -> str:
    """`accuracy` of a decoder that sees its own symbols is said to be so."""
    return f"{name}_free_running" if autoregressive and name == "accuracy" else name


def _pca_mse(trained: TrainedModel, dataset: DataSet, fitted_on: np.ndarray, kept: np.ndarray) -> float:
    """MSE of a PCA with as many components as the latent has numbers, on examples it was not fitted on."""
    from sklearn.decomposition import PCA

    def flat(indices: np.ndarray) -> np.ndarray:
        return trained.domain.to_tensor(torch.from_numpy(np.array(dataset.examples[indices]))).flatten(1).numpy()

    numbers = trained.domain.spec.numel
    components = min(trained.model.latent_shape[0], numbers, len(fitted_on))
    # The exact solution takes time with the cube of an example's size; the random one is close beyond.
    solver = "covariance_eigh" if numbers <= _LARGEST_EXACT_PCA else "randomized"
    pca = PCA(components, svd_solver=solver, random_state=0).fit(flat(fitted_on))
    target = flat(kept)
    return float(np.mean((pca.inverse_transform(pca.transform(target)) - target) ** 2))


def evaluate_files(
    trained: TrainedModel,
    paths: Sequence[Path],
    *,
    settings: Mapping[str, Any] | None = None,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Scores a model on files, split as training split them.

    Args:
        trained: the model and its domain.
        paths: files and folders, named as in training (the split goes by the names of folder and file);
            none for what it was trained on.
        settings: keys of the domain's config to change, such as the noise of a test.
        split, limit, seed: as in `evaluate`.
    """
    domain = trained.domain
    if settings:
        changed = {**domain.config.model_dump(), **settings}
        domain = type(domain)(read_config(type(domain.config), changed, f"{domain.name} setting"))
        if domain.spec != trained.model.spec:
            raise MusicaeError("a setting that changes the shape of the model's tensors can't be changed afterwards.")
    if not paths and trained.manifest.data.get("sets"):
        sets = ", ".join(trained.manifest.data["sets"])
        raise MusicaeError(f"this model was trained on sets that do not come with it ({sets}); give files with --data.")
    paths = tuple(paths) or tuple(Path(path) for path in trained.manifest.data.get("paths", ()))
    dataset = load_dataset(domain, paths)
    scored = TrainedModel(trained.model, domain, trained.manifest, str(trained.device))
    return evaluate(scored, dataset, split=split, limit=limit, seed=seed)
