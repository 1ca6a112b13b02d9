"""`NotePrior`: the codes of single notes, given instrument, pitch and velocity."""

import math

import torch
from torch import Tensor, nn

from musicae.nn.autoregression import Autoregression
from musicae.nn.layers import draw_rows
from musicae.precision import in_float32

_INSTRUMENT_NUMBERS = 24
_PERIODS = (96.0, 48.0, 24.0, 12.0, 6.0, 3.0)
"""Periods of the sines that encode a pitch, in semitones."""
_HIDDEN, _BASES = 384, 12
_UNKNOWN_SHARE = 0.1
"""Of each part of the labels in training, so that it also knows what is usual."""
_MOST = 3.0  # of a log scale
_LOG_2_PI = math.log(2 * math.pi)


class NotePrior(nn.Module):
    """A density over standardised codes: a pooled vector, and a sequence of moments.

    The pooled numbers are normal, with a mean and a deviation that a network predicts from what is asked for; moments
    follow both (`Autoregression`).

    Args:
        pooled: how many numbers are pooled.
        numbers, moments: of the sequence.
    """

    LABEL_NUMBERS = 3
    INSTRUMENTS = 512
    STEPS_PER_SEMITONE = 16
    """Of a pitch that is asked for."""

    def __init__(self, pooled: int, numbers: int, moments: int) -> None:
        super().__init__()
        self.pooled, self.numbers = pooled, numbers
        self.instrument = nn.Embedding(self.INSTRUMENTS, _INSTRUMENT_NUMBERS)  # 0: any
        asked = _INSTRUMENT_NUMBERS + 2 * len(_PERIODS) + 2 + 3
        self.body = nn.Sequential(nn.Linear(asked, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, _HIDDEN), nn.GELU())
        self.to_pooled = nn.Linear(_HIDDEN, 2 * pooled)
        nn.init.zeros_(self.to_pooled.weight)
        nn.init.zeros_(self.to_pooled.bias)
        self.sequence = Autoregression(pooled + _HIDDEN, numbers, moments, bases=_BASES)

    @in_float32
    def log_prob(self, pooled: Tensor, moments: Tensor, condition: Tensor) -> Tensor:
        """Of codes in nats, `(batch,)`.

        Args:
            pooled: `(batch, pooled)`.
            moments: `(batch, numbers, moments)`.
            condition: int64 `(batch, 3)`: instrument, pitch and velocity, each counted from 1; 0 is any.
        """
        if self.training:
            drawn = draw_rows(lambda shape: torch.rand(shape, device=condition.device), tuple(condition.shape))
            condition = condition * (drawn >= _UNKNOWN_SHARE)
        mean, log_scale, hidden = self._asked(condition)
        first = (pooled - mean) * torch.exp(-log_scale)
        later, log_scales = self.sequence.to_base(moments, torch.cat([pooled, hidden], 1))
        base = torch.cat([first, later.flatten(1)], 1)
        return -0.5 * (base.square() + _LOG_2_PI).sum(1) - log_scale.sum(1) - log_scales

    @in_float32
    def from_base(self, base: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Standard normal numbers → codes of the notes that are asked for.

        Args:
            base: `(batch, pooled + numbers · moments)`.
            condition: as in `log_prob`.

        Returns:
            Pooled numbers `(batch, pooled)` and moments `(batch, numbers, moments)`.
        """
        mean, log_scale, hidden = self._asked(condition)
        first, later = base[:, : self.pooled], base[:, self.pooled :].unflatten(1, (self.numbers, -1))
        pooled = mean + log_scale.exp() * first
        return pooled, self.sequence.from_base(later, torch.cat([pooled, hidden], 1))

    def _asked(self, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log scale of the pooled numbers, and the condition of the moments."""
        instrument, pitch, velocity = condition.unbind(1)
        semitones = (pitch - 1).float()[:, None] / self.STEPS_PER_SEMITONE
        angle = 2 * torch.pi * semitones / torch.tensor(_PERIODS, device=semitones.device)
        loudness = (velocity - 1).float()[:, None] / 127
        numbers = torch.cat([angle.sin(), angle.cos(), semitones / 64 - 1, (pitch > 0).float()[:, None]], 1)
        numbers = numbers * (pitch > 0)[:, None]
        loud = torch.cat([loudness, loudness.square(), torch.ones_like(loudness)], 1) * (velocity > 0)[:, None]
        hidden = self.body(torch.cat([self.instrument(instrument), numbers, loud], 1))
        mean, raw = self.to_pooled(hidden).float().chunk(2, 1)
        return mean, _MOST * torch.tanh(raw / _MOST), hidden
