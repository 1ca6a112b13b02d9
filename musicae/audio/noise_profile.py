"""A noise profile: a recording of the noise alone says what a restoration may take away.

What a model leaves of a cell of the spectrum is a guess of the sound's power S there, and the recording gives the
noise's power N: the gain S / (S + N) (Wiener) turns the model's estimate down further where the guess is near the
noise. Where a model takes the noise for sound, the power above the noise's, averaged over three frames, sets a
limit to the gain (spectral subtraction: Boll, 1979).

Chosen by gain in SI-SDR: it helps against steady noise that the model was never trained on, such as a whine, which the
model alone leaves as it is, by 10 to 12 dB, and by 0.1 to 0.5 dB in rooms; where the model knows the noise, white or
pink, it costs 0.2 to 0.4 dB in the mean (experiments/sound_choices.py measures it). Tried and left: a Wiener gain
without the model's, its product, minimum and mean with the model's mask, filtering before the model, and S / (S + N)
in place of the model's mask.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from musicae.audio import stft as signal
from musicae.audio.overlap_add import Framing, gain_to_level
from musicae.audio.sound import Sound
from musicae.errors import MusicaeError

_PIECE_FRAMES = 512
_SMALLEST_POWER = 1e-12
_LOWEST_LIMIT = 0.22  # -13 dB


def profile_power(sound: Sound, *, sample_rate_hz: int, n_fft: int, gain: float = 1.0) -> Tensor:
    """Mean power of a recording at each frequency, over time and channels: `(1, frequency, 1)`.

    Args:
        sound: of any length, which takes no memory.
        sample_rate_hz: that the spectra are of.
        n_fft: their window, in samples.
        gain: by which the sound to be cleaned is scaled, and so the noise in it.

    Raises:
        MusicaeError: it is silent, or shorter than two windows.
        DamagedFileError: a file that cannot be read to its end.
    """
    total, frames = torch.zeros(n_fft // 2 + 1, dtype=torch.float64), 0
    for piece in _pieces(sound.resample(sample_rate_hz), _PIECE_FRAMES * n_fft // 4, 2 * n_fft):
        spectrum = signal.stft(torch.from_numpy(piece.T * np.float32(gain)), n_fft=n_fft)
        total += spectrum.square().sum(1).mean(0).sum(-1)
        frames += spectrum.shape[-1]
    if frames == 0:
        shortest_s = 2 * n_fft / sample_rate_hz
        raise MusicaeError(f"{sound.name} is too short to know the noise by; record {shortest_s:.2f} s or more of it.")
    power = (total / frames).float()[None, :, None]
    if not power.any():
        raise MusicaeError(f"{sound.name} is silent; expected a recording of the noise alone.")
    return power


def _pieces(sound: Sound, size: int, least: int) -> Iterator[np.ndarray]:
    """`(samples, channels)`, each of `size` samples, the last of `least` or more."""
    waiting: np.ndarray | None = None
    for block in sound.blocks():
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


def noise_profile(sound: Sound, profile: Sound, framing: Framing) -> Callable[[Tensor, Tensor], Tensor]:
    """A function that holds a restoration to what is known of the noise: `(answer, given)` → the answer, no louder.

    Args:
        sound: what is to be restored; the profile is scaled as it is.
        profile: a recording of the noise alone.
        framing: as the sound is cut.

    Raises:
        MusicaeError, DamagedFileError: as `profile_power`.
    """
    gain = gain_to_level(sound, framing.level_rms) or 1.0
    noise = profile_power(profile, sample_rate_hz=framing.sample_rate_hz, n_fft=framing.n_fft, gain=gain)
    return lambda answer, given: held_to_noise(answer, given.to(answer), noise.to(answer))
