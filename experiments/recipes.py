"""The recipes of every quoted figure and every shipped model: data, settings, and the run that each goes on from.

`RECIPES` is the one table; `run.py NAME` trains and scores a recipe. Many runs are trained in several legs, each
starting from the weights of the one before (`start_from`); `chain` gives them in order.
"""

from music_recipes import TUNES
from picture_recipes import PICTURES
from recipe import Recipe
from sound_recipes import SOUNDS

RECIPES: dict[str, Recipe] = {**PICTURES, **SOUNDS, **TUNES}
SHIPPED = {recipe.shipped_as: name for name, recipe in RECIPES.items() if recipe.shipped_as}
"""Shipped model → its recipe."""


def chain(name: str) -> tuple[str, ...]:
    """The recipes that are trained for one, in order; its own is the last."""
    start = RECIPES[name].start_from
    return (name,) if start is None else (*chain(start), name)


def minutes_in_all(name: str) -> float:
    """Minutes of training of all legs together."""
    return sum(RECIPES[leg].minutes for leg in chain(name))


def sets_in_all(name: str) -> tuple[str, ...]:
    """Names of the sets that all legs together learned from, noise among them."""
    legs = [RECIPES[leg] for leg in reversed(chain(name))]
    return tuple(dict.fromkeys(each for leg in legs for each in (*leg.sets, *leg.settings.get("noise", ()))))
