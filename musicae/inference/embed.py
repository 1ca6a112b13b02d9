"""A map of media objects: their codes reduced to two dimensions, as a table and a picture.

PCA keeps large distances, t-SNE (van der Maaten & Hinton, 2008) keeps neighbourhoods; `latent` shows the two numbers of
the code that vary most.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from musicae.atomic_io import check_writable
from musicae.capabilities import HasAttributes
from musicae.domain import NO_LABEL
from musicae.errors import MusicaeError, unknown_name
from musicae.inference.attribute_table import parts, readings, write_csv
from musicae.pipeline import Pipeline

if TYPE_CHECKING:
    from PIL.Image import Image

MAP_METHODS = ("pca", "tsne", "latent")
_PERPLEXITY = 30.0
_AXES = {
    "pca": ("first principal component", "second principal component"),
    "tsne": ("t-SNE 1", "t-SNE 2"),
    "latent": ("latent number that varies most", "the next"),
}


class LatentMap(NamedTuple):
    """Points on a map, one for each window or file.

    Attributes:
        files: name of each point's file in its folder.
        windows: number of the window in its file, from 1; 0 where a point is a whole file.
        points: `(points, 2)`.
        colours: each point's label or number.
        colour: name of what the colours show.
        method: one of `MAP_METHODS`.
        remarks: a line for each file that was left out.
    """

    files: list[str]
    windows: list[int]
    points: np.ndarray
    colours: list[str] | np.ndarray
    colour: str
    method: str = "pca"
    remarks: tuple[str, ...] = ()

    def plot(self) -> "Image":
        """Draws the map."""
        from musicae.plots import scatter

        what = "files" if not any(self.windows) else "windows"
        x_label, y_label = _AXES[self.method]
        return scatter(
            self.points, self.colours, title=f"{len(self.points):,} {what}, coloured by {self.colour}",
            colour_label=self.colour, x_label=x_label, y_label=y_label,
        )  # fmt: skip

    def _repr_html_(self) -> str:
        from musicae.plots import as_html

        return as_html(self.plot())

    def save(self, out: Path | str) -> list[Path]:
        """Writes the table as CSV and, under its name, the picture as PNG. Returns both."""
        from musicae.plots import save_png

        out = Path(out)
        check_map(out)
        picture = out.with_suffix(".png")
        rows = zip(self.files, self.windows, self.points.tolist(), self.colours, strict=True)
        header = ["file", "window", "x", "y", self.colour]
        save_png(self.plot(), picture)
        try:
            write_csv(out, [header, *([file, window, *point, colour] for file, window, point, colour in rows)])
        except BaseException:
            picture.unlink(missing_ok=True)
            raise
        return [out, picture]


def check_map(out: Path) -> None:
    """Raises `MusicaeError` if a map cannot be written to a path; table and picture need different names."""
    if out.with_suffix(".png") == out:
        raise MusicaeError(f"{out} would be both table and picture; choose a name ending in .csv.")
    check_writable(out)


def embed(
    pipeline: Pipeline, sources: Sequence[Any], *, colour: str | None, method: str, each_file: bool, seed: int
) -> LatentMap:
    """Maps the windows of media objects; see `TrainedModel.embed`."""
    if method not in MAP_METHODS:
        raise ValueError(unknown_name("method", method, MAP_METHODS))
    files: list[str] = []
    windows: list[int] = []
    codes: list[np.ndarray] = []
    colours: list[Any] = []
    labels: list[str] = []
    remarks: list[str] = []
    for name, reading in readings(pipeline.domain, sources, remarks):
        found: list[Any] = []
        classes: list[str] = []
        own: list[np.ndarray] = []
        for stored, batch in parts(pipeline.domain, reading):
            found += _colours(pipeline, name, stored, batch.target, colour or "folder")
            classes += _classes(pipeline, stored) if colour is None else []
            own.append(pipeline.encode(batch).base.flatten(1).cpu().numpy())
        code = np.concatenate(own)
        if each_file:
            code = code.mean(0, keepdims=True)
            found = [_most_frequent(found) if isinstance(found[0], str) else float(np.mean(found))]
            classes = [_most_frequent(classes)] if classes else []
        files += [name] * len(code)
        windows += [0] if each_file else range(1, len(code) + 1)
        codes.append(code)
        colours += found
        labels += classes
    if any(label != NO_LABEL for label in labels):
        colour, colours = "label", labels
    points = reduced(np.concatenate(codes), method, seed)
    values = np.array(colours, np.float64) if not isinstance(colours[0], str) else colours
    return LatentMap(files, windows, points, values, colour or "folder", method, tuple(remarks))


def reduced(codes: np.ndarray, method: str, seed: int = 0) -> np.ndarray:
    """Reduces codes to two dimensions.

    Args:
        codes: `(points, numbers)`.
        method: one of `MAP_METHODS`.
        seed: of t-SNE.

    Returns:
        `(points, 2)`; a dimension is zero if there are fewer than two.

    Raises:
        MusicaeError: too few points for t-SNE.
    """
    centred = codes.astype(np.float64) - codes.mean(0)
    if method == "latent":
        order = np.argsort(-centred.var(0), kind="stable")[:2]
        points = codes[:, order].astype(np.float64)
    elif method == "tsne":
        if len(codes) < 4:
            raise MusicaeError(f"t-SNE needs at least 4 points, got {len(codes)}; use --method pca.")
        from sklearn.manifold import TSNE

        perplexity = min(_PERPLEXITY, (len(codes) - 1) / 3)
        points = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(centred)
    else:
        _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
        axes = axes[:2] * np.where(lengths[:2] > 0, 1.0, 0.0)[:, None]
        # The sign of an axis is arbitrary: its largest number is made positive, so that maps can be compared.
        axes *= np.sign(np.take_along_axis(axes, np.abs(axes).argmax(1)[:, None], 1) + (axes == 0).all(1)[:, None])
        points = centred @ axes.T
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))


def _classes(pipeline: Pipeline, stored: Tensor) -> list[str]:
    """The class of each picture; empty if the model's data had no classes."""
    return pipeline.domain.labels(stored).get("label", []) if pipeline.domain.has_classes else []


def _most_frequent(labels: list[str]) -> str:
    return max(labels, key=labels.count)


def _colours(pipeline: Pipeline, name: str, stored: Tensor, tensor: Tensor, colour: str) -> list[Any]:
    """A label or a number for each window of a file."""
    if colour == "file":
        return [name] * len(tensor)
    if colour == "folder":
        return [PurePosixPath(name).parent.as_posix()] * len(tensor)
    domain = pipeline.domain
    labels = domain.labels(stored)
    if colour in labels:
        return labels[colour]
    measured = domain.attributes(tensor) if isinstance(domain, HasAttributes) else {}
    if colour not in measured:
        raise MusicaeError(unknown_name("colour", colour, ["folder", "file", *labels, *measured]))
    values: list[Any] = measured[colour].cpu().double().tolist()
    return values
