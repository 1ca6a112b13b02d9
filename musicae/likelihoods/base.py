"""`Likelihood`: what a decoder's output says about the target.

It turns decoder output (`parameters`) into the log-probability of a target, a mean, a mode and a sample.
Log-probabilities are summed over an example's elements, in nats. Nothing here knows encoders, latents or files.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from musicae.spec import TensorSpec


class Likelihood(nn.Module, ABC):
    """The decoder's distribution over one example of a spec."""

    parameters_are_values: ClassVar[bool] = False
    """Whether the parameters are the mean itself, so that a restorer's estimate can stand for them."""

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__()
        self.spec = spec

    @property
    def width(self) -> int:
        """Numbers the decoder gives per grid cell (channels) or per step."""
        return self.spec.shape[0]

    @abstractmethod
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        """Log-probability of `target` `(batch, *shape)` in nats, `(batch,)`."""

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """Expected value; for categories the probabilities `(batch, steps, vocabulary sizes summed)`."""

    @abstractmethod
    def mode(self, parameters: Tensor) -> Tensor:
        """The most probable value, `(batch, *shape)`."""

    @abstractmethod
    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A draw, `(batch, *shape)`."""

    def sharpened(self, parameters: Tensor, temperature: float, top_p: float) -> Tensor:
        """Parameters whose draws are closer to the mode (temperature below 1) or farther from it.

        Args:
            parameters: as in `sample`.
            temperature: what logits are divided by, above 0.
            top_p: draws come only from the most probable symbols that together have this probability (nucleus
                sampling: Holtzman et al., 2020).

        Returns:
            The parameters; as they are where values have no logits.
        """
        del temperature, top_p
        return parameters

    def choose(self, parameters: Tensor, temperature: float, top_p: float, generator: torch.Generator | None) -> Tensor:
        """The mode at temperature 0, else a draw from the sharpened parameters; arguments as in `sharpened`."""
        if temperature == 0:
            return self.mode(parameters)
        return self.sample(self.sharpened(parameters, temperature, top_p), generator)
