"""What all pictures share: the figure, its ink and margins, and how it is saved."""

from pathlib import Path
from typing import TYPE_CHECKING

from musicae.atomic_io import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#22303c"
_MOST_PIXELS = 16_000


def new_figure(width: float, height: float) -> "Figure":
    """A white figure of so many inches, its resolution bounded."""
    from matplotlib.figure import Figure

    dots_per_inch = min(130.0, _MOST_PIXELS / max(width, height))
    return Figure(figsize=(max(width, 1.5), max(height, 0.5)), dpi=dots_per_inch, facecolor="white")


def bare_axes(figure: "Figure", left: float, right: float, below: float, above: float) -> "Axes":
    """Axes that fill the figure up to margins in inches, with nothing drawn around them."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes(
        (left / width, below / height, 1 - (left + right) / width, 1 - (below + above) / height), frameon=False
    )
    axes.tick_params(length=0, labelsize=10, labelcolor=INK)
    return axes


def plain(axes: "Axes") -> None:
    """Thin grey frame, small labels."""
    axes.tick_params(labelsize=8, length=2, color="#9aa5b1", labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_color("#9aa5b1")
        spine.set_linewidth(0.6)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, fontsize=8)


def save(figure: "Figure", path: Path) -> None:
    """Writes a PNG under a temporary name and renames it, so that no half picture is ever seen."""
    with written_whole(path) as partial:
        figure.savefig(partial, format="png")
