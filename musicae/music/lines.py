"""A score to lines of tokens, one for each stretch of one metre.

The notes of every stream are put on one grid, whose phase is estimated from all of them together.
This module doesn't know files or windows, and leaves out nothing silently.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from symusic.core import ScoreTick

from musicae.music.grid import STEPS_PER_QUARTER, Phase, Stretch, end_tick, find_phase, find_stretches, to_steps
from musicae.music.harmony import chord_line
from musicae.music.lazy_lines import Told
from musicae.music.notes import NoteTable, note_table
from musicae.music.parts import PARTS, Part
from musicae.music.time_signatures import METRES, Metre
from musicae.music.tracks import TrackChoice, summarise_tracks


class Notes(NamedTuple):
    """Notes of a stream: onset, end and pitch, int64 `(notes,)` each, onsets rising."""

    onset: np.ndarray
    end: np.ndarray
    pitch: np.ndarray


NO_NOTES = Notes(*(np.zeros(0, dtype=np.int64) for _ in range(3)))
MELODY = PARTS["melody"]
COMMON_TIME = METRES["4/4"]


@dataclass(frozen=True)
class Line:
    """A part in one stretch.

    Attributes:
        stretch: where it lies.
        streams: tokens `(steps,)` of each stream, canonical; whole bars where the model reads the metre.
        outside: onset steps of the first stream's notes that no token can say, int64.
        file_bars: how many of the file's bars make one of the model's metre; 0 where it reads another.
        steps_per_bar: of the model's metre.
        chords: class of the chord at each step, uint8 `(steps,)`; None where they were not asked for.
    """

    stretch: Stretch
    streams: tuple[np.ndarray, ...]
    outside: np.ndarray
    file_bars: int
    steps_per_bar: int
    chords: np.ndarray | None = None

    @property
    def steps_per_file_bar(self) -> int:
        """Steps of one bar of the file, where the model reads its metre."""
        return self.steps_per_bar // self.file_bars

    @property
    def steps(self) -> int:
        """Length of every stream."""
        return len(self.streams[0])


@dataclass(frozen=True)
class Piece:
    """A part of a piece of music.

    Attributes:
        part, metre: what was asked for.
        choice: the tracks, and why.
        names: of each stream's first track; may be empty.
        programs: General MIDI program of each stream's first track.
        lines: one for each stretch, in order; together the whole piece.
        end: the piece's end in ticks.
        phase: how far from the grid it lay.
        notes: of all tracks.
        with_chords: whether the chords were asked for.
    """

    part: Part
    metre: Metre
    choice: TrackChoice
    names: tuple[str, ...]
    programs: tuple[int, ...]
    lines: tuple[Line, ...]
    end: int
    phase: Phase
    notes: NoteTable
    with_chords: bool = False

    @property
    def columns(self) -> int:
        """Of a window: the streams, and the chords where they were asked for."""
        return len(self.part.streams) + self.with_chords

    @property
    def bars(self) -> int:
        """Number of bars of the piece, in all metres."""
        return sum(line.stretch.bars for line in self.lines)

    @property
    def told(self) -> Told:
        """For people: a line for each track, the grid, and notes left out."""
        return Told(self._tell)

    def _tell(self) -> Iterator[str]:
        yield from self.choice.parts
        if self.phase.onsets:
            yield str(self.phase)
        for stream, tracks in zip(self.part.streams, self.choice.tracks, strict=True):
            left_out = stream.left_out(_notes(self.notes, tracks).pitch)
            if left_out:
                yield left_out


def extract_piece(
    score: ScoreTick,
    part: Part = MELODY,
    metre: Metre = COMMON_TIME,
    wanted: int | str | None = None,
    *,
    chords: bool = False,
    notes: NoteTable | None = None,
) -> Piece:
    """Chooses a part's tracks and puts them on the grid.

    Args:
        score: a checked score.
        part: in `PARTS`.
        metre: in `METRES`.
        wanted: the user's track, by index or name.
        chords: whether to find the chord of every step.
        notes: the score's; None: they are copied out of it.

    Raises:
        MusicaeError: that track is not there, or is of the wrong kind.
    """
    table = note_table(score) if notes is None else notes
    summaries = summarise_tracks(score, table)
    choice = part.choose(summaries, wanted)
    if choice.advice and not _in_common_time(score, table):
        choice = replace(choice, advice="")  # the shipped models that it names read 4/4
    played = [_notes(table, tracks) for tracks in choice.tracks]
    quarter = score.tpq
    stretches = _stretches(score, part, played)
    onsets = played[0].onset if len(played) == 1 else np.concatenate([notes.onset for notes in played])
    phase = find_phase(_since_stretch(onsets, stretches), quarter)
    if phase.shift:
        played = [Notes(notes.onset - phase.shift, notes.end - phase.shift, notes.pitch) for notes in played]
        stretches = _stretches(score, part, played)
    lines = tuple(_line(stretch, played, part, metre, quarter, stretch is stretches[-1]) for stretch in stretches)
    if chords:
        lines = _with_chords(lines, score, choice.track, phase.shift)
    firsts = [summaries[tracks[0]] if tracks else None for tracks in choice.tracks]
    return Piece(
        part,
        metre,
        choice,
        tuple(track.name if track else "" for track in firsts),
        tuple(track.program if track else stream.program for track, stream in zip(firsts, part.streams, strict=True)),
        lines,
        stretches[-1].end if stretches else 0,
        phase,
        table,
        chords,
    )


def _in_common_time(score: ScoreTick, table: NoteTable) -> bool:
    """Whether any stretch of a score with notes is read as 4/4."""
    stretches = find_stretches(score, end_tick(score, int(table.end.max()) + 1))
    return any((stretch.numerator, stretch.denominator) in COMMON_TIME.file_bars for stretch in stretches)


def _notes(table: NoteTable, tracks: tuple[int, ...]) -> Notes:
    """The notes of some tracks together."""
    if not tracks:
        return NO_NOTES
    onset, end, pitch = (
        table.of_track(tracks[0])
        if len(tracks) == 1
        else (np.concatenate(column) for column in zip(*map(table.of_track, tracks), strict=True))
    )
    if (onset[1:] >= onset[:-1]).all():
        return Notes(onset, end, pitch)
    order = np.argsort(onset, kind="stable")
    return Notes(onset[order], end[order], pitch[order])


def _stretches(score: ScoreTick, part: Part, played: list[Notes]) -> list[Stretch]:
    """The stretches up to the end of the part.

    A note that ends a hair past a bar line opens no bar; one that starts a hair before it does. A hit has no end.
    """
    half_step = score.tpq // (2 * STEPS_PER_QUARTER)
    last = 0
    for stream, notes in zip(part.streams, played, strict=True):
        if len(notes.onset):
            last = max(last, int(notes.onset[-1]) + half_step + 1)
            if not stream.is_drums:
                last = max(last, int(notes.end.max()) - half_step)
    return find_stretches(score, end_tick(score, last))


def _since_stretch(ticks: np.ndarray, stretches: list[Stretch]) -> np.ndarray:
    """Ticks counted from the start of their stretch, where its grid begins."""
    if all(stretch.start == 0 for stretch in stretches):
        return ticks
    starts = np.array([0, *(stretch.start for stretch in stretches)], dtype=np.int64)
    return ticks - starts[np.searchsorted(starts, ticks, side="right") - 1]


def _line(stretch: Stretch, played: list[Notes], part: Part, metre: Metre, quarter: int, is_last: bool) -> Line:
    file_bars = metre.file_bars.get((stretch.numerator, stretch.denominator), 0)
    length = max(1, to_steps(stretch.end - stretch.start, quarter))
    steps = -(-stretch.bars // file_bars) * metre.steps_per_bar if file_bars else length
    # Rounding carries an onset just before a change of metre over it; half a step decides where it belongs.
    reach = steps if is_last else min(steps, length)
    spoken = [
        stream.tokens(*_on_grid(notes, stretch, quarter, reach), steps)
        for stream, notes in zip(part.streams, played, strict=True)
    ]
    return Line(stretch, tuple(tokens for tokens, _ in spoken), spoken[0][1], file_bars, metre.steps_per_bar)


def _with_chords(lines: tuple[Line, ...], score: ScoreTick, melody: int | None, shift: int) -> tuple[Line, ...]:
    """The chord in the middle of each step, so that one that changes a hair late counts from its step on."""
    harmony = chord_line(score, melody)
    found = []
    for line in lines:
        middle = (2 * np.arange(line.steps, dtype=np.int64) + 1) * score.tpq // (2 * STEPS_PER_QUARTER)
        found.append(replace(line, chords=harmony.classes_at(line.stretch.start + shift + middle)))
    return tuple(found)


def _on_grid(notes: Notes, stretch: Stretch, quarter: int, reach: int) -> Notes:
    """The notes of a stretch in steps from its start, inside `[0, reach)`."""
    onset, stop, pitch = notes
    margin = quarter // STEPS_PER_QUARTER + 1
    low, high = onset.searchsorted((stretch.start - margin, stretch.end + margin))
    onset, stop, pitch = onset[low:high], stop[low:high], pitch[low:high]
    first_step = to_steps(onset - stretch.start, quarter)
    if stretch.start == 0:
        first_step = np.maximum(first_step, 0)  # where the grid was shifted back, the first note may lie before it
    low, high = first_step.searchsorted((0, reach))
    first_step, stop, pitch = first_step[low:high], stop[low:high], pitch[low:high]
    last_step = np.minimum(np.maximum(to_steps(stop - stretch.start, quarter), first_step + 1), reach)
    return Notes(first_step, last_step, pitch)
