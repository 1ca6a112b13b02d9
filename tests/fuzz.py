"""Feeds damaged files to a reader and counts what it does with them.

    python tests/fuzz.py midi --minutes 10
    python tests/fuzz.py all --minutes 10 --keep findings

Each file has to be read, or refused with a `MusicaeError` of one sentence: within 5 seconds of the processor and 1 GB
beyond what the process has at the start. Anything else is a finding: another exception or a warning, a crash, a hang,
memory. A process of its own reads the files, and this one watches it and starts another one when it dies. Files are
drawn by a seed and a number, so `--only NUMBER` reads one of them again. The last line printed is JSON; the exit
status is 1 if there were findings.
"""

import argparse
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import fuzz_inputs as inputs

HANG_S = 5.0
_WALL_FACTOR = 12
"""A busy machine gives a process less than its time; so much later a file that waits for something is a hang, too."""
MEMORY_BYTES = 2**30
_LONGEST_SENTENCE = 1_000
_CHILD_FILES = 20_000
"""Files that a process reads before another takes over, which shows what leaks."""


class Reader(NamedTuple):
    """What is fed.

    Attributes:
        files: valid ones to begin with; none where a program is missing that would make them.
        words: that mean something in the format.
        read: does with a file in a folder all that reading it can do.
        largest: size of a file, in bytes; more tunes take longer, each of them a process.
    """

    files: Callable[[], inputs.Files]
    words: tuple[bytes, ...]
    read: Callable[[Path], object]
    largest: int = inputs.LARGEST


def read_music(path: Path) -> None:
    from musicae.errors import MusicaeError
    from musicae.music.chords import chord_line
    from musicae.music.domain import MusicConfig, MusicDomain
    from musicae.music.piece import Piece

    configs = (MusicConfig(), MusicConfig(chords=True), MusicConfig(part="drums"))
    for config in configs[1:2] if path.suffix == ".abc" else configs:
        with suppress(MusicaeError):
            MusicDomain(config).read(path)
    for piece in Piece.open_all(path):
        for track in piece.tracks:
            piece.notes(track.index)
        _ = (piece.sections, piece.bars, piece.duration_s, piece.tempi, piece.time_signatures, piece.key_signatures)
        _ = (piece.markers, piece.lyrics, piece.texts, piece.controllers, piece.remarks, repr(piece))
        chord_line(piece.score, None)
        piece.to_bytes()
        piece.to_pretty_midi()


def read_sound(path: Path) -> None:
    from musicae.audio.config import AudioConfig
    from musicae.audio.domain import AudioDomain
    from musicae.audio.noise_recordings import NoiseRecordings
    from musicae.audio.sound import Sound
    from musicae.errors import MusicaeError

    domain = AudioDomain(AudioConfig(n_fft=256, chunk_s=0.26))
    NoiseRecordings.read([path], 16_000)
    with suppress(MusicaeError):
        domain.read(path)
    if path.suffix != ".m4a":
        with suppress(MusicaeError):
            Sound.open(path.read_bytes()).beginning(1.0).resample(8_000).save(path.with_name("out.wav"))
    sound = Sound.open(path)
    _ = (repr(sound), sound.beginning(30.0).levels)


def read_picture(path: Path) -> None:
    from musicae.errors import MusicaeError
    from musicae.image.domain import ImageDomain
    from musicae.image.picture import Picture
    from musicae.image.pixels import has_colours, header_of, square_of

    with suppress(MusicaeError):
        header_of(path)
        has_colours(path)
        square_of(path, size=32, channels=3)
    with suppress(MusicaeError):
        ImageDomain().read(path)
    picture = Picture.open(path)
    _ = (picture.array, picture.planes(), picture.square(size=16, channels=1), repr(picture))
    picture.save(path.with_name("out.png"))


def read_set(path: Path) -> None:
    """A damaged file beside the sound ones that go with it."""
    from musicae.errors import MusicaeError
    from musicae.image.domain import ImageDomain
    from musicae.image.picture import Picture
    from musicae.image.sets import find_classes, picture_set, set_labels

    is_packed = path.name.endswith(".gz")
    for name, content in inputs.set_files():
        if name != path.name and name.endswith(".gz") == is_packed:
            (path.parent / name).write_bytes(content)
    sources = [other for other in sorted(path.parent.iterdir()) if picture_set(other) is not None]
    for source in sources:
        for function in (
            lambda: ImageDomain().read(source),  # noqa: B023  # called at once
            lambda: set_labels(source, required=True),  # noqa: B023
            lambda: find_classes([source], required=False),  # noqa: B023
            lambda: Picture.open(source, index=1).array,  # noqa: B023
        ):
            with suppress(MusicaeError):
                function()
    for other in path.parent.iterdir():
        other.unlink()


def read_chords(path: Path) -> None:
    from musicae.errors import MusicaeError
    from musicae.music.chords import chord_name, parse_chord, parse_progression

    text = path.read_bytes().decode("utf-8", "replace")
    with suppress(MusicaeError):
        parse_chord(text)
    for chord in parse_progression(text):
        chord_name(chord)


