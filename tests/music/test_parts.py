"""Parts and time signatures: the closed codec of every part, the trio's three tracks, and which bars a model reads."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from music_pieces import common
from symusic.core import NoteTickList, ScoreTick, TimeSignatureTick, TrackTick

from musicae.music.config import PARTS, TIME_SIGNATURES, Part, TimeSignature, another_time_signature
from musicae.music.domain import MusicConfig, MusicDomain
from musicae.music.piece import Piece
from musicae.music.quantize import quantize
from musicae.music.rolls import part_rolls
from musicae.music.tracks import choose_trio, summarise_tracks
from musicae.music.windows import cut_windows, window_at

Q = 480


def track(notes: list[tuple[int, int, int]], name: str = "", program: int = 0, is_drum: bool = False) -> TrackTick:
    """Notes as (onset step, steps, pitch)."""
    made = TrackTick(name, program, is_drum)
    time, duration, pitch = (np.array(column) for column in zip(*notes, strict=True)) if notes else (np.zeros(0),) * 3
    made.notes = NoteTickList.from_numpy(
        (time * Q // 4).astype(np.int32), (duration * Q // 4).astype(np.int32), pitch.astype(np.int8),
        np.full(len(notes), 80, np.int8),
    )  # fmt: skip
    return made


def score(*tracks: TrackTick, time_signatures: tuple[tuple[int, int, int], ...] = ()) -> ScoreTick:
    """Time signatures as (step, numerator, denominator)."""
    made = ScoreTick(Q)
    made.tracks.extend(tracks)
    for step, numerator, denominator in time_signatures:
        made.time_signatures.append(TimeSignatureTick(step * Q // 4, numerator, denominator))
    return made


def beats(count: int, pitch: int = 60, every: int = 4) -> list[tuple[int, int, int]]:
    return [(index * every, every, pitch + index % 5) for index in range(count)]


def token_windows(part: Part, steps: int) -> st.SearchStrategy[np.ndarray]:
    """One to three windows; holds, rests and note-offs are common, and whole streams may be silent."""

    def column(size: int) -> st.SearchStrategy[list[int]]:
        token = st.one_of(st.just(0), st.just(0), st.sampled_from([0, 1]), st.integers(0, size - 1))
        return st.one_of(st.lists(token, min_size=steps, max_size=steps), st.just([0] * steps))

    window = st.tuples(*(column(size) for size in part.vocabulary)).map(lambda columns: np.array(columns).T)
    return st.lists(window, min_size=1, max_size=3).map(np.stack)


# A keyboard has too many columns to draw one by one; see test_keyboard.py.
SMALL_PARTS = [part for part in PARTS.values() if not part.instruments[0].is_keys]


@pytest.mark.parametrize("signature", TIME_SIGNATURES.values(), ids=lambda signature: signature.name)
@pytest.mark.parametrize("part", SMALL_PARTS, ids=lambda part: part.name)
def test_what_is_composed_is_read_back_in_every_part_and_time_signature(part: Part, signature: TimeSignature) -> None:
    steps = 2 * signature.steps_per_bar
    domain = MusicDomain(MusicConfig(part=part.name, time_signature=signature.name))

    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(token_windows(part, steps))
    def check(windows: np.ndarray) -> None:
        piece = Piece.open(domain.compose(torch.from_numpy(windows)).to_bytes())
        read = quantize(piece.score, part, (signature,))
        (line,) = read.lines
        assert read.bars == piece.bars == 2 * len(windows)
        for index, stream in enumerate(part.streams):
            expected = stream.canonical(windows[..., index])
            np.testing.assert_array_equal(stream.windows(line.streams[index], steps, steps), expected)
        for number in range(len(windows)):
            window = window_at(read, 1 + 2 * number, 2)
            assert window.dtype == part.dtype and window.shape == windows.shape[1:]

    check()


def test_drums_are_written_on_channel_ten_as_short_notes() -> None:
    piece = common(part="drums").compose(torch.full((1, 32, 1), 511))
    (track,) = piece.tracks
    notes = piece.notes(0)
    assert track.is_drum and track.channel == 9 and track.notes == 32 * 9
    assert (notes.end - notes.start).max() <= piece.ticks_per_quarter // 4


@pytest.mark.parametrize(("part", "token"), [("melody", 90), ("drums", 512), ("drums", -1), ("trio", 90)])
def test_a_token_that_does_not_exist_is_refused(part: str, token: int) -> None:
    domain = common(part=part)
    windows = torch.zeros(1, *domain.spec.shape, dtype=torch.int64)
    windows[0, 3, 0] = token
    with pytest.raises(ValueError, match="tokens 0 to"):
        domain.compose(windows)
    with pytest.raises(ValueError, match="tokens 0 to"):
        domain.array_examples(windows.numpy())


TUNE = track(beats(16, 72), "Flute", 73)
BASS = track(beats(16, 36, every=4), "Low", 33)
DRUM_TRACK = track(beats(16, 36), is_drum=True)
CHORDS = track([(index * 16, 16, pitch) for index in range(4) for pitch in (60, 64, 67)])


@pytest.mark.parametrize(
    ("tracks", "chosen"),
    [
        ((TUNE, BASS, DRUM_TRACK), (0, 1, 2)),
        ((DRUM_TRACK, CHORDS, BASS, TUNE), (3, 2, 0)),
        ((track(beats(64, 36, every=1), "slap bass"), track(beats(4, 72)), DRUM_TRACK), (1, 0, 2)),
        ((track(beats(16, 72), "Bass voice melody", 33), BASS, DRUM_TRACK), (0, 1, 2)),
    ],
)
def test_the_trio_is_found(tracks: tuple[TrackTick, ...], chosen: tuple[int, int, int]) -> None:
    choice = choose_trio(summarise_tracks(score(*tracks)))
    assert choice.tracks == tuple((index,) for index in chosen) and choice.complete
    assert len(choice.parts) == len(tracks)
    for role, index in zip(("melody", "bass", "drums"), chosen, strict=True):
        assert f"used as {role}" in choice.parts[index]


@pytest.mark.parametrize(
    ("tracks", "missing"),
    [
        ((TUNE, DRUM_TRACK), "no bass"),
        ((TUNE,), "no bass and no drums"),
        ((BASS, DRUM_TRACK), "no melody"),
        ((track([]),), "no notes"),
    ],
)
def test_an_incomplete_trio_says_what_is_missing(tracks: tuple[TrackTick, ...], missing: str) -> None:
    piece = quantize(score(*tracks), PARTS["trio"])
    assert not piece.choice.complete
    ((reason, count),) = cut_windows(piece, 1, 1).skipped.items()
    assert reason.startswith(missing) and count == 1


def test_the_users_track_is_the_trios_melody() -> None:
    choice = choose_trio(summarise_tracks(score(TUNE, BASS, DRUM_TRACK, CHORDS)), 3)
    assert choice.tracks == ((3,), (1,), (2,))


def test_the_bass_takes_the_lowest_note_of_a_chord_and_the_melody_the_highest() -> None:
    chord = [(0, 4, pitch) for pitch in (40, 47, 52)]
    piece = quantize(score(track(chord, "lead"), track(chord, "bass"), DRUM_TRACK), PARTS["trio"])
    assert [stream[0] for stream in piece.lines[0].streams] == [52 - 19, 40 - 19, 1]


def test_all_three_must_sound_in_a_window() -> None:
    made = score(
        track([*beats(4, 72), (16, 4, 70), *[(at, 4, 72) for at in range(32, 64, 4)]], "lead"),
        track([(0, 34, 40), (48, 4, 43)], "bass", 33),  # the first note is held into the third bar
        track([(0, 1, 36), (33, 1, 38), (16, 1, 42)], is_drum=True),
    )
    found = cut_windows(quantize(made, PARTS["trio"]), 1, 2)
    assert found.windows.shape == (2, 16, 3) and found.windows.dtype == np.uint16
    assert found.first_bar.tolist() == [1, 3]
    assert found.windows[1, 0].tolist() == [72 - 19, 40 - 19, 0]
    assert found.skipped == {"fewer than 2 notes in the melody": 1, "the drums are silent": 1}


@pytest.mark.parametrize(
    ("model", "signature", "bars_each"),
    [
        ("4/4", (2, 2), 1), ("4/4", (2, 4), 2), ("2/4", (2, 4), 1), ("3/4", (3, 4), 1), ("6/8", (6, 8), 1),
        ("6/8", (3, 8), 2), ("9/8", (9, 8), 1),
    ],
)  # fmt: skip
def test_a_model_reads_its_time_signature_and_those_written_alike(
    model: str, signature: tuple[int, int], bars_each: int
) -> None:
    read = TIME_SIGNATURES[model]
    piece = quantize(score(track(beats(48, every=2)), time_signatures=((0, *signature),)), signatures=(read,))
    found = cut_windows(piece, 2, 4)
    assert found.windows.shape == (-(-96 // read.steps_per_bar) - 1, 2 * read.steps_per_bar, 1)
    assert found.first_bar.tolist() == [1 + bars_each * index for index in range(len(found.windows))]
    assert found.skipped == {} and (found.windows[: 96 // read.steps_per_bar - 1, ::2] >= 2).all()


def test_a_song_that_changes_its_time_signature_gives_each_model_its_sections() -> None:
    time_signatures = ((0, 4, 4), (64, 3, 4), (64 + 48, 6, 8), (64 + 96, 5, 4))
    made = score(track(beats(60)), time_signatures=time_signatures)
    windows = {
        name: cut_windows(quantize(made, signatures=(signature,)), 2, 2) for name, signature in TIME_SIGNATURES.items()
    }
    assert {name: found.first_bar.tolist() for name, found in windows.items()} == {
        "4/4": [1, 2, 3], "2/4": [], "3/4": [5, 6, 7], "6/8": [9, 10, 11], "9/8": []
    }  # fmt: skip
    assert windows["3/4"].skipped == {
        "time signature 4/4 (this model reads 3/4)": 3,
        "time signature 6/8 (this model reads 3/4)": 3,
        "time signature 5/4 (this model reads 3/4; there are 4/4, 2/4, 3/4, 6/8, 9/8)": 3,
    }


def test_a_time_signature_that_no_model_has_is_answered_with_those_there_are() -> None:
    assert another_time_signature("3/4", [TIME_SIGNATURES["4/4"]]) == "3/4 (this model reads 4/4)"
    assert (
        another_time_signature("5/4", [TIME_SIGNATURES["6/8"]])
        == "5/4 (this model reads 6/8; there are 4/4, 2/4, 3/4, 6/8, 9/8)"
    )
    for signature in TIME_SIGNATURES.values():
        assert signature.steps_per_bar * signature.denominator == 16 * signature.numerator
        assert signature.reads[signature.numerator, signature.denominator] == (1, 1)
        assert signature.steps_per_bar % signature.steps_per_beat == 0


def rolls(part: str, window: torch.Tensor) -> tuple[np.ndarray, tuple[str, ...]]:
    drawn = part_rolls(MusicConfig(part=part, time_signature="4/4", bars=1), {"x": window})
    return drawn.rows["x"][0], drawn.names


def test_a_trios_picture_has_a_named_row_for_each_drum() -> None:
    window = torch.zeros((1, 16, 3), dtype=torch.int64)
    window[0, 0] = torch.tensor([72 - 19, 40 - 19, 1 + 128])  # kick and crash
    window[0, 8] = torch.tensor([1, 1, 2])
    roll, names = rolls("trio", window)
    assert roll.shape == (128 + 9, 16) and names[:3] == ("kick", "snare", "closed hat")
    assert np.flatnonzero(roll[:, 0]).tolist() == [40, 72, 128 + names.index("kick"), 128 + names.index("crash")]
    assert np.flatnonzero(roll[:, 8]).tolist() == [128 + names.index("snare")] and (roll[[40, 72], 1:8] == 1).all()
    alone, names = rolls("drums", window[..., 2:])
    assert np.flatnonzero(alone[:, 0]).tolist() == [names.index("kick"), names.index("crash")]


@pytest.mark.parametrize(("part", "rows"), [("melody", 128), ("drums", 9), ("trio", 137)])
def test_the_pictures_of_silence_are_empty(part: str, rows: int) -> None:
    roll, _ = rolls(part, torch.zeros((1, 16, len(PARTS[part].streams)), dtype=torch.int64))
    assert roll.shape == (rows, 16) and not roll.any()
