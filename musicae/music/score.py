"""Files to scores: MIDI and ABC become checked symusic scores in ticks, fast, for reading in bulk.

symusic reads thousands of files a second but lets through what breaks everything downstream: a division of zero,
tempo zero, ticks that overflow, a time signature of 0/4. `checked` refuses those, or drops them where readers in
general do. What symusic cannot parse becomes a `DamagedFileError` of one sentence. symusic leaves out notes that are
never ended; only where a track of a file has no other notes are its events read one by one.

A piece is split into sections where the time signature changes, and a `TempoMap` tells its seconds. This module
doesn't know which track is the melody, nor what a token is.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from io import FileIO
from itertools import accumulate
from pathlib import Path

import numpy as np
from symusic.core import ScoreTick

from musicae.errors import DamagedFileError, MusicaeError
from musicae.music.midi import MICROSECONDS_PER_MINUTE, MidiFile, read_events, unwrapped

MIDI_SUFFIXES = (".mid", ".midi", ".kar", ".rmi")
ABC_SUFFIXES = (".abc",)
MUSICXML_SUFFIXES = (".musicxml", ".mxl")
SUFFIXES = MIDI_SUFFIXES + ABC_SUFFIXES + MUSICXML_SUFFIXES

LARGEST_FILE_BYTES = 16 * 2**20  # the largest file in the public sets has 0.16 MB; larger ones are note bombs
_LARGEST_READ_TWICE_BYTES = 2**20
# What General MIDI 2 says by the bank of a program: whether it is a drum kit.
_BANKS = {120: True, 121: False}
MOST_NOTES = 1_000_000
MOST_TRACKS = 2_000
MOST_TIME_SIGNATURES = 5_000
MOST_TEMPI = 200_000  # a smooth slowing-down is written as thousands
MOST_QUARTERS = 100_000  # 14 hours at 120 quarters a minute: beyond it is a broken delta time, not music
DENOMINATORS = frozenset((1, 2, 4, 8, 16, 32, 64))
MOST_MICROSECONDS = 2**24  # of a quarter: three bytes hold it
DEFAULT_TEMPO_BPM = 120.0
STEPS_PER_QUARTER = 4  # of the grid that all music is read on


@dataclass(frozen=True)
class NoteTable:
    """The notes of all tracks of a score as arrays, one track after the other, copied out once.

    numpy takes longer to start than to go through the notes of a track, so all tracks are measured together.

    Attributes:
        start, end: in ticks, int64 `(notes,)`, in the order of the file.
        pitch, velocity: int64 `(notes,)`.
        first: place of each track's first note, and the number of all notes at the end; `tracks + 1` values.
    """

    start: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    first: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.start)

    def count(self, track: int) -> int:
        """Number of notes of a track."""
        return self.first[track + 1] - self.first[track]

    def of_track(self, track: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Start, end and pitch of a track's notes."""
        first, stop = self.first[track], self.first[track + 1]
        return self.start[first:stop], self.end[first:stop], self.pitch[first:stop]

    def velocity_of(self, track: int) -> np.ndarray:
        """Velocity of a track's notes."""
        return self.velocity[self.first[track] : self.first[track + 1]]

    @cached_property
    def polyphony(self) -> tuple[float, ...]:
        """Of each track: notes that sound at once on average, where any sounds; 0 without notes.

        It is the summed durations over the time in which anything sounds. The tracks are laid one after
        the other in time, so far apart that none overlap.
        """
        filled = [track for track in range(len(self.first) - 1) if self.count(track)]
        polyphony = [0.0] * (len(self.first) - 1)
        if not filled:
            return tuple(polyphony)
        start, end = self.start, self.end
        duration = end - start
        if len(filled) > 1:
            shift = np.repeat(np.arange(len(filled)) * (int(end.max()) + 1), [self.count(track) for track in filled])
            start, end = start + shift, end + shift
        if not (start[1:] >= start[:-1]).all():
            order = np.argsort(start, kind="stable")
            start, end = start[order], end[order]
        reached = np.maximum.accumulate(end)
        added = end - start  # the time in which a note sounds and none did before
        added[1:] = np.maximum(reached[1:] - np.maximum(start[1:], reached[:-1]), 0)
        first = [self.first[track] for track in filled]
        sums = (np.add.reduceat(ticks, first).tolist() for ticks in (duration, added))
        for track, sounding, covered in zip(filled, *sums, strict=True):
            polyphony[track] = sounding / covered if covered else 1.0
        return tuple(polyphony)


