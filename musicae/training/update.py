"""The parts of one update of the weights: micro-batches, the clip of the gradients, the average of the weights.

They make the host wait for the device once: where the gradients' norm is read, which decides whether the update is
made at all. Everything else is queued. Nothing here knows data, schedules or files.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.swa_utils import AveragedModel

from musicae.models.autoencoder import Autoencoder, Loss
from musicae.nn.layers import Share, share_of_batch


class Examples(NamedTuple):
    """Examples of a batch, as a model takes them.

    Attributes:
        generator: for the model's draws, on the same device.
        share: which of the batch they are; None: all.
        target: `(examples, *spec.shape)`.
        corrupted: the input, same shape.
        condition: int64 `(examples, length)`, if the spec has one.
    """

    generator: torch.Generator
    share: Share | None
    target: Tensor
    corrupted: Tensor
    condition: Tensor | None

    def parts(self, size: int) -> Iterator["Examples"]:
        """Cuts them into micro-batches, for which a model makes the draws that it would make for the whole.

        So losses and gradients of the parts add up to those of the whole, up to rounding. Each part is to be used
        before the next one is asked for, since that sets the generators back.

        Args:
            size: examples of a part, at least 1.
        """
        if size >= len(self.target):
            yield self
            return
        whole = self.share or Share(self.target, 0, len(self.target))
        state = self.generator.get_state()
        for start in range(0, len(self.target), size):
            rows = slice(start, min(start + size, len(self.target)))
            self.generator.set_state(state)
            torch.manual_seed(self.generator.initial_seed())  # for dropout
            yield Examples(
                self.generator,
                Share(whole.batch, whole.first + rows.start, rows.stop - rows.start, is_first=start == 0),
                self.target[rows],
                self.corrupted[rows],
                None if self.condition is None else self.condition[rows],
            )


def add_gradients(
    model: Callable[..., Loss],
    batch: Examples,
    size: int,
    weights: Mapping[str, float],
    *,
    backward: Callable[[Tensor, float], None],
    unsynchronised: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Loss:
    """Adds the gradients of a batch to those of the weights, in micro-batches.

    Args:
        model: gives the loss of a micro-batch; it may be wrapped, to share gradients with other processes.
        batch: this process's examples.
        size: examples of a micro-batch.
        weights: of the loss's parts.
        backward: computes the gradients of a loss times a number, the micro-batch's share of the batch.
        unsynchronised: inside, gradients aren't shared with other processes; around all micro-batches but the last.

    Returns:
        The batch's loss, without gradients.
    """
    sums, count, done = None, len(batch.target), 0
    for part in batch.parts(size):
        done += len(part.target)
        with nullcontext() if done == count else unsynchronised(), share_of_batch(part.share):
            loss = model(part.corrupted, part.target, **weights, generator=part.generator, condition=part.condition)
            backward(loss.total, len(part.target) / count)
        sums = add_losses(sums, Loss(*(number.detach() for number in loss)), len(part.target) / count)
    assert sums is not None
    return sums


def add_losses(sums: Loss | None, loss: Loss, weight: float) -> Loss:
    """`sums`, None for nothing yet, plus `loss` times `weight`, part by part."""
    if weight == 1:
        return loss
    weighted = Loss(*(weight * number for number in loss))
    return weighted if sums is None else Loss(*(one + other for one, other in zip(sums, weighted, strict=True)))


def clip_gradients(parameters: Iterable[torch.nn.Parameter], largest: float) -> float:
    """Scales the gradients down if their norm is too large.

    The norm is read once, so the host waits for the device here. A clip that reads nothing would multiply all
    gradients in every step, by a factor that is mostly 1; and a step of a network on a GPU takes long enough that the
    wait costs little (a CPU has nothing to wait for).

    Args:
        parameters: the ones without a gradient are left out.
        largest: norm that is left as it is.

    Returns:
        The norm before that; not finite where a gradient isn't.
    """
    found = [parameter for parameter in parameters if parameter.grad is not None]
    norm = get_total_norm([cast(Tensor, parameter.grad) for parameter in found])
    value = norm.item()
    if value + 1e-6 > largest:  # where clip_grad_norm_'s factor is below one
        clip_grads_with_norm_(found, largest, norm)
    return value


@torch.no_grad()
def update_average(average: AveragedModel, model: Autoencoder, decay: float) -> None:
    """Moves the averaged weights towards the model's: an exponential moving average.

    `AveragedModel.update_parameters` would ask the device how often it was called.

    Args:
        average: its buffers become the model's.
        model: on the same device.
        decay: share of the average that stays; 0 for the first update.
    """
    averaged, current = ([weight.detach() for weight in part.parameters()] for part in (average.module, model))
    if decay:
        torch._foreach_lerp_(averaged, current, 1 - decay)
    else:
        torch._foreach_copy_(averaged, current)
    if buffers := list(model.buffers()):
        torch._foreach_copy_(list(average.module.buffers()), buffers)
    average.n_averaged += 1
