"""A new piece in the frame of an old one: the notes that a model made in the place of those that it was shown.

What was addressed is every note of the chosen tracks, in the bars that the model reads, that a token can say. Where a
decoded note is the source's on the grid (same step, same pitch) the source's own onset, velocity and release are kept,
and its end where that reads the same, so an identity gives back the same events. New notes take the velocity of the
nearest note of the source and its place beside the grid. All other events are those of the source.

The codec stays closed: windows of the result hold the tokens it was made of. The result is read to check it; where it
reads otherwise (notes played so far from the grid that with others around them they count for another step), the notes
of the source are moved onto the grid.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from musicae.errors import MusicaeError
from musicae.music.composition import played_ticks
from musicae.music.config import MusicConfig, in_words
from musicae.music.midi import VELOCITY, Notes, time_signature_message
from musicae.music.piece import Piece
from musicae.music.quantize import Line, QuantizedPart, to_ticks
from musicae.music.quantize import Notes as GridNotes
from musicae.music.score import STEPS_PER_QUARTER
from musicae.music.tokens import HOLD
from musicae.music.windows import bars_in_words, nothing_sounds, read_part, stored

WINDOWS_PER_BATCH = 64
_PASSAGES_NAMED = 3
"""Passages in another time signature that are named one by one; of more only the number of bars."""


class Place(NamedTuple):
    """Where windows lie: the line's number, and the number of the first window in it."""

    line: int
    first: int


