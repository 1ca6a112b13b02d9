"""`StepsAutoencoder`: symbolic music, int64 `(batch, steps, streams)`, in phrases of two bars.

A phrase is read by one wide residual MLP. Its decoder unrolls a code into one feature a step, and a
causal stack joins that with the symbols before it in the bar; bars are decoded side by side, so that
16 bars take as many steps as one. A piece of one phrase has the phrase's code for its z. In a longer
one, phrases share those layers, look at each other, and are joined into one z; the decoder mirrors
that (the conductor of MusicVAE, Roberts et al., 2018, without its recurrence). The shared layers have
the same names and shapes whatever the length, so that a long model can start from a short one. All of
it is few and wide matrix products.

In training the symbols before are the target's (teacher forcing), a few of them replaced at random,
so that the decoder leans on z and recovers from its own mistakes (Bowman et al., 2016, word dropout).
"""

from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from musicae.models.autoencoder import Autoencoder, ModelConfig
from musicae.nn.attention import AmongPositions
from musicae.nn.dense import ResidualMLP
from musicae.nn.latent import start_precise
from musicae.nn.posterior import Posterior
from musicae.nn.sequence import CausalStack, SymbolEmbedding, replace_some
from musicae.spec import TensorSpec

_PHRASE_BARS = 2


class StepsConfig(ModelConfig):
    """Sizes of the default music model."""

    latent_size: int = Field(default=256, ge=1, le=65536)
    prior: Literal["standard", "flow", "mixture"] = "flow"
    embedding: int = Field(default=48, ge=1)  # numbers a symbol is embedded in, for the encoder
    width: int = Field(default=768, ge=1)  # of the MLPs
    depth: int = Field(default=1, ge=0)  # residual blocks in each of them
    phrase_size: int = Field(default=256, ge=4, multiple_of=4)  # numbers that stand for a phrase of a longer piece
    side_by_side: bool = False  # z of a longer piece is its phrases' codes, phrases · phrase_size, and what is added
    phrase_layers: int = Field(default=2, ge=0)  # attention among the phrases, in encoder and decoder each
    unrolled: int = Field(default=64, ge=1)  # numbers that a phrase is unrolled to for each step
    step_width: int = Field(default=128, ge=1)  # of the causal stack
    replaced: float = Field(default=0.1, ge=0.0, le=1.0)  # share of earlier symbols replaced in training
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)  # in the MLPs


