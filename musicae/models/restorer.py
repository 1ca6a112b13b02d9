"""`StepsRestorer`: repairs symbolic music, int64 `(batch, steps, streams)`, with its input in sight.

A code of two bars loses as many notes as a restoration mends. So the decoder of `StepsAutoencoder` is
shown, beside what the code says of the whole, the damaged symbols around each step: the skip connection
that a U-Net has for pictures (Ronneberger et al., 2015). Layers that both models have carry the same
names, so that a restorer can start from a trained autoencoder, which knows what melodies are like.
"""

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from musicae.models.steps import StepsAutoencoder, StepsConfig
from musicae.spec import TensorSpec


class RestorerConfig(StepsConfig):
    """Sizes of the default restorer of music."""

    latent: Literal["deterministic", "gaussian"] = "deterministic"
    prior: Literal["standard", "flow", "mixture"] = "standard"
    reach: int = Field(default=8, ge=0)  # damaged steps before and after a step that its decoding sees


class StepsRestorer(StepsAutoencoder):
    """Restoration of music: code of the whole, and the damaged steps around each step."""

    config: RestorerConfig

    def __init__(self, spec: TensorSpec, config: RestorerConfig) -> None:
        super().__init__(spec, config)
        width = config.step_width
        self.around = nn.Sequential(
            nn.Conv1d(config.embedding, width, 2 * config.reach + 1, padding=config.reach),
            nn.GELU(),
            nn.Conv1d(width, width, 1),
        )

    @property
    def restores(self) -> bool:
        return True

    def decode(
        self,
        z: Tensor,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        raise ValueError("this model corrects its input and cannot decode a latent alone")

    def reconstruct(
        self, x: Tensor, *, generator: torch.Generator | None = None, condition: Tensor | None = None
    ) -> Tensor:
        posterior = self.encode(x, condition)
        z = posterior.mean if generator is None else posterior.sample(generator)
        return self._unrolled(self._seeing(x, z, condition), 0.0, 1.0, None)

    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        return self._shown(self._seeing(x, z, condition), target)

    def _seeing(self, x: Tensor, z: Tensor, condition: Tensor | None) -> Tensor:
        """What z, the condition and the damaged steps around say about each step."""
        around = self.around(self.seen(x).transpose(1, 2)).transpose(1, 2)
        return self._features(z, condition) + self._side_by_side(around)
