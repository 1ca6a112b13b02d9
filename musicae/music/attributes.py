"""Attributes of music that people name: how dense, how wide, how syncopated. Pure numpy on token windows.

All take `(windows, steps)` and give float64 `(windows,)`. A line of pitches has the tokens of
`musicae.music.tokens`; drums have only rhythm: where anything is struck.
"""

from dataclasses import dataclass

import numpy as np

from musicae.music.score import STEPS_PER_QUARTER
from musicae.music.tokens import FIRST_ONSET, PITCH_OFFSET, sounding

_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_MAJOR = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1], dtype=np.float64)
_SCALES = np.stack([np.roll(_MAJOR, tonic) for tonic in range(12)])


@dataclass(frozen=True)
class Attribute:
    """One attribute.

    Attributes:
        unit: of its values.
        meaning: in a line.
        needs_pitch: whether drums have none.
    """

    unit: str
    meaning: str
    needs_pitch: bool


ATTRIBUTES: dict[str, Attribute] = {
    "density": Attribute("onsets a quarter", "how many notes are struck", False),
    "syncopation": Attribute("0 to 1", "how much stress lies off the strong beats", False),
    "regularity": Attribute("0 to 1", "how alike the times from note to note are", False),
    "average_interval": Attribute("semitones", "how far the melody moves from note to note", True),
    "range": Attribute("semitones", "from the lowest note to the highest", True),
    "diatonicity": Attribute("0 to 1", "share of the time that fits one major scale", True),
}


def measure(tokens: np.ndarray, is_pitched: bool, steps_per_bar: int, steps_per_beat: int) -> dict[str, np.ndarray]:
    """Measures every attribute a stream has.

    Args:
        tokens: `(windows, steps)`; without pitches, 0 where nothing is struck.
        is_pitched: whether they are a line of pitches, or drums.
        steps_per_bar, steps_per_beat: of the time signature, in 16ths.

    Returns:
        Name in `ATTRIBUTES` → float64 `(windows,)`.
    """
    tokens = np.asarray(tokens)
    onset = tokens >= FIRST_ONSET if is_pitched else tokens > 0
    values = {
        "density": density(onset),
        "syncopation": syncopation(onset, steps_per_bar, steps_per_beat),
        "regularity": regularity(onset),
    }
    if is_pitched:
        values |= {
            "average_interval": average_interval(tokens),
            "range": pitch_range(tokens),
            "diatonicity": diatonicity(tokens),
        }
    return values


def density(onset: np.ndarray) -> np.ndarray:
    """Onsets a quarter note."""
    return onset.mean(axis=1, dtype=np.float64) * STEPS_PER_QUARTER


def syncopation(onset: np.ndarray, steps_per_bar: int, steps_per_beat: int) -> np.ndarray:
    """How much is struck off the beat and held over a stronger place (Longuet-Higgins & Lee, 1984).

    A place weighs 3 at a bar, 2 at a beat, 1 at an eighth, 0 at a 16th. An onset that nothing follows until after a
    heavier place counts the difference; the sum is divided by 3 for each onset.
    """
    steps = onset.shape[1]
    place = np.arange(steps)
    weight = (place % 2 == 0).astype(np.int64) + (place % steps_per_beat == 0) + (place % steps_per_bar == 0)
    following = _next_onset(onset)  # (windows, steps)
    total = np.zeros(len(onset))
    for heavier in (1, 2, 3):
        strong = np.flatnonzero(weight >= heavier)
        index = np.searchsorted(strong, place, side="right")
        first_strong = np.append(strong, 10 * steps)[index]  # the next place so heavy, after each
        total += (onset & (weight < heavier) & (following > first_strong) & (first_strong < steps)).sum(axis=1)
    return total / (3 * np.maximum(onset.sum(axis=1), 1))


def regularity(onset: np.ndarray) -> np.ndarray:
    """1 less the entropy of the times between onsets, over that of as many different ones; 1 for fewer than three."""
    windows, steps = onset.shape
    row, place = np.nonzero(onset)
    same = row[1:] == row[:-1]
    gaps = (place[1:] - place[:-1])[same]
    counts = np.zeros((windows, steps))
    np.add.at(counts, (row[1:][same], gaps), 1)
    total = counts.sum(axis=1)
    share = counts / np.maximum(total, 1)[:, None]
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=1)
    return np.where(total > 1, 1 - entropy / np.log(np.maximum(total, 2)), 1.0)


def average_interval(tokens: np.ndarray) -> np.ndarray:
    """Mean distance in semitones from onset to onset; 0 for fewer than two."""
    row, place = np.nonzero(tokens >= FIRST_ONSET)
    same = row[1:] == row[:-1]
    distance = np.abs(np.diff(tokens[row, place].astype(np.int64)))[same]
    total = np.bincount(row[1:][same], weights=distance, minlength=len(tokens))
    count = np.bincount(row[1:][same], minlength=len(tokens))
    return total / np.maximum(count, 1)


def pitch_range(tokens: np.ndarray) -> np.ndarray:
    """Semitones from the lowest onset to the highest; 0 without notes."""
    onset = tokens >= FIRST_ONSET
    lowest = np.where(onset, tokens, 255).astype(np.int64).min(axis=1)
    highest = np.where(onset, tokens, 0).astype(np.int64).max(axis=1)
    return np.maximum(highest - lowest, 0).astype(np.float64)


def diatonicity(tokens: np.ndarray) -> np.ndarray:
    """Share of the sounding time that lies in the major scale that fits best; 1 for silence."""
    time = _time_of_pitch_classes(tokens)
    total = time.sum(axis=1)
    return np.where(total > 0, (time @ _SCALES.T).max(axis=1) / np.maximum(total, 1), 1.0)


def best_key(tokens: np.ndarray) -> list[str]:
    """The major scale that fits best, such as "G major" (its relative minor has the same notes); "none" for silence.

    Among scales that fit alike the one whose tonic and dominant sound longest is taken.
    """
    time = _time_of_pitch_classes(tokens)
    stress = time + np.roll(time, -7, axis=1)
    best = (time @ _SCALES.T + 1e-3 * stress).argmax(axis=1)
    sounds = time.sum(axis=1) > 0
    return [f"{_NAMES[key]} major" if sound else "none" for key, sound in zip(best.tolist(), sounds, strict=True)]


def _time_of_pitch_classes(tokens: np.ndarray) -> np.ndarray:
    """Steps that each of the twelve pitch classes sounds, `(windows, 12)`."""
    sounds = sounding(np.asarray(tokens)).astype(np.int64)
    row, place = np.nonzero(sounds)
    counts = np.zeros((len(tokens), 12))
    np.add.at(counts, (row, (sounds[row, place] + PITCH_OFFSET) % 12), 1)
    return counts


def _next_onset(onset: np.ndarray) -> np.ndarray:
    """Step of the first onset after each step, the number of steps where there is none."""
    steps = onset.shape[1]
    place = np.where(onset, np.arange(steps), steps)
    later = np.minimum.accumulate(place[:, ::-1], axis=1)[:, ::-1]
    return np.concatenate([later[:, 1:], np.full((len(onset), 1), steps)], axis=1)
