"""The grid, the time signature, the choice of a track and the skyline, against grids made by hand."""

import cmath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from symusic.core import (
    NoteTickList,
    ScoreTick,
    TempoTick,
    TextMetaTick,
    TextMetaTickList,
    TimeSignatureTick,
    TrackTick,
)

from musicae.errors import MusicaeError
from musicae.music.config import MusicConfig
from musicae.music.piece import Piece
from musicae.music.quantize import QuantizedPart, estimate_phase, find_phase, find_sections, quantize, to_steps
from musicae.music.streams import PitchedStream
from musicae.music.tokens import skyline
from musicae.music.tracks import choose_melody, summarise_tracks
from musicae.music.windows import cut_windows, read_part, window_at

Q = 480


def track(notes: list[tuple[int, int, int]], name: str = "", program: int = 0, is_drum: bool = False) -> TrackTick:
    """Notes as (onset tick, duration, pitch)."""
    made = TrackTick(name, program, is_drum)
    time, duration, pitch = (np.array(column) for column in zip(*notes, strict=True)) if notes else (np.zeros(0),) * 3
    made.notes = NoteTickList.from_numpy(
        time.astype(np.int32), duration.astype(np.int32), pitch.astype(np.int8), np.full(len(notes), 80, np.int8)
    )
    return made


def score(*tracks: TrackTick, time_signatures: tuple[tuple[int, int, int], ...] = ()) -> ScoreTick:
    made = ScoreTick(Q)
    made.tracks.extend(tracks)
    for signature in time_signatures:
        made.time_signatures.append(TimeSignatureTick(*signature))
    return made


def quarters(count: int, start: int = 0, pitch: int = 60) -> list[tuple[int, int, int]]:
    return [(start + index * Q, Q, pitch + index % 5) for index in range(count)]


def sections_of(melody: QuantizedPart) -> list[tuple[str, int, int]]:
    return [(line.section.time_signature, line.section.first_bar, line.section.bars) for line in melody.lines]


def test_a_melody_lies_on_the_grid_as_written_by_hand() -> None:
    # C4 quarter, E4 eighth, rest of an eighth, G4 dotted quarter, A4 eighth that starts 10 ticks late,
    # then a C5 held over the bar line for six quarters, one 32nd C5 and a rest.
    notes = [(0, 480, 60), (480, 240, 64), (960, 720, 67), (1690, 230, 69), (1920, 2880, 72), (4800, 30, 72)]
    (line,) = quantize(score(track(notes))).lines
    expected = [41, 0, 0, 0, 45, 0, 1, 0, 48, 0, 0, 0, 0, 0, 50, 0, 53, *[0] * 23, 53, 1, *[0] * 6]
    np.testing.assert_array_equal(line.streams[0], expected)


@pytest.mark.parametrize(("tick", "step"), [(0, 0), (59, 0), (60, 1), (61, 1), (179, 1), (180, 2), (-60, 0), (-61, -1)])
def test_half_a_step_rounds_up(tick: int, step: int) -> None:
    assert to_steps(np.array([tick]), Q).tolist() == [step]


@given(st.integers(1, 32767), st.integers(0, 2**31 - 1))
def test_rounding_agrees_with_exact_fractions(quarter: int, tick: int) -> None:
    from fractions import Fraction
    from math import floor

    assert to_steps(np.array([tick], dtype=np.int64), quarter).item() == floor(
        Fraction(4 * tick, quarter) + Fraction(1, 2)
    )


def test_a_note_shorter_than_a_step_lasts_one() -> None:
    (line,) = quantize(score(track([(0, 1, 60), (960, 0, 62)]))).lines
    assert line.streams[0][:2].tolist() == [41, 1] and line.streams[0][8:10].tolist() == [43, 1]


def test_changes_of_time_signature_split_a_song_and_bars_count_on() -> None:
    time_signatures = ((0, 4, 4), (3840, 3, 4), (3840 + 1440 * 3, 4, 4))
    melody = quantize(score(track(quarters(8 + 9 + 12)), time_signatures=time_signatures))
    assert sections_of(melody) == [("4/4", 1, 2), ("3/4", 3, 3), ("4/4", 6, 3)]
    found = cut_windows(melody, 2, 4)
    assert found.first_bar.tolist() == [1, 6, 7]
    assert found.skipped == {"time signature 3/4 (this model reads 4/4)": 2}
    assert (found.windows[:, ::4] >= 2).all()


