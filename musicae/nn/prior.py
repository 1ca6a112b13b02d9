"""Priors: p(z), what the codes of all examples together are compared with and drawn from.

A standard normal is what every VAE starts with. A learned prior follows where the codes really lie, so the same codes
cost fewer bits: a normalising flow (RealNVP: Dinh et al., 2017) or a mixture of Gaussians, trained with the model by
the same loss; or an autoregression over a sequence, which is also fitted to the codes of a trained model afterwards
(ex-post density estimation: Ghosh et al., 2020, "From variational to deterministic autoencoders"). A prior knows no
encoder, no decoder, and no class of posteriors.
"""

import copy
import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

_LOG_2_PI = math.log(2 * math.pi)


class Codes(Protocol):
    """Factorised Gaussians over codes, one for each example: what a prior needs to know of q(z | x)."""

    @property
    def mean(self) -> Tensor:
        """`(batch, *shape)`."""

    @property
    def variance(self) -> Tensor:
        """As `mean`."""

    def rows(self, index: Tensor) -> Self:
        """Those of some examples."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw of each, `(batch, *shape)`."""

    def entropy(self) -> Tensor:
        """In nats, `(batch,)`."""

    def kl(self) -> Tensor:
        """KL(q ‖ N(0, I)) in nats of every number, as `mean`."""


# Of a prior that is fitted afterwards.
_FIT_STEPS, _FIT_BATCH, _FIT_RATE = 600, 64, 5e-3
# Of fewer codes a covariance does not say where others lie.
_LEAST_CODES, _LEAST_CODES_A_NUMBER = 20, 5
_LEAST_VARIANCE = 1e-6
_HELD_OUT_SHARE = 0.1  # of the codes, on which the best of the steps is chosen
_HELD_OUT_EVERY = 50


class Prior(nn.Module, ABC):
    """A density over latent codes `(batch, *shape)`.

    Args:
        shape: of one code.
    """

    is_fitted_afterwards: ClassVar[bool] = False
    """Whether training moves the codes away from it, so that it is fitted to them when training has ended."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, `(batch, *shape)` → `(batch,)`."""

    @abstractmethod
    def to_base(self, z: Tensor) -> Tensor:
        """Codes → the space where paths are drawn, same shape: there the prior is (nearly) a standard normal."""

    @abstractmethod
    def from_base(self, base: Tensor) -> Tensor:
        """The inverse of `to_base`."""

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws codes in the space where paths are drawn, `(count, *shape)`, on the generator's device."""
        return torch.randn(count, *self.shape, generator=generator, device=generator.device)

    def fit(self, codes: Codes, generator: torch.Generator) -> bool:
        """Fits it to the codes of a trained model; only where it `is_fitted_afterwards` does that do anything.

        Args:
            codes: of all training examples.
            generator: of draws from them, on the same device.

        Returns:
            Whether anything changed; not so where there are too few codes, or what was learned fits them better.
        """
        del codes, generator
        return False

    def kl(self, codes: Codes, z: Tensor) -> Tensor:
        """KL(q ‖ p) in nats, `(batch,)`: the entropy of q exactly, -log p at one draw z of q."""
        return -codes.entropy() - self.log_prob(z)


def standard_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) in nats, `(batch, ...)` → `(batch,)`."""
    return -0.5 * (z.pow(2) + _LOG_2_PI).flatten(1).sum(1)


class StandardPrior(Prior):
    """N(0, I)."""

    def log_prob(self, z: Tensor) -> Tensor:
        return standard_log_prob(z)

    def kl(self, codes: Codes, z: Tensor) -> Tensor:
        """In closed form (Kingma & Welling, 2014, appendix B); z is not looked at."""
        del z
        return codes.kl().flatten(1).sum(1)

    def to_base(self, z: Tensor) -> Tensor:
        return z

    def from_base(self, base: Tensor) -> Tensor:
        return base


class AffineCoupling(nn.Module):
    """One half of the numbers, permuted, scales and shifts the other (Dinh et al., 2017, equations 7 and 8).

    The last layer starts at zero, so that the flow starts as a permutation; scales are kept within
    e^±2 smoothly.
    """

    order: Tensor
    LARGEST_LOG_SCALE = 2.0

    def __init__(self, numbers: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.kept = numbers - numbers // 2
        moved = numbers // 2
        self.net = nn.Sequential(
            nn.Linear(self.kept, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 2 * moved)
        )
        for parameter in self.net[-1].parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("order", torch.randperm(numbers, generator=generator))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, numbers)` → the same, and log |det| of the Jacobian `(batch,)`."""
        z = z[:, self.order]
        kept, moved = z[:, : self.kept], z[:, self.kept :]
        log_scale, shift = self._scale_and_shift(kept)
        return torch.cat([kept, moved * log_scale.exp() + shift], 1), log_scale.sum(1)

    def inverse(self, base: Tensor) -> Tensor:
        """`(batch, numbers)` → the same."""
        kept, moved = base[:, : self.kept], base[:, self.kept :]
        log_scale, shift = self._scale_and_shift(kept)
        z = torch.cat([kept, (moved - shift) * torch.exp(-log_scale)], 1)
        return z[:, torch.argsort(self.order)]

    def _scale_and_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.net(kept).float().chunk(2, 1)
        return self.LARGEST_LOG_SCALE * torch.tanh(raw / self.LARGEST_LOG_SCALE), shift


