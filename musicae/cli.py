"""The command line: a group of commands; each parses, calls one function, and prints the path it wrote."""

import errno
import sys
from typing import Any

import click

from musicae import __version__
from musicae.commands.generation import grid, interpolate, sample, shift, vary
from musicae.commands.looking import attributes, embed, inspect, models
from musicae.commands.prepare import prepare
from musicae.commands.scoring import evaluate
from musicae.commands.training import train
from musicae.commands.transform import denoise, reconstruct, render, upscale
from musicae.errors import MusicaeError

_STOPPED = 130
"""What shells say of a command that Ctrl-C ended; 1 is a damaged file."""


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
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            ctx.exit(_STOPPED)
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


for _command in (
    *(train, evaluate),
    *(sample, grid, interpolate, vary, shift),
    *(reconstruct, denoise, upscale, render),
    *(prepare, inspect, attributes, embed, models),
):
    main.add_command(_command)


if __name__ == "__main__":
    sys.exit(main())
