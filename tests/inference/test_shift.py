"""More or less of one attribute of a whole piece, and what is said of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from midi_notes import notes
from own_domains import CountedMusic

from musicae.attribute_vectors import AttributeVectors, fit
from musicae.data.dataset import DataSet
from musicae.domain import Domain
from musicae.errors import MusicaeError
from musicae.music.domain import MusicDomain
from musicae.starter import starter_file
from musicae.trained import TrainedModel, load

A = starter_file("a.mid")


@pytest.fixture(scope="module")
def vectors(tiny_run: Callable[[str], Path], starter_set: Callable[[Domain], DataSet]) -> AttributeVectors:
    """Of the small melody model, for attributes that are easy to count."""
    music = load(tiny_run("music"), "cpu")
    domain = CountedMusic(music.domain.config)
    counted = TrainedModel(music.network, domain, music.manifest, "cpu")
    return fit(counted.pipeline, starter_set(domain))


class MovedMusic(MusicDomain):
    """Without a way to say what is kept, so that codes are moved along the vector alone."""

    kept = None  # type: ignore[assignment]


@pytest.fixture
def shipped() -> TrainedModel:
    return load("melody-2bar", "cpu")


@pytest.fixture
def moved(shipped: TrainedModel, tmp_path: Path) -> TrainedModel:
    """The shipped model with such a domain, its vectors in a folder of the test's own."""
    folder = tmp_path / ".musicae-cache" / "moved"
    folder.mkdir(parents=True)
    shipped.attribute_vectors.save(folder)
    return TrainedModel(shipped.network, MovedMusic(shipped.domain.config), shipped.manifest, "cpu", folder)


@pytest.fixture
def counted(music: TrainedModel, vectors: AttributeVectors, tmp_path: Path) -> TrainedModel:
    """The small melody model with those attributes, its vectors in a folder of the test's own."""
    folder = tmp_path / ".musicae-cache" / "vectors"
    folder.mkdir(parents=True)
    vectors.save(folder)
    return TrainedModel(music.network, CountedMusic(music.domain.config), music.manifest, "cpu", folder)


def test_a_shifted_piece_has_more_or_less_of_its_attribute_and_says_so(counted: TrainedModel) -> None:
    counts, changes = {}, {}
    for amount in (-1.0, 0.0, 1.0):
        shifted = counted.shift(A, "density", amount)
        counts[amount] = len(notes(shifted))
        assert shifted.remarks[0].startswith("density: ") and shifted.remarks[0].endswith(" shifted")
        assert shifted.remarks[1].startswith("changes in standard deviations: density ")
        changes[amount] = float(shifted.remarks[1].split("density ")[1].split(",")[0])
    assert changes[-1.0] < changes[0.0] < changes[1.0] and changes[1.0] > 0.5
    assert counts[-1.0] < counts[0.0] < counts[1.0]
    assert notes(counted.shift(A, "density", 0.0)) == notes(counted.reconstruct(A))


def test_a_shifted_batch_is_moved_as_its_piece_is(counted: TrainedModel) -> None:
    batch = counted.tensor(A)
    assert torch.equal(counted.shift(batch, "density", 0.0), counted.reconstruct(batch))
    more, less = (counted.shift(batch, "density", amount) for amount in (1.0, -1.0))
    density = counted.domain.attributes
    assert density(more)["density"] > density(less)["density"]


def test_an_attribute_out_of_reach_is_said_to_be(counted: TrainedModel, vectors: AttributeVectors) -> None:
    weak = vectors.info["height"].model_copy(update={"effects": {**vectors.info["height"].effects, "height": 0.02}})
    vectors._replace(info={**vectors.info, "height": weak}).save(counted.folder)
    said = "this model hardly moves height: on its training data an amount of 1 changed it by 0.02"
    assert said in counted.shift(A, "height", 1.0).remarks
    assert said not in counted.shift(A, "density", 1.0).remarks


def test_an_attribute_that_hardly_moves_here_is_said_to(moved: TrainedModel) -> None:
    vectors = moved.attribute_vectors
    vectors._replace(vectors={name: 1e-4 * vector for name, vector in vectors.vectors.items()}).save(moved.folder)
    assert any(remark.startswith("density hardly moved here: by ") for remark in moved.shift(A, "density", 1.0).remarks)


def test_an_attribute_that_went_the_other_way_is_said_to_have(moved: TrainedModel) -> None:
    said, vectors = "average_interval went the other way; ask for less", moved.attribute_vectors
    assert said not in moved.shift(A, "average_interval", 2.0).remarks
    vectors._replace(vectors={name: -vector for name, vector in vectors.vectors.items()}).save(moved.folder)
    assert said in moved.shift(A, "average_interval", -2.0).remarks


@pytest.mark.parametrize("attribute", ["density", "average_interval"])
def test_a_search_keeps_the_tune_where_the_vector_alone_does_not(
    shipped: TrainedModel, moved: TrainedModel, attribute: str
) -> None:
    batch = next(iter(shipped.domain.windows(shipped.domain.open(A)))).batch.target[:6]
    searched, along = (model.shift(batch, attribute, 1.0) for model in (shipped, moved))
    domain, deviation = shipped.domain, shipped.attribute_vectors.info[attribute].deviation
    kept = [float(domain.kept(answer, batch, "notes").mean()) for answer in (searched, along)]
    assert kept[0] > max(0.5, kept[1] + 0.05)
    change = domain.attributes(searched)[attribute] - domain.attributes(batch)[attribute]
    assert float(change.mean()) / deviation > 0.5
    assert torch.equal(searched, shipped.shift(batch, attribute, 1.0))


def test_how_many_notes_are_kept_is_said(shipped: TrainedModel) -> None:
    piece = shipped.domain.open(A).with_bars(1, 2)
    changed = shipped.shift(piece, "density", 1.0)
    batch = next(iter(shipped.domain.windows(piece))).batch.target
    before, after = (next(iter(shipped.domain.windows(each.with_bars(1, 2)))).batch.target for each in (piece, changed))
    assert torch.equal(batch, before)
    share = float(shipped.domain.kept(after, before, "notes").mean())
    assert f"notes kept: {share:.0%}" in changed.remarks and share > 0.5


def test_a_model_without_vectors_and_an_unknown_attribute_are_named(counted: TrainedModel) -> None:
    with pytest.raises(MusicaeError, match=r"unknown attribute 'heigt'. Did you mean 'height'"):
        counted.shift(A, "heigt")
    without = TrainedModel(counted.network, counted.domain, counted.manifest, "cpu")
    with pytest.raises(MusicaeError, match="this model has no attribute vectors; train it anew"):
        without.shift(A, "density")


@pytest.mark.parametrize("amount", [float("nan"), float("inf")])
def test_an_amount_that_is_no_number_is_refused(counted: TrainedModel, amount: float) -> None:
    with pytest.raises(ValueError, match="amount is a number of standard deviations, got"):
        counted.shift(A, "density", amount)


def test_pictures_have_no_attributes_to_shift(image: TrainedModel) -> None:
    with pytest.raises(MusicaeError, match="image has no attributes; models of these domains have: music, audio"):
        image.shift(np.zeros((8, 8), np.uint8), "density")
