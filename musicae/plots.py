"""Pictures for people: example rows, piano rolls, spectrograms. Arrays in, one PNG out.

Everything is drawn on a `matplotlib.figure.Figure` of its own, so no window, no global state and no
backend choice is involved, and matplotlib is imported only when something is drawn. Nothing here
knows domains, models or files other than the PNG it writes.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from musicae.figures import INK, bare_axes, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = dict[str, list[np.ndarray]]
"""Label → examples, drawn as one row of the figure."""

_PITCH_NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
_BLACK_KEYS = frozenset({1, 3, 6, 8, 10})

_PAPER = np.array([1.0, 1.0, 1.0])
_BLACK_KEY_SHADE = np.array([0.945, 0.953, 0.961])
_SUSTAIN = np.array([0.48, 0.68, 0.86])
_ONSET = np.array([0.07, 0.25, 0.47])

_LABEL_COLOURS = (
    *("#12407a", "#d1603d", "#3a8f5c", "#8a5aa8", "#b8860b", "#4a90a4"),
    *("#c2407a", "#7a9a2f", "#5b6bd6", "#9a5b3a", "#2f9a8a", "#d39ac2"),
)
_OTHERS = "#b4bcc4"
_DYNAMIC_RANGE_DB = 80.0


def image_rows(rows: Rows, path: Path) -> None:
    """Draws labelled rows of pictures.

    Args:
        rows: label → pictures `(height, width)` or `(height, width, 3)` in 0..1 (clipped to it);
            a row's pictures are drawn at one size, whatever their own.
        path: the PNG to write.
    """
    columns = _columns(rows)
    # An inch for each picture reads well up to 12 of them; more share the width.
    cell = min(1.0, 14.0 / columns)
    gap = 0.06
    heights = [(1 - gap) * _cell_height(pictures) for pictures in rows.values()]
    label_width = _label_inches(rows)
    total_height = sum(height + gap for height in heights) * cell
    figure = new_figure(label_width + columns * cell + 0.1, total_height + 0.15)
    axes = bare_axes(figure, label_width, 0.1, 0.075, 0.075)

    top, middles = 0.0, []
    for height, pictures in zip(heights, rows.values(), strict=True):
        for column, picture in enumerate(pictures):
            shown = np.clip(np.nan_to_num(np.asarray(picture, dtype=np.float64)), 0.0, 1.0)
            axes.imshow(
                shown,
                extent=(column + gap / 2, column + 1 - gap / 2, top + height, top),
                cmap="gray",
                vmin=0.0,
                vmax=1.0,
                interpolation="nearest" if max(shown.shape[:2]) <= 96 else "antialiased",
            )
        middles.append(top + height / 2)
        top += height + gap
    axes.set(xlim=(0, columns), ylim=(top, 0), aspect="auto", xticks=[])
    axes.set_yticks(middles, list(rows))
    save(figure, path)


def piano_rolls(rows: Rows, path: Path, *, steps_per_bar: int = 16, steps_per_beat: int = 4) -> None:
    """Draws labelled rows of piano rolls, all on one cropped pitch axis.

    Args:
        rows: label → rolls `(128, steps)`: 0 silent, 1 sustained, 2 onset.
        path: the PNG to write.
        steps_per_bar: distance of the bar lines, in steps.
        steps_per_beat: distance of the beat lines, in steps.
    """
    columns = _columns(rows)
    low, high = _pitch_range(rows)
    pitches = high - low + 1
    steps = max(roll.shape[1] for rolls in rows.values() for roll in rolls)

    # Few rolls get room; many are drawn small enough that the figure still fits a page.
    row_height = float(np.clip(pitches * 0.055, 0.8, 2.6)) * float(np.clip(8 / len(rows), 0.7, 1.0))
    column_width = float(np.clip(steps * 0.2, 2.5, 9.0)) if columns == 1 else max(1.5, min(steps * 0.07, 14 / columns))
    note_height = max(0.9, 0.05 * pitches / row_height)  # at least a twentieth of an inch
    left, right, below, above = _label_inches(rows) + 0.35, 0.15, 0.45, 0.15
    width, height = left + columns * column_width + right, below + len(rows) * row_height + above
    figure = new_figure(width, height)
    grid = figure.add_gridspec(
        len(rows), columns, left=left / width, right=1 - right / width, bottom=below / height, top=1 - above / height,
        hspace=0.13 / row_height, wspace=0.1 / column_width,
    )  # fmt: skip

    for row, (label, rolls) in enumerate(rows.items()):
        for column, roll in enumerate(rolls):
            axes = figure.add_subplot(grid[row, column])
            _draw_roll(axes, np.asarray(roll)[low : high + 1], low, steps_per_bar, steps_per_beat, note_height)
            axes.set_xlim(0, steps)
            _name_pitches(axes, low, high, row_height, named=column == 0)
            last = row == len(rows) - 1
            bars = np.arange(0, steps, steps_per_bar)
            every = max(1, len(bars) * columns // 32)
            axes.set_xticks(bars[::every], [str(bar + 1) for bar in range(0, len(bars), every)] if last else [])
            if last and column == 0:
                axes.set_xlabel("bar", loc="left")
            if column == 0:
                axes.annotate(
                    label, (0, 0.5), xytext=(-32, 0), xycoords="axes fraction", textcoords="offset points",
                    ha="right", va="center", color=INK,
                )  # fmt: skip
    save(figure, path)


def spectrograms(rows: Rows, path: Path, *, sample_rate_hz: int, hop_samples: int) -> None:
    """Draws labelled rows of spectrograms on one colour scale.

    Args:
        rows: label → magnitudes in dB `(frequency, time)`, frequencies even from 0 to half the
            sample rate.
        path: the PNG to write.
        sample_rate_hz: of the sound.
        hop_samples: from one column of a spectrogram to the next, in samples.
    """
    from matplotlib.ticker import MaxNLocator

    columns = _columns(rows)
    values = [np.asarray(picture)[np.isfinite(picture)] for pictures in rows.values() for picture in pictures]
    loudest = max((float(part.max()) for part in values if part.size), default=0.0)
    quietest = min((float(part.min()) for part in values if part.size), default=loudest)
    floor = max(quietest, loudest - _DYNAMIC_RANGE_DB)
    if floor == loudest:
        loudest = floor + 1.0  # all alike, as silence is: dark

    row_height = 1.7 if len(rows) <= 6 else 1.2
    column_width = 9.0 if columns == 1 else max(1.6, 14 / columns)
    left, right, below, above = _label_inches(rows) + 0.6, 0.95, 0.55, 0.15
    width, height = left + columns * column_width + right, below + len(rows) * row_height + above
    figure = new_figure(width, height)
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
            plain(axes)
            axes.tick_params(labelleft=column == 0, labelbottom=row == len(rows) - 1)
            if column == 0:
                axes.set_ylabel("kHz")
                axes.annotate(
                    label, (0, 0.5), xytext=(-46, 0), xycoords="axes fraction", textcoords="offset points",
                    ha="right", va="center", color=INK,
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
        plain(bar_axes)
    save(figure, path)


def scatter(points: np.ndarray, colours: Sequence[str] | np.ndarray, path: Path, *, title: str) -> None:
    """Draws points on a map, coloured by a number each (with a scale) or a label each (with a legend).

    Args:
        points: `(points, 2)`.
        colours: numbers `(points,)`, or labels; the most frequent labels get a colour, the rest are grey.
        path: the PNG to write.
        title: what the colours are.
    """
    if len(points) == 0:
        raise ValueError("expected at least one point to draw, got none")
    figure = new_figure(9.0, 7.0)
    axes = figure.add_axes((0.08, 0.05, 0.69, 0.91))
    size = float(np.clip(9000 / len(points), 5, 40))
    if isinstance(colours, np.ndarray):
        shown = axes.scatter(points[:, 0], points[:, 1], c=colours, s=size, cmap="viridis", linewidths=0)
        scale = figure.add_axes((0.79, 0.2, 0.02, 0.6))
        figure.colorbar(shown, cax=scale).set_label(title)
        plain(scale)
    else:
        frequent = (label for label, _ in Counter(colours).most_common(len(_LABEL_COLOURS)))
        named = sorted(frequent, key=lambda label: label.zfill(12) if label.isdecimal() else label)  # 2 before 10
        kinds = np.array([named.index(label) if label in named else len(named) for label in colours])
        for kind, label in enumerate([*named, "others"]):
            if (kinds == kind).any():
                colour = _LABEL_COLOURS[kind] if kind < len(named) else _OTHERS
                x, y = points[kinds == kind].T
                axes.scatter(x, y, color=colour, s=size, linewidths=0, alpha=0.85, label=label)
        axes.legend(
            title=title,
            loc="upper left",
            bbox_to_anchor=(1.01, 1.0),
            fontsize=8,
            title_fontsize=9,
            frameon=False,
            markerscale=max(1.0, (30 / size) ** 0.5),  # dots of a large map are too small to tell their colour by
        )
    axes.set(aspect="equal", adjustable="datalim")
    plain(axes)
    save(figure, path)


def _columns(rows: Rows) -> int:
    columns = max((len(examples) for examples in rows.values()), default=0)
    if columns == 0:
        raise ValueError("expected at least one row with one example to draw, got none")
    return columns


def _cell_height(pictures: Sequence[np.ndarray]) -> float:
    """Height of a row's pictures when each is one wide, kept drawable for extreme shapes."""
    return max((float(np.clip(p.shape[0] / p.shape[1], 0.1, 4.0)) for p in pictures), default=0.3)


