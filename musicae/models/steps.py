"""`StepsAutoencoder`: symbolic music, int64 `(batch, steps, streams)`.

The encoder is one wide residual MLP over all steps at once; the decoder unrolls z into one feature a
step, and a causal stack joins it with the symbols before. Both are few and wide matrix products. In
training the symbols before are the target's (teacher forcing), a few of them replaced at random, so
that the decoder leans on z and recovers from its own mistakes (Bowman et al., 2016, word dropout).
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from musicae.models.autoencoder import Autoencoder, ModelConfig
from musicae.nn.dense import ResidualMLP
from musicae.nn.latent import Posterior
from musicae.nn.sequence import CausalStack, SymbolEmbedding
from musicae.spec import TensorSpec


class StepsConfig(ModelConfig):
    """Sizes of the default music model."""

    latent_size: int = Field(default=256, ge=1, le=65536)
    embedding: int = Field(default=48, ge=1)  # numbers a symbol is embedded in, for the encoder
    width: int = Field(default=768, ge=1)  # of the MLPs that see all steps
    depth: int = Field(default=1, ge=0)  # residual blocks in each of them
    unrolled: int = Field(default=64, ge=1)  # numbers that z is unrolled to for each step
    step_width: int = Field(default=128, ge=1)  # of the causal stack
    replaced: float = Field(default=0.1, ge=0.0, le=1.0)  # share of earlier symbols replaced in training
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)  # in the MLPs


class StepsAutoencoder(Autoencoder):
    """The default model of the `steps` layout."""

    config: StepsConfig

    def __init__(self, spec: TensorSpec, config: StepsConfig) -> None:
        super().__init__(spec, config)
        steps, _ = spec.shape
        self.steps = steps
        self.seen = SymbolEmbedding(spec.vocabulary, config.embedding)
        self.encoder = ResidualMLP(
            steps * config.embedding,
            config.width,
            config.latent_size * self.latent.outputs_per_number,
            config.depth,
            dropout=config.dropout,
        )
        self.unroll = ResidualMLP(
            config.latent_size, config.width, steps * config.unrolled, config.depth, dropout=config.dropout
        )
        self.widen = nn.Linear(config.unrolled, config.step_width)
        self.before = SymbolEmbedding(spec.vocabulary, config.step_width)
        self.causal = CausalStack(config.step_width, reach=steps)
        self.head = nn.Sequential(nn.LayerNorm(config.step_width), nn.Linear(config.step_width, self.likelihood.width))

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent_size,)

    @property
    def autoregressive(self) -> bool:
        return True

    def encode(self, x: Tensor) -> Posterior:
        self.spec.check(x.shape)
        return self.latent(self.encoder(self.seen(x).flatten(1)))

    def teacher_forced(self, z: Tensor, target: Tensor) -> Tensor:
        """Logits `(batch, steps, vocabulary sizes summed)`, each step given z and the target before it."""
        before = self.before.previous(target)
        if self.training and self.config.replaced > 0:
            before = self._replace_some(before)
        return self.head(self.causal(self._features(z) + self.before(before)))

    def decode(self, z: Tensor, *, temperature: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """z → symbols, one step after the other, each given the symbols decoded before it."""
        features = self._features(z)
        symbols = self.before.start.expand(z.shape[0], -1)
        memory = self.causal.start()
        decoded = []
        for step in range(self.steps):
            hidden = self.causal.step(features[:, step] + self.before(symbols), memory)
            logits = self.head(hidden).float().unsqueeze(1)
            if temperature == 0:
                symbols = self.likelihood.mode(logits).squeeze(1)
            else:
                symbols = self.likelihood.sample(logits / temperature, generator).squeeze(1)
            decoded.append(symbols)
        return torch.stack(decoded, dim=1)

    def reconstruct(self, x: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        posterior = self.encode(x)
        return self.decode(posterior.mean if generator is None else posterior.sample(generator))

    def _posterior_and_parameters(
        self, x: Tensor, target: Tensor, generator: torch.Generator | None
    ) -> tuple[Posterior, Tensor]:
        posterior = self.encode(x)
        return posterior, self.teacher_forced(posterior.sample(generator), target)

    def _features(self, z: Tensor) -> Tensor:
        """What z says about each step, `(batch, steps, step_width)`."""
        return self.widen(self.unroll(z).unflatten(1, (self.steps, -1)))

    def _replace_some(self, symbols: Tensor) -> Tensor:
        """Replaces a share of the symbols by others drawn from the same batch, so frequencies stay."""
        other = symbols.flatten(0, 1)[torch.randperm(symbols.shape[0] * symbols.shape[1], device=symbols.device)]
        chosen = torch.rand(symbols.shape[:2], device=symbols.device) < self.config.replaced
        return torch.where(chosen.unsqueeze(-1), other.view_as(symbols), symbols)
