"""`CausalRestorer`: cleans the spectra of sound as they arrive, `(batch, 2, frequency, time)`.

A frame's mask depends on that frame and the ones before it, so a microphone can be cleaned while it runs. As in
NSNet2 (Braun & Tashev, 2020, "Data augmentation and loss normalization for deep neural noise suppression") a frame's
log spectrum goes through few, wide matrix products, which fit a CPU; but where that has recurrent units, here the
past enters by dilated convolutions (Luo & Mesgarani, 2019, "Conv-TasNet"), which learn all frames of an example side
by side. The shared core's latent stands between the two halves, a code a frame, and the first half's output reaches
the second as well.

How loud a stream is isn't known in advance: each frame is measured by a running mean of the level so far, and a
louder input comes out louder and otherwise the same. All that is kept of the past is in a `CausalState`; a whole
spectrum is one long step. Nothing here knows waveforms or blocks of samples.
"""

import math
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from musicae.models.autoencoder import Decoded, ModelConfig
from musicae.models.conv import GridAutoencoder
from musicae.nn.causal import DilatedStack, running_sum
from musicae.nn.correction import MaskCorrection
from musicae.nn.latent import Posterior
from musicae.spec import TensorSpec

# Cells this far below the level of the sound, 60 dB, are all alike.
_FLOOR = 1e-6
# Mean power of a frame's cells up to which it counts as silent, and is left out of the level.
_SILENCE = 1e-10


class CausalConfig(ModelConfig):
    """Dilated layers that correct their input frame by frame; 2.8 million parameters with n_fft=512."""

    latent: Literal["deterministic", "gaussian"] = "deterministic"
    latent_size: int = Field(default=128, ge=1)  # numbers a frame
    width: int = Field(default=256, ge=1)
    layers: int = Field(default=5, ge=1, le=12)  # in encoder and decoder each; 5 look back over 1 s with n_fft=512
    level_frames: int = Field(default=250, ge=1)  # the level's memory; 2 s with n_fft=512 at 16 kHz


class CausalState(NamedTuple):
    """What the model keeps of the past.

    Attributes:
        level: `(batch, 2)`, running sums: of frames' amplitudes, and of their weights.
        encoder: for each layer `(batch, reach, width)`.
        decoder: the same.
    """

    level: Tensor
    encoder: tuple[Tensor, ...]
    decoder: tuple[Tensor, ...]


class _Encoded(NamedTuple):
    """What the encoder gives: q(z | input), the features the decoder is given, and its own state after them."""

    posterior: Posterior
    features: Tensor  # (batch, time, width)
    level: Tensor
    encoder: tuple[Tensor, ...]


class CausalRestorer(GridAutoencoder):
    """Restoration of sound without a look ahead: any number of frames, in steps of any size."""

    Config = CausalConfig
    config: CausalConfig

    def __init__(self, spec: TensorSpec, config: CausalConfig) -> None:
        super().__init__(spec, config)
        if spec.correction != "mask":
            raise ValueError("model 'causal' turns down spectra of sound and corrects nothing else; use unet")
        self.correction = MaskCorrection(self.channels)
        width = config.width
        self.input_projection = nn.Linear(self.height, width)
        self.encoder = DilatedStack(width, config.layers)
        self.to_latent = nn.Linear(width, config.latent_size * self.latent.outputs_per_number)
        self.from_latent = nn.Linear(config.latent_size, width)
        self.decoder = DilatedStack(width, config.layers)
        self.output_projection = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, self.height))

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.config.latent_size, self.width)

    @property
    def restores(self) -> bool:
        return True

    @property
    def is_causal(self) -> bool:
        return True

    def initial_state(self, batch: int) -> CausalState:
        """The state before the first frame of `batch` sounds."""
        like = self.from_latent.bias
        return CausalState(like.new_zeros(batch, 2), self.encoder.start(batch), self.decoder.start(batch))

    def step(self, frames: Tensor, state: CausalState) -> tuple[Tensor, CausalState]:
        """Cleans the next frames.

        Args:
            frames: `(batch, 2, frequency, time)`, one frame or more.
            state: what `initial_state` or the step before gave.

        Returns:
            The frames, attenuated where there is noise, and the state for the next step.
        """
        mask, state = self.mask(frames, state)
        return frames * mask, state

    def mask(self, frames: Tensor, state: CausalState) -> tuple[Tensor, CausalState]:
        """As `step`, but gives the mask, `(batch, 1, frequency, time)` in 0…1."""
        encoded = self._encode_frames(frames, state)
        mask, decoder = self._mask(encoded.posterior.mean, encoded.features, state.decoder)
        return mask, CausalState(encoded.level, encoded.encoder, decoder)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        self.check_input(x, condition)
        return self._encode_frames(x, self.initial_state(len(x))).posterior

    def check_input(self, x: Tensor, condition: Tensor | None = None) -> None:
        self._check_type(x, "an input")
        if x.dim() != 4 or x.shape[1:3] != self.spec.shape[:2]:
            raise ValueError(f"expected a batch of shape (batch, 2, {self.height}, time), got {tuple(x.shape)}")
        self._check_condition(x, condition)

    def reconstruct(
        self, x: Tensor, *, generator: torch.Generator | None = None, condition: Tensor | None = None
    ) -> Tensor:
        return self._restore(x, generator, use_mean=generator is None).parameters

    def _decoded(
        self, x: Tensor, target: Tensor, generator: torch.Generator | None, condition: Tensor | None
    ) -> Decoded:
        return self._restore(x, generator, use_mean=False)

    def _restore(self, x: Tensor, generator: torch.Generator | None, use_mean: bool) -> Decoded:
        start = self.initial_state(len(x))
        encoded = self._encode_frames(x, start)
        z = encoded.posterior.mean if use_mean else encoded.posterior.sample(generator)
        return Decoded(encoded.posterior, z, x * self._mask(z, encoded.features, start.decoder)[0])

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        start = self.initial_state(len(x))
        return x * self._mask(z, self._encode_frames(x, start).features, start.decoder)[0]

    def _encode_frames(self, x: Tensor, state: CausalState) -> _Encoded:
        self.check_input(x)
        loudness, level = self._loudness(x, state.level)
        features, past = self.encoder(self.input_projection(loudness), state.encoder)  # (batch, time, width)
        projected = self.to_latent(features).transpose(1, 2)  # (batch, latent, time)
        return _Encoded(self.latent(projected), features, level, past)

    def _mask(self, z: Tensor, features: Tensor, past: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`(batch, latent, time)` and the encoder's features → mask and the decoder's state."""
        hidden, past = self.decoder(features + self.from_latent(z.transpose(1, 2)), past)
        output = self.output_projection(hidden).float().transpose(1, 2)[:, None]  # (batch, 1, frequency, time)
        return self.correction.mask(output), past

    def _loudness(self, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of the cells' powers over the level so far, about −2…2: `(batch, time, frequency)`."""
        power = x.float().pow(2).sum(1).transpose(1, 2)
        mean = power.mean(2)  # (batch, time)
        sounds = (mean > _SILENCE).float()
        sums = running_sum(torch.stack((mean.sqrt() * sounds, sounds), 1), level, self._decay)  # (batch, 2, time)
        reference = (sums[:, 0] / sums[:, 1].clamp_min(1e-30)).square().clamp_min(_SILENCE)
        loudness = torch.log(power / reference[..., None] + _FLOOR)
        return 0.3 * loudness + 1.5, sums[..., -1]

    @property
    def _decay(self) -> float:
        return math.exp(-1 / self.config.level_frames)
