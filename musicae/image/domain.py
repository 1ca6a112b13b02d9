"""Pictures as grids: folders of pictures, sets such as MNIST in one file, and scikit-learn's digits.

Every picture is brought to one square size (see `musicae.image.files` for how), grey or colour, and
stored as uint8 `(pictures, channels, height, width)`, with one row more that begins with its class where the
data has classes; its tensor is 0…1. Nothing is augmented: a digit
mirrored is another thing, and what may be changed depends on the pictures. Knows no networks.
"""

import hashlib
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch

from musicae.domain import NO_LABEL, Batch, Corruption, Domain, DomainConfig, Reading, Selection, TensorFunction
from musicae.errors import MusicaeError
from musicae.image.config import ImageConfig, damage_of, settled
from musicae.image.files import (
    MAX_PIXELS,
    MAX_SIDE,
    PICTURE_SUFFIXES,
    PictureTooLargeError,
    largest_side,
    read_picture,
    read_whole_picture,
    resize_pictures,
    write_picture,
    written_format,
)
from musicae.image.labels import NONE, class_number, class_numbers, set_names
from musicae.image.picture_sets import PICTURE_SET_SUFFIXES, picture_set
from musicae.image.tiles import in_tiles
from musicae.spec import Layout, TensorSpec

_PICTURES_A_ROW = 16
_UNTOLD_SHARE = 0.1
# Pictures that are the same to the last bit have no error; 100 dB stands for it.
_LEAST_MSE = 1e-10


