"""Makes a shipped model of a trained run: small weights, a model card, and the scores of the weights as shipped.

`python experiments/run.py --sets FOLDER --ship NAME` calls this. Models of music are stored in four to six bits a
weight (`Recipe.bits`), the others as float16. By itself it writes the cards of the shipped models anew, from what is
stored with them:

    python experiments/ship.py
"""

import json
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import report
from credits import CREDITS, licence_of
from recipes import RECIPES, SHIPPED, Recipe, chain, minutes_in_all, sets_in_all
from stored import RUNS, read

from musicae.attribute_vectors import AttributeVectors
from musicae.shipped import MANIFEST, PRETRAINED, WEIGHTS
from musicae.trained import TrainedModel, load
from musicae.training.checkpoint import Manifest, StoredAs, load_checkpoint, read_manifest, save_checkpoint

SUMMARY = {
    "melody-2bar": "Two-bar melodies in every common time signature: reconstruct, sample, interpolate, vary, shift.",
    "melody-16bar": "Melodies of sixteen bars, a code for every two: infill, continue, sample, reconstruct.",
    "drums-2bar": "Two bars of drums in 4/4 with velocity and timing: humanize, groove-transfer, sample, interpolate.",
    "drums-2bar-tap": "Plays a rhythm that was tapped on any key on a drum kit, two bars of 4/4 at a time.",
    "piano-2bar": "Two bars of piano music, both hands, with velocity and timing: reconstruct, interpolate, vary.",
    "trio-2bar": "Two bars of melody, bass and drums over given chords: sample, reconstruct with other chords, morph.",
    "denoise-48k": "Takes noise out of speech and music, the whole band up to 24 kHz, files of any rate.",
    "denoise-live-48k": "Takes noise out of sound while it arrives, 20 ms behind, the whole band up to 24 kHz.",
    "upscale-48k": "Fills in what a sound lacks at the top of the band, from wherever it ends up to 24 kHz.",
    "notes-44k": "Single notes of instruments as codes: rebuild, morph, vary, shift, ask for, play pieces with.",
    "photo-denoise": "Takes noise of unknown strength and the traces of JPEG out of photographs of any size.",
    "photo-upscale": "Makes photographs of any size two, three or four times larger, sharper than interpolation.",
}
USAGE = {
    "melody-2bar": (
        "musicae interpolate a.mid b.mid",
        "musicae shift song.mid --attribute density --amount 1",
        'musicae sample --key "D minor" --count 4',
    ),
    "melody-16bar": (
        "musicae infill song.mid --bars 5-6",
        "musicae continue song.mid --bars 8",
        'musicae sample --model melody-16bar --key "D minor"',
    ),
    "drums-2bar": ("musicae humanize beat.mid", "musicae groove-transfer funky.mid stiff.mid"),
    "drums-2bar-tap": ("musicae tap rhythm.mid",),
    "piano-2bar": (
        "musicae interpolate a.mid b.mid --model piano-2bar",
        "musicae vary song.mid --model piano-2bar --bars 9-12",
    ),
    "trio-2bar": (
        'musicae sample --model trio-2bar --chords "Dm G C A7"',
        'musicae reconstruct song.mid --model trio-2bar --chords "Am F C G"',
    ),
    "denoise-48k": ("musicae denoise noisy.wav", "musicae denoise noisy.wav --noise-only"),
    "denoise-live-48k": ("musicae denoise noisy.wav --model denoise-live-48k",),
    "upscale-48k": ("musicae upscale telephone.wav",),
    "notes-44k": (
        "musicae interpolate flute.wav cello.wav",
        "musicae sample --label cello --pitch 48 --velocity 0.7",
        "musicae render song.mid --instrument cello --towards tuba --share 0.3",
    ),
    "photo-denoise": ("musicae denoise photo.jpg", "musicae denoise photo.jpg --strength 0.7"),
    "photo-upscale": ("musicae upscale photo.jpg", "musicae upscale photo.jpg --scale 4"),
}
"""Commands, for the card."""
LIMITS = {
    "melody-2bar": (
        "Folk tunes, songs and lead sheets of Europe and America, mostly before 1925; other styles are rebuilt less "
        "well. One line of notes on a grid of sixteenths; no triplets, chords or dynamics."
    ),
    "melody-16bar": (
        "The music of `melody-2bar`, but only tunes with sixteen bars of one time signature in a row: mostly dances "
        "and songs. What it makes up knows no chords, and has no form beyond sixteen bars. It is stored without the "
        "weights that it shares with `melody-2bar`."
    ),
    "drums-2bar": (
        "Ten drummers on one electronic kit, mostly rock, funk and jazz. Each drum is struck at most once in a "
        "sixteenth, so flams and rolls are lost; hand percussion counts as the nine drums that resemble it most. One "
        "draw plays a whole song, so the feel does not follow its form."
    ),
    "drums-2bar-tap": (
        "The drummers of `drums-2bar`. It always plays the likeliest kit, and which drum is meant is mostly a guess: a "
        "rhythm alone says little of it: a table of what is usually struck at each step does as well. Rhythms are read "
        "on the grid of sixteenths."
    ),
    "piano-2bar": (
        "Pieces of some twenty composers of the 18th to the early 20th century, whose dynamics and tempo one person "
        "shaped by hand; other styles are rebuilt less well. A key is struck at most once in a sixteenth, and pedals "
        "are kept from the source, never made. What it makes up by itself keeps to a scale, but its rhythms hardly "
        "return: it is for rebuilding, morphing and varying first."
    ),
    "trio-2bar": (
        "Popular songs in 4/4 of before 1925, 232 of them. Nobody played the bass: a rule made it of the chords, in "
        "five manners, so it is simple. Melodies, basses and drums of different people were put together and don't "
        "listen to each other. With other chords the bass follows and the melody only in part; without any it wanders."
    ),
    "denoise-48k": (
        "Some dozens of voices, most of them heard in a few words only, and the same voices moved in pitch; music of "
        "games, tunes rendered with samples and two sound fonts; some hours on one core. A siren is kept as music is. "
        "The phase stays that of the noisy sound. docs/results.md has gains on voices, languages, instruments and "
        "noises that training never used."
    ),
    "denoise-live-48k": (
        "The data of `denoise-48k`, two hours on one core. At 48 kHz it is 20 ms behind; it gains less than "
        "`denoise-48k`, which is the better choice where there is time."
    ),
    "upscale-48k": (
        "The voices and music of `denoise-48k`; few of the voices reach beyond 10 kHz. The new band is the sound's own "
        "lower one, copied up and brought to the level that is expected, so it is plausible, not what was there; how "
        "bright a microphone was can only be guessed. How loud a moment's highs are it knows too little after an hour "
        "and a half on one core: PESQ, a measure of speech, is lower than that of plain resampling."
    ),
    "notes-44k": (
        "Single notes of up to three seconds. What is quiet and noisy in a note becomes a smoother noise. Notes that "
        "are asked for are the usual ones of an instrument; of the sound font's, it heard every third semitone once."
    ),
    "photo-denoise": (
        "Photographs of landscapes, cities and things, four hours on one core. Noise that neighbouring pixels "
        "share, as in a photograph that was enlarged or sharpened, it doesn't know; texture as fine as a pixel, as of "
        "a tiled roof, it partly takes for noise. Of a picture at night with much noise, what was cut off at black is "
        "lost: it comes out too bright."
    ),
    "photo-upscale": (
        "The photographs of `photo-denoise`, two and a half hours on one core. Edges and lines become sharper; texture "
        "that is finer than the small picture's pixels is not made up. A noisy or compressed picture is best cleaned "
        "first."
    ),
}
_CALIBRATED = (
    "After training its mask was shifted by one number, which was chosen on validation examples with noises that are "
    "kept for validation (experiments/calibration.py)."
)
CARD_SCORES = ("accuracy_free_running_mean", "accuracy_teacher_forced", "elbo_nats", "active_units")
"""On cards, besides what a recipe reports."""
EFFORT = ("minutes_in_all", "updates_in_all")
"""What a checkpoint's manifest says of all legs together."""


