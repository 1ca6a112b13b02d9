"""`Domain`: what every kind of media offers. It knows files and tensors, and no networks.

    file --read--> stored examples --to_tensor--> tensor --write--> file

*Stored* examples are compact numpy arrays (uint8 pixels, uint8 tokens, float16 samples) that a data
set keeps by the thousand; `to_tensor` turns a batch of them, on whatever device they lie, into the
tensor the spec promises, and draws augmentation there when it is given a generator.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from musicae.config import Config
from musicae.domains.abilities import Abilities
from musicae.domains.records import Batch, Corruption, Reading, Selection, TensorFunction
from musicae.spec import TensorSpec


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
