"""Grooves written as text, to scores.

A groove names its bars and says in which order they are played; see the head of `data/grooves.txt`.
"""

from pathlib import Path

import numpy as np
from symusic.core import NoteTickList, ScoreTick, TempoTick, TimeSignatureTick, TrackTick

from musicae.errors import DamagedFileError
from musicae.music.checking import MICROSECONDS_PER_MINUTE, NamedScore
from musicae.music.drums import DRUM_PITCHES, WRITTEN_PITCH
from musicae.music.time_signatures import METRES
from musicae.music.writing import TICKS_PER_QUARTER, TICKS_PER_STEP, VELOCITY

_KINDS = list(DRUM_PITCHES)
_FEWEST_BARS = 16


def read_grooves(path: Path) -> list[NamedScore]:
    """Reads every groove of a file as a score with one track of drums.

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
                f"{path.name}, line {number}: {line!r} is not understood; expected title:, metre:, tempo:, bar:, "
                f"play:, or a drum ({', '.join(_KINDS)}) and one sign, x or a dot, for each 16th of the bar."
            )
    return [NamedScore(groove.title, groove.score()) for groove in grooves]


class _Groove:
    """One groove while it is read, line by line."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.metre = METRES["4/4"]
        self.tempo_bpm = 120.0
        self.bars: dict[str, np.ndarray] = {}  # name → bool (steps, 9)
        self.order: list[str] = []

    def take(self, line: str) -> bool:
        """Takes a line; False where it is not understood."""
        key, _, value = (piece.strip() for piece in line.partition(":"))
        if key == "metre" and value in METRES:
            self.metre = METRES[value]
        elif key == "tempo" and value.isdecimal():
            self.tempo_bpm = float(value)
        elif key == "bar" and value:
            self.bars[value] = np.zeros((self.metre.steps_per_bar, len(_KINDS)), dtype=bool)
        elif key == "play" and value and set(value.split()) <= set(self.bars):
            self.order = value.split()
        else:
            return self._take_drum(line)
        return True

    def _take_drum(self, line: str) -> bool:
        kind = next((name for name in _KINDS if line.startswith(f"{name} ")), None)
        signs = line[len(kind) :].replace(" ", "") if kind else ""
        if kind is None or not self.bars or len(signs) != self.metre.steps_per_bar or set(signs) - {"x", "."}:
            return False
        next(reversed(self.bars.values()))[:, _KINDS.index(kind)] = [sign == "x" for sign in signs]
        return True

    def score(self) -> ScoreTick:
        """The bars in their order, repeated until there are enough."""
        order = self.order or list(self.bars)
        row = np.concatenate([self.bars[name] for name in order * -(-_FEWEST_BARS // len(order))])
        step, kind = np.nonzero(row)
        hits = len(step)
        track = TrackTick("Drums", 0, True)
        track.notes = NoteTickList.from_numpy(
            (step * TICKS_PER_STEP).astype(np.int32),
            np.full(hits, TICKS_PER_STEP // 2, np.int32),
            WRITTEN_PITCH[kind].astype(np.int8),
            np.full(hits, VELOCITY, np.int8),
        )
        score = ScoreTick(TICKS_PER_QUARTER)
        score.tracks.append(track)
        score.tempos.append(TempoTick(0, mspq=round(MICROSECONDS_PER_MINUTE / self.tempo_bpm)))
        # The second one marks the end.
        for time in (0, len(row) * TICKS_PER_STEP):
            score.time_signatures.append(TimeSignatureTick(time, self.metre.numerator, self.metre.denominator))
        return score
