"""What was chosen in restoring sound, measured: overlap of chunks, bfloat16, a noise profile, phases of a filled band.

    python experiments/sound_choices.py --sets FOLDER --runs FOLDER

The folders are those of audio.py; of the runs `denoise-16k` and `upscale-16k` are taken, on one thread. Everything is
of validation clips, on which such choices are made. Most of the rooms were heard in training; what tells the noise and
what is cleaned are different parts of a recording.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import torch
from band_extension import missing_band_distance_db
from noisy_clips import RATE_HZ, clips
from profile_gains import profile_gains

from musicae.audio.chunking import Framing
from musicae.audio.config import LEVEL_RMS
from musicae.audio.files import read_mono, resample, write_sound
from musicae.audio.mapping import map_sound
from musicae.audio.representation import BandForm
from musicae.trained import TrainedModel, load

RESULTS = Path(__file__).parent / "sound_choices.json"
OVERLAPS_FRAMES = (31, 63, 127, 191)
ITERATIONS = (0, 4, 16, 32)
_LONG_S = 48  # four chunks
_REPEATS = 2

Rows = dict[str, dict[str, float]]
"""Row → column → what was measured."""


@click.command(help=__doc__)
@click.option("--sets", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of unpacked sets.")
@click.option("--runs", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of trained runs.")
@click.option("--part", multiple=True, help="Measure only overlap, precision, profile or phases again.")
def main(sets: Path, runs: Path, part: tuple[str, ...]) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    torch.set_num_threads(1)
    for name, (_, measure) in PARTS.items():
        if not part or name in part:
            click.echo(f"{name} ...", err=True)
            results[name] = measure(sets, runs)
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    click.echo("\n\n".join(table(PARTS[name][0], rows) for name, rows in results.items()))


def table(title: str, rows: Rows) -> str:
    """One part's rows in Markdown."""
    columns = list(next(iter(rows.values())))
    lines = [f"| {title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{row[column]:.1f}' for column in columns)} |" for name, row in rows.items()]
    return "\n".join(lines)


def overlap(sets: Path, runs: Path) -> Rows:
    """Chunk by chunk against at once; in float32, whose rounding hides nothing."""
    trained = load(runs / "denoise-16k", "cpu")
    framing, restored = _framing(trained), _restored(trained)
    hop, fade = framing.n_fft // 4, framing.fade_samples
    rows: Rows = {}
    for name, sound in _long_sounds(sets).items():
        if name == "clean speech":
            continue
        at_once = _mapped(sound, restored, replace(framing, chunk_samples=len(sound)))
        for frames in OVERLAPS_FRAMES:
            cut = replace(framing, edge_samples=(frames * hop - fade) // 2)
            row = rows.setdefault(name, {})
            row[f"{frames} frames"] = _difference_db(_mapped(sound, restored, cut), at_once)
    return rows


def precision(sets: Path, runs: Path) -> Rows:
    """Masks in bfloat16 against float32; of the times the shorter of two that took turns."""
    trained = load(runs / "denoise-16k", "cpu")
    rows: Rows = {}
    for name, sound in _long_sounds(sets).items():
        results, best_s = {}, {False: np.inf, True: np.inf}
        for is_half in (False, True) * _REPEATS:
            started = time.perf_counter()
            results[is_half] = _mapped(sound, _restored(trained, bfloat16=is_half), _framing(trained))
            best_s[is_half] = min(best_s[is_half], time.perf_counter() - started)
        percent = 100 * best_s[True] / best_s[False]
        rows[name] = {"difference, dB": _difference_db(results[True], results[False]), "time, %": percent}
    return rows


def phases(sets: Path, runs: Path) -> Rows:
    """Log-spectral distances above 4 kHz of 8 kHz clips made 16 kHz again."""
    trained = load(runs / "upscale-16k", "cpu")
    found: dict[str, dict[str, list[float]]] = {}
    for clip in clips(sets, "validation")[::2]:  # each clean sound stands there twice, with two kinds of noise
        low = resample(clip.clean, RATE_HZ, RATE_HZ // 2)
        for iterations in ITERATIONS:
            form = BandForm(trained.domain.config, iterations=iterations)
            high = _mapped(low, form.on_spectra(_restored(trained)), _framing(trained), rate_hz=RATE_HZ // 2)
            row = found.setdefault(clip.group.removesuffix(", recorded noise"), {})
            row.setdefault(f"{iterations} iterations", []).append(missing_band_distance_db(high, clip.clean))
    return {group: {column: float(np.mean(values)) for column, values in row.items()} for group, row in found.items()}


def _long_sounds(sets: Path) -> dict[str, np.ndarray]:
    """Voices and tunes one after the other, at 5 dB and clean: `(samples,)`."""
    found = clips(sets, "validation")
    voices, tunes = ([clip for clip in found if clip.group.startswith(kind)] for kind in ("speech", "music"))
    parts = {
        "noisy speech": [clip.noisy(5) for clip in voices],
        "noisy tunes": [clip.noisy(5) for clip in tunes],
        "clean speech": [clip.clean for clip in voices],
    }
    return {name: np.concatenate(sounds)[: _LONG_S * RATE_HZ] for name, sounds in parts.items()}


def _restored(trained: TrainedModel, *, bfloat16: bool = False) -> Callable[[torch.Tensor], torch.Tensor]:
    def restored(spectrum: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return trained.model.reconstruct(spectrum)

    return restored


def _framing(trained: TrainedModel) -> Framing:
    """As `AudioDomain` cuts a file that is restored; of one channel."""
    config: Any = trained.domain.config
    examples = Framing.of_examples(
        sample_rate_hz=config.sample_rate_hz, n_fft=config.n_fft, chunk_samples=config.chunk_samples,
        level_rms=LEVEL_RMS,
    )  # fmt: skip
    return examples.for_restoring(shares_mask=False)


def _mapped(
    sound: np.ndarray, function: Callable[[torch.Tensor], torch.Tensor], framing: Framing, rate_hz: int = RATE_HZ
) -> np.ndarray:
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "given.wav", Path(folder) / "result.wav"
        write_sound(sound, source, rate_hz, subtype="FLOAT")
        map_sound(source, target, function, framing, least_rate_hz=RATE_HZ)
        return read_mono(target, RATE_HZ)


def _difference_db(estimate: np.ndarray, result: np.ndarray) -> float:
    return float(10 * np.log10(np.sum((estimate - result) ** 2) / np.sum(result**2)))


PARTS: dict[str, tuple[str, Callable[[Path, Path], Rows]]] = {
    "overlap": ("chunk by chunk and at once: difference, dB", overlap),
    "precision": ("bfloat16 and float32 masks", precision),
    "profile": ("noise profile: gain in SI-SDR, dB", profile_gains),
    "phases": ("log-spectral distance in 4-8 kHz, dB, after Griffin-Lim", phases),
}


if __name__ == "__main__":
    main()
