"""`CausalRestorer`: denoises the spectra of sound while they arrive, `(batch, 2, frequency, time)`.

A frame's mask depends on that frame and earlier ones, so that live sound can be denoised. It is a U-Net over frequency
(Ronneberger et al., 2015), whose convolutions know a harmonic wherever it lies, as in the small networks for live
speech (Schröter et al., 2022, "DeepFilterNet"). At its coarsest level all rows of a frame become one vector, and
dilated convolutions look back (Luo & Mesgarani, 2019, "Conv-TasNet"), which are trained on all frames of an example in
parallel. The latent is there, one code for each frame.

The loudness of a stream isn't known in advance, so each frame is divided by a running mean of the level so far; a
louder input gives the same output, louder. Beside a row's loudness the network is given its running mean: noise that
goes on stands out from sound that comes and goes. The past is kept in a `CausalState`; a whole spectrum is processed as
one long step. Nothing here knows waveforms or blocks of samples.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from musicae.models.autoencoder import Decoded
from musicae.models.grid import GridAutoencoder
from musicae.models.sizes import Levels, ModelConfig, Width
from musicae.nn.bands import Bands
from musicae.nn.causal import DilatedStack, running_sum
from musicae.nn.convolution import LayerNorm2d, use_channels_last
from musicae.nn.correction import MaskCorrection
from musicae.nn.latent import Posterior
from musicae.spec import TensorSpec

BANDS = Bands(160, ((40, 4), (40, 16)))
"""With windows of 40 ms: single frequencies to 4 kHz, bands of 100 Hz to 8 kHz, of 400 Hz above."""
# Relative power of -60 dB: quieter cells are not distinguished.
_FLOOR = 1e-6
# Frames with a mean power up to this count as silent, and are left out of the level.
_SILENCE = 1e-10
_FEATURES = 3  # of a row: loudness, its running mean, place


class CausalConfig(ModelConfig):
    """Sizes of the causal restorer; 2.5 million parameters."""

    latent: Literal["deterministic", "gaussian"] = "deterministic"
    latent_size: Width = 128  # numbers of each frame's code
    widths: Levels = (32, 48, 64, 96)  # channels of each level, finest first; each has half the rows of the one before
    width: Width = 256  # of a frame's vector at the coarsest level
    layers: int = Field(default=6, ge=1, le=12)  # that look back, each twice as far as the one before; 6: 1.3 s
    level_frames: int = Field(default=200, ge=1, le=1_000_000)  # time constant of the level; 2 s
    mean_frames: int = Field(default=100, ge=1, le=1_000_000)  # of the mean of each row; 1 s

    @model_validator(mode="after")
    def _consistent(self) -> "CausalConfig":
        if self.widths[0] < 2:
            raise ValueError("the first of widths is 2 or more")
        return self


class CausalState(NamedTuple):
    """What the model keeps from earlier frames.

    Attributes:
        sums: `(batch, rows + 3)`, running sums of the frames' amplitudes, of their weights, of ones, and of the rows.
        past: `(batch, numbers)`, what the layers saw.
    """

    sums: Tensor
    past: Tensor


class _Encoded(NamedTuple):
    """The encoder's output: q(z | input), what the decoder is given, and the next state."""

    posterior: Posterior
    hidden: Tensor  # (batch, time, width)
    maps: list[Tensor]  # of all levels, finest first; the first are the features
    state: CausalState


class _Past:
    """Cuts the past of each layer from one tensor, and joins what they leave."""

    def __init__(self, past: Tensor) -> None:
        self._past, self._at = past, 0
        self._after: list[Tensor] = []

    def take(self, *shape: int) -> Tensor:
        """The next `(batch, *shape)`."""
        size = math.prod(shape)
        part = self._past[:, self._at : self._at + size]
        self._at += size
        return part.unflatten(1, shape)

    def leave(self, after: Tensor) -> None:
        """What the layer saw last, `(batch, ...)`."""
        self._after.append(after.flatten(1))

    def joined(self) -> Tensor:
        """`(batch, numbers)` for the next step."""
        return torch.cat(self._after, dim=1)


class _Down(nn.Module):
    """Halves the rows; looks at this frame and the one before."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, (5, 2), stride=(2, 1), padding=(2, 0))
        self.norm = LayerNorm2d(outputs)
        self.activation = nn.SiLU()

    def forward(self, x: Tensor, past: _Past) -> Tensor:
        """`(batch, inputs, rows, time)` → `(batch, outputs, ceil(rows / 2), time)`."""
        seen = torch.cat([past.take(*x.shape[1:3], 1), x], dim=3)
        past.leave(seen[..., -1:])
        return self.activation(self.norm(self.conv(seen)))


class _Up(nn.Module):
    """Doubles the rows, adds the encoder's, and looks at the rows around."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(inputs, 2 * outputs, 1)
        self.norm = LayerNorm2d(outputs)
        self.activation = nn.SiLU()
        self.conv = nn.Conv2d(outputs, outputs, (3, 1), padding=(1, 0))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """`(batch, inputs, rows, time)` and the finer `(batch, outputs, …, time)` → the finer shape."""
        twice = self.expand(x).unflatten(1, (2, -1)).transpose(1, 2)  # (batch, outputs, 2, rows, time)
        twice = twice.transpose(2, 3).flatten(2, 3)[:, :, : skip.shape[2]] + skip
        return twice + self.conv(self.activation(self.norm(twice)))


