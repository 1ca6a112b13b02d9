"""How tunes become sound for training and judging: a tune's voices, and what plays them."""

import copy
import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pretty_midi
import soundfile

from musicae.audio.files import read_mono, resample
from musicae.music.chords import NO_CHORD, chord_pitches
from musicae.music.harmony import chord_line
from musicae.music.reading import read_scores
from musicae.music.render import render_midi

RATE_HZ = 16_000
_TAIL_S, _FONT_TAIL_S = 0.4, 1.0


@dataclass(frozen=True)
class Event:
    """A note: which of a piece's voices plays it, when, and how."""

    voice: int
    start_s: float
    end_s: float
    pitch: int
    velocity: int


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


def arranged(
    events: Sequence[Event], programs: Sequence[int], drums: pretty_midi.Instrument | None
) -> pretty_midi.PrettyMIDI:
    """Each voice by a program of General MIDI."""
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
    return midi


def rendered(midi: pretty_midi.PrettyMIDI) -> np.ndarray:
    """Through pretty_midi's General MIDI sound font, `(samples,)`."""
    return render_midi(midi, sample_rate_hz=RATE_HZ)


def rendered_with(font: bytes) -> Callable[[pretty_midi.PrettyMIDI], np.ndarray]:
    """The same through another font."""
    from midirenderer import render_wave_from  # not on every system

    def render(midi: pretty_midi.PrettyMIDI) -> np.ndarray:
        # The renderer stops at the last event: a bend to where the pitch is already.
        midi = copy.deepcopy(midi)
        midi.instruments[0].pitch_bends.append(pretty_midi.PitchBend(0, midi.get_end_time() + _FONT_TAIL_S))
        data = BytesIO()
        midi.write(data)
        samples, rate_hz = soundfile.read(BytesIO(render_wave_from(font, data.getvalue())), dtype="float32")
        return resample(samples.mean(1), rate_hz, RATE_HZ)

    return render


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
