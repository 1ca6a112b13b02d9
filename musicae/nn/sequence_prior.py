"""`SequencePrior`: where codes lie that are one vector for all of a sound and one for each of its moments.

Moments follow each other slowly, and what they are like on the whole goes by the sound: so the pooled numbers are
normal, and tell each number of a moment how it is expected to run, how far it strays, and how long it stays astray (a
first-order autoregression around a mean that moves). A draw is then a sound that holds together.

While a model learns, its codes may grow as they like. Afterwards the prior is settled on where they came to lie, by
itself (ex-post density estimation: Ghosh et al., 2020, "From variational to deterministic autoencoders").
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from musicae.nn.posterior import Posterior
from musicae.nn.prior import Prior, standard_log_prob

_SETTLING_STEPS, _SETTLING_BATCH, _SETTLING_RATE = 600, 64, 5e-3
# Of fewer codes a covariance says nothing of where others lie.
_LEAST_CODES, _LEAST_CODES_A_NUMBER = 20, 5
_LEAST_SPREAD = 1e-6
_JUDGED_SHARE = 0.1  # of the codes, on which the best of the steps is chosen
_JUDGED_EVERY = 50


class SequencePrior(Prior):
    """Autoregression over moments given the pooled numbers.

    Args:
        shape: of one code, `(pooled + moments · numbers,)`: pooled numbers first, then moments, time running fastest.
        pooled: how many numbers are pooled.
        moments: length of the sequence.
    """

    settles = True
    pooled_mean: Tensor
    whitening: Tensor
    moment_mean: Tensor
    moment_scale: Tensor

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
        # Where codes lie as a whole; the rest is said of pooled numbers and moments brought to mean 0 and scale 1.
        for name, value in self._unplaced().items():
            self.register_buffer(name, value)

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
        placed = (mean + torch.stack(moments, -1)) * self.moment_scale + self.moment_mean
        pooled = torch.linalg.solve_triangular(self.whitening, pooled.T, upper=False).T + self.pooled_mean
        return torch.cat([pooled, placed.flatten(1)], 1)

    def settle(self, posterior: Posterior, generator: torch.Generator) -> bool:
        rows = torch.randperm(len(posterior.mean), generator=generator, device=generator.device)
        judged, learned = rows.split([round(_JUDGED_SHARE * len(rows)), len(rows) - round(_JUDGED_SHARE * len(rows))])
        if len(rows) < max(_LEAST_CODES, _LEAST_CODES_A_NUMBER * self.pooled):
            return False
        before, best_state = copy.deepcopy(self.state_dict()), None
        judged_codes = _rows(posterior, judged).sample(generator)
        best = self.log_prob(judged_codes).mean()
        if not self._place(posterior):
            return False
        for parameter in self.net[-1].parameters():
            nn.init.zeros_(parameter)
        optimizer = torch.optim.Adam(self.parameters(), lr=_SETTLING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _SETTLING_STEPS + 1)
        for step in range(_SETTLING_STEPS + 1):
            if step % _JUDGED_EVERY == 0:
                found = self.log_prob(judged_codes).mean()
                if torch.isfinite(found) and not found <= best:  # what was learned may be too far off for a number
                    best, best_state = found, copy.deepcopy(self.state_dict())
            batch = torch.randint(len(learned), (_SETTLING_BATCH,), generator=generator, device=generator.device)
            optimizer.zero_grad()
            with torch.enable_grad():
                codes = _rows(posterior, learned[batch]).sample(generator)
                (-self.log_prob(codes).mean() / self.shape[0]).backward()
            optimizer.step()
            schedule.step()
        self.load_state_dict(before if best_state is None else best_state)
        return best_state is not None

    def _place(self, posterior: Posterior) -> bool:
        """Sets mean and spread of pooled numbers and moments to those of all codes, if they have a spread."""
        mean, variance = posterior.mean.double(), posterior.variance.double()
        pooled, moments = self._split(mean)
        pooled_variance, moment_variance = self._split(variance)
        covariance = torch.cov(pooled.T).reshape(self.pooled, self.pooled) + torch.diag(pooled_variance.mean(0))
        identity = torch.eye(self.pooled, dtype=torch.double, device=mean.device)
        triangle, failed = torch.linalg.cholesky_ex(covariance)
        spread = moments.var((0, 2), correction=0) + moment_variance.mean((0, 2))
        if failed or not (torch.isfinite(triangle).all() and (spread > _LEAST_SPREAD).all()):
            return False
        whitening = torch.linalg.solve_triangular(triangle, identity, upper=False)
        self.pooled_mean.copy_(pooled.mean(0))
        self.whitening.copy_(whitening)
        self.moment_mean.copy_(moments.mean((0, 2))[:, None])
        self.moment_scale.copy_(spread.sqrt()[:, None])
        return True

    def _unplaced(self) -> dict[str, Tensor]:
        """The buffers of a prior whose codes lie around 0 with scale 1."""
        return {
            "pooled_mean": torch.zeros(self.pooled),
            "whitening": torch.eye(self.pooled),
            "moment_mean": torch.zeros(self.numbers, 1),
            "moment_scale": torch.ones(self.numbers, 1),
        }

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Codes of models from before priors were settled lie around 0 with scale 1."""
        for name, value in self._unplaced().items():
            state_dict.setdefault(prefix + name, value)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _to_base(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Standard-normal numbers, and the logarithm of the scales they were divided by, summed."""
        pooled, moments = self._split(z.float())
        pooled = (pooled - self.pooled_mean) @ self.whitening.T
        mean, log_first, log_scale, memory = self._expected(pooled)
        astray = (moments - self.moment_mean) / self.moment_scale - mean
        first = astray[..., :1] * torch.exp(-log_first)[..., None]
        later = (astray[..., 1:] - memory[..., None] * astray[..., :-1]) * torch.exp(-log_scale)[..., None]
        base = torch.cat([pooled, torch.cat([first, later], -1).flatten(1)], 1)
        placing = self.moments * self.moment_scale.log().sum() - self.whitening.diagonal().log().sum()
        return base, log_first.sum(1) + (self.moments - 1) * log_scale.sum(1) + placing

    def _split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled `(batch, pooled)` and moments `(batch, numbers, moments)`."""
        return z[:, : self.pooled], z[:, self.pooled :].unflatten(1, (self.numbers, self.moments))

    def _expected(self, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of whitened pooled numbers: means `(batch, numbers, moments)`, log scales of first and later ones, memory."""
        told = self.net(pooled).float().unflatten(1, (self.BASES + 3, self.numbers))
        mean = torch.einsum("bkn,kt->bnt", told[:, : self.BASES], self.bases)
        raw_first, raw_scale, raw_memory = told[:, self.BASES :].unbind(1)
        log_first, log_scale = (
            self._LARGEST_LOG_SCALE * torch.tanh(raw / self._LARGEST_LOG_SCALE) for raw in (raw_first, raw_scale - 0.5)
        )
        return mean, log_first, log_scale, torch.tanh(raw_memory + 1.0)


def _rows(posterior: Posterior, rows: Tensor) -> Posterior:
    return Posterior(posterior.mean[rows], None if posterior.log_variance is None else posterior.log_variance[rows])
