"""An hour of sound stays within a bounded memory, in every command that reads one.

    python -m pytest --soak -s tests/audio/test_hour_of_sound.py

prints the peak of each command, its processes counted together.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
RATE_HZ, MINUTES = 44_100, 60
MOST_MB = 600
COMMANDS = {
    "inspect": ["inspect", "hour.wav"],
    "prepare": ["prepare", "--domain", "audio", "hour.wav"],
    "denoise": ["denoise", "hour.wav", "--out", "clean.wav"],
    "reconstruct": ["reconstruct", "hour.wav", "--model", "notes-44k", "--out", "again.wav"],
    "upscale": ["upscale", "hour.wav", "--out", "wide.wav"],
    "embed": ["embed", "hour.wav", "--model", "notes-44k", "--out", "map.csv"],
    "evaluate": ["evaluate", "--model", "denoise-48k", "--data", "hour.wav", "--split", "all"],
}

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `hour.wav`: a tone that comes and goes in hiss, in stereo."""
    folder = tmp_path_factory.mktemp("hour")
    generator, time_s = np.random.default_rng(0), np.arange(60 * RATE_HZ, dtype=np.float32) / RATE_HZ
    with soundfile.SoundFile(folder / "hour.wav", "w", RATE_HZ, 2, "PCM_16") as file:
        for minute in range(MINUTES):
            tone = np.float32(0.2) * np.sin(np.float32(2 * np.pi * (220 + minute)) * time_s) * (time_s % 2 < 1)
            file.write(tone[:, None] + np.float32(0.02) * generator.standard_normal((len(tone), 2), dtype=np.float32))
    return folder


def peak_mb(command: list[str], folder: Path) -> tuple[float, str]:
    """The most memory that a command's processes took together, less the files that they map; and what it said."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MUSICAE_CACHE": str(folder / "cache")}
    with (folder / "said.txt").open("w+", encoding="utf-8") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        root, peak = psutil.Process(process.pid), 0
        while process.poll() is None:
            try:
                held = [each.memory_info() for each in (root, *root.children(recursive=True))]
                peak = max(peak, sum(memory.rss - getattr(memory, "shared", 0) for memory in held))
            except psutil.NoSuchProcess:  # it ended in between
                continue
            time.sleep(0.02)
        said.seek(0)
        return peak / 2**20, f"exit code {process.returncode}: {said.read()[-2000:]}"


@pytest.mark.parametrize("name", COMMANDS)
def test_an_hour_of_sound_takes_a_bounded_memory(folder, name, capsys):
    started = time.monotonic()
    peak, said = peak_mb([sys.executable, "-m", "musicae.cli", *COMMANDS[name]], folder)
    with capsys.disabled():
        print(f"\n{name}: {peak:.0f} MB at most, {time.monotonic() - started:.0f} s")
    assert said.startswith("exit code 0"), said
    assert peak < MOST_MB
