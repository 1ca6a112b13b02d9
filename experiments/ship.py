"""Makes a shipped model of a trained run: small weights, a model card, and the scores of the weights as shipped.

`python experiments/run.py --sets FOLDER --ship NAME` calls this. Models of music are stored as int8 per channel, the
others as float16.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import report
from recipes import CREDITS, RECIPES, Recipe, chain, licence_of, minutes_in_all, sets_in_all
from stored import RUNS, read

from musicae.attribute_vectors import AttributeVectors
from musicae.manifest import MANIFEST, WEIGHTS, Manifest
from musicae.shipped import PRETRAINED
from musicae.trained import TrainedModel, load
from musicae.training.checkpoint import load_checkpoint, save_checkpoint

SUMMARY = {
    "melody-2bar": "Two-bar melodies in 4/4: reconstruct, sample, interpolate, vary, shift.",
    "melody-16bar": "Melodies of sixteen bars in 4/4, one code for all of them.",
    "drums-2bar": "Two bars of drums in 4/4, on nine drums and cymbals.",
    "denoise-16k": "Takes noise out of speech and music at 16 kHz.",
    "denoise-live-16k": "Takes noise out of sound while it arrives, 32 ms behind, at 16 kHz.",
    "upscale-16k": "Fills in 4 to 8 kHz of sound recorded at 8 kHz.",
    "notes-16k": "Single notes of instruments as codes: rebuild, morph, vary, shift, map.",
}
LIMITS = {
    "melody-2bar": (
        "Folk tunes, songs and lead sheets of Europe and America, mostly before 1925; other styles are rebuilt less "
        "well. One line of notes on a grid of sixteenths; no triplets, chords or dynamics."
    ),
    "melody-16bar": (
        "The music of `melody-2bar`, but only tunes with sixteen bars of 4/4 in a row: mostly reels, hornpipes and "
        "songs."
    ),
    "drums-2bar": (
        "Ten drummers on one electronic kit, mostly rock, funk and jazz. Hits are on the nearest sixteenth and have "
        "no dynamics; hand percussion is moved to the nine drums that resemble it most."
    ),
    "denoise-16k": (
        "Five voices and the spoken digits of four people, music of games, tunes rendered with samples and two sound "
        "fonts; some hours on one core. The phase stays that of the noisy sound. docs/results.md has gains on clips, "
        "speakers, instruments and families of noise that training never used."
    ),
    "denoise-live-16k": (
        "Most of the data of `denoise-16k`, under an hour on one core. It looks 32 ms ahead and gains less than "
        "`denoise-16k`, which is the better choice where there is time."
    ),
    "upscale-16k": (
        "One voice and the music of `denoise-16k`. The phases above 4 kHz are copied from below, so the new band is "
        "plausible, not what was there; recordings that were resampled without a filter have mirror images in it."
    ),
    "notes-16k": (
        "Single notes. What is quiet and noisy in a note becomes a smoother noise; samples from the prior hold "
        "together less well than rebuilt notes."
    ),
}
_CALIBRATED = """
After training its mask was shifted by one number, which was chosen on validation examples with noises that are kept for
validation (experiments/calibration.py).
"""
EFFORT = ("minutes_in_all", "updates_in_all")
"""What a checkpoint's manifest says of all legs together."""
_STORED = {"int8": "int8, with a scale for each output channel", "float16": "float16"}


