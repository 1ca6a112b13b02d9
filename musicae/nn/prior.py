"""Priors: p(z), the distribution that codes are compared with and drawn from.

The usual prior is a standard normal. A learned prior follows the codes' own distribution, so the same codes cost fewer
bits: a normalising flow (RealNVP: Dinh et al., 2017) or a mixture of Gaussians, trained with the model by the same
loss; or an autoregression over a sequence, which is also fitted to the codes of the trained model (ex-post density
estimation: Ghosh et al., 2020, "From variational to deterministic autoencoders"). A prior knows no encoder, no decoder,
and no class of posteriors.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from musicae.nn.autoregression import Autoregression
from musicae.precision import in_float32

_LOG_2_PI = math.log(2 * math.pi)


class Codes(Protocol):
    """What a prior needs of q(z | x): factorised Gaussians over codes, one for each example."""

    @property
    def mean(self) -> Tensor:
        """`(batch, *shape)`."""

    @property
    def variance(self) -> Tensor:
        """The shape of `mean`."""

    def rows(self, index: Tensor) -> Self:
        """The Gaussians of some examples; `index` is int64 `(examples,)`."""

    def numbers(self, chosen: slice) -> Self:
        """The Gaussians of some of the numbers of vectors."""

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw from each, `(batch, *shape)`."""

    def entropy(self) -> Tensor:
        """Entropy in nats, `(batch,)`."""

    def kl(self) -> Tensor:
        """KL(q ‖ N(0, I)) in nats for every number, the shape of `mean`."""


# For priors that are fitted after training.
_FIT_STEPS, _FIT_BATCH, _FIT_RATE = 600, 64, 5e-3
# With fewer codes the covariance is not that of other codes.
_LEAST_CODES, _LEAST_CODES_A_NUMBER = 20, 5
_LEAST_VARIANCE = 1e-6
_HELD_OUT_SHARE = 0.1  # of the codes, to choose the best step on
_HELD_OUT_EVERY = 50


class Prior(nn.Module, ABC):
    """A density over latent codes `(batch, *shape)`.

    Args:
        shape: of one code.
    """

    is_fitted_afterwards: ClassVar[bool] = False
    """Whether it is fitted to the codes once training has ended, since training moves the codes away from it."""

    has_normal_base: ClassVar[bool] = True
    """Whether codes in the base space are (nearly) standard normal."""

    joins_codes: ClassVar[bool] = False
    """Whether it predicts codes in a row from others, and has `completed`."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) in nats, `(batch, *shape)` → `(batch,)`."""

    @abstractmethod
    def to_base(self, z: Tensor) -> Tensor:
        """Codes → the base space, where paths are drawn and the prior is (nearly) a standard normal; same shape."""

    @abstractmethod
    def from_base(self, base: Tensor) -> Tensor:
        """The inverse of `to_base`."""

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws codes in the base space, `(count, *shape)`, on the generator's device."""
        return torch.randn(count, *self.shape, generator=generator, device=generator.device)

    def fit(self, codes: Codes, generator: torch.Generator) -> bool:
        """Fits the prior to the codes of a trained model; does nothing unless it `is_fitted_afterwards`.

        Args:
            codes: the posteriors of all training examples.
            generator: for draws from them, on the same device.

        Returns:
            Whether the prior changed. It does not if there are too few codes, or if the learned one fits them better.
        """
        del codes, generator
        return False

    def kl(self, codes: Codes, z: Tensor) -> Tensor:
        """KL(q ‖ p) in nats, `(batch,)`: the entropy of q is exact, -log p is taken at one draw z of q."""
        return -codes.entropy() - self.log_prob(z)

    def kl_parts(self, codes: Codes, z: Tensor) -> dict[str, Tensor]:
        """The KL of each part of a code that has several, by name; none else."""
        del codes, z
        return {}


def standard_log_prob(z: Tensor) -> Tensor:
    """log N(z; 0, I) in nats, `(batch, ...)` → `(batch,)`."""
    return -0.5 * (z.pow(2) + _LOG_2_PI).flatten(1).sum(1)


class StandardPrior(Prior):
    """N(0, I)."""

    def log_prob(self, z: Tensor) -> Tensor:
        return standard_log_prob(z)

    def kl(self, codes: Codes, z: Tensor) -> Tensor:
        """In closed form (Kingma & Welling, 2014, appendix B); z is not used."""
        del z
        return codes.kl().flatten(1).sum(1)

    def to_base(self, z: Tensor) -> Tensor:
        return z

    def from_base(self, base: Tensor) -> Tensor:
        return base


