"""Families of noise, made as waveforms: what tape, shellac, amplifiers, mains and weather add to a sound.

Each is a function of a generator: `(rows, samples)` float32 with RMS 1, every row drawn anew with its own
parameters, on the generator's device. Of few recordings many are made by `speeds` and `recoloured`: played slower or
faster, and coloured as by other places and microphones. Nothing here knows levels, files or settings.
"""

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from musicae.audio.stft import normalise_rms

HUM_HARMONICS = 12
# A resonance rings for so long after a click before it is 60 dB down: a scratch, a mouth, a bad contact.
_CLICK_S = 0.006
_NARROWEST_OCTAVES, _WIDEST_OCTAVES = 0.5, 4.0
_LOWEST_BAND_HZ = 60.0
# Of recordings that are varied.
VARIED_SHARE = 0.5  # of the rows
SPEED_OCTAVES = 0.7  # slower or faster by at most so much
VARIED_COLOUR_DB = 8.0  # up or down by at most so much, at points joined by straight lines
_VARIED_POINTS, _VARIED_OCTAVES = 6, 7.5  # even in octaves, from the highest frequency down


def white(rows: int, samples: int, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """Equal power at every frequency."""
    del sample_rate_hz
    return torch.randn((rows, samples), generator=generator, device=generator.device)


def pink(rows: int, samples: int, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """Power falling as 1/frequency, as in wind, traffic and old amplifiers."""
    return _coloured(rows, samples, generator, torch.ones(rows, 1, device=generator.device), sample_rate_hz)


def brown(rows: int, samples: int, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """Power falling as 1/frequency², as in rumble, above 20 Hz."""
    return _coloured(rows, samples, generator, torch.full((rows, 1), 2.0, device=generator.device), sample_rate_hz)


def tilted(rows: int, samples: int, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """Power as frequency to a power drawn between +1 and -2: everything from tape hiss to rumble."""
    return _coloured(rows, samples, generator, 3 * uniform((rows, 1), generator) - 1, sample_rate_hz)


def hum(rows: int, samples: int, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """The mains at 50 or 60 Hz (within 1%) and its harmonics, of random strength."""
    fundamental_hz = torch.where(uniform((rows, 1), generator) < 0.5, 50.0, 60.0)
    fundamental_hz = fundamental_hz * (0.99 + 0.02 * uniform((rows, 1), generator))
    harmonic = torch.arange(1, HUM_HARMONICS + 1, device=generator.device)
    frequency_hz = fundamental_hz * harmonic  # (rows, harmonics)
    strength = uniform(frequency_hz.shape, generator) / harmonic.sqrt() * (frequency_hz < sample_rate_hz / 2)
    phase = uniform(frequency_hz.shape, generator)
    time_s = torch.arange(samples, device=generator.device) / sample_rate_hz
    cycles = frequency_hz[..., None] * time_s + phase[..., None]  # (rows, harmonics, samples)
    return normalise_rms(torch.einsum("rh,rhs->rs", strength, torch.sin(2 * torch.pi * (cycles - cycles.floor()))), 1.0)


def hiss_band(rows: int, samples: int, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """White noise in a band half an octave to four octaves wide, with soft edges: radio, fans, ventilation."""
    frequency_hz = _frequencies_hz(samples, sample_rate_hz, generator)
    highest = torch.log2(torch.tensor(sample_rate_hz / 2 / _LOWEST_BAND_HZ))
    centre = highest * uniform((rows, 1), generator)  # octaves above the lowest band
    width = _NARROWEST_OCTAVES + (_WIDEST_OCTAVES - _NARROWEST_OCTAVES) * uniform((rows, 1), generator)
    octave = torch.log2(frequency_hz.clamp_min(1.0) / _LOWEST_BAND_HZ)
    weight = torch.exp(-((2 * (octave - centre) / width) ** 4))
    return _shaped(rows, samples, generator, weight)


def crackle(rows: int, samples: int, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """Five to two hundred small impulses a second, of very different strengths: shellac, rain on a microphone."""
    per_second = 5 * 40 ** uniform((rows, 1), generator)
    return _impulses(rows, samples, generator, per_second, sample_rate_hz, decay_s=0.0006)


def clicks(rows: int, samples: int, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """One to eight strong clicks a second, each ringing for some milliseconds."""
    per_second = 1 + 7 * uniform((rows, 1), generator)
    return _impulses(rows, samples, generator, per_second, sample_rate_hz, decay_s=_CLICK_S)


NOISES: dict[str, Callable[..., Tensor]] = {
    "white": white, "pink": pink, "brown": brown, "tilted": tilted, "hum": hum, "hiss_band": hiss_band,
    "crackle": crackle, "clicks": clicks,
}  # fmt: skip
"""Name → `(rows, samples, generator, sample_rate_hz=…)` → `(rows, samples)` with RMS 1."""


def gusts(rows: int, samples: int, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """A level that wanders by up to 12 dB either way within a second, `(rows, samples)`: for what isn't steady."""
    points = max(2, round(2 * samples / sample_rate_hz) + 2)
    level_db = 12 * (2 * uniform((rows, 1, points), generator) - 1)
    smooth = torch.nn.functional.interpolate(level_db, size=samples, mode="linear", align_corners=True)[:, 0]
    return 10 ** (smooth / 20)


def room_response(rows: int, samples: int, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """Responses of rooms: a direct sound, then noise that decays by 60 dB in 0.1 to 0.8 s (Polack's model).

    Jot, Cerveau & Warusfel, 1997 ("Analysis and synthesis of room reverberation based on a statistical
    time-frequency model"). The tail's energy lies 20 dB below the direct sound's to 3 dB above it.

    Returns:
        `(rows, samples)`, the direct sound on sample 0 with strength 1.
    """
    decay_s = 0.1 + 0.7 * uniform((rows, 1), generator)
    energy = 10 ** ((-20 + 23 * uniform((rows, 1), generator)) / 10)
    time_s = torch.arange(samples, device=generator.device) / sample_rate_hz
    tail = white(rows, samples, generator, sample_rate_hz=sample_rate_hz) * torch.exp(-6.9 * time_s / decay_s)
    tail = tail * (energy / tail.square().sum(1, keepdim=True)).sqrt()
    tail[:, 0] = 1.0
    return tail


def convolved(waveform: Tensor, response: Tensor) -> Tensor:
    """`(rows, samples)` with `(rows, shorter)`, cut to the waveform's length."""
    samples = waveform.shape[1]
    size = _fast(samples + response.shape[1] - 1)
    return torch.fft.irfft(torch.fft.rfft(waveform, n=size) * torch.fft.rfft(response, n=size), n=size)[:, :samples]


def varied_rows(rows: int, generator: torch.Generator) -> Tensor:
    """Which rows are changed: bool `(rows, 1)`."""
    return uniform((rows, 1), generator) < VARIED_SHARE


def speeds(varied: Tensor, generator: torch.Generator) -> Tensor:
    """How fast each row is played, `(rows, 1)`; 1 where it is not `varied`."""
    octaves: Tensor = SPEED_OCTAVES * (2 * uniform(varied.shape, generator) - 1) * varied
    return torch.exp2(octaves)


def recoloured(waveform: Tensor, varied: Tensor, generator: torch.Generator, *, power: Tensor) -> Tensor:
    """Turns the spectrum of `varied` rows up and down along a curve of its own.

    Args:
        waveform: `(rows, samples)`.
        varied: bool `(rows, 1)`.
        generator: on the same device.
        power: mean square that the rows have afterwards, `(rows, 1)`.
    """
    rows, samples = waveform.shape
    points_db = VARIED_COLOUR_DB * (2 * uniform((rows, _VARIED_POINTS), generator) - 1)
    frequency = torch.linspace(0, 1, samples // 2 + 1, device=waveform.device)  # the highest is 1
    place = (torch.log2(frequency.clamp_min(2**-_VARIED_OCTAVES)) / _VARIED_OCTAVES + 1) * (_VARIED_POINTS - 1)
    below = place.floor().long().clamp_max(_VARIED_POINTS - 2)
    curve_db = torch.lerp(points_db[:, below], points_db[:, below + 1], place - below)
    turned = torch.fft.irfft(torch.fft.rfft(waveform) * 10 ** (curve_db / 20), samples)
    turned = turned * (power / turned.square().mean(1, keepdim=True).clamp_min(1e-20)).sqrt()
    return torch.where(varied, turned, waveform)


def uniform(shape: tuple[int, ...] | torch.Size, generator: torch.Generator) -> Tensor:
    """Numbers in 0…1 on the generator's device."""
    return torch.rand(shape, generator=generator, device=generator.device)


def host_generator(generator: torch.Generator) -> torch.Generator:
    """A generator on the CPU, for draws that decide which rows are worked on.

    Were they drawn on a GPU, the host would have to wait for them before it could start the work. On a CPU it is the
    generator itself; elsewhere one that is seeded from the state of the generator, which then moves on, so that the
    next one is another. The state is kept by the host: to read it takes no waiting.
    """
    if generator.device.type == "cpu":
        return generator
    state = hashlib.blake2b(bytes(generator.get_state().tolist()), digest_size=7).digest()
    uniform((1,), generator)
    return torch.Generator().manual_seed(int.from_bytes(state, "big"))


def rows_below(share: float, rows: int, host: torch.Generator) -> list[int]:
    """Draws the rows to which something happens, each with a probability; `host` is a generator on the CPU."""
    return [row for row, drawn in enumerate(uniform((rows,), host).tolist()) if drawn < share]


def row_index(rows: Sequence[int], device: torch.device) -> Tensor:
    """Numbers of rows as an int64 tensor on the device; the host doesn't wait for the copy."""
    return torch.tensor(rows, dtype=torch.int64).to(device, non_blocking=True)


def finest(device: torch.device) -> torch.dtype:
    """For places in a sound: double precision, which Apple's GPUs lack: there late places are drawn in steps."""
    return torch.float32 if device.type == "mps" else torch.float64


def _coloured(rows: int, samples: int, generator: torch.Generator, fall: Tensor, sample_rate_hz: int) -> Tensor:
    """Power as 1/frequency^fall; `fall` is `(rows, 1)`. Nothing below 20 Hz, which isn't heard."""
    frequency_hz = _frequencies_hz(samples, sample_rate_hz, generator)
    weight = torch.where(frequency_hz >= 20.0, frequency_hz.clamp_min(20.0) ** (-fall / 2), 0.0)
    return _shaped(rows, samples, generator, weight)


def _shaped(rows: int, samples: int, generator: torch.Generator, weight: Tensor) -> Tensor:
    """White noise whose spectrum is weighted, at the frequencies of `_frequencies_hz`."""
    size = 2 * (weight.shape[1] - 1)
    noise = torch.randn((rows, size), generator=generator, device=generator.device)
    return normalise_rms(torch.fft.irfft(torch.fft.rfft(noise) * weight, n=size)[:, :samples], 1.0)


def _fast(samples: int) -> int:
    """The next length that a Fourier transform is quick with, and even."""
    from scipy.fft import next_fast_len

    half: int = next_fast_len((samples + 1) // 2, real=True)
    return 2 * half


def _frequencies_hz(samples: int, sample_rate_hz: int, generator: torch.Generator) -> Tensor:
    size = _fast(samples)
    return torch.fft.rfftfreq(size, 1 / sample_rate_hz, device=generator.device)


def _impulses(
    rows: int, samples: int, generator: torch.Generator, per_second: Tensor, sample_rate_hz: int, *, decay_s: float
) -> Tensor:
    """Impulses at random places, each followed by a damped oscillation that is the row's own."""
    chance = per_second / sample_rate_hz
    happens = uniform((rows, samples), generator) < chance
    happens[:, 0] |= ~happens.any(1)  # RMS 1 needs one at least
    # Heavy tails: a few that are loud among many that are faint.
    strength = torch.randn((rows, samples), generator=generator, device=generator.device) ** 3
    length = max(2, round(4 * decay_s * sample_rate_hz))
    time_s = torch.arange(length, device=generator.device) / sample_rate_hz
    frequency_hz = 300 + (0.4 * sample_rate_hz - 300) * uniform((rows, 1), generator)
    ring = torch.exp(-time_s / (decay_s * (0.3 + uniform((rows, 1), generator))))
    ring = ring * torch.cos(2 * torch.pi * frequency_hz * time_s)
    return normalise_rms(convolved(happens * strength, ring), 1.0)
