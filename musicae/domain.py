"""`Domain`: the interface between media objects and tensors. It knows neither file formats nor networks.

    media object --windows--> batches of tensors --(a model)--> answers --assemble--> media object
    stored examples --tensor--> batch                 examples in a row --compose--> media object

A *media object* (`Picture`, `Piece`, `Sound`) is what a person has, with everything of the original. A domain cuts it
into windows and turns them into tensors; `assemble` takes the model's outputs and gives a new media object in the frame
of the old one: what was not addressed is unchanged. *Stored* examples are compact numpy arrays (uint8 pixels or tokens,
float16 samples) in a data set; `tensor` turns a batch of them into the spec's tensors, augmented if given a generator.

What only one medium can do (follow chords, use a noise profile, stream) is a method of that medium's class, which
`musicae.capabilities` names.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

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
"""The label of an example that has none."""


class Savable(Protocol):
    """What can be written to a file: media objects, and pictures of them."""

    def save(self, path: Path, /) -> object:
        """Writes the file."""


class Media(Protocol):
    """What `Picture`, `Piece` and `Sound` have in common."""

    @property
    def name(self) -> str:
        """Used in the names of files made from it: its file's name without the ending, or its type's name."""

    @property
    def suffix(self) -> str:
        """Ending of the file that holds it as it is, such as ".mid"."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes for people: which tune was taken, what could not be represented."""

    def save(self, path: Path | str, /) -> Path:
        """Writes a file, atomically; its ending chooses the format."""

    def plot(self) -> "Image":
        """Draws it."""

    def with_remarks(self, *remarks: str) -> Self:
        """A copy with more remarks."""


class Batch(NamedTuple):
    """A batch of examples as a model takes it.

    Attributes:
        target: `(batch, *spec.shape)`.
        condition: int64 `(batch, length)`, the classes of the condition, if the spec has one.
    """

    target: Tensor
    condition: Tensor | None = None


class Window(NamedTuple):
    """Consecutive windows of a media object, which a model processes as one batch.

    Attributes:
        batch: the tensors; for a restorer their size may differ from the spec's.
        place: where the windows are in the media object, for the domain's own use in `assemble`.
    """

    batch: Batch
    place: Any


class Answers(Iterable[tuple[Window, Tensor]]):
    """The windows of a media object, each with a function's result, computed while iterating; can be iterated again.

    Args:
        windows: a function that starts the windows from the beginning.
        function: a batch → the model's output, for `assemble`.
    """

    def __init__(self, windows: Callable[[], Iterator[Window]], function: Callable[[Batch], Tensor]) -> None:
        self._windows, self._function = windows, function

    def __iter__(self) -> Iterator[tuple[Window, Tensor]]:
        return map(self._answered, self._windows())  # a loop would hold each window while the next one is made

    def _answered(self, window: Window) -> tuple[Window, Tensor]:
        return window, self._function(window.batch)


@dataclass(frozen=True)
class Reading:
    """The stored examples of one file or media object, and the reasons why the rest was left out.

    Attributes:
        examples: `(examples, ...)` in the domain's stored form; may have zero rows.
        skipped: reason → number of windows left out for it; a reason reads on its own: "fewer than 4 notes".
        parts: one line for each track or channel: what it is, and whether it is used.
        groups: `(examples,)` int64; all examples of a group go into the same split. None: the file is one group.
        content: a hash of the file's bytes, whatever its name; empty where there is no file.
    """

    examples: np.ndarray
    skipped: dict[str, int] = field(default_factory=dict)
    parts: Sequence[str] = ()
    groups: np.ndarray | None = None
    content: bytes = b""