class AffineCoupling(nn.Module):
    """Permutes the numbers; then one half of them scales and shifts the other (Dinh et al., 2017, equations 7 and 8).

    The last layer starts at zero, so that the flow starts as a permutation. Scales are bounded smoothly by e^±2.
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

    def check_weights(self) -> None:
        """Raises `ValueError` where the order is no permutation, as in a damaged checkpoint."""
        if not torch.equal(self.order.sort().values, torch.arange(len(self.order), device=self.order.device)):
            raise ValueError("the order of a flow's numbers is no permutation")

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

    @in_float32
    def log_prob(self, z: Tensor) -> Tensor:
        base, log_determinant = self.forward_with_log_determinant(z)
        return log_determinant + standard_log_prob(base)

    @in_float32
    def to_base(self, z: Tensor) -> Tensor:
        return self.forward_with_log_determinant(z)[0].view_as(z)

    @in_float32
    def from_base(self, base: Tensor) -> Tensor:
        z = base.flatten(1)
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, AffineCoupling)
            z = coupling.inverse(z)
        return z.view_as(base)

    def forward_with_log_determinant(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """`(batch, *shape)` → base codes `(batch, numbers)`, and log |det| of the map's Jacobian, `(batch,)`."""
        base = z.flatten(1)
        log_determinant = torch.zeros(z.shape[0], device=z.device)
        for coupling in self.couplings:
            base, added = coupling(base)
            log_determinant = log_determinant + added
        return base, log_determinant


