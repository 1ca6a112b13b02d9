"""A recording of the noise alone tells a restoration what to take away.

What a model leaves of a cell of the spectrum is a guess of the sound's power S there, and the recording tells the
noise's power N: the gain S / (S + N) (Wiener) turns the model's estimate down further where the guess is near the
noise. Where a model takes the noise for sound, the power above the noise's, averaged over three frames, sets a
limit to the gain (spectral subtraction: Boll, 1979).

Chosen by gain in SI-SDR: it helps against steady noise that the model was never trained on, such as a whine, which the
model alone leaves as it is, by 9 to 11 dB; where the model knows the noise, white, pink or a room's, it costs 0.3 to
0.7 dB in the mean (experiments/sound_choices.py measures it). Tried and left: a Wiener gain without the model's, its
product, minimum and mean with the model's mask, filtering before the model, and S / (S + N) in place of the model's
mask.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from musicae.audio import stft as signal
from musicae.audio.chunking import Framing
from musicae.audio.files import read_blocks, resample_blocks, sound_info
from musicae.audio.mapping import level_and_frames
from musicae.errors import MusicaeError

_PIECE_FRAMES = 512
_SMALLEST_POWER = 1e-12
_LOWEST_LIMIT = 0.22  # -13 dB


def profile_power(path: Path, *, sample_rate_hz: int, n_fft: int, gain: float = 1.0) -> Tensor:
    """Mean power of a recording at each frequency, over time and channels: `(1, frequency, 1)`.

    Args:
        path: any sound; its length takes no memory.
        sample_rate_hz: that the spectra are of.
        n_fft: their window, in samples.
        gain: by which the sound to be cleaned is scaled, and so the noise in it.

    Raises:
        MusicaeError: there is no such file, or it is silent or shorter than two windows.
        DamagedFileError: it is not a sound.
    """
    total, frames = torch.zeros(n_fft // 2 + 1, dtype=torch.float64), 0
    for piece in _pieces(path, sample_rate_hz, _PIECE_FRAMES * n_fft // 4, 2 * n_fft):
        spectrum = signal.stft(torch.from_numpy(piece.T * np.float32(gain)), n_fft=n_fft)
        total += spectrum.square().sum(1).mean(0).sum(-1)
        frames += spectrum.shape[-1]
    if frames == 0:
        shortest_s = 2 * n_fft / sample_rate_hz
        raise MusicaeError(f"{path} is too short to tell the noise by; record {shortest_s:.2f} s or more of it.")
    power = (total / frames).float()[None, :, None]
    if not power.any():
        raise MusicaeError(f"{path} is silent; expected a recording of the noise alone.")
    return power


def _pieces(path: Path, sample_rate_hz: int, size: int, least: int) -> Iterator[np.ndarray]:
    """`(samples, channels)` at a rate, each of `size` samples, the last of `least` or more."""
    waiting: np.ndarray | None = None
    for block in resample_blocks(read_blocks(path), sound_info(path).sample_rate_hz, sample_rate_hz):
        waiting = block if waiting is None else np.concatenate((waiting, block))
        while len(waiting) >= size + least:
            yield waiting[:size]
            waiting = waiting[size:]
    if waiting is not None and len(waiting) >= least:
        yield waiting


def held_to_noise(estimate: Tensor, spectrum: Tensor, noise: Tensor) -> Tensor:
    """Turns an estimate down by what is known of the noise.

    Args:
        estimate: `(batch, 2, frequency, time)`: what a mask left of the spectrum.
        spectrum: the same shape, noisy.
        noise: `(1, frequency, 1)`, mean power.

    Returns:
        The estimate, nowhere louder.
    """
    known = noise.clamp_min(_SMALLEST_POWER)
    left, given = estimate.square().sum(1), spectrum.square().sum(1)  # (batch, frequency, time)
    wiener = left / (left + known)
    around = functional.avg_pool1d(given, 3, 1, 1, count_include_pad=False)
    limit = (1 - known / around.clamp_min(_SMALLEST_POWER)).clamp_min(_LOWEST_LIMIT**2).sqrt()
    masked = (left / given.clamp_min(_SMALLEST_POWER)).sqrt()
    gain = torch.minimum(wiener, limit / masked.clamp_min(_SMALLEST_POWER))
    return estimate * gain[:, None]


def told_noise(function: Callable[..., Tensor], source: Path, profile: Path, framing: Framing) -> Callable[..., Tensor]:
    """Wraps a restoration of spectra so that it knows the noise in a file.

    Args:
        function: `(batch, 2, frequency, time)`, as `map_sound` shows the source → the same shape.
        source: the file to be restored; the profile is scaled as it is.
        profile: a recording of the noise alone.
        framing: as `map_sound` takes it.

    Raises:
        MusicaeError, DamagedFileError: as `profile_power`.
    """
    level, _ = level_and_frames(source)
    gain = framing.level_rms / level if level > 0 else 1.0
    noise = profile_power(profile, sample_rate_hz=framing.sample_rate_hz, n_fft=framing.n_fft, gain=gain)

    def knowing(batch: Tensor, *condition: Tensor | None) -> Tensor:
        return held_to_noise(function(batch, *condition), batch, noise)

    return knowing
