"""Attribute vectors move what they are named after, by what they say, and leave the rest."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from own_domains import CountedMusic
from torch import Tensor

from musicae import attribute_vectors
from musicae.attribute_vectors import FILE, AttributeVectors, fit, moved, moved_code
from musicae.data.dataset import DataSet
from musicae.domain import Batch, Domain
from musicae.errors import CheckpointError, MusicaeError
from musicae.music.domain import MusicDomain
from musicae.pipeline import Pipeline
from musicae.shipped import find_model
from musicae.trained import TrainedModel, load

Run = Callable[[str], Path]
Starter = Callable[[Domain], DataSet]
CPU = torch.device("cpu")


class PartlyCountedMusic(CountedMusic):
    """With an attribute that is the same everywhere, and one that often can't be measured."""

    def attributes(self, tensor: Tensor) -> dict[str, Tensor]:
        counted = super().attributes(tensor)
        missing = torch.where(counted["density"] > 8, counted["density"], torch.nan)
        return {**counted, "bars": torch.full_like(missing, 2.0), "sometimes": missing}


Counted = tuple[Pipeline, DataSet, AttributeVectors]


def counting(music: TrainedModel, domain: type[MusicDomain] = CountedMusic) -> Pipeline:
    return Pipeline(music.network, domain(music.domain.config), "reconstruct", CPU)


@pytest.fixture(scope="module")
def counted(tiny_run: Run, starter_set: Starter) -> Counted:
    """The small melody model with attributes that are easy to count, its data, and the vectors of both."""
    pipeline = counting(load(tiny_run("common time"), "cpu"))
    dataset = starter_set(pipeline.domain)
    return pipeline, dataset, fit(pipeline, dataset)


def held_out(pipeline: Pipeline, dataset: DataSet) -> Batch:
    indices = np.concatenate([dataset.splits["test"], dataset.splits["validation"]])
    return pipeline.domain.tensor(torch.from_numpy(np.array(dataset.examples[indices])))


def test_a_step_changes_its_attribute_by_a_deviation_on_tunes_it_was_not_fitted_on(counted: Counted) -> None:
    pipeline, dataset, vectors = counted
    batch = held_out(pipeline, dataset)
    assert list(vectors.info) == ["density", "height", "off_beat"]
    assert len(batch.target) >= 20
    for name, info in vectors.info.items():
        assert info.explained > 0.5
        assert info.effects[name] == pytest.approx(1, abs=0.15)
        code = pipeline.encode(batch)
        more, less = (
            pipeline.domain.attributes(moved(pipeline, code, vectors, name, amount).cpu()) for amount in (1.0, -1.0)
        )
        realised = {
            other: float((more[other] - less[other]).mean()) / 2 / vectors.info[other].deviation for other in more
        }
        assert realised[name] == pytest.approx(1, abs=0.35), (name, realised)
        others = [abs(change) for other, change in realised.items() if other != name]
        assert max(others) < 0.3, (name, realised)


def test_larger_amounts_change_more(counted: Counted) -> None:
    pipeline, dataset, vectors = counted
    code = pipeline.encode(held_out(pipeline, dataset))
    for name, info in vectors.info.items():
        means = [
            float(pipeline.domain.attributes(moved(pipeline, code, vectors, name, amount).cpu())[name].mean())
            for amount in (-3, -1, 0, 1, 3)
        ]
        assert means == sorted(means), name
        assert means[-1] - means[0] > 1.5 * info.deviation, name


def test_a_code_is_not_moved_out_of_the_prior():
    base, vector = torch.nn.functional.normalize(torch.randn(4, 3, 2), dim=(1, 2)), torch.randn(3, 2)
    torch.testing.assert_close(moved_code(base, 0.01 * vector, 1.0), base + 0.01 * vector)
    far = moved_code(base, vector, 50.0)
    torch.testing.assert_close(far.flatten(1).norm(dim=1), torch.full((4,), 1.3 * 6**0.5))
    assert torch.cosine_similarity(far.flatten(1), vector.flatten()[None]).min() > 0.99
    assert torch.equal(moved_code(20 * base, vector, 0.0), 20 * base)


def test_an_amount_of_nothing_is_the_reconstruction(counted: Counted) -> None:
    pipeline, dataset, vectors = counted
    batch = held_out(pipeline, dataset)
    assert torch.equal(moved(pipeline, pipeline.encode(batch), vectors, "density", 0.0), pipeline.reconstruct(batch))


