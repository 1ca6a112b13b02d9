"""What a score must be before anything works with it.

symusic reads 7,500 files a second but lets through what breaks everything downstream: a division of
zero, tempo zero, ticks that overflow, a time signature of 0/4. `checked` refuses those, or drops them
where readers in general do. What symusic cannot parse becomes a `DamagedFileError` of one sentence.

This module doesn't know where a score comes from.
"""

from dataclasses import dataclass

import numpy as np
from symusic.core import ScoreTick

from musicae.errors import DamagedFileError
from musicae.music.notes import NoteTable, note_table

MOST_NOTES = 1_000_000
MOST_TRACKS = 2_000
MOST_METRES = 5_000
MOST_TEMPI = 200_000  # a smooth slowing-down is written as thousands
MOST_QUARTERS = 100_000  # 14 hours at 120 quarters a minute: beyond it is a broken delta time, not music
DENOMINATORS = frozenset((1, 2, 4, 8, 16, 32, 64))
MOST_MICROSECONDS = 2**24  # of a quarter: three bytes hold it
MICROSECONDS_PER_MINUTE = 60_000_000


@dataclass(frozen=True)
class NamedScore:
    """One piece of music and what to call it.

    Attributes:
        title: the tune's title, or the file's name without its ending.
        score: times in ticks; division, metres, tempi and note times are sound (see `checked`).
        notes: the score's, where they have been copied out already.
    """

    title: str
    score: ScoreTick
    notes: NoteTable | None = None


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


def checked(score: ScoreTick, name: str, notes: NoteTable | None = None) -> ScoreTick:
    """Refuses what no one can mend, drops metres and tempi that mean nothing.

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
    if len(score.tracks) > MOST_TRACKS or len(score.time_signatures) > MOST_METRES:
        raise DamagedFileError(
            f"{name} has {len(score.tracks):,} tracks and {len(score.time_signatures):,} time signatures; "
            f"up to {MOST_TRACKS:,} and {MOST_METRES:,} are read; export it again."
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
    metres, tempi = score.time_signatures, score.tempos
    last_tick = MOST_QUARTERS * score.tpq
    meant = [
        metre
        for metre in metres
        if metre.denominator in DENOMINATORS and metre.numerator > 0 and 0 <= metre.time <= last_tick
    ]
    if len(meant) < len(metres):
        score.time_signatures = type(metres)(meant)
    lasting = [tempo for tempo in tempi if 0 < tempo.mspq < MOST_MICROSECONDS and 0 <= tempo.time <= last_tick]
    if len(lasting) < len(tempi):
        score.tempos = type(tempi)(lasting)
