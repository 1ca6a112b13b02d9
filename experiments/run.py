"""Remakes each quoted figure and each shipped model: trains and scores recipes, and runs measurements.

    python experiments/run.py --sets FOLDER melody-2bar          # trains its legs one after the other, and scores it
    python experiments/run.py --sets FOLDER --ship melody-2bar   # and writes musicae/pretrained/melody-2bar
    python experiments/run.py --sets FOLDER audio-outside        # denoisers and others: shipped ones, or of --runs
    python experiments/run.py --sets FOLDER all                  # all recipes, then all measurements

`--sets` is a folder with the unpacked data sets, one sub-folder each, and what audio_sets.py, debian_sounds.py and
voices.py make under `sound`. Results go to `experiments/results/*.json`, and from there to docs/results.md. Training
ends by the clock, so figures move a little with the machine; the seed fixes the rest. A run that was trained before is
only scored; remove its folder to train it again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import denoisers
import drawn
import extension
import groovae
import grooves
import image
import image_training
import music
import music_samples
import music_songs
import notes
import phrases
import piano
import quantisation
import refined
import report
import restored
import ship
import smg
import sound_choices
import sound_cost
import start_up
import stored
import studio
import torch
import trio
from calibration import calibrate
from held_out import held_out
from recipes import RECIPES, SHIPPED, Recipe, chain

from musicae.evaluation.evaluate import evaluate, evaluate_files
from musicae.shipped import checkpoint_of, find_model
from musicae.trained import TrainedModel, load
from musicae.training.experiment import Experiment


@dataclass(frozen=True)
class Measurement:
    """What is measured apart from the scores of the recipes.

    Attributes:
        measure: folder of data sets and folder of runs → results.
        about: one line.
        needs_sets: whether it reads data sets.
    """

    measure: Callable[[Path, Path], dict[str, Any]]
    about: str
    needs_sets: bool = True


MEASUREMENTS: dict[str, Measurement] = {
    "audio-outside": Measurement(denoisers.outside, "the whole band, beside RNNoise and DeepFilterNet3, outside sets"),
    "audio-wide-validation": Measurement(denoisers.validation, "the same on clips for choosing"),
    "audio-stereo": Measurement(denoisers.stereo, "stereo music at 44.1 kHz, clean and with hiss, hum and a fan"),
    "audio-tonal": Measurement(denoisers.tonal, "clean whistles, howls, sirens, bells and synthesizers", False),
    "audio-band-extension": Measurement(extension.test, "8 kHz sound made 16 and 16 made 48, beside resampling"),
    "audio-band-validation": Measurement(extension.validation, "the same on clips for choosing"),
    "audio-notes": Measurement(notes.notes, "notes rebuilt, asked for and morphed, PCA, crossfades"),
    "audio-cost": Measurement(sound_cost.cost, "speed and memory of cleaning sound", needs_sets=False),
    "audio-choices": Measurement(sound_choices.choices, "overlap, bfloat16, noise profile"),
    "image-pca": Measurement(image.linear_codes, "principal components of digits and their nearest neighbours"),
    "image-samples": Measurement(drawn.digits, "digits that models draw: Fréchet distance, label agreement"),
    "image-satellite": Measurement(drawn.satellite, "the same of satellite photographs"),
    "image-elsewhere": Measurement(image.elsewhere, "models of digits on satellite photographs"),
    "image-photographs": Measurement(image.photographs, "photographs enlarged, by models and bicubic"),
    "photo-denoised": Measurement(restored.denoised, "photographs cleaned of noise and of JPEG's traces"),
    "photo-denoised-validation": Measurement(restored.validation, "the same on squares for validation"),
    "photo-ensembles": Measurement(restored.ensembles, "restorers by the number of views, on squares for validation"),
    "photo-cbm3d": Measurement(restored.cbm3d, "the same noise, by CBM3D, which must be installed"),
    "photo-upscaled": Measurement(restored.upscaled, "photographs made two, three and four times larger"),
    "image-training": Measurement(image_training.compare_all, "speed of training, compared with Pythae"),
    "music-outside": Measurement(music_samples.outside, "melody models on tune books they never saw"),
    "music-signatures": Measurement(music_songs.signatures, "files a model reads, and scores in each time signature"),
    "music-transposed": Measurement(music_songs.transposed, "notes kept of tunes in every register", False),
    "music-shifts": Measurement(music_songs.shifts, "what a shift by a standard deviation does to held-out windows"),
    "music-songs": Measurement(music_songs.songs, "whether all else in a song is left as it was"),
    "music-grooves": Measurement(grooves.grooves, "flat patterns humanized, taps played on a kit"),
    "music-groovae": Measurement(groovae.groovae, "GrooVAE's humanizer, trained here, beside ours"),
    "music-smg": Measurement(smg.beside_real, "samples beside real music by smg-metrics, which must be installed"),
    "music-piano": Measurement(piano.piano, "piano music in each time signature and outside, principal components"),
    "music-phrases": Measurement(phrases.phrases, "long music on each book, and bars that are filled in"),
    "music-chords": Measurement(music_samples.chords, "whether samples follow the chords they are given"),
    "music-trio": Measurement(trio.trio, "whether melody and bass follow chords, and other chords with the same code"),
    "music-refined": Measurement(refined.refined, "melodies by codes that gradient steps improve"),
    "music-samples": Measurement(music_samples.contents, "what sampled files hold and how loud they are", False),
    "music-reading": Measurement(music.reading, "reading MIDI, compared with pretty_midi"),
    "music-reading-notes": Measurement(music.reading_notes, "reading notes alone, compared with pretty_midi"),
    "music-training": Measurement(music.training, "speed of training, compared with MusicVAE's architecture"),
    "music-sampling": Measurement(music.sampling, "speed of sampling", needs_sets=False),
    "quantisation": Measurement(quantisation.compare_all, "models of music in eight bits a weight, and in sixteen"),
    "studio": Measurement(studio.studio, "sliders of the studio, its page, 50 clients", needs_sets=False),
    "start-up": Measurement(start_up.measure, "wall time and loaded modules of commands", needs_sets=False),
}


@click.command(help=__doc__)
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", type=click.Choice([*RECIPES, *MEASUREMENTS, "all"])
)
@click.option("--sets", type=click.Path(path_type=Path, exists=True), help="Folder of unpacked data sets.")
@click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs/experiments"), show_default=True,
    help="Folder of the trained runs.",
)  # fmt: skip
@click.option("--ship", "ships", is_flag=True, help="Write the shipped model too, with its card.")
def main(names: tuple[str, ...], sets: Path | None, runs: Path, ships: bool) -> None:
    chosen = [*RECIPES, *MEASUREMENTS] if "all" in names else list(dict.fromkeys(names))
    for name in chosen:
        if sets is None and (name in RECIPES or MEASUREMENTS[name].needs_sets):
            raise click.UsageError(f"{name} needs --sets, the folder of the unpacked data sets.")
        if ships and name not in SHIPPED.values() and "all" not in names:
            raise click.UsageError(f"{name} is not shipped; --ship takes {', '.join(SHIPPED.values())}.")
    for name in chosen:
        click.echo(f"{name} ...", err=True)
        if name in RECIPES:
            assert sets is not None
            train_and_score(name, sets, runs)
            if ships and RECIPES[name].shipped_as is not None:
                click.echo(
                    ship.ship(name, find_model(str(runs / name)), lambda model, name=name: score(model, name, sets))
                )
        else:
            click.echo(stored.write(name, MEASUREMENTS[name].measure(sets or Path(), runs)))
    report.main.callback(check=False)  # type: ignore[misc]  # click keeps the function


def train_and_score(name: str, sets: Path, runs: Path) -> None:
    """Trains the legs of a recipe that are not there yet, scores each new one and the last, and stores the results."""
    for leg in chain(name):
        is_new = checkpoint_of(runs / leg, "best") is None
        if is_new:
            train(leg, sets, runs)
        if is_new or leg == name:
            results = stored.read(stored.RUNS)
            trained = load(runs / leg)
            metrics, data = trained.manifest.metrics, trained.manifest.data
            effort = {key: data[key] for key in ship.EFFORT if key in data}
            machine = machine_now() if is_new or leg not in results else results[leg]["machine"]
            at_best = {"minutes_at_best": metrics["minutes"]} if "minutes" in metrics else {}
            # What linear codes reach stands in one place, image-pca.
            scores = {key: value for key, value in score(trained, leg, sets).items() if not key.startswith("pca_")}
            results[leg] = {**at_best, **effort, **scores, "machine": machine}
            stored.write(stored.RUNS, results)
            shown = (f"{key} {results[leg][key]:.4g}" for key in RECIPES[leg].reported if key in results[leg])
            click.echo(f"{leg}  {'  '.join(shown)}")


def train(name: str, sets: Path, runs: Path) -> Path:
    """Trains one recipe, whose start is there, and returns the folder of its best checkpoint."""
    experiment = resolve(name, sets, runs)
    best = experiment.run(runs / name, experiment.read())
    if RECIPES[name].calibrated:
        calibrate(best)
    return best


def resolve(name: str, sets: Path, runs: Path) -> Experiment:
    """A recipe's training run, with the folders of this machine."""
    recipe = RECIPES[name]
    is_shipped = recipe.start_from is None or recipe.start_from == recipe.shares
    return resolved(recipe, sets, recipe.start_from if is_shipped else str(runs / str(recipe.start_from)))


