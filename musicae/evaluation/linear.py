"""Linear baselines for models of grids: PCA for reconstruction, ridge regression for restoration.

There are as many principal components as a code has numbers; ridge regression predicts the clean grid from the
corrupted one. Both learn from the training split of the data that is scored. Knows no network.
"""

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from torch import Tensor

from musicae.data.dataset import DataSet
from musicae.domain import Domain
from musicae.precision import in_double

_LARGEST_EXACT_PCA = 2048  # numbers of an example
_LARGEST_RIDGE = 3072  # numbers of an example, as of a colour picture of 32×32; time grows with the cube
_NUMBERS_FITTED = 50_000_000  # over all examples: 200 MB an array
_RIDGE_ALPHA = 1.0


def fitted_pca(domain: Domain, dataset: DataSet, indices: np.ndarray, components: int) -> PCA:
    """Principal components of examples.

    Args:
        domain, dataset: the data, and the domain that reads it.
        indices: examples to fit on; if there are very many, some of them are used.
        components: number of components; fewer if an example has fewer numbers, or there are fewer examples.
    """
    numbers, chosen = domain.spec.numel, _some(domain, indices)
    # The time of the exact solution grows with the cube of an example's size; the randomized one is close to it.
    solver = "covariance_eigh" if numbers <= _LARGEST_EXACT_PCA else "randomized"
    pca = PCA(min(components, numbers, len(chosen)), svd_solver=solver, random_state=0)
    return pca.fit(tensors(domain, dataset, chosen).flatten(1).numpy())


def pca_scores(
    domain: Domain, dataset: DataSet, fitted_on: np.ndarray, kept: np.ndarray, size: int
) -> dict[str, float]:
    """`pca_mse`: the error of as many principal components as a code has numbers."""
    pca = fitted_pca(domain, dataset, fitted_on, size)
    errors = 0.0
    for target in batches(domain, dataset, kept):
        errors += float(in_double(pca_restored(pca, target) - target).square().flatten(1).mean(1).sum())
    return {"pca_mse": errors / len(kept)}


def pca_restored(pca: PCA, target: Tensor) -> Tensor:
    """Examples reconstructed from their principal components, `(examples, *shape)`."""
    return torch.from_numpy(pca.inverse_transform(pca.transform(target.flatten(1).numpy()))).view_as(target)


def fitted_ridge(domain: Domain, dataset: DataSet, indices: np.ndarray, task: str, seed: int) -> Ridge | None:
    """Ridge regression from corrupted examples to clean ones; None where an example has too many numbers for it.

    Args:
        domain, dataset: the data, and the domain that reads it.
        indices: examples to fit on; if there are very many, some of them are used.
        task: the task whose corruption is learned; it is drawn once for each example.
        seed: seed of the corruption.
    """
    if domain.spec.numel > _LARGEST_RIDGE:
        return None
    corrupt = domain.corruption(task, split="train")
    assert corrupt is not None
    target = tensors(domain, dataset, _some(domain, indices))
    corrupted = corrupt(target, torch.Generator().manual_seed(seed))
    return Ridge(_RIDGE_ALPHA, solver="cholesky").fit(corrupted.flatten(1).numpy(), target.flatten(1).numpy())


def ridge_scores(
    domain: Domain, dataset: DataSet, fitted_on: np.ndarray, kept: np.ndarray, task: str, seed: int
) -> dict[str, float]:
    """The domain's metrics of ridge regression, prefixed with `ridge_`; empty if examples are too large.

    Args:
        domain, dataset, task: as in `fitted_ridge`.
        fitted_on, kept: examples to fit on and to score.
        seed: seed of the corruption of the scored examples; for fitting another one is used.
    """
    ridge = fitted_ridge(domain, dataset, fitted_on, task, seed + 1)
    corrupt = domain.corruption(task, split="test")
    if ridge is None or corrupt is None:
        return {}
    generator, sums = torch.Generator().manual_seed(seed), dict[str, float]()
    for target in batches(domain, dataset, kept):
        restored = ridge_restored(ridge, corrupt(target, generator))
        for name, values in domain.metrics(restored, target, target).items():
            sums[name] = sums.get(name, 0.0) + float(in_double(values).sum())
    return {f"ridge_{name}": total / len(kept) for name, total in sums.items()}


def ridge_restored(ridge: Ridge, corrupted: Tensor) -> Tensor:
    """Corrupted examples restored by ridge regression, same shape."""
    return torch.from_numpy(ridge.predict(corrupted.flatten(1).numpy())).view_as(corrupted)


def tensors(domain: Domain, dataset: DataSet, indices: np.ndarray) -> Tensor:
    """Examples as a model takes them, `(examples, *spec.shape)`, on the CPU."""
    return domain.tensor(torch.from_numpy(np.array(dataset.examples[indices]))).target


def batches(domain: Domain, dataset: DataSet, indices: np.ndarray) -> Iterator[Tensor]:
    """Examples as `tensors` gives them, in batches of a bounded size."""
    size = domain.spec.evaluation_batch
    for start in range(0, len(indices), size):
        yield tensors(domain, dataset, indices[start : start + size])


def _some(domain: Domain, indices: np.ndarray) -> np.ndarray:
    """The examples to fit on, spread over all, so that memory is bounded."""
    return indices[:: max(1, -(-len(indices) * domain.spec.numel // _NUMBERS_FITTED))]
