"""`Recipe`: how one run is trained, scored and shipped."""

from dataclasses import dataclass, field
from typing import Any

NEXT_LEG = {"kl_warmup": 0, "learning_rate": 5e-4}
"""A run that starts from another has the KL term from its first step."""
_CLOCK = 1_000_000  # steps: more than any of these runs gets to, so that the clock ends it


@dataclass(frozen=True)
class Recipe:
    """One run.

    Attributes:
        domain, task, model: as for `musicae train`.
        sets: names of the data sets that it learns from and, on their test split, is scored on.
        minutes: how long it trains; training ends earlier only where validation has long stopped improving.
        settings: of domain, model and training; `noise` names sets too.
        start_from: the recipe whose weights it starts from.
        is_leg: whether it is only there for others to go on from, so that no table shows it.
        shipped_as: the shipped model that `run.py --ship` makes of it.
        shares: the shipped model whose weights it is stored without; what starts from it starts from it as shipped.
        bits: of a weight of the shipped model: 16 is float16, 8 and fewer are whole numbers with scales.
        scored_on: sets scored on where that is not all of `sets`, since the legs before split some of them differently.
        scored_with: settings changed for scoring.
        reported: the scores that tables show.
        importance: draws of z an example for the importance-weighted bound.
        samples: draws from the prior that are compared with held-out examples.
        pairs: paths between held-out examples that are compared with crossfades.
        refined: steps by which codes are improved for the scores named `…_refined`; 0: none of these.
        calibrated: whether the mask is calibrated after training, see calibration.py.
        split_by_names: whether it was trained by an earlier version, which split songs by their names.
    """

    domain: str
    sets: tuple[str, ...]
    minutes: float
    settings: dict[str, Any]
    reported: tuple[str, ...]
    task: str = "reconstruct"
    model: str | None = None
    start_from: str | None = None
    is_leg: bool = False
    shipped_as: str | None = None
    shares: str | None = None
    bits: int = 16
    scored_on: tuple[str, ...] = ()
    scored_with: dict[str, Any] = field(default_factory=dict)
    importance: int = 0
    samples: int = 0
    pairs: int = 0
    refined: int = 0
    calibrated: bool = False
    split_by_names: bool = False

    @property
    def all_settings(self) -> dict[str, Any]:
        """With those of the clock. `noise` and `start_from` name sets and recipes, not folders."""
        settings = {"minutes": self.minutes, "steps": _CLOCK, **self.settings}
        return settings if self.start_from is None else {**settings, "start_from": self.start_from}


def split(more: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Fields of a recipe, and settings."""
    own = {key: value for key, value in more.items() if key in Recipe.__dataclass_fields__}
    return own, {key: value for key, value in more.items() if key not in own}
