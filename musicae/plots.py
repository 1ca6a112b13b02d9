"""Plots: rows of pictures, piano rolls, spectrograms, maps. Arrays in, a `PIL.Image.Image` out; `save_png` writes it.

Pictures and piano rolls are drawn as pixels with Pillow, in milliseconds and at twice the size that they are shown
at, so that they are sharp on every screen. Spectrograms and maps use matplotlib, which takes a second to import, so
it is imported only when one of them is drawn. Nothing here knows domains or models.
"""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from musicae.atomic_io import atomic_write
from musicae.roll_panel import FRAME, INK, RollPanel, check_rolls

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Mapping[str, Sequence[np.ndarray]]
"""Label → examples, drawn as one row of the plot."""

_PAPER = (255, 255, 255)

# Sizes in pixels of the image, which is shown at half its size.
_SCALE = 2
_LABEL_PIXELS, _TICK_PIXELS = 26, 18
_GAP = 12
_MARGIN = 16
_PAGE_WIDTH = 2400
_MOST_PIXELS = 16_000
_LONGEST_LABEL = 48
_SMALL_PICTURE = 96  # pixels a side; up to this size pictures are enlarged without blurring

_LABEL_COLOURS = (
    *("#12407a", "#d1603d", "#3a8f5c", "#8a5aa8", "#b8860b", "#4a90a4"),
    *("#c2407a", "#7a9a2f", "#5b6bd6", "#9a5b3a", "#2f9a8a", "#d39ac2"),
)
_OTHERS = "#b4bcc4"
_DYNAMIC_RANGE_DB = 80.0
_SMALLEST_SPREAD = 1e-6  # points that lie closer together are drawn as one


def save_png(image: Image.Image, path: Path | str) -> Path:
    """Writes a picture as PNG, atomically.

    Raises:
        MusicaeError: the place cannot be written to.
    """
    path = Path(path)
    with atomic_write(path) as partial:
        image.save(partial, format="PNG", dpi=(96 * _SCALE, 96 * _SCALE))
    return path


def as_html(image: Image.Image) -> str:
    """A plot inside a page: an `<img>` that holds the PNG, at half its pixels, at most as wide as its place."""
    content = BytesIO()
    image.save(content, format="PNG")
    source = f"data:image/png;base64,{b64encode(content.getvalue()).decode()}"
    return f'<img width="{image.width // _SCALE}" style="max-width: 100%" src="{source}">'


