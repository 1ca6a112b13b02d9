"""`Autoencoder`: encoder → latent → decoder, and the loss. It knows tensors, no files.

    total = -log p(target | z) + β · (max(KL(q(z | input) ‖ p(z)) - free, 0) + penalty) + sparsity · Σ|mean of z|

With a deterministic latent the KL is zero and this is the loss of a plain autoencoder. With a Gaussian one and β = 1 it
is the negative ELBO (Kingma & Welling, 2014). With an adversarial one the KL is replaced by the penalty, the
discriminator's loss on the codes. Of a discrete one the KL is what the tokens cost, and the penalty of learned entries
is how far the encoder's output lies from them. A code of several parts may weigh the KL of each, and a target of
several parts the log-probability of each. The prior p(z) is a standard normal or learned with the model. If the input
is a corrupted version of the target, the same loss trains a restorer. If the spec has a condition (chords, labels),
encoder and decoder are given it, so z need not contain it.

A model is a plain `torch.nn.Module` for a loop of your own:

    loss = model.loss(x, target)  # the target is x itself if left out
    loss.total.backward()

A class of your own derives from `Autoencoder`, `GridAutoencoder` or `StepsAutoencoder`, is called with a spec and a
config, and names the config's class as `Config`:

    class MyConfig(ModelConfig):
        width: int = 64

    class MyModel(GridAutoencoder):
        Config = MyConfig

        def encode(self, x, condition=None): ...  # → self.latent(features)
        def parameters_of(self, z, condition=None): ...  # → what the likelihood reads
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from musicae.likelihoods import Likelihood, build_likelihood
from musicae.models.sizes import ModelConfig
from musicae.nn.latent import Posterior
from musicae.nn.latents import LATENTS
from musicae.nn.prior import PRIORS, Prior
from musicae.spec import Layout, TensorSpec

FREEZES = ("second_stage", "keeps_expectation")
"""Settings of models with which training leaves weights as the run has them that it starts from."""


class Loss(NamedTuple):
    """The loss and its parts, scalars, averaged over the batch, in nats an example.

    Attributes:
        total: the loss that is minimised.
        reconstruction: -log p(target | z).
        kl: KL before β and free bits.
        penalty: the latent's further term, before β: a discriminator's loss.
        sparsity: the sum of the code's absolute values, before its weight.
    """

    total: Tensor
    reconstruction: Tensor
    kl: Tensor
    penalty: Tensor
    sparsity: Tensor


class Scored(NamedTuple):
    """The result of one pass over a batch, for each example.

    Attributes:
        loss: at β = 1, parts of shape `(batch,)`.
        parameters: the likelihood's, float32; an autoregressive decoder was given the target's earlier symbols.
        posterior: q(z | input).
        z: the draw from the posterior that was decoded.
    """

    loss: Loss
    parameters: Tensor
    posterior: Posterior
    z: Tensor


class Decoded(NamedTuple):
    """What subclasses compute for a batch: q(z | input), a draw z, and the likelihood's parameters at z."""

    posterior: Posterior
    z: Tensor
    parameters: Tensor


