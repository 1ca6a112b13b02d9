"""The command line: each command parses, calls one function, and prints the path it wrote."""

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from musicae import __version__
from musicae.errors import MusicaeError
from musicae.train_config import TrainConfig


class _DomainChoice(click.Choice[str]):
    """The names in `DOMAINS`, read when they are wanted: the table brings torch."""

    def __init__(self) -> None:
        super().__init__(())

    @property
    def choices(self) -> tuple[str, ...]:
        from musicae.domains import DOMAINS

        return tuple(DOMAINS)

    @choices.setter
    def choices(self, _: Any) -> None:
        """click assigns its own; the table's stand."""


class _Group(click.Group):
    """Prints what a user can mend as one sentence, and leaves with its exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MusicaeError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(error.exit_code)
        except ValueError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of our output left; click knows what to do
                raise
            place = f" ({error.filename})" if error.filename else ""
            click.echo(f"Error: {error.strerror or error}{place}", err=True)
            ctx.exit(2)


@click.group(cls=_Group, context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="musicae")
def main() -> None:
    """One autoencoder core for pictures, music and sound.

    Start with: musicae interpolate a.mid b.mid
    """


def _model_option(default: str | None) -> Callable[..., Any]:
    given: dict[str, Any] = {"required": True} if default is None else {"default": default}
    return click.option("--model", metavar="NAME|FOLDER", help="Shipped name, or a run's folder.", **given)


_settings_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other setting; an unknown key lists them all."
)
_data_option = click.option(
    "--data",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Folder, file, or mnist; may be repeated.",
)


def _training_option(key: str, kind: click.ParamType[Any], metavar: str | None, text: str) -> Callable[..., Any]:
    """An option that is a key of `TrainConfig`, with the default that stands there."""
    default = TrainConfig.model_fields[key].default
    name = "--" + key.replace("_", "-")
    return click.option(
        name, type=kind, metavar=metavar, help=text, show_default="no limit" if default is None else str(default)
    )


@main.command()
@click.option("--domain", type=_DomainChoice(), help="What to learn from.")
@click.option("--task", default="reconstruct", metavar="TASK", help="reconstruct, denoise.")
@_data_option
@click.option(
    "--noise",
    multiple=True,
    type=click.Path(resolve_path=True),
    metavar="PATH",
    help="Audio: folder of noise recordings.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Run folder.  [default: runs/DOMAIN-TASK]"
)
@click.option("--resume", type=click.Path(path_type=Path), metavar="FOLDER", help="Continue this run exactly.")
# the model
@click.option("--model", metavar="NAME", help="conv, mlp, unet, steps.  [default: fits domain and task]")
@click.option(
    "--latent",
    type=click.Choice(["gaussian", "deterministic"]),
    help="VAE or plain autoencoder.  [default: gaussian; deterministic to restore]",
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
@_settings_option
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
    from musicae.experiment import Experiment

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
        merged = {**_read_json(config), **_parse_settings(settings), **given}
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


@main.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@_model_option("melody-2bar")
@click.option(
    "--steps", type=click.IntRange(2, 1000), default=13, metavar="N", help="Points on the path, ends included."
)
@click.option("--method", type=click.Choice(["slerp", "lerp"]), default="slerp", help="Great circle or straight line.")
@click.option("--bar-a", type=click.IntRange(1), metavar="BAR", help="First bar of A.  [default: the densest window]")
@click.option("--bar-b", type=click.IntRange(1), metavar="BAR", help="First bar of B.  [default: the densest window]")
@click.option("--track-a", metavar="TRACK", help="Track of A, by number from 0 or name.  [default: the melody]")
@click.option("--track-b", metavar="TRACK", help="Track of B, by number from 0 or name.  [default: the melody]")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to write.  [default: output/A-to-B]"
)
def interpolate(
    a: Path,
    b: Path,
    model: str,
    steps: int,
    method: str,
    bar_a: int | None,
    bar_b: int | None,
    track_a: str | None,
    track_b: str | None,
    out: Path | None,
) -> None:
    """Morph from file A to file B through latent space.

    Writes the whole path, one file a step, a picture, and a WAV of music.

    Example: musicae interpolate a.mid b.mid --steps 7 --bar-a 5
    """
    trained = _load(model)
    choices = [_choice(bar, track) for bar, track in ((bar_a, track_a), (bar_b, track_b))]
    path = trained.interpolate(a, b, steps, method=method, out=out, choice_a=choices[0], choice_b=choices[1])
    click.echo("from {} to {}".format(*trained.last_labels), err=True)
    _echo_row(path)


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@_model_option("melody-2bar")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FILE", help="Where to write.  [default: NAME-reconstruct]"
)
def reconstruct(file: Path, model: str, out: Path | None) -> None:
    """Put a file through a model: what does it keep?

    Example: musicae reconstruct song.mid --out heard-by-the-model.mid
    """
    click.echo(_load(model).reconstruct(file, out))


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@_model_option("denoise-16k")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Where to write.  [default: NAME-denoise]")
def denoise(file: Path, model: str, out: Path | None) -> None:
    """Clean a sound or a picture; length and sample rate stay.

    Example: musicae denoise noisy.wav --out clean.wav
    """
    click.echo(_load(model).denoise(file, out))


@main.command()
@_model_option("melody-2bar")
@click.option("--count", type=click.IntRange(1, 1000), default=4, metavar="N", help="How many.")
@click.option("--temperature", type=click.FloatRange(0), default=1.0, metavar="T", help="0: the most probable symbols.")
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Same seed, same samples.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("output/samples"), metavar="FOLDER", help="Where.")
def sample(model: str, count: int, temperature: float, seed: int | None, out: Path) -> None:
    """Decode draws from the prior.

    Example: musicae sample --count 8 --temperature 0.5 --seed 1
    """
    _echo_row(_load(model).sample(count, temperature=temperature, seed=seed, out=out))


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--domain", type=_DomainChoice(), default="music", help="How to read the files.")
@_settings_option
def inspect(paths: tuple[Path, ...], domain: str, settings: tuple[str, ...]) -> None:
    """Tell what would be learned from files, and why the rest would not.

    Example: musicae inspect my_midi/
    """
    from musicae.inspection import inspect_files

    for line in inspect_files(domain, paths, _parse_settings(settings)):
        click.echo(line)


@main.command()
@_model_option(None)
@_data_option
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", help="Which part of the data.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Score at most so many examples.")
@click.option("--seed", type=click.IntRange(0), default=0, metavar="N", help="Of damage and draws.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_settings_option
def evaluate(
    model: str,
    data: tuple[Path, ...],
    split: str,
    limit: int | None,
    seed: int,
    as_json: bool,
    settings: tuple[str, ...],
) -> None:
    """Score a model on data it was not trained on.

    Example: musicae evaluate --model runs/image-reconstruct --json
    """
    from musicae.evaluate import evaluate_files

    scores = evaluate_files(_load(model), data, split=split, limit=limit, seed=seed, settings=_parse_settings(settings))
    if as_json:
        click.echo(json.dumps(scores, indent=2))
        return
    width = max(map(len, scores))
    for name, value in scores.items():
        click.echo(f"{name:{width}}  {value:.5g}")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="WAV to write.  [default: FILE.wav]")
@click.option(
    "--sample-rate",
    "sample_rate_hz",
    type=click.IntRange(8000, 192_000),
    default=44_100,
    metavar="HZ",
    help="Of the WAV.",
)
def render(file: Path, out: Path | None, sample_rate_hz: int) -> None:
    """Render a MIDI file to sound.

    Example: musicae render a.mid --out a.wav
    """
    from musicae.render import render_file

    click.echo(render_file(file, out or file.with_suffix(".wav"), sample_rate_hz=sample_rate_hz))


@main.command()
def models() -> None:
    """List the models that come with the package, and the kinds that can be trained.

    Example: musicae models
    """
    from musicae.inspection import describe_models

    for line in describe_models():
        click.echo(line)


def _load(model: str) -> Any:
    from musicae.trained import load

    return load(model)


def _choice(bar: int | None, track: str | None) -> dict[str, Any]:
    """The parts of a file that were chosen; a track of digits is a number."""
    chosen: dict[str, Any] = {} if bar is None else {"bar": bar}
    if track is not None:
        chosen["track"] = int(track) if track.isdigit() else track
    return chosen


def _parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """KEY=VALUE pairs → a mapping; a value that is JSON is read as JSON, else as text."""
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set wants KEY=VALUE, got {setting!r}.")
        try:
            parsed[key] = json.loads(value)
        except ValueError:
            parsed[key] = value
    return parsed


def _read_json(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MusicaeError(f"no such file: {path}") from None
    except ValueError as error:
        raise MusicaeError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise MusicaeError(f"{path} holds no settings; expected one JSON object of keys and values.")
    return content


def _describe(report: Any) -> str:
    from musicae.datasets import told_reasons

    left_out = told_reasons(report.skipped, report.damaged)
    return f"{report.examples} examples from {report.items} items; left out: {left_out}"


def _echo_row(path: Path) -> None:
    """Prints what stands beside a written row: the whole, its picture, its sound."""
    for file in sorted(path.parent.glob(f"{path.stem}.*")):
        click.echo(file)


if __name__ == "__main__":
    sys.exit(main())
