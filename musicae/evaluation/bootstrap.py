"""Bootstrap intervals of means (Efron & Tibshirani, 1993, chapter 13). It works on arrays and knows no models.

Windows of one song resemble each other, so all windows of a song are drawn together. If windows were drawn alone, the
interval would be too narrow.
"""

import numpy as np

_DRAWS = 1000
_WEIGHTS_AT_A_TIME = 4_000_000


def mean_intervals(
    values: np.ndarray, group: np.ndarray | None = None, *, level: float = 0.95, seed: int = 0
) -> tuple[np.ndarray, np.ndarray] | None:
    """Percentile intervals of the means, from 1,000 draws of whole groups with replacement.

    Args:
        values: `(examples, scores)`.
        group: `(examples,)`, equal for examples that are drawn together; None: each is drawn alone.
        level: share of the draws inside the interval.
        seed: seed of the draws.

    Returns:
        Low and high ends, `(scores,)` each; None for a single group, whose variation is unknown.

    Raises:
        ValueError: a level outside of 0 to 1, or another number of groups than of examples.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is between 0 and 1, got {level}")
    if group is not None and group.shape != values.shape[:1]:
        raise ValueError(f"expected a group for each of {len(values)} examples, got shape {group.shape}")
    own = np.arange(len(values)) if group is None else np.unique(group, return_inverse=True)[1]
    groups = int(own.max(initial=-1)) + 1
    if groups < 2:
        return None
    sizes = np.bincount(own, minlength=groups).astype(np.float64)
    sums = np.stack([np.bincount(own, column, groups) for column in values.T.astype(np.float64)], axis=1)
    random = np.random.default_rng(seed)
    means = []
    for start in range(0, _DRAWS, per_round := max(1, _WEIGHTS_AT_A_TIME // groups)):
        # How often each group is drawn.
        times = random.multinomial(groups, np.full(groups, 1 / groups), min(per_round, _DRAWS - start))
        means.append((times @ sums) / (times @ sizes)[:, None])
    outside = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), [outside, 1 - outside], axis=0)
    return low, high
