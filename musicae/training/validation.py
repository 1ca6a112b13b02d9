"""`Validation`: what the averaged weights make of the validation split: the loss, and previews to follow a run by eye.

It is computed in parts that fit into the memory, and gives the same numbers for any size of them. Nothing here knows
schedules or checkpoints.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from musicae.data.table import ExampleTable
from musicae.domain import Corruption, Domain
from musicae.models.autoencoder import Autoencoder, Loss
from musicae.nn.layers import share_of_batch
from musicae.plots import save_png
from musicae.training.trouble import halved, refuse_to_halve_less, until_it_fits
from musicae.training.update import Examples, add_losses

_PREVIEW_EXAMPLES, _SCORED_EXAMPLES = 8, 32


class Validation:
    """The validation split.

    Args:
        domain: makes tensors.
        table: the split's examples.
        corruption: of the inputs; None leaves them as they are.
        generator: a part's number → the generator of its draws, the same in every evaluation.
        precision: the context to compute in on a GPU. On a CPU nothing is rounded: its scores are compared with those
            of other machines.
    """

    def __init__(
        self,
        domain: Domain,
        table: ExampleTable,
        corruption: Corruption | None,
        generator: Callable[[int], torch.Generator],
        precision: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.domain, self.table, self.corruption = domain, table, corruption
        self._generator = generator
        self._precision = nullcontext if table.device.type == "cpu" else precision
        # Apple's GPUs have no double precision.
        self._exact_device = torch.device("cpu") if table.device.type == "mps" else table.device
        self.most_examples = domain.spec.evaluation_batch
        """Examples that are computed at once; fewer once the memory was short."""

    def summed_loss(
        self,
        model: Autoencoder,
        weights: Mapping[str, float],
        say: Callable[[str], None],
        *,
        share: tuple[int, int] = (0, 1),
    ) -> Tensor:
        """The parts of the loss, summed over examples, float64 `(parts,)`.

        Args:
            model: in evaluation mode.
            weights: of the loss's parts.
            say: is told where the memory is short.
            share: the number of this process, and of all; each sums over some examples.
        """
        sums = torch.zeros(len(Loss._fields), dtype=torch.float64, device=self._exact_device)
        parts = torch.arange(len(self.table)).split(self.domain.spec.evaluation_batch)

        def ask_for_less() -> None:
            smaller = halved(min(self.most_examples, len(parts[0])))
            refuse_to_halve_less(smaller, "validation")
            self.most_examples = smaller
            say(f"out of memory: validation goes on in parts of {smaller} examples")

        for index in range(share[0], len(parts), share[1]):
            loss = until_it_fits(partial(self._loss, model, parts[index], index, weights), ask_for_less)
            sums += len(parts[index]) * torch.stack(list(loss))
        return sums

    @torch.no_grad()
    def _loss(self, model: Autoencoder, rows: Tensor, index: int, weights: Mapping[str, float]) -> Loss:
        sums = None
        for part in self._batch(rows, self._generator(index)).parts(self.most_examples):
            with self._precision(), share_of_batch(part.share):
                loss = model(part.corrupted, part.target, **weights, generator=part.generator, condition=part.condition)
            exact = Loss(*(number.to(self._exact_device, torch.float64) for number in loss))
            sums = add_losses(sums, exact, len(part.target) / len(rows))
        assert sums is not None
        return sums

    @torch.no_grad()
    def scores(self, model: Autoencoder) -> dict[str, float]:
        """The domain's `progress_metrics`, means over some examples; of what is no restorer none."""
        names = self.domain.progress_metrics
        if self.corruption is None or not names:
            return {}
        found: dict[str, list[Tensor]] = {}
        rows = torch.linspace(0, len(self.table) - 1, min(_SCORED_EXAMPLES, len(self.table))).long()
        for index, part in enumerate(rows.split(self.most_examples)):
            batch = self._batch(part, self._generator(index))
            with self._precision():
                answer = model.reconstruct(batch.corrupted, condition=batch.condition)
            measured = self.domain.metrics(answer.float(), batch.target, batch.corrupted)
            for name in names:
                if name in measured:
                    found.setdefault(name, []).append(measured[name].float().cpu())
        return {name: float(torch.cat(values).nanmean()) for name, values in found.items()}

    def write_preview(self, model: Autoencoder, folder: Path, step: int) -> None:
        """Writes what the model makes of a few examples: `folder/step-000500.png`, and sound or music beside it."""
        rows = torch.arange(min(_PREVIEW_EXAMPLES, len(self.table)))
        batch = self._batch(rows, self._generator(0))
        with torch.no_grad():
            answer = model.reconstruct(batch.corrupted, condition=batch.condition)
        shown = {"original": batch.target, "corrupted": batch.corrupted, "model": answer}
        if self.corruption is None:
            del shown["corrupted"]
        folder.mkdir(parents=True, exist_ok=True)
        preview: dict[str, Any] = dict(self.domain.preview({label: tensor.cpu() for label, tensor in shown.items()}))
        for ending, item in preview.items():
            path = folder / f"step-{step:06d}{ending}"
            if isinstance(item, Image.Image):
                save_png(item, path)
            else:
                item.save(path)

    def _batch(self, rows: Tensor, generator: torch.Generator) -> Examples:
        target, condition = self.domain.tensor(self.table.batch(rows))
        corrupted = target if self.corruption is None else self.corruption(target, generator)
        return Examples(generator, None, target, corrupted, condition)
