"""Trains the shipped models of sound on, one after the other, and leaves their weights and scores: for a GPU.

    python experiments/longer.py --sets FOLDER --out FOLDER --minutes 12

The minutes are shared out evenly; batches are larger than a CPU could take. What comes out is a run in `FOLDER/NAME`,
to be compared by `run.py --runs FOLDER audio-wide-validation` and the like before it is shipped.
"""

import json
from dataclasses import replace
from pathlib import Path

import click
from recipes import RECIPES
from run import resolved, score

from musicae.trained import load

LEARNING_RATES = {"denoise-48k": 3e-4, "denoise-live-48k": 1e-3, "upscale-48k": 6e-4, "notes-44k": 1e-3}
_BATCH = 32


@click.command(help=__doc__)
@click.option("--sets", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of the data sets.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the runs.")
@click.option(
    "--minutes", type=click.FloatRange(0, min_open=True), default=12.0, show_default=True, help="Of all runs."
)
@click.option("--model", "names", multiple=True, type=click.Choice(list(LEARNING_RATES)), help="Only these.")
def main(sets: Path, out: Path, minutes: float, names: tuple[str, ...]) -> None:
    chosen = names or tuple(LEARNING_RATES)
    for name in chosen:
        settings = {**RECIPES[name].settings, "learning_rate": LEARNING_RATES[name], "batch_size": _BATCH}
        recipe = replace(RECIPES[name], minutes=minutes / len(chosen), settings=settings)
        experiment = resolved(recipe, sets, name)
        found = score(load(experiment.run(out / name, experiment.read())), name, sets)
        (out / f"{name}.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        click.echo("  ".join([name, *(f"{key} {found[key]:.4g}" for key in recipe.reported if key in found)]))


if __name__ == "__main__":
    main()
