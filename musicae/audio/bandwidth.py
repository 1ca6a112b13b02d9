"""How high a sound goes: a file at 48 kHz may hold no more than a telephone did.

A frequency counts where it is, for a while in all, within 60 dB of the loudest cell of the spectrum, and above the
rounding of the file. What nobody knows from that: whether a soft top is a recorder's noise.
"""

from collections.abc import Iterator
from weakref import WeakKeyDictionary

import numpy as np
import torch

from musicae.audio.sound import Sound
from musicae.nn.bands import PRESENT
from musicae.stft import stft

_WINDOW_S, _HELD_S = 0.043, 0.1  # a click and the ends of a sound reach every frequency, but not for so long
_FRAMES_AT_ONCE = 512
_LEAKED = 4  # frequencies beyond the last one that a Hann window shows within 60 dB
_NEARLY_ALL = 0.95  # of half the rate, where the filters of converters end
_STEPS = {"PCM_U8": 2.0**-7, "PCM_S8": 2.0**-7, "PCM_16": 2.0**-15}
"""Sample formats whose rounding can be seen in a spectrum, and the step between their values."""
_ABOVE_ROUNDING = 30.0  # in power: the largest of thousands of cells of a noise

_known: WeakKeyDictionary[Sound, float] = WeakKeyDictionary()


def bandwidth_hz(sound: Sound) -> float:
    """The highest frequency that any channel of a sound holds: half of its rate, or less where its top is empty.

    Silence has half of its rate. The sound is read once; the answer is remembered as long as the sound is there.

    Raises:
        DamagedFileError: a file that cannot be read to its end.
    """
    if sound not in _known:
        _known[sound] = _measured(sound)
    return _known[sound]


def _measured(sound: Sound) -> float:
    rate_hz = sound.sample_rate_hz
    n_fft = 4 * max(64, round(_WINDOW_S * rate_hz / 4))
    count = max(1, round(_HELD_S * rate_hz / (n_fft // 4)))
    held = np.zeros((count, n_fft // 2 + 1), np.float32)  # the largest of each frequency
    for block in _blocks(sound, n_fft):
        power = stft(torch.from_numpy(block), n_fft=n_fft).square().sum(1).amax(0).T.numpy()  # (frames, frequency)
        both = np.concatenate((held, power))
        held = np.partition(both, len(both) - count, axis=0)[-count:]
    loudest = float(held.max())
    rounding = 0.375 * n_fft * _STEPS.get(sound.subtype, 0.0) ** 2 / 12
    power = held.min(0) if (held.min(0) > 0).any() else held.max(0)  # the latter of what is shorter
    present = np.flatnonzero(power > max(PRESENT * loudest, _ABOVE_ROUNDING * rounding))
    if not len(present):
        return rate_hz / 2
    highest_hz = float(present[-1] - _LEAKED) * rate_hz / n_fft
    return rate_hz / 2 if highest_hz >= _NEARLY_ALL * rate_hz / 2 else highest_hz


def _blocks(sound: Sound, n_fft: int) -> Iterator[np.ndarray]:
    """`(channels, samples)`, long enough for a transform; the last one is filled up."""
    size, waiting = _FRAMES_AT_ONCE * n_fft // 4, np.zeros((0, sound.channels), np.float32)
    for block in sound.blocks():
        waiting = np.concatenate((waiting, block.astype(np.float32)))
        while len(waiting) >= size:
            yield waiting[:size].T.copy()
            waiting = waiting[size:]
    if len(waiting):
        yield np.pad(waiting, ((0, max(0, 2 * n_fft - len(waiting))), (0, 0))).T.copy()
