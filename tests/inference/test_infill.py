"""Bars made up in a piece and behind its end: seeds, versions, and that all else stays."""

import numpy as np
import pytest
import torch

from musicae.errors import MusicaeError
from musicae.models import build_model
from musicae.music.config import MusicConfig
from musicae.music.domain import MusicDomain
from musicae.music.midi import NewTrack, Notes
from musicae.music.piece import Piece
from musicae.starter import starter_file
from musicae.trained import TrainedModel
from musicae.training.checkpoint import Manifest

Q = 480
SMALL = {"width": 32, "step_width": 16, "embedding": 8, "unrolled": 8, "latent_size": 8}
A = starter_file("a.mid")


@pytest.fixture
def model() -> TrainedModel:
    """Untrained; its phrases differ enough that draws do too."""
    torch.manual_seed(0)
    domain = MusicDomain(MusicConfig(bars=8))
    network = build_model("phrases", domain.spec, {**SMALL, "prior_width": 16, "prior_blocks": 1})
    manifest = Manifest(domain="music", domain_settings={}, task="reconstruct", model="phrases", model_settings={})
    with torch.no_grad():
        network.head[-1].weight.mul_(8)
    return TrainedModel(network, domain, manifest, "cpu")


def song(bars: int = 12) -> Piece:
    """A melody in quarters over chords, with a change of tempo."""
    start = np.arange(0, bars * 4 * Q, Q)
    melody = Notes(start, start + Q, 60 + np.arange(len(start)) % 7, np.full(len(start), 80))
    chords = Notes(start[::4], start[::4] + 4 * Q, np.full(bars, 43), np.full(bars, 60))
    tracks = [NewTrack("melody", 0, False, melody), NewTrack("chords", 4, False, chords)]
    return Piece.new(tracks, tempi=[(0, 120.0), (8 * Q, 90.0)], name="song")


def outside(piece: Piece, first: int, last: int) -> list[tuple[int, ...]]:
    """The melody's notes that begin outside of some bars, with their pitches and velocities."""
    notes = piece.notes(0)
    kept = (notes.start < (first - 1) * 4 * Q) | (notes.start >= last * 4 * Q)
    return list(zip(*(column[kept].tolist() for column in (notes.start, notes.pitch, notes.velocity)), strict=True))


@pytest.mark.parametrize("bars", [(5, 6), (1, 2), (11, 12), (4, 4), (1, 12)])
def test_only_the_bars_are_made_up(model: TrainedModel, bars: tuple[int, int]) -> None:
    piece = song()
    (filled,) = model.infill(piece, bars, seed=0)
    assert outside(filled, *bars) == outside(piece, *bars)
    assert filled.notes(0).start.tolist() != piece.notes(0).start.tolist()
    for ours, wanted in zip(filled.notes(1), piece.notes(1), strict=True):
        assert np.array_equal(ours, wanted)
    assert filled.tempi == piece.tempi
    assert filled.bars == piece.bars


def test_seeds_repeat_and_versions_differ(model: TrainedModel) -> None:
    first, again = (model.infill(A, (5, 8), 2, seed=4) for _ in range(2))
    assert [piece.to_bytes() for piece in first] == [piece.to_bytes() for piece in again]
    assert first[0].to_bytes() != first[1].to_bytes()
    still = model.infill(A, (5, 8), 2, seed=4, temperature=0.0)
    assert still[0].to_bytes() == still[1].to_bytes()


@pytest.mark.parametrize("signature", [(4, 4), (3, 4), (6, 8), (2, 4)])
def test_a_piece_goes_on_in_its_time_signature(model: TrainedModel, signature: tuple[int, int]) -> None:
    ticks = 4 * Q * signature[0] // signature[1]
    start = np.arange(0, 8 * ticks, Q // 2)
    notes = Notes(start, start + Q // 2, 60 + np.arange(len(start)) % 5, np.full(len(start), 90))
    piece = Piece.new([NewTrack("melody", 0, False, notes)], time_signatures=[(0, *signature)], name="tune")
    (longer,) = model.extend(piece, 6, seed=1)
    assert longer.bars == 14
    found = longer.notes(0)
    assert found.start[: len(start)].tolist() == start.tolist()
    assert (found.start[len(start) :] >= 8 * ticks - Q // 8).all()
    assert len(found.start) > len(start)
    assert {section.time_signature for section in longer.sections} == {f"{signature[0]}/{signature[1]}"}


def test_what_cannot_be_made_up_is_refused_in_a_sentence(model: TrainedModel, music: TrainedModel) -> None:
    with pytest.raises(MusicaeError, match="has no bars 13 to 14; choose 1 to 12"):
        model.infill(song(), (13, 14))
    with pytest.raises(ValueError, match="bars to add are 1 to 512, got 0"):
        model.extend(song(), 0)
    with pytest.raises(ValueError, match="count is a whole number"):
        model.infill(song(), (1, 2), 0)
    with pytest.raises(MusicaeError, match="use melody-16bar"):
        music.infill(song(), (1, 2))


def test_pictures_have_no_bars(image: TrainedModel) -> None:
    with pytest.raises(MusicaeError, match="no bars to fill in"):
        image.infill(np.zeros((8, 8), np.uint8), (1, 2))
