"""A noise profile measured: gains of a denoiser told two seconds of the noise, beside what it gains alone."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from noisy_clips import RATE_HZ, Clip, clips, score

from musicae.audio.files import read_mono, write_sound
from musicae.audio.noises import NOISES, uniform
from musicae.trained import TrainedModel, load

RATIOS_DB = (0, 5, 10)
STEADY = ("white", "pink", "hum", "hiss_band")
_PROFILE_S = 2
_ROOM_S = 7  # shorter recordings of rooms leave little beside a profile


def profile_gains(sets: Path, runs: Path) -> dict[str, dict[str, float]]:
    """In SI-SDR, without and with the profile, in steady noise and in rooms; of two voices and two tunes."""
    trained = load(runs / "denoise-16k", "cpu")
    generator = torch.Generator().manual_seed(0)
    families = {name: NOISES[name] for name in STEADY} | {"whine": _whine}
    steady = {name: partial(_made, family, generator) for name, family in families.items()}
    recordings = {path.stem: read_mono(path, RATE_HZ) for path in sorted((sets / "noise_room").glob("*.wav"))}
    rooms = {name: partial(_of_room, room) for name, room in recordings.items() if len(room) >= _ROOM_S * RATE_HZ}
    cleans = clips(sets, "validation")[::6]
    rows: dict[str, dict[str, float]] = {}
    for kind, noises in (("steady", steady), ("rooms", rooms)):
        for name, draw in noises.items():
            found = [_gains(trained, clip, *draw(len(clip.clean))) for clip in cleans]
            rows[name] = {column: float(np.mean([gains[column] for gains in found])) for column in found[0]}
        told = [rows[name] for name in noises]
        rows[f"mean, {kind}"] = {column: float(np.mean([row[column] for row in told])) for column in told[0]}
    return rows


def _gains(trained: TrainedModel, clip: Clip, alone: np.ndarray, noise: np.ndarray) -> dict[str, float]:
    told = {}
    mixture = Clip(clip.group, clip.name, clip.clean, noise)
    with TemporaryDirectory() as folder:
        source, recorded, target = (Path(folder) / f"{name}.wav" for name in ("noisy", "noise", "clean"))
        for ratio_db in RATIOS_DB:
            noisy = mixture.noisy(ratio_db)
            level = np.std(noisy - clip.clean) / np.std(noise)
            write_sound(noisy, source, RATE_HZ, subtype="FLOAT")
            write_sound(level * alone, recorded, RATE_HZ, subtype="FLOAT")
            before = score(noisy, clip.clean, is_speech=False)["si_sdr_db"]
            for column, given in (("alone", None), ("profile", recorded)):
                trained.denoise(source, target, noise_profile=given)
                after = score(read_mono(target, RATE_HZ), clip.clean, is_speech=False)["si_sdr_db"]
                told[f"{column}, {ratio_db} dB"] = after - before
    return told


def _made(family: Callable[..., torch.Tensor], generator: torch.Generator, samples: int) -> tuple[np.ndarray, ...]:
    """Noise alone, and what is added to a clip, `(samples,)`: one draw, cut in two."""
    size = _PROFILE_S * RATE_HZ
    drawn = family(1, size + samples, generator, sample_rate_hz=RATE_HZ)[0].numpy()
    return drawn[:size], drawn[size:]


def _of_room(room: np.ndarray, samples: int) -> tuple[np.ndarray, ...]:
    """As `_made`, from a recording."""
    size = _PROFILE_S * RATE_HZ
    return room[:size], np.resize(room[size:], samples)


def _whine(rows: int, samples: int, generator: torch.Generator, *, sample_rate_hz: int) -> torch.Tensor:
    """A motor: tones over hiss, as no training noise is."""
    time_s = torch.arange(samples, dtype=torch.float64) / sample_rate_hz
    turns = torch.tensor([660.0, 1_310.0, 1_970.0, 3_050.0])[:, None] * time_s + uniform((rows, 4, 1), generator)
    tones = torch.sin(2 * torch.pi * turns).sum(1).float()
    return tones + 0.3 * torch.randn((rows, samples), generator=generator)
