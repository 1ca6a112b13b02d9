"""A score on the grid: its phase, and a line of tokens for each section of one time signature.

Works in ticks, so tempo changes don't matter. A change of time signature splits a song; bars count from the place
where the time signature starts. Steps are 16ths, half rounds up, and a note lasts at least one step.

Some recordings were made without a click and later aligned to beats by one constant amount, so that nearly no onset
lies on a 16th although the rhythm is exact. `estimate_phase` finds that amount as a circular mean (Mardia & Jupp,
*Directional Statistics*, 2000, ch. 2), from the notes of all streams together.

This module doesn't know files or windows, and leaves out nothing silently.
"""

import cmath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
from symusic.core import ScoreTick

from musicae.music.config import PARTS, TIME_SIGNATURES, BarRatio, Part, TimeSignature
from musicae.music.expression import OFFSETS
from musicae.music.score import STEPS_PER_QUARTER, NoteTable, Section, end_tick, find_sections, note_table
from musicae.music.tracks import LazyLines, TrackChoice, summarise_tracks

Ticks = TypeVar("Ticks", int, np.ndarray)

# A phase is believed only where onsets agree with each other (resultant) and not with the grid (near it).
LEAST_CONCENTRATION = 0.5
# Half way to the next 16th, or from a few onsets (a fill by hand), a wrong guess costs more than none.
FAR_STEPS = 0.25
FEW_ONSETS = 64
CERTAIN_CONCENTRATION = 0.75
LEAST_PHASE_STEPS = 0.12
NEAR_GRID_STEPS = 0.1
MOST_ON_GRID = 0.35
FEWEST_ONSETS = 16
# Music is written or played on beats where its onsets agree on some division of the quarter: 0.17 or more in every file
# of Groove, piano-midi, POP909 and the Lieder, 0.05 at the median of GiantMIDI's recordings, whose ticks are seconds
# (experiments/beats.py).
LEAST_AGREEMENT = 0.12
FEWEST_TO_DOUBT = 100
_DIVISIONS = (1, 2, 3, 4, 6, 8, 12, 16)  # of a quarter


def estimate_phase(onset_ticks: np.ndarray, ticks_per_quarter: int) -> tuple[float, float]:
    """How far the onsets lie from the grid, all together.

    Args:
        onset_ticks: `(notes,)`.
        ticks_per_quarter: the file's division.

    Returns:
        The phase in steps, −0.5 to 0.5, positive where onsets come late; and the confidence 0 to 1
        (mean resultant length: 1 where all onsets share one phase).
    """
    if not len(onset_ticks):
        return 0.0, 0.0
    mean = complex(_turns(ticks_per_quarter)[STEPS_PER_QUARTER * onset_ticks % ticks_per_quarter].sum()) / len(
        onset_ticks
    )
    return cmath.phase(mean) / (2 * np.pi), abs(mean)


def agreement(onset_ticks: np.ndarray, ticks_per_quarter: int) -> float:
    """The largest mean resultant length over divisions of a quarter, 0 to 1: triplets don't agree on its 16ths.

    Args:
        onset_ticks: `(notes,)`, at least one.
        ticks_per_quarter: the file's division.
    """
    turns = 2j * np.pi * (onset_ticks % ticks_per_quarter) / ticks_per_quarter
    return max(float(abs(np.exp(parts * turns).mean())) for parts in _DIVISIONS)


@lru_cache(maxsize=16)
def _turns(parts: int) -> np.ndarray:
    """The points of a circle of so many parts, as complex numbers; cheaper to look up than to work out."""
    return np.exp(2j * np.pi * np.arange(parts) / parts)


@dataclass(frozen=True)
class Phase:
    """How a piece lies on the grid.

    Attributes:
        onsets: how many it was estimated from.
        steps: how late the onsets lie all together, −0.5 to 0.5.
        confidence: mean resultant length, 0 to 1.
        shift: ticks to subtract from every note; 0 where the piece is taken as it is.
        agreement: how far the onsets agree on any division of a quarter, 0 to 1; 1 where nobody looked.
    """

    onsets: int
    steps: float
    confidence: float
    shift: int
    agreement: float = 1.0

    @property
    def has_beats(self) -> bool:
        """Whether the onsets lie on beats at all; a recording that was transcribed without them has none."""
        return self.agreement >= LEAST_AGREEMENT

    def __str__(self) -> str:
        side = "early" if self.steps < 0 else "late"
        where = f"onsets lie {abs(self.steps):.2f} of a 16th {side}, confidence {self.confidence:.2f}"
        return f"grid: {where}, {'moved' if self.shift else 'taken as written'}"


