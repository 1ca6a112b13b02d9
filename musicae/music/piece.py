"""`Piece`: a piece of music with everything that its file holds.

    piece = Piece.open("song.mid")
    piece.tracks, piece.tempi, piece.bars
    piece.replace({0: notes}, piece.bar_tick(5), piece.bar_tick(7)).save("changed.mid")

A piece is the bytes of a MIDI file, and all else is read from them when somebody asks: notes and time by symusic, every
other event by `musicae.music.midi`. So an unchanged piece is saved as the bytes it was read from, and `replace` keeps
every event that it was not asked to change. Nothing here knows tensors or models.
"""

import dataclasses
import html
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from symusic.core import ScoreTick

from musicae.errors import MusicaeError
from musicae.music import edit, midi
from musicae.music.midi import Notes
from musicae.music.score import (
    DEFAULT_TEMPO_BPM,
    MIDI_SUFFIXES,
    MOST_QUARTERS,
    STEPS_PER_QUARTER,
    Section,
    TempoMap,
    checked,
    closed_score,
    end_tick,
    find_sections,
    parse_midi,
)

if TYPE_CHECKING:
    import pretty_midi
    from PIL.Image import Image

    from musicae.audio.sound import Sound
    from musicae.music.interchange import Content
    from musicae.music.render import HasInstrument, PlaysNotes

_PLAYED_S, _PLAYED_HZ = 30.0, 22_050


@dataclass(frozen=True)
class Track:
    """What plays on one channel with one program in one chunk of the file.

    Attributes:
        index: 0-based; what `track` means everywhere.
        name: of its chunk; may be empty.
        program: General MIDI program, 0 to 127.
        is_drum: on channel 10, or with a drum kit's bank (General MIDI 2).
        channel: 0 to 15.
        notes: how many.
    """

    index: int
    name: str
    program: int
    is_drum: bool
    channel: int
    notes: int


