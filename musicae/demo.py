"""`make demo`: the main jobs on the starter files, each file printed as it is written."""

import shutil
from pathlib import Path

import click

from musicae.starter import starter_file
from musicae.trained import load
from musicae.training.experiment import Experiment

_DIGIT_STEPS = 1500


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("output/demo"), help="Folder to write.")
def main(out: Path) -> None:
    """Morphs two melodies, learns the digits, cleans a sound."""
    morph_melodies(out / "melodies")
    learn_digits(out / "digits")
    clean_sound(out / "sound")


def morph_melodies(out: Path) -> None:
    """Walks from `a.mid` to `b.mid` with the shipped melody model."""
    click.echo("Melodies: from a.mid to b.mid in 13 steps")
    load("melody-2bar").interpolate(starter_file("a.mid"), starter_file("b.mid"), steps=13, out=out)
    _say(sorted(out.iterdir()))


def learn_digits(out: Path) -> None:
    """Trains a small VAE on scikit-learn's digits and samples it."""
    click.echo("Digits: a VAE learns 8 x 8 digits")
    if out.exists():
        shutil.rmtree(out)
    experiment = Experiment.resolve("image", settings={"steps": _DIGIT_STEPS, "latent_size": 10})
    trained = load(experiment.run(out, experiment.read()))
    trained.sample(16, seed=0, out=out / "samples")
    _say([*sorted((out / "previews").iterdir())[-1:], *sorted((out / "samples").glob("samples*"))])


def clean_sound(out: Path) -> None:
    """Cleans the noisy starter sound with the shipped model, and draws both."""
    click.echo("Sound: noise taken out of noisy.wav")
    noisy = starter_file("noisy.wav")
    denoiser = load("denoise-16k")
    denoiser.denoise(noisy, out / "cleaned.wav", report=True)
    shutil.copy(noisy, out / "noisy.wav")
    for line in denoiser.report:
        click.echo(f"  {line}")
    _say(sorted(out.iterdir()))


def _say(paths: list[Path]) -> None:
    for path in paths:
        click.echo(f"  {path}")


if __name__ == "__main__":
    main()
