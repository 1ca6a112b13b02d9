"""Piano music: chords and two hands as one column of tokens for each key."""

import numpy as np
import pytest
import torch

from musicae.errors import MusicaeError
from musicae.music.config import PARTS, TIME_SIGNATURES, MusicConfig
from musicae.music.domain import MusicDomain
from musicae.music.keyboard import KEYS, moved, note_ends, sounding_keys, top_line
from musicae.music.midi import NewTrack, Notes
from musicae.music.piece import Piece
from musicae.music.statistics import part_statistics, score_batch
from musicae.music.streams import KeyStream
from musicae.music.tracks import TrackSummary, summarise_tracks

Q, STEP = 480, 120
PIANO = MusicDomain(MusicConfig(part="piano", time_signature="4/4"))
PLAYED = MusicDomain(MusicConfig(part="piano", time_signature="4/4", expression=True))


def row(*notes: tuple[int, int, int, int]) -> Notes:
    """Notes of `(start, end, pitch, velocity)` in ticks."""
    return Notes(*np.array(notes, np.int64).reshape(-1, 4).T)


def two_hands() -> Piece:
    """Two bars: chords, a held bass under a run, a note struck again while its key sounds in the other hand."""
    right = row(
        *((0, 2 * Q, pitch, 70 + pitch % 5) for pitch in (64, 67, 72)),
        *((2 * Q + n * STEP, 2 * Q + (n + 1) * STEP, 72 + n, 60 + n) for n in range(8)),
        *((4 * Q + 7, 5 * Q, pitch, 90) for pitch in (60, 65, 69)),
        (6 * Q - 11, 8 * Q, 77, 44),
    )
    left = row((0, 4 * Q, 36, 80), (0, 4 * Q, 48, 81), (4 * Q, 6 * Q, 41, 50), (6 * Q + 5, 8 * Q, 29, 100))
    return Piece.new([NewTrack("Piano right", 0, False, right), NewTrack("Piano left", 0, False, left)])


def listed(piece: Piece) -> list[list[tuple[int, ...]]]:
    return [
        sorted(zip(*(column.tolist() for column in piece.notes(track.index)), strict=True)) for track in piece.tracks
    ]


def _summaries(piece: Piece) -> list[TrackSummary]:
    return summarise_tracks(piece.score)


def random_keys(domain: MusicDomain, seed: int, windows: int = 3) -> torch.Tensor:
    """Canonical windows with about three keys struck at a step, and values where the domain has them."""
    generator = np.random.default_rng(seed)
    tokens = np.zeros((windows, domain.config.steps, domain.spec.shape[1]), np.int64)
    drawn = generator.random((windows, domain.config.steps, KEYS))
    own = np.where(drawn < 0.03, 2, np.where(drawn < 0.05, 1, 0))
    own[:, 0] = np.where(own[:, 0] == 1, 0, own[:, 0])
    for key, stream in enumerate(domain.config.plan.streams):
        tokens[..., key] = stream.canonical(own[..., key])
    if domain.config.expression:
        struck = np.repeat(tokens[..., :KEYS] == 2, 2, axis=-1)
        levels = np.where(np.arange(2 * KEYS) % 2 == 0, 127, 119)
        tokens[..., KEYS:] = np.where(struck, 1 + generator.integers(0, levels, struck.shape), 0)
    return torch.from_numpy(tokens)


@pytest.mark.parametrize("domain", [PIANO, PLAYED])
def test_chords_and_both_hands_come_back_as_they_were(domain: MusicDomain) -> None:
    piece = two_hands()
    windows = list(domain.windows(piece))
    assert sum(len(window.batch.target) for window in windows) == 1
    assert int((windows[0].batch.target[..., :KEYS] == 2).sum()) == piece.note_count
    result = domain.assemble(piece, [(window, window.batch.target) for window in windows])
    assert listed(result) == listed(piece)


@pytest.mark.parametrize("domain", [PIANO, PLAYED])
def test_decoded_keys_are_written_to_one_track_and_read_as_they_were(domain: MusicDomain) -> None:
    tokens = random_keys(domain, seed=0)
    piece = domain.compose(tokens)
    assert [track.name for track in piece.tracks] == ["Piano"]
    assert piece.note_count == int((tokens[..., :KEYS] == 2).sum())
    if domain is PIANO:  # notes that are played off the grid end where the next one begins
        again = torch.cat([window.batch.target for window in domain.windows(piece)])
        # A key that sounds at a window's end stops there in its own window, and the next one needs no note-off for it.
        assert torch.equal(again, tokens)