class MixturePrior(Prior):
    """A mixture of `COMPONENTS` Gaussians with diagonal covariances (Dilokthanakul et al., 2016, have one too)."""

    has_normal_base = False
    COMPONENTS = 64

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(shape)
        numbers = math.prod(shape)
        generator = torch.Generator().manual_seed(0)
        # Random, or all components would learn the same.
        self.mean = nn.Parameter(torch.randn(self.COMPONENTS, numbers, generator=generator).mul_(0.5))
        self.log_sigma = nn.Parameter(torch.zeros(self.COMPONENTS, numbers))
        self.weight_logits = nn.Parameter(torch.zeros(self.COMPONENTS))

    @in_float32
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
    """For codes of one pooled vector and a sequence of vectors, the moments: an autoregression given the pooled one.

    The pooled numbers are normal, and moments follow them (`Autoregression`).

    Args:
        shape: shape of one code, `(pooled + moments · numbers,)`: pooled numbers, then `(numbers, moments)` flattened.
        pooled: how many numbers are pooled.
        moments: length of the sequence.
    """

    is_fitted_afterwards = True
    pooled_mean: Tensor
    whitening: Tensor
    moment_mean: Tensor
    moment_scale: Tensor

    OPTIONAL_WEIGHTS: ClassVar[tuple[str, ...]] = ("pooled_mean", "whitening", "moment_mean", "moment_scale")
    """Buffers that models lack which were stored before priors were fitted after training."""

    BASES = 6

    def __init__(self, shape: tuple[int, ...], *, pooled: int, moments: int) -> None:
        super().__init__(shape)
        self.pooled, self.moments = pooled, moments
        self.numbers = (shape[0] - pooled) // moments
        self.sequence = Autoregression(pooled, self.numbers, moments, bases=self.BASES)
        # Mean and scale of all codes; the network predicts pooled numbers and moments brought to mean 0 and scale 1.
        for name, value in self._identity().items():
            self.register_buffer(name, value)

    def check_weights(self) -> None:
        """Raises `ValueError` where a scale is not positive, or the whitening has no inverse."""
        if not (self.moment_scale > 0).all() or not (self.whitening.diagonal() > 0).all():
            raise ValueError("the scales of a fitted prior are not positive")

    @in_float32
    def log_prob(self, z: Tensor) -> Tensor:
        base, log_scale = self._to_base(z)
        return standard_log_prob(base) - log_scale

    @in_float32
    def to_base(self, z: Tensor) -> Tensor:
        return self._to_base(z)[0]

    @in_float32
    def from_base(self, base: Tensor) -> Tensor:
        pooled, noise = self._split(base)
        return self.from_standardised(pooled, self.sequence.from_base(noise, pooled))

    def moments_from_base(self, base: Tensor) -> Tensor:
        """The moments of `from_base`, `(batch, numbers, moments)`."""
        pooled, noise = self._split(base)
        return self.sequence.from_base(noise, pooled) * self.moment_scale + self.moment_mean

    @in_float32
    def standardised(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of mean 0 and scale 1: pooled numbers `(batch, pooled)` and moments `(batch, numbers, moments)`."""
        pooled, moments = self._split(z.float())
        return (pooled - self.pooled_mean) @ self.whitening.T, (moments - self.moment_mean) / self.moment_scale

    @in_float32
    def from_standardised(self, pooled: Tensor, moments: Tensor) -> Tensor:
        """The inverse of `standardised`."""
        own = torch.linalg.solve_triangular(self.whitening, pooled.T, upper=False).T + self.pooled_mean
        return torch.cat([own, (moments * self.moment_scale + self.moment_mean).flatten(1)], 1)

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
        for parameter in self.sequence.net[-1].parameters():
            nn.init.zeros_(parameter)
        optimizer = torch.optim.Adam(self.parameters(), lr=_FIT_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _FIT_STEPS + 1)
        for step in range(_FIT_STEPS + 1):
            if step % _HELD_OUT_EVERY == 0:
                found = self.log_prob(held_out_codes).mean()
                if torch.isfinite(found) and not found <= best:  # the learned prior may give no finite number
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
        """Sets mean and covariance to those of all codes; returns False, and sets nothing, if the codes do not vary."""
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
        """Buffers with which codes are not changed."""
        return {
            "pooled_mean": torch.zeros(self.pooled),
            "whitening": torch.eye(self.pooled),
            "moment_mean": torch.zeros(self.numbers, 1),
            "moment_scale": torch.ones(self.numbers, 1),
        }

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        """Adds the buffers that a former checkpoint lacks."""
        if any(prefix + name not in state_dict for name in self.OPTIONAL_WEIGHTS):
            for name, value in self._identity().items():
                state_dict.setdefault(prefix + name, value)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _to_base(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Standard-normal numbers, and the summed logarithms of the scales that they were divided by, `(batch,)`."""
        pooled, moments = self.standardised(z)
        noise, log_scale = self.sequence.to_base(moments, pooled)
        log_scales = self.moments * self.moment_scale.log().sum() - self.whitening.diagonal().log().sum()
        return torch.cat([pooled, noise.flatten(1)], 1), log_scale + log_scales

    def _split(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled `(batch, pooled)` and moments `(batch, numbers, moments)`."""
        return z[:, : self.pooled], z[:, self.pooled :].unflatten(1, (self.numbers, self.moments))


class JointPrior(Prior):
    """Of codes with several parts that know nothing of each other, one behind the other: each has its own prior.

    Args:
        parts: name → prior of a vector.
    """

    def __init__(self, parts: Mapping[str, Prior]) -> None:
        super().__init__((sum(part.shape[0] for part in parts.values()),))
        self.parts = nn.ModuleDict(parts)

    def log_prob(self, z: Tensor) -> Tensor:
        return torch.stack([part.log_prob(own) for part, own in self._each(z)]).sum(0)

    def to_base(self, z: Tensor) -> Tensor:
        return torch.cat([part.to_base(own) for part, own in self._each(z)], 1)

    def from_base(self, base: Tensor) -> Tensor:
        return torch.cat([part.from_base(own) for part, own in self._each(base)], 1)

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.cat([part.sample_base(count, generator) for part in self._priors()], 1)

    def kl_parts(self, codes: Codes, z: Tensor) -> dict[str, Tensor]:
        """The KL of each part by name, in nats, `(batch,)` each; together they are that of the whole."""
        drawn, found, first = self._split(z), {}, 0
        for name, part, own in zip(self.parts, self._priors(), drawn, strict=True):
            found[name] = part.kl(codes.numbers(slice(first, first + own.shape[1])), own)
            first += own.shape[1]
        return found

    def kl(self, codes: Codes, z: Tensor) -> Tensor:
        """The sum of the parts'."""
        return torch.stack(list(self.kl_parts(codes, z).values())).sum(0)

    def _priors(self) -> list[Prior]:
        return [part for part in self.parts.values() if isinstance(part, Prior)]

    def _split(self, z: Tensor) -> tuple[Tensor, ...]:
        return z.split([part.shape[0] for part in self._priors()], 1)

    def _each(self, z: Tensor) -> Iterator[tuple[Prior, Tensor]]:
        return zip(self._priors(), self._split(z), strict=True)


PRIORS: dict[str, type[Prior]] = {"standard": StandardPrior, "flow": FlowPrior, "mixture": MixturePrior}
