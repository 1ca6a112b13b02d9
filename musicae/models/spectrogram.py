"""`SpectrogramAutoencoder`: an autoencoder of sound, `(batch, channels, frequency, time)`.

One vector for seconds of sound can't hold when something happens. So the code has two parts: a pooled vector for the
whole sound, and a short vector for each of a sequence of moments (10 to 22 a second). The decoder is given nothing but
the code; what a note is called decides, where it is asked for, which codes are drawn. Convolutions treat frequency and
time alike, so that a partial is represented in the same way at any pitch. Frequency is halved more often than time.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from musicae.models.grid import GridAutoencoder
from musicae.models.sizes import MOST_LEVELS, MOST_WIDTH, Depth, ModelConfig, Width
from musicae.nn.bands import NOTES
from musicae.nn.convolution import (
    ConvDecoder,
    ConvEncoder,
    from_patches,
    level_sizes,
    level_strides,
    to_patches,
    use_channels_last,
)
from musicae.nn.latent import Posterior
from musicae.nn.layers import draw_rows
from musicae.nn.note_prior import NotePrior
from musicae.nn.prior import Prior, SequencePrior, StandardPrior
from musicae.spec import TensorSpec

# Side of the squares of frequencies and frames that are the cells of the finest level.
_PATCH = 2
# How often time is halved between levels: once gives 15.6 moments from 62.5 frames a second (16 kHz, hop 256).
_TIME_HALVINGS = 1


class SpectrogramConfig(ModelConfig):
    """Sizes of the autoencoder of sound."""

    prior: Literal["standard", "sequence"] = "sequence"  # type: ignore[assignment]  # its code is no plain vector
    latent_size: Width = 64  # numbers of the pooled vector
    # Channels of a moment; each has one number for every coarse frequency.
    moment_size: int = Field(default=12, ge=0, le=MOST_WIDTH)
    widths: tuple[Width, ...] = Field(
        default=(32, 48, 64, 96, 128), min_length=_TIME_HALVINGS + 1, max_length=MOST_LEVELS
    )
    blocks: Depth = 1  # residual blocks of each level
    # Whether high frequencies are seen and decoded in rows of several, see `musicae.nn.bands`.
    banded: bool = False
    # Share of training examples whose moments are set to zero, so that what all moments have in common is stored in the
    # pooled vector.
    moments_dropped: float = Field(default=0.1, ge=0, lt=1)


class SpectrogramAutoencoder(GridAutoencoder):
    """A pooled vector and a sequence in one flat code: the pooled numbers come first."""

    Config = SpectrogramConfig
    config: SpectrogramConfig

    def __init__(self, spec: TensorSpec, config: SpectrogramConfig) -> None:
        widths = config.widths
        self.strides = level_strides(len(widths), _TIME_HALVINGS)
        height, width = spec.shape[1:]
        if config.banded:
            height = NOTES.rows(height)
        self.sizes = level_sizes(-(-height // _PATCH), -(-width // _PATCH), len(widths), self.strides)
        super().__init__(spec, config)
        if spec.condition is not None and spec.condition[0] != NotePrior.LABEL_NUMBERS:
            raise ValueError("the only labels that this model takes are those of notes; leave out labels=true")
        coarse, _ = self.sizes[-1]
        outputs = self.latent.outputs_per_number
        self.rows = height
        decoded = self.likelihood.width
        self.encoder = ConvEncoder(_PATCH**2 * self.channels, widths, config.blocks, self.strides)
        self.decoder = ConvDecoder(widths, _PATCH**2 * decoded, config.blocks, skips=False, strides=self.strides)
        self.to_pooled = nn.Linear(2 * widths[-1] * coarse, config.latent_size * outputs)
        self.from_pooled = nn.Linear(config.latent_size, widths[-1] * coarse)
        self.to_moments = nn.Conv2d(widths[-1], config.moment_size * outputs, 1) if config.moment_size else None
        self.from_moments = nn.Conv2d(config.moment_size, widths[-1], 1) if config.moment_size else None
        self.notes: NotePrior | None = None
        if spec.condition is not None and isinstance(self._sequence_prior, SequencePrior):
            self.notes = NotePrior(config.latent_size, config.moment_size * coarse, self.sizes[-1][1])
        use_channels_last(self)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        coarse, moments = self.sizes[-1]
        return (self.config.latent_size + self.config.moment_size * coarse * moments,)

    def _prior(self, shape: tuple[int, ...]) -> Prior:
        if self.config.prior == "sequence" and self.config.moment_size:
            return SequencePrior(shape, pooled=self.config.latent_size, moments=self.sizes[-1][1])
        return StandardPrior(shape)

    def is_fitted_afterwards(self, name: str) -> bool:
        return name.startswith("notes.")

    @property
    def draws_by_condition(self) -> bool:
        return self.notes is not None and self.notes.is_fitted

    def drawn(self, base: Tensor, condition: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """By what notes are asked for, where the model has learned that."""
        if self.notes is None or not self.notes.is_fitted or condition is None:
            return super().drawn(base, condition, label)
        prior = self._sequence_prior
        assert prior is not None
        return prior.from_standardised(*self.notes.from_base(base, condition))

    def fit_draws(self, codes: Posterior, condition: Tensor, example: Tensor, generator: torch.Generator) -> bool:
        prior, notes = self._sequence_prior, self.notes
        if prior is None or notes is None:
            return False

        def drawn(rows: Tensor) -> tuple[Tensor, Tensor]:
            return prior.standardised(codes.rows(rows).sample(generator))

        return notes.fit(drawn, condition, example, generator)

    @property
    def _sequence_prior(self) -> SequencePrior | None:
        prior = getattr(self.latent, "prior", None)
        return prior if isinstance(prior, SequencePrior) else None

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        self.check_input(x, condition)
        shown = NOTES.means(x) if self.config.banded else x
        features = self.encoder(to_patches(shown, _PATCH))[-1]  # (batch, widths[-1], coarse, moments)
        # Mean and maximum over time: for lasting sounds, and for short ones.
        pooled = self.to_pooled(torch.cat([features.mean(-1), features.amax(-1)], dim=1).flatten(1))
        parts = [pooled.unflatten(1, (-1, self.config.latent_size))]  # (batch, outputs, size)
        if self.to_moments is not None:
            moments = self.to_moments(features).flatten(1)
            parts.append(moments.unflatten(1, (self.latent.outputs_per_number, -1)))
        return self.latent(torch.cat(parts, dim=2).flatten(1))

    def parameters_of(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        coarse, moments = self.sizes[-1]
        pooled, rest = z.split([self.config.latent_size, z.shape[1] - self.config.latent_size], dim=1)
        cells = self.from_pooled(pooled).unflatten(1, (-1, coarse, 1)).expand(-1, -1, -1, moments)
        if self.from_moments is not None:
            if self.training and self.config.moments_dropped:
                drawn = draw_rows(lambda shape: torch.rand(shape, device=z.device), (len(z), 1))
                kept = drawn >= self.config.moments_dropped
                rest = rest * kept
            cells = cells + self.from_moments(rest.unflatten(1, (-1, coarse, moments)))
        decoded = from_patches(self.decoder(cells, self.sizes), _PATCH, self.rows, self.width)
        return NOTES.spread(decoded, self.height) if self.config.banded else decoded
