"""What an image model reads: its settings, how the data settles them, and the damage they ask for."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from musicae.domain import Corruption, DomainConfig
from musicae.errors import DamagedFileError, MusicaeError
from musicae.image import corruption as damage
from musicae.image.files import PictureTooLargeError, picture_kind
from musicae.image.labels import find_classes
from musicae.image.picture_sets import picture_set

SMALLEST, LARGEST = 4, 512
_STARTER_SIZE = 8
_PICTURE_SIZE = 64
_DIGITS = tuple("0123456789")  # of the starter data


class ImageConfig(DomainConfig):
    """What an image model reads. What is None is taken from the data (see `settled`)."""

    size: int | None = Field(default=None, ge=SMALLEST, le=LARGEST)  # side of the square, in pixels
    channels: Literal[1, 3] | None = None  # grey or colour
    # None: bernoulli for grey, gaussian for colour and to restore.
    likelihood: Literal["bernoulli", "gaussian", "discretised_logistic"] | None = None
    binarised: bool = False  # whether grey is taken for the probability of white, and black and white are drawn from it
    labels: bool = False  # whether the model is told each picture's class: its sub-folder, or its set's label
    classes: tuple[str, ...] | None = None  # their names; where there are any, each picture's is kept with it
    damage: Literal["gaussian", "speckle", "salt_and_pepper", "blocks"] = "gaussian"  # that `denoise` repairs
    noise_mean: float = Field(default=0.0, ge=-1.0, le=1.0)  # of gaussian noise; black is 0, white 1
    noise_deviation: float = Field(default=0.5, ge=0.0, le=10.0)  # of gaussian noise and speckle
    damaged_share: float = Field(default=0.2, ge=0.0, le=1.0)  # of pixels (salt_and_pepper) or squares (blocks)
    scale: Literal[2, 3, 4] = 2  # how many times `upscale` enlarges

    @model_validator(mode="after")
    def _binary_grey(self) -> "ImageConfig":
        if self.binarised and (self.channels == 3 or self.likelihood not in (None, "bernoulli")):
            raise ValueError("binarised pictures are grey and have a bernoulli likelihood")
        return self


def settled(config: ImageConfig, files: Sequence[Path], task: str) -> ImageConfig:
    """What the config leaves to the data; see `ImageDomain.suited`."""
    if config.binarised and task != "reconstruct":
        raise MusicaeError(f"binarised pictures are for likelihoods; leave binarised out to {task}.")
    found: dict[str, Any] = {}
    if config.size is None or config.channels is None:
        size, channels = _kind_of_first(files)
        channels = 1 if config.binarised else channels
        found = {"size": config.size or size, "channels": config.channels or channels}
    if config.classes is None or (config.labels and not config.classes):
        found["classes"] = find_classes(files, required=config.labels) if files else _DIGITS
    if config.likelihood is None:
        is_grey = found.get("channels", config.channels) == 1
        # A restored picture is its input plus a correction, in pixels and not in logits.
        found["likelihood"] = "bernoulli" if is_grey and task == "reconstruct" else "gaussian"
    return config.model_copy(update=found)


def damage_of(task: str, config: ImageConfig) -> Corruption | None:
    """The damage of `denoise` and `upscale`; None for `reconstruct`."""
    if task == "reconstruct":
        return None
    if task == "upscale":
        return lambda batch, generator: damage.coarse(batch, config.scale)
    kinds: dict[str, Corruption] = {
        "gaussian": partial(damage.gaussian_noise, mean=config.noise_mean, deviation=config.noise_deviation),
        "speckle": partial(damage.speckle, deviation=config.noise_deviation),
        "salt_and_pepper": partial(damage.salt_and_pepper, share=config.damaged_share),
        "blocks": partial(damage.dropped_blocks, share=config.damaged_share),
    }
    return kinds[config.damage]


def _kind_of_first(files: Sequence[Path]) -> tuple[int, int]:
    """`(size, channels)` by the first file that can be read; damaged ones are reported when all are read."""
    for path in files:
        try:
            if (known := picture_set(path)) is not None:
                _, channels, height, width = known.shape(path)
                return min(max(min(height, width), SMALLEST), LARGEST), channels
            width, height, colour = picture_kind(path)
        except (DamagedFileError, PictureTooLargeError):
            continue
        return max(min(width, height, _PICTURE_SIZE), SMALLEST), 3 if colour else 1
    return (_PICTURE_SIZE, 3) if files else (_STARTER_SIZE, 1)
