"""Makes few recordings of noise many: played slower or faster, and coloured as by other places and microphones.

Of rows that are left alone nothing changes. Nothing here knows files or what is done with the noise.
"""

import torch
from torch import Tensor

from musicae.audio.noises import uniform

VARIED_SHARE = 0.5  # of the rows
SPEED_OCTAVES = 0.7  # slower or faster by at most so much
COLOUR_DB = 8.0  # up or down by at most so much, at points joined by straight lines
_POINTS, _OCTAVES = 6, 7.5  # even in octaves, from the highest frequency down


def varied_rows(rows: int, generator: torch.Generator) -> Tensor:
    """Which rows are changed: bool `(rows, 1)`."""
    return uniform((rows, 1), generator) < VARIED_SHARE


def speeds(varied: Tensor, generator: torch.Generator) -> Tensor:
    """How fast each row is played, `(rows, 1)`; 1 where it is not `varied`."""
    octaves: Tensor = SPEED_OCTAVES * (2 * uniform(varied.shape, generator) - 1) * varied
    return torch.exp2(octaves)


def recoloured(waveform: Tensor, varied: Tensor, generator: torch.Generator, *, power: Tensor) -> Tensor:
    """Turns the spectrum of `varied` rows up and down along a curve of its own.

    Args:
        waveform: `(rows, samples)`.
        varied: bool `(rows, 1)`.
        generator: on the same device.
        power: mean square that the rows have afterwards, `(rows, 1)`.
    """
    rows, samples = waveform.shape
    points_db = COLOUR_DB * (2 * uniform((rows, _POINTS), generator) - 1)
    frequency = torch.linspace(0, 1, samples // 2 + 1, device=waveform.device)  # the highest is 1
    place = (torch.log2(frequency.clamp_min(2**-_OCTAVES)) / _OCTAVES + 1) * (_POINTS - 1)
    below = place.floor().long().clamp_max(_POINTS - 2)
    curve_db = torch.lerp(points_db[:, below], points_db[:, below + 1], place - below)
    turned = torch.fft.irfft(torch.fft.rfft(waveform) * 10 ** (curve_db / 20), samples)
    turned = turned * (power / turned.square().mean(1, keepdim=True).clamp_min(1e-20)).sqrt()
    return torch.where(varied, turned, waveform)