@dataclass(frozen=True)
class NamedScore:
    """A piece of music and what to call it.

    Attributes:
        title: the tune's title, or the file's name without its ending.
        score: times in ticks; division, time signatures, tempi and note times are sound (see `checked`).
        notes: the score's, where they have been copied out already.
    """

    title: str
    score: ScoreTick
    notes: NoteTable | None = None


def note_table(score: ScoreTick) -> NoteTable:
    """Copies the notes out of a score, checked or not."""
    lists = [track.notes for track in score.tracks]
    first = tuple(accumulate(map(len, lists), initial=0))
    tables = [notes.numpy() for notes in lists if len(notes)]
    if not tables:
        nothing = np.zeros(0, dtype=np.int64)
        return NoteTable(nothing, nothing, nothing, nothing, first)
    start, duration, pitch, velocity = (
        np.concatenate([table[key] for table in tables], dtype=np.int64)
        for key in ("time", "duration", "pitch", "velocity")
    )
    return NoteTable(start, start + duration, pitch, velocity, first)


def read_scores(path: Path | str) -> list[NamedScore]:
    """Reads every piece in a file: one for MIDI, one for each tune of an ABC file.

    Args:
        path: ending in one of `SUFFIXES`.

    Raises:
        DamagedFileError: the file exists, and is not what it claims to be.
        MusicaeError: the file is missing, unreadable, or of another format.
    """
    path = path if isinstance(path, Path) else Path(path)
    data = read_bytes(path)
    if is_abc(path):
        from musicae.music.abc import read_abc  # seldom needed, and brings a converter

        return read_abc(data, path.name)
    return [named_score(as_midi(data, path.name), path.name, path.stem)]


def as_midi(data: bytes, name: str) -> bytes:
    """The bytes of a MIDI or RMID file as they are, those of a MusicXML file as MIDI."""
    if Path(name).suffix.lower() not in MUSICXML_SUFFIXES:
        return data
    from musicae.music.musicxml import midi_of_musicxml  # seldom needed, and brings a large library

    return midi_of_musicxml(data, name)


def named_score(data: bytes, name: str, title: str) -> NamedScore:
    """Reads the bytes of a MIDI or RMID file; `name` is for errors."""
    data = unwrapped(data)
    score = parse_midi(data, name)
    notes = note_table(score)
    if (len(set(notes.first)) <= len(score.tracks) or not len(notes)) and len(data) <= _LARGEST_READ_TWICE_BYTES:
        closed = closed_score(read_events(data, name), name)
        if closed is not None:
            score = closed
            notes = note_table(score)
    return NamedScore(title, checked(score, name, notes), notes)


def closed_score(midi: MidiFile, name: str) -> ScoreTick | None:
    """A file's notes where symusic leaves some out, without an end or behind other chunks; else None."""
    if not midi.unclosed and len(midi.chunks) == len(midi.tracks):
        return None
    return parse_midi(midi.closed().without_other_chunks().to_bytes(), name)


def is_abc(path: Path) -> bool:
    """Whether a file of music is one of tunes in ABC, by its name.

    Raises:
        MusicaeError: no file of music.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise MusicaeError(f"{path.name} is not a score; expected {', '.join(SUFFIXES)}.")
    return suffix in ABC_SUFFIXES


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        DamagedFileError: empty, or too large.
        MusicaeError: not there, a folder, or unreadable.
    """
    try:
        with FileIO(path) as file:
            check_size(os.fstat(file.fileno()).st_size, path.name)
            data = file.read()
    except FileNotFoundError:
        raise MusicaeError(f"no such file: {path}") from None
    except OSError as error:
        if path.is_dir():
            raise MusicaeError(f"{path} is a folder; expected a file of MIDI, ABC or MusicXML.") from None
        raise MusicaeError(f"{path} cannot be opened ({error.strerror}); check its permissions.") from None
    return data


def check_size(size_bytes: int, name: str) -> None:
    """Raises `DamagedFileError` for a file that is empty or larger than scores are."""
    if not size_bytes:
        raise DamagedFileError(f"{name} is empty; expected a file of MIDI, ABC or MusicXML; export it again.")
    if size_bytes > LARGEST_FILE_BYTES:
        raise DamagedFileError(
            f"{name} has {size_bytes / 2**20:.0f} MB; scores up to {LARGEST_FILE_BYTES // 2**20} MB are read; "
            "split it, or leave it out."
        )


def parse_midi(data: bytes, name: str) -> ScoreTick:
    """Parses MIDI bytes, unchecked, or raises `DamagedFileError` in one sentence."""
    try:
        score = ScoreTick.from_midi(data)
    except (RuntimeError, ValueError, OverflowError, MemoryError) as error:
        raise DamagedFileError(
            f"{name} cannot be read as MIDI ({_plain_reason(data, str(error))}); "
            "expected a Standard MIDI File; export it again from the program that made it."
        ) from None
    if any(bytes((0, bank)) in data for bank in _BANKS):
        _choose_drums(score)
    return score


