"""Codes that fit their examples better than those of the encoder: a search by gradients, for each example alone.

An encoder learns one map for all examples, so the code of any single one could be better (Cremer et al., 2018,
"Inference Suboptimality in Variational Autoencoders"). A few steps from the encoder's code close most of the gap (Kim
et al., 2018, "Semi-Amortized Variational Autoencoders"). It knows tensors, no files.

The prior has no part in it: with log p(z) as well, codes of melodies move towards the middle of latent space, and what
lies between two of them becomes more uniform than music is (notebooks/LOG.md).
"""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from musicae.models.autoencoder import Autoencoder

_LEARNING_RATE = 0.05
"""Of a code's numbers where paths are drawn, for codes of at most as many numbers as `_SHORT`."""
_SHORT = 32
"""All numbers move at once, so those of longer codes move less, and a code as a whole by at most 0.28 a step."""
_DECAYS = 0.9, 0.999  # Adam's
_SMALLEST = 1e-8


def refined(network: Autoencoder, z: Tensor, x: Tensor, condition: Tensor | None = None, *, steps: int) -> Tensor:
    """Moves codes to where their examples are more probable.

    Each goes up the gradient of log p(x | z) by Adam (Kingma & Ba, 2015), and becomes the best code that it met on its
    way; it stays as it is where none was better. An autoregressive decoder is given the example's own symbols, so that
    what it decodes by itself is mostly, but not certainly, nearer to the example too. Examples of a batch don't depend
    on each other.

    Args:
        network: that decodes codes alone, in evaluation mode; its weights stay as they are.
        z: codes to start from, `(batch, *latent_shape)`, of a latent that `can_refine`.
        x: the examples, `(batch, *spec.shape)`.
        condition: as in `Autoencoder.encode`.
        steps: gradients taken.

    Returns:
        The shape of z.
    """
    latent = network.latent
    rate = _LEARNING_RATE * min(1.0, (_SHORT / z[0].numel()) ** 0.5)
    with torch.no_grad():
        best, base, highest = z, latent.to_base(z), z.new_empty(len(z))
        mean, square = torch.zeros_like(base), torch.zeros_like(base)
    # cuDNN's recurrent layers have gradients only in training mode.
    is_recurrent = any(isinstance(module, nn.RNNBase) for module in network.modules())
    with torch.backends.cudnn.flags(enabled=False) if is_recurrent else nullcontext():
        for step in range(steps + 1):
            with torch.enable_grad():
                place = base.detach().requires_grad_(True)
                code = latent.from_base(place)
                log_likelihood = network.log_likelihood(code, x, condition)
                (slope,) = torch.autograd.grad(log_likelihood.sum(), place) if step < steps else (None,)
            with torch.no_grad():
                if step == 0:
                    highest = log_likelihood.detach()
                is_better = log_likelihood > highest  # false for NaN
                highest = torch.where(is_better, log_likelihood, highest)
                best = torch.where(is_better.view(-1, *[1] * (z.dim() - 1)), code, best)
                if slope is not None:
                    mean = mean.lerp(slope, 1 - _DECAYS[0])
                    square = square.lerp(slope.square(), 1 - _DECAYS[1])
                    deviation = (square / (1 - _DECAYS[1] ** (step + 1))).sqrt() + _SMALLEST
                    base = base + rate * mean / (1 - _DECAYS[0] ** (step + 1)) / deviation
    return best
