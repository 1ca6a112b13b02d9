"""Sound through the program `ffmpeg`, for formats that libsndfile doesn't read.

It is told which demuxer to use and may open the one file that it is given (`-protocol_whitelist file`, and a path that
says `file:`), so nothing in a file leads it to another. It runs under limits of memory and processor time, writes no
file, and is ended when it gives nothing for a while. Its output is a Sun AU stream, whose header states rate and
channels. Nothing here guesses formats.
"""

import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from musicae.errors import DamagedFileError
from musicae.limits import bare_environment, limited

SILENT_S = 30.0
"""FFmpeg is ended if it gives nothing for so long."""
_CPU_S = 1_800  # decodes days of sound
_MEMORY_BYTES = 2 * 2**30
_OPEN_FILES = 32
_AU_HEADER = struct.Struct(">4s5I")
_AU_PCM_16 = 3
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)


def is_installed() -> bool:
    """Whether there is such a program."""
    return shutil.which("ffmpeg") is not None


class FFmpegStream:
    """A sound file that is being decoded, to 16 bits. A context manager, which ends the program.

    Args:
        path: of the file.
        demuxer: FFmpeg's name of its format.

    Attributes:
        sample_rate_hz: frames in a second.
        channels: samples in a frame.

    Raises:
        DamagedFileError: nothing of it can be decoded.
    """

    def __init__(self, path: Path, demuxer: str) -> None:
        program = shutil.which("ffmpeg") or "ffmpeg"
        source = ["-protocol_whitelist", "file", "-format_whitelist", demuxer, "-f", demuxer]
        source += ["-i", f"file:{path.absolute()}"]
        result = ["-vn", "-sn", "-dn", "-map_metadata", "-1", "-c:a", "pcm_s16be", "-f", "au", "pipe:1"]
        # One thread each: address space is limited, and every thread takes some.
        usual = ["-nostdin", "-hide_banner", "-loglevel", "quiet", "-filter_threads", "1", "-threads", "1"]
        self._path = path
        self._process = subprocess.Popen(
            limited(
                [program, *usual, *source, *result], cpu_s=_CPU_S, memory_bytes=_MEMORY_BYTES, written_bytes=0,
                open_files=_OPEN_FILES,
            ),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=bare_environment(),
            creationflags=_NO_WINDOW,
        )  # fmt: skip
        header = self._read(_AU_HEADER.size)
        if len(header) == _AU_HEADER.size:
            magic, offset, _, encoding, self.sample_rate_hz, self.channels = _AU_HEADER.unpack(header)
            if magic == b".snd" and encoding == _AU_PCM_16 and self.channels > 0 and offset >= _AU_HEADER.size:
                self._read(offset - _AU_HEADER.size)
                return
        self.close()
        raise DamagedFileError(f"{path} is not a sound that FFmpeg can decode; fetch it again.")

    def __enter__(self) -> "FFmpegStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the program."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]  # a pipe

    def blocks(self, block_frames: int) -> Iterator[np.ndarray]:
        """Yields float32 `(frames, channels)`; only the last block is shorter.

        Raises:
            DamagedFileError: FFmpeg gave up, hung or crashed.
        """
        size = 2 * self.channels
        while data := self._read(size * block_frames):
            whole = len(data) // size * size
            if whole:
                samples = np.frombuffer(data[:whole], ">i2").astype(np.float32) / 32_768
                yield samples.reshape(-1, self.channels)
        if self._process.wait() != 0:
            raise DamagedFileError(f"{self._path} breaks off in the middle, says FFmpeg; fetch it again.")

    def _read(self, size: int) -> bytes:
        """So many bytes, fewer at the end only."""
        watch = threading.Timer(SILENT_S, self._process.kill)
        watch.start()
        try:
            return self._process.stdout.read(size)  # type: ignore[union-attr]  # a pipe
        finally:
            watch.cancel()
