"""Sound models and baselines, on clips and noises that they never learned from; speed and memory.

Denoisers are compared with a Wiener filter, noisereduce and the best mask there could be (musicae.audio.baselines),
bands with plain resampling, rebuilt notes with principal components and copy synthesis, paths between notes with a
crossfade. Where noisereduce, pesq and pystoi are installed (`pip install musicae[measure]`) they are measured too.
"""

import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from audio_clips import (
    RATE_HZ,
    Clip,
    clips,
    on_spectrum,
    restored,
    score,
)
from denoisers import MODELS as DENOISERS
from judges import cepstra, frechet_distance
from stored import trained_model
from torch import Tensor

from musicae.audio import stft as signal
from musicae.audio.baselines import noisereduced, oracle_mask, wiener_filtered
from musicae.audio.sound import Sound
from musicae.data.dataset import DataSet
from musicae.evaluation.bootstrap import mean_intervals
from musicae.evaluation.linear import fitted_pca, pca_restored
from musicae.inference.interpolate import changes
from musicae.trained import TrainedModel

RATIOS_DB = (0.0, 5.0, 10.0)
JUDGED_DB = 5.0  # at which speech is scored by PESQ and STOI
_SHARES = (0.3, 0.5, 0.7, 0.85, 1.0)
_N_FFT = 1024

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Noisy and clean `(samples,)` → estimate; only the oracle looks at the clean one."""


# Denoising


def denoising(sets: Path, runs: Path) -> dict[str, Any]:
    """Every method on every clip at every ratio: means, intervals, wins over the Wiener filter."""
    methods = _methods(sets, runs)
    found: dict[str, Any] = {}
    for ratio_db in RATIOS_DB:
        # PESQ takes longer than all methods together.
        found |= _compared(methods, clips(sets, "test"), ratio_db, is_judged=ratio_db == JUDGED_DB)
    return found


def _compared(methods: dict[str, Method], found: list[Clip], ratio_db: float, *, is_judged: bool) -> dict[str, Any]:
    rows: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    owners: dict[str, list[str]] = defaultdict(list)
    for clip in found:
        place = f"{clip.group}, {ratio_db:.0f} dB"
        owners[place].append(clip.name)
        noisy = clip.noisy(ratio_db)
        is_speech = is_judged and clip.group.startswith("speech")
        for name, method in methods.items():
            for measure, value in score(method(noisy, clip.clean), clip.clean, is_speech=is_speech).items():
                rows[place][name][measure].append(value)
    return {place: summary(row, owners[place]) for place, row in rows.items()}


def summary(rows: dict[str, dict[str, list[float]]], owners: list[str]) -> dict[str, Any]:
    """Means of a group's scores, method by method; gains with 95% intervals, drawn by file."""
    group = np.unique(owners, return_inverse=True)[1]
    noisy = np.array(rows["noisy"]["si_sdr_db"])
    wiener = np.array(rows["wiener"]["si_sdr_db"])
    found: dict[str, Any] = {}
    for name, scores in rows.items():
        gain = np.array(scores["si_sdr_db"]) - noisy
        ends = mean_intervals(gain[:, None], group)
        found[name] = {measure: float(np.nanmean(values)) for measure, values in scores.items()}
        found[name] |= {"gain_db": float(gain.mean()), "wins_over_wiener": float((gain > wiener - noisy).mean())}
        if ends is not None:
            found[name] |= {"gain_db_low": float(ends[0][0]), "gain_db_high": float(ends[1][0])}
        found[name]["clips"] = len(gain)
    return found


def _methods(sets: Path, runs: Path) -> dict[str, Method]:
    methods: dict[str, Method] = {
        "noisy": lambda noisy, clean: noisy,
        "wiener": lambda noisy, clean: on_spectrum(wiener_filtered, noisy),
        "oracle mask": _oracle,
    }
    if find_spec("noisereduce") is not None:
        for name, stationary in (("noisereduce", False), ("noisereduce, stationary", True)):
            methods[name] = _tuned_noisereduce(clips(sets, "validation"), stationary)
    for name in DENOISERS:
        trained = trained_model(runs, name)
        methods[name] = lambda noisy, clean, trained=trained: restored(trained, noisy)
    return methods


