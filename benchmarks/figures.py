"""Trains and scores the models whose figures the README quotes; results as JSON and one table.

    python benchmarks/figures.py --sets FOLDER mnist-ae-128 speech-denoise

`--sets` is a folder with the unpacked data sets, one sub-folder each. Training ends by the clock, so
figures move a little with the machine; the seed fixes the rest.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import torch

from musicae.domains.audio import AudioDomain
from musicae.evaluate import evaluate_files
from musicae.experiment import Experiment
from musicae.trained import TrainedModel, load

RESULTS = Path(__file__).parent / "figures.json"
_CLOCK = 1_000_000  # steps: more than any of these runs gets to, so that the clock ends it


@dataclass(frozen=True)
class Figure:
    """One run: what it trains on, how, and how it is scored.

    Attributes:
        domain, task, model: as for `musicae train`.
        sets: names of the data sets trained and scored on (their own test split).
        settings: of domain, model and training; `noise` names sets too.
        scored_on: sets scored on where that is not all of `sets`.
        scored_with: settings changed for scoring.
        reported: the scores the table shows.
    """

    domain: str
    sets: tuple[str, ...]
    settings: dict[str, Any]
    reported: tuple[str, ...]
    task: str = "reconstruct"
    model: str | None = None
    scored_on: tuple[str, ...] = ()
    scored_with: dict[str, Any] = field(default_factory=dict)


def _mnist(minutes: float, size: int, latent: str, model: str = "mlp", **settings: Any) -> Figure:
    chosen = {"likelihood": "gaussian", "batch_size": 512, "latent_size": size, "latent": latent, "minutes": minutes}
    reported = ("mse", "mse_mean", "pca_mse", "kl_bits")
    return Figure("image", ("mnist",), {**chosen, "steps": _CLOCK, **settings}, reported, model=model)


_TUNE_BOOKS = ("openewld", "openscore_lieder", "ryans_mammoth", "oneills1850", "airds_airs")
_MELODY_SCORES = (
    "accuracy_free_running",
    "accuracy_free_running_mean",
    "accuracy_teacher_forced",
    "onset_f1",
    "kl_bits",
    "active_units",
    "elbo_nats",
)

FIGURES: dict[str, Figure] = {
    "mnist-vae-2": _mnist(5, 2, "gaussian", depth=3),
    "mnist-ae-32": _mnist(9.5, 32, "deterministic"),
    # Convolutions: with so many numbers an MLP learns the training digits by heart (notebooks/LOG.md).
    "mnist-ae-128": _mnist(
        9.5, 128, "deterministic", model="conv", widths=(32, 64, 96), batch_size=64, learning_rate=2e-3
    ),
    # Trained on the starter tunes too, so that it keeps music; scored on speech.
    "denoise-16k": Figure(
        "audio",
        ("speech_kerstin16k", "starter_sounds"),
        {"minutes": 14, "steps": _CLOCK, "noise": ("noise_esc10", "noise_room")},
        ("si_sdr_in_db", "si_sdr_out_db", "si_sdr_gain_db", "log_mel_l1"),
        task="denoise",
        scored_on=("speech_kerstin16k",),
        scored_with={"snr_db_low": 5, "snr_db_high": 5},
    ),
    "melody-2bar": Figure(
        "music",
        _TUNE_BOOKS,
        {"minutes": 40, "steps": _CLOCK, "batch_size": 512, "beta": 0.3, "dropout": 0.05},
        _MELODY_SCORES,
    ),
}


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
            experiment.run(out / name, experiment.read())
        trained = load(out / name)
        scores = score(trained, figure, sets, out)
        minutes = trained.manifest.metrics["minutes"]
        results[name] = {
            "minutes": minutes,
            **scores,
            "machine": f"{torch.get_num_threads()} CPU thread(s)",
        }
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
        shown = "  ".join(f"{score} {scores[score]:.4g}" for score in figure.reported if score in scores)
        click.echo(f"{name}  {minutes:.1f} min  {shown}")
    click.echo(table(results))


def table(results: dict[str, dict[str, Any]]) -> str:
    """The results as the table that stands in README.md."""
    lines = ["| model | training | scores on data it never saw |", "|---|---|---|"]
    for name, figure in FIGURES.items():
        if name in results:
            row = results[name]
            scores = ", ".join(f"{key} {row[key]:.4g}" for key in figure.reported if key in row)
            if "pca_mse" in row:
                scores += f" (MSE {row['mse'] / row['pca_mse']:.2f} of PCA's)"
            lines.append(f"| `{name}` | {row['minutes']:.0f} min, {row['machine']} | {scores} |")
    return "\n".join(lines)


def score(trained: TrainedModel, figure: Figure, sets: Path, out: Path) -> dict[str, float]:
    """Scores a model on a figure's test splits."""
    places = [_place(sets, out, place) for place in figure.scored_on or figure.sets]
    return evaluate_files(trained, places, settings=_with_noise(figure.scored_with, figure, sets))


def _with_noise(settings: dict[str, Any], figure: Figure, sets: Path) -> dict[str, Any]:
    """Settings with the folders of the noise sets filled in."""
    if "noise" not in figure.settings:
        return settings
    return {**settings, "noise": tuple(str(sets / name) for name in figure.settings["noise"])}


def _experiment(figure: Figure, sets: Path, out: Path) -> Experiment:
    settings = _with_noise(figure.settings, figure, sets)
    data = [_place(sets, out, name) for name in figure.sets]
    return Experiment.resolve(figure.domain, task=figure.task, data=data, model=figure.model, settings=settings)


def _place(sets: Path, out: Path, name: str) -> Path:
    """Folder of a set; the starter sounds are rendered on first use."""
    if name != "starter_sounds":
        return sets / name
    folder = out / name
    if not folder.exists():
        domain = AudioDomain()
        for title, reading in domain.starter():
            chunks = domain.to_tensor(torch.from_numpy(reading.examples[::2].copy()))  # every other: they overlap
            domain.write(chunks, folder / f"{title.replace('/', ' ')}.wav")
    return folder


if __name__ == "__main__":
    main()
