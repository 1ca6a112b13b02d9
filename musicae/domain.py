"""`Domain`: the seam between media objects and tensors. It knows neither files' formats nor networks.

    media object --windows--> batches of tensors --(a model)--> answers --assemble--> media object
    stored examples --tensor--> batch                 examples in a row --compose--> media object

A *media object* (`Picture`, `Piece`, `Sound`) is what a person has, with everything of the original. A domain cuts
it into windows and turns them into tensors; `assemble` takes what a model made of them, as it comes, and gives a new
media object in the frame of the old one: what was not addressed is untouched. *Stored* examples are compact numpy
arrays (uint8 pixels, uint8 tokens, float16 samples) that a data set keeps by the thousand; `tensor` turns a batch of
them into what the spec promises, on whatever device they lie, and augments when it is given a generator.

What only one medium can do (follow chords, take a noise profile, stream) is a method of that medium's class; the
protocols at the end name those methods, so that a caller can ask the object.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from torch import Generator, Tensor

from musicae.config import Config
from musicae.errors import MusicaeError
from musicae.spec import TensorSpec

if TYPE_CHECKING:
    from PIL.Image import Image

Corruption = Callable[[Tensor, Generator], Tensor]
"""A clean batch and a generator on its device → the corrupted batch, same shape."""

Baseline = Callable[[Tensor, Tensor], Tensor]
"""A corrupted and a clean batch → an estimate of the clean one, same shape."""

NO_LABEL = "(none)"
"""Stands among labels for an example that has none."""


class Savable(Protocol):
    """What can be written to a file: media objects, and pictures of them."""

    def save(self, path: Path, /) -> object:
        """Writes the file."""


class Media(Protocol):
    """What `Picture`, `Piece` and `Sound` have in common."""

    @property
    def name(self) -> str:
        """What files made from it are named after: its file's name without the ending, or its type's."""

    @property
    def suffix(self) -> str:
        """Ending of the file that holds it as it is, such as ".mid"."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is worth knowing of it, for people: which tune was taken, what could not be said."""

    def save(self, path: Path | str, /) -> Path:
        """Writes a file, whole or not at all; its ending chooses the format."""

    def plot(self) -> "Image":
        """Draws it."""

    def with_remarks(self, *remarks: str) -> Self:
        """The same with more remarks."""


class Batch(NamedTuple):
    """What a model learns from.

    Attributes:
        target: `(batch, *spec.shape)`.
        condition: int64 `(batch, length)` classes that go with it, where the spec has a condition.
    """

    target: Tensor
    condition: Tensor | None = None


class Window(NamedTuple):
    """A part of a media object, as a model sees it: consecutive windows that go through it together.

    Attributes:
        batch: the tensors. A restorer may be shown other sizes than the spec's.
        place: where they lie, for the domain's own use in `assemble`.
    """

    batch: Batch
    place: Any


class Answers(Iterable[tuple[Window, Tensor]]):
    """The windows of a media object with what a function made of each, as they come; each iteration starts anew.

    Args:
        windows: starts the windows from the beginning.
        function: a batch → the answer, for `assemble`.
    """

    def __init__(self, windows: Callable[[], Iterator[Window]], function: Callable[[Batch], Tensor]) -> None:
        self._windows, self._function = windows, function

    def __iter__(self) -> Iterator[tuple[Window, Tensor]]:
        for window in self._windows():
            yield window, self._function(window.batch)


@dataclass(frozen=True)
class Reading:
    """The stored examples of one file or media object, and why the rest of it was left out.

    Attributes:
        examples: `(examples, ...)` in the domain's stored form; may have zero rows.
        skipped: reason → number of windows left out for it; a reason reads on its own
            ("fewer than 4 notes", "time signature 5/4 (this model reads 4/4)").
        parts: one line for each track or channel: what it is, and whether it is used.
        groups: `(examples,)` int64; examples of one group never straddle train and test.
            None: the whole file is one group.
    """

    examples: np.ndarray
    skipped: dict[str, int] = field(default_factory=dict)
    parts: Sequence[str] = ()
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class Selection:
    """One example picked from a media object, with what is needed to make something like it.

    Attributes:
        example: `(1, ...)` in stored form.
        label: which part this is, for people: "bars 5–6 of track 'Violin'".
        frame: the domain's own record (tempo and instrument, sample rate and level), given to `compose`.
    """

    example: np.ndarray
    label: str
    frame: Any = None