def _oracle(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    target = signal.stft(torch.from_numpy(clean)[None], n_fft=_N_FFT)
    return on_spectrum(lambda spectrum: oracle_mask(spectrum, target), noisy)


def _tuned_noisereduce(tuning: list[Clip], stationary: bool) -> Method:
    """With the share of noise it removes that is best on the validation clips at 5 dB."""

    def quality(share: float) -> float:
        answers = ((clip, noisereduced(clip.noisy(5), RATE_HZ, stationary=stationary, prop_decrease=share))
                   for clip in tuning)  # fmt: skip
        return float(np.mean([score(answer, clip.clean, is_speech=False)["si_sdr_db"] for clip, answer in answers]))

    best = max(_SHARES, key=quality)
    return lambda noisy, clean: noisereduced(noisy, RATE_HZ, stationary=stationary, prop_decrease=best)


def clean_input(sets: Path, runs: Path) -> dict[str, Any]:
    """What a method does to sound without noise: clean clips, a steady tone, silence."""
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(10 * RATE_HZ) / RATE_HZ)).astype(np.float32)
    silence = np.zeros(4 * RATE_HZ, np.float32)
    found: dict[str, Any] = {}
    for name, method in _methods(sets, runs).items():
        if name in ("noisy", "oracle mask"):
            continue
        kept = [
            score(method(clip.clean, clip.clean), clip.clean, is_speech=False)["si_sdr_db"]
            for clip in clips(sets, "test")[::2]  # each clean sound is there twice, with two noises
        ]
        middle = slice(2 * RATE_HZ, 8 * RATE_HZ)
        after = method(tone, tone)[middle]
        found[name] = {
            "clean_si_sdr_db": float(np.mean(kept)),
            "clean_si_sdr_db_lowest": float(np.min(kept)),
            "tone_change_db": float(20 * np.log10(np.sqrt(np.mean(after**2) / np.mean(tone[middle] ** 2)) + 1e-9)),
            "silence_stays": bool(not np.any(method(silence, silence))),
        }
    return found


# Notes

_PAIRS, _STEPS = 48, 9


def pca_scores(trained: TrainedModel, dataset: DataSet, target: Tensor, owner: np.ndarray | None) -> dict[str, float]:
    """Of notes rebuilt from as many principal components as the code has numbers, or as the training notes allow."""
    domain = trained.domain
    components = fitted_pca(domain, dataset, dataset.splits["train"], trained.network.latent_shape[0])
    scores = domain.metrics(pca_restored(components, target), target, target)
    found = {measure: float(values.nanmean()) for measure, values in scores.items()}
    ends = mean_intervals(scores["log_mel_l1"].double().numpy()[:, None], owner)
    if ends is not None:
        found |= {"log_mel_l1_low": float(ends[0][0]), "log_mel_l1_high": float(ends[1][0])}
    return found | {"components": int(components.n_components_)}


