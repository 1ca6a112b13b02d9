"""What models of sound are shown: a form says how a waveform becomes a tensor, and how it comes back.

`SpectrumForm` keeps phases and is exact; `BandForm` finds those of a band that is filled in; `MagnitudeForm` is for
models that make sound of nothing but a code, and finds all phases by fast Griffin-Lim (Perraudin, Balazs & Søndergaard,
2013), in `musicae.audio.stft`. Nothing here knows files, networks or corruption.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from musicae.audio import stft as signal
from musicae.audio.augmentation import augmented, coloured, dulled, pitch_steps, pitched, tilted
from musicae.audio.config import AudioConfig
from musicae.audio.corruption import CutBand
from musicae.nn.bands import EXTENSION
from musicae.spec import Layout, TensorSpec

_SILENT_SHARE = 0.03
_JOINED_SHARE = 0.4
# Of a filled band: the share of a cell's power below which it is the same, what a power is at least, the largest gain.
_SAME, _TINY, _MOST_GAIN = 1e-8, 1e-12, 8.0


class Form(ABC):
    """One way to write sound as a grid of frequency and time."""

    channels: ClassVar[int]
    is_generated: ClassVar[bool] = False
    """Whether sound is made anew from it, and not of a sound that is there."""
    fills_band: ClassVar[bool] = False
    """Whether a model is shown which frequencies a sound lacks."""
    meaning: ClassVar[str]
    """What the grid holds, for other programs."""

    def __init__(self, config: AudioConfig) -> None:
        self.config = config

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an example."""
        return (self.channels, self.config.n_fft // 2 + 1, self.config.frames)

    @property
    @abstractmethod
    def spec(self) -> TensorSpec:
        """What a model has to know of it."""

    @abstractmethod
    def to_tensor(self, waveform: Tensor, generator: torch.Generator | None, semitones: Tensor | None = None) -> Tensor:
        """`(batch, samples)` → `(batch, *shape)`; with a generator it is augmented.

        Args:
            waveform: of stored examples.
            generator: of the changes.
            semitones: by which the pitch of each is moved, `(batch,)`, where a form can; None: as it is drawn.
        """

    @abstractmethod
    def to_waveform(self, tensor: Tensor, *, is_final: bool = False) -> Tensor:
        """`(batch, *shape)` → `(batch, samples)`; what is final, to be listened to, may take longer."""

    @abstractmethod
    def magnitude(self, tensor: Tensor) -> Tensor:
        """`(batch, *shape)` → linear magnitudes `(batch, frequency, time)`."""

    def of_spectrum(self, spectrum: Tensor, end_hz: float | None = None) -> Tensor:
        """Complex spectra `(batch, 2, frequency, time)` of any length → what a model is shown of them.

        Args:
            spectrum: of a sound.
            end_hz: the highest frequency that the sound holds, where that is known.
        """
        del end_hz
        return spectrum

    def spectrum_of(self, answer: Tensor, spectrum: Tensor) -> Tensor:
        """A model's answer → complex spectra, whose phases begin as those that the model was given.

        Args:
            answer: shaped as `of_spectrum` gave it, on the CPU.
            spectrum: that it is the answer to, `(batch, 2, frequency, time)`.
        """
        del spectrum
        return answer

    def morph_over_time(self, path: Tensor) -> Tensor:
        """The examples `(points, *shape)` of a path become one, `(1, *shape)`, that goes along it while time passes."""
        points, frames = path.shape[0], path.shape[-1]
        place = torch.linspace(0, points - 1, frames)
        below = place.floor().long().clamp_max(max(0, points - 2))
        share = place - below
        time = torch.arange(frames)
        here, there = (path[index, :, :, time].permute(1, 2, 0) for index in (below, (below + 1).clamp_max(points - 1)))
        return torch.lerp(here, there, share.to(here))[None]


class SpectrumForm(Form):
    """Complex spectra, two channels: for what turns parts of a sound down."""

    channels = 2
    meaning = "channels: real and imaginary parts of the spectrum"
    _likelihood, _correction = "spectral", "mask"

    @property
    def spec(self) -> TensorSpec:
        return TensorSpec(
            layout=Layout.GRID, shape=self.shape, likelihood=self._likelihood, correction=self._correction
        )

    def to_tensor(self, waveform: Tensor, generator: torch.Generator | None, semitones: Tensor | None = None) -> Tensor:
        del semitones
        if generator is None:
            return signal.stft(waveform, n_fft=self.config.n_fft)
        rate_hz = self.config.sample_rate_hz
        changed = augmented(
            waveform, generator, sample_rate_hz=rate_hz, silent_share=_SILENT_SHARE, joined_share=_JOINED_SHARE
        )
        spectrum = signal.stft(changed, n_fft=self.config.n_fft)
        return self._recorded_otherwise(spectrum, generator)

    def _recorded_otherwise(self, spectrum: Tensor, generator: torch.Generator) -> Tensor:
        """As other microphones would give it."""
        return dulled(coloured(spectrum, generator), generator, sample_rate_hz=self.config.sample_rate_hz)

    def to_waveform(self, tensor: Tensor, *, is_final: bool = False) -> Tensor:
        return signal.inverse_stft(tensor, samples=self.config.chunk_samples)

    def magnitude(self, tensor: Tensor) -> Tensor:
        return signal.magnitude(tensor)


class BandForm(SpectrumForm):
    """Complex spectra whose top is missing and filled in; its phases cannot be known, so none are judged."""

    fills_band = True
    meaning = (
        "channels: real and imaginary parts of the spectrum; exactly 0 from the frequency on at which the sound ends, "
        "and filled in from there on"
    )
    _likelihood, _correction = "band_levels", "extend"

    def _recorded_otherwise(self, spectrum: Tensor, generator: torch.Generator) -> Tensor:
        """Brighter or duller; bands at random levels would leave nothing to say how loud the missing one was."""
        return tilted(spectrum, generator, sample_rate_hz=self.config.sample_rate_hz)

    def of_spectrum(self, spectrum: Tensor, end_hz: float | None = None) -> Tensor:
        """Nothing from the sound's end on, so that a model sees that it is missing."""
        if end_hz is None or end_hz >= self.config.sample_rate_hz / 2:
            return spectrum
        bins = torch.arange(spectrum.shape[2], device=spectrum.device)
        is_there = bins * self.config.sample_rate_hz / self.config.n_fft < max(
            end_hz, CutBand.lowest_hz(self.config.sample_rate_hz)
        )
        return spectrum * is_there[:, None]

    def spectrum_of(self, answer: Tensor, spectrum: Tensor) -> Tensor:
        """Phases of what was filled in are made to fit, and its rows get their levels again; what was there stays.

        Copied phases seldom belong to any sound, and what doesn't fit is lost; otherwise the level of music drops by up
        to 5 dB.
        """
        is_filled = (answer - spectrum).square().sum(1, keepdim=True) > _SAME * spectrum.square().sum(1, keepdim=True)
        samples = (spectrum.shape[-1] - 1) * self.config.hop_samples
        wanted, frequencies = EXTENSION.means(answer.square().sum(1)), answer.shape[2]
        # First frame by frame; then one gain for all of a row, which changes no phases.
        for over_time in (False, False, True, True):
            fitting = signal.stft(signal.inverse_stft(answer, samples=samples), n_fft=self.config.n_fft)
            levels = [wanted, EXTENSION.means(fitting.square().sum(1))]
            if over_time:
                levels = [power.mean(-1, keepdim=True) for power in levels]
            gain = (levels[0] / levels[1].clamp_min(_TINY)).sqrt().clamp_max(_MOST_GAIN).expand_as(wanted)
            answer = torch.where(is_filled, fitting * EXTENSION.spread(gain, frequencies)[:, None], answer)
        return torch.where((answer == 0).all(1, keepdim=True), spectrum, answer)


class MagnitudeForm(Form):
    """Linear magnitudes to the power 0.5, one channel: for what makes sound from a code."""

    channels = 1
    is_generated = True
    meaning = "one channel: magnitudes to the power 0.5; phases are found, as by Griffin-Lim"
    EXPONENT = 0.5

    @property
    def spec(self) -> TensorSpec:
        return TensorSpec(layout=Layout.GRID, shape=self.shape, likelihood="magnitude")

    def to_tensor(self, waveform: Tensor, generator: torch.Generator | None, semitones: Tensor | None = None) -> Tensor:
        if generator is not None:
            rate_hz = self.config.sample_rate_hz
            waveform = augmented(waveform, generator, sample_rate_hz=rate_hz, room_share=0.0)
        linear = signal.magnitude(signal.stft(waveform, n_fft=self.config.n_fft))[:, None]
        if generator is not None:
            moved = pitch_steps(len(linear), generator) if semitones is None else semitones
            linear = coloured(pitched(linear, moved), generator)
        return self._root(linear)

    def _root(self, linear: Tensor) -> Tensor:
        return linear**self.EXPONENT

    def to_waveform(self, tensor: Tensor, *, is_final: bool = False) -> Tensor:
        iterations = signal.FINAL_ITERATIONS if is_final else signal.ITERATIONS
        return signal.griffin_lim(self.magnitude(tensor), samples=self.config.chunk_samples, iterations=iterations)

    def of_spectrum(self, spectrum: Tensor, end_hz: float | None = None) -> Tensor:
        del end_hz
        return self._root(signal.magnitude(spectrum)[:, None])

    def spectrum_of(self, answer: Tensor, spectrum: Tensor) -> Tensor:
        """Phases begin as the sound's own, which fit wherever the model keeps what was there."""
        waveform = signal.griffin_lim(self.magnitude(answer), samples=self.config.chunk_samples, start=spectrum)
        return signal.stft(waveform, n_fft=self.config.n_fft)

    def magnitude(self, tensor: Tensor) -> Tensor:
        return tensor[:, 0].clamp_min(0) ** (1 / self.EXPONENT)


FORMS: dict[str, type[Form]] = {"spectrum": SpectrumForm, "top": BandForm, "magnitude": MagnitudeForm}
"""`AudioConfig.representation` → form."""