def stored_as(bits: int) -> StoredAs:
    """How weights of so many bits are stored."""
    kinds: dict[int, StoredAs] = {16: "float16", 8: "int8", 6: "int6", 5: "int5", 4: "int4"}
    return kinds[bits]


def _stored_in_words(bits: int) -> str:
    if bits == 16:
        return "float16"
    scales = "each output channel" if bits == 8 else "every 32 weights"
    return f"{bits} bits with a scale for {scales} (small tensors as float16)"


def _apart(recipe: Recipe) -> str:
    """What is stored otherwise than the rest, or elsewhere."""
    draws = ", what only draws codes in 4" if recipe.settings.get("second_stage") and recipe.bits > 4 else ""
    return draws + (f", without what it shares with `{recipe.shares}`" if recipe.shares else "")


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
    vectors = AttributeVectors.load(run)  # before the target is written, which may be the same folder
    stored = stored_as(recipe.bits)
    manifest = without_paths(manifest, name).model_copy(update={"shares": recipe.shares})
    save_checkpoint(target, model, manifest, weights=stored)
    scores = score(load(target))
    shown = {key: round(scores[key], 4) for key in (*recipe.reported, *CARD_SCORES) if key in scores}
    save_checkpoint(target, model, manifest.model_copy(update={"metrics": shown}), weights=stored)
    if vectors is not None:
        vectors.save(target)
    text = card(name, manifest, shown | {"examples": scores["examples"]})
    (target / "README.md").write_text(text, encoding="utf-8")
    size_mb = sum((target / file).stat().st_size for file in (WEIGHTS, MANIFEST)) / 1e6
    return f"{target}  {size_mb:.1f} MB  {json.dumps(shown)}"


