"""What music models make: scores on books they never saw, what sampled pieces hold, whether they follow chords."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from stored import trained_model

from musicae.data.dataset import load_dataset
from musicae.evaluation.evaluate import evaluate_files
from musicae.music.chords import NO_CHORD, TRIADS
from musicae.music.config import MusicConfig
from musicae.music.domain import MusicDomain
from musicae.music.quantize import STEPS_PER_QUARTER
from musicae.music.tokens import FIRST_ONSET, LINE_VOCABULARY, LOWEST_PITCH

# Outside sets

OUTSIDE = {
    "melody-2bar": ("nottingham", "pop909"),
    "melody-16bar": ("nottingham", "pop909"),
}
"""Shipped model → sets that no shipped model learned from; denser music is harder."""
_MOST = 5000  # windows of a set, spread over all of it


def outside(sets: Path, runs: Path) -> dict[str, Any]:
    """Scores of melody models on all of the music of sets that they never saw: model → set → scores."""
    return {
        name: {
            place: evaluate_files(trained_model(runs, name), [sets / place], split="all", limit=_MOST)
            for place in places
        }
        for name, places in OUTSIDE.items()
    }


# Contents of samples

SAMPLED = ("melody-2bar", "melody-16bar", "drums-2bar")
COUNT = 16


def contents(sets: Path, runs: Path, *, count: int = COUNT, seed: int = 0) -> dict[str, Any]:
    """What pieces sampled from each model's prior hold and how loud they are when rendered."""
    del sets
    return {name: listen(name, runs, count, seed) for name in SAMPLED}


def listen(name: str, runs: Path, count: int, seed: int) -> dict[str, Any]:
    """Samples pieces of one model and measures their notes and their sound.

    Returns:
        `silent_files`, of `count`; `lowest_pitch` and `highest_pitch` (MIDI); shares of onsets on a `bar`'s first
        step, on a `quarter`, an `eighth` and on the grid of sixteenths; of the sound of all pieces in a row
        `rms_dbfs`, `peak`, and `silent_s`, the longest section below -60 dBFS.
    """
    model = trained_model(runs, name)
    morph = model.sample(count, seed=seed)
    notes = [_notes(piece) for piece in morph]
    onset = np.concatenate([start for start, _ in notes])
    pitch = np.concatenate([pitches for _, pitches in notes])
    steps = onset * STEPS_PER_QUARTER
    shares = {
        name: float((np.abs(steps / length - np.round(steps / length)) < 1e-6).mean())
        for name, length in (("bar", model.domain.spec.segment), ("quarter", 4), ("eighth", 2), ("sixteenth", 1))
    }
    sounds = [piece.render() for piece in morph]
    mono = np.concatenate([sound.mono().samples for sound in sounds])
    return {
        "files": len(morph),
        "silent_files": sum(not len(start) for start, _ in notes),
        "notes_per_file": len(onset) / len(morph),
        "lowest_pitch": int(pitch.min()),
        "highest_pitch": int(pitch.max()),
        **{f"onsets_on_{name}": share for name, share in shares.items()},
        "seconds": len(mono) / sounds[0].sample_rate_hz,
        "rms_dbfs": 20 * float(np.log10(np.sqrt(np.mean(mono.astype(np.float64) ** 2)))),
        "peak": float(np.abs(mono).max()),
        "silent_s": longest_silence_s(mono, sounds[0].sample_rate_hz),
    }


def _notes(piece: Any) -> tuple[np.ndarray, np.ndarray]:
    """Onsets in quarters and pitches of all notes of a piece."""
    midi = piece.to_pretty_midi()
    notes = [
        (midi.time_to_tick(note.start) / midi.resolution, note.pitch)
        for part in midi.instruments
        for note in part.notes
    ]
    table = np.array(notes, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def longest_silence_s(mono: np.ndarray, sample_rate_hz: int, frame_s: float = 0.05) -> float:
    """The longest section of `(samples,)` whose frames all lie below -60 dBFS."""
    frame = round(frame_s * sample_rate_hz)
    frames = mono[: len(mono) // frame * frame].reshape(-1, frame)
    quiet = np.sqrt((frames.astype(np.float64) ** 2).mean(axis=1)) < 1e-3
    longest = run = 0
    for is_quiet in quiet:
        run = run + 1 if is_quiet else 0
        longest = max(longest, run)
    return longest * frame_s


# Chords

PROGRESSIONS = ("C F G Am", "Dm G C A7", "F#m B E C#m", "Bb Eb F Gm")
_MELODIES = 500  # a progression


def chords(sets: Path, runs: Path, *, count: int = _MELODIES, seed: int = 0) -> dict[str, float]:
    """Share of sampled notes that are tones of the chord that the model was given at their step.

    Melodies are sampled with a progression, and compared with it and with others; chance is what the others get.
    People's melodies of OpenEWLD are compared with their own chords.
    """
    trained = trained_model(runs, "melody-2bar")
    assert isinstance(trained.domain, MusicDomain)
    common = torch.zeros(1, dtype=torch.int64)  # one window of 4/4
    classes = {text: np.tile(trained.domain.chord_steps(text, common).numpy(), (count, 1)) for text in PROGRESSIONS}
    drawn = {text: _symbols(trained.sample(count, chords=text, seed=seed)) for text in PROGRESSIONS}
    given = [in_chord(drawn[text], classes[text]) for text in PROGRESSIONS]
    others = [in_chord(drawn[text], classes[other]) for text in PROGRESSIONS for other in PROGRESSIONS if other != text]
    plain = _symbols(trained.sample(count, seed=seed))
    dataset = load_dataset(MusicDomain(MusicConfig(chords=True)), [sets / "openewld"])
    stored = dataset.examples[dataset.splits["test"]].astype(np.int64)
    return {
        "samples_in_given_chord": float(np.mean(given)),
        "samples_in_other_chord": float(np.mean(others)),
        "samples_without_chords_in_chord": float(np.mean([in_chord(plain, classes[text]) for text in PROGRESSIONS])),
        "people_in_their_chord": in_chord(stored[..., 0], stored[..., 1]),
    }


def _symbols(morph: Any) -> np.ndarray:
    """Tokens of the melody, `(pieces, steps)`; pads are no onsets."""
    tokens: np.ndarray = morph.tensor[..., 0].numpy()
    tokens = tokens.reshape(len(tokens), -1)
    return np.where(tokens < LINE_VOCABULARY, tokens, 0)


def in_chord(tokens: np.ndarray, classes: np.ndarray) -> float:
    """Share of onsets whose pitch class belongs to the triad at their step.

    Args:
        tokens: `(pieces, steps)` of a melody.
        classes: chord classes, the same shape; steps without a chord don't count.
    """
    counted = (tokens >= FIRST_ONSET) & (classes != NO_CHORD)
    pitch = tokens[counted] - FIRST_ONSET + LOWEST_PITCH
    root, quality = np.divmod(classes[counted] - 1, 4)
    triads = np.array(TRIADS)[quality]  # (onsets, 3)
    return float((((pitch - root)[:, None] % 12) == triads).any(1).mean())
