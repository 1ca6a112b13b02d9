"""What only some domains can do, such as follow chords, measure attributes or stream.

Each is a method of that medium's class; the protocols here name those methods, so that a caller can check for them with
`isinstance` and needn't know which medium it has.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from torch import Generator, Tensor


@runtime_checkable
class RemarksOnFiles(Protocol):
    """A domain that may not take files as they are, and can say what it makes of them."""

    def remark_on(self, files: Sequence[Path]) -> str | None:
        """A sentence on what the domain, configured for them, makes of files; None if it takes them as they are."""


def remark_on_files(domain: Any, files: Sequence[Path]) -> str | None:
    """What a domain that says so makes of files; None where there are none."""
    return domain.remark_on(files) if files and isinstance(domain, RemarksOnFiles) else None


@runtime_checkable
class HasAttributes(Protocol):
    """A domain with attributes that people can name and change, such as density or brightness."""

    def attributes(self, tensor: Tensor) -> dict[str, Tensor]:
        """`(batch, *spec.shape)` → for each attribute its name and `(batch,)` values."""


NOTES = "notes"
"""The aspect that every domain that compares aspects has: what is there, unchanged."""


@runtime_checkable
class ComparesAspects(Protocol):
    """A domain that can say how much of an example another one keeps, in aspects that people can name."""

    @property
    def aspects(self) -> Sequence[str]:
        """`NOTES`, all in all; then aspects that can be held while others change, such as `rhythm`."""

    def kept(self, estimate: Tensor, target: Tensor, aspect: str) -> Tensor:
        """The share of an aspect of the target that the estimate has too, 0 to 1.

        Args:
            estimate, target: `(batch, *spec.shape)` each.
            aspect: one of `aspects`.

        Returns:
            `(batch,)`.
        """


class Statistics(NamedTuple):
    """Counts and shares of examples, to compare the distributions of two sets of examples.

    Attributes:
        histograms: name → counts, int64 `(examples, bins)`.
        shares: name → float64 `(examples,)`: 1 if something is true of the example, 0 if not, between them for the part
            of it of which it is true; NaN if it can't be said.
    """

    histograms: dict[str, np.ndarray]
    shares: dict[str, np.ndarray]


@runtime_checkable
class HasStatistics(Protocol):
    """A domain with statistics of examples."""

    def statistics(self, tensor: Tensor) -> Statistics:
        """The statistics of a batch `(batch, *spec.shape)`."""


@runtime_checkable
class TakesCondition(Protocol):
    """A domain whose models can take a condition that a person writes, such as chords or a class."""

    def condition(self, text: str, windows: int | Tensor = 1) -> Tensor:
        """Reads a condition from text in the domain's own grammar, and spreads it over windows.

        Their number is given, or their own conditions, of which what the text doesn't say is kept. The result is int64
        `(windows, length)`, see `TensorSpec.condition`. Raises `MusicaeError` if the text can't be read.
        """


@runtime_checkable
class CompletesCondition(Protocol):
    """A domain whose samples need a whole condition, of which a person may write a part."""

    def complete_condition(self, condition: Tensor, generator: Generator) -> Tensor:
        """Draws what is 0, "none", in conditions `(samples, length)`."""


@runtime_checkable
class TakesNoiseProfile(Protocol):
    """A domain whose restorations can use a recording of the noise alone."""

    def noise_profile(self, item: Any, profile: Any) -> Callable[[Tensor, Tensor], Tensor]:
        """A function `(model's output, model's input)` → output, attenuated where only noise is expected.

        Args:
            item: the media object to restore.
            profile: a media object of the noise alone, recorded as the item was.
        """


@runtime_checkable
class HasScales(Protocol):
    """A domain whose media are made larger by a whole number."""

    @property
    def scales(self) -> tuple[int, ...]:
        """Those that a model learns."""

    def at_scale(self, scale: int) -> Any:
        """The domain with that scale. Raises `MusicaeError` for one that was not learned."""


@runtime_checkable
class HasViews(Protocol):
    """A domain whose media can be flipped and transposed, so that a restorer can average over several views."""

    def mean_over_views(self, restore: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
        """The mean over the views that the domain's settings ask for.

        Args:
            restore: `(batch, channels, height, width)` → the same shape, of any height and width.
            batch: the same shape.

        Returns:
            The same shape.
        """


def mean_over_views(domain: Any, restore: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    """A batch restored: the mean over a domain's views where it has some."""
    return domain.mean_over_views(restore, batch) if isinstance(domain, HasViews) else restore(batch)


@runtime_checkable
class TellsWhatIsRemoved(Protocol):
    """A domain that can give what a restoration took away, as a media object."""

    def removed(self, before: Any, after: Any) -> Any:
        """A media object before its restoration minus that after it."""


@runtime_checkable
class HasTempo(Protocol):
    """A domain whose media objects have a tempo, and so have the frames of its selections."""

    def tempo_bpm(self, item_or_frame: Any) -> float:
        """Quarters per minute of a media object, on average where they change, or of a frame."""

    def at_tempo(self, item: Any, tempo_bpm: float) -> Any:
        """The media object at another mean tempo."""

    def frame_at_tempi(self, frame: Any, tempi_bpm: Sequence[float]) -> Any:
        """The frame with a tempo for each of the examples that are composed in a row."""


