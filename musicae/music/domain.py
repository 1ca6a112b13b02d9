"""Music as steps: MIDI and ABC files to token windows and back.

A window is `bars` bars of one metre in 16ths, with one stream of tokens for each instrument of the
part: a melody (90 tokens), drums (512) or both with a bass (`musicae.music.parts`). The stored form is
`(windows, steps, columns)`, uint8 or uint16: the streams, and with `chords` one more column of chord
classes. Training transposes each window anew, so a melody and its transpositions are one content. This
module knows no networks; all reading of notes is in `musicae.music`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pretty_midi
import torch

from musicae.domain import Batch, Corruption, Domain, DomainConfig, Reading, Selection, TensorFunction
from musicae.errors import MusicaeError, unknown_name
from musicae.music.checking import NamedScore
from musicae.music.chords import parse_progression, spread
from musicae.music.config import MusicConfig
from musicae.music.lines import extract_piece
from musicae.music.measures import damage_of, keys_of, measured
from musicae.music.metrics import score_batch
from musicae.music.pieces import (
    MusicSource,
    densest_window,
    describe_window,
    map_piece,
    open_piece,
    unread_bars,
    window_from,
    windows_midi,
)
from musicae.music.reading import ABC_SUFFIXES, MIDI_SUFFIXES, first_of_many, read_scores
from musicae.music.rolls import part_rolls
from musicae.music.splits import listed_split
from musicae.music.starters import starter_scores
from musicae.music.statistics import Statistics, part_statistics
from musicae.music.tensors import (
    chord_condition,
    draw_shift,
    hash_windows,
    recombine,
    transposed,
    transposed_chords,
    vary_drums,
)
from musicae.music.tracks import summarise_tracks
from musicae.music.windows import cut_windows
from musicae.music.writing import write_midi
from musicae.spec import Layout, TensorSpec

__all__ = ["MusicConfig", "MusicDomain", "MusicSource"]


class MusicDomain(Domain):
    """Windows of melodies, drums or trios, of MIDI and ABC files."""

    name: ClassVar[str] = "music"
    suffixes: ClassVar[tuple[str, ...]] = MIDI_SUFFIXES + ABC_SUFFIXES
    output_suffix: ClassVar[str] = ".mid"
    drawn_below: ClassVar[bool] = True
    objects: ClassVar[tuple[type, ...]] = (pretty_midi.PrettyMIDI,)
    tasks: ClassVar[tuple[str, ...]] = ("reconstruct", "denoise", "upscale")
    # At β = 1 a melody is hardly told from another; the rate of the shipped models is what reconstructions need.
    training_defaults: ClassVar[dict[str, Any]] = {"batch_size": 192, "beta": 0.35}
    Config: ClassVar[type[DomainConfig]] = MusicConfig
    config: MusicConfig

    @property
    def spec(self) -> TensorSpec:
        """One stream of tokens for each instrument; a bar is a segment."""
        part = self.config.plan
        return TensorSpec(
            layout=Layout.STEPS,
            shape=(self.config.steps, len(part.streams)),
            likelihood="categorical",
            vocabulary=part.vocabulary,
            segment=self.config.steps_per_bar,
            condition=chord_condition(self.config.steps) if self.config.chords else None,
        )

    def split_of(self, path: Path) -> str | None:
        """`test` where a table above the file says so (see `musicae.music.splits`)."""
        return listed_split(path)

    def read(self, path: Path | pretty_midi.PrettyMIDI) -> Reading:
        """Reads every window of a file; the tunes of an ABC file are groups of their own."""
        readings = [self._read_score(named) for named in read_scores(path)]
        if len(readings) == 1:
            return readings[0]
        return _join_readings(readings)

    def _read_score(self, named: NamedScore) -> Reading:
        config, score = self.config, named.score
        try:
            piece = extract_piece(
                score, config.plan, config.signature, config.track, chords=config.chords, notes=named.notes
            )
        except MusicaeError:
            # In a folder some files lack the wanted track: they are counted, not fatal.
            parts = tuple(f"{track}: not used: another track is wanted" for track in summarise_tracks(score))
            none = np.zeros((0, config.steps, config.columns), config.plan.dtype)
            return Reading(none, {f"no {config.part} track {config.track!r}": 1}, parts)
        found = cut_windows(piece, config.bars, config.min_notes)
        return Reading(found.windows, found.skipped, piece.told)

    def starter(self) -> Iterator[tuple[str, Reading]]:
        """The starter tunes and grooves, one item each."""
        for named in starter_scores(self.config.plan):
            yield named.title, self._read_score(named)

    def to_tensor(self, stored: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Stored `(batch, steps, columns)` → int64 `(batch, steps, streams)`; with a generator each is transposed.

        The shift is uniform over −6 to +5 semitones, less what would leave A0–C8; some drums change places.
        """
        return self.to_batch(stored, generator).target

    def to_batch(self, stored: torch.Tensor, generator: torch.Generator | None = None) -> Batch:
        """As `to_tensor`, with the chord classes int64 `(batch, steps)`, moved with their notes."""
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
        return Batch(transposed(tokens, part, shift), None if chords is None else transposed_chords(chords, shift))

    def identity(self, examples: np.ndarray) -> np.ndarray:
        """Hashes each window's rhythm, intervals and drums; transpositions are equal."""
        return hash_windows(examples, self.config.plan)

    def corruption(self, task: str, *, split: str = "train") -> Corruption | None:
        """`denoise` repairs wrong, missing and shifted notes, `upscale` fills in what a grid of eighths lacks."""
        if task not in self.tasks:
            raise MusicaeError(f"music has no task {task!r}; valid: {', '.join(self.tasks)}.")
        return damage_of(task, self.config.plan)

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
            MusicaeError: the part is not in the file, no bar in the model's metre, or that bar or track is not there.
        """
        if choice:
            raise MusicaeError(unknown_name("choice", next(iter(choice)), ("bar", "track")))
        file = open_piece(path, self.config, track)
        if bar is None:
            bar, window = densest_window(file, self.config)
        else:
            window = window_from(file, self.config, bar)
        return Selection(window[None], *describe_window(file, self.config, bar))

    def write(self, tensor: torch.Tensor, path: Path, source: Any = None) -> None:
        """Writes windows `(examples, steps, streams)` in a row as one MIDI file."""
        write_midi(self.to_midi(tensor, source), Path(path))

    def to_midi(self, tensor: torch.Tensor, source: MusicSource | None = None) -> pretty_midi.PrettyMIDI:
        """The same as `write`, as an object."""
        self.spec.check(tuple(tensor.shape))
        return windows_midi(tensor.detach().cpu().numpy(), self.config, source or MusicSource())

    def map_file(self, path: Path, target: Path, function: TensorFunction, task: str = "reconstruct") -> None:
        """Puts a piece through a function, window after window, and writes a piece as long.

        The last window of each stretch is filled with rests. Bars in another metre are copied.
        Tempi and metres stay; the other tracks are left out. An ABC file's first tune is taken.
        """

        def on_windows(windows: np.ndarray) -> np.ndarray:
            batch = self.to_batch(torch.from_numpy(windows))
            answer = function(batch.target) if batch.condition is None else function(*batch)
            self.spec.check(tuple(answer.shape))
            return answer.detach().cpu().numpy()

        write_midi(map_piece(open_piece(path, self.config, None), self.config, on_windows), Path(target))

    def passed_over(self, path: Path | pretty_midi.PrettyMIDI, *, copied: bool = True) -> list[str]:
        """What `map_file` doesn't put through the function: tunes after the first, and bars in another metre.

        Args:
            path: what `map_file` takes.
            copied: whether such bars are copied, or left out.
        """
        told = (first_of_many(path), unread_bars(open_piece(path, self.config, None), self.config, copied=copied))
        return [remark for remark in told if remark is not None]

    def metrics(self, estimate: torch.Tensor, target: torch.Tensor, damaged: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scores windows `(batch, steps, streams)`: see `musicae.music.metrics`."""
        del damaged
        return score_batch(self.config.plan, estimate, target)

    def attributes(self, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
        """Of the first stream: see `musicae.music.attributes`."""
        return measured(self.config, tensor)

    def statistics(self, tensor: torch.Tensor) -> Statistics:
        """Histograms of pitches, intervals, lengths and density: see `musicae.music.statistics`."""
        return part_statistics(tensor.detach().cpu().numpy(), self.config.plan.streams, self.config.steps_per_bar)

    def labels(self, stored: torch.Tensor) -> dict[str, list[str]]:
        """The key of the first stream, where it has pitches."""
        return keys_of(self.config, self.to_tensor(stored))

    def remark(self, tensor: torch.Tensor) -> str | None:
        """Says so where nothing sounds."""
        part = self.config.plan
        tokens = tensor.detach().cpu().numpy()
        sounds = any(stream.onsets(tokens[..., index]).any() for index, stream in enumerate(part.streams))
        return None if sounds else "silent: no note anywhere"

    def condition(self, text: str, windows: int = 1) -> torch.Tensor:
        """Reads a progression such as "C F G Am", spread evenly over the windows."""
        if not self.config.chords:
            return super().condition(text, windows)
        classes = spread(parse_progression(text), windows * self.config.steps)
        return torch.from_numpy(classes.astype(np.int64)).view(windows, -1)

    def preview(self, rows: dict[str, torch.Tensor], stem: Path, source: Any = None) -> list[Path]:
        """Draws piano rolls, and writes the examples as MIDI and WAV: the first of every row, then the second."""
        from musicae.music.render import SAMPLE_RATE_HZ, render_midi, write_wav
        from musicae.plots import piano_rolls  # brings matplotlib

        tokens = {label: tensor.detach().cpu().numpy() for label, tensor in rows.items()}
        picture, sound = Path(f"{stem}.png"), Path(f"{stem}.mid")
        metre = self.config.signature
        rolls = part_rolls(self.config.plan, tokens)
        piano_rolls(rolls, picture, steps_per_bar=metre.steps_per_bar, steps_per_beat=metre.steps_per_beat)
        longest = max((len(windows) for windows in tokens.values()), default=0)
        order = [windows[index] for index in range(longest) for windows in tokens.values() if index < len(windows)]
        if not order:
            return [picture]
        self.write(torch.from_numpy(np.stack(order)), sound, source)
        heard = Path(f"{stem}.wav")
        write_wav(render_midi(sound), heard, SAMPLE_RATE_HZ)
        return [picture, sound, heard]


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
