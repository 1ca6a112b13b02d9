"""Small valid files of every format that is read, and how they are damaged, for `fuzz.py`.

A mutation is a few random changes: bits, numbers at their limits, pieces left out, repeated, moved or taken from
another file, and words that mean something in the format. All is drawn from one generator, so a seed and a number name
a file.
"""

import gzip
import io
import random
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

Files = list[tuple[str, bytes]]
"""Names, of which the ending matters, and contents."""
LARGEST = 1 << 20
NUMBERS = (0, 1, 2, 3, 4, 7, 8, 15, 16, 24, 32, 63, 64, 65, 127, 128, 255, 256, 999, 1000, 4096, 32_767, 32_768, 65_535,
           65_536, 2**20, 2**24 - 1, 2**24, 2**28 - 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)  # fmt: skip


def midi_files() -> Files:
    from musicae.music import midi
    from musicae.starter import starter_file

    files = [(f"{name}.mid", starter_file(f"{name}.mid").read_bytes()) for name in "ab"]
    files.append(("a.rmi", midi.wrapped(files[0][1])))

    def track(events: bytes) -> bytes:
        return b"MTrk" + struct.pack(">I", len(events)) + events

    meta = (
        b"\x00\xff\x03\x04Lead\x00\xff\x51\x03\x07\xa1\x20\x00\xff\x58\x04\x03\x02\x18\x08\x00\xff\x59\x02\xff\x01"
        b"\x00\xff\x05\x02la\x00\xff\x06\x02Am\x83\x60\xff\x06\x01F\x00\xf0\x03\x01\x02\xf7"
    )
    notes = b"".join(bytes((0, 0x90, 60 + step, 90, 0x60, 60 + step, 0)) for step in range(12))  # running status
    bends = (
        b"\x00\xe0\x00\x40\x00\xb0\x07\x64\x00\xc1\x28\x00\x91\x40\x40\x81\x00\x81\x40\x40\x00\x99\x24\x7f\x10\x24\x00"
    )
    end = b"\x00\xff\x2f\x00"
    for form, tracks in ((0, [meta + notes]), (1, [meta, notes, bends]), (2, [meta + notes, bends])):
        head = b"MThd" + struct.pack(">IHHH", 6, form, len(tracks), 96)
        files.append((f"{form}.kar", head + b"".join(track(events + end) for events in tracks)))
    never_ended = track(b"\x00\x90\x3c\x40\x60\x90\x40\x40\x60\xff\x2f\x00")
    files.append(("open.mid", b"MThd" + struct.pack(">IHHH", 6, 1, 2, 96) + b"XFIH\0\0\0\4abcd" + never_ended))
    return files


MIDI_WORDS = (
    b"MThd", b"MTrk", b"\x00\xff\x51\x03\x00\x00\x00", b"\xff\x58\x04\x00\x28\x18\x08", b"\xff\xff\xff\x7f",
    b"\xff" * 40, b"\x80" * 40, b"\x00\xff\x2f\x00", b"\x00\xf0\xff\xff\xff\x7f", b"\xff\x06\x81\x00",
    b"\x00\x90\x3c\x7f", b"\x8f\xff\xff\x7f\x90\x3c\x7f", b"\xff\x03\x02\xc3\x28", b"\x00\x00", b"\xe7\x28",
)  # fmt: skip


def abc_files() -> Files:
    from musicae.starter import starter_file

    tunes = starter_file("tunes.abc").read_text(encoding="utf-8").split("\nX:")
    files = [(f"{number}.abc", f"X:{text}".encode()) for number, text in enumerate(tunes[1:9])]
    files.append(("two.abc", files[0][1] + b"\n\n" + files[1][1]))
    more = (
        "X:1\nT:Everything\nC:Trad.\nM:6/8\nL:1/8\nQ:3/8=100\nP:A(AB)2\nK:Em clef=bass octave=-1\nV:1\nV:2\n"
        '%%MIDI program 5\nP:A\n[V:1] "Am"(3ABc {gf}d2>e2|[1 [CEG]4 z2:|[2 !trill!~c3-c3|]\n'
        "[V:2] A,,2 B,,2 C,2|z6:|z6|]\nw:la-la la\n"
        "P:B\n[K:D][M:4/4][L:1/16] |:(5abcde (abc) .d ^f=g_a z/2 x4 Z2|f/2g//a3/2 & c8:|\n"
    )
    return [*files, ("more.abc", more.encode())]


