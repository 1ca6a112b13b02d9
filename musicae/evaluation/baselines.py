"""What a model's scores are compared with: constant and copied symbols, principal components, ridge regression.

All are fitted on the examples that the model learned from, and scored on the same ones as the model.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from musicae.datasets.dataset import DataSet, ExampleTable
from musicae.domains.base import Domain
from musicae.evaluation.linear import fitted_pca, fitted_ridge, pca_mse, tensors
from musicae.evaluation.probes import class_accuracy
from musicae.score.baselines import always, bar_before, most_frequent
from musicae.spec import Layout
from musicae.trained import TrainedModel

_FREQUENCIES_FROM = 20_000  # examples, at most about twice as many


def symbol_guesses(domain: Domain, dataset: DataSet, fitted_on: np.ndarray) -> dict[str, Callable[[Tensor], Tensor]]:
    """Baselines of symbols: the ending of their scores' names → a function of the target."""
    spec = domain.spec
    if spec.layout is not Layout.STEPS:
        return {}
    stride = max(1, len(fitted_on) // _FREQUENCIES_FROM)
    stored = torch.from_numpy(np.array(dataset.examples[fitted_on[::stride]]))
    symbols = most_frequent(domain.to_tensor(stored).numpy())

    def hold(target: Tensor) -> Tensor:
        return torch.from_numpy(always(symbols, target.cpu().numpy())).to(target.device)

    def copy(target: Tensor) -> Tensor:
        return torch.from_numpy(bar_before(symbols, target.cpu().numpy(), spec.segment)).to(target.device)

    return {"_hold": hold, "_copy": copy} if spec.segments > 1 else {"_hold": hold}


def linear_scores(
    trained: TrainedModel, dataset: DataSet, fitted_on: np.ndarray, kept: np.ndarray, seed: int
) -> dict[str, float]:
    """Of grids: what linear methods reach, and how well codes tell classes.

    Args:
        trained: the model.
        dataset: read by its domain.
        fitted_on: examples that baselines, and classes, are learned from.
        kept: examples to score.
        seed: of the damage.

    Returns:
        `pca_mse` of as many components as a code has numbers, or `ridge_…` where the model restores; and where
        the data has classes the accuracies of `probes.class_accuracy`, and with `pca_` those of the components.
    """
    model, domain, task = trained.model, trained.domain, trained.manifest.task
    if domain.spec.layout is not Layout.GRID or not len(fitted_on):
        return {}
    target = tensors(domain, dataset, kept)
    if task != "reconstruct":
        ridge = fitted_ridge(domain, dataset, fitted_on, task, seed)
        damage = domain.corruption(task, split="test")
        if ridge is None or damage is None:
            return {}
        damaged = damage(target, torch.Generator().manual_seed(seed))
        restored = torch.from_numpy(ridge.predict(damaged.flatten(1).numpy())).view_as(target)
        scores = domain.metrics(restored, target, target)
        return {f"ridge_{name}": float(values.double().mean()) for name, values in scores.items()}
    if len(model.latent_shape) != 1:
        return {}
    pca = fitted_pca(domain, dataset, fitted_on, model.latent_shape[0])
    result = {"pca_mse": pca_mse(pca, target)}
    names, train_names = (_classes(domain, dataset, indices) for indices in (kept, fitted_on))
    known, train_known = (np.flatnonzero(each != "none") for each in (names, train_names))
    if not len(known) or len(np.unique(train_names[train_known])) < 2:
        return result
    kept, fitted_on, names, train_names = kept[known], fitted_on[train_known], names[known], train_names[train_known]
    codes, train_codes = (_codes(trained, dataset, indices) for indices in (kept, fitted_on))
    result |= class_accuracy(train_codes, train_names, codes, names)
    codes, train_codes = (
        pca.transform(tensors(domain, dataset, indices).flatten(1).numpy()) for indices in (kept, fitted_on)
    )
    of_components = class_accuracy(train_codes, train_names, codes, names)
    return result | {f"pca_{name}": value for name, value in of_components.items()}


def _classes(domain: Domain, dataset: DataSet, indices: np.ndarray) -> np.ndarray:
    """Class names of examples, "none" where they have none."""
    found = domain.labels(torch.from_numpy(np.array(dataset.examples[indices])))
    return np.array(found["label"] if "label" in found else ["none"] * len(indices))


def _codes(trained: TrainedModel, dataset: DataSet, indices: np.ndarray) -> np.ndarray:
    """Posterior means, `(examples, numbers)`, where the model is told no class."""
    table = ExampleTable(dataset.examples, indices, trained.device, 0)
    domain = trained.domain
    parts = torch.arange(len(table)).split(domain.spec.evaluation_batch)
    each = [trained.model.encode(domain.to_tensor(table.batch(rows))).mean.flatten(1).cpu() for rows in parts]
    return torch.cat(each).numpy()
