"""Discrete latents: a code is a row of tokens, each one entry of a codebook.

`FSQLatent` rounds every number to one of a few levels (Mentzer et al., 2024, "Finite Scalar Quantization: VQ-VAE Made
Simple", arXiv 2309.15505); the codebook is all combinations, and nothing of it is learned. `VQLatent` takes the nearest
of learned vectors (van den Oord et al., 2017, "Neural Discrete Representation Learning"), which follow the encoder's
output as moving averages (Razavi et al., 2019, "Generating Diverse High-Fidelity Images with VQ-VAE-2", appendix A.2).
Gradients pass the rounding as if it were not there.

The code of an example is certain, so its KL is −log p(z): with the uniform prior, tokens times the logarithm of the
codebook's size. That is what a code takes to store, in nats, as the KL of other latents is. What draws tokens better
than uniformly is `musicae.nn.token_prior`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from musicae.nn.latent import Latent, Posterior, PriorFactory
from musicae.nn.layers import one_hot, summed_over_processes
from musicae.precision import in_float32

MOST_ENTRIES = 65_536
"""Of a codebook."""
_DECAY = 0.99
"""Of the moving averages that make up a learned codebook."""
_LEAST_USE = 0.02
"""An entry is dead where it is taken less than this often, of what it would be if all were taken alike."""
_COMMITMENT = 0.25
"""Weight of the distance of the encoder's output from its entry (van den Oord et al., 2017, equation 3)."""
_SMALLEST = 1e-5


@dataclass(frozen=True)
class Quantised(Posterior):
    """A code that is certain: its probability is 1.

    Attributes:
        mean: the code, of entries of the codebook.
        distance: squared distance of what was quantised from the code, `(batch,)`; None where nothing learns from it.
    """

    distance: Tensor | None = None

    def entropy(self) -> Tensor:
        return self.mean.new_zeros(len(self.mean))

    def log_prob(self, z: Tensor) -> Tensor:
        return z.new_zeros(len(z))


class DiscreteLatent(Latent):
    """Base of the discrete latents, vectors or grids; each token is a few neighbouring numbers of a code.

    Args:
        shape: of one code, `(size,)` or `(size, height, width)`.
        entries: of the codebook.
        token_numbers: numbers of a token; `size` is a multiple of it.
    """

    outputs_per_number = 1
    is_generative = True
    has_density = True

    def __init__(self, shape: tuple[int, ...], *, entries: int, token_numbers: int) -> None:
        nn.Module.__init__(self)
        if shape[0] % token_numbers:
            raise ValueError(f"latent_size is a multiple of the {token_numbers} numbers of a token, got {shape[0]}")
        self.shape = shape
        self.entries, self.token_numbers = entries, token_numbers
        self.tokens = math.prod(shape) // token_numbers
        """Tokens of a code."""

    @property
    def can_refine(self) -> bool:
        return False

    def _entry(self, numbers: Tensor) -> Tensor:
        """`(rows, token_numbers)` → the nearest entry of each, int64 `(rows,)`."""
        raise NotImplementedError

    def _numbers(self, entry: Tensor) -> Tensor:
        """int64 `(…)` → the numbers of each entry, `(…, token_numbers)`."""
        raise NotImplementedError

    def to_tokens(self, z: Tensor) -> Tensor:
        """Codes `(batch, *shape)` → the nearest tokens, int64 `(batch, tokens)`; of a grid cell by cell, row by row."""
        rows = self._rows(z)
        return self._entry(rows.flatten(0, 1)).view(len(z), -1)

    def of_tokens(self, tokens: Tensor) -> Tensor:
        """int64 `(batch, tokens)` → codes `(batch, *shape)`."""
        return self._code(self._numbers(tokens))

    def _rows(self, z: Tensor) -> Tensor:
        """`(batch, *shape)` → `(batch, tokens, token_numbers)`."""
        return z.reshape(len(z), self.shape[0], -1).transpose(1, 2).reshape(len(z), -1, self.token_numbers)

    def _code(self, rows: Tensor) -> Tensor:
        """The inverse of `_rows`."""
        return rows.reshape(len(rows), -1, self.shape[0]).transpose(1, 2).reshape(len(rows), *self.shape)

    def kl(self, posterior: Posterior, z: Tensor) -> Tensor:
        del posterior
        return -self.log_prob(z)

    def log_prob(self, z: Tensor) -> Tensor:
        """Of the uniform prior over all codes, whatever the code."""
        return z.new_full((len(z),), -self.tokens * math.log(self.entries))

    def sample_base(self, count: int, generator: torch.Generator) -> Tensor:
        """Standard normal numbers, from which `of_noise` or a second stage chooses tokens."""
        return torch.randn(count, *self.shape, generator=generator, device=generator.device)

    def noise_of_tokens(self, base: Tensor) -> Tensor:
        """`(batch, *shape)` → one standard normal number for each token, `(batch, tokens)`."""
        return self._rows(base)[..., 0]

    def of_noise(self, base: Tensor) -> Tensor:
        """Tokens that are all alike probable."""
        share = torch.special.ndtr(self.noise_of_tokens(base).float())
        return self.of_tokens((share * self.entries).long().clamp_max(self.entries - 1))

    def to_base(self, z: Tensor) -> Tensor:
        return z

    def from_base(self, base: Tensor) -> Tensor:
        """The nearest code: what lies between two codes on a path is none itself."""
        return self.of_tokens(self.to_tokens(base))


def _straight_through(rows: Tensor, quantised: Tensor) -> Tensor:
    """The quantised numbers to the bit, with the gradient of what was quantised (Bengio et al., 2013)."""
    return quantised.detach() + (rows - rows.detach())


