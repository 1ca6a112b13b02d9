"""Samples beside real music by another project's measures: smg-metrics (PyPI, MIT), which reads MIDI files.

It is not among the requirements, since it brings thirteen packages along: install it where you like, and let
`smg-eval` be found.

    python -m venv smg && smg/bin/pip install smg-metrics
    PATH="$PWD/smg/bin:$PATH" python experiments/run.py --sets FOLDER music-smg
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from held_out import held_out
from recipes import SHIPPED
from stored import trained_model

from musicae.data.dataset import unseen
from musicae.inference.results import Morph

MODELS = ("melody-2bar", "melody-16bar", "piano-2bar")
MEASURES = ("pce", "sc", "ook", "gs", "ngram_div", "ebr")
"""Entropy of the pitch classes, share of the notes in the best scale, notes outside of the estimated key, likeness of
the bars' rhythms, different n-grams of pitches, empty beats."""
_COUNT = 300


def beside_real(sets: Path, runs: Path) -> dict[str, Any]:
    """Means over samples, and over as many held-out windows."""
    if shutil.which("smg-eval") is None:
        raise click.UsageError("smg-eval is not there; pip install smg-metrics, in an environment of its own.")
    found: dict[str, Any] = {}
    for name in MODELS:
        trained = trained_model(runs, name)
        dataset = held_out(trained, SHIPPED[name], sets)
        kept = unseen(trained.domain, dataset, "test")
        rows = np.random.default_rng(0).choice(kept, min(_COUNT, len(kept)), replace=False)
        real = trained.domain.tensor(torch.from_numpy(np.array(dataset.examples[np.sort(rows)]))).target
        written = {
            "samples": trained.sample(len(rows), seed=0),
            "in_d_minor": trained.sample(len(rows), seed=0, key="D minor"),
            "held_out": Morph(trained.domain, name="held-out", part="piece", tensor=real[:, None]),
        }
        found[name] = {kind: measured(pieces) for kind, pieces in written.items()}
    return found


def measured(pieces: Morph) -> dict[str, float]:
    """The mean of each measure over pieces, as `smg-eval` gives them; what it can't measure is left out."""
    with tempfile.TemporaryDirectory() as folder:
        for number, piece in enumerate(piece for piece in pieces if piece.note_count):  # it ends at a silent one
            piece.save(Path(folder) / f"{number:04d}.mid")
        command = ["smg-eval", "-m", folder, "--only", ",".join(MEASURES), "--json"]
        answer = subprocess.run(command, check=False, capture_output=True, text=True)
        if answer.returncode or not answer.stdout:
            raise click.ClickException(f"smg-eval failed: {answer.stderr}")
    each = [
        row for row in json.loads(answer.stdout).values() if all(row.get(measure) is not None for measure in MEASURES)
    ]
    return {measure: float(np.mean([row[measure] for row in each])) for measure in MEASURES} | {
        "pieces": float(len(each))
    }
