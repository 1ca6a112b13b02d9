"""A program called `ffmpeg` that answers as FFmpeg does, for sounds that only FFmpeg reads and tests without it."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest

# As an .m4a begins; libsndfile takes no such file.
_HEADER = b"\0\0\0\x20ftypM4A ".ljust(32, b"\0")


def write_foreign_sound(path: Path, samples: np.ndarray, sample_rate_hz: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Writes a sound that libsndfile refuses, and puts a program that decodes it in front of the path.

    Args:
        path: the file to write; the program stands in a folder beside it.
        samples: int16 `(frames, channels)`.
        sample_rate_hz: frames in a second.
        monkeypatch: takes the program away again.
    """
    # What it gives: a stream of Sun AU, whose length nobody knows yet.
    header = struct.pack(">4s5I", b".snd", 28, 2**32 - 1, 3, sample_rate_hz, samples.shape[1]) + bytes(4)
    path.write_bytes(_HEADER + header + samples.astype(">i2").tobytes())
    program = path.parent / "bin" / "ffmpeg"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"""#!/bin/sh
given= ; before=
for word in "$@"; do
    if [ "$before" = -i ]; then given="${{word#file:}}"; fi
    before="$word"
done
exec tail -c +{len(_HEADER) + 1} "$given"
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return path