class ImageDomain(Domain):
    """Square pictures, grey or colour."""

    name = "image"
    suffixes: ClassVar[tuple[str, ...]] = PICTURE_SUFFIXES + PICTURE_SET_SUFFIXES
    output_suffix = ".png"
    tasks: ClassVar[tuple[str, ...]] = ("reconstruct", "denoise", "upscale")
    Config = ImageConfig
    config: ImageConfig

    def __init__(self, config: DomainConfig | None = None) -> None:
        given = cast(ImageConfig, config if config is not None else ImageConfig())
        if given.classes is None and not given.labels:
            given = given.model_copy(update={"classes": ()})  # only data can say that there are any
        # Whatever is still open is settled as for the starter digits.
        super().__init__(self.suited(given, ()))
        self.size = cast(int, self.config.size)
        self.channels = cast(int, self.config.channels)
        self.classes = cast(tuple[str, ...], self.config.classes)

    @classmethod
    def suited(cls, config: DomainConfig, files: Sequence[Path], task: str = "reconstruct") -> DomainConfig:
        """Settles size, channels and likelihood by the first file that can be read.

        No files: the digits' 8×8, grey. A set's file: its own size and channels. Pictures: 64
        pixels or the short side of the first if that is less; colour if the first has any.
        """
        assert isinstance(config, ImageConfig)
        return settled(config, files, task)

    def beside(self, path: Path) -> list[Path]:
        """The labels of a set."""
        known = picture_set(path)
        return [] if known is None else known.beside(path)

    def split_of(self, path: Path) -> str | None:
        """`test` for the test part of a set (`t10k-images-…`, `test_batch.bin`)."""
        known = picture_set(path)
        return "test" if known is not None and known.is_test(path) else None

    @property
    def spec(self) -> TensorSpec:
        """A grid `(channels, size, size)`."""
        shape = (self.channels, self.size, self.size)
        condition = (1, len(self.classes) + 1) if self.config.labels else None
        likelihood = cast(str, self.config.likelihood)
        return TensorSpec(layout=Layout.GRID, shape=shape, likelihood=likelihood, condition=condition)

    def read(self, path: Path) -> Reading:
        """One example of a picture, all of a set's file; each of those is its own group."""
        if (known := picture_set(path)) is not None:
            pictures = known.read(path)
            count, _, height, width = pictures.shape
            pictures = self._labelled(self._resized(pictures), self._set_names(path))
            return Reading(pictures, parts=(f"{count} pictures of {height}×{width}",), groups=np.arange(count))
        try:
            picture = read_picture(path, size=self.size, channels=self.channels)
        except PictureTooLargeError:
            none = np.zeros((0, *self.spec.shape), np.uint8)
            return Reading(
                self._labelled(none, []), skipped={f"larger than is decoded (at most {MAX_SIDE} pixels a side)": 1}
            )
        picture = self._labelled(picture[None], [path.parent.name])
        return Reading(picture, parts=(f"a picture, brought to {self.size}×{self.size}",))

    def starter(self) -> Iterator[tuple[str, Reading]]:
        """scikit-learn's 1,797 digits, 8×8 with 17 grey values (Alpaydin & Kaynak, 1998)."""
        from sklearn.datasets import load_digits

        data = load_digits()
        digits = np.floor(data.images * (255 / 16) + 0.5).astype(np.uint8)[:, None]  # (1797, 1, 8, 8)
        stored = self._labelled(self._resized(digits), [str(label) for label in data.target])
        yield "digits", Reading(stored, groups=np.arange(len(digits)))

    def to_tensor(self, stored: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """uint8 `(batch, channels, height, width)` → float32 in 0…1; nothing is augmented.

        Binarised, the draw is anew with a generator; without one it is the same for the same batch.
        """
        pictures = stored[..., : self.size, :].to(torch.float32) / 255
        if not self.config.binarised:
            return pictures
        own = torch.Generator(pictures.device).manual_seed(0) if generator is None else generator
        return torch.bernoulli(pictures, generator=own)

    def to_batch(self, stored: torch.Tensor, generator: torch.Generator | None = None) -> Batch:
        """As `to_tensor`, with each picture's class; in training some are not told, so that a model can do without."""
        pictures = self.to_tensor(stored, generator)
        if not self.config.labels:
            return Batch(pictures)
        told = self._class_numbers(stored)[:, None]
        if generator is not None:
            draw = torch.rand(told.shape, generator=generator, device=told.device)
            told = torch.where(draw < _UNTOLD_SHARE, NONE, told)
        return Batch(pictures, told)

    def condition(self, text: str, windows: int = 1) -> torch.Tensor:
        """Reads a class by its name."""
        if not self.config.labels:
            return super().condition(text, windows)
        return torch.full((windows, 1), class_number(text.strip(), self.classes))

    def identity(self, examples: np.ndarray) -> np.ndarray:
        """A hash of the pixels; whatever a picture is labelled with, it is the same picture."""
        pictures = examples[..., : self.size, :]
        digests = [hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=8).digest() for row in pictures]
        return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)

    @property
    def has_classes(self) -> bool:
        return bool(self.classes)

    def labels(self, stored: torch.Tensor) -> dict[str, list[str]]:
        """The class of each picture (`label`), where the data has any."""
        if not self.has_classes:
            return {}
        names = (NO_LABEL, *self.classes)
        return {"label": [names[number] for number in self._class_numbers(stored).tolist()]}

    def corruption(self, task: str, *, split: str = "train") -> Corruption | None:
        """The config's damage for `denoise`; for `upscale` a grid so many times coarser, enlarged again (bicubic)."""
        if task not in self.tasks:
            raise ValueError(f"task is one of {', '.join(self.tasks)}, got {task!r}")
        return damage_of(task, self.config)

    def select(self, path: Path, **choice: Any) -> Selection:
        """The picture of a file, or one of a set's.

        Args:
            path: a picture or a set's file.
            **choice: `index`: number of the picture in a set's file, from 0; the first by default.
        """
        index = choice.pop("index", None) or 0
        if choice:
            raise MusicaeError(f"a picture has no {' or '.join(sorted(choice))} to choose.")
        known = picture_set(path)
        if known is None:
            if index:
                raise MusicaeError(f"{path} holds one picture; it has no number {index}.")
            picture = read_picture(path, size=self.size, channels=self.channels)
            stored = self._labelled(picture[None], [path.parent.name])
            return Selection(stored, f"{path.name}, at {self.size}×{self.size}")
        pictures = known.read(path)
        if not 0 <= index < len(pictures):
            raise MusicaeError(f"{path} holds pictures 0 to {len(pictures) - 1}; it has no number {index}.")
        names = self._set_names(path)[index : index + 1]
        picture = self._labelled(self._resized(pictures[index : index + 1]), names)
        return Selection(picture, f"picture {index} of {path.name}")

    def write(self, tensor: torch.Tensor, path: Path, source: Any = None) -> None:
        """Writes pictures side by side, 16 to a row, on white where the last row is not full."""
        self.spec.check(tuple(tensor.shape))
        pixels = (tensor.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        columns = min(len(pixels), _PICTURES_A_ROW)
        rows = ceil(len(pixels) / columns)
        sheet = np.full((rows * columns, *pixels.shape[1:]), 255, np.uint8)
        sheet[: len(pixels)] = pixels
        sheet = sheet.reshape(rows, columns, *pixels.shape[1:]).transpose(2, 0, 3, 1, 4)
        write_picture(sheet.reshape(self.channels, rows * self.size, columns * self.size), path)

    def map_file(self, path: Path, target: Path, function: TensorFunction, task: str = "reconstruct") -> None:
        """Puts one picture through a function.

        A restored picture keeps its size, or is `scale` times as large, in tiles; grey stays grey and colour
        stays colour. A reconstructed one has the model's size and channels.
        """
        written_format(target)
        if picture_set(path) is not None:
            raise MusicaeError(f"{path} holds a whole set; give one picture, or evaluate the model on the set.")
        if task == "reconstruct":
            picture = read_picture(path, size=self.size, channels=self.channels)
            batch = self.to_batch(torch.from_numpy(self._labelled(picture[None], [path.parent.name])))
            self.write(function(batch.target) if batch.condition is None else function(*batch), target)
            return
        pixels = read_whole_picture(path)
        scale = self.config.scale if task == "upscale" else 1
        longest, side = scale * max(pixels.shape[1:]), largest_side(target)
        if pixels[0].size * scale**2 > MAX_PIXELS or longest > side:
            raise MusicaeError(
                f"{path} enlarged {scale} times has more than {MAX_PIXELS // 10**6} million pixels, or {side} a side; "
                "cut it into pieces."
            )
        write_picture(in_tiles(pixels, function, scale=scale, channels=self.channels), target)

    def metrics(self, estimate: torch.Tensor, target: torch.Tensor, damaged: torch.Tensor) -> dict[str, torch.Tensor]:
        """`mse`, `psnr_db` (100 where equal), `ssim` (Wang et al., 2004), of the values as they are, not cut to 0…1.

        Where the input was damaged, its `psnr_in_db` and `ssim_in` stand beside them.
        """
        scores = self._likeness(estimate.float(), target.float())
        if damaged is not target:
            before = self._likeness(damaged.float(), target.float())
            scores |= {"psnr_in_db": before["psnr_db"], "ssim_in": before["ssim"]}
        return scores

    def _likeness(self, estimate: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        from torchmetrics.functional.image import structural_similarity_index_measure

        mse = (estimate - target).square().flatten(1).mean(1)
        # The window of 11 pixels that is customary (σ = 1.5) does not fit into the smallest pictures.
        sigma = min(1.5, self.size * 3 / 16)
        ssim = structural_similarity_index_measure(estimate, target, sigma=sigma, data_range=1.0, reduction="none")
        return {"mse": mse, "psnr_db": -10 * mse.clamp_min(_LEAST_MSE).log10(), "ssim": cast(torch.Tensor, ssim)}

    def preview(self, rows: dict[str, torch.Tensor], stem: Path, source: Any = None) -> list[Path]:
        """Draws the batches as labelled rows of one picture."""
        from musicae.plots import image_rows

        path = stem.with_name(f"{stem.name}.png")
        image_rows({label: [_for_drawing(picture) for picture in batch] for label, batch in rows.items()}, path)
        return [path]

    def _set_names(self, path: Path) -> list[str]:
        """Classes of the pictures of a set's file; none where it has none."""
        return (set_names(path, required=self.config.labels) or []) if self.classes else []

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

    def _resized(self, pictures: np.ndarray) -> np.ndarray:
        return resize_pictures(pictures, size=self.size, channels=self.channels)


def _for_drawing(picture: torch.Tensor) -> np.ndarray:
    """`(channels, height, width)` → `(height, width)` or `(height, width, 3)`."""
    pixels = picture.detach().float().cpu().numpy()
    return pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