def _label_inches(rows: Rows) -> float:
    """Room at the left for the longest label, in inches, at the text size of `_figure`."""
    return 0.2 + 0.085 * max(len(line) for label in rows for line in label.split("\n"))


def _pitch_range(rows: Rows) -> tuple[int, int]:
    """Lowest and highest pitch to show: what sounds, a semitone around it, an octave at least."""
    used = np.zeros(128, dtype=bool)
    for rolls in rows.values():
        for roll in rolls:
            if roll.shape[0] != 128:
                raise ValueError(f"expected piano rolls of shape (128, steps), got {roll.shape}")
            used |= np.asarray(roll).any(axis=1)
    pitches = np.flatnonzero(used)
    low, high = (int(pitches[0]) - 1, int(pitches[-1]) + 1) if pitches.size else (60, 71)
    missing = max(0, 12 - (high - low + 1))
    low, high = low - missing // 2, high + missing - missing // 2
    return max(0, min(low, 116)), min(127, max(high, 11))


def _draw_roll(
    axes: "Axes", roll: np.ndarray, low: int, steps_per_bar: int, steps_per_beat: int, note_height: float
) -> None:
    """Draws `(pitches, steps)` whose first row is pitch `low`, notes `note_height` semitones high."""
    pitches, steps = roll.shape
    colours = np.tile(_PAPER, (pitches, steps, 1))  # (pitches, steps, 3)
    black = [pitch for pitch in range(pitches) if (low + pitch) % 12 in _BLACK_KEYS]
    colours[black] = _BLACK_KEY_SHADE
    axes.imshow(colours, origin="lower", aspect="auto", extent=(0, steps, low - 0.5, low + pitches - 0.5), zorder=0)
    for step in range(0, steps + 1, steps_per_beat):
        bar = step % steps_per_bar == 0
        axes.axvline(step, color="#8895a3" if bar else "#dde2e7", linewidth=0.9 if bar else 0.5, zorder=1)
    # Rectangles and not pixels: a pitch is a few dots high, and rounding would make notes thick or thin.
    # They lie over the lines, or a note that crosses a beat would look like two.
    for state, colour in ((1, _SUSTAIN), (2, _ONSET)):
        rows, columns = np.nonzero(roll == state)
        axes.bar(
            columns, note_height, width=1.0, bottom=low + rows - note_height / 2, align="edge", color=colour,
            linewidth=0, zorder=2, antialiased=True,
        )  # fmt: skip
    plain(axes)


def _name_pitches(axes: "Axes", low: int, high: int, height: float, *, named: bool) -> None:
    """Ticks at the Cs, and at the Gs where there is room or fewer than two Cs."""
    ticks = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
    with_fifths = [pitch for pitch in range(low, high + 1) if pitch % 12 in (0, 7)]
    if len(ticks) < 2 or height / len(with_fifths) > 0.3:
        ticks = with_fifths
    names = [f"{_PITCH_NAMES[pitch % 12]}{pitch // 12 - 1}" for pitch in ticks]
    axes.set_yticks(ticks, names if named else [])
    axes.tick_params(axis="y", labelsize=7)
    axes.set_ylim(low - 0.5, high + 0.5)