def find_phase(onset_ticks: np.ndarray, ticks_per_quarter: int) -> Phase:
    """Estimates the phase, and moves a piece only where it is clearly off the grid.

    Triplets and swing don't move the grid: a good share of their onsets lies on it. Playing by hand
    scatters onsets around their places; then only what they all share is taken away.

    Args:
        onset_ticks: `(notes,)`, counted from where the grid begins.
        ticks_per_quarter: the file's division.
    """
    steps, confidence = estimate_phase(onset_ticks, ticks_per_quarter)
    agreed = 1.0
    if len(onset_ticks) >= FEWEST_TO_DOUBT and confidence < LEAST_CONCENTRATION:
        agreed = agreement(onset_ticks, ticks_per_quarter)
    here = Phase(len(onset_ticks), steps, confidence, 0, agreed)
    doubtful = abs(steps) > FAR_STEPS or len(onset_ticks) < FEW_ONSETS
    if len(onset_ticks) < FEWEST_ONSETS or abs(steps) < LEAST_PHASE_STEPS:
        return here
    if confidence < (CERTAIN_CONCENTRATION if doubtful else LEAST_CONCENTRATION):
        return here
    places = np.asarray(onset_ticks, dtype=np.float64) * (STEPS_PER_QUARTER / ticks_per_quarter)
    near = np.abs(places - np.round(places)) <= NEAR_GRID_STEPS
    if near.mean() > MOST_ON_GRID:
        return here
    return replace(here, shift=round(steps * ticks_per_quarter / STEPS_PER_QUARTER))


def to_steps(ticks: Ticks, ticks_per_quarter: int) -> Ticks:
    """Rounds ticks to 16ths, half up: `floor(x + 1/2)` in whole numbers. int in, int out; int64 in, int64 out."""
    return (2 * STEPS_PER_QUARTER * ticks + ticks_per_quarter) // (2 * ticks_per_quarter)


class Notes(NamedTuple):
    """Notes of a stream: onset, end and pitch, int64 `(notes,)` each, onsets rising; velocities where asked for."""

    onset: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray | None = None

    def moved(self, ticks: int) -> "Notes":
        """The same, so much later."""
        return self._replace(onset=self.onset + ticks, end=self.end + ticks)


NO_NOTES = Notes(*(np.zeros(0, dtype=np.int64) for _ in range(4)))
MELODY = PARTS["melody"]
COMMON_TIME = TIME_SIGNATURES["4/4"]


