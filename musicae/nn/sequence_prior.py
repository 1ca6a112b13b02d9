"""`SequencePrior`: where codes lie that are one vector for all of a sound and one for each of its moments.

Moments follow each other slowly, and what they are like on the whole goes by the sound: so the pooled numbers are a
standard normal, and tell each number of a moment how it is expected to run, how far it strays, and how long it
stays astray (a first-order autoregression around a mean that moves). A draw is then a sound that holds together.
"""

import torch
from torch import Tensor, nn

from musicae.nn.prior import Prior, standard_log_prob


class SequencePrior(Prior):
    """Autoregression over moments given the pooled numbers.

    Args:
        shape: of one code, `(pooled + moments · numbers,)`: pooled numbers first, then moments, time running fastest.
        pooled: how many numbers are pooled.
        moments: length of the sequence.
    """

    HIDDEN = 256
    BASES = 6  # shapes over time that means are mixed of
    _LARGEST_LOG_SCALE = 4.0

    def __init__(self, shape: tuple[int, ...], *, pooled: int, moments: int) -> None:
        super().__init__(shape)
        self.pooled, self.moments = pooled, moments
        self.numbers = (shape[0] - pooled) // moments
        outputs = (self.BASES + 3) * self.numbers
        self.net = nn.Sequential(nn.Linear(pooled, self.HIDDEN), nn.GELU(), nn.Linear(self.HIDDEN, outputs))
        for parameter in self.net[-1].parameters():
            nn.init.zeros_(parameter)
        time = torch.linspace(0, 1, moments)
        # The first is constant, the others begin as decays of different lengths.
        decays = torch.exp(-time / torch.logspace(-1.5, 0.5, self.BASES - 1)[:, None])
        self.bases = nn.Parameter(torch.cat([torch.ones(1, moments), decays]))

    def log_prob(self, z: Tensor) -> Tensor:
        base, log_scale = self._to_base(z)
        return standard_log_prob(base) - log_scale

    def to_base(self, z: Tensor) -> Tensor:
        return self._to_base(z)[0]

    def from_base(self, base: Tensor) -> Tensor:
        pooled, noise = self._split(base)
        mean, log_first, log_scale, memory = self._expected(pooled)
        astray = log_first.exp() * noise[..., 0]
        moments = [astray]
        for time in range(1, self.moments):
            astray = memory * astray + log_scale.exp() * noise[..., time]
            moments.append(astray)
        return torch.cat([pooled, (mean + torch.stack(moments, -1)).flatten(1)], 1)

    def _to_base(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Standard-normal numbers, and the logarithm of the scales they were divided by, summed."""
        pooled, moments = self._split(z.float())
        mean, log_first, log_scale, memory = self._expected(pooled)
        astray = moments - mean
        first = astray[..., :1] * torch.exp(-log_first)[..., None]
        later = (astray[..., 1:] - memory[..., None] * astray[..., :-1]) * torch.exp(-log_scale)[..., None]
        base = torch.cat([pooled, torch.cat([first, later], -1).flatten(1)], 1)
        return base, log_first.sum(1) + (self.moments - 1) * log_scale.sum(1)

    def _split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled `(batch, pooled)` and moments `(batch, numbers, moments)`."""
        return z[:, : self.pooled], z[:, self.pooled :].unflatten(1, (self.numbers, self.moments))

    def _expected(self, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means, `(batch, numbers, moments)`; then, `(batch, numbers)`, log scales of first and later ones, memory."""
        told = self.net(pooled).float().unflatten(1, (self.BASES + 3, self.numbers))
        mean = torch.einsum("bkn,kt->bnt", told[:, : self.BASES], self.bases)
        raw_first, raw_scale, raw_memory = told[:, self.BASES :].unbind(1)
        log_first, log_scale = (
            self._LARGEST_LOG_SCALE * torch.tanh(raw / self._LARGEST_LOG_SCALE) for raw in (raw_first, raw_scale - 0.5)
        )
        return mean, log_first, log_scale, torch.tanh(raw_memory + 1.0)
