"""Codes that fit their examples better than those of the encoder: a search by gradients, one example at a time.

An encoder learns one map for all examples, so the code of any single one could be better (Cremer et al., 2018,
"Inference Suboptimality in Variational Autoencoders"). A few steps from the encoder's code close most of the gap (Kim
et al., 2018, "Semi-Amortized Variational Autoencoders"). It knows tensors, no files.

The prior has no part in it: with log p(z) as well, codes of melodies move towards the middle of latent space, and what
lies between two of them becomes more uniform than music is (notebooks/LOG.md).
"""

import torch
from torch import Tensor

from musicae.errors import MusicaeError
from musicae.models.autoencoder import Autoencoder

_STEP = 0.05
"""Learning rate of Adam, where the prior is a standard normal."""


def check_refinement(network: Autoencoder, steps: int) -> None:
    """Raises `MusicaeError` if the network's codes can't be refined, `ValueError` for a bad number of steps."""
    if steps < 0:
        raise ValueError(f"steps is 0 or more, got {steps}")
    if network.restores:
        raise MusicaeError("a model that restores corrects its input, and has no codes to refine.")
    if not network.latent.can_refine:
        raise MusicaeError(
            f"codes of this model (latent {network.config.latent}) can't be refined: they are tokens, or their spread "
            "is not known."
        )


def refined(network: Autoencoder, z: Tensor, x: Tensor, condition: Tensor | None = None, *, steps: int) -> Tensor:
    """Moves codes to where their examples are more probable.

    Each goes up the gradient of log p(x | z), and becomes the best one that it met on its way, so it is never worse
    than at the start. It moves by about a twentieth of its spread a step, and doesn't depend on the rest of the batch.

    Args:
        network: in evaluation mode; its weights stay as they are.
        z: codes to start from, `(batch, *latent_shape)`.
        x: the examples, `(batch, *spec.shape)`.
        condition: as in `Autoencoder.encode`.
        steps: gradients taken; 0 gives the codes as they are.

    Returns:
        The shape of z.

    Raises:
        MusicaeError: codes that are tokens, or whose spread is not known, or a model that restores.
    """
    check_refinement(network, steps)
    if not steps:
        return z
    # cuDNN's recurrent layers have gradients only in training mode.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        base = network.latent.to_base(z.detach()).detach().clone().requires_grad_(True)
        optimiser = torch.optim.Adam([base], lr=_STEP)
        best, highest = base.detach().clone(), z.new_full((len(z),), -torch.inf, dtype=torch.float32)
        for step in range(steps + 1):
            probable = network.log_likelihood(network.latent.from_base(base), x, condition)
            with torch.no_grad():
                is_better = probable > highest
                highest = torch.where(is_better, probable, highest)
                best = torch.where(is_better.view(-1, *[1] * (base.dim() - 1)), base, best)
            if step < steps:
                (gradient,) = torch.autograd.grad(-probable.sum(), [base])
                base.grad = gradient.nan_to_num()
                optimiser.step()
    with torch.no_grad():
        return network.latent.from_base(best)