ABC_WORDS = (
    b"|:", b":|", b"::", b"[1", b"[2", b"(3", b"(9:9:9", b"[V:9]", b"V:3\n", b"P:ABAB\n", b"{", b"}", b"[", b"]",
    b'"C"', b"!",
    b"&", b"Z999", b"z99999", b"C999999999", b"C/////////", b"L:1/0\n", b"M:0/0\n", b"M:99999/4\n", b"Q:0\n",
    b"Q:1/0=999999\n",
    b"K:\n", b"K:none\n", b"X:\n", b"T:\n", b"%%abc-include /etc/hostname\n", b"%%MIDI ptstress /etc/hostname\n",
    b"%%MIDI drum dddddd 1 2 3\n", b"%%MIDI gchord fzcz\n", b"%%MIDI transpose 999\n", b"%%MIDI ratio 0 0\n",
    b"[I:MIDI grace 9/0]",
    b"%%begintext\n", b"\n\n", b"\\\n", b"\xc3\x28", "♯♭".encode(), b"~", b"<<<", b">>>", b"-", b"--",
    b"U:T=!trill!\n", b"w:*|_-\n",
)  # fmt: skip


def _tone(frames: int = 900, channels: int = 1) -> np.ndarray:
    time = np.arange(frames)[:, None] * np.linspace(0.05, 0.2, channels)
    return 0.4 * np.sin(time)


def sound_files() -> Files:
    import soundfile

    kinds = (
        ("wav", "WAV", "PCM_16"), ("wav", "WAV", "PCM_U8"), ("wav", "WAV", "PCM_24"), ("wav", "WAV", "FLOAT"),
        ("wav", "WAV", "DOUBLE"), ("wav", "WAV", "ULAW"), ("wav", "WAV", "IMA_ADPCM"), ("wav", "WAV", "MS_ADPCM"),
        ("wav", "WAV", "GSM610"), ("wav", "WAVEX", "PCM_16"), ("flac", "FLAC", "PCM_16"), ("flac", "FLAC", "PCM_24"),
        ("ogg", "OGG", "VORBIS"), ("opus", "OGG", "OPUS"), ("mp3", "MP3", "MPEG_LAYER_III"), ("aiff", "AIFF",
        "PCM_16"),
        ("aiff", "AIFF", "ULAW"), ("au", "AU", "PCM_16"), ("au", "AU", "FLOAT"), ("caf", "CAF", "ALAC_16"),
        ("caf", "CAF", "PCM_16"), ("w64", "W64", "PCM_16"), ("rf64", "RF64", "PCM_16"),
    )  # fmt: skip
    files = []
    for number, (suffix, container, subtype) in enumerate(kinds):
        for channels in (1, 2):
            if subtype == "GSM610" and channels == 2:
                continue
            content = io.BytesIO()
            rate_hz = 16_000 if number % 2 else 48_000
            soundfile.write(content, _tone(channels=channels), rate_hz, format=container, subtype=subtype)
            files.append((f"{number}-{channels}.{suffix}", content.getvalue()))
    return files


SOUND_WORDS = (
    b"RIFF", b"WAVE", b"fmt ", b"data", b"LIST", b"INFO", b"bext", b"cue ", b"smpl", b"PEAK", b"fact", b"SSND",
    b"COMM",
    b"desc", b"pakt", b"kuki", b"OggS", b"OpusHead", b"\x01vorbis", b"ID3\4\0\0\x7f\x7f\x7f\x7f", b"fLaC",
    b"\xff\xfb\x90\x44",
    b"Xing", b"\xff\xf8", b"\0" * 16, b"\xff" * 16, b"ds64", b"\x7f\xc0\0\0", b"\xff\xff\x7f\x7f",
)  # fmt: skip


