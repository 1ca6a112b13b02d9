"""Turns a run of figures.py into a shipped model: float16 weights, a model card, scores of what is shipped.

python experiments/ship.py --sets FOLDER melody-2bar
"""

import json
from pathlib import Path

import click
from figure_runs import FIGURES, Figure
from figures import RESULTS, score
from free_sounds import SOURCES

from musicae.inference.attribute_vectors import AttributeVectors
from musicae.shipped import PRETRAINED
from musicae.trained import load
from musicae.training.checkpoint import MANIFEST, WEIGHTS, Manifest, load_checkpoint, save_checkpoint

_FREE = {
    f"sound/free_{kind}": f"{kind} from Debian packages: "
    + "; ".join(f"{source.package}, {source.licence}" for source in SOURCES if source.kind == kind)
    for kind in dict.fromkeys(source.kind for source in SOURCES)
}
_LICENCES = _FREE | {
    "openewld": "OpenEWLD, public-domain lead sheets, MIT",
    "openscore_lieder": "OpenScore Lieder Corpus, vocal lines, CC0",
    "ryans_mammoth": "Ryan's Mammoth Collection (1883), public domain",
    "oneills1850": "O'Neill's Music of Ireland (1903), public domain",
    "airds_airs": "Aird's Airs (1782-1803), public domain",
    "speech_kerstin16k": "Kerstin speech recordings, CC0",
    "groove": "Groove MIDI Dataset, drum performances, CC BY 4.0 (Gillick et al., 2019)",
    "noise_room": "room noises, public domain",
    "notes16k": "single notes of eleven instruments, Discord SFZ bank and Karoryfer, CC0, piano by A. Holm CC BY",
    "sound/digits_train": "Free Spoken Digit Dataset, four of its six speakers, CC BY-SA 4.0",
    "sound/music_train": "tunes of OpenEWLD, Ryan and O'Neill with Groove's drums, played by sound_sets.py",
    "sound/music_third": "tunes of OpenEWLD, Ryan and O'Neill with Groove's drums, played by sound_sets.py",
    "sound/font_music": "such tunes, played by sound_sets.py with Fluid R3 GM, MIT (F. Wen)",
    "sound/notes_train": "notes of a General MIDI sound font, played by sound_sets.py",
    "sound/tones_train": "steady tones, made by sound_sets.py",
    "sound/noise_train": "rain, sea and chainsaws of ESC-10, CC0 and CC BY (K. J. Piczak, 2015)",
}
_SUMMARY = {
    "melody-2bar": "Two-bar melodies in 4/4: reconstruct, sample, interpolate, vary, shift.",
    "melody-16bar": "Melodies of sixteen bars in 4/4, one code for all of them.",
    "drums-2bar": "Two bars of drums in 4/4, nine kinds of drum.",
    "denoise-16k": "Takes noise out of speech and music at 16 kHz.",
    "denoise-live-16k": "Takes noise out of sound while it arrives, 32 ms behind, at 16 kHz.",
    "upscale-16k": "Fills in 4 to 8 kHz of sound recorded at 8 kHz.",
    "notes-16k": "Notes of instruments as codes: rebuild, morph, vary, shift, map.",
}
_CALIBRATED = """\
Then its mask was shifted as a whole, by validation examples in noises kept for validation (calibration.py).

"""
_WEAK = {
    "melody-2bar": (
        "Folk tunes, songs and lead sheets of Europe and America, mostly before 1925; other styles are rebuilt less "
        "well. One line of notes on a grid of sixteenths; no triplets, chords or dynamics."
    ),
    "melody-16bar": (
        "The music of `melody-2bar`, of which only tunes with sixteen bars of 4/4 in a row were learned from: mostly "
        "reels, hornpipes and songs."
    ),
    "drums-2bar": (
        "Ten drummers on one electronic kit, mostly rock, funk and jazz. Hits are on the nearest sixteenth and have "
        "no dynamics; hand percussion is put on the nine drums it resembles."
    ),
    "denoise-16k": (
        "Five voices and the spoken digits of four people, music of games, tunes played by samples and two sound "
        "fonts; some hours on one core. The phase stays that of the noisy sound. Gains of clips, speakers, instruments "
        "and families of noise it never heard stand in the README and experiments/audio.json."
    ),
    "denoise-live-16k": (
        "Most of the data of `denoise-16k`, under an hour on one core. It looks 32 ms ahead and no further, and gains "
        "less than `denoise-16k` does: take that where there is time."
    ),
    "upscale-16k": (
        "A voice and the music of `denoise-16k`. The phases above 4 kHz are copied from below, so the new band is "
        "plausible and not what was there; recordings that were resampled without a filter have mirror images in it."
    ),
    "notes-16k": (
        "Single notes. What is quiet and noisy in a note comes back as a smoother noise; draws from the prior hold "
        "together less well than rebuilt notes."
    ),
}


