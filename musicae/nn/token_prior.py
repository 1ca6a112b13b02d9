"""`TokenPrior`: a second stage for discrete codes, which learns how probable each token is, given those before it.

It is a Transformer with causal attention (Vaswani et al., 2017), as the priors of VQ-VAE-2 and DALL-E are
autoregressive. It may be asked by a label; then the logits of a draw are extrapolated away from those without (Ho &
Salimans, 2021, "Classifier-Free Diffusion Guidance").
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicae.nn.layers import CausalAttentionBlock, draw_rows
from musicae.precision import in_float32

_UNLABELLED = 0.1
"""Share of the training examples without their label."""


class TokenPrior(nn.Module):
    """p(tokens | label), token by token.

    Args:
        entries: of the codebook.
        tokens: of a code.
        labels: how many there are; 0 for none.
        width, blocks: of the network.
        dropout: share of the MLPs' hidden numbers that is dropped in training.
    """

    HEADS = 8

    def __init__(self, entries: int, tokens: int, *, labels: int, width: int, blocks: int, dropout: float) -> None:
        super().__init__()
        self.entries, self.tokens, self.labels = entries, tokens, labels
        self.of_label = nn.Embedding(labels + 1, width)  # the last one: no label
        self.of_token = nn.Embedding(entries, width)
        self.position = nn.Parameter(torch.randn(tokens, width).mul_(0.02))
        self.blocks = nn.Sequential(*(CausalAttentionBlock(width, self.HEADS, dropout) for _ in range(blocks)))
        self.head_norm, self.head = nn.LayerNorm(width), nn.Linear(width, entries)
        for embedding in (self.of_label, self.of_token):
            nn.init.normal_(embedding.weight, std=0.02)
        for parameter in self.head.parameters():  # all entries are alike probable at first
            nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits of every token, given those before it, `(batch, tokens, entries)`.

        Args:
            tokens: int64 `(batch, tokens)`.
            label: int64 `(batch,)`; None: no label.
        """
        hidden = torch.cat([self._begin(len(tokens), label), self.of_token(tokens[:, :-1])], 1) + self.position
        logits: Tensor = self.head(self.head_norm(self.blocks(hidden)))
        return logits

    def loss(self, tokens: Tensor, label: Tensor | None, generator: torch.Generator | None = None) -> Tensor:
        """-log p(tokens | label) in nats, `(batch,)`; in training some labels are left out.

        Args:
            tokens, label: as in `forward`.
            generator: chooses whose label is left out; None: torch's own.
        """
        if label is not None and self.training:
            chance = draw_rows(
                lambda shape: torch.rand(shape, generator=generator, device=tokens.device), (len(tokens),)
            )
            label = torch.where(chance < _UNLABELLED, self.labels, label)
        return self._cross_entropy(self(tokens, label), tokens)

    @in_float32
    def _cross_entropy(self, logits: Tensor, tokens: Tensor) -> Tensor:
        return F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none").sum(1)

    @torch.no_grad()
    def draw(self, noise: Tensor, label: Tensor | None = None, *, guidance: float = 1.0) -> Tensor:
        """Draws tokens, int64 `(batch, tokens)`.

        Args:
            noise: standard normal numbers `(batch, tokens)`, one for each choice: the nearer to 0, the more probable
                the token, so that noise with less deviation gives safer draws, and none the most probable tokens.
            label: as in `forward`.
            guidance: how far to go from the logits without the label to those with it; 1: the latter.
        """
        rows = len(noise)
        is_guided = label is not None and guidance != 1
        none = torch.full((rows,), self.labels, dtype=torch.int64, device=noise.device)
        asked = none if label is None else label
        hidden = self._begin(2 * rows if is_guided else rows, torch.cat([asked, none]) if is_guided else asked)
        memories: list[list[Tensor]] = [[] for _ in self.blocks]
        share = torch.erf(noise.abs().float() / math.sqrt(2))
        drawn: list[Tensor] = []
        for place in range(self.tokens):
            hidden = hidden + self.position[place]
            for block, memory in zip(self.blocks, memories, strict=True):
                hidden = cast(CausalAttentionBlock, block).step(hidden, memory)
            logits = self.head(self.head_norm(hidden))[:, 0].float()
            if is_guided:
                with_label, without = logits.chunk(2)
                logits = without + guidance * (with_label - without)
            drawn.append(_chosen(logits, share[:, place]))
            hidden = self.of_token(drawn[-1].repeat(2) if is_guided else drawn[-1])[:, None]
        return torch.stack(drawn, 1)

    def _begin(self, rows: int, label: Tensor | None) -> Tensor:
        """What stands before the first token, `(rows, 1, width)`."""
        if label is None:
            label = torch.full((rows,), self.labels, dtype=torch.int64, device=self.position.device)
        return self.of_label(label)[:, None]


def _chosen(logits: Tensor, share: Tensor) -> Tensor:
    """The entry at a share of the whole probability, the most probable ones first: `(batch, entries)` → `(batch,)`."""
    probability, order = logits.softmax(1).sort(1, descending=True)
    place = (probability.cumsum(1) < share[:, None]).sum(1).clamp_max(logits.shape[1] - 1)
    return order.gather(1, place[:, None])[:, 0]
