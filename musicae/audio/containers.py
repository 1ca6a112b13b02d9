"""What a sound file is, by its first bytes and never by its name.

Decoders guess what they are given, and FFmpeg's guesses include playlists: text that names other files, which it then
opens. So a file is recognised here first. What is in no row of `_SIGNATURES` reaches no decoder, and FFmpeg is told
which of its demuxers to use. Nothing here decodes.
"""

from typing import BinaryIO, NamedTuple

_ID3_BYTES = 10
_MOST_TAGS = 8
_W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")


class Container(NamedTuple):
    """A format that is read.

    Attributes:
        name: in libsndfile's words where it knows it: "WAV", "FLAC".
        is_plain: whether libsndfile reads it; what it refuses of those, FFmpeg may still read.
        demuxer: FFmpeg's part for it.
    """

    name: str
    is_plain: bool
    demuxer: str


_WAV = Container("WAV", True, "wav")
_FLAC = Container("FLAC", True, "flac")
_MP3 = Container("MP3", True, "mp3")
_AAC = Container("AAC", False, "aac")
# Place, bytes, and those that follow at place 8 where a container holds several kinds of things.
_SIGNATURES: tuple[tuple[int, bytes, bytes, Container], ...] = (
    (0, b"RIFF", b"WAVE", _WAV),
    (0, b"RIFX", b"WAVE", _WAV),
    (0, b"RF64", b"WAVE", Container("RF64", True, "wav")),
    (0, b"fLaC", b"", _FLAC),
    (0, b"OggS", b"", Container("OGG", True, "ogg")),
    (0, b"FORM", b"AIFF", Container("AIFF", True, "aiff")),
    (0, b"FORM", b"AIFC", Container("AIFF", True, "aiff")),
    (0, b".snd", b"", Container("AU", True, "au")),
    (0, b"dns.", b"", Container("AU", True, "au")),
    (0, b"caff", b"", Container("CAF", True, "caf")),
    (0, _W64, b"", Container("W64", True, "w64")),
    (4, b"ftyp", b"", Container("M4A", False, "mov")),
    (0, bytes.fromhex("1a45dfa3"), b"", Container("MATROSKA", False, "matroska")),
    (0, bytes.fromhex("3026b2758e66cf11"), b"", Container("ASF", False, "asf")),
    (0, b"#!AMR", b"", Container("AMR", False, "amr")),
)


def container_of(file: BinaryIO) -> Container | None:
    """The format of a file, read from its beginning; None for anything that isn't known as sound.

    Args:
        file: open, seekable, anywhere.
    """
    start, tagged = 0, False
    for _ in range(_MOST_TAGS):
        file.seek(start)
        head = file.read(16)
        if not head.startswith(b"ID3") or len(head) < _ID3_BYTES:
            break
        # Four bytes of seven bits, without the header.
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
        start, tagged = start + _ID3_BYTES + size, True
    if tagged:
        # Tags stand before these alone; some MP3 files are padded behind them.
        return _FLAC if head.startswith(b"fLaC") else _AAC if _is_adts(head) else _MP3
    for place, magic, kind, container in _SIGNATURES:
        if head[place : place + len(magic)] == magic and (not kind or head[8:12] == kind):
            return container
    return _AAC if _is_adts(head) else _MP3 if _is_mpeg(head) else None


def _is_adts(head: bytes) -> bool:
    """Whether a frame of AAC begins: twelve ones, and the layer zero."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0


def _is_mpeg(head: bytes) -> bool:
    """Whether a frame of MPEG audio begins: eleven ones, then no reserved version, layer, bit rate or sample rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    return (head[1] >> 3) & 3 != 1 and (head[1] >> 1) & 3 != 0 and head[2] >> 4 != 15 and (head[2] >> 2) & 3 != 3
