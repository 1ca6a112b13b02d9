"""How the studio reads, describes and gives out media objects: one class for each medium.

A description is what the page draws: notes in seconds, peaks of a waveform, sizes. All of it is JSON.
"""

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from musicae.domains import SUFFIXES
from musicae.errors import MusicaeError

if TYPE_CHECKING:
    from musicae.audio.sound import Sound
    from musicae.image.picture import Picture
    from musicae.music.piece import Piece

MOST_UPLOAD_BYTES = 64 * 2**20
MOST_SOUND_S = 600.0
MOST_SAMPLES = 2 * 48_000 * 600
MOST_NOTES = 50_000
MOST_PIXELS = 24_000_000
_PEAKS = 900
_PLAYED_HZ = 44_100
_LONGEST_NAME = 80


class Medium(Protocol):
    """What the studio does with media objects of one kind."""

    kind: ClassVar[str]
    """As in `musicae.domains.DOMAINS`."""
    holds: ClassVar[str]
    """The class of its media objects, by name, so that none is imported before it is used."""

    def opened(self, data: bytes, name: str) -> Any:
        """A media object of the bytes of a file; `name` is the file's.

        Raises:
            MusicaeError: it can't be read, or is larger than the studio takes.
        """

    def content(self, item: Any) -> bytes:
        """The bytes that it is made of."""

    def described(self, item: Any) -> dict[str, Any]:
        """What a page shows of it."""

    def files(self) -> Mapping[str, tuple[str, Callable[[Any], bytes]]]:
        """Ending of a file that can be made of it → its type, and what makes it."""


class Music:
    """Pieces."""

    kind: ClassVar[str] = "music"
    holds: ClassVar[str] = "Piece"

    def opened(self, data: bytes, name: str) -> "Piece":
        from musicae.music.piece import Piece

        piece = Piece.open(_named(data, name))
        if piece.note_count > MOST_NOTES:
            raise MusicaeError(f"{name} has {piece.note_count:,} notes; the studio takes up to {MOST_NOTES:,}.")
        return piece

    def content(self, item: "Piece") -> bytes:
        return item.data

    def described(self, item: "Piece") -> dict[str, Any]:
        """Tracks with notes `[start, end, pitch, velocity]` in seconds, bar lines, tempo."""
        bar_ticks = np.array([item.bar_tick(bar) for bar in range(1, item.bars + 2)], np.int64)
        lines = item.tempo_map.seconds(bar_ticks)
        first = item.time_signatures[0][1:] if item.time_signatures else (4, 4)
        tracks = []
        for track in item.tracks:
            if not track.notes:
                continue
            notes = item.notes(track.index)
            start, end = (item.tempo_map.seconds(ticks) for ticks in (notes.start, notes.end))
            rows = zip(
                start.round(4).tolist(), end.round(4).tolist(), notes.pitch.tolist(), notes.velocity.tolist(),
                strict=True,
            )  # fmt: skip
            tracks.append(
                {
                    "index": track.index, "name": track.name, "program": track.program, "drums": track.is_drum,
                    "notes": [list(row) for row in rows],
                }
            )  # fmt: skip
        return {
            "bars": item.bars,
            "bar_lines": lines.round(4).tolist(),
            "duration_s": round(float(lines[-1]) if len(lines) else item.duration_s, 4),
            "tempo_bpm": round(float(item.tempo_map.mean_bpm(int(bar_ticks[-1]) if len(bar_ticks) else 0)), 2),
            "beats_per_bar": first[0],
            "time_signature": f"{first[0]}/{first[1]}",
            "tracks": tracks,
        }

    def files(self) -> Mapping[str, tuple[str, Callable[[Any], bytes]]]:
        return {
            "mid": ("audio/midi", lambda item: item.to_bytes()),
            "wav": ("audio/wav", lambda item: wav_of(item.render(_PLAYED_HZ, longest_s=MOST_SOUND_S))),
            "png": ("image/png", lambda item: png_of(item.plot())),
        }


