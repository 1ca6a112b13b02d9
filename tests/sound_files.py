"""Sound files for tests: written, read, and put through a domain with a function in place of a model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from musicae.audio.domain import AudioDomain
from musicae.audio.sound import Sound
from musicae.domain import Answers

Function = Callable[[torch.Tensor], torch.Tensor]


def write_sound(samples: np.ndarray, path: Path, sample_rate_hz: int, *, subtype: str = "PCM_16") -> Path:
    """Writes float `(frames,)` or `(frames, channels)`."""
    return Sound(samples, sample_rate_hz, subtype=subtype).save(path)


def read_sound(path: Path) -> tuple[np.ndarray, int]:
    """Float32 `(frames, channels)` and the rate in Hz."""
    sound = Sound.open(path)
    return np.concatenate(list(sound.blocks())), sound.sample_rate_hz


def shape_of(path: Path) -> tuple[int, int, int, str, str]:
    """Rate in Hz, channels, frames, subtype and container of a file."""
    sound = Sound.open(path)
    return sound.sample_rate_hz, sound.channels, sound.frames, sound.subtype, sound.container


def mapped(
    domain: AudioDomain,
    sound: Sound | Path,
    function: Function,
    task: str = "reconstruct",
) -> Sound:
    """What a function of batches makes of a sound, lazily."""
    item = domain.open(sound)
    return domain.assemble(
        item, Answers(lambda: domain.windows(item, task), lambda batch: function(batch.target)), task
    )


def map_file(
    domain: AudioDomain,
    source: Path,
    target: Path,
    function: Function,
    task: str = "reconstruct",
) -> Path:
    """As `mapped`, from a file to a file."""
    return mapped(domain, source, function, task).save(target)


def resampled(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Float `(samples,)` at another rate."""
    return Sound(samples, from_hz).resample(to_hz).samples
