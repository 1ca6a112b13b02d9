"""`make demo`: the main tasks on the starter files; prints each file that it writes."""

import shutil
import time
from pathlib import Path
from typing import cast

import click

from musicae.capabilities import HasReport
from musicae.new_model import train
from musicae.plots import save_png
from musicae.starter import starter_file
from musicae.trained import load


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("output/demo"), help="Folder to write.")
def main(out: Path) -> None:
    """Interpolates two melodies, learns the digits, denoises a sound."""
    morph_melodies(out / "melodies")
    learn_digits(out / "digits")
    clean_sound(out / "sound")


def morph_melodies(out: Path) -> None:
    """Interpolates from `a.mid` to `b.mid` with the shipped melody model."""
    click.echo("Melodies: from a.mid to b.mid in 13 steps")
    load("melody-2bar").interpolate(starter_file("a.mid"), starter_file("b.mid"), steps=13).save(out)
    _print_paths(sorted(out.iterdir()))


def learn_digits(out: Path) -> None:
    """Trains a small VAE on scikit-learn's digits and samples it."""
    click.echo("Digits: a VAE learns 8 x 8 digits")
    if out.exists():
        shutil.rmtree(out)
    trained = train("image", out=out, latent_size=10)
    trained.sample(16, seed=0).save(out / "samples")
    _print_paths([*sorted((out / "previews").iterdir())[-1:], *sorted((out / "samples").glob("samples*"))])


def clean_sound(out: Path) -> None:
    """Denoises the starter sound with the shipped model, and draws both."""
    click.echo("Sound: noise taken out of noisy.wav")
    started = time.perf_counter()
    denoiser = load("denoise-48k")
    noisy = denoiser.domain.open(starter_file("noisy.wav"))
    cleaned = denoiser.domain.open(denoiser.denoise(noisy).save(out / "cleaned.wav"))
    noisy.save(out / "noisy.wav")
    report = cast(HasReport, denoiser.domain).report(noisy, cleaned, time.perf_counter() - started)
    save_png(report.plot(), out / "cleaned.png")
    for line in report.lines:
        click.echo(f"  {line}")
    _print_paths(sorted(out.iterdir()))


def _print_paths(paths: list[Path]) -> None:
    for path in paths:
        click.echo(f"  {path}")


if __name__ == "__main__":
    main()
