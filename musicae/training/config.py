"""`TrainConfig`: the settings of a training run, and the schedules of the learning rate and of β.

It imports no torch and not the loop, so that the command line can show the defaults at once.
"""

import math
from typing import Literal

from pydantic import Field, model_validator

from musicae.config import Config

_MANY = 10**9
"""Bound on counts: more than any run has, and few enough for every type of integer."""


class TrainConfig(Config):
    """The settings of a training run."""

    steps: int = Field(default=4000, ge=1, le=_MANY)  # updates; the learning rate's schedule ends here
    minutes: float | None = Field(default=None, gt=0)  # wall time; training stops when either limit is reached
    batch_size: int = Field(default=128, ge=1, le=_MANY)  # examples an update, over all processes
    # Examples that the network takes at once, in a process; their gradients add up to those of the batch. None: all of
    # a batch, and halves of it where the memory is short.
    micro_batch: int | None = Field(default=None, ge=1, le=_MANY)
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup_steps: int = Field(default=100, ge=0, le=_MANY)  # but at most a tenth of `steps`
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_clip: float = Field(default=1.0, gt=0)  # largest norm, of the loss per number of the example
    ema_decay: float = Field(default=0.999, ge=0, lt=1)  # of the averaged weights, which are evaluated and stored
    beta: float = Field(default=1.0, ge=0)  # weight of the KL, or of an adversarial latent's penalty
    free_bits: float = Field(default=0.0, ge=0)  # KL an example may spend at no cost, bits
    sparsity: float = Field(default=0.0, ge=0)  # weight of the sum of the code's absolute values
    # Draws of z for each example: with more than one training raises the importance-weighted bound, at the price of as
    # many decodings, and without free bits and sparsity.
    importance_draws: int = Field(default=1, ge=1, le=1000)
    kl_warmup: float = Field(default=0.15, ge=0, le=1)  # share of the run over which β rises from 0
    evaluate_every: int = Field(default=500, ge=1, le=_MANY)  # steps
    evaluate_examples: int = Field(default=2048, ge=1, le=_MANY)  # at most, of the validation split
    patience: int = Field(default=20, ge=1, le=_MANY)  # evaluations without improvement before stopping
    bad_updates: int = Field(default=50, ge=1, le=_MANY)  # non-finite updates in a row before giving up
    seed: int = Field(default=0, ge=0, lt=2**31)
    equal_draws: bool = True  # each process draws for the whole batch, so that losses don't depend on their number
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    compile: bool = False  # whether torch compiles the network: minutes at the start, for faster steps
    unique: bool = False  # learn from the first of equal training examples only (melodies: up to transposition)
    start_from: str | None = None  # shipped name or run: its settings are the defaults, its weights the first ones
    log_with: tuple[str, ...] = ("tensorboard",)  # trackers, besides metrics.jsonl; see musicae.training.run_log
    resident_gb: float = Field(default=2.0, ge=0)  # a training split up to this size stays on the device

    @model_validator(mode="after")
    def _one_draw_with_a_price(self) -> "TrainConfig":
        if self.importance_draws > 1 and (self.free_bits or self.sparsity):
            raise ValueError("with several importance_draws there are no free_bits and no sparsity; leave them at 0")
        return self

    def learning_rate_at(self, step: int, progress: float) -> float:
        """Linear warm-up, then half a cosine down to a hundredth.

        Args:
            step: updates done.
            progress: share of the run that is done, by steps or by the clock.
        """
        warm = min(1.0, (step + 1) / max(1, min(self.warmup_steps, self.steps // 10)))
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return self.learning_rate * warm * (0.01 + 0.99 * cosine)

    def beta_at(self, progress: float) -> float:
        """Rises in a straight line from 0 over the first `kl_warmup` of the run (Sønderby et al., 2016)."""
        return self.beta * min(1.0, progress / self.kl_warmup) if self.kl_warmup else self.beta
