"""Windows of several time signatures in one tensor, and a model that is given the file's own."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from music_pieces import map_piece, starter

from musicae.cli import main
from musicae.models import build_model
from musicae.music.config import TIME_SIGNATURES, MusicConfig
from musicae.music.domain import MusicDomain
from musicae.music.midi import NewTrack, Notes
from musicae.music.piece import Piece
from musicae.music.slots import Slots
from musicae.spec import TensorSpec
from musicae.trained import TrainedModel, load

ANY = MusicDomain(MusicConfig())
WRITTEN = ("4/4", "2/2", "2/4", "4/8", "8/8", "4/2", "8/4", "3/4", "6/4", "3/2", "9/4", "6/8", "3/8", "12/8", "9/8")
SMALL = {"width": 16, "step_width": 16, "unrolled": 8, "embedding": 8, "latent_size": 8, "prior": "standard"}


def eighths(signature: tuple[int, int], count: int = 144) -> Piece:
    """Notes of different lengths and pitches, an eighth apart."""
    start = 240 * np.arange(count)
    pitch = 60 + (start // 240) % 13
    notes = Notes(start, start + 60 + 30 * (np.arange(count) % 6), pitch, 40 + np.arange(count) % 80)
    return Piece.new([NewTrack("flute", 73, False, notes)], time_signatures=((0, *signature),), name="eighths")


def windows(domain: MusicDomain, piece: Piece) -> torch.Tensor:
    return domain.tensor(torch.from_numpy(domain.examples(piece).examples)).target


@pytest.mark.parametrize("written", WRITTEN)
def test_every_time_signature_is_read_and_given_back(written: str) -> None:
    upper, lower = map(int, written.split("/"))
    signature = upper, lower
    piece = eighths(signature)
    assert map_piece(ANY, piece, lambda tokens: tokens).data == piece.data
    stored = ANY.examples(piece)
    assert len(stored.examples) and stored.skipped == {}
    bar_ticks = 480 * 4 * signature[0] // signature[1]
    for bar in range(1, 4):  # the window that is chosen by its bar begins where the bar does
        chosen = ANY.select(piece, bar=bar)
        assert chosen.frame.time_signature == signature
        composed = ANY.compose(ANY.tensor(torch.from_numpy(chosen.example)).target, chosen.frame)
        own, found = piece.notes(0), composed.notes(0)
        first = np.flatnonzero(own.start >= (bar - 1) * bar_ticks)[0]
        assert found.pitch[:4].tolist() == own.pitch[first : first + 4].tolist()
        assert composed.time_signatures[0][1:] == signature


def test_weights_of_one_time_signature_start_a_model_of_several() -> None:
    domain = MusicDomain(MusicConfig(time_signature="4/4"))
    torch.manual_seed(1)
    before = build_model("steps", domain.spec, SMALL).eval()
    torch.manual_seed(2)
    after = build_model("steps", ANY.spec, SMALL).eval()
    after.load_state_dict(after.adapted(before.state_dict()))
    own = torch.randint(0, 90, (5, 32, 1), generator=torch.Generator().manual_seed(3))
    condition = torch.zeros(5, 36, dtype=torch.int64)
    z = torch.randn(5, 8, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        decoded, there = before.decode(z), after.decode(z, condition=condition)
        assert torch.equal(there.unflatten(1, (2, 18))[:, :, :16].flatten(1, 2), decoded)
        assert decoded.unique().numel() > 1
        # In a step, and not only where nothing was struck yet.
        slots = torch.full((5, 2, 18, 1), 90).index_copy(2, torch.arange(16), own.unflatten(1, (2, 16))).flatten(1, 2)
        forced = after.teacher_forced(z, slots, condition).unflatten(1, (2, 18))[:, :, :16].flatten(1, 2)
        assert torch.allclose(forced, before.teacher_forced(z, own), atol=1e-5)


def test_chords_are_known_in_every_time_signature_that_is_new() -> None:
    domains = [MusicDomain(MusicConfig(time_signature=name, chords=True)) for name in ("4/4", "any")]
    before, after = (build_model("steps", domain.spec, SMALL).eval() for domain in domains)
    after.load_state_dict(after.adapted(before.state_dict()))
    chords = torch.arange(32)[None] % 49
    z = torch.randn(1, 8)
    slots = torch.zeros(1, 2, 18, dtype=torch.int64).index_copy(2, torch.arange(16), chords.unflatten(1, (2, 16)))
    with torch.no_grad():
        decoded, there = before.decode(z, condition=chords), after.decode(z, condition=slots.flatten(1, 2))
    assert torch.equal(there.unflatten(1, (2, 18))[:, :, :16].flatten(1, 2), decoded)
    classes = before.state_dict()["condition_decoder.weight"]
    assert torch.equal(after.state_dict()["condition_decoder.weight"], classes.repeat(4, 1))


@pytest.mark.parametrize(
    "other",
    [{"bars": 1}, {"part": "drums"}, {"part": "drums", "time_signature": "4/4"}, {"bars": 1, "time_signature": "4/4"}],
)
def test_weights_that_mean_something_else_are_not_taken_for_what_they_are_not(other: dict) -> None:
    stranger = build_model("steps", MusicDomain(MusicConfig(**other)).spec, SMALL)
    after = build_model("steps", ANY.spec, SMALL)
    weights = stranger.state_dict()
    adapted = after.adapted(weights)
    for name in ("phrase_encoder.0.weight", "phrase_decoder.3.weight"):
        assert torch.equal(adapted[name], weights[name]), name
    if "part" in other:
        assert torch.equal(adapted["input_embedding.tables.0.weight"], weights["input_embedding.tables.0.weight"])


def test_a_batch_is_encoded_in_its_own_time_signature() -> None:
    model = build_model("steps", ANY.spec, SMALL)
    with torch.no_grad():
        for name in ("condition_encoder.weight", "condition_decoder.weight"):
            model.get_parameter(name).normal_()
    trained = TrainedModel(model, ANY, load("melody-2bar", "cpu").manifest, "cpu")
    piece = eighths((3, 4))
    batch = windows(ANY, piece)[:3]
    z = trained.encode(batch)
    torch.testing.assert_close(z[:1], trained.encode(piece, bar=1))
    assert not torch.equal(z, trained.network.encode(batch, torch.zeros(3, 36, dtype=torch.int64)).mean)
    again = trained.reconstruct(batch)
    assert torch.equal(again, trained.decode(z, time_signature="3/4"))
    assert torch.equal(ANY.condition_of(again), ANY.condition_of(batch))


def test_weights_of_other_sizes_are_left_as_they_are() -> None:
    after = build_model("steps", ANY.spec, SMALL)
    other = {"phrase_encoder.0.weight": torch.zeros(3, 7), "input_embedding.tables.0.weight": torch.zeros(4, 5)}
    adapted = after.adapted(other)
    assert all(torch.equal(adapted[name], value) for name, value in other.items())


def test_whole_pieces_in_two_time_signatures_meet_in_the_longer_ones() -> None:
    model = build_model("steps", ANY.spec, SMALL)
    manifest = load("melody-2bar", "cpu").manifest
    trained = TrainedModel(model, ANY, manifest, "cpu")
    long, short = eighths((3, 4)), eighths((4, 4), 40)
    for path in (trained.interpolate_songs(long, short, 3), trained.interpolate_songs(short, long, 3)):
        for whole in path:
            assert whole.time_signatures == long.time_signatures and whole.bars == long.bars
    ends = trained.interpolate_songs(long, short, 3)
    assert ends[0].notes(0).start.tolist() == trained.reconstruct(long).notes(0).start.tolist()


@pytest.mark.parametrize("name", list(TIME_SIGNATURES))
def test_a_model_of_any_reads_what_a_model_of_one_reads(name: str) -> None:
    alone = MusicDomain(MusicConfig(time_signature=name))
    piece = eighths((TIME_SIGNATURES[name].numerator, TIME_SIGNATURES[name].denominator))
    if name == "2/4":  # of any it is read in pairs, as 4/4
        alone = MusicDomain(MusicConfig(time_signature="4/4"))
    for group in ANY.config.slots.groups(windows(ANY, piece), ANY.config.plan.vocabulary):
        assert torch.equal(group.tokens, windows(alone, piece)[group.rows])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_slots_hold_what_was_put_in_and_pads_say_the_time_signature(data: st.DataObject) -> None:
    lengths = tuple(data.draw(st.lists(st.integers(2, 9), min_size=2, max_size=4)))
    lengths = (*lengths, max(lengths) + 1)  # the longest is one of its own, as in music
    slots = Slots(lengths, data.draw(st.integers(1, 3)))
    count, sizes = data.draw(st.integers(1, 6)), (7, 5)
    number = torch.tensor(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=count, max_size=count)))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 1000)))
    stored = torch.stack([torch.randint(0, size, (count, slots.steps), generator=generator) for size in sizes], -1)
    bars = slots.bars
    for row, own in enumerate(number.tolist()):
        stored[row, bars * lengths[own] :] = 0
    spread = slots.spread(stored, number, sizes)
    slots.check(spread, sizes)
    assert torch.equal(slots.numbers(spread, sizes), number)
    seen = torch.zeros_like(stored)
    for group in slots.groups(spread, sizes):
        assert (number[group.rows] == group.number).all()
        seen[group.rows, : group.tokens.shape[1]] = group.tokens
    assert torch.equal(seen, stored)
    pads = torch.stack([spread[..., index] >= size for index, size in enumerate(sizes)], -1)
    wanted = bars * (slots.size - torch.tensor(lengths)[number])
    assert torch.equal(pads.sum(1), wanted[:, None].expand(-1, 2))


def test_a_pad_inside_a_bar_is_refused() -> None:
    tokens = windows(ANY, eighths((3, 4)))[:1]
    tokens[0, 3, 0] = 91
    with pytest.raises(ValueError, match="pads"):
        ANY.compose(tokens)


def of_any() -> tuple[TensorSpec, torch.nn.Module]:
    torch.manual_seed(0)
    return ANY.spec, build_model("steps", ANY.spec, SMALL).eval()


@pytest.mark.parametrize("number", range(4))
def test_what_is_decoded_is_in_the_time_signature_that_is_given(number: int) -> None:
    spec, model = of_any()
    condition = torch.full((5, spec.shape[0]), number)
    decoded = model.decode(torch.randn(5, 8), condition=condition)
    ANY.config.slots.check(decoded, spec.vocabulary)
    assert ANY.config.slots.numbers(decoded, spec.vocabulary).tolist() == [number] * 5
    assert torch.equal(model.decode(torch.zeros(1, 8)), model.decode(torch.zeros(1, 8), condition=condition[:1] * 0))


def test_pads_cost_nothing_and_the_rest_what_it_costs_alone() -> None:
    spec, model = of_any()
    batch = ANY.tensor(torch.from_numpy(ANY.examples(eighths((3, 4))).examples))
    parameters = torch.randn(len(batch.target), spec.shape[0], model.likelihood.width)
    cost = -model.likelihood.log_prob(parameters, batch.target)
    exists = batch.target[..., 0] < 90
    each = torch.nn.functional.cross_entropy(parameters[exists], batch.target[exists][:, 0], reduction="none")
    torch.testing.assert_close(cost.sum(), each.sum())
    assert exists.sum() == 24 * len(batch.target)


def test_bars_of_another_time_signature_are_read_in_one_song() -> None:
    notes = eighths((4, 4), 60).notes(0)
    piece = Piece.new([NewTrack("x", 0, False, notes)], time_signatures=((0, 4, 4), (8 * 480, 3, 4), (14 * 480, 6, 8)))
    found = windows(ANY, piece)
    numbers = ANY.config.slots.numbers(found, ANY.config.plan.vocabulary)
    assert sorted(set(numbers.tolist())) == [0, 1, 2]
    assert map_piece(ANY, piece, lambda tokens: tokens).data == piece.data
    composed = ANY.compose(torch.stack([found[numbers == number][0] for number in range(3)]))
    assert [event[1:] for event in composed.time_signatures[:3]] == [(4, 4), (3, 4), (6, 8)]
    assert len(ANY.statistics(found).histograms["density"]) == len(found)
    assert ANY.attributes(found)["density"].isfinite().all()


def test_each_time_signature_has_starter_tunes_that_are_learned_from() -> None:
    numbers = [reading.examples[:, 0, -1] for _, reading in starter(ANY) if len(reading.examples)]
    assert set(np.concatenate(numbers).tolist()) == {0, 1, 2, 3}


def test_a_time_signature_can_be_asked_for_by_its_name(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    condition = ANY.condition("3/4", 2)
    assert condition.shape == (2, 36) and (condition == 1).all()
    small = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    train = ["train", "--domain", "music", "--steps", "4", "--set", "evaluate_every=4", "--precision", "no", *small]
    runner = CliRunner()
    result = runner.invoke(main, [*train, "--out", "run"], prog_name="musicae")
    assert result.exit_code == 0, result.output
    result = runner.invoke(
        main, ["sample", "--model", "run", "--time-signature", "9/8", "--count", "2", "--out", "out"]
    )
    assert result.exit_code == 0, result.output
    pieces = [Piece.open(path) for path in sorted((tmp_path / "out").glob("*.mid"))]
    assert pieces and all(piece.time_signatures[0][1:] == (9, 8) for piece in pieces)
    refused = runner.invoke(main, ["sample", "--model", "run", "--time-signature", "5/4"])
    assert refused.exit_code == 2 and "9/8" in refused.stderr


@pytest.mark.parametrize("own", [(4, 4), (9, 8)])
def test_an_answer_in_another_time_signature_brings_no_pads_into_the_song(own: tuple[int, int]) -> None:
    domain = MusicDomain(MusicConfig(part="drums"))

    def snares(signature: tuple[int, int]) -> Piece:
        start = 240 * np.arange(100)
        notes = Notes(start, start + 60, np.full(100, 38), np.full(100, 80))
        return Piece.new([NewTrack("kit", 0, True, notes)], time_signatures=((0, *signature),), name="snares")

    answer = windows(domain, snares((3, 4)))[:1]  # its pad has the bit of the kick
    asked = list(domain.windows(snares(own)))
    made = domain.assemble(snares(own), [(each, answer.expand(len(each.batch.target), -1, -1)) for each in asked])
    assert set(made.notes(0).pitch.tolist()) == {38}


def test_windows_of_every_time_signature_are_stored_again_as_they_were_and_cut_into_bars() -> None:
    domain = MusicDomain(MusicConfig())
    generator = np.random.default_rng(0)
    stored = np.zeros((40, domain.config.steps, 2), np.uint8)
    for row, own in enumerate(stored):
        own[:, -1] = row % 4
        steps = 2 * domain.config.signatures[row % 4].steps_per_bar
        own[:steps, 0] = np.where(generator.random(steps) < 0.3, generator.integers(2, 90, steps), 0)
    again = domain.stored(domain.tensor(torch.from_numpy(stored)).target)
    assert np.array_equal(again, stored)
    bars = domain.single_bars(stored)
    assert bars.shape == (80, 18, 2)
    for row in range(40):
        steps = domain.config.signatures[row % 4].steps_per_bar
        for bar in range(2):
            assert np.array_equal(bars[2 * row + bar, :steps], stored[row, bar * steps : (bar + 1) * steps])
            assert not bars[2 * row + bar, steps:].any()
