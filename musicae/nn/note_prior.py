"""`NotePrior`: the codes of single notes, given instrument, pitch and velocity."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from musicae.nn.autoregression import Autoregression
from musicae.nn.layers import draw_rows
from musicae.precision import in_float32

_INSTRUMENT_NUMBERS = 24
_PERIODS = (96.0, 48.0, 24.0, 12.0, 6.0, 3.0, 1.5)
"""Periods of the sines that encode a pitch, in semitones."""
_HIDDEN, _BASES = 384, 12
_UNKNOWN_SHARE = 0.1
"""Of each part of the labels in training, so that it also knows what is usual."""
_MOST = 3.0  # of a log scale
_LOG_2_PI = math.log(2 * math.pi)
_LEAST_NOTES = 16
_FIT_STEPS, _FIT_BATCH, _FIT_RATE, _FIT_DECAY = 4000, 96, 1e-3, 0.03
_HELD_OUT_SHARE, _HELD_OUT_EVERY, _PATIENCE = 0.1, 100, 8


class NotePrior(nn.Module):
    """A density over standardised codes: a pooled vector, and a sequence of moments.

    It is fitted to the codes of a trained model, as its prior is. The pooled numbers are normal, with a mean and a
    deviation that a network predicts from what is asked for; moments follow both (`Autoregression`).

    Args:
        pooled: how many numbers are pooled.
        numbers, moments: of the sequence.
    """

    fitted: Tensor

    LABEL_NUMBERS = 3
    INSTRUMENTS = 512
    STEPS_PER_SEMITONE = 16
    """Of a pitch that is asked for."""

    def __init__(self, pooled: int, numbers: int, moments: int) -> None:
        super().__init__()
        self.pooled, self.numbers, self.moments = pooled, numbers, moments
        self.instrument = nn.Embedding(self.INSTRUMENTS, _INSTRUMENT_NUMBERS)  # 0: any
        asked = _INSTRUMENT_NUMBERS + 2 * len(_PERIODS) + 2 + 3
        self.body = nn.Sequential(nn.Linear(asked, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, _HIDDEN), nn.GELU())
        self.to_pooled = nn.Linear(_HIDDEN, 2 * pooled)
        nn.init.zeros_(self.to_pooled.weight)
        nn.init.zeros_(self.to_pooled.bias)
        self.sequence = Autoregression(pooled + _HIDDEN, numbers, moments, bases=_BASES)
        self.register_buffer("fitted", torch.zeros(()))

    @property
    def is_fitted(self) -> bool:
        """Whether it has learned any notes."""
        return bool(self.fitted)

    def fit(
        self,
        codes: Callable[[Tensor], tuple[Tensor, Tensor]],
        condition: Tensor,
        note: Tensor,
        generator: torch.Generator,
    ) -> bool:
        """Learns which codes notes have, and keeps what comes nearest to notes that it does not learn from.

        Args:
            codes: int64 `(rows,)` → pooled numbers and moments of some rows, as for `log_prob`, drawn anew each time.
            condition: of all rows, as for `log_prob`; rows whose instrument or pitch is unknown are left out.
            note: int64 `(rows,)`, which note each row is a variation of.
            generator: of the batches.

        Returns:
            Whether there were enough notes.
        """
        rows = torch.nonzero((condition[:, :2] > 0).all(1))[:, 0]
        notes = torch.unique(note[rows])
        if len(notes) < _LEAST_NOTES:
            return False
        notes = notes[torch.randperm(len(notes), generator=generator, device=generator.device).to(notes.device)]
        held_out_notes = notes[: max(1, round(_HELD_OUT_SHARE * len(notes)))]
        is_held_out = torch.isin(note[rows], held_out_notes)
        held_out, learned = rows[is_held_out], rows[~is_held_out]
        optimizer = torch.optim.AdamW(self.parameters(), lr=_FIT_RATE, weight_decay=_FIT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _FIT_STEPS + 1)
        best, best_state, stale = math.inf, copy.deepcopy(self.state_dict()), 0
        for step in range(_FIT_STEPS + 1):
            if step % _HELD_OUT_EVERY == 0:
                found = self._error(*codes(held_out), condition[held_out])
                stale += 1
                if found < best:
                    best, best_state, stale = found, copy.deepcopy(self.state_dict()), 0
                if stale > _PATIENCE:
                    break
            self.train()
            batch = torch.randint(len(learned), (_FIT_BATCH,), generator=generator, device=generator.device)
            chosen = learned[batch.to(learned.device)]
            optimizer.zero_grad()
            with torch.enable_grad():
                size = self.pooled + self.numbers * self.moments
                (-self.log_prob(*codes(chosen), condition[chosen]).mean() / size).backward()
            torch.nn.utils.clip_grad_norm_(self.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        self.load_state_dict(best_state)
        self.eval()
        self.fitted.fill_(1.0)
        return True

    @torch.no_grad()
    def _error(self, pooled: Tensor, moments: Tensor, condition: Tensor) -> float:
        """How far notes that are drawn without noise lie from real ones, in squares.

        Of a few notes likelihoods would tell more of how sure the network is.
        """
        self.eval()
        base = pooled.new_zeros(len(pooled), self.pooled + moments[0].numel())
        drawn = self.from_base(base, condition)
        return sum(float((own - real).square().sum()) for own, real in zip(drawn, (pooled, moments), strict=True))

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
