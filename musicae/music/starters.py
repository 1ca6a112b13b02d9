"""Starter music: the tunes and grooves of `data/` as pieces, and trios and piano pieces made of them.

A groove is written as text: it names its bars and says in which order they are played; see the head of
`data/grooves.txt`. The trios are no one's arrangements: a tune, under it a bass that plays the root of the chord of
the scale that fits the bar's notes best, and a groove of the tune's time signature. They let everything be tried, and
say little about bands.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from musicae.errors import DamagedFileError
from musicae.music.config import TIME_SIGNATURES, MusicConfig
from musicae.music.midi import TICKS_PER_QUARTER, VELOCITY, NewTrack, Notes
from musicae.music.piece import Piece
from musicae.music.score import STEPS_PER_QUARTER, bar_ticks
from musicae.music.tokens import DRUM_PITCHES, WRITTEN_PITCH

_DRUMS = list(DRUM_PITCHES)
_FEWEST_BARS = 16
_STEP = TICKS_PER_QUARTER // STEPS_PER_QUARTER
_BASS_PROGRAM = 33
_LOWEST_BASS = 33  # A1
_TRIADS = ((0, 4, 7), (0, 3, 7))


def starter_pieces(config: MusicConfig, starter_file: Callable[[str], Path]) -> Iterator[Piece]:
    """Pieces that hold the instruments of a model's part, named after their titles.

    Args:
        config: of the model.
        starter_file: the name of a starter file → its path.
    """
    with_drums = {stream.is_drums for stream in config.plan.streams}
    if with_drums == {True}:
        yield from read_grooves(starter_file("grooves.txt"))
    elif True in with_drums:
        yield from _trios(read_tunes(starter_file("tunes.abc")), read_grooves(starter_file("grooves.txt")))
    elif config.plan.instruments[0].is_keys:
        yield from map(_for_two_hands, read_tunes(starter_file("tunes.abc")))
    else:
        yield from read_tunes(starter_file("tunes.abc"))


def read_tunes(path: Path) -> list[Piece]:
    """Every tune of an ABC file, named after its title."""
    return [Piece(piece.data, piece.title) for piece in Piece.open_all(path)]


def read_grooves(path: Path) -> list[Piece]:
    """Reads every groove of a file as a piece with one track of drums.

    Raises:
        DamagedFileError: a line that is not understood, with its number.
    """
    grooves: list[_Groove] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        if line.startswith("title:"):
            grooves.append(_Groove(line.partition(":")[2].strip()))
        elif not grooves or not grooves[-1].take(line):
            raise DamagedFileError(
                f"{path.name}, line {number}: {line!r} is not understood; expected title:, time signature:, tempo:, "
                f"bar:, play:, or a drum ({', '.join(_DRUMS)}) and one sign, x or a dot, for each 16th of the bar."
            )
    return [groove.piece() for groove in grooves]


class _Groove:
    """One groove while it is read, line by line."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.signature = TIME_SIGNATURES["4/4"]
        self.tempo_bpm = 120.0
        self.bars: dict[str, np.ndarray] = {}  # name → bool (steps, 9)
        self.order: list[str] = []

    def take(self, line: str) -> bool:
        """Takes a line; False where it is not understood."""
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "time signature" and value in TIME_SIGNATURES:
            self.signature = TIME_SIGNATURES[value]
        elif key == "tempo" and value.isdecimal():
            self.tempo_bpm = float(value)
        elif key == "bar" and value:
            self.bars[value] = np.zeros((self.signature.steps_per_bar, len(_DRUMS)), dtype=bool)
        elif key == "play" and value and set(value.split()) <= set(self.bars):
            self.order = value.split()
        else:
            return self._take_drum(line)
        return True

    def _take_drum(self, line: str) -> bool:
        drum = next((name for name in _DRUMS if line.startswith(f"{name} ")), None)
        signs = line[len(drum) :].replace(" ", "") if drum else ""
        if drum is None or not self.bars or len(signs) != self.signature.steps_per_bar or set(signs) - {"x", "."}:
            return False
        next(reversed(self.bars.values()))[:, _DRUMS.index(drum)] = [sign == "x" for sign in signs]
        return True

    def piece(self) -> Piece:
        """The bars in their order, repeated until there are enough."""
        order = self.order or list(self.bars)
        row = np.concatenate([self.bars[name] for name in order * -(-_FEWEST_BARS // len(order))])
        step, drum = np.nonzero(row)
        track = _track("Drums", 0, True, step * _STEP, _STEP // 2, WRITTEN_PITCH[drum])
        signature = (0, self.signature.numerator, self.signature.denominator)
        return Piece.new(
            [track],
            tempi=((0, self.tempo_bpm),),
            time_signatures=(signature,),
            end=len(row) * _STEP,
            name=self.title,
        )


def _trios(tunes: list[Piece], grooves: list[Piece]) -> Iterator[Piece]:
    """Every tune over the next groove of its time signature, where there is one."""
    by_signature: dict[tuple[int, int], list[Piece]] = defaultdict(list)
    for groove in grooves:
        by_signature[_signature(groove)].append(groove)
    used: dict[tuple[int, int], int] = defaultdict(int)
    for tune in tunes:
        signature = _signature(tune)
        fitting = by_signature[signature]
        if not fitting:
            continue
        groove = fitting[used[signature] % len(fitting)]
        used[signature] += 1
        yield _accompanied(tune, groove)


def _signature(piece: Piece) -> tuple[int, int]:
    return piece.time_signatures[0][1:]


def _accompanied(tune: Piece, groove: Piece) -> Piece:
    """A tune with a bass and drums as long as itself."""

    def others(melody: Notes, bar: int, bars: int) -> list[NewTrack]:
        return [_bass(melody, bar, bars), _drums(groove, bar * bars)]

    return _arranged(tune, "Melody", others)


def _for_two_hands(tune: Piece) -> Piece:
    """A tune in the right hand, and triads in the left: the root, then the whole."""

    def left_hand(melody: Notes, bar: int, bars: int) -> list[NewTrack]:
        chord = _chords(melody, bar, bars)
        low = _LOWEST_BASS + 12 + (chord % 12 - _LOWEST_BASS) % 12
        third, fifth = (low + np.array(_TRIADS)[chord // 12, place] for place in (1, 2))
        start = np.arange(bars) * bar
        onset = np.concatenate([start, *(start + bar // 2 for _ in range(3))])
        pitch = np.concatenate([low, low, third, fifth])
        order = np.argsort(onset, kind="stable")
        return [_track("Piano left", 0, False, onset[order], bar // 2, pitch[order])]

    return _arranged(tune, "Piano right", left_hand)


def _arranged(tune: Piece, name: str, others: Callable[[Notes, int, int], list[NewTrack]]) -> Piece:
    """A tune with other tracks, which are made of its notes, the ticks of a bar and the number of bars."""
    # symusic's own resampling, as the starter data have always been made.
    score = tune.score.resample(TICKS_PER_QUARTER)
    table = score.tracks[0].notes.numpy()
    start, duration, pitch, velocity = (
        table[key].astype(np.int64) for key in ("time", "duration", "pitch", "velocity")
    )
    bar = bar_ticks(TICKS_PER_QUARTER, *_signature(tune))
    bars = -(-score.end() // bar)
    melody = NewTrack(name, score.tracks[0].program, False, Notes(start, start + duration, pitch, velocity))
    return Piece.new(
        [melody, *others(melody.notes, bar, bars)],
        tempi=tuple((tempo.time, tempo.qpm) for tempo in score.tempos),
        time_signatures=tuple((event.time, event.numerator, event.denominator) for event in score.time_signatures),
        name=tune.name,
    )


def _bass(tune: Notes, bar: int, bars: int) -> NewTrack:
    """Roots on the first beat and halfway, fifths in between in every other bar."""
    low = _LOWEST_BASS + (_chords(tune, bar, bars) % 12 - _LOWEST_BASS) % 12
    onset = (np.arange(bars)[:, None] * bar + np.array([0, bar // 2])).reshape(-1)
    pitch = np.stack([low, low + np.where(np.arange(bars) % 2, 7, 0)], axis=1).reshape(-1)
    return _track("Bass", _BASS_PROGRAM, False, onset, bar // 2, pitch)


def _chords(tune: Notes, bar: int, bars: int) -> np.ndarray:
    """The triad that fits each bar best: its root, and 12 more for minor, int64 `(bars,)`."""
    weight = np.zeros((bars, 12))
    np.add.at(weight, (np.minimum(tune.start // bar, bars - 1), tune.pitch % 12), tune.end - tune.start)
    whole = weight.sum(axis=0)
    # A root must be in the tune, or chords of other keys win where a bar has one note.
    templates = np.zeros((24, 12))
    for index in range(24):
        templates[index, (np.array(_TRIADS[index // 12]) + index) % 12] = (1.2, 0.9, 1.0)
    fit = weight @ templates.T + 0.05 * (templates @ whole)
    found: np.ndarray = fit.argmax(axis=1)
    return found


def _drums(groove: Piece, end: int) -> NewTrack:
    """A groove as often as it takes."""
    hits = groove.notes(0)
    length = groove.time_signatures[-1][0]
    times = -(-end // length)
    onset = (np.arange(times)[:, None] * length + hits.start).reshape(-1)
    kept = onset < end
    return _track("Drums", 0, True, onset[kept], _STEP // 2, np.tile(hits.pitch, times)[kept])


def _track(name: str, program: int, is_drum: bool, onset: np.ndarray, duration: int, pitch: np.ndarray) -> NewTrack:
    return NewTrack(name, program, is_drum, Notes(onset, onset + duration, pitch, np.full(len(onset), VELOCITY)))
