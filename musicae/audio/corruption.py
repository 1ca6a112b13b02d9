"""Corruption for training: noise mixed in as complex spectra at a signal-to-noise ratio, or a band cut away.

Everything is a function of tensors and a generator, works on whole batches and stays on the generator's
device, so that fresh corruption costs next to nothing beside the network. Nothing here knows settings or domains,
nor reads files: recorded noise comes in decoded.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from musicae.audio import stft as signal
from musicae.audio.noise import NOISES, gusts, host_generator, row_index, rows_below, uniform
from musicae.audio.noise_recordings import NoiseRecordings
from musicae.nn.bands import PRESENT, below_the_end

# A frame this far below the loudest one is a pause; pauses don't count towards the signal's power, or a
# slow speaker would be given less noise than a quick one.
ACTIVE_RANGE_DB = 40.0


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


class AddNoise:
    """Fresh noise for every batch of spectra: families made here, and recorded where there are recordings.

    Some rows get two noises at once, some a level that wanders; a few can stay clean, so that a model learns to
    leave clean sound alone.
    """

    SECOND_SHARE = 0.3
    GUSTS_SHARE = 0.3

    def __init__(
        self,
        *,
        sample_rate_hz: int,
        n_fft: int,
        chunk_samples: int,
        snr_db_range: tuple[float, float],
        silent_power: float,
        families: Sequence[str] = tuple(NOISES),
        clean_share: float = 0.0,
        recordings: NoiseRecordings | None = None,
        recorded_share: float = 0.5,
        varied: bool = False,
    ) -> None:
        """Takes the shape of the spectra, and what to add to them.

        Args:
            sample_rate_hz: of the waveforms behind the spectra.
            n_fft: window of the spectra, in samples.
            chunk_samples: samples behind one example.
            snr_db_range: lowest and highest signal-to-noise ratio, drawn evenly; may be equal.
            silent_power: mean square of a sound, taken for examples that are silent.
            families: names in `noise.NOISES`, drawn evenly; may be none where there are recordings.
            clean_share: part of the rows left as they are.
            recordings: noise to cut pieces from.
            recorded_share: part of the noises that are cut from recordings, where there are made ones too.
            varied: whether half of the recorded pieces are played slower or faster and coloured, as for training.
        """
        if not families and recordings is None:
            raise ValueError("expected a family of noise, recordings, or both; got neither")
        self._sample_rate_hz = sample_rate_hz
        self._n_fft = n_fft
        self._chunk_samples = chunk_samples
        self._snr_db_range = snr_db_range
        self._silent_power = silent_power
        self._families = tuple(families)
        self._clean_share = clean_share
        self._recordings = recordings
        self._recorded_share = recorded_share
        self._varied = varied

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """`(batch, 2, frequency, time)` → the same with noise; the generator lies on the same device."""
        rows = len(clean)
        low, high = self._snr_db_range
        snr_db = low + (high - low) * uniform((rows,), generator)
        snr_db = torch.where(uniform((rows,), generator) < self._clean_share, torch.inf, snr_db)
        noise = signal.stft(self._noise(rows, generator), n_fft=self._n_fft)
        return mix_at_snr(clean, noise, snr_db, silent_power=self._silent_power)

    def _noise(self, rows: int, generator: torch.Generator) -> Tensor:
        """`(rows, samples)` of RMS about 1."""
        host = host_generator(generator)
        noise = self._one_source(rows, generator, host)
        if second := rows_below(self.SECOND_SHARE, rows, host):
            strength = uniform((len(second), 1), generator)
            noise[row_index(second, noise.device)] += strength * self._one_source(len(second), generator, host)
        if wandering := rows_below(self.GUSTS_SHARE, rows, host):
            level = gusts(len(wandering), self._chunk_samples, generator, sample_rate_hz=self._sample_rate_hz)
            noise[row_index(wandering, noise.device)] *= level
        return noise

    def _one_source(self, rows: int, generator: torch.Generator, host: torch.Generator) -> Tensor:
        """`(rows, samples)` of RMS about 1, each row from one source; which one is drawn by the host."""
        share_beside_families = self._recorded_share if self._families else 1.0
        recorded = rows_below(0.0 if self._recordings is None else share_beside_families, rows, host)
        family_numbers = torch.randint(max(1, len(self._families)), (rows,), generator=host).tolist()
        made = sorted(set(range(rows)).difference(recorded))
        noise = torch.empty((rows, self._chunk_samples), device=generator.device)
        for number, family in enumerate(self._families):
            if chosen := [row for row in made if family_numbers[row] == number]:
                noise[row_index(chosen, noise.device)] = NOISES[family](
                    len(chosen), self._chunk_samples, generator, sample_rate_hz=self._sample_rate_hz
                )
        if recorded:
            assert self._recordings is not None
            noise[row_index(recorded, noise.device)] = self._recordings.crop(
                len(recorded), self._chunk_samples, generator, varied=self._varied
            )
        return noise


class CutBand:
    """Takes away what a sound has above some frequency, as a lower sample rate or a telephone does.

    The filters of converters begin to fall a little below the highest frequency they keep, and are through well
    before it: all of it is drawn anew for every row, the highest frequency evenly on a scale of octaves, below that of
    the sound itself. The sound is filtered, not its cells cut, so that the windows of the spectrum leak over the edge
    as they will when a file comes from a converter; what is missing then is exactly 0.
    """

    LOWEST_HZ, HIGHEST_HZ = 3_200.0, 16_000.0
    LOWEST_SHARE = 0.4
    """Of the band of a model at a low rate, which is cut no lower than that either."""
    HIGHEST_SHARE = 0.75
    """Of the band that the sound has."""
    START = (0.86, 0.97)  # of the band that is kept; SoX's resampler begins at 0.93
    # How much of what lies between the start and the edge the fall takes; SoX's three quarters.
    FALL = (0.5, 1.0)

    def __init__(self, *, sample_rate_hz: int, n_fft: int, chunk_samples: int) -> None:
        """Takes the rate and the shape of the spectra."""
        self._sample_rate_hz = sample_rate_hz
        self._n_fft = n_fft
        self._chunk_samples = chunk_samples

    @classmethod
    def lowest_hz(cls, sample_rate_hz: int) -> float:
        """Where a band is cut at the lowest."""
        return min(cls.LOWEST_HZ, cls.LOWEST_SHARE * sample_rate_hz / 2)

    def __call__(self, clean: Tensor, generator: torch.Generator) -> Tensor:
        """`(batch, 2, frequency, time)` → the same without its upper band; a sound that ends low stays as it is."""
        rows, bin_hz = len(clean), self._sample_rate_hz / self._n_fft
        own_hz = below_the_end(clean.square().sum(1), PRESENT).sum(1, keepdim=True) * bin_hz
        highest_hz = (self.HIGHEST_SHARE * own_hz).clamp_max(self.HIGHEST_HZ)
        lowest_hz = self.lowest_hz(self._sample_rate_hz)
        octaves = (highest_hz / lowest_hz).clamp_min(1).log2()
        edge_hz = lowest_hz * 2 ** (octaves * uniform((rows, 1), generator))
        edge_hz = torch.where(octaves > 0, edge_hz, self._sample_rate_hz)
        start = self.START[0] + (self.START[1] - self.START[0]) * uniform((rows, 1), generator)
        width = (1 - start) * (self.FALL[0] + (self.FALL[1] - self.FALL[0]) * uniform((rows, 1), generator))
        waveform = signal.inverse_stft(clean, samples=self._chunk_samples)
        spectrum = torch.fft.rfft(waveform)  # (rows, frequencies of the whole chunk)
        place = torch.linspace(0, self._sample_rate_hz / 2, spectrum.shape[1], device=clean.device) / edge_hz
        # A raised cosine for the way down.
        fallen = torch.cos(torch.pi / 2 * ((place - start) / width).clamp(0, 1)).pow(4)
        cut = signal.stft(torch.fft.irfft(spectrum * fallen, waveform.shape[1]), n_fft=self._n_fft)
        is_there = bin_hz * torch.arange(clean.shape[2], device=clean.device) < edge_hz
        return torch.where((octaves > 0)[..., None, None], cut * is_there[:, None, :, None], clean)
