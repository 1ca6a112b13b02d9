"""`SecondStage`: models that learn, after everything else, to draw their codes.

With the setting `second_stage` a model that starts from a trained one keeps its encoder and decoder as they are, and
the same loop trains `musicae.nn.flow_matching` on the codes, with a prior that is new. What was measured of the first
stage stays so.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from pydantic import Field
from torch import Tensor

from musicae.models.autoencoder import Autoencoder, Depth, Loss, ModelConfig, Width
from musicae.nn.flow_matching import FlowMatching

if TYPE_CHECKING:
    from musicae.nn.phrase_prior import PhrasePrior


_BESIDE_KNOWN = 0.75
"""Chosen on validation: bars filled in then stay in the scale of those around them as often as the real ones."""


class SecondStageConfig(ModelConfig):
    """Settings of the network that draws codes."""

    second_stage: bool = False
    flow_width: Width = Field(default=320, ge=8, le=4096, multiple_of=8)
    flow_blocks: Depth = 4
    flow_follows_steps: bool = False  # whether the condition of every step counts, as of chords, not the first alone
    guidance: float = Field(default=2.0, ge=0, le=20)  # towards the label that is asked for; 1: as it was learned


class SecondStage(Autoencoder):
    """Base of models with vector codes, one or several in a row."""

    config: SecondStageConfig
    flow: FlowMatching | None

    @property
    def codes_in_a_row(self) -> int:
        """How many codes an example has."""
        return 1

    def _build_latent(self) -> None:
        super()._build_latent()
        config, spec = self.config, self.spec
        self.flow = None
        if config.second_stage:
            if not self.latent.has_density:
                raise ValueError("a second stage draws codes with a posterior; set latent=gaussian")
            self.flow = FlowMatching(
                self.codes_in_a_row,
                self.latent_shape[0] // self.codes_in_a_row,
                classes=0 if spec.condition is None else spec.condition[1],
                labels=0 if spec.labels is None else spec.labels.count,
                width=config.flow_width,
                blocks=config.flow_blocks,
                steps=spec.condition[0] if config.flow_follows_steps and spec.condition is not None else 0,
            )

    @property
    def draws_labels(self) -> bool:
        return self.flow is not None and self.flow.labels > 0

    def learns(self, name: str) -> bool:
        """In the second stage only what draws codes."""
        return self.flow is None or self.is_of_second_stage(name) or self._is_new_prior(name)

    def is_of_second_stage(self, name: str) -> bool:
        return name.startswith("flow.")

    def _is_new_prior(self, name: str) -> bool:
        """Whether a weight is of a prior that the first stage didn't have."""
        del name
        return False

    def _loss_instead(
        self, x: Tensor, target: Tensor | None, generator: torch.Generator | None, condition: Tensor | None
    ) -> Loss | None:
        """In the second stage the error of the flow, and −log p(z) under a new prior."""
        if self.flow is None:
            return None
        with torch.no_grad(), _evaluating(self):
            codes = self.encode(x, condition)
        label = None if self.spec.labels is None else self.spec.labels.of(x)
        total = self.flow.loss(codes, condition, label, generator)
        nothing = torch.zeros_like(total)
        reconstruction = kl = nothing
        if any(map(self._is_new_prior, dict(self.named_parameters()))):
            kl = self.latent.kl(codes, codes.sample(generator))
            total = total + kl
        if not self.training:
            part = self.score(x, target, generator, condition).loss
            reconstruction, kl = part.reconstruction, part.kl
        return Loss(total.mean(), reconstruction.mean(), kl.mean(), nothing.mean(), nothing.mean())

    def drawn(self, base: Tensor, condition: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """By the second stage, where there is one; else as `Autoencoder.drawn`."""
        if self.flow is None:
            return super().drawn(base, condition, label)
        return self.flow.draw(base, condition, label, guidance=self.config.guidance)

    def adapted(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """A second stage that draws codes of another form, or that this model doesn't have, is left out."""
        weights, own = super().adapted(weights), self.state_dict()
        of_it = {name: value for name, value in weights.items() if self.is_of_second_stage(name)}
        if all(name in own and own[name].shape == value.shape for name, value in of_it.items()):
            return weights
        return {name: value for name, value in weights.items() if name not in of_it}

    @property
    def completes(self) -> bool:
        """Whether it can draw some of the codes in a row, given the others."""
        own = getattr(self.latent, "prior", None)
        return self.codes_in_a_row > 1 and (self.flow is not None or (own is not None and own.joins_codes))

    @property
    def completion_spread(self) -> float:
        """The deviation of drawn codes beside known ones that is advised: with a second stage less than of samples."""
        return self.config.sample_spread * (1.0 if self.flow is None else _BESIDE_KNOWN)

    def label_of_rest(self, x: Tensor, unknown: Tensor) -> Tensor | None:
        """The label of what is known of examples, int64 `(batch,)`; None where codes are not drawn by labels.

        Args:
            x: symbols `(batch, *spec.shape)`.
            unknown: bool `(codes in a row,)`.
        """
        if not self.draws_labels or self.spec.labels is None:
            return None
        streams = len(self.spec.vocabulary)
        parts = x.unflatten(1, (self.codes_in_a_row, -1)).clone()
        exists = parts[..., :streams] < torch.tensor(self.spec.vocabulary, device=x.device)  # pads stay
        is_cleared = exists & unknown.to(x.device)[:, None, None]
        parts[..., :streams].masked_fill_(is_cleared, 0)
        label: Tensor = self.spec.labels.of(parts.flatten(1, 2))
        return label

    def completed(
        self,
        z: Tensor,
        unknown: Tensor,
        generator: torch.Generator,
        temperature: float = 1.0,
        condition: Tensor | None = None,
        label: Tensor | None = None,
    ) -> Tensor:
        """Draws some of the codes in a row, given all the others.

        Args:
            z: `(batch, *latent_shape)`; what stands in place of unknown codes is not looked at.
            unknown: bool `(codes in a row,)`.
            generator: of the draws.
            temperature: of their deviation.
            condition: as in `encode`.
            label: as in `drawn`.

        Returns:
            `(batch, *latent_shape)`, the known ones as they were.
        """
        if self.flow is None:
            return cast("PhrasePrior", self.latent.prior).completed(z, unknown, generator, temperature)
        noise = torch.randn(z.shape, generator=generator, device=z.device) * temperature
        return self.flow.draw(noise, condition, label, guidance=self.config.guidance, codes=z, known=~unknown)


@contextmanager
def _evaluating(model: Autoencoder) -> Iterator[None]:
    """Inside, no layer drops or replaces anything."""
    was_training = model.training
    model.train(False)
    try:
        yield
    finally:
        model.train(was_training)
