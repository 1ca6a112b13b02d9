"""Runs a whole media object through a model: reconstructed, denoised, upscaled, or decoded with another condition."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from musicae.capabilities import HasScales, HearsTaps, Streams, TakesNoiseProfile
from musicae.domain import Batch, Domain
from musicae.errors import MusicaeError
from musicae.pipeline import Pipeline
from musicae.shipped import LIVE_MODEL
from musicae.spec import Layout, TensorSpec


class RestorationLimits(NamedTuple):
    """Limits on how much a restoration changes.

    Attributes:
        strength: dry/wet: 0 gives the input, 1 the model's output.
        max_attenuation_db: largest attenuation of any part of a sound's spectrum; None for no limit.
    """

    strength: float = 1.0
    max_attenuation_db: float | None = None

    def check(self, spec: TensorSpec) -> None:
        """Raises `ValueError` for values out of range, `MusicaeError` for a limit that this medium does not have."""
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

    @property
    def changes_nothing(self) -> bool:
        """Whether the result is the input, to the bit."""
        return self.strength == 0 or self.max_attenuation_db == 0

    def apply(self, answer: Tensor, given: Tensor) -> Tensor:
        """The model's output within the limits; output and input are `(batch, *spec.shape)`."""
        if self.max_attenuation_db is not None:
            # A mask attenuates real and imaginary parts alike.
            least = given * 10 ** (-self.max_attenuation_db / 20)
            answer = torch.where(answer.abs() < least.abs(), least, answer)
        return answer if self.strength == 1 else torch.lerp(given, answer, self.strength)


NO_LIMITS = RestorationLimits()


def restore(
    pipeline: Pipeline,
    task: str,
    source: Any,
    condition: str | None = None,
    limits: RestorationLimits = NO_LIMITS,
    noise_profile: Any = None,
    **options: Any,
) -> Any:
    """Runs a media object or a batch through the model; see `TrainedModel.reconstruct`, `denoise` and `upscale`."""
    domain = pipeline.domain
    limits.check(domain.spec)
    if task != "reconstruct":
        pipeline.refuse_other_task(task)
    if condition is not None:
        pipeline.refuse_restorer("follow other chords or labels")
    if isinstance(source, Tensor):
        if noise_profile is not None:
            raise ValueError("a noise profile goes with a sound, got a batch")
        wanted = None if condition is None else pipeline.condition(condition)
        return limits.apply(pipeline.answer(pipeline.batch_of(source), wanted), source.cpu())
    item = pipeline.open(source, **options)
    if limits.changes_nothing:
        return item
    if condition is not None:
        return _with_condition(pipeline, item, condition)
    if pipeline.network.is_causal:
        if noise_profile is not None:
            raise MusicaeError("a model that cleans as sound arrives takes no noise profile; leave it out.")
        return _streaming(domain).assemble_stream(item, lambda: _mask_of(pipeline, limits))
    suppress_noise = None if noise_profile is None else _noise_profile(domain, item, noise_profile)

    def answer(batch: Batch) -> Tensor:
        estimate = pipeline.answer(batch)
        if suppress_noise is not None:
            estimate = suppress_noise(estimate, batch.target)
        return limits.apply(estimate, batch.target)

    return pipeline.map(item, answer)


def enlarge(pipeline: Pipeline, source: Any, scale: int | None, **options: Any) -> Any:
    """Upscales a media object or a batch, pictures by a scale; see `TrainedModel.upscale`."""
    if scale is not None:
        pipeline.refuse_other_task("upscale")
        if isinstance(source, Tensor):
            raise ValueError("a batch is upsampled already; leave scale out, or give a picture")
        if not isinstance(pipeline.domain, HasScales):
            raise MusicaeError(
                f"only pictures have a scale, and this model's data is {pipeline.domain.name}; leave it out."
            )
        pipeline = pipeline.with_domain(pipeline.domain.at_scale(scale))
    return restore(pipeline, "upscale", source, **options)


def stream(
    pipeline: Pipeline, blocks: Iterable[np.ndarray], sample_rate_hz: int | None, limits: RestorationLimits
) -> Any:
    """Cleans blocks as they come; see `TrainedModel.stream`."""
    limits.check(pipeline.domain.spec)
    pipeline.refuse_other_task("denoise")
    if not pipeline.network.is_causal:
        raise MusicaeError(
            f"this model looks ahead and cannot stream; take {LIVE_MODEL!r}, or train one with --model causal."
        )
    from musicae.audio.streaming import StreamedBlocks  # only sound has blocks

    domain = _streaming(pipeline.domain)
    return StreamedBlocks(
        blocks,
        lambda channels: domain.open_stream(
            _mask_of(pipeline, limits), channels=channels, sample_rate_hz=sample_rate_hz
        ),
    )


def tap(pipeline: Pipeline, source: Any) -> Any:
    """Plays a tapped rhythm on a kit; see `TrainedModel.tap`."""
    pipeline.refuse_other_task("tap")
    domain = pipeline.domain
    tapped = domain.corruption("tap")
    assert tapped is not None and isinstance(domain, HearsTaps)
    generator = pipeline.generator(0)

    def answer(batch: Batch) -> Tensor:
        return pipeline.answer(Batch(tapped(batch.target, generator), batch.condition))

    if isinstance(source, Tensor):
        return answer(pipeline.batch_of(source))
    return pipeline.map(domain.taps(pipeline.open(source)), answer)


def _with_condition(pipeline: Pipeline, item: Any, text: str) -> Any:
    """A whole media object decoded with another condition; the code stays."""
    windows = list(pipeline.domain.windows(item, pipeline.task))
    own = [window.batch.condition for window in windows if window.batch.condition is not None]
    sizes = [len(window.batch.target) for window in windows]
    conditions = pipeline.condition(text, torch.cat(own) if own else sum(sizes)).split(sizes)
    answers = [
        (window, pipeline.reconstruct(window.batch, condition).cpu())
        for window, condition in zip(windows, conditions, strict=True)
    ]
    return pipeline.domain.assemble(item, answers, pipeline.task)


def _noise_profile(domain: Domain, item: Any, profile: Any) -> Callable[[Tensor, Tensor], Tensor]:
    if not isinstance(domain, TakesNoiseProfile):
        raise MusicaeError(f"{domain.name} has no recordings of noise, only sound has; leave --noise-profile out.")
    return domain.noise_profile(item, domain.open(profile))


def _streaming(domain: Domain) -> Streams:
    if not isinstance(domain, Streams):
        raise MusicaeError(f"only sound can be streamed, and this model's data is {domain.name}; give it whole files.")
    return domain


def _mask_of(pipeline: Pipeline, limits: RestorationLimits) -> Callable[[np.ndarray], np.ndarray]:
    """A function from the next frames' magnitudes to their mask, by a causal model.

    It keeps the model's state, so every sound needs a function of its own.

    Args:
        pipeline: with a causal model.
        limits: of the attenuation.
    """
    network: Any = cast(Any, pipeline.network)
    state = network.initial_state(1)

    def mask(magnitude: np.ndarray) -> np.ndarray:
        nonlocal state
        real = torch.from_numpy(magnitude).to(pipeline.device)[None]
        with torch.inference_mode():
            factors, state = network.mask(torch.stack((real, torch.zeros_like(real)), 1), state)
        limited: np.ndarray = limits.apply(factors, torch.ones_like(factors))[0, 0].cpu().numpy()
        return limited

    return mask
