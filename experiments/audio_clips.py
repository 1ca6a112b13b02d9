"""Noisy clips that denoisers are compared on, and the scores of one restored clip.

Clean sounds and families of noise that no shipped model was trained on (see audio_sets.py): rendered tunes of held-out
instruments, real recordings, held-out sentences of the trained voice, and speakers never trained on. Everything is at
16 kHz and drawn with a seed, so that every run compares on the same clips. Clips of the whole band are in
wide_clips.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from musicae.audio import stft as signal
from musicae.audio.domain import AudioDomain
from musicae.audio.metrics import perceptual_scores
from musicae.audio.noise_recordings import without_silence
from musicae.audio.sound import Sound
from musicae.data.dataset import SplitBy, content_key, split_items, split_of_run
from musicae.data.files import find_files
from musicae.trained import TrainedModel

RATE_HZ = 16_000
SPLIT_BY: SplitBy = "names"
"""How the shipped denoisers' data were split, so which clips no model heard; `restored` refuses models of another."""
_LONGEST_S = 8.0
_REAL_MUSIC = ("Hungarian", "Lets_Go_Fishin", "Sugar_Plum", "Vibe_Ace", "trumpet")
_N_FFT = 1024


@dataclass(frozen=True)
class Clip:
    """A clean sound and noise for it.

    Attributes:
        group: `music, rendered`, `music, real` or `speech`, and the noise: `recorded` or `coloured`.
        name: of the file it is from.
        clean: float32 `(samples,)` at `RATE_HZ`.
        noise: as long, at any level.
    """

    group: str
    name: str
    clean: np.ndarray
    noise: np.ndarray

    def noisy(self, snr_db: float) -> np.ndarray:
        """The mixture at a signal-to-noise ratio over the whole clip."""
        gain = np.sqrt(np.mean(self.clean**2) / np.mean(self.noise**2) / 10 ** (snr_db / 10))
        mixed: np.ndarray = (self.clean + gain * self.noise).astype(np.float32)
        return mixed


def clips(sets: Path, split: str) -> list[Clip]:
    """The clips of `test`, or a dozen of `validation`, on which baselines may be tuned."""
    rng = np.random.default_rng(11)
    noises = recordings(sets / ("sound/noise_test" if split == "test" else "sound/noise_train"))
    found = []
    for group, path in _files(sets, split):
        whole = read_mono(path)
        for start in _starts(group, len(whole)):
            clean = whole[start : start + round(_LONGEST_S * RATE_HZ)]
            if np.sqrt(np.mean(clean**2)) < 1e-3:
                continue
            found.append(Clip(f"{group}, recorded noise", path.name, clean, _drawn_noise(noises, len(clean), rng)))
            found.append(Clip(f"{group}, coloured noise", path.name, clean, coloured(len(clean), rng)))
    return found


def recordings(folder: Path) -> list[np.ndarray]:
    """The noises of a folder that last a second or more, without their silent parts."""
    found = [active(path) for path in sound_files(folder)]
    return [noise for noise in found if len(noise) > RATE_HZ]


def _drawn_noise(noises: list[np.ndarray], samples: int, rng: np.random.Generator) -> np.ndarray:
    noise = np.resize(noises[int(rng.integers(len(noises)))], samples)
    return np.roll(noise, int(rng.integers(len(noise))))