@click.command(help=__doc__)
@click.argument("names", nargs=-1, required=True, type=click.Choice(list(_SUMMARY)))
@click.option("--sets", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of unpacked sets.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/figures"), help="Folder of the runs.")
def main(names: tuple[str, ...], sets: Path, out: Path) -> None:
    for name in names:
        figure, target = FIGURES[name], PRETRAINED / name
        model, _, manifest = load_checkpoint(out / name / "best")
        minutes = manifest.metrics["minutes"]
        manifest = _without_paths(manifest, figure)
        save_checkpoint(target, model, manifest, weights="float16")
        scores = score(load(target), figure, sets)
        shown = {key: round(scores[key], 4) for key in figure.reported if key in scores}
        save_checkpoint(target, model, manifest.model_copy(update={"metrics": shown}), weights="float16")
        vectors = AttributeVectors.load(out / name / "best")
        if vectors is not None:
            vectors.save(target)
        (target / "README.md").write_text(
            _card(name, figure, manifest, shown | {"examples": scores["examples"]}, minutes)
        )
        size_mb = sum((target / file).stat().st_size for file in (WEIGHTS, MANIFEST)) / 1e6
        click.echo(f"{target}  {size_mb:.1f} MB  {json.dumps(shown)}")


def _without_paths(manifest: Manifest, figure: Figure) -> Manifest:
    """A shipped model names its sets, not the folders of the machine it was trained on."""
    settings = {key: value for key, value in manifest.domain_settings.items() if key != "noise"}
    legs = _legs(figure)
    sets = dict.fromkeys(name for leg in legs for name in (*leg.sets, *leg.settings.get("noise", ())))
    data = {**manifest.data, "paths": [], "sets": list(sets)}
    training = {**manifest.training, "start_from": figure.settings.get("start_from")}
    return manifest.model_copy(update={"domain_settings": settings, "data": data, "training": training})


def _legs(figure: Figure) -> list[Figure]:
    """The run, and those it went on from."""
    start = figure.settings.get("start_from")
    return [figure] if start is None else [figure, *_legs(FIGURES[start])]


def _card(name: str, figure: Figure, manifest: Manifest, scores: dict[str, float], minutes: float) -> str:
    examples = manifest.data["examples"]
    sets = "\n".join(f"- {key}: {_LICENCES[key]}" for key in manifest.data["sets"])
    rows = "\n".join(f"| {key} | {value:.4g} |" for key, value in scores.items())
    left_out = ("noise", "steps", "evaluate_every")
    settings = ", ".join(f"{key} {value}" for key, value in figure.settings.items() if key not in left_out)
    return f"""# {name}

{_SUMMARY[name]}

## Training

`python experiments/figures.py --sets FOLDER {name}`: {minutes:.0f} minutes of training, {_machine(name)}, seed
{manifest.training["seed"]}; {settings}. Stored as float16.

{_before(figure)}{examples["train"]} training examples, {examples["validation"]} for choosing the checkpoint,
{examples["test"]} kept for testing; of one run, no item (song, recording) is in two of them. Data:

{sets}

## Scores

On the test split of {", ".join(figure.scored_on or figure.sets)}, without the examples
that also stand in training (melodies: up to transposition), of the weights as shipped{_condition(figure)}.

| score | value |
|---|---|
{rows}

## What is weak

{_WEAK[name]}

Licence of the weights: MIT.
"""


def _machine(name: str) -> str:
    """As figures.py wrote it down."""
    machine: str = json.loads(RESULTS.read_text())[name]["machine"]
    return machine


def _before(figure: Figure) -> str:
    """What the run went on from, and what was done after it."""
    start = figure.settings.get("start_from")
    if start is None:
        return ""
    minutes = sum(leg.settings["minutes"] for leg in _legs(figure)[1:])
    calibrated = _CALIBRATED if figure.calibrated else ""
    return f"It went on from `{start}`, trained for {minutes:.0f} minutes before.\n\n{calibrated}"


def _condition(figure: Figure) -> str:
    if figure.task == "upscale":
        return ""
    if "snr_db_low" not in figure.scored_with:
        return "; z is drawn from the posterior, `_mean` is the posterior's mean"
    return f"; noise recordings never trained on, and synthetic noise, at {figure.scored_with['snr_db_low']} dB"


if __name__ == "__main__":
    main()
