"""What the tracks of a score are, and how a choice among them is told.

This module knows no part: who takes which track is in `musicae.music.melody`, `drums` and `trio`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pretty_midi
from symusic.core import ScoreTick

from musicae.errors import MusicaeError
from musicae.music.lazy_lines import Told
from musicae.music.notes import NoteTable, note_table

BASS_PROGRAMS = range(32, 40)


@dataclass(frozen=True)
class TrackSummary:
    """What is known of a track before choosing.

    Attributes:
        index: 0-based place in the file.
        notes: number of notes.
        program: General MIDI program, 0-based.
        table: the notes of all tracks.
    """

    index: int
    name: str
    notes: int
    program: int
    is_drum: bool
    table: NoteTable = field(repr=False, compare=False)

    @property
    def polyphony(self) -> float:
        """Notes sounding at once on average, where any sounds; 1 for a single line."""
        return self.table.polyphony[self.index]

    @property
    def mean_pitch(self) -> float:
        """0 to 127, of a track with notes."""
        return float(self.table.of_track(self.index)[2].mean())

    def __str__(self) -> str:
        label = f"track {self.index}" + (f" {self.name!r}" if self.name else "")
        if self.is_drum:
            return f"{label} (drums): {self.notes} notes"
        instrument = pretty_midi.INSTRUMENT_MAP[self.program % 128]
        return f"{label} ({instrument}): {self.notes} notes, polyphony {self.polyphony:.1f}"

    @property
    def is_bass(self) -> bool:
        """Whether its instrument or its name says so."""
        return self.program in BASS_PROGRAMS or "bass" in self.name.casefold()


@dataclass(frozen=True)
class TrackChoice:
    """The tracks used for each stream, or why they are not all there.

    Attributes:
        tracks: for each stream of the part the indices of its tracks; empty where it has none.
        why: why these tracks, or what is missing.
        parts: one line for each track: what it is, and whether and why it is used.
        advice: what reads the file instead; empty where nothing does.
    """

    tracks: tuple[tuple[int, ...], ...]
    why: str
    parts: Told
    advice: str = ""

    @property
    def reason(self) -> str:
        """Why these tracks, or what is missing and what to do; reads on its own."""
        return f"{self.why} ({self.advice})" if self.advice else self.why

    @property
    def complete(self) -> bool:
        """Whether every stream has a track."""
        return all(self.tracks)

    @property
    def track(self) -> int | None:
        """The first stream's first track."""
        return self.tracks[0][0] if self.tracks[0] else None


def no_tracks(summaries: Sequence[TrackSummary], why: str, advice: str) -> TrackChoice:
    """The choice of a part of one stream where no track has it."""
    return TrackChoice(((),), why, Told(lambda: [f"{track}: not used" for track in summaries]), advice)


def summarise_tracks(score: ScoreTick, notes: NoteTable | None = None) -> list[TrackSummary]:
    """Describes every track.

    Args:
        score: a checked score.
        notes: the score's; None: they are copied out of it.
    """
    table = note_table(score) if notes is None else notes
    return [
        TrackSummary(index, _printable(track.name).strip(), table.count(index), track.program, track.is_drum, table)
        for index, track in enumerate(score.tracks)
    ]


def _printable(name: str) -> str:
    return name if name.isprintable() else "".join(letter for letter in name if letter.isprintable())


def find_wanted(summaries: Sequence[TrackSummary], wanted: int | str, *, drums: bool = False) -> TrackSummary:
    """The track a user asked for, by index, name or part of a name.

    Args:
        summaries: of all tracks, in order.
        wanted: the user's choice.
        drums: whether a track of drums will do; otherwise it must be one with a melody.

    Raises:
        MusicaeError: it is not there, or is of the wrong kind.
    """
    found: list[TrackSummary] = []
    if isinstance(wanted, str):
        name = wanted.casefold().strip()
        found = [track for track in summaries if track.name.casefold() == name]
        if not found and name.isdecimal():
            wanted = int(name)
        elif not found and name:
            found = [track for track in summaries if name in track.name.casefold()]
    if isinstance(wanted, int):
        found = [track for track in summaries if track.index == wanted]
    if not found:
        there = "; ".join(str(track) for track in summaries) or "none"
        raise MusicaeError(f"no track {wanted!r}; choose one by number or name. Tracks: {there}.")
    chosen = max(found, key=lambda track: track.notes)
    if not chosen.notes:
        raise MusicaeError(f"track {wanted!r} has no notes; choose a track with {'hits' if drums else 'a melody'}.")
    if chosen.is_drum and not drums:
        raise MusicaeError(f"track {wanted!r} is drums (channel 10); choose a track with a melody.")
    return chosen
