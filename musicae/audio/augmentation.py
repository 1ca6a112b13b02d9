"""Augmentation of clean sound: level, polarity, colour, pitch, room, silence, and several sounds at once.

Drawn anew for every batch, on whole batches, on the generator's device, so that a model of few recordings
learns from many. Nothing here knows files or settings.
"""

import torch
from torch import Tensor

from musicae.audio.noise import convolved, host_generator, room_response, row_index, rows_below, uniform

GAIN_DB = 9.0
COLOUR_DB = 6.0
TILT_DB, TILT_FROM_HZ = 3.0, 1_000.0  # an octave
DULL_SHARE, DULL_FROM_HZ, DULL_DB = 0.3, (1_000.0, 8_000.0), (3.0, 12.0)  # an octave, from somewhere there on
PITCH_SEMITONES = 1.0
_COLOUR_POINTS = 6
ROOM_SHARE = 0.25
_ROOM_S = 0.4
# A sound is joined by up to three others, each as loud as it is or up to 12 dB softer.
_MOST_JOINED, _JOINED_DB = 4, 12.0


def augmented(
    waveform: Tensor, generator: torch.Generator, *, sample_rate_hz: int, silent_share: float = 0.0,
    room_share: float = ROOM_SHARE, joined_share: float = 0.0,
) -> Tensor:  # fmt: skip
    """`(batch, samples)` → the same number of sounds as they might have been recorded elsewhere.

    Args:
        waveform: clean.
        generator: on the same device.
        sample_rate_hz: of the waveform.
        silent_share: of rows that become silence, so that a denoiser learns noise alone.
        room_share: of rows that are played in a room.
        joined_share: of rows that are mixed with others of the batch: a dense sound of several thin ones.
    """
    rows, samples = waveform.shape
    for step in range(1, min(_MOST_JOINED, rows)):
        share = joined_share if step == 1 else joined_share / 2
        level = 10 ** (_JOINED_DB * (uniform((rows, 1), generator) - 1) / 20)
        waveform = waveform + level * (uniform((rows, 1), generator) < share) * waveform.roll(step, 0)
    gain = 10 ** (GAIN_DB * (2 * uniform((rows, 1), generator) - 1) / 20)
    sign = torch.where(uniform((rows, 1), generator) < 0.5, -1.0, 1.0)
    present = torch.where(uniform((rows, 1), generator) < silent_share, 0.0, 1.0)
    changed = waveform * gain * sign * present
    if in_room := rows_below(room_share, rows, host_generator(generator)):
        length = min(samples, round(_ROOM_S * sample_rate_hz))
        response = room_response(len(in_room), length, generator, sample_rate_hz=sample_rate_hz)
        index = row_index(in_room, changed.device)
        changed[index] = convolved(changed[index], response)
    return changed


def coloured(spectrum: Tensor, generator: torch.Generator) -> Tensor:
    """Turns broad bands up and down by up to `COLOUR_DB`, as other microphones do.

    Args:
        spectrum: `(batch, channels, frequency, time)`, linear.
        generator: on the same device.
    """
    points = uniform((len(spectrum), 1, _COLOUR_POINTS), generator)
    curve_db = COLOUR_DB * (2 * points - 1)
    frequencies = spectrum.shape[2]
    smooth = torch.nn.functional.interpolate(curve_db, size=frequencies, mode="linear", align_corners=True)
    return spectrum * 10 ** (smooth[:, 0, None, :, None] / 20)


def tilted(spectrum: Tensor, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """Turns the sound up or down by the octave above `TILT_FROM_HZ`, as brighter and duller recordings are.

    Args:
        spectrum: `(batch, channels, frequency, time)`, linear.
        generator: on the same device.
        sample_rate_hz: of the sound.
    """
    slope_db = TILT_DB * (2 * uniform((len(spectrum), 1), generator) - 1)
    frequency_hz = torch.linspace(0, sample_rate_hz / 2, spectrum.shape[2], device=spectrum.device)
    octaves = (frequency_hz / TILT_FROM_HZ).clamp_min(1).log2()
    return spectrum * 10 ** (slope_db * octaves / 20)[:, None, :, None]


def dulled(spectrum: Tensor, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """Makes the highs of some sounds fall off, as those of old recordings and warm mixes do; soft highs are no noise.

    Args:
        spectrum: `(batch, channels, frequency, time)`, linear.
        generator: on the same device.
        sample_rate_hz: of the sound.
    """
    rows = len(spectrum)
    share, place, depth = (uniform((rows, 1), generator) for _ in range(3))
    lowest, highest = DULL_FROM_HZ
    slope_db = (DULL_DB[0] + (DULL_DB[1] - DULL_DB[0]) * depth) * (share < DULL_SHARE)
    frequency_hz = torch.linspace(0, sample_rate_hz / 2, spectrum.shape[2], device=spectrum.device)
    octaves = (frequency_hz / (lowest * (highest / lowest) ** place)).clamp_min(1).log2()
    return spectrum * 10 ** (-slope_db * octaves / 20)[:, None, :, None]


def pitched(spectrum: Tensor, semitones: Tensor) -> Tensor:
    """Shifts frequencies: other keys, other sizes of instruments.

    Args:
        spectrum: linear magnitudes `(batch, 1, frequency, time)`; of complex values phases would be spoilt.
        semitones: by which the pitch rises, `(batch,)`.
    """
    _, _, frequencies, frames = spectrum.shape
    ratio = 2 ** (semitones[:, None] / 12)
    place = torch.arange(frequencies, device=spectrum.device) / ratio  # (rows, frequency): where each comes from
    below = place.floor().long()
    share = (place - below)[:, None, :, None]
    taken = [
        spectrum.gather(2, index.clamp_max(frequencies - 1)[:, None, :, None].expand(-1, -1, -1, frames))
        for index in (below, below + 1)
    ]
    return torch.where(place[:, None, :, None] <= frequencies - 1, torch.lerp(taken[0], taken[1], share), 0.0)


def pitch_steps(rows: int, generator: torch.Generator) -> Tensor:
    """By how many semitones each row is moved, up to `PITCH_SEMITONES`, `(rows,)`."""
    return PITCH_SEMITONES * (2 * uniform((rows,), generator) - 1)
