"""Damage of notes: valid tokens, only what is said, drawn from the generator alone."""

import pytest
import torch

from musicae.music.config import PARTS
from musicae.music.corruption import FARTHEST_SEMITONES, coarse_grid, wrong_notes
from musicae.music.tokens import FIRST_ONSET, HOLD, LINE_VOCABULARY, NOTE_OFF

PART_NAMES = ("melody", "drums", "trio")


def windows(name: str, count: int = 300) -> torch.Tensor:
    """Lines of quarters and drums on eighths, so that there is room to move a note."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.zeros(count, 32, len(PARTS[name].streams), dtype=torch.int64)
    for index, stream in enumerate(PARTS[name].streams):
        every = 2 if stream.is_drums else 4
        high = 512 if stream.is_drums else 70
        tokens[:, ::every, index] = torch.randint(20, high, (count, 32 // every), generator=generator)
    return tokens


@pytest.mark.parametrize("name", PART_NAMES)
def test_corrupted_notes_are_valid_and_drawn_from_the_generator(name):
    part, tokens = PARTS[name], windows(name)
    before = tokens.clone()
    once, again, other = (wrong_notes(tokens, part, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(tokens, before) and torch.equal(once, again) and not torch.equal(once, other)
    for index, stream in enumerate(part.streams):
        assert 0 <= once[..., index].min() <= once[..., index].max() < stream.vocabulary
        changed = (once[..., index] != tokens[..., index]).any(1).double().mean()
        assert 0.6 < changed <= 1.0


def test_a_corrupted_melody_has_near_pitches_fewer_notes_and_some_a_step_off():
    tokens = windows("melody", 2000)
    corrupted = wrong_notes(tokens, PARTS["melody"], torch.Generator().manual_seed(0))
    onset, was = corrupted >= FIRST_ONSET, tokens >= FIRST_ONSET
    stayed = onset & was
    distance = (corrupted - tokens)[stayed].abs()
    assert distance.max() <= FARTHEST_SEMITONES
    assert 0.1 < (distance > 0).double().mean() < 0.2  # half of the most, on average
    assert 0.85 < onset.sum() / was.sum() < 0.95
    moved = onset & ~was
    steps = moved[..., 0].nonzero()[:, 1]
    assert 0.05 < moved.sum() / was.sum() < 0.12
    assert set((steps % 4).tolist()) == {1, 3}  # a step after a quarter, or before one


def test_drums_lose_gain_and_move_hits():
    tokens = windows("drums", 2000)
    corrupted = wrong_notes(tokens, PARTS["drums"], torch.Generator().manual_seed(0))
    places = torch.arange(9)
    was, now = (((hits >> places) & 1).bool() for hits in (tokens, corrupted))
    kept = (was & now).sum() / was.sum()
    assert 0.5 < kept < 0.9
    assert ((now & ~was).sum() / was.sum()) > 0.03
    assert (corrupted[:, 1::2] > 0).any() and not (tokens[:, 1::2] > 0).any()


def test_hits_are_added_and_wrong_ones_go_to_every_other_drum():
    kick = torch.zeros(2000, 32, 1, dtype=torch.int64)
    kick[:, ::4] = 1
    corrupted = wrong_notes(kick, PARTS["drums"], torch.Generator().manual_seed(0))
    hits = (corrupted >> torch.arange(9)) & 1  # (batch, steps, drums)
    assert (hits.sum((0, 1)) > 0).all()
    assert hits.sum((1, 2)).max() > 8  # eight were played
    far = hits[:, 2::4].sum() / kick.sum()  # two steps from any that was played: only an added one lies there
    assert 0.01 < far < 0.04  # a tenth on average, a quarter of the steps


@pytest.mark.parametrize("token", [FIRST_ONSET, LINE_VOCABULARY - 1])
def test_the_outermost_pitches_go_wrong_as_often_as_others(token):
    line = torch.zeros(2000, 32, 1, dtype=torch.int64)
    line[:, ::4] = token
    corrupted = wrong_notes(line, PARTS["melody"], torch.Generator().manual_seed(0))
    onset = corrupted[corrupted >= FIRST_ONSET]
    assert corrupted.max() < LINE_VOCABULARY and not (corrupted == NOTE_OFF).any()
    assert 0.12 < (onset != token).double().mean() < 0.18
    assert (onset - token).abs().max() <= FARTHEST_SEMITONES


def test_silence_stays_silent():
    for name in PART_NAMES:
        empty = torch.zeros(4, 32, len(PARTS[name].streams), dtype=torch.int64)
        assert not wrong_notes(empty, PARTS[name], torch.Generator().manual_seed(0)).any()
        assert not coarse_grid(empty, PARTS[name]).any()


def test_a_coarse_melody_has_onsets_and_offs_on_eighths_only():
    line = [40, HOLD, HOLD, 42, 44, 45, NOTE_OFF, HOLD, HOLD, NOTE_OFF, HOLD, LINE_VOCABULARY - 1]
    wanted = [40, HOLD, 42, HOLD, 44, HOLD, NOTE_OFF, HOLD, NOTE_OFF, HOLD, LINE_VOCABULARY - 1, HOLD]
    tokens = torch.tensor(line)[None, :, None]
    assert coarse_grid(tokens, PARTS["melody"])[0, :, 0].tolist() == wanted


def test_a_coarse_onset_takes_the_place_of_a_note_off():
    tokens = torch.tensor([NOTE_OFF, 50])[None, :, None]
    assert coarse_grid(tokens, PARTS["melody"])[0, :, 0].tolist() == [50, HOLD]


def test_coarse_drums_sound_together_on_the_eighth():
    tokens = torch.tensor([1, 2, 0, 4, 8, 0])[None, :, None]
    assert coarse_grid(tokens, PARTS["drums"])[0, :, 0].tolist() == [3, 0, 4, 0, 8, 0]
