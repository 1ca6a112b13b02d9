"""Which track is the melody, and one line of notes out of it.

The choice, in this order: the user's, a track named melody, vocal or lead, then the least polyphonic
track. Among equals the one with most notes is taken: on POP909, whose melody is known, that is right
for 94% of the songs, the track with the highest mean pitch for 42%. Inside the track the *skyline* is
taken: the highest of the notes that start together, each ended by the next (Uitdenbogerd & Zobel, 1998).
"""

from collections.abc import Sequence

import numpy as np

from musicae.music.lazy_lines import Told
from musicae.music.tracks import TrackChoice, TrackSummary, find_wanted, no_tracks

MELODY_NAMES = ("melody", "vocal", "lead")
FEWEST_NOTES = 8
LEAST_SHARE = 0.1  # of the notes of the largest track; a short solo isn't the song's melody
ONLY_DRUMS = "only drums (channel 10), no melody"
DRUMS_MODEL = "use --model drums-2bar"


def choose_melody(summaries: Sequence[TrackSummary], wanted: int | str | None = None) -> TrackChoice:
    """Chooses the melody's track.

    Args:
        summaries: of all tracks, in order.
        wanted: the user's choice: an index, a name or a part of one; None to choose by itself.

    Raises:
        MusicaeError: the user's choice is not in the file, or holds no melody.
    """
    if wanted is not None:
        chosen = find_wanted(summaries, wanted)
        return _choice(summaries, chosen, "chosen by the user", "another track was chosen")
    pitched = [track for track in summaries if track.notes and not track.is_drum]
    if not pitched:
        missing = (ONLY_DRUMS, DRUMS_MODEL) if any(track.notes for track in summaries) else ("no notes", "")
        return no_tracks(summaries, *missing)
    for word in MELODY_NAMES:
        named = [track for track in pitched if word in track.name.casefold()]
        if named:
            chosen = max(named, key=lambda track: track.notes)
            return _choice(summaries, chosen, "its name says so", "another track is named as the melody")
    if len(pitched) == 1:
        return _choice(summaries, pitched[0], "the only track with notes", None)
    largest = max(track.notes for track in pitched)
    enough = [track for track in pitched if track.notes >= max(FEWEST_NOTES, LEAST_SHARE * largest)] or pitched
    above_bass = [track for track in enough if not track.is_bass] or enough
    # Among single lines the polyphony differs only by overlaps in playing; then the busiest leads, or the highest.
    chosen = min(above_bass, key=lambda track: (round(track.polyphony, 1), -track.notes, -track.mean_pitch))
    return _choice(summaries, chosen, "the least polyphonic", None)


def _choice(summaries: Sequence[TrackSummary], chosen: TrackSummary, why: str, why_not: str | None) -> TrackChoice:
    return TrackChoice(((chosen.index,),), why, Told(lambda: _explain(summaries, chosen, why, why_not)))


def _explain(summaries: Sequence[TrackSummary], chosen: TrackSummary, why: str, why_not: str | None) -> list[str]:
    """Says for each track how it fared; without `why_not` it is told by comparing with the chosen one."""
    parts = []
    for track in summaries:
        if track is chosen:
            parts.append(f"{track}: used as melody ({why})")
        elif track.is_drum:
            parts.append(f"{track}: not used: drums (channel 10) have no melody")
        else:
            reason = (why_not or _lost_to(track, chosen)) if track.notes else "no notes"
            parts.append(f"{track}: not used: {reason}")
    return parts


def _lost_to(track: TrackSummary, chosen: TrackSummary) -> str:
    if track.is_bass:
        return "a bass"
    if round(track.polyphony, 1) > round(chosen.polyphony, 1):
        return "more polyphonic than the melody"
    return "fewer notes than the melody" if track.notes < chosen.notes else "lower than the melody"


def skyline(onset: np.ndarray, end: np.ndarray, pitch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The highest of the notes that start together, each ended by the next.

    Args:
        onset, end: `(notes,)` whole numbers in any unit; notes in any order.
        pitch: `(notes,)` whole numbers, int64.

    Returns:
        onset (strictly rising), end and pitch of the line.
    """
    if not len(onset):
        return onset, end, pitch
    if not (onset[1:] > onset[:-1]).all():  # most melodies are one line in order already
        onset, end, pitch = _highest(onset, end, pitch)
    end = end.copy()
    np.minimum(end[:-1], onset[1:], out=end[:-1])
    return onset, end, pitch


def _highest(onset: np.ndarray, end: np.ndarray, pitch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The highest of the notes that start together, and of several at one pitch the longest."""
    if not (onset[1:] >= onset[:-1]).all():
        order = np.argsort(onset)
        onset, end, pitch = onset[order], end[order], pitch[order]
    is_first = np.ones(len(onset), dtype=bool)
    np.not_equal(onset[1:], onset[:-1], out=is_first[1:])
    first = np.flatnonzero(is_first)
    # Pitch and end in one number, the pitch in the upper bits: a maximum is several times as fast as sorting.
    low = end.min()
    bits = int(end.max() - low).bit_length()
    best = np.maximum.reduceat((pitch << bits) + (end - low), first)
    return onset[first], (best & ((1 << bits) - 1)) + low, best >> bits
