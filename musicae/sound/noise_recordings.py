"""Recorded noise: a bank of decoded files from which random pieces are cut, batches at a time.

The files are split by name, so that a model is never judged on noise it trained with. The parts of a file
that are silent are left out, as a clip of rain that ends in nothing would give examples without noise. A folder is
a family of noise, and families are drawn evenly, however many recordings they have: how often a noise is heard
decides how well it is removed. Nothing here knows spectra, levels or models.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from musicae.errors import DamagedFileError, MusicaeError
from musicae.sound.decoding import SOUND_SUFFIXES
from musicae.sound.files import read_mono
from musicae.sound.noises import uniform

_PIECE_S = 0.02
# Below this, compared with the loudest piece of the file, there is nothing but coding noise.
_SILENCE_DB = -60.0
# Two takes of one recording, named "…-A" and "…-B", belong to one part.
_TAKE = re.compile(r"[-_ ][A-Za-z]$")
# What variation does to half of the pieces: slower or faster, and bands turned up and down, over an octave and a half
# each, so that few recordings are many.
_VARIED_SHARE = 0.5
_SPEED_OCTAVES = 0.7
_COLOUR_DB = 8.0
_COLOUR_POINTS, _COLOUR_OCTAVES = 6, 7.5


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

    def __init__(self, recordings: Sequence[np.ndarray], families: Sequence[str] = ()) -> None:
        """Takes float `(samples,)` arrays of any lengths and levels; each is brought to RMS 1.

        Args:
            recordings: noise.
            families: what each recording is of; none, where all are of one.
        """
        if not recordings:
            raise ValueError("expected at least one recording")
        lengths = [len(recording) for recording in recordings]
        # Half precision halves the memory and is 60 dB finer than the noise itself.
        self._samples = torch.from_numpy(np.concatenate([_at_rms_one(recording) for recording in recordings]))
        self._lengths = torch.tensor(lengths)
        self._starts = torch.tensor([0, *np.cumsum(lengths)[:-1]])
        sizes = Counter(families)
        self._weights = torch.tensor([1 / sizes[family] for family in families] or [1.0] * len(lengths))

    def __len__(self) -> int:
        return len(self._lengths)

    @classmethod
    def read(cls, files: Sequence[Path], sample_rate_hz: int) -> "NoiseRecordings | None":
        """Decodes files, a folder's as a family, without damaged and silent ones; None where nothing is left."""
        recordings, families = [], []
        for path in files:
            try:
                active = without_silence(read_mono(path, sample_rate_hz), sample_rate_hz)
            except DamagedFileError:
                continue  # one bad clip in a folder of noise changes nothing that is reported
            if len(active):
                recordings.append(active)
                families.append(str(path.parent))
        return cls(recordings, families) if recordings else None

    def crop(self, rows: int, samples: int, generator: torch.Generator, *, varied: bool = False) -> Tensor:
        """Cuts `(rows, samples)` at random places from recordings drawn family by family; short ones are repeated.

        Args:
            rows: pieces.
            samples: length of each.
            generator: on the device where the pieces are wanted.
            varied: whether half of them are played slower or faster, and coloured.
        """
        device = generator.device
        if self._samples.device != device:
            self._samples, self._lengths, self._starts, self._weights = (
                tensor.to(device) for tensor in (self._samples, self._lengths, self._starts, self._weights)
            )
        which = torch.multinomial(self._weights, rows, replacement=True, generator=generator)
        length = self._lengths[which]
        places = torch.where(length > samples, length - samples + 1, length)
        offset = (torch.rand(rows, generator=generator, device=device) * places).long().clamp_max(places - 1)
        steps = torch.arange(samples, device=device).expand(rows, samples)
        if not varied:
            return self._at(which, offset[:, None] + steps)
        changed = uniform((rows, 1), generator) < _VARIED_SHARE
        octaves = _SPEED_OCTAVES * (2 * uniform((rows, 1), generator) - 1) * changed
        place = offset[:, None] + steps * 2**octaves
        below = place.floor().long()
        # A straight line between samples dulls the highest frequencies, which for noise is one more colour.
        pieces = torch.lerp(self._at(which, below), self._at(which, below + 1), place - below)
        return _coloured(pieces, generator, changed)

    def _at(self, which: Tensor, place: Tensor) -> Tensor:
        """Samples `(rows, samples)` of the recordings `which`, each read round and round."""
        return self._samples[self._starts[which][:, None] + place % self._lengths[which][:, None]].float()


def without_silence(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Drops the silent pieces of `(samples,)`; nothing is left of a silent recording."""
    piece = max(1, round(_PIECE_S * sample_rate_hz))
    padded = np.pad(samples, (0, -len(samples) % piece)).reshape(-1, piece)
    level = np.sqrt((padded.astype(np.float64) ** 2).mean(1))
    active = level > max(level.max(initial=0.0) * 10 ** (_SILENCE_DB / 20), 1e-7)
    return samples[np.repeat(active, piece)[: len(samples)]]


def _at_rms_one(samples: np.ndarray) -> np.ndarray:
    level = float(np.sqrt((samples.astype(np.float64) ** 2).mean()))
    scaled: np.ndarray = (samples / max(level, 1e-12)).astype(np.float16)
    return scaled


def _coloured(pieces: Tensor, generator: torch.Generator, changed: Tensor) -> Tensor:
    """Turns bands of `(rows, samples)` up and down where `changed`, `(rows, 1)`; the power stays."""
    rows, samples = pieces.shape
    points_db = _COLOUR_DB * (2 * uniform((rows, _COLOUR_POINTS), generator) - 1) * changed
    share = torch.linspace(0, 1, samples // 2 + 1, device=pieces.device)  # of the band
    octave = torch.log2(share.clamp_min(2**-_COLOUR_OCTAVES)) / _COLOUR_OCTAVES + 1
    place = octave * (_COLOUR_POINTS - 1)
    below = place.floor().long().clamp_max(_COLOUR_POINTS - 2)
    curve_db = torch.lerp(points_db[:, below], points_db[:, below + 1], place - below)
    turned = torch.fft.irfft(torch.fft.rfft(pieces) * 10 ** (curve_db / 20), samples)
    power = [part.square().mean(1, keepdim=True) for part in (pieces, turned)]
    return turned * (power[0] / power[1].clamp_min(1e-20)).sqrt()
