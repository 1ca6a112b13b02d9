"""`PhrasesAutoencoder`: long music as codes of two bars in a row, with a prior that knows how they follow each other.

Every two bars are encoded and decoded alone, by the layers of `StepsAutoencoder` for two bars, so that a trained model
of two bars is where it starts from. What makes a piece of them is the prior (`musicae.nn.phrase_prior`): it predicts
the code of a phrase from those that are known. So what is repeated costs few bits, a draw keeps its key, a piece can be
continued, and bars in the middle can be filled in.
"""

import math
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from musicae.likelihoods import build_likelihood
from musicae.models.sizes import Depth, ModelConfig
from musicae.models.steps import PHRASE_BARS, StepsAutoencoder, StepsConfig
from musicae.nn.phrase_prior import PhrasePrior
from musicae.nn.prior import Prior
from musicae.spec import TensorSpec

_FORMER, _OWN = "latent.prior.", "latent.prior.phrase."
"""Prefixes of the prior of single phrases, in a model of two bars and here."""


class PhrasesConfig(StepsConfig):
    """Sizes of the model of long music; those of `StepsConfig` are of two bars."""

    latent: Literal["gaussian"] = "gaussian"
    prior: Literal["flow"] = "flow"  # of single phrases
    # Deviations add up from phrase to phrase: at 1 sixteen bars hardly ever stay in a key (notebooks/LOG.md).
    sample_spread: float = Field(default=0.5, ge=0, le=10)
    # Times the deviation of the codes of single phrases: what is less precise costs fewer bits.
    code_noise: float = Field(default=1.0, gt=0, le=10)
    side_by_side: Literal[False] = False  # it always is, with nothing learned around the codes
    prior_width: int = Field(default=256, ge=8, le=4096, multiple_of=8)
    prior_blocks: Depth = 4
    prior_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)


class PhrasesAutoencoder(StepsAutoencoder):
    """A code for every two bars."""

    Config: ClassVar[type[ModelConfig]] = PhrasesConfig
    config: PhrasesConfig

    def __init__(self, spec: TensorSpec, config: PhrasesConfig) -> None:
        count = spec.segments // PHRASE_BARS
        if count < 2 or spec.segments % PHRASE_BARS:
            raise ValueError(f"this model is for pieces of several phrases of {PHRASE_BARS} bars; set bars=16")
        self.count = count
        steps = spec.shape[0] // count
        condition = None if spec.condition is None else (steps, spec.condition[1])
        super().__init__(replace(spec, shape=(steps, spec.shape[1]), condition=condition), config)
        self.spec, self.likelihood = spec, build_likelihood(spec)

    @property
    def codes_in_a_row(self) -> int:
        return self.count

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.count * self.config.latent_size,)

    def _prior(self, shape: tuple[int, ...]) -> Prior:
        config = self.config
        return PhrasePrior(
            shape,
            phrases=self.count,
            width=config.prior_width,
            blocks=config.prior_blocks,
            dropout=config.prior_dropout,
        )

    def own_name(self, name: str) -> str:
        """The prior of a model of two bars becomes that of a single phrase."""
        return _OWN + name.removeprefix(_FORMER) if name.startswith(f"{_FORMER}couplings.") else name

    def _is_new_prior(self, name: str) -> bool:
        """What joins phrases; that of single ones comes from the model of two bars."""
        return name.startswith(_FORMER) and not name.startswith(_OWN)

    def _encoded(self, x: Tensor, condition: Tensor | None) -> Tensor:
        projected = super()._encoded(self._phrases(x), self._phrases(self._condition(condition, x)))
        mean, raw = projected.unflatten(0, (-1, self.count)).chunk(2, -1)
        parts = (mean, raw + 2 * math.log(self.config.code_noise))
        return torch.cat([part.flatten(1) for part in parts], 1)

    def features_of(self, z: Tensor, condition: Tensor | None) -> Tensor:
        return super().features_of(self._codes(z), self._phrases(self._condition(condition, z)))

    def _forced(self, features: Tensor, target: Tensor) -> Tensor:
        return self._pieces(super()._forced(features, self._phrases(target)))

    def _unrolled(
        self, features: Tensor, temperature: float, top_p: float, generator: torch.Generator | None
    ) -> Tensor:
        return self._pieces(super()._unrolled(features, temperature, top_p, generator))

    def _codes(self, z: Tensor) -> Tensor:
        """`(batch, phrases · size)` → `(batch · phrases, size)`."""
        return z.reshape(-1, self.config.latent_size)

    def _phrases(self, steps: Tensor) -> Tensor:
        """`(batch, steps, …)` → `(batch · phrases, steps of a phrase, …)`."""
        return steps.unflatten(1, (self.count, -1)).flatten(0, 1)

    def _pieces(self, phrases: Tensor) -> Tensor:
        """The inverse of `_phrases`."""
        return phrases.unflatten(0, (-1, self.count)).flatten(1, 2)