@pytest.mark.parametrize("signature", TIME_SIGNATURES)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_composed_is_read_back_in_every_time_signature(signature: str, seed: int) -> None:
    domain = MusicDomain(MusicConfig(part="piano", time_signature=signature))
    tokens = random_keys(domain, seed, windows=1 + seed)
    piece = Piece.open(domain.compose(tokens).to_bytes())
    assert piece.bars == 2 * len(tokens)
    read = torch.cat([window.batch.target for window in domain.windows(piece)])
    assert torch.equal(read, tokens)


def test_a_result_takes_velocity_and_place_from_its_values() -> None:
    piece = two_hands()
    (window,) = PLAYED.windows(piece)
    changed = window.batch.target.clone()
    key = 72 - 21
    changed[0, 0, KEYS + 2 * key] = 33
    changed[0, 0, KEYS + 2 * key + 1] = 60 + 40
    result = PLAYED.assemble(piece, [(window, changed)])
    before, after = (set(listed(each)[0]) for each in (piece, result))
    assert {note[3] for note in after - before} == {33}
    assert {note[0] for note in after - before} == {40}
    assert listed(result)[1] == listed(piece)[1]


def test_a_new_note_goes_to_the_hand_that_plays_there() -> None:
    piece = two_hands()
    (window,) = PIANO.windows(piece)
    changed = window.batch.target.clone()
    changed[0, 18, 84 - 21], changed[0, 18, 33 - 21] = 2, 2
    right, left = listed(PIANO.assemble(piece, [(window, changed)]))
    before = listed(piece)
    assert [note[2] for note in set(right) - set(before[0])] == [84]
    assert [note[2] for note in set(left) - set(before[1])] == [33]


def test_a_transposed_window_is_the_same_content_and_another_one_is_not() -> None:
    stored = random_keys(PLAYED, seed=1).numpy().astype(np.uint8)
    stored[..., KEYS - 2 : KEYS] = stored[..., -4:] = 0  # room for two semitones
    shifted = moved(torch.from_numpy(stored).long(), torch.tensor([2, 2, 2]))
    assert (PLAYED.identity(stored) == PLAYED.identity(shifted.numpy().astype(np.uint8))).all()
    other = stored.copy()
    other[:, 5, 40] = np.where(other[:, 5, 40] == 2, 0, 2)
    assert (PLAYED.identity(other) != PLAYED.identity(stored)).all()


def test_training_transposes_all_keys_and_their_values_together() -> None:
    piece = two_hands()
    stored = torch.from_numpy(PLAYED.examples(piece).examples)
    drawn = PLAYED.tensor(stored.repeat(40, 1, 1), torch.Generator().manual_seed(0)).target
    own = PLAYED.tensor(stored).target
    lowest = (own[0, :, :KEYS] == 2).any(0).int().argmax()
    shifts = (drawn[..., :KEYS] == 2).any(1).int().argmax(1) - lowest
    assert len(shifts.unique()) > 10
    for window, shift in zip(drawn, shifts, strict=True):
        assert torch.equal(window, moved(own, shift[None])[0])


def test_what_would_leave_the_keyboard_is_lost() -> None:
    tokens = torch.zeros(1, 2, 3 * KEYS, dtype=torch.int64)
    tokens[0, 0, KEYS - 1], tokens[0, 0, 3 * KEYS - 2] = 2, 99
    up, down = moved(tokens, torch.tensor([1])), moved(tokens, torch.tensor([-3]))
    assert not up.any()
    assert down[0, 0, KEYS - 4] == 2 and down[0, 0, 3 * KEYS - 8] == 99 and int((down > 0).sum()) == 2


