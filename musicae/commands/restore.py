"""From a file to a file, also for several files or a folder: `reconstruct`, `denoise`, `upscale`, `render`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import click

from musicae.commands.each_file import change_each
from musicae.commands.options import (
    FILES,
    check_inputs,
    chords_option,
    first_input,
    label_option,
    load,
    load_for,
    model_for_file_option,
    out_option,
    read_track,
    refine_option,
    stretch_options,
    track_option,
    within_bars,
)
from musicae.commands.pipe import PIPE_OPTIONS, denoise_pipe, is_pipe, pipe_options
from musicae.errors import MusicaeError
from musicae.shipped import SHIPPED_FOR

_ensemble_option = click.option(
    "--ensemble",
    type=click.Choice(["1", "2", "4", "8"]),
    metavar="VIEWS",
    help="Pictures: average 1, 2, 4 or 8 flipped and transposed views; the time grows with it.  [default: the model's]",
)
_TO_RESTORE = "output/NAME-{}; of several files output/FOLDER-{}/…"


@click.command()
@click.argument("files", **FILES)  # type: ignore[arg-type]  # what `argument` takes
@model_for_file_option()
@chords_option
@label_option
@track_option
@stretch_options
@refine_option
@out_option("FILE|FOLDER", _TO_RESTORE.format("reconstruct", "reconstruct"))
def reconstruct(
    files: tuple[Path, ...],
    model: str | None,
    chords: str | None,
    label: str | None,
    track: str | None,
    bars: tuple[int, int] | None,
    solo: bool,
    refine: int,
    out: str | None,
    force: bool,
) -> None:
    """Put files through a model: what does it keep?

    Of a score only the notes that the model addresses change. With --chords or --label the code stays and the harmony
    or the class changes.

    Example: musicae reconstruct song.mid --out reconstructed.mid
    """
    trained = load_for(model, first_input(files), track=track, refine=refine)

    def restore(source: Any) -> Any:
        return trained.reconstruct(source, chords=chords, label=label)

    change = within_bars(trained.domain, restore, bars, solo)
    change_each(files, trained.domain, change, "reconstruct", out, force)


@click.command()
@click.argument("files", **FILES)  # type: ignore[arg-type]  # what `argument` takes
@model_for_file_option("[default: denoise-48k, of pictures photo-denoise; with -: denoise-live-48k]")
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    default=1.0,
    metavar="SHARE",
    help="Of what the model would do; 0 leaves the file as it is.",
)
@click.option(
    "--max-attenuation",
    "max_attenuation_db",
    type=click.FloatRange(0),
    metavar="DB",
    help="Sound: turn nothing down by more.  [default: (no limit)]",
)
@click.option(
    "--noise-profile",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Sound: a recording of the noise alone, from the same place and recorder.",
)
@_ensemble_option
@click.option("--noise-only", is_flag=True, help="Sound: write what is taken away, NAME-noise, and not what is left.")
@click.option("--report", is_flag=True, help="Sound: measure before and after, and draw NAME-denoise.png.")
@track_option
@stretch_options
@pipe_options
@out_option("FILE|FOLDER", _TO_RESTORE.format("denoise", "denoise"))
def denoise(
    files: tuple[Path, ...],
    model: str | None,
    noise_only: bool,
    report: bool,
    ensemble: str | None,
    track: str | None,
    bars: tuple[int, int] | None,
    solo: bool,
    out: str | None,
    force: bool,
    **options: Any,
) -> None:
    """Clean sounds or pictures, or repair melodies; the length stays.

    A sound stays what it is (WAV, FLAC, OGG, MP3, AIFF ...; 16 bits, 24 bits, float ...), or becomes what the
    ending of --out says. A folder is taken with all below it. For - raw samples come from stdin and go to stdout while
    they arrive.

    Example: musicae denoise noisy.wav --out clean.wav --strength 0.8

    Example: musicae denoise photo.jpg --ensemble 8

    Example: musicae denoise song.mp3 --noise-only

    Example: musicae denoise interview.flac --noise-profile empty-room.flac --report

    Example: arecord -f S16_LE -r 48000 -t raw | musicae denoise - | aplay -f S16_LE -r 48000
    """
    if noise_only and report:
        raise click.UsageError("--report compares a sound with what is left of it; leave --noise-only out.")
    samples = {name: options.pop(name) for name in PIPE_OPTIONS}
    if is_pipe(files, out):
        if ensemble is not None:
            raise click.UsageError("--ensemble is for pictures, and - for sound; leave it out.")
        denoise_pipe(model, **samples, **options, report=report, noise_only=noise_only)
        return
    check_inputs(filter(None, [options["noise_profile"]]))
    trained = _averaging(load_for(model, first_input(files), "denoise", track), ensemble)

    def restore(source: Any) -> Any:
        if not noise_only:
            return trained.denoise(source, **options)
        return _removed(trained.domain, source, lambda item: trained.denoise(item, **options))

    change = within_bars(trained.domain, restore, bars, solo)
    change_each(files, trained.domain, change, "noise" if noise_only else "denoise", out, force, report=report)


@click.command()
@click.argument("files", **FILES)  # type: ignore[arg-type]  # what `argument` takes
@model_for_file_option("[default: upscale-48k for sound, photo-upscale for pictures]")
@click.option(
    "--scale",
    type=click.IntRange(2, 4),
    metavar="TIMES",
    help="Pictures: 2, 3 or 4 times larger.  [default: as the model learned, or 2]",
)
@_ensemble_option
@track_option
@stretch_options
@out_option("FILE|FOLDER", _TO_RESTORE.format("upscale", "upscale"))
def upscale(
    files: tuple[Path, ...],
    model: str | None,
    scale: int | None,
    ensemble: str | None,
    track: str | None,
    bars: tuple[int, int] | None,
    solo: bool,
    out: str | None,
    force: bool,
) -> None:
    """Fill in what a coarse file lacks, with a model trained with --task upscale.

    Example: musicae upscale call-8khz.wav

    Example: musicae upscale photo.jpg --scale 3

    Example: musicae upscale eighths.mid --model runs/music-upscale
    """
    trained = _averaging(load_for(model, first_input(files), "upscale", track), ensemble)
    change = within_bars(trained.domain, partial(trained.upscale, scale=scale), bars, solo)
    change_each(files, trained.domain, change, "upscale", out, force)


@click.command()
@click.argument("files", **FILES)  # type: ignore[arg-type]  # what `argument` takes
@click.option(
    "--sample-rate",
    "sample_rate_hz",
    type=click.IntRange(8000, 192_000),
    default=44_100,
    metavar="HZ",
    help="Of the WAV.",
)
@track_option
@click.option("--instrument", metavar="LABEL", help="Play all pitched tracks with this instrument of a model of notes.")
@click.option("--towards", metavar="LABEL", help="Another one, to which it is morphed.")
@click.option("--share", type=click.FloatRange(0, 1), metavar="S", help="Of the other one, 0 to 1.  [default: 0.5]")
@click.option("--model", metavar="NAME|FOLDER", help="Whose instruments they are.  [default: notes-44k]")
@out_option("FILE|FOLDER", "output/NAME-render.wav; of several files output/FOLDER-render/…")
def render(
    files: tuple[Path, ...],
    sample_rate_hz: int,
    track: str | None,
    instrument: str | None,
    towards: str | None,
    share: float | None,
    model: str | None,
    out: str | None,
    force: bool,
) -> None:
    """Render MIDI files to sound.

    Example: musicae render a.mid --out a.wav

    Example: musicae render a.mid --instrument cello --towards tuba
    """
    first_input(files)
    if towards is not None and instrument is None:
        raise MusicaeError("--towards needs --instrument, where the morph begins.")
    if model is not None and instrument is None:
        raise MusicaeError("--model is of notes that an instrument plays; add --instrument.")
    if share is not None and towards is None:
        raise MusicaeError("--share is of another instrument; add --towards.")
    player = None
    if instrument is not None:
        notes = load(model or SHIPPED_FOR["reconstruct"]["audio"])
        player = notes.instrument(instrument, towards, 0.5 if share is None else share)
    from musicae.domains import domain_class

    domain = domain_class("music")()

    def play(file: Path) -> Any:
        piece = domain.open(file)
        if track is not None:
            piece = piece.only_track(read_track(track))
        if not piece.note_count:
            raise MusicaeError(f"{piece.label} has no notes; choose another file.")
        return piece.render(sample_rate_hz, instrument=player)

    change_each(files, domain, play, "render", out, force)


def _averaging(trained: Any, ensemble: str | None) -> Any:
    """The model with another number of views; the same where none is asked for."""
    from musicae.capabilities import HasViews

    if ensemble is None:
        return trained
    if not isinstance(trained.domain, HasViews):
        raise MusicaeError("only pictures are restored in several views; leave --ensemble out.")
    return trained.with_settings(ensemble=int(ensemble))


def _removed(domain: Any, source: Any, restore: Callable[[Any], Any]) -> Any:
    """What a restoration takes away from a file."""
    from musicae.capabilities import TellsWhatIsRemoved

    if not isinstance(domain, TellsWhatIsRemoved):
        raise MusicaeError("only sound has noise that can be written; leave --noise-only out.")
    item = cast(Any, domain).open(source)
    return domain.removed(item, restore(item))
