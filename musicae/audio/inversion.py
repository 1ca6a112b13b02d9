"""From magnitudes back to a sound: fast Griffin-Lim.

Perraudin, Balazs & Søndergaard, 2013 ("A fast Griffin-Lim algorithm"): alternate between spectra of the wanted
magnitudes and spectra of real sounds, and overshoot by a momentum. Where the magnitudes come from a sound
that is there, its phases are a better start than none. Nothing here knows files, settings or networks.
"""

import torch
from torch import Tensor

from musicae.audio import stft as signal

ITERATIONS = 32
FINAL_ITERATIONS = 100
_MOMENTUM = 0.99


def griffin_lim(
    magnitude: Tensor, *, samples: int, start: Tensor | None = None, iterations: int = ITERATIONS, seed: int = 0
) -> Tensor:
    """Finds a waveform whose spectrum has these magnitudes.

    Args:
        magnitude: `(batch, frequency, time)`, linear, as `signal.stft` scales it.
        samples: length of the waveform.
        start: `(batch, 2, frequency, time)` whose phases are taken first; None begins with random ones.
        iterations: more are better, and slower.
        seed: of the random phases.

    Returns:
        `(batch, samples)`.
    """
    n_fft = 2 * (magnitude.shape[1] - 1)
    if start is None:
        generator = torch.Generator(magnitude.device).manual_seed(seed)
        angle = 2 * torch.pi * torch.rand(magnitude.shape, generator=generator, device=magnitude.device)
        phase = torch.stack((angle.cos(), angle.sin()), dim=1)
    else:
        phase = _phase(start)
    before = torch.zeros_like(phase)
    for _ in range(iterations):
        consistent = signal.stft(signal.inverse_stft(phase * magnitude[:, None], samples=samples), n_fft=n_fft)
        consistent = _fitted(consistent, phase.shape[-1])
        phase = _phase(consistent + _MOMENTUM * (consistent - before))
        before = consistent
    return signal.inverse_stft(phase * magnitude[:, None], samples=samples)


def _phase(spectrum: Tensor) -> Tensor:
    """Spectra of magnitude 1."""
    return spectrum / signal.magnitude(spectrum).clamp_min(1e-12)[:, None]


def _fitted(spectrum: Tensor, frames: int) -> Tensor:
    """Cut or filled up with silence to a number of frames."""
    return torch.nn.functional.pad(spectrum, (0, frames - spectrum.shape[-1]))