def test_tempo_changes_do_not_split_a_song() -> None:
    made = score(track(quarters(16)))
    made.tempos.extend([TempoTick(0, mspq=500_000), TempoTick(1000, mspq=300_000)])
    assert sections_of(quantize(made)) == [("4/4", 1, 4)]


def test_a_signature_repeated_on_a_bar_line_changes_nothing_and_elsewhere_starts_a_bar() -> None:
    notes = track(quarters(16))
    assert sections_of(quantize(score(notes, time_signatures=((0, 4, 4), (1920, 4, 4))))) == [("4/4", 1, 4)]
    melody = quantize(score(notes, time_signatures=((0, 4, 4), (480, 4, 4))))  # a pickup of one quarter
    assert sections_of(melody) == [("4/4", 1, 1), ("4/4", 2, 4)]
    assert melody.lines[0].streams[0].tolist() == [41, 0, 0, 0, 1] + [0] * 11
    assert melody.lines[1].streams[0][0] == 42


def test_of_two_signatures_at_one_place_the_later_counts() -> None:
    made = score(time_signatures=((0, 3, 4), (0, 4, 4), (1920, 3, 4), (1920, 4, 4)))
    assert [(part.time_signature, part.bars) for part in find_sections(made, 3840)] == [("4/4", 2)]


def test_cut_time_and_two_four_are_read_in_bars_of_four_beats() -> None:
    melody = quantize(score(track(quarters(16)), time_signatures=((0, 2, 2),)))
    assert cut_windows(melody, 2, 4).first_bar.tolist() == [1, 2, 3]
    melody = quantize(score(track(quarters(16)), time_signatures=((0, 2, 4),)))
    assert sections_of(melody) == [("2/4", 1, 8)]
    found = cut_windows(melody, 2, 4)
    assert found.first_bar.tolist() == [1, 3, 5]
    for bar, window in zip(found.first_bar, found.windows, strict=True):
        np.testing.assert_array_equal(window_at(melody, int(bar), 2), window)
    # A window may also start on a file's bar in the middle of a pair, and is filled up at the end.
    last = window_at(melody, 8, 2)[:, 0]
    assert np.flatnonzero(last).tolist() == [0, 4, 8] and last[8] == 1


def test_reasons_are_counted_for_every_window() -> None:
    high = [(index * Q, Q, 115) for index in range(8)]
    notes = high + [(3840 + 1920 * 4 + tick, long, pitch) for tick, long, pitch in quarters(8)]
    found = cut_windows(quantize(score(track(notes))), 2, 4)
    assert len(found.windows) + sum(found.skipped.values()) == 7
    assert found.skipped == {PitchedStream.without_token: 2, "fewer than 4 notes": 3}
    assert found.first_bar.tolist() == [6, 7]


def test_leading_rests_are_kept() -> None:
    (line,) = quantize(score(track(quarters(4, start=1920 * 2)))).lines
    assert np.flatnonzero(line.streams[0]).tolist() == [32, 36, 40, 44]


@given(st.lists(st.integers(-10_000, 10_000_000), min_size=1, max_size=30), st.integers(1, 32767))
def test_the_phase_is_the_mean_direction_of_all_onsets(ticks: list[int], quarter: int) -> None:
    mean = sum(cmath.exp(8j * cmath.pi * (tick % quarter) / quarter) for tick in ticks) / len(ticks)
    phase, confidence = estimate_phase(np.array(ticks), quarter)
    assert abs(confidence - abs(mean)) < 1e-9
    # The direction of nearly nothing is nothing to compare.
    assert abs(mean) < 1e-6 or abs(cmath.exp(2j * cmath.pi * phase) - mean / abs(mean)) < 1e-6


