"""`prepare`."""

from pathlib import Path

import click

from musicae.commands.options import DomainChoice, parse_settings, settings_option


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--domain", type=DomainChoice(), default="music", help="How to read the files.")
@click.option(
    "--processes", type=click.IntRange(0), metavar="N", help="That read; 0: only this one.  [default: by the files]"
)
@click.option("--unique", is_flag=True, help="Also tell what is left of training without duplicates.")
@settings_option
def prepare(
    paths: tuple[Path, ...], domain: str, processes: int | None, unique: bool, settings: tuple[str, ...]
) -> None:
    """Read files into the store that training opens, and tell what it holds.

    After Ctrl-C or a crash, the same command goes on from where it was.

    Example: musicae prepare my_midi/ --processes 4
    """
    from musicae.data.preparation import prepare_lines

    for line in prepare_lines(domain, paths, parse_settings(settings), processes, unique):
        click.echo(line)
