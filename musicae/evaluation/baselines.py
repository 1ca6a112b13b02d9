"""Baselines of symbols: the most frequent one throughout, and every bar as the bar before it.

Both are what a model that has learned nothing of a piece could say.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from musicae.data.dataset import DataSet
from musicae.domain import Domain
from musicae.music.baselines import always, bar_before, most_frequent
from musicae.spec import Layout

_FREQUENCIES_FROM = 20_000  # examples, at most about twice as many


def symbol_guesses(domain: Domain, dataset: DataSet, fitted_on: np.ndarray) -> dict[str, Callable[[Tensor], Tensor]]:
    """The ending of their scores' names → a function of the target; none where there are no symbols."""
    spec = domain.spec
    if spec.layout is not Layout.STEPS:
        return {}
    stride = max(1, len(fitted_on) // _FREQUENCIES_FROM)
    stored = torch.from_numpy(np.array(dataset.examples[fitted_on[::stride]]))
    symbols = most_frequent(domain.to_tensor(stored).numpy())

    def hold(target: Tensor) -> Tensor:
        return torch.from_numpy(always(symbols, target.cpu().numpy())).to(target.device)

    def copy(target: Tensor) -> Tensor:
        return torch.from_numpy(bar_before(symbols, target.cpu().numpy(), spec.segment)).to(target.device)

    return {"_hold": hold, "_copy": copy} if spec.segments > 1 else {"_hold": hold}
