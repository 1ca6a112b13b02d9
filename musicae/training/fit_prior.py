"""Fits the prior of a trained model to the codes of its training data.

This is ex-post density estimation (Ghosh et al., 2020). Only priors that are `is_fitted_afterwards` are fitted.
"""

import math

import numpy as np
import torch

from musicae.data.dataset import DataSet
from musicae.domain import Domain
from musicae.models.autoencoder import Autoencoder
from musicae.nn.latent import GaussianLatent, Posterior
from musicae.precision import best_device
from musicae.training.checkpoint import Manifest

_MOST_EXAMPLES = 20_000
_FITTED = "prior_fitted"
"""Marks, among a checkpoint's metrics, that its prior was fitted, so that a resumed run doesn't fit it again."""
_FORMER_FITTED = "prior_settled"
_METRICS_OF_THE_PRIOR = ("loss", "kl_bits", "elbo_nats")


@torch.no_grad()
def fit_prior(network: Autoencoder, domain: Domain, manifest: Manifest, dataset: DataSet) -> Manifest:
    """Fits the prior of a model, see `Prior.fit`.

    Args:
        network: changed in place.
        domain: makes tensors of examples.
        manifest: the checkpoint's.
        dataset: what the model was trained on.

    Returns:
        The manifest without the metrics that no longer hold; the same one if nothing was fitted.
    """
    latent = network.latent
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
    posteriors = []
    for part in np.array_split(indices, -(-len(indices) // domain.spec.evaluation_batch)):
        batch = domain.tensor(torch.from_numpy(np.array(dataset.examples[part])))
        condition = None if batch.condition is None else batch.condition.to(device)
        posteriors.append(network.encode(batch.target.to(device), condition))
    generator = torch.Generator(device).manual_seed(manifest.training.get("seed", 0))
    if not latent.prior.fit(Posterior.joined(posteriors), generator):
        return manifest
    metrics = {name: value for name, value in manifest.metrics.items() if name not in _METRICS_OF_THE_PRIOR}
    return manifest.model_copy(update={"metrics": {**metrics, _FITTED: 1.0}})
