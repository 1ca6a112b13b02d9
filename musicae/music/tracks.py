"""Which tracks of a piece a model reads: the melody, the drums, or a melody with bass and drums.

The melody, in this order: the user's choice, a track named melody, vocal, lead or right hand, then the track that
sounds most like one: it is often the highest, is a single line, moves in small steps in a register that can be sung,
and has many notes. How much each counts was fitted to every second song of POP909 and every second piece for two hands
of piano-midi, names hidden (`experiments/track_choice.py`); the share of its weight is the confidence. Drums are all
tracks of channel 10 together. A trio's bass is chosen first, by its instrument (General MIDI 33 to 40) or its name, so
that a busy bass is not taken for the melody; of several the one with most notes; the melody is chosen among the rest.

This module knows neither the grid nor tokens.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import overload

import numpy as np
from symusic.core import ScoreTick

from musicae.errors import MusicaeError
from musicae.music.score import STEPS_PER_QUARTER, NoteTable, note_table

BASS_PROGRAMS = range(32, 40)
PIANO_PROGRAMS = range(8)
PIANO_NAMES = ("piano", "klavier", "right hand", "left hand")
MELODY_NAMES = ("melody", "vocal", "lead", "right hand", "piano right")
MELODY_WEIGHTS = {
    "on_top": 1.03,
    "single_line": 2.7,
    "interval": -1.05,
    "register": -0.28,
    "onsets": 2.7,
    "lyrics": 4.0,
}
"""Of the evidence that `melody_evidence` gives; all but that of lyrics are fitted."""
_SINGLE_LINE = 1.1  # polyphony below it
_SUNG = 69  # A4
_LONGEST_ON_TOP = 64  # 16ths of a note that are looked at
FEWEST_NOTES = 8
LEAST_SHARE = 0.1  # of the notes of the largest track; a short solo isn't the song's melody
ONLY_DRUMS = "only drums (channel 10, or with a drum kit's bank), no melody"
ONLY_MELODY = "no drums (channel 10), only other tracks"
NO_PIANO = "no track that is named a piano or has its sound"
DRUMS_MODEL = "use --model drums-2bar"
MELODY_MODEL = "melody-2bar reads these"
"""No order: what is asked of drums, such as to play them as a person might, no model of melodies does."""


class LazyLines(Sequence[str]):
    """Lines of text, made when somebody looks: a hundred thousand files are read, and few are looked at.

    Args:
        make: makes them; called once at most.
    """

    def __init__(self, make: Callable[[], Iterable[str]]) -> None:
        self._make = make

    @cached_property
    def _lines(self) -> tuple[str, ...]:
        return tuple(self._make())

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self._lines[index]

    def __len__(self) -> int:
        return len(self._lines)


@dataclass(frozen=True)
class TrackSummary:
    """What is known of a track before choosing.

    Attributes:
        index: 0-based place in the file.
        notes: number of notes.
        program: General MIDI program, 0-based.
        table: the notes of all tracks.
        quarter: ticks of a quarter.
        words: ticks of all lyric events of the file, int64; None where it has none.
    """

    index: int
    name: str
    notes: int
    program: int
    is_drum: bool
    table: NoteTable = field(repr=False, compare=False)
    quarter: int = 480
    words: np.ndarray | None = field(default=None, repr=False, compare=False)

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
        instrument = instrument_name(self.program)
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
        confidence: how sure the choice of the melody is, 0 to 1; 1 where nothing had to be weighed.
        runner_up: index of the track that would be the next choice; None where there is none.
    """

    tracks: tuple[tuple[int, ...], ...]
    why: str
    parts: LazyLines
    advice: str = ""
    confidence: float = 1.0
    runner_up: int | None = None

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


def instrument_name(program: int) -> str:
    """General MIDI's name of a program, 0 to 127."""
    from pretty_midi import INSTRUMENT_MAP  # takes longer to load than a file to read

    name: str = INSTRUMENT_MAP[program % 128]
    return name


