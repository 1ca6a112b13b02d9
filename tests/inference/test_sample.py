"""New examples: draws from the prior, variations of a media object, and a square over the latent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from midi_notes import notes
from own_domains import conditioned_model
from PIL import Image

import musicae
from musicae.errors import MusicaeError
from musicae.inference.latent_paths import normal_grid
from musicae.starter import starter_file
from musicae.trained import TrainedModel, load

A, B = starter_file("a.mid"), starter_file("b.mid")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".musicae-cache"))


# Draws


def test_a_seed_fixes_the_samples(music: TrainedModel, image: TrainedModel) -> None:
    for trained in (music, image):
        assert torch.equal(trained.sample(4, seed=3).tensor, trained.sample(4, seed=3).tensor)
        assert not torch.equal(trained.sample(4, seed=3).tensor, trained.sample(4, seed=4).tensor)
        assert not torch.equal(trained.sample(4).tensor, trained.sample(4).tensor)


def test_samples_do_not_touch_the_global_generator(music: TrainedModel) -> None:
    before = torch.get_rng_state()
    music.sample(2, seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_are_written_like_a_path(image: TrainedModel, tmp_path: Path) -> None:
    sheet = image.sample(3, seed=0).save(tmp_path / "samples")
    assert names(sheet.parent) == ["sample-01.png", "sample-02.png", "sample-03.png", "samples.png"]
    with Image.open(sheet) as whole, Image.open(sheet.with_name("sample-02.png")) as second:
        assert second.size == (8, 8)
        assert whole.width > 10 * whole.height / 4 > 100  # all three in a row, large enough to be looked at


def test_many_pictures_are_a_sheet_and_a_few_a_row(image: TrainedModel, tmp_path: Path) -> None:
    sizes = {}
    for count in (4, 40):
        with Image.open(image.sample(count, seed=0).save(tmp_path / str(count))) as picture:
            sizes[count] = picture.size
    width, height = image.domain.spec.shape[2], image.domain.spec.shape[1]
    assert sizes[40] == (16 * width, 3 * height)
    assert sizes[4][0] > 100


def test_a_plain_autoencoder_is_not_sampled(plain: TrainedModel) -> None:
    with pytest.raises(MusicaeError, match="a plain autoencoder has no prior"):
        plain.sample(2)


def test_a_low_top_p_draws_what_is_most_probable(music: TrainedModel) -> None:
    greedy = music.sample(4, seed=3, temperature=0).tensor
    assert torch.equal(music.sample(4, seed=3, top_p=1e-6).tensor, greedy)
    assert not torch.equal(music.sample(4, seed=3).tensor, greedy)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"count": 1.5}, "count is a whole number between 1 and 1000, got 1.5"),
        ({"count": 0}, "count is a whole number between 1 and 1000, got 0"),
        ({"count": 1001}, "count is a whole number between 1 and 1000, got 1001"),
        ({"temperature": -0.1}, "temperature is a number of 0 or more, got -0.1"),
        ({"temperature": float("inf")}, "temperature is a number of 0 or more, got inf"),
        ({"temperature": float("nan")}, "temperature is a number of 0 or more, got nan"),
        ({"top_p": 0.0}, "top_p is above 0 and at most 1, got 0"),
        ({"top_p": 1.5}, "top_p is above 0 and at most 1, got 1.5"),
        ({"length": 0}, "length is 1 bar or more, got 0"),
        ({"count": 900, "length": 1000}, "900 pieces of 500 windows are more than 10000"),
        ({"label": 7}, "label is text, such as '7', got int"),
        ({"chords": "C", "label": "7"}, r"or a label \(pictures and notes\), not both"),
    ],
)
def test_bad_arguments_of_a_sample_are_named(music: TrainedModel, settings: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        music.sample(**settings)


def test_what_comes_out_silent_is_remarked_and_written(music: TrainedModel, tmp_path: Path) -> None:
    assert music.reconstruct(A).remarks == music.sample(2, seed=0).remarks == ()
    with torch.no_grad():
        music.network.head[-1].bias[0] += 1e6  # whatever the code, every step holds
    samples = music.sample(2, seed=0)
    assert samples.remarks == ("sample-01: silent: no note anywhere", "sample-02: silent: no note anywhere")
    assert notes(samples.save(tmp_path / "samples")) == []
    assert music.reconstruct(A).remarks == ("silent: no note anywhere",)
    assert "step-02: silent: no note anywhere" in music.interpolate_songs(A, B, 2).remarks


# Longer than a window


def test_a_length_in_bars_gives_pieces_of_consecutive_windows(music: TrainedModel, tmp_path: Path) -> None:
    samples = music.sample(3, length=7, seed=1)
    assert samples.tensor.shape == (3, 4, *music.domain.spec.shape)
    assert samples.remarks == ("7 bars become 8, a multiple of the model's 2",)
    whole = samples.save(tmp_path / "out")
    assert whole == tmp_path / "out" / "samples.mid"
    pieces = [f"sample-{number:02d}.{ending}" for number in (1, 2, 3) for ending in ("mid", "png", "wav")]
    assert names(whole.parent) == sorted([*pieces, "samples.mid"])
    second = notes(music.domain.compose(samples.tensor[1]))
    assert notes(whole.with_name("sample-02.mid")) == notes(samples[1]) == second
    assert 16 < max(end for _, end, _ in second) <= 32


def test_neighbouring_windows_of_a_piece_are_alike_and_distant_ones_are_not(music: TrainedModel) -> None:
    pieces = music.sample(60, length=16, seed=2, temperature=0).tensor
    same = (pieces[:, :, None] == pieces[:, None]).float().mean(dim=(0, 3, 4))  # (windows, windows)
    near, far = same.diagonal(1).mean(), same.diagonal(6).mean()
    assert near > far + 0.03


def test_one_window_of_a_length_is_a_sample(music: TrainedModel) -> None:
    assert torch.equal(music.sample(2, length=2, seed=5).tensor, music.sample(2, seed=5).tensor)


def test_pictures_have_no_length_in_bars(image: TrainedModel) -> None:
    with pytest.raises(MusicaeError, match="image has no bars to count a length in"):
        image.sample(length=4)


# A condition


def test_a_model_follows_its_condition_and_keeps_the_code() -> None:
    trained = conditioned_model()
    a, b = (trained.sample(3, seed=1, temperature=0, chords=letter).tensor for letter in "ab")
    assert not torch.equal(a, b)
    z = trained.pipeline.network.latent.sample(2, torch.Generator().manual_seed(0))
    changing, of_a, of_b = (
        trained.pipeline.decode_codes(z, trained.pipeline.condition(text, windows=2)) for text in ("ab", "a", "b")
    )
    assert torch.equal(changing[0], of_a[0]) and not torch.equal(changing[0], of_b[0])
    assert torch.equal(changing[1], of_b[1]) and not torch.equal(changing[1], of_a[1])
    assert not torch.equal(trained.decode(z, chords="a"), trained.decode(z, chords="b"))


def test_a_model_without_a_condition_says_which_would_follow_chords(music: TrainedModel, image: TrainedModel) -> None:
    z = torch.zeros(1, *music.network.latent_shape)
    for refused in (
        lambda: music.decode(z, chords="C"),
        lambda: music.reconstruct(A, chords="C"),
        lambda: image.sample(chords="C"),
        lambda: image.sample(label="7"),
    ):
        with pytest.raises(MusicaeError, match="chords=true"):
            refused()


# Variations


def test_variations_lie_as_far_from_the_piece_as_was_asked(music: TrainedModel) -> None:
    means = []
    for amount in (0.0, 0.15, 0.5, 1.0):
        original, *variations = (set(notes(piece)) for piece in music.vary(A, amount, 12, seed=1))
        means.append(float(np.mean([len(original & variation) / len(original) for variation in variations])))
    assert means[0] == 1
    assert means == sorted(means, reverse=True)
    assert means[1] > means[3] + 0.1


def test_the_first_is_the_reconstruction(music: TrainedModel) -> None:
    varied = music.vary(A, 0.5, 2, seed=0)
    assert len(varied) == 3
    assert torch.equal(varied.tensor[:1], music.decode(music.encode(A)))


def test_a_variation_at_the_full_amount_is_a_sample_that_knows_nothing_of_the_piece(music: TrainedModel) -> None:
    first, second = (music.vary(source, 1.0, 3, seed=4).tensor[1:] for source in (A, B))
    assert torch.equal(first, second)
    assert len(notes(music.domain.compose(first))) > 3


def test_variations_remark_their_distance_and_are_named_by_what_they_are(music: TrainedModel, tmp_path: Path) -> None:
    varied = music.vary(A, 0.25, 2, seed=0, choice={"bar": 3})
    assert varied.remarks[0].startswith("bars 3–4 of track ")
    assert "at amount 0.25" in varied.remarks[0] and "against the reconstruction: accuracy" in varied.remarks[0]
    assert varied.save(tmp_path / "out") == tmp_path / "out" / "variations.mid"
    parts = ["reconstruction.mid", "variation-01.mid", "variation-02.mid"]
    assert names(tmp_path / "out") == [*parts, "variations.mid", "variations.png", "variations.wav"]


def test_a_seed_fixes_the_variations_and_temperature_draws_their_symbols(music: TrainedModel) -> None:
    one, again, other = (music.vary(A, seed=seed).tensor for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, music.vary(A, seed=1, temperature=1.0).tensor)


@pytest.mark.parametrize("aspect", ["rhythm", "contour", "harmony"])
def test_an_aspect_can_be_kept_while_the_notes_change(music: TrainedModel, aspect: str) -> None:
    free, held = (music.vary(A, 0.7, 4, seed=1, keep=keep) for keep in (None, aspect))
    original = music.pipeline.batch(music.pipeline.select(A)).target
    domain = music.domain
    shares = {
        name: [float(domain.kept(each.tensor[1:], original.expand(4, -1, -1), name).mean()) for each in (free, held)]
        for name in (aspect, "notes")
    }
    assert shares[aspect][1] > shares[aspect][0] + 0.1
    assert shares["notes"][1] < 0.9
    assert held.remarks[-1].startswith(f"kept: {aspect} ")


def test_a_whole_piece_varies_within_its_bars_and_all_else_stays(music: TrainedModel) -> None:
    piece = music.domain.open(A).with_bars(3, 4)
    varied = music.vary_whole(piece, 0.8, 2, seed=1)
    first, last = (piece.bar_tick(bar) / piece.ticks_per_quarter for bar in (3, 5))
    before = [note for note in notes(piece) if not first <= note[0] < last]
    assert len(varied) == 2 and varied.tensor is None
    for whole in varied:
        assert [note for note in notes(whole) if not first <= note[0] < last] == before
        assert whole.tempi == piece.tempi
    assert notes(varied[0]) != notes(varied[1])


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"keep": "rhytm"}, MusicaeError, "unknown aspect 'rhytm'. Did you mean 'rhythm'"),
        ({"keep": "notes"}, MusicaeError, "unknown aspect 'notes'"),
        ({"keep": "rhythm", "temperature": 1.0}, ValueError, "leave temperature at 0"),
    ],
)
def test_what_cannot_be_kept_is_named(music: TrainedModel, settings: dict, error: type, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        music.vary(A, **settings)


def test_drums_have_a_rhythm_to_keep_and_no_contour() -> None:
    drums = load("drums-2bar", "cpu")
    groove = drums.sample(1, seed=1).tensor
    assert drums.domain.aspects == ("notes", "rhythm")
    with pytest.raises(MusicaeError, match=r"unknown aspect 'contour'. Valid: rhythm"):
        drums.vary(drums.domain.compose(groove), keep="contour")


def test_pictures_have_no_aspects_to_keep(image: TrainedModel) -> None:
    with pytest.raises(MusicaeError, match="keep is for music"):
        image.vary(np.zeros((8, 8), np.uint8), keep="rhythm")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"amount": -0.1}, "amount is between 0 and 1"),
        ({"amount": 1.1}, "amount is between 0 and 1"),
        ({"count": 0}, "count is a whole number between 1 and 1000, got 0"),
        ({"temperature": -1.0}, "temperature is a number of 0 or more, got -1"),
    ],
)
def test_bad_arguments_of_variations_are_named(music: TrainedModel, settings: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        music.vary(A, **settings)


def test_less_spread_is_nearer_to_what_is_expected(music: TrainedModel) -> None:
    usual, whole, none = (music.sample(4, seed=1, temperature=0, spread=spread).tensor for spread in (None, 1.0, 0.0))
    assert torch.equal(usual, whole)
    assert all(torch.equal(sample, none[0]) for sample in none)
    assert not torch.equal(whole[0], whole[1])
    with pytest.raises(ValueError, match="spread is a number of 0 to 10, got -1"):
        music.sample(1, spread=-1)


# A square over the latent


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """A model of digits with two latent numbers, conditioned on the class."""
    settings = {"width": 32, "latent_size": 2, "steps": 40, "evaluate_every": 40, "batch_size": 32, "precision": "no"}
    folder = tmp_path_factory.mktemp("flat") / "run"
    return musicae.train("image", model="mlp", out=folder, log_with=(), device="cpu", labels=True, **settings)


def test_a_grid_decodes_a_square_over_the_prior(flat: TrainedModel, tmp_path: Path) -> None:
    grid = flat.grid(5, label="7")
    assert grid.tensor.shape == (5, 5, 1, 8, 8)
    codes = normal_grid(5)
    for column in (0, 3):
        torch.testing.assert_close(grid.tensor[column], flat.decode(codes[:, column], label="7"))
    assert not torch.equal(flat.grid(5, label="1").tensor, grid.tensor)
    assert grid.save(tmp_path / "grid") == tmp_path / "grid" / "grid.png"
    assert names(tmp_path / "grid") == [*(f"column-0{number}.png" for number in range(1, 6)), "grid.png"]
    with Image.open(tmp_path / "grid" / "grid.png") as drawn:
        assert min(drawn.size) > 100


def test_a_longer_code_is_traversed_number_by_number(image: TrainedModel) -> None:
    grid = image.grid(7, numbers=3)
    assert grid.tensor.shape == (7, 3, 1, 8, 8)
    codes = torch.zeros(4, 7, 4)
    for number in range(4):
        codes[number, :, number] = torch.linspace(-3, 3, 7)
    rows = image.decode(codes.flatten(0, 1)).unflatten(0, (4, 7))
    moved = (rows[:, [0, 6]] - rows[:, 3:4]).square().flatten(2).mean(2).sqrt().sum(1)
    for place, number in enumerate(moved.argsort(descending=True)[:3]):
        torch.testing.assert_close(grid.tensor[:, place], rows[number])
    assert len(image.grid(2).tensor[0]) == 4  # no more rows than numbers


def test_a_traversal_around_a_file_goes_through_its_reconstruction(image: TrainedModel, flat: TrainedModel) -> None:
    digit = image.sample(1, seed=3)[0]
    found = image.grid(5, around=digit)
    middle = image.reconstruct(image.tensor(digit))
    for row in range(4):
        torch.testing.assert_close(found.tensor[2, row], middle[0].cpu(), atol=1e-5, rtol=1e-5)
    assert any("around" in remark for remark in found.remarks)
    code = flat.encode(digit)
    shown = flat.grid(3, around=digit, label="3")
    assert shown.tensor.shape == (3, 2, 1, 8, 8)
    torch.testing.assert_close(shown.tensor[1, 0], flat.decode(code, label="3")[0].cpu(), atol=1e-5, rtol=1e-5)


def test_a_traversal_around_a_tune_has_its_tempo(music: TrainedModel) -> None:
    tune = music.sample(1, seed=1)[0]
    fast = music.domain.at_tempo(tune, 190.0)
    column = music.grid(3, around=fast, numbers=2)[1]
    assert music.domain.tempo_bpm(column) == pytest.approx(190, abs=0.5)


def test_what_a_grid_can_not_show(image: TrainedModel, flat: TrainedModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 1 code to a side"):
        flat.grid(0)
    with pytest.raises(MusicaeError, match="'x'"):
        flat.grid(2, label="x")
    for wrong in (0, 65):
        with pytest.raises(ValueError, match="numbers is between 1 and 64"):
            image.grid(5, numbers=wrong)
    settings = {"widths": (4, 8), "steps": 2, "log_with": (), "device": "cpu"}
    for number, more in enumerate(({"model": "spatial", "latent_size": 2}, {"latent": "fsq", "latent_size": 4})):
        other = musicae.train("image", out=tmp_path / str(number), **settings, **more)
        with pytest.raises(MusicaeError, match="of which no number means anything alone"):
            other.grid(3)


def test_a_plain_autoencoder_is_varied_by_the_spread_of_its_codes(plain: TrainedModel, starter_set: Any) -> None:
    dataset = starter_set(plain.domain)
    codes = plain.encode(plain.domain.tensor(torch.from_numpy(dataset.examples[dataset.splits["train"]])).target)
    base = plain.network.latent.to_base(codes)
    torch.testing.assert_close(base.mean(0), torch.zeros(base.shape[1]), atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(base.T), torch.eye(base.shape[1]), atol=0.05, rtol=0)
    torch.testing.assert_close(plain.network.latent.from_base(base), codes, atol=1e-3, rtol=1e-3)
    digit = plain.domain.compose(plain.decode(codes[:1]))
    near, far = (plain.vary(digit, amount, 20, seed=0) for amount in (0.1, 0.9))
    distances = [(found.tensor[1:] - found.tensor[:1]).square().mean() for found in (near, far)]
    assert distances[0] < 0.3 * distances[1]
    assert any("has no prior" in remark for remark in near.remarks)


def test_a_plain_autoencoder_of_two_numbers_has_a_grid(tmp_path: Path) -> None:
    settings = {"latent": "deterministic", "latent_size": 2, "steps": 30, "log_with": ()}
    model = musicae.train("image", out=tmp_path / "run", **settings)
    grid = model.grid(5)
    assert grid.tensor.shape == (5, 5, 1, 8, 8)
    assert any("has no prior" in remark for remark in grid.remarks)
    middle = model.decode(model.network.latent.middle[None])
    torch.testing.assert_close(grid.tensor[2, 2], middle[0].cpu(), atol=1e-4, rtol=1e-4)
    before = load(tmp_path / "run")
    for name in ("middle", "spread"):  # as of a run of a former version
        getattr(before.network.latent, name).zero_()
    with pytest.raises(MusicaeError, match="spread of its codes was not measured"):
        before.grid(5)
