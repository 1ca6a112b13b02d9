"""The command line. Each command opens a file, makes one call, saves the result, and prints the path."""

import errno
import sys
from importlib import import_module
from keyword import iskeyword
from typing import Any

import click

from musicae import __version__
from musicae.commands import COMMANDS
from musicae.errors import MusicaeError

_STOPPED = 130
"""Exit code of a command that Ctrl-C ended, as shells have it."""


class _Group(click.Group):
    """Imports a command when it is called, and prints errors that a user can fix as one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"musicae.commands.{COMMANDS[cmd_name][0]}")
        function = cmd_name.replace("-", "_")
        command: click.Command = getattr(module, f"{function}_" if iskeyword(function) else function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands from the table, without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence.removesuffix(".")) for name, (_, sentence) in COMMANDS.items()])

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
            if error.errno == errno.EPIPE:  # the reader of our output has ended; click handles that
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


if __name__ == "__main__":
    sys.exit(main())
