"""Reports on files and models: `inspect`, `attributes`, `embed`, `models`."""

from pathlib import Path

import click

from musicae.commands.options import (
    FILES,
    DomainChoice,
    check_inputs,
    domain_in,
    echo_remarks,
    load,
    load_for,
    model_for_file_option,
    name_of,
    out_option,
    output_path,
    parse_settings,
    read_track,
    settings_option,
    track_option,
)

_PATHS = {**FILES, "metavar": "PATH..."}


@click.command()
@click.argument("paths", **_PATHS)  # type: ignore[arg-type]  # what `argument` takes
@click.option("--domain", type=DomainChoice(), help="How to read the files.  [default: by what most of them are]")
@model_for_file_option("[default: as a new model would be trained on them]")
@track_option
@settings_option
def inspect(
    paths: tuple[Path, ...], domain: str | None, model: str | None, track: str | None, settings: tuple[str, ...]
) -> None:
    """Say what would be learned from files, or what a model reads, and why the rest would not.

    Example: musicae inspect my_midi/

    Example: musicae inspect song.mid --model drums-2bar
    """
    check_inputs(paths)
    from musicae.data.prepare import inspect_files

    if model is not None:
        if domain or settings:
            raise click.UsageError("--model says how files are read, so leave out --domain and --set.")
        reader = load(model, track).domain
        for line in inspect_files(reader.name, paths, {}, reader=reader):
            click.echo(line)
        return
    given = parse_settings(settings) | ({} if track is None else {"track": read_track(track)})
    for line in inspect_files(domain or domain_in(paths[0]), paths, given):
        click.echo(line)


@click.command()
@click.argument("paths", **_PATHS)  # type: ignore[arg-type]  # what `argument` takes
@model_for_file_option()
@click.option("--windows", is_flag=True, help="One line a window.  [default: one a file, the mean of its windows]")
@track_option
@out_option("FILE", "a table on the screen")
def attributes(
    paths: tuple[Path, ...], model: str | None, windows: bool, track: str | None, out: str | None, force: bool
) -> None:
    """Measure files: note density, brightness and more: what the model's domain has names for.

    Example: musicae attributes my_midi/ --out table.csv
    """
    check_inputs(paths)
    target = None if out is None else output_path(out, f"{name_of(paths[0])}-attributes.csv", force=force)
    table = load_for(model, paths[0], track=track).attributes(*paths, each_window=windows)
    click.echo(table.text() if target is None else table.save(target))
    echo_remarks(table.remarks)


@click.command()
@click.argument("paths", **_PATHS)  # type: ignore[arg-type]  # what `argument` takes
@model_for_file_option()
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
@track_option
@out_option("FILE", "output/NAME-embed.csv, PNG with it")
def embed(
    paths: tuple[Path, ...],
    model: str | None,
    colour: str | None,
    method: str,
    files: bool,
    seed: int,
    track: str | None,
    out: str | None,
    force: bool,
) -> None:
    """Draw a map of files: near in the picture is near in latent space.

    Example: musicae embed my_midi/ --colour density
    """
    check_inputs(paths)
    target = output_path(out, f"{name_of(paths[0])}-embed.csv", force=force)
    from musicae.inference.embed import check_map

    check_map(target)
    trained = load_for(model, paths[0], track=track)
    found = trained.embed(*paths, colour=colour, method=method, each_file=files, seed=seed)
    for path in found.save(target):
        click.echo(path)
    echo_remarks(found.remarks)


@click.command()
def models() -> None:
    """List the models that come with the package, and those that can be trained.

    Example: musicae models
    """
    from musicae.shipped import describe_models

    for line in describe_models():
        click.echo(line)
