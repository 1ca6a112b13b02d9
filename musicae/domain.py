"""`Domain`: what every kind of media offers. It knows files and tensors, and no networks.

    file --read--> stored examples --to_tensor--> tensor --write--> file

*Stored* examples are compact numpy arrays (uint8 pixels, uint8 tokens, float16 samples) that a data
set keeps by the thousand; `to_tensor` turns a batch of them, on whatever device they lie, into the
tensor the spec promises, and draws augmentation there when it is given a generator.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from musicae.audio.frames import MaskFunction
from musicae.audio.streaming import SoundStream
from musicae.config import Config
from musicae.errors import MusicaeError
from musicae.music.statistics import Statistics
from musicae.spec import TensorSpec

Corruption = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""Damage: a clean batch and a generator on its device → the damaged batch, same shape."""

TensorFunction = Callable[..., torch.Tensor]
"""A batch, and its condition where the spec has one → a batch of the same shape, such as a reconstruction."""


NO_LABEL = "(none)"
"""Stands among labels for an example that has none."""


class Batch(NamedTuple):
    """What a model learns from.

    Attributes:
        target: `(batch, *spec.shape)`.
        condition: int64 `(batch, length)` labels that go with it, where the spec has a condition.
    """

    target: torch.Tensor
    condition: torch.Tensor | None = None