class Audio:
    """Sounds."""

    kind: ClassVar[str] = "audio"
    holds: ClassVar[str] = "Sound"

    def opened(self, data: bytes, name: str) -> "Sound":
        from musicae.audio.sound import Sound

        sound, blocks, samples = Sound.open(_named(data, name)), [], 0
        for block in sound.blocks():  # a short file may hold a very long sound
            blocks.append(block)
            samples += block.size
            if samples > MOST_SAMPLES:
                raise MusicaeError(
                    f"{name} has more than {MOST_SAMPLES:,} samples, ten minutes of 48 kHz in stereo; for longer ones "
                    "use the command line: musicae denoise."
                )
        frames = np.concatenate(blocks) if blocks else np.zeros((0, sound.channels), np.float32)
        return Sound(frames, sound.sample_rate_hz, name=sound.name, remarks=sound.remarks)

    def content(self, item: "Sound") -> bytes:
        samples: bytes = item.samples.tobytes()
        return samples

    def described(self, item: "Sound") -> dict[str, Any]:
        """Length, rate, and the largest deviation in each of up to 900 parts of its waveform."""
        loudest = np.abs(frames_of(item)).max(axis=1)
        edges = np.linspace(0, len(loudest), min(_PEAKS, max(1, len(loudest))) + 1).astype(int)[:-1]
        peaks = np.maximum.reduceat(loudest, edges) if len(loudest) else np.zeros(1)
        return {
            "duration_s": round(item.duration_s, 4),
            "sample_rate_hz": item.sample_rate_hz,
            "channels": item.channels,
            "peaks": peaks.astype(float).round(4).tolist(),
        }

    def files(self) -> Mapping[str, tuple[str, Callable[[Any], bytes]]]:
        return {"wav": ("audio/wav", wav_of), "png": ("image/png", lambda item: png_of(item.plot()))}


class Image:
    """Pictures."""

    kind: ClassVar[str] = "image"
    holds: ClassVar[str] = "Picture"

    def opened(self, data: bytes, name: str) -> "Picture":
        from musicae.image.picture import Picture

        picture = Picture.open(_named(data, name))
        if picture.width * picture.height > MOST_PIXELS:
            raise MusicaeError(
                f"{name} has {picture.width} × {picture.height} pixels; the studio takes up to {MOST_PIXELS:,} in all."
            )
        return picture

    def content(self, item: "Picture") -> bytes:
        pixels: bytes = item.array.tobytes()
        return pixels

    def described(self, item: "Picture") -> dict[str, Any]:
        return {"width": item.width, "height": item.height}

    def files(self) -> Mapping[str, tuple[str, Callable[[Any], bytes]]]:
        return {"png": ("image/png", lambda item: png_of(item.to_pil()))}


MEDIA: dict[str, Medium] = {medium.kind: medium for medium in (Music(), Audio(), Image())}
"""Name of a domain → what the studio does with its media objects."""


def medium_for(name: str) -> Medium:
    """The medium of a file, by its ending. Raises `MusicaeError` where none reads it."""
    for kind, endings in SUFFIXES.items():
        if kind in MEDIA and name.lower().endswith(endings):
            return MEDIA[kind]
    raise MusicaeError(f"{name} is neither music, sound nor a picture; drop a file such as .mid, .wav or .png.")


def medium_of(item: Any) -> Medium:
    """The medium of a media object."""
    return next(medium for medium in MEDIA.values() if medium.holds == type(item).__name__)


def file_name(name: str) -> str:
    """The last part of what a browser calls a file, without what no name should hold."""
    last = PurePosixPath(name.replace("\\", "/")).name
    clean = "".join(letter for letter in last if letter.isprintable() and letter not in '<>:"/|?*')
    return clean[-_LONGEST_NAME:] or "file"


def frames_of(sound: "Sound") -> np.ndarray:
    """Its samples, float32 `(frames, channels)`."""
    samples: np.ndarray = sound.samples.reshape(sound.frames, sound.channels)
    return samples


def wav_of(sound: "Sound") -> bytes:
    """A WAV file of 16 bits."""
    from musicae.audio.sound import write_plain_wav

    file = BytesIO()
    write_plain_wav(file, sound.blocks(), sound.sample_rate_hz, sound.channels)
    return file.getvalue()


def png_of(image: Any) -> bytes:
    """A PNG file of a PIL image."""
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _named(data: bytes, name: str) -> BytesIO:
    file = BytesIO(data)
    file.name = name
    return file
