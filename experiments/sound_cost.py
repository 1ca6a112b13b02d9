"""Speed and memory of cleaning sound, on the CPU, at 48 kHz unless it says otherwise."""

import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from denoisers import MODELS
from sound_clips import RATE_HZ
from stored import trained_model

from musicae.audio.baselines import noisereduced
from musicae.audio.sound import Sound

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
        source, target, stereo = (Path(folder) / name for name in ("noise.wav", "clean.wav", "stereo.wav"))
        Sound(noise, RATE_HZ).save(source)
        Sound(np.stack((noise, rng.permutation(noise)), 1), 44_100).save(stereo)
        for count in (1, 2):
            torch.set_num_threads(count)
            for name in MODELS:
                trained = trained_model(runs, name)
                found[f"{name}, file, {count} thread{'s' * (count > 1)}"] = _factor(
                    lambda trained=trained: trained.denoise(source).save(target)
                )
        torch.set_num_threads(1)
        both = trained_model(runs, "denoise-48k")
        found["denoise-48k, stereo at 44.1 kHz, file, 1 thread"] = _factor(
            lambda: both.denoise(stereo).save(target), sound_s=len(noise) / 44_100
        )
        live = trained_model(runs, "denoise-live-48k")
        live_hz = live.domain.config.sample_rate_hz
        for block_ms in (20, 10):
            blocks = np.split(np.resize(noise, 10 * live_hz), 10 * 1000 // block_ms)
            found[f"denoise-live-48k, stream of {block_ms} ms blocks, 1 thread"] = _factor(
                lambda blocks=blocks: sum(len(block) for block in live.stream(blocks)), sound_s=10
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