def coloured(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Steady noise whose spectrum goes up and down by 15 dB over eight points an octave apart.

    No synthetic family of training is like it; some of the recordings that training filters at random come near it.
    """
    frequency_hz = np.fft.rfftfreq(samples, 1 / RATE_HZ)
    points_hz = 62.5 * 2.0 ** np.arange(8)
    curve_db = np.interp(np.log2(frequency_hz.clip(30)), np.log2(points_hz), rng.uniform(-15, 15, len(points_hz)))
    spectrum = np.fft.rfft(rng.standard_normal(samples)) * 10 ** (curve_db / 20) * (frequency_hz > 20)
    noise: np.ndarray = np.fft.irfft(spectrum, samples).astype(np.float32)
    return noise


def score(estimate: np.ndarray, clean: np.ndarray, *, is_speech: bool) -> dict[str, float]:
    """Scores of one restored clip against the clean one, both `(samples,)`."""
    ours, theirs = (torch.from_numpy(np.asarray(part, np.float32))[None] for part in (estimate, clean))
    theirs = signal.normalise_rms(theirs, 0.1)
    # Each at its own best level, as SI-SDR does: distances of spectra should not measure that a file is quiet.
    ours = ours * ((ours * theirs).sum() / ours.square().sum().clamp_min(1e-12))
    spectra = [signal.magnitude(signal.stft(part, n_fft=_N_FFT)) for part in (ours, theirs)]
    found = {
        "si_sdr_db": signal.si_sdr_db(ours, theirs),
        "multi_resolution_distance": signal.multi_resolution_distance(ours, theirs),
        "log_mel_l1": signal.log_mel_l1(*spectra, sample_rate_hz=RATE_HZ),
        "log_spectral_distance_db": signal.log_spectral_distance_db(*spectra),
    }
    if is_speech:
        found |= perceptual_scores(ours, theirs, sample_rate_hz=RATE_HZ)
    return {name: float(value) for name, value in found.items()}


def restored(trained: TrainedModel, noisy: np.ndarray) -> np.ndarray:
    """`(samples,)` as `musicae denoise` cleans it.

    Raises:
        ValueError: the model's data were split in another way, so it may have heard these clips; change `SPLIT_BY`.
    """
    if split_of_run(trained.manifest.data) != SPLIT_BY:
        raise ValueError(f"the clips are held out by {SPLIT_BY}, and the model's data were not; change SPLIT_BY")
    answer: np.ndarray = trained.denoise(Sound(noisy, RATE_HZ, subtype="FLOAT")).samples
    return answer


def on_spectrum(function: Callable[[torch.Tensor], torch.Tensor], samples: np.ndarray) -> np.ndarray:
    """Puts `(samples,)` through a function of complex spectra."""
    waveform = torch.from_numpy(samples)[None]
    result = function(signal.stft(waveform, n_fft=_N_FFT))
    answer: np.ndarray = signal.inverse_stft(result, samples=len(samples))[0].numpy()
    return answer


def read_mono(path: Path, sample_rate_hz: int = RATE_HZ) -> np.ndarray:
    """A file's channels mixed to one, `(samples,)`."""
    samples: np.ndarray = Sound.open(path).mono().resample(sample_rate_hz).samples
    return samples


def resampled(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """`(samples,)` at another rate."""
    answer: np.ndarray = Sound(samples, from_hz).resample(to_hz).samples
    return answer


def sound_files(folder: Path) -> list[Path]:
    """All sound files below a folder, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if path.name.lower().endswith(AudioDomain.suffixes))


def held_out(folder: Path, split: str) -> list[Path]:
    """The files of a folder that training kept for a split."""
    found = find_files(AudioDomain(), [folder])
    keys = [name if SPLIT_BY == "names" else content_key(path) for name, path in found]
    chosen = set(split_items(sorted(set(keys)))[split])
    return [path for key, (_, path) in zip(keys, found, strict=True) if key in chosen]


def _files(sets: Path, split: str) -> Iterator[tuple[str, Path]]:
    speech = held_out(sets / "speech_kerstin16k", split)
    if split == "validation":
        yield from (("speech", path) for path in speech[:6])
        yield from (("music, rendered", path) for path in held_out(sets / "sound/music_train", split)[:6])
        return
    yield from (("music, rendered", path) for path in sorted((sets / "sound/music_test").glob("*.flac")))
    yield from _real_recordings(sets)
    yield from (("speech", path) for path in speech)
    yield from (("speech", path) for path in sorted((sets / "sound/digits_test").glob("*.flac")))


def _real_recordings(sets: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted((sets / "music_real").glob("*.ogg")):
        is_music = any(name in path.name for name in _REAL_MUSIC)
        if is_music or (path.name[0].isdigit() and "robin" not in path.name):
            yield "music, real" if is_music else "speech", path


def _starts(group: str, samples: int) -> list[int]:
    """Three pieces of a long track, the beginning of everything else."""
    length = round(_LONGEST_S * RATE_HZ)
    if group != "music, real" or samples < 4 * length:
        return [0]
    return [samples * part // 8 for part in (1, 3, 5)]


def active(path: Path) -> np.ndarray:
    """A recording of noise without its silent parts, `(samples,)` at `RATE_HZ`."""
    samples: np.ndarray = without_silence(read_mono(path), RATE_HZ)
    return samples
