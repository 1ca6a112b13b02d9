"""Sound: denoisers beside their rivals, bands filled in, notes rebuilt; speed and memory. JSON and tables.

    python experiments/audio.py --sets FOLDER --runs FOLDER

`--sets` is a folder with the unpacked data sets and, under `sound`, what sound_sets.py makes of them; `--runs` one
with the runs of figures.py whose names are below. Where noisereduce, pesq and pystoi are installed
(`pip install musicae[measure]`) they are measured too. All scores are of clips and families of noise that the
models never heard: tunes played by held-out instruments, real recordings, speakers never heard, and sentences of the
trained voice that were kept for testing; of notes, those of the trained instruments that were kept.
"""

import json
from collections import defaultdict
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from audio_cost import cost
from audio_tables import tables
from band_extension import band_extension
from noisy_clips import RATE_HZ, Clip, clips, on_spectrum, restored, score
from timbre import timbre

from musicae.audio.baselines import noisereduced, oracle_mask
from musicae.audio.stft import stft
from musicae.audio.wiener import wiener_filtered
from musicae.evaluation.bootstrap import mean_intervals
from musicae.trained import load

RESULTS = Path(__file__).parent / "audio.json"
DENOISERS = ("denoise-16k", "denoise-live-16k")
RATIOS_DB = (0.0, 5.0, 10.0)
JUDGED_DB = 5.0  # at which speech is scored by PESQ and STOI
_SHARES = (0.3, 0.5, 0.7, 0.85, 1.0)

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Noisy and clean `(samples,)` → estimate; only the oracle looks at the clean one."""


@click.command(help=__doc__)
@click.option("--sets", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of unpacked sets.")
@click.option("--runs", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of trained runs.")
@click.option("--part", multiple=True, help="Measure only denoising, harm, band, timbre or cost again.")
@click.option("--table", "table_only", is_flag=True, help="Only print what was measured before.")
def main(sets: Path, runs: Path, part: tuple[str, ...], table_only: bool) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name, measure in PARTS.items():
        if not table_only and (not part or name in part):
            click.echo(f"{name} ...", err=True)
            results[name] = measure(sets, runs)
            RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    click.echo(tables(results))


def denoising(sets: Path, runs: Path) -> dict[str, Any]:
    """Every method on every clip at every ratio: means, intervals, wins over the Wiener filter."""
    methods = _methods(runs, clips(sets, "validation"))
    found: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    owners: dict[str, list[str]] = defaultdict(list)
    for ratio_db in RATIOS_DB:
        for clip in clips(sets, "test"):
            # PESQ takes longer than all methods together.
            is_judged = clip.group.startswith("speech") and ratio_db == JUDGED_DB
            place = f"{clip.group}, {ratio_db:.0f} dB"
            owners[place].append(clip.name)
            noisy = clip.noisy(ratio_db)
            for name, method in methods.items():
                for measure, value in score(method(noisy, clip.clean), clip.clean, is_speech=is_judged).items():
                    found[place][name][measure].append(value)
    return {place: _summary(rows, owners[place]) for place, rows in found.items()}


def _summary(rows: dict[str, dict[str, list[float]]], owners: list[str]) -> dict[str, Any]:
    """Means of a group's scores, method by method; gains with 95% intervals, drawn by file."""
    group = np.unique(owners, return_inverse=True)[1]
    noisy = np.array(rows["noisy"]["si_sdr_db"])
    wiener = np.array(rows["wiener"]["si_sdr_db"])
    told: dict[str, Any] = {}
    for name, scores in rows.items():
        gain = np.array(scores["si_sdr_db"]) - noisy
        ends = mean_intervals(gain[:, None], group)
        told[name] = {measure: float(np.nanmean(values)) for measure, values in scores.items()}
        told[name] |= {"gain_db": float(gain.mean()), "wins_over_wiener": float((gain > wiener - noisy).mean())}
        if ends is not None:
            told[name] |= {"gain_db_low": float(ends[0][0]), "gain_db_high": float(ends[1][0])}
        told[name]["clips"] = len(gain)
    return told


def _methods(runs: Path, tuning: list[Clip]) -> dict[str, Method]:
    methods: dict[str, Method] = {
        "noisy": lambda noisy, clean: noisy,
        "wiener": lambda noisy, clean: on_spectrum(wiener_filtered, noisy),
        "oracle mask": _oracle,
    }
    if find_spec("noisereduce") is not None:
        for name, stationary in (("noisereduce", False), ("noisereduce, stationary", True)):
            methods[name] = _tuned_noisereduce(tuning, stationary)
    for name in DENOISERS:
        trained = load(runs / name, "cpu")
        methods[name] = lambda noisy, clean, trained=trained: restored(trained, noisy)
    return methods


def _oracle(noisy: np.ndarray, clean: np.ndarray) -> np.ndarray:
    target = stft(torch.from_numpy(clean)[None], n_fft=1024)
    return on_spectrum(lambda spectrum: oracle_mask(spectrum, target), noisy)


def _tuned_noisereduce(tuning: list[Clip], stationary: bool) -> Method:
    """With the share of noise it removes that is best on the validation clips at 5 dB."""

    def quality(share: float) -> float:
        answers = ((clip, noisereduced(clip.noisy(5), RATE_HZ, stationary=stationary, prop_decrease=share))
                   for clip in tuning)  # fmt: skip
        return float(np.mean([score(answer, clip.clean, is_speech=False)["si_sdr_db"] for clip, answer in answers]))

    best = max(_SHARES, key=quality)
    return lambda noisy, clean: noisereduced(noisy, RATE_HZ, stationary=stationary, prop_decrease=best)


def harm(sets: Path, runs: Path) -> dict[str, Any]:
    """What a method does to sound that needs nothing: clean clips, a steady tone, silence."""
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(10 * RATE_HZ) / RATE_HZ)).astype(np.float32)
    silence = np.zeros(4 * RATE_HZ, np.float32)
    told: dict[str, Any] = {}
    for name, method in _methods(runs, clips(sets, "validation")).items():
        if name in ("noisy", "oracle mask"):
            continue
        kept = [
            score(method(clip.clean, clip.clean), clip.clean, is_speech=False)["si_sdr_db"]
            for clip in clips(sets, "test")[::2]  # each clean sound stands there twice, with two kinds of noise
        ]
        middle = slice(2 * RATE_HZ, 8 * RATE_HZ)
        after = method(tone, tone)[middle]
        told[name] = {
            "clean_si_sdr_db": float(np.mean(kept)),
            "clean_si_sdr_db_lowest": float(np.min(kept)),
            "tone_change_db": float(20 * np.log10(np.sqrt(np.mean(after**2) / np.mean(tone[middle] ** 2)) + 1e-9)),
            "silence_stays": bool(not np.any(method(silence, silence))),
        }
    return told


PARTS: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "denoising": denoising, "harm": harm, "band": band_extension, "timbre": timbre, "cost": cost,
}  # fmt: skip


if __name__ == "__main__":
    main()