def piece_windows(part: QuantizedPart, config: MusicConfig, label: str) -> Iterator[tuple[Place, np.ndarray]]:
    """Windows in a row, `(up to 64, steps, columns)`; the last one of each section is filled with rests.

    Raises:
        MusicaeError: nothing sounds in the bars that the model reads.
    """
    streams = part.part.streams
    read = [(number, line) for number, line in enumerate(part.lines) if line.is_read]
    if not any(
        stream.onsets(tokens).any() for _, line in read for stream, tokens in zip(streams, line.streams, strict=True)
    ):
        raise nothing_sounds(label, config)
    for number, line in read:
        steps = config.bars * line.steps_per_bar
        length = -(-line.steps // steps) * steps
        padded = [stream.padded(tokens, length) for stream, tokens in zip(streams, line.streams, strict=True)]
        columns = [
            np.stack([stream.windows(own, steps, steps) for stream, own in zip(streams, padded, strict=True)], -1)
        ]
        for stream, own, values in zip(streams, padded, line.values, strict=False):
            filled = np.pad(values, ((0, length - line.steps), (0, 0)))
            columns.append(stream.value_windows(own, filled, steps, steps))
        if line.chords is not None:
            columns.append(np.pad(line.chords, (0, length - line.steps)).reshape(-1, steps, 1))
        together = stored(part, line, np.concatenate(columns, axis=-1, dtype=part.part.dtype), config.bars)
        for first in range(0, len(together), WINDOWS_PER_BATCH):
            yield Place(number, first), together[first : first + WINDOWS_PER_BATCH]


def assemble_piece(
    piece: Piece, part: QuantizedPart, config: MusicConfig, answers: Iterable[tuple[Place, np.ndarray]]
) -> Piece:
    """Puts decoded windows in the place of those of a piece.

    Bars that the model doesn't read stay, and so do notes that no token can say. What was decoded past the end of a
    section is left out. Where the decoded end is silent, a time signature that repeats the last one keeps the length.

    Args:
        piece: the source.
        part: as `read_part` gives it for the piece.
        config: of the model.
        answers: decoded windows `(windows, steps, columns)` as they sound, with their places, in order.

    Raises:
        ValueError: as many windows as the piece has were expected.
    """
    decoded = _decoded_lines(part, config, answers)
    for snapped in (False, True):
        made = _Assembly(piece, part, snapped)
        for number, tokens in decoded.items():
            made.put(part.lines[number], tokens)
        result, again = _read_alike(made.piece(), piece, part, config)
        if again is None or _tokens_agree(part, again, decoded):
            break
    remarks = [f"{piece.label}: {made.dropped}"] if made.dropped else []
    remarks += [remark for remark in (unread_bars(part, config, piece.label, copied=True),) if remark]
    if not result.note_count:
        remarks.append("silent: no note anywhere")
    result = result.with_remarks(*(remark for remark in remarks if remark not in result.given_remarks))
    return result.with_bars(None) if result.chosen_bars else result


def unread_bars(part: QuantizedPart, config: MusicConfig, label: str, *, copied: bool) -> str | None:
    """Says which bars are in a time signature that the model doesn't read; None where it reads all.

    Args:
        part: a piece on the grid.
        config: of the model.
        label: what to call the piece.
        copied: whether these bars are copied, as `assemble_piece` does, or left out.
    """
    others = [line.section for line in part.lines if not line.is_read and line.is_chosen]
    if not others:
        return None
    bars = sum(section.bars for section in others)
    if len(others) <= _PASSAGES_NAMED:
        passages = (
            f"{bars_in_words(section.first_bar, section.bars)} in {section.time_signature}" for section in others
        )
        where = ", ".join(passages)
    else:
        found = sorted({section.time_signature for section in others})
        where = f"{bars} of {part.bars} bars, in {', '.join(found)},"
    verb, as_before = ("is", "it is") if bars == 1 else ("are", "they are")
    done = f"copied as {as_before}" if copied else "left out"
    return f"{label}: {where} {verb} {done}: this model reads {in_words(config.signatures)}"


class Decoded(NamedTuple):
    """What a stream is to be in a section: tokens `(steps,)`, and values `(steps, 2 × places)` where there are any."""

    tokens: np.ndarray
    values: np.ndarray | None


def _decoded_lines(
    part: QuantizedPart, config: MusicConfig, answers: Iterable[tuple[Place, np.ndarray]]
) -> dict[int, list[Decoded]]:
    """Number of a line → what each of its streams is to be, cut where the section ends."""
    windows: dict[int, list[np.ndarray]] = defaultdict(list)
    for place, answer in answers:
        windows[place.line].append(answer)
    decoded = {}
    for number, line in enumerate(part.lines):
        if not line.is_read:
            continue
        steps = config.bars * line.steps_per_bar
        count = -(-line.steps // steps)
        found = sum(map(len, windows[number]))
        if found != count:
            raise ValueError(f"expected the answers to {count} windows of a section, got {found}")
        together = np.concatenate(windows[number])
        made, first_value = [], len(part.part.streams)
        for index, (stream, own) in enumerate(zip(part.part.streams, line.streams, strict=True)):
            padded = stream.padded(own, count * steps)
            starts = padded[::steps]
            # A note held over from the window before is struck in its own window, and is to be held on afterwards.
            tied = (stream.windows(padded, steps, steps)[:, 0] != starts) & (starts == HOLD)
            joined = stream.joined(together[..., index].astype(stream.dtype), tied)
            onset, end, pitch = stream.notes(joined)
            inside = onset < line.reach
            cut = np.minimum(end[inside], line.reach)
            tokens = stream.tokens(onset[inside], cut, pitch[inside], line.steps)[0]
            values = None
            if part.with_values:
                columns = 2 * stream.places
                own_values = together[..., first_value : first_value + columns].reshape(-1, columns)
                first_value += columns
                velocity, offset = (column[inside] for column in stream.played(joined, own_values))
                values = stream.values(tokens, (onset[inside], end[inside], pitch[inside]), velocity, offset)
            made.append(Decoded(tokens, values))
        decoded[number] = made
    return decoded


@dataclass
class _Final:
    """A note of the result."""

    start: int
    end: int
    pitch: int
    velocity: int
    is_source: bool


class _Assembly:
    """The notes of a result while they are put together, line by line.

    Args:
        piece, part: of the source.
        snapped: whether the source's notes are moved onto the grid.
    """

    def __init__(self, piece: Piece, part: QuantizedPart, snapped: bool) -> None:
        self._piece, self._part, self._snapped = piece, part, snapped
        used = [track for tracks in part.choice.tracks for track in tracks]
        self._own = {track: piece.notes(track) for track in used}
        self._middle = {track: float(np.median(own.pitch)) for track, own in self._own.items() if len(own.pitch)}
        self._is_addressed = {track: np.zeros(len(notes.start), bool) for track, notes in self._own.items()}
        self._final: dict[int, list[_Final]] = {track: [] for track in used}
        self._dropped: dict[str, int] = defaultdict(int)

    def put(self, line: Line, decoded: list[Decoded]) -> None:
        """Takes what every stream in a section is to be."""
        owners = self._part.part.instrument_of
        on_grid = [self._part.notes_on_grid(owner, line) for owner in range(len(self._part.part.instruments))]
        for index, own in enumerate(decoded):
            self._put_stream(index, line, own, *on_grid[owners[index]])

    def _put_stream(self, index: int, line: Line, decoded: Decoded, there: GridNotes, place: np.ndarray) -> None:
        part, stream = self._part, self._part.part.streams[index]
        owner = part.part.instrument_of[index]
        key = stream.key(there.pitch)
        notes_of: dict[tuple[int, int], list[int]] = defaultdict(list)
        for note in np.flatnonzero(key >= 0).tolist():
            notes_of[int(there.onset[note]), int(key[note])].append(note)
            track, number = self._track_of(int(place[note]))
            self._is_addressed[track][number] = True
        shift, quarter = part.phase.shift, part.ticks_per_quarter
        onset, end, pitch = stream.notes(decoded.tokens)
        keys = stream.key(pitch).tolist()
        following = np.append(onset[1:], line.reach)
        begin, stop = (line.section.start + shift + to_ticks(steps, quarter) for steps in (onset, end))
        played = self._played(index, line, decoded)
        if played is not None:
            begin, stop = played_ticks(
                begin, stop, onset, end, played[1], is_drums=stream.is_drums, step_ticks=quarter / STEPS_PER_QUARTER
            )
        starts, ends = np.maximum(begin, 0).tolist(), stop.tolist()
        nearest = self._nearest(owner, starts)
        line_notes = zip(*(column.tolist() for column in stream.notes(line.streams[index])), strict=True)
        line_ends = {(step, number): last for step, last, number in line_notes}
        for note, step in enumerate(onset.tolist()):
            # Of several of one pitch that begin at one step the longest is what a token says.
            same = sorted(notes_of.pop((step, keys[note]), []), key=lambda each: -int(there.end[each]))
            if not same:
                track, velocity = nearest[note]
                if part.part.instruments[owner].is_keys:
                    track = self._hand(owner, int(pitch[note]))
                if played is not None:
                    velocity = int(played[0][note])
                made = _Final(starts[note], max(ends[note], starts[note] + 1), int(pitch[note]), velocity, False)
                self._final[track].append(made)
                continue
            own_end = int(there.end[same[0]])
            was_end = line_ends.get((step, int(there.pitch[same[0]])), own_end)  # a note may overlap the next
            reads_alike = stream.is_drums or (
                min(own_end, int(following[note])) == int(end[note]) and int(end[note]) in (own_end, was_end)
            )
            as_it_is = reads_alike and not self._snapped and (played is None or bool(played[2][note]))
            for each in same if as_it_is or stream.is_drums else same[:1]:
                track, number = self._track_of(int(place[each]))
                own_start, own_stop, own_pitch, velocity = (int(column[number]) for column in self._own[track])
                begin_here = starts[note] if self._snapped else own_start
                if played is not None and not played[2][note]:
                    velocity, begin_here = int(played[0][note]), starts[note]
                end_here = own_stop if as_it_is else max(ends[note], begin_here + 1)
                self._final[track].append(_Final(begin_here, end_here, own_pitch, velocity, as_it_is))
        if not stream.is_drums:
            self._dropped[stream.name] += sum(len(notes) - (where in line_ends) for where, notes in notes_of.items())

    def _played(self, index: int, line: Line, decoded: Decoded) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Velocity and offset of each decoded note, and whether the source's note at its place has the same."""
        if decoded.values is None:
            return None
        stream = self._part.part.streams[index]
        velocity, offset = stream.played(decoded.tokens, decoded.values)
        own_velocity, own_offset = stream.played(decoded.tokens, line.values[index])
        return velocity, offset, (velocity == own_velocity) & (offset == own_offset)

    def _track_of(self, place: int) -> tuple[int, int]:
        """A note's track, and its number in it, by its place in the table of all notes."""
        first = self._part.notes.first
        track = int(np.searchsorted(first, place, side="right")) - 1
        return track, place - first[track]

    def _nearest(self, instrument: int, ticks: list[int]) -> list[tuple[int, int]]:
        """Track and velocity of the source's note that begins nearest to each tick."""
        tracks = self._part.choice.tracks[instrument]
        start = np.concatenate([self._own[track].start for track in tracks])
        velocity = np.concatenate([self._own[track].velocity for track in tracks])
        track_of = np.repeat(tracks, [len(self._own[track].start) for track in tracks])
        if not len(start):
            return [(tracks[0], VELOCITY)] * len(ticks)
        order = np.argsort(start, kind="stable")
        start, velocity, track_of = start[order], velocity[order], track_of[order]
        after = np.searchsorted(start, ticks).clip(1, max(1, len(start) - 1))
        before = after - 1
        after = np.minimum(after, len(start) - 1)
        is_before = np.abs(start[before] - ticks) <= np.abs(start[after] - ticks)
        chosen = np.where(is_before, before, after)
        return list(zip(track_of[chosen].tolist(), velocity[chosen].tolist(), strict=True))

    def _hand(self, instrument: int, pitch: int) -> int:
        """Of the tracks of a keyboard the one whose notes lie nearest to a pitch: the hand that would play it."""
        tracks = [track for track in self._part.choice.tracks[instrument] if track in self._middle]
        return min(tracks, key=lambda track: abs(self._middle[track] - pitch))

    @property
    def dropped(self) -> str:
        """Says how many notes of chords are left out; empty where none is."""
        lost = {name: count for name, count in self._dropped.items() if count}
        if not lost:
            return ""
        counted = " and ".join(f"{count:,} in the {name}" for name, count in lost.items())
        return f"notes of chords are left out, {counted}: the model plays one note at a time there"

    def piece(self) -> Piece:
        """The result."""
        notes = {}
        for track, own in self._own.items():
            rest = ~self._is_addressed[track]
            made = _without_overlaps(self._final[track], is_drum=self._piece.tracks[track].is_drum)
            columns = ((note.start, note.end, note.pitch, note.velocity) for note in made)
            new = np.array(list(columns), np.int64).reshape(-1, 4).T
            notes[track] = Notes(*(np.concatenate([old[rest], fresh]) for old, fresh in zip(own, new, strict=True)))
        return self._piece.replace(notes)


def _without_overlaps(notes: list[_Final], *, is_drum: bool) -> list[_Final]:
    """Ends a note where the next of its pitch begins, or MIDI would take the end of one for that of the other.

    Where both are the source's they stay as they are, since they were read so.
    """
    if is_drum:
        return notes
    last: dict[int, _Final] = {}
    for note in sorted(notes, key=lambda each: each.start):
        before = last.get(note.pitch)
        if before is not None and before.end > note.start and not (before.is_source and note.is_source):
            before.end = max(note.start, before.start + 1)
        last[note.pitch] = note
    return notes


def _read_alike(
    result: Piece, piece: Piece, part: QuantizedPart, config: MusicConfig
) -> tuple[Piece, QuantizedPart | None]:
    """Makes a result as long as its source and read in the same tracks; None where nothing can be read any more."""
    again = _read(result, config)
    wanted = [[piece.place(track) for track in tracks] for tracks in part.choice.tracks]
    if again is None or [[result.place(track) for track in tracks] for tracks in again.choice.tracks] != wanted:
        same = [track.index for track in result.tracks if track.notes and result.place(track.index) == wanted[0][0]]
        pinned = result.with_track(same[0] if same else None)
        if same and (len(wanted[0]) == 1 or piece.chosen_track is not None):
            result, again = pinned, _read(pinned, config)
    if again is None or sum(line.steps for line in again.lines) < sum(line.steps for line in part.lines):
        last = part.lines[-1].section
        end = last.start + last.bars * last.bar_ticks(part.ticks_per_quarter)
        result = result.with_event(end, time_signature_message(last.numerator, last.denominator))
        again = _read(result, config)
    return result, again


def _read(piece: Piece, config: MusicConfig) -> QuantizedPart | None:
    try:
        return read_part(piece, config)
    except MusicaeError:  # a track that fell silent is none
        return None


def _tokens_agree(part: QuantizedPart, again: QuantizedPart, decoded: dict[int, list[Decoded]]) -> bool:
    if len(part.lines) != len(again.lines):
        return False
    return all(
        np.array_equal(own.tokens, read)
        for number, streams in decoded.items()
        for own, read in zip(streams, again.lines[number].streams, strict=True)
    )
