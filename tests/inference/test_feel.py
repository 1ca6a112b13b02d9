"""Patterns that are played: notes stay, what plays them is drawn or taken from another piece, taps become drums."""

import numpy as np
import pytest
import torch
from music_pieces import common, events, starter

from musicae.errors import MusicaeError
from musicae.inference.results import Morph
from musicae.models import build_model
from musicae.music.config import MusicConfig
from musicae.music.corruption import TAP, tapped
from musicae.music.domain import MusicDomain
from musicae.music.midi import NewTrack, Notes
from musicae.music.piece import Piece
from musicae.trained import TrainedModel
from musicae.training.checkpoint import Manifest

Q = 480
DRUMS = common(part="drums", expression=True)
SMALL = {"width": 16, "step_width": 8, "embedding": 4, "unrolled": 4, "latent_size": 4}


def trained(task: str = "reconstruct", **settings) -> TrainedModel:
    """An untrained model whose values spread as the real ones."""
    torch.manual_seed(0)
    model = "restorer" if task == "tap" else "played"
    feel = {} if task == "tap" else {"feel_size": 4, "feel_width": 8, "feel_layers": 1}
    network = build_model(model, DRUMS.spec, {**SMALL, **feel, **settings})
    manifest = Manifest(domain="music", domain_settings={}, task=task, model=model, model_settings={})
    return TrainedModel(network, DRUMS, manifest, "cpu")


@pytest.fixture
def drummer() -> TrainedModel:
    model = trained()
    with torch.no_grad():  # what an untrained code says of the values is next to nothing
        model.network.feel_decoder.code.weight.mul_(20)
    return model