def paths_between(trained: TrainedModel, recorded: Tensor, others: Tensor) -> dict[str, Any]:
    """How evenly paths between notes run, and how much their middles are like notes.

    Args:
        trained: a model of notes.
        recorded: stored examples, of which paths are.
        others: of notes, which the middles of paths are compared with.
    """
    domain, rng = trained.domain, np.random.default_rng(0)
    recorded = recorded.float()
    jumps: dict[str, list[float]] = {"model": [], "crossfade": []}
    middles: dict[str, list[Tensor]] = {"model": [], "crossfade": []}
    for _ in range(_PAIRS):
        first, second = rng.choice(len(recorded), 2, replace=False)
        ends = [domain.tensor(recorded[index : index + 1]).target for index in (first, second)]
        path = trained.interpolate(*ends, _STEPS).tensor
        share = torch.linspace(0, 1, _STEPS)[:, None]
        crossfade = domain.tensor((1 - share) * recorded[first] + share * recorded[second]).target
        for name, points in (("model", path), ("crossfade", crossfade)):
            steps = changes(_log_mel(trained, points), domain.spec.layout)
            jumps[name].append(float(steps.max() / steps.mean()))
            middles[name].append(points[_STEPS // 2])
    notes_like = cepstra(_log_mel(trained, domain.tensor(others.float()).target))
    return {
        name: {
            "largest_over_mean_step": float(np.mean(ratios)),
            "frechet_of_middles": frechet_distance(cepstra(_log_mel(trained, torch.stack(middles[name]))), notes_like),
        }
        for name, ratios in jumps.items()
    }


def _log_mel(trained: TrainedModel, batch: Tensor) -> Tensor:
    linear = batch[:, 0].square()
    mel = signal.mel_magnitude(linear, sample_rate_hz=trained.domain.config.sample_rate_hz)
    return mel.clamp_min(signal.LOG_MEL_FLOOR).log()


# Speed and memory

_SOUND_S, _REPEATS = 60, 3
# Linux's own peak of the process; `ru_maxrss` would begin with that of the process which started it.
_HOUR = """
import sys
from pathlib import Path
from musicae.trained import load
load(sys.argv[1], "cpu").denoise(sys.argv[2]).save(sys.argv[3])
(peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(int(peak.split()[1]) / 2**20)
"""


def cost(sets: Path, runs: Path) -> dict[str, Any]:
    """Real-time factors on one and two threads, of files and of a stream, and the largest memory of a process."""
    del sets
    rng = np.random.default_rng(0)
    noise = (0.05 * rng.standard_normal(_SOUND_S * RATE_HZ)).astype(np.float32)
    found: dict[str, Any] = {}
    threads = torch.get_num_threads()
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "noise.wav", Path(folder) / "clean.wav"
        Sound(noise, RATE_HZ).save(source)
        for count in (1, 2):
            torch.set_num_threads(count)
            for name in DENOISERS:
                trained = trained_model(runs, name)
                found[f"{name}, file, {count} thread{'s' * (count > 1)}"] = _factor(
                    lambda trained=trained: trained.denoise(source).save(target)
                )
        torch.set_num_threads(1)
        live = trained_model(runs, "denoise-live-48k")
        live_hz = live.domain.config.sample_rate_hz
        blocks = np.split(np.resize(noise, 10 * live_hz), 10 * 100)
        found["denoise-live-48k, stream of 10 ms blocks, 1 thread"] = _factor(
            lambda: sum(len(block) for block in live.stream(blocks)), sound_s=10
        )
        found["latency_ms"] = 1000 * live.stream(blocks).latency_s
        torch.set_num_threads(threads)
        if find_spec("noisereduce") is not None:
            for name, stationary in (("noisereduce", False), ("noisereduce, stationary", True)):
                found[f"{name}, array"] = _factor(
                    lambda stationary=stationary: noisereduced(noise, RATE_HZ, stationary=stationary)
                )
        hour = Path(folder) / "hour.wav"
        Sound.from_blocks(lambda: _stereo_hour(rng), 44_100, 2, 3600 * 44_100).save(hour)
        name = "denoise-48k"
        model = runs / name if (runs / name).is_dir() else name
        started = time.perf_counter()
        command = [sys.executable, "-c", _HOUR, str(model), str(hour), str(target)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found["hour_gib"] = float(printed)
        found["denoise-48k, an hour of stereo at 44.1 kHz"] = 3600 / (time.perf_counter() - started)
    return found


def _stereo_hour(rng: np.random.Generator) -> Any:
    """Yields white noise, a second at a time."""
    for _ in range(3600):
        yield (0.05 * rng.standard_normal((44_100, 2))).astype(np.float32)


def _factor(work: Callable[[], Any], sound_s: float = _SOUND_S) -> float:
    """Median of some runs, after one that warms up."""
    work()
    spent = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return sound_s / float(np.median(spent))
