"""`SecondStage`: models that learn, after everything else, to draw their codes.

With the setting `second_stage` a model that starts from a trained one keeps its encoder and decoder as they are, and
the same loop trains `musicae.nn.flow_matching` on the codes, with a prior that is new, or `musicae.nn.token_prior` on
the tokens of discrete ones. What was measured of the first stage stays so.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from pydantic import Field
from torch import Tensor

from musicae.models.autoencoder import Autoencoder, Loss
from musicae.models.sizes import Depth, ModelConfig, Width
from musicae.nn.flow_matching import FlowMatching
from musicae.nn.latent import Posterior
from musicae.nn.quantisation import DiscreteLatent
from musicae.nn.token_prior import TokenPrior

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
    token_dropout: float = Field(default=0.1, ge=0, lt=1)  # of the Transformer over tokens


class SecondStage(Autoencoder):
    """Base of models with vector codes, one or several in a row, or a grid of codes."""

    config: SecondStageConfig
    flow: FlowMatching | None
    token_prior: TokenPrior | None

    @property
    def codes_in_a_row(self) -> int:
        """How many codes an example has."""
        return 1

    @property
    def label_count(self) -> int:
        """How many labels codes can be drawn by."""
        return 0 if self.spec.labels is None else self.spec.labels.count

    def asked(self, x: Tensor | None, condition: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        """What codes are drawn by.

        Args:
            x: examples, whose labels count; None where codes are drawn, and a label is given beside.
            condition: as in `encode`.

        Returns:
            A condition, and labels int64 `(batch,)`; each may be None.
        """
        return condition, None if self.spec.labels is None or x is None else self.spec.labels.of(x)

    def _build_latent(self) -> None:
        super()._build_latent()
        config, spec = self.config, self.spec
        self.flow = self.token_prior = None
        if not config.second_stage:
            return
        settings = {"labels": self.label_count, "width": config.flow_width, "blocks": config.flow_blocks}
        if not self.latent.has_density:
            raise ValueError("a second stage draws codes with a posterior; set latent=gaussian, or fsq or vq")
        if isinstance(self.latent, DiscreteLatent):
            self.token_prior = TokenPrior(
                self.latent.entries, self.latent.tokens, **settings, dropout=config.token_dropout
            )
            return
        self.flow = FlowMatching(
            self.codes_in_a_row,
            math.prod(self.latent_shape) // self.codes_in_a_row,
            classes=0 if spec.condition is None else spec.condition[1],
            **settings,
            steps=spec.condition[0] if config.flow_follows_steps and spec.condition is not None else 0,
            grid=self.latent_shape[1:] if len(self.latent_shape) == 3 else None,
        )

    @property
    def draws_labels(self) -> bool:
        return self.config.second_stage and self.spec.labels is not None and self.label_count > 0

    def learns(self, name: str) -> bool:
        """In the second stage only what draws codes."""
        return not self.config.second_stage or self.is_of_second_stage(name) or self._is_new_prior(name)

    def is_of_second_stage(self, name: str) -> bool:
        return name.startswith(("flow.", "token_prior."))

    def _is_new_prior(self, name: str) -> bool:
        """Whether a weight is of a prior that the first stage didn't have."""
        del name
        return False

    def _loss_instead(
        self, x: Tensor, target: Tensor | None, generator: torch.Generator | None, condition: Tensor | None
    ) -> Loss | None:
        """In the second stage the error of the flow or −log p(tokens), and −log p(z) under a new prior."""
        if not self.config.second_stage:
            return None
        with torch.no_grad(), _evaluating(self):
            codes = self.encode(x, condition)
        asked, label = self.asked(x, condition)
        if self.token_prior is not None:
            total = self.token_prior.loss(self._tokens(codes.mean), label, generator)
        else:
            assert self.flow is not None
            total = self.flow.loss(self._in_a_row(codes), asked, label, generator)
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
        if not self.config.second_stage:
            return super().drawn(base, condition, label)
        asked, own = self.asked(None, condition)
        label = own if label is None else label
        if self.token_prior is not None:
            latent = cast(DiscreteLatent, self.latent)
            noise = latent.noise_of_tokens(base)
            return latent.of_tokens(self.token_prior.draw(noise, label, guidance=self.config.guidance))
        assert self.flow is not None
        drawn = self.flow.draw(self._row(base), asked, label, guidance=self.config.guidance)
        return self._from_row(drawn)

    def _row(self, codes: Tensor) -> Tensor:
        """`(batch, *latent_shape)` → one code behind the other, `(batch, codes · numbers)`."""
        return codes.flatten(2).transpose(1, 2).flatten(1) if codes.dim() > 2 else codes

    def _from_row(self, row: Tensor) -> Tensor:
        """The inverse of `_row`."""
        if len(self.latent_shape) == 1:
            return row
        return row.unflatten(1, (-1, self.latent_shape[0])).transpose(1, 2).unflatten(2, self.latent_shape[1:])

    def _in_a_row(self, codes: Posterior) -> Posterior:
        variances = None if codes.log_variance is None else self._row(codes.log_variance)
        return Posterior(self._row(codes.mean), variances)

    def _tokens(self, z: Tensor) -> Tensor:
        return cast(DiscreteLatent, self.latent).to_tokens(z)

    def _kl(self, posterior: Posterior, z: Tensor, x: Tensor, condition: Tensor | None) -> Tensor:
        """With a second stage, what the tokens cost by its probabilities."""
        if self.token_prior is None:
            return super()._kl(posterior, z, x, condition)
        return -self._log_prior(z, x, condition)

    def _log_prior(self, z: Tensor, x: Tensor, condition: Tensor | None) -> Tensor:
        if self.token_prior is None:
            return super()._log_prior(z, x, condition)
        with torch.no_grad(), _evaluating(self):
            return -self.token_prior.loss(self._tokens(z), self.asked(x, condition)[1])

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
