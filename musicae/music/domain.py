"""Music as steps: pieces to token windows and back.

A window is `bars` bars of one time signature in 16ths, with one stream of tokens for each instrument of the part: a
melody (90 tokens), drums (512) or both with a bass (`musicae.music.config`). The stored form is
`(windows, steps, columns)`, uint8 or uint16: the streams, and with `chords` one more column of chord classes. Training
transposes each window anew, so a melody and its transpositions are one content. This module knows no networks; what is
known of notes is in the rest of `musicae.music`.
"""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from musicae.domain import (
    Baseline,
    Batch,
    Corruption,
    Domain,
    DomainConfig,
    Reading,
    Savable,
    Selection,
    Statistics,
    Window,
)
from musicae.errors import MusicaeError
from musicae.music.config import MusicConfig
from musicae.music.midi import TICKS_PER_QUARTER, VELOCITY, NewTrack, Notes
from musicae.music.piece import Piece
from musicae.music.quantize import QuantizedPart, quantize, to_ticks
from musicae.music.score import (
    ABC_SUFFIXES,
    DEFAULT_TEMPO_BPM,
    MIDI_SUFFIXES,
    STEPS_PER_QUARTER,
    NamedScore,
    read_scores,
)
from musicae.music.tensors import draw_shift, hash_windows, recombine, transposed, vary_drums
from musicae.music.tracks import summarise_tracks
from musicae.music.windows import bars_in_words, cut_windows, densest_window, line_at, read_part, window_from
from musicae.spec import Layout, TensorSpec

__all__ = ["MusicConfig", "MusicDomain", "MusicFrame"]

SPLIT_TABLE = "info.csv"
"""A set's own table of splits in a folder above its files, as the Groove MIDI Dataset has it."""


@dataclass(frozen=True)
class MusicFrame:
    """What is kept of a piece, to make something like it.

    Attributes:
        tempo_bpm: quarters per minute where the window starts.
        programs: General MIDI program of each stream, 0 to 127; what is left out is the stream's own.
        track_names: of each stream; may be empty.
        velocities: of each stream the median of the window's notes; what is left out is 90.
        time_signature: of the window's bars, numerator and denominator; None: the model's.
        title: the tune's, or the file's name.
        first_bar: 1-based bar where the window starts.
    """

    tempo_bpm: float = DEFAULT_TEMPO_BPM
    programs: tuple[int, ...] = ()
    track_names: tuple[str, ...] = ()
    velocities: tuple[int, ...] = ()
    time_signature: tuple[int, int] | None = None
    title: str = ""
    first_bar: int = 1


