"""Does a model that was told chords follow them? Share of sampled notes that are tones of the chord they were told.

    python experiments/chords.py --model RUN/best --data FOLDER

Melodies are drawn with a progression, and judged by it and by others it was not told; chance is what the
others get. What people do is what the folder's melodies get by their own chords.
"""

import json
from pathlib import Path

import click
import numpy as np

from musicae.data.dataset import load_dataset
from musicae.music.chords import NO_CHORD, TRIADS, parse_progression, spread
from musicae.music.codec import FIRST_ONSET, LOWEST_PITCH
from musicae.trained import load

RESULTS = Path(__file__).parent / "chords.json"
PROGRESSIONS = ("C F G Am", "Dm G C A7", "F#m B E C#m", "Bb Eb F Gm")


def in_chord(tokens: np.ndarray, classes: np.ndarray) -> float:
    """Share of onsets whose pitch class belongs to the triad told at their step.

    Args:
        tokens: `(pieces, steps)` of a melody.
        classes: chord classes, the same shape; steps without a chord don't count.
    """
    counted = (tokens >= FIRST_ONSET) & (classes != NO_CHORD)
    pitch = tokens[counted] - FIRST_ONSET + LOWEST_PITCH
    root, quality = np.divmod(classes[counted] - 1, 4)
    triads = np.array(TRIADS)[quality]  # (onsets, 3)
    return float((((pitch - root)[:, None] % 12) == triads).any(1).mean())


@click.command(help=__doc__)
@click.option("--model", required=True, help="A run of `melody-2bar-chords`.")
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True), help="MIDI with chords.")
@click.option("--count", type=click.IntRange(1, 1000), default=500, show_default=True, help="Melodies a progression.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(model: str, data: Path, count: int, seed: int) -> None:
    trained = load(model, "cpu")
    steps = trained.domain.spec.shape[0]
    classes = {
        text: np.tile(spread(parse_progression(text), steps).astype(np.int64), (count, 1)) for text in PROGRESSIONS
    }
    drawn = {text: trained.sample(count, chords=text, seed=seed)[..., 0].numpy() for text in PROGRESSIONS}
    told = [in_chord(drawn[text], classes[text]) for text in PROGRESSIONS]
    others = [in_chord(drawn[text], classes[other]) for text in PROGRESSIONS for other in PROGRESSIONS if other != text]
    results = {"samples_in_told_chord": float(np.mean(told)), "samples_in_other_chord": float(np.mean(others))}
    plain = trained.sample(count, seed=seed)[..., 0].numpy()
    results["untold_samples_in_chord"] = float(np.mean([in_chord(plain, classes[text]) for text in PROGRESSIONS]))
    dataset = load_dataset(trained.domain, [data])
    stored = dataset.examples[dataset.splits["test"]].astype(np.int64)
    results["people_in_their_chord"] = in_chord(stored[..., 0], stored[..., -1])
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    click.echo(json.dumps(results))


if __name__ == "__main__":
    main()
