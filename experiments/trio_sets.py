"""Makes the trios that `trio-2bar` learns from: lead sheets with a bass by rule and somebody's drums.

    python experiments/trio_sets.py --sets FOLDER --out FOLDER/lead_sheet_trios

Melodies and chords are OpenEWLD's, in 4/4; the drums are performances of the Groove MIDI Dataset, whole bars of them
in a row. Nobody played the bass: it is made from the chords by one of the rules in `BASSES`. A song is played several
times in a row in one file, each time with another rule and other drums. About a tenth of the songs, by a hash of their
names, and Groove's test split are kept for testing; `info.csv` lists the songs. Everything is seeded.
"""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path

import click
import numpy as np
from symusic import Note, Score, TextMeta, TimeSignature, Track
from symusic.core import ScoreTick

from musicae.errors import MusicaeError
from musicae.music.chords import NO_CHORD, ChordLine, chord_line, chord_name, chord_pitches
from musicae.music.score import read_scores
from musicae.music.split_table import SPLIT_TABLE

SPLITS = ("train", "test")
_TIMES = 6
_BAR = 16  # steps
_LOWEST_BASS = 28  # E1
_BASS_PROGRAM = 33


@dataclass(frozen=True)
class Harmony:
    """The chord of a stretch of steps, and what comes next.

    Attributes:
        first, last: steps, `last` not included; both in one bar.
        pitches: pitch classes, the root first.
        next_root: pitch class of the root of the next chord.
    """

    first: int
    last: int
    pitches: tuple[int, ...]
    next_root: int


Bass = Callable[[Harmony, np.random.Generator], Iterator[tuple[int, int, int]]]
"""A stretch → steps where notes begin, where they end, and their pitch classes."""


def long_roots(harmony: Harmony, rng: np.random.Generator) -> Iterator[tuple[int, int, int]]:
    """The root, held."""
    del rng
    yield harmony.first, harmony.last, harmony.pitches[0]


def root_and_fifth(harmony: Harmony, rng: np.random.Generator) -> Iterator[tuple[int, int, int]]:
    """Half notes that alternate."""
    del rng
    for number, step in enumerate(range(harmony.first, harmony.last, 8)):
        yield step, min(step + 8, harmony.last), harmony.pitches[0 if number % 2 == 0 else 2]


def eighths(harmony: Harmony, rng: np.random.Generator) -> Iterator[tuple[int, int, int]]:
    """The root again and again; now and then the fifth before a change."""
    last = harmony.pitches[2] if rng.random() < 0.3 else harmony.pitches[0]
    for step in range(harmony.first, harmony.last, 2):
        yield step, min(step + 2, harmony.last), last if step >= harmony.last - 2 else harmony.pitches[0]


def walking(harmony: Harmony, rng: np.random.Generator) -> Iterator[tuple[int, int, int]]:
    """Quarters over the tones of the chord, the last a semitone beside the next root."""
    steps = range(harmony.first, harmony.last, 4)
    way = [harmony.pitches[place] for place in ((0, 1, 2, 1), (0, 2, 1, 2), (0, 2, 0, 1))[int(rng.integers(3))]]
    for number, step in enumerate(steps):
        leads = number == len(steps) - 1 > 0 and harmony.next_root != harmony.pitches[0]
        pitch = (harmony.next_root + int(rng.choice([-1, 1]))) % 12 if leads else way[number % 4]
        yield step, min(step + 4, harmony.last), pitch


def syncopated(harmony: Harmony, rng: np.random.Generator) -> Iterator[tuple[int, int, int]]:
    """Dotted eighths across the beat: three, three, two."""
    begins = [step for step in range(harmony.first, harmony.last) if (step - harmony.first) % 8 in (0, 3, 6)]
    for number, step in enumerate(begins):
        until = begins[number + 1] if number + 1 < len(begins) else harmony.last
        fifth = number % 3 == 2 and rng.random() < 0.5
        yield step, until, harmony.pitches[2 if fifth else 0]


BASSES: tuple[Bass, ...] = (long_roots, root_and_fifth, eighths, walking, syncopated)


def is_for_testing(name: str) -> bool:
    """Whether a song, by the name of its file, is one of the tenth that is kept for testing."""
    return int(sha1(name.encode()).hexdigest(), 16) % 10 == 0


def songs(sets: Path) -> Iterator[tuple[str, str, ScoreTick]]:
    """Yields name, split and trio of every lead sheet in 4/4 that has chords."""
    grooves = {split: list(_grooves(sets / "groove", split)) for split in SPLITS}
    for path in sorted((sets / "openewld").rglob("*.mid")):
        rng = np.random.default_rng(list(sha1(path.name.encode()).digest()))
        split = "test" if is_for_testing(path.name) else "train"
        try:
            score = read_scores(path)[0].score
        except MusicaeError:
            continue
        if {(each.numerator, each.denominator) for each in score.time_signatures} != {(4, 4)} or len(score.tracks) != 1:
            continue
        line = chord_line(score, 0)
        if line.source == "markers":
            yield path.name, split, arranged(score, line, grooves[split], rng)


