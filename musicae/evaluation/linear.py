"""What straight lines do with the same task: the baselines that a network has to beat.

A reconstruction is compared with principal components, as many as the code has numbers; a restoration
with ridge regression from the corrupted grid to the clean one. Both learn from the training split of the data
that is scored. Knows no network.
"""

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from torch import Tensor

from musicae.data.dataset import DataSet
from musicae.domain import Domain

_LARGEST_EXACT_PCA = 2048  # numbers an example
_LARGEST_RIDGE = 3072  # a colour picture of 32×32; time goes with the cube
_NUMBERS_FITTED = 50_000_000  # over all examples: 200 MB an array
_RIDGE_ALPHA = 1.0


def fitted_pca(domain: Domain, dataset: DataSet, indices: np.ndarray, components: int) -> PCA:
    """Principal components of examples.

    Args:
        domain, dataset: what they are of.
        indices: examples to fit on; of very many, some.
        components: at most; no more than an example has numbers, or than there are examples.
    """
    numbers, chosen = domain.spec.numel, _some(domain, indices)
    # The exact solution takes time with the cube of an example's size; the random one is close beyond.
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
        errors += float((pca_restored(pca, target) - target).double().square().flatten(1).mean(1).sum())
    return {"pca_mse": errors / len(kept)}


def pca_restored(pca: PCA, target: Tensor) -> Tensor:
    """What comes back from principal components, `(examples, *shape)`."""
    return torch.from_numpy(pca.inverse_transform(pca.transform(target.flatten(1).numpy()))).view_as(target)


def fitted_ridge(domain: Domain, dataset: DataSet, indices: np.ndarray, task: str, seed: int) -> Ridge | None:
    """Ridge regression from corrupted examples to clean ones; None where an example has too many numbers for it.

    Args:
        domain, dataset: what the examples are of.
        indices: examples to fit on; of very many, some.
        task: whose corruption is undone, drawn once for each example.
        seed: of the corruption.
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
    """The domain's scores of ridge regression, each with `ridge_` before it; none where examples are too large.

    Args:
        domain, dataset, task: as in `fitted_ridge`.
        fitted_on, kept: examples to fit on and to score.
        seed: of the corruption that is undone; the one that is learned from has another.
    """
    ridge = fitted_ridge(domain, dataset, fitted_on, task, seed + 1)
    corrupt = domain.corruption(task, split="test")
    if ridge is None or corrupt is None:
        return {}
    generator, sums = torch.Generator().manual_seed(seed), dict[str, float]()
    for target in batches(domain, dataset, kept):
        restored = ridge_restored(ridge, corrupt(target, generator))
        for name, values in domain.metrics(restored, target, target).items():
            sums[name] = sums.get(name, 0.0) + float(values.double().sum())
    return {f"ridge_{name}": total / len(kept) for name, total in sums.items()}


def ridge_restored(ridge: Ridge, corrupted: Tensor) -> Tensor:
    """What ridge regression makes of corrupted examples, same shape."""
    return torch.from_numpy(ridge.predict(corrupted.flatten(1).numpy())).view_as(corrupted)


def tensors(domain: Domain, dataset: DataSet, indices: np.ndarray) -> Tensor:
    """Examples as a model sees them, `(examples, *spec.shape)`, on the CPU."""
    return domain.tensor(torch.from_numpy(np.array(dataset.examples[indices]))).target


def batches(domain: Domain, dataset: DataSet, indices: np.ndarray) -> Iterator[Tensor]:
    """The same in parts, so that memory does not grow with them."""
    size = domain.spec.evaluation_batch
    for start in range(0, len(indices), size):
        yield tensors(domain, dataset, indices[start : start + size])


def _some(domain: Domain, indices: np.ndarray) -> np.ndarray:
    """As many of the examples as are fitted on, spread over all."""
    return indices[:: max(1, -(-len(indices) * domain.spec.numel // _NUMBERS_FITTED))]