class FlowPrior(Prior):
    """RealNVP: codes become a standard normal by `COUPLINGS` affine couplings."""

    COUPLINGS = 8
    HIDDEN = 256
    _SEED = 8  # of the permutations

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        if math.prod(shape) < 2:
            raise ValueError(f"a flow prior needs at least 2 latent numbers, got {math.prod(shape)}")
        generator = torch.Generator().manual_seed(self._SEED)
        self.couplings = nn.ModuleList(
            AffineCoupling(math.prod(shape), self.HIDDEN, generator) for _ in range(self.COUPLINGS)
        )

    def log_prob(self, z: Tensor) -> Tensor:
        base, log_determinant = self._forward(z)
        return log_determinant + standard_log_prob(base)

    def to_base(self, z: Tensor) -> Tensor:
        return self._forward(z)[0].view_as(z)

    def from_base(self, base: Tensor) -> Tensor:
        z = base.flatten(1)
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, AffineCoupling)
            z = coupling.inverse(z)
        return z.view_as(base)

    def _forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        base = z.flatten(1)
        log_determinant = torch.zeros(len(z), device=z.device)
        for coupling in self.couplings:
            base, added = coupling(base)
            log_determinant = log_determinant + added
        return base, log_determinant


class MixturePrior(Prior):
    """A mixture of `COMPONENTS` Gaussians with diagonal covariances (Dilokthanakul et al., 2016, have one too)."""

    COMPONENTS = 64

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        numbers = math.prod(shape)
        generator = torch.Generator().manual_seed(0)
        # Apart from the start, or all components would learn the same.
        self.mean = nn.Parameter(0.5 * torch.randn(self.COMPONENTS, numbers, generator=generator))
        self.log_sigma = nn.Parameter(torch.zeros(self.COMPONENTS, numbers))
        self.weight_logits = nn.Parameter(torch.zeros(self.COMPONENTS))

    def log_prob(self, z: Tensor) -> Tensor:
        z, precision = z.flatten(1).float(), torch.exp(-2 * self.log_sigma)
        # Σ (z - m)² / σ², as matrix products.
        distance = z.pow(2) @ precision.T - 2 * z @ (self.mean * precision).T + (self.mean.pow(2) * precision).sum(1)
        each = -0.5 * (distance + z.shape[1] * _LOG_2_PI) - self.log_sigma.sum(1)  # (batch, components)
        return torch.logsumexp(each + self.weight_logits.log_softmax(0), 1)

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        component = torch.multinomial(self.weight_logits.softmax(0), count, replacement=True, generator=generator)
        noise = torch.randn(count, self.mean.shape[1], generator=generator, device=self.mean.device)
        return (self.mean[component] + self.log_sigma[component].exp() * noise).unflatten(1, self.shape)

    def to_base(self, z: Tensor) -> Tensor:
        """The codes as they are: a mixture has no map to a single Gaussian that is easy to invert."""
        return z

    def from_base(self, base: Tensor) -> Tensor:
        return base


