"""`PlayedAutoencoder`: music with velocity and timing, in a code of two parts: the notes, and how they are played.

The notes have the network and the code of `StepsAutoencoder`. The *feel* has a code of its own: its encoder reads notes
and values, its decoder is given the notes. So each part can be taken from another piece, or drawn: a flat pattern is
played by a draw of the feel alone, and the feel of one groove plays the pattern of another (Gillick et al., 2019).

The code of the feel counts from what the notes let expect: a network gives its mean and deviation for known notes, as a
conditional prior does (Sohn et al., 2015), and the code is what is left. So draws suit the pattern that they play, and
the same code stands for the same manner with other notes.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from musicae.likelihoods import Categorical, CategoricalWithValues, Likelihood
from musicae.models.sizes import Depth, ModelConfig, Width
from musicae.models.steps import StepsAutoencoder, StepsConfig
from musicae.nn.feel import FeelDecoder, FeelEncoder, without_values
from musicae.nn.latent import Posterior, init_with_small_variance
from musicae.nn.prior import PRIORS, JointPrior, Prior
from musicae.spec import TensorSpec

NOTES, FEEL = "notes", "feel"
"""Names of the two parts."""
_LARGEST_LOG_SCALE = 2.0


class PlayedConfig(StepsConfig):
    """Sizes of the model of notes and feel; those of `StepsConfig` are of the notes."""

    second_stage: Literal[False] = False  # of a code of one part
    feel_size: Width = 64
    feel_width: Width = 128  # of each step
    feel_layers: Depth = 3  # that join the steps, in encoder and decoder each
    feel_dropout: float = Field(default=0.2, ge=0.0, lt=1.0)  # of what is expected of notes: codes need none
    # Whether what is expected of notes stays as the run has it that this one starts from: longer, and it is learned by
    # heart.
    keeps_expectation: bool = False
    # What a bit of the feel costs beside one of the notes: a velocity that is a little wrong matters less than a note.
    feel_price: float = Field(default=3.0, ge=0.0)


class PlayedAutoencoder(StepsAutoencoder):
    """Notes and feel."""

    Config: ClassVar[type[ModelConfig]] = PlayedConfig
    config: PlayedConfig
    likelihood: CategoricalWithValues

    def __init__(self, spec: TensorSpec, config: PlayedConfig) -> None:
        if not spec.values:
            raise ValueError("this model is for notes with velocity and timing; set expression=true")
        notes = without_values(spec)
        super().__init__(notes, config)
        self.note_likelihood = Categorical(notes)
        self.spec, self.likelihood = spec, CategoricalWithValues(spec)
        size, width, layers = config.feel_size, config.feel_width, config.feel_layers
        outputs = size * self.latent.outputs_per_number
        self.feel_encoder = FeelEncoder(spec, width, layers, outputs)
        init_with_small_variance(self.feel_encoder.code, self.latent)
        self.feel_decoder = FeelDecoder(spec, size, width, layers)
        self.feel_expected = FeelEncoder(notes, width, layers, 2 * size, config.feel_dropout)
        for parameter in self.feel_expected.code.parameters():
            torch.nn.init.zeros_(parameter)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent_size + self.config.feel_size,)

    @property
    def symbol_likelihood(self) -> Likelihood:
        return self.note_likelihood

    def learns(self, name: str) -> bool:
        return super().learns(name) and not (self.config.keeps_expectation and name.startswith("feel_expected."))

    def _prior(self, shape: tuple[int, ...]) -> Prior:
        kind = PRIORS[self.config.prior]
        return JointPrior({NOTES: kind((self.config.latent_size,)), FEEL: kind((self.config.feel_size,))})

    def own_name(self, name: str) -> str:
        """The prior of a model of notes alone becomes that of the notes."""
        former, parts = "latent.prior.", "latent.prior.parts."
        is_of_notes = name.startswith(former) and not name.startswith(parts)
        return f"{parts}{NOTES}." + name.removeprefix(former) if is_of_notes else name

    def _encoded(self, x: Tensor, condition: Tensor | None) -> Tensor:
        symbols, count = self._notes_of(x), self.latent.outputs_per_number
        notes, feel = super()._encoded(symbols, condition).chunk(count, 1), self.feel_encoder(x).chunk(count, 1)
        expected, log_scale = self._expected(symbols)
        # The mean from where it is expected, and the logarithm of the variance in units of what is expected.
        relative = ((feel[0] - expected) * torch.exp(-log_scale), *(raw - 2 * log_scale for raw in feel[1:]))
        return torch.cat([part for pair in zip(notes, relative, strict=True) for part in pair], 1)

    def _expected(self, symbols: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log scale of the feel where the notes are known, `(batch, feel size)` each."""
        mean, raw = self.feel_expected(symbols).float().chunk(2, 1)
        return mean, _LARGEST_LOG_SCALE * torch.tanh(raw / _LARGEST_LOG_SCALE)

    def values_at(self, feel: Tensor, symbols: Tensor) -> Tensor:
        """Parameters of the values of known notes, `(batch, steps, 2 · values)`."""
        expected, log_scale = self._expected(symbols)
        return self.feel_decoder(expected + log_scale.exp() * feel, symbols)

    def _priced_kl(self, kl: Tensor, posterior: Posterior, z: Tensor) -> Tensor:
        parts = self.latent.kl_parts(posterior, z)
        return kl + (self.config.feel_price - 1) * parts[FEEL] if parts else kl

    def teacher_forced(self, z: Tensor, target: Tensor, condition: Tensor | None = None) -> Tensor:
        """As `StepsAutoencoder`; the values are given all of the target's notes."""
        notes, feel = self.parts(z)
        symbols = self._notes_of(target)
        logits = super().teacher_forced(notes, symbols, condition)
        return torch.cat([logits, self.values_at(feel, symbols)], -1)

    def decode(
        self,
        z: Tensor,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """z → notes, and then how they are played."""
        self.check_codes(z, condition)
        notes, feel = self.parts(z)
        symbols = self.padded(
            self._unrolled(self.features_of(notes, condition), temperature, top_p, generator), condition
        )
        return self.play(feel, symbols, temperature=temperature, generator=generator)

    def play(
        self, feel: Tensor, symbols: Tensor, *, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Plays known notes.

        Args:
            feel: codes `(batch, feel size)`.
            symbols: int64 `(batch, steps, streams)`; columns of values behind them are not looked at.
            temperature, generator: as in `decode`.

        Returns:
            `(batch, steps, columns)`.
        """
        notes = self._notes_of(symbols)
        return self.likelihood.play(notes, self.values_at(feel, notes).float(), temperature, generator)

    def parts(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Codes `(batch, numbers)` → those of the notes and of the feel."""
        return z[:, : self.config.latent_size], z[:, self.config.latent_size :]

    def _notes_of(self, x: Tensor) -> Tensor:
        return x[..., : len(self.spec.vocabulary)]