def without_paths(manifest: Manifest, name: str) -> Manifest:
    """A shipped model names its sets, not the folders of the machine it was trained on."""
    settings = {key: value for key, value in manifest.domain_settings.items() if key != "noise"}
    data = {**manifest.data, "paths": [], "sets": list(sets_in_all(name))}
    if "started_from" in data:
        data["started_from"] = RECIPES[name].start_from
    training = {**manifest.training, "start_from": RECIPES[name].start_from}
    environments = tuple({key: row[key] for key in row if key != "command"} for row in manifest.environments)
    changed = {"domain_settings": settings, "data": data, "training": training, "environments": environments}
    return manifest.model_copy(update=changed)


def card(name: str, manifest: Manifest, scores: Mapping[str, float]) -> str:
    """The model card, in Markdown.

    Args:
        name: of the recipe.
        manifest: of the shipped model.
        scores: of the weights as shipped.
    """
    recipe, sets, trained = RECIPES[name], sets_in_all(name), read(RUNS).get(name, {})
    examples = manifest.data["examples"]
    rows = [[key, f"{trained[key]:.4g}" if key in trained else "", f"{value:.4g}"] for key, value in scores.items()]
    minutes = manifest.data.get("minutes_in_all", minutes_in_all(name))
    updates = f"{manifest.data['updates_in_all']:.0f}" if "updates_in_all" in manifest.data else "not recorded"
    parts = [
        f"# {name}",
        SUMMARY[name],
        "```bash\n" + "\n".join(USAGE[name]) + "\n```",
        "## Training",
        f"`python experiments/run.py --sets FOLDER --ship {name}`: {minutes:.0f} minutes in all, updates {updates}; "
        f"{report.threads(name)}, seed {manifest.training['seed']}. {_legs(name)} Stored as "
        f"{_stored_in_words(recipe.bits)}{_apart(recipe)}{_rounding(name)}.",
        _CALIBRATED if recipe.calibrated else "",
        f"{examples['train']} training examples, {examples['validation']} for choosing the checkpoint, "
        f"{examples['test']} kept for testing; {_split(recipe)}no item (song, recording) is in two of them. "
        "Data of all legs:",
        "\n".join(f"- {each}: {CREDITS[each].text}" for each in sets),
        "## Scores",
        f"On the test split of {', '.join(recipe.scored_on or recipe.sets)}, without the examples that are also in "
        f"training (melodies: up to transposition){_condition(recipe)}. `docs/results.md` compares them.",
        report.table(["score", "as trained", "as shipped"], rows),
        "## Limits",
        f"{LIMITS[name]}{_speed(name)}",
        "## Licence",
        f"The weights: {licence_of(sets)}, which is what the data ask for.",
    ]
    return "\n\n".join(_filled(part) for part in parts if part) + "\n"


