"""Drums as people play them: `humanize`, `groove-transfer`, `tap`."""

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
    save_file,
    save_one_or_all,
    seed_option,
    stretch_options,
    track_option,
    within_bars,
)


@click.command()
@click.argument("file", type=FILE)
@model_option("drums-2bar")
@click.option(
    "--count", type=click.IntRange(1, 1000), default=1, metavar="N", help="How many players; several: a folder."
)
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    default=1.0,
    metavar="T",
    help="How freely each hit is played; 0: evenly.",
)
@seed_option
@track_option
@stretch_options
@out_option("FILE|FOLDER", "output/NAME-humanize")
def humanize(
    file: Path,
    model: str,
    count: int,
    temperature: float,
    seed: int | None,
    track: str | None,
    bars: tuple[int, int] | None,
    solo: bool,
    out: str | None,
    force: bool,
) -> None:
    """Play a stiff drum pattern as a person might; the pattern stays.

    Example: musicae humanize beat.mid --seed 1 --out played.mid

    Example: musicae humanize song.mid --bars 5-8 --count 4
    """
    check_inputs([file])
    trained = load(model, track)

    def play(source: Any) -> Any:
        return trained.humanize(source, count, temperature=temperature, seed=seed)

    played = within_bars(trained.domain, play, bars, solo)(file)
    save_one_or_all(played, out, f"{name_of(file)}-humanize", force=force)


@click.command()
@click.argument("feel", type=FILE)
@click.argument("pattern", type=FILE)
@model_option("drums-2bar")
@stretch_options
@out_option("FILE", "output/PATTERN-like-FEEL")
def groove_transfer(
    feel: Path, pattern: Path, model: str, bars: tuple[int, int] | None, solo: bool, out: str | None, force: bool
) -> None:
    """Play the hits of PATTERN with the dynamics and timing of FEEL.

    Example: musicae groove-transfer funky.mid stiff.mid --out funky-stiff.mid
    """
    check_inputs([feel, pattern])
    trained = load(model)
    played = within_bars(trained.domain, lambda notes: trained.transfer_feel(feel, notes), bars, solo)(pattern)
    save_file(played, out, f"{name_of(pattern)}-like-{name_of(feel)}", force=force)


@click.command()
@click.argument("file", type=FILE)
@model_option("drums-2bar-tap")
@click.option("--bars", type=Bars(), metavar="9-16", help="The bars to play; of drums the others stay.  [default: all]")
@out_option("FILE", "output/NAME-tap")
def tap(file: Path, bars: tuple[int, int] | None, model: str, out: str | None, force: bool) -> None:
    """Play a tapped rhythm on a drum kit.

    Of a file with drums their rhythm is taken; of another one the rhythm of all its notes, and the result is drums
    alone.

    Example: musicae tap rhythm.mid --out kit.mid
    """
    check_inputs([file])
    trained = load(model)
    kit = within_bars(trained.domain, trained.tap, bars, solo=False)(file)
    save_file(kit, out, f"{name_of(file)}-tap", force=force)
