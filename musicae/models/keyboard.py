"""`KeyboardAutoencoder`: piano music, one stream for each key, as a code for every part of a bar.

In two bars few of several thousand places hold a note, so a network that reads and writes all of them at once learns
nothing for long. Here every *stretch* of a bar is encoded and decoded by one shared MLP, and stretches attend to each
other before and after the code. A stretch has few notes, and all stretches teach the same weights. What makes music of
them is the prior over codes in a row, as for long melodies (`musicae.nn.phrase_prior`): what is repeated costs few
bits, and stretches in the middle can be filled in. Training begins with a standard prior; one that is learned from the
start keeps the codes empty.

All steps and keys are decoded at once, given the code alone: a code that keeps chords says nearly all of its stretch.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from musicae.likelihoods import CategoricalWithValues
from musicae.models.second_stage import SecondStage, SecondStageConfig
from musicae.models.sizes import Depth, ModelConfig, Width
from musicae.nn.latent import Posterior
from musicae.nn.layers import AttentionStack, ResidualMLP
from musicae.nn.phrase_prior import PhrasePrior
from musicae.nn.prior import Prior, StandardPrior
from musicae.nn.values import scaled_values
from musicae.spec import TensorSpec

_RARE = 4.0
"""What the logit of "nothing happens" is ahead by at first: about one place in fifty holds an event."""


class KeyboardConfig(SecondStageConfig):
    """Sizes of the piano model."""

    latent: Literal["gaussian"] = "gaussian"
    latent_size: Width = 64  # of the code of a stretch
    prior: Literal["standard", "flow"] = "standard"  # flow: of single stretches, each given others
    codes_per_bar: int = Field(default=2, ge=1, le=16)  # divides the bar
    value_weight: float = Field(
        default=0.3, ge=0.0, le=10.0
    )  # in training, of a nat of velocity and timing beside one of notes
    width: int = Field(default=512, ge=8, le=4096, multiple_of=8)  # of the MLPs, and of what stretches attend to
    depth: Depth = 1  # residual blocks in each MLP
    attention: Depth = 1  # layers in which stretches attend to each other, in encoder and decoder each
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)  # in the MLPs
    prior_width: int = Field(default=256, ge=8, le=4096, multiple_of=8)
    prior_blocks: Depth = 4
    prior_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)


class KeyboardAutoencoder(SecondStage):
    """The default model of parts with many streams."""

    Config: ClassVar[type[ModelConfig]] = KeyboardConfig
    config: KeyboardConfig

    def __init__(self, spec: TensorSpec, config: KeyboardConfig) -> None:
        super().__init__(spec, config)
        steps, _ = spec.shape
        self.stretches = spec.segments * config.codes_per_bar
        if (steps // spec.segments) % config.codes_per_bar:
            raise ValueError(
                f"a bar of {steps // spec.segments} steps has no {config.codes_per_bar} equal parts; "
                "choose codes_per_bar to divide it"
            )
        self.stretch = steps // self.stretches
        self._build_latent()
        width, size = config.width, config.latent_size
        inputs = len(spec.vocabulary) * (max(spec.vocabulary) - 1) + len(spec.values)
        self.stretch_encoder = ResidualMLP(self.stretch * inputs, width, width, config.depth, dropout=config.dropout)
        self.encoder_attention = AttentionStack(self.stretches, width, config.attention)
        self.to_code = nn.Linear(width, 2 * size)
        self.from_code = nn.Linear(size, width)
        self.decoder_attention = AttentionStack(self.stretches, width, config.attention)
        outputs = self.likelihood.width
        self.stretch_decoder = ResidualMLP(width, width, self.stretch * outputs, config.depth, dropout=config.dropout)
        if spec.condition is not None:
            self.condition_encoder = nn.Embedding(spec.condition[1], width)
            self.condition_decoder = nn.Embedding(spec.condition[1], width)
        self._init_with_few_events(outputs)

    def _init_with_few_events(self, outputs: int) -> None:
        """Codes with little noise, and a decoder that expects nothing to happen."""
        with torch.no_grad():
            self.to_code.bias.zero_()
            self.to_code.bias[self.config.latent_size :] = -3.0
            last = self.stretch_decoder[-1]
            last.get_parameter("weight").mul_(0.3)
            bias = last.get_parameter("bias").zero_().view(self.stretch, outputs)
            for stream in range(len(self.spec.vocabulary)):
                bias[:, sum(self.spec.vocabulary[:stream])].fill_(_RARE)

    @property
    def codes_in_a_row(self) -> int:
        return self.stretches

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.stretches * self.config.latent_size,)

    def _prior(self, shape: tuple[int, ...]) -> Prior:
        config = self.config
        if config.prior == "standard":
            return StandardPrior(shape)
        return PhrasePrior(
            shape,
            phrases=self.stretches,
            width=config.prior_width,
            blocks=config.prior_blocks,
            dropout=config.prior_dropout,
        )

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        self.check_input(x, condition)
        stretches = self._events(x).unflatten(1, (self.stretches, -1)).flatten(2)
        hidden = self.stretch_encoder(stretches)
        if self.spec.condition is not None:
            hidden = hidden + self.condition_encoder(self._condition(condition, x))
        hidden = self.encoder_attention(hidden)
        mean, raw = self.to_code(hidden).chunk(2, -1)  # (batch, stretches, size) each
        return self.latent(torch.cat([mean.flatten(1), raw.flatten(1)], 1))

    def decode(
        self,
        z: Tensor,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        self.check_codes(z, condition)
        parameters = self.parameters_of(z, condition).float()
        return self.padded(self.likelihood.choose(parameters, temperature, top_p, generator), condition)

    def parameters_of(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The likelihood's parameters at codes, `(batch, steps, likelihood.width)`."""
        hidden = self.from_code(z.unflatten(1, (self.stretches, -1)))
        if self.spec.condition is not None:
            hidden = hidden + self.condition_decoder(self._condition(condition, z))
        return self.stretch_decoder(self.decoder_attention(hidden)).unflatten(2, (self.stretch, -1)).flatten(1, 2)

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        return self.parameters_of(z, condition)

    def _weighted(self, reconstruction: Tensor, parameters: Tensor, target: Tensor) -> Tensor:
        if not isinstance(self.likelihood, CategoricalWithValues):
            return reconstruction
        of_values = self.likelihood.log_prob_of_values(parameters, target)
        return reconstruction + (1 - self.config.value_weight) * of_values

    def _condition(self, condition: Tensor | None, like: Tensor) -> Tensor:
        """The condition at the first step of each stretch, `(batch, stretches)`; class 0 if none is given."""
        if condition is None:
            return torch.zeros(like.shape[0], self.stretches, dtype=torch.int64, device=like.device)
        return condition[:, :: self.stretch]

    def _events(self, x: Tensor) -> Tensor:
        """What is not symbol 0, and values around 0, float `(batch, steps, inputs)`."""
        sizes = torch.tensor(self.spec.vocabulary, device=x.device)
        kinds = torch.arange(1, max(self.spec.vocabulary), device=x.device)
        symbols = x[..., : len(sizes)].unsqueeze(-1)
        happens = (symbols == kinds) & (symbols < sizes[:, None])  # pads are no event
        found = happens.flatten(-2).float()
        if not self.spec.values:
            return found
        return torch.cat([found, scaled_values(self.spec.values, x)], -1)
