"""What cleaning sound costs: seconds of sound a second, and memory for an hour of it."""

import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from musicae.audio.baselines import noisereduced
from musicae.audio.files import sound_writer, write_sound
from musicae.trained import load

_RATE_HZ = 16_000
_SOUND_S = 60
_REPEATS = 3
# Linux's own peak of this program; `ru_maxrss` would begin with that of the process which started it.
_HOUR = """
import sys
from pathlib import Path
from musicae.trained import load
load(sys.argv[1], "cpu").denoise(Path(sys.argv[2]), Path(sys.argv[3]))
(peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(int(peak.split()[1]) / 2**20)
"""


def cost(sets: Path, runs: Path) -> dict[str, Any]:
    """Real-time factors on one and two threads, of files and of a stream, and the largest memory of a process."""
    del sets
    rng = np.random.default_rng(0)
    noise = (0.05 * rng.standard_normal(_SOUND_S * _RATE_HZ)).astype(np.float32)
    told: dict[str, Any] = {}
    threads = torch.get_num_threads()
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "noise.wav", Path(folder) / "clean.wav"
        write_sound(noise, source, _RATE_HZ)
        for count in (1, 2):
            torch.set_num_threads(count)
            threads_told = "1 thread" if count == 1 else f"{count} threads"
            for name in ("denoise-16k", "denoise-live-16k"):
                trained = load(runs / name, "cpu")
                told[f"{name}, file, {threads_told}"] = _factor(lambda trained=trained: trained.denoise(source, target))
        torch.set_num_threads(1)
        live = load(runs / "denoise-live-16k", "cpu")
        blocks = np.split(noise[: 10 * _RATE_HZ], 10 * 100)
        told["denoise-live-16k, stream of 10 ms blocks, 1 thread"] = _factor(
            lambda: sum(len(block) for block in live.stream(blocks)), sound_s=10
        )
        told["latency_ms"] = 1000 * live.stream(blocks).latency_s
        torch.set_num_threads(threads)
        if find_spec("noisereduce") is not None:
            for name, stationary in (("noisereduce", False), ("noisereduce, stationary", True)):
                told[f"{name}, array"] = _factor(
                    lambda stationary=stationary: noisereduced(noise, _RATE_HZ, stationary=stationary)
                )
        hour = Path(folder) / "hour.wav"
        with sound_writer(hour, sample_rate_hz=44_100, channels=2, subtype="PCM_16") as sink:
            for _ in range(3600):
                sink.write(0.05 * rng.standard_normal((44_100, 2)).astype(np.float32))
        started = time.perf_counter()
        command = [sys.executable, "-c", _HOUR, str(runs / "denoise-16k"), str(hour), str(target)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        told["hour_gib"] = float(printed)
        told["denoise-16k, an hour of stereo at 44.1 kHz"] = 3600 / (time.perf_counter() - started)
    return told


def _factor(work: Any, sound_s: float = _SOUND_S) -> float:
    """Median of some runs, after one that warms up."""
    work()
    spent = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        work()
        spent.append(time.perf_counter() - started)
    return sound_s / float(np.median(spent))