@pytest.mark.parametrize("phase", [-0.4, -0.25, 0.2, 0.3, 0.45])
def test_a_constant_delay_is_found_and_taken_away(phase: float) -> None:
    generator = np.random.default_rng(3)
    steps = np.sort(generator.choice(400, 150, replace=False)) + 2
    ticks = np.round((steps + phase + generator.normal(0, 0.06, 150)) * Q / 4).astype(int)
    found, confidence = estimate_phase(ticks, Q)
    assert abs(found - phase) < 0.02 and confidence > 0.9
    (line,) = quantize(score(track([(int(tick), 60, 60) for tick in ticks]))).lines
    wrong = len(set(np.flatnonzero(line.streams[0] >= 2)) ^ set(steps.tolist()))
    assert wrong <= 2


def test_the_grid_begins_where_the_time_signature_does() -> None:
    melody = quantize(score(track(quarters(24, start=37)), time_signatures=((0, 1, 64), (37, 4, 4))))
    assert melody.phase.shift == 0
    assert (melody.lines[1].streams[0][::4] >= 2).all()


@pytest.mark.parametrize(("tick", "bars"), [(1859, 1), (1860, 2), (1919, 2), (1920, 2)])
def test_a_note_just_before_a_bar_line_is_not_lost(tick: int, bars: int) -> None:
    (line,) = quantize(score(track([(0, Q, 60), (tick, 30, 62)]))).lines
    assert (line.streams[0] >= 2).sum() == 2 and len(line.streams[0]) == bars * 16


@pytest.mark.parametrize("offsets", [(0.0,), (0.0, 4 / 3, 8 / 3), (0.0, 8 / 3), (0.0, 2.0)], ids=str)
def test_the_grid_stays_for_straight_triplet_and_swung_rhythm(offsets: tuple[float, ...]) -> None:
    ticks = np.array([round((beat * 4 + offset) * Q / 4) for beat in range(40) for offset in offsets])
    assert find_phase(ticks, Q).shift == 0


def test_the_grid_stays_where_onsets_agree_on_nothing() -> None:
    ticks = np.random.default_rng(0).integers(0, 100_000, 300)
    assert estimate_phase(ticks, Q)[1] < 0.2
    assert find_phase(ticks, Q).shift == 0


LINE = quarters(32, pitch=72)
CHORDS = [(index * 1920, 1920, pitch) for index in range(8) for pitch in (60, 64, 67)]
DRUMS = track(quarters(64, pitch=36), is_drum=True)


@pytest.mark.parametrize(
    ("tracks", "chosen", "reason"),
    [
        ([track(CHORDS), track(LINE)], 1, "sounds most like one"),
        ([track(CHORDS), track(LINE), track(CHORDS, name="Lead VOCALS")], 2, "name"),
        ([track(LINE), track([], name="Melody"), track(CHORDS)], 0, "next is track 2"),
        ([track(LINE), track(quarters(3), name="solo")], 0, "enough notes"),
        ([track(quarters(32, pitch=36), program=33), track(LINE), DRUMS], 1, "no bass"),
        ([track(quarters(32, pitch=40)), track(LINE)], 1, "next is track 0"),
        ([DRUMS, track(CHORDS)], 1, "only track"),
    ],
)
def test_the_melody_track_is_found(tracks: list[TrackTick], chosen: int, reason: str) -> None:
    choice = choose_melody(summarise_tracks(score(*tracks)))
    assert choice.track == chosen and reason in choice.reason
    assert len(choice.parts) == len(tracks)
    assert sum("used as melody" in part for part in choice.parts) == 1


@pytest.mark.parametrize("wanted", [1, "1", "Flute", "flu"])
def test_the_users_track_comes_first(wanted: int | str) -> None:
    choice = choose_melody(summarise_tracks(score(track(LINE, "melody"), track(CHORDS, "Flute"))), wanted)
    assert choice.track == 1


@pytest.mark.parametrize(
    ("wanted", "reason"), [(7, "no track 7"), ("oboe", "'Flute'"), (1, "drums"), ("empty", "no notes")]
)
def test_a_wrong_choice_is_told(wanted: int | str, reason: str) -> None:
    tracks = score(track(LINE, "Flute"), track(LINE, "kit", is_drum=True), track([], "empty"))
    with pytest.raises(MusicaeError, match=reason):
        choose_melody(summarise_tracks(tracks), wanted)