def arranged(
    score: ScoreTick, line: ChordLine, grooves: list[np.ndarray], rng: np.random.Generator, times: int = _TIMES
) -> ScoreTick:
    """A lead sheet with bass and drums, so many times in a row.

    Args:
        score: in 4/4, with one track.
        line: its chords.
        grooves: performances in 4/4, as `_grooves` gives them.
        rng: chooses rules and performances.
        times: of the song.
    """
    quarter = score.tpq
    bar = 4 * quarter
    melody = score.tracks[0].notes
    bars = -(-max(note.end for note in melody) // bar)
    result = Score(quarter)
    result.time_signatures.append(TimeSignature(0, 4, 4))
    parts = [Track("melody", 0, False), Track("bass", _BASS_PROGRAM, False), Track("drums", 0, True)]
    for time in range(times):
        at = time * bars * bar
        for note in melody:
            parts[0].notes.append(Note(at + note.time, note.duration, note.pitch, 90))
        for start, chord in zip(line.start.tolist(), line.classes.tolist(), strict=True):
            if start < bars * bar:
                result.markers.append(TextMeta(at + start, chord_name(chord)))
        rule = BASSES[int(rng.integers(len(BASSES)))]
        for first, last, pitch in _bass(line, bars, quarter, rule, rng):
            parts[1].notes.append(Note(at + first * quarter // 4, (last - first) * quarter // 4, pitch, 80))
        groove = grooves[int(rng.integers(len(grooves)))]
        for tick, pitch, velocity in _drums(groove, bars, int(rng.integers(64))):
            parts[2].notes.append(Note(at + tick * quarter // 480, quarter // 8, pitch, velocity))
    for part in parts:
        result.tracks.append(part)
    return result


def _bass(
    line: ChordLine, bars: int, quarter: int, rule: Bass, rng: np.random.Generator
) -> Iterator[tuple[int, int, int]]:
    """Notes of the bass: first and last step, and pitch, near the one before."""
    classes = line.classes_at(np.arange(bars * _BAR) * quarter // 4)
    changes = np.flatnonzero(np.diff(classes, prepend=classes[:1] + 1) | (np.arange(len(classes)) % _BAR == 0))
    ends = [*changes[1:].tolist(), len(classes)]
    before = 36
    for first, last in zip(changes.tolist(), ends, strict=True):
        chord = int(classes[first])
        if chord == NO_CHORD:
            continue
        following = int(classes[last]) if last < len(classes) else chord
        pitches = chord_pitches(chord)
        next_root = chord_pitches(following)[0] if following != NO_CHORD else pitches[0]
        for start, end, pitch_class in rule(Harmony(first, last, pitches, next_root), rng):
            choices = [_LOWEST_BASS + (pitch_class - _LOWEST_BASS) % 12 + up for up in (0, 12)]
            before = min(choices, key=lambda pitch: abs(pitch - before))
            yield start, end, before


def _grooves(folder: Path, split: str) -> Iterator[np.ndarray]:
    """Performances in 4/4, int64 `(hits, 3)`: tick (480 a quarter), pitch, velocity. Train is all but the test one."""
    wanted = ("test",) if split == "test" else ("train", "validation")
    with (folder / SPLIT_TABLE).open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] in wanted and row["beat_type"] == "beat"]
    for row in rows:
        if row["time_signature"] != "4-4" or not (folder / row["midi_filename"]).is_file():
            continue
        score = read_scores(folder / row["midi_filename"])[0].score
        hits = [
            (note.time * 480 // score.tpq, note.pitch, note.velocity) for part in score.tracks for note in part.notes
        ]
        if hits and max(hits)[0] >= 4 * 4 * 480:
            yield np.array(sorted(hits), np.int64)


def _drums(groove: np.ndarray, bars: int, from_bar: int) -> Iterator[tuple[int, int, int]]:
    """Bars of a performance in a row, from the start again after its last whole one: tick, pitch, velocity."""
    bar = 4 * 480
    nearest = (groove[:, 0] + 60) // bar  # what is played just before a bar belongs to it
    there = int(nearest.max())
    for number in range(bars):
        own = (from_bar + number) % max(1, there)
        for tick, pitch, velocity in groove[nearest == own].tolist():
            yield max(0, tick + (number - own) * bar), pitch, velocity


@click.command(help=__doc__)
@click.option("--sets", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of unpacked sets.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the trios.")
def main(sets: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, split, score in songs(sets):
        score.dump_midi(str(out / name))
        rows.append({"midi_filename": name, "split": split})
    with (out / SPLIT_TABLE).open("w", encoding="utf-8", newline="") as lines:
        table = csv.DictWriter(lines, ["midi_filename", "split"])
        table.writeheader()
        table.writerows(rows)
    counts = {split: sum(row["split"] == split for row in rows) for split in SPLITS}
    click.echo(f"{out}: " + ", ".join(f"{count} songs to {split}" for split, count in counts.items()))


if __name__ == "__main__":
    main()
