"""Drums as steps: nine kinds of drum, 512 combinations a step.

A token is the set of drums struck at a step, one bit each, so every token 0 to 511 is a sound of its
own and no two spell the same. A hit has no length. Pitches are those of General MIDI's percussion and
of Roland's electronic sets (TD-11), which use 22, 26 and 58 beside them (Gillick et al., *Learning to
Groove with Inverse Sequence Transformations*, 2019, appendix B). Hand percussion goes where it plays
the same role: shakers keep time like a closed hat, congas stand for toms. What has no such role
(guiro, claves, whistles) has no class.
"""

from collections.abc import Sequence

import numpy as np

from musicae.music.lazy_lines import Told
from musicae.music.tracks import TrackChoice, TrackSummary, find_wanted, no_tracks

DRUM_PITCHES: dict[str, tuple[int, ...]] = {
    "kick": (36, 35),
    "snare": (38, 37, 39, 40),  # side stick, clap and the rim of an electronic snare
    "closed hat": (42, 22, 44, 54, 69, 70, 82),  # edge, pedal, tambourine, cabasa, maracas, shaker
    "open hat": (46, 26),  # edge
    "low tom": (43, 41, 58, 64),  # floor toms, the third tom's rim (a rare vibraslap in General MIDI), low conga
    "mid tom": (47, 45, 61, 62, 63, 66),  # low bongo, high congas, low timbale
    "high tom": (50, 48, 60, 65),  # high bongo, high timbale
    "crash": (49, 52, 55, 57),
    "ride": (51, 53, 56, 59),  # bell, cowbell, edge
}
"""Class → pitches, the first of which is written."""
VOCABULARY = 2 ** len(DRUM_PITCHES)
WRITTEN_PITCH = np.array([pitches[0] for pitches in DRUM_PITCHES.values()])
ONLY_MELODY = "no drums (channel 10), only other tracks"
MELODY_MODEL = "use --model melody-2bar"

_NO_CLASS = 0
_BIT_OF_PITCH = np.full(128, _NO_CLASS, dtype=np.int64)
for _bit, _pitches in enumerate(DRUM_PITCHES.values()):
    _BIT_OF_PITCH[list(_pitches)] = 1 << _bit


def tokens_from_hits(step: np.ndarray, pitch: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Writes hits as tokens.

    Args:
        step: `(hits,)` inside `[0, steps)`, in any order.
        pitch: `(hits,)` 0 to 127.
        steps: length of the result.

    Returns:
        uint16 `(steps,)`, and the steps of hits that have no class, int64, each once.
    """
    bit = _BIT_OF_PITCH[pitch]
    tokens = np.zeros(steps, dtype=np.uint16)
    np.bitwise_or.at(tokens, step, bit.astype(np.uint16))
    return tokens, np.unique(step[bit == _NO_CLASS])


def hits_from_tokens(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reads tokens as hits.

    Args:
        tokens: `(steps,)`, 0 to 511.

    Returns:
        step and class (0 to 8) of every hit, int64 `(hits,)`, in order of time.
    """
    step, kind = np.nonzero(struck(tokens))
    return step, kind


def struck(tokens: np.ndarray) -> np.ndarray:
    """Which drums are struck: bool `(..., steps, 9)` of tokens `(..., steps)`."""
    bits = np.arange(len(DRUM_PITCHES))
    found: np.ndarray = (np.asarray(tokens)[..., None].astype(np.int64) >> bits) & 1 > 0
    return found


def unmapped_pitches(pitch: np.ndarray) -> dict[int, int]:
    """Pitch → number of notes, of those that no class has."""
    pitches, counts = np.unique(pitch[_BIT_OF_PITCH[pitch] == _NO_CLASS], return_counts=True)
    return dict(zip(pitches.tolist(), counts.tolist(), strict=True))


def choose_drums(summaries: Sequence[TrackSummary], wanted: int | str | None = None) -> TrackChoice:
    """Takes every track of channel 10 together, or the one the user asks for, whatever its channel.

    Raises:
        MusicaeError: the user's choice is not in the file, or has no notes.
    """
    if wanted is not None:
        chosen = [find_wanted(summaries, wanted, drums=True)]
        why = "chosen by the user"
    else:
        chosen = [track for track in summaries if track.is_drum and track.notes]
        why = "channel 10"
    if not chosen:
        missing = (ONLY_MELODY, MELODY_MODEL) if any(track.notes for track in summaries) else ("no notes", "")
        return no_tracks(summaries, *missing)
    indices = tuple(track.index for track in chosen)
    return TrackChoice((indices,), why, Told(lambda: [_explain(track, indices, why) for track in summaries]))


def _explain(track: TrackSummary, indices: tuple[int, ...], why: str) -> str:
    return f"{track}: " + (f"used as drums ({why})" if track.index in indices else f"not used: {_why_not(track)}")


def _why_not(track: TrackSummary) -> str:
    if not track.notes:
        return "no notes"
    return "another track was chosen" if track.is_drum else "not drums"
