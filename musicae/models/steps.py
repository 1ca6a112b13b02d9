"""`StepsAutoencoder` and `StepsRestorer`: symbolic music, int64 `(batch, steps, columns)`, in phrases of two bars.

A phrase is encoded by one wide residual MLP. The decoder turns a code into one feature vector for each step, and a
causal stack joins it with the symbols before that step in the bar. Bars are decoded in parallel, so that 16 bars take
as many steps as one. In a piece of one phrase, z is the phrase's code. In a longer one, the phrases share these layers,
attend to each other, and are joined into one z; the decoder mirrors that (as the conductor of MusicVAE, Roberts et al.,
2018, but without recurrence). The shared layers have the same names and shapes for any length, so that a long model can
start from a short one. All of it is few and wide matrix products.

In training the earlier symbols are the target's (teacher forcing). A few are replaced at random, so that the decoder
relies on z and recovers from its own mistakes (Bowman et al., 2016, word dropout).

A code of two bars loses as many notes as a restoration repairs. So the restorer's decoder is also given the corrupted
symbols around each step, like the skip connections of a U-Net (Ronneberger et al., 2015). Layers that both models have
share their names, so that a restorer can start from a trained autoencoder.
"""

from typing import ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from musicae.models.second_stage import SecondStage, SecondStageConfig
from musicae.models.sizes import MOST_WIDTH, Depth, ModelConfig, Width
from musicae.nn.causal import CausalStack, SymbolEmbedding, layers_for, word_dropout
from musicae.nn.latent import Posterior, init_with_small_variance
from musicae.nn.layers import AttentionStack, ResidualMLP, own_rows, whole_batch
from musicae.spec import TensorSpec

PHRASE_BARS = 2
_MOST_PADS = 16


class StepsConfig(SecondStageConfig):
    """Sizes of the default music model."""

    latent_size: Width = 256
    prior: Literal["standard", "flow", "mixture"] = "flow"
    embedding: Width = 48  # size of the encoder's symbol embeddings
    width: Width = 768  # of the MLPs
    depth: Depth = 1  # residual blocks in each of them
    # Size of a phrase's code in a longer piece.
    phrase_size: int = Field(default=256, ge=4, le=MOST_WIDTH, multiple_of=4)
    side_by_side: bool = False  # z of a longer piece is its phrases' codes, concatenated, plus a learned change
    phrase_layers: Depth = 2  # attention among the phrases, in encoder and decoder each
    unrolled: Width = 64  # features of each step that a phrase's code is decoded to
    step_width: Width = 128  # of the causal stack
    replaced: float = Field(default=0.1, ge=0.0, le=1.0)  # share of earlier symbols replaced in training
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)  # in the MLPs


