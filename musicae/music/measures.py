"""What is measured of music beside how alike it is, and the damage of its tasks."""

import torch

from musicae.domain import Corruption
from musicae.music.attributes import best_key, measure
from musicae.music.config import MusicConfig
from musicae.music.corruption import coarse_grid, wrong_notes
from musicae.music.parts import Part


def measured(config: MusicConfig, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """Attributes of the first stream of `(batch, steps, streams)`: name → float64 `(batch,)`."""
    metre, stream = config.signature, config.plan.streams[0]
    tokens = tensor[..., 0].detach().cpu().numpy()
    values = measure(tokens, not stream.is_drums, metre.steps_per_bar, metre.steps_per_beat)
    return {name: torch.from_numpy(value) for name, value in values.items()}


def keys_of(config: MusicConfig, tensor: torch.Tensor) -> dict[str, list[str]]:
    """`key` of the first stream of `(batch, steps, streams)`; nothing for drums."""
    if config.plan.streams[0].is_drums:
        return {}
    return {"key": [str(name) for name in best_key(tensor[..., 0].detach().cpu().numpy())]}


def damage_of(task: str, part: Part) -> Corruption | None:
    """The damage of `denoise` and `upscale`; None for `reconstruct`."""
    damages: dict[str, Corruption] = {
        "denoise": lambda tokens, generator: wrong_notes(tokens, part, generator),
        "upscale": lambda tokens, generator: coarse_grid(tokens, part),
    }
    return damages.get(task)
