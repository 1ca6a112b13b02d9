"""A small domain for tests: grey squares of 8×8, in files of their own format."""

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

from musicae.domain import Batch, Corruption, Domain, DomainConfig, Reading, Savable, Selection, Window
from musicae.errors import DamagedFileError
from musicae.spec import Layout, TensorSpec

SIDE = 8


@dataclass(frozen=True)
class Tile:
    """A grey square."""

    array: np.ndarray
    name: str = "tile"
    suffix: ClassVar[str] = ".tile"
    remarks: tuple[str, ...] = ()

    @classmethod
    def open(cls, source: Any) -> "Tile":
        if isinstance(source, np.ndarray):
            return cls(source)
        if not isinstance(source, (str, Path)):
            raise ValueError(f"expected a path or an array, got {type(source).__name__}")
        path = Path(source)
        try:
            return cls(np.array(json.loads(path.read_text(encoding="utf-8")), np.uint8), path.stem)
        except ValueError as error:
            raise DamagedFileError(f"{path.name} is no tile") from error

    def save(self, path: Path | str) -> Path:
        Path(path).write_text(json.dumps(self.array.tolist()), encoding="utf-8")
        return Path(path)

    def plot(self) -> Image.Image:
        return Image.fromarray(self.array)

    def with_remarks(self, *remarks: str) -> Self:
        return replace(self, remarks=self.remarks + remarks)


class TileConfig(DomainConfig):
    """What the domain reads."""

    brightest: int = 255  # the value that is 1 in a tensor


class TileDomain(Domain):
    """Grey squares."""

    name = "tile"
    media = Tile
    suffixes = (".tile",)
    tasks = ("reconstruct", "denoise")
    Config = TileConfig

    @property
    def spec(self) -> TensorSpec:
        return TensorSpec(layout=Layout.GRID, shape=(1, SIDE, SIDE), likelihood="gaussian")

    def select(self, item: Tile, **choice: Any) -> Selection:
        return Selection(item.array[None], item.name)

    def windows(self, item: Tile, task: str = "reconstruct") -> Iterator[Window]:
        yield Window(self.tensor(torch.from_numpy(item.array[None])), None)

    def assemble(self, item: Tile, answers: Iterable[tuple[Window, Tensor]], task: str = "reconstruct") -> Tile:
        ((_, answer),) = answers
        return replace(item, array=self.compose(answer).array)

    def compose(self, tensor: Tensor, frame: Any = None) -> Tile:
        in_a_row = torch.cat(list(tensor[:, 0]), dim=1)
        return Tile((in_a_row.clamp(0, 1) * self.config.brightest).round().byte().numpy())

    def preview(self, rows: dict[str, Tensor], frame: Any = None, *, columns: Sequence[str] = ()) -> dict[str, Savable]:
        first = [self.compose(row[:1]) for row in rows.values()]
        return {".png": Image.fromarray(np.concatenate([tile.array for tile in first])), ".tile": first[-1]}

    def examples(self, item: Tile) -> Reading:
        return Reading(item.array[None])

    def array_examples(self, array: np.ndarray, labels: Sequence[str] | None = None) -> np.ndarray:
        if array.shape[1:] != (SIDE, SIDE) or array.dtype != np.uint8:
            raise ValueError(f"expected uint8 (tiles, {SIDE}, {SIDE}), got {array.dtype} {array.shape}")
        return array

    def tensor(self, stored: Tensor, generator: Generator | None = None) -> Batch:
        return Batch(stored[:, None].float() / self.config.brightest)

    def identity(self, examples: np.ndarray) -> np.ndarray:
        return np.array([zlib.crc32(row.tobytes()) for row in examples], np.uint64)

    def corruption(self, task: str, *, split: str = "train") -> Corruption | None:
        return None if task == "reconstruct" else _noise

    def metrics(self, estimate: Tensor, target: Tensor, corrupted: Tensor) -> dict[str, Tensor]:
        return {"mse": (estimate - target).square().flatten(1).mean(1)}


def _noise(batch: Tensor, generator: Generator) -> Tensor:
    return batch + 0.5 * torch.randn(batch.shape, generator=generator, device=batch.device)


def tiles(count: int, seed: int = 0) -> np.ndarray:
    """uint8 `(count, 8, 8)`: a bright bar each, across or down, on dark ground."""
    generator = np.random.default_rng(seed)
    array = generator.integers(0, 40, (count, SIDE, SIDE), dtype=np.uint8)
    for tile in array:
        rows = tile if generator.random() < 0.5 else tile.T
        start = generator.integers(0, SIDE - 2)
        rows[start : start + 2] += 200
    return array