@dataclass(frozen=True)
class Line:
    """A part in one section.

    Attributes:
        section: where it lies.
        streams: tokens `(steps,)` of each stream of the part, canonical; whole bars where the model reads the section.
        outside: onset steps of the first stream's notes that no token can say, int64.
        number: of the model's time signature that it is read in; None: the model reads others.
        signature: that time signature; of a section that isn't read the model's first.
        ratio: how many of its bars are how many of the model's.
        reach: steps up to where the next section begins.
        values: of each stream, uint8 `(steps, values)`; empty where they were not asked for.
        chords: class of the chord at each step, uint8 `(steps,)`; None where they were not asked for.
        is_chosen: whether it lies in the bars that were asked for; what doesn't is not read.
    """

    section: Section
    streams: tuple[np.ndarray, ...]
    outside: np.ndarray
    number: int | None
    signature: TimeSignature
    ratio: BarRatio
    reach: int
    values: tuple[np.ndarray, ...] = ()
    chords: np.ndarray | None = None
    is_chosen: bool = True

    @property
    def is_read(self) -> bool:
        """Whether the model reads its time signature."""
        return self.number is not None

    @property
    def steps_per_bar(self) -> int:
        """Steps of one of the model's bars."""
        return self.signature.steps_per_bar

    @property
    def steps_per_file_bar(self) -> int:
        """Steps of one bar of the file, where the model reads it."""
        return self.steps_per_bar * self.ratio.model // self.ratio.file

    @property
    def hop(self) -> int:
        """Steps from the start of one window to the next: a bar of the model, or of the file if that is longer."""
        return max(self.steps_per_bar, self.steps_per_file_bar)

    def file_bars(self, bars: int) -> int:
        """How many of the file's bars so many of the model's are, rounded up."""
        return -(-bars * self.ratio.file // self.ratio.model)

    @property
    def steps(self) -> int:
        """Length of every stream."""
        return len(self.streams[0])


@dataclass(frozen=True)
class QuantizedPart:
    """A part of a piece of music, on the grid.

    Attributes:
        part, signatures: what was asked for.
        choice: the tracks, and why.
        names: of each instrument's first track; may be empty.
        programs: General MIDI program of each instrument's first track.
        lines: one for each section, in order; together the whole piece.
        end: the piece's end in ticks.
        phase: how far from the grid it lay.
        notes: of all tracks.
        ticks_per_quarter: of the score.
        with_values, with_chords: whether velocities and offsets, or chords, were asked for.
    """

    part: Part
    signatures: tuple[TimeSignature, ...]
    choice: TrackChoice
    names: tuple[str, ...]
    programs: tuple[int, ...]
    lines: tuple[Line, ...]
    end: int
    phase: Phase
    notes: NoteTable
    ticks_per_quarter: int
    with_values: bool = False
    with_chords: bool = False

    @property
    def bars(self) -> int:
        """Number of bars of the piece, in all time signatures."""
        return sum(line.section.bars for line in self.lines)

    @property
    def report(self) -> LazyLines:
        """A line for each track, the grid, and notes left out."""
        return LazyLines(self._describe)

    def _describe(self) -> Iterator[str]:
        yield from self.choice.parts
        if self.phase.onsets:
            yield str(self.phase)
        for instrument, tracks in zip(self.part.instruments, self.choice.tracks, strict=True):
            left_out = instrument.streams[0].left_out(_notes(self.notes, tracks).pitch)
            if left_out:
                yield left_out

    def notes_on_grid(self, instrument: int, line: Line) -> tuple[Notes, np.ndarray]:
        """The notes of an instrument in a section.

        Returns:
            Onset and end in steps from the section's start, and pitch; and each one's place in `notes`.
        """
        tracks = self.choice.tracks[instrument]
        own = _notes(self.notes, tracks)
        place = np.concatenate([np.arange(*self.notes.first[track : track + 2]) for track in tracks])
        place = place[np.argsort(self.notes.start[place], kind="stable")]
        shifted = own.moved(-self.phase.shift)
        low, high, _ = _span(shifted, line.section, self.ticks_per_quarter, line.reach)
        return _in_steps(shifted, line.section, self.ticks_per_quarter, line.reach), place[low:high]


def quantize(
    score: ScoreTick,
    part: Part = MELODY,
    signatures: Sequence[TimeSignature] = (COMMON_TIME,),
    wanted: int | str | None = None,
    *,
    values: bool = False,
    chords: bool = False,
    bars: tuple[int, int] | None = None,
    notes: NoteTable | None = None,
) -> QuantizedPart:
    """Chooses a part's tracks and puts them on the grid.

    Args:
        score: a checked score.
        part: in `PARTS`.
        signatures: in `TIME_SIGNATURES`; a section is read in the first that reads its own.
        wanted: the user's track, by index or name.
        values: whether to find the values of every onset, see `Stream.values`.
        chords: whether to find the chord of every step.
        bars: first and last bar of the file to read, 1-based; None: all of them.
        notes: the score's; None: they are copied out of it.

    Raises:
        MusicaeError: that track is not there, or is of the wrong type.
    """
    table = note_table(score) if notes is None else notes
    summaries = summarise_tracks(score, table)
    choice = part.choose(summaries, wanted)
    if choice.advice and not _in_common_time(score, table):
        choice = replace(choice, advice="")  # the shipped models that it names read 4/4
    played = [_notes(table, tracks, with_velocity=values) for tracks in choice.tracks]
    quarter = score.tpq
    sections = _sections(score, part, played)
    onsets = played[0].onset if len(played) == 1 else np.concatenate([notes.onset for notes in played])
    phase = find_phase(_since_section(onsets, sections), quarter)
    if values and abs(phase.steps) <= FAR_STEPS:
        phase = replace(phase, shift=0)  # early or late by so little is how it is played, and the offsets say it
    if phase.shift:
        played = [notes.moved(-phase.shift) for notes in played]
        sections = _sections(score, part, played)
    lines = tuple(
        _line(section, played, part, signatures if is_chosen else (), quarter, is_last, values=values)
        for section, is_chosen, is_last in _chosen(sections, bars, quarter)
    )
    if chords:
        lines = _with_chords(lines, score, choice.track, phase.shift)
    firsts = [summaries[tracks[0]] if tracks else None for tracks in choice.tracks]
    return QuantizedPart(
        part,
        tuple(signatures),
        choice,
        tuple(track.name if track else "" for track in firsts),
        tuple(
            track.program if track else instrument.program
            for track, instrument in zip(firsts, part.instruments, strict=True)
        ),
        lines,
        sections[-1].end if sections else 0,
        phase,
        table,
        quarter,
        values,
        chords,
    )


def _in_common_time(score: ScoreTick, table: NoteTable) -> bool:
    """Whether any section of a score with notes is read as 4/4."""
    sections = find_sections(score, end_tick(score, int(table.end.max()) + 1))
    return any((section.numerator, section.denominator) in COMMON_TIME.reads for section in sections)


def _notes(table: NoteTable, tracks: tuple[int, ...], *, with_velocity: bool = False) -> Notes:
    """The notes of some tracks together."""
    if not tracks:
        return NO_NOTES
    columns = [
        (*table.of_track(track), table.velocity_of(track)) if with_velocity else table.of_track(track)
        for track in tracks
    ]
    notes = Notes(*(columns[0] if len(tracks) == 1 else map(np.concatenate, zip(*columns, strict=True))))
    if (notes.onset[1:] >= notes.onset[:-1]).all():
        return notes
    order = np.argsort(notes.onset, kind="stable")
    velocity = None if notes.velocity is None else notes.velocity[order]
    return Notes(notes.onset[order], notes.end[order], notes.pitch[order], velocity)


def _sections(score: ScoreTick, part: Part, played: list[Notes]) -> list[Section]:
    """The sections up to the end of the part.

    A note that ends a hair past a bar line opens no bar; one that starts a hair before it does. A hit has no end.
    """
    half_step = score.tpq // (2 * STEPS_PER_QUARTER)
    last = 0
    for instrument, notes in zip(part.instruments, played, strict=True):
        if len(notes.onset):
            last = max(last, int(notes.onset[-1]) + half_step + 1)
            if not instrument.is_drums:
                last = max(last, int(notes.end.max()) - half_step)
    return find_sections(score, end_tick(score, last))


def _chosen(
    sections: list[Section], bars: tuple[int, int] | None, quarter: int
) -> Iterator[tuple[Section, bool, bool]]:
    """Sections divided where the chosen bars begin and end: each, whether it is chosen, and whether it is the last."""
    for section in sections:
        after = section.first_bar + section.bars
        first, last = (section.first_bar, after - 1) if bars is None else bars
        cuts = sorted(
            {
                section.first_bar,
                min(max(first, section.first_bar), after),
                min(max(last + 1, section.first_bar), after),
                after,
            }
        )
        ticks = section.bar_ticks(quarter)
        for begin, stop in pairwise(cuts):
            start = section.start + (begin - section.first_bar) * ticks
            end = section.end if stop == after else section.start + (stop - section.first_bar) * ticks
            piece = replace(section, start=start, end=end, first_bar=begin, bars=stop - begin)
            yield piece, first <= begin <= last, section is sections[-1] and stop == after


def _since_section(ticks: np.ndarray, sections: list[Section]) -> np.ndarray:
    """Ticks counted from the start of their section, where its grid begins."""
    if all(section.start == 0 for section in sections):
        return ticks
    starts = np.array([0, *(section.start for section in sections)], dtype=np.int64)
    return ticks - starts[np.searchsorted(starts, ticks, side="right") - 1]


def _line(
    section: Section,
    played: list[Notes],
    part: Part,
    signatures: Sequence[TimeSignature],
    quarter: int,
    is_last: bool,
    *,
    values: bool,
) -> Line:
    written = (section.numerator, section.denominator)
    number = next((number for number, signature in enumerate(signatures) if written in signature.reads), None)
    signature = signatures[number or 0] if signatures else COMMON_TIME
    ratio = signature.reads[written] if number is not None else BarRatio(1, 1)
    length = max(1, to_steps(section.end - section.start, quarter))
    steps = length if number is None else -(-section.bars * ratio.model // ratio.file) * signature.steps_per_bar
    # Rounding carries an onset just before the next section over its start; half a step decides where it belongs.
    reach = steps if is_last else min(steps, length)
    placed = [_in_steps(notes, section, quarter, reach) for notes in played]
    owners = part.instrument_of
    tokens = [
        stream.tokens(placed[owner].onset, placed[owner].end, placed[owner].pitch, steps)
        for stream, owner in zip(part.streams, owners, strict=True)
    ]
    found: tuple[np.ndarray, ...] = ()
    if values:
        how = [_played(notes, section, quarter, reach) for notes in played]
        found = tuple(
            stream.values(own, placed[owner][:3], *how[owner])
            for stream, (own, _), owner in zip(part.streams, tokens, owners, strict=True)
        )
    is_chosen = bool(signatures)
    streams = tuple(own for own, _ in tokens)
    return Line(section, streams, tokens[0][1], number, signature, ratio, reach, found, is_chosen=is_chosen)


def _played(notes: Notes, section: Section, quarter: int, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Velocity of each note of a section, and how far from its step it begins; see `musicae.music.expression`."""
    assert notes.velocity is not None
    low, high, step = _span(notes, section, quarter, reach)
    late = STEPS_PER_QUARTER * (notes.onset[low:high] - section.start) - step * quarter
    return notes.velocity[low:high], (2 * OFFSETS * late + quarter) // (2 * quarter)


def _with_chords(lines: tuple[Line, ...], score: ScoreTick, melody: int | None, shift: int) -> tuple[Line, ...]:
    """The chord in the middle of each step, so that one that changes a hair late counts from its step on."""
    from musicae.music.chords import chord_line  # most models take no chords

    harmony = chord_line(score, melody)
    found = []
    for line in lines:
        middle = (2 * np.arange(line.steps, dtype=np.int64) + 1) * score.tpq // (2 * STEPS_PER_QUARTER)
        found.append(replace(line, chords=harmony.classes_at(line.section.start + shift + middle)))
    return tuple(found)


def _span(notes: Notes, section: Section, quarter: int, reach: int) -> tuple[int, int, np.ndarray]:
    """Which notes `[low, high)` begin in the first `reach` steps of a section, and their steps."""
    margin = quarter // STEPS_PER_QUARTER + 1
    low, high = notes.onset.searchsorted((section.start - margin, section.end + margin)).tolist()
    first_step = to_steps(notes.onset[low:high] - section.start, quarter)
    if section.start == 0:
        first_step = np.maximum(first_step, 0)  # where the grid was shifted back, the first note may lie before it
    inside = first_step.searchsorted((0, reach)).tolist()
    return low + inside[0], low + inside[1], first_step[inside[0] : inside[1]]


def _in_steps(notes: Notes, section: Section, quarter: int, reach: int) -> Notes:
    """The notes of a section in steps from its start, inside `[0, reach)`."""
    low, high, first_step = _span(notes, section, quarter, reach)
    end = to_steps(notes.end[low:high] - section.start, quarter)
    return Notes(first_step, np.minimum(np.maximum(end, first_step + 1), reach), notes.pitch[low:high])


def to_ticks(steps: np.ndarray, ticks_per_quarter: int) -> np.ndarray:
    """16ths, whole or half ones, to the nearest ticks, half up; int64."""
    return np.floor(np.asarray(steps) * (ticks_per_quarter / STEPS_PER_QUARTER) + 0.5).astype(np.int64)
