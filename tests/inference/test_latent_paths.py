"""Paths between codes, with the cases in which the formula for the great circle breaks down."""

import pytest
import torch

from musicae.inference.latent_paths import (
    METHODS,
    even_spacing,
    lerp,
    normal_grid,
    slerp,
    square_of_codes,
    varied,
    walk,
)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_path_begins_and_ends_at_its_codes(method):
    a, b = torch.randn(2, 32)
    path = method(a, b, 9)
    assert path.shape == (9, 32)
    assert torch.equal(path[0], a) and torch.equal(path[-1], b)


def test_slerp_moves_by_equal_angles_on_the_sphere():
    a, b = torch.nn.functional.normalize(torch.randn(2, 16), dim=1)
    path = slerp(a, b, 11)
    torch.testing.assert_close(path.norm(dim=1), torch.ones(11), atol=1e-5, rtol=0)
    cosines = (path[:-1] * path[1:]).sum(1)
    torch.testing.assert_close(cosines, cosines[:1].expand(10), atol=1e-5, rtol=0)


def test_slerp_interpolates_lengths():
    path = slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0]), 3)
    assert path[1].norm().item() == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize("share", [0.0, 1.0, 2.0, -1.0], ids=["zero", "same", "parallel", "opposite"])
def test_slerp_of_degenerate_codes_is_finite_and_even(share):
    a = torch.randn(8)
    path = slerp(a, share * a, 7)
    assert torch.isfinite(path).all()
    moves = (path[1:] - path[:-1]).norm(dim=1)
    assert moves.max() <= moves.mean() * 1.01 + 1e-5


def test_opposite_codes_go_round_and_not_through_zero():
    path = slerp(torch.tensor([1.0, 0.0, 0.0]), torch.tensor([-1.0, 0.0, 0.0]), 5)
    torch.testing.assert_close(path.norm(dim=1), torch.ones(5), atol=1e-5, rtol=0)


def test_codes_of_any_shape_are_paths_of_that_shape():
    assert slerp(torch.randn(4, 3, 2), torch.randn(4, 3, 2), 5).shape == (5, 4, 3, 2)


@pytest.mark.parametrize("steps", [1, 0, -3])
def test_fewer_than_two_steps_are_refused(steps):
    with pytest.raises(ValueError, match="at least 2"):
        lerp(torch.zeros(2), torch.ones(2), steps)


def test_codes_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        slerp(torch.zeros(2), torch.ones(3), 4)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_path_between_equal_codes_stands_still_exactly(method):
    a = torch.randn(16)
    assert torch.equal(method(a, a.clone(), 6), a.expand(6, 16))


@pytest.mark.parametrize("method", METHODS)
def test_a_square_has_its_codes_in_the_corners_and_paths_on_its_edges(method):
    corners = tuple(torch.randn(4, 3, 2))
    cells = square_of_codes(corners, 5, method)
    assert cells.shape == (5, 5, 3, 2)
    for corner, (row, column) in zip(corners, ((0, 0), (4, 0), (0, 4), (4, 4)), strict=True):
        assert torch.equal(cells[row, column], corner)
    a, b, c, d = corners
    path = METHODS[method]
    edges = ((cells[:, 0], (a, b)), (cells[:, 4], (c, d)), (cells[0], (a, c)), (cells[4], (b, d)))
    for edge, (start, end) in edges:
        torch.testing.assert_close(edge, path(start, end, 5))


def test_points_of_a_walk_are_draws_of_the_prior_with_correlated_neighbours():
    draws = torch.randn(4000, 6, 4, generator=torch.Generator().manual_seed(0))
    points = walk(draws, 0.8)
    assert points.shape == draws.shape
    assert torch.equal(points[:, 0], draws[:, 0])
    torch.testing.assert_close(points.var(0), torch.ones(6, 4), atol=0.1, rtol=0)
    for distance, expected in ((1, 0.8), (3, 0.8**3)):
        correlation = (points[:, :-distance] * points[:, distance:]).mean()
        assert correlation.item() == pytest.approx(expected, abs=0.02)


def test_a_walk_stands_still_or_jumps_at_the_ends_of_correlation():
    draws = torch.randn(2, 3, 4)
    assert torch.equal(walk(draws, 1.0), draws[:, :1].expand(2, 3, 4))
    assert torch.equal(walk(draws, 0.0), draws)
    for correlation in (-0.1, 1.1):
        with pytest.raises(ValueError, match="correlation is between 0 and 1"):
            walk(draws, correlation)


def test_variations_go_from_the_code_to_the_draws_and_stay_as_likely():
    base = torch.randn(500, generator=torch.Generator().manual_seed(1))
    draws = torch.randn(8, 500, generator=torch.Generator().manual_seed(2))
    assert torch.equal(varied(base, draws, 0.0), base.expand(8, 500))
    torch.testing.assert_close(varied(base, draws, 1.0), draws)
    distances = [(varied(base, draws, amount) - base).norm(dim=1).mean().item() for amount in (0.1, 0.4, 0.7, 1.0)]
    assert distances == sorted(distances)
    assert distances[0] > 1
    lengths = varied(base, draws, 0.5).norm(dim=1) / 500**0.5
    torch.testing.assert_close(lengths, torch.ones(8), atol=0.15, rtol=0)


@pytest.mark.parametrize("amount", [-0.01, 1.01, float("nan")])
def test_an_amount_outside_of_0_to_1_is_refused(amount):
    with pytest.raises(ValueError, match="amount is between 0 and 1"):
        varied(torch.zeros(2), torch.zeros(3, 2), amount)


def test_even_spacing_follows_what_changes():
    changes = torch.tensor([0.0, 0.0, 4.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    kept = even_spacing(changes, 5)
    assert kept.tolist()[0] == 0 and kept.tolist()[-1] == 8
    gone = torch.cat([torch.zeros(1), changes.cumsum(0)])
    assert gone[kept].tolist() == [0, 0, 4, 6, 8]  # 2 is as far from 0 as from 4: the earlier is taken
    assert even_spacing(torch.ones(8), 5).tolist() == [0, 2, 4, 6, 8]


def test_a_path_that_stands_still_keeps_its_ends():
    assert even_spacing(torch.zeros(8), 3).tolist() == [0, 0, 8]


@pytest.mark.parametrize("points", [1, 10])
def test_even_spacing_refuses_more_points_than_there_are(points):
    with pytest.raises(ValueError, match="a path of 9 points gives 2 to 9"):
        even_spacing(torch.ones(8), points)


def test_cells_of_a_grid_are_equally_probable_and_laid_out_as_on_a_map():
    grid = normal_grid(4)
    assert grid.shape == (4, 4, 2)
    normal = torch.distributions.Normal(0, 1)
    across, down = normal.cdf(grid[0, :, 0]), normal.cdf(grid[:, 0, 1])
    assert across.tolist() == pytest.approx([0.125, 0.375, 0.625, 0.875], abs=1e-6)
    assert down.tolist() == pytest.approx([0.875, 0.625, 0.375, 0.125], abs=1e-6)
    with pytest.raises(ValueError, match="at least 1"):
        normal_grid(0)