class suppress_refusals(suppress):  # like contextlib's
    """Ignores what a person can mend, if it says so in one sentence."""

    def __init__(self) -> None:
        from musicae.errors import MusicaeError

        super().__init__(MusicaeError)


def misbehave(path: Path) -> None:
    """Does what a file says, to show that this program sees it."""
    word = path.read_bytes()
    if word == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == b"hang":
        while True:
            pass
    if word == b"wait":
        time.sleep(10**6)
    if word == b"memory":
        _ = bytes(2 * MEMORY_BYTES)
    if word == b"raise":
        raise KeyError(word)
    if word == b"warn":
        warnings.warn("careful", stacklevel=1)


READERS: dict[str, Reader] = {
    "midi": Reader(inputs.midi_files, inputs.MIDI_WORDS, read_music),
    "abc": Reader(inputs.abc_files, inputs.ABC_WORDS, read_music, 8_000),
    "sound": Reader(inputs.sound_files, inputs.SOUND_WORDS, read_sound),
    "wav": Reader(inputs.sound_files, inputs.SOUND_WORDS, read_sound),
    "ffmpeg": Reader(inputs.foreign_sound_files, inputs.FOREIGN_WORDS, read_sound),
    "picture": Reader(inputs.picture_files, inputs.PICTURE_WORDS, read_picture),
    "set": Reader(inputs.set_files, inputs.SET_WORDS, read_set),
    "chords": Reader(inputs.chord_files, inputs.CHORD_WORDS, read_chords),
}
_WORDS = (b"", b"crash", b"hang", b"wait", b"memory", b"raise", b"warn", b"")
MISBEHAVING = Reader(lambda: [("a", word) for word in _WORDS], (b"",), misbehave)


def file_of(name: str, number: int, seed: int, files: inputs.Files) -> tuple[str, bytes]:
    """The name and content of a damaged file."""
    draw = random.Random(f"{name} {seed} {number}")
    if name == "misbehaving":
        return files[number % len(files)]
    if name == "wav":
        return inputs.wav_header(number, draw)
    chosen, data = draw.choice(files)
    if chosen.endswith(".gz") and draw.random() < 0.7:  # damaged inside
        import gzip

        data = gzip.decompress(data)
    data = inputs.mutated(data, files, READERS[name].words, draw)[: READERS[name].largest]
    return chosen, inputs.with_checksums(chosen, data, draw)


def outcome(reader: Reader, path: Path) -> str:
    """`read`, `refused`, or what was wrong."""
    from musicae.errors import MusicaeError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reader.read(path)
    except MusicaeError as error:
        sentence = str(error)
        if isinstance(error.__context__, MemoryError) or isinstance(error.__cause__, MemoryError):
            return f"memory: {sentence[:200]}"
        if "\n" in sentence or len(sentence) > _LONGEST_SENTENCE:
            return f"no sentence: {sentence[:200]!r}"
        return "refused"
    except MemoryError:
        return f"memory: {_where()}"
    except Exception as error:
        return f"raised {type(error).__name__}: {str(error)[:200]} ({_where()})"
    return "read"


def _where() -> str:
    frames = traceback.extract_tb(sys.exc_info()[2])
    return " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames[-4:]))


def read_some(name: str, first: int, count: int, seed: int, folder: Path) -> Iterator[tuple[int, str]]:
    """Reads damaged files one after another, in this process."""
    reader = READERS.get(name, MISBEHAVING)
    files = reader.files()
    for number in range(first, first + count):
        called, data = file_of(name, number, seed, files)
        path = folder / called
        path.write_bytes(data)
        yield number, outcome(reader, path)
        path.unlink(missing_ok=True)


# The process that reads


