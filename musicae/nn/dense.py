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
    """in → width → `depth` residual blocks → out. `(..., inputs)` → `(..., outputs)`."""

    def __init__(self, inputs: int, width: int, outputs: int, depth: int, dropout: float = 0.0) -> None:
        blocks = [ResidualBlock(width, dropout) for _ in range(depth)]
        super().__init__(nn.Linear(inputs, width), *blocks, nn.LayerNorm(width), nn.Linear(width, outputs))