def resolved(recipe: Recipe, sets: Path, start_from: str | None) -> Experiment:
    """A training run that starts from a shipped model or a folder."""
    settings = _with_noise(recipe.all_settings, recipe, sets)
    if start_from is not None:
        settings["start_from"] = start_from
    data = [sets / each for each in recipe.sets]
    return Experiment.resolve(recipe.domain, task=recipe.task, data=data, model=recipe.model, settings=settings)


def score(trained: TrainedModel, name: str, sets: Path) -> dict[str, float]:
    """Scores a model on the test splits of a recipe's sets."""
    recipe = RECIPES[name]
    settings = _with_noise(recipe.scored_with, recipe, sets)
    counts = {"importance": recipe.importance, "samples": recipe.samples, "pairs": recipe.pairs}
    trained = trained.refining(recipe.refined)
    if any(RECIPES[leg].split_by_names for leg in chain(name)) and trained.manifest.data.get("split") == "content":
        return evaluate(trained, held_out(trained, name, sets), **counts)
    scored_on = [sets / each for each in recipe.scored_on or recipe.sets]
    return evaluate_files(trained, scored_on, settings=settings, **counts)


def _with_noise(settings: Mapping[str, Any], recipe: Recipe, sets: Path) -> dict[str, Any]:
    """Settings with the folders of the noise sets filled in."""
    if "noise" not in recipe.settings:
        return dict(settings)
    return {**settings, "noise": tuple(str(sets / name) for name in recipe.settings["noise"])}


def machine_now() -> str:
    """What trains here."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU thread(s)"


if __name__ == "__main__":
    main()
