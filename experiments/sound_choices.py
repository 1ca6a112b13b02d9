"""How models of sound are applied, measured on clips for choosing: overlap of chunks, bfloat16, a noise profile.

What is given as a noise profile and what is cleaned are different parts of a recording. Most of the rooms were used in
training too.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from denoisers import si_sdr_db
from sound_clips import RATE_HZ, Clip, clips
from sounds import read_mono
from stored import trained_model
from torch import Tensor

from musicae.audio.config import LEVEL_RMS
from musicae.audio.noise import NOISES, uniform
from musicae.audio.overlap_add import Framing, Spectra, assemble, spectra
from musicae.audio.sound import Sound
from musicae.trained import TrainedModel

Rows = dict[str, dict[str, float]]
"""Row → column → what was measured."""

OVERLAPS_FRAMES = (127, 191, 255, 319)
_LONG_S = 48  # several chunks
_REPEATS = 2


def choices(sets: Path, runs: Path) -> dict[str, Rows]:
    """All of them, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {name: measure(sets, runs) for name, measure in CHOICES.items()}
    finally:
        torch.set_num_threads(threads)


def overlap(sets: Path, runs: Path) -> Rows:
    """Chunk by chunk against at once; in float32, whose rounding hides nothing."""
    trained = trained_model(runs, "denoise-48k")
    framing = _framing(trained)
    hop, fade = framing.n_fft // 4, framing.fade_samples
    rows: Rows = {}
    for name, sound in _long_sounds(sets).items():
        if name == "clean speech":
            continue
        at_once = _mapped(sound, trained, replace(framing, chunk_samples=_longer_than(sound, framing)))
        for frames in OVERLAPS_FRAMES:
            cut = replace(framing, edge_samples=(frames * hop - fade) // 2)
            row = rows.setdefault(name, {})
            row[f"{frames} frames"] = _difference_db(_mapped(sound, trained, cut), at_once)
    return rows


def precision(sets: Path, runs: Path) -> Rows:
    """Masks in bfloat16 against float32; of the times the shorter of two that took turns."""
    trained = trained_model(runs, "denoise-48k")
    rows: Rows = {}
    for name, sound in _long_sounds(sets).items():
        results, best_s = {}, {False: np.inf, True: np.inf}
        for is_half in (False, True) * _REPEATS:
            started = time.perf_counter()
            results[is_half] = _mapped(sound, trained, _framing(trained), bfloat16=is_half)
            best_s[is_half] = min(best_s[is_half], time.perf_counter() - started)
        percent = 100 * best_s[True] / best_s[False]
        rows[name] = {"difference, dB": _difference_db(results[True], results[False]), "time, %": percent}
    return rows


def _long_sounds(sets: Path) -> dict[str, np.ndarray]:
    """Voices and tunes one after the other, at 5 dB and clean: `(samples,)`."""
    found = clips(sets, "validation")
    voices, tunes = ([clip for clip in found if clip.is_speech == is_speech] for is_speech in (True, False))
    parts = {
        "noisy speech": [clip.noisy(5) for clip in voices],
        "noisy tunes": [clip.noisy(5) for clip in tunes],
        "clean speech": [clip.clean for clip in voices],
    }
    return {name: np.concatenate(sounds)[: _LONG_S * RATE_HZ] for name, sounds in parts.items()}


def _longer_than(sound: np.ndarray, framing: Framing) -> int:
    """A chunk that holds all of `(samples,)`."""
    return len(sound) + framing.n_fft


def _framing(trained: TrainedModel) -> Framing:
    """As `AudioDomain` cuts a sound that is restored; of one channel."""
    config: Any = trained.domain.config
    examples = Framing.of_examples(
        sample_rate_hz=config.sample_rate_hz, n_fft=config.n_fft, chunk_samples=config.chunk_samples,
        level_rms=LEVEL_RMS,
    )  # fmt: skip
    return examples.for_restoring(shares_mask=False)


def _mapped(
    samples: np.ndarray,
    trained: TrainedModel,
    framing: Framing,
    *,
    bfloat16: bool = False,
) -> np.ndarray:
    """`(samples,)` at `RATE_HZ` through a model, as it is cut by a framing."""
    given, form = Sound(samples, RATE_HZ, subtype="FLOAT"), trained.domain.form

    def answers() -> Iterable[tuple[Spectra, Tensor]]:
        for part in spectra(given, framing):
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                answer = trained.network.reconstruct(form.of_spectrum(part.shown))
            yield part, form.spectrum_of(answer.float(), part.shown)

    result: np.ndarray = assemble(given, answers, framing, least_rate_hz=RATE_HZ).samples
    return result


def _difference_db(estimate: np.ndarray, result: np.ndarray) -> float:
    return float(10 * np.log10(np.sum((estimate - result) ** 2) / np.sum(result**2)))


# A noise profile

PROFILE_RATIOS_DB = (0, 5, 10)
STEADY = ("white", "pink", "hum", "hiss_band")
_PROFILE_S = 2
_PROFILED = 10  # every so many clips
_ROOM_S = 7  # shorter recordings of rooms leave too little after a profile

Draw = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""Samples of a clip → noise alone, and the noise that is added to the clip."""


def profile(sets: Path, runs: Path) -> Rows:
    """Gains in SI-SDR without and with a noise profile, in steady noise and in rooms; of two voices and two tunes."""
    trained = trained_model(runs, "denoise-48k")
    generator = torch.Generator().manual_seed(0)
    families = {name: NOISES[name] for name in STEADY} | {"whine": _whine}
    steady: dict[str, Draw] = {name: partial(_synthetic, family, generator) for name, family in families.items()}
    recorded = {path.stem: read_mono(path, RATE_HZ) for path in sorted((sets / "noise_room").glob("*.wav"))}
    rooms: dict[str, Draw] = {
        name: partial(_of_room, room) for name, room in recorded.items() if len(room) >= _ROOM_S * RATE_HZ
    }
    cleans = clips(sets, "validation")[::_PROFILED]
    rows: Rows = {}
    for group, noises in (("steady", steady), ("rooms", rooms)):
        for name, draw in noises.items():
            rows[name] = _means([_profile_gains(trained, clip, *draw(len(clip.clean))) for clip in cleans])
        rows[f"mean, {group}"] = _means([rows[name] for name in noises])
    return rows


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    return {column: float(np.mean([row[column] for row in rows])) for column in rows[0]}


def _profile_gains(trained: TrainedModel, clip: Clip, alone: np.ndarray, noise: np.ndarray) -> dict[str, float]:
    found = {}
    mixture = replace(clip, noise=noise)
    for ratio_db in PROFILE_RATIOS_DB:
        noisy = mixture.noisy(ratio_db)
        level = float(np.std(noisy - clip.clean) / np.std(noise))
        source, recorded = (Sound(part, RATE_HZ, subtype="FLOAT") for part in (noisy, level * alone))
        before = si_sdr_db(noisy, clip.clean)
        for column, given in (("alone", None), ("profile", recorded)):
            answer = trained.denoise(source, noise_profile=given).samples
            found[f"{column}, {ratio_db} dB"] = si_sdr_db(answer, clip.clean) - before
    return found


def _synthetic(
    family: Callable[..., Tensor], generator: torch.Generator, samples: int
) -> tuple[np.ndarray, np.ndarray]:
    """One draw, cut in two."""
    size = _PROFILE_S * RATE_HZ
    drawn = family(1, size + samples, generator, sample_rate_hz=RATE_HZ)[0].numpy()
    return drawn[:size], drawn[size:]


def _of_room(room: np.ndarray, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The beginning of a recording, and the rest of it."""
    size = _PROFILE_S * RATE_HZ
    return room[:size], np.resize(room[size:], samples)


def _whine(rows: int, samples: int, generator: torch.Generator, *, sample_rate_hz: int) -> Tensor:
    """A motor: tones over hiss, like no noise of training."""
    time_s = torch.arange(samples, dtype=torch.float64) / sample_rate_hz
    cycles = torch.tensor([660.0, 1_310.0, 1_970.0, 3_050.0])[:, None] * time_s + uniform((rows, 4, 1), generator)
    tones = torch.sin(2 * torch.pi * cycles).sum(1).float()
    return tones + 0.3 * torch.randn((rows, samples), generator=generator)


CHOICES: dict[str, Callable[[Path, Path], Rows]] = {
    "overlap": overlap,
    "precision": precision,
    "profile": profile,
}
