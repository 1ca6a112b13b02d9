"""Contract of every domain in the table: stored form, tensors, damage, metrics, previews, the round trip."""

import numpy as np
import pytest
import torch

from musicae.domains import DOMAINS
from musicae.errors import MusicaeError

CONTRACT = pytest.mark.parametrize("name", DOMAINS)
# The coarse grid leaves nothing to chance.
SAME_EVERY_TIME = {("music", "upscale"), ("image", "upscale")}


def examples_of(domain, count: int = 3) -> np.ndarray:
    """The first examples of the starter data."""
    _, reading = next(iter(domain.starter()))
    return reading.examples[:count]


def test_the_table_has_three_domains_named_as_they_say():
    assert len(DOMAINS) == 3
    assert all(kind.name == name for name, kind in DOMAINS.items())


@CONTRACT
def test_stored_examples_become_tensors_of_the_spec(name):
    domain = DOMAINS[name]()
    stored = torch.from_numpy(examples_of(domain).copy())
    for generator in (None, torch.Generator().manual_seed(0)):
        tensor = domain.to_tensor(stored, generator)
        domain.spec.check(tuple(tensor.shape))
        assert len(tensor) == len(stored)
    assert torch.equal(domain.to_tensor(stored), domain.to_tensor(stored))


@CONTRACT
def test_what_is_written_is_selected_again(name, tmp_path):
    domain = DOMAINS[name]()
    tensor = domain.to_tensor(torch.from_numpy(examples_of(domain, 1).copy()))
    path = tmp_path / f"one{domain.output_suffix}"
    domain.write(tensor, path)
    assert domain.reads(path)
    again = domain.to_tensor(torch.from_numpy(domain.select(path).example))
    if tensor.dtype == torch.int64:
        assert torch.equal(again, tensor)
    else:  # files of sound and of pictures hold rounded numbers, and a sound is brought to its file's level
        gain = (again * tensor).sum() / again.square().sum()
        assert (gain * again - tensor).abs().max() <= 0.02 * tensor.abs().max()


@CONTRACT
def test_identity_tells_examples_apart_and_knows_them_again(name):
    domain = DOMAINS[name]()
    examples = examples_of(domain)
    marks = domain.identity(np.concatenate([examples, examples]))
    assert marks.dtype == np.uint64
    np.testing.assert_array_equal(marks[: len(examples)], marks[len(examples) :])
    assert len(set(marks.tolist())) == len(np.unique(examples, axis=0))


@CONTRACT
def test_every_task_has_its_damage_and_no_other_does(name):
    domain = DOMAINS[name]()
    # Of all tunes: from those that move in quarters and eighths a coarse grid takes nothing.
    examples = np.concatenate([reading.examples[::20] for _, reading in domain.starter()])
    tensor = domain.to_tensor(torch.from_numpy(examples))
    assert domain.tasks[0] == "reconstruct"
    assert domain.corruption("reconstruct") is None
    for task in domain.tasks[1:]:
        damage = domain.corruption(task, split="test")
        first, again, other = (damage(tensor, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
        assert first.shape == tensor.shape
        assert torch.equal(first, again)
        assert torch.equal(first, other) == ((name, task) in SAME_EVERY_TIME)
        assert not torch.equal(first, tensor)
    with pytest.raises((MusicaeError, ValueError)):
        domain.corruption("no such task")


@CONTRACT
def test_metrics_are_one_number_an_example(name):
    domain = DOMAINS[name]()
    tensor = domain.to_tensor(torch.from_numpy(examples_of(domain).copy()))
    scores = domain.metrics(tensor, tensor, tensor)
    assert scores
    assert all(values.shape == (len(tensor),) and torch.isfinite(values).all() for values in scores.values())


@CONTRACT
def test_a_preview_is_a_picture_first(name, tmp_path):
    domain = DOMAINS[name]()
    tensor = domain.to_tensor(torch.from_numpy(examples_of(domain, 2).copy()))
    files = domain.preview({"original": tensor, "model": tensor}, tmp_path / "look")
    assert files[0] == tmp_path / "look.png"
    assert all(path.stat().st_size > 100 for path in files)