class StepsAutoencoder(Autoencoder):
    """The default model of the `steps` layout."""

    Config = StepsConfig
    config: StepsConfig

    def __init__(self, spec: TensorSpec, config: StepsConfig) -> None:
        super().__init__(spec, config)
        self._build_latent()
        steps, _ = spec.shape
        self.bars, self.bar_steps = spec.segments, steps // spec.segments
        self.phrases = self.bars // _PHRASE_BARS if self.bars % _PHRASE_BARS == 0 else 1
        self.phrase_steps = steps // self.phrases
        is_long = self.phrases > 1
        width, depth, dropout = config.width, config.depth, config.dropout
        phrase_size = config.phrase_size if is_long else config.latent_size
        posterior_size = config.latent_size * self.latent.outputs_per_number

        self.seen = SymbolEmbedding(spec.vocabulary, config.embedding)
        # Of a long piece's phrases only the half that would be the posterior's mean is used.
        read_size = 2 * phrase_size if is_long else posterior_size
        self.join = ResidualMLP(self.phrase_steps * config.embedding, width, read_size, depth, dropout=dropout)
        self.conduct = ResidualMLP(phrase_size, width, self.phrase_steps * config.unrolled, depth, dropout=dropout)
        if is_long:
            self.among_read = AmongPositions(self.phrases, phrase_size, config.phrase_layers)
            self.join_phrases = ResidualMLP(self.phrases * phrase_size, width, posterior_size, depth, dropout=dropout)
            self.part_phrases = ResidualMLP(
                config.latent_size, width, self.phrases * phrase_size, depth, dropout=dropout
            )
            self.among_parted = AmongPositions(self.phrases, phrase_size, config.phrase_layers)
        if is_long and config.side_by_side:
            self._start_with_the_codes()
        else:
            start_precise(cast(nn.Linear, (self.join_phrases if is_long else self.join)[-1]), self.latent)
        self.widen = nn.Linear(config.unrolled, config.step_width)
        self.before = SymbolEmbedding(spec.vocabulary, config.step_width)
        self.causal = CausalStack(config.step_width, reach=self.bar_steps)
        self.head = nn.Sequential(nn.LayerNorm(config.step_width), nn.Linear(config.step_width, self.likelihood.width))
        if spec.condition is not None:
            self.told_encoder = nn.Embedding(spec.condition[1], config.embedding)
            self.told_decoder = nn.Embedding(spec.condition[1], config.step_width)

    def _start_with_the_codes(self) -> None:
        """Lets z be the phrases' codes at first, about as precise as a short model's."""
        numbers = self.phrases * self.config.phrase_size
        if self.config.latent_size != numbers:
            raise ValueError(f"side_by_side needs latent_size {numbers} (phrases · phrase_size)")
        with torch.no_grad():
            for layer in (self.join_phrases[-1], self.part_phrases[-1]):
                layer.get_parameter("weight").mul_(0.1)
            self.join_phrases[-1].get_parameter("bias")[numbers:] -= 1.5

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent_size,)

    @property
    def autoregressive(self) -> bool:
        return True

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        self.spec.check(x.shape)
        seen = self.seen(x)  # (batch, steps, embedding)
        if self.spec.condition is not None:
            seen = seen + self.told_encoder(self._condition(condition, x))
        read = self.join(seen.unflatten(1, (self.phrases, self.phrase_steps)).flatten(2))
        if self.phrases == 1:
            return self.latent(read.squeeze(1))
        phrases = self.among_read(read[..., : self.config.phrase_size]).flatten(1)
        joined = self.join_phrases(phrases)
        if self.config.side_by_side:
            joined = joined + F.pad(phrases, (0, joined.shape[1] - phrases.shape[1]))
        return self.latent(joined)

    def teacher_forced(self, z: Tensor, target: Tensor, condition: Tensor | None = None) -> Tensor:
        """Logits `(batch, steps, vocabulary sizes summed)`, each step given z and the bar before it."""
        return self._shown(self._features(z, condition), target)

    def decode(
        self,
        z: Tensor,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """z → symbols; in every bar one step after the other, each given the symbols decoded before it."""
        return self._unrolled(self._features(z, condition), temperature, top_p, generator)

    def _shown(self, features: Tensor, target: Tensor) -> Tensor:
        """Features `(batch · bars, bar steps, step width)` → logits, each step given the target's steps before it."""
        before = self.before.previous(self._side_by_side(target))
        if self.training and self.config.replaced > 0:
            before = replace_some(before, self.config.replaced)
        hidden = self.causal(features + self.before(before))
        return self.head(hidden).unflatten(0, (-1, self.bars)).flatten(1, 2)

    def _unrolled(
        self, features: Tensor, temperature: float, top_p: float, generator: torch.Generator | None
    ) -> Tensor:
        """Features `(batch · bars, bar steps, step width)` → symbols `(batch, steps, streams)`."""
        symbols = self.before.start.expand(len(features), -1)
        memory = self.causal.start()
        decoded = []
        for step in range(self.bar_steps):
            hidden = self.causal.step(features[:, step] + self.before(symbols), memory)
            logits = self.head(hidden).float().unsqueeze(1)
            symbols = self.likelihood.choose(logits, temperature, top_p, generator).squeeze(1)
            decoded.append(symbols)
        return torch.stack(decoded, dim=1).unflatten(0, (-1, self.bars)).flatten(1, 2)

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        return self.teacher_forced(z, target, condition)

    def _features(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """What z and the condition say about each step, `(batch · bars, bar steps, step width)`."""
        code = z
        if self.phrases > 1:
            parted = self.part_phrases(z) + z if self.config.side_by_side else self.part_phrases(z)
            code = self.among_parted(parted.unflatten(1, (self.phrases, -1))).flatten(0, 1)
        features = self.widen(self.conduct(code).unflatten(1, (self.phrase_steps, -1)))  # (batch · phrases, ...)
        features = features.reshape(-1, self.bar_steps, features.shape[-1])
        if self.spec.condition is not None:
            features = features + self.told_decoder(self._side_by_side(self._condition(condition, z)))
        return features

    def _condition(self, condition: Tensor | None, like: Tensor) -> Tensor:
        """The condition of each step, `(batch, steps)`; "none" where there isn't any."""
        if condition is None:
            return torch.zeros(len(like), self.spec.shape[0], dtype=torch.int64, device=like.device)
        return condition

    def _side_by_side(self, steps: Tensor) -> Tensor:
        """`(batch, steps, ...)` → `(batch · bars, bar steps, ...)`."""
        return steps.unflatten(1, (self.bars, self.bar_steps)).flatten(0, 1)


class RestorerConfig(StepsConfig):
    """Sizes of the default restorer of music."""

    latent: Literal["deterministic", "gaussian"] = "deterministic"
    prior: Literal["standard", "flow", "mixture"] = "standard"
    reach: int = Field(default=8, ge=0)  # damaged steps before and after a step that its decoding sees


class StepsRestorer(StepsAutoencoder):
    """Restoration of music: code of the whole, and the damaged steps around each step."""

    Config = RestorerConfig
    config: RestorerConfig

    def __init__(self, spec: TensorSpec, config: RestorerConfig) -> None:
        super().__init__(spec, config)
        width = config.step_width
        self.around = nn.Sequential(
            nn.Conv1d(config.embedding, width, 2 * config.reach + 1, padding=config.reach),
            nn.GELU(),
            nn.Conv1d(width, width, 1),
        )

    @property
    def restores(self) -> bool:
        return True

    def decode(
        self,
        z: Tensor,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        raise ValueError("this model corrects its input and cannot decode a latent alone")

    def reconstruct(
        self, x: Tensor, *, generator: torch.Generator | None = None, condition: Tensor | None = None
    ) -> Tensor:
        posterior = self.encode(x, condition)
        z = posterior.mean if generator is None else posterior.sample(generator)
        return self._unrolled(self._seeing(x, z, condition), 0.0, 1.0, None)

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        return self._shown(self._seeing(x, z, condition), target)

    def _seeing(self, x: Tensor, z: Tensor, condition: Tensor | None) -> Tensor:
        """What z, the condition and the damaged steps around say about each step."""
        around = self.around(self.seen(x).transpose(1, 2)).transpose(1, 2)
        return self._features(z, condition) + self._side_by_side(around)
