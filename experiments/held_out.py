"""What of a recipe's sets no leg of it has learned from.

Legs of one chain may split the same songs in two ways: those of earlier versions by names, later ones by content. A
song is held out only where both hold it out. Windows that a leg could not read, in another time signature, it did not
learn from.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from recipes import RECIPES, chain

from musicae.data.dataset import DataSet, load_dataset, split_of_run
from musicae.domain import Domain
from musicae.music.domain import MusicDomain
from musicae.trained import TrainedModel


def held_out(trained: TrainedModel, name: str, sets: Path) -> DataSet:
    """The data of a recipe, split so that `test` is what no leg has learned from, and `train` what any has.

    Args:
        trained: the model, or the domain's of its last leg.
        name: of the recipe.
        sets: folder of data sets.
    """
    recipe, domain = RECIPES[name], trained.domain
    paths = [sets / each for each in recipe.scored_on or recipe.sets]
    own = load_dataset(domain, paths, split_by=split_of_run(trained.manifest.data))
    former = [leg for leg in chain(name) if RECIPES[leg].split_by_names]
    if not former:
        return own
    names = load_dataset(domain, paths, split_by="names")
    learned = names.splits["train"]
    learned = learned[_readable(domain, own.examples[learned], RECIPES[former[-1]].settings["time_signature"])]
    train = np.union1d(own.splits["train"], learned)
    return replace(own, splits={**own.splits, "train": train, "test": np.setdiff1d(own.splits["test"], train)})


def _readable(domain: Domain, examples: np.ndarray, signature: str) -> np.ndarray:
    """Which stored windows are in a time signature, bool `(windows,)`."""
    assert isinstance(domain, MusicDomain)
    number = [each.name for each in domain.config.signatures].index(signature)
    found: np.ndarray = examples[:, 0, -1] == number
    return found
