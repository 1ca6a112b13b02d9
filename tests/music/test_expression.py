"""Velocity and offset of each onset beside the tokens: stored, written, read back, learned and scored."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from music_pieces import common, map_piece

from musicae.likelihoods import build_likelihood
from musicae.models import build_model
from musicae.music.config import MusicConfig
from musicae.music.domain import MusicDomain
from musicae.music.expression import ON_GRID, read, written
from musicae.music.midi import NewTrack, Notes
from musicae.music.piece import Piece
from musicae.music.quantize import FAR_STEPS, find_phase

PLAYED = {part: MusicDomain(MusicConfig(part=part, expression=True)) for part in ("melody", "drums", "trio")}
SMALL = {"width": 16, "step_width": 16, "unrolled": 8, "embedding": 8, "latent_size": 8, "prior": "standard"}
STEP = 120  # ticks


def played(part: str, ticks: list[tuple[int, int]], pitch: int = 60, signature: tuple[int, int] = (4, 4)) -> Piece:
    """Notes as (tick, velocity), each half a step long; a trio has them in every part."""
    start, velocity = (np.array(column, np.int64) for column in zip(*ticks, strict=True))
    names = {"melody": [("melody", 0, False, pitch)], "drums": [("drums", 0, True, 38)]}
    names["trio"] = [*names["melody"], ("bass", 33, False, pitch - 24), *names["drums"]]
    tracks = [
        NewTrack(name, program, is_drum, Notes(start, start + STEP // 2, np.full(len(start), own), velocity))
        for name, program, is_drum, own in names[part]
    ]
    return Piece.new(tracks, time_signatures=((0, *signature),), name="played")


def tensor(domain: MusicDomain, piece: Piece, bar: int = 1) -> torch.Tensor:
    return domain.tensor(torch.from_numpy(domain.select(piece, bar=bar).example)).target


onsets = st.lists(st.tuples(st.integers(0, 31), st.integers(-60, 59), st.integers(1, 127)), min_size=5, max_size=20,
                  unique_by=lambda onset: onset[0])  # fmt: skip


@pytest.mark.parametrize("part", PLAYED)
@settings(max_examples=40, deadline=None)
@given(onsets)
def test_what_is_played_comes_back_to_the_tick(part: str, found: list[tuple[int, int, int]]) -> None:
    domain = PLAYED[part]
    # The first note of a piece can't come before its beginning.
    ticks = sorted((max(step * STEP + offset, 0), velocity) for step, offset, velocity in found)
    phase = find_phase(np.array([tick for tick, _ in ticks] * len(domain.config.plan.streams)), 480)
    assume(abs(phase.steps) <= FAR_STEPS or not phase.shift)  # else it is one that lies beside the grid
    first = tensor(domain, played(part, ticks))
    composed = domain.compose(first)
    for track in composed.tracks:
        own = composed.notes(track.index)
        assert own.start.tolist() == [tick for tick, _ in ticks]
        assert own.velocity.tolist() == [velocity for _, velocity in ticks]
    assert torch.equal(tensor(domain, composed), first)


def test_triplets_and_swing_are_exact() -> None:
    triplets = [(beat * 480 + third * 160, 80) for beat in range(8) for third in range(3)]
    swung = [(beat * 480 + place, 70 + place // 10) for beat in range(8) for place in (0, 320)]
    for ticks in (triplets, swung):
        made = PLAYED["melody"].compose(tensor(PLAYED["melody"], played("melody", ticks)))
        assert made.notes(0).start.tolist() == [tick for tick, _ in ticks]


@pytest.mark.parametrize("quarter", [96, 220, 384, 480, 960])
def test_the_offset_of_a_triplet_is_exact_in_every_resolution(quarter: int) -> None:
    ticks = np.array([beat * quarter + round(third * quarter / 3) for beat in range(8) for third in range(3)])
    notes = Notes(ticks, ticks + quarter // 4, np.full(len(ticks), 64), np.full(len(ticks), 90))
    piece = Piece.new([NewTrack("x", 0, False, notes)], ticks_per_quarter=quarter)
    found = tensor(PLAYED["melody"], piece)[0]
    offset = (found[found[:, 1] > 0, 2] - ON_GRID) / 120
    wanted = np.tile([0.0, 1 / 3, -1 / 3], 8)
    assert np.abs(offset.numpy() - wanted).max() < max(0.02, 2 / quarter * 4 / 2)


def test_an_early_or_late_piece_is_played_so_and_one_beside_the_grid_is_moved() -> None:
    for late, is_moved in ((20, False), (45, True)):
        ticks = [(beat * 240 + late, 80) for beat in range(24)]
        found = tensor(PLAYED["melody"], played("melody", ticks))[0]
        offsets = set((found[found[:, 1] > 0, 2] - ON_GRID).tolist())
        assert offsets == ({0} if is_moved else {late})
        assert (abs(late / 120) > FAR_STEPS) == is_moved


def test_a_held_note_is_struck_again_on_the_grid_with_its_own_velocity() -> None:
    start = np.array([0, 480, 960, 1440 + 17])
    notes = Notes(
        start, np.array([240, 720, 1200, 1440 + 17 + 1920]), np.array([60, 62, 64, 65]), np.array([50, 60, 70, 33])
    )
    piece = Piece.new([NewTrack("x", 0, False, notes)])
    second = tensor(PLAYED["melody"], piece, bar=2)[0]
    assert second[0].tolist() == [65 - 19, 33, ON_GRID]
    assert not second[1:, 1:].any()


def test_of_several_hits_of_a_drum_at_a_step_the_loudest_is_kept() -> None:
    values = written(*(np.array(column) for column in ([3, 3], [1, 1], [40, 90], [40, 90], [5, -7])), (8, 9))
    assert values[3, 1] == 90 and values[3, 9 + 1] == ON_GRID - 7
    assert values.astype(int).sum() == 90 + ON_GRID - 7
    velocity, offset = read(values[3, [1]], values[3, [10]])
    assert velocity.tolist() == [90] and offset.tolist() == [-7]


@pytest.mark.parametrize("part", PLAYED)
def test_an_answer_that_is_the_question_changes_no_event(part: str) -> None:
    ticks = [(beat * 240 + (beat * 37) % 50 - 20 * (beat > 0), 40 + beat) for beat in range(60)]
    piece = played(part, ticks)
    assert map_piece(PLAYED[part], piece, lambda tokens: tokens).data == piece.data


def test_a_model_without_values_keeps_the_sources_where_it_keeps_the_note() -> None:
    ticks = [(beat * 240 + 13 * (beat % 3), 40 + beat) for beat in range(32)]
    piece = played("melody", ticks)

    def every_fourth_higher(tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens.clone()
        tokens[:, ::8][tokens[:, ::8] >= 2] += 2
        return tokens

    changed = map_piece(common(), piece, every_fourth_higher).notes(0)
    kept = changed.pitch == 60
    assert kept.sum() == 24
    assert changed.start[kept].tolist() == [tick for number, (tick, _) in enumerate(ticks) if number % 4]
    assert changed.velocity[kept].tolist() == [velocity for number, (_, velocity) in enumerate(ticks) if number % 4]


def test_values_that_are_decoded_are_played_in_the_song() -> None:
    piece = played("melody", [(beat * 240, 80) for beat in range(32)])

    def softer_and_later(tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens.clone()
        sounds = (tokens[..., 0] >= 2) & (tokens[..., 0] < 90)
        tokens[..., 1] = torch.where(sounds, 41, 0)
        tokens[..., 2] = torch.where(sounds, ON_GRID + 9, 0)
        return tokens

    found = map_piece(PLAYED["melody"], piece, softer_and_later).notes(0)
    assert set(found.velocity.tolist()) == {41}
    assert found.start.tolist() == [beat * 240 + 9 for beat in range(32)]


@pytest.mark.parametrize("part", PLAYED)
def test_values_follow_their_notes_through_augmentation_and_corruption(part: str) -> None:
    domain = PLAYED[part]
    piece = played(part, [(beat * 240 + beat % 7, 30 + beat) for beat in range(90)])
    stored = torch.from_numpy(domain.examples(piece).examples)
    generator = torch.Generator().manual_seed(0)
    clean = domain.tensor(stored).target
    for tokens in (
        clean,
        domain.tensor(stored, generator).target,
        domain.corruption("denoise")(clean, generator),
        domain.corruption("upscale")(clean, generator),
    ):
        for place, column in enumerate(domain.spec.values, len(domain.spec.vocabulary)):
            applies = column.applies(tokens[..., column.stream])
            assert not tokens[..., place][~applies].any()
            if column.name == "velocity":
                assert (tokens[..., place][applies] > 0).all()
        domain.compose(tokens[:2])


def test_a_values_probability_is_the_mass_next_to_it() -> None:
    spec = PLAYED["melody"].spec
    likelihood = build_likelihood(spec)
    parameters = torch.randn(1, spec.shape[0], likelihood.width)
    target = torch.zeros(128, *spec.shape, dtype=torch.int64)
    target[:, 0, 0], target[:, 0, 1], target[:, 0, 2] = 40, torch.arange(128), ON_GRID
    target[:, 16:18, 0] = target[:, 34:, 0] = 90  # pads of 4/4
    costs = -likelihood.log_prob(parameters.expand(128, -1, -1), target)
    without = target.clone()
    without[:, 0, 1] = 0
    total = torch.logsumexp(-costs, 0)  # over all velocities: the probability of everything else
    for column in range(128):
        assert costs[column] > -total  # none has all of it
    masses = torch.exp(-costs - total)
    torch.testing.assert_close(masses.sum(), torch.tensor(1.0))
    silent = target.clone()
    silent[:, 0, 0] = 0
    assert likelihood.log_prob(parameters.expand(128, -1, -1), silent).unique().numel() == 1  # not scored in silence


def test_what_is_decoded_can_be_played_and_temperature_widens_the_values() -> None:
    torch.manual_seed(0)
    domain = PLAYED["drums"]
    model = build_model("steps", domain.spec, SMALL).eval()
    z = torch.randn(1, 8).repeat(64, 1)
    spread = []
    for temperature in (0.25, 1.0):
        decoded = model.decode(z, temperature=temperature, generator=torch.Generator().manual_seed(1))
        piece = domain.compose(decoded[:1])
        assert piece.note_count == sum(int(column.applies(decoded[:1, :, column.stream]).sum())
                                       for column in domain.spec.values if column.name == "velocity")  # fmt: skip
        values = decoded[..., 1:10]
        spread.append(float(values[values > 0].double().std()))
    assert spread[0] < spread[1]
    mode = model.decode(z)
    assert (mode == mode[:1]).all()


def test_a_small_model_learns_how_notes_are_played() -> None:
    domain = PLAYED["melody"]
    pieces = [
        played("melody", [(beat * 240 + 15 * ((beat + first) % 4), 40 + 20 * (beat % 4)) for beat in range(16)])
        for first in range(4)
    ]
    target = torch.cat([tensor(domain, piece) for piece in pieces])
    condition = torch.zeros(len(target), domain.config.steps, dtype=torch.int64)
    torch.manual_seed(0)
    model = build_model("steps", domain.spec, {**SMALL, "width": 64, "step_width": 32, "latent_size": 16})
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(700):
        loss = model.loss(target, condition=condition, beta=0.01).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scores = domain.metrics(model.eval().reconstruct(target, condition=condition), target, target)
    assert scores["onset_f1"].mean() > 0.95
    assert scores["velocity_mae"].nanmean() < 4  # always the mean: 20
    assert scores["offset_mae"].nanmean() < 0.03  # always the mean: 0.125


def test_scores_of_values_are_what_counting_by_hand_gives() -> None:
    domain = PLAYED["melody"]
    target = tensor(domain, played("melody", [(0, 80), (480, 60), (960, 90), (1440, 40)]))
    estimate = target.clone()
    estimate[0, 0, 1:] = torch.tensor([70, ON_GRID + 12])
    estimate[0, 4, 0] += 1  # another note, not compared
    scores = domain.metrics(estimate, target, target)
    assert scores["velocity_mae"].item() == pytest.approx(10 / 3)
    assert scores["offset_mae"].item() == pytest.approx(0.1 / 3)
    silent = torch.where(target < 90, 0, target)
    assert domain.metrics(silent, target, target)["velocity_mae"].isnan().all()