class FSQLatent(DiscreteLatent):
    """Finite scalar quantisation: each number of a token is one of a few levels, evenly spaced from −1 to 1.

    Args:
        shape: as in `DiscreteLatent`.
        levels: of the numbers of a token, at least 2 each.
    """

    level: Tensor
    basis: Tensor

    def __init__(self, shape: tuple[int, ...], levels: Sequence[int]) -> None:
        if math.prod(levels) > MOST_ENTRIES:
            raise ValueError(f"levels make a codebook of at most {MOST_ENTRIES} entries; take fewer or smaller ones")
        super().__init__(shape, entries=math.prod(levels), token_numbers=len(levels))
        places = torch.tensor([1, *levels[:-1]], device="cpu").cumprod(0)
        self.register_buffer("level", torch.tensor(levels, device="cpu"), persistent=False)
        self.register_buffer("basis", places, persistent=False)

    @classmethod
    def build(cls, shape: tuple[int, ...], prior: PriorFactory, config: Any, *, restores: bool) -> Self:
        del prior, restores
        return cls(shape, config.levels)

    def forward(self, projected: Tensor) -> Posterior:
        rows = self._bounded(self._rows(projected.float()))
        return Quantised(self._code(_straight_through(rows, self._rounded(rows))))

    def _bounded(self, rows: Tensor) -> Tensor:
        """Any numbers → ±L / (L − 1) for L levels, so that each is the nearest for an equal share of the range."""
        return torch.tanh(rows) * (self.level / (self.level - 1.0))

    def _rounded(self, rows: Tensor) -> Tensor:
        return self._number_of(self._index_of(rows))

    def _index_of(self, rows: Tensor) -> Tensor:
        """Nearest levels, int64."""
        steps = (self.level - 1).to(rows.dtype)
        index = ((rows + 1) * 0.5 * steps).round().clamp_min(0)
        return torch.minimum(index, steps).long()

    def _number_of(self, index: Tensor) -> Tensor:
        return 2.0 * index / (self.level - 1) - 1.0

    def _entry(self, numbers: Tensor) -> Tensor:
        return (self._index_of(numbers) * self.basis).sum(-1)

    def _numbers(self, entry: Tensor) -> Tensor:
        return self._number_of(entry.unsqueeze(-1) // self.basis % self.level)


class VQLatent(DiscreteLatent):
    """Vector quantisation with a learned codebook, which all tokens share.

    In training the entries move towards the means of what is nearest to them, and one that hardly anything is nearest
    to is put where an example is.

    Args:
        shape: as in `DiscreteLatent`.
        entries: of the codebook.
        token_numbers: numbers of a token.
    """

    codebook: Tensor
    use: Tensor
    sums: Tensor
    has_penalty = True

    def __init__(self, shape: tuple[int, ...], entries: int, token_numbers: int) -> None:
        super().__init__(shape, entries=entries, token_numbers=token_numbers)
        # Nothing is taken yet, so all entries are dead, and the first batch puts them where its examples are.
        self.register_buffer("codebook", torch.zeros(entries, token_numbers, device="cpu"))
        self.register_buffer("use", torch.zeros(entries, device="cpu"))
        self.register_buffer("sums", torch.zeros(entries, token_numbers, device="cpu"))

    @classmethod
    def build(cls, shape: tuple[int, ...], prior: PriorFactory, config: Any, *, restores: bool) -> Self:
        del prior, restores
        return cls(shape, config.entries, config.token_numbers)

    def forward(self, projected: Tensor) -> Posterior:
        rows = self._rows(projected.float())
        flat = rows.flatten(0, 1)
        entry = self._entry(flat.detach())
        nearest = self._numbers(entry).view_as(rows)
        if self.training and torch.is_grad_enabled():
            self._follow(flat.detach(), entry)
        distance = (rows - nearest).square().flatten(1).sum(1)
        return Quantised(self._code(_straight_through(rows, nearest)), distance=distance)

    def penalty(self, posterior: Posterior, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What holds the encoder's output near its entries, `(batch,)`."""
        del generator
        distance = posterior.distance if isinstance(posterior, Quantised) else None
        return z.new_zeros(len(z)) if distance is None else _COMMITMENT * distance

    @torch.no_grad()
    @in_float32
    def _follow(self, rows: Tensor, entry: Tensor) -> None:
        """Moves the codebook towards `(rows, token_numbers)`, and revives entries that are not taken."""
        ones = one_hot(entry, self.entries, dtype=rows.dtype)
        found = summed_over_processes(torch.cat([ones.sum(0)[:, None], ones.T @ rows], 1))
        self.use.lerp_(found[:, 0], 1 - _DECAY)
        self.sums.lerp_(found[:, 1:], 1 - _DECAY)
        usual = self.use.mean()
        is_dead = self.use < _LEAST_USE * usual
        # Evenly spread over the batch, which is in random order. Several processes share the buffers of the first.
        instead = rows[torch.arange(self.entries, device=rows.device) * len(rows) // self.entries]
        self.use.copy_(torch.where(is_dead, usual, self.use))
        self.sums.copy_(torch.where(is_dead[:, None], usual * instead, self.sums))
        self.codebook.copy_(self.sums / self.use.clamp_min(_SMALLEST)[:, None])

    @in_float32
    def _entry(self, numbers: Tensor) -> Tensor:
        middle = self.codebook.mean(0)  # far from it, differences of squares would be rounded
        numbers, entries = numbers - middle, self.codebook - middle
        return (entries.square().sum(1) - 2 * numbers @ entries.T).argmin(1)

    def _numbers(self, entry: Tensor) -> Tensor:
        return self.codebook[entry]