class MusicDomain(Domain):
    """Windows of melodies, drums or trios."""

    name: ClassVar[str] = "music"
    media: ClassVar[type[Any]] = Piece
    suffixes: ClassVar[tuple[str, ...]] = MIDI_SUFFIXES + ABC_SUFFIXES
    stacks_rows: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("reconstruct", "denoise", "upscale")
    # At β = 1 two melodies can hardly be told apart; the rate of the shipped models is what reconstructions need.
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 192, "beta": 0.35}
    Config: ClassVar[type[DomainConfig]] = MusicConfig
    config: MusicConfig

    @property
    def spec(self) -> TensorSpec:
        """One stream of tokens for each instrument; a bar is a segment; with chords a class a step is the condition."""
        part = self.config.plan
        condition = None
        if self.config.chords:
            from musicae.music.chords import CLASSES

            condition = (self.config.steps, CLASSES)
        return TensorSpec(
            layout=Layout.STEPS,
            shape=(self.config.steps, len(part.streams)),
            likelihood="categorical",
            vocabulary=part.vocabulary,
            segment=self.config.steps_per_bar,
            condition=condition,
        )

    # media objects

    def select(
        self, item: Piece, *, bar: int | None = None, track: int | str | None = None, **choice: Any
    ) -> Selection:
        """Picks the window with the most notes, or the one that starts at a bar.

        Args:
            item: a piece.
            bar: 1-based; a window past the end of the piece is filled with rests.
            track: 0-based index, name, or part of a name; None: the piece's or the config's, or chosen.

        Raises:
            MusicaeError: the part is not in the piece, no bar in the model's time signature, or that bar or track is
                not there.
        """
        if choice:
            raise MusicaeError(f"in music a bar and a track can be chosen, not {next(iter(choice))}.")
        if bar is not None and not isinstance(bar, int):
            raise ValueError(f"bar is a whole number from 1, got {bar!r}")
        part = read_part(item, self.config, track)
        if bar is None:
            bar, window = densest_window(part, self.config, item.label)
        else:
            window = window_from(part, self.config, bar, item.label)
        return Selection(window[None], *self._described(item, part, bar))

    def _described(self, item: Piece, part: QuantizedPart, bar: int) -> tuple[str, MusicFrame]:
        """What a window that starts at a bar is called, and its frame."""
        line = line_at(part, bar)
        section = line.section
        last = min(bar + self.config.bars * line.file_bars, section.first_bar + section.bars) - 1
        tracks = [
            f"track {name!r}" if name else f"track {indices[0]}"
            for name, indices in zip(part.names, part.choice.tracks, strict=True)
        ]
        bar_ticks = section.bar_ticks(part.ticks_per_quarter)
        start = section.start + (bar - section.first_bar) * bar_ticks
        span = (start + part.phase.shift, start + part.phase.shift + (last - bar + 1) * bar_ticks)
        frame = MusicFrame(
            item.tempo_map.tempo_at(start),
            part.programs,
            part.names,
            tuple(_median_velocity(item, indices, *span) for indices in part.choice.tracks),
            (section.numerator, section.denominator),
            item.title,
            bar,
        )
        return f"{bars_in_words(bar, last - bar + 1)} of {', '.join(tracks)}", frame

    def windows(self, item: Piece, task: str = "reconstruct") -> Iterator[Window]:
        """Cuts the bars that the model reads into windows in a row, up to 64 in a batch.

        The last window of each section is filled with rests. The track is the piece's `chosen_track`, the config's,
        or chosen.
        """
        from musicae.music.assembly import piece_windows

        for place, windows in piece_windows(read_part(item, self.config), self.config, item.label):
            yield Window(self.tensor(torch.from_numpy(windows)), place)

    def unread(self, item: Piece) -> str | None:
        from musicae.music.assembly import unread_bars

        return unread_bars(read_part(item, self.config), self.config, item.label, copied=False)

    def assemble(self, item: Piece, answers: Iterable[tuple[Window, torch.Tensor]], task: str = "reconstruct") -> Piece:
        """A piece with the addressed notes exchanged; see `musicae.music.assembly`."""
        from musicae.music.assembly import assemble_piece

        def arrays() -> Iterator[tuple[Any, np.ndarray]]:
            for window, answer in answers:
                yield window.place, self._tokens(answer)

        return assemble_piece(item, read_part(item, self.config), self.config, arrays())

    def _tokens(self, tensor: torch.Tensor) -> np.ndarray:
        """A batch as an array; raises `ValueError` unless it is one of the spec with tokens that exist."""
        self.spec.check(tuple(tensor.shape))
        tokens = tensor.detach().cpu().numpy()
        _check_tokens(tokens, self.config)
        return tokens

    def compose(self, tensor: torch.Tensor, frame: Any = None) -> Piece:
        """Windows `(examples, *spec.shape)` in a row as a piece that ends where they do, silence included."""
        from musicae.music.render import LONGEST_PREVIEW_S, in_minutes

        frame = frame or MusicFrame()
        tokens = self._tokens(tensor)
        quarter, own = TICKS_PER_QUARTER, self.config.signature
        tracks = []
        for index, stream in enumerate(self.config.plan.streams):
            windows = tokens[..., index].astype(stream.dtype)
            onset, end, pitch = stream.notes(stream.joined(windows) if windows.size else windows.reshape(-1))
            velocity = frame.velocities[index] if index < len(frame.velocities) else VELOCITY
            program = frame.programs[index] if index < len(frame.programs) else stream.program
            name = frame.track_names[index] if index < len(frame.track_names) else stream.name.title()
            notes = Notes(to_ticks(onset, quarter), to_ticks(end, quarter), pitch, np.full(len(onset), velocity))
            tracks.append(NewTrack(name, program, stream.is_drums, notes))
        signature = frame.time_signature
        if signature not in own.file_bars:
            signature = (own.numerator, own.denominator)
        steps = tokens.shape[0] * tokens.shape[1]
        remarks = [] if any(len(track.notes.start) for track in tracks) else ["silent: no note anywhere"]
        lasts_s = steps / STEPS_PER_QUARTER * 60 / frame.tempo_bpm
        if lasts_s > LONGEST_PREVIEW_S:
            remarks.append(
                f"lasts {in_minutes(lasts_s)}; the sound beside it is of the first {in_minutes(LONGEST_PREVIEW_S)}"
            )
        return Piece.new(
            tracks,
            tempi=((0, frame.tempo_bpm),),
            time_signatures=((0, *signature),),
            end=steps * quarter // STEPS_PER_QUARTER,
            name="music",
            title=frame.title,
            remarks=remarks,
        )

    def preview(
        self, rows: dict[str, torch.Tensor], frame: Any = None, *, columns: Sequence[str] = ()
    ) -> dict[str, Savable]:
        """Piano rolls; and the examples as a piece and a sound: the first of every row, then the second.

        Of long music the sound is of the beginning.
        """
        from musicae.music.rolls import part_rolls
        from musicae.plots import piano_rolls

        signature = self.config.signature
        tokens = {label: tensor.detach().cpu().numpy() for label, tensor in rows.items()}
        drawn = part_rolls(self.config.plan, tokens, signature.steps_per_bar, signature.steps_per_beat)
        image: Any = piano_rolls(
            drawn.rows, steps_per_bar=drawn.steps_per_bar, steps_per_beat=drawn.steps_per_beat,
            row_names=drawn.names, column_names=columns,
        )  # fmt: skip
        longest = max((len(tensor) for tensor in rows.values()), default=0)
        order = [tensor[index] for index in range(longest) for tensor in rows.values() if index < len(tensor)]
        if not order:
            return {".png": image}
        from musicae.music.render import LONGEST_PREVIEW_S, render

        piece = self.compose(torch.stack(order), frame)
        return {".png": image, ".mid": piece, ".wav": render(piece, longest_s=LONGEST_PREVIEW_S, later=True)}

    # data sets

    def official_split(self, path: Path) -> str | None:
        """`test` where a table `info.csv` in a folder above lists the file so; else None."""
        path = path.absolute()
        for folder in path.parents:
            table = folder / SPLIT_TABLE
            changed_ns = _changed_ns(table)
            if changed_ns and path.relative_to(folder).as_posix() in _test_files(table, changed_ns):
                return "test"
        return None

    def read(self, path: Path) -> Reading:
        """Reads every window of a file, fast; the tunes of an ABC file are groups of their own."""
        readings = [self._reading(named, None) for named in read_scores(path)]
        return readings[0] if len(readings) == 1 else _joined(readings)

    def examples(self, item: Piece) -> Reading:
        """Every window of a piece."""
        return self._reading(NamedScore(item.title, item.score), item.chosen_track)

    def _reading(self, named: NamedScore, track: int | str | None) -> Reading:
        config, score = self.config, named.score
        wanted = config.track if track is None else track
        try:
            part = quantize(score, config.plan, config.signature, wanted, chords=config.chords, notes=named.notes)
        except MusicaeError:
            # In a folder some files lack the wanted track: they are counted, not fatal.
            parts = tuple(f"{summary}: not used: another track is wanted" for summary in summarise_tracks(score))
            none = np.zeros((0, config.steps, config.columns), config.plan.dtype)
            return Reading(none, {f"no {config.part} track {wanted!r}": 1}, parts)
        found = cut_windows(part, config.bars, config.min_notes)
        return Reading(found.windows, found.skipped, part.report)

    def array_examples(self, array: np.ndarray, labels: Sequence[str] | None = None) -> np.ndarray:
        """Stored examples of token windows, whole numbers `(windows, steps[, columns])`.

        The columns are the streams, and with `chords` the class of every step.

        Raises:
            ValueError: another shape or dtype, tokens that do not exist, or labels, of which music keeps none.
        """
        config = self.config
        if labels is not None:
            raise ValueError("expected no labels: music keeps no classes")
        array = np.asarray(array)
        if array.ndim == 2:
            array = array[..., None]
        if array.ndim != 3 or array.shape[1:] != (config.steps, config.columns):
            raise ValueError(
                f"expected windows of shape (windows, {config.steps}, {config.columns}), got {array.shape}"
            )
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"expected tokens as whole numbers, got {array.dtype}")
        _check_tokens(array, config)
        columns = [
            stream.canonical(array[..., index].astype(stream.dtype)) for index, stream in enumerate(config.plan.streams)
        ]
        return np.stack([*columns, *np.moveaxis(array[..., len(columns) :], -1, 0)], axis=-1).astype(config.plan.dtype)

    def tensor(self, stored: torch.Tensor, generator: torch.Generator | None = None) -> Batch:
        """Stored `(batch, steps, columns)` → int64 `(batch, steps, streams)`; with a generator each is transposed.

        The shift is uniform over −6 to +5 semitones, less what would leave A0–C8; some drums change places. The chord
        classes, int64 `(batch, steps)`, move with their notes.
        """
        part = self.config.plan
        tokens = stored[..., : len(part.streams)].long()
        chords = stored[..., len(part.streams)].long() if self.config.chords else None
        if generator is not None:
            if self.config.recombined:
                tokens = recombine(tokens, self.config.recombined, generator)
            tokens = vary_drums(tokens, part, generator)
        shift = None if generator is None else draw_shift(tokens, part, generator)
        if shift is None:
            return Batch(tokens, chords)
        if chords is not None:
            from musicae.music.chords import transpose_classes

            chords = transpose_classes(chords, shift[:, None])
        return Batch(transposed(tokens, part, shift), chords)

    def identity(self, examples: np.ndarray) -> np.ndarray:
        """Hashes each window's rhythm, intervals and drums; transpositions are equal."""
        return hash_windows(examples, self.config.plan)

    def corruption(self, task: str, *, split: str = "train") -> Corruption | None:
        """`denoise` repairs wrong, missing and shifted notes, `upscale` fills in what a grid of eighths lacks."""
        from musicae.music.corruption import coarse_grid, wrong_notes

        if task not in self.tasks:
            raise MusicaeError(f"music has no task {task!r}; valid: {', '.join(self.tasks)}.")
        part = self.config.plan
        corruptions: dict[str, Corruption] = {
            "denoise": lambda tokens, generator: wrong_notes(tokens, part, generator),
            "upscale": lambda tokens, generator: coarse_grid(tokens, part),
        }
        return corruptions.get(task)

    # scores

    def metrics(self, estimate: torch.Tensor, target: torch.Tensor, corrupted: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scores windows `(batch, steps, streams)`: see `musicae.music.statistics.score_batch`."""
        from musicae.music.statistics import score_batch

        return score_batch(self.config.plan, estimate, target)

    def baselines(self, task: str, examples: torch.Tensor | None = None) -> dict[str, Baseline]:
        """`hold`: the most frequent token throughout; `copy`: every bar as the bar before it."""
        from musicae.music.statistics import always, bar_before, most_frequent

        if examples is None or not len(examples):
            return {}
        symbols = most_frequent(examples.cpu().numpy())

        def hold(corrupted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(always(symbols, target.cpu().numpy())).to(target.device)

        def copy(corrupted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            bar_steps = self.config.steps_per_bar
            return torch.from_numpy(bar_before(symbols, target.cpu().numpy(), bar_steps)).to(target.device)

        return {"hold": hold, "copy": copy} if self.config.bars > 1 else {"hold": hold}

    def attributes(self, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
        """Of the first stream: see `musicae.music.attributes`."""
        from musicae.music.attributes import measure

        signature, stream = self.config.signature, self.config.plan.streams[0]
        tokens = tensor[..., 0].detach().cpu().numpy()
        values = measure(tokens, not stream.is_drums, signature.steps_per_bar, signature.steps_per_beat)
        return {name: torch.from_numpy(value) for name, value in values.items()}

    def statistics(self, tensor: torch.Tensor) -> Statistics:
        """Histograms of pitches, intervals, lengths and density: see `musicae.music.statistics`."""
        from musicae.music.statistics import part_statistics

        return part_statistics(tensor.detach().cpu().numpy(), self.config.plan.streams, self.config.steps_per_bar)

    def labels(self, stored: torch.Tensor) -> dict[str, list[str]]:
        """The key of the first stream, where it has pitches."""
        from musicae.music.attributes import best_key

        if self.config.plan.streams[0].is_drums:
            return {}
        return {"key": [str(name) for name in best_key(stored[..., 0].cpu().numpy())]}

    def condition(self, text: str, windows: int = 1) -> torch.Tensor:
        """Reads a progression such as "C F G Am", spread evenly over the windows."""
        if not self.config.chords:
            raise MusicaeError("this model follows no chords; train one with --set chords=true.")
        from musicae.music.chords import parse_progression, spread

        classes = spread(parse_progression(text), windows * self.config.steps)
        return torch.from_numpy(classes.astype(np.int64)).view(windows, -1)


def _check_tokens(tokens: np.ndarray, config: MusicConfig) -> None:
    """Raises `ValueError` for a token that does not exist, `(windows, steps, columns)`."""
    sizes = [(stream.name, stream.vocabulary) for stream in config.plan.streams]
    if config.chords and tokens.shape[-1] > len(sizes):
        sizes.append(("chord", 49))
    for index, (name, size) in enumerate(sizes):
        own = tokens[..., index]
        if own.size and not (own.min() >= 0 and own.max() < size):
            raise ValueError(f"expected {name} tokens 0 to {size - 1}, got {own.min()} to {own.max()}")


def _median_velocity(item: Piece, tracks: Sequence[int], start: int, end: int) -> int:
    """Of the notes of some tracks that begin in a span, or of all where none does."""
    columns = [item.notes(track) for track in tracks]
    starts = np.concatenate([notes.start for notes in columns])
    velocities = np.concatenate([notes.velocity for notes in columns])
    inside = (starts >= start) & (starts < end)
    return int(np.median(velocities[inside] if inside.any() else velocities)) if len(velocities) else VELOCITY


def _joined(readings: Sequence[Reading]) -> Reading:
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


def _changed_ns(table: Path) -> int:
    """When the table was last written; 0 where there is none."""
    try:
        return table.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=64)
def _test_files(table: Path, changed_ns: int) -> frozenset[str]:
    """Files of the test split, relative to the table's folder; none where it is a table of something else."""
    del changed_ns  # a table that was written again is read again
    try:
        with table.open(encoding="utf-8", errors="replace", newline="") as lines:
            rows = csv.DictReader(lines)
            if not {"midi_filename", "split"} <= set(rows.fieldnames or ()):
                return frozenset()
            return frozenset(row["midi_filename"] for row in rows if row["split"] == "test")
    except (OSError, csv.Error):  # someone else's file of the same name
        return frozenset()