def image_rows(rows: Rows, *, column_names: Sequence[str] = ()) -> Image.Image:
    """Draws labelled rows of pictures.

    Args:
        rows: label → pictures `(height, width)` or `(height, width, 3)` in 0…1 (clipped to it); a row's pictures
            are drawn at one size, whatever their own.
        column_names: a text above each column.

    Raises:
        ValueError: nothing to draw.
    """
    columns = _columns(rows)
    widths = [picture.shape[1] for pictures in rows.values() for picture in pictures]
    cell = _cell_pixels(min(200, 2 * _PAGE_WIDTH // (columns + 6)), max(widths))
    heights = [round(cell * _height_ratio(pictures)) for pictures in rows.values()]
    left = _label_pixels(rows, _LABEL_PIXELS)
    top = _MARGIN + (2 * _TICK_PIXELS if column_names else 0)
    height = top + sum(heights) + _GAP * (len(rows) - 1) + _MARGIN
    canvas, draw = _paper(left + columns * (cell + _GAP) + _MARGIN, height)
    for column in range(0, len(column_names), _every(column_names, cell + _GAP)):
        place = (left + column * (cell + _GAP) + cell // 2, top - _GAP)
        _write(draw, place, column_names[column], _TICK_PIXELS, "ms")
    for (label, pictures), height in zip(rows.items(), heights, strict=True):
        _write(draw, (left - _GAP, top + height // 2), _short(label), _LABEL_PIXELS, "rm")
        for column, picture in enumerate(pictures):
            canvas.paste(_resized(picture, cell, height), (left + column * (cell + _GAP), top))
        top += height + _GAP
    return canvas


def piano_rolls(
    rows: Rows,
    *,
    steps_per_bar: int = 16,
    steps_per_beat: int = 4,
    row_names: Sequence[str] | Mapping[int, str] | None = None,
    column_names: Sequence[str] = (),
    first_bar: int = 1,
) -> Image.Image:
    """Draws labelled rows of piano rolls, all on one cropped pitch axis, with drums on lines that have names.

    Args:
        rows: label → rolls of 0 silent, 1 sustained, 2 onset, 3 to 130 onset of velocity 0 to 127: the louder, the
            darker. Without `row_names` they are `(128, steps)`. With a list of names they are `(names, steps)`, drums
            alone, or `(128 + names, steps)`, the drums last: they are drawn below the pitches. Any value but 0 is a hit
            of a drum.
        steps_per_bar: distance of the bar lines, in steps.
        steps_per_beat: distance of the beat lines, in steps.
        row_names: names of the drums' rows, the lowest line first: `("kick", "snare", …)`. Or pitch → name, of
            rolls `(128, steps)` that hold drums alone: no other pitch is drawn.
        column_names: a text above each column.
        first_bar: number of the first bar.

    Raises:
        ValueError: nothing to draw, or rolls of another shape.
    """
    columns = _columns(rows)
    rolls = {label: [np.asarray(roll) for roll in examples] for label, examples in rows.items()}
    names: Sequence[str] = tuple(row_names.values() if isinstance(row_names, Mapping) else row_names or ())
    every_roll = [roll for examples in rolls.values() for roll in examples]
    check_rolls(every_roll, 0 if isinstance(row_names, Mapping) else len(names))
    if isinstance(row_names, Mapping):
        rolls = {label: [roll[list(row_names)] for roll in examples] for label, examples in rolls.items()}
        every_roll = [roll for examples in rolls.values() for roll in examples]
    panel = RollPanel.fitting(every_roll, names, rows=len(rolls), columns=columns)

    widest = max(round(_font(_TICK_PIXELS).getlength(name)) for name in [*names, "C-1"])
    ticks = 2 * _GAP + widest
    left = _label_pixels(rolls, _LABEL_PIXELS) + ticks
    top = _MARGIN + (2 * _TICK_PIXELS if column_names else 0)
    across, down = panel.width + _MARGIN, panel.height + _MARGIN
    bottom = top + len(rolls) * down - _MARGIN
    canvas, draw = _paper(left + columns * across + _MARGIN, bottom + 2 * _TICK_PIXELS + _GAP)
    for row, (label, examples) in enumerate(rolls.items()):
        y = top + row * down
        _write(draw, (left - ticks, y + panel.height // 2), _short(label), _LABEL_PIXELS, "rm")
        for offset, name in panel.ticks(_TICK_PIXELS):
            _write(draw, (left - _GAP, y + offset), name, _TICK_PIXELS, "rm")
            draw.line((left - _GAP // 2, y + offset, left - 1, y + offset), fill=FRAME)
        for column, roll in enumerate(examples):
            drawn = panel.draw(roll, steps_per_bar=steps_per_bar, steps_per_beat=steps_per_beat)
            canvas.paste(Image.fromarray(drawn), (left + column * across, y))
    bars = -(-panel.steps // steps_per_bar)
    every = _every([str(first_bar + bars)], panel.place(steps_per_bar) - panel.place(0))
    for column in range(columns):
        x = left + column * across
        for bar in range(0, bars, every):
            place = (x + panel.place(bar * steps_per_bar), bottom + _GAP // 2)
            _write(draw, place, str(first_bar + bar), _TICK_PIXELS, "ma" if bar or names else "la")
    for column in range(0, len(column_names), _every(column_names, across)):
        place = (left + column * across + panel.width // 2, top - _GAP)
        _write(draw, place, column_names[column], _TICK_PIXELS, "ms")
    _write(draw, (left - _GAP, bottom + _GAP // 2), "bar", _TICK_PIXELS, "ra")
    return canvas


def spectrograms(rows: Rows, *, sample_rate_hz: int, hop_samples: int) -> Image.Image:
    """Draws labelled rows of spectrograms on one colour scale.

    Args:
        rows: label → magnitudes in dB `(frequency, time)`, frequencies even from 0 to half the sample rate.
        sample_rate_hz: of the sound.
        hop_samples: from one column of a spectrogram to the next, in samples.

    Raises:
        ValueError: nothing to draw.
    """
    from matplotlib.ticker import MaxNLocator

    columns = _columns(rows)
    values = [np.asarray(picture)[np.isfinite(picture)] for pictures in rows.values() for picture in pictures]
    loudest = max((float(part.max()) for part in values if part.size), default=0.0)
    quietest = min((float(part.min()) for part in values if part.size), default=loudest)
    floor = max(quietest, loudest - _DYNAMIC_RANGE_DB)
    if floor == loudest:
        loudest = floor + 1.0  # all values are equal, as in silence: drawn dark

    row_height = 1.7 if len(rows) <= 6 else 1.2
    column_width = 9.0 if columns == 1 else max(1.6, 14 / columns)
    label_width = 0.2 + 0.085 * max(len(line) for label in rows for line in label.split("\n"))
    left, right, below, above = label_width + 0.6, 0.95, 0.55, 0.15
    width, height = left + columns * column_width + right, below + len(rows) * row_height + above
    figure = _figure(width, height)
    grid = figure.add_gridspec(
        len(rows), columns, left=left / width, right=1 - right / width, bottom=below / height, top=1 - above / height,
        hspace=0.12 / row_height, wspace=0.1 / column_width,
    )  # fmt: skip

    drawn = None
    for row, (label, pictures) in enumerate(rows.items()):
        for column, picture in enumerate(pictures):
            axes = figure.add_subplot(grid[row, column])
            shown = np.nan_to_num(np.asarray(picture, dtype=np.float64), nan=floor, neginf=floor, posinf=loudest)
            duration_s = shown.shape[1] * hop_samples / sample_rate_hz
            drawn = axes.imshow(
                shown, origin="lower", aspect="auto", extent=(0, duration_s, 0, sample_rate_hz / 2000),
                cmap="magma", vmin=floor, vmax=loudest, interpolation="antialiased",
            )  # fmt: skip
            _plain(axes)
            axes.tick_params(labelleft=column == 0, labelbottom=row == len(rows) - 1)
            if column == 0:
                axes.set_ylabel("kHz")
                axes.annotate(
                    label, (0, 0.5), xytext=(-46, 0), xycoords="axes fraction", textcoords="offset points",
                    ha="right", va="center", color=_hex(INK),
                )  # fmt: skip
            if row == len(rows) - 1:
                axes.set_xlabel("s", labelpad=1)
                # The last number of one panel would stand on the first of the next.
                axes.xaxis.set_major_locator(
                    MaxNLocator(8 if columns == 1 else 3, prune="upper" if columns > 1 else None)
                )
    if drawn is not None:
        bar_height = min(1.0 - (below + above) / height, 3.0 / height)
        bar_axes = figure.add_axes(
            (1 - (right - 0.15) / width, 1 - above / height - bar_height, 0.13 / width, bar_height)
        )
        figure.colorbar(drawn, cax=bar_axes).set_label("dB")
        _plain(bar_axes)
    return _rendered(figure)


def scatter(
    points: np.ndarray,
    colours: Sequence[str] | np.ndarray,
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    colour_label: str = "",
) -> Image.Image:
    """Draws points on a map, coloured by a number each (with a scale) or a label each (with a legend).

    Args:
        points: `(points, 2)`.
        colours: numbers `(points,)`, or labels; the most frequent labels get a colour, the rest are grey.
        title: of the map: `"320 windows of 12 files"`.
        x_label: what the first number is: `"first principal component"`.
        y_label: what the second is.
        colour_label: what the colours are.

    Raises:
        ValueError: no points.
    """
    if len(points) == 0:
        raise ValueError("expected at least one point to draw, got none")
    figure = _figure(9.0, 7.0)
    axes = figure.add_axes((0.09, 0.08, 0.68, 0.85))
    size = float(np.clip(9000 / len(points), 5, 40))
    if isinstance(colours, np.ndarray):
        shown = axes.scatter(points[:, 0], points[:, 1], c=colours, s=size, cmap="viridis", linewidths=0)
        scale = figure.add_axes((0.79, 0.2, 0.02, 0.6))
        figure.colorbar(shown, cax=scale).set_label(colour_label)
        _plain(scale)
    else:
        frequent = (label for label, _ in Counter(colours).most_common(len(_LABEL_COLOURS)))
        named = sorted(
            frequent, key=lambda label: re.sub(r"\d+", lambda digits: digits[0].zfill(12), label)
        )  # 2 before 10
        groups = np.array([named.index(label) if label in named else len(named) for label in colours])
        for group, label in enumerate([*named, "others"]):
            if (groups == group).any():
                colour = _LABEL_COLOURS[group] if group < len(named) else _OTHERS
                x, y = points[groups == group].T
                axes.scatter(x, y, color=colour, s=size, linewidths=0, alpha=0.85, label=_short(label))
        axes.legend(
            title=colour_label or None, loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8, title_fontsize=9,
            frameon=False,
            markerscale=max(1.0, (30 / size) ** 0.5),  # dots of a large map are too small to tell their colour by
        )  # fmt: skip
    if np.ptp(points, axis=0).max() < _SMALLEST_SPREAD:  # matplotlib finds no scale for points that coincide
        x, y = points.mean(axis=0)
        axes.update_datalim([(x - 0.5, y - 0.5), (x + 0.5, y + 0.5)])
    axes.set(aspect="equal", adjustable="datalim")
    axes.set_title(title, color=_hex(INK), fontsize=11, loc="left")
    axes.set(xlabel=x_label, ylabel=y_label)
    _plain(axes)
    return _rendered(figure)


def _columns(rows: Rows) -> int:
    columns = max((len(examples) for examples in rows.values()), default=0)
    if columns == 0:
        raise ValueError("expected at least one row with one example to draw, got none")
    return columns


@lru_cache
def _font(pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """matplotlib's DejaVu Sans, found without importing it; Pillow's own has no accents, sharps and flats."""
    package = find_spec("matplotlib")
    for place in (package.submodule_search_locations if package else None) or ():
        file = Path(place) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if file.is_file():
            return ImageFont.truetype(str(file), pixels)
    return ImageFont.load_default(pixels)


def _paper(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    canvas = Image.new("RGB", (width, height), _PAPER)
    return canvas, ImageDraw.Draw(canvas)


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], text: str, pixels: int, anchor: str) -> None:
    draw.text(place, text, fill=INK, font=_font(pixels), anchor=anchor, align="right" if anchor[0] == "r" else "left")


def _short(label: str) -> str:
    half = _LONGEST_LABEL // 2
    return "\n".join(
        f"{line[:half]}…{line[1 - half :]}" if len(line) > _LONGEST_LABEL else line for line in label.split("\n")
    )


def _label_pixels(labels: Sequence[str] | Rows, pixels: int) -> int:
    """Room for the longest label, with a margin at its left and a gap at its right."""
    lines = [line for label in labels for line in _short(label).split("\n")]
    return _MARGIN + _GAP + max(round(_font(pixels).getlength(line)) for line in lines)


def _every(labels: Sequence[str], apart: int) -> int:
    """The stride n at which labels don't overlap, if only every nth is written.

    Args:
        labels: in the order of the axis.
        apart: pixels from one label to the next.
    """
    widest = max((round(_font(_TICK_PIXELS).getlength(label)) for label in labels), default=0)
    return -(-(widest + _GAP) // max(1, apart))


def _cell_pixels(wanted: int, width: int) -> int:
    """Width of a cell; for small pictures a multiple of their width, so that all their pixels are equal squares."""
    wanted = max(8, wanted)
    return max(1, wanted // width) * width if width <= _SMALL_PICTURE else wanted


def _height_ratio(pictures: Sequence[np.ndarray]) -> float:
    """Height of a row's pictures over their width, limited so that extreme shapes can be drawn."""
    return max((float(np.clip(picture.shape[0] / picture.shape[1], 0.1, 4.0)) for picture in pictures), default=0.3)


def _resized(picture: np.ndarray, width: int, height: int) -> Image.Image:
    values = np.clip(np.nan_to_num(np.asarray(picture, dtype=np.float64)), 0.0, 1.0)
    image = Image.fromarray(np.floor(values * 255 + 0.5).astype(np.uint8))
    method = Image.Resampling.NEAREST if max(image.size) <= _SMALL_PICTURE else Image.Resampling.LANCZOS
    return image.convert("RGB").resize((width, height), method)


def _figure(width: float, height: float) -> "Figure":
    """A white figure; sizes are in inches. It is made without pyplot, so that no window opens."""
    from matplotlib.figure import Figure

    dots_per_inch = min(130.0, _MOST_PIXELS / max(width, height))
    return Figure(figsize=(max(width, 1.5), max(height, 0.5)), dpi=dots_per_inch, facecolor="white")


def _plain(axes: "Axes") -> None:
    """Gives axes a thin grey frame and small labels."""
    axes.tick_params(labelsize=8, length=2, color=_hex(FRAME), labelcolor=_hex(INK))
    for spine in axes.spines.values():
        spine.set_color(_hex(FRAME))
        spine.set_linewidth(0.6)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=_hex(INK), fontsize=8)


def _rendered(figure: "Figure") -> Image.Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
