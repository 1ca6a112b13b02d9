"""Puts a whole sound file through a function of spectra, in constant memory and without seams.

Two passes: one for the file's level and length, one that streams overlapping chunks at the model's rate, see
`musicae.audio.chunking`. Each channel goes through by itself, or all are turned down as one, see
`musicae.audio.shared_mask`; all are at one level, so that the balance between them stays.

What the model's rate can't hold (above its Nyquist frequency) is not lost: it is added back, turned down by as
much as the model turned down the upper octave of what it did hear. With a function that changes nothing, the
file comes back as it was. Nothing here knows domains, models or settings.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from musicae.audio import stft as signal
from musicae.audio.beyond_band import rejoined, upper_octave
from musicae.audio.chunking import ChunkStream, Framing
from musicae.audio.files import Resampler, read_blocks, sound_info, sound_writer
from musicae.audio.shared_mask import joint_spectrum, turned_down_alike
from musicae.errors import MusicaeError

_ROWS_PER_CALL = 8
# Energy of a cell below which it is no use to ask by how much it was turned down.
_SILENT_CELL = 1e-9


def map_sound(
    path: Path, target: Path, function: Callable[[Tensor], Tensor], framing: Framing, *, least_rate_hz: int = 0
) -> None:
    """Writes what a function of spectra makes of a file: same length, rate, channels and kind of samples.

    Args:
        path: any sound of any length.
        target: of a kind in `musicae.audio.formats`; nothing is left there on failure.
        function: `(batch, 2, frequency, time)` → the same shape.
        framing: how the function wants its input.
        least_rate_hz: of what is written; where the file's rate is lower, the result has this one.

    Raises:
        MusicaeError: no such file, no space, or a function whose result is not finite.
        DamagedFileError: a file that can't be read to its end.
    """
    info = sound_info(path)
    level, frames = level_and_frames(path)
    gain = framing.level_rms / level if level > 0 else 0.0
    mapper = _ChunkMapper(function, framing, source_rate_hz=info.sample_rate_hz)
    stream = ChunkStream(mapper, framing, columns=info.channels, result_columns=3 * info.channels)
    down = Resampler(info.sample_rate_hz, framing.sample_rate_hz, info.channels)
    result_rate_hz = max(info.sample_rate_hz, least_rate_hz)
    up = Resampler(framing.sample_rate_hz, result_rate_hz, 3 * info.channels)
    across = Resampler(info.sample_rate_hz, result_rate_hz, info.channels)
    with sound_writer(
        target,
        sample_rate_hz=result_rate_hz,
        channels=info.channels,
        subtype=info.subtype,
        container=info.container,
        frames=frames * result_rate_hz // info.sample_rate_hz,
    ) as sink:
        if gain == 0.0:
            for block in read_blocks(path):
                sink.write(across.push(block))
            sink.write(across.push(np.zeros((0, info.channels), np.float32), last=True))
            return
        pending = np.zeros((0, info.channels), np.float32)  # source frames whose result is not there yet
        for block in read_blocks(path):
            pending = np.concatenate((pending, across.push(block * gain)))
            ready = up.push(stream.push(down.push(block * gain)))
            sink.write(_joined(pending, ready) / gain)
            pending = pending[len(ready) :]
        nothing = np.zeros((0, info.channels), np.float32)
        pending = np.concatenate((pending, across.push(nothing, last=True)))
        tail = np.concatenate((stream.push(down.push(nothing, last=True)), stream.finish()))
        ready = up.push(tail, last=True)
        sink.write(_joined(pending, _lengthened(ready, len(pending))) / gain)


def level_and_frames(path: Path) -> tuple[float, int]:
    """RMS of all channels, 0 for silence, and the number of frames that are really there."""
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
    return rejoined(result, heard, removed, source[:frames])


def _lengthened(ready: np.ndarray, frames: int) -> np.ndarray:
    """Repeats the last row up to a length: between two rates, rounding can cost a frame."""
    missing = max(0, frames - len(ready))
    return np.pad(ready, ((0, missing), (0, 0)), mode="edge" if len(ready) else "constant")


class _ChunkMapper:
    """Puts a chunk `(samples, channels)` at the model's rate through a function of spectra.

    What comes out has three columns for each channel: the result, the input it came from, and the part
    of the upper octave that the function removed (0: nothing; so the resampler's silence at either end of the
    file means that nothing is removed there).
    """

    def __init__(self, function: Callable[[Tensor], Tensor], framing: Framing, *, source_rate_hz: int) -> None:
        self._function = function
        self._framing = framing
        self._upper_octave = upper_octave(
            framing.n_fft, model_rate_hz=framing.sample_rate_hz, source_rate_hz=source_rate_hz
        )

    def __call__(self, chunk: np.ndarray) -> np.ndarray:
        """`(samples, channels)` → `(samples, 3 · channels)`."""
        rows = torch.from_numpy(chunk.T.copy())  # (channels, samples)
        if self._framing.shares_mask and len(rows) > 1:
            mapped = self._map_together(rows)
        else:
            # One chunk a call: several at once were no faster on a CPU and take more memory.
            mapped = torch.cat([self._map_rows(part) for part in rows.split(_ROWS_PER_CALL)])
        columns: np.ndarray = mapped.permute(2, 1, 0).reshape(len(chunk), -1).numpy()
        return columns

    def _map_rows(self, rows: Tensor) -> Tensor:
        """`(rows, samples)` → result, input and part removed, `(rows, 3, samples)`."""
        spectrum = signal.stft(rows, n_fft=self._framing.n_fft)
        estimate = self._estimate(spectrum)
        result = signal.inverse_stft(estimate, samples=rows.shape[1])
        return torch.stack((result, rows, self._removed(spectrum, estimate, rows.shape[1])), dim=1)

    def _map_together(self, rows: Tensor) -> Tensor:
        """As `_map_rows`, with one mask for all rows."""
        spectrum = signal.stft(rows, n_fft=self._framing.n_fft)
        joint = joint_spectrum(spectrum)
        estimate = self._estimate(joint)
        result = signal.inverse_stft(turned_down_alike(spectrum, joint, estimate), samples=rows.shape[1])
        removed = self._removed(joint, estimate, rows.shape[1]).expand_as(rows)
        return torch.stack((result, rows, removed), dim=1)

    def _estimate(self, spectrum: Tensor) -> Tensor:
        with torch.inference_mode():
            estimate = self._function(spectrum).detach().cpu().float()
        if estimate.shape != spectrum.shape:
            raise ValueError(f"expected a result of shape {tuple(spectrum.shape)}, got {tuple(estimate.shape)}")
        if not estimate.isfinite().all():
            raise MusicaeError("the model's result holds values that are not finite; train it again or use another.")
        return estimate

    def _removed(self, spectrum: Tensor, estimate: Tensor, samples: int) -> Tensor:
        """The part of the upper octave's amplitude that is gone, for each sample: `(rows, samples)` in 0…1."""
        energies = [part[:, :, self._upper_octave].pow(2).sum(1).mean(1) for part in (estimate, spectrum)]
        smooth = [F.avg_pool1d(energy[:, None], 3, 1, 1, count_include_pad=False) for energy in energies]
        kept = ((smooth[0] + _SILENT_CELL) / (smooth[1] + _SILENT_CELL)).sqrt().clamp_max(1.0)  # (rows, 1, time)
        # Frames stand on samples 0, hop, …, samples: the last one is just behind the chunk.
        return F.interpolate(1.0 - kept, size=samples + 1, mode="linear", align_corners=True)[:, 0, :-1]
