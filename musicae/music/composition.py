"""New pieces from decoded windows, as nothing but a tempo, instruments and a title is known of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from torch import Tensor

from musicae.music.config import MusicConfig, TimeSignature
from musicae.music.expression import OFFSETS
from musicae.music.midi import TICKS_PER_QUARTER, VELOCITY, NewTrack, Notes
from musicae.music.piece import Piece
from musicae.music.quantize import to_ticks
from musicae.music.score import DEFAULT_TEMPO_BPM, STEPS_PER_QUARTER

_TICKS_PER_STEP = TICKS_PER_QUARTER // STEPS_PER_QUARTER


@dataclass(frozen=True)
class MusicFrame:
    """What is kept of a piece, to make something like it.

    Attributes:
        tempo_bpm: quarters per minute where the window starts.
        programs: General MIDI program of each instrument, 0 to 127; what is left out is the instrument's own.
        track_names: of each instrument; may be empty.
        velocities: of each instrument the median of the window's notes; what is left out is 90.
        time_signature: of the window's bars, numerator and denominator; None: the model's.
        title: the tune's, or the file's name.
        first_bar: 1-based bar where the window starts.
        tempi_bpm: of each of several windows in a row, in place of one tempo; the last one goes on.
    """

    tempo_bpm: float = DEFAULT_TEMPO_BPM
    programs: tuple[int, ...] = ()
    track_names: tuple[str, ...] = ()
    velocities: tuple[int, ...] = ()
    time_signature: tuple[int, int] | None = None
    title: str = ""
    first_bar: int = 1
    tempi_bpm: tuple[float, ...] = ()


def median_velocity(item: Piece, tracks: Sequence[int], start: int, end: int) -> int:
    """Of the notes of some tracks that begin in a span, or of all where none does."""
    columns = [item.notes(track) for track in tracks]
    starts = np.concatenate([notes.start for notes in columns])
    velocities = np.concatenate([notes.velocity for notes in columns])
    inside = (starts >= start) & (starts < end)
    return int(np.median(velocities[inside] if inside.any() else velocities)) if len(velocities) else VELOCITY


def runs(config: MusicConfig, tensor: Tensor) -> Iterator[tuple[TimeSignature, np.ndarray]]:
    """Windows in a row that are in one time signature, `(windows, steps, columns)`, run after run."""
    vocabulary = [stream.vocabulary for stream in config.plan.streams]
    numbers = config.slots.numbers(tensor, vocabulary)
    starts = [0, *((numbers[1:] != numbers[:-1]).nonzero()[:, 0] + 1).tolist(), len(tensor)]
    for start, stop in pairwise(starts):
        for group in config.slots.groups(tensor[start:stop], vocabulary):
            yield config.signatures[group.number], group.tokens.numpy()


def compose_piece(config: MusicConfig, tensor: Tensor, frame: MusicFrame) -> Piece:
    """Windows in a row as a piece that ends where they do, silence included.

    Args:
        config: of the model.
        tensor: int64 `(windows, steps, columns)`, on the CPU.
        frame: tempo, instruments and title. Without velocities of the model's own, all notes have the frame's.
    """
    from musicae.music.render import LONGEST_PREVIEW_S, in_minutes

    owners = config.plan.instrument_of
    notes: list[list[Notes]] = [[] for _ in config.plan.instruments]
    signatures: list[tuple[int, int, int]] = []
    tempi: list[tuple[int, float]] = []
    asked = frame.tempi_bpm or (frame.tempo_bpm,)
    end = count = 0
    lasts_s = 0.0
    for signature, windows in runs(config, tensor):
        written = frame.time_signature
        if written is None or written not in signature.reads:
            written = (signature.numerator, signature.denominator)
        if not signatures or signatures[-1][1:] != written:
            signatures.append((end, *written))
        for index, found in enumerate(_notes(config, windows, frame)):
            notes[owners[index]].append(found._replace(start=found.start + end, end=found.end + end))
        for _ in range(windows.shape[0]):
            tempo = asked[min(count, len(asked) - 1)]
            if not tempi or tempi[-1][1] != tempo:
                tempi.append((end, tempo))
            end += windows.shape[1] * _TICKS_PER_STEP
            lasts_s += windows.shape[1] / STEPS_PER_QUARTER * 60 / tempo
            count += 1
    tracks = [
        NewTrack(
            frame.track_names[index] if index < len(frame.track_names) else instrument.name.title(),
            frame.programs[index] if index < len(frame.programs) else instrument.program,
            instrument.is_drums,
            Notes(*(np.concatenate(columns) for columns in zip(*notes[index], strict=True))),
        )
        for index, instrument in enumerate(config.plan.instruments)
        if notes[index]
    ]
    remarks = [] if any(len(track.notes.start) for track in tracks) else ["silent: no note anywhere"]
    if lasts_s > LONGEST_PREVIEW_S:
        remarks.append(
            f"lasts {in_minutes(lasts_s)}; the sound beside it is of the first {in_minutes(LONGEST_PREVIEW_S)}"
        )
    return Piece.new(
        tracks,
        tempi=tempi or ((0, frame.tempo_bpm),),
        time_signatures=signatures,
        end=end,
        name="music",
        title=frame.title,
        remarks=remarks,
    )


def _notes(config: MusicConfig, windows: np.ndarray, frame: MusicFrame) -> Iterator[Notes]:
    """The notes of each stream, in ticks from the first window's start."""
    first_value = len(config.plan.streams)
    for index, stream in enumerate(config.plan.streams):
        tokens = windows[..., index].astype(stream.dtype)
        line = stream.joined(tokens) if tokens.size else tokens.reshape(-1)
        onset, end, pitch = stream.notes(line)
        start, stop = to_ticks(onset, TICKS_PER_QUARTER), to_ticks(end, TICKS_PER_QUARTER)
        owner = config.plan.instrument_of[index]
        velocity = np.full(len(onset), frame.velocities[owner] if owner < len(frame.velocities) else VELOCITY)
        if config.expression:
            columns = 2 * stream.places
            values = windows[..., first_value : first_value + columns].reshape(-1, columns)
            first_value += columns
            velocity, offset = stream.played(line, values)
            start, stop = played_ticks(start, stop, onset, end, offset, is_drums=stream.is_drums)
        yield Notes(start, stop, pitch, velocity)


def played_ticks(
    start: np.ndarray,
    stop: np.ndarray,
    onset: np.ndarray,
    end: np.ndarray,
    offset: np.ndarray,
    *,
    is_drums: bool,
    step_ticks: float = _TICKS_PER_STEP,
) -> tuple[np.ndarray, np.ndarray]:
    """Moves notes from the grid to where they are played. A note that the next one ends is ended where that begins.

    Args:
        start, stop: in ticks, on the grid.
        onset, end: in steps.
        offset: in 120ths of a step.
        is_drums: whether hits keep their length.
        step_ticks: ticks of a step.

    Returns:
        Start and end in ticks, int64.
    """
    late = np.floor(offset * (step_ticks / OFFSETS) + 0.5).astype(np.int64)
    moved = np.maximum(start + late, 0)
    if is_drums:
        return moved, moved + (stop - start)
    ends = stop.copy()
    meets = np.flatnonzero(end[:-1] == onset[1:])
    ends[meets] = moved[meets + 1]
    return moved, np.maximum(ends, moved + 1)
