"""Paths between codes, with the cases in which the formula for the great circle breaks down."""

import pytest
import torch

from musicae.latent_space import METHODS, lerp, slerp


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
