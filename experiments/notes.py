"""Single notes: rebuilt from a code, asked for by a label, on paths to other notes."""

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
from judges import cepstra, frechet_distance
from stored import trained_model
from torch import Tensor

from musicae.audio import stft as signal
from musicae.audio.sound import Sound
from musicae.data.dataset import DataSet, load_dataset, split_of_run, unseen
from musicae.evaluation.bootstrap import mean_intervals
from musicae.evaluation.linear import fitted_pca, pca_restored
from musicae.inference.interpolate import changes
from musicae.trained import TrainedModel

NAME = "notes-44k"
_ASKED = 100
_PITCHES = (33, 90)  # what the measure of pitch tells from its octaves
_FRAME, _PITCH_RATE_HZ, _LOWEST_HZ, _HIGHEST_HZ = 2048, 22_050, 30.0, 2_000.0
_STEADY_SHARE = 0.9  # of the frames
_ACTIVE_DB = 30.0
_CENTS = 50
_PAIRS, _STEPS = 48, 9


def notes(sets: Path, runs: Path) -> dict[str, Any]:
    """Held-out notes rebuilt, notes that were asked for, and paths between notes.

    The ceiling is copy synthesis: Griffin-Lim on the true magnitudes. PCA has as many components as the code has
    numbers, or as the training notes allow. Paths are compared with a crossfade of the waveforms.
    """
    trained = trained_model(runs, NAME)
    domain = trained.domain
    dataset = load_dataset(domain, [sets / "instruments44k"], split_by=split_of_run(trained.manifest.data))
    test = unseen(domain, dataset, "test")
    stored = torch.from_numpy(np.array(dataset.examples[test]))
    target = domain.tensor(stored).target
    owner = None if dataset.owner is None else dataset.owner[test]
    with torch.no_grad():
        rebuilt = torch.cat([trained.network.reconstruct(part) for part in target.split(8)])
        loss = [trained.network.loss(part) for part in target.split(8)]
    found: dict[str, Any] = {
        "name": NAME,
        "examples": len(target),
        "bits_per_s": float(np.mean([float(each.kl) for each in loss]) / np.log(2) / domain.example_duration_s),
        "PCA": pca_scores(trained, dataset, target, owner),
        "paths": paths_between(trained, stored, torch.from_numpy(np.array(dataset.examples[::2]))),
    }
    if trained.domain.config.labels:
        found["asked"] = asked(trained)
    for name, estimate in (("copy synthesis", target), ("model", rebuilt)):
        scores = domain.metrics(estimate, target, target)
        found[name] = {measure: float(values.nanmean()) for measure, values in scores.items()}
        ends = mean_intervals(scores["log_mel_l1"].double().numpy()[:, None], owner)
        if ends is not None:
            found[name] |= {"log_mel_l1_low": float(ends[0][0]), "log_mel_l1_high": float(ends[1][0])}
    return found


def asked(trained: TrainedModel) -> dict[str, float]:
    """Shares of notes, asked for by a label, that have its pitch, hold it, and are neither soft nor loud."""
    rng = np.random.default_rng(0)
    instruments = trained.domain.config.instruments
    rows: dict[str, list[float]] = {"recorded": [], "rendered": [], "steady": [], "level": []}
    for number in range(_ASKED):
        instrument = instruments[int(rng.integers(len(instruments)))]
        low, high = max(instrument.lowest, _PITCHES[0]), min(instrument.highest, _PITCHES[1])
        if low > high:
            continue
        pitch, velocity = int(rng.integers(low, high + 1)), float(rng.uniform(0.3, 1))
        made = trained.sample(1, label=instrument.name, pitch=pitch, velocity=velocity, seed=number)[0]
        found, active_db = measured(made)
        is_right = abs(np.median(found) - pitch) <= _CENTS / 100 if len(found) else False
        rows["rendered" if instrument.name.startswith("gm_") else "recorded"].append(float(is_right))
        is_held = np.abs(found - np.median(found)) <= _CENTS / 100 if len(found) else np.zeros(1)
        rows["steady"].append(float(is_held.mean() >= _STEADY_SHARE))
        rows["level"].append(float(-30 <= active_db <= -10))
    share = {name: float(np.mean(values)) for name, values in rows.items()}
    return {"notes": len(rows["steady"]), "pitch": float(np.mean(rows["recorded"] + rows["rendered"])), **share}


