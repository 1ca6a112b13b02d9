"""Bars that a model makes up: `infill` and `continue`."""

from pathlib import Path
from typing import Any

import click

from musicae.commands.options import (
    FILE,
    Bars,
    check_inputs,
    load,
    model_option,
    name_of,
    out_option,
    save_one_or_all,
    seed_option,
    track_option,
)

_count = click.option(
    "--count", type=click.IntRange(1, 1000), default=1, metavar="N", help="How many versions; several: a folder."
)
_temperature = click.option(
    "--temperature",
    type=click.FloatRange(0),
    metavar="T",
    help="0: the expected codes, the same each time.  [default: what the model advises]",
)


@click.command()
@click.argument("file", type=FILE)
@click.option("--bars", type=Bars(), required=True, metavar="5-6", help="The bars to make up.")
@model_option("melody-16bar")
@_count
@_temperature
@seed_option
@track_option
@out_option("FILE|FOLDER", "output/NAME-infill")
def infill(file: Path, bars: tuple[int, int], model: str, track: str | None, **options: Any) -> None:
    """Make up bars of a melody, or of a piano piece, that fit the bars around them.

    Example: musicae infill song.mid --bars 5-6 --seed 1

    Example: musicae infill song.mid --bars 9-16 --count 4 --out ideas/
    """
    check_inputs([file])
    trained = load(model, track)
    made = trained.infill(file, bars, options["count"], seed=options["seed"], temperature=options["temperature"])
    save_one_or_all(made, options["out"], f"{name_of(file)}-infill", force=options["force"])


@click.command(name="continue")
@click.argument("file", type=FILE)
@click.option("--bars", type=click.IntRange(1, 512), default=8, metavar="N", help="How many bars to add.")
@model_option("melody-16bar")
@_count
@_temperature
@seed_option
@track_option
@out_option("FILE|FOLDER", "output/NAME-continue")
def continue_(file: Path, bars: int, model: str, track: str | None, **options: Any) -> None:
    """Go on with a melody, or a piano piece, where its file ends.

    Example: musicae continue song.mid --bars 8 --seed 1
    """
    check_inputs([file])
    trained = load(model, track)
    made = trained.extend(file, bars, options["count"], seed=options["seed"], temperature=options["temperature"])
    save_one_or_all(made, options["out"], f"{name_of(file)}-continue", force=options["force"])
