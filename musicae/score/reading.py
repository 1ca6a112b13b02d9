"""Files to scores: MIDI, ABC and `PrettyMIDI` objects become checked symusic scores in ticks.

symusic reads 7,500 files a second but lets through what breaks everything downstream: a division of
zero, tempo zero, ticks that overflow, a time signature of 0/4. So every score passes `checked` here,
and nothing after it has to doubt its numbers. What symusic cannot parse becomes a `DamagedFileError`
of one sentence.

This module doesn't know which track is the melody, nor what a step or a token is.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pretty_midi
from symusic.core import NoteTickList, ScoreTick, TempoTick, TimeSignatureTick, TrackTick

from musicae.errors import DamagedFileError, MusicaeError

MIDI_SUFFIXES = (".mid", ".midi", ".kar")
ABC_SUFFIXES = (".abc",)

LARGEST_FILE_BYTES = 16 * 2**20  # the largest song in the public sets is 0.3 MB; larger ones are note bombs
MOST_NOTES = 1_000_000
MOST_TRACKS = 2_000
MOST_METRES = 5_000
MOST_QUARTERS = 100_000  # 14 hours at 120 quarters a minute: beyond it is a broken delta time, not music
LARGEST_DENOMINATOR = 64
MICROSECONDS_PER_MINUTE = 60_000_000


@dataclass(frozen=True)
class NamedScore:
    """One piece of music and what to call it.

    Attributes:
        title: the tune's title, or the file's name without its ending.
        score: times in ticks; division, metres, tempi and note times are sound (see `checked`).
    """

    title: str
    score: ScoreTick


def read_scores(source: Path | str | pretty_midi.PrettyMIDI) -> list[NamedScore]:
    """Reads every piece in a file: one for MIDI, one for each tune of an ABC file.

    Args:
        source: a path ending in .mid, .midi, .kar or .abc, or a `PrettyMIDI` object.

    Raises:
        DamagedFileError: the file exists, and is not what it claims to be.
        MusicaeError: the file is missing, unreadable, or of another kind.
    """
    if isinstance(source, pretty_midi.PrettyMIDI):
        return [NamedScore("PrettyMIDI", checked(_from_pretty_midi(source), "the PrettyMIDI object"))]
    path = Path(source)
    data = _read_bytes(path)
    if path.suffix.lower() in ABC_SUFFIXES:
        from musicae.score.abc_tunes import read_abc  # it calls back into this module

        return read_abc(data, path)
    if path.suffix.lower() not in MIDI_SUFFIXES:
        raise MusicaeError(f"{path.name} is not a score; expected {', '.join(MIDI_SUFFIXES + ABC_SUFFIXES)}.")
    return [NamedScore(path.stem, checked(parse_midi(data, path.name), path.name))]


def _read_bytes(path: Path) -> bytes:
    try:
        size_bytes = path.stat().st_size
        if path.is_dir():
            raise MusicaeError(f"{path} is a folder; expected a MIDI or ABC file.")
        if size_bytes > LARGEST_FILE_BYTES:
            raise DamagedFileError(
                f"{path.name} has {size_bytes / 2**20:.0f} MB; scores up to {LARGEST_FILE_BYTES // 2**20} MB are read; "
                "split it, or leave it out."
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise MusicaeError(f"{path} does not exist; check the name.") from None
    except OSError as error:
        raise MusicaeError(f"{path} cannot be opened ({error.strerror}); check its permissions.") from None
    if not data:
        raise DamagedFileError(f"{path.name} is empty; expected a MIDI or ABC file; export it again.")
    return data


def parse_midi(data: bytes, name: str) -> ScoreTick:
    """Parses MIDI bytes, unchecked, or raises `DamagedFileError` in one sentence."""
    try:
        return ScoreTick.from_midi(data)
    except (RuntimeError, ValueError, OverflowError, MemoryError) as error:
        raise DamagedFileError(
            f"{name} cannot be read as MIDI ({_plain_reason(data, str(error))}); "
            "expected a Standard MIDI File; export it again from the program that made it."
        ) from None


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


def checked(score: ScoreTick, name: str) -> ScoreTick:
    """Refuses what no one can mend, drops metres and tempi that mean nothing.

    Args:
        score: any score in ticks; changed in place.
        name: how to call it in an error.

    Raises:
        DamagedFileError: division not positive, negative times, too long, too many notes.
    """
    quarter = score.tpq
    if quarter <= 0:
        raise DamagedFileError(f"{name} has {quarter} ticks per quarter; expected 1 to 32767; export it again.")
    if len(score.tracks) > MOST_TRACKS or len(score.time_signatures) > MOST_METRES:
        raise DamagedFileError(
            f"{name} has {len(score.tracks):,} tracks and {len(score.time_signatures):,} time signatures; "
            f"up to {MOST_TRACKS:,} and {MOST_METRES:,} are read; export it again."
        )
    notes = 0
    last_tick = 0
    for track in score.tracks:
        count = len(track.notes)
        if not count:
            continue
        notes += count
        arrays = track.notes.numpy()
        start, duration = arrays["time"].astype(np.int64), arrays["duration"].astype(np.int64)
        if start.min() < 0 or duration.min() < 0:
            raise DamagedFileError(f"{name} has notes at negative times; expected 0 or later; export it again.")
        last_tick = max(last_tick, int((start + duration).max()))
    if notes > MOST_NOTES:
        raise DamagedFileError(f"{name} has {notes:,} notes; up to {MOST_NOTES:,} are read; split it, or leave it out.")
    if last_tick > MOST_QUARTERS * quarter:
        raise DamagedFileError(
            f"{name} lasts {last_tick // quarter:,} quarter notes; up to {MOST_QUARTERS:,} are read; "
            "a time in it is probably broken, so export it again."
        )
    _drop_meaningless(score, last_tick)
    return score


def _drop_meaningless(score: ScoreTick, last_tick: int) -> None:
    """Removes time signatures such as 0/4 or 4/2⁴⁰ and tempi of zero: readers ignore them too."""
    metres = score.time_signatures
    if len(metres):
        table = metres.numpy()
        denominator = table["denominator"].astype(np.int64)
        power_of_two = (denominator > 0) & (denominator & (denominator - 1) == 0)
        in_time = (table["time"] >= 0) & (table["time"] <= max(last_tick, MOST_QUARTERS * score.tpq))
        good = (table["numerator"] > 0) & power_of_two & (denominator <= LARGEST_DENOMINATOR) & in_time
        if not good.all():
            score.time_signatures = type(metres)([metre for metre, keep in zip(metres, good, strict=True) if keep])
    tempi = score.tempos
    if len(tempi):
        table = tempi.numpy()
        good = (table["mspq"] > 0) & (table["mspq"] < 2**24) & (table["time"] >= 0)
        if not good.all():
            score.tempos = type(tempi)([tempo for tempo, keep in zip(tempi, good, strict=True) if keep])


def _from_pretty_midi(midi: pretty_midi.PrettyMIDI) -> ScoreTick:
    """Copies notes, metres and tempi; not through its writer, which raises on names that are not Latin-1."""
    score = ScoreTick(midi.resolution)
    for instrument in midi.instruments:
        times = np.array([(note.start, note.end) for note in instrument.notes], dtype=np.float64).reshape(-1, 2)
        values = np.array([(note.pitch, note.velocity) for note in instrument.notes], dtype=np.float64).reshape(-1, 2)
        if not np.isfinite(times).all() or not np.isfinite(values).all():
            raise DamagedFileError("the PrettyMIDI object has a note whose time or pitch is not a number; mend it.")
        if (times < 0).any() or (values < 0).any() or (values > 127).any():
            raise DamagedFileError("the PrettyMIDI object has a note below time 0 or outside 0–127; mend it.")
        if times.size and times.max() > MOST_QUARTERS:
            raise DamagedFileError(f"the PrettyMIDI object lasts over {MOST_QUARTERS:,} s; check its times.")
        start = np.array([midi.time_to_tick(second) for second in times[:, 0]], dtype=np.int32)
        end = np.array([midi.time_to_tick(second) for second in times[:, 1]], dtype=np.int32)
        notes = NoteTickList.from_numpy(
            start, np.maximum(end - start, 0), values[:, 0].astype(np.int8), values[:, 1].astype(np.int8)
        )
        name = str(instrument.name).encode("utf-8", "replace").decode("utf-8")
        track = TrackTick(name, int(instrument.program), bool(instrument.is_drum))
        track.notes = notes
        score.tracks.append(track)
    for metre in midi.time_signature_changes:
        tick = midi.time_to_tick(metre.time)
        score.time_signatures.append(TimeSignatureTick(tick, metre.numerator, metre.denominator))
    for second, tempo_bpm in zip(*midi.get_tempo_changes(), strict=True):
        if np.isfinite(tempo_bpm) and tempo_bpm > MICROSECONDS_PER_MINUTE / 2**24:
            score.tempos.append(TempoTick(midi.time_to_tick(second), mspq=round(MICROSECONDS_PER_MINUTE / tempo_bpm)))
    return score
