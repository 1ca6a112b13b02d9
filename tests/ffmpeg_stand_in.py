"""A program called `ffmpeg` that speaks as FFmpeg does, for sounds that only FFmpeg reads and tests without it."""

import os
from pathlib import Path

import audioread
import numpy as np
import pytest

# As an .m4a begins; libsndfile takes no such file.
_HEADER = b"\0\0\0\x20ftypM4A ".ljust(32, b"\0")


def write_foreign_sound(
    path: Path, samples: np.ndarray, sample_rate_hz: int, monkeypatch: pytest.MonkeyPatch, *, tells_length: bool = True
) -> Path:
    """Writes a sound that libsndfile refuses, and puts a program that decodes it in front of the path.

    Args:
        path: the file to write; the program stands in a folder beside it.
        samples: int16 `(frames, channels)`.
        sample_rate_hz: frames in a second.
        monkeypatch: takes the program away again.
        tells_length: whether the program knows the duration before it decodes.
    """
    path.write_bytes(_HEADER + samples.astype("<i2").tobytes())
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]]
    duration = f"00:00:{len(samples) / sample_rate_hz:05.2f}" if tells_length else "N/A"
    program = path.parent / "bin" / "ffmpeg"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"""#!/bin/sh
if [ "$1" = -version ]; then exit 0; fi
echo "  Duration: {duration}, start: 0.000000, bitrate: 64 kb/s" >&2
echo "  Stream #0:0: Audio: aac (LC), {sample_rate_hz} Hz, {layout}, fltp, 64 kb/s" >&2
exec tail -c +{len(_HEADER) + 1} "$2"
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(audioread, "BACKENDS", [])  # it looks for programs once
    return path
