"""New files from latent space: `sample`, `grid`, `interpolate`, `vary`, `shift`."""

from pathlib import Path

import click

from musicae.commands.options import (
    FILE,
    bar_option,
    check_inputs,
    chords_option,
    label_option,
    load,
    load_for,
    model_for_file_option,
    name_of,
    out_option,
    read_choice,
    refine_option,
    save_file,
    save_morph,
    seed_option,
    stretch_options,
    temperature_option,
    top_p_option,
    track_option,
    within_bars,
)
from musicae.shipped import SHIPPED_FOR


@click.command()
@model_for_file_option("[default: melody-2bar; notes-44k for notes that are asked for]")
@click.option("--count", type=click.IntRange(1, 1000), default=4, metavar="N", help="How many.")
@temperature_option
@top_p_option
@click.option(
    "--spread",
    type=click.FloatRange(0, 10),
    metavar="S",
    help="Of the codes: 1 draws from the prior, less is safer.  [default: what the model advises]",
)
@seed_option
@click.option(
    "--length",
    type=click.IntRange(1),
    metavar="BARS",
    help="Of each; beyond the model's window by a walk through latent space.  [default: one window]",
)
@click.option("--key", metavar="TEXT", help='Of music, as "D minor" or "Bb major".  [default: as it comes]')
@chords_option
@click.option("--time-signature", metavar="N/M", help="Of music, if the model reads several.  [default: 4/4]")
@label_option
@click.option("--pitch", type=click.FloatRange(0, 127), metavar="MIDI", help="Of notes, if the model has labels.")
@click.option("--velocity", type=click.FloatRange(0, 1), metavar="V", help="Of notes, 0 to 1, as well.")
@out_option("FOLDER", "output/MODEL-sample")
def sample(
    model: str | None,
    count: int,
    temperature: float,
    top_p: float,
    spread: float | None,
    seed: int | None,
    length: int | None,
    key: str | None,
    chords: str | None,
    time_signature: str | None,
    label: str | None,
    pitch: float | None,
    velocity: float | None,
    out: str | None,
    force: bool,
) -> None:
    """Decode draws from the prior.

    Example: musicae sample --count 8 --temperature 0.5 --seed 1

    Example: musicae sample --label cello --pitch 48 --velocity 0.7
    """
    if model is None:
        is_note = any(value is not None for value in (label, pitch, velocity))
        model = SHIPPED_FOR["reconstruct"]["audio" if is_note else "music"]
    samples = load(model).sample(
        count,
        temperature=temperature,
        top_p=top_p,
        spread=spread,
        seed=seed,
        length=length,
        key=key,
        chords=chords,
        label=label,
        time_signature=time_signature,
        pitch=pitch,
        velocity=velocity,
    )
    save_morph(samples, out, f"{Path(model).name}-sample", force=force)


@click.command()
@click.option("--model", required=True, metavar="MODEL", help="A run, or a model by its name.")
@click.option("--side", type=click.IntRange(1, 100), default=15, metavar="N", help="Examples to a side, or in a row.")
@click.option("--around", type=FILE, metavar="FILE", help="Move the numbers of this file's code.  [default: of zeros]")
@click.option("--numbers", type=click.IntRange(1, 64), metavar="N", help="Rows of a longer code.  [default: 8]")
@label_option
@out_option("FOLDER", "output/MODEL-grid")
def grid(
    model: str,
    side: int,
    around: Path | None,
    numbers: int | None,
    label: str | None,
    out: str | None,
    force: bool,
) -> None:
    """Show what lies where in a code of two numbers, or what each number of a longer one does.

    Example: musicae grid --model runs/image-reconstruct --side 20

    Example: musicae grid --model runs/image-reconstruct --around 7.png --numbers 12
    """
    if around is not None:
        check_inputs([around])
    shown = load(model).grid(side, label=label, around=around, numbers=numbers)
    save_morph(shown, out, f"{Path(model).name}-grid", force=force)