def foreign_sound_files() -> Files:
    """Made by the program ffmpeg; none where it isn't installed."""
    if shutil.which("ffmpeg") is None:
        return []
    import soundfile

    files = []
    with tempfile.TemporaryDirectory() as folder:
        soundfile.write(Path(folder, "a.wav"), _tone(4_000, 2), 16_000)
        kinds = {
            "m4a": "aac",
            "aac": "aac",
            "mov": "alac",
            "webm": "libopus",
            "wma": "wmav2",
            "wav": "adpcm_yamaha",
            "mka": "flac",
        }
        for suffix, codec in kinds.items():
            target = Path(folder, f"b.{suffix}")
            command = ["ffmpeg", "-loglevel", "quiet", "-i", f"{folder}/a.wav", "-c:a", codec, str(target)]
            if subprocess.run(command, timeout=60, check=False).returncode == 0:
                files.append((target.name, target.read_bytes()))
    return files


FOREIGN_WORDS = (
    b"ftyp", b"moov", b"mdat", b"trak", b"stbl", b"stsz", b"stco", b"dref", b"url ", b"file:/etc/hostname\0",
    b"#EXTM3U\n",
    b"ffconcat version 1.0\nfile /etc/hostname\n", b"\xff\xff\xff\xff", b"\0\0\0\1", b"ID3\4\0\0\0\0\0\0",
)  # fmt: skip


