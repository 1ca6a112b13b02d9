"""`SongOperations`: what the domain does with whole songs beside cutting and assembling them.

Tracks alone, other tempi, taps as drums, bars that are filled in and bars that are added.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from musicae.music.composition import MusicFrame
from musicae.music.config import MusicConfig
from musicae.music.piece import Piece
from musicae.music.windows import read_part

if TYPE_CHECKING:
    from musicae.music.gaps import Gap


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

    def gaps(self, item: Piece, first: int, last: int, codes: int) -> "Iterator[Gap]":
        """Stretches of a whole piece that are filled in one after the other; see `musicae.music.gaps.find_gaps`."""
        from musicae.music.gaps import find_gaps

        return find_gaps(item, self._own_config, first, last, codes)

    def filled(self, item: Piece, gap: "Gap", window: torch.Tensor) -> Piece:
        """A piece with a gap filled from a window `(1, *spec.shape)`, which starts where the gap says."""
        from musicae.music.gaps import fill

        config = self._own_config
        (group,) = config.slots.groups(window.detach().cpu(), config.plan.vocabulary)
        return fill(item, config, gap, group.tokens.numpy())

    def extended(self, item: Piece, bars: int) -> Piece:
        """A piece with so many silent bars behind its last one."""
        from musicae.music.gaps import extended

        return extended(item, bars)

    @property
    def _own_config(self) -> MusicConfig:
        config: MusicConfig = self.config
        return config
