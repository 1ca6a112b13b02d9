"""Noise for training: made as waveforms, mixed in as complex spectra at a signal-to-noise ratio.

Everything is a function of tensors and a generator, works on whole batches and stays on the generator's
device, so that fresh damage costs next to nothing beside the network. Nothing here knows settings or domains,
nor reads files: recorded noise comes in decoded.
"""

import torch
from torch import Tensor

from musicae.sound import signal
from musicae.sound.noise_recordings import NoiseRecordings

# A frame this far below the loudest one is a pause; pauses don't count towards the signal's power, or a
# slow speaker would be given less noise than a quick one.
ACTIVE_RANGE_DB = 40.0
HUM_HARMONICS = 12


def white_noise(rows: int, samples: int, generator: torch.Generator) -> Tensor:
    """Equal power at every frequency: `(rows, samples)` with RMS 1."""
    return torch.randn((rows, samples), generator=generator, device=generator.device)


def pink_noise(rows: int, samples: int, generator: torch.Generator) -> Tensor:
    """Power falling as 1/frequency, as in wind, traffic and old amplifiers: `(rows, samples)` with RMS 1."""
    spectrum = torch.fft.rfft(white_noise(rows, samples, generator))
    bins = torch.arange(spectrum.shape[1], device=spectrum.device, dtype=torch.float32)
    slope = torch.where(bins > 0, bins.clamp_min(1).rsqrt(), 0.0)  # no constant part: it is not heard
    return signal.normalise_rms(torch.fft.irfft(spectrum * slope, n=samples), 1.0)


def mains_hum(rows: int, samples: int, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """The mains at 50 or 60 Hz (within 1%) and its harmonics, of random strength: `(rows, samples)` with RMS 1."""
    fundamental_hz = torch.where(_uniform((rows, 1), generator) < 0.5, 50.0, 60.0)
    fundamental_hz = fundamental_hz * (0.99 + 0.02 * _uniform((rows, 1), generator))
    harmonic = torch.arange(1, HUM_HARMONICS + 1, device=generator.device)
    frequency_hz = fundamental_hz * harmonic  # (rows, harmonics)
    strength = _uniform(frequency_hz.shape, generator) / harmonic.sqrt() * (frequency_hz < sample_rate_hz / 2)
    phase = _uniform(frequency_hz.shape, generator)
    time_s = torch.arange(samples, device=generator.device) / sample_rate_hz
    turns = frequency_hz[..., None] * time_s + phase[..., None]  # (rows, harmonics, samples)
    hum = torch.einsum("rh,rhs->rs", strength, torch.sin(2 * torch.pi * (turns - turns.floor())))
    return signal.normalise_rms(hum, 1.0)


def active_power(spectrum: Tensor) -> Tensor:
    """Mean square of the sound where it is not paused: `(batch, 2, frequency, time)` → `(batch,)`."""
    frames = signal.frame_power(spectrum)
    active = frames >= frames.amax(1, keepdim=True) * 10 ** (-ACTIVE_RANGE_DB / 10)
    return (frames * active).sum(1) / active.sum(1)


def mix_at_snr(clean: Tensor, noise: Tensor, snr_db: Tensor, *, silent_power: float) -> Tensor:
    """Adds noise at a signal-to-noise ratio, measured where the signal is not paused.

    Args:
        clean: `(batch, 2, frequency, time)`.
        noise: the same shape, at any level.
        snr_db: `(batch,)`; infinity leaves the row clean.
        silent_power: mean square taken for a row that is silent and has none of its own.

    Returns:
        `(batch, 2, frequency, time)`.
    """
    signal_power = active_power(clean)
    signal_power = torch.where(signal_power > 0, signal_power, silent_power)
    wanted = signal_power / 10 ** (snr_db / 10)
    scale = (wanted / signal.frame_power(noise).mean(1).clamp_min(1e-20)).sqrt()
    return clean + noise * scale.view(-1, 1, 1, 1)


def _uniform(shape: tuple[int, ...] | torch.Size, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


class AddNoise:
    """Fresh noise for every batch of spectra: white, pink, hum, and recorded where there are recordings.

    Recordings, when given, make up most of the noise. A few rows can stay clean, so that a model learns to
    leave clean sound alone.
    """

    RECORDED_SHARE = 0.7

    def __init__(
        self,
        *,
        sample_rate_hz: int,
        n_fft: int,
        chunk_samples: int,
        snr_db_range: tuple[float, float],
        silent_power: float,
        clean_share: float = 0.0,
        recordings: NoiseRecordings | None = None,
    ) -> None:
        """Takes the shape of the spectra, and what to add to them.

        Args:
            sample_rate_hz: of the waveforms behind the spectra.
            n_fft: window of the spectra, in samples.
            chunk_samples: samples behind one example.
            snr_db_range: lowest and highest signal-to-noise ratio, drawn evenly; may be equal.
            silent_power: mean square of a sound, taken for examples that are silent.
            clean_share: part of the rows left as they are.
            recordings: noise to cut pieces from.
        """
        self._sample_rate_hz = sample_rate_hz
        self._n_fft = n_fft
        self._chunk_samples = chunk_samples
        self._snr_db_range = snr_db_range
        self._silent_power = silent_power
        self._clean_share = clean_share
        self._recordings = recordings

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """`(batch, 2, frequency, time)` → the same with noise; the generator lies on the same device."""
        rows = len(clean)
        low, high = self._snr_db_range
        snr_db = low + (high - low) * _uniform((rows,), generator)
        snr_db = torch.where(_uniform((rows,), generator) < self._clean_share, torch.inf, snr_db)
        noise = signal.stft(self._noise(rows, generator), n_fft=self._n_fft)
        return mix_at_snr(clean, noise, snr_db, silent_power=self._silent_power)

    def _noise(self, rows: int, generator: torch.Generator) -> Tensor:
        """`(rows, samples)` of RMS about 1, each row of one kind."""
        recorded_share = 0.0 if self._recordings is None else self.RECORDED_SHARE
        is_recorded = _uniform((rows,), generator) < recorded_share
        kind = torch.randint(3, (rows,), generator=generator, device=generator.device)
        kind = torch.where(is_recorded, 3, kind)
        noise = torch.empty((rows, self._chunk_samples), device=generator.device)
        for number, draw in enumerate((self._white, self._pink, self._hum, self._recorded)):
            chosen = (kind == number).nonzero()[:, 0]
            if len(chosen):
                noise[chosen] = draw(len(chosen), generator)
        return noise

    def _white(self, rows: int, generator: torch.Generator) -> Tensor:
        return white_noise(rows, self._chunk_samples, generator)

    def _pink(self, rows: int, generator: torch.Generator) -> Tensor:
        return pink_noise(rows, self._chunk_samples, generator)

    def _hum(self, rows: int, generator: torch.Generator) -> Tensor:
        return mains_hum(rows, self._chunk_samples, generator, sample_rate_hz=self._sample_rate_hz)

    def _recorded(self, rows: int, generator: torch.Generator) -> Tensor:
        assert self._recordings is not None
        return self._recordings.crop(rows, self._chunk_samples, generator)