class StepsAutoencoder(SecondStage):
    """The default model of the `steps` layout."""

    Config: ClassVar[type[ModelConfig]] = StepsConfig
    config: StepsConfig

    def __init__(self, spec: TensorSpec, config: StepsConfig) -> None:
        super().__init__(spec, config)
        self._build_latent()
        steps, _ = spec.shape
        self.bars, self.bar_steps = spec.segments, steps // spec.segments
        self.phrases = self.bars // PHRASE_BARS if self.bars % PHRASE_BARS == 0 else 1
        self.phrase_steps = steps // self.phrases
        is_long = self.phrases > 1
        width, depth, dropout = config.width, config.depth, config.dropout
        phrase_size = config.phrase_size if is_long else config.latent_size
        posterior_size = config.latent_size * self.latent.outputs_per_number

        self.input_embedding = SymbolEmbedding(spec, config.embedding)
        # In long pieces only the first half of the output is used, which in short ones is the posterior's mean.
        encoded_size = 2 * phrase_size if is_long else posterior_size
        embedded, unrolled = self.phrase_steps * config.embedding, self.phrase_steps * config.unrolled
        self.phrase_encoder = ResidualMLP(embedded, width, encoded_size, depth, dropout=dropout)
        self.phrase_decoder = ResidualMLP(phrase_size, width, unrolled, depth, dropout=dropout)
        if is_long:
            self.encoder_attention = AttentionStack(self.phrases, phrase_size, config.phrase_layers)
            self.piece_encoder = ResidualMLP(self.phrases * phrase_size, width, posterior_size, depth, dropout=dropout)
            self.piece_decoder = ResidualMLP(
                config.latent_size, width, self.phrases * phrase_size, depth, dropout=dropout
            )
            self.decoder_attention = AttentionStack(self.phrases, phrase_size, config.phrase_layers)
        if is_long and config.side_by_side:
            self._init_with_the_codes()
        else:
            last = (self.piece_encoder if is_long else self.phrase_encoder)[-1]
            init_with_small_variance(cast(nn.Linear, last), self.latent)
        self.step_projection = nn.Linear(config.unrolled, config.step_width)
        self.previous_embedding = SymbolEmbedding(spec, config.step_width)
        self.causal = CausalStack(config.step_width, reach=self.bar_steps)
        self.head = nn.Sequential(nn.LayerNorm(config.step_width), nn.Linear(config.step_width, self.likelihood.width))
        if spec.condition is not None:
            self.condition_encoder = nn.Embedding(spec.condition[1], config.embedding)
            self.condition_decoder = nn.Embedding(spec.condition[1], config.step_width)

    def _init_with_the_codes(self) -> None:
        """Initialises so that z is the phrases' codes, about as precise as a short model's."""
        numbers = self.phrases * self.config.phrase_size
        if self.config.latent_size != numbers:
            raise ValueError(f"side_by_side needs latent_size {numbers} (phrases · phrase_size)")
        with torch.no_grad():
            for layer in (self.piece_encoder[-1], self.piece_decoder[-1]):
                layer.get_parameter("weight").mul_(0.1)
            self.piece_encoder[-1].get_parameter("bias")[numbers:] -= 1.5

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent_size,)

    @property
    def autoregressive(self) -> bool:
        return True

    def adapted(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Bars of another length begin at their own slots; what is new, such as time signatures, begins as nothing."""
        weights = super().adapted(weights)
        own, bars, config = self.state_dict(), self.bars // self.phrases, self.config
        embeddings = ("input_embedding.tables.", "previous_embedding.tables.")
        tables = {name: value for name, value in weights.items() if name.startswith(embeddings) and name in own}
        vocabulary = [size for _ in range(2) for size in self.spec.vocabulary]
        if len(tables) != len(vocabulary) or not all(map(_says_the_same, tables.values(), vocabulary)):
            return weights
        adapted = dict(weights) | {name: _with_pads(value, own[name]) for name, value in tables.items()}
        last = f"phrase_decoder.{len(self.phrase_decoder) - 1}"
        layers = len({name.split(".")[2] for name in weights if name.startswith("causal.layers.")})
        for name, axis, size in (
            ("phrase_encoder.0.weight", 1, config.embedding),
            (f"{last}.weight", 0, config.unrolled),
            (f"{last}.bias", 0, config.unrolled),
        ):
            if name in weights:
                adapted[name] = _in_slots(weights[name], own[name], axis, size, bars, layers)
        for name, value in own.items():
            if name.startswith("condition_"):
                adapted[name] = _repeated(weights.get(name), value)
            elif name.startswith("causal.") and name not in weights:  # of longer bars: it adds nothing yet
                adapted[name] = torch.zeros_like(value) if ".out." in name else value
        return adapted

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        self.check_input(x, condition)
        return self.latent(self._encoded(x, condition))

    def _encoded(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """What the latent reads, `(batch, latent size · outputs per number)`."""
        embedded = self.input_embedding(x)  # (batch, steps, embedding)
        if self.spec.condition is not None:
            embedded = embedded + self.condition_encoder(self._condition(condition, x))
        encoded = self.phrase_encoder(embedded.unflatten(1, (self.phrases, self.phrase_steps)).flatten(2))
        if self.phrases == 1:
            return encoded.squeeze(1)
        phrases = self.encoder_attention(encoded[..., : self.config.phrase_size]).flatten(1)
        joined = self.piece_encoder(phrases)
        if self.config.side_by_side:
            joined = joined + F.pad(phrases, (0, joined.shape[1] - phrases.shape[1]))
        return joined

    def teacher_forced(self, z: Tensor, target: Tensor, condition: Tensor | None = None) -> Tensor:
        """Parameters `(batch, steps, likelihood.width)`; each step is given z and the earlier steps of its bar."""
        return self._forced(self.features_of(z, condition), target)

    def decode(
        self,
        z: Tensor,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """z → symbols. In every bar one step after the other is decoded, given the symbols before it."""
        self.check_codes(z, condition)
        decoded = self._unrolled(self.features_of(z, condition), temperature, top_p, generator)
        return self.padded(decoded, condition)

    def _forced(self, features: Tensor, target: Tensor) -> Tensor:
        """Features `(batch · bars, bar steps, step width)` → logits; each step is given the target's earlier steps."""
        if self.training and self.config.replaced > 0:
            known = self.previous_embedding.previous(self._as_bars(whole_batch(target)[..., : target.shape[-1]]))
            before = own_rows(word_dropout(known, self.config.replaced))
        else:
            before = self.previous_embedding.previous(self._as_bars(target))
        hidden = self.causal(features + self.previous_embedding(before))
        return self.head(hidden).unflatten(0, (-1, self.bars)).flatten(1, 2)

    def _unrolled(
        self, features: Tensor, temperature: float, top_p: float, generator: torch.Generator | None
    ) -> Tensor:
        """Features `(batch · bars, bar steps, step width)` → symbols `(batch, steps, columns)`."""
        symbols = self.previous_embedding.start(features.shape[0], features.device)
        memory = self.causal.start()
        decoded = []
        for step in range(self.bar_steps):
            hidden = self.causal.step(features[:, step] + self.previous_embedding(symbols), memory)
            logits = self.head(hidden).float().unsqueeze(1)
            symbols = self.symbol_likelihood.choose(logits, temperature, top_p, generator).squeeze(1)
            decoded.append(symbols)
        return torch.stack(decoded, dim=1).unflatten(0, (-1, self.bars)).flatten(1, 2)

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        return self.teacher_forced(z, target, condition)

    def features_of(self, z: Tensor, condition: Tensor | None) -> Tensor:
        """Features of each step from z and the condition, `(batch · bars, bar steps, step width)`."""
        code = z
        if self.phrases > 1:
            phrases = self.piece_decoder(z) + z if self.config.side_by_side else self.piece_decoder(z)
            code = self.decoder_attention(phrases.unflatten(1, (self.phrases, -1))).flatten(0, 1)
        steps = self.phrase_decoder(code).unflatten(1, (self.phrase_steps, -1))  # (batch · phrases, steps, unrolled)
        features = self.step_projection(steps)
        features = features.reshape(-1, self.bar_steps, features.shape[-1])
        if self.spec.condition is not None:
            features = features + self.condition_decoder(self._as_bars(self._condition(condition, z)))
        return features

    def _condition(self, condition: Tensor | None, like: Tensor) -> Tensor:
        """The condition of each step, `(batch, steps)`; class 0, "none", if no condition is given."""
        if condition is None:
            return torch.zeros(like.shape[0], self.spec.shape[0], dtype=torch.int64, device=like.device)
        return condition

    def _as_bars(self, steps: Tensor) -> Tensor:
        """`(batch, steps, ...)` → `(batch · bars, bar steps, ...)`."""
        return steps.unflatten(1, (-1, self.bar_steps)).flatten(0, 1)


def _says_the_same(table: Tensor, vocabulary: int) -> bool:
    """Whether a table of embeddings is of a vocabulary, with or without pads, and "nothing yet"."""
    return table.ndim == 2 and 0 <= len(table) - 1 - vocabulary <= _MOST_PADS


def _in_slots(value: Tensor, own: Tensor, axis: int, size: int, bars: int, layers: int) -> Tensor:
    """`own` with the steps of each bar that `value` has too; both hold `size` numbers for each step along an axis.

    `layers` are the causal ones, whose number says how long the bars of `value` are at most.
    """
    others = [tensor.shape[:axis] + tensor.shape[axis + 1 :] for tensor in (value, own)]
    steps, rest = divmod(value.shape[axis] if value.ndim > axis else 0, bars * size)
    if not steps or rest or others[0] != others[1] or layers_for(steps) != layers:
        return value
    slots, there = (tensor.movedim(axis, 0).unflatten(0, (bars, -1, size)) for tensor in (own.clone(), value))
    both = min(slots.shape[1], there.shape[1])
    slots[:, :both] = there[:, :both]
    return slots.flatten(0, 2).movedim(0, axis).contiguous()


def _with_pads(value: Tensor, own: Tensor) -> Tensor:
    """Symbols, then pads as `own` has them, then "nothing yet"."""
    if value.shape[1:] != own.shape[1:] or len(value) == len(own):
        return value
    symbols = min(len(value), len(own)) - 1
    return torch.cat([value[:symbols], own[symbols:-1], value[-1:]])


def _repeated(value: Tensor | None, own: Tensor) -> Tensor:
    """Embeddings of a condition's classes, such as chords, for each of several time signatures; none: nothing."""
    if value is None:
        return torch.zeros_like(own)
    if value.ndim != 2 or value.shape[1:] != own.shape[1:] or not len(value) or len(own) % len(value):
        return value
    return value.repeat(len(own) // len(value), 1)


class RestorerConfig(StepsConfig):
    """Sizes of the default restorer of music."""

    latent: Literal["deterministic", "gaussian"] = "deterministic"
    prior: Literal["standard", "flow", "mixture"] = "standard"
    second_stage: Literal[False] = False  # nothing is drawn
    reach: int = Field(default=8, ge=0, le=256)  # corrupted steps before and after a step that its decoder is given


class StepsRestorer(StepsAutoencoder):
    """Restoration of music from the code of the whole and the corrupted steps around each step."""

    Config = RestorerConfig
    config: RestorerConfig

    def __init__(self, spec: TensorSpec, config: RestorerConfig) -> None:
        super().__init__(spec, config)
        width = config.step_width
        self.local_context = nn.Sequential(
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
        return self.padded(self._unrolled(self.features_with_context(x, z, condition), 0.0, 1.0, None), condition)

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        return self._forced(self.features_with_context(x, z, condition), target)

    def features_with_context(self, x: Tensor, z: Tensor, condition: Tensor | None) -> Tensor:
        """Features of each step, from z, the condition and the corrupted steps around it."""
        context = self.local_context(self.input_embedding(x).transpose(1, 2)).transpose(1, 2)
        return self.features_of(z, condition) + self._as_bars(context)
