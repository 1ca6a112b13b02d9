"""Cuts a stream of sound into overlapping chunks and joins what a function made of them, without seams.

The edges of a chunk's result, where the model saw too little, are thrown away and what lies between is
cross-faded, so that weights add up to one everywhere. The first chunk begins, and the last one ends, with the
sound itself, as if it had been one chunk.

A network of finite reach then gives what it would give for the whole sound at once, if its grid falls alike:
a U-Net that halves the time four times stands on every sixteenth frame. `Framing.for_restoring` steps by a
multiple of `ALIGNED_FRAMES`. What overlaps is computed twice, so the overlap is no longer than it has to be: chunk by
chunk and whole differ by -60 dB or less (see experiments/sound_choices.py). Nothing here knows files, spectra or
models.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

ALIGNED_FRAMES = 64
_RESTORED_S = 15.0
_OVERLAP_FRAMES = 3 * ALIGNED_FRAMES - 1
_FADE_FRAMES = 7


@dataclass(frozen=True)
class Framing:
    """How sound is cut for a model.

    Attributes:
        sample_rate_hz: the model's.
        n_fft: window of its spectra, in samples.
        chunk_samples: length of a chunk, a multiple of the hop.
        level_rms: the RMS that a file is brought to.
        edge_samples: thrown away at either end of a chunk; by default a sixteenth of it.
        fade_samples: of the cross-fade between two chunks; by default a sixteenth of a chunk.
        least_samples: a shorter end of a sound is filled up to this; by default to a whole chunk.
        shares_mask: whether the channels of a sound are turned down as one, see `musicae.audio.shared_mask`.
    """

    sample_rate_hz: int
    n_fft: int
    chunk_samples: int
    level_rms: float
    edge_samples: int
    fade_samples: int
    least_samples: int
    shares_mask: bool = False

    @classmethod
    def of_examples(cls, *, sample_rate_hz: int, n_fft: int, chunk_samples: int, level_rms: float) -> "Framing":
        """For a model that takes chunks of one length only."""
        edge = chunk_samples // 16
        return cls(sample_rate_hz, n_fft, chunk_samples, level_rms, edge, edge, chunk_samples)

    def for_restoring(self, *, shares_mask: bool) -> "Framing":
        """For a model that takes chunks of any length: about fifteen seconds, which cost less at their edges."""
        hop = self.n_fft // 4
        frames = ALIGNED_FRAMES * max(7, round(_RESTORED_S * self.sample_rate_hz / hop / ALIGNED_FRAMES))
        return replace(
            self,
            chunk_samples=(frames - 1) * hop,
            edge_samples=(_OVERLAP_FRAMES - _FADE_FRAMES) // 2 * hop,
            fade_samples=_FADE_FRAMES * hop,
            shares_mask=shares_mask,
        )

    @property
    def step_samples(self) -> int:
        """From one chunk to the next."""
        return self.chunk_samples - 2 * self.edge_samples - self.fade_samples


class ChunkStream:
    """Streams `(frames, columns)` through a function of chunks, in the memory of two chunks.

    Args:
        function: `(frames, columns)`, a chunk → `(frames, result_columns)`.
        framing: how long chunks are, and how they overlap.
        columns: of what goes in.
        result_columns: of what comes out.
    """

    def __init__(
        self, function: Callable[[np.ndarray], np.ndarray], framing: Framing, *, columns: int, result_columns: int
    ) -> None:
        self._function = function
        self._framing = framing
        self._waiting = np.zeros((0, columns), np.float32)
        self._unfinished = np.zeros((0, result_columns), np.float32)
        self._is_first = True

    def push(self, frames: np.ndarray) -> np.ndarray:
        """Takes the next frames and gives those that are finished, `(frames, result_columns)`."""
        self._waiting = np.concatenate((self._waiting, frames))
        chunk, step = self._framing.chunk_samples, self._framing.step_samples
        finished = [self._unfinished[:0]]
        # One frame more than a chunk: then it is not the last one, whose end must not fade.
        while len(self._waiting) > chunk:
            finished.append(self._add(self._function(self._waiting[:chunk]), is_last=False)[:step])
            self._waiting = self._waiting[step:]
        return np.concatenate(finished)

    def finish(self) -> np.ndarray:
        """Gives the rest."""
        frames = len(self._waiting)
        if frames == 0:
            return self._unfinished
        # A mirror, not silence: the model judges noise by what is around it.
        missing = max(0, self._framing.least_samples - frames)
        padded = np.pad(self._waiting, ((0, missing), (0, 0)), mode="symmetric")
        return self._add(self._function(padded), is_last=True)[:frames]

    def _add(self, mapped: np.ndarray, *, is_last: bool) -> np.ndarray:
        """Adds a chunk to what is unfinished; gives the sum, whose first step is final."""
        edge, fade = self._framing.edge_samples, self._framing.fade_samples
        weight = np.ones((len(mapped), 1), np.float32)
        # A step apart, the rise of one chunk and the mirrored fall of another add up to one.
        rise = np.concatenate((np.zeros(edge), (np.arange(fade) + 0.5) / fade)).astype(np.float32)[:, None]
        if not self._is_first:
            weight[: edge + fade] = rise
        if not is_last:
            weight[-edge - fade :] = rise[::-1]
        total: np.ndarray = mapped * weight
        total[: len(self._unfinished)] += self._unfinished
        self._unfinished = total[self._framing.step_samples :]
        self._is_first = False
        return total
