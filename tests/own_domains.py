"""Domains for tests: melodies with attributes that are easy to count, and melodies whose model is given a condition."""

import dataclasses

import torch
from torch import Tensor

from musicae.domain import Batch
from musicae.models.steps import StepsAutoencoder, StepsConfig
from musicae.music.domain import MusicConfig, MusicDomain
from musicae.spec import TensorSpec
from musicae.trained import TrainedModel
from musicae.training.checkpoint import Manifest


class CountedMusic(MusicDomain):
    """Melodies with three attributes that are easy to count."""

    def attributes(self, tensor: Tensor) -> dict[str, Tensor]:
        tokens = tensor[..., 0]
        onset = (tokens >= 2) & (tokens < 90)  # no pads
        count = onset.sum(1).double()
        bars = onset.unflatten(1, (self.config.bars, -1))
        off_beat = (bars[..., 1::2].sum((1, 2)) + bars[..., 2::4].sum((1, 2))).double()
        pitch = (tokens * onset).sum(1) / count.clamp(min=1)
        return {"density": count, "height": pitch, "off_beat": off_beat / count.clamp(min=1)}

    def labels(self, stored: Tensor) -> dict[str, list[str]]:
        is_high = stored[..., 0].amax(1) > 50
        return {"last": ["high" if each else "low" for each in is_high.tolist()]}


class ConditionedMusic(MusicDomain):
    """Melodies whose model is given one of three letters a step: a, b, or nothing.

    A melody's own letter is a where the sum of its tokens is even.
    """

    @property
    def spec(self) -> TensorSpec:
        return dataclasses.replace(super().spec, condition=(self.config.steps, 3))

    def tensor(self, stored: Tensor, generator: torch.Generator | None = None) -> Batch:
        target = super().tensor(stored, generator).target
        return Batch(target, (1 + target.sum(2).sum(1, keepdim=True) % 2).expand(target.shape[:2]))

    @property
    def takes_chords(self) -> bool:
        return True  # the letters stand for chords

    def condition(self, text: str, windows: int | Tensor = 1) -> Tensor:
        count = windows if isinstance(windows, int) else len(windows)
        letters = torch.tensor(["-ab".index(letter) for letter in text])
        return letters[torch.arange(count) % len(letters), None].repeat(1, self.config.steps)


def conditioned_model() -> TrainedModel:
    """An untrained model of `ConditionedMusic`; at random, it decodes each letter differently."""
    domain = ConditionedMusic(MusicConfig(time_signature="4/4"))
    sizes = {"latent_size": 8, "width": 32, "step_width": 16, "embedding": 8, "unrolled": 8}
    network = StepsAutoencoder(domain.spec, StepsConfig(**sizes))
    for embedding in (network.condition_encoder, network.condition_decoder):
        torch.nn.init.normal_(embedding.weight, std=5.0)
    manifest = Manifest(domain="music", domain_settings={}, task="reconstruct", model="steps", model_settings={})
    return TrainedModel(network, domain, manifest, "cpu")
