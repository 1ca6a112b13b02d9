"""Decoded windows back in a piece: what was addressed changes, everything else stays, and the codec is closed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from music_pieces import common, events, map_piece

from musicae.domain import Answers
from musicae.errors import MusicaeError
from musicae.music.config import TIME_SIGNATURES
from musicae.music.domain import MusicConfig, MusicDomain
from musicae.music.midi import NewTrack, Notes
from musicae.music.piece import Piece

Q = 480
STEP = Q // 4


def row(*notes: tuple[int, int, int, int]) -> Notes:
    """Notes of `(start, end, pitch, velocity)` in ticks."""
    return Notes(*np.array(notes, np.int64).reshape(-1, 4).T)


def quarters(count: int, velocity: int = 80, shift: int = 0, pitch: int = 60) -> Notes:
    return row(*((n * Q + shift, n * Q + Q + shift, pitch + n % 7, velocity + n % 9) for n in range(count)))


def piece_of(*tracks: Notes, drums: bool = False, **how: object) -> Piece:
    return Piece.new([NewTrack(f"t{number}", 0, drums, notes) for number, notes in enumerate(tracks)], **how)


def in_division(notes: Notes, quarter: int) -> Piece:
    """A piece of notes in another division."""
    ticks = Notes(notes.start * quarter // Q, notes.end * quarter // Q, notes.pitch, notes.velocity)
    return piece_of(ticks, ticks_per_quarter=quarter)


def listed(piece: Piece, track: int = 0) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in piece.notes(track)), strict=True))


def with_token(step: int, token: int, stream: int = 0) -> object:
    """A function that writes one token into the first window."""

    def function(batch: torch.Tensor) -> torch.Tensor:
        changed = batch.clone()
        changed[0, step, stream] = token
        return changed

    return function


def random_tokens(domain: MusicDomain, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    generator = np.random.default_rng(seed)
    tokens = np.zeros(shape, np.int64)
    for index, stream in enumerate(domain.config.plan.streams):
        drawn = generator.integers(0, stream.vocabulary, shape[:-1])
        tokens[..., index] = np.where(generator.random(shape[:-1]) < 0.6, generator.integers(0, 2, shape[:-1]), drawn)
        tokens[:, 0, index] = 60  # no window is silent
    return torch.from_numpy(tokens)


def canonical(domain: MusicDomain, tokens: torch.Tensor) -> np.ndarray:
    return np.stack(
        [stream.canonical(tokens[..., index].numpy()) for index, stream in enumerate(domain.config.plan.streams)], -1
    )


def kept(piece: Piece) -> list[tuple[int, int, bytes]]:
    """All events but notes and the ends of tracks."""
    return [event for event in events(piece) if event[2][:2] != b"\xff\x2f"]


def all_windows(domain: MusicDomain, piece: Piece) -> torch.Tensor:
    return torch.cat([window.batch.target for window in domain.windows(piece)])


PLAYED_BY_HAND = row(
    *((n * Q + int(offset), n * Q + Q - 40 + int(offset), 60 + n % 12, 40 + n)
      for n, offset in enumerate(np.random.default_rng(0).normal(0, 25, 64)) if n * Q + offset >= 0)
)  # fmt: skip
SOURCES = {
    "quarters": piece_of(quarters(64)),
    "by hand": piece_of(PLAYED_BY_HAND),
    "off the grid": piece_of(quarters(64, shift=45)),
    "early": piece_of(Notes(*(column[1:] for column in quarters(64, shift=-40)))),
    "beside others": piece_of(quarters(64, pitch=72), quarters(64, pitch=40), quarters(64, pitch=50)),
    "coarse ticks": in_division(quarters(64), 4),
    "odd ticks": in_division(quarters(64), 7),
    "in 2/4": piece_of(quarters(64), time_signatures=((0, 2, 4),)),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_an_identity_gives_back_the_same_bytes(name: str) -> None:
    piece = SOURCES[name]
    assert map_piece(common(), piece, lambda batch: batch).to_bytes() == piece.to_bytes()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SOURCES)
def test_windows_of_the_result_are_the_answers_whatever_they_are(name: str, seed: int) -> None:
    domain, piece = common(), SOURCES[name]
    answers = random_tokens(domain, tuple(all_windows(domain, piece).shape), seed)
    result = map_piece(domain, piece, lambda batch: answers)
    np.testing.assert_array_equal(canonical(domain, all_windows(domain, result)), canonical(domain, answers))
    assert kept(result) == kept(piece)


@pytest.mark.parametrize("signature", TIME_SIGNATURES)
@pytest.mark.parametrize("part", ["melody", "drums", "trio"])
def test_the_codec_is_closed_in_every_part_and_time_signature(part: str, signature: str) -> None:
    domain = MusicDomain(MusicConfig(part=part, time_signature=signature))
    first, second = (random_tokens(domain, (4, *domain.spec.shape), seed) for seed in (1, 2))
    piece = domain.compose(first)
    result = map_piece(domain, piece, lambda batch: second)
    np.testing.assert_array_equal(canonical(domain, all_windows(domain, result)), canonical(domain, second))
    saved = Piece.open(result.to_bytes())
    np.testing.assert_array_equal(canonical(domain, all_windows(domain, saved)), canonical(domain, second))
    assert kept(result) == kept(piece)


def test_notes_that_stay_keep_their_time_and_loudness_and_new_ones_take_the_neighbour_s() -> None:
    piece = piece_of(row((5, 470, 60, 33), (490, 950, 62, 44), (955, 1400, 64, 55), (1445, 1900, 65, 66)))
    # The second note higher, a new one in the last beat.
    result = map_piece(common(), piece, lambda batch: with_token(14, 50)(with_token(4, 47)(batch)))
    assert listed(result) == [
        (5, 470, 60, 33), (480, 960, 66, 44), (955, 1400, 64, 55), (1445, 1680, 65, 66), (1680, 1920, 69, 66)
    ]  # fmt: skip


def test_new_notes_stand_as_far_from_the_grid_as_the_piece() -> None:
    piece = piece_of(quarters(64, shift=45))
    result = map_piece(common(), piece, with_token(2, 50))
    assert (2 * STEP + 45, 4 * STEP + 45, 69, 80) in listed(result)
    assert len(set(listed(result)) - set(listed(piece))) == 2  # it, and the end of the note before


def test_notes_of_chords_are_left_out_and_counted() -> None:
    chords = [(n * Q, n * Q + Q, pitch, 80) for n in range(8) for pitch in (48, 52, 72 + n)]
    result = map_piece(common(), piece_of(row(*chords)), lambda batch: batch)
    assert [note[2] for note in listed(result)] == [72 + n for n in range(8)]
    assert result.remarks == (
        "piece: notes of chords are left out, 16 in the melody: the model plays one note at a time there",
    )


def test_what_no_token_can_say_stays() -> None:
    low = row(*((n * Q, n * Q + Q, 10, 99) for n in range(8)))
    melody = quarters(8)
    both = Notes(*(np.concatenate(columns) for columns in zip(low, melody, strict=True)))
    silent = map_piece(common(), piece_of(both, melody).with_track(0), torch.zeros_like)
    assert listed(silent) == listed(piece_of(low)) and listed(silent, 1) == listed(piece_of(melody))
    kit = row(*((n * Q, n * Q + 30, pitch, 90) for n in range(8) for pitch in (36, 75)))  # claves have no class
    result = map_piece(common(part="drums"), piece_of(kit, drums=True), torch.zeros_like)
    assert [note[2] for note in listed(result)] == [75] * 8


def test_a_drum_keeps_its_own_pitch_and_loudness_and_a_new_one_is_general_midi_s() -> None:
    kit = row(*((n * Q + n % 3, n * Q + 30, 35 if n % 2 else 40, 50 + n) for n in range(16)))
    piece = piece_of(kit, drums=True)
    domain = common(part="drums")
    assert map_piece(domain, piece, lambda batch: batch).to_bytes() == piece.to_bytes()
    result = map_piece(domain, piece, with_token(2, 1))
    assert set(listed(result)) - set(listed(piece)) == {(2 * STEP, 2 * STEP + STEP // 2, 36, 50)}


def test_bars_in_another_time_signature_keep_every_note() -> None:
    signatures = ((0, 4, 4), (8 * Q, 3, 4), (8 * Q + 9 * Q, 4, 4))
    piece = piece_of(quarters(25), time_signatures=signatures)
    result = map_piece(common(), piece, lambda batch: torch.full_like(batch, 50))
    inside = [note for note in listed(piece) if 8 * Q <= note[0] < 17 * Q]
    assert [note for note in listed(result) if 8 * Q <= note[0] < 17 * Q] == inside
    assert result.remarks == ("piece: bars 3–5 in 3/4 are copied as they are: this model reads 4/4",)
    assert len(listed(result)) == 9 + 2 * 32 + 0


def test_what_is_decoded_past_the_end_is_left_out_and_silence_keeps_the_length() -> None:
    piece = piece_of(quarters(12))  # three bars: half of the last window lies behind them
    full = map_piece(common(), piece, lambda batch: torch.full_like(batch, 50))
    assert full.bars == 3 and max(note[1] for note in listed(full)) == 12 * Q

    def quiet_at_the_end(batch: torch.Tensor) -> torch.Tensor:
        changed = batch.clone()
        changed[-1] = 0
        return changed

    quiet = map_piece(common(), piece, quiet_at_the_end)
    assert quiet.bars == 3 and len(all_windows(common(), quiet)) == 2
    assert set(kept(quiet)) - set(kept(piece)) == {(0, 12 * Q, b"\xff\x58\x04\x04\x02\x18\x08")}


def test_where_nothing_sounds_any_more_it_is_said() -> None:
    result = map_piece(common(), piece_of(quarters(8)), torch.zeros_like)
    assert result.note_count == 0 and result.remarks == ("silent: no note anywhere",) and result.bars == 2


def test_the_track_is_the_piece_s_own_choice_then_the_config_s() -> None:
    piece = piece_of(quarters(8, pitch=72), quarters(8, pitch=60), quarters(8, pitch=48))
    pitches = {}
    for name, domain, item in (
        ("chosen", common(), piece),
        ("config", common(track="t1"), piece),
        ("piece", common(track="t1"), piece.with_track(2)),
    ):
        pitches[name] = int(all_windows(domain, item)[0, 0, 0]) + 19
        changed = map_piece(domain, item, with_token(0, 40))
        assert [listed(changed, track) != listed(piece, track) for track in range(3)].count(True) == 1
        assert len(domain.examples(item).examples) == 1
    assert pitches == {"chosen": 72, "config": 60, "piece": 48}
    assert common().select(piece, track=1).label.endswith("track 't1'")
    with pytest.raises(MusicaeError, match="piece: no track 'oboe'"):
        list(common().windows(piece.with_track("oboe")))


def test_a_result_that_another_track_would_beat_is_still_read_in_its_own() -> None:
    # The melody has most notes; once it has few, the rule would choose the other.
    piece = piece_of(quarters(32), row(*((n * 2 * Q, n * 2 * Q + Q, 70, 80) for n in range(16))))
    few = torch.zeros(4, 32, 1, dtype=torch.int64)
    few[:, 0] = 50
    domain = common()
    np.testing.assert_array_equal(all_windows(domain, map_piece(domain, piece, lambda batch: few)), few)


def test_answers_of_another_number_or_shape_are_refused() -> None:
    domain, piece = common(), piece_of(quarters(16))
    windows = list(domain.windows(piece))
    with pytest.raises(ValueError, match="answers to 2 windows"):
        domain.assemble(piece, [(windows[0], windows[0].batch.target[:1])])
    with pytest.raises(ValueError, match="expected a batch"):
        domain.assemble(piece, Answers(lambda: iter(windows), lambda batch: batch.target[:, :16]))
    with pytest.raises(ValueError, match="melody tokens 0 to 89, got 0 to 90"):
        domain.assemble(piece, Answers(lambda: iter(windows), lambda batch: with_token(3, 90)(batch.target)))


def test_a_tune_of_an_abc_file_is_changed_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "x.abc").write_text("X:1\nT:One\nM:4/4\nL:1/4\nK:C\nCDEF|GABc|cBAG|FEDC|\n")
    piece = Piece.open(tmp_path / "x.abc")
    domain = common()
    answers = random_tokens(domain, (2, 32, 1), 5)
    result = map_piece(domain, piece, lambda batch: answers)
    np.testing.assert_array_equal(canonical(domain, all_windows(domain, result)), canonical(domain, answers))
    assert kept(result) == kept(piece) and result.title == "One"


def test_chords_are_given_as_the_condition_of_every_window() -> None:
    domain = common(chords=True)
    triads = row(
        *((n * 4 * Q, (n + 1) * 4 * Q, pitch, 70) for n in range(4) for pitch in ((48, 52, 55), (53, 57, 60))[n % 2])
    )
    piece = piece_of(quarters(16, pitch=72), triads)
    (window,) = domain.windows(piece)
    assert window.batch.condition is not None and window.batch.condition.shape == (2, 32)
    assert window.batch.condition[0].tolist() == [1] * 16 + [1 + 4 * 5] * 16
    assert map_piece(domain, piece, lambda batch: batch).to_bytes() == piece.to_bytes()


def test_a_selection_s_frame_makes_something_like_the_piece() -> None:
    piece = Piece.new(
        [NewTrack("Fiddle", 40, False, quarters(16, velocity=50))], tempi=((0, 77.0),), time_signatures=((0, 2, 4),)
    )
    domain = common()
    selection = domain.select(piece)
    frame = selection.frame
    assert (frame.programs, frame.track_names, frame.time_signature) == ((40,), ("Fiddle",), (2, 4))
    assert 50 <= frame.velocities[0] <= 58
    made = domain.compose(domain.tensor(torch.from_numpy(selection.example)).target, frame)
    assert made.time_signatures[0] == (0, 2, 4) and made.tempi[0][1] == pytest.approx(77, abs=1e-3)
    assert made.tracks[0].program == 40 and set(made.notes(0).velocity.tolist()) == set(frame.velocities)
    np.testing.assert_array_equal(domain.select(made, bar=1).example, selection.example)
