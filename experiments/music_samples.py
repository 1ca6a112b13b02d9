"""Listens to samples of the shipped music models with measurements: what the files hold and how they sound.

    python experiments/listening.py --out FOLDER

Draws pieces from each model's prior, writes them as `musicae sample` does, and reads MIDI and WAV back.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np
import soundfile
from symusic import Score

from musicae.music.grid import STEPS_PER_QUARTER
from musicae.trained import load

RESULTS = Path(__file__).parent / "listening.json"
MODELS = ("melody-2bar", "melody-16bar", "drums-2bar")


def listen(name: str, folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Draws and measures.

    Returns:
        `silent_files`, of `count`; `lowest_pitch` and `highest_pitch` (MIDI); shares of onsets on a `bar`'s
        first step, on a `quarter`, an `eighth` and on the grid of sixteenths; `rms_dbfs` and `peak` of the
        WAV of all pieces, and `silent_s`, the longest stretch of it below -60 dBFS.
    """
    model = load(name, "cpu")
    shutil.rmtree(folder / name, ignore_errors=True)  # an earlier run may have left more
    whole = model.sample(count, seed=seed, out=folder / name)
    assert isinstance(whole, Path)
    files = sorted(path for path in whole.parent.glob("*.mid") if path != whole)
    notes = [_notes(path) for path in files]
    onset = np.concatenate([start for start, _ in notes])
    pitch = np.concatenate([pitches for _, pitches in notes])
    steps = onset * STEPS_PER_QUARTER
    shares = {
        name: float((np.abs(steps / length - np.round(steps / length)) < 1e-6).mean())
        for name, length in (("bar", model.domain.spec.segment), ("quarter", 4), ("eighth", 2), ("sixteenth", 1))
    }
    wave, rate = soundfile.read(whole.with_suffix(".wav"), dtype="float32", always_2d=True)
    mono = wave.mean(axis=1)
    return {
        "files": len(files),
        "silent_files": sum(not len(start) for start, _ in notes),
        "notes_per_file": len(onset) / len(files),
        "lowest_pitch": int(pitch.min()),
        "highest_pitch": int(pitch.max()),
        **{f"onsets_on_{name}": share for name, share in shares.items()},
        "seconds": len(mono) / rate,
        "rms_dbfs": 20 * float(np.log10(np.sqrt(np.mean(mono.astype(np.float64) ** 2)))),
        "peak": float(np.abs(wave).max()),
        "silent_s": _longest_silence(mono, rate),
    }


def _notes(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Onsets in quarters and pitches of all notes of a file."""
    score = Score(str(path))
    notes = [(note.start / score.tpq, note.pitch) for track in score.tracks for note in track.notes]
    table = np.array(notes, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _longest_silence(mono: np.ndarray, rate: int, frame_s: float = 0.05) -> float:
    frame = round(frame_s * rate)
    frames = mono[: len(mono) // frame * frame].reshape(-1, frame)
    quiet = np.sqrt((frames.astype(np.float64) ** 2).mean(axis=1)) < 1e-3
    longest = run = 0
    for is_quiet in quiet:
        run = run + 1 if is_quiet else 0
        longest = max(longest, run)
    return longest * frame_s


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the samples.")
@click.option("--count", type=click.IntRange(1), default=16, show_default=True, help="Pieces of each model.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(out: Path, count: int, seed: int) -> None:
    results = {name: listen(name, out, count, seed) for name in MODELS}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    rows = list(next(iter(results.values())))
    click.echo("\n".join(["| | " + " | ".join(MODELS) + " |", "|---|" + "---|" * len(MODELS)]))
    for row in rows:
        click.echo(f"| {row} | " + " | ".join(f"{results[name][row]:.4g}" for name in MODELS) + " |")


if __name__ == "__main__":
    main()
