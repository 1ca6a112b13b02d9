"""Makes the sounds that denoisers are trained and measured on: rendered tunes, spoken digits, notes, tones, noise.

    python experiments/audio_sets.py --sets FOLDER --out FOLDER/sound [--font FluidR3_GM.sf2]

The font is in Debian's package fluid-soundfont-gm (MIT, Frank Wen); a second set of instruments is played with it. What
is measured on was never trained on: tunes, instruments, speakers and families of noise are split into `train` and
`test` by name, see the tables below. Everything is seeded; the same sets give the same sounds.
"""

import copy
import csv
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import click
import numpy as np
import pretty_midi
import soundfile
from instruments import pitch_of
from sounds import read_mono, resampled

from musicae.music.chords import NO_CHORD, chord_line, chord_pitches
from musicae.music.piece import Piece
from musicae.music.score import read_scores

RATE_HZ = 48_000
TUNES = ("openewld", "ryans_mammoth", "oneills1850")
TEST_INSTRUMENTS = (
    "shanai", "electric_piano", "pizzicato_strings", "tremolo_strings", "electric_piano44k", "cello44k", "alto_sax44k",
)  # fmt: skip
TEST_SPEAKERS = ("theo", "yweweler")
_TEST_INSTRUMENT_PROGRAMS = (4, 5, 42, 44, 45, 65, 111)
"""Their numbers in General MIDI: the second font sounds much like the recordings."""
NOISE = {"train": ("002-Rain", "003-Sea_waves", "008-Chainsaw"), "test": ("007-Helicopter", "010-Fire_crackling")}
"""Families of recorded noise."""
_PIECES = {"train": 400, "test": 24}
_PIECE_S = {"train": 20.0, "test": 8.0}
_TONES, _MOVING_TONES, _TONE_S, _NOTE_S = 300, 300, 8.2, 3.0
_DRUM_SHARE = 0.4
_FONT_PIECES = 400


# How tunes become sound

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
    samples: np.ndarray = Piece.open(midi).render(sample_rate_hz=RATE_HZ).samples
    return samples


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
        return resampled(samples.mean(1), rate_hz, RATE_HZ)

    return render


class Sampler:
    """Plays recorded single notes of one instrument, the nearest one resampled to the pitch wanted."""

    def __init__(self, pitches: dict[Path, float]) -> None:
        self._notes = {pitch: read_mono(path, RATE_HZ) for path, pitch in pitches.items()}

    def note(self, pitch: int, duration_s: float) -> np.ndarray:
        """`(samples,)`; the pitch is moved by octaves to where recordings are."""
        known = np.array(sorted(self._notes))
        while pitch < known[0] - 6:
            pitch += 12
        while pitch > known[-1] + 6:
            pitch -= 12
        nearest = float(known[np.abs(known - pitch).argmin()])
        ratio = 2 ** ((pitch - nearest) / 12)
        samples = resampled(self._notes[nearest], round(RATE_HZ * ratio), RATE_HZ)
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


def instruments(sets: Path) -> dict[str, Sampler]:
    """The instruments of notes16k and instruments44k, by name."""
    pitches: dict[str, dict[Path, float]] = {}
    with (sets / "notes16k" / "notes.csv").open() as file:
        for row in csv.DictReader(file):
            path = sets / "notes16k" / row["instrument"] / Path(row["file"]).name
            if path.is_file():
                pitches.setdefault(row["instrument"], {})[path] = float(row["midi_pitch"])
    for path in sorted((sets / "instruments44k").glob("*/*.ogg")):
        if (pitch := pitch_of(path)) is not None:
            pitches.setdefault(f"{path.parent.name}44k", {})[path] = pitch
    return {name: Sampler(pitches[name]) for name in sorted(pitches)}


# The sets


