"""`prepare`."""

from pathlib import Path

import click

from musicae.commands.options import DomainChoice, parse_settings, settings_option


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--domain", type=DomainChoice(), help="How to read the files.  [default: by what most of them are]")
@click.option(
    "--processes", type=click.IntRange(0), metavar="N", help="That read; 0: only this one.  [default: by the files]"
)
@click.option("--unique", is_flag=True, help="Also say what is left of training without duplicates.")
@settings_option
def prepare(
    paths: tuple[Path, ...], domain: str | None, processes: int | None, unique: bool, settings: tuple[str, ...]
) -> None:
    """Read files into the store that training opens, and say what it holds.

    After Ctrl-C or a crash, the same command goes on from where it was.

    Example: musicae prepare my_midi/ --processes 4
    """
    from musicae.data.prepare import prepare_lines
    from musicae.domains import domain_of

    for line in prepare_lines(
        domain or domain_of(paths[0]) or "music", paths, parse_settings(settings), processes, unique
    ):
        click.echo(line)
