"""How high a sound goes: a file at 48 kHz may hold no more than a telephone did."""

from collections.abc import Iterator

import numpy as np
import torch

from musicae.audio.sound import Sound
from musicae.stft import stft

_N_FFT = 2048
_FRAMES_AT_ONCE = 512
_HELD_FRAMES = 10  # a click and the ends of a sound reach every frequency, but not in so many frames
_SHARE = 1e-6
_NEARLY_ALL = 0.95
_STEPS = {"PCM_U8": 2.0**-7, "PCM_S8": 2.0**-7, "PCM_16": 2.0**-15}
"""Sample formats whose rounding can be seen in a spectrum, and the step between their values."""
_ABOVE_ROUNDING = 30.0  # in power: the largest of thousands of cells of a noise


def bandwidth_hz(sound: Sound) -> float:
    """The highest frequency that a sound holds: half of its rate, or less where its top is empty.

    A frequency counts where several frames are within 60 dB of the loudest cell, and above the rounding of the file.
    Silence has half of its rate.
    """
    held = np.zeros((_HELD_FRAMES, _N_FFT // 2 + 1), np.float32)
    for block in _blocks(sound):
        power = stft(torch.from_numpy(block)[None], n_fft=_N_FFT)[0].square().sum(0).T.numpy()  # (frames, frequency)
        both = np.concatenate((held, power))
        held = np.partition(both, len(both) - _HELD_FRAMES, axis=0)[-_HELD_FRAMES:]
    loudest = float(held.max())
    rounding = 0.375 * _N_FFT * _STEPS.get(sound.subtype, 0.0) ** 2 / 12
    power = held.min(0) if (held.min(0) > 0).any() else held.max(0)  # of what is shorter than so many frames
    present = np.flatnonzero(power > max(_SHARE * loudest, _ABOVE_ROUNDING * rounding))
    nyquist_hz = sound.sample_rate_hz / 2
    if not len(present):
        return nyquist_hz
    highest_hz = float(present[-1] + 1) * sound.sample_rate_hz / _N_FFT
    return nyquist_hz if highest_hz >= _NEARLY_ALL * nyquist_hz else highest_hz


def _blocks(sound: Sound) -> Iterator[np.ndarray]:
    """Mono, `(samples,)` each, long enough for a transform; the last one is filled up."""
    size, waiting = _FRAMES_AT_ONCE * _N_FFT // 4, np.zeros(0, np.float32)
    for block in sound.mono().blocks():
        waiting = np.concatenate((waiting, block[:, 0].astype(np.float32)))
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if len(waiting):
        yield np.pad(waiting, (0, max(0, 2 * _N_FFT - len(waiting))))
