"""Bands that are filled in: 8 kHz sound made 16, and 16 made 48, beside plain resampling and a mean spectrum.

`validation` is for choosing: a Gaelic speaker and rendered tunes. `test` has what nobody trained or chose on: sentences
kept out of the training of a voice, volunteers' voices, real recordings, and tunes of held-out instruments.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import sound_clips
import sounds
import torch
from stored import trained_model

from musicae.audio import stft as signal
from musicae.audio.bandwidth import bandwidth_hz
from musicae.audio.config import AudioConfig
from musicae.audio.metrics import perceptual_scores
from musicae.audio.representation import FORMS
from musicae.audio.sound import Sound
from musicae.evaluation.bootstrap import mean_intervals
from musicae.nn.bands import EXTENSION
from musicae.nn.correction import ExtendCorrection

STEPS = {"8 to 16 kHz": (8_000, 16_000), "16 to 48 kHz": (16_000, 48_000)}
_LEVEL, _LEAST_SHARE = 0.1, 1e-5
_N_FFT_S = 0.032
_MODEL_N_FFT = 1536  # of `upscale-48k`
_LONGEST_S = 6.0
_LEAST_POWER = 1e-8


def chosen_sounds(sets: Path, split: str) -> Iterator[tuple[str, str, np.ndarray]]:
    """Group, name and samples at 48 kHz."""
    if split == "validation":
        for group, name, samples in sound_clips.sounds(sets, "validation"):
            if group != "speech, digits":  # they were recorded at 8 kHz
                yield group, name, samples
        return
    for path in sounds.held_out(sets / "speech_kerstin16k", "test"):
        yield "speech, held-out sentences", path.name, sounds.read_mono(path, sound_clips.RATE_HZ)
    yield from sound_clips.sounds(sets, "outside")


def measured(trained: Any, sets: Path, split: str) -> dict[str, Any]:
    """Step → group → measures of clips that reach high enough to be judged: means, and intervals of some."""
    found: dict[str, dict[str, dict[str, list[tuple[str, float]]]]] = {
        step: defaultdict(lambda: defaultdict(list)) for step in STEPS
    }
    for group, clip, whole in chosen_sounds(sets, split):
        samples = whole[: round(_LONGEST_S * sound_clips.RATE_HZ)]
        if len(samples) < sound_clips.RATE_HZ:
            continue
        end_hz = bandwidth_hz(Sound(samples, sound_clips.RATE_HZ))
        for step, (low_hz, high_hz) in STEPS.items():
            # A third of what is missing has to be there, at least, to be judged.
            if end_hz > low_hz / 2 + (high_hz - low_hz) / 6:
                for name, value in _scores(trained, samples, low_hz, high_hz, end_hz, group).items():
                    found[step][group][name].append((clip, value))
    return {step: {group: _summary(row) for group, row in groups.items()} for step, groups in found.items()}


def _scores(
    trained: Any, samples: np.ndarray, low_hz: int, high_hz: int, end_hz: float, group: str
) -> dict[str, float]:
    clean = sounds.resampled(samples, sound_clips.RATE_HZ, high_hz)
    low = sounds.resampled(clean, high_hz, low_hz)
    plain = sounds.resampled(low, low_hz, high_hz)
    ours = trained.upscale(Sound(low, low_hz, subtype="FLOAT")).mono().resample(high_hz).samples
    ours = ours.reshape(-1)
    size = min(map(len, (clean, plain, ours)))
    gain = _LEVEL / float(np.sqrt(np.mean(np.square(clean[:size]))))
    clean, plain, ours = (part[:size] * gain for part in (clean, plain, ours))
    n_fft = 4 * round(_N_FFT_S * high_hz / 4)
    truth, resampled, filled = (
        signal.magnitude(signal.stft(torch.from_numpy(part)[None].float(), n_fft=n_fft))
        for part in (clean, plain, ours)
    )
    frequency_hz = torch.arange(truth.shape[1]) * high_hz / n_fft
    top_hz = min(end_hz, high_hz / 2)
    where = (frequency_hz > low_hz / 2) & (frequency_hz <= top_hz)
    usual = 10 ** (signal.decibels(truth, floor_db=-60).mean(-1, keepdim=True) / 20)
    spectra = {"resampled": resampled, "mean_spectrum": usual.expand_as(truth), "model": filled}
    scores = {
        f"{name}_lsd_db": float(signal.log_spectral_distance_db(linear, truth, where=where[None]))
        for name, linear in spectra.items()
    }
    edges = np.linspace(low_hz / 2, high_hz / 2, 4)
    for third, (start_hz, end) in enumerate(pairwise(edges), start=1):
        part = (frequency_hz >= start_hz) & (frequency_hz < end)
        power = [float(linear[0, part].square().mean()) for linear in (filled, truth)]
        if end <= top_hz * 1.02 and power[1] > _LEAST_POWER:
            scores[f"third_{third}_db"] = 10 * float(np.log10((power[0] + 1e-12) / power[1]))
    if group.startswith("speech") and high_hz == 16_000:
        best = _with_true_levels(samples, low, low_hz)
        best = gain * sounds.resampled(best, sound_clips.RATE_HZ, high_hz)[:size]
        for name, estimate in (("resampled", plain), ("model", ours), ("ceiling", best)):
            both = (torch.from_numpy(part)[None] for part in (estimate, clean))
            for measure, value in perceptual_scores(*both, sample_rate_hz=high_hz).items():
                scores[f"{name}_{measure}"] = float(value)
    return scores


def _with_true_levels(samples: np.ndarray, low: np.ndarray, low_hz: int) -> np.ndarray:
    """What a model would make of a low sound that knew the level of each row at each moment, `(samples,)`."""
    config = AudioConfig(sample_rate_hz=sound_clips.RATE_HZ, n_fft=_MODEL_N_FFT, representation="top")
    form = FORMS["top"](config)
    raised = sounds.resampled(low, low_hz, sound_clips.RATE_HZ)
    size = min(len(samples), len(raised))
    hops = size // config.hop_samples * config.hop_samples
    truth, given = (
        signal.stft(torch.from_numpy(part[:hops])[None].float(), n_fft=_MODEL_N_FFT) for part in (samples, raised)
    )
    shown = form.of_spectrum(given, bandwidth_hz(Sound(low, low_hz)))
    level = EXTENSION.means(truth.square().sum(1, keepdim=True)).sqrt()
    filled = form.spectrum_of(ExtendCorrection(2).filled(shown, level), shown)
    answer: np.ndarray = signal.inverse_stft(filled, samples=hops)[0].numpy()
    return np.pad(answer, (0, len(samples) - hops))


def _summary(row: dict[str, list[tuple[str, float]]]) -> dict[str, float]:
    """Means; intervals draw all clips of a recording together."""
    found: dict[str, float] = {"clips": max(map(len, row.values()))}
    for name, pairs in row.items():
        values = np.array([value for _, value in pairs])
        known, owner = values[~np.isnan(values)], np.array([clip for clip, _ in pairs])[~np.isnan(values)]
        if not len(known):
            continue
        found[name] = float(known.mean())
        if name.startswith("third"):
            found[f"{name}_within_2"] = float((np.abs(known) <= 2).mean())
        ends = (
            mean_intervals(known[:, None], np.unique(owner, return_inverse=True)[1])
            if name.startswith("model")
            else None
        )
        if ends is not None:
            found[f"{name}_low"], found[f"{name}_high"] = float(ends[0][0]), float(ends[1][0])
    return found


def validation(sets: Path, runs: Path) -> dict[str, Any]:
    """On clips for choosing."""
    return measured(trained_model(runs, "upscale-48k"), sets, "validation")


def test(sets: Path, runs: Path) -> dict[str, Any]:
    """On clips that nobody trained or chose on."""
    return measured(trained_model(runs, "upscale-48k"), sets, "test")
