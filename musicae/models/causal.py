"""`CausalRestorer`: denoises the spectra of sound while they arrive, `(batch, 2, frequency, time)`.

A frame's mask depends on that frame and earlier ones, so that live sound can be denoised. As in NSNet2 (Braun & Tashev,
2020, "Data augmentation and loss normalization for deep neural noise suppression") a frame's log spectrum goes through
few, wide matrix products, which are fast on a CPU. NSNet2 has recurrent units; here dilated convolutions look back (Luo
& Mesgarani, 2019, "Conv-TasNet"), which are trained on all frames of an example in parallel. The latent is between
encoder and decoder, one code for each frame, and a skip connection joins the two.

The loudness of a stream isn't known in advance, so each frame is divided by a running mean of the level so far; a
louder input gives the same output, louder. The past is kept in a `CausalState`; a whole spectrum is processed as one
long step. Nothing here knows waveforms or blocks of samples.
"""

import math
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from musicae.models.autoencoder import Decoded, ModelConfig, Width
from musicae.models.conv import GridAutoencoder
from musicae.nn.causal import DilatedStack, running_sum
from musicae.nn.correction import MaskCorrection
from musicae.nn.latent import Posterior
from musicae.spec import TensorSpec

# Relative power of -60 dB: quieter cells are not distinguished.
_FLOOR = 1e-6
# Frames with a mean power up to this count as silent, and are left out of the level.
_SILENCE = 1e-10


class CausalConfig(ModelConfig):
    """Sizes of the causal restorer; 2.8 million parameters with n_fft=512."""

    latent: Literal["deterministic", "gaussian"] = "deterministic"
    latent_size: Width = 128  # numbers of each frame's code
    width: Width = 256
    layers: int = Field(default=5, ge=1, le=12)  # in encoder and decoder each; 5 look back over 1 s with n_fft=512
    level_frames: int = Field(default=250, ge=1, le=1_000_000)  # time constant of the level; 2 s at 16 kHz


class CausalState(NamedTuple):
    """What the model keeps from earlier frames.

    Attributes:
        level: `(batch, 2)`, running sums of the frames' amplitudes and of their weights.
        encoder: for each layer `(batch, reach, width)`.
        decoder: the same.
    """

    level: Tensor
    encoder: tuple[Tensor, ...]
    decoder: tuple[Tensor, ...]


class _Encoded(NamedTuple):
    """The encoder's output: q(z | input), the features for the decoder, and the next state."""

    posterior: Posterior
    features: Tensor  # (batch, time, width)
    level: Tensor
    encoder: tuple[Tensor, ...]


class CausalRestorer(GridAutoencoder):
    """Denoises sound without looking ahead: any number of frames, in steps of any size."""

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
        """Denoises the next frames.

        Args:
            frames: `(batch, 2, frequency, time)`, one frame or more.
            state: from `initial_state` or the previous step.

        Returns:
            The frames, attenuated where there is noise, and the state for the next step.
        """
        mask, state = self.mask(frames, state)
        return frames * mask, state

    def mask(self, frames: Tensor, state: CausalState) -> tuple[Tensor, CausalState]:
        """As `step`, but returns the mask `(batch, 1, frequency, time)` in 0…1, and the next state."""
        encoded = self._encode_frames(frames, state)
        mask, decoder = self._mask(encoded.posterior.mean, encoded.features, state.decoder)
        return mask, CausalState(encoded.level, encoded.encoder, decoder)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        self.check_input(x, condition)
        return self._encode_frames(x, self.initial_state(x.shape[0])).posterior

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
        start = self.initial_state(x.shape[0])
        encoded = self._encode_frames(x, start)
        z = encoded.posterior.mean if use_mean else encoded.posterior.sample(generator)
        return Decoded(encoded.posterior, z, x * self._mask(z, encoded.features, start.decoder)[0])

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        start = self.initial_state(x.shape[0])
        return x * self._mask(z, self._encode_frames(x, start).features, start.decoder)[0]

    def _encode_frames(self, x: Tensor, state: CausalState) -> _Encoded:
        self.check_input(x)
        loudness, level = self._loudness(x, state.level)
        features, past = self.encoder(self.input_projection(loudness), state.encoder)  # (batch, time, width)
        projected = self.to_latent(features).transpose(1, 2)  # (batch, latent, time)
        return _Encoded(self.latent(projected), features, level, past)

    def _mask(self, z: Tensor, features: Tensor, past: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """`(batch, latent, time)` and the encoder's features → the mask, and the decoder's next state."""
        hidden, past = self.decoder(features + self.from_latent(z.transpose(1, 2)), past)
        output = self.output_projection(hidden).float().transpose(1, 2)[:, None]  # (batch, 1, frequency, time)
        return self.correction.mask(output), past

    def _loudness(self, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """Log power relative to the level so far, `(batch, time, frequency)`, about −2…2; and the next level."""
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
