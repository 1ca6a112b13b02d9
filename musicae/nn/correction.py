"""Corrections: which features of the input a restoring network is given, and how its output corrects the input.

A picture is corrected by adding to it. A complex spectrum is corrected by a mask on its magnitude, which easily leaves
a clean sound unchanged, or by filling in the band that it lacks.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from musicae.nn.bands import Bands
from musicae.spectral_likelihoods import MAGNITUDE_EXPONENT, compressed


class Correction(nn.Module):
    """Base of the corrections, and the simplest one: the network is given the input, and its output is added to it.

    Args:
        channels: of the grid.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inputs = self.outputs = channels

    def init_output(self, layer: nn.Conv2d) -> None:
        """Initialises the network's last layer; by default it is left as it is."""

    @classmethod
    def rows(cls, height: int) -> int:
        """The height of what the network sees and answers, for a grid of this height."""
        return height

    def features(self, corrupted: Tensor) -> Tensor:
        """The features of the input that the encoder is given, `(batch, inputs, rows, width)`."""
        return corrupted

    def apply_to(self, corrupted: Tensor, output: Tensor) -> Tensor:
        """The estimate, from the input and the network's output `(batch, outputs, rows, width)`."""
        return corrupted + output


class MaskCorrection(Correction):
    """A real mask on a complex spectrum, phases kept: a factor for each of the `musicae.nn.bands`.

    It can be 1 and not only come near it, so that clean sound stays as it is; an untrained network changes nothing.
    """

    STEEPNESS = 4.0
    """How far a mask of 1 lies from one of a half, in logits, and by how much an output of 1 moves it."""
    BANDS = Bands(512, ((32, 8), (32, 16), (8, 32)))
    """With windows of 64 ms the single frequencies end at 8 kHz."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.inputs, self.outputs = 2, 1

    def init_output(self, layer: nn.Conv2d) -> None:
        assert layer.bias is not None
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)

    @classmethod
    def rows(cls, height: int) -> int:
        return cls.BANDS.rows(height)

    def features(self, corrupted: Tensor) -> Tensor:
        """`(batch, 2, frequency, time)` → the rows' compressed magnitudes and places, `(batch, 2, rows, time)`.

        A magnitude doesn't depend on the length of the window.
        """
        scale = self.BANDS.single / max(self.BANDS.single, corrupted.shape[2] - 1)
        power = self.BANDS.means((scale * corrupted).square().sum(1, keepdim=True))
        place = torch.linspace(-1, 1, power.shape[2], device=power.device, dtype=power.dtype)[:, None]
        return torch.cat([(power + _SILENT_POWER).pow(MAGNITUDE_EXPONENT / 2), place.expand_as(power)], dim=1)

    def mask(self, output: Tensor) -> Tensor:
        """The network's output as a factor: 1 for an output of 0, and never more than 1.

        In training it may be 2% more, since past a limit nothing would be learned.
        """
        factor = torch.sigmoid(self.STEEPNESS * (output + 1)) * (1 + math.exp(-self.STEEPNESS))
        return factor if self.training else factor.clamp_max(1.0)

    def apply_to(self, corrupted: Tensor, output: Tensor) -> Tensor:
        return corrupted * self.BANDS.spread(self.mask(output), corrupted.shape[2])


class ExtendCorrection(Correction):
    """Fills in what a complex spectrum lacks above half of its band; nothing is attenuated.

    The network predicts the magnitude of each cell. The phases are those of the lower band, copied up as a whole
    (spectral band replication: Dietz et al., 2002), so that tones stay tones.
    """

    # As a share of the cutoff: there the filters of resamplers begin to attenuate.
    _LOWEST_SHARE = 0.85
    _LOUDEST = 6.0

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.inputs, self.outputs = 3, 1

    def features(self, corrupted: Tensor) -> Tensor:
        """`(batch, 2, frequency, time)` → compressed magnitudes, those of the copied band, and each cell's frequency.

        The network's receptive field is a quarter of the band. Without the copied band the highest cells would have no
        sound in it, and without the third channel no cell would know its frequency.
        """
        sound = compressed(corrupted)
        carrier = sound[:, :, _copied_from(corrupted.shape[2], self._LOWEST_SHARE, device=corrupted.device)]
        place = torch.linspace(-1, 1, corrupted.shape[2], device=corrupted.device)[:, None].expand_as(sound)
        return torch.cat([sound, carrier, place], dim=1)

    def apply_to(self, corrupted: Tensor, output: Tensor) -> Tensor:
        wanted = torch.exp((3 * output - 3).clamp_max(self._LOUDEST))  # an untrained network adds little
        source = _copied_from(corrupted.shape[2], self._LOWEST_SHARE, device=corrupted.device)
        carrier = corrupted[:, :, source]
        size = corrupted.pow(2).sum(1, keepdim=True).clamp_min(_TINY_POWER).sqrt()
        carrier_size = carrier.pow(2).sum(1, keepdim=True).clamp_min(_TINY_POWER).sqrt()
        is_filled = (source != torch.arange(len(source), device=source.device))[:, None]
        # Where the input still has energy, it keeps its own phase and is raised to the wanted level.
        direction = torch.where(size > _AUDIBLE_SHARE * wanted, corrupted / size, carrier / carrier_size)
        return corrupted + is_filled * (wanted - size).clamp_min(0) * direction


_SILENT_POWER = 1e-8
_TINY_POWER = 1e-12
_AUDIBLE_SHARE = 0.1


@lru_cache(maxsize=8)
def _copied_from(frequencies: int, share: float, *, device: torch.device) -> Tensor:
    """For each frequency the index of the one that it is copied from, `(frequencies,)`; below the cutoff its own.

    All distances are multiples of four bins. With a hop of a quarter of the window, the phase of a steady tone then
    advances from frame to frame as it did at its original frequency.
    """
    lowest = 4 * int(share * (frequencies - 1) / 2 / 4)
    period = 4 * (lowest * 7 // 8 // 4)  # the lowest eighth is rumble, and is not copied
    place = torch.arange(frequencies, device=device)
    return torch.where(place < lowest, place, lowest - period + (place - lowest) % period)


CORRECTIONS: dict[str, type[Correction]] = {
    "add": Correction, "mask": MaskCorrection, "extend": ExtendCorrection,
}  # fmt: skip
