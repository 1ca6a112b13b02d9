"""Reading sounds of data sets: files, samples, what training kept for a split."""

from pathlib import Path

import numpy as np

from musicae.audio.domain import AudioDomain
from musicae.audio.sound import Sound
from musicae.data.dataset import split_items
from musicae.data.files import find_files


def read_mono(path: Path, sample_rate_hz: int) -> np.ndarray:
    """A file's channels mixed to one, `(samples,)`."""
    samples: np.ndarray = Sound.open(path).mono().resample(sample_rate_hz).samples
    return samples


def resampled(samples: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """`(samples,)` at another rate."""
    answer: np.ndarray = Sound(samples, from_hz).resample(to_hz).samples
    return answer


def sound_files(folder: Path) -> list[Path]:
    """All sound files below a folder, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if path.name.lower().endswith(AudioDomain.suffixes))


def held_out(folder: Path, split: str) -> list[Path]:
    """The files of a folder that training kept for a split, by their names, as the first trainings split sounds."""
    found = find_files(AudioDomain(), [folder])
    chosen = set(split_items(sorted({name for name, _ in found}))[split])
    return [path for name, path in found if name in chosen]
