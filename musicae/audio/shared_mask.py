"""One mask for all channels of a sound: every part of the stereo image is turned down alike and stays in its place.

Channel by channel, a model takes a little more from the left here and from the right there, and voices wander.
So it is shown one spectrum, whose power is the mean over the channels: anti-phase channels don't cancel in it, and
a silent one lowers it as it lowered the level that the file was brought to. Pure functions of spectra.
"""

from torch import Tensor

from musicae.audio import stft as signal

_SMALLEST = 1e-12


def joint_spectrum(spectrum: Tensor) -> Tensor:
    """`(channels, 2, frequency, time)` → `(1, 2, frequency, time)`.

    Magnitudes are the root mean square over the channels; the phase of a cell is its loudest channel's.
    """
    loudness = signal.magnitude(spectrum)  # (channels, frequency, time)
    strongest, which = loudness.max(0, keepdim=True)
    cells = spectrum.gather(0, which[:, None].expand(1, *spectrum.shape[1:]))
    together = loudness.square().mean(0, keepdim=True).sqrt()
    return cells * (together / strongest.clamp_min(_SMALLEST))[:, None]


def turned_down_alike(spectrum: Tensor, joint: Tensor, estimate: Tensor) -> Tensor:
    """Applies to every channel the mask by which the estimate differs from the joint spectrum.

    Args:
        spectrum: `(channels, 2, frequency, time)`.
        joint: `(1, 2, frequency, time)`, of the channels.
        estimate: the same shape: what a function made of `joint`.

    Returns:
        `(channels, 2, frequency, time)`; nothing becomes louder.
    """
    mask = signal.magnitude(estimate) / signal.magnitude(joint).clamp_min(_SMALLEST)
    return spectrum * mask.clamp(0.0, 1.0)[:, None]
