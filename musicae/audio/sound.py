"""`Sound`: a recording, or what was made of one, with its rate, channels and format. It may be hours long.

    Sound.open("interview.flac").resample(16_000).mono().save("speech.wav")
    Sound(samples, 44_100).samples

A sound is a function that starts its blocks, so a long one is read, changed and saved in constant memory: nothing is
decoded or computed before somebody iterates. Rates are changed by soxr, whose streams have neither seams nor delay.
Saving samples as a 16-bit WAV needs nothing but this file; other formats are in `musicae.audio.formats`. Nothing here
knows tensors, spectra of models or settings.
"""

import base64
import copy
import html
import io
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self

import numpy as np

from musicae.atomic_io import atomic_write

if TYPE_CHECKING:
    from PIL.Image import Image

BLOCK_FRAMES = 65_536
"""Frames of a block, unless somebody asks for another size."""
MOST_CHANNELS = 64
SLOWEST_RATE_HZ, FASTEST_RATE_HZ = 1_000, 768_000
"""Rates of sounds: at 1 Hz a file of 32 KB would be hours, and no converter is faster than the other."""
PLAIN_SUFFIX = ".wav"
_PLAIN_SUBTYPE = "PCM_16"
_PLAIN_LIMIT_BYTES = 2**32 - 2**16
# Beyond so many columns an array is taken for (channels, samples) if it has fewer rows than columns.
_LIKELY_CHANNELS = 8
_INTEGER_ZERO = {"u1": 128.0}
_INTEGERS = ("i1", "u1", "i2", "i4")
_DRAWN_S, _PLAYED_S = 60.0, 30.0
_WINDOW_S = 0.03
_MOST_COLUMNS = 2_000


class Levels(NamedTuple):
    """What one pass through a sound measures; 1 is full scale.

    Attributes:
        rms: root mean square of all samples of all channels.
        peak: the largest sample.
        true_peak: the largest value of the sound between samples, interpolated to four times the rate.
        frames: that are really there.
    """

    rms: float
    peak: float
    true_peak: float
    frames: int


