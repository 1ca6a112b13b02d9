"""Pictures as grids: folders of pictures, sets such as MNIST in one file, arrays.

A model reads squares of one size, grey or colour, stored as uint8 `(pictures, channels, height, width)`, with one
row more that begins with its class where the data have classes; its tensor is in 0…1. A restorer learns from crops of
photographs at their own resolution, turned and mirrored, and is given a picture of any size in tiles. Nothing else is
augmented, since which changes are harmless depends on the pictures: a mirrored digit is another digit or none. Knows
no networks.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from PIL import Image

from musicae.domain import NO_LABEL, Batch, Corruption, Domain, DomainConfig, Reading, Savable, Selection, Window
from musicae.errors import MusicaeError
from musicae.image.config import ImageConfig, corruption_of, filled_in, filled_in_by_items, survey_files
from musicae.image.picture import PICTURE_SUFFIXES, Picture
from musicae.image.pixels import (
    MAX_PIXELS,
    PictureTooLargeError,
    checked_pixels,
    cropped,
    crops_of,
    image_of,
    plain_array,
    resized_squares,
    square_of,
)
from musicae.image.sets import (
    MAX_SIDE,
    NO_CLASS,
    PICTURE_SET_SUFFIXES,
    class_number,
    class_numbers,
    picture_set,
    set_labels,
)
from musicae.image.tiles import cut, join
from musicae.image.views import mean_over_views
from musicae.spec import Layout, TensorSpec

_PICTURES_A_ROW = 16
_LEAST_MSE = 1e-10  # equal pictures have no error; 100 dB of PSNR stands for it
_GREY_SHARE = 0.1
"""Share of coloured pictures that are made grey where training turns them: their noise is grey too."""
_LUMA = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601
_MOST_CROPS = 256
"""Of one file."""
_DROPPED_SHARE = 0.1
"""Share of classes left out in training, so that a model works without (classifier-free: Ho & Salimans, 2022)."""


class ImageDomain(Domain):
    """Square pictures, grey or colour."""

    name = "image"
    media = Picture
    suffixes: ClassVar[tuple[str, ...]] = PICTURE_SUFFIXES + PICTURE_SET_SUFFIXES
    tasks: ClassVar[tuple[str, ...]] = ("reconstruct", "denoise", "upscale")
    progress_metrics: ClassVar[tuple[str, ...]] = ("psnr_in_db", "psnr_db")
    names_columns: ClassVar[bool] = True
    Config = ImageConfig
    config: ImageConfig

    def __init__(self, config: DomainConfig | None = None) -> None:
        given = cast(ImageConfig, config if config is not None else ImageConfig())
        if given.classes is None and not given.labels:
            given = given.model_copy(update={"classes": ()})  # only data can tell that there are classes
        # What is still None is set as for the starter digits.
        super().__init__(self.configure(given, ()))
        self.size = cast(int, self.config.size)
        self.channels = cast(int, self.config.channels)
        self.classes = cast(tuple[str, ...], self.config.classes)

    @classmethod
    def configure(cls, config: DomainConfig, files: Sequence[Path], task: str = "reconstruct") -> DomainConfig:
        """Fills in size, channels, classes and likelihood with what is most frequent among the files.

        No files: the digits' 8×8, grey. A set's file: its own size and channels. Pictures: 64 pixels, or the short
        side if that is less; colour if any pixel has one. See `remark_on`.
        """
        assert isinstance(config, ImageConfig)
        return filled_in(config, files, task)

    @classmethod
    def configure_items(
        cls, config: DomainConfig, items: Sequence[Any], labels: Sequence[str] = (), task: str = "reconstruct"
    ) -> DomainConfig:
        """As `configure`, by data in memory: an array's rows give their own size, `Picture`s 64 pixels at most.

        Args:
            config: what it states is kept.
            items: `Picture`s or rows of an array; some of the data.
            labels: the class of every item; none where there are none.
            task: what the model is to learn.

        Raises:
            ValueError: rows that are no pictures.
        """
        assert isinstance(config, ImageConfig)
        return filled_in_by_items(config, items, labels, task)

    def remark_on(self, files: Sequence[Path]) -> str | None:
        """Says to which size and colour pictures are brought; None where all of them have both."""
        return survey_files(files).remark(self.size, self.channels, crops=bool(self.config.crops))

    @property
    def spec(self) -> TensorSpec:
        """A grid `(channels, size, size)`."""
        shape = (self.channels, self.size, self.size)
        condition = (1, len(self.classes) + 1) if self.config.labels else None
        likelihood = cast(str, self.config.likelihood)
        spec = TensorSpec(layout=Layout.GRID, shape=shape, likelihood=likelihood, condition=condition)
        degrees = self.config.degrees_of_freedom
        return spec if degrees is None else replace(spec, degrees_of_freedom=degrees)

    # media objects

    def select(self, item: Picture, **choice: Any) -> Selection:
        """The picture, at the model's size.

        Args:
            item: a picture.
            **choice: `index`: number of the picture in the set's file that the item is of, from 0.
        """
        index = choice.pop("index", None)
        if choice:
            raise MusicaeError(f"a picture has no {' or '.join(sorted(choice))} to choose.")
        if (path := item.set_path) is not None:
            if index is not None and index != item.index:
                item = Picture.open(path, index=index)
            if self.config.labels:
                set_labels(path, required=True)
            label = f"picture {item.index or 0} of {path.name}"
        elif index:
            raise MusicaeError(f"{item.name} is one picture; it has no number {index}.")
        else:
            label = f"{item.name}, at {self.size}×{self.size}"
        return Selection(self._stored(item), label, item)

    def windows(self, item: Picture, task: str = "reconstruct") -> Iterator[Window]:
        """One window at the model's size to reconstruct; tiles of the picture's own size to restore.

        To upscale, the picture is first made `scale` times larger (bicubic). A grey picture is shown to a model of
        colours as colour; a model of grey sees each colour as a picture of its own.
        """
        self._check_task(task)
        if item.set_path is not None and item.index is None:
            raise MusicaeError(
                f"{item.set_path} holds a whole set; give one picture, or evaluate the model on the set."
            )
        if task == "reconstruct":
            yield Window(self.tensor(torch.from_numpy(self._stored(item))), None)
            return
        scale = self._scale(task)
        if item.width * item.height * scale**2 > MAX_PIXELS or scale * max(item.width, item.height) > MAX_SIDE:
            raise MusicaeError(
                f"{item.name} made {scale} times larger has more than {MAX_PIXELS // 10**6} million pixels, or "
                f"{MAX_SIDE} a side; cut it into pieces."
            )
        for tile, seen in cut(item.planes(), scale=scale, channels=self.channels):
            yield Window(Batch(seen), tile)

    def assemble(
        self, item: Picture, answers: Iterable[tuple[Window, torch.Tensor]], task: str = "reconstruct"
    ) -> Picture:
        """A picture in the frame of the item: its name and colour profile, and if it is restored its transparency.

        A restored one has its size, or is `scale` times larger; grey stays grey, colour stays colour, and 16 bits
        stay 16. A reconstructed one has the model's size and channels.
        """
        self._check_task(task)
        if task == "reconstruct":
            ((_, answer),) = answers
            return item.with_planes(self._pixels(answer)[0], is_whole=False)
        scale, planes = self._scale(task), item.planes()
        shape = (len(planes), scale * item.height, scale * item.width)
        return item.with_planes(join(((window.place, answer) for window, answer in answers), shape, planes.dtype))

    def compose(self, tensor: torch.Tensor, frame: Any = None) -> Picture:
        """Pictures side by side, 16 to a row, on white where the last row is not full."""
        pixels = self._pixels(tensor)
        columns = min(len(pixels), _PICTURES_A_ROW)
        rows = ceil(len(pixels) / columns)
        sheet = np.full((rows * columns, *pixels.shape[1:]), 255, np.uint8)
        sheet[: len(pixels)] = pixels
        sheet = sheet.reshape(rows, columns, *pixels.shape[1:]).transpose(2, 0, 3, 1, 4)
        image = image_of(sheet.reshape(self.channels, rows * self.size, columns * self.size))
        return Picture(image, name=frame.name if isinstance(frame, Picture) else "picture")

    def preview(
        self, rows: dict[str, torch.Tensor], frame: Any = None, *, columns: Sequence[str] = ()
    ) -> dict[str, Savable]:
        """Draws the batches as labelled rows of one picture."""
        from musicae.plots import image_rows

        drawn: Image.Image = image_rows(
            {label: [_for_drawing(picture) for picture in batch] for label, batch in rows.items()},
            column_names=columns,
        )
        return {".png": drawn}

    def describe_tensors(self) -> dict[str, Any]:
        """Pixels, and the classes of a condition."""
        colours = "one channel: grey" if self.channels == 1 else "channels: red, green, blue"
        described: dict[str, Any] = {"grid": f"{colours}, from 0 (black) to 1; rows from top to bottom"}
        return described | ({"condition": ["none", *self.classes]} if self.config.labels else {})

    # data sets

    def companion_files(self, path: Path) -> list[Path]:
        """The labels of a set."""
        known = picture_set(path)
        return [] if known is None else known.companions(path)

    def official_split(self, path: Path) -> str | None:
        """`test` for the test part of a set (`t10k-images-…`, `test_batch.bin`)."""
        known = picture_set(path)
        return "test" if known is not None and known.is_test(path) else None

    def read(self, path: Path) -> Reading:
        """A picture's crops, or the whole of it as a square, in one group; all of a set's file, each its own group."""
        if picture_set(path) is not None:
            return self._set_reading(path)
        try:
            pictures, is_cropped = self._squares_of(path)
        except PictureTooLargeError:
            none = np.zeros((0, *self.spec.shape), np.uint8)
            return Reading(
                self._labelled(none, []), skipped={f"larger than is decoded (at most {MAX_SIDE} pixels a side)": 1}
            )
        return self._reading(self._labelled(pictures, [path.parent.name] * len(pictures)), is_cropped=is_cropped)

    def examples(self, item: Picture) -> Reading:
        """The picture, or its crops; all pictures of a set's file where none was chosen."""
        if item.set_path is not None and item.index is None:
            return self._set_reading(item.set_path)
        if self.config.crops and min(item.width, item.height) >= self.size:
            pixels = plain_array(Image.fromarray(item.array), "L" if self.channels == 1 else "RGB")
            crops = cropped(pixels, size=self.size, most=_MOST_CROPS)
            names = [] if item.label is None else [item.label] * len(crops)
            return self._reading(self._labelled(crops, names), is_cropped=True)
        return self._reading(self._stored(item))

    def array_examples(self, array: np.ndarray, labels: Sequence[str] | None = None) -> np.ndarray:
        """Stored examples of pictures in an array, brought to the model's size and channels.

        Args:
            array: `(pictures, height, width)`, `(pictures, height, width, 1, 3 or 4)` or `(pictures, 1 or 3, height,
                width)`; uint8, bool, uint16 (grey) or floats in 0…1.
            labels: the class of each; a class that the model doesn't know counts as none.

        Raises:
            ValueError: another shape or dtype, NaN, values beyond 0…1, or another number of labels.
        """
        pixels = checked_pixels(np.asarray(array))
        if labels is not None and len(labels) != len(pixels):
            raise ValueError(f"expected a label for each of {len(pixels)} pictures, got {len(labels)}")
        if pixels.dtype == np.uint16 or pixels.shape[-1] == 4:
            squares = [Picture.open(picture).square(size=self.size, channels=self.channels) for picture in pixels]
            stored = np.stack(squares) if squares else np.zeros((0, *self.spec.shape), np.uint8)
        else:
            stored = resized_squares(pixels.transpose(0, 3, 1, 2), size=self.size, channels=self.channels)
        return self._labelled(stored, [] if labels is None else labels)

    def tensor(self, stored: torch.Tensor, generator: torch.Generator | None = None) -> Batch:
        """uint8 `(batch, channels, height, width)` → float32 in 0…1, with each picture's class where a model takes it.

        Binarised pixels are drawn with the generator; without one the draw is always the same. With a generator,
        `turned` mirrors, turns and greys, and a tenth of the classes are left out, so that a model also works without.
        """
        pictures = stored[..., : self.size, :].to(torch.float32) / 255
        if generator is not None and self.config.turned:
            pictures = _turned(pictures, generator)
        if self.config.binarised:
            own = torch.Generator(pictures.device).manual_seed(0) if generator is None else generator
            pictures = torch.bernoulli(pictures, generator=own)
        if not self.config.labels:
            return Batch(pictures)
        classes = self._class_numbers(stored)[:, None]
        if generator is not None:
            draw = torch.rand(classes.shape, generator=generator, device=classes.device)
            classes = torch.where(draw < _DROPPED_SHARE, NO_CLASS, classes)
        return Batch(pictures, classes)

    def condition(self, text: str, windows: int | torch.Tensor = 1) -> torch.Tensor:
        """Reads a class by its name."""
        if not self.config.labels:
            raise MusicaeError("this model takes no labels; train one with --set labels=true.")
        count = windows if isinstance(windows, int) else len(windows)
        return torch.full((count, 1), class_number(text.strip(), self.classes))

    def identity(self, examples: np.ndarray) -> np.ndarray:
        """A hash of the pixels; the label does not count."""
        pictures = examples[..., : self.size, :]
        digests = [hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=8).digest() for row in pictures]
        return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)

    def labels(self, stored: torch.Tensor) -> dict[str, list[str]]:
        """The class of each picture (`label`), where the data have any."""
        if not self.has_classes:
            return {}
        names = (NO_LABEL, *self.classes)
        return {"label": [names[number] for number in self._class_numbers(stored).tolist()]}

    @property
    def has_classes(self) -> bool:
        return bool(self.classes)

    def corruption(self, task: str, *, split: str = "train") -> Corruption | None:
        """For `denoise` the config's corruption; for `upscale` downsampling by the config's scale, and back."""
        self._check_task(task)
        return corruption_of(task, self.config)

    def metrics(self, estimate: torch.Tensor, target: torch.Tensor, corrupted: torch.Tensor) -> dict[str, torch.Tensor]:
        """`mse`, `psnr_db` (100 where equal), `ssim`; of a corrupted input `psnr_in_db` and `ssim_in` beside them."""
        scores = similarity(estimate.float(), target.float())
        if corrupted is not target:
            before = similarity(corrupted.float(), target.float())
            scores |= {"psnr_in_db": before["psnr_db"], "ssim_in": before["ssim"]}
        return scores

    @property
    def scales(self) -> tuple[int, ...]:
        """By how many times a model of this domain learns to enlarge."""
        return self.config.scales

    def at_scale(self, scale: int) -> "ImageDomain":
        """The domain of a model that learned this scale, enlarging by it."""
        if scale not in self.scales:
            known = " or ".join(map(str, self.scales))
            raise MusicaeError(
                f"this model makes pictures {known} times larger, not {scale} times; choose one of those."
            )
        return ImageDomain(self.config.model_copy(update={"scale": scale}))

    def mean_over_views(self, restore: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
        """The mean over `ensemble` views."""
        return mean_over_views(restore, batch, self.config.ensemble)

    def _check_task(self, task: str) -> None:
        if task not in self.tasks:
            raise ValueError(f"task is one of {', '.join(self.tasks)}, got {task!r}")

    def _scale(self, task: str) -> int:
        return self.scales[0] if task == "upscale" else 1

    def _pixels(self, tensor: torch.Tensor) -> np.ndarray:
        """`(examples, *spec.shape)` → uint8."""
        self.spec.check(tuple(tensor.shape))
        pixels: np.ndarray = (tensor.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        return pixels

    def _squares_of(self, path: Path) -> tuple[np.ndarray, bool]:
        """A file's crops, or the whole of it, uint8 `(squares, channels, size, size)`; and whether they are crops."""
        if self.config.crops:
            crops = crops_of(path, size=self.size, channels=self.channels, most=_MOST_CROPS)
            if len(crops):
                return crops, True
        return square_of(path, size=self.size, channels=self.channels)[None], False

    def _reading(self, stored: np.ndarray, *, is_cropped: bool = False) -> Reading:
        if is_cropped:
            return Reading(stored, parts=(f"a picture, cut into {len(stored)} crops of {self.size}×{self.size}",))
        return Reading(stored, parts=(f"a picture, brought to {self.size}×{self.size}",))

    def _set_reading(self, path: Path) -> Reading:
        known = picture_set(path)
        assert known is not None
        pictures = known.read(path)
        count, _, height, width = pictures.shape
        names = (set_labels(path, required=self.config.labels) or []) if self.classes else []
        stored = self._labelled(resized_squares(pictures, size=self.size, channels=self.channels), names)
        return Reading(stored, parts=(f"{count} pictures of {height}×{width}",), groups=np.arange(count))

    def _stored(self, item: Picture) -> np.ndarray:
        """One picture in stored form, `(1, ...)`."""
        square = item.square(size=self.size, channels=self.channels)
        return self._labelled(square[None], [] if item.label is None else [item.label])

    def _class_numbers(self, stored: torch.Tensor) -> torch.Tensor:
        """Stored pictures of a domain with classes → int64 `(batch,)`, 0 for none."""
        return stored[:, 0, self.size, 0].long()

    def _labelled(self, pictures: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Adds a row to the stored pictures that begins with the class, where there are classes."""
        if not self.classes:
            return pictures
        row = np.zeros((*pictures.shape[:2], 1, self.size), np.uint8)
        if len(names) == len(pictures):
            row[:, 0, 0, 0] = class_numbers(names, self.classes)
        return np.concatenate([pictures, row], axis=2)


def _turned(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirrors each of a batch of squares or not, turns it by quarters, and makes some grey in all channels."""
    quarters, mirrored, grey = torch.rand((3, len(pictures)), generator=generator, device=pictures.device)
    changed = []
    for picture, turn, mirror, is_grey in zip(pictures, quarters, mirrored, grey, strict=True):
        picture = torch.rot90(picture.flip(-1) if mirror < 0.5 else picture, int(4 * turn), (-2, -1))
        if len(picture) == 3 and is_grey < _GREY_SHARE:
            picture = (picture * _LUMA.to(picture)[:, None, None]).sum(0, keepdim=True).expand_as(picture)
        changed.append(picture)
    return torch.stack(changed) if changed else pictures


def similarity(estimate: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean squared error, PSNR and SSIM (Wang et al., 2004, "Image quality assessment") of each picture of a batch.

    Args:
        estimate: `(batch, channels, height, width)`; its values are not clipped to 0…1.
        target: the same shape, in 0…1.

    Returns:
        `mse`, `psnr_db` (100 where equal) and `ssim`, each `(batch,)`.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    mse = (estimate - target).square().flatten(1).mean(1)
    # The customary window of 11 pixels (σ = 1.5) does not fit into the smallest pictures.
    sigma = min(1.5, min(target.shape[-2:]) * 3 / 16)
    ssim = structural_similarity_index_measure(estimate, target, sigma=sigma, data_range=1.0, reduction="none")
    return {"mse": mse, "psnr_db": -10 * mse.clamp_min(_LEAST_MSE).log10(), "ssim": cast(torch.Tensor, ssim)}


def _for_drawing(picture: torch.Tensor) -> np.ndarray:
    """`(channels, height, width)` → `(height, width)` or `(height, width, 3)`."""
    pixels: np.ndarray = picture.detach().float().cpu().numpy()
    return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