@dataclass(frozen=True, repr=False)
class Piece:
    """An immutable piece of music.

    Attributes:
        data: the bytes of a MIDI file.
        name: what files made from it are named after.
        title: the tune's, or the file's name.
        label: what it is called in errors and remarks: the file's name with its ending.
        chosen_track: what `track` means where nothing else is said: an index, a name or a part of one.
        chosen_bars: the first and the last bar that are meant where nothing else is said, 1-based; None: all.
        given_remarks: what was said when it was made; see `remarks`.
        container: the bytes of the RMID file that it was read from; empty for others.
    """

    data: bytes
    name: str = "piece"
    title: str = ""
    label: str = field(default="", compare=False)
    chosen_track: int | str | None = None
    chosen_bars: tuple[int, int] | None = None
    given_remarks: tuple[str, ...] = ()
    container: bytes = field(default=b"", compare=False)
    parsed: ScoreTick | None = field(default=None, compare=False)

    suffix: ClassVar[str] = ".mid"
    """Ending of the file that holds it as it is."""

    def __post_init__(self) -> None:
        """Fills in the names that were left out."""
        object.__setattr__(self, "title", self.title or self.name)
        object.__setattr__(self, "label", self.label or self.name)

    # made

    @classmethod
    def open(cls, source: Any, *, tune: int | str | None = None) -> "Piece":
        """Opens a piece.

        Args:
            source: a path (.mid, .midi, .kar, .rmi, .abc, .musicxml, .mxl), the bytes of such a file, a file object, a
                `PrettyMIDI`, a symusic `Score`, or a piece, which is given back.
            tune: of an ABC file of several tunes, by its place (from 1) or its title; None: the first.

        Raises:
            DamagedFileError: it is not what it claims to be.
            MusicaeError: no such file, or no such tune.
            ValueError: an object of another type, or with values that are none.
        """
        if isinstance(source, Piece):
            return source
        from musicae.music.interchange import content_of

        content = content_of(source)
        if content.is_abc:
            return _of_tunes(content, tune)[0]
        if tune is not None:
            raise MusicaeError(f"{content.name} is one piece and no collection of tunes; leave tune out.")
        data = midi.unwrapped(content.data)
        score = checked(parse_midi(data, content.name), content.name)
        stem = Path(content.name).stem
        container = content.data if data is not content.data else b""
        return cls(data, stem, stem, content.name, container=container, parsed=score)

    @classmethod
    def open_all(cls, source: Any) -> list["Piece"]:
        """Every tune of an ABC file, or the one piece of any other source; else as `open`."""
        from musicae.music.interchange import content_of

        if isinstance(source, Piece):
            return [source]
        content = content_of(source)
        return _of_tunes(content, None, first=False) if content.is_abc else [cls.open(content)]

    @classmethod
    def new(
        cls,
        tracks: Sequence[midi.NewTrack],
        *,
        ticks_per_quarter: int = midi.TICKS_PER_QUARTER,
        tempi: Sequence[tuple[int, float]] = ((0, DEFAULT_TEMPO_BPM),),
        time_signatures: Sequence[tuple[int, int, int]] = ((0, 4, 4),),
        end: int = 0,
        name: str = "piece",
        title: str = "",
        remarks: Iterable[str] = (),
    ) -> "Piece":
        """Makes a piece of notes.

        Args:
            tracks: what plays; up to 15 pitched ones have channels of their own.
            ticks_per_quarter: 1 to 32767.
            tempi: `(tick, quarters per minute)`; what no file can hold becomes the nearest that one can.
            time_signatures: `(tick, numerator, denominator)`.
            end: in ticks, if after the last note: the last time signature is repeated there, which players ignore.
            name, title, remarks: as in the attributes.

        Raises:
            ValueError: a program or tempo that does not exist.
        """
        file = midi.new_file(tracks, ticks_per_quarter, tempi, time_signatures, end)
        return cls(file.to_bytes(), name, title, given_remarks=tuple(remarks))

    def replace(self, notes: Mapping[int, Notes], first_tick: int = 0, last_tick: int | None = None) -> "Piece":
        """A piece with the notes of some tracks exchanged between two ticks.

        Every other event stays as it is, with its tick, channel and bytes; so do the notes that are given as they
        are already, and of a note that only ends elsewhere its beginning. A new note plays on its track's channel,
        with its track's program. MIDI ends the first of two notes of one pitch and channel that sound at once: a new
        note inside an old one of its pitch swaps ends with it.

        Args:
            notes: index of a track → the notes that it is to have there, in place of those that begin there now.
            first_tick, last_tick: the span, the last exclusive; None: to the end. See `bar_tick`.

        Raises:
            ValueError: no such track, arrays of different lengths, or a note that MIDI or the span can't hold.
        """
        changes: dict[int, edit.Change] = defaultdict(edit.Change)
        for index, wanted in notes.items():
            if not 0 <= index < len(self._places):
                raise ValueError(f"expected a track 0 to {len(self._places) - 1}, got {index}")
            place = self._places[index]
            own = self.notes(index)
            inside = (own.start >= first_tick) & (own.start < (last_tick if last_tick is not None else np.inf))
            edit.check_notes(wanted, first_tick, last_tick, MOST_QUARTERS * self.ticks_per_quarter)
            edit.exchange(
                changes[place.chunk], self._midi.tracks[place.chunk], place, own, np.flatnonzero(inside), wanted
            )
        file = self._midi
        for chunk, change in changes.items():
            if change.removed or change.moved or change.added:
                file = file.with_track(chunk, edit.changed(file.tracks[chunk], change))
        return self._with_data(self.data if file is self._as_read else file.to_bytes())

    def with_event(self, tick: int, message: bytes) -> "Piece":
        """The same with one more event in its first chunk, such as a marker (see `musicae.music.midi`)."""
        file = self._midi.with_track(0, edit.inserted(self._midi.tracks[0], tick, message))
        return self._with_data(file.to_bytes())

    def _with_data(self, data: bytes) -> "Piece":
        """The same with the bytes of another MIDI file."""
        return dataclasses.replace(self, data=data, given_remarks=self.remarks, container=b"", parsed=None)

    def only_track(self, track: int | str) -> "Piece":
        """A piece in which nothing but one track plays.

        Args:
            track: an index, a name, or a part of a name.

        Raises:
            MusicaeError: it is not there, or has no notes.
        """
        from musicae.music.tracks import find_wanted, summarise_tracks

        return self.only_tracks([find_wanted(summarise_tracks(self.score), track, drums=True).index])

    def only_tracks(self, tracks: Collection[int]) -> "Piece":
        """A piece in which nothing but the tracks of these indices plays."""
        silent = Notes(*(np.zeros(0, np.int64) for _ in range(4)))
        others = {other.index: silent for other in self.tracks if other.index not in tracks and other.notes}
        return self.replace(others) if others else self

    def with_track(self, track: int | str | None) -> "Piece":
        """The same with a track chosen for whatever is done with it."""
        return dataclasses.replace(self, chosen_track=track)

    def with_bars(self, first: int | None, last: int | None = None) -> "Piece":
        """The same with bars chosen for whatever is done with it: what lies outside of them stays as it is.

        Args:
            first: 1-based, counted in the file's own time signatures; None: all bars again.
            last: included; None: only the first.

        Raises:
            ValueError: no bar is meant.
        """
        if first is None:
            return dataclasses.replace(self, chosen_bars=None)
        last = first if last is None else last
        if not 1 <= first <= last:
            raise ValueError(f"bars are a first one from 1 and a last one, got {first} to {last}")
        return dataclasses.replace(self, chosen_bars=(first, last))

    def at_speed(self, factor: float) -> "Piece":
        """The same with every tempo multiplied, by a factor above 0 (else `ValueError`); ticks stay."""
        if not 0 < factor < np.inf:
            raise ValueError(f"a factor of tempi is a number above 0, got {factor}")
        return self._with_data(edit.at_speed(self._midi, factor).to_bytes())

    def with_remarks(self, *remarks: str) -> "Piece":
        """The same with more remarks."""
        return dataclasses.replace(self, given_remarks=(*self.given_remarks, *remarks))

    # what it holds

    @cached_property
    def _midi(self) -> midi.MidiFile:
        """Every event, and every note ended."""
        return self._as_read.closed()

    @cached_property
    def _as_read(self) -> midi.MidiFile:
        return midi.read_events(self.data, self.label)

    @cached_property
    def score(self) -> ScoreTick:
        """Its notes and times as symusic gives them, checked; not to be changed."""
        closed = closed_score(self._as_read, self.label)
        if closed is not None:
            return checked(closed, self.label)
        return self.parsed if self.parsed is not None else checked(parse_midi(self.data, self.label), self.label)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is worth knowing of it, for people: which tune was taken, notes that are never ended."""
        count = self._as_read.unclosed
        if not count:
            return self.given_remarks
        notes = "1 note is never ended and ends" if count == 1 else f"{count:,} notes are never ended and end"
        return (*self.given_remarks, f"{self.label}: {notes} with the track")

    @cached_property
    def _places(self) -> tuple[edit.TrackPlace, ...]:
        return edit.track_places(self._midi, self.score, self.label)

    @cached_property
    def tracks(self) -> tuple[Track, ...]:
        """Its tracks, in the order of the file."""
        names = [chunk.name for chunk in self._midi.tracks]
        return tuple(
            Track(index, names[place.chunk] if len(place.notes) else track.name, track.program, track.is_drum,
                  place.channel if len(place.notes) else 9 * track.is_drum, len(track.notes))
            for index, (track, place) in enumerate(zip(self.score.tracks, self._places, strict=True))
        )  # fmt: skip

    def place(self, track: int) -> tuple[int, int, int]:
        """Chunk, channel and program of a track: what stays the same when others lose their notes."""
        place = self._places[track]
        return place.chunk, place.channel, place.program

    @property
    def note_count(self) -> int:
        """Number of notes of all tracks."""
        return sum(len(track.notes) for track in self.score.tracks)

    def notes(self, track: int) -> Notes:
        """The notes of a track, in the order in which they begin in the file."""
        table = self.score.tracks[track].notes.numpy()
        start, duration, pitch, velocity = (
            table[key].astype(np.int64) for key in ("time", "duration", "pitch", "velocity")
        )
        return Notes(start, start + duration, pitch, velocity)

    @property
    def ticks_per_quarter(self) -> int:
        """Its division."""
        return self.score.tpq

    @cached_property
    def tempo_map(self) -> TempoMap:
        """When its ticks are."""
        return TempoMap.of(self.score)

    @property
    def tempi(self) -> tuple[tuple[int, float], ...]:
        """`(tick, quarters per minute)`, the first at 0."""
        return tuple(zip(self.tempo_map.ticks.tolist(), self.tempo_map.tempi_bpm.tolist(), strict=True))

    @property
    def time_signatures(self) -> tuple[tuple[int, int, int], ...]:
        """`(tick, numerator, denominator)` of those that make sense."""
        return tuple((event.time, event.numerator, event.denominator) for event in self.score.time_signatures)

    @property
    def key_signatures(self) -> tuple[tuple[int, int, bool], ...]:
        """`(tick, sharps, whether it is minor)` of those that make sense; flats are negative."""
        return self._midi.key_signatures()

    @property
    def markers(self) -> tuple[tuple[int, str], ...]:
        """`(tick, text)`."""
        return self._midi.texts(midi.MARKER)

    @property
    def lyrics(self) -> tuple[tuple[int, str], ...]:
        """`(tick, text)`."""
        return self._midi.texts(midi.LYRIC)

    @property
    def texts(self) -> tuple[tuple[int, str], ...]:
        """`(tick, text)` of text events."""
        return self._midi.texts(midi.TEXT)

    @property
    def controllers(self) -> tuple[tuple[int, int, int, int], ...]:
        """`(tick, channel, controller, value)` of every control change, chunk after chunk."""
        return self._midi.controllers()

    @property
    def duration_s(self) -> float:
        """When its last note ends."""
        last = max((track.end() for track in self.score.tracks if len(track.notes)), default=0)
        last = max((int(self.notes(track.index).end.max()) for track in self.tracks if track.notes), default=last)
        return float(self.tempo_map.seconds(np.array([last]))[0])

    def tick_at(self, second: float) -> int:
        """The last tick that is not after a time."""
        return self.tempo_map.tick_at(second)

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """Its bars, section after section of one time signature."""
        half_step = self.ticks_per_quarter // (2 * STEPS_PER_QUARTER)
        last = 0
        for track in self.tracks:
            if track.notes:
                notes = self.notes(track.index)
                last = max(last, int(notes.start.max()) + half_step + 1, int(notes.end.max()) - half_step)
        return tuple(find_sections(self.score, end_tick(self.score, last)))

    @property
    def bars(self) -> int:
        """Number of its bars, in all time signatures."""
        return sum(section.bars for section in self.sections)

    def bar_tick(self, bar: int) -> int:
        """Where a bar begins, counted from 1; that after the last is where the last one ends.

        Raises:
            ValueError: no such bar.
        """
        for section in self.sections:
            if section.first_bar <= bar < section.first_bar + section.bars:
                return section.start + (bar - section.first_bar) * section.bar_ticks(self.ticks_per_quarter)
        if bar == self.bars + 1:
            last = self.sections[-1] if self.sections else None
            return 0 if last is None else last.start + last.bars * last.bar_ticks(self.ticks_per_quarter)
        raise ValueError(f"expected a bar 1 to {self.bars + 1}, got {bar}")

    # for people and other programs

    def __repr__(self) -> str:
        notes = self.note_count
        return (
            f"<Piece {self.title or self.name!r}: {_counted(len(self.tracks), 'track')}, {_counted(notes, 'note')}, "
            f"{_counted(self.bars, 'bar')}, {self.duration_s:.0f} s>"
        )

    def to_bytes(self) -> bytes:
        """A MIDI file: what it was read from, where nothing was changed."""
        return self.data

    def to_pretty_midi(self) -> "pretty_midi.PrettyMIDI":
        """A `PrettyMIDI` with its notes, controls, bends, tempi, signatures, lyrics and texts (markers among them)."""
        from musicae.music.interchange import pretty_midi_of

        return pretty_midi_of(self)

    def render(
        self, sample_rate_hz: int = 44_100, *, longest_s: float | None = None, backend: str | None = None,
        instrument: "PlaysNotes | HasInstrument | None" = None,
    ) -> "Sound":  # fmt: skip
        """Plays it; see `musicae.music.render.render`."""
        from musicae.music.render import render

        return render(self, sample_rate_hz=sample_rate_hz, longest_s=longest_s, backend=backend, instrument=instrument)

    def plot(self) -> "Image":
        """Draws all tracks as a piano roll, eight bars a row, drums by their names; of long pieces the beginning."""
        from musicae.music.rolls import piece_rolls
        from musicae.plots import piano_rolls

        drawn = piece_rolls(self)
        bar, beat = drawn.steps_per_bar, drawn.steps_per_beat
        return piano_rolls(drawn.rows, steps_per_bar=bar, steps_per_beat=beat, row_names=drawn.names)

    def player_html(self) -> str:
        """A player of its first half minute for web pages and notebooks."""
        return self.render(_PLAYED_HZ, longest_s=_PLAYED_S).player_html()

    def _repr_html_(self) -> str:
        """Its piano roll, with a player of its first half minute."""
        from musicae.plots import as_html

        lines = "".join(f"<div>{html.escape(line)}</div>" for line in (repr(self), *self.remarks))
        return f"<div>{lines}{as_html(self.plot())}<br>{self.player_html()}</div>"

    def save(self, path: Path | str) -> Path:
        """Writes a file, whole or not at all: .mid, .midi, .kar or .rmi as MIDI, .wav as sound, .png as a picture.

        Raises:
            MusicaeError: another ending, or a place that can't be written to.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix == ".wav":
            return self.render().save(path)
        if suffix == ".png":
            from musicae.plots import save_png

            return save_png(self.plot(), path)
        if suffix not in MIDI_SUFFIXES and not path.is_dir():
            raise MusicaeError(f"can't write music as {path.name!r}; choose a name ending in .mid, .wav or .png.")
        from musicae.atomic_io import atomic_write

        with atomic_write(path) as partial:
            partial.write_bytes((self.container or midi.wrapped(self.data)) if suffix == ".rmi" else self.data)
        return path


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _of_tunes(content: "Content", wanted: int | str | None, *, first: bool = True) -> list[Piece]:
    """The wanted tune of an ABC file, or the first, or all."""
    from musicae.music.abc import pick_tune, read_tune, split_tunes

    name = content.name
    remarks: tuple[str, ...] = ()
    tunes = split_tunes(content.data, name)
    if first:
        tunes, remarks = pick_tune(tunes, name, wanted)
    return [
        Piece(read_tune(tune, name).dumps_midi(), Path(name).stem, tune.title, name, given_remarks=remarks)
        for tune in tunes
    ]
