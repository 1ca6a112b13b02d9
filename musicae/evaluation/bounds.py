"""Upper bounds on -log p(target) under a model with a prior, in nats.

Training minimises the negative ELBO. With k draws of z in place of one the bound is tighter, and it approaches -log p
as k grows (Burda, Grosse & Salakhutdinov, *Importance Weighted Autoencoders*, 2016).
"""

import math

import torch
from torch import Tensor

from musicae.errors import MusicaeError
from musicae.models.autoencoder import Autoencoder
from musicae.precision import in_double


def negative_log_likelihood(
    model: Autoencoder, x: Tensor, target: Tensor, draws: int, generator: torch.Generator, condition: Tensor | None
) -> Tensor:
    """An upper bound on -log p(target), float64 `(batch,)`.

    Args:
        model: one whose latent `has_density`.
        x: its input, `(batch, *spec.shape)`.
        target: the clean batch, same shape.
        draws: k of the importance-weighted bound; 0 for the negative ELBO.
        generator: draws z.
        condition: int64 `(batch, length)`, if the model takes one.

    Raises:
        MusicaeError: the latent has no density, so there is no likelihood.
    """
    if not model.latent.has_density:
        raise MusicaeError("a code without noise gives no likelihood; use a model trained with --latent gaussian.")
    if draws == 0:
        return in_double(model.score(x, target, generator, condition).loss.total)
    # Added one by one, so that memory does not grow with k.
    log_sum = in_double(torch.full((len(target),), -math.inf, device=target.device))
    for weight in model.log_weights(x, target, draws, generator, condition):
        log_sum = torch.logaddexp(log_sum, in_double(weight))
    return math.log(draws) - log_sum