def test_the_upper_line_the_ends_and_what_sounds() -> None:
    tokens = torch.zeros(1, 6, KEYS, dtype=torch.int64)
    tokens[0, 0, 10], tokens[0, 0, 20], tokens[0, 2, 10], tokens[0, 3, 10], tokens[0, 4, 87] = 2, 2, 2, 1, 2
    assert top_line(tokens).tolist() == [[22, 0, 12, 0, 89, 0]]
    assert [int(note_ends(tokens)[0, step, key]) for step, key in ((0, 10), (0, 20), (2, 10), (4, 87))] == [2, 6, 3, 6]
    assert sounding_keys(tokens)[0, :, 10].tolist() == [True, True, True, False, False, False]
    assert sounding_keys(tokens)[0, :, 20].all() and sounding_keys(tokens)[0].sum() == 3 + 6 + 2


def test_scores_are_those_of_sets_of_notes() -> None:
    first, second = random_keys(PIANO, seed=2), random_keys(PIANO, seed=3)
    second[:, :16] = first[:, :16]
    for key, stream in enumerate(PIANO.config.plan.streams):
        second[..., key] = torch.from_numpy(stream.canonical(second[..., key].numpy()))
    found = score_batch(PIANO.config.plan, PIANO.spec, second, first)

    def notes(window: torch.Tensor) -> list[tuple[int, ...]]:
        return [
            (key, int(onset), int(end))
            for key, stream in enumerate(PIANO.config.plan.streams)
            for onset, end, _ in zip(*stream.notes(window[:, key].numpy()), strict=True)
        ]

    for index in range(len(first)):
        ours, wanted = set(notes(second[index])), set(notes(first[index]))
        assert float(found["note_f1"][index]) == pytest.approx(2 * len(ours & wanted) / (len(ours) + len(wanted)))
        begun, meant = ({note[:2] for note in each} for each in (ours, wanted))
        assert float(found["onset_f1"][index]) == pytest.approx(2 * len(begun & meant) / (len(begun) + len(meant)))
        right = (second[index] == first[index]).all(1).float().mean()
        assert float(found["accuracy"][index]) == pytest.approx(float(right))


def test_statistics_count_the_notes_of_all_keys() -> None:
    tokens = PIANO.examples(two_hands()).examples
    found = part_statistics(tokens, PARTS["piano"], 16)
    piece = two_hands()
    pitches = np.concatenate([piece.notes(track.index).pitch for track in piece.tracks])
    assert found.histograms["pitch_class"][0].tolist() == np.bincount(pitches % 12, minlength=12).tolist()
    assert found.histograms["duration"][0].sum() == piece.note_count
    assert found.shares["in_scale"].tolist() == [0]  # the run is chromatic


def test_a_named_piano_comes_before_an_instrument_with_its_sound_and_drums_are_none() -> None:
    notes = row((0, Q, 60, 80), (Q, 2 * Q, 64, 80))
    tracks = [NewTrack("MELODY", 0, False, notes), NewTrack("PIANO", 0, False, notes), NewTrack("Kit", 0, True, notes)]
    config = MusicConfig(part="piano")
    chosen = config.plan.choose(_summaries(Piece.new(tracks)), None)
    assert chosen.tracks == ((1,),) and "used as piano" in chosen.parts[1] and "not used: drums" in chosen.parts[2]
    by_sound = Piece.new([NewTrack("a", 4, False, notes), NewTrack("b", 40, False, notes)])
    unnamed = config.plan.choose(_summaries(by_sound), None)
    assert unnamed.tracks == ((0,),)
    with pytest.raises(MusicaeError, match=r"no track that is named a piano.*--track"):
        list(PIANO.windows(Piece.new([NewTrack("b", 40, False, notes)])))
    asked = config.plan.choose(_summaries(Piece.new([NewTrack("b", 40, False, notes)])), "b")
    assert asked.tracks == ((0,),)


def test_wrong_notes_are_not_repaired_in_piano_music() -> None:
    with pytest.raises(MusicaeError, match="not in piano music"):
        PIANO.corruption("denoise")


def test_a_key_takes_its_own_notes_alone() -> None:
    stream = KeyStream("piano", 0, 60)
    onset, end, pitch = np.array([0, 1, 4]), np.array([3, 2, 9]), np.array([60, 61, 60])
    tokens, _ = stream.tokens(onset, end, pitch, 8)
    assert tokens.tolist() == [2, 0, 0, 1, 2, 0, 0, 0]
    assert [column.tolist() for column in stream.notes(tokens)] == [[0, 4], [3, 8], [60, 60]]
    assert stream.key(pitch).tolist() == [60, -1, 60]
