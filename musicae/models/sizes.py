"""`ModelConfig`: the settings that all models share, and the limits of sizes."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from musicae.config import Config
from musicae.nn.quantisation import MOST_ENTRIES
from musicae.spec import TensorSpec

MOST_WIDTH = 65_536
"""Most numbers of a layer's output: several times what the largest networks have."""
Width = Annotated[int, Field(ge=1, le=MOST_WIDTH)]
"""Numbers or channels of a layer's output."""
Depth = Annotated[int, Field(ge=0, le=32)]
"""Layers of a kind, one after the other. A layer takes time to build, whatever its width; deeper networks than these
don't learn in the time that one machine has."""
MOST_LEVELS = 12
"""After 11 halvings of its sides the largest grid is about a single cell."""
Levels = Annotated[tuple[Width, ...], Field(min_length=1, max_length=MOST_LEVELS)]
"""Channels of each level, finest first."""


class ModelConfig(Config):
    """The settings that all models share; each model adds its own sizes."""

    latent: Literal["deterministic", "gaussian", "adversarial", "fsq", "vq"] = "gaussian"
    latent_size: Width = 32  # numbers in a vector latent, channels in a spatial one
    prior: Literal["standard", "flow", "mixture"] = "standard"  # of a Gaussian latent: N(0, I), or learned
    # Of an fsq latent: to how many levels each number of a token is rounded; latent_size is a multiple of their count.
    levels: tuple[Annotated[int, Field(ge=2, le=256)], ...] = Field(default=(8, 8), min_length=1, max_length=16)
    entries: int = Field(default=256, ge=2, le=MOST_ENTRIES)  # of the codebook of a vq latent
    token_numbers: Width = 4  # numbers of a token of a vq latent; latent_size is a multiple
    sample_spread: float = Field(default=1.0, ge=0, le=10)  # of codes that are drawn to be heard; less is safer

    @model_validator(mode="before")
    @classmethod
    def _no_prior_without_a_posterior(cls, given: Any) -> Any:
        """Only a Gaussian latent learns a prior: with others a default is ignored, and to ask for one is an error."""
        if not isinstance(given, dict) or given.get("latent", cls.model_fields["latent"].default) == "gaussian":
            return given
        if given.get("prior", "standard") != "standard":
            raise ValueError(f"a code without noise learns no prior, so prior {given['prior']!r} needs latent gaussian")
        return {**given, "prior": "standard"}

    def fitted_to(self, spec: TensorSpec) -> Self:
        """The same, with the sizes that are left to the spec filled in."""
        del spec
        return self