class Sound:
    """An immutable sound of any length.

    Attributes:
        sample_rate_hz: frames in a second.
        channels: samples in a frame.
        subtype: how a sample is stored, in libsndfile's words: "PCM_16", "FLOAT", "VORBIS".
        container: of its file, in the same words: "WAV", "FLAC", "OGG".
        name: what files made from it are named after.
        suffix: ending of a file of its own format, or ".wav" where such files cannot be written.
        remarks: what is worth knowing of it, for people.
        path: the file it was opened from, if it was.
    """

    def __init__(
        self,
        samples: Any,
        sample_rate_hz: int,
        *,
        name: str = "",
        subtype: str = _PLAIN_SUBTYPE,
        container: str = "WAV",
        suffix: str = PLAIN_SUFFIX,
        remarks: Iterable[str] = (),
    ) -> None:
        """Takes samples that are in memory.

        Args:
            samples: a NumPy array or torch tensor `(samples,)` or `(samples, channels)`: floats where full scale
                is 1, or whole numbers of 8, 16 or 32 bits.
            sample_rate_hz: frames in a second.
            name: see the attributes, as for all that follow.
            subtype: what it is saved as.
            container: what it is saved in, as far as the ending of a file's name leaves that open.
            suffix: of files of its own format.
            remarks: for people.

        Raises:
            ValueError: another type, shape or rate, no samples, or some that are not finite numbers.
        """
        held = _as_frames(samples)
        held.flags.writeable = False
        self.sample_rate_hz = checked_rate(sample_rate_hz)
        self.channels = held.shape[1]
        self.subtype, self.container, self.suffix = subtype, container, suffix
        self.name, self.remarks = name or "sound", tuple(remarks)
        self.path: Path | None = None
        self._held: np.ndarray | None = held
        self._frames: int | None = len(held)
        self._start: Callable[[], Iterable[np.ndarray]] = lambda: [held]

    @classmethod
    def from_blocks(
        cls,
        start_blocks: Callable[[], Iterable[np.ndarray]],
        sample_rate_hz: int,
        channels: int,
        frames: int | None = None,
        subtype: str = _PLAIN_SUBTYPE,
        container: str = "WAV",
        *,
        name: str = "",
        suffix: str = PLAIN_SUFFIX,
        remarks: Iterable[str] = (),
    ) -> Self:
        """A sound that is computed when somebody listens.

        Args:
            start_blocks: starts the sound from its beginning: float32 `(frames, channels)`, of any lengths.
            sample_rate_hz: frames in a second.
            channels: samples in a frame.
            frames: its length; None counts it when somebody asks.
            subtype: see the attributes, as for all that follow.
            container: of its file.
            name: of results.
            suffix: of files of its own format.
            remarks: for people.
        """
        sound = cls.__new__(cls)
        sound.sample_rate_hz, sound.channels = checked_rate(sample_rate_hz), channels
        sound.subtype, sound.container, sound.suffix = subtype, container, suffix
        sound.name, sound.remarks, sound.path = name or "sound", tuple(remarks), None
        sound._held, sound._frames, sound._start = None, frames, start_blocks
        return sound

    @classmethod
    def open(cls, source: Any, *, sample_rate_hz: int | None = None) -> "Sound":
        """Opens a sound; of a file only the header is read.

        Args:
            source: a path, bytes of a file, a binary file object, samples (see `Sound`), or a sound.
            sample_rate_hz: of samples; files state their own.

        Raises:
            MusicaeError: no such file, or a folder.
            DamagedFileError: not a sound that can be read.
            ValueError: an object of another type, shape or dtype, or a rate missing or too many.
        """
        if hasattr(source, "__array__"):
            if sample_rate_hz is None:
                raise ValueError("samples do not state their rate; give sample_rate_hz.")
            return cls(source, sample_rate_hz)
        if not isinstance(source, (Sound, str, Path, bytes, bytearray, memoryview)) and not hasattr(source, "read"):
            given = type(source).__name__
            raise ValueError(f"a sound is a path, bytes, a file object or an array of samples, got {given}")
        if sample_rate_hz is not None and getattr(source, "sample_rate_hz", None) != sample_rate_hz:
            raise ValueError("a sound or file states its own rate; leave sample_rate_hz out.")
        if isinstance(source, Sound):
            return source
        if isinstance(source, (str, Path)):
            path = Path(source)
            return _open_file(path, path.stem, path.suffix)
        if isinstance(source, (bytes, bytearray, memoryview)):
            return _open_file(bytes(source), "", "")
        data = source.read()
        if not isinstance(data, bytes):
            raise ValueError("a file object for a sound has to be opened in binary mode ('rb').")
        label = Path(str(getattr(source, "name", "")))
        return _open_file(data, label.stem, label.suffix)

    def __repr__(self) -> str:
        channels = "mono" if self.channels == 1 else f"{self.channels} channels"
        length = "" if self._frames is None else f"{self._frames / self.sample_rate_hz:.2f} s, "
        return f"Sound({self.name!r}, {length}{self.sample_rate_hz} Hz, {channels}, {self.container} {self.subtype})"

    # what it holds

    @property
    def frames(self) -> int:
        """Its length; counted, which takes as long as reading it, where nothing states it."""
        if self._frames is None:
            self._frames = sum(map(len, self._start()))
        return self._frames

    @property
    def stated_frames(self) -> int | None:
        """Its length as far as it is known without reading it, by a file's header; None where nothing states it."""
        return self._frames

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.sample_rate_hz

    @property
    def samples(self) -> np.ndarray:
        """All samples, an array of the caller's own: float32 `(frames,)` if mono, else `(frames, channels)`."""
        if self._held is None:
            parts = [np.zeros((0, self.channels), np.float32), *self._start()]
            self._held = np.concatenate(parts, dtype=np.float32)
            self._held.flags.writeable = False
            self._frames = len(self._held)
        return (self._held[:, 0] if self.channels == 1 else self._held).copy()

    def blocks(self, block_frames: int = BLOCK_FRAMES) -> Iterator[np.ndarray]:
        """Yields the sound from its beginning, in constant memory.

        Args:
            block_frames: length of a block; only the last one is shorter.

        Yields:
            float32 `(frames, channels)`, not to be changed.

        Raises:
            DamagedFileError: a file that cannot be read to its end, or holds numbers that are not finite.
        """
        waiting: list[np.ndarray] = []
        count = 0
        for block in self._start() if self._held is None else [self._held]:
            waiting.append(block)
            count += len(block)
            if count >= block_frames:
                joined = waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
                whole = count // block_frames * block_frames
                for start in range(0, whole, block_frames):
                    yield joined[start : start + block_frames]
                waiting, count = [joined[whole:]], count - whole
        if count:
            yield np.concatenate(waiting)

    @cached_property
    def levels(self) -> Levels:
        """Loudness and length, measured in one pass and remembered."""
        from musicae.audio.loudness import TruePeakMeter

        meter, energy, peak, frames = TruePeakMeter(self.channels), 0.0, 0.0, 0
        for block in self.blocks():
            energy += float(np.square(block, dtype=np.float64).sum())
            peak = max(peak, float(np.abs(block).max(initial=0.0)))
            frames += len(block)
            meter.push(block)
        rms = (energy / max(1, frames * self.channels)) ** 0.5
        return Levels(rms, peak, max(peak, meter.finish()), frames)

    @property
    def rms(self) -> float:
        """Root mean square of all samples of all channels; 1 is full scale."""
        return self.levels.rms

    @property
    def true_peak(self) -> float:
        """The largest value, between samples too (ITU-R BS.1770-4, annex 2, at 4 times the rate); 1 is full scale."""
        return self.levels.true_peak

    # others made of it

    def with_remarks(self, *remarks: str) -> Self:
        """The same sound with more remarks."""
        other = copy.copy(self)
        other.remarks = (*self.remarks, *remarks)
        return other

    def resample(self, sample_rate_hz: int) -> "Sound":
        """The same sound at another rate: its length is `frames · new / old`, rounded; time 0 stays where it is."""
        rate_hz = checked_rate(sample_rate_hz)
        if rate_hz == self.sample_rate_hz:
            return self
        frames = None if self._frames is None else round(self._frames * rate_hz / self.sample_rate_hz)
        return self._derived(
            lambda: resample_blocks(self.blocks(), self.sample_rate_hz, rate_hz), rate_hz, self.channels, frames
        )

    def mono(self) -> "Sound":
        """The mean of all channels."""
        if self.channels == 1:
            return self
        blocks = lambda: (block.mean(axis=1, keepdims=True, dtype=np.float32) for block in self.blocks())  # noqa: E731
        return self._derived(blocks, self.sample_rate_hz, 1, self._frames)

    def beginning(self, duration_s: float) -> "Sound":
        """Its first seconds."""
        most = max(1, round(duration_s * self.sample_rate_hz))

        def blocks() -> Iterator[np.ndarray]:
            left = most
            for block in self.blocks():
                yield block[:left]
                left -= len(block)
                if left <= 0:
                    return

        frames = None if self._frames is None else min(self._frames, most)
        return self._derived(blocks, self.sample_rate_hz, self.channels, frames)

    # for people

    def save(self, path: Path | str) -> Path:
        """Writes a file, whole or not at all, in constant memory; the folder is made where there is none.

        Args:
            path: its ending chooses the container; samples are stored as they were, or as nearly as it can hold them.
                Beyond full scale whole numbers are clipped.

        Raises:
            MusicaeError: no such format, one that can't hold this sound, or a place that can't be written to.
            DamagedFileError: the file it is read from breaks off.
        """
        target = Path(path)
        size = 0 if self._frames is None else 2 * self._frames * self.channels
        is_plain = self.subtype == _PLAIN_SUBTYPE and self.container != "RF64" and self.channels <= 2
        if (
            is_plain
            and target.suffix.lower() == PLAIN_SUFFIX
            and self._frames is not None
            and size < _PLAIN_LIMIT_BYTES
        ):
            with atomic_write(target) as partial, partial.open("wb") as file:
                write_plain_wav(file, self.blocks(), self.sample_rate_hz, self.channels)
            return target
        from musicae.audio.formats import write_sound

        write_sound(self, target)
        return target

    def plot(self) -> "Image":
        """Draws its spectrogram, at most the first minute: decibels of full scale over time and frequency."""
        from musicae.plots import spectrograms

        picture, hop_samples = self.spectrogram_db()
        return spectrograms({self.name: [picture]}, sample_rate_hz=self.sample_rate_hz, hop_samples=hop_samples)

    def spectrogram_db(self, duration_s: float = _DRAWN_S) -> tuple[np.ndarray, int]:
        """The spectrogram of its beginning, for a picture.

        Args:
            duration_s: how much of it; of a long one neighbouring frames are averaged, since a picture has so many
                columns.

        Returns:
            `(frequency, time)`, mean power of the channels in dB, 0 dB being a sine at full scale; and the number of
            samples from one column to the next.
        """
        n_fft = 2 ** int(np.ceil(np.log2(_WINDOW_S * self.sample_rate_hz)))
        hop = n_fft // 4
        window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
        spectra = []
        waiting = np.zeros((n_fft // 2, self.channels), np.float32)
        for block in (*self.beginning(duration_s).blocks(), np.zeros((n_fft // 2, self.channels), np.float32)):
            waiting = np.concatenate((waiting, block))
            count = (len(waiting) - n_fft) // hop + 1
            if count <= 0:
                continue
            # One channel at a time; their mean power shows channels of opposite phase as well.
            power = np.zeros((count, n_fft // 2 + 1), np.float32)
            for channel in waiting.T:
                frames = np.lib.stride_tricks.sliding_window_view(channel, n_fft)[::hop][:count]
                power += np.square(np.abs(np.fft.rfft(frames * window))) / self.channels
            spectra.append(power)
            waiting = waiting[count * hop :]
        power = np.concatenate(spectra) if spectra else np.zeros((1, n_fft // 2 + 1), np.float32)
        together = -(-len(power) // _MOST_COLUMNS)
        starts = np.arange(0, len(power), together)
        mean = np.add.reduceat(power, starts) / np.diff([*starts, len(power)])[:, None]
        return 10 * np.log10(np.maximum(mean.T / (n_fft / 4) ** 2, 1e-14)), hop * together

    def player_html(self) -> str:
        """A player of its first half minute, mixed to mono, for a page."""
        played = io.BytesIO()
        write_plain_wav(played, self.beginning(_PLAYED_S).mono().blocks(), self.sample_rate_hz, 1)
        return f'<audio controls src="data:audio/wav;base64,{base64.b64encode(played.getvalue()).decode()}"></audio>'

    def _repr_html_(self) -> str:
        """Its spectrogram and a player."""
        from musicae.plots import as_html

        lines = "".join(f"<div>{html.escape(line)}</div>" for line in (repr(self), *self.remarks))
        return f"<div>{lines}{as_html(self.plot())}<br>{self.player_html()}</div>"

    def _derived(
        self, start: Callable[[], Iterable[np.ndarray]], rate_hz: int, channels: int, frames: int | None
    ) -> "Sound":
        return Sound.from_blocks(
            start, rate_hz, channels, frames, self.subtype, self.container,
            name=self.name, suffix=self.suffix, remarks=self.remarks,
        )  # fmt: skip


class Resampler:
    """soxr's stream for `(frames, channels)` float32; equal rates pass through untouched."""

    def __init__(self, from_hz: int, to_hz: int, channels: int) -> None:
        import soxr

        self._stream = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32")
        self._channels = channels

    def push(self, block: np.ndarray, *, last: bool = False) -> np.ndarray:
        """Takes the next frames and gives those that are ready; after `last` nothing may follow."""
        if self._stream is None:
            return block
        ready: np.ndarray = self._stream.resample_chunk(np.ascontiguousarray(block, np.float32), last=last)
        return ready.reshape(-1, self._channels)


def resample_blocks(blocks: Iterable[np.ndarray], from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    """Changes the rate of a stream of float32 `(frames, channels)`, without seams or delay.

    The length becomes `frames · to_hz / from_hz`, rounded; the sample at time 0 stays at time 0.
    """
    if from_hz == to_hz:
        yield from blocks
        return
    resampler: Resampler | None = None
    channels = 0
    for block in blocks:
        if resampler is None:
            channels = block.shape[1]
            resampler = Resampler(from_hz, to_hz, channels)
        yield resampler.push(block)
    if resampler is not None:
        yield resampler.push(np.zeros((0, channels), np.float32), last=True)


def write_plain_wav(file: BinaryIO, blocks: Iterable[np.ndarray], sample_rate_hz: int, channels: int) -> None:
    """Writes a WAV of 16-bit samples; what is beyond full scale is clipped."""
    file.write(b"\0" * 44)
    size = 0
    for block in blocks:
        data = np.clip(np.rint(block.astype(np.float64) * 32_768), -32_768, 32_767).astype("<i2").tobytes()
        file.write(data)
        size += len(data)
    file.seek(0)
    rate_bytes = 2 * channels * sample_rate_hz
    layout = struct.pack("<HHIIHH", 1, channels, sample_rate_hz, rate_bytes, 2 * channels, 16)
    file.write(b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<I", 16) + layout)
    file.write(b"data" + struct.pack("<I", size))


def _open_file(source: Path | bytes, name: str, suffix: str) -> Sound:
    from musicae.audio.formats import CONTAINERS, read_blocks, read_info

    info = read_info(source)
    is_written = suffix.lower() in CONTAINERS
    remarks = []
    if suffix and not is_written:
        remarks.append(f"{name}{suffix}: {suffix} can be read and not written; what is made of it is a {PLAIN_SUFFIX}")
    sound = Sound.from_blocks(
        lambda: read_blocks(source), info.sample_rate_hz, info.channels, info.frames, info.subtype, info.container,
        name=name, suffix=suffix if is_written else PLAIN_SUFFIX, remarks=remarks,
    )  # fmt: skip
    sound.path = source if isinstance(source, Path) else None
    return sound


def _as_frames(samples: Any) -> np.ndarray:
    """float32 `(frames, channels)`, a copy. Raises `ValueError`, one sentence, for what is no sound."""
    if hasattr(samples, "detach"):  # a tensor, on whatever device
        samples = samples.detach().cpu().numpy()
    if not hasattr(samples, "__array__"):
        raise ValueError(f"samples are a NumPy array or a torch tensor, got {type(samples).__name__}")
    array = np.asarray(samples)
    if array.ndim not in (1, 2):
        raise ValueError(f"samples are (samples,) or (samples, channels), got the shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"a sound has at least one sample, got the shape {array.shape}")
    if array.ndim == 2 and (array.shape[1] > MOST_CHANNELS or _LIKELY_CHANNELS < array.shape[1] > array.shape[0]):
        raise ValueError(f"samples are (samples, channels), got {array.shape}, which looks transposed")
    code = array.dtype.str[1:]
    if code in _INTEGERS:
        half = 2.0 ** (8 * array.dtype.itemsize - 1)
        array = (array - _INTEGER_ZERO.get(code, 0.0)) / half
    elif not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"samples are floats in -1…1 or whole numbers of 8, 16 or 32 bits, got {array.dtype}")
    frames = np.array(array, np.float32).reshape(len(array), -1)
    if not np.isfinite(frames).all():
        raise ValueError("samples hold values that are not finite numbers (NaN or infinity)")
    return frames


def checked_rate(sample_rate_hz: int) -> int:
    """A rate that a sound can have. Raises `ValueError`, one sentence, for any other."""
    is_number = isinstance(sample_rate_hz, (int, np.integer)) and not isinstance(sample_rate_hz, bool)
    if not is_number or not SLOWEST_RATE_HZ <= sample_rate_hz <= FASTEST_RATE_HZ:
        raise ValueError(
            f"sample_rate_hz is a whole number from {SLOWEST_RATE_HZ:,} to {FASTEST_RATE_HZ:,}, got {sample_rate_hz!r}"
        )
    return int(sample_rate_hz)
