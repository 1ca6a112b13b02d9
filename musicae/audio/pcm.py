"""Raw samples, as programs pipe them to each other: bytes ↔ float32 `(samples, channels)`. It knows no models."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

_LITTLE_ENDIAN = {"u8": "u1", "s16le": "<i2", "s24le": "u1", "s32le": "<i4", "f32le": "<f4"}
SAMPLE_FORMATS = tuple(_LITTLE_ENDIAN)
"""FFmpeg's names: unsigned or signed whole numbers, or floats, and their bits; little-endian."""

_BITS = {"u8": 8, "s16le": 16, "s24le": 24, "s32le": 32, "f32le": 32}
_READ_BYTES = 65_536


class Readable(Protocol):
    """A binary stream that gives what it has without waiting for more, as Python's buffered ones do."""

    def read1(self, size: int, /) -> bytes:
        """Reads once; nothing at the end."""


def read_pcm(source: Readable, sample_format: str, channels: int) -> Iterator[np.ndarray]:
    """Yields what a pipe has, as soon as it has it, to its end; bytes too few for all channels are left out there.

    Args:
        source: a pipe.
        sample_format: one of `SAMPLE_FORMATS`.
        channels: samples at a time, one after the other.
    """
    size = channels * _BITS[sample_format] // 8
    waiting = b""
    while data := source.read1(_READ_BYTES):
        waiting += data
        whole = len(waiting) // size * size
        if whole:
            yield decode_pcm(waiting[:whole], sample_format, channels)
            waiting = waiting[whole:]


def decode_pcm(data: bytes, sample_format: str, channels: int) -> np.ndarray:
    """Bytes → float32 `(samples, channels)` in −1…1."""
    raw = np.frombuffer(data, _LITTLE_ENDIAN[sample_format])
    if sample_format == "s24le":
        raw = _widened(raw)
    samples = raw.astype(np.float64)
    if sample_format == "u8":
        samples -= 128
    if sample_format != "f32le":
        samples /= 2.0 ** (_BITS[sample_format] - 1)
    return samples.astype(np.float32).reshape(-1, channels)


def encode_pcm(samples: np.ndarray, sample_format: str) -> bytes:
    """Float `(samples, channels)` → bytes; whole numbers are rounded, and clipped to what they hold."""
    if sample_format == "f32le":
        return samples.astype("<f4").tobytes()
    largest = 2.0 ** (_BITS[sample_format] - 1)
    rounded = np.clip(np.rint(samples.astype(np.float64) * largest), -largest, largest - 1)
    if sample_format == "u8":
        return (rounded + 128).astype("u1").tobytes()
    if sample_format == "s24le":
        return rounded.astype("<i4").reshape(-1, 1).view("u1")[:, :3].tobytes()
    return rounded.astype(_LITTLE_ENDIAN[sample_format]).tobytes()


def _widened(raw: np.ndarray) -> np.ndarray:
    """Three bytes a number → int32."""
    wide = np.zeros((len(raw) // 3, 4), np.uint8)
    wide[:, 1:] = raw.reshape(-1, 3)
    numbers: np.ndarray = wide.view("<i4")[:, 0] >> 8
    return numbers
