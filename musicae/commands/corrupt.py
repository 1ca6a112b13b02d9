"""`corrupt`: noise, squares, JPEG or a lower resolution for pictures, to see what a restorer makes of them."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from musicae.commands.each_file import change_each
from musicae.commands.options import FILES, check_inputs, first_input, out_option, seed_option
from musicae.errors import MusicaeError


@click.command()
@click.argument("files", **FILES)  # type: ignore[arg-type]  # what `argument` takes
@click.option("--noise", type=click.FloatRange(0, 10), metavar="S", help="Gaussian noise; 1 is from black to white.")
@click.option("--speckle", type=click.FloatRange(0, 10), metavar="S", help="Noise that grows with the light.")
@click.option(
    "--salt-and-pepper", type=click.FloatRange(0, 1), metavar="SHARE", help="Share of pixels made black or white."
)
@click.option("--blocks", type=click.FloatRange(0, 1), metavar="SHARE", help="Share of squares made black.")
@click.option("--quality", type=click.IntRange(1, 100), metavar="Q", help="Compress as a JPEG and decode again.")
@click.option("--scale", type=click.IntRange(2, 4), metavar="TIMES", help="Make so many times smaller.")
@seed_option
@out_option("FILE|FOLDER", "output/NAME-corrupt.png; of several files output/FOLDER-corrupt/…")
def corrupt(
    files: tuple[Path, ...], seed: int | None, out: str | None, force: bool, **kinds: float | int | None
) -> None:
    """Add noise to pictures, compress them or make them smaller; one corruption at a time.

    Example: musicae corrupt photo.png --noise 0.2
    """
    chosen = {name: value for name, value in kinds.items() if value is not None}
    if len(chosen) != 1:
        ways = ", ".join(f"--{name.replace('_', '-')}" for name in kinds)
        raise click.UsageError(f"Choose one of {ways}.")
    check_inputs([first_input(files)])
    from musicae.domains import domain_class

    domain = domain_class("image")()
    ((kind, amount),) = chosen.items()
    change_each(files, domain, partial(_corrupted, domain, kind, amount, seed), "corrupt", out, force)


def _corrupted(domain: Any, kind: str, amount: float, seed: int | None, file: Path) -> Any:
    """A picture made worse in its own frame."""
    import numpy as np
    import torch

    from musicae.image import corruption

    picture = domain.open(file)
    if picture.set_path is not None and picture.index is None:
        raise MusicaeError(f"{file} holds a whole set; give one picture.")
    planes = picture.planes()
    white = float(np.iinfo(planes.dtype).max)
    batch = torch.from_numpy(planes.astype(np.float32))[None] / white
    generator = torch.Generator()
    generator.seed() if seed is None else generator.manual_seed(seed)
    ways = {
        "noise": lambda: corruption.gaussian_noise(batch, generator, mean=0.0, deviation=amount),
        "speckle": lambda: corruption.speckle(batch, generator, deviation=amount),
        "salt_and_pepper": lambda: corruption.salt_and_pepper(batch, generator, share=amount),
        "blocks": lambda: corruption.dropped_blocks(batch, generator, share=amount),
        "quality": lambda: corruption.jpeg(batch[0], generator, quality=int(amount), is_aligned=True)[None],
        "scale": lambda: corruption.smaller(batch, int(amount)),
    }
    made = (ways[kind]()[0] * white).round().numpy().astype(planes.dtype)
    return picture.with_planes(made)
