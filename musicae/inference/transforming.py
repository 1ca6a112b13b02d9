"""From a whole file to a whole file: put through the model, told other chords, or moved along an attribute."""

import math
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from musicae.audio.streaming import StreamedBlocks
from musicae.domain import Batch
from musicae.errors import MusicaeError, unknown_name
from musicae.inference.attribute_table import attributes_of
from musicae.inference.attribute_vectors import AttributeVectors, moved
from musicae.inference.coder import Coder
from musicae.inference.result_files import stem_of
from musicae.inference.streaming import mask_of
from musicae.precision import restoring_precision
from musicae.shipped import LIVE_MODEL
from musicae.spec import Layout, TensorSpec

_WEAK = 0.25
"""In standard deviations; an attribute whose vector does less is said to be out of the model's reach."""


class Restraint(NamedTuple):
    """How far a restoration may go.

    Attributes:
        strength: 0 leaves the input as it is, 1 takes the model's answer.
        max_attenuation_db: of sound: no part of the spectrum is turned down by more; None for no limit.
    """

    strength: float = 1.0
    max_attenuation_db: float | None = None

    def check(self, spec: TensorSpec) -> None:
        """Raises `ValueError` for values out of range, `MusicaeError` for what this kind of data can't be given."""
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength is between 0 and 1, got {self.strength}")
        if self.strength < 1 and spec.layout is not Layout.GRID:
            raise MusicaeError("notes are repaired or left, not in part; leave --strength out.")
        if self.max_attenuation_db is None:
            return
        if not 0 <= self.max_attenuation_db < math.inf:
            raise ValueError(f"max_attenuation_db is 0 dB or more, got {self.max_attenuation_db}")
        if spec.correction != "mask":
            raise MusicaeError("only sound is turned down by decibels; leave --max-attenuation out.")

    def applied(self, answer: Tensor, given: Tensor) -> Tensor:
        """The model's answer, held back; both `(batch, *spec.shape)`."""
        if self.max_attenuation_db is not None:
            # A mask on a spectrum: real and imaginary parts are turned down alike.
            least = given * 10 ** (-self.max_attenuation_db / 20)
            answer = torch.where(answer.abs() < least.abs(), least, answer)
        return answer if self.strength == 1 else torch.lerp(given, answer, self.strength)


UNRESTRAINED = Restraint()


def restore(
    coder: Coder,
    task: str,
    source: Any,
    out: Path | str | None,
    told: str | None = None,
    restraint: Restraint = UNRESTRAINED,
    noise_profile: Path | str | None = None,
    report: bool = False,
) -> Path | Tensor:
    """Puts a file or a batch through the model; see `TrainedModel.reconstruct`, `denoise` and `upscale`."""
    started = time.perf_counter()
    restraint.check(coder.domain.spec)
    if task != "reconstruct":
        coder.refuse_other_task(task)
    if told is not None:
        coder.refuse_restorer("follow other chords or labels")
    if isinstance(source, Tensor):
        if noise_profile is not None or report:
            raise ValueError("a noise profile and a report go with a file, got a batch")
        wanted = None if told is None else coder.condition(told)
        return restraint.applied(_answer(coder, Batch(source), wanted), source.cpu())
    source, target = coder.readable(source), _target(coder, source, task, out)
    coder.remarks.extend(coder.domain.passed_over(source))
    if told is not None:
        return _retell(coder, source, target, told)
    measured = coder.domain.report(source, target) if report else None
    if coder.model.is_causal:
        if noise_profile is not None:
            raise MusicaeError("a model that cleans as sound arrives takes no noise profile; leave it out.")
        coder.domain.map_stream(coder.readable_beside(source, target), target, mask_of(coder, restraint.applied))
    else:
        _map_restored(coder, source, target, restraint, noise_profile)
    coder.remarks.extend(filter(None, [coder.domain.kind_remark(source, target)]))
    if measured is not None:
        coder.report.extend(measured(time.perf_counter() - started))
    return target


def _retell(coder: Coder, source: Any, target: Path, told: str) -> Path:
    """Decodes a whole file with another condition."""
    wanted = coder.condition(told, len(windows_of_file(coder, source)))
    done = 0

    def answer(batch: Batch) -> Tensor:
        nonlocal done
        part = wanted[done : done + len(batch.target)]
        done += len(batch.target)
        return coder.reconstruct(batch, part)

    return coder.map_file(source, target, answer)


def _map_restored(
    coder: Coder, source: Any, target: Path, restraint: Restraint, noise_profile: Path | str | None
) -> None:
    """Writes what the model makes of a whole file."""

    def restored(batch: Tensor, condition: Tensor | None = None) -> Tensor:
        return _answer(coder, Batch(batch, condition))

    knowing = restored if noise_profile is None else coder.domain.told_noise(restored, source, Path(noise_profile))

    def answer(batch: Batch) -> Tensor:
        return restraint.applied(knowing(batch.target, batch.condition), batch.target)

    coder.map_file(source, target, answer)


