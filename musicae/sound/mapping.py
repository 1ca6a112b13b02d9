"""Puts a whole sound file through a function of spectra, in constant memory and without seams.

Two passes: one for the file's level and length, one that streams. The second cuts the sound, at the model's
rate, into overlapping chunks; the edges of a chunk's result, where the model saw too little, are thrown away
and the rest is cross-faded, so that weights add up to one everywhere. Each channel goes through by itself, all
of them at one level, so that the balance between them stays.

What the model's rate can't hold (above its Nyquist frequency) is not lost: it is added back, turned down by as
much as the model turned down the upper octave of what it did hear. With a function that changes nothing, the
file comes back as it was. Nothing here knows domains, models or settings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from musicae.errors import MusicaeError
from musicae.sound import signal
from musicae.sound.files import Resampler, read_blocks, sound_info, sound_writer

_ROWS_PER_CALL = 8
# Energy of a cell below which it is no use to ask by how much it was turned down.
_SILENT_CELL = 1e-9


@dataclass(frozen=True)
class Framing:
    """How sound is cut for a model.

    Attributes:
        sample_rate_hz: the model's.
        n_fft: window of its spectra, in samples.
        chunk_samples: length of one example, a multiple of the hop.
        level_rms: the RMS that a file is brought to.
    """

    sample_rate_hz: int
    n_fft: int
    chunk_samples: int
    level_rms: float

    @property
    def edge_samples(self) -> int:
        """Thrown away at either end of a chunk, and the length of the cross-fade beside it."""
        return self.chunk_samples // 16

    @property
    def step_samples(self) -> int:
        """From one chunk to the next."""
        return self.chunk_samples - 3 * self.edge_samples


def map_sound(path: Path, target: Path, function: Callable[[Tensor], Tensor], framing: Framing) -> None:
    """Writes what a function of spectra makes of a file: same length, rate, channels and kind of samples.

    Args:
        path: any sound of any length.
        target: a .wav; nothing is left there on failure.
        function: `(batch, 2, frequency, time)` → the same shape.
        framing: how the function wants its input.

    Raises:
        MusicaeError: no such file, no space, or a function whose result is not finite.
        DamagedFileError: a file that can't be read to its end.
    """
    info = sound_info(path)
    level, frames = _level_and_frames(path)
    gain = framing.level_rms / level if level > 0 else 0.0
    mapper = _ChunkMapper(function, framing, info.channels, source_rate_hz=info.sample_rate_hz)
    down = Resampler(info.sample_rate_hz, framing.sample_rate_hz, info.channels)
    up = Resampler(framing.sample_rate_hz, info.sample_rate_hz, 3 * info.channels)
    with sound_writer(
        target, sample_rate_hz=info.sample_rate_hz, channels=info.channels, subtype=info.subtype, frames=frames
    ) as sink:
        if gain == 0.0:
            for block in read_blocks(path):
                sink.write(block)
            return
        pending = np.zeros((0, info.channels), np.float32)  # source frames whose result is not there yet
        for block in read_blocks(path):
            pending = np.concatenate((pending, block * gain))
            ready = up.push(mapper.push(down.push(block * gain)))
            sink.write(_joined(pending, ready) / gain)
            pending = pending[len(ready) :]
        tail = np.concatenate((mapper.push(down.push(pending[:0], last=True)), mapper.finish()))
        ready = up.push(tail, last=True)
        sink.write(_joined(pending, _lengthened(ready, len(pending))) / gain)


def _level_and_frames(path: Path) -> tuple[float, int]:
    """RMS of all channels, and the number of frames that are really there."""
    energy, frames, channels = 0.0, 0, 1
    for block in read_blocks(path):
        energy += float(np.square(block, dtype=np.float64).sum())
        frames, channels = frames + len(block), block.shape[1]
    level = (energy / (frames * channels)) ** 0.5
    return (level if level > 1e-9 else 0.0), frames


def _joined(source: np.ndarray, ready: np.ndarray) -> np.ndarray:
    """The model's result, and what its rate couldn't hold turned down alike; `(frames, channels)`."""
    frames = min(len(source), len(ready))
    channels = source.shape[1]
    result, heard, removed = (ready[:frames, part * channels : (part + 1) * channels] for part in range(3))
    joined: np.ndarray = result + (1.0 - removed) * (source[:frames] - heard)
    return joined


def _lengthened(ready: np.ndarray, frames: int) -> np.ndarray:
    """Repeats the last row up to a length: between two rates, rounding can cost a frame."""
    missing = max(0, frames - len(ready))
    return np.pad(ready, ((0, missing), (0, 0)), mode="edge" if len(ready) else "constant")


class _ChunkMapper:
    """Streams `(frames, channels)` at the model's rate through a function of spectra.

    What comes out has three columns for each channel: the result, the input it came from, and the part
    of the upper octave that the function removed (0: nothing; so the resampler's silence at either end of the
    file means that nothing is removed there).
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], framing: Framing, channels: int, *, source_rate_hz: int
    ) -> None:
        self._function = function
        self._framing = framing
        self._channels = channels
        bins = framing.n_fft // 2
        nyquist_bin = round(bins * min(1.0, source_rate_hz / framing.sample_rate_hz))
        self._upper_octave = slice(nyquist_bin // 2, nyquist_bin + 1)
        self._weight = _fades(framing)
        self._waiting = np.zeros((0, channels), np.float32)
        self._unfinished = np.zeros((0, 3 * channels), np.float32)
        self._is_first = True

    def push(self, frames: np.ndarray) -> np.ndarray:
        """Takes the next frames and gives what is finished, `(frames, 3 · channels)`."""
        self._waiting = np.concatenate((self._waiting, frames))
        chunk, step = self._framing.chunk_samples, self._framing.step_samples
        finished = [np.zeros((0, 3 * self._channels), np.float32)]
        # One frame more than a chunk: then it is not the last one, whose end must not fade.
        while (count := (len(self._waiting) - chunk - 1) // step + 1) > 0:
            count = min(count, max(1, _ROWS_PER_CALL // self._channels))
            chunks = np.stack([self._waiting[n * step : n * step + chunk] for n in range(count)])
            for mapped in self._map(chunks):
                finished.append(self._add(mapped, is_last=False)[:step])
            self._waiting = self._waiting[count * step :]
        return np.concatenate(finished)

    def finish(self) -> np.ndarray:
        """Gives the rest."""
        frames = len(self._waiting)
        if frames == 0:
            return self._unfinished
        # A mirror, not silence: the model judges noise by what is around it.
        padded = np.pad(self._waiting, ((0, self._framing.chunk_samples - frames), (0, 0)), mode="symmetric")
        return self._add(self._map(padded[None])[0], is_last=True)[:frames]

    def _add(self, mapped: np.ndarray, *, is_last: bool) -> np.ndarray:
        """Adds a chunk to what is unfinished; gives the sum, whose first step is final."""
        weight = self._weight.copy()
        faded = 2 * self._framing.edge_samples
        if self._is_first:
            weight[:faded] = 1.0
        if is_last:
            weight[-faded:] = 1.0
        total = mapped * weight[:, None]
        total[: len(self._unfinished)] += self._unfinished
        self._unfinished = total[self._framing.step_samples :]
        self._is_first = False
        return total

    def _map(self, chunks: np.ndarray) -> np.ndarray:
        """`(chunks, samples, channels)` → `(chunks, samples, 3 · channels)`."""
        count, samples, channels = chunks.shape
        rows = torch.from_numpy(chunks.transpose(0, 2, 1).reshape(count * channels, samples).copy())
        mapped = torch.cat([self._map_rows(part) for part in rows.split(_ROWS_PER_CALL)])  # (rows, 3, samples)
        columns = mapped.view(count, channels, 3, samples).permute(0, 3, 2, 1)
        joined: np.ndarray = columns.reshape(count, samples, 3 * channels).numpy()
        return joined

    def _map_rows(self, rows: Tensor) -> Tensor:
        """`(rows, samples)` → result, input and part removed, `(rows, 3, samples)`."""
        spectrum = signal.stft(rows, n_fft=self._framing.n_fft)
        with torch.inference_mode():
            estimate = self._function(spectrum).detach().cpu().float()
        if estimate.shape != spectrum.shape:
            raise ValueError(f"expected a result of shape {tuple(spectrum.shape)}, got {tuple(estimate.shape)}")
        if not estimate.isfinite().all():
            raise MusicaeError("the model's result holds values that are not finite; train it again or use another.")
        result = signal.inverse_stft(estimate, samples=rows.shape[1])
        return torch.stack((result, rows, self._removed(spectrum, estimate, rows.shape[1])), dim=1)

    def _removed(self, spectrum: Tensor, estimate: Tensor, samples: int) -> Tensor:
        """The part of the upper octave's amplitude that is gone, for each sample: `(rows, samples)` in 0…1."""
        energies = [part[:, :, self._upper_octave].pow(2).sum(1).mean(1) for part in (estimate, spectrum)]
        smooth = [F.avg_pool1d(energy[:, None], 3, 1, 1, count_include_pad=False) for energy in energies]
        kept = ((smooth[0] + _SILENT_CELL) / (smooth[1] + _SILENT_CELL)).sqrt().clamp_max(1.0)  # (rows, 1, time)
        # Frames stand on samples 0, hop, …, samples: the last one is just behind the chunk.
        return F.interpolate(1.0 - kept, size=samples + 1, mode="linear", align_corners=True)[:, 0, :-1]


def _fades(framing: Framing) -> np.ndarray:
    """Weights of a chunk: nothing, a rise, one, the mirrored fall, nothing; a step apart they add up to one."""
    edge = framing.edge_samples
    rise = (np.arange(edge, dtype=np.float32) + 0.5) / edge
    side = np.concatenate((np.zeros(edge, np.float32), rise))
    middle = np.ones(framing.chunk_samples - 4 * edge, np.float32)
    return np.concatenate((side, middle, side[::-1]))
