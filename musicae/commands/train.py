"""`train`, `reproduce`, and `prepare`, which reads the data beforehand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from musicae.commands.options import (
    FILES,
    DomainChoice,
    check_inputs,
    data_option,
    domain_in,
    parse_settings,
    read_json,
    settings_option,
)
from musicae.data.remote import is_remote
from musicae.models import MODELS
from musicae.training.config import TrainConfig


def _training_option(key: str, type_: click.ParamType[Any], metavar: str | None, text: str) -> Callable[..., Any]:
    """An option for a key of `TrainConfig`; it shows the default of that key."""
    default = TrainConfig.model_fields[key].default
    said = "no limit" if default is None else default
    return click.option("--" + key.replace("_", "-"), type=type_, metavar=metavar, help=f"{text}  [default: {said}]")


@click.command()
@click.option("--domain", type=DomainChoice(), help="What to learn from.")
@click.option("--task", default="reconstruct", metavar="TASK", help="reconstruct, denoise, upscale; tap (drums).")
@data_option
@click.option(
    "--noise",
    multiple=True,
    type=click.Path(resolve_path=True),
    metavar="PATH",
    help="Audio: folder of noise recordings; each of its folders is drawn as often as any other.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Run folder.  [default: runs/DOMAIN-TASK, with a number where that exists]",
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="FOLDER", help="Continue this run exactly.")
@click.option(
    "--start-from",
    metavar="NAME|FOLDER",
    help="Fine-tune: a shipped model or a run whose settings are the defaults, and whose weights are taken over.",
)
# the model
@click.option(
    "--model",
    metavar="NAME",
    help=f"{', '.join(MODELS)}.  [default: fits domain and task]",
)
@click.option(
    "--latent",
    type=click.Choice(["gaussian", "deterministic", "adversarial", "fsq", "vq"]),
    help="VAE, plain or adversarial autoencoder; or a discrete code.  [default: gaussian; deterministic to restore]",
)
@click.option(
    "--latent-size", type=click.IntRange(1), metavar="N", help="Numbers in the latent.  [default: the model's]"
)
# the training
@_training_option("steps", click.IntRange(1), "N", "Updates.")
@_training_option("minutes", click.FloatRange(0, min_open=True), "MIN", "Wall time, if that ends first.")
@_training_option("batch_size", click.IntRange(1), "N", "Examples an update; audio takes 8.")
@_training_option("micro_batch", click.IntRange(1), "N", "Examples computed at once; their gradients add up.")
@_training_option("learning_rate", click.FloatRange(0, min_open=True), "RATE", "Peak of the schedule.")
@_training_option("beta", click.FloatRange(0), "WEIGHT", "Weight of the KL.")
@_training_option("free_bits", click.FloatRange(0), "BITS", "KL an example may spend at no cost.")
@_training_option("seed", click.IntRange(0), "N", "Of weights, batches and corruption.")
@_training_option("precision", click.Choice(["auto", "no", "bf16", "fp16"]), None, "Mixed precision.")
@click.option(
    "--compile", is_flag=True, default=None, help="Let torch compile the network: minutes, then faster steps."
)
@click.option(
    "--log-with",
    multiple=True,
    metavar="TRACKER",
    help="tensorboard, wandb, trackio and others that Accelerate knows; may be repeated.  [default: tensorboard]",
)
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
    start_from: str | None,
    model: str | None,
    log_with: tuple[str, ...],
    config: Path | None,
    settings: tuple[str, ...],
    dry_run: bool,
    **options: Any,
) -> None:
    """Train a model.

    Without --data: image learns scikit-learn's digits (in 600 steps, beta 0.2), music and audio the starter tunes.

    Example: musicae train --domain music --data my_midi/ --minutes 20

    Example: musicae train --domain music --start-from melody-2bar --data my_midi/ --minutes 10
    """
    given = {name: value for name, value in options.items() if value is not None}
    given |= {"noise": noise} if noise else {}
    given |= {"start_from": start_from} if start_from else {}
    given |= {"log_with": log_with} if log_with else {}
    if resume is not None and any((domain, data, out, model, config, settings, given)):
        raise click.UsageError("--resume continues a run with its own settings; leave the other options out.")
    if resume is None and domain is None:
        raise click.UsageError("give --domain (or --resume).")
    merged = {**read_json(config), **parse_settings(settings), **given}
    from musicae.training.experiment import Experiment, run_folder
    from musicae.training.process import is_main_process

    if resume is not None:
        experiment, folder = Experiment.of_run(resume), resume
    else:
        assert domain is not None
        experiment = Experiment.resolve(domain, task=task, data=data, model=model, settings=merged)
        folder = out or Path() if dry_run else run_folder(domain, task, out)
    if dry_run:
        click.echo(json.dumps(experiment.manifest.model_dump(mode="json"), indent=2))
        return
    dataset = experiment.read()
    if is_main_process():
        click.echo(_describe(dataset.report), err=True)
    experiment.run(folder, dataset, resume=resume is not None)
    if is_main_process():
        click.echo(folder)


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Run folder.  [default: RUN-reproduced]"
)
def reproduce(run: Path, out: Path | None) -> None:
    """Train a run again, and compare.

    Reads the same data with the same settings, and says whether the weights are equal bit for bit, how the scores
    differ, and what of the machine and the versions changed. Ends with 0 if the weights, or all scores up to a
    thousandth, are equal, else with 1.

    Example: musicae reproduce runs/digits
    """
    from musicae.atomic_io import free_path
    from musicae.training.reproduce import reproduce as train_again

    compared = train_again(run, out or free_path(run.absolute().with_name(f"{run.absolute().name}-reproduced")))
    for line in compared.lines:
        click.echo(line, err=True)
    click.echo(compared.folder)
    if not compared.is_equal:
        raise click.exceptions.Exit(1)


def _describe(report: Any) -> str:
    from musicae.data.files import describe_skipped

    left_out = describe_skipped(report.skipped, report.damaged, report.stopped)
    return f"{report.examples} examples from {report.items} items; left out: {left_out}"


@click.command()
@click.argument("paths", **{**FILES, "metavar": "PATH..."})  # type: ignore[arg-type]  # what `argument` takes
@click.option("--domain", type=DomainChoice(), help="How to read the files.  [default: by what most of them are]")
@click.option(
    "--processes", type=click.IntRange(0), metavar="N", help="That read; 0: only this one.  [default: by the files]"
)
@click.option("--unique", is_flag=True, help="Also say what is left of training without duplicates.")
@click.option("--shard", metavar="K/N", help="Read every N-th file only, from the K-th on, as one of N machines.")
@click.option(
    "--merge", type=click.IntRange(1), metavar="N", help="Join the stores of N shards into that of all files."
)
@settings_option
def prepare(
    paths: tuple[Path, ...],
    domain: str | None,
    processes: int | None,
    unique: bool,
    shard: str | None,
    merge: int | None,
    settings: tuple[str, ...],
) -> None:
    """Read files into the store that training opens, and say what it holds.

    After Ctrl-C or a crash, the same command goes on from where it was.

    Example: musicae prepare my_midi/ --processes 4

    Example: musicae prepare my_midi/ --shard 3/16
    """
    if shard is not None and merge is not None:
        raise click.UsageError("--shard reads a part of the files, and --merge joins the parts; give one of them.")
    if domain is None:
        if any(is_remote(path) for path in paths):
            raise click.UsageError("give --domain with a URL: its files aren't looked at before they are copied.")
        check_inputs(paths)  # a named set says its domain itself
    from musicae.data.prepare import prepare_lines

    given = parse_settings(settings)
    for line in prepare_lines(domain or domain_in(paths[0]), paths, given, processes, unique, shard, merge):
        click.echo(line)
