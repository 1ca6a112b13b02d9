"""The melody codec: every sequence of tokens has one canonical spelling, and files keep it exactly."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from music_pieces import common

from musicae.music.domain import MusicFrame
from musicae.music.piece import Piece
from musicae.music.quantize import quantize
from musicae.music.tokens import (
    HOLD,
    LINE_VOCABULARY,
    NOTE_OFF,
    canonical,
    join_windows,
    notes_from_tokens,
    piano_roll,
    sounding,
    tokens_from_notes,
    windows_of,
    with_silence,
)


def _token(byte: int) -> int:
    """Holds and note-offs must be common, or notes never last and never end."""
    return HOLD if byte < 90 else NOTE_OFF if byte < 140 else byte % LINE_VOCABULARY


def sequences(steps: int) -> st.SearchStrategy[np.ndarray]:
    return st.binary(min_size=steps, max_size=steps).map(
        lambda values: np.array([_token(value) for value in values], dtype=np.uint8)
    )


windows = st.lists(sequences(32), min_size=1, max_size=5).map(np.stack)


def played(tokens: np.ndarray) -> list[tuple[int, int, int]]:
    """An oracle that walks step by step: (onset, end, pitch)."""
    notes: list[tuple[int, int, int]] = []
    current: tuple[int, int] | None = None
    for step, value in enumerate(tokens.tolist()):
        if value == HOLD:
            continue
        if current is not None:
            notes.append((current[0], step, current[1]))
            current = None
        if value >= 2:
            current = (step, value + 19)
    if current is not None:
        notes.append((current[0], len(tokens), current[1]))
    return notes


@given(sequences(32))
def test_notes_are_what_a_step_by_step_reader_finds(tokens: np.ndarray) -> None:
    onset, end, pitch = notes_from_tokens(tokens)
    assert list(zip(onset.tolist(), end.tolist(), pitch.tolist(), strict=True)) == played(tokens)


@given(sequences(32))
def test_canonical_sounds_the_same_and_is_idempotent(tokens: np.ndarray) -> None:
    clean = canonical(tokens)
    assert played(clean) == played(tokens)
    np.testing.assert_array_equal(canonical(clean), clean)


@given(windows)
def test_nothing_is_held_over_from_one_window_to_the_next(tokens: np.ndarray) -> None:
    for whole in (canonical, sounding):
        np.testing.assert_array_equal(whole(tokens), np.stack([whole(window) for window in tokens]))


@given(sequences(32))
def test_tokens_to_notes_to_tokens_is_the_canonical_spelling(tokens: np.ndarray) -> None:
    np.testing.assert_array_equal(tokens_from_notes(*notes_from_tokens(tokens), 32), canonical(tokens))


@given(sequences(32))
def test_sounding_and_the_piano_roll_agree_with_the_notes(tokens: np.ndarray) -> None:
    expected = np.zeros((128, 32), dtype=np.uint8)
    for onset, end, pitch in played(tokens):
        expected[pitch, onset:end] = 1
        expected[pitch, onset] = 2
    np.testing.assert_array_equal(piano_roll(tokens), expected)
    np.testing.assert_array_equal(sounding(tokens) > 0, expected.any(axis=0))


def melody(windows: np.ndarray, **frame: object) -> Piece:
    """One stream of windows `(windows, steps)` as a piece."""
    domain = common(bars=windows.shape[1] // 16)
    return domain.compose(torch.from_numpy(windows[..., None].astype(np.int64)), MusicFrame(**frame))


def read_back(piece: Piece) -> np.ndarray:
    lines = quantize(Piece.open(piece.to_bytes()).score).lines
    assert len(lines) == 1
    return lines[0].streams[0]


@settings(max_examples=150, deadline=None)
@given(windows, st.floats(20, 400), st.integers(0, 127))
def test_tensor_to_file_to_tensor_is_the_identity(tokens: np.ndarray, tempo_bpm: float, program: int) -> None:
    line = read_back(melody(tokens, tempo_bpm=tempo_bpm, programs=(program,), track_names=("x",)))
    assert len(line) == tokens.size  # silence at either end is kept
    np.testing.assert_array_equal(windows_of(line, 32, 32), canonical(tokens))


@pytest.mark.parametrize("bars", [1, 2, 4, 8, 16])
def test_silence_and_a_single_late_note_keep_their_length(bars: int) -> None:
    for step in (None, 0, bars * 16 - 1):
        tokens = np.zeros((1, bars * 16), dtype=np.uint8)
        if step is not None:
            tokens[0, step] = 41
        np.testing.assert_array_equal(read_back(melody(tokens)), tokens[0])


def test_a_note_held_over_the_bar_line_is_struck_again_in_the_next_window() -> None:
    line = np.zeros(48, dtype=np.uint8)
    line[8], line[20], line[32] = 41, NOTE_OFF, 43
    first, second, third = windows_of(line, 16, 16)
    assert first[8] == 41 and first[0] == HOLD
    assert second[0] == 41 and second[4] == NOTE_OFF
    assert third[0] == 43


def test_a_note_off_at_the_bar_line_is_silence_in_the_next_window() -> None:
    line = np.zeros(32, dtype=np.uint8)
    line[8], line[16] = 41, NOTE_OFF
    np.testing.assert_array_equal(windows_of(line, 16, 16)[1], np.zeros(16))


@given(windows)
def test_joined_windows_are_heard_one_by_one(tokens: np.ndarray) -> None:
    expected = [
        (onset + 32 * index, end + 32 * index, pitch)
        for index, window in enumerate(tokens)
        for onset, end, pitch in played(window)
    ]
    assert played(join_windows(tokens)) == expected


@given(sequences(96))
def test_cutting_and_tying_again_gives_the_line_back(tokens: np.ndarray) -> None:
    line = canonical(tokens)
    cut = windows_of(line, 32, 32)
    tied = (cut[:, 0] != line[::32]) & (line[::32] == HOLD)
    np.testing.assert_array_equal(join_windows(cut, tied), line)


def test_silence_put_after_a_line_ends_its_last_note() -> None:
    line = np.array([0, 41], dtype=np.uint8)
    np.testing.assert_array_equal(with_silence(line, 4), [0, 41, NOTE_OFF, HOLD])
    np.testing.assert_array_equal(with_silence(np.array([41, NOTE_OFF], np.uint8), 3), [41, NOTE_OFF, HOLD])