def measured(note: Sound) -> tuple[np.ndarray, float]:
    """Pitches of the frames of a note that have one, and its level, both while it sounds; in dB of full scale.

    It sounds where it is at most `_ACTIVE_DB` softer than at its loudest. Pitch is told by pYIN (Mauch & Dixon, 2014)
    of librosa, which knows nothing of how notes are made here.
    """
    low = note.resample(_PITCH_RATE_HZ).samples.reshape(-1)
    frequency_hz, is_voiced, _ = librosa.pyin(
        low, sr=_PITCH_RATE_HZ, fmin=_LOWEST_HZ, fmax=_HIGHEST_HZ, frame_length=_FRAME, hop_length=_FRAME // 4
    )
    power = np.square(librosa.feature.rms(y=low, frame_length=_FRAME, hop_length=_FRAME // 4)[0])
    is_active = power > power.max() * 10 ** (-_ACTIVE_DB / 10)
    level_db = float(10 * np.log10(power[is_active].mean() + 1e-12))
    return librosa.hz_to_midi(frequency_hz[is_voiced & is_active]), level_db


def pca_scores(trained: TrainedModel, dataset: DataSet, target: Tensor, owner: np.ndarray | None) -> dict[str, float]:
    """Of notes rebuilt from as many principal components as the code has numbers, or as the training notes allow."""
    domain = trained.domain
    components = fitted_pca(domain, dataset, dataset.splits["train"], trained.network.latent_shape[0])
    scores = domain.metrics(pca_restored(components, target), target, target)
    found = {measure: float(values.nanmean()) for measure, values in scores.items()}
    ends = mean_intervals(scores["log_mel_l1"].double().numpy()[:, None], owner)
    if ends is not None:
        found |= {"log_mel_l1_low": float(ends[0][0]), "log_mel_l1_high": float(ends[1][0])}
    return found | {"components": int(components.n_components_)}


def paths_between(trained: TrainedModel, recorded: Tensor, others: Tensor) -> dict[str, Any]:
    """How evenly paths between notes run, and how much their middles are like notes.

    Args:
        trained: a model of notes.
        recorded: stored examples, of which paths are.
        others: of notes, which the middles of paths are compared with.
    """
    domain, rng = trained.domain, np.random.default_rng(0)
    recorded = recorded.float()
    jumps: dict[str, list[float]] = {"model": [], "crossfade": []}
    middles: dict[str, list[Tensor]] = {"model": [], "crossfade": []}
    for _ in range(_PAIRS):
        first, second = rng.choice(len(recorded), 2, replace=False)
        ends = [domain.tensor(recorded[index : index + 1]).target for index in (first, second)]
        path = trained.interpolate(*ends, _STEPS).tensor
        share = torch.linspace(0, 1, _STEPS)[:, None]
        crossfade = domain.tensor((1 - share) * recorded[first] + share * recorded[second]).target
        for name, points in (("model", path), ("crossfade", crossfade)):
            steps = changes(_log_mel(trained, points), domain.spec.layout)
            jumps[name].append(float(steps.max() / steps.mean()))
            middles[name].append(points[_STEPS // 2])
    notes_like = cepstra(_log_mel(trained, domain.tensor(others.float()).target))
    return {
        name: {
            "largest_over_mean_step": float(np.mean(ratios)),
            "frechet_of_middles": frechet_distance(cepstra(_log_mel(trained, torch.stack(middles[name]))), notes_like),
        }
        for name, ratios in jumps.items()
    }


def _log_mel(trained: TrainedModel, batch: Tensor) -> Tensor:
    linear = batch[:, 0].square()
    mel = signal.mel_magnitude(linear, sample_rate_hz=trained.domain.config.sample_rate_hz)
    return mel.clamp_min(signal.LOG_MEL_FLOOR).log()