def no_tracks(summaries: Sequence[TrackSummary], why: str, advice: str) -> TrackChoice:
    """The choice of a part of one stream where no track has it."""
    return TrackChoice(((),), why, LazyLines(lambda: [f"{track}: not used" for track in summaries]), advice)


def summarise_tracks(score: ScoreTick, notes: NoteTable | None = None) -> list[TrackSummary]:
    """Describes every track.

    Args:
        score: a checked score.
        notes: the score's; None: they are copied out of it.
    """
    table = note_table(score) if notes is None else notes
    sung = [event.time for track in score.tracks for event in track.lyrics]
    words = np.unique(np.array(sung, np.int64)) if sung else None
    return [
        TrackSummary(
            index,
            _printable(track.name).strip(),
            table.count(index),
            track.program,
            track.is_drum,
            table,
            score.tpq,
            words,
        )
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
        MusicaeError: it is not there, or is of the wrong type.
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


def choose_melody(summaries: Sequence[TrackSummary], wanted: int | str | None = None) -> TrackChoice:
    """Chooses the melody's track.

    Args:
        summaries: of all tracks, in order.
        wanted: the user's choice: an index, a name or a part of one; None to choose by itself.

    Raises:
        MusicaeError: the user's choice is not in the file, or holds no melody.
    """
    if wanted is not None:
        chosen = find_wanted(summaries, wanted)
        return _choice(summaries, chosen, "chosen by the user", "another track was chosen")
    pitched = [track for track in summaries if track.notes and not track.is_drum]
    if not pitched:
        missing = (ONLY_DRUMS, DRUMS_MODEL) if any(track.notes for track in summaries) else ("no notes", "")
        return no_tracks(summaries, *missing)
    for word in MELODY_NAMES:
        named = [track for track in pitched if word in track.name.casefold()]
        if named:
            chosen = max(named, key=lambda track: track.notes)
            return _choice(summaries, chosen, "its name says so", "another track is named as the melody")
    if len(pitched) == 1:
        return _choice(summaries, pitched[0], "the only track with notes", None)
    largest = max(track.notes for track in pitched)
    enough = [track for track in pitched if track.notes >= max(FEWEST_NOTES, LEAST_SHARE * largest)] or pitched
    candidates = [track for track in enough if not track.is_bass] or enough
    if len(candidates) == 1:
        return _choice(summaries, candidates[0], "the only one that is no bass and has enough notes", None)
    evidence = melody_evidence(candidates)
    weights = np.stack([weight * evidence[name] for name, weight in MELODY_WEIGHTS.items()]).sum(0)
    order = np.argsort(-weights, kind="stable")
    chosen, runner_up = (candidates[place] for place in order[:2])
    confidence = float(1 / np.exp(weights - weights[order[0]]).sum())
    why = f"sounds most like one, confidence {confidence:.2f}; next is track {runner_up.index}"
    choice = _choice(summaries, chosen, why, None)
    return replace(choice, confidence=confidence, runner_up=runner_up.index)


def melody_evidence(tracks: Sequence[TrackSummary]) -> dict[str, np.ndarray]:
    """What makes a track a melody, for each of several tracks with notes: name → float64 `(tracks,)`.

    Returns:
        `on_top`: logarithm of the share of the time in which it has the highest note; `single_line`: 1 for one note at
        a time, else 0; `interval`: semitones from a note to the next, on average; `register`: semitones from A4;
        `onsets`: logarithm of their number, relative to the track with most; `lyrics`: how well its onsets are those of
        the words (F1, to a 32nd), 0 in files without.
    """
    onsets, intervals = [], []
    for track in tracks:
        start, _, pitch = track.table.of_track(track.index)
        in_order = pitch[np.argsort(start, kind="stable")]
        onsets.append(len(np.unique(start)))
        intervals.append(np.abs(np.diff(in_order)).mean() if len(pitch) > 1 else 0.0)
    return {
        "on_top": np.log(_shares_on_top(tracks) + 0.02),
        "single_line": np.array([float(track.polyphony < _SINGLE_LINE) for track in tracks]),
        "interval": np.array(intervals),
        "register": np.array([abs(track.mean_pitch - _SUNG) for track in tracks]),
        "onsets": np.log(np.array(onsets) / max(onsets)),
        "lyrics": np.array([_is_sung(track) for track in tracks]),
    }


def _is_sung(track: TrackSummary) -> float:
    """F1 of a track's onsets and the words' places, which lie in a track without notes of its own; 0 without words."""
    if track.words is None:
        return 0.0
    unit = max(1, track.quarter // (2 * STEPS_PER_QUARTER))
    onsets, words = (
        np.unique((ticks + unit // 2) // unit) for ticks in (track.table.of_track(track.index)[0], track.words)
    )
    return 2 * len(np.intersect1d(onsets, words, assume_unique=True)) / (len(onsets) + len(words))


def _shares_on_top(tracks: Sequence[TrackSummary]) -> np.ndarray:
    """Share of the 16ths in which any of some tracks sounds, where each has the highest note."""
    table, sixteenth = tracks[0].table, max(1, tracks[0].quarter // STEPS_PER_QUARTER)
    place = np.concatenate([np.arange(*table.first[track.index : track.index + 2]) for track in tracks])
    owner = np.repeat(np.arange(len(tracks)), [track.notes for track in tracks])
    order = np.argsort(table.pitch[place], kind="stable")
    first, owner = table.start[place][order] // sixteenth, owner[order]
    steps = (-(-table.end[place][order] // sixteenth) - first).clip(1, _LONGEST_ON_TOP)
    before = np.cumsum(steps) - steps
    sounding = np.repeat(first - before, steps) + np.arange(steps.sum())
    top = np.full(sounding.max() + 1, -1)
    top[sounding] = np.repeat(owner, steps)  # of several at one place the last one stays, which is the highest
    counts = np.bincount(top[top >= 0], minlength=len(tracks))
    return counts / counts.sum()


def _choice(summaries: Sequence[TrackSummary], chosen: TrackSummary, why: str, why_not: str | None) -> TrackChoice:
    return TrackChoice(((chosen.index,),), why, LazyLines(lambda: _explain(summaries, chosen, why, why_not)))


def _explain(summaries: Sequence[TrackSummary], chosen: TrackSummary, why: str, why_not: str | None) -> list[str]:
    """Says for each track how it fared; without `why_not` by comparing with the chosen one."""
    parts = []
    for track in summaries:
        if track is chosen:
            parts.append(f"{track}: used as melody ({why})")
        elif track.is_drum:
            parts.append(f"{track}: not used: drums (channel 10) have no melody")
        else:
            reason = (why_not or _lost_to(track, chosen)) if track.notes else "no notes"
            parts.append(f"{track}: not used: {reason}")
    return parts


def _lost_to(track: TrackSummary, chosen: TrackSummary) -> str:
    if track.is_bass:
        return "a bass"
    if round(track.polyphony, 1) > round(chosen.polyphony, 1):
        return "more polyphonic than the melody"
    return "lower than the melody" if track.mean_pitch < chosen.mean_pitch else "less like a melody"


def choose_piano(summaries: Sequence[TrackSummary], wanted: int | str | None = None) -> TrackChoice:
    """Takes every track that is named as a piano together, or every one with its sound, or the user's.

    Raises:
        MusicaeError: the user's choice is not in the file, or has no notes.
    """
    pitched = [track for track in summaries if track.notes and not track.is_drum]
    if wanted is not None:
        chosen, why = [find_wanted(summaries, wanted)], "chosen by the user"
    else:
        chosen = [track for track in pitched if any(word in track.name.casefold() for word in PIANO_NAMES)]
        why = "its name says so"
        if not chosen:
            chosen, why = [track for track in pitched if track.program in PIANO_PROGRAMS], "its instrument says so"
    if not chosen:
        missing = (NO_PIANO, "choose a track with --track") if pitched else (ONLY_DRUMS, DRUMS_MODEL)
        return no_tracks(summaries, *(missing if any(track.notes for track in summaries) else ("no notes", "")))
    indices = tuple(track.index for track in chosen)

    def explain() -> list[str]:
        return [
            f"{track}: " + (f"used as piano ({why})" if track.index in indices else f"not used: {_no_piano(track)}")
            for track in summaries
        ]

    return TrackChoice((indices,), why, LazyLines(explain))


def _no_piano(track: TrackSummary) -> str:
    if not track.notes:
        return "no notes"
    return "drums" if track.is_drum else "not the piano"


def choose_drums(summaries: Sequence[TrackSummary], wanted: int | str | None = None) -> TrackChoice:
    """Takes every track of channel 10 together, or the one the user asks for, whatever its channel.

    Raises:
        MusicaeError: the user's choice is not in the file, or has no notes.
    """
    if wanted is not None:
        chosen = [find_wanted(summaries, wanted, drums=True)]
        why = "chosen by the user"
    else:
        chosen = [track for track in summaries if track.is_drum and track.notes]
        why = "channel 10"
    if not chosen:
        missing = (ONLY_MELODY, MELODY_MODEL) if any(track.notes for track in summaries) else ("no notes", "")
        return no_tracks(summaries, *missing)
    indices = tuple(track.index for track in chosen)
    return TrackChoice((indices,), why, LazyLines(lambda: [_explain_drums(track, indices, why) for track in summaries]))


def _explain_drums(track: TrackSummary, indices: tuple[int, ...], why: str) -> str:
    return f"{track}: " + (f"used as drums ({why})" if track.index in indices else f"not used: {_why_not(track)}")


def _why_not(track: TrackSummary) -> str:
    if not track.notes:
        return "no notes"
    return "another track was chosen" if track.is_drum else "not drums"


def choose_trio(summaries: Sequence[TrackSummary], wanted: int | str | None = None) -> TrackChoice:
    """Chooses the three tracks.

    Args:
        summaries: of all tracks, in order.
        wanted: the user's choice of the melody; None to choose by itself.

    Raises:
        MusicaeError: the user's choice is not in the file, or holds no melody.
    """
    taken = None if wanted is None else find_wanted(summaries, wanted)
    basses = [track for track in summaries if track is not taken and _may_be_bass(track)]
    bass = max(basses, key=lambda track: track.notes, default=None)
    others = [track for track in summaries if track is not bass and not track.is_drum]
    melody = choose_melody(others, None if taken is None else taken.index)
    drums = choose_drums(summaries)
    tracks = (melody.tracks[0], () if bass is None else (bass.index,), drums.tracks[0])
    if not any(track.notes for track in summaries):
        reason = "no notes"
    else:
        names = ("melody", "bass", "drums")
        missing = [name for name, found in zip(names, tracks, strict=True) if not found]
        reason = f"no {' and no '.join(missing)} (a trio needs melody, bass and drums)" if missing else melody.reason

    def explain() -> list[str]:
        lines = dict(zip((track.index for track in others), melody.parts, strict=True))
        if bass is not None:
            lines[bass.index] = f"{bass}: used as bass"
        lines |= {track.index: drums.parts[track.index] for track in summaries if track.is_drum}
        return [lines[track.index] for track in summaries]

    return TrackChoice(tracks, reason, LazyLines(explain))


def _may_be_bass(track: TrackSummary) -> bool:
    named_melody = any(word in track.name.casefold() for word in MELODY_NAMES)
    return bool(track.notes) and not track.is_drum and track.is_bass and not named_melody
