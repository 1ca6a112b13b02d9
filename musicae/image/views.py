"""Self-ensemble: the mean of what a restorer makes of several views of a picture, flipped and transposed.

Method of Timofte et al. (2016), "Seven ways to improve example-based single image super resolution". It is for networks
that learned from turned pictures. The errors of the views differ, so their mean has less of them. Knows no networks.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from musicae.image.tiles import SIZE_DIVISOR


def mean_over_views(restore: Callable[[Tensor], Tensor], batch: Tensor, views: int) -> Tensor:
    """Restores several views of pictures, undoes each view, and takes the mean.

    Args:
        restore: `(batch, channels, height, width)` → the same shape, of any height and width.
        batch: pictures, or tiles of them.
        views: 1; 2 (also transposed); 4 (both also rotated by 180°); 8 (all also mirrored).

    Returns:
        The shape of the batch.

    Raises:
        ValueError: another number of views.
    """
    if views not in (1, 2, 4, 8):
        raise ValueError(f"views is 1, 2, 4 or 8, got {views}")
    total = restore(batch)
    if views == 1:
        return total
    height, width = batch.shape[-2:]
    # A flip moves the bottom edge to the top. With sides padded to multiples, each view of a tile has the cells of that
    # view of the whole picture.
    padded = F.pad(batch, (0, -width % SIZE_DIVISOR, 0, -height % SIZE_DIVISOR), mode="replicate")
    for number in range(1, views):
        total = total + _undone(restore(_view(padded, number)), number)[..., :height, :width]
    return total / views


def _view(x: Tensor, number: int) -> Tensor:
    """View 0 to 7: the first bit transposes, the second rotates by 180°, the third mirrors; each undoes itself."""
    x = x.mT if number & 1 else x
    x = x.flip((-2, -1)) if number & 2 else x
    return x.flip(-1) if number & 4 else x


def _undone(x: Tensor, number: int) -> Tensor:
    x = x.flip(-1) if number & 4 else x
    x = x.flip((-2, -1)) if number & 2 else x
    return x.mT if number & 1 else x
