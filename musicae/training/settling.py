"""After training: the prior is settled on the codes of the training data, and stored with the checkpoint."""

from pathlib import Path

import numpy as np
import torch

from musicae.checkpoint import load_checkpoint, save_checkpoint
from musicae.datasets.dataset import DataSet
from musicae.nn.latent import GaussianLatent
from musicae.nn.posterior import Posterior

_MOST_EXAMPLES = 20_000


@torch.no_grad()
def settle_prior(folder: Path, dataset: DataSet) -> bool:
    """Settles the prior of a checkpoint, see `Prior.settle`; returns whether that changed it."""
    model, domain, manifest = load_checkpoint(folder)
    latent = model.latent
    if not isinstance(latent, GaussianLatent) or not latent.prior.settles:
        return False
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.to(device)
    indices = dataset.splits["train"][:: max(1, len(dataset.splits["train"]) // _MOST_EXAMPLES)]
    means, log_variances = [], []
    for part in np.array_split(indices, -(-len(indices) // domain.spec.evaluation_batch)):
        batch = domain.to_batch(torch.from_numpy(np.array(dataset.examples[part])))
        condition = None if batch.condition is None else batch.condition.to(device)
        each = model.encode(batch.target.to(device), condition)
        means.append(each.mean.float())
        log_variances.append(each.variance.log().float())
    posterior = Posterior(torch.cat(means), torch.cat(log_variances))
    generator = torch.Generator(device).manual_seed(manifest.training.get("seed", 0))
    if not latent.prior.settle(posterior, generator):
        return False
    save_checkpoint(folder, model, manifest)
    return True
