"""`train`: from names, folders and settings to a run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from musicae.commands.options import DomainChoice, data_option, parse_settings, read_json, settings_option
from musicae.errors import MusicaeError
from musicae.training.config import TrainConfig


def _training_option(key: str, kind: click.ParamType[Any], metavar: str | None, text: str) -> Callable[..., Any]:
    """An option that is a key of `TrainConfig`, with the default that stands there."""
    default = TrainConfig.model_fields[key].default
    name = "--" + key.replace("_", "-")
    return click.option(
        name, type=kind, metavar=metavar, help=text, show_default="no limit" if default is None else str(default)
    )


@click.command()
@click.option("--domain", type=DomainChoice(), help="What to learn from.")
@click.option("--task", default="reconstruct", metavar="TASK", help="reconstruct, denoise, upscale.")
@data_option
@click.option(
    "--noise",
    multiple=True,
    type=click.Path(resolve_path=True),
    metavar="PATH",
    help="Audio: folder of noise recordings; each of its folders is heard as often as any other.",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Run folder.  [default: runs/DOMAIN-TASK]"
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="FOLDER", help="Continue this run exactly.")
# the model
@click.option(
    "--model",
    metavar="NAME",
    help="conv, spectrogram, mlp, unet, causal, steps, restorer, musicvae.  [default: fits domain and task]",
)
@click.option(
    "--latent",
    type=click.Choice(["gaussian", "deterministic", "adversarial"]),
    help="VAE, plain or adversarial autoencoder.  [default: gaussian; deterministic to restore]",
)
@click.option(
    "--latent-size", type=click.IntRange(1), metavar="N", help="Numbers in the latent.  [default: the model's]"
)
# the training
@_training_option("steps", click.IntRange(1), "N", "Updates.")
@_training_option("minutes", click.FloatRange(0, min_open=True), "MIN", "Wall time, if that ends first.")
@_training_option("batch_size", click.IntRange(1), "N", "Examples an update; audio takes 8.")
@_training_option("learning_rate", click.FloatRange(0, min_open=True), "RATE", "Peak of the schedule.")
@_training_option("beta", click.FloatRange(0), "WEIGHT", "Weight of the KL.")
@_training_option("free_bits", click.FloatRange(0), "BITS", "KL an example may spend at no cost.")
@_training_option("seed", click.IntRange(0), "N", "Of weights, batches and damage.")
@_training_option("precision", click.Choice(["auto", "no", "bf16", "fp16"]), None, "Mixed precision.")
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="JSON file with settings.")
@settings_option
@click.option("--dry-run", is_flag=True, help="Print the resolved settings and stop.")
def train(
    domain: str | None,
    task: str,
    data: tuple[Path, ...],
    noise: tuple[str, ...],
    out: Path | None,
    resume: Path | None,
    model: str | None,
    config: Path | None,
    settings: tuple[str, ...],
    dry_run: bool,
    **options: Any,
) -> None:
    """Train a model.

    Without --data: image learns scikit-learn's digits, music and audio the starter tunes.

    Example: musicae train --domain music --data my_midi/ --minutes 20
    """
    from musicae.training.experiment import Experiment

    if resume is not None:
        ignored = any((domain, data, noise, out, model, config, settings)) or any(
            value is not None for value in options.values()
        )
        if ignored:
            raise click.UsageError("--resume continues a run with its own settings; leave the other options out.")
        experiment, out = Experiment.of_run(resume), resume
    else:
        if domain is None:
            raise click.UsageError("give --domain (or --resume).")
        given = {name: value for name, value in options.items() if value is not None}
        given |= {"noise": noise} if noise else {}
        merged = {**read_json(config), **parse_settings(settings), **given}
        experiment = Experiment.resolve(domain, task=task, data=data, model=model, settings=merged)
        out = out or Path("runs") / f"{domain}-{task}"
        if any((out / name).exists() for name in ("best", "last")) and not dry_run:
            raise MusicaeError(f"{out} already holds a run; continue it with --resume {out}, or choose another --out.")
    if dry_run:
        click.echo(json.dumps(experiment.manifest.model_dump(mode="json"), indent=2))
        return
    dataset = experiment.read()
    click.echo(_describe(dataset.report), err=True)
    click.echo(experiment.run(out, dataset, resume=resume is not None))


def _describe(report: Any) -> str:
    from musicae.data.dataset import told_reasons

    left_out = told_reasons(report.skipped, report.damaged, report.stopped)
    return f"{report.examples} examples from {report.items} items; left out: {left_out}"
