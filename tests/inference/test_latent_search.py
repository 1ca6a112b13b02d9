"""A search for codes whose examples come out as wanted, on costs that can be worked out."""

import pytest
import torch

from musicae.inference.latent_search import POPULATION, search
from musicae.trained import TrainedModel


def around(base: torch.Tensor):
    """A function for first candidates: Gaussian around codes, the same draws for every row."""

    def first(rows: slice, generator: torch.Generator) -> torch.Tensor:
        return base[rows].unsqueeze(1) + 0.5 * torch.randn((POPULATION, *base.shape[1:]), generator=generator)

    return first


def fewest_onsets(decoded: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return (decoded[..., 0] >= 2).flatten(1).sum(1).double()


def test_what_is_found_costs_less_than_what_it_began_with(music: TrainedModel) -> None:
    base = torch.randn(3, *music.network.latent_shape)
    before = fewest_onsets(music.pipeline.decode(base), torch.arange(3))
    found = search(music.pipeline, around(base), fewest_onsets, 3, 0)
    assert (found.cost < before).all()
    assert torch.equal(found.cost, fewest_onsets(found.tensor, torch.arange(3)))
    assert torch.equal(music.pipeline.decode(found.base).cpu(), found.tensor)


def test_equal_rows_find_the_same_wherever_they_stand_and_a_seed_repeats_it(music: TrainedModel) -> None:
    one, other = torch.randn(2, *music.network.latent_shape)
    base = torch.stack([one, other, one, *other.expand(64, *other.shape), one])
    found = search(music.pipeline, around(base), fewest_onsets, len(base), 3)
    assert torch.equal(found.tensor[0], found.tensor[2]) and torch.equal(found.tensor[0], found.tensor[-1])
    alone = search(music.pipeline, around(one[None]), fewest_onsets, 1, 3)
    torch.testing.assert_close(alone.cost, found.cost[:1])
    again = search(music.pipeline, around(base), fewest_onsets, len(base), 3)
    assert torch.equal(again.tensor, found.tensor)


def test_a_row_that_is_good_enough_is_left_alone_and_each_has_its_own_wish(music: TrainedModel) -> None:
    base = torch.randn(2, *music.network.latent_shape)
    asked: list[int] = []

    def cost(decoded: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        asked.extend(rows.tolist())
        return torch.where(rows == 0, 1.0, fewest_onsets(decoded, rows) + 10)

    search(music.pipeline, around(base), cost, 2, 0, good_enough=2.0)
    assert asked.count(1) > 2 * asked.count(0) > 0


@pytest.mark.parametrize("rows", [1, 2])
def test_a_wish_that_is_fulfilled_at_once_ends_the_search(music: TrainedModel, rows: int) -> None:
    calls = 0

    def nothing(decoded: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return torch.zeros(len(decoded)).double()

    search(music.pipeline, around(torch.randn(rows, *music.network.latent_shape)), nothing, rows, 0)
    assert calls == 1
