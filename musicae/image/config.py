"""`ImageConfig`: the settings of a domain of pictures, how data fill them in, and the corruption they choose."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from musicae.domain import Corruption, DomainConfig
from musicae.errors import DamagedFileError, MusicaeError
from musicae.image import corruption
from musicae.image.picture import Picture
from musicae.image.pixels import PictureTooLargeError, checked_pixels, has_colours, header_of
from musicae.image.sets import find_classes, picture_set, sorted_classes

SMALLEST, LARGEST = 4, 512
SCALES = (2, 3, 4)
"""By which pictures are enlarged."""
_STARTER_SIZE = 8
_PICTURE_SIZE = 64
_STARTER_CLASSES = tuple("0123456789")
_MOST_HEADERS = 2000
_MOST_DECODED = 16


class ImageConfig(DomainConfig):
    """The settings of a domain of pictures. Those that are None are filled in from the data (see `filled_in`)."""

    RENAMED: ClassVar[Mapping[str, str]] = {"damage": "corruption", "damaged_share": "corrupted_share"}

    size: int | None = Field(default=None, ge=SMALLEST, le=LARGEST)  # side of the square, in pixels
    channels: Literal[1, 3] | None = None  # grey or colour
    # None: bernoulli for grey, gaussian for colour and to restore.
    likelihood: Literal["bernoulli", "gaussian", "student_t", "discretised_logistic"] | None = None
    # Of student_t, for each number of a picture; more: what is nearly right counts less. None: 0.1.
    degrees_of_freedom: float | None = Field(default=None, ge=0.01, le=100)
    binarised: bool = False  # whether each pixel is drawn black or white, grey being the probability of white
    labels: bool = False  # whether the model is given each picture's class: its sub-folder, or its set's label
    # Their names, fewer than five times as many as the largest set has; if there are any, a picture is stored with its
    # class.
    classes: tuple[str, ...] | None = Field(default=None, max_length=100_000)
    # Whether pictures are cut into squares of `size` at their own resolution, and not made smaller. None: to restore
    # pictures in files of their own, yes.
    crops: bool | None = None
    turned: bool | None = None  # whether training mirrors and turns pictures, and makes some grey; None: as `crops`
    # For `denoise`. mixed: what happens to photographs: gaussian noise of unknown strength, shot noise, JPEG, or
    # nothing; to upscale, also with any scale: several filters.
    corruption: Literal["gaussian", "speckle", "salt_and_pepper", "blocks", "mixed"] = "gaussian"
    noise_mean: float = Field(default=0.0, ge=-1.0, le=1.0)  # of gaussian noise; black is 0, white 1
    noise_deviation: float = Field(default=0.5, ge=0.0, le=10.0)  # of gaussian noise and speckle
    corrupted_share: float = Field(default=0.2, ge=0.0, le=1.0)  # of pixels (salt_and_pepper) or squares (blocks)
    # How many times larger `upscale` makes a picture; any: learns 2, 3 and 4, and is told which when it is used.
    scale: Literal[2, 3, 4, "any"] = 2
    # To restore: the number of views of a picture (itself, transposed, rotated, mirrored) whose results are averaged.
    # The time grows with it. Needs `turned`. See `musicae.image.views`.
    ensemble: Literal[1, 2, 4, 8] = 1

    @property
    def scales(self) -> tuple[int, ...]:
        """By how many times `upscale` enlarges."""
        return SCALES if self.scale == "any" else (self.scale,)

    @model_validator(mode="after")
    def _binary_grey(self) -> "ImageConfig":
        if self.binarised and (self.channels == 3 or self.likelihood not in (None, "bernoulli")):
            raise ValueError("binarised pictures are grey and have a bernoulli likelihood")
        return self


class Survey(NamedTuple):
    """The sizes and colours of some pictures.

    Attributes:
        sizes: size that a model would have for a picture → number of pictures.
        channels: 1 or 3 → number of pictures.
        sides: width and height → number of pictures.
    """

    sizes: Counter[int]
    channels: Counter[int]
    sides: Counter[tuple[int, int]]

    def commonest(self) -> tuple[int, int] | None:
        """`(size, channels)`; None where nothing could be read."""
        if not self.sizes:
            return None
        return self.sizes.most_common(1)[0][0], self.channels.most_common(1)[0][0]

    def remark(self, size: int, channels: int, *, crops: bool) -> str | None:
        """What a model makes of the pictures, for people; None if they are all as it takes them.

        Args:
            size, channels: of the model's pictures.
            crops: whether it takes squares out of larger pictures.
        """
        if not self.sides or (set(self.sides) == {(size, size)} and set(self.channels) == {channels}):
            return None
        count = self.sides.total()
        ordered = sorted(self.sides, key=lambda sides: (prod(sides), sides))
        least, most = ordered[0], ordered[-1]
        found = f"{count} picture{'s' * (count > 1)} looked at, "
        found += f"from {_by(least)} to {_by(most)} pixels" if least != most else f"{_by(most)} pixels"
        if len(self.channels) > 1:
            found += f", about {self.channels[1]} of them grey"
        made = f"{_by((size, size))} {'grey' if channels == 1 else 'colour'}"
        if crops:
            what = f"cut into squares of {made}, the smaller ones brought to it; size=, channels= and crops="
        else:
            what = f"the middle square of each is brought to {made}; size= and channels="
        return f"{found}: {what} say otherwise"


def _by(sides: tuple[int, int]) -> str:
    return f"{sides[0]}×{sides[1]}"


def survey_files(files: Sequence[Path]) -> Survey:
    """Reads the headers of up to 2,000 files, evenly spread, and the pixels of a few whose mode has colours.

    A photograph counts for a size of 64 pixels, or its short side if that is less; a set's pictures for their own size.
    Damaged files are left out; reading the data reports them.
    """
    sizes, channels, sides = Counter[int](), Counter[int](), Counter[tuple[int, int]]()
    colourful: list[Path] = []
    for path in files[:: -(-len(files) // _MOST_HEADERS) or 1]:
        try:
            if (known := picture_set(path)) is not None:
                count, planes, height, width = known.shape(path)
                sizes[_own_size(height, width)] += count
                channels[planes] += count
                sides[width, height] += count
                continue
            width, height, may_have_colours = header_of(path)
        except (DamagedFileError, PictureTooLargeError):
            continue
        sizes[max(min(width, height, _PICTURE_SIZE), SMALLEST)] += 1
        sides[width, height] += 1
        if may_have_colours:
            colourful.append(path)
        else:
            channels[1] += 1
    decoded = Counter[bool]()
    for path in colourful[:: -(-len(colourful) // _MOST_DECODED) or 1]:
        try:
            decoded[has_colours(path)] += 1
        except DamagedFileError:
            continue
    # A file whose mode has colours can be all grey, so a sample is decoded and the rest estimated from it.
    if colourful:
        share = decoded[True] / decoded.total() if decoded else 1.0
        channels[3] += round(share * len(colourful))
        channels[1] += len(colourful) - round(share * len(colourful))
    return Survey(+sizes, +channels, +sides)


def survey_items(items: Sequence[Picture | np.ndarray]) -> Survey:
    """As `survey_files`, for rows of an array (their own size) and pictures in memory (64 pixels at most)."""
    sizes, channels, sides = Counter[int](), Counter[int](), Counter[tuple[int, int]]()
    for item in items:
        if isinstance(item, Picture):
            sizes[max(min(item.width, item.height, _PICTURE_SIZE), SMALLEST)] += 1
            sides[item.width, item.height] += 1
            pixels = item.array
            grey = pixels.ndim == 2 or bool((pixels == pixels[..., :1]).all())
            channels[1 if grey else 3] += 1
        else:
            height, width, planes = checked_pixels(np.asarray(item)[None]).shape[1:]
            sizes[_own_size(height, width)] += 1
            sides[width, height] += 1
            channels[1 if planes == 1 else 3] += 1
    return Survey(sizes, channels, sides)


def filled_in(config: ImageConfig, files: Sequence[Path], task: str) -> ImageConfig:
    """Fills in what the config leaves to the data: the files, or the starter digits if there are none."""
    size_and_channels: tuple[int, int] | None = (_STARTER_SIZE, 1)
    if files and (config.size is None or config.channels is None):
        size_and_channels = survey_files(files).commonest()
    classes: tuple[str, ...] | None = None
    if config.classes is None or (config.labels and not config.classes):
        classes = find_classes(files, required=config.labels) if files else _STARTER_CLASSES
    has_pictures = any(picture_set(path) is None for path in files)
    return _completed(config, size_and_channels, classes, task, has_pictures=has_pictures)


def filled_in_by_items(
    config: ImageConfig, items: Sequence[Picture | np.ndarray], labels: Sequence[str], task: str
) -> ImageConfig:
    """Fills in what the config leaves to data in memory.

    Args:
        config: settings that are not None are kept.
        items: pictures, or rows of an array; some of them are enough.
        labels: the class of every item; empty if there are none.
        task: what the model is to learn.
    """
    classes: tuple[str, ...] | None = None
    if config.classes is None or (config.labels and not config.classes):
        classes = sorted_classes(labels, required=config.labels)
    has_pictures = any(isinstance(item, Picture) for item in items)
    return _completed(config, survey_items(items).commonest(), classes, task, has_pictures=has_pictures)


def corruption_of(task: str, config: ImageConfig) -> Corruption | None:
    """The corruption of `denoise` and `upscale`; None for `reconstruct`."""
    if task == "reconstruct":
        return None
    if task == "upscale":
        scales = config.scales
        if config.corruption == "mixed" or len(scales) > 1:
            return partial(corruption.mixed_low_resolution, scales=scales)
        return lambda batch, generator: corruption.low_resolution(batch, scales[0])
    corruptions: dict[str, Corruption] = {
        "gaussian": partial(corruption.gaussian_noise, mean=config.noise_mean, deviation=config.noise_deviation),
        "speckle": partial(corruption.speckle, deviation=config.noise_deviation),
        "salt_and_pepper": partial(corruption.salt_and_pepper, share=config.corrupted_share),
        "blocks": partial(corruption.dropped_blocks, share=config.corrupted_share),
        "mixed": corruption.mixed_noise,
    }
    return corruptions[config.corruption]


def _own_size(height: int, width: int) -> int:
    return min(max(min(height, width), SMALLEST), LARGEST)


def _completed(
    config: ImageConfig,
    found: tuple[int, int] | None,
    classes: tuple[str, ...] | None,
    task: str,
    *,
    has_pictures: bool,
) -> ImageConfig:
    if config.binarised and task != "reconstruct":
        raise MusicaeError(f"binarised pictures are for likelihoods; leave binarised out to {task}.")
    size, channels = found or (_PICTURE_SIZE, 3)
    channels = config.channels or (1 if config.binarised else channels)
    update: dict[str, Any] = {"size": config.size or size, "channels": channels}
    if classes is not None:
        update["classes"] = classes
    crops = has_pictures and task != "reconstruct" if config.crops is None else config.crops
    update |= {"crops": crops, "turned": crops if config.turned is None else config.turned}
    if config.likelihood is None:
        # A restored picture is its input plus a correction, in pixels and not in logits.
        update["likelihood"] = "bernoulli" if channels == 1 and task == "reconstruct" else "gaussian"
    if config.ensemble > 1 and config.turned is False:
        raise MusicaeError(
            f"ensemble={config.ensemble} averages over turned pictures, but with turned=false they are not learned; "
            "set ensemble=1, or turned=true."
        )
    likelihood = update.get("likelihood", config.likelihood)
    if config.degrees_of_freedom is not None and likelihood != "student_t":
        raise MusicaeError(f"degrees_of_freedom are of likelihood student_t, not of {likelihood}; leave them out.")
    return config.model_copy(update=update)