def _speed(name: str) -> str:
    """How fast a denoiser of sound is on one thread of a CPU, and how much memory it takes, as measured."""
    if RECIPES[name].domain != "audio":
        return ""
    found = read("audio-cost")
    if name == "denoise-48k":
        stereo, hour_gib = found[f"{name}, stereo at 44.1 kHz, file, 1 thread"], found["hour_gib"]
        return (
            f" On one thread of a CPU its real-time factor is {1 / stereo:.3f} for stereo at 44.1 kHz; an hour of that "
            f"takes {hour_gib:.2f} GiB of memory."
        )
    if name == "denoise-live-48k":
        factors = [1 / found[f"{name}, stream of {block_ms} ms blocks, 1 thread"] for block_ms in (20, 10)]
        return (
            f" On one thread of a CPU the real-time factor of a stream is {factors[0]:.2f} with blocks of 20 ms, and "
            f"{factors[1]:.2f} with blocks of 10 ms."
        )
    return ""


def _filled(part: str) -> str:
    """A paragraph broken into lines; lists, tables and headings as they are."""
    return part if part.startswith(("#", "-", "|", "```")) else textwrap.fill(part, 119, break_on_hyphens=False)


def card_of_shipped(name: str, pretrained: Path = PRETRAINED) -> str:
    """The card of a recipe's shipped model, from its manifest and the stored results of the recipe."""
    folder = pretrained / str(RECIPES[name].shipped_as)
    manifest = read_manifest(folder)
    scores = {**manifest.metrics, "examples": read(RUNS)[name]["examples"]}
    return card(name, manifest, scores)


def _rounding(name: str) -> str:
    """What fewer bits than eight cost, as quantisation.py measured it."""
    found = read("quantisation").get(name)
    if found is None:
        return ""
    accuracy, bits = (found["fewer"][score] - found["int8"][score] for score in ("accuracy_free_running", "kl_bits"))
    return f", which beside 8 bits moves accuracy_free_running by {accuracy:+.4f} and kl_bits by {bits:+.1f}"


def _legs(name: str) -> str:
    """The legs, with their minutes, and the settings of the last."""
    legs, recipe = chain(name), RECIPES[name]
    left_out = ("noise", "evaluate_every")
    settings = ", ".join(f"{key} {value}" for key, value in recipe.settings.items() if key not in left_out)
    if len(legs) == 1:
        return f"Settings: {settings}."
    named = ", ".join(f"`{leg}` ({RECIPES[leg].minutes:g} min)" for leg in legs)
    return f"Legs, each starting from the one before: {named}. Settings of the last: {settings}."


def _split(recipe: Recipe) -> str:
    """Legs that learned from other folders split them by other names."""
    return "of one leg, " if recipe.scored_on else ""


def _condition(recipe: Recipe) -> str:
    if "ensemble" in recipe.scored_with:
        return "; by one view of each"
    if recipe.task == "upscale":
        return ""
    if "snr_db_low" not in recipe.scored_with:
        return "; z is drawn from the posterior, `_mean` is the posterior's mean"
    return f"; noise recordings never trained on, and synthetic noise, at {recipe.scored_with['snr_db_low']} dB"


@click.command(help=__doc__)
def main() -> None:
    for shipped_as, name in SHIPPED.items():
        path = PRETRAINED / shipped_as / "README.md"
        path.write_text(card_of_shipped(name), encoding="utf-8")
        click.echo(path)


if __name__ == "__main__":
    main()
