"""The starter data of each part, as scores: the tunes and grooves of `data/`, and trios put together from both.

The trios are no one's arrangements: a tune, under it a bass that plays the root of the chord of the
scale that fits the bar's notes best, and a groove of the tune's metre. They let everything be tried, and
say little about bands.
"""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from symusic.core import NoteTickList, ScoreTick, TrackTick

from musicae.music.checking import NamedScore
from musicae.music.grid import STEPS_PER_QUARTER, bar_ticks
from musicae.music.grooves import read_grooves
from musicae.music.parts import Part
from musicae.music.reading import read_scores
from musicae.music.writing import TICKS_PER_QUARTER, VELOCITY
from musicae.starter import starter_file

_BASS_PROGRAM = 33
_LOWEST_BASS = 33  # A1
_TRIADS = ((0, 4, 7), (0, 3, 7))


def starter_scores(part: Part) -> Iterator[NamedScore]:
    """Scores that hold a part's instruments."""
    with_drums = {stream.is_drums for stream in part.streams}
    if with_drums == {True}:
        yield from read_grooves(starter_file("grooves.txt"))
    elif True in with_drums:
        yield from _trios()
    else:
        yield from read_scores(starter_file("tunes.abc"))


def _trios() -> Iterator[NamedScore]:
    """Every tune over the next groove of its metre."""
    grooves: dict[tuple[int, int], list[ScoreTick]] = defaultdict(list)
    for named in read_grooves(starter_file("grooves.txt")):
        grooves[_metre(named.score)].append(named.score)
    used: dict[tuple[int, int], int] = defaultdict(int)
    for tune in read_scores(starter_file("tunes.abc")):
        metre = _metre(tune.score)
        groove = grooves[metre][used[metre] % len(grooves[metre])]
        used[metre] += 1
        yield NamedScore(tune.title, _accompanied(tune.score.resample(TICKS_PER_QUARTER), groove))


def _metre(score: ScoreTick) -> tuple[int, int]:
    first = score.time_signatures[0]
    return first.numerator, first.denominator


def _accompanied(tune: ScoreTick, groove: ScoreTick) -> ScoreTick:
    """A copy of a tune with a bass and drums as long as itself."""
    bar = bar_ticks(TICKS_PER_QUARTER, *_metre(tune))
    bars = -(-tune.end() // bar)
    score = tune.copy()
    score.tracks[0].name = "Melody"
    notes = tune.tracks[0].notes.numpy()
    score.tracks.append(_bass(notes["time"], notes["duration"], notes["pitch"], bar, bars))
    score.tracks.append(_drums(groove, bar * bars))
    return score


def _bass(start: np.ndarray, duration: np.ndarray, pitch: np.ndarray, bar: int, bars: int) -> TrackTick:
    """Roots on the first beat and halfway, fifths in between in every other bar."""
    weight = np.zeros((bars, 12))
    np.add.at(weight, (np.minimum(start // bar, bars - 1), pitch % 12), duration)
    whole = weight.sum(axis=0)
    # A root must be in the tune, or chords of other keys win where a bar has one note.
    templates = np.zeros((24, 12))
    for index in range(24):
        templates[index, (np.array(_TRIADS[index // 12]) + index) % 12] = (1.2, 0.9, 1.0)
    fit = weight @ templates.T + 0.05 * (templates @ whole)
    roots = fit.argmax(axis=1) % 12
    low = _LOWEST_BASS + (roots - _LOWEST_BASS) % 12
    onset = (np.arange(bars)[:, None] * bar + np.array([0, bar // 2])).reshape(-1)
    notes = np.stack([low, low + np.where(np.arange(bars) % 2, 7, 0)], axis=1).reshape(-1)
    return _track("Bass", _BASS_PROGRAM, False, onset, np.full(len(onset), bar // 2), notes)


def _drums(groove: ScoreTick, end: int) -> TrackTick:
    """A groove as often as it takes."""
    hits = groove.tracks[0].notes.numpy()
    length = groove.time_signatures[-1].time
    times = -(-end // length)
    onset = (np.arange(times)[:, None] * length + hits["time"]).reshape(-1)
    kept = onset < end
    pitch = np.tile(hits["pitch"], times)
    half_step = TICKS_PER_QUARTER // STEPS_PER_QUARTER // 2
    return _track("Drums", 0, True, onset[kept], np.full(int(kept.sum()), half_step), pitch[kept])


def _track(
    name: str, program: int, is_drum: bool, onset: np.ndarray, duration: np.ndarray, pitch: np.ndarray
) -> TrackTick:
    track = TrackTick(name, program, is_drum)
    track.notes = NoteTickList.from_numpy(
        onset.astype(np.int32),
        duration.astype(np.int32),
        pitch.astype(np.int8),
        np.full(len(onset), VELOCITY, np.int8),
    )
    return track
