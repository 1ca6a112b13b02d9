"""Drums: which pitches are which drum, tokens and hits, and hands that don't play on the grid."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from symusic.core import NoteTickList, ScoreTick, TimeSignatureTick, TrackTick

from musicae.errors import DamagedFileError, MusicaeError
from musicae.music.config import PARTS, TIME_SIGNATURES
from musicae.music.midi import MidiFile, events_in_order, note_messages
from musicae.music.piece import Piece
from musicae.music.quantize import quantize
from musicae.music.starters import read_grooves
from musicae.music.tokens import (
    BIT_OF_PITCH,
    DRUM_PITCHES,
    DRUM_VOCABULARY,
    WRITTEN_PITCH,
    hits_from_tokens,
    tokens_from_hits,
    unmapped_pitches,
)
from musicae.music.tracks import choose_drums, summarise_tracks
from musicae.music.windows import cut_windows
from musicae.starter import starter_file

Q = 480
DRUMS = PARTS["drums"]
CLASS = {name: index for index, name in enumerate(DRUM_PITCHES)}


def kit(hits: list[tuple[int, int]], name: str = "", is_drum: bool = True) -> TrackTick:
    """Hits as (tick, pitch)."""
    track = TrackTick(name, 0, is_drum)
    time, pitch = (np.array(column) for column in zip(*hits, strict=True)) if hits else (np.zeros(0),) * 2
    track.notes = NoteTickList.from_numpy(
        time.astype(np.int32), np.full(len(hits), 30, np.int32), pitch.astype(np.int8), np.full(len(hits), 80, np.int8)
    )
    return track


def score(*tracks: TrackTick, signature: tuple[int, int] = (4, 4)) -> ScoreTick:
    made = ScoreTick(Q)
    made.tracks.extend(tracks)
    made.time_signatures.append(TimeSignatureTick(0, *signature))
    return made


@pytest.mark.parametrize(
    ("pitch", "drum"),
    [
        (35, "kick"), (36, "kick"), (38, "snare"), (40, "snare"), (37, "snare"), (39, "snare"),
        (42, "closed hat"), (44, "closed hat"), (46, "open hat"), (41, "low tom"), (43, "low tom"),
        (45, "mid tom"), (47, "mid tom"), (48, "high tom"), (50, "high tom"), (49, "crash"), (57, "crash"),
        (51, "ride"), (59, "ride"), (53, "ride"),
        (22, "closed hat"), (26, "open hat"), (58, "low tom"), (55, "crash"), (52, "crash"),  # as Roland's TD-11
    ],
)  # fmt: skip
def test_a_pitch_is_the_drum_it_is_called(pitch: int, drum: str) -> None:
    tokens, unknown = tokens_from_hits(np.array([2]), np.array([pitch]), 4)
    assert tokens.tolist() == [0, 0, 1 << CLASS[drum], 0] and tokens.dtype == np.uint16
    assert len(unknown) == 0


def test_every_class_is_written_at_a_pitch_of_its_own() -> None:
    assert len(DRUM_PITCHES) == 9 and DRUM_VOCABULARY == 512
    every = [pitch for pitches in DRUM_PITCHES.values() for pitch in pitches]
    assert len(set(every)) == len(every)
    assert all(35 <= pitch <= 81 for pitch in WRITTEN_PITCH.tolist())  # General MIDI's percussion


@given(st.lists(st.integers(0, 511), min_size=1, max_size=40))
def test_tokens_to_hits_to_tokens_is_the_identity(values: list[int]) -> None:
    tokens = np.array(values, dtype=np.uint16)
    step, drum = hits_from_tokens(tokens)
    assert len(step) == sum(value.bit_count() for value in values)
    np.testing.assert_array_equal(tokens_from_hits(step, WRITTEN_PITCH[drum], len(values))[0], tokens)


def test_what_has_no_class_is_counted() -> None:
    tokens, unknown = tokens_from_hits(np.array([0, 0, 3, 3]), np.array([75, 36, 75, 73]), 4)
    assert tokens.tolist() == [1, 0, 0, 0] and unknown.tolist() == [0, 3]
    assert unmapped_pitches(np.array([75, 36, 75, 73])) == {73: 1, 75: 2}
    piece = quantize(score(kit([(0, 36), (Q, 75), (2 * Q, 75), (3 * Q, 75), (4 * Q, 36)])), DRUMS)
    assert piece.report[-1] == "hits of drums that no class has: 3 × pitch 75"
    assert cut_windows(piece, 1, 2).skipped == {"hits of drums that no class has": 1, "fewer than 2 steps struck": 1}


def test_all_tracks_of_channel_ten_play_together() -> None:
    made = score(kit([(0, 36)], "kick"), kit([(0, 60)], "piano", is_drum=False), kit([(0, 42), (Q, 38)], "rest"))
    piece = quantize(made, DRUMS)
    assert piece.choice.tracks == ((0, 2),)
    assert piece.lines[0].streams[0][[0, 4]].tolist() == [1 + 4, 2]
    assert "used as drums" in piece.report[0] and "not drums" in piece.report[1]


def test_the_users_track_need_not_be_on_channel_ten() -> None:
    tracks = summarise_tracks(score(kit([(0, 36)], "beat", is_drum=False), kit([(0, 38)], "other")))
    assert choose_drums(tracks, "beat").tracks == ((0,),)
    with pytest.raises(MusicaeError, match="no track 'bongo'"):
        choose_drums(tracks, "bongo")


def test_a_file_without_drums_says_which_model_reads_it() -> None:
    choice = choose_drums(summarise_tracks(score(kit([(0, 60)], "piano", is_drum=False))))
    assert not choice.complete and "melody-2bar reads these" in choice.reason
    assert choose_drums(summarise_tracks(score(kit([])))).reason == "no notes"


@pytest.mark.parametrize("latency", [-0.22, -0.15, 0.0, 0.2])
def test_playing_by_hand_is_put_on_the_grid_and_its_lateness_is_said(latency: float) -> None:
    generator = np.random.default_rng(1)
    pattern = np.array([[1, 0, 4, 0, 2, 0, 4, 0, 1, 0, 5, 0, 2, 0, 4, 8]] * 8).reshape(-1)
    step, drum = hits_from_tokens(pattern)
    ticks = np.round((16 + step + latency + generator.normal(0, 0.12, len(step))) * Q / 4).astype(int)
    piece = quantize(score(kit(list(zip(ticks.tolist(), WRITTEN_PITCH[drum].tolist(), strict=True)))), DRUMS)
    np.testing.assert_array_equal(piece.lines[0].streams[0][16 : 16 + len(pattern)], pattern)
    assert abs(piece.phase.steps - latency) < 0.04 and piece.phase.confidence > 0.6
    assert bool(piece.phase.shift) == (latency != 0)
    described = next(line for line in piece.report if line.startswith("grid: "))
    side = "early" if piece.phase.steps < 0 else "late"
    assert f"{abs(piece.phase.steps):.2f} of a 16th {side}, confidence {piece.phase.confidence:.2f}, " in described
    assert described.endswith("moved" if latency else "taken as written")


def test_a_short_fill_far_from_the_grid_is_not_moved_on_a_guess() -> None:
    ticks = np.round((np.arange(20) + 0.45 + np.random.default_rng(0).normal(0, 0.15, 20)) * Q / 4).astype(int)
    phase = quantize(score(kit([(tick, 38) for tick in ticks.tolist()])), DRUMS).phase
    assert 0.5 < phase.confidence < 0.75 and phase.shift == 0


def test_the_starter_grooves_are_many_and_different() -> None:
    grooves = read_grooves(starter_file("grooves.txt"))
    assert len(grooves) == 24 and len({groove.title for groove in grooves}) == 24
    seen = set()
    for groove in grooves:
        signature = groove.score.time_signatures[0]
        bar = Q * 4 * signature.numerator // signature.denominator
        assert groove.score.time_signatures[-1].time >= 16 * bar, groove.title
        assert groove.score.time_signatures[-1].time % bar == 0
        seen.add(f"{signature.numerator}/{signature.denominator}")
    assert seen == {"4/4", "2/4", "3/4", "6/8", "9/8"}


def test_a_groove_is_read_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "g.txt").write_text(
        "title: One\ntime signature: 3/4\ntempo: 90\nbar: A\nkick x... .... ....  # the one\nsnare .... x... x...\n"
        "bar: B\nopen hat x.x. x.x. x.xx\nplay: A B\n"
    )
    (groove,) = read_grooves(tmp_path / "g.txt")
    piece = quantize(groove.score, DRUMS, [TIME_SIGNATURES["3/4"]])
    expected = [1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8, 0, 8, 8]
    np.testing.assert_array_equal(piece.lines[0].streams[0], expected * 8)
    assert round(groove.score.tempos[0].qpm) == 90


@pytest.mark.parametrize(
    "line",
    ["kick x...", "cowbell " + "x..." * 4, "kick " + "y..." * 4, "play: A Z", "time signature: 5/4", "tempo: fast"],
)
def test_a_wrong_line_of_a_groove_is_said_with_its_number(tmp_path: Path, line: str) -> None:
    (tmp_path / "g.txt").write_text(f"title: One\nbar: A\n{line}\n")
    with pytest.raises(DamagedFileError, match=r"g\.txt, line 3: .* is not understood"):
        read_grooves(tmp_path / "g.txt")


@pytest.mark.parametrize(
    ("channel", "bank", "is_drum"), [(10, 120, True), (9, 121, False), (9, None, True), (3, 0, False), (3, 120, True)]
)
def test_a_bank_of_general_midi_2_says_what_a_channel_is(channel: int, bank: int | None, is_drum: bool) -> None:
    events = [] if bank is None else [(0, bytes((0xB0 | channel, 0, bank))), (0, bytes((0xB0 | channel, 32, 0)))]
    events.append((0, bytes((0xC0 | channel, 8))))
    start = np.arange(4) * 240
    pitch = np.array([36, 42, 86, 83])
    events += note_messages(start, start + 60, pitch, np.full(4, 90), channel)
    piece = Piece.open(MidiFile(1, 480, (events_in_order(events),)).to_bytes())
    track = piece.tracks[0]
    assert (track.is_drum, track.channel) == (is_drum, channel)
    if is_drum:
        classes = ["kick", "closed hat", "low tom", "closed hat"]
        assert [int(BIT_OF_PITCH[hit]) for hit in pitch] == [1 << CLASS[name] for name in classes]
        changed = piece.replace({0: piece.notes(0)._replace(pitch=np.array([38, 42, 43, 42]))})
        assert changed.tracks[0].is_drum and changed.notes(0).pitch.tolist() == [38, 42, 43, 42]
        assert changed.controllers == piece.controllers