class DomainConfig(Config):
    """Base of the domains' settings."""


class Domain(ABC):
    """One medium. Final subclasses are listed in `musicae.domains.DOMAINS`."""

    name: ClassVar[str]
    media: ClassVar[type[Any]]
    """The media object's class; it has `open`."""
    suffixes: ClassVar[tuple[str, ...]]
    """File endings it reads, lower case with the dot."""
    tasks: ClassVar[tuple[str, ...]]
    """`reconstruct`, and the restorations that make sense here: `denoise`, `upscale`."""
    Config: ClassVar[type[DomainConfig]]
    stacks_rows: ClassVar[bool] = False
    """Whether examples of a path are drawn one below the other, as piano rolls are, or side by side."""
    training_defaults: ClassVar[dict[str, Any]] = {}
    """Training settings that suit this medium better than the general ones, such as a batch size."""

    def __init__(self, config: DomainConfig | None = None) -> None:
        self.config = config if config is not None else self.Config()

    @classmethod
    def configure(cls, config: DomainConfig, files: Sequence[Path], task: str = "reconstruct") -> DomainConfig:
        """Fills in what the config leaves to the data, such as the size of the pictures.

        Called once before training; the result is what the checkpoint stores.

        Args:
            config: of this class's `Config`; what it states is kept.
            files: some of the files to be read, in their order; none for starter data and arrays.
            task: what the model is to learn.
        """
        return config

    @classmethod
    def configure_items(
        cls, config: DomainConfig, items: Sequence[Any], labels: Sequence[str] = (), task: str = "reconstruct"
    ) -> DomainConfig:
        """As `configure`, for data in memory.

        Args:
            config: of this class's `Config`; what it states is kept.
            items: some of them: media objects, or rows of the array that `array_examples` will be given.
            labels: the class of every item, where they have any.
            task: what the model is to learn.
        """
        del items, labels
        return cls.configure(config, (), task)

    @property
    @abstractmethod
    def spec(self) -> TensorSpec:
        """The tensors that `tensor` makes."""

    # media objects

    def open(self, source: Any, **how: Any) -> Any:
        """Opens a media object.

        Args:
            source: a path, bytes, a file object, the ecosystem's own type (PIL image, `PrettyMIDI`, samples), or a
                media object, which is given back as it is.
            **how: what the class's `open` takes besides, such as `sample_rate_hz` of samples.

        Raises:
            MusicaeError: no such file, a folder, or a file of another medium.
            ValueError: an object of the wrong type, shape or dtype.
        """
        if isinstance(source, self.media):
            return source
        if isinstance(source, (str, Path)):
            self.check_readable(Path(source))
        return self.media.open(source, **how)

    def check_readable(self, path: Path) -> None:
        """Raises `MusicaeError` unless a path is a file of this domain, by its name; it is not opened."""
        if not path.exists():
            raise MusicaeError(f"no such file: {path}")
        if path.is_dir():
            raise MusicaeError(f"{path} is a folder; give one file.")
        if not self.reads(path):
            raise MusicaeError(
                f"{path.name} is no {self.name} file, and this model takes no other "
                f"({', '.join(self.suffixes)}); choose another file or --model."
            )

    @abstractmethod
    def select(self, item: Any, **choice: Any) -> Selection:
        """Picks the one example of a media object that represents it best, or the one chosen.

        Raises:
            MusicaeError: a choice that this medium does not have, or a part that is not there.
        """

    @abstractmethod
    def windows(self, item: Any, task: str = "reconstruct") -> Iterator[Window]:
        """Cuts a whole media object, in order and in bounded memory.

        Args:
            item: of `media`.
            task: one of `tasks`; restorers are shown what they can use, such as tiles of a picture's own size.

        Raises:
            MusicaeError: nothing in it that this domain's settings address.
        """

    def unread(self, item: Any) -> str | None:
        """Says what of a media object no window holds; None where all of it is in one."""
        del item
        return None

    @abstractmethod
    def assemble(self, item: Any, answers: Iterable[tuple[Window, Tensor]], task: str = "reconstruct") -> Any:
        """A new media object in the frame of an old one; what the windows did not address is untouched.

        Args:
            item: what `windows` cut.
            answers: its windows in order, each with the model's answer on the CPU. Iterated once, or, where the
                result is lazy (a long sound), once each time that it is read.
            task: as in `windows`.
        """

    @abstractmethod
    def compose(self, tensor: Tensor, frame: Any = None) -> Any:
        """A new media object of `(examples, *spec.shape)`: bars in a row, pictures side by side.

        Args:
            tensor: decoded examples.
            frame: a `Selection`'s, for the tempo and instrument, or the sample rate and level.
        """

    @abstractmethod
    def preview(self, rows: dict[str, Tensor], frame: Any = None, *, columns: Sequence[str] = ()) -> dict[str, Savable]:
        """Named batches for a person to look at and listen to.

        Args:
            rows: label → `(examples, *spec.shape)`, drawn one beside the other.
            frame: as in `compose`.
            columns: labels of the examples of each row, such as the values of a latent number.

        Returns: file ending → what to write there, the picture (".png") first; a sound or a score where that helps.
        """

    # data sets

    def reads(self, path: Path) -> bool:
        """Whether a file of this name is one of this domain's (the file is not opened)."""
        return path.name.lower().endswith(self.suffixes)

    def companion_files(self, path: Path) -> list[Path]:
        """Other files that are read with this one, such as its labels; when they change it is read anew."""
        del path
        return []

    def official_split(self, path: Path) -> str | None:
        """The split a file belongs to by its set's own custom: `test`, or None where there is none."""
        del path
        return None

    def read(self, path: Path) -> Reading:
        """Reads every example of a file. Raises `DamagedFileError` where it can't be read at all."""
        return self.examples(self.media.open(path))

    @abstractmethod
    def examples(self, item: Any) -> Reading:
        """Every example of a media object."""

    @abstractmethod
    def array_examples(self, array: np.ndarray, labels: Sequence[str] | None = None) -> np.ndarray:
        """Stored examples of an array: pictures `(N, H, W[, C])`, sounds `(N, samples)`, windows of tokens.

        Args:
            array: one row an item.
            labels: the class of each, where the domain keeps classes.

        Raises:
            ValueError: a shape or dtype that is none of this medium's, or values that are not finite.
        """

    @abstractmethod
    def tensor(self, stored: Tensor, generator: Generator | None = None) -> Batch:
        """Stored batch → tensors on the same device.

        Args:
            stored: `(batch, ...)` stored examples.
            generator: on the same device; with it the batch is augmented, as in training.

        Returns:
            `(batch, *spec.shape)`, and the condition where the spec has one.
        """

    @abstractmethod
    def identity(self, examples: np.ndarray) -> np.ndarray:
        """Stored `(examples, ...)` → uint64 `(examples,)`: equal where the content is the same.

        What augmentation undoes doesn't count: a transposed melody is the same melody.
        """

    @abstractmethod
    def corruption(self, task: str, *, split: str = "train") -> Corruption | None:
        """The corruption of a task; None for `reconstruct`.

        Args:
            task: one of `tasks`.
            split: `train`, `validation`, `test` or `all`: recorded corruption (noise files) is split like data.
        """

    # scores

    @abstractmethod
    def metrics(self, estimate: Tensor, target: Tensor, corrupted: Tensor) -> dict[str, Tensor]:
        """Scores a batch: name → `(batch,)`, units in the names (`psnr_db`).

        Args:
            estimate: `(batch, *spec.shape)`: the model's answer.
            target: the clean batch.
            corrupted: the model's input; the same as `target` for `reconstruct`.
        """

    def baselines(self, task: str, examples: Tensor | None = None) -> "dict[str, Baseline]":
        """What a model is measured against: name → function of a corrupted and a clean batch, which gives an estimate.

        Guesses and filters that learn next to nothing, and bounds that know the clean batch. None unless a domain
        has some.

        Args:
            task: one of `tasks`.
            examples: some of the training split, `(examples, *spec.shape)`, for those that are fitted; None: without.
        """
        del task, examples
        return {}

    @property
    def primary_metric(self) -> str | None:
        """The metric, larger is better, by which a model beats a baseline on an example; None without baselines."""
        return None

    @property
    def example_duration_s(self) -> float | None:
        """How many seconds an example lasts, where it does."""
        return None

    def labels(self, stored: Tensor) -> dict[str, list[str]]:
        """Sorts stored examples by what has no order, such as a key or a class: name → `(batch,)` labels.

        `NO_LABEL` where an example has none. None at all unless a domain can.
        """
        del stored
        return {}

    @property
    def has_classes(self) -> bool:
        """Whether `labels` gives examples' classes, as `label`."""
        return False


