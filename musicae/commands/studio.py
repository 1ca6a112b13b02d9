"""`studio`: the page in the browser."""

import click

_FIRST = ("melody-2bar", "melody-16bar", "drums-2bar", "denoise-16k")
"""The models that are loaded first, since the page begins with them."""


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME|FOLDER",
    help="A shipped name, or a run's folder; may be repeated.  [default: all shipped models]",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8765, metavar="N", help="0: any that is free.")
@click.option(
    "--host",
    default="127.0.0.1",
    metavar="ADDRESS",
    help="Where it listens. Others than this machine need the token in the address that is printed.",
)
@click.option("--open/--no-open", "opens", default=True, help="Open the page in a browser.")
def studio(models: tuple[str, ...], port: int, host: str, opens: bool) -> None:
    """Open the studio: hear, see and play what models make, in a browser.

    Nothing leaves this machine.

    Example: musicae studio

    Example: musicae studio --model runs/music-reconstruct --no-open
    """
    from musicae.shipped import find_model, shipped_models

    names = models or tuple(dict.fromkeys((*_FIRST, *shipped_models())))
    for name in names:
        find_model(name)  # which says so if there is none
    from musicae.studio.app import serve

    serve(names, host, port, opens=opens)
