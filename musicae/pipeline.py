"""`Pipeline`: a network with its domain on a device. All operations on media objects use it.

It opens media objects, encodes and decodes examples in parts that bound the memory, and knows the space in which
paths between codes are drawn (where the prior is a standard normal). It keeps nothing between calls.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from musicae.capabilities import TakesCondition, mean_over_views
from musicae.config import read_config
from musicae.domain import Answers, Batch, Domain, Selection
from musicae.errors import MusicaeError
from musicae.models.autoencoder import Autoencoder
from musicae.models.refinement import refined
from musicae.precision import drawing_precision, restoring_precision
from musicae.spec import Layout

MOST_REFINEMENT = 1000
"""Steps."""
_REFINED_AT_ONCE = 64
"""Examples."""
Choice = dict[str, Any]
"""Which part of a media object is taken: music has `bar` and `track`, sound `start_s`, a set of pictures `index`."""


class Code(NamedTuple):
    """The codes of some examples.

    Attributes:
        base: `(batch, *latent_shape)`: posterior means, or what they were refined to, in the space where the prior is a
            standard normal.
        condition: int64 `(batch, length)`: the condition of each; None where the model takes none.
    """

    base: Tensor
    condition: Tensor | None = None


class Pipeline:
    """Opens media objects, and encodes and decodes examples.

    Args:
        network: in evaluation mode, on the device.
        domain: whose tensors the network takes.
        task: what the network was trained for.
        device: where to compute.
        refine_steps: gradients by which the encoder's codes are improved, see `musicae.models.refinement`.
    """

    def __init__(
        self, network: Autoencoder, domain: Domain, task: str, device: torch.device, refine_steps: int = 0
    ) -> None:
        self.network, self.domain, self.task, self.device = network, domain, task, device
        self.refine_steps = refine_steps

    def with_domain(self, domain: Domain) -> "Pipeline":
        """The same with another domain, whose tensors the network takes too."""
        return Pipeline(self.network, domain, self.task, self.device, self.refine_steps)

    def domain_with(self, settings: dict[str, Any]) -> Domain:
        """The domain with other settings; errors as in `TrainedModel.with_settings`."""
        config = type(self.domain.config)
        changed = read_config(config, {**self.domain.config.model_dump(), **settings}, f"{self.domain.name} setting")
        domain = type(self.domain)(changed)
        if domain.spec != self.network.spec:
            raise MusicaeError("a setting that changes the shape of the model's tensors can't be changed afterwards.")
        return domain

    def open(self, source: Any, **options: Any) -> Any:
        """Opens a media object; see `Domain.open`."""
        return self.domain.open(source, **options)

    def select(self, source: Any, choice: Choice | None = None) -> Selection:
        """Picks one example of a media object; see `Domain.select`."""
        return self.domain.select(self.open(source), **(choice or {}))

    def batch(self, selection: Selection) -> Batch:
        """A selected example as the network takes it, a batch of one."""
        return self.domain.tensor(torch.from_numpy(selection.example).to(self.device))

    def checked(self, tensor: Tensor) -> Tensor:
        """A batch on the device. Raises `ValueError` where its shape, type or values are not the domain's.

        A restorer of grids takes any height and width.
        """
        spec = self.domain.spec
        if not isinstance(tensor, Tensor):
            raise ValueError(f"expected a torch tensor, got {type(tensor).__name__}")
        is_steps = spec.layout is Layout.STEPS
        if is_steps == tensor.is_floating_point():
            raise ValueError(f"expected a batch of {'whole numbers' if is_steps else 'floats'}, got {tensor.dtype}")
        if is_steps or not self.network.restores or tensor.dim() != 4 or tensor.shape[1] != spec.shape[0]:
            spec.check(tuple(tensor.shape))
        if not tensor.numel():
            raise ValueError(f"expected at least one example, got a batch of shape {tuple(tensor.shape)}")
        if not is_steps and not tensor.isfinite().all():
            raise ValueError("expected finite numbers, got a batch with NaN or infinity")
        for number, symbols in enumerate(spec.symbols):
            lowest, highest = int(tensor[..., number].min()), int(tensor[..., number].max())
            if lowest < 0 or highest >= symbols:
                wrong = lowest if lowest < 0 else highest
                raise ValueError(f"expected symbols from 0 to {symbols - 1}, got {wrong}")
        return tensor.to(self.device)

    def batch_of(self, source: Any, choice: Choice | None = None) -> Batch:
        """One example of a media object, or a user's tensor, checked, with what it says itself of its condition.

        Errors as in `Domain.select` and `checked`.
        """
        if not isinstance(source, Tensor):
            return self.batch(self.select(source, choice))
        target = self.checked(source)
        return Batch(target, self.domain.condition_of(target))

    def checked_codes(self, z: Tensor) -> Tensor:
        """Codes on the device. Raises `ValueError` where they are not the network's."""
        shape = self.network.latent_shape
        if not isinstance(z, Tensor) or tuple(z.shape[1:]) != shape:
            got = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
            raise ValueError(f"expected codes as a tensor (batch, {', '.join(map(str, shape))}), got {got}")
        if not z.is_floating_point():
            raise ValueError(f"expected codes as a float tensor, got {z.dtype}")
        if not len(z):
            raise ValueError(f"expected at least one code, got a batch of shape {tuple(z.shape)}")
        if not z.isfinite().all():
            raise ValueError("expected finite codes, got a batch with NaN or infinity")
        return z.to(self.device)

    @torch.no_grad()
    def codes(self, batch: Batch) -> Tensor:
        """Posterior means, refined if that is asked for, `(batch, *latent_shape)`, on the device."""
        size = self.domain.spec.evaluation_batch
        if self.refine_steps:  # gradients take memory
            size = min(size, _REFINED_AT_ONCE)
        parts = []
        for start in range(0, len(batch.target), size):
            rows = slice(start, start + size)
            x = batch.target[rows].to(self.device)
            condition = None if batch.condition is None else batch.condition[rows].to(self.device)
            z = self.network.encode(x, condition).mean
            if self.refine_steps:
                z = refined(self.network, z, x, condition, steps=self.refine_steps)
            parts.append(z)
        return torch.cat(parts)

    @torch.no_grad()
    def encode(self, batch: Batch) -> Code:
        """Codes in the space where paths are drawn."""
        condition = None if batch.condition is None else batch.condition.to(self.device)
        return Code(self.network.latent.to_base(self.codes(batch)), condition)

    def decode(
        self,
        base: Tensor,
        condition: Tensor | None = None,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """`(batch, *latent_shape)` in the space where paths are drawn → `(batch, *spec.shape)`; see `decode_codes`."""
        with torch.no_grad():
            z = self.network.latent.from_base(base.to(self.device))
        return self.decode_codes(
            z, condition, temperature=temperature, top_p=top_p, generator=generator, allowed=allowed
        )

    @torch.no_grad()
    def decode_codes(
        self,
        z: Tensor,
        condition: Tensor | None = None,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        allowed: Tensor | None = None,
    ) -> Tensor:
        """`(batch, *latent_shape)` as the encoder gives them → `(batch, *spec.shape)`.

        Args:
            z: codes.
            condition: `(batch, length)`, or `(1, length)` for all.
            temperature, top_p, generator: as in `Autoencoder.decode`.
            allowed: symbols that may be chosen, see `Likelihood.restricted`.
        """
        z = z.to(self.device)
        condition = None if condition is None else condition.to(self.device).expand(len(z), -1)
        size = self.domain.spec.evaluation_batch
        restricted = self.network.symbol_likelihood.restricted(allowed)
        with restricted, drawing_precision(self.device, len(z) if temperature > 0 else 0):
            parts = [
                self.network.decode(
                    z[start : start + size],
                    temperature=temperature,
                    top_p=top_p,
                    generator=generator,
                    condition=None if condition is None else condition[start : start + size],
                )
                for start in range(0, len(z), size)
            ]
        return torch.cat(parts)

    def drawn(self, base: Tensor, condition: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Codes that nobody encoded, on the device; see `Autoencoder.drawn`.

        Args:
            base: draws of `draws`, and walks between them.
            condition: `(batch, length)`, or `(1, length)` for all.
            label: `(batch,)`; None: any.
        """
        size = self.domain.spec.evaluation_batch
        parts = []
        with torch.no_grad(), drawing_precision(self.device, len(base)):
            for start in range(0, len(base), size):
                rows = slice(start, start + size)
                given = None if condition is None else condition.expand(len(base), -1)[rows].to(self.device)
                own = None if label is None else label[rows].to(self.device)
                parts.append(self.network.drawn(base[rows].to(self.device), given, own))
        return torch.cat(parts)

    def labels(self, count: int, generator: torch.Generator, asked: int | None = None) -> Tensor | None:
        """Labels of draws, `(count,)`: what is asked for, or one of the usual ones for each; None if there are none."""
        labels = self.domain.spec.labels
        if labels is None or not self.network.draws_labels:
            return None
        if asked is not None:
            return torch.full((count,), asked, device=generator.device)
        return torch.randint(labels.usual, (count,), generator=generator, device=generator.device)

    def draws(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws from the prior, `(count, *latent_shape)`, in the space where paths are drawn."""
        with torch.no_grad():
            return self.network.latent.sample_base(count, generator)

    def deviations(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws by which codes are varied, as `draws`; a plain autoencoder's are as the training codes are spread."""
        with torch.no_grad():
            return self.network.latent.vary_base(count, generator)

    @property
    def remark_on_spread(self) -> tuple[str, ...]:
        """A remark for people, where distances between codes are not measured by a prior."""
        if self.network.latent.is_generative:
            return ()
        return ("a plain autoencoder has no prior: codes are varied as far as those of training lie apart",)

    def reconstruct(self, batch: Batch, condition: Tensor | None = None) -> Tensor:
        """The network's answer to a batch, `(batch, *spec.shape)`, on the device.

        Args:
            batch: as the media object has it.
            condition: another condition to decode with, `(1, length)` or `(batch, length)`; the code stays.
        """
        own = None if batch.condition is None else batch.condition.to(self.device)
        if condition is not None or self.refine_steps:
            return self.decode_codes(self.codes(batch), own if condition is None else condition)
        with torch.no_grad():
            return self.network.reconstruct(batch.target.to(self.device), condition=own)

    def answer(self, batch: Batch, condition: Tensor | None = None) -> Tensor:
        """As `reconstruct`, in the precision chosen by `restoring_precision`, over all views, and on the CPU."""

        def restore(target: Tensor) -> Tensor:
            return self.reconstruct(Batch(target, batch.condition), condition)

        with restoring_precision(self.device, by_mask=self.domain.spec.correction == "mask"):
            if self.network.restores:
                return mean_over_views(self.domain, restore, batch.target).cpu()
            return restore(batch.target).cpu()

    def map(self, item: Any, function: Callable[[Batch], Tensor]) -> Any:
        """Puts a whole media object through a function of batches: a new one in the frame of the old one."""
        return self.domain.assemble(
            item, Answers(lambda: self.domain.windows(item, self.task), lambda batch: function(batch).cpu()), self.task
        )

    def condition(self, text: str, windows: int | Tensor = 1) -> Tensor:
        """Reads a condition that a person wrote, `(windows, length)`; arguments as in `TakesCondition.condition`.

        Raises:
            MusicaeError: the model takes none, or the text can't be read.
        """
        if self.domain.spec.condition is None:
            raise MusicaeError(
                "this model takes no condition, neither a time signature nor chords nor a label; train one with --set "
                "chords=true (music) or --set labels=true (pictures, notes), or choose another with --model."
            )
        return cast(TakesCondition, self.domain).condition(text, windows).to(self.device)

    def refuse_unlearned_condition(self) -> None:
        """Raises `MusicaeError` if a condition would change nothing, since the model learned no draws by it."""
        if not self.network.draws_by_condition:
            raise MusicaeError(
                "this model has not learned which codes a label has; train its second stage (--start-from RUN --set "
                "second_stage=true), or of notes, more that are named by their pitch."
            )

    def refuse_refinement(self, steps: int) -> None:
        """Raises `MusicaeError` if codes can't be refined, `ValueError` for a bad number of steps."""
        if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps <= MOST_REFINEMENT:
            raise ValueError(f"steps is a whole number from 0 to {MOST_REFINEMENT}, got {steps!r}")
        if not steps:
            return
        self.refuse_other_task("reconstruct")
        if not self.network.latent.can_refine:
            raise MusicaeError(
                f"the codes of this model (latent {self.network.config.latent}) can't be refined: they are tokens, or "
                "their spread is not known; train one with --set latent=gaussian."
            )

    def refuse_other_task(self, task: str) -> None:
        """Raises `MusicaeError` if the model was trained for another task."""
        if self.task != task:
            raise MusicaeError(
                f"this model was trained to {self.task}, not to {task}; train one with --task {task}, "
                f"or choose another with --model."
            )

    def refuse_restorer(self, what: str) -> None:
        """Raises `MusicaeError` if the model corrects its input, so that a code alone gives nothing."""
        if self.network.restores:
            raise MusicaeError(
                f"this model restores ({self.task}) and cannot {what}; use one trained with --task reconstruct."
            )

    def generator(self, seed: int | None) -> torch.Generator:
        """A random generator on the device; without a seed its draws differ each time."""
        generator = torch.Generator(self.device)
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        return generator


def condition_text(
    chords: str | None,
    label: str | None,
    time_signature: str | None = None,
    pitch: float | None = None,
    velocity: float | None = None,
) -> str | None:
    """The condition that a person wrote: a time signature, chords, or a label with a pitch and a velocity.

    Raises:
        ValueError: of music and of pictures or sound at once, or one of them is no text.
    """
    given = (("chords", chords, "C F G C"), ("label", label, "7"), ("time_signature", time_signature, "3/4"))
    for name, value, example in given:
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} is text, such as {example!r}, got {type(value).__name__}")
    note = [f"{name} {value:g}" for name, value in (("pitch", pitch), ("velocity", velocity)) if value is not None]
    if (label is not None or note) and (chords is not None or time_signature is not None):
        raise ValueError("give chords or a time signature (music), or a label (pictures and notes), not both")
    words = [text for text in (time_signature, chords, label, *note) if text is not None]
    return " ".join(words) if words else None
