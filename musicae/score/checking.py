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

MOST_NOTES = 1_000_000
MOST_TRACKS = 2_000
MOST_METRES = 5_000
MOST_TEMPI = 200_000  # a smooth slowing-down is written as thousands
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
    if len(score.tempos) > MOST_TEMPI:
        raise DamagedFileError(
            f"{name} has {len(score.tempos):,} tempi; up to {MOST_TEMPI:,} are read; export it again without them."
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