def picture_files() -> Files:
    from PIL import Image

    values = np.random.default_rng(0).integers(0, 256, (24, 30, 4), dtype=np.uint8)
    whole = Image.fromarray(values)
    images = {
        "RGBA": whole, "RGB": whole.convert("RGB"), "L": whole.convert("L"), "1": whole.convert("1"),
        "P": whole.convert("RGB").quantize(16), "CMYK": whole.convert("CMYK"), "LA": whole.convert("LA"),
        "I;16": Image.fromarray(values[..., 0].astype(np.uint16) * 257), "F": Image.fromarray(values[...,
        0] / np.float32(255)),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side
    made = [
        *(("png", mode, {}) for mode in ("RGBA", "RGB", "L", "1", "P", "LA", "I;16")),
        *(("png", "RGB", {"exif": exif}), ("png", "P", {"transparency": 3})),
        *(("jpg", mode, {"exif": exif}) for mode in ("RGB", "L", "CMYK")),
        *(("jpg", "RGB", {"progressive": True}), ("bmp", "RGB", {}), ("bmp", "P", {}), ("bmp", "1", {})),
        *(("gif", "P", {"save_all": True, "append_images": [images["P"].rotate(90)]}), ("gif", "L", {})),
        *(("webp", "RGB", {}), ("webp", "RGBA", {"lossless": True}), ("webp", "RGB", {"exif": exif})),
        ("webp", "RGB", {"save_all": True, "append_images": [images["RGB"].transpose(0)]}),
        *(("tif", mode, {}) for mode in ("RGB", "L", "1", "I;16", "F", "CMYK", "RGBA")),
        *(("tif", "RGB", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        ("tif", "1", {"compression": "group4"}),
        ("tif", "RGB", {"save_all": True, "append_images": [images["RGB"]]}),
    ]
    files = []
    for number, (suffix, mode, options) in enumerate(made):
        content = io.BytesIO()
        images[mode].save(content, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()), **options)
        files.append((f"{number}.{suffix}", content.getvalue()))
    return files


PICTURE_WORDS = (
    b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"iCCP", b"zTXt", b"eXIf", b"acTL", b"fdAT", b"IEND", b"GIF89a",
    b"!\xf9\x04", b"NETSCAPE2.0",
    b"RIFF", b"WEBP", b"VP8 ", b"VP8L", b"VP8X", b"ANIM", b"ANMF", b"\xff\xd8", b"\xff\xd9", b"\xff\xda",
    b"\xff\xc0", b"\xff\xc2",
    b"\xff\xc4", b"\xff\xdb", b"\xff\xe1", b"\xff\xed", b"Exif\0\0", b"II*\0", b"MM\0*", b"BM",
)  # fmt: skip


def set_files() -> Files:
    """IDX, plain and packed, labels, and CIFAR's batches and names."""
    pictures = np.random.default_rng(0).integers(0, 256, (5, 6, 7), dtype=np.uint8)
    images = struct.pack(">4I", 0x803, *pictures.shape) + pictures.tobytes()
    labels = struct.pack(">2I", 0x801, 5) + bytes((0, 1, 2, 1, 0))
    batch = np.random.default_rng(1).integers(0, 256, (2, 3073), dtype=np.uint8)
    batch[:, 0] = 0, 1
    return [
        ("train-images-idx3-ubyte", images),
        ("train-images-idx3-ubyte.gz", gzip.compress(images, mtime=0)),
        ("train-labels-idx1-ubyte", labels),
        ("train-labels-idx1-ubyte.gz", gzip.compress(labels, mtime=0)),
        ("data_batch_1.bin", batch.tobytes()),
        ("batches.meta.txt", b"cat\ndog\n"),
    ]


SET_WORDS = (
    b"\0\0\x08\x03",
    b"\0\0\x08\x01",
    b"\x1f\x8b\x08\0",
    b"\xff\xff\xff\xff",
    b"\0\0\x75\x30",
    b"\n",
    b"\xc3\x28",
)


def chord_files() -> Files:
    texts = (
        "C F | G Am",
        "Bbmaj7 F#dim E/G# C:dominant N",
        "Cm7b5 D+ Esus4 F6/9 G7(#9) Abmaj13/C",
        "c♯ d♭ N.C. E°7 fø",
    )
    return [(f"{number}.txt", text.encode()) for number, text in enumerate(texts)]


CHORD_WORDS = tuple(
    word.encode()
    for word in ("maj", "min", "m", "M", "dim", "aug", "sus", "add", "no", "alt", "7", "#9", "b5", "(", ")", "/",
    "/7", "°",
                 "♯", "♭", "-", ":", "|", ",", " ", "seventh", "half-diminished", "th", "+", "Δ", "majmajmaj",
                 "7" * 200)
)  # fmt: skip


def mutated(data: bytes, others: Files, words: tuple[bytes, ...], draw: random.Random) -> bytes:
    """A file with 1 to 8 random changes."""
    content = bytearray(data)
    for _ in range(1 << draw.randrange(4)):
        change = draw.choice(_CHANGES)
        change(content, others, words, draw)
        del content[LARGEST:]
    return bytes(content)


def _place(content: bytearray, draw: random.Random) -> int:
    """Anywhere; half of the time near the beginning, where headers are."""
    return draw.randrange(min(len(content), 64 if draw.random() < 0.5 else len(content)) + 1)


def _flip(content: bytearray, _: Files, __: tuple[bytes, ...], draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 2, 16))):
        if content:
            content[min(_place(content, draw), len(content) - 1)] ^= 1 << draw.randrange(8)


def _byte(content: bytearray, _: Files, __: tuple[bytes, ...], draw: random.Random) -> None:
    if content:
        content[min(_place(content, draw), len(content) - 1)] = draw.choice(
            (0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256))
        )


def _number(content: bytearray, _: Files, __: tuple[bytes, ...], draw: random.Random) -> None:
    size = draw.choice((2, 2, 4, 4, 8))
    value = draw.choice(NUMBERS) + (draw.randrange(-2, 3) if draw.random() < 0.2 else 0)
    place = _place(content, draw)
    content[place : place + size] = (value % 256**size).to_bytes(size, draw.choice(("big", "little")))


def _cut(content: bytearray, _: Files, __: tuple[bytes, ...], draw: random.Random) -> None:
    place = _place(content, draw)
    del content[place : place + draw.choice((1, 2, 4, 32, 10**9))]


