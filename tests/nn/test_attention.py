"""Attention: torch's own in float32 is the oracle."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from musicae.nn.layers import attended


def heads(queries: int, positions: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 2, rows, 8) for rows in (queries, positions, positions)]
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("queries", "positions", "is_causal"), [(5, 5, False), (5, 5, True), (1, 7, False)])
def test_attention_and_its_gradients_are_those_of_torch(
    dtype: torch.dtype, queries: int, positions: int, is_causal: bool
) -> None:
    ours, exact = heads(queries, positions, dtype), heads(queries, positions, dtype)
    found = attended(ours[0], ours[1], ours[2], is_causal=is_causal)
    expected = F.scaled_dot_product_attention(*(part.float() for part in exact), is_causal=is_causal)
    expected = expected.transpose(1, 2).flatten(2)
    assert found.dtype == dtype and found.shape == (3, queries, 16)
    rounding = 2e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(found.float(), expected, rtol=rounding, atol=rounding)
    for part in (found, expected):
        part.float().square().sum().backward()
    for one, other in zip(ours, exact, strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad.float(), other.grad.float(), rtol=4 * rounding, atol=4 * rounding)
