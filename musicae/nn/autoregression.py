"""`Autoregression`: a sequence of vectors, the moments, around a mean that changes with time.

Moments change slowly, and their averages depend on the sound. So a network predicts, for each number of a moment, its
mean over time, its standard deviation, and how long a deviation lasts: a first-order autoregression around a changing
mean. Draws are then consistent sounds.
"""

import torch
from torch import Tensor, nn

_LARGEST_LOG_SCALE = 4.0
_HIDDEN = 256


class Autoregression(nn.Module):
    """Moments `(batch, numbers, moments)` ↔ standard normal numbers of the same shape, given a vector.

    Args:
        inputs: numbers of that vector.
        numbers: of a moment.
        moments: length of the sequence.
        bases: functions of time; means over time are mixtures of them.
    """

    def __init__(self, inputs: int, numbers: int, moments: int, *, bases: int) -> None:
        super().__init__()
        self.numbers = numbers
        self.net = nn.Sequential(nn.Linear(inputs, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, (bases + 3) * numbers))
        for parameter in self.net[-1].parameters():
            nn.init.zeros_(parameter)
        # On the CPU wherever the rest is built: operations on `meta` make torch load its compiler.
        time = torch.linspace(0, 1, moments, device="cpu")
        # The first is constant, the others begin as decays of different lengths.
        lengths = torch.logspace(-1.5, 0.5, bases - 1, device="cpu")
        constant = torch.ones(1, moments, device="cpu")
        self.bases = nn.Parameter(torch.cat([constant, torch.exp(-time / lengths[:, None])]))

    def to_base(self, moments: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """Moments → standard normal numbers.

        Args:
            moments: `(batch, numbers, moments)`.
            given: `(batch, inputs)`.

        Returns:
            The numbers, same shape, and the summed logarithms of the scales that they were divided by, `(batch,)`.
        """
        mean, log_first, log_scale, memory = self.expected(given)
        deviation = moments - mean
        first = deviation[..., :1] * torch.exp(-log_first)[..., None]
        later = (deviation[..., 1:] - memory[..., None] * deviation[..., :-1]) * torch.exp(-log_scale)[..., None]
        steps = moments.shape[-1] - 1
        return torch.cat([first, later], -1), log_first.sum(1) + steps * log_scale.sum(1)

    def from_base(self, noise: Tensor, given: Tensor) -> Tensor:
        """The inverse of `to_base`."""
        mean, log_first, log_scale, memory = self.expected(given)
        deviation = log_first.exp() * noise[..., 0]
        moments = [deviation]
        for time in range(1, noise.shape[-1]):
            deviation = memory * deviation + log_scale.exp() * noise[..., time]
            moments.append(deviation)
        return mean + torch.stack(moments, -1)

    def expected(self, given: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means `(batch, numbers, moments)`; log scales of the first and of later moments, and how much of one is left.

        The last three are `(batch, numbers)` each.
        """
        predicted = self.net(given).float().unflatten(1, (len(self.bases) + 3, self.numbers))
        mean = torch.einsum("bkn,kt->bnt", predicted[:, : len(self.bases)], self.bases)
        raw_first, raw_scale, raw_memory = predicted[:, len(self.bases) :].unbind(1)
        log_first, log_scale = (
            _LARGEST_LOG_SCALE * torch.tanh(raw / _LARGEST_LOG_SCALE) for raw in (raw_first, raw_scale - 0.5)
        )
        return mean, log_first, log_scale, torch.tanh(raw_memory + 1.0)
