"""What it costs to store models of music in eight bits a weight: the same model on its test split, before and after.

    python experiments/quantisation.py --sets FOLDER --runs FOLDER melody-2bar drums-2bar

`FOLDER` of the sets holds the unpacked data sets; that of the runs a trained model under each name, with weights that
are not rounded yet. Results go to `experiments/results/quantisation.json`. z is drawn from the posterior with the same
seed both times, so the figures differ by what rounding changes alone.
"""

import tempfile
from pathlib import Path

import click
import stored

from musicae.evaluation.evaluate import evaluate_files
from musicae.manifest import WEIGHTS
from musicae.trained import TrainedModel, load
from musicae.training.checkpoint import StoredAs, save_checkpoint

NAMES = ("melody-2bar", "melody-16bar", "drums-2bar")
SCORES = ("accuracy_free_running", "accuracy_free_running_mean", "onset_f1", "kl_bits", "elbo_nats", "examples")
_STORED: tuple[StoredAs, ...] = ("float16", "int8")


def compare(trained: TrainedModel, sets: Path) -> dict[str, dict[str, float]]:
    """Scores of a model as float16 and as int8, on the test split of its sets: type of the weights → scores."""
    found = {}
    for weights in _STORED:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            save_checkpoint(folder, trained.network, trained.manifest, weights=weights)
            size_mb = (folder / WEIGHTS).stat().st_size / 1e6
            scores = evaluate_files(load(folder, "cpu"), [sets / name for name in trained.manifest.data["sets"]])
        found[weights] = {"size_mb": round(size_mb, 2), **{name: scores[name] for name in SCORES}}
    return found


@click.command(help=__doc__)
@click.argument("names", nargs=-1, required=True, type=click.Choice(NAMES))
@click.option("--sets", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of unpacked sets.")
@click.option("--runs", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of trained models.")
def main(names: tuple[str, ...], sets: Path, runs: Path) -> None:
    results = stored.read("quantisation")
    for name in names:
        results[name] = compare(load(runs / name, "cpu"), sets)
        click.echo(f"| {name} | {' | '.join(_STORED)} | difference |\n|---|---|---|---|")
        for score in ("size_mb", *SCORES):
            before, after = (results[name][weights][score] for weights in _STORED)
            click.echo(f"| {score} | {before:.5g} | {after:.5g} | {after - before:+.2g} |")
        stored.write("quantisation", results)


if __name__ == "__main__":
    main()
