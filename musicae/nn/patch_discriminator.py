"""`PatchDiscriminator`: what else than squared errors says whether a picture was rebuilt well.

Of a pixel that can't be known the squared error wants the mean of what it may be, and so a blur. A network that learns
to tell real pictures from rebuilt ones, patch by patch (Isola et al., 2017, "Image-to-Image Translation with
Conditional Adversarial Networks"), asks for pictures that could be real instead; and its features measure likeness
better than pixels do (Larsen et al., 2016, "Autoencoding beyond pixels using a learned similarity metric"), so that no
network that was trained elsewhere is needed. Both learn in one step from one loss, as in `AdversarialLatent`.
"""

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from musicae.nn.convolution import LayerNorm2d

_SMALLEST = 1e-6


class PatchDiscriminator(nn.Module):
    """Tells real patches of 26 pixels a side from rebuilt ones.

    Args:
        channels: of the pictures.
        width: channels of the finest features.
    """

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)),
                nn.Sequential(
                    nn.Conv2d(width, 2 * width, 4, stride=2, padding=1), LayerNorm2d(2 * width), nn.LeakyReLU(0.2)
                ),
                nn.Sequential(nn.Conv2d(2 * width, 2 * width, 3, padding=1), LayerNorm2d(2 * width), nn.LeakyReLU(0.2)),
            ]
        )
        self.head = nn.Conv2d(2 * width, 1, 3, padding=1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """`(batch, channels, height, width)` → features of every level, and last a logit for each patch."""
        features = []
        for level in self.levels:
            pictures = level(pictures)
            features.append(pictures)
        return (*features, self.head(pictures))

    def losses(self, estimate: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What an estimate costs, and what the discriminator learns from.

        Args:
            estimate, target: `(batch, channels, height, width)`.

        Returns:
            `(batch,)` each: −log of the probability that a patch is taken for real, minus log 2; the absolute
            difference of features that have length 1 in each place; both with the discriminator's weights fixed. And
            its own loss, with the estimate fixed, of value 0.
        """
        fixed = {name: weight.detach() for name, weight in self.named_parameters()}
        of_estimate: tuple[Tensor, ...] = functional_call(self, fixed, (estimate,))
        with torch.no_grad():
            of_target: tuple[Tensor, ...] = functional_call(self, fixed, (target,))
        adversarial = F.softplus(-of_estimate[-1].float()).flatten(1).mean(1) - math.log(2)
        distances = [
            (_directions(ours) - _directions(theirs)).abs().sum(1).flatten(1).mean(1)
            for ours, theirs in zip(of_estimate[:-1], of_target[:-1], strict=True)
        ]
        logits = self(torch.cat([target, estimate.detach()]))[-1].float()
        of_real, of_rebuilt = logits.flatten(1).chunk(2)
        own = (F.softplus(-of_real) + F.softplus(of_rebuilt)).mean(1)
        return adversarial, torch.stack(distances).mean(0), own - own.detach()


def _directions(features: Tensor) -> Tensor:
    """Features of length 1 in each place (Zhang et al., 2018, "The Unreasonable Effectiveness of Deep Features")."""
    features = features.float()
    return features / (features.square().sum(1, keepdim=True) + _SMALLEST).sqrt()
