"""Dense layers: wide matrix products, which two CPU cores do best."""

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + W₂·act(W₁·norm(x)), width kept. Dropout on the inner activation."""

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, width)
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Linear(width, width)
        nn.init.zeros_(self.narrow.bias)
        nn.init.normal_(self.narrow.weight, std=0.1 / width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., width)` → `(..., width)`."""
        return x + self.narrow(self.dropout(self.activation(self.widen(self.norm(x)))))


class ResidualMLP(nn.Sequential):
    """in → width → `depth` residual blocks → out. `(..., inputs)` → `(..., outputs)`.

    Args:
        inputs, width, outputs, depth: sizes.
        dropout: on the inner activations.
        linear_path: leave out the last normalisation, so that a straight path of matrix products leads from
            in to out: what is nearly linear, such as many principal components, is then learned at once.
    """

    def __init__(
        self, inputs: int, width: int, outputs: int, depth: int, *, dropout: float = 0.0, linear_path: bool = False
    ) -> None:
        blocks: list[nn.Module] = [ResidualBlock(width, dropout) for _ in range(depth)]
        norm = nn.Identity() if linear_path else nn.LayerNorm(width)
        super().__init__(nn.Linear(inputs, width), *blocks, norm, nn.Linear(width, outputs))