class Autoencoder(nn.Module, ABC):
    """Base of the two forms, `GridAutoencoder` and `StepsAutoencoder`."""

    Config: ClassVar[type[ModelConfig]] = ModelConfig
    """The class of its settings."""

    def __init__(self, spec: TensorSpec, config: ModelConfig) -> None:
        super().__init__()
        self.spec = spec
        self.config = config.fitted_to(spec)
        self.likelihood = build_likelihood(spec)

    def _build_latent(self) -> None:
        """Called by subclasses once `latent_shape` is known."""
        latent = LATENTS[self.config.latent]
        self.latent = latent.build(self.latent_shape, self._prior, self.config, restores=self.restores)

    def _prior(self, shape: tuple[int, ...]) -> Prior:
        """The prior that a Gaussian latent is built with."""
        return PRIORS[self.config.prior](shape)

    @property
    @abstractmethod
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one latent code."""

    @property
    def symbol_likelihood(self) -> Likelihood:
        """What chooses decoded symbols; values that belong to them may be chosen later."""
        return self.likelihood

    @property
    def autoregressive(self) -> bool:
        """Whether the decoder is given its own earlier output, so that scores with teacher forcing are too good."""
        return False

    @property
    def restores(self) -> bool:
        """Whether the decoder corrects the input, instead of decoding z alone."""
        return False

    @property
    def is_causal(self) -> bool:
        """Whether it can restore a stream: no output depends on a later frame, and `mask` takes frames in steps."""
        return False

    def check_input(self, x: Tensor, condition: Tensor | None = None) -> None:
        """Raises `ValueError` if `encode` can't take these arguments, and names what was expected."""
        self._check_type(x, "an input")
        self.spec.check(x.shape)
        self._check_condition(x, condition)

    def check_codes(self, z: Tensor, condition: Tensor | None = None) -> None:
        """Raises `ValueError` if `decode` can't take these arguments, and names what was expected."""
        if not isinstance(z, Tensor) or not z.is_floating_point() or z.shape[1:] != self.latent_shape:
            wanted = ", ".join(map(str, self.latent_shape))
            raise ValueError(f"expected codes as a float tensor of shape (batch, {wanted}), got {_described(z)}")
        self._check_condition(z, condition)

    def _check_type(self, x: Tensor, what: str) -> None:
        is_grid = self.spec.layout is Layout.GRID
        if not isinstance(x, Tensor) or (not x.is_floating_point() if is_grid else x.dtype != torch.int64):
            raise ValueError(
                f"expected {what} as a torch tensor of {'floats' if is_grid else 'int64 symbols'}, got {_described(x)}"
            )

    def _check_condition(self, like: Tensor, condition: Tensor | None) -> None:
        if condition is None:
            return
        if self.spec.condition is None:
            raise ValueError("this model takes no condition")
        wanted = (like.shape[0], self.spec.condition[0])
        if not isinstance(condition, Tensor) or condition.dtype != torch.int64 or tuple(condition.shape) != wanted:
            raise ValueError(f"expected a condition as an int64 tensor of shape {wanted}, got {_described(condition)}")

    @abstractmethod
    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        """`(batch, *spec.shape)` → posterior over `(batch, *latent_shape)`.

        Args:
            x: the input; float for grids, int64 for steps.
            condition: int64 `(batch, length)` of `spec.condition`; None stands for class 0, "none", throughout.

        Raises:
            ValueError: not a tensor, or of another shape or type.
        """

    @abstractmethod
    def decode(
        self,
        z: Tensor,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Tensor:
        """`(batch, *latent_shape)` → `(batch, *spec.shape)`.

        Args:
            z: latent codes.
            temperature: 0 gives the mean (grid) or the most probable symbols (steps).
            top_p: symbols are drawn from the most probable ones that together have this probability (steps).
            generator: on z's device; drawn from at temperatures above 0.
            condition: as in `encode`.

        Raises:
            ValueError: codes of another shape, or a model that corrects its input and cannot decode them alone.
        """

    def reconstruct(
        self, x: Tensor, *, generator: torch.Generator | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """`(batch, *spec.shape)` → the model's answer, same shape.

        With a generator z is drawn from the posterior; without one, z is the posterior's mean.
        """
        posterior = self.encode(x, condition)
        return self.decode(posterior.mean if generator is None else posterior.sample(generator), condition=condition)

    def drawn(self, base: Tensor, condition: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        """Draws codes to be decoded, `(batch, *latent_shape)` → the same.

        Args:
            base: standard normal numbers, or with less deviation for safer draws.
            condition: as in `encode`.
            label: of `spec.labels`, int64 `(batch,)`, which counts where the model has a second stage; None: any.
        """
        del condition, label
        return self.latent.of_noise(base)

    def is_of_second_stage(self, name: str) -> bool:
        """Whether a weight is of what only draws codes."""
        del name
        return False

    def is_of_loss(self, name: str) -> bool:
        """Whether a weight is of what only training needs, so that codes don't depend on it."""
        del name
        return False

    def own_name(self, name: str) -> str:
        """What a weight of the model that this one starts from, which may be of another type, is called in this one."""
        return name

    @property
    def draws_by_condition(self) -> bool:
        """Whether a condition changes what is drawn or decoded, where the spec has one."""
        return True

    def usual_condition(self, count: int, generator: torch.Generator) -> Tensor | None:
        """What is drawn where nobody asks for a condition, int64 `(count, length)`; None: the condition "none"."""
        del count, generator
        return None

    @property
    def draws_labels(self) -> bool:
        """Whether codes can be drawn by labels."""
        return False

    def learns(self, name: str) -> bool:
        """Whether training changes a weight; all others stay as they are."""
        return not self.is_fitted_afterwards(name)

    def is_fitted_afterwards(self, name: str) -> bool:
        """Whether a weight has no part in the loss, and is learned by `fit_draws` once all others are trained."""
        del name
        return False

    def fit_draws(self, codes: Posterior, condition: Tensor, example: Tensor, generator: torch.Generator) -> bool:
        """Learns which codes examples of a condition have.

        Args:
            codes: of training examples, some of them several times, changed as training changes them.
            condition: int64 `(rows, length)`, as in `encode`.
            example: int64 `(rows,)`, which example each is.
            generator: of all draws.

        Returns:
            Whether anything was learned.
        """
        del codes, condition, example, generator
        return False

    def adapted(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a trained model, changed where this one, which starts from them, has other names or sizes.

        Args:
            weights: by name.

        Returns:
            By this model's names (`own_name`), the same tensors, or some changed and added.
        """
        return {self.own_name(name): value for name, value in weights.items()}

    def padded(self, symbols: Tensor, condition: Tensor | None) -> Tensor:
        """Decoded `(batch, steps, columns)`, or its streams, with pads where the condition says that no step exists."""
        if not self.spec.segment_steps:
            return symbols
        exists, pads = segment_tables(self.spec, symbols.device)
        pads = pads[:, : symbols.shape[-1]]  # values may be decoded later
        classes = self.spec.condition[1] if self.spec.condition else 1
        run = torch.zeros_like(symbols[:, 0, 0])
        if condition is not None:
            run = condition[:, 0] // (classes // len(self.spec.segment_steps))
        return torch.where(exists[run].repeat(1, self.spec.segments).unsqueeze(-1), symbols, pads[run].unsqueeze(1))

    @abstractmethod
    def _parameters_at(self, z: Tensor, x: Tensor, target: Tensor, condition: Tensor | None) -> Tensor:
        """The likelihood's parameters for `target` at z; a restorer also uses its input x."""

    def _decoded(
        self, x: Tensor, target: Tensor, generator: torch.Generator | None, condition: Tensor | None
    ) -> Decoded:
        """Encodes `x`, draws z, and gives the likelihood's parameters for `target`."""
        posterior = self.encode(x, condition)
        z = posterior.sample(generator)
        return Decoded(posterior, z, self._parameters_at(z, x, target, condition))

    def loss(
        self, x: Tensor, target: Tensor | None = None, *, beta: float = 1.0, free_nats: float = 0.0,
        sparsity: float = 0.0, draws: int = 1, generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Loss:  # fmt: skip
        """The loss of a batch; its equation is in this module's docstring.

        Args:
            x: the input, `(batch, *spec.shape)`, corrupted or not.
            target: the clean batch, same shape; None for the input itself.
            beta: weight of the KL and of an adversarial latent's penalty.
            free_nats: KL an example may spend at no cost.
            sparsity: weight of the code's absolute values, the posterior mean's (a sparse autoencoder).
            draws: of z for each example. With more than one the total is the negative importance-weighted bound (Burda
                et al., 2016, equation 8) with β, which is tighter; free nats, penalty and sparsity are no part of it.
            generator: draws z; None uses torch's default generator.
            condition: as in `encode`.

        Raises:
            ValueError: as `encode`, a target of another shape than the input, or several draws of a code without a
                density.
        """
        instead = self._loss_instead(x, target, generator, condition)
        if instead is not None:
            return instead
        if draws > 1:
            return self._importance_weighted(x, x if target is None else target, draws, beta, generator, condition)
        part, parameters, posterior, z = self.score(x, target, generator, condition)
        penalty = self.latent.penalty(posterior, z, generator)
        size = posterior.mean.float().abs().flatten(1).sum(1)
        kl = self._priced_kl(part.kl, posterior, z)
        reconstruction = self._weighted(part.reconstruction, parameters, x if target is None else target)
        total = reconstruction + beta * ((kl - free_nats).clamp_min(0.0) + penalty) + sparsity * size
        return Loss(total.mean(), part.reconstruction.mean(), part.kl.mean(), penalty.mean(), size.mean())

    def _importance_weighted(
        self, x: Tensor, target: Tensor, draws: int, beta: float, generator: torch.Generator | None,
        condition: Tensor | None,
    ) -> Loss:  # fmt: skip
        if not self.latent.has_density or self.latent.has_penalty:
            raise ValueError(f"several draws need a code with a density, not latent {self.config.latent}")
        posterior = self.encode(x, condition)
        parts = self._drawn_parts(posterior, x, target, draws, generator, condition)
        log_likelihood, log_ratio = (torch.stack(part) for part in zip(*parts, strict=True))
        bound = (log_likelihood + beta * log_ratio).logsumexp(0) - math.log(draws)
        nothing = torch.zeros((), device=bound.device)
        return Loss(-bound.mean(), -log_likelihood.mean(), -log_ratio.mean(), nothing, nothing)

    def _loss_instead(
        self, x: Tensor, target: Tensor | None, generator: torch.Generator | None, condition: Tensor | None
    ) -> Loss | None:
        """What is minimised in place of the equation, where training has another aim; else None."""
        del x, target, generator, condition
        return None

    def _kl(self, posterior: Posterior, z: Tensor, _x: Tensor, _condition: Tensor | None) -> Tensor:
        """KL(q ‖ p) in nats, `(batch,)`."""
        return self.latent.kl(posterior, z)

    def _log_prior(self, z: Tensor, _x: Tensor, _condition: Tensor | None) -> Tensor:
        """log p(z) in nats, `(batch,)`."""
        return self.latent.log_prob(z)

    def _weighted(self, reconstruction: Tensor, parameters: Tensor, target: Tensor) -> Tensor:
        """What the loss has of the reconstruction, `(batch,)`: all of it, or a sum in which some parts count less."""
        del parameters, target
        return reconstruction

    def _priced_kl(self, kl: Tensor, posterior: Posterior, z: Tensor) -> Tensor:
        """What β is the weight of, `(batch,)`: the KL, or a sum in which some parts of a code count more."""
        del posterior, z
        return kl

    def log_likelihood(
        self, z: Tensor, x: Tensor, condition: Tensor | None = None, *, target: Tensor | None = None
    ) -> Tensor:
        """log p(target | z) in nats, `(batch,)`.

        Args:
            z: codes, `(batch, *latent_shape)`.
            x: the input, `(batch, *spec.shape)`, which counts for a restorer alone.
            condition: as in `encode`.
            target: of the input's shape; None for the input itself.
        """
        target = x if target is None else target
        return self.likelihood.log_prob(self._parameters_at(z, x, target, condition).float(), target)

    def forward(self, x: Tensor, target: Tensor | None = None, **options: Any) -> Loss:
        """`loss`, by the name that wrappers such as `DistributedDataParallel` call."""
        return self.loss(x, target, **options)

    def score(
        self,
        x: Tensor,
        target: Tensor | None = None,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Scored:
        """The loss of each example at β = 1, and what it is computed from; arguments as in `loss`."""
        target = x if target is None else target
        if target.shape != x.shape:
            raise ValueError(f"expected a target of the input's shape {tuple(x.shape)}, got {tuple(target.shape)}")
        posterior, z, parameters = self._decoded(x, target, generator, condition)
        parameters = parameters.float()
        reconstruction = -self.likelihood.log_prob(parameters, target)
        kl = self._kl(posterior, z, x, condition)
        nothing = torch.zeros_like(kl)
        loss = Loss(reconstruction + kl, reconstruction, kl, nothing, nothing)
        return Scored(loss, parameters, posterior, z)

    def log_weights(
        self,
        x: Tensor,
        target: Tensor,
        draws: int,
        generator: torch.Generator | None = None,
        condition: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Yields log p(target | z) + log p(z) - log q(z | x) for one draw of z after another, in nats, `(batch,)` each.

        The mean of their exponentials over k draws is the importance-weighted bound on p(target) (Burda et
        al., 2016, equation 8). The input is encoded once, except where a restorer's decoder also uses it.
        """
        posterior = self.encode(x, condition)
        for log_likelihood, log_ratio in self._drawn_parts(posterior, x, target, draws, generator, condition):
            yield log_likelihood + log_ratio

    def _drawn_parts(
        self, posterior: Posterior, x: Tensor, target: Tensor, draws: int, generator: torch.Generator | None,
        condition: Tensor | None,
    ) -> Iterator[tuple[Tensor, Tensor]]:  # fmt: skip
        """Of one draw of z after another log p(target | z) and log p(z) - log q(z | x), `(batch,)` each."""
        for _ in range(draws):
            z = posterior.sample(generator)
            log_likelihood = self.log_likelihood(z, x, condition, target=target)
            yield log_likelihood, self._log_prior(z, x, condition) - posterior.log_prob(z)


@lru_cache(maxsize=16)
def segment_tables(spec: TensorSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Of each run of classes which steps of a segment exist, bool `(runs, segment)`; and its pads `(runs, columns)`."""
    lengths = torch.tensor(spec.segment_steps)
    exists = torch.arange(spec.segment) < lengths[:, None]
    rows = [[size + run for size in spec.vocabulary] + [0] * len(spec.values) for run in range(len(lengths))]
    return exists.to(device), torch.tensor(rows).to(device)


def _described(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
