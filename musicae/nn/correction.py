"""Corrections: which features of the input a restoring network is given, and how its output corrects the input.

A picture is corrected by adding to it. A complex spectrum is corrected by a mask on its magnitude, which easily leaves
a clean sound unchanged, or by filling in the band that it lacks.
"""

import math

import torch
from torch import Tensor, nn

from musicae.nn.bands import EXTENSION, Bands, below_the_end
from musicae.spectral_likelihoods import MAGNITUDE_EXPONENT


class Correction(nn.Module):
    """Base of the corrections, and the simplest one: the network is given the input, and its output is added to it.

    Args:
        channels: of the grid.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inputs = self.outputs = channels

    def init_output(self, layer: nn.Conv2d) -> None:
        """Initialises the network's last layer with zeros, so that an untrained network changes nothing."""
        assert layer.bias is not None
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)

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
    """Fills in the top of a complex spectrum, from where its cells are all 0; nothing is attenuated.

    The network predicts the level of each of the `musicae.nn.bands` relative to that of the last octave present. The
    sound's own spectrum is copied up, each row normalised, and scaled to that level (spectral band replication: Dietz
    et al., 2002), so that tones stay tones.
    """

    BANDS = EXTENSION
    LOWEST_SHARE = 0.85
    """Of the band that is there: from here on the filters of resamplers may have attenuated it."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.inputs, self.outputs = 3, 1

    @classmethod
    def rows(cls, height: int) -> int:
        return cls.BANDS.rows(height)

    def features(self, corrupted: Tensor) -> Tensor:
        """`(batch, 2, frequency, time)` → of each row loudness, place and whether it is missing, `(batch, 3, …)`."""
        power = self._power(corrupted)
        place = torch.linspace(-1, 1, power.shape[2], device=power.device, dtype=power.dtype)[:, None]
        missing = ~below_the_end(power[:, 0])[:, None, :, None]
        return torch.cat([_loudness(power), place.expand_as(power), missing.to(power).expand_as(power)], dim=1)

    def apply_to(self, corrupted: Tensor, output: Tensor) -> Tensor:
        power = self._power(corrupted)
        usual = self._expected(power, self._known(power, corrupted.shape[2]), corrupted.shape[2])
        return self.filled(corrupted, torch.exp((usual + 3 * output).clamp_max(_LOUDEST)))

    def filled(self, corrupted: Tensor, level: Tensor) -> Tensor:
        """Fills in what is missing.

        Args:
            corrupted: complex spectra `(batch, 2, frequency, time)`.
            level: that rows get, root mean squares `(batch, 1, rows, time)`.
        """
        frequencies, power = corrupted.shape[2], self._power(corrupted)
        source, is_filled = self._sources(self._known(power, frequencies), frequencies)
        carrier = corrupted.gather(2, source[:, None, :, None].expand_as(corrupted))
        carrier_level = self.BANDS.spread(self._power(carrier).clamp_min(_TINY_POWER).sqrt(), frequencies)
        # What is still there of a row is kept, and the rest of its power added.
        lacking = (level.square() - power).clamp_min(_TINY_POWER).sqrt()
        return corrupted + is_filled[:, None, :, None] * carrier / carrier_level * self.BANDS.spread(
            lacking, frequencies
        )

    def _known(self, power: Tensor, frequencies: int) -> Tensor:
        """How many frequencies are there, `(batch,)`."""
        return self.BANDS.spread(below_the_end(power[:, 0])[:, :, None], frequencies).sum((1, 2))

    def _power(self, spectrum: Tensor) -> Tensor:
        return self.BANDS.means(spectrum.square().sum(1, keepdim=True))

    def _expected(self, power: Tensor, known: Tensor, frequencies: int) -> Tensor:
        """The mean level of the last octave that is there, in nepers, `(batch, 1, 1, time)`."""
        share = self.BANDS.middles(frequencies).to(power)[:, None] / known[:, None, None, None].clamp_min(1)
        weight = ((share > self.LOWEST_SHARE / 2) & (share <= self.LOWEST_SHARE)).to(power)
        level = 0.5 * torch.log(power + _QUIET_POWER)
        return (level * weight).sum(2, keepdim=True) / weight.sum(2, keepdim=True).clamp_min(1)

    def _sources(self, known: Tensor, frequencies: int) -> tuple[Tensor, Tensor]:
        """For each frequency the one that it is copied from, and whether it is filled in, `(batch, frequency)` both.

        All distances are multiples of four bins. With a hop of a quarter of the window, the phase of a steady tone then
        advances from frame to frame as it did at its original frequency.
        """
        lowest = 4 * (self.LOWEST_SHARE * known / 4).long()[:, None]
        period = (4 * (lowest * 7 // 8 // 4)).clamp_min(4)  # the lowest eighth is rumble, and is not copied
        place = torch.arange(frequencies, device=known.device)[None]
        is_filled = (place >= lowest) & (known < frequencies)[:, None]
        source = torch.where(place < lowest, place, lowest - period + (place - lowest) % period)
        return source.clamp_min(0), is_filled


def _loudness(power: Tensor) -> Tensor:
    """On the scale of hearing; a usual row has about 1."""
    return 1 + 0.2 * torch.log(power + _QUIET_POWER)


_SILENT_POWER = 1e-8
_QUIET_POWER = 1e-6  # 67 dB below a usual cell
_TINY_POWER = 1e-12
_LOUDEST = 4.0  # nepers


CORRECTIONS: dict[str, type[Correction]] = {
    "add": Correction, "mask": MaskCorrection, "extend": ExtendCorrection,
}  # fmt: skip
