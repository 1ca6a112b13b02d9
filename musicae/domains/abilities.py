"""What a domain may know beside reading and writing: each ability has a default, which is to know nothing.

A domain overrides what its media have. Nothing here is needed to train a model, rebuild a file or draw one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch

from musicae.domains.records import TensorFunction
from musicae.errors import MusicaeError
from musicae.score.statistics import Statistics
from musicae.sound.frames import MaskFunction
from musicae.sound.streaming import SoundStream


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
