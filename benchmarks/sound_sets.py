"""Makes the sounds that denoisers are trained and judged on: tunes played by instruments, and speakers apart.

    python benchmarks/sound_sets.py --sets FOLDER --out FOLDER

What is judged on was never trained on: tunes, instruments, speakers and families of noise are dealt to `train`
or `test` by name, see the tables below. Everything is seeded; the same sets give the same sounds.
"""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pretty_midi
import soundfile

from musicae.render import render_midi
from musicae.score.chords import NO_CHORD, chord_pitches
from musicae.score.harmony import chord_line
from musicae.score.reading import read_scores
from musicae.sound.files import read_mono, resample

RATE_HZ = 16_000
TUNES = ("openewld", "ryans_mammoth", "oneills1850")
TEST_INSTRUMENTS = ("shanai", "electric_piano", "pizzicato_strings", "tremolo_strings")
TEST_SPEAKERS = ("theo", "yweweler")
NOISE = {"train": ("002-Rain", "003-Sea_waves", "008-Chainsaw"), "test": ("007-Helicopter", "010-Fire_crackling")}
"""Families of recorded noise."""
_PIECES = {"train": 300, "test": 24}
_PIECE_S = {"train": 20.0, "test": 8.0}
_TAIL_S = 0.4
_TONES, _TONE_S = 300, 8.2
_DRUM_SHARE = 0.4


@dataclass(frozen=True)
class Event:
    """A note: which of a piece's voices plays it, when, and how."""

    voice: int
    start_s: float
    end_s: float
    pitch: int
    velocity: int


def is_test(name: str, one_in: int) -> bool:
    """Deals names to the test part, one in so many, by a hash."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % one_in == 0


def program_split(program: int) -> str:
    """One General MIDI program in eight is for the test."""
    return "test" if program % 8 == 3 else "train"


def voiced(midi: Path, rng: np.random.Generator, longest_s: float) -> list[Event]:
    """A tune's melody, with its chords and their roots where it has some, at a tempo and in a key of its own."""
    score = read_scores(midi)[0].score
    place = max(range(len(score.tracks)), key=lambda index: len(score.tracks[index].notes))
    melody = score.tracks[place]
    second_s = 60 / rng.uniform(70, 170) / score.tpq
    shift = int(rng.integers(-5, 7))
    first = min(note.time for note in melody.notes)
    events = [
        Event(0, (note.time - first) * second_s, (note.time - first + note.duration) * second_s,
              int(np.clip(note.pitch + shift, 30, 100)), int(rng.integers(60, 120)))
        for note in melody.notes
    ]  # fmt: skip
    if rng.random() < 0.7:
        line = chord_line(score, place)
        ends = [*line.start[1:], line.start[-1] + 4 * score.tpq] if len(line.start) else []
        for start, end, chord in zip(line.start, ends, line.classes, strict=True):
            if chord == NO_CHORD:
                continue
            at, until = (int(start) - first) * second_s, (int(end) - first) * second_s
            pitches = [48 + (pitch + shift) % 12 for pitch in chord_pitches(int(chord))]
            velocity = int(rng.integers(40, 80))
            events += [Event(1, at, until, pitch, velocity) for pitch in pitches]
            events.append(Event(2, at, until, 36 + pitches[0] % 12, velocity + 20))
    return [event for event in events if 0 <= event.start_s < longest_s and event.end_s > event.start_s]


def played_by_font(
    events: Sequence[Event], programs: Sequence[int], drums: pretty_midi.Instrument | None
) -> np.ndarray:
    """Through pretty_midi's General MIDI sound font."""
    midi = pretty_midi.PrettyMIDI()
    for voice, program in enumerate(programs):
        part = pretty_midi.Instrument(program)
        part.notes = [
            pretty_midi.Note(event.velocity, event.pitch, event.start_s, event.end_s)
            for event in events
            if event.voice == voice
        ]
        midi.instruments.append(part)
    if drums is not None:
        midi.instruments.append(drums)
    return render_midi(midi, sample_rate_hz=RATE_HZ)