def _repeat(content: bytearray, _: Files, __: tuple[bytes, ...], draw: random.Random) -> None:
    place = _place(content, draw)
    piece = content[place : place + draw.choice((1, 4, 16, 256))]
    content[place:place] = piece * draw.choice((1, 2, 8, 200, 5_000))


def _move(content: bytearray, _: Files, __: tuple[bytes, ...], draw: random.Random) -> None:
    place, size = _place(content, draw), draw.choice((1, 4, 16, 256))
    piece = content[place : place + size]
    del content[place : place + size]
    target = _place(content, draw)
    content[target:target] = piece


def _word(content: bytearray, _: Files, words: tuple[bytes, ...], draw: random.Random) -> None:
    place, word = _place(content, draw), draw.choice(words)
    content[place : place + (len(word) if draw.random() < 0.5 else 0)] = word * draw.choice((1, 1, 1, 3, 300))


def _splice(content: bytearray, others: Files, _: tuple[bytes, ...], draw: random.Random) -> None:
    other = draw.choice(others)[1]
    place, start = _place(content, draw), draw.randrange(len(other) + 1)
    content[place:] = other[start : start + draw.choice((16, 256, 10**9))] + content[place:][:: draw.choice((1, 1, -1))]


def _noise(content: bytearray, _: Files, __: tuple[bytes, ...], draw: random.Random) -> None:
    place = _place(content, draw)
    size = draw.choice((1, 8, 64))
    content[place : place + size] = draw.randbytes(size)


_CHANGES: tuple[Callable[[bytearray, Files, tuple[bytes, ...], random.Random], None], ...] = (
    _flip, _flip, _byte, _byte, _number, _number, _cut, _repeat, _move, _word, _word, _splice, _noise,
)  # fmt: skip


def with_checksums(name: str, data: bytes, draw: random.Random) -> bytes:
    """A PNG whose chunks' checksums are right again, and a packed file that was damaged inside: half of the time."""
    if draw.random() < 0.5:
        return data
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        fixed, place = bytearray(data[:8]), 8
        while place + 8 <= len(data):
            size = int.from_bytes(data[place : place + 4], "big")
            body = data[place + 4 : place + 8 + size]
            fixed += data[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
            place += 12 + size
        return bytes(fixed)
    return gzip.compress(data, 1, mtime=0) if name.endswith(".gz") and not data.startswith(b"\x1f\x8b") else data


def wav_header(number: int, draw: random.Random) -> tuple[str, bytes]:
    """A WAV with one field of its header, then two, then more, at their limits: all pairs come up in turn."""
    fields = [
        ["<I", 36 + 1_600],
        ["<I", 16],
        ["<H", 1],
        ["<H", 1],
        ["<I", 16_000],
        ["<I", 32_000],
        ["<H", 2],
        ["<H", 16],
        ["<I", 1_600],
    ]
    singles, values = len(fields), len(NUMBERS)
    changes = [(number // values % singles, number % values)]
    if number >= singles * values:
        changes.append((draw.randrange(singles), draw.randrange(values)))
    if number >= singles * values * 40:
        changes.append((draw.randrange(singles), draw.randrange(values)))
    for field, value in changes:
        fields[field][1] = NUMBERS[value]
    packed = [struct.pack(code, value % 256 ** struct.calcsize(code)) for code, value in fields]  # type: ignore[arg-type,operator]
    kind = draw.choice((b"RIFF", b"RIFF", b"RIFF", b"RIFX", b"RF64"))
    extra = draw.choice((b"", b"", struct.pack("<H", 22) + bytes(22)))
    head = kind + packed[0] + b"WAVEfmt " + b"".join(packed[1:8]) + extra
    body = draw.choice((draw.randbytes(1_600), bytes(1_600), b"\xff" * 1_600, b"", draw.randbytes(33)))
    return f"{number}.wav", head + b"data" + packed[8] + body