@runtime_checkable
class RemarksOnConfig(Protocol):
    """A domain whose `configure` chooses where the files differ, and can say what."""

    @staticmethod
    def config_remark(files: Sequence[Path]) -> str | None:
        """What `configure` takes from the files, in words; None where they leave no choice."""


@runtime_checkable
class HasAttributes(Protocol):
    """A domain that measures what people name and want to change, such as density or brightness."""

    def attributes(self, tensor: Tensor) -> dict[str, Tensor]:
        """Name → `(batch,)` of `(batch, *spec.shape)`; each can become a direction in latent space."""


class Statistics(NamedTuple):
    """What a batch of examples is made up of, to compare many with many.

    Attributes:
        histograms: name → counts, int64 `(examples, bins)`.
        shares: name → float64 `(examples,)`: 1 where it is true of the example, 0 where it isn't, NaN where
            the example has nothing that it could be true of.
    """

    histograms: dict[str, np.ndarray]
    shares: dict[str, np.ndarray]


@runtime_checkable
class HasStatistics(Protocol):
    """A domain that knows what its examples are made up of."""

    def statistics(self, tensor: Tensor) -> Statistics:
        """Of `(batch, *spec.shape)`."""


@runtime_checkable
class TakesCondition(Protocol):
    """A domain whose models can be given a condition that a person writes, such as chords or a class."""

    def condition(self, text: str, windows: int = 1) -> Tensor:
        """int64 `(windows, length)` of `spec.condition`; text is in the domain's own grammar, spread over the windows.

        Raises:
            MusicaeError: the text can't be read.
        """


