"""After training: the prior is settled on the codes of the training data, and stored with the checkpoint."""

import math
from pathlib import Path

import numpy as np
import torch

from musicae.data.dataset import DataSet
from musicae.nn.latent import GaussianLatent
from musicae.nn.posterior import Posterior
from musicae.training.checkpoint import load_checkpoint, save_checkpoint

_MOST_EXAMPLES = 20_000
# A run that is resumed and finds no better checkpoint leaves the settled one as it is.
_SETTLED = "prior_settled"
_OF_THE_PRIOR = ("loss", "kl_bits", "elbo_nats")


@torch.no_grad()
def settle_prior(folder: Path, dataset: DataSet) -> bool:
    """Settles the prior of a checkpoint, see `Prior.settle`; returns whether that changed it."""
    model, domain, manifest = load_checkpoint(folder)
    latent = model.latent
    if not isinstance(latent, GaussianLatent) or not latent.prior.settles or _SETTLED in manifest.metrics:
        return False
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device)
    indices = dataset.splits["train"][:: math.ceil(len(dataset.splits["train"]) / _MOST_EXAMPLES)]
    posteriors = []
    for part in np.array_split(indices, -(-len(indices) // domain.spec.evaluation_batch)):
        batch = domain.tensor(torch.from_numpy(np.array(dataset.examples[part])))
        condition = None if batch.condition is None else batch.condition.to(device)
        posteriors.append(model.encode(batch.target.to(device), condition))
    generator = torch.Generator(device).manual_seed(manifest.training.get("seed", 0))
    if not latent.prior.settle(Posterior.joined(posteriors), generator):
        return False
    # What hung on the prior is no longer so.
    metrics = {name: value for name, value in manifest.metrics.items() if name not in _OF_THE_PRIOR}
    save_checkpoint(folder, model, manifest.model_copy(update={"metrics": {**metrics, _SETTLED: 1.0}}))
    return True