@dataclass(frozen=True)
class Selection:
    """One example chosen from a media object, with what is needed to compose a similar media object.

    Attributes:
        example: `(1, ...)` in stored form.
        label: which part it is, for people: "bars 5–6 of track 'Violin'".
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
    """`reconstruct`, and the restorations that make sense here: `denoise`, `upscale`, `tap`."""
    Config: ClassVar[type[DomainConfig]]
    names_columns: ClassVar[bool] = False
    """Whether `preview` draws the labels of columns, so that what stands beside a path can be told from it."""
    stacks_rows: ClassVar[bool] = False
    """Whether examples of a path are drawn one below the other, as piano rolls are, or side by side."""
    unshifted_attributes: ClassVar[tuple[str, ...]] = ()
    """Attributes that are measured, but that no straight line through latent space changes alike everywhere."""
    training_defaults: ClassVar[dict[str, Any]] = {}
    """Training settings that suit this medium better than the general ones, such as a batch size."""

    def __init__(self, config: DomainConfig | None = None) -> None:
        self.config = config if config is not None else self.Config()

    @classmethod
    def configure(cls, config: DomainConfig, files: Sequence[Path], task: str = "reconstruct") -> DomainConfig:
        """Fills in what the config leaves to the data, such as the size of the pictures.

        Called once before training; the checkpoint stores the result.

        Args:
            config: of this class's `Config`; settings that are not None are kept.
            files: some of the files to be read, in their order; empty for starter data and arrays.
            task: the task that the model will learn.
        """
        return config

    @classmethod
    def configure_items(
        cls, config: DomainConfig, items: Sequence[Any], labels: Sequence[str] = (), task: str = "reconstruct"
    ) -> DomainConfig:
        """As `configure`, for data in memory.

        Args:
            config: of this class's `Config`; settings that are not None are kept.
            items: some of the items: media objects, or rows of the array that `array_examples` will be given.
            labels: the class of every item, if they have any.
            task: the task that the model will learn.
        """
        del items, labels
        return cls.configure(config, (), task)

    @property
    @abstractmethod
    def spec(self) -> TensorSpec:
        """The tensors that `tensor` makes."""

    # media objects

    def open(self, source: Any, **options: Any) -> Any:
        """Opens a media object.

        Args:
            source: a path, bytes, a file object, the ecosystem's own type (PIL image, `PrettyMIDI`, samples), or a
                media object, which is returned as it is.
            **options: further arguments of the media class's `open`, such as `sample_rate_hz` of samples.

        Raises:
            MusicaeError: no such file, a folder, or a file of another medium.
            ValueError: an object of the wrong type, shape or dtype.
        """
        if isinstance(source, self.media):
            return source
        if isinstance(source, (str, Path)):
            self.check_readable(Path(source))
        return self.media.open(source, **options)

    def check_readable(self, path: Path) -> None:
        """Raises `MusicaeError` unless a path is an existing file with a name of this domain; it is not opened."""
        if not path.exists():
            raise MusicaeError(f"no such file: {path}")
        if path.is_dir():
            raise MusicaeError(f"{path} is a folder; give one file.")
        if not self.reads(path):
            raise MusicaeError(
                f"{path.name} is no {self.name} file, and nothing else is read here; expected "
                f"{', '.join(self.suffixes)}."
            )

    @abstractmethod
    def select(self, item: Any, **choice: Any) -> Selection:
        """Selects the example that represents a media object best, or the one that is chosen.

        Raises:
            MusicaeError: a choice that this medium does not have, or a part that does not exist.
        """

    @abstractmethod
    def windows(self, item: Any, task: str = "reconstruct") -> Iterator[Window]:
        """Cuts a whole media object, in order and in bounded memory.

        Args:
            item: of `media`.
            task: one of `tasks`; restorers take other windows, such as tiles of a picture's own size.

        Raises:
            MusicaeError: the item has nothing that this domain's settings address.
        """

    def unread(self, item: Any) -> str | None:
        """Says what of a media object no window holds; None where all of it is in one."""
        del item
        return None

    @abstractmethod
    def assemble(self, item: Any, answers: Iterable[tuple[Window, Tensor]], task: str = "reconstruct") -> Any:
        """A new media object in the frame of an old one; what the windows did not address is unchanged.

        Args:
            item: the media object that `windows` cut.
            answers: its windows in order, each with the model's output on the CPU. Iterated once; or, if the result is
                lazy (a long sound), each time that it is read.
            task: as in `windows`.
        """

    @abstractmethod
    def compose(self, tensor: Tensor, frame: Any = None) -> Any:
        """A new media object from `(examples, *spec.shape)`: bars in sequence, pictures side by side.

        Args:
            tensor: decoded examples.
            frame: that of a `Selection`, with tempo and instrument, or sample rate and level.
        """

    @abstractmethod
    def preview(self, rows: dict[str, Tensor], frame: Any = None, *, columns: Sequence[str] = ()) -> dict[str, Savable]:
        """Batches as a picture, and as a sound or a score where that helps.

        Args:
            rows: label → `(examples, *spec.shape)`; each is drawn as a row.
            frame: as in `compose`.
            columns: labels of the columns, such as the values of a latent number.

        Returns: file ending → what to write there, the picture (".png") first; a sound or a score where that helps.
        """

    # data sets

    def reads(self, path: Path) -> bool:
        """Whether a file belongs to this domain, by its name (it is not opened)."""
        return path.name.lower().endswith(self.suffixes)

    def companion_files(self, path: Path) -> list[Path]:
        """Other files that are read with this one, such as its labels; if they change, it is read again."""
        del path
        return []

    def official_split(self, path: Path) -> str | None:
        """`test` for a file of an official test split, else None."""
        del path
        return None

    def read(self, path: Path) -> Reading:
        """Reads every example of a file. Raises `DamagedFileError` if the file can't be read."""
        return self.examples(self.media.open(path))

    @abstractmethod
    def examples(self, item: Any) -> Reading:
        """Every example of a media object."""

    @abstractmethod
    def array_examples(self, array: np.ndarray, labels: Sequence[str] | None = None) -> np.ndarray:
        """Stored examples of an array: pictures `(N, H, W[, C])`, sounds `(N, samples)`, windows of tokens.

        Args:
            array: one row for each item.
            labels: the class of each item, if the domain stores classes.

        Raises:
            ValueError: a shape or dtype that this medium does not have, or values that are not finite.
        """

    @abstractmethod
    def tensor(self, stored: Tensor, generator: Generator | None = None) -> Batch:
        """Stored batch → tensors on the same device.

        Args:
            stored: `(batch, ...)` stored examples.
            generator: on the same device; if given, the batch is augmented as in training.

        Returns:
            `(batch, *spec.shape)`, and the condition if the spec has one.
        """

    def condition_of(self, target: Tensor) -> Tensor | None:
        """What tensors `(batch, *spec.shape)` say themselves of their condition; None: nothing."""
        del target
        return None

    @abstractmethod
    def identity(self, examples: np.ndarray) -> np.ndarray:
        """Stored `(examples, ...)` → uint64 `(examples,)`, equal for equal content.

        Differences that augmentation makes don't count: a transposed melody is the same melody.
        """

    @abstractmethod
    def corruption(self, task: str, *, split: str = "train") -> Corruption | None:
        """The corruption of a task; None for `reconstruct`.

        Args:
            task: one of `tasks`.
            split: `train`, `validation`, `test` or `all`, since recordings of noise are split too.
        """

    # scores

    @abstractmethod
    def metrics(self, estimate: Tensor, target: Tensor, corrupted: Tensor) -> dict[str, Tensor]:
        """Scores a batch: name → `(batch,)`, units in the names (`psnr_db`).

        Args:
            estimate: `(batch, *spec.shape)`, the model's output.
            target: the clean batch.
            corrupted: the model's input; the same object as `target` for `reconstruct`.
        """

    def baselines(self, task: str, examples: Tensor | None = None) -> "dict[str, Baseline]":
        """Baselines that models are compared with: name → function from a corrupted and a clean batch to an estimate.

        They are simple predictors and filters, and upper bounds that use the clean batch. Empty by default.

        Args:
            task: one of `tasks`.
            examples: some of the training split, `(examples, *spec.shape)`; without them no baseline is fitted.
        """
        del task, examples
        return {}

    progress_metrics: ClassVar[tuple[str, ...]] = ()
    """Of `metrics`, those that tell how a restorer's training goes, as far as there are any."""

    @property
    def primary_metric(self) -> str | None:
        """The metric, larger is better, by which a model beats a baseline on an example; None: no baselines."""
        return None

    @property
    def example_duration_s(self) -> float | None:
        """Duration of an example in seconds; None if it has none."""
        return None

    def labels(self, stored: Tensor) -> dict[str, list[str]]:
        """Categories of stored examples, such as the key or the class: name → `(batch,)` labels.

        An example without a label has `NO_LABEL`. Empty by default.
        """
        del stored
        return {}

    @property
    def has_classes(self) -> bool:
        """Whether `labels` gives the examples' classes, as `label`."""
        return False