def ship(
    name: str, run: Path, score: Callable[[TrainedModel], Mapping[str, float]], pretrained: Path = PRETRAINED
) -> str:
    """Writes a shipped model, and says where, how large it is and how it scores.

    Args:
        name: of a recipe with `shipped_as`.
        run: the folder of its checkpoint.
        score: scores a model on the recipe's test splits.
        pretrained: the folder of the shipped models.
    """
    recipe = RECIPES[name]
    assert recipe.shipped_as is not None
    target = pretrained / recipe.shipped_as
    licence_of(sets_in_all(name))  # before anything is written
    model, _, manifest = load_checkpoint(run)
    stored_as = "int8" if recipe.domain == "music" else "float16"
    manifest = without_paths(manifest, name)
    save_checkpoint(target, model, manifest, weights=stored_as)
    scores = score(load(target))
    shown = {key: round(scores[key], 4) for key in recipe.reported if key in scores}
    save_checkpoint(target, model, manifest.model_copy(update={"metrics": shown}), weights=stored_as)
    vectors = AttributeVectors.load(run)
    if vectors is not None:
        vectors.save(target)
    text = card(name, manifest, shown | {"examples": scores["examples"]}, _STORED[stored_as])
    (target / "README.md").write_text(text, encoding="utf-8")
    size_mb = sum((target / file).stat().st_size for file in (WEIGHTS, MANIFEST)) / 1e6
    return f"{target}  {size_mb:.1f} MB  {json.dumps(shown)}"


def without_paths(manifest: Manifest, name: str) -> Manifest:
    """A shipped model names its sets, not the folders of the machine it was trained on."""
    settings = {key: value for key, value in manifest.domain_settings.items() if key != "noise"}
    data = {**manifest.data, "paths": [], "sets": list(sets_in_all(name))}
    training = {**manifest.training, "start_from": RECIPES[name].start_from}
    return manifest.model_copy(update={"domain_settings": settings, "data": data, "training": training})


def card(name: str, manifest: Manifest, scores: Mapping[str, float], stored: str) -> str:
    """The model card, in Markdown.

    Args:
        name: of the recipe.
        manifest: of the shipped model.
        scores: of the weights as shipped.
        stored: how the weights are stored, in words.
    """
    recipe, sets = RECIPES[name], sets_in_all(name)
    examples = manifest.data["examples"]
    rows = [[key, f"{value:.4g}"] for key, value in scores.items()]
    settings = ", ".join(
        f"{key} {value}" for key, value in recipe.settings.items() if key not in ("noise", "evaluate_every")
    )
    minutes = manifest.data.get("minutes_in_all", minutes_in_all(name))
    updates = f"{manifest.data['updates_in_all']:.0f}" if "updates_in_all" in manifest.data else "not recorded"
    return f"""# {name}

{SUMMARY[name]}

## Training

`python experiments/run.py --sets FOLDER --ship {name}`: {minutes:.0f} minutes in all, updates {updates};
{_machines(name)}, seed {manifest.training["seed"]}. {_legs(name)}{settings}. Stored as {stored}.
{_CALIBRATED if recipe.calibrated else ""}
{examples["train"]} training examples, {examples["validation"]} for choosing the checkpoint, {examples["test"]} kept for
testing; no item (song, recording) is in two of them. Data of all legs:

{chr(10).join(f"- {each}: {CREDITS[each].text}" for each in sets)}

## Scores

On the test split of {", ".join(recipe.scored_on or recipe.sets)}, without the examples that are also in training
(melodies: up to transposition), of the weights as shipped{_condition(recipe)}.

{report.table(["score", "value"], rows)}

## Limits

{LIMITS[name]}

## Licence

The weights: {licence_of(sets)}, which is what the data ask for.
"""


def _legs(name: str) -> str:
    """The legs, with their minutes, where there are several."""
    legs = chain(name)
    if len(legs) == 1:
        return "Settings: "
    named = ", ".join(f"`{leg}` ({RECIPES[leg].minutes:g} min)" for leg in legs)
    return f"Legs, each starting from the one before: {named}. Settings of the last: "


def _machines(name: str) -> str:
    stored = read(RUNS)
    return " or ".join(sorted({stored[leg]["machine"] for leg in chain(name) if leg in stored}))


def _condition(recipe: Recipe) -> str:
    if recipe.task == "upscale":
        return ""
    if "snr_db_low" not in recipe.scored_with:
        return "; z is drawn from the posterior, `_mean` is the posterior's mean"
    return f"; noise recordings never trained on, and synthetic noise, at {recipe.scored_with['snr_db_low']} dB"
