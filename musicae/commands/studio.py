"""`studio`: the page in the browser."""

import click

_FIRST = ("melody-2bar", "melody-16bar", "drums-2bar", "denoise-48k")
"""The models that are loaded first, since the page begins with them."""


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME|FOLDER",
    help="Only this model: a shipped name (see `musicae models`), or a run's folder. May be repeated.  "
    "[default: all shipped models]",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8765, metavar="N", help="0: any that is free.")
@click.option(
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="Listen at another address, so that other machines reach it, unencrypted and with the token that is printed.",
)
@click.option("--open/--no-open", "opens", default=True, help="Open the page in a browser.")
def studio(models: tuple[str, ...], port: int, host: str, opens: bool) -> None:
    """Open the studio: hear, see and play what models make, in a browser.

    The page and the models run on this machine. Ctrl-C ends the studio, and what was dropped there is forgotten; runs
    that were trained lie under runs/.

    Example: musicae studio

    Example: musicae studio --model runs/music-reconstruct --no-open
    """
    from musicae.shipped import find_model, shipped_models

    names = models or tuple(dict.fromkeys((*_FIRST, *shipped_models())))
    for name in names:
        find_model(name)  # which says so if there is none
    from musicae.studio.app import serve

    serve(names, host, port, opens=opens)
