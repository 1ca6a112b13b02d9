"""Fits the prior of a trained model, and what draws its codes by a condition, to the codes of its training data.

This is ex-post density estimation (Ghosh et al., 2020). Only priors that are `is_fitted_afterwards` are fitted. Of a
plain autoencoder's vectors only mean and covariance are measured.
"""

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor

from musicae.data.dataset import DataSet
from musicae.domain import Domain
from musicae.models.autoencoder import Autoencoder
from musicae.nn.latent import DeterministicLatent, GaussianLatent, Posterior
from musicae.precision import best_device
from musicae.training.checkpoint import Manifest

_MOST_EXAMPLES = 20_000
_VARIATIONS = 3
"""How often examples are encoded once more, changed, for a model that learns to draw them by a condition."""
_FITTED = "prior_fitted"
"""Marks, among a checkpoint's metrics, that its prior was fitted, so that a resumed run doesn't fit it again."""
_FORMER_FITTED = "prior_settled"
_METRICS_OF_THE_PRIOR = ("loss", "kl_bits", "elbo_nats")


@torch.no_grad()
def fit_prior(network: Autoencoder, domain: Domain, manifest: Manifest, dataset: DataSet) -> Manifest:
    """Fits the prior of a model, see `Prior.fit`, and what draws its codes, see `Autoencoder.fit_draws`.

    Args:
        network: changed in place.
        domain: makes tensors of examples.
        manifest: the checkpoint's.
        dataset: what the model was trained on.

    Returns:
        The manifest without the metrics that no longer hold; the same one if nothing was fitted.
    """
    latent = network.latent
    if isinstance(latent, DeterministicLatent) and latent.has_spread:
        _measure_spread(network, domain, dataset)
    if not isinstance(latent, GaussianLatent) or not latent.prior.is_fitted_afterwards:
        return manifest
    if not any(network.learns(name) for name in network.state_dict() if name.startswith("latent.")):
        return manifest  # a second stage draws codes by the prior as it is
    if {_FITTED, _FORMER_FITTED} & manifest.metrics.keys():
        return manifest
    device = best_device()
    if device.type == "mps":  # it has no double precision
        device = torch.device("cpu")
    network = network.to(device)
    indices = dataset.splits["train"][:: math.ceil(len(dataset.splits["train"]) / _MOST_EXAMPLES)]
    generator = torch.Generator(device).manual_seed(manifest.training.get("seed", 0))
    codes, condition = _encoded(network, domain, dataset.examples, indices, device)
    is_fitted = latent.prior.fit(codes, generator)
    if condition is not None and any(map(network.is_fitted_afterwards, network.state_dict())):
        count = min(_VARIATIONS, _MOST_EXAMPLES // len(indices) - 1)
        varied = [_encoded(network, domain, dataset.examples, indices, device, generator) for _ in range(count)]
        many = Posterior.joined([codes, *(posterior for posterior, _ in varied)])
        conditions = torch.cat([condition, *(each for _, each in varied if each is not None)])
        example = torch.arange(len(indices), device=device).repeat(1 + count)
        is_fitted |= network.fit_draws(many, conditions, example, generator)
    if not is_fitted:
        return manifest
    metrics = {name: value for name, value in manifest.metrics.items() if name not in _METRICS_OF_THE_PRIOR}
    return manifest.model_copy(update={"metrics": {**metrics, _FITTED: 1.0}})


def _measure_spread(network: Autoencoder, domain: Domain, dataset: DataSet) -> None:
    device = next(network.parameters()).device
    indices = dataset.splits["train"][:: math.ceil(len(dataset.splits["train"]) / _MOST_EXAMPLES)]
    codes, _ = _encoded(network, domain, dataset.examples, indices, device)
    cast(DeterministicLatent, network.latent).measure(codes.mean)


def _encoded(
    network: Autoencoder,
    domain: Domain,
    examples: np.ndarray,
    indices: np.ndarray,
    device: torch.device,
    generator: torch.Generator | None = None,
) -> tuple[Posterior, Tensor | None]:
    """Posteriors of some examples, and their conditions; with a generator changed as training changes them."""
    posteriors, conditions = [], []
    for part in np.array_split(indices, -(-len(indices) // domain.spec.evaluation_batch)):
        stored = torch.from_numpy(np.array(examples[part]))
        target, condition = domain.tensor(stored if generator is None else stored.to(device), generator)
        condition = None if condition is None else condition.to(device)
        posteriors.append(network.encode(target.to(device), condition))
        conditions.append(condition)
    known = [condition for condition in conditions if condition is not None]
    return Posterior.joined(posteriors), torch.cat(known) if known else None
