"""Attention: its formula in float64 is the oracle."""

import pytest
import torch
from torch import Tensor

from musicae.nn.layers import attention


def heads(queries: int, positions: int, dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 2, rows, 8) for rows in (queries, positions, positions)]
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


def formula(query: Tensor, key: Tensor, value: Tensor, is_causal: bool) -> Tensor:
    weights = torch.exp(torch.einsum("bhqn,bhpn->bhqp", query, key) / 8**0.5)
    if is_causal:
        weights = weights.tril()
    mixed = torch.einsum("bhqp,bhpn->bqhn", weights / weights.sum(3, keepdim=True), value)
    return mixed.reshape(len(query), query.shape[2], -1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("queries", "positions", "is_causal"),
    [(5, 5, False), (5, 5, True), (1, 7, False), (256, 256, True), (257, 257, True)],
)
def test_attention_and_its_gradients_follow_its_formula(
    dtype: torch.dtype, queries: int, positions: int, is_causal: bool
) -> None:
    ours, exact = heads(queries, positions, dtype), heads(queries, positions, dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        found = attention(ours[0], ours[1], ours[2], is_causal=is_causal)
    expected = formula(*(part.double() for part in exact), is_causal)
    assert found.dtype == dtype and found.shape == (3, queries, 16)
    rounding = 3e-2 if dtype == torch.bfloat16 else 1e-5
    torch.testing.assert_close(found.double(), expected, rtol=rounding, atol=rounding)
    for part in (found, expected):
        part.double().square().sum().backward()
    for one, other in zip(ours, exact, strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad.double(), other.grad.double(), rtol=4 * rounding, atol=4 * rounding)
