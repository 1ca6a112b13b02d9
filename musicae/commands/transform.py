"""From a file to a file: `reconstruct`, `denoise`, `upscale`, `render`."""

from pathlib import Path
from typing import Any

import click

from musicae.commands.options import (
    UPSCALER_FOR,
    chords_option,
    echo_remarks,
    label_option,
    load,
    load_for,
    model_for_file_option,
    model_option,
    named_results,
    out_option,
    upscaler_option,
)
from musicae.commands.pipe import PIPE_OPTIONS, denoise_pipe, is_pipe, pipe_options
from musicae.errors import MusicaeError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@model_for_file_option
@chords_option
@label_option
@out_option("FILE", "NAME-reconstruct")
def reconstruct(file: Path, model: str | None, chords: str | None, label: str | None, out: Path | None) -> None:
    """Put a file through a model: what does it keep?

    With --chords or --label the code stays and the harmony or the class changes.

    Example: musicae reconstruct song.mid --out heard-by-the-model.mid
    """
    trained = load_for(model, file)
    click.echo(trained.reconstruct(file, out, chords=chords, label=label))
    echo_remarks(trained.remarks)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@model_option("denoise-16k")
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
@click.option("--report", is_flag=True, help="Sound: measure before and after, and draw NAME-denoise.png.")
@pipe_options
@out_option("FILE", "NAME-denoise; of several files a folder")
def denoise(files: tuple[Path, ...], model: str, out: Path | None, **how: Any) -> None:
    """Clean sounds or pictures, or repair melodies; the length stays.

    A sound stays what it is (WAV, FLAC, OGG, MP3, AIFF ...; 16 bits, 24 bits, float ...), or becomes what the
    ending of --out says. For - raw samples come from stdin and go to stdout while they arrive, by default through
    denoise-live-16k.

    Example: musicae denoise noisy.wav --out clean.wav --strength 0.8

    Example: musicae denoise interview.flac --noise-profile empty-room.flac --report

    Example: arecord -f S16_LE -r 16000 -t raw | musicae denoise - | aplay -f S16_LE -r 16000
    """
    samples = {name: how.pop(name) for name in PIPE_OPTIONS}
    if is_pipe(files, out):
        denoise_pipe(model, **samples, **how)
        return
    trained = load(model)
    refused: list[MusicaeError] = []
    for file, target in named_results(files, out, trained.domain.result_suffix):
        try:
            click.echo(trained.denoise(file, target, **how))
        except MusicaeError as error:
            if len(files) == 1:
                raise
            click.echo(f"Error: {error}", err=True)
            refused.append(error)
            continue
        for line in trained.report:
            click.echo(line)
        echo_remarks(trained.remarks)
    if refused:
        raise type(refused[0])(f"{len(refused)} of {len(files)} files were not cleaned.")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@upscaler_option
@out_option("FILE", "NAME-upscale")
def upscale(file: Path, model: str | None, out: Path | None) -> None:
    """Fill in what a coarse file lacks, with a model trained with --task upscale.

    Example: musicae upscale call-8khz.wav

    Example: musicae upscale eighths.mid --model runs/music-upscale
    """
    trained = load_for(model, file, UPSCALER_FOR)
    click.echo(trained.upscale(file, out))
    echo_remarks(trained.remarks)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="WAV to write.  [default: FILE.wav]")
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
    from musicae.music.reading import first_of_many
    from musicae.music.render import render_file

    click.echo(render_file(file, out or file.with_suffix(".wav"), sample_rate_hz=sample_rate_hz))
    echo_remarks(filter(None, [first_of_many(file)]))
