"""`denoise -`: raw samples from stdin to stdout, for a pipe. Nothing but samples is written to stdout."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import click

from musicae.commands.options import load
from musicae.errors import MusicaeError

PIPE = Path("-")
# FFmpeg's names. The table of formats is not imported here, since --help must not wait for numpy.
_SAMPLE_FORMATS = ("s16le", "s24le", "s32le", "f32le", "u8")
_OPTIONS = (
    click.option(
        "--sample-rate",
        "sample_rate_hz",
        type=click.IntRange(4_000, 192_000),
        metavar="HZ",
        help="With -: of the samples; others than the model's cost time.  [default: the model's]",
    ),
    click.option("--channels", type=click.IntRange(1, 64), default=1, metavar="N", help="With -: interleaved."),
    click.option("--sample-format", type=click.Choice(_SAMPLE_FORMATS), default="s16le", help="With -: FFmpeg's name."),
)


PIPE_OPTIONS = ("sample_rate_hz", "channels", "sample_format")
"""Names of the arguments that `pipe_options` adds."""


def pipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that describe raw samples."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def is_pipe(files: Sequence[Path], out: str | None) -> bool:
    """Whether the input is stdin. Raises `click.UsageError` for stdin with files, or files with options of a pipe."""
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    given = [name for name in PIPE_OPTIONS if context.get_parameter_source(name) is not default]
    if PIPE not in files:
        if given:
            raise click.UsageError(
                "--sample-rate, --channels and --sample-format belong to -; a file says them itself."
            )
        return False
    if len(files) > 1 or out is not None:
        raise click.UsageError("- is stdin and writes to stdout: give no other file and no --out.")
    return True


def denoise_pipe(
    model: str | None,
    *,
    sample_rate_hz: int | None,
    channels: int,
    sample_format: str,
    strength: float,
    max_attenuation_db: float | None,
    noise_profile: Path | None,
    report: bool,
    noise_only: bool,
) -> None:
    """Denoises samples from stdin to stdout, block by block."""
    if noise_profile is not None or report or noise_only:
        raise click.UsageError("--noise-profile, --noise-only and --report go with files; leave them out with -.")
    source, target = sys.stdin.buffer, sys.stdout.buffer
    if source.isatty() or target.isatty():
        raise MusicaeError("- takes raw samples from a pipe and gives them to one; connect both ends to a program.")
    from musicae.audio.streaming import Readable, encode_pcm, read_pcm
    from musicae.shipped import LIVE_MODEL

    blocks = load(model or LIVE_MODEL).stream(
        read_pcm(cast(Readable, source), sample_format, channels),
        sample_rate_hz=sample_rate_hz,
        strength=strength,
        max_attenuation_db=max_attenuation_db,
    )
    click.echo(f"{blocks.sample_rate_hz} Hz, {1000 * blocks.latency_s:.0f} ms behind at most", err=True)
    for block in blocks:
        target.write(encode_pcm(block, sample_format))
        target.flush()
