"""The notes of all tracks as arrays, against walking through time tick by tick."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from symusic.core import NoteTickList, ScoreTick, TrackTick

from musicae.music.quantize import quantize
from musicae.music.score import note_table
from musicae.music.tracks import LazyLines

Notes = list[tuple[int, int]]

tracks = st.lists(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=12), max_size=4)


def score(*lists: Notes, name: str = "") -> ScoreTick:
    """One track for each list of (start, duration), pitches from C4 upward."""
    made = ScoreTick(480)
    for notes in lists:
        start, duration = (np.array(column, np.int32) for column in (zip(*notes, strict=True) if notes else ((), ())))
        track = TrackTick(name, 0, False)
        pitch = np.arange(60, 60 + len(notes), dtype=np.int8)
        track.notes = NoteTickList.from_numpy(start, duration, pitch, np.full(len(notes), 80, np.int8))
        made.tracks.append(track)
    return made


def polyphony_by_ticks(notes: Notes) -> float:
    """Notes sounding in each tick where any sounds, on average."""
    sounding = [sum(start <= tick < start + duration for start, duration in notes) for tick in range(60)]
    heard = [count for count in sounding if count]
    return sum(heard) / len(heard) if heard else float(bool(notes))


@given(tracks)
def test_polyphony_is_what_a_listener_counts(lists: list[Notes]) -> None:
    table = note_table(score(*lists))
    assert table.polyphony == pytest.approx([polyphony_by_ticks(notes) for notes in lists])


@given(tracks)
def test_every_track_keeps_its_own_notes(lists: list[Notes]) -> None:
    table = note_table(score(*lists))
    assert [table.count(track) for track in range(len(lists))] == [len(notes) for notes in lists]
    for track, notes in enumerate(lists):
        start, end, pitch = table.of_track(track)
        assert list(zip(start.tolist(), (end - start).tolist(), strict=True)) == notes
        assert pitch.tolist() == list(range(60, 60 + len(notes)))


def test_what_a_file_is_told_of_costs_nothing_until_somebody_looks() -> None:
    piece = quantize(score([(0, 480)] * 8, [(0, 480)] * 8, name="melody"))
    assert "polyphony" not in vars(piece.notes)
    assert "polyphony 8.0" in piece.report[0]
    assert "polyphony" in vars(piece.notes)


def test_lines_are_made_once() -> None:
    lines = iter(["one", "two"])
    lazy = LazyLines(lambda: lines)
    assert (list(lazy), lazy[-1], lazy[:1], len(lazy)) == (["one", "two"], "two", ("one",), 2)
