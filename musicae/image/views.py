"""Self-ensemble: the mean of what a restorer makes of a picture and of turned and mirrored copies of it.

Method of Timofte et al. (2016), "Seven ways to improve example-based single image super resolution". It is for networks
that learned from turned pictures. Errors of the copies differ, and a mean of them is smaller. Knows no networks.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from musicae.image.tiles import CELLS


def mean_over_views(restore: Callable[[Tensor], Tensor], batch: Tensor, views: int) -> Tensor:
    """Restores several views of pictures, brings the results back, and takes their mean.

    Args:
        restore: `(batch, channels, height, width)` → the same shape, of any height and width.
        batch: pictures, or tiles of them.
        views: 1, 2 (transposed), 4 (also turned by half) or 8 (also mirrored).

    Returns:
        The shape of the batch, on the device that `restore` answers on.
    """
    total = restore(batch)
    height, width = batch.shape[-2:]
    # A copy's edges change places, so all have to be at whole cells: then a tile has the cells of the whole picture.
    whole = F.pad(batch, (0, -width % CELLS, 0, -height % CELLS), mode="replicate")
    for number in range(1, views):
        total = total + _turned_back(restore(_turned(whole, number)), number)[..., :height, :width]
    return total / views


def _turned(x: Tensor, number: int) -> Tensor:
    """View number 0 to 7: transposed where its first bit is set, turned by half by the second, mirrored by the third.

    Each of the three is its own inverse.
    """
    x = x.mT if number & 1 else x
    x = x.flip((-2, -1)) if number & 2 else x
    return x.flip(-1) if number & 4 else x


def _turned_back(x: Tensor, number: int) -> Tensor:
    x = x.flip(-1) if number & 4 else x
    x = x.flip((-2, -1)) if number & 2 else x
    return x.mT if number & 1 else x