class CausalRestorer(GridAutoencoder):
    """Denoises sound without looking ahead: any number of frames, in steps of any size."""

    Config = CausalConfig
    config: CausalConfig

    def __init__(self, spec: TensorSpec, config: CausalConfig) -> None:
        super().__init__(spec, config)
        if spec.correction != "mask":
            raise ValueError("model 'causal' turns down spectra of sound and corrects nothing else; use unet")
        self.correction = MaskCorrection(self.channels)
        self.rows = BANDS.rows(self.height)
        heights = [self.rows]
        for _ in config.widths:
            heights.append(-(-heights[-1] // 2))
        self._coarsest = (config.widths[-1], heights[-1])
        numbers, width = math.prod(self._coarsest), config.width
        self.down = nn.ModuleList(_Down(above, below) for above, below in pairwise((_FEATURES, *config.widths)))
        self.to_vector = nn.Linear(numbers, width)
        self.stack = DilatedStack(width, config.layers)
        self.to_latent = nn.Linear(width, config.latent_size * self.latent.outputs_per_number)
        self.from_latent = nn.Linear(config.latent_size, width)
        self.from_vector = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, numbers))
        self.up = nn.ModuleList(_Up(below, above) for above, below in pairwise(config.widths))
        finest = config.widths[0]
        self.expand = nn.Conv2d(finest, 2 * (finest // 2), 1)
        self.head = nn.Conv2d(finest // 2 + _FEATURES, 1, (3, 1), padding=(1, 0))
        self.correction.init_output(self.head)
        use_channels_last(self)

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
        return CausalState(like.new_zeros(batch, self.rows + 3), like.new_zeros(batch, sum(self._past_sizes())))

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
        return self._mask(encoded.posterior.mean, encoded), encoded.state

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
        encoded = self._encode_frames(x, self.initial_state(x.shape[0]))
        z = encoded.posterior.mean if use_mean else encoded.posterior.sample(generator)
        return Decoded(encoded.posterior, z, x * self._mask(z, encoded))

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        return x * self._mask(z, self._encode_frames(x, self.initial_state(x.shape[0])))

    def _encode_frames(self, x: Tensor, state: CausalState) -> _Encoded:
        self.check_input(x)
        features, sums = self._features(x, state.sums)
        past, maps = _Past(state.past), [features]
        for down in self.down:
            maps.append(down(maps[-1], past))
        hidden = self.to_vector(maps[-1].flatten(1, 2).transpose(1, 2))  # (batch, time, width)
        before = tuple(past.take(reach, self.config.width) for reach in self.stack.reaches)
        hidden, after = self.stack(hidden, before)
        for layer in after:
            past.leave(layer)
        posterior = self.latent(self.to_latent(hidden).transpose(1, 2))
        return _Encoded(posterior, hidden, maps, CausalState(sums, past.joined()))

    def _mask(self, z: Tensor, encoded: _Encoded) -> Tensor:
        """`(batch, latent, time)` and the encoder's output → the mask, `(batch, 1, frequency, time)`."""
        hidden = self.from_vector(encoded.hidden + self.from_latent(z.transpose(1, 2)))
        features, *skips = encoded.maps
        x = hidden.transpose(1, 2).unflatten(1, self._coarsest) + skips[-1]
        for up, skip in zip(reversed(self.up), reversed(skips[:-1]), strict=True):
            x = up(x, skip)
        fine = self.expand(x).unflatten(1, (2, -1)).permute(0, 2, 3, 1, 4).flatten(2, 3)[:, :, : self.rows]
        output = self.head(torch.cat([fine, features.to(fine.dtype)], dim=1)).float()
        return BANDS.spread(self.correction.mask(output), self.height)

    def _features(self, x: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """What the network is given, `(batch, features, rows, time)`, and the next sums."""
        power = BANDS.means(x.float().square().sum(1))  # (batch, rows, time)
        mean = power.mean(1)  # (batch, time)
        sounds = (mean > _SILENCE).float()
        level = running_sum(torch.stack((mean.sqrt() * sounds, sounds), 1), sums[:, :2], self._decay("level"))
        reference = (level[:, 0] / level[:, 1].clamp_min(1e-30)).square().clamp_min(_SILENCE)
        loudness = 0.3 * torch.log(power / reference[:, None] + _FLOOR) + 1.5
        counted = torch.cat([torch.ones_like(loudness[:, :1]), loudness], dim=1)
        rows = running_sum(counted, sums[:, 2:], self._decay("mean"))
        place = torch.linspace(-1, 1, self.rows, device=x.device)[None, :, None].expand_as(loudness)
        features = torch.stack((loudness, rows[:, 1:] / rows[:, :1], place), dim=1)
        return features, torch.cat([level[..., -1], rows[..., -1]], dim=1)

    def _decay(self, which: Literal["level", "mean"]) -> float:
        return math.exp(-1 / (self.config.level_frames if which == "level" else self.config.mean_frames))

    def _past_sizes(self) -> Iterator[int]:
        rows = self.rows
        for channels in (_FEATURES, *self.config.widths[:-1]):
            yield channels * rows
            rows = -(-rows // 2)
        yield from (reach * self.config.width for reach in self.stack.reaches)
