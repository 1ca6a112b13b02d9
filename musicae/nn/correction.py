"""Corrections: how a restoring network looks at its input and changes it.

A picture is corrected by adding to it; a complex spectrum by a mask on its magnitude, which leaves a
clean sound alone at no cost.
"""

import torch
from torch import Tensor, nn

# Loudness is heard on a compressed scale; 0.3 is the usual exponent for speech enhancement
# (Braun & Tashev, 2021, "A consolidated view of loss functions for supervised deep learning-based
# speech enhancement").
MAGNITUDE_EXPONENT = 0.3


def compressed(spectrum: Tensor) -> Tensor:
    """Complex spectrum `(batch, 2, frequency, time)` → compressed magnitude `(batch, 1, frequency, time)`."""
    # The small constant keeps the gradient of a power below one finite at zero.
    return (spectrum.pow(2).sum(1, keepdim=True) + 1e-8).pow(MAGNITUDE_EXPONENT / 2)


class Correction(nn.Module):
    """How a restoring network looks at its input and changes it; this one adds to it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inputs = self.outputs = channels

    def features(self, damaged: Tensor) -> Tensor:
        """What the encoder sees."""
        return damaged

    def apply_to(self, damaged: Tensor, output: Tensor) -> Tensor:
        """The estimate: input and network output joined."""
        return damaged + output


class MaskCorrection(Correction):
    """A real mask in 0…1 on a complex spectrum: the magnitude is turned down, the phase kept."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.inputs = self.outputs = 1

    def features(self, damaged: Tensor) -> Tensor:
        """`(batch, 2, frequency, time)` → compressed magnitude, `(batch, 1, frequency, time)`."""
        return compressed(damaged)

    def mask(self, output: Tensor) -> Tensor:
        """What the network says, in 0…1."""
        return torch.sigmoid(output + 1.0)  # + 1: an untrained network lets most of the sound pass

    def apply_to(self, damaged: Tensor, output: Tensor) -> Tensor:
        return damaged * self.mask(output)


CORRECTIONS: dict[str, type[Correction]] = {"add": Correction, "mask": MaskCorrection}
