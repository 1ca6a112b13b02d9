"""Music files for models: what is kept of a file, one window out of it, and a whole piece put through a model."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pretty_midi
from symusic.core import ScoreTick

from musicae.errors import MusicaeError
from musicae.music.checking import MICROSECONDS_PER_MINUTE, NamedScore
from musicae.music.codec import HOLD
from musicae.music.config import MusicConfig
from musicae.music.lines import Line, Notes, Piece, extract_piece
from musicae.music.reading import read_scores
from musicae.music.time_signatures import METRES, metres_for
from musicae.music.windows import cut_windows, line_at, window_at
from musicae.music.writing import (
    DEFAULT_TEMPO_BPM,
    TICKS_PER_STEP,
    Timeline,
    Voice,
    in_ticks,
    part_voices,
    rescale,
    voices_midi,
)

WindowFunction = Callable[[np.ndarray], np.ndarray]
"""Windows `(batch, steps, streams)` → as many, of the same shape."""
_WINDOWS_PER_MAP = 64
_PASSAGES_NAMED = 3
"""Passages in another metre that are told one by one; of more only the number of bars."""


@dataclass(frozen=True)
class MusicSource:
    """What is kept of a file, to write something like it.

    Attributes:
        tempo_bpm: quarters per minute where the window starts.
        programs: General MIDI program of each stream, 0 to 127; what is left out is the stream's own.
        track_names: of each stream; may be empty.
        title: the tune's, or the file's name.
        first_bar: 1-based bar where the window starts.
    """

    tempo_bpm: float = DEFAULT_TEMPO_BPM
    programs: tuple[int, ...] = ()
    track_names: tuple[str, ...] = ()
    title: str = ""
    first_bar: int = 1


@dataclass(frozen=True)
class MusicFile:
    """A piece that a model can read, and what to call its file in errors."""

    named: NamedScore
    piece: Piece
    label: str


def open_piece(path: Path | pretty_midi.PrettyMIDI, config: MusicConfig, track: int | str | None) -> MusicFile:
    """Reads a MIDI file, the first tune of an ABC file, or an object.

    Args:
        path: what to read.
        config: of the model.
        track: the user's, in place of the config's.

    Raises:
        MusicaeError: the part is not in it, or no bar of the model's metre.
    """
    named = read_scores(path)[0]
    label = "the PrettyMIDI object" if isinstance(path, pretty_midi.PrettyMIDI) else Path(path).name
    wanted = config.track if track is None else track
    try:
        piece = extract_piece(
            named.score, config.plan, config.signature, wanted, chords=config.chords, notes=named.notes
        )
    except MusicaeError as error:
        raise MusicaeError(f"{label}: {error}") from None
    if not piece.choice.complete:
        raise MusicaeError(f"{label} has {piece.choice.reason}; expected {config.plan.wanted}.")
    if not any(line.file_bars for line in piece.lines):
        raise _in_another_metre(label, sorted({line.stretch.metre for line in piece.lines}), config)
    return MusicFile(named, piece, label)


def _in_another_metre(label: str, metres: list[str], config: MusicConfig) -> MusicaeError:
    there, readers = ", ".join(metres), metres_for(metres)
    advice = f", or train a model for {' or '.join(readers)}" if readers else f": no model can be trained for {there}"
    return MusicaeError(
        f"{label} is in {there}; this model reads {config.metre}; choose another file{advice} "
        f"(there are {', '.join(METRES)})."
    )


def densest_window(file: MusicFile, config: MusicConfig) -> tuple[int, np.ndarray]:
    """The bar where the window with the most notes starts, 1-based, and the window `(steps, columns)`."""
    piece = file.piece
    found = cut_windows(piece, config.bars, 1)
    if len(found.windows):
        best = int(_onset_counts(piece, found.windows).argmax())
        return int(found.first_bar[best]), found.windows[best]
    for line in piece.lines:  # every stretch is shorter than a window, or a stream is silent everywhere
        if line.file_bars and line.stretch.bars < config.bars * line.file_bars:
            window = window_at(piece, line.stretch.first_bar, config.bars)
            if _onset_counts(piece, window[None])[0]:
                return line.stretch.first_bar, window
    raise _nothing_sounds(file, config)


def _nothing_sounds(file: MusicFile, config: MusicConfig) -> MusicaeError:
    return MusicaeError(
        f"{file.label} has no window in {config.metre} with {config.plan.sound}; choose another file or track."
    )


def _onset_counts(piece: Piece, windows: np.ndarray) -> np.ndarray:
    """Onsets of all streams in each window, `(windows,)`; 0 where a stream has none."""
    counts = np.stack(
        [stream.onsets(windows[..., index]).sum(axis=1) for index, stream in enumerate(piece.part.streams)]
    )
    return np.where((counts > 0).all(axis=0), counts.sum(axis=0), 0)


def window_from(file: MusicFile, config: MusicConfig, bar: int) -> np.ndarray:
    """The window that starts at a bar, `(steps, columns)`.

    Raises:
        MusicaeError: no such bar, or it is in a metre that the model doesn't read.
    """
    if not 1 <= bar <= file.piece.bars:
        raise MusicaeError(f"{file.label} has no bar {bar}; choose 1 to {file.piece.bars}.")
    line = line_at(file.piece, bar)
    if not line.file_bars:
        raise MusicaeError(
            f"bar {bar} of {file.label} is in {line.stretch.metre}; this model reads {config.metre}; choose another."
        )
    return window_at(file.piece, bar, config.bars)


def describe_window(file: MusicFile, config: MusicConfig, bar: int) -> tuple[str, MusicSource]:
    """What a window that starts at a bar is called, and the record of its file."""
    piece, score = file.piece, file.named.score
    line = line_at(piece, bar)
    last = min(bar + config.bars * line.file_bars, line.stretch.first_bar + line.stretch.bars) - 1
    where = _bars(bar, last - bar + 1)
    tracks = [
        f"track {name!r}" if name else f"track {indices[0]}"
        for name, indices in zip(piece.names, piece.choice.tracks, strict=True)
    ]
    start = line.stretch.start + (bar - line.stretch.first_bar) * line.stretch.bar_ticks(score.tpq)
    source = MusicSource(_tempo_at(score, start), piece.programs, piece.names, file.named.title, bar)
    return f"{where} of {', '.join(tracks)}", source


def windows_midi(windows: np.ndarray, config: MusicConfig, source: MusicSource) -> pretty_midi.PrettyMIDI:
    """Windows `(windows, steps, streams)` in a row as a `PrettyMIDI`."""
    metre = config.signature
    voices = part_voices(config.plan, windows, source.programs, source.track_names)
    end = windows.shape[0] * windows.shape[1] * TICKS_PER_STEP
    timeline = Timeline(end, ((0, source.tempo_bpm),), ((0, metre.numerator, metre.denominator),))
    return voices_midi(voices, timeline)


def map_piece(file: MusicFile, config: MusicConfig, function: WindowFunction) -> pretty_midi.PrettyMIDI:
    """Puts a piece through a function, window after window, into a piece as long.

    The last window of each stretch is filled with rests. Bars in another metre are copied. Tempi and
    metres stay; the other tracks are left out.

    Raises:
        MusicaeError: nothing sounds in the bars that the model reads.
    """
    piece, score = file.piece, file.named.score
    if not any(
        stream.onsets(tokens).any()
        for line in piece.lines
        if line.file_bars
        for stream, tokens in zip(piece.part.streams, line.streams, strict=True)
    ):
        raise _nothing_sounds(file, config)
    quarter = score.tpq
    notes: list[list[Notes]] = [[] for _ in piece.part.streams]
    last = piece.lines[-1]
    finish = rescale(last.stretch.start, quarter) + last.steps * TICKS_PER_STEP
    for line in piece.lines:
        mapped = _map_line(piece, line, config.steps, function) if line.file_bars else line.streams
        start, stop = (rescale(tick, quarter) for tick in (line.stretch.start, line.stretch.end))
        stop = max(stop, finish) if line is last else stop
        for stream, tokens, own in zip(piece.part.streams, mapped, notes, strict=True):
            first, end, pitch = stream.notes(tokens)
            onset, end = in_ticks(first, end)
            onset, end = start + onset, np.minimum(start + end, stop)
            heard = onset < stop
            own.append(Notes(onset[heard], end[heard], pitch[heard]))
    timeline = Timeline(
        max(finish, rescale(piece.end, quarter)),
        # One after the end would make the file as long.
        [(rescale(tick, quarter), tempo_bpm) for tick, tempo_bpm in _tempi(score) if tick <= piece.end],
        [
            (rescale(line.stretch.start, quarter), line.stretch.numerator, line.stretch.denominator)
            for line in piece.lines
        ],
    )
    voices = [
        Voice(*_concatenated(own), program, name, stream.is_drums)
        for stream, own, program, name in zip(piece.part.streams, notes, piece.programs, piece.names, strict=True)
    ]
    return voices_midi(voices, timeline)


def unread_bars(file: MusicFile, config: MusicConfig, *, copied: bool) -> str | None:
    """Says which bars are in a metre that the model doesn't read; None where it reads all.

    Args:
        file: a piece.
        config: of the model.
        copied: whether these bars are copied, as `map_piece` does, or left out.
    """
    others = [line.stretch for line in file.piece.lines if not line.file_bars]
    if not others:
        return None
    bars = sum(stretch.bars for stretch in others)
    if len(others) <= _PASSAGES_NAMED:
        where = ", ".join(f"{_bars(stretch.first_bar, stretch.bars)} in {stretch.metre}" for stretch in others)
    else:
        metres = sorted({stretch.metre for stretch in others})
        where = f"{bars} of {file.piece.bars} bars, in {', '.join(metres)},"
    verb, as_before = ("is", "it is") if bars == 1 else ("are", "they are")
    done = f"copied as {as_before}" if copied else "left out"
    return f"{file.label}: {where} {verb} {done}: this model reads {config.metre}"


def _bars(first: int, count: int) -> str:
    return f"bar {first}" if count == 1 else f"bars {first}–{first + count - 1}"


def _map_line(piece: Piece, line: Line, steps: int, function: WindowFunction) -> list[np.ndarray]:
    """Maps consecutive windows of a line; each stream as long, rounded up to a whole window."""
    length = -(-line.steps // steps) * steps
    streams = piece.part.streams
    padded = [stream.padded(tokens, length) for stream, tokens in zip(streams, line.streams, strict=True)]
    cut = [stream.windows(tokens, steps, steps) for stream, tokens in zip(streams, padded, strict=True)]
    # A note held over from the window before is struck in its own window, and is to be held on afterwards.
    tied = [
        (windows[:, 0] != tokens[::steps]) & (tokens[::steps] == HOLD)
        for windows, tokens in zip(cut, padded, strict=True)
    ]
    if line.chords is not None:
        cut.append(np.pad(line.chords, (0, length - line.steps)).reshape(-1, steps))
    together = np.stack(cut, axis=-1, dtype=piece.part.dtype)  # (windows, steps, columns)
    mapped = np.empty_like(together[..., : len(streams)])
    for start in range(0, len(together), _WINDOWS_PER_MAP):
        batch = together[start : start + _WINDOWS_PER_MAP]
        mapped[start : start + len(batch)] = function(batch)
    return [stream.joined(mapped[..., index], tied[index]) for index, stream in enumerate(streams)]


def _concatenated(notes: list[Notes]) -> Notes:
    return Notes(*(np.concatenate(column) for column in zip(*notes, strict=True)))


def _tempi(score: ScoreTick) -> list[tuple[int, float]]:
    """`(tick, quarters per minute)`, rising, one at most for each tick, the first at 0."""
    tempi = {0: DEFAULT_TEMPO_BPM}
    for event in sorted(score.tempos, key=lambda tempo: tempo.time):
        tempi[event.time] = MICROSECONDS_PER_MINUTE / event.mspq
    return list(tempi.items())


def _tempo_at(score: ScoreTick, tick: int) -> float:
    """The tempo in effect at a tick."""
    return [tempo_bpm for time, tempo_bpm in _tempi(score) if time <= tick][-1]
