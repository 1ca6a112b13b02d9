"""Models on the Hugging Face Hub: `push` and `pull`."""

from pathlib import Path

import click

_token = click.option(
    "--token", metavar="TOKEN", help="Of the Hub.  [default: HF_TOKEN, or that of: hf auth login]", show_envvar=False
)


@click.command()
@click.argument("model", metavar="NAME|FOLDER")
@click.argument("to", metavar="hf://USER/NAME")
@click.option("--private", is_flag=True, help="Make a private repository.  [default: public, or as it is]")
@click.option(
    "--licence",
    "--license",
    "licence",
    metavar="NAME",
    help="Of the weights, as the Hub names it: mit, cc-by-4.0.  [default: that of the model's card, else none]",
)
@click.option("--data-licence", metavar="TEXT", help="Of the data, for the card.  [default: none stated]")
@click.option("--message", metavar="TEXT", help="Of the commit.  [default: the model's name and musicae's version]")
@_token
def push(
    model: str,
    to: str,
    private: bool,
    licence: str | None,
    data_licence: str | None,
    message: str | None,
    token: str | None,
) -> None:
    """Push a model to the Hugging Face Hub.

    MODEL is a run's folder, whose best checkpoint goes, or a shipped name. Weights, settings and a model card with its
    scores are one commit; a name that ends with @BRANCH makes a branch. Prints the name that --model takes.

    Example: musicae push runs/digits hf://user/digits --licence cc-by-4.0
    """
    from musicae.hub import HubPlace
    from musicae.shipped import find_model

    HubPlace.read(to)
    find_model(model)  # before torch is imported
    from musicae.sharing import push as push_model

    pushed = push_model(
        model, to, private=private, token=token, licence=licence, data_licence=data_licence, message=message
    )
    click.echo(pushed.model)
    click.echo(pushed.url, err=True)


@click.command()
@click.argument("model", metavar="hf://USER/NAME")
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FOLDER", help="[default: runs/NAME]")
@click.option("--force", is_flag=True, help="Overwrite what is there.  [default: a number is added to the name]")
@_token
def pull(model: str, out: Path | None, force: bool, token: str | None) -> None:
    """Copy a model from the Hugging Face Hub into a folder.

    Prints the folder, which --model takes. A model need not be pulled to be used: --model takes hf://USER/NAME too, or
    hf://USER/NAME@REVISION for a branch, a tag or a commit.

    Example: musicae pull hf://user/digits --out runs/digits
    """
    from musicae.atomic_io import free_path
    from musicae.hub import HubPlace

    name = HubPlace.read(model).repository.rpartition("/")[2]
    from musicae.sharing import pull as pull_model

    folder = out or Path("runs") / name
    click.echo(pull_model(model, folder if force else free_path(folder), token=token))