@runtime_checkable
class HasTracks(Protocol):
    """A domain of media objects with tracks and bars: they have `with_bars(first, last)`, the only bars to change."""

    def solo(self, item: Any, read_from: Any = None) -> Any:
        """The media object with nothing but the tracks that the model reads.

        Args:
            item: of the domain.
            read_from: the media object that `item` was made from, whose tracks were read; None: `item`.
        """


@runtime_checkable
class CountsBars(Protocol):
    """A domain whose examples begin at bars of their media object."""

    def first_bars(self, item: Any) -> np.ndarray:
        """The bar at which each example begins, int64 `(examples,)`, in the order of `Domain.examples`."""


@runtime_checkable
class FillsBars(Protocol):
    """A domain of media objects as those of `HasTracks`; bars can be filled in, and added."""

    def gaps(self, item: Any, first: int, last: int, codes: int) -> Iterator[Any]:
        """Stretches to fill in one after the other, each with the `start` of its window and its `unknown` codes."""

    def filled(self, item: Any, gap: Any, window: Tensor) -> Any:
        """The media object with a stretch from a window `(1, *spec.shape)`; all else as it was."""

    def extended(self, item: Any, bars: int) -> Any:
        """The media object with so many bars behind its end."""


@runtime_checkable
class CutsBars(Protocol):
    """A domain whose tensors can be stored again, and whose stored examples are made of bars."""

    def stored(self, tensor: Tensor) -> np.ndarray:
        """`(batch, *spec.shape)` → examples as they are stored: the inverse of `tensor` without augmentation."""

    def single_bars(self, examples: np.ndarray) -> np.ndarray:
        """Stored examples → each of their bars as a stored example of its own."""


@runtime_checkable
class HasKeys(Protocol):
    """A domain of music; where a model plays pitches, samples can be in a key."""

    @property
    def has_keys(self) -> bool:
        """Whether what the model plays has pitches."""

    def parse_key(self, text: str) -> Any:
        """Reads a key that a person wrote."""

    def label_of_key(self, key: Any) -> int:
        """The label of music in a key, of `TensorSpec.labels`."""

    def way_to_key(self, tensor: Tensor, key: Any, *, keeps_pitch: bool) -> tuple[Tensor, Tensor]:
        """Semitones from the key of the same mode that each piece fits best to this one, and how well it fits.

        Of pieces that fit alike those with more notes fit better.

        Args:
            tensor: `(pieces, windows, *spec.shape)`.
            key: as `parse_key` gives it.
            keeps_pitch: whether the way is 0, and the fit is to the key itself.

        Returns:
            int64 and float, `(pieces,)` each.
        """

    @property
    def takes_chords(self) -> bool:
        """Whether chords are a condition of the model."""

    def way_to_chords(self, tensor: Tensor, text: str, shift: Tensor | None) -> tuple[Tensor, Tensor]:
        """Semitones by which the notes of each piece become tones of chords most often, and how well it fits then.

        Args:
            tensor: `(pieces, windows, *spec.shape)`.
            text: chords that a person wrote.
            shift: the semitones, where they are known, `(pieces,)`.

        Returns:
            int64 and float, `(pieces,)` each.
        """

    def symbols_in_key(self, key: Any, shift: int) -> Tensor:
        """Which symbols are in the key so many semitones below one: bool, those of one stream after the other."""

    def moved(self, tensor: Tensor, shift: Tensor) -> Tensor:
        """Transposes pieces `(pieces, windows, *spec.shape)` by semitones `(pieces,)`, or to another octave."""


@runtime_checkable
class HearsTaps(Protocol):
    """A domain that can take any rhythm for one that is tapped."""

    def taps(self, item: Any) -> Any:
        """The media object as its models of drums read it, with what is struck in it as hits."""


@runtime_checkable
class Streams(Protocol):
    """A domain whose media can be streamed through a causal model."""

    def open_stream(
        self, mask: Callable[[np.ndarray], np.ndarray], *, channels: int, sample_rate_hz: int | None
    ) -> Any:
        """A stream that applies a mask of spectra to blocks of samples; the rate is by default the model's."""

    def assemble_stream(self, item: Any, masks: Callable[[], Callable[[np.ndarray], np.ndarray]]) -> Any:
        """As `assemble`, for a causal model: the same result as a stream. `masks` gives a mask for a new stream."""


@runtime_checkable
class MorphsOverTime(Protocol):
    """A domain whose examples have a duration, during which one can change into another."""

    def morph_over_time(self, path: Tensor, frame: Any = None) -> Any:
        """A media object as long as an example, which follows a path over time.

        Args:
            path: `(points, *spec.shape)`.
            frame: as in `compose`.
        """


@runtime_checkable
class HasReport(Protocol):
    """A domain that can report on a restoration."""

    def report(self, before: Any, after: Any, elapsed_s: float) -> Any:
        """A value with `.lines` of text and `.plot()`, which compares a media object before and after."""


@runtime_checkable
class DescribesTensors(Protocol):
    """A domain that can say, for other programs, what the numbers of its tensors mean."""

    def describe_tensors(self) -> dict[str, Any]:
        """What can be written as JSON; units are in the names."""
