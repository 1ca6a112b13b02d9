"""What straight lines do with the same task: the baselines that a network has to beat.

A reconstruction is compared with principal components, as many as the code has numbers; a restoration
with ridge regression from the damaged grid to the clean one. Both are fitted on the examples that the
model learned from. Knows no network.
"""

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from torch import Tensor

from musicae.datasets.dataset import DataSet
from musicae.domains.base import Domain

_LARGEST_EXACT_PCA = 2048  # numbers an example
_LARGEST_RIDGE = 3072  # a colour picture of 32×32; time goes with the cube
_NUMBERS_FITTED = 50_000_000  # over all examples: 200 MB
_RIDGE_ALPHA = 1.0


def tensors(domain: Domain, dataset: DataSet, indices: np.ndarray) -> Tensor:
    """Examples as a model sees them, `(examples, *spec.shape)`, on the CPU."""
    return domain.to_tensor(torch.from_numpy(np.array(dataset.examples[indices])))


def fitted_pca(domain: Domain, dataset: DataSet, indices: np.ndarray, components: int) -> PCA:
    """Principal components of examples.

    Args:
        domain, dataset: what they are of.
        indices: examples to fit on.
        components: at most; no more than an example has numbers, or than there are examples.
    """
    numbers = domain.spec.numel
    # The exact solution takes time with the cube of an example's size; the random one is close beyond.
    solver = "covariance_eigh" if numbers <= _LARGEST_EXACT_PCA else "randomized"
    pca = PCA(min(components, numbers, len(indices)), svd_solver=solver, random_state=0)
    return pca.fit(tensors(domain, dataset, indices).flatten(1).numpy())


def pca_mse(pca: PCA, target: Tensor) -> float:
    """Mean squared error of what comes back from principal components, `(examples, *shape)`."""
    flat = target.flatten(1).numpy()
    return float(np.mean((pca.inverse_transform(pca.transform(flat)) - flat) ** 2))


def fitted_ridge(domain: Domain, dataset: DataSet, indices: np.ndarray, task: str, seed: int) -> Ridge | None:
    """Ridge regression from damaged examples to clean ones; None where an example has too many numbers for it.

    Args:
        domain, dataset: what the examples are of.
        indices: examples to fit on; of very many, some.
        task: whose damage is undone, drawn once for each example.
        seed: of the damage.
    """
    numbers, damage = domain.spec.numel, domain.corruption(task, split="train")
    if numbers > _LARGEST_RIDGE or damage is None:
        return None
    target = tensors(domain, dataset, indices[:: max(1, -(-len(indices) * numbers // _NUMBERS_FITTED))])
    damaged = damage(target, torch.Generator().manual_seed(seed))
    return Ridge(_RIDGE_ALPHA, solver="cholesky").fit(damaged.flatten(1).numpy(), target.flatten(1).numpy())
