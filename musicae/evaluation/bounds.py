"""What an example costs a model with a prior, in nats: two upper bounds on -log p(target).

The negative ELBO is what training lowers. With k draws of z in place of one the bound is tighter, and
meets -log p as k grows (Burda, Grosse & Salakhutdinov, *Importance Weighted Autoencoders*, 2016).
"""

import math

import torch
from torch import Tensor

from musicae.errors import MusicaeError
from musicae.models.autoencoder import Autoencoder


def negative_log_likelihood(
    model: Autoencoder, x: Tensor, target: Tensor, draws: int, generator: torch.Generator, condition: Tensor | None
) -> Tensor:
    """The bound, float64 `(batch,)`.

    Args:
        model: with a prior.
        x: its input, `(batch, *spec.shape)`.
        target: what is to be explained, same shape.
        draws: k of the importance-weighted bound; 0 for the negative ELBO.
        generator: draws z.
        condition: of each example, where the model takes one.

    Raises:
        MusicaeError: a code without noise, under which nothing has a probability.
    """
    if not model.latent.has_density:
        raise MusicaeError("a code without noise gives no likelihood; use a model trained with --latent gaussian.")
    if draws == 0:
        return model.score(x, target, generator, condition).loss.total.double()
    # Joined one by one, so that memory does not grow with k.
    joined = torch.full((len(target),), -math.inf, dtype=torch.float64, device=target.device)
    for weight in model.log_weights(x, target, draws, generator, condition):
        joined = torch.logaddexp(joined, weight.double())
    return math.log(draws) - joined