class Mark:
    """Two numbers in a file that both processes see: the file being read, and how many were read and refused."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(32))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 32)

    def __getitem__(self, place: int) -> int:
        return int.from_bytes(self._map[8 * place : 8 * place + 8], "little", signed=True)

    def __setitem__(self, place: int, value: int) -> None:
        self._map[8 * place : 8 * place + 8] = value.to_bytes(8, "little", signed=True)


NUMBER, READ, REFUSED, PEAK_KB = range(4)
NONE = -1


def child(name: str, first: int, count: int, seed: int, folder: Path, mark: Mark) -> None:
    mark[NUMBER] = NONE
    reader = READERS.get(name, MISBEHAVING)
    if name in ("sound", "wav"):
        os.environ["PATH"] = ""  # what libsndfile refuses is not tried again with FFmpeg, which takes far longer
    for called, data in reader.files()[:4]:  # what is imported and compiled once is no file's fault
        if name != "misbehaving":
            (folder / called).write_bytes(data)
            outcome(reader, folder / called)
            (folder / called).unlink(missing_ok=True)
    _limit_memory()
    _reset_peak()
    for number, found in _marked(name, first, count, seed, folder, mark):
        if found in ("read", "refused"):
            mark[READ if found == "read" else REFUSED] += 1
        else:
            print(json.dumps([number, found]), flush=True)
    mark[NUMBER] = first + count


def _marked(name: str, first: int, count: int, seed: int, folder: Path, mark: Mark) -> Iterator[tuple[int, str]]:
    for number in range(first, first + count):
        mark[NUMBER] = number
        yield from read_some(name, number, 1, seed, folder)
        mark[PEAK_KB] = max(mark[PEAK_KB], _status_kb("VmHWM"))


def _status_kb(field: str) -> int:
    with suppress(OSError, IndexError):
        return int(Path("/proc/self/status").read_text(encoding="ascii").split(f"{field}:")[1].split()[0])
    return 0


def _reset_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        limit = _status_kb("VmSize") * 1024 + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# The process that watches


class Watched(NamedTuple):
    counts: Counter[str]
    findings: list[dict[str, Any]]


def watch(name: str, *, seconds: float, count: int, seed: int, first: int = 0, hang_s: float = HANG_S) -> Watched:
    """Lets processes read until the time is over or so many files were read."""
    counts: Counter[str] = Counter()
    findings: list[dict[str, Any]] = []
    ends, last = time.monotonic() + seconds, first + count
    with tempfile.TemporaryDirectory(prefix="musicae-fuzz-") as base:
        folder = Path(base, "files")
        folder.mkdir()
        mark = Mark(Path(base, "mark"))
        while first < last and time.monotonic() < ends:
            size = min(_CHILD_FILES, last - first)
            arguments = [name, "--child", base, "--first", str(first), "--count", str(size), "--seed", str(seed)]
            mark[NUMBER] = NONE
            process = subprocess.Popen(
                [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )  # fmt: skip
            ended = _until_it_ends(process, mark, first + size, ends, hang_s)
            printed = process.communicate()[0]
            findings += [{"number": number, "what": what} for number, what in map(json.loads, printed.splitlines())]
            number = mark[NUMBER]
            if ended == "time":
                first = max(number, first)
                break
            if ended == "hang":
                findings.append({"number": number, "what": f"hang: over {hang_s:g} s"})
            elif process.returncode < 0:
                findings.append({"number": number, "what": f"crash: {signal.Signals(-process.returncode).name}"})
            elif process.returncode:
                raise SystemExit(f"the reading process ended with status {process.returncode}")
            first = number if number >= first + size else max(number, first) + 1
        counts.update(files=first, read=mark[READ], refused=mark[REFUSED], peak_mb=mark[PEAK_KB] // 1024)
    return Watched(counts, findings)


def _until_it_ends(process: subprocess.Popen[str], mark: Mark, stop: int, ends: float, hang_s: float) -> str:
    """`exit`, `hang` or `time`."""
    number, since_cpu, since = NONE, 0.0, time.monotonic()
    while process.poll() is None:
        time.sleep(min(0.1, hang_s / 5))
        now, used = time.monotonic(), _cpu_s(process.pid)
        if mark[NUMBER] != number or number in (NONE, stop):  # starting and ending are no file's time
            number, since_cpu, since = mark[NUMBER], used, now
        elif used - since_cpu > hang_s or now - since > hang_s * _WALL_FACTOR:
            process.kill()
            return "hang"
        if now > ends:
            process.kill()
            return "time"
    return "exit"


def _cpu_s(pid: int) -> float:
    """Seconds of the processor that a process and the ones it waited for have used; 0 where nobody says."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def report(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Fuzzes one reader; its counts and findings."""
    reader = READERS.get(name, MISBEHAVING)
    if not (files := reader.files()):
        return {"reader": name, "skipped": "no program makes files for it"}
    started = time.monotonic()
    counts, findings = watch(
        name, seconds=60 * options.minutes, count=options.count, seed=options.seed, first=options.first,
        hang_s=options.hang_s,
    )  # fmt: skip
    kinds = Counter(found["what"].split(":")[0] for found in findings)
    for found in findings:
        if options.keep is not None:
            options.keep.mkdir(parents=True, exist_ok=True)
            called, data = file_of(name, found["number"], options.seed, files)
            (options.keep / f"{name}-{found['number']}-{called}").write_bytes(data)
    seconds = round(time.monotonic() - started)
    return {
        "reader": name, "seed": options.seed, "seconds": seconds, **counts, "findings": sum(kinds.values()),
        "kinds": dict(kinds), "first": findings[:20],
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader", choices=(*READERS, "misbehaving", "all"))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--count", type=int, default=10**12, help="files at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--only", type=int, help="reads one file, in this process")
    parser.add_argument("--hang-s", type=float, default=HANG_S)
    parser.add_argument("--keep", type=Path, help="folder for the files that were findings")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        mark = Mark(options.child / "mark")
        child(options.reader, options.first, options.count, options.seed, options.child / "files", mark)
        return 0
    if options.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(*read_some(options.reader, options.only, 1, options.seed, Path(folder)))
        return 0
    found = 0
    for name in READERS if options.reader == "all" else (options.reader,):
        result = report(name, options)
        print(json.dumps(result), flush=True)
        found += result.get("findings", 0)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
