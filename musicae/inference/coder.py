"""`Coder`: examples of files ↔ codes in the space where paths are drawn. The operations stand on it.

It pairs a model with its domain and a device. What is worth telling a person about a result, such as
that it is silent, is collected in `remarks`; what was measured because it was asked for, in `report`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from musicae.domain import Batch, Domain, Selection
from musicae.errors import MusicaeError
from musicae.models import Autoencoder
from musicae.precision import drawing_precision

BatchFunction = Callable[[Batch], Tensor]
"""What the model sees, with its condition → its answer, `(batch, *spec.shape)`."""


class Code(NamedTuple):
    """Where examples lie.

    Attributes:
        base: `(batch, *latent_shape)`, posterior means, in the space where the prior is a standard normal.
        condition: int64 `(batch, length)`: what the model was told of them; None where it is told nothing.
    """

    base: Tensor
    condition: Tensor | None = None


class Coder:
    """Encodes and decodes for the operations.

    Args:
        model: in evaluation mode, on the device.
        domain: whose tensors the model takes.
        task: what the model was trained for.
        device: where to compute.
    """

    def __init__(self, model: Autoencoder, domain: Domain, task: str, device: torch.device) -> None:
        self.model, self.domain, self.task, self.device = model, domain, task, device
        self.remarks: list[str] = []
        self.report: list[str] = []

    def readable(self, source: Any) -> Any:
        """An object the domain reads, as it is, or the path of a file that is there and of the domain."""
        if isinstance(source, self.domain.objects):
            return source
        path = Path(source)
        if not path.exists():
            raise MusicaeError(f"no such file: {path}")
        if path.is_dir():
            raise MusicaeError(f"{path} is a folder; give one file.")
        if not self.domain.reads(path):
            raise MusicaeError(
                f"{path.name} is no {self.domain.name} file, and this model takes no other "
                f"({', '.join(self.domain.suffixes)}); choose another file or --model."
            )
        return path

    def readable_beside(self, source: Any, target: Path) -> Any:
        """As `readable`, of a source that is not the target itself."""
        source = self.readable(source)
        if isinstance(source, Path) and target.exists() and target.samefile(source):
            raise MusicaeError(f"{target} is the input itself; choose another --out.")
        return source

    def select(self, source: Any, choice: dict[str, Any] | None = None) -> Selection:
        """Picks one example of a file, see `Domain.select`."""
        return self.domain.select(self.readable(source), **(choice or {}))

    def batch(self, selection: Selection) -> Batch:
        """What the model sees of a selection, a batch of one."""
        return self.domain.to_batch(torch.from_numpy(selection.example).to(self.device))

    @torch.no_grad()
    def encode(self, batch: Batch) -> Code:
        """Posterior means, mapped to the space where paths are drawn, in parts that bound the memory."""
        size, condition = self.domain.spec.evaluation_batch, batch.condition
        condition = None if condition is None else condition.to(self.device)
        parts = []
        for start in range(0, len(batch.target), size):
            told = None if condition is None else condition[start : start + size]
            mean = self.model.encode(batch.target[start : start + size].to(self.device), told).mean
            parts.append(self.model.latent.to_base(mean))
        return Code(torch.cat(parts), condition)

    def decode(
        self,
        base: Tensor,
        condition: Tensor | None = None,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """`(batch, *latent_shape)` in the space where paths are drawn → `(batch, *spec.shape)`; see `decode_codes`."""
        with torch.no_grad():
            z = self.model.latent.from_base(base.to(self.device))
        return self.decode_codes(z, condition, temperature=temperature, top_p=top_p, generator=generator)

    @torch.no_grad()
    def decode_codes(
        self,
        z: Tensor,
        condition: Tensor | None = None,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """`(batch, *latent_shape)` as the encoder gives them → `(batch, *spec.shape)`, in parts that bound the memory.

        Args:
            z: codes.
            condition: `(batch, length)`, or `(1, length)` for all.
            temperature, top_p, generator: as in `Autoencoder.decode`.
        """
        z = z.to(self.device)
        condition = None if condition is None else condition.to(self.device).expand(len(z), -1)
        size = self.domain.spec.evaluation_batch
        with drawing_precision(self.device, len(z) if temperature > 0 else 0):
            parts = [
                self.model.decode(
                    z[start : start + size],
                    temperature=temperature,
                    top_p=top_p,
                    generator=generator,
                    condition=None if condition is None else condition[start : start + size],
                )
                for start in range(0, len(z), size)
            ]
        return torch.cat(parts)

    def draws(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws from the prior, `(count, *latent_shape)`, in the space where paths are drawn."""
        with torch.no_grad():
            return self.model.latent.sample_base(count, generator)

    def map_file(self, source: Any, target: Path, function: BatchFunction) -> Path:
        """Puts a whole file through a function of what the model sees; see `Domain.map_file`.

        Raises:
            MusicaeError: the target is the source itself.
        """
        source = self.readable_beside(source, target)
        remarks: list[str | None] = []

        def answer(batch: Tensor, condition: Tensor | None = None) -> Tensor:
            result = function(Batch(batch, condition)).cpu()
            remarks.append(self.domain.remark(result))
            return result

        self.domain.map_file(source, target, answer, self.task)
        if remarks and remarks[0] is not None and None not in remarks:
            self.remarks.append(f"{target.name}: {remarks[0]}")
        return target

    def reconstruct(self, batch: Batch, wanted: Tensor | None = None) -> Tensor:
        """The model's answer to a batch, `(batch, *spec.shape)`, on the model's device.

        Args:
            batch: as the file has it.
            wanted: another condition to decode with, `(1, length)` or `(batch, length)`; the code stays.
        """
        if wanted is not None:
            code = self.encode(batch)
            return self.decode(code.base, wanted)
        condition = None if batch.condition is None else batch.condition.to(self.device)
        with torch.no_grad():
            return self.model.reconstruct(batch.target.to(self.device), condition=condition)

    def condition(self, text: str, windows: int = 1) -> Tensor:
        """Reads a condition, `(windows, length)`; see `Domain.condition`."""
        return self.domain.condition(text, windows).to(self.device)

    def refuse_other_task(self, task: str) -> None:
        """Raises `MusicaeError` if the model was trained for another task."""
        if self.task != task:
            raise MusicaeError(
                f"this model was trained to {self.task}, not to {task}; train one with --task {task}, "
                f"or choose another with --model."
            )

    def refuse_restorer(self, what: str) -> None:
        """Raises `MusicaeError` if the model corrects its input, so that a code alone gives nothing."""
        if self.model.restores:
            raise MusicaeError(
                f"this model restores ({self.task}) and cannot {what}; use one trained with --task reconstruct."
            )

    def generator(self, seed: int | None) -> torch.Generator:
        """A generator on the device; without a seed, another each time."""
        generator = torch.Generator(self.device)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        return generator


def either(chords: str | None, label: str | None) -> str | None:
    """What a model is told, whatever its domain calls it."""
    if chords is not None and label is not None:
        raise ValueError("give chords (music) or a label (pictures), not both")
    return label if chords is None else chords