def is_test(name: str, one_in: int) -> bool:
    """Whether a name belongs to the test part, one in so many by a hash."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % one_in == 0


def program_split(program: int) -> str:
    """One General MIDI program in eight is for the test."""
    return "test" if program % 8 == 3 else "train"


def font_programs() -> list[int]:
    """What the second font plays for training."""
    programs = [number for number in range(112) if program_split(number) == "train"]
    return [number for number in programs if number not in _TEST_INSTRUMENT_PROGRAMS]


def midi_files(sets: Path, split: str, *names: str) -> list[Path]:
    """A split's files of some sets."""
    found = [path for name in names for path in sorted((sets / name).rglob("*.mid"))]
    return [path for path in found if is_test(path.name, 10) == (split == "test")]


def pieces(sets: Path, split: str) -> Iterator[tuple[str, np.ndarray]]:
    """Yields `(name, samples)` of a split's music, every second one by recorded notes."""
    rng = np.random.default_rng({"train": 1, "test": 2}[split])
    tunes, grooves = midi_files(sets, split, *TUNES), midi_files(sets, split, "groove")
    samplers = instruments(sets)
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
            samples = rendered(arranged(events, chosen.tolist(), drums))
            label = "programs-" + "-".join(map(str, chosen))
        samples = samples[: round(_PIECE_S[split] * RATE_HZ)]
        yield f"{number:03d}-{label}", samples / max(1e-9, float(np.abs(samples).max())) * rng.uniform(0.2, 0.9)


