"""Domains for tests: melodies with attributes that are easy to count, and melodies whose model is given a condition."""

import torch
from torch import Tensor

from musicae.domain import Batch
from musicae.music.domain import MusicDomain
from musicae.spec import TensorSpec


class CountedMusic(MusicDomain):
    """Melodies with three attributes that are easy to count."""

    def attributes(self, tensor: Tensor) -> dict[str, Tensor]:
        onset = tensor[..., 0] >= 2
        count = onset.sum(1).double()
        off_beat = (onset[:, 1::2].sum(1) + onset[:, 2::4].sum(1)).double()
        pitch = (tensor[..., 0] * onset).sum(1) / count.clamp(min=1)
        return {"density": count, "height": pitch, "off_beat": off_beat / count.clamp(min=1)}

    def labels(self, stored: Tensor) -> dict[str, list[str]]:
        is_high = self.tensor(stored).target[..., 0].amax(1) > 50
        return {"last": ["high" if each else "low" for each in is_high.tolist()]}


class ConditionedMusic(MusicDomain):
    """Melodies whose model is given one of three letters a step: a, b, or nothing."""

    @property
    def spec(self) -> TensorSpec:
        return super().spec.model_copy(update={"condition": (self.config.steps, 3)})

    def tensor(self, stored: Tensor, generator: torch.Generator | None = None) -> Batch:
        target = super().tensor(stored, generator).target
        return Batch(target, torch.ones(target.shape[:2], dtype=torch.int64))

    def condition(self, text: str, windows: int = 1) -> Tensor:
        letters = torch.tensor(["-ab".index(letter) for letter in text])
        return letters[torch.arange(windows) % len(letters), None].repeat(1, self.config.steps)
