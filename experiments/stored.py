"""What experiments store and find again: results as JSON, one file a measurement, and trained runs."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from musicae.atomic_io import atomic_write
from musicae.trained import TrainedModel, load

RESULTS = Path(__file__).resolve().parent / "results"
RUNS = "runs"
"""The results of the recipes, recipe → scores."""


def read(name: str) -> dict[str, Any]:
    """Results of one measurement, by its name; empty where there are none yet."""
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def write(name: str, found: dict[str, Any]) -> Path:
    """Stores results under a measurement's name."""
    target = RESULTS / f"{name}.json"
    with atomic_write(target) as path:
        path.write_text(json.dumps(_defined(found), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return target


def _defined(found: dict[str, Any]) -> dict[str, Any]:
    """Without what is not defined, such as the error of notes that a baseline has none of."""
    return {
        name: _defined(value) if isinstance(value, dict) else value
        for name, value in found.items()
        if not (isinstance(value, float) and math.isnan(value))
    }


def trained_model(runs: Path, name: str) -> TrainedModel:
    """The run of that name, or the shipped model where there is no such run."""
    return load(runs / name if (runs / name).is_dir() else name, "cpu")


def with_interval(row: Mapping[str, Any], key: str, form: str = ".4g") -> str:
    """A mean of a row, and its 95% interval where there is one; empty where there is no mean."""
    if key not in row:
        return ""
    ends = f" ({row[f'{key}_low']:{form}}–{row[f'{key}_high']:{form}})" if f"{key}_low" in row else ""
    return f"{row[key]:{form}}{ends}"
