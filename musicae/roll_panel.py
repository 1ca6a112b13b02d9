"""Draws one piano roll as pixels: notes on a pitch axis, drums on lines below it. `musicae.plots` adds the text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

PITCHES = 128
INK = (0x22, 0x30, 0x3C)
FRAME = (0x9A, 0xA5, 0xB1)
SUSTAIN = (0x7A, 0xAD, 0xDB)
ONSET = (0x12, 0x40, 0x78)
_SOFTEST = (0xA9, 0xC4, 0xDE)
_LOUDEST = (0x04, 0x14, 0x2C)
FIRST_VELOCITY = 3
"""In a roll 0 is silence, 1 a note that sounds on, 2 an onset, and from here on an onset of velocity 0, 1, …, 127."""
_BLACK_KEY = (0xF1, 0xF3, 0xF5)
_BAR_LINE = (0x88, 0x95, 0xA3)
_BEAT_LINE = (0xDD, 0xE2, 0xE7)

_PITCH_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
_BLACK_KEYS = (1, 3, 6, 8, 10)
_ONE_COLUMN, _MANY_COLUMNS = 1720, 2800
_MOST_PIXELS = 16_000


def _colours() -> np.ndarray:
    """The colour of each value of a roll, uint8 `(256, 3)`: the louder, the darker."""
    loudness = np.linspace(0, 1, 128)[:, None]
    soft, usual, loud = (np.array(colour, float) for colour in (_SOFTEST, ONSET, _LOUDEST))
    below, above = soft + (usual - soft) * 2 * loudness, usual + (loud - usual) * (2 * loudness - 1)
    table = np.zeros((256, 3))
    table[1], table[2] = SUSTAIN, ONSET
    table[FIRST_VELOCITY : FIRST_VELOCITY + 128] = np.where(loudness < 0.5, below, above)
    return np.round(table).astype(np.uint8)


_COLOURS = _colours()


def check_rolls(rolls: Sequence[np.ndarray], drums: int) -> None:
    """Raises `ValueError` unless each roll has 128 rows of pitches, `drums` rows of drums, or both."""
    heights = (drums, PITCHES + drums) if drums else (PITCHES,)
    for roll in rolls:
        if roll.ndim != 2 or len(roll) not in heights:
            wanted = " or ".join(f"({height}, steps)" for height in heights)
            raise ValueError(f"expected piano rolls of shape {wanted}, got {roll.shape}")


def pitch_range(rolls: Sequence[np.ndarray]) -> tuple[int, int]:
    """Lowest and highest pitch to show: those that sound and a semitone around them, at least an octave."""
    used = np.zeros(PITCHES, dtype=bool)
    for roll in rolls:
        used |= roll[:PITCHES].any(axis=1)
    pitches = np.flatnonzero(used)
    low, high = (int(pitches[0]) - 1, int(pitches[-1]) + 1) if pitches.size else (60, 71)
    missing = max(0, 12 - (high - low + 1))
    low, high = low - missing // 2, high + missing - missing // 2
    return max(0, min(low, 116)), min(127, max(high, 11))


@dataclass(frozen=True)
class RollPanel:
    """The common axes of all rolls of a plot. Sizes are in pixels.

    Attributes:
        low: lowest pitch shown.
        high: highest pitch shown; below `low` if there are only drums.
        names: names of the drums, the lowest line first.
        steps: length of the longest roll.
        pitch_height: height of a semitone.
        drum_height: height of a drum's line.
        step_width: width of `together` steps.
        together: number of steps that are drawn as one; 1 except for the longest pieces.
    """

    low: int
    high: int
    names: Sequence[str]
    steps: int
    pitch_height: int
    drum_height: int
    step_width: int
    together: int

    @classmethod
    def fitting(cls, rolls: Sequence[np.ndarray], names: Sequence[str], *, rows: int, columns: int) -> Self:
        """The axes for some rolls, which `check_rolls` has accepted. The more rolls there are, the smaller they are.

        Args:
            rolls: all rolls of the plot.
            names: names of the drums.
            rows: number of rows of panels.
            columns: number of columns of panels.
        """
        pitched = [roll for roll in rolls if len(roll) >= PITCHES]
        low, high = pitch_range(pitched) if pitched else (0, -1)
        steps = max(1, *(roll.shape[1] for roll in rolls))
        if columns == 1:
            width = min(60 if steps < 16 else 36, _ONE_COLUMN // steps)
        else:
            width = min(14, _MANY_COLUMNS // (columns * steps))
        crowd = min(1.0, max(0.6, 8 / rows))
        pitches = high - low + 1
        return cls(
            low=low,
            high=high,
            names=names,
            steps=steps,
            pitch_height=max(2, round(crowd * min(520, max(160, 12 * pitches)) / max(1, pitches))),
            drum_height=max(18, round(28 * crowd)),
            step_width=max(1, min(max(width, 12 if names else 4), _MOST_PIXELS // (columns * steps))),
            together=-(-steps // _MOST_PIXELS),
        )

    @property
    def pitched_height(self) -> int:
        """Height of the part with pitches."""
        return (self.high - self.low + 1) * self.pitch_height

    @property
    def height(self) -> int:
        """Height of the whole panel."""
        return self.pitched_height + len(self.names) * self.drum_height

    @property
    def width(self) -> int:
        """Width of the whole panel."""
        return self.place(0) + -(-self.steps // self.together) * self.step_width

    def place(self, step: int) -> int:
        """The x position where a step begins. Hits are centred on their time, so the first one needs space."""
        return (self.step_width // 2 if self.names else 0) + step * self.step_width // self.together

    def ticks(self, text_height: int) -> list[tuple[int, str]]:
        """`(distance from the top, name)`: the drums, the Cs, and the Gs where there is room for them."""
        shown = range(self.low, self.high + 1)
        named = [pitch for pitch in shown if pitch % 12 == 0]
        if len(named) < 2 or 5 * self.pitch_height >= text_height + 6:
            named = [pitch for pitch in shown if pitch % 12 in (0, 7)]
        pitches = [
            (self._top(pitch) + self.pitch_height // 2, f"{_PITCH_NAMES[pitch % 12]}{pitch // 12 - 1}")
            for pitch in named
        ]
        return pitches + [(self._line(number), name) for number, name in enumerate(self.names)]

    def draw(self, roll: np.ndarray, *, steps_per_bar: int, steps_per_beat: int) -> np.ndarray:
        """Draws one roll, `(128, steps)`, `(drums, steps)` or `(128 + drums, steps)`: uint8 `(height, width, 3)`."""
        pixels = np.full((self.height, self.width, 3), 255, np.uint8)
        for pitch in range(self.low, self.high + 1):
            if pitch % 12 in _BLACK_KEYS:
                pixels[self._top(pitch) : self._top(pitch) + self.pitch_height] = _BLACK_KEY
        for number in range(0, len(self.names), 2):
            bottom = self.height - number * self.drum_height
            pixels[bottom - self.drum_height : bottom] = _BLACK_KEY
        if self.names and self.pitched_height:
            pixels[self.pitched_height : self.pitched_height + 2] = FRAME
        for step in range(0, self.steps + 1, steps_per_beat):
            x = self.place(step)
            if step % steps_per_bar == 0:
                pixels[:, max(0, x - 1) : x + 1] = _BAR_LINE
            else:
                pixels[:, x : x + 1] = _BEAT_LINE
        roll = roll.astype(np.uint8)
        if self.together > 1:
            # Loud onsets hide soft ones.
            roll = np.maximum.reduceat(roll, np.arange(0, roll.shape[1], self.together), axis=1)
        # Drawn over the lines, or a note that crosses a beat would look like two.
        if len(roll) >= PITCHES:
            self._draw_notes(pixels, roll)
        if self.names:
            self._draw_hits(pixels, roll[-len(self.names) :])
        pixels[[0, -1]] = FRAME
        pixels[:, [0, -1]] = FRAME
        return pixels

    def _top(self, pitch: int) -> int:
        return (self.high - pitch) * self.pitch_height

    def _line(self, number: int) -> int:
        """The middle of a drum's line."""
        return self.height - number * self.drum_height - self.drum_height // 2

    def _draw_notes(self, pixels: np.ndarray, roll: np.ndarray) -> None:
        height = max(6, self.pitch_height - (2 if self.pitch_height >= 10 else 0))
        used = [pitch for pitch in range(self.low, self.high + 1) if roll[pitch].any()]
        for is_onset in (False, True):  # where notes are higher than pitches, onsets lie above
            for pitch in used:
                top = max(0, self._top(pitch) + (self.pitch_height - height) // 2)
                drawn = np.repeat(roll[pitch], self.step_width)
                sounds = drawn > 1 if is_onset else drawn == 1
                part = pixels[top : min(top + height, self.pitched_height), self.place(0) :][:, : len(sounds)]
                part[:, sounds] = _COLOURS[drawn[sounds]]

    def _draw_hits(self, pixels: np.ndarray, hits: np.ndarray) -> None:
        """Draws each hit as a diamond, centred on its time."""
        radius = max(2, min(self.drum_height // 2 - 3, self.step_width // 2 + 1))
        ramp = np.abs(np.arange(-radius, radius + 1))
        cover = np.clip(radius + 0.5 - ramp[:, None] - ramp, 0, 1)[..., None]
        for number, column in zip(*np.nonzero(hits), strict=True):
            x, y = self.place(0) + int(column) * self.step_width, self._line(int(number))
            left, right = max(0, x - radius), min(self.width, x + radius + 1)
            part = pixels[y - radius : y + radius + 1, left:right]
            shown = cover[:, left - x + radius : right - x + radius]
            colour = _COLOURS[max(2, int(hits[number, column]))].astype(float)
            part[:] = np.round(part * (1 - shown) + colour * shown)