class Sampler:
    """Plays recorded single notes of one instrument, the nearest one resampled to the pitch wanted."""

    def __init__(self, folder: Path, pitches: dict[str, float]) -> None:
        self._notes = {pitches[path.name]: read_mono(path, RATE_HZ) for path in sorted(folder.glob("*.flac"))}

    def note(self, pitch: int, duration_s: float) -> np.ndarray:
        """`(samples,)`; the pitch is moved by octaves to where recordings are."""
        known = np.array(sorted(self._notes))
        while pitch < known[0] - 6:
            pitch += 12
        while pitch > known[-1] + 6:
            pitch -= 12
        nearest = float(known[np.abs(known - pitch).argmin()])
        ratio = 2 ** ((pitch - nearest) / 12)
        samples = resample(self._notes[nearest], round(RATE_HZ * ratio), RATE_HZ)
        length = min(len(samples), round((duration_s + _TAIL_S) * RATE_HZ))
        fade = min(length, round(_TAIL_S * RATE_HZ))
        sound = samples[:length].copy()
        sound[length - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
        return sound


def played_by_samples(events: Sequence[Event], samplers: Sequence[Sampler]) -> np.ndarray:
    """Through recorded notes; a voice without a sampler is silent."""
    total = np.zeros(round((max(event.end_s for event in events) + 3) * RATE_HZ), np.float32)
    for event in events:
        if event.voice < len(samplers):
            sound = samplers[event.voice].note(event.pitch, event.end_s - event.start_s)
            at = round(event.start_s * RATE_HZ)
            sound = sound[: len(total) - at] * (event.velocity / 127) ** 1.5
            total[at : at + len(sound)] += sound
    return total


def instruments(notes: Path) -> dict[str, Sampler]:
    """The instruments of the notes, by name."""
    with (notes / "notes.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = {}
    for name in sorted({row["instrument"] for row in rows}):
        pitches = {Path(row["file"]).name: float(row["midi_pitch"]) for row in rows if row["instrument"] == name}
        found[name] = Sampler(notes / name, pitches)
    return found


def pieces(sets: Path, split: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yields `(name, samples)` of a split's music, every second one by recorded notes."""
    rng = np.random.default_rng({"train": 1, "test": 2}[split])
    tunes = [path for name in TUNES for path in sorted((sets / name).rglob("*.mid"))]
    tunes = [path for path in tunes if is_test(path.name, 10) == (split == "test")]
    grooves = [path for path in sorted((sets / "groove").rglob("*.mid")) if is_test(path.name, 10) == (split == "test")]
    samplers = instruments(sets / "notes16k")
    names = [name for name in samplers if (name in TEST_INSTRUMENTS) == (split == "test")]
    programs = [number for number in range(112) if program_split(number) == split]
    for number, index in enumerate(rng.permutation(len(tunes))[: _PIECES[split]]):
        events = voiced(tunes[index], rng, _PIECE_S[split])
        if not events:
            continue
        if number % 2:
            chosen = rng.choice(names, 3, replace=False)
            samples = played_by_samples(events, [samplers[name] for name in chosen])
            label = "-".join(chosen)
        else:
            drums = _drums(grooves[int(rng.integers(len(grooves)))]) if rng.random() < _DRUM_SHARE else None
            chosen = rng.choice(programs, 3, replace=False)
            samples = played_by_font(events, chosen.tolist(), drums)
            label = "programs-" + "-".join(map(str, chosen))
        samples = samples[: round(_PIECE_S[split] * RATE_HZ)]
        yield f"{number:03d}-{label}", samples / max(1e-9, float(np.abs(samples).max())) * rng.uniform(0.2, 0.9)


def single_notes() -> Iterator[tuple[str, np.ndarray]]:
    """Yields `(name, samples)`: notes of the training programs, a fourth apart, beside the recorded ones."""
    rng = np.random.default_rng(4)
    for program in range(0, 112, 2):
        if program_split(program) == "test":
            continue
        for pitch in range(36 + int(rng.integers(5)), 88, 5):
            event = Event(0, 0.0, rng.uniform(0.8, 2.0), pitch, int(rng.integers(60, 120)))
            yield f"{program:03d}-{pitch}", played_by_font([event], [program], None)[: round(2.5 * RATE_HZ)]


def steady_tones() -> Iterator[tuple[str, np.ndarray]]:
    """Yields `(name, samples)`: sines and organ tones, alone and in chords, that go on; no fundamental near 440 Hz."""
    rng = np.random.default_rng(6)
    time_s = np.arange(round(_TONE_S * RATE_HZ)) / RATE_HZ
    for number in range(_TONES):
        samples = np.zeros(len(time_s))
        for frequency_hz in np.exp(rng.uniform(np.log(90), np.log(3_000), int(rng.integers(1, 4)))):
            if abs(np.log2(frequency_hz / 440)) < 1 / 12:
                frequency_hz *= 1.2  # audio.py asks whether a tone of 440 Hz is left alone
            harmonics = 1 + np.arange(int(rng.choice([1, 1, 3, 8])))
            harmonics = harmonics[harmonics * frequency_hz < 0.45 * RATE_HZ]
            phases = 2 * np.pi * (np.outer(harmonics * frequency_hz, time_s) + rng.random((len(harmonics), 1)))
            samples += rng.uniform(0.3, 1) * (np.sin(phases) / harmonics[:, None]).sum(0)
        yield f"{number:03d}", samples / np.abs(samples).max() * rng.uniform(0.2, 0.9)


def utterances(sets: Path, split: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yields `(name, samples)`: digits of one speaker, a dozen in a row with pauses between them."""
    rng = np.random.default_rng(3)
    files: dict[str, list[Path]] = {}
    for path in sorted((sets / "fsdd" / "recordings").glob("*.wav")):
        files.setdefault(path.stem.split("_")[1], []).append(path)
    for speaker in sorted(files):
        if (speaker in TEST_SPEAKERS) != (split == "test"):
            continue
        order = rng.permutation(len(files[speaker]))
        for number in range(len(order) // 12 if split == "train" else 8):
            parts = []
            for index in order[12 * number : 12 * number + 12]:
                spoken = read_mono(files[speaker][index], RATE_HZ)
                parts += [spoken / max(1e-9, float(np.abs(spoken).max())) * 0.5]
                parts += [np.zeros(round(rng.uniform(0.05, 0.35) * RATE_HZ), np.float32)]
            yield f"{speaker}-{number:02d}", np.concatenate(parts)


def _drums(path: Path) -> pretty_midi.Instrument:
    midi = pretty_midi.PrettyMIDI(str(path))
    drums = pretty_midi.Instrument(0, is_drum=True)
    drums.notes = [note for part in midi.instruments for note in part.notes if note.start < max(_PIECE_S.values())]
    return drums


@click.command(help=__doc__)
@click.option("--sets", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of unpacked sets.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the sounds.")
def main(sets: Path, out: Path) -> None:
    for kind, make in (("music", pieces), ("digits", utterances)):
        for split in ("train", "test"):
            folder = out / f"{kind}_{split}"
            folder.mkdir(parents=True, exist_ok=True)
            length_s = 0.0
            for number, (name, samples) in enumerate(make(sets, split)):
                places = [folder]
                if folder.name == "music_train" and number % 3 == 0:
                    places.append(out / "music_third")  # as much as there is speech
                for place in places:
                    place.mkdir(exist_ok=True)
                    soundfile.write(place / f"{name}.flac", samples, RATE_HZ, subtype="PCM_16")
                length_s += len(samples) / RATE_HZ
            click.echo(f"{folder}: {length_s / 60:.1f} min")
    for kind, sounds in (("notes", single_notes()), ("tones", steady_tones())):
        folder = out / f"{kind}_train"
        folder.mkdir(exist_ok=True)
        for name, samples in sounds:
            soundfile.write(folder / f"{name}.flac", samples, RATE_HZ, subtype="PCM_16")
    for split, families in NOISE.items():
        folder = out / f"noise_{split}"
        folder.mkdir(exist_ok=True)
        for family in families:
            for path in sorted((sets / "noise_esc10" / family).glob("*.ogg")):
                samples = read_mono(path, 44_100)
                soundfile.write(folder / f"{family}-{path.stem}.flac", samples, 44_100, subtype="PCM_16")


if __name__ == "__main__":
    main()