def beat(bars: int = 4, *, with_bass: bool = True, name: str = "beat") -> Piece:
    """Kick and snare in quarters and a hi-hat in eighths, stiff; and a bass that no drummer touches."""
    hits = [(bar * 4 + beat) * Q for bar in range(bars) for beat in range(4)]
    start = np.array([tick for tick in hits for _ in range(3)]) + np.tile([0, 0, Q // 2], len(hits))
    pitch = np.array([[36 if place % 2 == 0 else 38, 42, 42] for place in range(len(hits))]).ravel()
    drums = Notes(start, start + 60, pitch, np.full(len(start), 100))
    bass = Notes(np.array(hits), np.array(hits) + Q, np.full(len(hits), 40), np.full(len(hits), 77))
    tracks = [NewTrack("kit", 0, True, drums), NewTrack("bass", 33, False, bass)]
    return Piece.new(tracks if with_bass else tracks[:1], tempi=[(0, 100.0), (4 * Q, 90.0)], name=name)


def hits(piece: Piece, *, on_grid: bool = True) -> list[tuple[int, int]]:
    notes = piece.notes(next(track.index for track in piece.tracks if track.is_drum))
    start = (notes.start + 60) // 120 * 120 if on_grid else notes.start
    return sorted(zip(start.tolist(), notes.pitch.tolist(), strict=True))


def velocities(piece: Piece) -> list[int]:
    return piece.notes(next(track.index for track in piece.tracks if track.is_drum)).velocity.tolist()


def test_a_humanized_song_has_its_pattern_and_all_that_is_no_drum(drummer: TrainedModel) -> None:
    song = beat()
    played = drummer.humanize(song, seed=1)
    assert isinstance(played, Morph)
    assert len(played) == 1
    assert hits(played[0]) == hits(song)
    assert len(set(velocities(played[0]))) > 10
    assert hits(played[0], on_grid=False) != hits(song, on_grid=False)
    bass = next(track.index for track in song.tracks if not track.is_drum)
    for ours, wanted in zip(played[0].notes(bass), song.notes(bass), strict=True):
        assert np.array_equal(ours, wanted)
    ends = b"\xff\x2f\x00"  # where a chunk ends depends on how late its last hit is
    ours, wanted = ([event for event in events(piece) if event[2] != ends] for piece in (played[0], song))
    assert ours == wanted


def test_the_same_seed_plays_alike_and_players_differ(drummer: TrainedModel) -> None:
    song = beat(2)
    first, again, other = (drummer.humanize(song, seed=seed)[0] for seed in (1, 1, 2))
    assert first.to_bytes() == again.to_bytes()
    assert velocities(first) != velocities(other)
    several = drummer.humanize(song, 3, seed=1)
    assert len({tuple(velocities(player)) for player in several}) == 3


def test_only_the_chosen_bars_are_played(drummer: TrainedModel) -> None:
    song = beat(6)
    played = drummer.humanize(song.with_bars(3, 4), seed=0)[0]
    start = played.notes(0).start
    outside = (start < 8 * Q - 60) | (start >= 16 * Q - 60)
    assert set(played.notes(0).velocity[outside].tolist()) == {100}
    assert len(set(played.notes(0).velocity[~outside].tolist())) > 3


def test_how_a_pattern_was_played_before_does_not_matter(drummer: TrainedModel) -> None:
    x = DRUMS.tensor(torch.from_numpy(next(starter(DRUMS))[1].examples[:2])).target
    other = torch.cat([x[..., :1], torch.where(x[..., 1:] > 0, 60, 0)], -1)
    first, second = (drummer.humanize(each, 2, seed=3) for each in (x, other))
    assert first.shape == (2, *x.shape)
    assert torch.equal(first, second)
    assert torch.equal(first[0, ..., 0], x[..., 0])


def test_one_hit_is_played_and_nothing_is_refused(drummer: TrainedModel) -> None:
    one = Notes(np.array([Q]), np.array([Q + 60]), np.array([38]), np.array([64]))
    single = Piece.new([NewTrack("kit", 0, True, one)], end=8 * Q)
    assert hits(drummer.humanize(single, seed=0)[0]) == [(Q, 38)]
    empty = one._replace(**{name: column[:0] for name, column in one._asdict().items()})
    with pytest.raises(MusicaeError):
        drummer.humanize(Piece.new([NewTrack("kit", 0, True, empty)], end=8 * Q))


def test_a_groove_is_played_as_another(drummer: TrainedModel) -> None:
    pattern = beat(6, name="pattern")
    source = drummer.humanize(beat(2), seed=5)[0]
    played = drummer.transfer_feel(source, pattern)
    assert hits(played) == hits(pattern)
    assert velocities(played) != velocities(pattern)
    # Two bars of feel are repeated: bars with the same hits are played the same.
    kit = played.notes(0)
    starts = kit.start + 60
    first, third = (kit.velocity[(starts >= bar * 4 * Q) & (starts < (bar + 2) * 4 * Q)].tolist() for bar in (0, 4))
    assert first == third
    flat_feel = drummer.transfer_feel(beat(2), pattern)
    assert velocities(flat_feel) != velocities(played)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"count": 0}, "count is a whole number"), ({"temperature": -1.0}, "temperature is a number of 0 or more")],
)
def test_bad_arguments_are_named(drummer: TrainedModel, settings: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        drummer.humanize(beat(2), **settings)


def test_a_model_of_notes_alone_has_no_feel(music: TrainedModel) -> None:
    for call in (lambda: music.humanize(beat(2)), lambda: music.transfer_feel(beat(2), beat(2))):
        with pytest.raises(MusicaeError, match="use drums-2bar"):
            call()


# Taps


def test_taps_hear_the_rhythm_alone() -> None:
    x = DRUMS.tensor(torch.from_numpy(next(starter(DRUMS))[1].examples[:3])).target
    heard = tapped(x, DRUMS.spec)
    assert torch.equal(heard[..., 0] > 0, x[..., 0] > 0)
    assert set(heard[..., 0].unique().tolist()) <= {0, TAP}
    assert torch.equal(tapped(heard, DRUMS.spec), heard)


def test_pads_of_other_time_signatures_stay() -> None:
    domain = MusicDomain(MusicConfig(part="drums"))
    stored = torch.zeros(1, domain.config.steps, 2, dtype=torch.int64)
    stored[0, 0, 0], stored[..., 1] = 5, 1  # a hit in 3/4
    x = domain.tensor(stored).target
    heard = tapped(x, domain.spec)
    assert torch.equal(heard[0, 1:], x[0, 1:])
    assert heard[0, 0, 0] == TAP


def test_any_track_can_be_tapped_and_becomes_drums() -> None:
    drummer = trained("tap")
    start = np.array([0, Q, Q + 240, 2 * Q, 4 * Q, 5 * Q])
    melody = Notes(start, start + 100, np.arange(60, 66), np.full(6, 80))
    tapping = Piece.new([NewTrack("pad", 4, False, melody)], tempi=[(0, 133.0)], name="tapping")
    kit = drummer.tap(tapping)
    assert [track.is_drum for track in kit.tracks if track.notes] in ([True], [])
    assert kit.tempi[0][1] == pytest.approx(133.0, abs=0.01)
    # The rhythm is all that counts: other pitches, the same drums.
    other = Piece.new([NewTrack("pad", 4, False, melody._replace(pitch=melody.pitch + 5))], tempi=[(0, 133.0)])
    assert drummer.tap(other).to_bytes() == kit.to_bytes()
    x = DRUMS.tensor(torch.from_numpy(next(starter(DRUMS))[1].examples[:2])).target
    assert torch.equal(drummer.tap(x), drummer.tap(tapped(x, DRUMS.spec)))


def test_taps_need_notes_and_a_model_for_them(drummer: TrainedModel) -> None:
    with pytest.raises(MusicaeError, match="no rhythm is tapped"):
        trained("tap").tap(Piece.new([], end=4 * Q, name="still"))
    with pytest.raises(MusicaeError, match="trained to reconstruct, not to tap"):
        drummer.tap(beat(2))
    with pytest.raises(MusicaeError, match="part=drums"):
        common(expression=True).corruption("tap")