def test_clean_moves_leave_the_other_attributes_of_a_linear_world():
    """Codes with correlated numbers, attributes linear in them: the regression is exact, so is the clean move."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(5000, 6, generator=generator).double() @ torch.randn(6, 6, generator=generator).double()
    true = torch.randn(6, 3, generator=generator).double()
    raw = codes @ true
    plain, clean, explained = attribute_vectors._directions(codes, (raw - raw.mean(0)) / raw.std(0))
    effects = clean.T @ true / raw.std(0)
    torch.testing.assert_close(effects, torch.eye(3).double(), atol=0.05, rtol=0)
    plain_effects = plain.T @ true / raw.std(0)
    torch.testing.assert_close(plain_effects.diagonal(), torch.ones(3).double(), atol=0.05, rtol=0)
    off_diagonal = ~torch.eye(3, dtype=torch.bool)
    assert plain_effects[off_diagonal].abs().max() > 0.2  # what the clean move is for
    assert explained.min() > 0.99


def test_long_codes_of_a_few_windows_have_the_directions_of_the_regression():
    generator = torch.Generator().manual_seed(0)
    codes, wanted = (torch.randn(40, size, generator=generator).double() for size in (90, 2))
    plain, _, explained = attribute_vectors._directions(codes, wanted)
    centred = codes - codes.mean(0)
    covariance = centred.T @ centred / 40
    ridge = 1e-3 * covariance.diagonal().mean() * torch.eye(90).double()
    weights = torch.linalg.inv(covariance + ridge) @ centred.T @ wanted / 40
    moved = covariance @ weights
    torch.testing.assert_close(plain, moved / (weights * moved).sum(0))
    torch.testing.assert_close(explained, 1 - (wanted - centred @ weights).square().mean(0) / wanted.square().mean(0))


def test_the_plain_vector_points_where_the_quarters_of_the_data_differ():
    """Roberts et al. take the difference of means of the upper and the lower quarter; here is its limit."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(20_000, 5, generator=generator).double() * torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])
    attribute = codes @ torch.tensor([1.0, 1.0, 0.0, -1.0, 0.2]).double()
    order = attribute.argsort()
    quarters = codes[order[-5000:]].mean(0) - codes[order[:5000]].mean(0)
    plain, _, _ = attribute_vectors._directions(codes, ((attribute - attribute.mean()) / attribute.std())[:, None])
    assert torch.cosine_similarity(plain[:, 0], quarters, dim=0) > 0.995


def test_attributes_that_never_vary_have_no_vector_and_gaps_are_left_out(
    music: TrainedModel, starter_set: Starter
) -> None:
    pipeline = counting(music, PartlyCountedMusic)
    vectors = fit(pipeline, starter_set(pipeline.domain), limit=400)
    assert "bars" not in vectors.info
    assert {"density", "sometimes"} <= set(vectors.info)
    assert 0 < vectors.windows < 400
    assert all(vector.isfinite().all() for vector in vectors.vectors.values())


def test_what_is_saved_is_loaded(counted: Counted, tmp_path: Path) -> None:
    vectors = counted[2]
    assert vectors.save(tmp_path) == tmp_path / FILE
    loaded = AttributeVectors.load(tmp_path)
    assert loaded is not None
    assert loaded.info == vectors.info and loaded.windows == vectors.windows
    assert all(torch.equal(loaded.vectors[name], vectors.vectors[name]) for name in vectors.vectors)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".musicae-cache"] == [FILE]


def test_a_checkpoint_without_vectors_has_none_and_a_damaged_file_is_named(counted: Counted, tmp_path: Path) -> None:
    assert AttributeVectors.load(tmp_path) is None
    path = counted[2].save(tmp_path)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) - 20], whole.replace(b'\\"height\\": {', b'\\"depths\\": {')):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"attributes\.safetensors is damaged"):
            AttributeVectors.load(tmp_path)


def test_a_model_shifts_batches_by_the_vectors_in_its_checkpoint(
    counted: Counted, tiny_run: Run, tmp_path: Path
) -> None:
    pipeline, _, vectors = counted
    folder = shutil.copytree(find_model(str(tiny_run("music"))), tmp_path / "best")
    vectors.save(folder)
    trained = TrainedModel(pipeline.network, pipeline.domain, load(folder).manifest, "cpu", folder)
    assert trained.attribute_vectors is not None
    assert list(trained.attribute_vectors.info) == list(vectors.info)
    batch = trained.sample(32, seed=0).tensor
    before = trained.domain.attributes(trained.reconstruct(batch))["density"].mean()
    after = trained.domain.attributes(trained.shift(batch, "density", 1.0))["density"].mean()
    assert after > before + 0.5 * vectors.info["density"].deviation
    with pytest.raises(MusicaeError, match=r"unknown attribute 'densty'. Did you mean 'density'"):
        trained.shift(batch, "densty", 1.0)


def test_training_leaves_vectors_where_the_domain_has_attributes(music: TrainedModel, image: TrainedModel) -> None:
    assert music.attribute_vectors is not None and music.attribute_vectors.windows > 100
    assert image.folder is not None and image.attribute_vectors is None
    assert not (image.folder / FILE).exists()


def test_a_domain_without_attributes_has_no_vectors(image: TrainedModel, starter_set: Starter) -> None:
    assert fit(image.pipeline, starter_set(image.domain)) == AttributeVectors({}, {}, 0)


class SteppedWorld:
    """Codes whose attributes are their rounded numbers: a short move changes nothing, as with the likeliest symbols."""

    def __init__(self) -> None:
        self.domain = self

    def decode(self, base: Tensor, condition: Tensor | None = None) -> Tensor:
        return (base * 2).round()

    def attributes(self, tensor: Tensor) -> dict[str, Tensor]:
        return {"first": tensor[:, 0], "second": tensor[:, 1], "none": torch.zeros(len(tensor))}


def test_a_vector_that_does_nothing_at_first_is_made_longer_and_holds_up_no_other():
    names = ["first", "second", "none"]
    probe = attribute_vectors._Probe(SteppedWorld(), torch.zeros(8, 3), None, names, torch.ones(3))
    vectors = torch.tensor([[0.1, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    trials = [attribute_vectors._Trial("clean", vector, probe.effects(vector)) for vector in vectors]
    assert float(trials[0].effects[0]) == 0
    scaled = [attribute_vectors._calibrated(probe, trial, number) for number, trial in enumerate(trials)]
    assert [float(trial.effects[number]) for number, trial in enumerate(scaled)] == [1, 1, 0]
    assert torch.equal(scaled[2].vector, vectors[2])
    corrected = attribute_vectors._corrected(probe, scaled)
    assert [trial.kind for trial in corrected] == ["clean", "corrected", "clean"]
    assert corrected[1].effects.tolist() == [0, 1, 0]
