"""Music as steps: pieces to token windows and back.

A window is `bars` bars of one time signature in 16ths, with one stream of tokens for each instrument of the part: a
melody (90 tokens), drums (512) or both with a bass (`musicae.music.config`), and with `expression` velocities and
offsets beside them (`musicae.music.expression`). The stored form is `(windows, steps, columns)`, uint8 or uint16; its
columns are listed in `musicae.music.windows.WindowSet`. Tensors have the streams and values, in slots where there are
several time signatures (`musicae.music.slots`). Training transposes each window anew, so a melody and its
transpositions are one content. This module knows no networks; what is known of notes is in the rest of `musicae.music`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from musicae.capabilities import Statistics
from musicae.domain import Baseline, Batch, Corruption, Domain, DomainConfig, Reading, Savable, Selection, Window
from musicae.errors import MusicaeError
from musicae.music.composition import MusicFrame, compose_piece, median_velocity
from musicae.music.config import MusicConfig, TimeSignature, in_words
from musicae.music.expression import value_columns
from musicae.music.piece import Piece
from musicae.music.quantize import QuantizedPart
from musicae.music.score import SUFFIXES, NamedScore, read_scores
from musicae.music.slots import Group
from musicae.music.songs import SongOperations
from musicae.music.tensors import (
    draw_shift,
    hash_windows,
    leading_line,
    recombine,
    transposed,
    vary_drums,
)
from musicae.music.tonality import SCALES
from musicae.music.tracks import summarise_tracks
from musicae.music.windows import (
    bars_in_words,
    cut_windows,
    densest_window,
    line_at,
    quantize_for,
    read_part,
    window_from,
)
from musicae.spec import Labels, Layout, TensorSpec

__all__ = ["MusicConfig", "MusicDomain", "MusicFrame"]


class MusicDomain(SongOperations, Domain):
    """Windows of melodies, drums or trios."""

    name: ClassVar[str] = "music"
    media: ClassVar[type[Any]] = Piece
    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES
    stacks_rows: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("reconstruct", "denoise", "upscale", "tap")
    # At β = 1 two melodies can hardly be told apart; the rate of the shipped models is what reconstructions need.
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 192, "beta": 0.35}
    Config: ClassVar[type[DomainConfig]] = MusicConfig
    config: MusicConfig

    @property
    def spec(self) -> TensorSpec:
        """One stream of tokens for each instrument, then its values; a bar is a segment.

        The condition of every step is the time signature, where there are several, and with `chords` a chord.
        """
        config, streams = self.config, self.config.plan.streams
        values = tuple(
            column
            for index, stream in enumerate(streams)
            for column in value_columns(index, stream.places, stream.first_onset, stream.vocabulary, stream.is_drums)
            if config.expression
        )
        classes = (len(config.signatures) if config.slots.are_several else 1) * self._chord_classes
        return TensorSpec(
            layout=Layout.STEPS,
            shape=(config.steps, len(streams) + len(values)),
            likelihood="categorical_with_values" if values else "categorical",
            vocabulary=config.plan.vocabulary,
            values=values,
            segment=config.slots.size,
            segment_steps=config.slots.bar_steps if config.slots.are_several else (),
            condition=(config.steps, classes) if classes > 1 else None,
            labels=Labels(2 * SCALES, SCALES, self.scale_labels) if self.has_keys else None,
        )

    @property
    def _sizes(self) -> list[tuple[str, int]]:
        """What is in each column, and how many tokens or values there are, without pads."""
        spec, streams = self.spec, self.config.plan.streams
        tokens = [(f"{stream.name} tokens", stream.vocabulary) for stream in streams]
        return tokens + [(f"{column.name} {place}", column.levels) for place, column in enumerate(spec.values, 1)]

    @property
    def _chord_classes(self) -> int:
        """How many chords the condition tells apart; 1 without chords."""
        if not self.config.chords:
            return 1
        from musicae.music.chords import CLASSES

        return CLASSES

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
        last = min(bar + line.file_bars(self.config.bars), section.first_bar + section.bars) - 1
        read = [index for indices in part.choice.tracks for index in indices]
        tracks = [
            f"track {item.tracks[index].name!r}" if item.tracks[index].name else f"track {index}" for index in read
        ]
        bar_ticks = section.bar_ticks(part.ticks_per_quarter)
        start = section.start + (bar - section.first_bar) * bar_ticks
        span = (start + part.phase.shift, start + part.phase.shift + (last - bar + 1) * bar_ticks)
        frame = MusicFrame(
            item.tempo_map.tempo_at(start),
            part.programs,
            part.names,
            tuple(median_velocity(item, indices, *span) for indices in part.choice.tracks),
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
                (group,) = self._groups(self._checked(answer), like=window.batch.target)
                yield window.place, group.tokens.numpy()

        return assemble_piece(item, read_part(item, self.config), self.config, arrays())

    def _checked(self, tensor: torch.Tensor) -> torch.Tensor:
        """A batch on the CPU; raises `ValueError` unless it is one of the spec with tokens that exist."""
        self.spec.check(tuple(tensor.shape))
        tokens = tensor.detach().cpu().long()
        names = (name for name, _ in self._sizes)
        _check_symbols(tokens.numpy(), list(zip(names, self.spec.symbols, strict=True)))
        self.config.slots.check(tokens, self.config.plan.vocabulary)
        return tokens

    def _groups(self, tensor: torch.Tensor, like: torch.Tensor | None = None) -> Iterator[Group]:
        """The rows of a batch by time signature, as they sound."""
        return self.config.slots.groups(tensor, self.config.plan.vocabulary, like)

    def compose(self, tensor: torch.Tensor, frame: Any = None) -> Piece:
        """Windows `(examples, *spec.shape)` in a row as a piece that ends where they do, silence included."""
        return compose_piece(self.config, self._checked(tensor), frame or MusicFrame())

    def preview(
        self, rows: dict[str, torch.Tensor], frame: Any = None, *, columns: Sequence[str] = ()
    ) -> dict[str, Savable]:
        """Piano rolls; and the examples as a piece and a sound: the first of every row, then the second.

        Of long music the sound is of the beginning.
        """
        from musicae.music.rolls import part_rolls
        from musicae.plots import piano_rolls

        drawn = part_rolls(self.config, {label: tensor.detach().cpu() for label, tensor in rows.items()})
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

    def describe_tensors(self) -> dict[str, Any]:
        """See `musicae.music.tensor_card`."""
        from musicae.music.tensor_card import describe

        described = describe(self.config, self._chord_classes)
        scales = "tonic of the major key whose scale holds all notes, 0 for C; plus 12 where some lie outside"
        return described | ({"labels": scales} if self.has_keys else {})

    # data sets

    def official_split(self, path: Path) -> str | None:
        """`test` where a table `info.csv` in a folder above lists the file so; else None."""
        from musicae.music.split_table import is_test_file

        return "test" if is_test_file(path) else None

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
            part = quantize_for(config, score, wanted, named.notes)
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
        given = [("chords", self._chord_classes)] * config.chords
        numbers = [("time signatures", len(config.signatures))] * config.slots.are_several
        _check_symbols(array, [*self._sizes, *given, *numbers])
        columns = [
            stream.canonical(array[..., index].astype(stream.dtype)) for index, stream in enumerate(config.plan.streams)
        ]
        return np.stack([*columns, *np.moveaxis(array[..., len(columns) :], -1, 0)], axis=-1).astype(config.plan.dtype)

    def tensor(self, stored: torch.Tensor, generator: torch.Generator | None = None) -> Batch:
        """Stored `(batch, steps, columns)` → int64 `(batch, steps, streams)`; with a generator each is transposed.

        The shift is uniform over −6 to +5 semitones, less what would leave A0–C8; some drums change places. The chord
        classes, int64 `(batch, steps)`, move with their notes.
        """
        config, part = self.config, self.config.plan
        width = len(part.streams) + config.values
        tokens = stored[..., :width].long()
        chords = stored[..., width].long() if config.chords else None
        number = stored[:, 0, -1].long() if config.slots.are_several else None
        if generator is not None:
            if config.recombined:
                tokens = recombine(tokens, self.spec, config.recombined, generator)
            lengths = None if number is None else config.slots.lengths(number)
            tokens = vary_drums(tokens, part, generator, lengths, config.varied_drums)
            shift = draw_shift(tokens, part, generator)
            if shift is not None:
                tokens = transposed(tokens, part, shift)
                if chords is not None:
                    from musicae.music.chords import transpose_classes

                    chords = transpose_classes(chords, shift[:, None])
        if number is None:
            return Batch(tokens, chords)
        condition = (self._chord_classes * number).unsqueeze(1).expand(-1, config.steps)
        if chords is not None:
            condition = condition + config.slots.spread(chords.unsqueeze(-1), number, ())[..., 0]
        return Batch(config.slots.spread(tokens, number, part.vocabulary), condition)

    def condition_of(self, target: torch.Tensor) -> torch.Tensor | None:
        """The time signature of each window, by its pads, and no chords."""
        if not self.config.slots.are_several:
            return None
        numbers = self.config.slots.numbers(target, self.config.plan.vocabulary)
        return (self._chord_classes * numbers).unsqueeze(1).expand(-1, self.config.steps)

    def identity(self, examples: np.ndarray) -> np.ndarray:
        """Hashes each window's rhythm, intervals and drums; transpositions are equal."""
        return hash_windows(examples, self.config.plan)

    def corruption(self, task: str, *, split: str = "train") -> Corruption | None:
        """`denoise` repairs notes, `upscale` fills in what a grid of eighths lacks, `tap` plays a rhythm on a kit."""
        from musicae.music.corruption import coarse_grid, corrupted, tapped, wrong_notes

        if task not in self.tasks:
            raise MusicaeError(f"music has no task {task!r}; valid: {', '.join(self.tasks)}.")
        part, spec = self.config.plan, self.spec
        if task == "tap" and not all(stream.is_drums for stream in part.streams):
            raise MusicaeError("a tapped rhythm becomes drums; train with --set part=drums.")
        if task == "denoise" and part.instruments[0].is_keys:
            raise MusicaeError("wrong notes are repaired in melodies, drums and trios, not in piano music.")
        corruptions: dict[str, Corruption] = {
            "denoise": lambda tokens, generator: corrupted(tokens, spec, lambda own: wrong_notes(own, part, generator)),
            "upscale": lambda tokens, generator: corrupted(tokens, spec, lambda own: coarse_grid(own, part)),
            "tap": lambda tokens, generator: tapped(tokens, spec),
        }
        return corruptions.get(task)

    # scores

    def metrics(self, estimate: torch.Tensor, target: torch.Tensor, corrupted: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scores windows `(batch, steps, columns)`: see `musicae.music.statistics.score_batch`."""
        from musicae.music.statistics import score_batch

        return self._by_group(
            target, lambda own, signature, answer: score_batch(self.config.plan, self.spec, answer, own), estimate
        )

    def _by_group(
        self,
        tensor: torch.Tensor,
        measure: Callable[[torch.Tensor, TimeSignature, torch.Tensor], Mapping[str, torch.Tensor]],
        answer: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Measures rows by time signature: name → `(batch,)`. `answer` is cut as the tensor is."""
        found: dict[str, torch.Tensor] = {}
        others = self._groups(tensor if answer is None else answer, like=tensor)
        for group, other in zip(self._groups(tensor), others, strict=True):
            for name, values in measure(group.tokens, self.config.signatures[group.number], other.tokens).items():
                shape = (len(tensor), *values.shape[1:])
                found.setdefault(name, values.new_zeros(shape))[group.rows.to(values.device)] = values
        return found

    def baselines(self, task: str, examples: torch.Tensor | None = None) -> dict[str, Baseline]:
        """`hold`: the most frequent token throughout; `copy`: every bar as the bar before it."""
        from musicae.music.statistics import always, bar_before, most_frequent

        if examples is None or not len(examples):
            return {}
        symbols = most_frequent(examples.cpu().numpy(), [size for _, size in self._sizes])

        def hold(corrupted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(always(symbols, target.cpu().numpy())).to(target.device)

        def copy(corrupted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            bar_steps = self.config.slots.size
            return torch.from_numpy(bar_before(symbols, target.cpu().numpy(), bar_steps)).to(target.device)

        return {"hold": hold, "copy": copy} if self.config.bars > 1 else {"hold": hold}

    @property
    def aspects(self) -> tuple[str, ...]:
        """Those of `musicae.music.resemblance.ASPECTS` that the part has: drums have no pitches."""
        from musicae.music.resemblance import aspects_of

        return aspects_of(self.config.plan)

    def kept(self, estimate: torch.Tensor, target: torch.Tensor, aspect: str) -> torch.Tensor:
        """How much of windows others keep: see `musicae.music.resemblance`."""
        from musicae.music.resemblance import kept

        def own(tokens: torch.Tensor, signature: TimeSignature, answer: torch.Tensor) -> Mapping[str, torch.Tensor]:
            return {aspect: kept(self.config.plan, aspect, answer, tokens, signature.steps_per_bar)}

        return self._by_group(target, own, estimate)[aspect]

    def attributes(self, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
        """Of the first instrument, of a keyboard its upper line: see `musicae.music.attributes`."""
        from musicae.music.attributes import measure

        part = self.config.plan
        is_pitched = not part.instruments[0].is_drums

        def own(tokens: torch.Tensor, signature: TimeSignature, same: torch.Tensor) -> Mapping[str, torch.Tensor]:
            line = leading_line(tokens, part).detach().cpu().numpy()
            values = measure(line, is_pitched, signature.steps_per_bar, signature.steps_per_beat)
            return {name: torch.from_numpy(value) for name, value in values.items()}

        return self._by_group(tensor, own)

    def statistics(self, tensor: torch.Tensor) -> Statistics:
        """Histograms of pitches, intervals, lengths and density: see `musicae.music.statistics`."""
        from musicae.music.statistics import joined_statistics, part_statistics

        found = []
        for group in self._groups(tensor.detach().cpu()):
            bar_steps = self.config.signatures[group.number].steps_per_bar
            found.append((group.rows.numpy(), part_statistics(group.tokens.numpy(), self.config.plan, bar_steps)))
        return joined_statistics(found, {"density": self.config.slots.size + 1})

    def labels(self, stored: torch.Tensor) -> dict[str, list[str]]:
        """The key of the first instrument, of a keyboard of its upper line, where it has pitches."""
        from musicae.music.attributes import best_key

        if self.config.plan.instruments[0].is_drums:
            return {}
        tokens, keys = leading_line(stored.cpu(), self.config.plan).numpy(), np.empty(len(stored), object)
        numbers = stored[:, 0, -1].cpu().numpy() if self.config.slots.are_several else np.zeros(len(stored), int)
        for number in np.unique(numbers).tolist():
            rows = numbers == number
            keys[rows] = best_key(tokens[rows, : self.config.bars * self.config.slots.bar_steps[number]])
        return {"key": [str(name) for name in keys]}

    def condition(self, text: str, windows: int | torch.Tensor = 1) -> torch.Tensor:
        """Reads a time signature, where the model has several, and a progression, spread evenly: "3/4 C F G Am"."""
        config, words = self.config, text.split()
        names = [signature.name for signature in config.signatures]
        if isinstance(windows, int):
            numbers = torch.zeros(windows, dtype=torch.int64)
        else:
            numbers = windows[:, 0].cpu() // self._chord_classes
        if words and "/" in words[0] and words[0][0].isdigit():
            asked = words.pop(0)
            if asked not in names or not config.slots.are_several:
                raise MusicaeError(f"this model reads {in_words(config.signatures)} and can't be asked for {asked}.")
            numbers = torch.full_like(numbers, names.index(asked))
        condition = (self._chord_classes * numbers).unsqueeze(1).repeat(1, config.steps)
        if not words:
            return condition
        if not config.chords:
            raise MusicaeError("this model follows no chords; train one with --set chords=true.")
        return condition + self.chord_steps(" ".join(words), numbers)


def _check_symbols(tokens: np.ndarray, sizes: Sequence[tuple[str, int]]) -> None:
    """Raises `ValueError` for a symbol or a value that does not exist, `(windows, steps, columns)`."""
    for index, (name, size) in enumerate(sizes):
        own = tokens[..., index]
        if own.size and not (own.min() >= 0 and own.max() < size):
            raise ValueError(f"expected {name} 0 to {size - 1}, got {own.min()} to {own.max()}")


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
