"""Melodies as steps: MIDI and ABC files to token windows and back.

A window of `bars` bars in 4/4 is one stream of 16ths with 90 tokens (see `musicae.score.codec`). The
stored form is uint8 `(windows, steps)`. Training transposes each window anew, so a melody and its
transpositions are one content. This module knows no networks; all reading of notes is in
`musicae.score`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pretty_midi
import torch
from pydantic import field_validator
from symusic.core import ScoreTick

from musicae.domains.base import Corruption, Domain, DomainConfig, Reading, Selection, TensorFunction
from musicae.errors import MusicaeError, unknown_name
from musicae.score.checking import MICROSECONDS_PER_MINUTE, NamedScore
from musicae.score.codec import (
    FIRST_ONSET,
    HOLD,
    VOCABULARY,
    canonical,
    join_windows,
    notes_from_tokens,
    piano_roll,
    windows_of,
    with_silence,
)
from musicae.score.melody import summarise_tracks
from musicae.score.reading import ABC_SUFFIXES, MIDI_SUFFIXES, read_scores
from musicae.score.windows import STEPS_PER_BAR, Melody, cut_windows, extract_melody, line_at, window_at
from musicae.score.writing import (
    DEFAULT_TEMPO_BPM,
    TICKS_PER_QUARTER,
    TICKS_PER_STEP,
    Timeline,
    melody_midi,
    notes_midi,
    write_midi,
)
from musicae.spec import Layout, TensorSpec
from musicae.starter import starter_file

BARS = (1, 2, 4, 8, 16)
TRANSPOSE_DOWN = 6
TRANSPOSE_UP = 5
"""Semitones; together all twelve keys once."""
_WINDOWS_PER_CHUNK = 4096
_WINDOWS_PER_MAP = 64
_HASH_SEED = 90_2108


class MusicConfig(DomainConfig):
    """What a music model reads."""

    part: Literal["melody"] = "melody"
    bars: int = 2  # length of a window; 1, 2, 4, 8 or 16
    min_notes: int = 4  # fewest onsets in a window that is learned from
    track: int | str | None = None  # 0-based index, name, or part of a name; None: chosen in each file

    @field_validator("bars")
    @classmethod
    def _known_bars(cls, bars: int) -> int:
        if bars not in BARS:
            raise ValueError(f"bars is one of {', '.join(map(str, BARS))}, got {bars}")
        return bars

    @field_validator("min_notes")
    @classmethod
    def _some_notes(cls, min_notes: int) -> int:
        if not 1 <= min_notes <= STEPS_PER_BAR:
            raise ValueError(f"min_notes is 1 to {STEPS_PER_BAR}, got {min_notes}")
        return min_notes

    @property
    def steps_per_bar(self) -> int:
        """16ths in a bar of 4/4."""
        return STEPS_PER_BAR

    @property
    def steps(self) -> int:
        """Steps of a window."""
        return self.bars * self.steps_per_bar


@dataclass(frozen=True)
class MusicSource:
    """What is kept of a file, to write something like it.

    Attributes:
        tempo_bpm: quarters per minute where the window starts.
        program: General MIDI program, 0 to 127.
        track_name: may be empty.
        title: the tune's, or the file's name.
        first_bar: 1-based bar where the window starts.
    """

    tempo_bpm: float = DEFAULT_TEMPO_BPM
    program: int = 0
    track_name: str = "Melody"
    title: str = ""
    first_bar: int = 1


class MusicDomain(Domain):
    """Melody windows of MIDI and ABC files."""

    name: ClassVar[str] = "music"
    suffixes: ClassVar[tuple[str, ...]] = MIDI_SUFFIXES + ABC_SUFFIXES
    output_suffix: ClassVar[str] = ".mid"
    drawn_below: ClassVar[bool] = True
    objects: ClassVar[tuple[type, ...]] = (pretty_midi.PrettyMIDI,)
    tasks: ClassVar[tuple[str, ...]] = ("reconstruct",)
    Config: ClassVar[type[DomainConfig]] = MusicConfig
    config: MusicConfig

    @property
    def spec(self) -> TensorSpec:
        """One stream of tokens."""
        return TensorSpec(
            layout=Layout.STEPS, shape=(self.config.steps, 1), likelihood="categorical", vocabulary=(VOCABULARY,)
        )

    def read(self, path: Path | pretty_midi.PrettyMIDI) -> Reading:
        """Reads every window of a file; the tunes of an ABC file are groups of their own."""
        readings = [self._read_score(named.score) for named in read_scores(path)]
        if len(readings) == 1:
            return readings[0]
        return _join_readings(readings)

    def _read_score(self, score: ScoreTick) -> Reading:
        try:
            melody = extract_melody(score, self.config.track)
        except MusicaeError:
            # In a folder some files lack the wanted track: they are counted, not fatal.
            parts = tuple(f"{track}: not used: another track is wanted" for track in summarise_tracks(score))
            reason = f"no melody track {self.config.track!r}"
            return Reading(np.zeros((0, self.config.steps), np.uint8), {reason: 1}, parts)
        found = cut_windows(melody, self.config.bars, self.config.min_notes)
        return Reading(found.windows, found.skipped, melody.choice.parts)

    def starter(self) -> Iterator[tuple[str, Reading]]:
        """The starter tunes, one item each."""
        for named in read_scores(starter_file("tunes.abc")):
            yield named.title, self._read_score(named.score)

    def to_tensor(self, stored: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Stored `(batch, steps)` → int64 `(batch, steps, 1)`; with a generator each is transposed.

        The shift is uniform over −6 to +5 semitones, less what would leave A0–C8.
        """
        tokens = stored.long()
        if generator is not None:
            onset = tokens >= FIRST_ONSET
            lowest = torch.where(onset, tokens, VOCABULARY - 1).amin(dim=1)  # (batch,)
            highest = torch.where(onset, tokens, FIRST_ONSET).amax(dim=1)
            down = (FIRST_ONSET - lowest).clamp(min=-TRANSPOSE_DOWN)
            up = (VOCABULARY - 1 - highest).clamp(max=TRANSPOSE_UP)
            draw = torch.rand(len(tokens), generator=generator, device=tokens.device, dtype=torch.float64)
            shift = torch.minimum(down + (draw * (up - down + 1)).long(), up)
            tokens = torch.where(onset, tokens + shift[:, None], tokens)
        return tokens[:, :, None]

    def identity(self, examples: np.ndarray) -> np.ndarray:
        """Hashes each window's rhythm and intervals (Zobrist hashing); transpositions are equal."""
        steps = examples.shape[1]
        # Raw bits of PCG64 are stable across numpy versions; `integers` is not promised to be.
        table = np.random.PCG64(_HASH_SEED).random_raw(steps * 256).reshape(steps, 256)
        hashes = np.zeros(len(examples), dtype=np.uint64)
        for start in range(0, len(examples), _WINDOWS_PER_CHUNK):
            tokens = canonical(examples[start : start + _WINDOWS_PER_CHUNK]).astype(np.int64)
            onset = tokens >= FIRST_ONSET
            first = np.take_along_axis(tokens, onset.argmax(axis=1)[:, None], axis=1)
            relative = np.where(onset, tokens - first + VOCABULARY + FIRST_ONSET, tokens)  # 4 to 179 for onsets
            hashes[start : start + len(tokens)] = np.bitwise_xor.reduce(table[np.arange(steps), relative], axis=1)
        return hashes

    def corruption(self, task: str, *, split: str = "train") -> Corruption | None:
        """None: reconstruction is the only task here."""
        if task not in self.tasks:
            raise MusicaeError(f"music has no task {task!r}; valid: {', '.join(self.tasks)}.")
        return None

    def select(
        self,
        path: Path | pretty_midi.PrettyMIDI,
        *,
        bar: int | None = None,
        track: int | str | None = None,
        **choice: Any,
    ) -> Selection:
        """Picks the window with the most notes, or the one that starts at a bar.

        Args:
            path: MIDI, ABC (its first tune) or a `PrettyMIDI`.
            bar: 1-based; a window past the end of the piece is filled with rests.
            track: 0-based index, name, or part of a name; None: the config's, or chosen.

        Raises:
            MusicaeError: no melody, no bar in 4/4, or that bar or track is not there.
        """
        if choice:
            raise MusicaeError(unknown_name("choice", next(iter(choice)), ("bar", "track")))
        named, melody, label = self._read_one(path, track)
        if bar is None:
            bar, window = self._densest(melody, label)
        else:
            window = self._window_at(melody, bar, label)
        line = line_at(melody, bar)
        last = min(bar + self.config.bars * line.file_bars, line.stretch.first_bar + line.stretch.bars) - 1
        where = f"bar {bar}" if last == bar else f"bars {bar}–{last}"
        track_label = f"track {melody.name!r}" if melody.name else f"track {melody.choice.track}"
        start = line.stretch.start + (bar - line.stretch.first_bar) * line.stretch.bar_ticks(named.score.tpq)
        source = MusicSource(_tempo_at(named.score, start), melody.program, melody.name, named.title, bar)
        return Selection(window[None], f"{where} of {track_label}", source)

    def _read_one(self, path: Path | pretty_midi.PrettyMIDI, track: int | str | None) -> tuple[NamedScore, Melody, str]:
        named = read_scores(path)[0]
        label = "the PrettyMIDI object" if isinstance(path, pretty_midi.PrettyMIDI) else Path(path).name
        try:
            melody = extract_melody(named.score, self.config.track if track is None else track)
        except MusicaeError as error:
            raise MusicaeError(f"{label}: {error}") from None
        if melody.choice.track is None:
            raise MusicaeError(f"{label} has {melody.choice.reason}; expected a track with a melody.")
        if not any(line.file_bars for line in melody.lines):
            metres = ", ".join(sorted({line.stretch.metre for line in melody.lines}))
            raise MusicaeError(f"{label} is in {metres}; this model reads 4/4; choose another file.")
        return named, melody, label

    def _densest(self, melody: Melody, label: str) -> tuple[int, np.ndarray]:
        found = cut_windows(melody, self.config.bars, 1)
        if len(found.windows):
            best = int((found.windows >= FIRST_ONSET).sum(axis=1).argmax())
            return int(found.first_bar[best]), found.windows[best]
        for line in melody.lines:  # every stretch is shorter than a window
            window = window_at(line, line.stretch.first_bar, self.config.bars) if line.file_bars else np.zeros(0)
            if (window >= FIRST_ONSET).any():
                return line.stretch.first_bar, window
        raise MusicaeError(f"{label} has no notes from A0 to C8 in its bars of 4/4; choose another file or track.")

    def _window_at(self, melody: Melody, bar: int, label: str) -> np.ndarray:
        if not 1 <= bar <= melody.bars:
            raise MusicaeError(f"{label} has no bar {bar}; choose 1 to {melody.bars}.")
        line = line_at(melody, bar)
        if not line.file_bars:
            raise MusicaeError(
                f"bar {bar} of {label} is in {line.stretch.metre}; this model reads 4/4; choose another."
            )
        return window_at(line, bar, self.config.bars)

    def write(self, tensor: torch.Tensor, path: Path, source: Any = None) -> None:
        """Writes windows `(examples, steps, 1)` in a row as one MIDI file."""
        self.spec.check(tuple(tensor.shape))
        write_midi(self.to_midi(tensor, source), Path(path))

    def to_midi(self, tensor: torch.Tensor, source: MusicSource | None = None) -> pretty_midi.PrettyMIDI:
        """The same as `write`, as an object."""
        self.spec.check(tuple(tensor.shape))
        source = source or MusicSource()
        tokens = tensor[..., 0].detach().cpu().numpy()
        return melody_midi(tokens, tempo_bpm=source.tempo_bpm, program=source.program, name=source.track_name)

    def map_file(self, path: Path, target: Path, function: TensorFunction) -> None:
        """Puts a melody through a function, window after window, and writes a piece as long.

        The last window of each stretch of 4/4 is filled with rests. Bars in another metre are copied.
        Tempi and metres stay; the other tracks are left out. An ABC file's first tune is taken.
        """
        named, melody, _ = self._read_one(path, None)
        quarter = named.score.tpq
        notes: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for line in melody.lines:
            tokens = self._map_line(line.tokens, function) if line.file_bars else line.tokens
            onset, end, pitch = notes_from_tokens(tokens)
            start, stop = (_rescale(tick, quarter) for tick in (line.stretch.start, line.stretch.end))
            if line is melody.lines[-1]:
                stop = max(stop, start + len(line.tokens) * TICKS_PER_STEP)
            onset, end = start + onset * TICKS_PER_STEP, np.minimum(start + end * TICKS_PER_STEP, stop)
            heard = onset < stop
            notes.append((onset[heard], end[heard], pitch[heard]))
        last = melody.lines[-1]
        finish = _rescale(last.stretch.start, quarter) + len(last.tokens) * TICKS_PER_STEP
        timeline = Timeline(
            max(finish, _rescale(melody.end, quarter)),
            [(_rescale(tick, quarter), tempo_bpm) for tick, tempo_bpm in _tempi(named.score)],
            [
                (_rescale(line.stretch.start, quarter), line.stretch.numerator, line.stretch.denominator)
                for line in melody.lines
            ],
        )
        onset, end, pitch = (np.concatenate(column) for column in zip(*notes, strict=True))
        midi = notes_midi(onset, end, pitch, timeline, program=melody.program, name=melody.name)
        write_midi(midi, Path(target))

    def _map_line(self, tokens: np.ndarray, function: TensorFunction) -> np.ndarray:
        """Maps consecutive windows of a line, `(steps,)` → as many steps, rounded up to a whole window."""
        steps = self.config.steps
        line = with_silence(tokens, -(-len(tokens) // steps) * steps)
        windows = windows_of(line, steps, steps)
        tied = windows[:, 0] != line[::steps]  # a note held over from the window before
        mapped = np.empty_like(windows)
        for start in range(0, len(windows), _WINDOWS_PER_MAP):
            batch = self.to_tensor(torch.from_numpy(windows[start : start + _WINDOWS_PER_MAP]))
            answer = function(batch)
            self.spec.check(tuple(answer.shape))
            mapped[start : start + len(batch)] = answer[..., 0].detach().cpu().numpy()
        return join_windows(mapped, tied & (line[::steps] == HOLD))

    def metrics(self, estimate: torch.Tensor, target: torch.Tensor, damaged: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scores windows `(batch, steps, 1)`.

        Returns:
            `accuracy`: share of steps with the right token. `onset_f1`: an onset is right where the
            target has the same pitch at the same step; 1 where neither has onsets, 0 where only one has.
        """
        del damaged
        right = estimate == target
        estimated, wanted = estimate >= FIRST_ONSET, target >= FIRST_ONSET
        hits = (right & wanted).sum(dim=(1, 2)).double()
        onsets = (estimated.sum(dim=(1, 2)) + wanted.sum(dim=(1, 2))).double()
        f1 = torch.where(onsets > 0, 2 * hits / onsets.clamp(min=1), torch.ones_like(hits))
        return {"accuracy": right.double().mean(dim=(1, 2)).float(), "onset_f1": f1.float()}

    def preview(self, rows: dict[str, torch.Tensor], stem: Path, source: Any = None) -> list[Path]:
        """Draws piano rolls, and writes the examples as MIDI and WAV: the first of every row, then the second."""
        from musicae.plots import piano_rolls  # brings matplotlib
        from musicae.render import render_file

        tokens = {label: tensor[..., 0].detach().cpu().numpy() for label, tensor in rows.items()}
        picture, sound = Path(f"{stem}.png"), Path(f"{stem}.mid")
        rolls = {label: [piano_roll(window) for window in windows] for label, windows in tokens.items()}
        piano_rolls(rolls, picture, steps_per_bar=self.config.steps_per_bar)
        longest = max((len(windows) for windows in tokens.values()), default=0)
        order = [windows[index] for index in range(longest) for windows in tokens.values() if index < len(windows)]
        if not order:
            return [picture]
        self.write(torch.from_numpy(np.stack(order))[:, :, None], sound, source)
        return [picture, sound, render_file(sound, Path(f"{stem}.wav"))]


def _join_readings(readings: list[Reading]) -> Reading:
    skipped: dict[str, int] = {}
    for reading in readings:
        for reason, count in reading.skipped.items():
            skipped[reason] = skipped.get(reason, 0) + count
    return Reading(
        np.concatenate([reading.examples for reading in readings]),
        skipped,
        tuple(f"tune {number}: {part}" for number, reading in enumerate(readings, 1) for part in reading.parts),
        np.repeat(np.arange(len(readings)), [len(reading.examples) for reading in readings]),
    )


def _rescale(tick: int, quarter: int) -> int:
    """Ticks of a file with `quarter` ticks per quarter → ticks of a written one, half up."""
    return (2 * tick * TICKS_PER_QUARTER + quarter) // (2 * quarter)


def _tempi(score: ScoreTick) -> list[tuple[int, float]]:
    """`(tick, quarters per minute)`, rising, one at most for each tick, the first at 0."""
    tempi = {0: DEFAULT_TEMPO_BPM}
    for event in sorted(score.tempos, key=lambda tempo: tempo.time):
        tempi[event.time] = MICROSECONDS_PER_MINUTE / event.mspq
    return list(tempi.items())


def _tempo_at(score: ScoreTick, tick: int) -> float:
    """The tempo in effect at a tick."""
    return [tempo_bpm for time, tempo_bpm in _tempi(score) if time <= tick][-1]
