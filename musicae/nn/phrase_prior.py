"""`PhrasePrior`: codes of phrases in a row, each given others, in any order.

Two bars of a tune say a lot about the next two: its key, its rhythms, and often all of it. So the code of a phrase is
predicted from codes that are known. Each code is first brought to the space in which the codes of single phrases are
normal (a flow, as a model of one phrase has it). There a Transformer with causal attention gives mean and deviation of
one phrase after the other. In training half of the pieces are taken in a random order (Uria et al., 2014, "A Deep and
Tractable Density Estimator"), so that one network goes on with a piece, and fills in phrases whose neighbours on both
sides are known.

The map to base codes is that of the natural order: base codes are standard normal, and paths are drawn among them.
"""

from typing import cast

import torch
from torch import Tensor, nn

from musicae.nn.layers import CausalAttentionBlock, draw_rows
from musicae.nn.prior import FlowPrior, Prior, standard_log_prob
from musicae.precision import in_float32

_LARGEST_LOG_SCALE = 4.0


class PhrasePrior(Prior):
    """p(z) of codes `(phrases · size,)`, the phrases one after the other.

    Args:
        shape: of one code.
        phrases: how many.
        width, blocks, dropout: of the Transformer.
    """

    joins_codes = True
    HEADS = 8

    def __init__(
        self, shape: tuple[int, ...], *, phrases: int, width: int = 256, blocks: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__(shape)
        self.phrases, self.size = phrases, shape[0] // phrases
        self.phrase = FlowPrior((self.size,))
        self.known = nn.Linear(self.size, width)
        self.nothing = nn.Parameter(torch.randn(width).mul_(0.02))
        self.known_position = nn.Parameter(torch.randn(phrases, width).mul_(0.02))
        self.asked_position = nn.Parameter(torch.randn(phrases, width).mul_(0.02))
        self.blocks = nn.Sequential(*(CausalAttentionBlock(width, self.HEADS, dropout) for _ in range(blocks)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * self.size))
        for parameter in self.head[-1].parameters():
            nn.init.zeros_(parameter)

    @in_float32
    def log_prob(self, z: Tensor) -> Tensor:
        return self._each(z, self._order(z.shape[0], z.device)).sum(1)

    @in_float32
    def to_base(self, z: Tensor) -> Tensor:
        codes, _ = self._single(z)
        mean, log_scale = self._expected(codes, self._natural(z.shape[0], z.device))
        return ((codes - mean) * torch.exp(-log_scale)).flatten(1)

    @in_float32
    def from_base(self, base: Tensor) -> Tensor:
        noise = base.unflatten(1, (self.phrases, self.size))
        return self._completed(noise, torch.zeros_like(noise), self._natural(base.shape[0], base.device), 0)

    @in_float32
    def completed(self, z: Tensor, unknown: Tensor, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
        """Draws the codes of some phrases, given all the others.

        Args:
            z: `(batch, phrases · size)`; what stands in place of unknown phrases is not looked at.
            unknown: bool `(phrases,)`.
            generator: of the draws.
            temperature: of their deviation.

        Returns:
            `(batch, phrases · size)`, the known ones as they were.
        """
        order = torch.cat([(~unknown).nonzero()[:, 0], unknown.nonzero()[:, 0]]).to(z.device)
        codes, _ = self._single(z)
        known = int((~unknown).sum())
        noise = torch.randn(codes.shape, generator=generator, device=z.device) * temperature
        drawn = self._completed(noise, codes[:, order], order.expand(len(z), -1), known)
        keeps = (~unknown).repeat_interleave(self.size).to(z.device)
        return torch.where(keeps, z, drawn)

    @in_float32
    def log_prob_given(self, z: Tensor, asked: Tensor, known: Tensor) -> Tensor:
        """log p of the codes of some phrases given those of others, in nats, `(batch,)`.

        Args:
            z: `(batch, phrases · size)`.
            asked, known: bool `(phrases,)` each; no phrase is both, and what is neither is not looked at.
        """
        parts = (known, asked, ~(known | asked))
        order = torch.cat([part.nonzero()[:, 0] for part in parts]).to(z.device).expand(len(z), -1)
        first = int(known.sum())
        return self._each(z, order)[:, first : first + int(asked.sum())].sum(1)

    def _each(self, z: Tensor, order: Tensor) -> Tensor:
        """log p of each phrase given those before it, in the order, `(batch, phrases)`."""
        codes, log_determinant = self._single(z)
        codes = codes.gather(1, order.unsqueeze(-1).expand_as(codes))
        mean, log_scale = self._expected(codes, order)
        base = (codes - mean) * torch.exp(-log_scale)
        each = standard_log_prob(base.flatten(0, 1)).view_as(order) - log_scale.sum(2)
        return each + log_determinant.gather(1, order)

    def _completed(self, noise: Tensor, codes: Tensor, order: Tensor, known: int) -> Tensor:
        """Fills in phrases from the `known`-th of an order on; codes `(batch, phrases, size)` in that order."""
        memories: list[list[Tensor]] = [[] for _ in self.blocks]
        made = list(codes[:, :known].unbind(1))
        for place in range(self.phrases):
            x = (self.asked_position[order[:, place]] + self._before(made, order, place)).unsqueeze(1)
            for block, memory in zip(self.blocks, memories, strict=True):
                x = cast(CausalAttentionBlock, block).step(x, memory)
            if place >= known:
                mean, log_scale = self._mean_and_scale(x[:, 0])
                made.append(mean + log_scale.exp() * noise[:, place])
        codes = torch.stack(made, 1)
        natural = torch.zeros_like(codes).scatter(1, order.unsqueeze(-1).expand_as(codes), codes)
        return self.phrase.from_base(natural.flatten(0, 1)).view(codes.shape[0], -1)

    def _before(self, made: list[Tensor], order: Tensor, place: int) -> Tensor:
        """What stands before a place of an order, `(batch, width)`."""
        if place == 0:
            return self.nothing
        return self.known(made[place - 1]) + self.known_position[order[:, place - 1]]

    def _single(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Each phrase's code where single ones are normal, `(batch, phrases, size)`, and its log |det|."""
        flat = z.float().reshape(-1, self.size)
        base, log_determinant = self.phrase.forward_with_log_determinant(flat)
        return base.view(z.shape[0], self.phrases, self.size), log_determinant.view(z.shape[0], -1)

    def _natural(self, rows: int, device: torch.device) -> Tensor:
        return torch.arange(self.phrases, device=device).expand(rows, -1)

    def _order(self, rows: int, device: torch.device) -> Tensor:
        """The order in which phrases are taken, `(rows, phrases)`: in training half of the rows have a random one."""
        natural = self._natural(rows, device)
        if not self.training:
            return natural
        keys = draw_rows(lambda shape: torch.rand(shape, device=device), (rows, self.phrases + 1))
        return torch.where(keys[:, :1] < 0.5, keys[:, 1:].argsort(1), natural)

    def _expected(self, codes: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of each phrase given those before it, `(batch, phrases, size)` each, in the order."""
        before = self.known(codes[:, :-1]) + self.known_position[order[:, :-1]]
        start = self.nothing.expand(codes.shape[0], 1, -1)
        given = torch.cat([start, before], 1) + self.asked_position[order]
        return self._mean_and_scale(self.blocks(given))

    def _mean_and_scale(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """`(…, width)` → mean and log scale, `(…, size)` each."""
        mean, raw = self.head(hidden).float().chunk(2, -1)
        return mean, _LARGEST_LOG_SCALE * torch.tanh(raw / _LARGEST_LOG_SCALE)
