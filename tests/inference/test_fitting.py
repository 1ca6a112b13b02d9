"""Samples in a key: nothing but its notes, its tonic in the middle, and everything else as ever."""

import numpy as np
import pytest
import torch

from musicae import load
from musicae.errors import MusicaeError
from musicae.music.tonality import fits, parse_key
from musicae.trained import TrainedModel


@pytest.fixture(scope="module")
def melodies() -> TrainedModel:
    return load("melody-2bar", "cpu")


def pitch_classes(model: TrainedModel, tensor: torch.Tensor) -> np.ndarray:
    return model.domain.statistics(tensor).histograms["pitch_class"]


@pytest.mark.parametrize("key", ["D minor", "F# major"])
def test_samples_have_the_notes_of_the_key_and_its_tonic(melodies: TrainedModel, key: str) -> None:
    made = melodies.sample(40, key=key, seed=0)
    counts = pitch_classes(melodies, made.tensor)
    wanted = parse_key(key)
    outside = ~wanted.has(torch.arange(12)).numpy()
    assert counts.sum() > 200 and not counts[:, outside].any()
    best = fits(torch.from_numpy(counts.sum(0, keepdims=True)), wanted.mode).argmax()
    assert int(best) == wanted.tonic


def test_a_seed_repeats_them_and_the_key_is_of_the_whole_piece(melodies: TrainedModel) -> None:
    once, again = (melodies.sample(3, key="Bb", length=6, seed=7).tensor for _ in range(2))
    assert once.shape[:2] == (3, 3) and torch.equal(once, again)
    outside = ~parse_key("Bb").has(torch.arange(12)).numpy()
    assert not pitch_classes(melodies, once.flatten(0, 1))[:, outside].any()


def test_the_time_signature_is_kept(melodies: TrainedModel) -> None:
    made = melodies.sample(4, key="G", time_signature="6/8", seed=1)
    assert {piece.time_signatures[0][1:] for piece in made} == {(6, 8)}


@pytest.mark.parametrize("key", [None, "D minor"])
def test_notes_fit_the_chords_that_are_asked_for(melodies: TrainedModel, key: str | None) -> None:
    made = melodies.sample(30, chords="Dm Gm A Dm", key=key, seed=0)
    plain = melodies.sample(30, seed=0)
    shares = []
    for morph in (made, plain):
        inside = total = 0
        for piece in morph:
            notes = piece.notes(0)
            chord = (4 * notes.start // (8 * piece.ticks_per_quarter)).clip(0, 3)  # four chords in two bars
            tones = [(2, 5, 9), (7, 10, 2), (9, 1, 4), (2, 5, 9)]
            inside += sum(pitch % 12 in tones[place] for pitch, place in zip(notes.pitch, chord, strict=True))
            total += len(chord)
        shares.append(inside / total)
    assert shares[0] > shares[1] + 0.15
    if key is not None:
        assert not pitch_classes(melodies, made.tensor)[:, ~parse_key(key).has(torch.arange(12)).numpy()].any()


def test_pieces_with_few_notes_fit_worse(melodies: TrainedModel) -> None:
    tokens = torch.zeros(2, 1, 36, 1, dtype=torch.int64)
    tokens[:, 0, [16, 17, 34, 35]] = 90  # 4/4
    tokens[0, 0, 0, 0] = 62 - 19
    tokens[1, 0, [0, 2, 4, 6, 8, 18, 22], 0] = torch.tensor([62, 65, 69, 65, 62, 69, 62]) - 19
    for _, fit in (
        melodies.domain.way_to_key(tokens, parse_key("Dm"), keeps_pitch=False),
        melodies.domain.way_to_chords(tokens, "Dm", None),
    ):
        assert fit[1] > fit[0] > 0


def test_drums_have_no_key_and_a_text_must_be_one(melodies: TrainedModel) -> None:
    with pytest.raises(MusicaeError, match="music with pitches"):
        load("drums-2bar", "cpu").sample(1, key="C")
    with pytest.raises(MusicaeError, match="'H' is no key"):
        melodies.sample(1, key="H")
