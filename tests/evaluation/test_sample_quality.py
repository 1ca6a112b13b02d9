"""Draws and paths against models whose draws and paths are known, and against distances counted by hand."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from music_pieces import common
from torch import Tensor

from musicae.data.dataset import DataSet, unseen
from musicae.data.store import ReadReport
from musicae.domain import Domain
from musicae.errors import MusicaeError
from musicae.evaluation.sample_quality import path_quality, sample_quality
from musicae.models import Autoencoder, ModelConfig
from musicae.music.config import MusicConfig
from musicae.music.domain import MusicDomain
from musicae.nn.latent import Posterior
from musicae.spec import Layout
from musicae.trained import TrainedModel
from musicae.training.checkpoint import Manifest

Starter = Callable[[Domain], DataSet]


class Songbook(Autoencoder):
    """Decodes every code to some window of a book: the one that the code's angle points at.

    The codes of the windows lie evenly on a half circle, in their order; so does the way from one to another.
    """

    def __init__(self, domain: Domain, book: Tensor) -> None:
        super().__init__(domain.spec, ModelConfig(latent_size=2))
        self.book = book
        self._build_latent()

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (2,)

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        place = (x[:, None] == self.book[None]).flatten(2).float().mean(2).argmax(1)
        angle = (place + 0.5) / len(self.book) * torch.pi
        mean = torch.stack([angle.cos(), angle.sin()], 1)
        return Posterior(mean, torch.full_like(mean, -40.0))

    def decode(
        self,
        z: Tensor,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        share = torch.atan2(z[:, 1].abs(), z[:, 0]) / torch.pi
        return self.book[(share * len(self.book)).long().clamp_max(len(self.book) - 1)]

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        vocabulary = self.spec.vocabulary[0]
        return torch.nn.functional.one_hot(self.decode(z)[..., 0].clamp_max(vocabulary - 1), vocabulary) * 100.0


def songbook(domain: Domain, book: Tensor) -> TrainedModel:
    manifest = Manifest(domain=domain.name, domain_settings={}, task="reconstruct", model="book", model_settings={})
    return TrainedModel(Songbook(domain, book), domain, manifest, "cpu")


@pytest.fixture
def tunes(starter_set: Starter) -> tuple[MusicDomain, DataSet]:
    domain = common()
    return domain, starter_set(domain)


@pytest.fixture
def all_tunes(starter_set: Starter) -> DataSet:
    """In all time signatures, as the small model has learned them."""
    return starter_set(MusicDomain())


def windows(domain: Domain, dataset: DataSet, split: str) -> Tensor:
    return domain.tensor(torch.from_numpy(dataset.examples[dataset.splits[split]])).target


# Draws


def test_samples_have_the_promised_scores(tunes: tuple[MusicDomain, DataSet]) -> None:
    domain, dataset = tunes
    scores = sample_quality(songbook(domain, windows(domain, dataset, "train")), dataset, 50)
    distances = {f"{name}_js_bits" for name in ("pitch_class", "interval", "duration", "density")}
    expected = {f"{side}_{name}" for side in ("sample", "training") for name in distances}
    shares = {"in_scale", "silent", "rhythm_repeated", "self_similarity", "copied", "copied_bars", "distinct"}
    assert set(scores) == expected | {f"{side}_{name}" for side in ("sample", "held_out") for name in shares} | {
        "samples"
    }
    assert all(0 <= value <= 1 for name, value in scores.items() if name != "samples")


def test_a_model_that_knows_its_training_music_by_heart_copies_all_of_it(
    tunes: tuple[MusicDomain, DataSet],
) -> None:
    domain, dataset = tunes
    scores = sample_quality(songbook(domain, windows(domain, dataset, "train")), dataset, 200)
    assert scores["sample_copied"] == scores["sample_copied_bars"] == 1
    kept, whole = unseen(domain, dataset, "test"), dataset.splits["test"]
    assert scores["held_out_copied"] == pytest.approx(1 - len(kept) / len(whole))
    assert scores["held_out_copied_bars"] < 1


def test_real_music_is_near_the_floor_and_noise_is_far_from_it(tunes: tuple[MusicDomain, DataSet]) -> None:
    domain, dataset = tunes
    held_out = torch.from_numpy(np.array(dataset.examples[unseen(domain, dataset, "test")])).long()
    noise = torch.randint(0, 90, held_out.shape, generator=torch.Generator().manual_seed(3))
    real, random = (sample_quality(songbook(domain, book), dataset, 300) for book in (held_out, noise))
    for name in ("interval", "duration", "density"):
        assert random[f"sample_{name}_js_bits"] > 3 * real[f"sample_{name}_js_bits"]
        assert random[f"training_{name}_js_bits"] == real[f"training_{name}_js_bits"]
    assert random["sample_in_scale"] < 0.1 < real["sample_in_scale"]
    assert random["sample_copied"] == real["sample_copied"] == 0


def test_a_model_that_says_one_thing_is_not_distinct(tunes: tuple[MusicDomain, DataSet]) -> None:
    domain, dataset = tunes
    scores = sample_quality(songbook(domain, windows(domain, dataset, "test")[:1]), dataset, 40)
    assert scores["sample_distinct"] == 1 / 40
    assert scores["held_out_distinct"] > 0.5


def test_copies_are_found_where_the_store_has_no_identities(tunes: tuple[MusicDomain, DataSet]) -> None:
    domain, dataset = tunes
    trained = songbook(domain, windows(domain, dataset, "train"))
    bare = dataclasses.replace(dataset, identity=None)
    assert sample_quality(trained, bare, 30) == sample_quality(trained, dataset, 30)


def test_a_single_bar_has_no_bars_to_compare(starter_set: Starter) -> None:
    domain = common(bars=1)
    dataset = starter_set(domain)
    scores = sample_quality(songbook(domain, windows(domain, dataset, "train")), dataset, 20)
    assert "sample_copied" in scores
    assert "sample_copied_bars" not in scores


def test_a_domain_that_describes_nothing_still_says_what_was_copied(image: TrainedModel, starter_set: Starter) -> None:
    assert image.domain.spec.layout is Layout.GRID
    assert sample_quality(image, starter_set(image.domain), 5) == {"samples": 5}


def test_a_model_without_a_prior_and_a_restorer_are_refused(
    plain: TrainedModel, audio: TrainedModel, starter_set: Starter
) -> None:
    dataset = starter_set(plain.domain)
    with pytest.raises(MusicaeError, match="no prior to sample from"):
        sample_quality(plain, dataset, 5)
    with pytest.raises(MusicaeError, match="restores"):
        sample_quality(audio, dataset, 5)
    with pytest.raises(MusicaeError, match="restores"):
        path_quality(audio, dataset, 5)


# Paths


def ramp(domain: MusicDomain, sizes: list[int]) -> Tensor:
    """Windows of one note a step, of which each changes so many steps of the one before it."""
    pitches = torch.full((len(sizes) + 1, domain.config.steps), 30)
    for number, size in enumerate(sizes):
        pitches[number + 1] = pitches[number]
        pitches[number + 1, :size] += 1
    return pitches.unsqueeze(-1)


def of_windows(held_out: Tensor) -> DataSet:
    """A data set whose test split is given; what is in training is another melody."""
    examples = torch.cat([torch.full_like(held_out[:1], 1), held_out]).numpy().astype(np.uint8)
    test, nothing = np.arange(1, len(examples)), np.zeros(0, np.int64)
    splits = {"train": np.zeros(1, np.int64), "validation": nothing, "test": test}
    return DataSet(examples, splits, "", "", ReadReport())


def test_even_and_uneven_paths_are_told_apart() -> None:
    domain = common()
    even, uneven = ramp(domain, [4] * 11), ramp(domain, [1] * 5 + [32] + [1] * 5)
    found = []
    for book in (even, uneven):
        ends = of_windows(book[[0, -1]])
        found.append(path_quality(songbook(domain, book), ends, 6))
    # The 13 points on the way over 12 windows: one of the 12 steps stays, at most.
    assert found[0]["uniform_jump"] == pytest.approx(12 / 11, abs=0.01)
    assert found[0]["uniform_change"] == pytest.approx(11 / 12 * 4 / 32, rel=0.01)
    assert found[1]["uniform_jump"] == pytest.approx(32 / ((10 + 32) / 12), rel=0.01)


def test_a_crossfade_takes_each_step_once_from_the_other_end() -> None:
    domain = common()
    book = torch.stack([torch.full((32, 1), 30), torch.full((32, 1), 40)])
    scores = path_quality(songbook(domain, book), of_windows(book), 50)
    assert scores["crossfade_change"] == pytest.approx(1 / 12)
    assert scores["uniform_change"] == pytest.approx(1 / 12)
    assert scores["uniform_jump"] == pytest.approx(12)  # all at once, half way
    assert 1.5 < scores["crossfade_jump"] < 4


def test_the_model_finds_its_own_paths_likely_and_a_crossfade_not(tunes: tuple[MusicDomain, DataSet]) -> None:
    domain, dataset = tunes
    scores = path_quality(songbook(domain, windows(domain, dataset, "test")), dataset, 20)
    assert scores["path_nll_nats"] == pytest.approx(scores["ends_nll_nats"], abs=5)
    assert scores["crossfade_nll_nats"] > scores["path_nll_nats"] + 100
    assert scores["path_midpoint_in_scale"] >= scores["crossfade_midpoint_in_scale"]
    assert 0 < scores["ends_in_scale"] <= 1


def test_ends_that_are_the_same_to_the_model_have_no_jump() -> None:
    domain = common()
    held_out = torch.stack([torch.full((32, 1), 30), torch.arange(30, 62)[:, None]])
    scores = path_quality(songbook(domain, held_out[:1]), of_windows(held_out), 3)
    assert scores["path_change"] == scores["crossfade_change"] == 0
    assert "path_jump" not in scores


def test_a_path_needs_two_examples() -> None:
    domain = common()
    held_out = torch.full((1, 32, 1), 30)
    with pytest.raises(MusicaeError, match="two examples that do not stand in training, and test has 1"):
        path_quality(songbook(domain, held_out), of_windows(held_out), 3)


def test_both_ends_of_a_path_are_in_one_time_signature() -> None:
    domain = MusicDomain(MusicConfig(time_signature="any"))
    names = [signature.name for signature in domain.config.signatures]
    stored = torch.zeros(4, domain.config.steps, 2, dtype=torch.int64)
    for row, name in enumerate(("3/4", "3/4", "4/4", "4/4")):
        stored[row, :, 1] = names.index(name)
        stored[row, 0, 0] = 30 + row
    book = domain.tensor(stored).target
    scores = path_quality(songbook(domain, book), of_windows(stored), 20)
    # Two windows of one time signature differ in one step; those of two also in where their bars end.
    assert scores["uniform_change"] == pytest.approx(1 / book.shape[1] / 12)
    with pytest.raises(MusicaeError, match="of one time signature"):
        path_quality(songbook(domain, book), of_windows(stored[1:3]), 3)


def test_pictures_have_paths_too(image: TrainedModel, plain: TrainedModel, starter_set: Starter) -> None:
    scores = path_quality(image, starter_set(image.domain), 10)
    # A straight blend moves evenly; decoded codes nearly so.
    assert scores["crossfade_jump"] == pytest.approx(1, abs=1e-3)
    assert 1 <= scores["path_jump"] < 1.3
    assert scores["path_jump"] < scores["uniform_jump"]
    assert scores["path_nll_nats"] < scores["crossfade_nll_nats"] + 5
    without = path_quality(plain, starter_set(plain.domain), 3)
    assert set(scores) - set(without) == {f"{name}_nll_nats" for name in ("path", "uniform", "crossfade", "ends")}


def test_importance_weighting_lowers_the_cost_of_the_points(music: TrainedModel, all_tunes: DataSet) -> None:
    bound, tight = (path_quality(music, all_tunes, 8, draws=draws) for draws in (0, 20))
    assert tight["path_nll_nats"] < bound["path_nll_nats"]
    assert tight["path_change"] == bound["path_change"]


def test_a_seed_fixes_both(music: TrainedModel, all_tunes: DataSet) -> None:
    for quality in (sample_quality, path_quality):
        one, again, other = (quality(music, all_tunes, 6, seed=seed) for seed in (1, 1, 2))
        assert one == again
        assert one != other