def font_pieces(sets: Path, font: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields `(name, samples)`: music for training from another font, the test instruments left out.

    Tunes that `pieces` takes may be among them, those that training keeps for validation too.
    """
    rng, render = np.random.default_rng(7), rendered_with(font.read_bytes())
    tunes, grooves = midi_files(sets, "train", *TUNES), midi_files(sets, "train", "groove")
    for number, index in enumerate(rng.permutation(len(tunes))[:_FONT_PIECES]):
        events = voiced(tunes[index], rng, _PIECE_S["train"])
        if not events:
            continue
        drums = _drums(grooves[int(rng.integers(len(grooves)))]) if rng.random() < _DRUM_SHARE else None
        chosen = rng.choice(font_programs(), 3, replace=False).tolist()
        samples = render(arranged(events, chosen, drums))[: round(_PIECE_S["train"] * RATE_HZ)]
        loudest = max(1e-9, float(np.abs(samples).max()))
        yield f"{number:03d}-" + "-".join(map(str, chosen)), samples / loudest * rng.uniform(0.2, 0.9)


def single_notes() -> Iterator[tuple[str, np.ndarray]]:
    """Yields `(name, samples)`: notes of the training programs, a fourth apart, as well as recorded ones."""
    rng = np.random.default_rng(4)
    for program in range(0, 112, 2):
        if program_split(program) == "test":
            continue
        for pitch in range(36 + int(rng.integers(5)), 88, 5):
            event = Event(0, 0.0, rng.uniform(0.8, 2.0), pitch, int(rng.integers(60, 120)))
            yield f"{program:03d}-{pitch}", rendered(arranged([event], [program], None))[: round(2.5 * RATE_HZ)]


def font_notes(font: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yields `(name, samples)`: notes of another font, every third semitone, soft and loud."""
    rng, render = np.random.default_rng(10), rendered_with(font.read_bytes())
    for program in font_programs():
        for pitch in range(28 + int(rng.integers(3)), 97, 3):
            event = Event(0, 0.0, rng.uniform(0.5, 2.5), pitch, int(rng.integers(25, 125)))
            samples = render(arranged([event], [program], None))[: round(_NOTE_S * RATE_HZ)]
            if np.abs(samples).max(initial=0.0) > 1e-3:
                yield f"{program:03d}-{pitch}-{event.velocity}", samples


def steady_tones() -> Iterator[tuple[str, np.ndarray]]:
    """Yields `(name, samples)`: steady sines and organ tones, alone and in chords; no partial near 440 Hz."""
    rng = np.random.default_rng(6)
    time_s = np.arange(round(_TONE_S * RATE_HZ)) / RATE_HZ
    for number in range(_TONES):
        samples = np.zeros(len(time_s))
        for frequency_hz in np.exp(rng.uniform(np.log(90), np.log(8_000), int(rng.integers(1, 4)))):
            harmonics = 1 + np.arange(int(rng.choice([1, 1, 3, 8])))
            # So that it can be measured whether a tone of 440 Hz stays.
            if len(harmonics) == 1 and _near_440_hz(frequency_hz):
                frequency_hz *= 1.2
            partials_hz = harmonics * frequency_hz
            harmonics = harmonics[(partials_hz < 0.45 * RATE_HZ) & ~_near_440_hz(partials_hz)]
            phases = 2 * np.pi * (np.outer(harmonics * frequency_hz, time_s) + rng.random((len(harmonics), 1)))
            samples += rng.uniform(0.3, 1) * (np.sin(phases) / harmonics[:, None]).sum(0)
        yield f"{number:03d}", samples / np.abs(samples).max() * rng.uniform(0.2, 0.9)


def _near_440_hz(frequency_hz: np.ndarray | float) -> np.ndarray:
    """Whether it lies within a semitone."""
    return np.abs(np.log2(np.asarray(frequency_hz) / 440)) < 1 / 12


def moving_tones() -> Iterator[tuple[str, np.ndarray]]:
    """Yields `(name, samples)`: whistles, howls, sirens, bells and synthesizers, which are no noise."""
    rng = np.random.default_rng(9)
    for number in range(_MOVING_TONES):
        kind = tuple(MOVING)[number % len(MOVING)]
        samples = MOVING[kind](rng)
        yield f"{number:03d}-{kind}", samples / np.abs(samples).max() * rng.uniform(0.2, 0.9)


def _contour(rng: np.random.Generator, points: int, low: float, high: float) -> np.ndarray:
    """A smooth line through random values, `(samples,)`."""
    from scipy.interpolate import PchipInterpolator

    places = np.sort(np.concatenate(([0.0, _TONE_S], rng.uniform(0, _TONE_S, points))))
    return PchipInterpolator(places, rng.uniform(low, high, len(places)))(np.arange(round(_TONE_S * RATE_HZ)) / RATE_HZ)


def _glide(rng: np.random.Generator, octaves: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """Harmonics of a frequency that moves, `(samples,)`; `octaves` above 55 Hz."""
    frequency_hz = 55 * 2**octaves
    cycles = np.cumsum(frequency_hz) / RATE_HZ
    parts = [
        strength * np.sin(2 * np.pi * (number * cycles + rng.random())) * (number * frequency_hz < 0.45 * RATE_HZ)
        for number, strength in enumerate(strengths, start=1)
    ]
    total: np.ndarray = np.sum(parts, axis=0)
    return total


def _whistle(rng: np.random.Generator) -> np.ndarray:
    place = rng.uniform(3.5, 6.0)
    vibrato = rng.uniform(0, 0.04) * np.sin(
        2 * np.pi * rng.uniform(4, 7) * np.arange(round(_TONE_S * RATE_HZ)) / RATE_HZ
    )
    tone = _glide(
        rng, _contour(rng, int(rng.integers(2, 14)), place, place + 1) + vibrato, np.array([1.0, rng.uniform(0, 0.1)])
    )
    return tone * 10 ** (_contour(rng, 12, -25, 0) / 20)


def _howl(rng: np.random.Generator) -> np.ndarray:
    place, count = rng.uniform(2.0, 3.5), int(rng.integers(4, 20))
    strengths = np.exp(-np.arange(count) * rng.uniform(0.2, 1.0)) * rng.uniform(0.3, 1, count)
    tone = _glide(rng, _contour(rng, int(rng.integers(1, 5)), place, place + 1.2), strengths)
    return tone * 10 ** (_contour(rng, 6, -30, 0) / 20)


def _siren(rng: np.random.Generator) -> np.ndarray:
    time_s = np.arange(round(_TONE_S * RATE_HZ)) / RATE_HZ
    wave = np.sin(2 * np.pi * rng.uniform(0.1, 4) * time_s + rng.uniform(0, 6))
    wave = np.sign(wave) if rng.random() < 0.4 else wave
    return _glide(rng, rng.uniform(2.8, 4.5) + rng.uniform(0.1, 0.7) * wave, rng.uniform(0.5, 1) ** np.arange(6))


def _bells(rng: np.random.Generator) -> np.ndarray:
    time_s = np.arange(round(_TONE_S * RATE_HZ)) / RATE_HZ
    total = np.zeros(len(time_s))
    for start in np.sort(rng.uniform(0, _TONE_S - 0.5, int(rng.integers(2, 20)))):
        since_s = time_s - start
        for _ in range(int(rng.integers(3, 9))):
            frequency_hz = np.exp(rng.uniform(np.log(200), np.log(9_000)))
            fall = np.exp(-since_s.clip(0) * rng.uniform(0.7, 8)) * (since_s >= 0)
            total += rng.uniform(0.1, 1) * fall * np.sin(2 * np.pi * frequency_hz * since_s)
    return total


def _synthesizer(rng: np.random.Generator) -> np.ndarray:
    """Saws, squares and pulses in chords or runs, through a filter that opens and closes."""
    import scipy.signal

    step_s = rng.choice([0.12, 0.25, 0.5, 2.0])
    size = round(step_s * RATE_HZ)
    pitches = rng.integers(36, 90, int(rng.integers(1, 6)))
    total = np.zeros(round(_TONE_S * RATE_HZ))
    kind = int(rng.integers(3))
    time_s = np.arange(size) / RATE_HZ
    for number, start in enumerate(range(0, len(total) - size, size)):
        frequency_hz = 440 * 2 ** ((pitches[number % len(pitches)] - 69) / 12)
        count = min(60, int(0.45 * RATE_HZ / frequency_hz))
        strengths = 1 / np.arange(1, count + 1) if kind else np.ones(count) / 4
        if kind == 2:
            strengths[1::2] = 0
        phases = 2 * np.pi * np.outer(np.arange(1, count + 1) * frequency_hz, time_s)
        envelope = np.minimum(1, time_s / 0.004) * np.minimum(1, (step_s - time_s) / 0.02)
        total[start : start + size] += envelope * (strengths @ np.sin(phases))
    sos = scipy.signal.butter(
        2, min(0.45 * RATE_HZ, np.exp(rng.uniform(np.log(600), np.log(20_000)))), fs=RATE_HZ, output="sos"
    )
    filtered: np.ndarray = scipy.signal.sosfilt(sos, total)
    return filtered


MOVING: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "whistle": _whistle, "howl": _howl, "siren": _siren, "bells": _bells, "synthesizer": _synthesizer,
}  # fmt: skip


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
@click.option("--font", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A second sound font.")
def main(sets: Path, out: Path, font: Path | None) -> None:
    for name, make in (("music", pieces), ("digits", utterances)):
        for split in ("train", "test"):
            folder = out / f"{name}_{split}"
            folder.mkdir(parents=True, exist_ok=True)
            length_s = 0.0
            for number, (stem, samples) in enumerate(make(sets, split)):
                places = [folder]
                if folder.name == "music_train" and number % 3 == 0:
                    places.append(out / "music_third")  # as much as there is speech
                for place in places:
                    place.mkdir(exist_ok=True)
                    soundfile.write(place / f"{stem}.flac", samples, RATE_HZ, subtype="PCM_16")
                length_s += len(samples) / RATE_HZ
            click.echo(f"{folder}: {length_s / 60:.1f} min")
    made = {"notes_train": single_notes(), "tones_train": steady_tones(), "moving_train": moving_tones()}
    if font is not None:
        made |= {"font_music": font_pieces(sets, font), "font_notes": font_notes(font)}
    for name, sounds in made.items():
        folder = out / name
        folder.mkdir(exist_ok=True)
        for stem, samples in sounds:
            soundfile.write(folder / f"{stem}.flac", samples, RATE_HZ, subtype="PCM_16")
    for split, families in NOISE.items():
        folder = out / f"noise_{split}"
        folder.mkdir(exist_ok=True)
        for family in families:
            for path in sorted((sets / "noise_esc10" / family).glob("*.ogg")):
                samples = read_mono(path, 44_100)
                soundfile.write(folder / f"{family}-{path.stem}.flac", samples, 44_100, subtype="PCM_16")


if __name__ == "__main__":
    main()
