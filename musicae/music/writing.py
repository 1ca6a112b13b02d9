"""Tokens to MIDI files, by way of `PrettyMIDI`.

A file starts at tick 0 in its metre and ends where the music does, silence included: a time signature
that repeats the last one stands at the end, which players ignore and `musicae.music.grid` and other
readers take as the length. Files are written under a temporary name and renamed, so a failure leaves
nothing behind.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pretty_midi

from musicae.atomic_io import written_whole
from musicae.errors import MusicaeError
from musicae.music.checking import MICROSECONDS_PER_MINUTE
from musicae.music.grid import STEPS_PER_QUARTER
from musicae.music.parts import Part

TICKS_PER_QUARTER = 480
TICKS_PER_STEP = TICKS_PER_QUARTER // STEPS_PER_QUARTER
VELOCITY = 90
DEFAULT_TEMPO_BPM = 120.0
SLOWEST_BPM = MICROSECONDS_PER_MINUTE / (2**24 - 1)  # three bytes of microseconds
FASTEST_BPM = 1_000.0


@dataclass(frozen=True)
class Timeline:
    """Where a written piece ends, and its tempi and metres.

    Attributes:
        end: in ticks of `TICKS_PER_QUARTER`.
        tempi: `(tick, quarters per minute)`, rising; at least one, at tick 0.
        metres: `(tick, numerator, denominator)`, rising; at least one, at tick 0.
    """

    end: int
    tempi: Sequence[tuple[int, float]] = ((0, DEFAULT_TEMPO_BPM),)
    metres: Sequence[tuple[int, int, int]] = field(default=((0, 4, 4),))


@dataclass(frozen=True)
class Voice:
    """An instrument of a written file.

    Attributes:
        onset, end: `(notes,)` ticks.
        pitch: `(notes,)` 0 to 127.
        program: General MIDI program, 0 to 127.
        name: of the track; what Latin-1 lacks becomes "?".
        is_drums: written on channel 10.
    """

    onset: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    program: int = 0
    name: str = ""
    is_drums: bool = False


def part_voices(
    part: Part, tokens: np.ndarray, programs: Sequence[int] = (), names: Sequence[str] = ()
) -> tuple[Voice, ...]:
    """Windows in a row as voices, one for each stream.

    Args:
        part: whose tokens they are.
        tokens: `(windows, steps, streams)`; any tokens of the part's vocabulary.
        programs, names: of each stream; what is left out is the stream's own.

    Raises:
        ValueError: a token that does not exist.
    """
    voices = []
    for index, stream in enumerate(part.streams):
        windows = tokens[..., index]
        if windows.size and not (windows.min() >= 0 and windows.max() < stream.vocabulary):
            raise ValueError(
                f"expected {stream.name} tokens 0 to {stream.vocabulary - 1}, got {windows.min()} to {windows.max()}"
            )
        line = stream.joined(windows) if windows.size else windows.reshape(-1)
        onset, end, pitch = stream.notes(line)
        program = programs[index] if index < len(programs) else stream.program
        name = names[index] if index < len(names) else stream.name.title()
        voices.append(Voice(*in_ticks(onset, end), pitch, program, name, stream.is_drums))
    return tuple(voices)


def in_ticks(onset: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps to ticks of a written file."""
    return onset * TICKS_PER_STEP, (end * TICKS_PER_STEP).astype(np.int64)


def voices_midi(voices: Sequence[Voice], timeline: Timeline) -> pretty_midi.PrettyMIDI:
    """Writes voices as a `PrettyMIDI`.

    Raises:
        ValueError: a program or tempo that does not exist.
    """
    ticks = np.array([tick for tick, _ in timeline.tempi], dtype=np.int64)
    tick_s = np.array([_tick_seconds(tempo_bpm) for _, tempo_bpm in timeline.tempi])
    midi = pretty_midi.PrettyMIDI(resolution=TICKS_PER_QUARTER, initial_tempo=60 / (tick_s[0] * TICKS_PER_QUARTER))
    if len(ticks) > 1:
        # The only way to give a PrettyMIDI several tempi; its reader does the same.
        midi._tick_scales = list(zip(ticks.tolist(), tick_s.tolist(), strict=True))
        midi._update_tick_to_time(int(timeline.end) + 1)
    start_s = np.concatenate(([0.0], np.cumsum(np.diff(ticks) * tick_s[:-1])))

    def seconds(at: np.ndarray) -> np.ndarray:
        index = np.searchsorted(ticks, at, side="right") - 1
        return start_s[index] + (at - ticks[index]) * tick_s[index]

    for voice in voices:
        if not 0 <= voice.program <= 127:
            raise ValueError(f"expected a program 0 to 127, got {voice.program}")
        instrument = pretty_midi.Instrument(voice.program, is_drum=voice.is_drums, name=_latin1(voice.name))
        columns = (np.asarray(voice.pitch), seconds(voice.onset), seconds(voice.end))
        instrument.notes = [
            pretty_midi.Note(VELOCITY, *note) for note in zip(*(column.tolist() for column in columns), strict=True)
        ]
        midi.instruments.append(instrument)
    metres = [*timeline.metres]
    if timeline.end > metres[-1][0]:
        metres.append((timeline.end, *metres[-1][1:]))
    at_s = seconds(np.array([tick for tick, _, _ in metres], dtype=np.int64)).tolist()
    midi.time_signature_changes = [
        pretty_midi.TimeSignature(numerator, denominator, second)
        for (_, numerator, denominator), second in zip(metres, at_s, strict=True)
    ]
    return midi


def rescale(tick: int, quarter: int) -> int:
    """Ticks of a file with `quarter` ticks per quarter → ticks of a written one, half up."""
    return (2 * tick * TICKS_PER_QUARTER + quarter) // (2 * quarter)


def _tick_seconds(tempo_bpm: float) -> float:
    """Seconds of a tick at the nearest tempo that a MIDI file can hold.

    The small excess outlives pretty_midi's truncation to whole microseconds.
    """
    if not (np.isfinite(tempo_bpm) and tempo_bpm > 0):
        raise ValueError(f"expected a tempo above 0 quarters per minute, got {tempo_bpm}")
    microseconds = round(MICROSECONDS_PER_MINUTE / min(max(tempo_bpm, SLOWEST_BPM), FASTEST_BPM))
    return (microseconds + 1e-3) / 1e6 / TICKS_PER_QUARTER


def _latin1(name: str) -> str:
    printable = "".join(letter for letter in name if letter.isprintable())
    return printable.encode("latin-1", "replace").decode("latin-1")


def write_midi(midi: pretty_midi.PrettyMIDI, path: Path) -> None:
    """Writes a file under a temporary name, then renames it.

    Raises:
        MusicaeError: a name of another kind of file, a folder that cannot be written to, or a full disk.
    """
    path = Path(path)
    if path.suffix.lower() not in (".mid", ".midi") and not path.is_dir():
        raise MusicaeError(f"can't write MIDI as {path.name!r}; choose a name ending in .mid.")
    with written_whole(path) as partial, partial.open("wb") as file:
        midi.write(file)
