"""What there is: `inspect`, `attributes`, `embed`, `models`."""

from pathlib import Path

import click

from musicae.commands.options import (
    DomainChoice,
    echo_remarks,
    load_for,
    model_for_file_option,
    parse_settings,
    settings_option,
)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option("--domain", type=DomainChoice(), default="music", help="How to read the files.")
@settings_option
def inspect(paths: tuple[Path, ...], domain: str, settings: tuple[str, ...]) -> None:
    """Tell what would be learned from files, and why the rest would not.

    Example: musicae inspect my_midi/
    """
    from musicae.inspection import inspect_files

    for line in inspect_files(domain, paths, parse_settings(settings)):
        click.echo(line)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@model_for_file_option
@click.option("--windows", is_flag=True, help="One line a window.  [default: one a file, the mean of its windows]")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV to write.  [default: a table on the screen]",
)
def attributes(paths: tuple[Path, ...], model: str | None, windows: bool, out: Path | None) -> None:
    """Measure files: note density, range and what else the model's domain knows.

    Example: musicae attributes my_midi/ --out table.csv
    """
    from musicae.atomic_io import refuse_place

    if out is not None:
        refuse_place(out)
    trained = load_for(model, paths[0])
    table = trained.attributes(*paths, each_window=windows)
    if out is None:
        click.echo(table.text())
    else:
        click.echo(table.write(out))
    echo_remarks(trained.remarks)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@model_for_file_option
@click.option(
    "--colour",
    metavar="NAME",
    help="folder, file, label (pictures), key (music), or an attribute such as density.  "
    "[default: label if known, else folder]",
)
@click.option(
    "--method",
    type=click.Choice(["pca", "tsne", "latent"]),
    default="pca",
    help="Principal components, t-SNE, or the two latent numbers that vary most.",
)
@click.option("--files", is_flag=True, help="One point a file, the mean of its codes.  [default: one a window]")
@click.option("--seed", type=click.IntRange(0), default=0, metavar="N", help="Of t-SNE.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("output/map.csv"),
    metavar="FILE",
    help="CSV; PNG beside it.",
)
def embed(
    paths: tuple[Path, ...], model: str | None, colour: str | None, method: str, files: bool, seed: int, out: Path
) -> None:
    """Draw a map of files: near in the picture is near in latent space.

    Example: musicae embed my_midi/ --colour density
    """
    from musicae.inference.latent_map import refuse_map

    refuse_map(out)
    trained = load_for(model, paths[0])
    for path in trained.embed(*paths, out=out, colour=colour, method=method, each_file=files, seed=seed):
        click.echo(path)
    echo_remarks(trained.remarks)


@click.command()
def models() -> None:
    """List the models that come with the package, and the kinds that can be trained.

    Example: musicae models
    """
    from musicae.inspection import describe_models

    for line in describe_models():
        click.echo(line)