@click.command()
@click.argument("a", type=FILE)
@click.argument("b", type=FILE)
@model_for_file_option()
@click.option(
    "--steps", type=click.IntRange(2, 1000), default=13, metavar="N", help="Points on the path, ends included."
)
@click.option("--method", type=click.Choice(["slerp", "lerp"]), default="slerp", help="Great circle or straight line.")
@click.option(
    "--spacing",
    type=click.Choice(["even", "uniform"]),
    help="Steps that change about as much as each other, or equal parts of the path; for two files.  [default: even]",
)
@click.option(
    "--corners",
    nargs=2,
    type=FILE,
    metavar="C D",
    help="Two more files: a square of --steps × --steps, from A down to B at the left, C to D at the right.",
)
@click.option("--morph", is_flag=True, help="One sound that changes from A into B while it lasts; --out is a file.")
@click.option(
    "--whole", is_flag=True, help="Whole files, window by window, each step as long as the longer of the two."
)
@click.option(
    "--tempo",
    type=click.Choice(["a", "b", "between"]),
    help="Music: the tempo of A, of B, or from one to the other.  [default: a; with --whole the longer one's]",
)
@click.option("--bar-a", type=click.IntRange(1), metavar="BAR", help="First bar of A.  [default: the densest window]")
@click.option("--bar-b", type=click.IntRange(1), metavar="BAR", help="First bar of B.  [default: the densest window]")
@click.option("--start-a", type=click.FloatRange(0), metavar="S", help="Sound: seconds in A.  [default: the loudest]")
@click.option("--start-b", type=click.FloatRange(0), metavar="S", help="Sound: seconds in B.  [default: the loudest]")
@click.option("--track-a", metavar="TRACK", help="Track of A, by number from 0 or name.  [default: chosen]")
@click.option("--track-b", metavar="TRACK", help="Track of B, by number from 0 or name.  [default: chosen]")
@refine_option
@out_option("FOLDER", "output/A-to-B-interpolate")
def interpolate(
    a: Path,
    b: Path,
    model: str | None,
    steps: int,
    method: str,
    spacing: str | None,
    corners: tuple[Path, Path] | None,
    morph: bool,
    whole: bool,
    tempo: str | None,
    bar_a: int | None,
    bar_b: int | None,
    start_a: float | None,
    start_b: float | None,
    track_a: str | None,
    track_b: str | None,
    refine: int,
    out: str | None,
    force: bool,
) -> None:
    """Morph from file A to file B through latent space.

    Writes the whole path, one file a step, a picture, and a WAV of music. With --corners: the square,
    one file a column. With --whole: one file a step. With --morph: one sound.

    Example: musicae interpolate a.mid b.mid --steps 7 --bar-a 5 --refine 30

    Example: musicae interpolate flute.wav bell.wav --morph --out between.wav
    """
    choices = [read_choice(bar_a, track_a, start_a), read_choice(bar_b, track_b, start_b)]
    if whole and (corners or any(choices)):
        raise click.UsageError("--whole takes two whole files; leave --corners, --bar-… and --track-… out.")
    if spacing and (whole or corners):
        raise click.UsageError("--spacing is for a path between two windows; leave it out with --whole and --corners.")
    if tempo and (morph or corners):
        raise click.UsageError("--tempo is for a path of music; leave it out with --morph and --corners.")
    if morph and (whole or corners or spacing):
        raise click.UsageError("--morph takes two sounds; leave --whole, --corners and --spacing out.")
    check_inputs([a, b, *(corners or ())])
    trained = load_for(model, a, refine=refine)
    name = f"{name_of(a)}-to-{name_of(b)}"
    if morph:
        changed = trained.morph(a, b, method=method, choice_a=choices[0], choice_b=choices[1])
        save_file(changed, out, f"{name}-morph", force=force)
    elif whole:
        songs = trained.interpolate_songs(a, b, steps, method=method, tempo=tempo)
        save_morph(songs, out, f"{name}-interpolate", force=force)
    elif corners:
        square = trained.interpolate_corners(a, b, *corners, steps, method=method, choices=choices)
        named = "-".join(["square", *map(name_of, (a, b, *corners))])
        save_morph(square, out, f"{named}-interpolate", force=force)
    else:
        path = trained.interpolate(
            a, b, steps, method=method, spacing=spacing or "even", tempo=tempo, choice_a=choices[0],
            choice_b=choices[1],
        )  # fmt: skip
        save_morph(path, out, f"{name}-interpolate", force=force)


@click.command()
@click.argument("file", type=FILE)
@model_for_file_option()
@click.option(
    "--amount", type=click.FloatRange(0, 1), default=0.3, metavar="SHARE", help="0: the file itself; 1: a new draw."
)
@click.option("--count", type=click.IntRange(1, 1000), default=4, metavar="N", help="How many.")
@click.option("--keep", metavar="ASPECT", help="Music: keep its rhythm, contour or harmony, and vary the rest.")
@click.option("--whole", is_flag=True, help="The whole file, or the --bars of it, and not one window alone.")
@seed_option
@bar_option
@track_option
@stretch_options
@refine_option
@out_option("FOLDER", "output/NAME-vary")
def vary(
    file: Path,
    model: str | None,
    amount: float,
    count: int,
    keep: str | None,
    whole: bool,
    seed: int | None,
    bar: int | None,
    track: str | None,
    bars: tuple[int, int] | None,
    solo: bool,
    refine: int,
    out: str | None,
    force: bool,
) -> None:
    """Write variations of a file, at a chosen distance from it.

    Example: musicae vary a.mid --amount 0.4 --count 8 --seed 1

    Example: musicae vary song.mid --bars 9-16 --keep rhythm
    """
    whole = whole or bars is not None
    if whole and bar is not None:
        raise click.UsageError("--bar chooses one window; with --whole or --bars leave it out.")
    if solo and not whole:
        raise click.UsageError("--solo goes with --whole or --bars; one window is written alone anyway.")
    if whole:
        trained = load_for(model, file, track=track, refine=refine)
        change = within_bars(
            trained.domain, lambda source: trained.vary_whole(source, amount, count, seed=seed, keep=keep), bars, solo
        )
        varied = change(file)
    else:
        choice = read_choice(bar, track)
        trained = load_for(model, file, refine=refine)
        varied = trained.vary(file, amount, count, seed=seed, keep=keep, choice=choice)
    save_morph(varied, out, f"{name_of(file)}-vary", force=force)


@click.command()
@click.argument("file", type=FILE)
@model_for_file_option()
@click.option("--attribute", required=True, metavar="NAME", help="What to change; an unknown name lists them all.")
@click.option(
    "--amount",
    type=click.FloatRange(-10, 10),
    default=1.0,
    metavar="SD",
    help="By how much, in standard deviations of the training data; negative for less.",
)
@track_option
@stretch_options
@refine_option
@out_option("FILE", "output/NAME-shift")
def shift(
    file: Path,
    model: str | None,
    attribute: str,
    amount: float,
    track: str | None,
    bars: tuple[int, int] | None,
    solo: bool,
    refine: int,
    out: str | None,
    force: bool,
) -> None:
    """Change one attribute of a file and keep the rest.

    Example: musicae shift a.mid --attribute density --amount 1.5

    Example: musicae shift song.mid --bars 9-16 --attribute density --amount 1
    """
    trained = load_for(model, file, track=track, refine=refine)
    shifted = within_bars(trained.domain, lambda source: trained.shift(source, attribute, amount), bars, solo)(file)
    save_file(shifted, out, f"{name_of(file)}-shift", force=force)
