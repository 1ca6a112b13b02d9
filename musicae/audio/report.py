"""What a restoration did to a sound file, measured on the file and on its result, and drawn.

Both files are read side by side in blocks, so an hour takes the memory of a minute. Levels are RMS over all
channels in dB of full scale; the noise floor is the level of the quietest tenth of the pieces of 50 ms, which are
the pauses where there are any. Nothing here knows models.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from musicae.audio import stft as signal
from musicae.audio.decoding import SoundInfo
from musicae.audio.files import read_blocks, sound_info
from musicae.audio.formats import BITS

_PIECE_S = 0.05
_QUIET_SHARE = 0.1
_DRAWN_S = 60.0
_WINDOW_S = 0.03
_MOST_COLUMNS = 2_000


@dataclass(frozen=True)
class SoundLevels:
    """Levels of a file, mean squares where full scale is 1.

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


def report_lines(source: Path, result: Path, elapsed_s: float) -> list[str]:
    """Measures and draws; like any result, the picture takes the place of one that was there before.

    Args:
        source: the file before.
        result: what became of it, of the same rate and channels.
        elapsed_s: what the restoration took.

    Returns:
        Lines for people.
    """
    info = sound_info(source)
    before, after, removed = _compared(source, result, info)
    picture = picture_beside(result)
    duration_s = before.frames / info.sample_rate_hz
    _draw(source, result, picture, duration_s)
    channels = "1 channel" if info.channels == 1 else f"{info.channels} channels"
    share = removed / before.power if before.power > 0 else 0.0
    drawn = f"first {_DRAWN_S:.0f} s" if duration_s > _DRAWN_S else "all of it"
    return [
        f"sound: {duration_s:.2f} s, {info.sample_rate_hz} Hz, {channels}, {_kind(source)} -> {_kind(result)}",
        f"level: {_dbfs(before.power)} -> {_dbfs(after.power)}",
        f"noise floor (quietest tenth): {_dbfs(before.floor)} -> {_dbfs(after.floor)}",
        f"removed: {_dbfs(removed)}, {share:.1%} of the power",
        f"clipped samples before: {before.clipped}",
        f"time: {elapsed_s:.1f} s, {elapsed_s / duration_s:.3f} of the duration",
        f"spectrograms: {picture} ({drawn})",
    ]


def picture_beside(result: Path) -> Path:
    """Where `report_lines` draws: beside the result under its name, as PNG."""
    return result.with_suffix(".png")


def _compared(source: Path, result: Path, info: SoundInfo) -> tuple[SoundLevels, SoundLevels, float]:
    """Levels of both files, and the power of their difference."""
    meters = _Meter(info), _Meter(info)
    difference, compared = 0.0, 0
    for blocks in zip(read_blocks(source), read_blocks(result), strict=False):
        for meter, block in zip(meters, blocks, strict=True):
            meter.push(block)
        shared = min(len(block) for block in blocks)
        difference += float(np.square(blocks[0][:shared] - blocks[1][:shared], dtype=np.float64).sum())
        compared += shared * info.channels
    return meters[0].levels(), meters[1].levels(), difference / max(1, compared)


class _Meter:
    """Measures a file that comes in blocks."""

    def __init__(self, info: SoundInfo) -> None:
        self._piece = max(1, round(_PIECE_S * info.sample_rate_hz))
        bits = BITS.get(info.subtype, 16)
        self._full_scale = 1 - 2.0 ** (1 - min(bits, 16))  # the largest positive integer
        self._waiting = np.zeros((0, info.channels), np.float32)
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

    def levels(self) -> SoundLevels:
        power = self._energy / max(1, self._samples)
        powers = np.sort(np.concatenate(self._powers)) if self._powers else np.zeros(0)
        quiet = powers[: math.ceil(_QUIET_SHARE * len(powers))]
        return SoundLevels(power, float(quiet.mean()) if len(quiet) else power, self._clipped, self._frames)


def _draw(source: Path, result: Path, picture: Path, duration_s: float) -> None:
    """Spectrograms of the beginning of both, 0 dB being a sine at full scale."""
    from musicae.plots import spectrograms

    rate_hz = sound_info(source).sample_rate_hz
    n_fft = 2 ** math.ceil(math.log2(_WINDOW_S * rate_hz))
    hop = n_fft // 4
    # More than a picture is wide would only take memory.
    together = math.ceil(min(_DRAWN_S, duration_s) * rate_hz / hop / _MOST_COLUMNS)
    rows = {}
    for label, path in (("before", source), ("after", result)):
        samples = torch.from_numpy(np.concatenate(list(_beginning(path, round(_DRAWN_S * rate_hz)))).T.copy())
        padded = torch.nn.functional.pad(samples, (0, max(0, n_fft - samples.shape[1])))
        # One channel at a time; their mean power shows channels of opposite phase as well.
        power = torch.zeros(())
        for channel in padded:
            power = power + signal.stft(channel[None], n_fft=n_fft)[0].square().sum(0) / len(padded)
        power = functional.avg_pool1d(power[None], together, ceil_mode=True)[0]
        rows[label] = [10 * np.log10(np.maximum(power.numpy() / (n_fft / 4) ** 2, 1e-14))]
    spectrograms(rows, picture, sample_rate_hz=rate_hz, hop_samples=hop * together)


def _beginning(path: Path, frames: int) -> Iterator[np.ndarray]:
    for block in read_blocks(path):
        yield block[:frames]
        frames -= len(block)
        if frames <= 0:
            return


def _kind(path: Path) -> str:
    info = sound_info(path)
    return f"{info.container} {info.subtype}"


def _dbfs(power: float) -> str:
    return f"{10 * math.log10(power):.1f} dBFS" if power > 1e-16 else "silence"
