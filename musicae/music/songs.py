"""`SongOperations`: what the domain does with whole songs beside cutting and assembling them.

Tracks alone, other tempi and other keys, taps as drums, bars that are filled in and bars that are added.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from musicae.music.composition import MusicFrame
from musicae.music.config import MusicConfig
from musicae.music.piece import Piece
from musicae.music.tensors import onset_classes, pitch_class_counts, pitch_span, transposed
from musicae.music.tokens import HIGHEST_PITCH, LOWEST_PITCH
from musicae.music.windows import cut_windows, read_part

if TYPE_CHECKING:
    from musicae.music.gaps import Gap
    from musicae.music.tonality import Key


class SongOperations:
    """Methods of `MusicDomain`; each is named by a protocol in `musicae.capabilities`."""

    config: Any  # a `MusicConfig`

    def solo(self, item: Piece, read_from: Piece | None = None) -> Piece:
        """The piece with nothing but the tracks that the model reads; tempo, bars and markers stay."""
        source = item if read_from is None else read_from
        read = {source.place(track) for tracks in read_part(source, self.config).choice.tracks for track in tracks}
        return item.only_tracks({track.index for track in item.tracks if item.place(track.index) in read})

    def taps(self, item: Piece) -> Piece:
        """See `musicae.music.taps`."""
        from musicae.music.taps import as_taps

        return as_taps(item)

    def tempo_bpm(self, item_or_frame: Piece | MusicFrame) -> float:
        """Quarters per minute of a frame, or on average of a piece."""
        if isinstance(item_or_frame, MusicFrame):
            return item_or_frame.tempo_bpm
        return item_or_frame.tempo_map.mean_bpm(item_or_frame.bar_tick(item_or_frame.bars + 1))

    def at_tempo(self, item: Piece, tempo_bpm: float) -> Piece:
        """The piece with its tempo map scaled to a mean."""
        return item.at_speed(tempo_bpm / self.tempo_bpm(item))

    def frame_at_tempi(self, frame: MusicFrame, tempi_bpm: Sequence[float]) -> MusicFrame:
        """The frame with a tempo for each window in a row."""
        return replace(frame, tempo_bpm=tempi_bpm[0], tempi_bpm=tuple(tempi_bpm))

    def first_bars(self, item: Piece) -> np.ndarray:
        """The bar at which each example of a piece begins, int64 `(examples,)`, counted from 1."""
        config = self._own_config
        return cut_windows(read_part(item, config), config.bars, config.min_notes).first_bar

    def gaps(self, item: Piece, first: int, last: int, codes: int) -> "Iterator[Gap]":
        """Stretches of a whole piece that are filled in one after the other; see `musicae.music.gaps.find_gaps`."""
        from musicae.music.gaps import find_gaps

        return find_gaps(item, self._own_config, first, last, codes)

    def filled(self, item: Piece, gap: "Gap", window: Tensor) -> Piece:
        """A piece with a gap filled from a window `(1, *spec.shape)`, which starts where the gap says."""
        from musicae.music.gaps import fill

        config = self._own_config
        (group,) = config.slots.groups(window.detach().cpu(), config.plan.vocabulary)
        return fill(item, config, gap, group.tokens.numpy())

    def extended(self, item: Piece, bars: int) -> Piece:
        """A piece with so many silent bars behind its last one."""
        from musicae.music.gaps import extended

        return extended(item, bars)

    def stored(self, tensor: Tensor) -> np.ndarray:
        """Windows as they are stored, without chords: the inverse of `MusicDomain.tensor` without augmentation."""
        part = self._own_config.plan
        return self._own_config.slots.joined(tensor.cpu(), part.vocabulary).numpy().astype(part.dtype)

    def single_bars(self, examples: np.ndarray) -> np.ndarray:
        """Every bar of stored windows as a window of one bar."""
        return self._own_config.slots.single_bars(examples)

    @property
    def has_keys(self) -> bool:
        """Whether the part has pitches."""
        return not all(instrument.is_drums for instrument in self._own_config.plan.instruments)

    def parse_key(self, text: str) -> "Key":
        """See `musicae.music.tonality.parse_key`."""
        from musicae.music.tonality import parse_key

        return parse_key(text)

    def label_of_key(self, key: "Key") -> int:
        """The key's scale; see `musicae.music.tonality.scale_of`."""
        return key.scale

    def scale_labels(self, tensor: Tensor) -> Tensor:
        """The scale of each window, int64 `(batch,)`; see `musicae.music.tonality.scale_of`."""
        from musicae.music.tonality import scale_of

        return scale_of(self._pitch_class_counts(tensor)).to(tensor.device)

    def _pitch_class_counts(self, tensor: Tensor) -> Tensor:
        """Steps that each pitch class sounds in windows `(batch, *spec.shape)`, int64 `(batch, 12)`, on the CPU."""
        own, part = tensor.cpu(), self._own_config.plan
        counts = torch.zeros(len(own), 12, dtype=torch.int64)
        for group in self._own_config.slots.groups(own, part.vocabulary):
            counts[group.rows] = pitch_class_counts(group.tokens, part)
        return counts

    def way_to_key(self, tensor: Tensor, key: "Key", *, keeps_pitch: bool) -> tuple[Tensor, Tensor]:
        """By what all instruments with pitches play in all windows of a piece; few notes say little of a key."""
        from musicae.music.tonality import fits

        flat = tensor.flatten(0, 1).cpu()
        counts = self._pitch_class_counts(flat).unflatten(0, tensor.shape[:2]).sum(1)
        found = fits(counts, key.mode) * self._weight(flat, tensor.shape[1])[:, None]
        if keeps_pitch:
            return torch.zeros(len(found), dtype=torch.int64), found[:, key.tonic]
        fit, tonic = found.max(1)
        return (key.tonic - tonic + 6) % 12 - 6, fit

    @property
    def takes_chords(self) -> bool:
        """Whether chords are a condition of the model."""
        return self._own_config.chords

    def chord_steps(self, text: str, numbers: Tensor) -> Tensor:
        """Spreads a progression evenly over windows in a row; see `musicae.music.chords.parse_progression`.

        Args:
            text: such as "C F G Am".
            numbers: the time signature of each window, int64 `(windows,)`.

        Returns:
            The class of each step, int64 `(windows, steps)`.
        """
        from musicae.music.chords import parse_progression, spread

        slots = self._own_config.slots
        lengths = slots.lengths(numbers).tolist()
        classes = torch.from_numpy(spread(parse_progression(text), sum(lengths)).astype(np.int64))
        stored = torch.nn.utils.rnn.pad_sequence(list(classes.split(lengths)), batch_first=True)
        stored = torch.nn.functional.pad(stored, (0, slots.steps - stored.shape[1])).unsqueeze(-1)
        return slots.spread(stored, numbers, ())[..., 0]

    def way_to_chords(self, tensor: Tensor, text: str, shift: Tensor | None) -> tuple[Tensor, Tensor]:
        """By the notes of all instruments with pitches that begin under a chord; few notes say little."""
        from musicae.music.chords import CLASSES, chord_pitches

        part, (pieces, windows) = self._own_config.plan, tensor.shape[:2]
        flat = tensor.flatten(0, 1).cpu()
        begins = onset_classes(flat, part).unflatten(0, (pieces, windows)).flatten(1, 2).float()  # (pieces, steps, 12)
        classes = self.chord_steps(text, self._own_config.slots.numbers(flat[:windows], part.vocabulary)).flatten()
        tones = torch.zeros(CLASSES, 12)
        for chord in range(CLASSES):
            tones[chord, list(chord_pitches(chord))] = 1
        counted = begins * (classes > 0)[:, None]
        inside = torch.stack([(counted.roll(up, 2) * tones[classes]).sum((1, 2)) for up in range(-6, 6)], 1)
        share = inside / counted.sum((1, 2)).clamp_min(1)[:, None]  # (pieces, 12)
        best = share.argmax(1) if shift is None else (shift + 6) % 12
        return best - 6, share.gather(1, best[:, None])[:, 0] * self._weight(flat, windows)

    def _weight(self, flat: Tensor, windows: int) -> Tensor:
        """Of each piece notes / (notes + bars): near 1 where there are many; `(pieces,)` of `(pieces · windows, …)`."""
        notes = onset_classes(flat, self._own_config.plan).sum((1, 2)).unflatten(0, (-1, windows)).sum(1)
        return notes / (notes + windows * self._own_config.bars)

    def symbols_in_key(self, key: "Key", shift: int) -> Tensor:
        """Pitches of the key, and everything that has none."""
        lower = key._replace(tonic=(key.tonic - shift) % 12)
        allowed = []
        for stream in self._own_config.plan.streams:
            symbols = torch.arange(stream.vocabulary)
            pitch = torch.from_numpy(np.asarray(stream.pitch_of(symbols.numpy())))
            allowed.append((pitch < 0) | lower.has(pitch))
        return torch.cat(allowed)

    def moved(self, tensor: Tensor, shift: Tensor) -> Tensor:
        """Where notes of a piece would leave A0–C8, all of it goes to the octave below or above."""
        part, flat = self._own_config.plan, tensor.flatten(0, 1)
        spans = (ends.unflatten(0, tensor.shape[:2]) for ends in pitch_span(flat, part))
        lowest, highest = (ends.amin(1) if number == 0 else ends.amax(1) for number, ends in enumerate(spans))
        shift = torch.where(highest + shift > HIGHEST_PITCH, shift - 12, shift)
        shift = torch.where(lowest + shift < LOWEST_PITCH, shift + 12, shift)
        return transposed(flat, part, shift.repeat_interleave(tensor.shape[1])).view_as(tensor)

    @property
    def _own_config(self) -> MusicConfig:
        config: MusicConfig = self.config
        return config