@pytest.mark.parametrize(("tracks", "reason"), [([DRUMS], "only drums"), ([], "no notes"), ([track([])], "no notes")])
def test_a_file_without_melody_says_why(tracks: list[TrackTick], reason: str) -> None:
    found = cut_windows(quantize(score(*tracks)), 2, 4)
    assert len(found.windows) == 0
    assert [reason in key for key in found.skipped] == [True]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20), st.integers(30, 90)), min_size=1, max_size=40))
def test_the_skyline_is_what_a_slow_reader_finds(notes: list[tuple[int, int, int]]) -> None:
    onset, end, pitch = (np.array(column) for column in zip(*[(a, a + b, c) for a, b, c in notes], strict=True))
    starts = sorted(set(onset.tolist()))
    expected = []
    for index, start in enumerate(starts):
        highest = max(c for a, _, c in notes if a == start)
        stop = max(a + b for a, b, c in notes if a == start and c == highest)
        following = starts[index + 1] if index + 1 < len(starts) else stop
        expected.append((start, min(stop, following), highest))
    line = skyline(onset, end, pitch)
    assert list(zip(*(column.tolist() for column in line), strict=True)) == expected


def test_two_hands_at_a_piano_and_a_busy_accompaniment_leave_the_melody_where_it_is() -> None:
    generator = np.random.default_rng(0)
    broken = [(480 * beat + 240 * half, 240, 48 + (beat + half) % 3 * 4) for beat in range(64) for half in range(2)]
    chords = [(960 * bar, 900, pitch) for bar in range(32) for pitch in (72, 76, 79)]
    tune = [
        (480 * beat, 480, int(pitch)) for beat, pitch in enumerate(64 + generator.integers(-2, 3, 64).cumsum() % 12)
    ]
    for tracks, melody in (([broken, tune], 1), ([tune, broken], 0), ([chords, tune, broken], 1)):
        choice = choose_melody(summarise_tracks(score(*map(track, tracks))))
        assert choice.track == melody
        assert choice.confidence > 0.5
        assert choice.runner_up in set(range(len(tracks))) - {melody}
        assert f"next is track {choice.runner_up}" in choice.reason


def test_the_track_that_the_words_are_sung_to_is_the_melody() -> None:
    higher = track([(480 * beat + 240, 240, 67 + beat % 3) for beat in range(64)])
    lower = track([(480 * beat, 480, 62 + beat % 3) for beat in range(64)])
    assert choose_melody(summarise_tracks(score(higher, lower))).track == 0
    made = score(higher, lower)
    words = track([], "Words")
    words.lyrics = TextMetaTickList([TextMetaTick(480 * beat + 3, "la") for beat in range(64)])
    made.tracks.append(words)
    assert choose_melody(summarise_tracks(ScoreTick.from_midi(made.dumps_midi()))).track == 1  # as from a file


def test_a_recording_without_beats_is_refused_and_triplets_are_not() -> None:
    generator = np.random.default_rng(0)
    anywhere = np.sort(generator.integers(0, 200 * Q, 600))
    assert not find_phase(anywhere, Q).has_beats
    triplets = np.arange(600) * (Q // 3)
    assert estimate_phase(triplets, Q)[1] < 0.01 and find_phase(triplets, Q).has_beats
    by_hand = (np.arange(600) * (Q // 4) + generator.normal(0, 0.21 * Q / 4, 600)).round().astype(int)
    assert find_phase(by_hand, Q).has_beats
    assert find_phase(anywhere[:50], Q).has_beats  # too few to tell
    made = score(track([(int(tick), 100, 60 + int(tick) % 12) for tick in anywhere]))
    assert list(cut_windows(quantize(made), 2, 4).skipped) == ["played without beats: the notes agree with no grid"]
    with pytest.raises(MusicaeError, match=r"played without beats.*sequencer"):
        read_part(Piece.open(made.dumps_midi()), MusicConfig())