def stream(
    coder: Coder, blocks: Iterable[np.ndarray], sample_rate_hz: int | None, restraint: Restraint
) -> StreamedBlocks:
    """Cleans blocks as they come; see `TrainedModel.stream`."""
    restraint.check(coder.domain.spec)
    coder.refuse_other_task("denoise")
    if not coder.model.is_causal:
        raise MusicaeError(
            f"this model looks ahead and cannot stream; take {LIVE_MODEL!r}, or train one with --model causal."
        )
    if sample_rate_hz is not None and sample_rate_hz < 1:
        raise ValueError(f"sample_rate_hz is a positive number, got {sample_rate_hz}")
    return StreamedBlocks(
        blocks,
        lambda channels: coder.domain.open_stream(
            mask_of(coder, restraint.applied), channels=channels, sample_rate_hz=sample_rate_hz
        ),
    )


def shift(
    coder: Coder,
    vectors: AttributeVectors | None,
    source: Any,
    attribute: str,
    amount: float,
    out: Path | str | None,
) -> Path | Tensor:
    """Moves a file or a batch along an attribute's vector; see `TrainedModel.shift`."""
    coder.refuse_restorer("shift")
    if not math.isfinite(amount):
        raise ValueError(f"amount is a number of standard deviations, got {amount}")
    if vectors is None:
        attributes_of(coder.domain, torch.zeros(1, *coder.domain.spec.shape, dtype=torch.int64))
        raise MusicaeError("this model has no attribute vectors; train it anew, or choose another with --model.")
    if attribute not in vectors.info:
        raise MusicaeError(unknown_name("attribute", attribute, vectors.info))
    if isinstance(source, Tensor):
        return moved(coder, Batch(source), vectors, attribute, amount).cpu()
    seen: dict[str, list[dict[str, Tensor]]] = {"before": [], "plainly": [], "after": []}

    def answer(batch: Batch) -> Tensor:
        result = moved(coder, batch, vectors, attribute, amount)
        for when, tensor in (("before", batch.target), ("plainly", coder.reconstruct(batch)), ("after", result)):
            seen[when].append(coder.domain.attributes(tensor.cpu()))
        return result

    target = coder.map_file(source, _target(coder, source, "shift", out), answer)
    coder.remarks.extend(coder.domain.passed_over(coder.readable(source)))
    means = {when: _means(parts) for when, parts in seen.items()}
    coder.remarks.append(
        f"{attribute}: {means['before'][attribute]:.3g} in the file, {means['plainly'][attribute]:.3g} reconstructed, "
        f"{means['after'][attribute]:.3g} shifted"
    )
    changes = {
        name: (means["after"][name] - means["plainly"][name]) / info.deviation for name, info in vectors.info.items()
    }
    told = ", ".join(f"{name} {change:+.2f}" for name, change in changes.items())
    coder.remarks.append(f"changes in standard deviations: {told}")
    usual = vectors.info[attribute].effects[attribute]
    if amount * changes[attribute] < 0:
        coder.remarks.append(f"{attribute} went the other way; ask for less")
    if usual < _WEAK:
        coder.remarks.append(
            f"this model hardly moves {attribute}: on its training data an amount of 1 changed it by {usual:.2f}"
        )
    return target


def windows_of_file(coder: Coder, source: Any) -> list[Batch]:
    """Every window of a whole file as the model sees it, batches of one, in order."""
    windows: list[Batch] = []

    def keep(batch: Tensor, condition: Tensor | None = None) -> Tensor:
        told = [None] * len(batch) if condition is None else condition.split(1)
        windows.extend(Batch(target, each) for target, each in zip(batch.split(1), told, strict=True))
        return batch

    # What a domain maps it also writes; it sees that nothing was changed by getting the very batch it gave.
    with tempfile.TemporaryDirectory(prefix="musicae-") as folder:
        coder.domain.map_file(coder.readable(source), Path(folder) / f"probe{coder.domain.output_suffix}", keep)
    return windows


def _target(coder: Coder, source: Any, task: str, out: Path | str | None) -> Path:
    coder.readable(source)
    return Path(out) if out is not None else Path(f"{stem_of(source)}-{task}{coder.domain.result_suffix(source)}")


def _answer(coder: Coder, batch: Batch, wanted: Tensor | None = None) -> Tensor:
    with restoring_precision(coder.device, by_mask=coder.domain.spec.correction == "mask"):
        return coder.reconstruct(batch, wanted).cpu()


def _means(parts: list[dict[str, Tensor]]) -> dict[str, float]:
    """Mean of each attribute over all windows in which it could be measured."""
    return {name: float(torch.cat([part[name].double() for part in parts]).nanmean()) for name in parts[0]}
