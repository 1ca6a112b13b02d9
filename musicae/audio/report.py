"""What a restoration did to a sound: levels before and after, and a picture of both.

Both sounds are read side by side in blocks, so an hour takes the memory of a minute. Levels are RMS over all channels
in dB of full scale; the noise floor is the level of the quietest tenth of the pieces of 50 ms, which are the pauses
where there are any. Nothing here knows models, and nothing is written.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from musicae.audio.formats import BITS
from musicae.audio.sound import Sound

if TYPE_CHECKING:
    from PIL.Image import Image

_PIECE_S = 0.05
_QUIET_SHARE = 0.1
_DRAWN_S = 60.0


@dataclass(frozen=True)
class Loudness:
    """Levels of a sound, mean squares where full scale is 1.

    Attributes:
        power: of all of it.
        floor: of its quietest tenth.
        clipped: samples at full scale.
        frames: that were read.
    """

    power: float
    floor: float
    clipped: int
    frames: int


@dataclass(frozen=True)
class Report:
    """A comparison of a sound before and after.

    Attributes:
        before, after: the sounds.
        loudness_before, loudness_after: what was measured of each.
        removed: mean square of their difference.
        elapsed_s: what the restoration took.
    """

    before: Sound
    after: Sound
    loudness_before: Loudness
    loudness_after: Loudness
    removed: float
    elapsed_s: float

    @property
    def lines(self) -> list[str]:
        """For people, one fact a line."""
        sound, first, last = self.before, self.loudness_before, self.loudness_after
        duration_s = first.frames / sound.sample_rate_hz
        channels = "1 channel" if sound.channels == 1 else f"{sound.channels} channels"
        share = self.removed / first.power if first.power > 0 else 0.0
        formats = f"{_format(sound)} -> {_format(self.after)}"
        return [
            f"sound: {duration_s:.2f} s, {sound.sample_rate_hz} Hz, {channels}, {formats}",
            f"level: {_dbfs(first.power)} -> {_dbfs(last.power)}",
            f"noise floor (quietest tenth): {_dbfs(first.floor)} -> {_dbfs(last.floor)}",
            f"removed: {_dbfs(self.removed)}, {share:.1%} of the power",
            f"clipped samples before: {first.clipped}",
            f"time: {self.elapsed_s:.1f} s, {self.elapsed_s / duration_s:.3f} of the duration",
        ]

    def plot(self) -> "Image":
        """Spectrograms of both, one above the other, at most the first minute; 0 dB is a sine at full scale."""
        from musicae.plots import spectrograms

        rows, hop_samples = {}, 1
        for label, sound in (("before", self.before), ("after", self.after)):
            picture, hop_samples = sound.spectrogram_db(_DRAWN_S)
            rows[label] = [picture]
        return spectrograms(rows, sample_rate_hz=self.before.sample_rate_hz, hop_samples=hop_samples)


def compare(before: Sound, after: Sound, elapsed_s: float) -> Report:
    """Measures what became of a sound.

    Args:
        before: the source.
        after: the result, of the same rate and channels. A lazy one is computed for it; open the saved file instead.
        elapsed_s: what the restoration took.

    Raises:
        ValueError: sounds of different rates or channels.
        DamagedFileError: a file that cannot be read to its end.
    """
    if (before.sample_rate_hz, before.channels) != (after.sample_rate_hz, after.channels):
        raise ValueError(f"sounds of one rate and number of channels can be compared, got {before} and {after}")
    meters = _Meter(before), _Meter(after)
    difference, compared = 0.0, 0
    for blocks in zip(before.blocks(), after.blocks(), strict=False):
        for meter, block in zip(meters, blocks, strict=True):
            meter.push(block)
        shared = min(len(block) for block in blocks)
        difference += float(np.square(blocks[0][:shared] - blocks[1][:shared], dtype=np.float64).sum())
        compared += shared * before.channels
    first, last = (meter.loudness() for meter in meters)
    return Report(before, after, first, last, difference / max(1, compared), elapsed_s)


class _Meter:
    """Measures a sound that comes in blocks."""

    def __init__(self, sound: Sound) -> None:
        self._piece = max(1, round(_PIECE_S * sound.sample_rate_hz))
        bits = BITS.get(sound.subtype, 16)
        self._full_scale = 1 - 2.0 ** (1 - min(bits, 16))  # the largest positive integer
        self._waiting = np.zeros((0, sound.channels), np.float32)
        self._powers: list[np.ndarray] = []
        self._energy, self._samples, self._frames, self._clipped = 0.0, 0, 0, 0

    def push(self, block: np.ndarray) -> None:
        squares = np.square(block, dtype=np.float64)
        self._energy += float(squares.sum())
        self._samples += block.size
        self._frames += len(block)
        self._clipped += int((np.abs(block) >= self._full_scale).sum())
        self._waiting = np.concatenate((self._waiting, block))
        whole = len(self._waiting) // self._piece * self._piece
        pieces = np.square(self._waiting[:whole], dtype=np.float64).reshape(-1, self._piece * block.shape[1])
        self._powers.append(pieces.mean(1))
        self._waiting = self._waiting[whole:]

    def loudness(self) -> Loudness:
        power = self._energy / max(1, self._samples)
        powers = np.sort(np.concatenate(self._powers)) if self._powers else np.zeros(0)
        quiet = powers[: math.ceil(_QUIET_SHARE * len(powers))]
        return Loudness(power, float(quiet.mean()) if len(quiet) else power, self._clipped, self._frames)


def _format(sound: Sound) -> str:
    return f"{sound.container} {sound.subtype}"


def _dbfs(power: float) -> str:
    return f"{10 * math.log10(power):.1f} dBFS" if power > 1e-16 else "silence"
