"""Recorded noise: a bank of decoded files from which random pieces are cut, batches at a time.

The files are split by name, so that a model is never judged on noise it trained with. The parts of a file
that are silent are left out, as a clip of rain that ends in nothing would give examples without noise. Nothing
here knows spectra or models.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from musicae.audio.excerpts import mono_samples
from musicae.audio.formats import SOUND_SUFFIXES
from musicae.audio.noise import finest, host_generator, recoloured, speeds, varied_rows
from musicae.audio.sound import Sound
from musicae.errors import DamagedFileError, MusicaeError

_PIECE_S = 0.02
# Below this, compared with the loudest piece of the file, there is nothing but coding noise.
_SILENCE_DB = -60.0
# Two takes of one recording, named "…-A" and "…-B", belong to one part.
_TAKE = re.compile(r"[-_ ][A-Za-z]$")


def noise_files(places: Sequence[str | Path]) -> list[Path]:
    """The sound files named, and those in the folders named (and in their folders), sorted.

    Raises:
        MusicaeError: a place that doesn't exist, or no sound in any of them.
    """
    found: set[Path] = set()
    for place in map(Path, places):
        if place.is_dir():
            found |= {path for path in place.rglob("*") if path.suffix.lower() in SOUND_SUFFIXES and path.is_file()}
        elif place.is_file():
            found.add(place)
        else:
            raise MusicaeError(
                f"noise recordings {str(place)!r} do not exist; give a folder of sound files, or no noise at all."
            )
    if not found:
        raise MusicaeError(
            f"no sound files in {', '.join(map(str, places))}; expected {', '.join(SOUND_SUFFIXES[:4])}."
        )
    return sorted(found)


def split_of_noise(path: Path) -> str:
    """`train` (80%), `validation` or `test` (10% each), by a hash of the file's name alone."""
    name = _TAKE.sub("", path.stem).lower()
    tenth = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 10
    return {8: "validation", 9: "test"}.get(tenth, "train")


class NoiseRecordings:
    """Decoded noise at one rate, from which pieces are cut on any device."""

    def __init__(self, recordings: Sequence[np.ndarray], weights: Sequence[float] = ()) -> None:
        """Takes float `(samples,)` arrays of any lengths and levels; each is brought to RMS 1.

        Args:
            recordings: noise.
            weights: how often each is drawn; none, where all are drawn alike.
        """
        if not recordings:
            raise ValueError("expected at least one recording")
        if weights and len(weights) != len(recordings):
            raise ValueError(f"expected a weight for each of {len(recordings)} recordings, got {len(weights)}")
        lengths = [len(recording) for recording in recordings]
        # Half precision halves the memory and is 60 dB finer than the noise itself.
        self._samples = torch.from_numpy(np.concatenate([_at_rms_one(recording) for recording in recordings]))
        self._lengths = torch.tensor(lengths)
        self._starts = torch.tensor([0, *np.cumsum(lengths)[:-1]])
        self._weights = torch.tensor(weights or [1.0] * len(lengths))

    def __len__(self) -> int:
        return len(self._lengths)

    @classmethod
    def read(cls, files: Sequence[Path], sample_rate_hz: int, *, by_folder: bool = False) -> "NoiseRecordings | None":
        """Decodes files without the damaged and silent ones; None where nothing is left.

        Args:
            files: sound files.
            sample_rate_hz: to decode them at.
            by_folder: whether every folder is drawn as often as any other, however many recordings it has.
        """
        recordings, folders = [], []
        for path in files:
            try:
                active = without_silence(mono_samples(Sound.open(path), sample_rate_hz), sample_rate_hz)
            except DamagedFileError:
                continue  # one bad clip in a folder of noise changes nothing that is reported
            if len(active):
                recordings.append(active)
                folders.append(path.parent)
        sizes = Counter(folders)
        weights = [1 / sizes[folder] for folder in folders] if by_folder else []
        return cls(recordings, weights) if recordings else None

    def crop(self, rows: int, samples: int, generator: torch.Generator, *, varied: bool = False) -> Tensor:
        """Cuts `(rows, samples)` at random places from recordings drawn by their weights; short ones are repeated.

        Args:
            rows: pieces.
            samples: length of each.
            generator: on the device where the pieces are wanted.
            varied: whether half of them are played slower or faster and coloured (see `musicae.audio.noise`).
        """
        device = generator.device
        if self._samples.device != device:
            self._samples, self._lengths, self._starts = (
                tensor.to(device) for tensor in (self._samples, self._lengths, self._starts)
            )
        which = torch.multinomial(self._weights, rows, replacement=True, generator=host_generator(generator))
        which = which.to(device, non_blocking=True)
        if not varied:
            steps = torch.arange(samples, device=device)
            return self._at(which, self._begin(which, torch.full_like(which, samples), generator) + steps)
        changed = varied_rows(rows, generator)
        # Double precision: a place is a sample's number and how far it is to the next.
        steps = torch.arange(samples, dtype=finest(device), device=device) * speeds(changed, generator)
        below = steps.floor().long()
        begin = self._begin(which, below[:, -1] + 2, generator)
        nearest = self._at(which, begin + below)
        # A straight line between samples dulls and mirrors the highest frequencies, which for noise is one more colour.
        pieces = torch.lerp(nearest, self._at(which, begin + below + 1), (steps - below).float())
        return recoloured(pieces, changed, generator, power=nearest.square().mean(1, keepdim=True))

    def _begin(self, which: Tensor, needed: Tensor, generator: torch.Generator) -> Tensor:
        """Where pieces of `needed` samples begin, int64 `(rows, 1)`: anywhere in recordings that are shorter."""
        length = self._lengths[which]
        places = torch.where(length > needed, length - needed + 1, length)
        drawn = torch.rand(len(which), generator=generator, device=generator.device, dtype=finest(generator.device))
        return (drawn * places).long().clamp_max(places - 1)[:, None]

    def _at(self, which: Tensor, place: Tensor) -> Tensor:
        """Samples `(rows, samples)` of the recordings `which`, each read round and round."""
        return self._samples[self._starts[which][:, None] + place % self._lengths[which][:, None]].float()


def without_silence(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Drops the silent pieces of `(samples,)`; nothing is left of a silent recording."""
    piece = max(1, round(_PIECE_S * sample_rate_hz))
    padded = np.pad(samples, (0, -len(samples) % piece)).reshape(-1, piece)
    level = np.sqrt(np.einsum("ij,ij->i", padded, padded, dtype=np.float64) / piece)
    active = level > max(level.max(initial=0.0) * 10 ** (_SILENCE_DB / 20), 1e-7)
    return samples[np.repeat(active, piece)[: len(samples)]]


def _at_rms_one(samples: np.ndarray) -> np.ndarray:
    level = float(np.sqrt((samples.astype(np.float64) ** 2).mean()))
    scaled: np.ndarray = (samples / max(level, 1e-12)).astype(np.float16)
    return scaled