def _choose_drums(score: ScoreTick) -> None:
    """Goes by the bank that a track chooses, as General MIDI 2 has it: 120 is a drum kit, 121 none, on any channel."""
    for track in score.tracks:
        if not len(track.controls):
            continue
        controls = track.controls.numpy()
        banks = np.flatnonzero(controls["number"] == 0)
        if len(banks) and len(track.notes):
            first = track.notes.numpy()["time"].min()
            before = controls["value"][banks[controls["time"][banks] <= first]].tolist()
            track.is_drum = _BANKS.get(before[-1], track.is_drum) if before else track.is_drum


def _plain_reason(data: bytes, message: str) -> str:
    if not data.startswith(b"MThd"):
        return "it does not start with a MIDI header"
    if len(data) > 12 and data[12] >= 0x80:
        return "it counts time in film frames (SMPTE), not in beats"
    if "midi format" in message:
        return "its header names a file type that does not exist"
    if "EOF" in message or ("length" in message and "chunk" in message):
        return "it is cut off, or the length of a part is wrong"
    return "an event in it is invalid"


def checked(score: ScoreTick, name: str, notes: NoteTable | None = None) -> ScoreTick:
    """Refuses what no one can mend, drops time signatures and tempi that mean nothing.

    Args:
        score: any score in ticks; changed in place.
        name: how to call it in an error.
        notes: the score's; None: they are copied out of it.

    Raises:
        DamagedFileError: division not positive, negative times, too long, too many notes.
    """
    quarter = score.tpq
    if quarter <= 0:
        raise DamagedFileError(f"{name} has {quarter} ticks per quarter; expected 1 to 32767; export it again.")
    if len(score.tracks) > MOST_TRACKS or len(score.time_signatures) > MOST_TIME_SIGNATURES:
        raise DamagedFileError(
            f"{name} has {len(score.tracks):,} tracks and {len(score.time_signatures):,} time signatures; "
            f"up to {MOST_TRACKS:,} and {MOST_TIME_SIGNATURES:,} are read; export it again."
        )
    if len(score.tempos) > MOST_TEMPI:
        raise DamagedFileError(
            f"{name} has {len(score.tempos):,} tempi; up to {MOST_TEMPI:,} are read; export it again without them."
        )
    _check_notes(note_table(score) if notes is None else notes, quarter, name)
    _drop_meaningless(score)
    return score


def _check_notes(notes: NoteTable, quarter: int, name: str) -> None:
    """Refuses negative times, a piece that is too long, and too many notes."""
    if not len(notes):
        return
    if np.minimum.reduce(notes.start) < 0 or not (notes.end >= notes.start).all():
        raise DamagedFileError(f"{name} has notes at negative times; expected 0 or later; export it again.")
    if len(notes) > MOST_NOTES:
        raise DamagedFileError(
            f"{name} has {len(notes):,} notes; up to {MOST_NOTES:,} are read; split it, or leave it out."
        )
    last_tick = int(np.maximum.reduce(notes.end))
    if last_tick > MOST_QUARTERS * quarter:
        raise DamagedFileError(
            f"{name} lasts {last_tick // quarter:,} quarter notes; up to {MOST_QUARTERS:,} are read; "
            "a time in it is probably broken, so export it again."
        )


def _drop_meaningless(score: ScoreTick) -> None:
    """Removes time signatures such as 0/4 or 4/2⁴⁰ and tempi of zero: readers ignore them too."""
    signatures, tempi = score.time_signatures, score.tempos
    last_tick = MOST_QUARTERS * score.tpq
    meant = [
        signature
        for signature in signatures
        if signature.denominator in DENOMINATORS and signature.numerator > 0 and 0 <= signature.time <= last_tick
    ]
    if len(meant) < len(signatures):
        score.time_signatures = type(signatures)(meant)
    lasting = [tempo for tempo in tempi if 0 < tempo.mspq < MOST_MICROSECONDS and 0 <= tempo.time <= last_tick]
    if len(lasting) < len(tempi):
        score.tempos = type(tempi)(lasting)


@dataclass(frozen=True)
class Section:
    """A run of bars of one time signature.

    Attributes:
        start, end: in ticks; the end is exclusive.
        numerator, denominator: the time signature.
        first_bar: 1-based number of its first bar in the piece.
        bars: number of bars, the last one counted whole.
    """

    start: int
    end: int
    numerator: int
    denominator: int
    first_bar: int
    bars: int

    @property
    def time_signature(self) -> str:
        """The time signature as people write it."""
        return f"{self.numerator}/{self.denominator}"

    def bar_ticks(self, ticks_per_quarter: int) -> int:
        """Length of a bar."""
        return bar_ticks(ticks_per_quarter, self.numerator, self.denominator)