class SequencePrior(Prior):
    """Codes that are one vector for all of a sound and one for each of its moments: autoregression given the vector.

    Moments follow each other slowly, and what they are like on the whole depends on the sound. So the pooled numbers
    are normal, and predict for each number of a moment its mean over time, its standard deviation, and how long a
    deviation lasts (a first-order autoregression around a mean that moves). A draw is then a sound that holds together.

    Args:
        shape: of one code, `(pooled + moments · numbers,)`: pooled numbers first, then moments, time running fastest.
        pooled: how many numbers are pooled.
        moments: length of the sequence.
    """

    is_fitted_afterwards = True
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
        # Mean and scale of all codes; the network predicts pooled numbers and moments brought to mean 0 and scale 1.
        for name, value in self._identity().items():
            self.register_buffer(name, value)

    def log_prob(self, z: Tensor) -> Tensor:
        base, log_scale = self._to_base(z)
        return standard_log_prob(base) - log_scale

    def to_base(self, z: Tensor) -> Tensor:
        return self._to_base(z)[0]

    def from_base(self, base: Tensor) -> Tensor:
        pooled, noise = self._split(base)
        mean, log_first, log_scale, memory = self._expected(pooled)
        deviation = log_first.exp() * noise[..., 0]
        moments = [deviation]
        for time in range(1, self.moments):
            deviation = memory * deviation + log_scale.exp() * noise[..., time]
            moments.append(deviation)
        moved = (mean + torch.stack(moments, -1)) * self.moment_scale + self.moment_mean
        pooled = torch.linalg.solve_triangular(self.whitening, pooled.T, upper=False).T + self.pooled_mean
        return torch.cat([pooled, moved.flatten(1)], 1)

    def fit(self, codes: Codes, generator: torch.Generator) -> bool:
        rows = torch.randperm(len(codes.mean), generator=generator, device=generator.device)
        held_out_count = round(_HELD_OUT_SHARE * len(rows))
        held_out, learned = rows[:held_out_count], rows[held_out_count:]
        if len(rows) < max(_LEAST_CODES, _LEAST_CODES_A_NUMBER * self.pooled):
            return False
        before, best_state = copy.deepcopy(self.state_dict()), None
        held_out_codes = codes.rows(held_out).sample(generator)
        best = self.log_prob(held_out_codes).mean()
        if not self._standardise(codes):
            return False
        for parameter in self.net[-1].parameters():
            nn.init.zeros_(parameter)
        optimizer = torch.optim.Adam(self.parameters(), lr=_FIT_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _FIT_STEPS + 1)
        for step in range(_FIT_STEPS + 1):
            if step % _HELD_OUT_EVERY == 0:
                found = self.log_prob(held_out_codes).mean()
                if torch.isfinite(found) and not found <= best:  # what was learned may be too far off for a number
                    best, best_state = found, copy.deepcopy(self.state_dict())
            batch = torch.randint(len(learned), (_FIT_BATCH,), generator=generator, device=generator.device)
            optimizer.zero_grad()
            with torch.enable_grad():
                drawn = codes.rows(learned[batch]).sample(generator)
                (-self.log_prob(drawn).mean() / self.shape[0]).backward()
            optimizer.step()
            schedule.step()
        self.load_state_dict(before if best_state is None else best_state)
        return best_state is not None

    def _standardise(self, codes: Codes) -> bool:
        """Takes mean and covariance of pooled numbers and moments from all codes; False where they do not vary."""
        mean, variance = codes.mean.double(), codes.variance.double()
        pooled, moments = self._split(mean)
        pooled_variance, moment_variance = self._split(variance)
        covariance = torch.cov(pooled.T).reshape(self.pooled, self.pooled) + torch.diag(pooled_variance.mean(0))
        identity = torch.eye(self.pooled, dtype=torch.double, device=mean.device)
        triangle, failed = torch.linalg.cholesky_ex(covariance)
        variances = moments.var((0, 2), correction=0) + moment_variance.mean((0, 2))
        if failed or not (torch.isfinite(triangle).all() and (variances > _LEAST_VARIANCE).all()):
            return False
        whitening = torch.linalg.solve_triangular(triangle, identity, upper=False)
        self.pooled_mean.copy_(pooled.mean(0))
        self.whitening.copy_(whitening)
        self.moment_mean.copy_(moments.mean((0, 2))[:, None])
        self.moment_scale.copy_(variances.sqrt()[:, None])
        return True

    def _identity(self) -> dict[str, Tensor]:
        """The buffers that leave codes as they are."""
        return {
            "pooled_mean": torch.zeros(self.pooled),
            "whitening": torch.eye(self.pooled),
            "moment_mean": torch.zeros(self.numbers, 1),
            "moment_scale": torch.ones(self.numbers, 1),
        }

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Models stored before priors were fitted afterwards lack the buffers."""
        for name, value in self._identity().items():
            state_dict.setdefault(prefix + name, value)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _to_base(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Standard-normal numbers, and the logarithm of the scales they were divided by, summed."""
        pooled, moments = self._split(z.float())
        pooled = (pooled - self.pooled_mean) @ self.whitening.T
        mean, log_first, log_scale, memory = self._expected(pooled)
        deviation = (moments - self.moment_mean) / self.moment_scale - mean
        first = deviation[..., :1] * torch.exp(-log_first)[..., None]
        later = (deviation[..., 1:] - memory[..., None] * deviation[..., :-1]) * torch.exp(-log_scale)[..., None]
        base = torch.cat([pooled, torch.cat([first, later], -1).flatten(1)], 1)
        log_scales = self.moments * self.moment_scale.log().sum() - self.whitening.diagonal().log().sum()
        return base, log_first.sum(1) + (self.moments - 1) * log_scale.sum(1) + log_scales

    def _split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled `(batch, pooled)` and moments `(batch, numbers, moments)`."""
        return z[:, : self.pooled], z[:, self.pooled :].unflatten(1, (self.numbers, self.moments))

    def _expected(self, pooled: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of whitened pooled numbers: means `(batch, numbers, moments)`, log scales of first and later ones, memory."""
        predicted = self.net(pooled).float().unflatten(1, (self.BASES + 3, self.numbers))
        mean = torch.einsum("bkn,kt->bnt", predicted[:, : self.BASES], self.bases)
        raw_first, raw_scale, raw_memory = predicted[:, self.BASES :].unbind(1)
        log_first, log_scale = (
            self._LARGEST_LOG_SCALE * torch.tanh(raw / self._LARGEST_LOG_SCALE) for raw in (raw_first, raw_scale - 0.5)
        )
        return mean, log_first, log_scale, torch.tanh(raw_memory + 1.0)


PRIORS: dict[str, type[Prior]] = {"standard": StandardPrior, "flow": FlowPrior, "mixture": MixturePrior}
