"""Trains and scores the models whose figures the README quotes; results as JSON and one table.

    python experiments/figures.py --sets FOLDER mnist-ae-128 denoise-16k

`--sets` is a folder with the unpacked data sets, one sub-folder each. Training ends by the clock, so
figures move a little with the machine; the seed fixes the rest.
"""

import json
from pathlib import Path
from typing import Any

import click
import torch
from calibration import calibrate
from figure_runs import FIGURES, Figure

from musicae.evaluation.evaluate import evaluate_files
from musicae.trained import TrainedModel, load
from musicae.training.experiment import Experiment

RESULTS = Path(__file__).parent / "figures.json"


@click.command(help=__doc__)
@click.argument("names", nargs=-1, type=click.Choice(list(FIGURES)))
@click.option("--sets", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of unpacked sets.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/figures"), help="Folder for the runs.")
@click.option("--score-only", is_flag=True, help="Score runs that are there already.")
def main(names: tuple[str, ...], sets: Path, out: Path, score_only: bool) -> None:
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for name in names or tuple(FIGURES):
        figure = FIGURES[name]
        experiment = _experiment(figure, sets, out)
        if not score_only:
            best = experiment.run(out / name, experiment.read())
            if figure.calibrated:
                calibrate(best)
        trained = load(out / name)
        scores = score(trained, figure, sets)
        minutes = trained.manifest.metrics["minutes"]
        machine = results[name]["machine"] if score_only and name in results else _machine()
        results[name] = {"minutes": minutes, **scores, "machine": machine}
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        shown = "  ".join(f"{score} {scores[score]:.4g}" for score in figure.reported if score in scores)
        click.echo(f"{name}  {minutes:.1f} min  {shown}")
    click.echo(table(results))


def _machine() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU thread(s)"


def _training(name: str, results: dict[str, dict[str, Any]]) -> str:
    """Minutes of a run, where, and which run's weights it went on from."""
    start = FIGURES[name].settings.get("start_from")
    text = f"{results[name]['minutes']:.0f} min, {results[name]['machine']}"
    return text if start is None else f"{text}, after `{start}`"


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results as the table that stands in README.md."""
    lines = ["| model | training | scores on data it never saw |", "|---|---|---|"]
    for name, figure in FIGURES.items():
        if name in results:
            row = results[name]
            scores = ", ".join(f"{key} {row[key]:.4g}" for key in figure.reported if key in row)
            if "pca_mse" in figure.reported:
                scores += f" (MSE {row['mse'] / row['pca_mse']:.2f} of PCA's)"
            lines.append(f"| `{name}` | {_training(name, results)} | {scores} |")
    return "\n".join(lines)


def score(trained: TrainedModel, figure: Figure, sets: Path) -> dict[str, float]:
    """Scores a model on a figure's test splits."""
    settings = _with_noise(figure.scored_with, figure, sets)
    counts = {"importance": figure.importance, "samples": figure.samples, "pairs": figure.pairs}
    scored_on = [sets / name for name in figure.scored_on or figure.sets]
    return evaluate_files(trained, scored_on, settings=settings, **counts)


def places(figure: Figure, sets: Path) -> list[Path]:
    """Folders of the sets a figure's model learns from."""
    return [sets / name for name in figure.sets]


def _with_noise(settings: dict[str, Any], figure: Figure, sets: Path) -> dict[str, Any]:
    """Settings with the folders of the noise sets filled in."""
    if "noise" not in figure.settings:
        return dict(settings)
    return {**settings, "noise": tuple(str(sets / name) for name in figure.settings["noise"])}


def _experiment(figure: Figure, sets: Path, out: Path) -> Experiment:
    settings = _with_noise(figure.settings, figure, sets)
    if "start_from" in settings:  # names another figure
        settings["start_from"] = str(out / settings["start_from"])
    data = places(figure, sets)
    return Experiment.resolve(figure.domain, task=figure.task, data=data, model=figure.model, settings=settings)


if __name__ == "__main__":
    main()