@runtime_checkable
class TakesNoiseProfile(Protocol):
    """A domain whose restorations can be helped by a recording of the noise alone."""

    def noise_profile(self, item: Any, profile: Any) -> Callable[[Tensor, Tensor], Tensor]:
        """A function that holds an answer to what is known of the noise: `(answer, given)` → the answer, no louder.

        Args:
            item: what is to be restored.
            profile: a media object of the noise alone, made as the item was.
        """


@runtime_checkable
class Streams(Protocol):
    """A domain whose media arrive bit by bit, so that a causal model can work while they do."""

    def open_stream(
        self, mask: Callable[[np.ndarray], np.ndarray], *, channels: int, sample_rate_hz: int | None
    ) -> Any:
        """A way for blocks of samples through a mask of spectra; None: at the model's own rate."""

    def assemble_stream(self, item: Any, masks: Callable[[], Callable[[np.ndarray], np.ndarray]]) -> Any:
        """As `assemble`, for a causal model: the result is what the stream would have given; `masks` starts it anew."""


@runtime_checkable
class MorphsOverTime(Protocol):
    """A domain whose examples last, so that one can change into another while it does."""

    def morph_over_time(self, path: Tensor, frame: Any = None) -> Any:
        """A media object as long as an example that goes along a path as time passes.

        Args:
            path: `(points, *spec.shape)`.
            frame: as in `compose`.
        """


@runtime_checkable
class HasReport(Protocol):
    """A domain that measures what a restoration did."""

    def report(self, before: Any, after: Any, elapsed_s: float) -> Any:
        """A value with `.lines` for people and `.plot()`, of a media object and what became of it."""