def end_tick(score: ScoreTick, last_note: int) -> int:
    """Where the piece ends: at its last note, or at a later time signature.

    A file written by `musicae.music.windows` marks its end with one, so that silence at the end stays.
    """
    signatures = score.time_signatures
    return max(last_note, signatures[-1].time if len(signatures) else 0)


def find_sections(score: ScoreTick, end: int) -> list[Section]:
    """Splits a piece where the time signature changes.

    Without one it is 4/4, as the MIDI standard says. One that is repeated at a bar line changes nothing; elsewhere it
    starts a new bar there.

    Args:
        score: a checked score.
        end: where the piece ends, in ticks.
    """
    changes = [(event.time, event.numerator, event.denominator) for event in score.time_signatures]
    changes.sort(key=lambda change: change[0])
    if not changes or changes[0][0] > 0:
        changes.insert(0, (0, 4, 4))
    kept: list[tuple[int, int, int]] = []
    for time, numerator, denominator in changes:
        if kept:
            since, *before = kept[-1]
            if time == since:
                kept.pop()
                # The later of two at one place counts, and may now repeat the one before.
                if not kept:
                    kept.append((time, numerator, denominator))
                    continue
                since, *before = kept[-1]
            whole_bars = (time - since) % bar_ticks(score.tpq, numerator, denominator) == 0
            if before == [numerator, denominator] and whole_bars:
                continue
        kept.append((time, numerator, denominator))
    sections: list[Section] = []
    first_bar = 1
    for index, (start, numerator, denominator) in enumerate(kept):
        stop = kept[index + 1][0] if index + 1 < len(kept) else end
        if stop <= start:
            continue
        bars = -(-(stop - start) // bar_ticks(score.tpq, numerator, denominator))
        sections.append(Section(start, stop, numerator, denominator, first_bar, bars))
        first_bar += bars
    return sections


def bar_ticks(ticks_per_quarter: int, numerator: int, denominator: int) -> int:
    """Length of a bar, at least one tick."""
    return max(1, ticks_per_quarter * 4 * numerator // denominator)


@dataclass(frozen=True)
class TempoMap:
    """When the ticks of a piece are.

    Attributes:
        ticks: int64 `(tempi,)`, rising from 0: where each tempo begins.
        tempi_bpm: quarters per minute, as many.
        tick_s: seconds of a tick from each on, as many.
    """

    ticks: np.ndarray
    tempi_bpm: np.ndarray
    tick_s: np.ndarray

    @classmethod
    def of(cls, score: ScoreTick) -> "TempoMap":
        """The tempi of a checked score; 120 quarters a minute before the first."""
        tempi = {0: MICROSECONDS_PER_MINUTE / DEFAULT_TEMPO_BPM}
        for event in sorted(score.tempos, key=lambda tempo: tempo.time):
            tempi[event.time] = event.mspq
        microseconds = np.array(list(tempi.values()), np.float64)
        tick_s = microseconds / 1e6 / score.tpq
        return cls(np.array(list(tempi), np.int64), MICROSECONDS_PER_MINUTE / microseconds, tick_s)

    def seconds(self, ticks: np.ndarray) -> np.ndarray:
        """When ticks are, float64 `(ticks,)`."""
        starts_s = np.concatenate(([0.0], np.cumsum(np.diff(self.ticks) * self.tick_s[:-1])))
        ticks = np.asarray(ticks, np.int64)
        index = np.searchsorted(self.ticks, ticks, side="right") - 1
        seconds: np.ndarray = starts_s[index] + (ticks - self.ticks[index]) * self.tick_s[index]
        return seconds

    def tick_at(self, second: float) -> int:
        """The last tick that is not after a time."""
        starts_s = self.seconds(self.ticks)
        index = max(0, int(np.searchsorted(starts_s, second, side="right")) - 1)
        return int(self.ticks[index] + (second - starts_s[index]) / self.tick_s[index])

    def mean_bpm(self, tick: int) -> float:
        """Quarters per minute on average up to a tick."""
        seconds = float(self.seconds(np.array([tick]))[0])
        quarters = tick * float(self.tick_s[0] * self.tempi_bpm[0]) / 60
        return self.tempo_at(0) if seconds <= 0 else quarters / seconds * 60

    def tempo_at(self, tick: int) -> float:
        """Quarters per minute in effect at a tick."""
        return float(self.tempi_bpm[max(0, int(np.searchsorted(self.ticks, tick, side="right")) - 1)])
