"""A trio over given chords: whether melody and bass follow them, and whether the same code follows others."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from held_out import held_out
from music_samples import PROGRESSIONS, in_chord
from stored import trained_model
from torch import Tensor

from musicae.data.dataset import unseen
from musicae.music.domain import MusicDomain
from musicae.music.resemblance import rhythm
from musicae.trained import TrainedModel

MODEL = "trio-2bar"
_PITCHED = (("melody", 0), ("bass", 1))
_MOST, _SAMPLES = 1000, 500


def trio(sets: Path, runs: Path) -> dict[str, float]:
    """Held-out songs with their own chords and with those of other songs, and samples over progressions.

    Returns:
        Shares of onsets that are tones of the chord at their step, of melody and bass each: `people_…` of held-out
        songs, `rebuilt_…` of them after the model, `recast_…` of the same codes decoded with another song's chords,
        `recast_…_former` of those counted against the chords they had; `samples_…`, and `samples_…_other` counted
        against other progressions. `recast_rhythm_…`: F1 of the steps struck, recast beside rebuilt.
    """
    trained = trained_model(runs, MODEL)
    assert isinstance(trained.domain, MusicDomain)
    return _recast(trained, sets) | _sampled(trained)


def _recast(trained: TrainedModel, sets: Path, seed: int = 0) -> dict[str, float]:
    dataset = held_out(trained, MODEL, sets)
    kept = unseen(trained.domain, dataset, "test")
    kept = np.random.default_rng(seed).permutation(kept)[:_MOST]  # neighbours have other songs' chords
    network, part = trained.network, trained.domain.config.plan
    with torch.no_grad():
        target, own = trained.domain.tensor(torch.from_numpy(np.array(dataset.examples[kept])))
        others = own.roll(1, 0)
        codes = network.encode(target, own).mean
        rebuilt, recast = network.decode(codes, condition=own), network.decode(codes, condition=others)
    found = {}
    for name, column in _PITCHED:
        for what, tensor, chords in (
            ("people", target, own),
            ("rebuilt", rebuilt, own),
            ("recast", recast, others),
        ):
            found[f"{what}_{name}"] = in_chord(_line(tensor, column), chords.numpy())
        found[f"recast_{name}_former"] = in_chord(_line(recast, column), own.numpy())
    for name, column in (*_PITCHED, ("drums", 2)):
        shares = rhythm(part.streams[column], recast[..., column], rebuilt[..., column], 16)
        found[f"recast_rhythm_{name}"] = float(shares.nanmean())
    return found


def _sampled(trained: TrainedModel, seed: int = 0) -> dict[str, float]:
    common = torch.zeros(1, dtype=torch.int64)  # one window of 4/4
    assert isinstance(trained.domain, MusicDomain)
    classes = {text: np.tile(trained.domain.chord_steps(text, common).numpy(), (_SAMPLES, 1)) for text in PROGRESSIONS}
    drawn = {text: trained.sample(_SAMPLES, chords=text, seed=seed).tensor for text in PROGRESSIONS}
    found: dict[str, Any] = {}
    for name, column in _PITCHED:
        own = [in_chord(_line(drawn[text], column), classes[text]) for text in PROGRESSIONS]
        others = [
            in_chord(_line(drawn[text], column), classes[other])
            for text in PROGRESSIONS
            for other in PROGRESSIONS
            if other != text
        ]
        found[f"samples_{name}"] = float(np.mean(own))
        found[f"samples_{name}_other"] = float(np.mean(others))
    return found


def _line(tensor: Tensor, column: int) -> np.ndarray:
    tokens: np.ndarray = tensor[..., column].numpy()
    return tokens
