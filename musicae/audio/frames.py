"""`FrameStream`: samples → frames of a spectrum → samples again, as they arrive, with a mask in between.

Frames stand where `signal.stft` puts them: centred on samples 0, hop, 2·hop, …, with the sound mirrored beyond
its ends; the sum of the windowed results is divided by the sum of the squared windows. With a mask of ones the
sound comes back as it was, and cut into whatever blocks it is the same sound. All channels are turned down by one
mask, from the root mean square of their magnitudes, so that everything stays where it is heard. Nothing here knows
files, rates or networks.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from musicae.errors import MusicaeError

MaskFunction = Callable[[np.ndarray], np.ndarray]
"""Magnitudes of the next frames, float32 `(frequency, time)` → factors for them, same shape; it keeps its own past."""

# At most so many frames go through the mask at once, which bounds the memory.
_FRAMES_PER_CALL = 256
# Energy of a cell below which it is no use to ask by how much it was turned down.
_SILENT_CELL = 1e-12
# A mask hears nothing louder than this: beyond, float32 can't hold a square any more. Full scale is about n_fft / 4.
_LOUDEST_CELL = 1e15


class Masked(NamedTuple):
    """Finished samples.

    Attributes:
        samples: `(samples, channels)`.
        removed: `(samples,)`: the share of the watched frequencies' amplitude that is gone, 0…1.
    """

    samples: np.ndarray
    removed: np.ndarray


class FrameStream:
    """Overlap-add of masked frames, for one sound.

    Args:
        mask: by how much to turn down.
        n_fft: window in samples, a multiple of 4; the hop is a quarter of it.
        channels: samples at a time.
        watched: frequencies, by their numbers, of which `Masked.removed` tells.
    """

    def __init__(self, mask: MaskFunction, *, n_fft: int, channels: int, watched: slice = slice(None)) -> None:
        self._mask = mask
        self._n_fft, self._hop, self._half = n_fft, n_fft // 4, n_fft // 2
        self._watched = watched
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)  # Hann's, as torch has it
        self._window = window.astype(np.float32)
        self._received = self._given = 0
        self._waiting = np.zeros((0, channels), np.float32)  # from the start of the next frame on, once it has one
        self._has_start = False
        # Sums over the frames so far, from the first sample that a later frame still adds to.
        self._sum = np.zeros((3, self._hop, channels), np.float32)
        self._weight = np.zeros((3, self._hop), np.float32)
        self._before_zero = 2  # hops of the first frame that lie before the sound
        self._energies = np.zeros((2, 0), np.float32)  # of masked and of heard frames, from one before the next hop on

    @property
    def latency_samples(self) -> int:
        """The most that finished samples lag behind those received: a sample is under windows that end so far off."""
        return self._n_fft - 1

    def push(self, samples: np.ndarray) -> Masked:
        """Takes the next `(samples, channels)`, float32, and gives those that are finished."""
        self._received += len(samples)
        finished = self._take(samples)
        self._given += len(finished.samples)
        return finished

    def finish(self) -> Masked:
        """Gives the rest; then as many samples were given as were received."""
        missing = self._received - self._given
        # A sound that is too short to be mirrored goes on in silence.
        added = 0 if self._has_start else self._half + 1 - len(self._waiting)
        parts = [self._take(np.zeros((added, self._waiting.shape[1]), np.float32))]
        parts.append(self._take(self._waiting[-self._half - 1 : -1][::-1]))
        rest = self._sum / np.maximum(self._weight, 1e-8)[..., None]
        parts.append(Masked(rest.reshape(-1, rest.shape[2]), self._removed(len(rest))))
        samples, removed = (np.concatenate(columns)[:missing] for columns in zip(*parts, strict=True))
        self._given += len(samples)
        return Masked(samples, removed)

    def _take(self, samples: np.ndarray) -> Masked:
        self._waiting = np.concatenate((self._waiting, samples))
        if not self._has_start and len(self._waiting) > self._half:
            self._waiting = np.concatenate((self._waiting[self._half : 0 : -1], self._waiting))
            self._has_start = True
        finished = [Masked(self._waiting[:0], np.zeros(0, np.float32))]
        while self._has_start and (count := (len(self._waiting) - self._n_fft) // self._hop + 1) > 0:
            count = min(count, _FRAMES_PER_CALL)
            finished.append(self._add(count))
            self._waiting = self._waiting[count * self._hop :]
        return Masked(*(np.concatenate(columns) for columns in zip(*finished, strict=True)))

    def _add(self, count: int) -> Masked:
        """Puts the next frames through the mask and adds them up; gives the hops that are final now."""
        windows = np.lib.stride_tricks.sliding_window_view(self._waiting, self._n_fft, axis=0)
        heard = windows[: count * self._hop : self._hop] * self._window  # (count, channels, n_fft)
        masked = np.fft.irfft(self._masked(np.fft.rfft(heard)), n=self._n_fft) * self._window
        # Quarter q of frame k lies on hop k + q.
        quarters = masked.reshape(count, -1, 4, self._hop).transpose(2, 0, 3, 1)  # (4, count, hop, channels)
        squares = np.square(self._window).reshape(4, 1, self._hop)
        sums = np.pad(self._sum, ((0, count), (0, 0), (0, 0)))
        weights = np.pad(self._weight, ((0, count), (0, 0)))
        for quarter in range(4):
            sums[quarter : quarter + count] += quarters[quarter]
            weights[quarter : quarter + count] += squares[quarter]
        self._sum, self._weight = sums[count:], weights[count:]
        early = min(self._before_zero, count)
        self._before_zero -= early
        final = sums[early:count] / weights[early:count, :, None]
        return Masked(final.reshape(-1, final.shape[2]), self._removed(len(final)))

    def _masked(self, spectrum: np.ndarray) -> np.ndarray:
        """`(time, channels, frequency)` complex → the same, turned down."""
        sizes = np.minimum(np.abs(spectrum), _LOUDEST_CELL)
        magnitude = np.sqrt(np.square(sizes).mean(1)).astype(np.float32).T  # (frequency, time)
        mask = self._mask(np.ascontiguousarray(magnitude))
        if mask.shape != magnitude.shape:
            raise ValueError(f"expected a mask of shape {magnitude.shape}, got {mask.shape}")
        if not np.isfinite(mask).all():
            raise MusicaeError("the model's result holds values that are not finite; train it again or use another.")
        energies = [np.square(part[self._watched]).mean(0) for part in (magnitude * mask, magnitude)]
        now = np.stack(energies)
        if not self._energies.shape[1]:
            now = np.concatenate((now[:, :1], now), axis=1)  # the first frame has no other before it
        self._energies = np.concatenate((self._energies, now), axis=1)
        return spectrum * mask.T[:, None]

    def _removed(self, hops: int) -> np.ndarray:
        """What is missing from the next hops, for each sample: a line between smoothed frames."""
        if hops == 0:
            return np.zeros(0, np.float32)
        # A hop lies between two frames, each of which is smoothed with its neighbours: from one before to one after.
        energies = self._energies[:, : hops + 3]
        energies = np.pad(energies, ((0, 0), (0, hops + 3 - energies.shape[1])), mode="edge")
        self._energies = self._energies[:, hops:]
        smooth = energies[:, :-2] + energies[:, 1:-1] + energies[:, 2:]  # (2, hops + 1)
        kept = np.sqrt((smooth[0] + _SILENT_CELL) / (smooth[1] + _SILENT_CELL)).clip(0.0, 1.0)
        places = np.arange(hops * self._hop, dtype=np.float32) / self._hop
        return (1.0 - np.interp(places, np.arange(hops + 1), kept)).astype(np.float32)