@dataclass(frozen=True)
class Reading:
    """What one file gave, and why the rest of it was left out.

    Attributes:
        examples: `(examples, ...)` in the domain's stored form; may have zero rows.
        skipped: reason → number of windows left out for it; a reason reads on its own
            ("fewer than 4 notes", "metre 5/4 (this model reads 4/4)").
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
    """One example picked from a file, with what is needed to write something like it.

    Attributes:
        example: `(1, ...)` in stored form.
        label: which part of the file this is, for people: "bars 5–6 of track 'Violin'".
        source: the domain's own record of the file (tempo, sample rate), given back to `write`.
    """

    example: np.ndarray
    label: str
    source: Any = None


class Abilities:
    """Base of `Domain`: what only some media can do."""

    name: ClassVar[str]
    output_suffix: ClassVar[str]

    def result_suffix(self, source: Any) -> str:
        """The ending of what `map_file` writes of a file where no name is given; in some domains the source's own."""
        del source
        return self.output_suffix

    def kind_remark(self, source: Any, target: Path) -> str | None:
        """What a person should know of a result that is not of its source's kind."""
        del source, target
        return None

    def told_noise(self, function: TensorFunction, source: Path, profile: Path) -> TensorFunction:
        """Wraps a restoration so that it knows the noise in a file.

        Args:
            function: the restoration, of batches as `map_file` shows them.
            source: the file to be restored.
            profile: a recording of the noise alone, made as the file was.

        Raises:
            MusicaeError: the profile is of no use, or this domain knows no noise.
        """
        del function, source, profile
        raise MusicaeError(f"{self.name} knows no recordings of noise, only sound does; leave --noise-profile out.")

    def report(self, source: Path, target: Path) -> Callable[[float], list[str]]:
        """A function that compares a file with what `map_file` made of it, and draws both beside the result.

        Args:
            source: the file, not yet mapped.
            target: the result, not yet there.

        Returns:
            Seconds that it took → lines for people.

        Raises:
            MusicaeError: this domain measures nothing, or the picture could not be written.
        """
        del source, target
        raise MusicaeError(f"{self.name} has no report, only sound has one; leave --report out.")

    def open_stream(self, mask: MaskFunction, *, channels: int, sample_rate_hz: int | None = None) -> SoundStream:
        """Opens a way for sound through a mask, block by block.

        Args:
            mask: what a causal model makes of the magnitudes of frames.
            channels: samples at a time.
            sample_rate_hz: of the blocks; None for the model's.

        Raises:
            MusicaeError: a domain whose data does not arrive bit by bit.
        """
        raise MusicaeError(f"only sound can be streamed, and this model's data is {self.name}; give it whole files.")

    def map_stream(self, path: Path, target: Path, mask: MaskFunction) -> None:
        """As `map_file`, for the mask of a causal model: what comes out is what `open_stream` would have given."""
        del path, target, mask
        raise MusicaeError(f"only sound can be streamed, and this model's data is {self.name}; give it whole files.")

    def passed_over(self, path: Path, *, copied: bool = True) -> list[str]:
        """What `map_file` doesn't put through the function, for people: a line each. None unless a domain can tell.

        Args:
            path: what `map_file` takes.
            copied: whether it is copied, as `map_file` does, or left out.
        """
        del path, copied
        return []

    def rivals(self, task: str) -> dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
        """What a model is measured beside: name → function of a damaged and a clean batch, which gives an estimate.

        Restorers that learn nothing, and bounds that know the clean batch. None unless a domain knows some.
        """
        del task
        return {}

    @property
    def judged_by(self) -> str | None:
        """The metric, larger is better, by which an example is won from a rival; None where there are no rivals."""
        return None

    @property
    def example_s(self) -> float | None:
        """How many seconds an example lasts, where it does."""
        return None

    def attributes(self, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
        """Measures what people name and want to change: name → `(batch,)`, of `(batch, *spec.shape)`.

        Each can become a direction in latent space. None unless a domain knows some.
        """
        del tensor
        return {}

    def turned(self, path: torch.Tensor) -> torch.Tensor:
        """One example that turns from the first of a path into its last while time passes.

        Args:
            path: `(points, *spec.shape)`.

        Returns:
            `(1, *spec.shape)`.

        Raises:
            MusicaeError: in this domain an example is not a stretch of time that could.
        """
        raise MusicaeError("only sounds turn into each other while they last; leave --morph out.")

    def lasting(self, source: Any) -> Any:
        """A selection's record for an example that is to be written as long as it is, however short its file was."""
        return source

    def statistics(self, tensor: torch.Tensor) -> Statistics:
        """What examples are made up of, to compare many with many. Nothing unless a domain can tell."""
        del tensor
        return Statistics({}, {})

    def labels(self, stored: torch.Tensor) -> dict[str, list[str]]:
        """Sorts stored examples by what has no order, such as a key or a class: name → `(batch,)` labels.

        `NO_LABEL` where an example has none. None at all unless a domain can.
        """
        del stored
        return {}

    @property
    def has_classes(self) -> bool:
        """Whether `labels` tells examples' classes, as `label`."""
        return False

    def remark(self, tensor: torch.Tensor) -> str | None:
        """What a person should know of `(batch, *spec.shape)` that was written, such as that it is silent."""
        del tensor
        return None

    def condition(self, text: str, windows: int = 1) -> torch.Tensor:
        """Reads a condition that a person wrote, such as a chord progression.

        Args:
            text: in the domain's own grammar.
            windows: consecutive examples that it is spread over.

        Returns:
            int64 `(windows, length)` of `spec.condition`.

        Raises:
            MusicaeError: the models of this domain's settings are told nothing, or the text can't be read.
        """
        raise MusicaeError(
            "this model was trained without chords or labels and can follow none; train one with --set chords=true "
            "(music) or --set labels=true (pictures), or choose another with --model."
        )


class DomainConfig(Config):
    """Base of the domains' settings."""


class Domain(Abilities, ABC):
    """One kind of media. Final subclasses are listed in `musicae.domains.DOMAINS`."""

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    """File endings it reads, lower case with the dot."""
    output_suffix: ClassVar[str]
    """What it writes: ".mid", ".png", ".wav"."""
    objects: ClassVar[tuple[type, ...]] = ()
    """What `read`, `select` and `map_file` take in place of a file's path, such as `PrettyMIDI`."""
    tasks: ClassVar[tuple[str, ...]]
    """`reconstruct`, and the restorations that make sense here: `denoise`, `upscale`."""
    Config: ClassVar[type[DomainConfig]]
    drawn_below: ClassVar[bool] = False
    """Whether examples of a path are drawn one below the other, as piano rolls are, or side by side."""
    training_defaults: ClassVar[dict[str, Any]] = {}
    """Training settings that suit this media better than the general ones, such as a batch size."""

    def __init__(self, config: DomainConfig | None = None) -> None:
        self.config = config if config is not None else self.Config()

    @classmethod
    def suited(cls, config: DomainConfig, files: Sequence[Path], task: str = "reconstruct") -> DomainConfig:
        """Fills in what the config leaves to the data, such as the size of the pictures.

        Called once before training; the result is what the checkpoint stores.

        Args:
            config: of this class's `Config`; what it states is kept.
            files: some of the files to be read, in their order; none for the starter data.
            task: what the model is to learn.
        """
        return config

    def reads(self, path: Path) -> bool:
        """Whether a file of this name is one of this domain's (the file is not opened)."""
        return path.name.lower().endswith(self.suffixes)

    def beside(self, path: Path) -> list[Path]:
        """Other files that are read with this one, such as its labels; when they change it is read anew."""
        del path
        return []

    def split_of(self, path: Path) -> str | None:
        """The split a file belongs to by its set's own custom: `test`, or None where there is none."""
        return None

    @property
    @abstractmethod
    def spec(self) -> TensorSpec:
        """The tensors that `to_tensor` makes."""

    @abstractmethod
    def read(self, path: Path) -> Reading:
        """Reads every example of a file. Raises `DamagedFileError` where it can't be read at all."""

    @abstractmethod
    def starter(self) -> Iterator[tuple[str, Reading]]:
        """Yields `(item name, reading)`: the data used when the user gives none."""

    @abstractmethod
    def to_tensor(self, stored: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Stored batch → tensor `(batch, *spec.shape)` on the same device.

        Args:
            stored: `(batch, ...)` stored examples.
            generator: on the same device; with it the batch is augmented, as in training.
        """

    def to_batch(self, stored: torch.Tensor, generator: torch.Generator | None = None) -> Batch:
        """As `to_tensor`, with the condition where the spec has one."""
        return Batch(self.to_tensor(stored, generator))

    @abstractmethod
    def identity(self, examples: np.ndarray) -> np.ndarray:
        """Stored `(examples, ...)` → uint64 `(examples,)`: equal where the content is the same.

        What augmentation undoes doesn't count: a transposed melody is the same melody.
        """

    @abstractmethod
    def corruption(self, task: str, *, split: str = "train") -> Corruption | None:
        """The damage of a task; None for `reconstruct`.

        Args:
            task: one of `tasks`.
            split: `train`, `validation` or `test`: recorded damage (noise files) is split like data.
        """

    @abstractmethod
    def select(self, path: Path, **choice: Any) -> Selection:
        """Picks the one example of a file that represents it best, or the one chosen."""

    @abstractmethod
    def write(self, tensor: torch.Tensor, path: Path, source: Any = None) -> None:
        """Writes `(examples, *spec.shape)` as one file: bars in a row, pictures side by side."""

    @abstractmethod
    def map_file(self, path: Path, target: Path, function: TensorFunction, task: str = "reconstruct") -> None:
        """Puts a whole file through a tensor function and writes a file of the same kind and length.

        Memory stays bounded whatever the length. Nothing is left at `target` on failure.

        Args:
            path: a file of this domain.
            target: the file to write.
            function: what a model makes of a batch.
            task: one of `tasks`: a restorer may take, and give, other sizes than the spec's.
        """

    @abstractmethod
    def metrics(self, estimate: torch.Tensor, target: torch.Tensor, damaged: torch.Tensor) -> dict[str, torch.Tensor]:
        """Scores a batch: name → `(batch,)`, units in the names (`psnr_db`).

        Args:
            estimate: `(batch, *spec.shape)`: the model's answer.
            target: the clean batch.
            damaged: the model's input; the same as `target` for `reconstruct`.
        """

    @abstractmethod
    def preview(self, rows: dict[str, torch.Tensor], stem: Path, source: Any = None) -> list[Path]:
        """Draws named batches, one beside the other, for a person to look at and listen to.

        Args:
            rows: label → `(examples, *spec.shape)`.
            stem: path without ending; the domain adds `.png`, and `.mid` and `.wav` where that helps.
            source: a `Selection`'s record, for the tempo and instrument or the sample rate.

        Returns:
            The files written, the picture first.
        """
