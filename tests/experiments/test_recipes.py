"""The table of recipes, the licences that data ask for, and the minutes that legs add up to."""

from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest

from musicae.models.autoencoder import FREEZES
from musicae.training.experiment import Experiment


@pytest.fixture
def recipes(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("recipes")


@pytest.fixture
def credits(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("credits")


def test_every_recipe_is_a_run_that_resolves(recipes: ModuleType) -> None:
    assert len(recipes.RECIPES) > 40
    for recipe in recipes.RECIPES.values():
        # Folders of noise, runs of earlier legs and names of notes are looked for when a run is resolved; and without
        # photographs nothing is turned, which an ensemble needs.
        left_out = ("noise", "start_from", "ensemble", *FREEZES, *(("labels",) if recipe.domain == "audio" else ()))
        settings = {key: value for key, value in recipe.all_settings.items() if key not in left_out}
        experiment = Experiment.resolve(recipe.domain, task=recipe.task, model=recipe.model, settings=settings)
        # What takes much longer than an hour and a half nobody repeats.
        assert experiment.config.minutes == recipe.minutes <= 95
        assert recipe.all_settings.get("start_from") == recipe.start_from


def test_legs_come_in_the_order_in_which_they_are_trained(recipes: ModuleType) -> None:
    for name, recipe in recipes.RECIPES.items():
        legs = recipes.chain(name)
        assert legs[-1] == name
        assert recipes.RECIPES[legs[0]].start_from is None
        assert [recipes.RECIPES[leg].start_from for leg in legs[1:]] == list(legs[:-1])
        if recipe.is_leg:
            assert any(other.start_from == name for other in recipes.RECIPES.values()), f"{name} is no leg of anything"


def test_minutes_in_all_are_those_of_all_legs(recipes: ModuleType) -> None:
    assert recipes.minutes_in_all("mnist-ae-32") == 15
    assert recipes.minutes_in_all("melody-2bar") == 40 + 50 + 80 + 18 + 12
    assert recipes.minutes_in_all("melody-16bar-one-code") == 40 + 36 + 10 + 33 + 10
    assert recipes.minutes_in_all("denoise-48k") == 55 + 38 + 14 + 85 + 95 + 10 + 62 + 11 + 72 + 35


def test_a_shipped_model_counts_the_data_of_all_its_legs(recipes: ModuleType) -> None:
    found = recipes.sets_in_all("upscale-48k")
    assert "sound/voices" in found
    assert len(found) == len(set(found))
    assert "noise_room" in recipes.sets_in_all("denoise-live-48k")


@pytest.mark.parametrize(
    ("sets", "licence"),
    [
        (("openewld", "ryans_mammoth"), "MIT"),
        (("openewld", "groove"), "CC BY 4.0"),
        (("groove", "sound/digits_train"), "CC BY-SA 4.0"),
    ],
)
def test_weights_have_the_licence_of_the_strictest_set(
    credits: ModuleType, sets: tuple[str, ...], licence: str
) -> None:
    assert credits.licence_of(sets) == licence


def test_weights_from_data_that_forbids_it_have_no_licence_to_ship(credits: ModuleType) -> None:
    with pytest.raises(ValueError, match="nottingham"):
        credits.licence_of(("openewld", "nottingham"))


def test_every_set_that_is_learned_from_has_its_credit_and_what_ships_may(
    recipes: ModuleType, credits: ModuleType
) -> None:
    for name in recipes.RECIPES:
        assert set(recipes.sets_in_all(name)) <= set(credits.CREDITS)
    assert len(recipes.SHIPPED) == 12
    for name in recipes.SHIPPED.values():
        assert credits.licence_of(recipes.sets_in_all(name))


def test_settings_of_the_clock_do_not_stop_a_run_by_its_steps(recipes: ModuleType) -> None:
    recipe = replace(recipes.RECIPES["mnist-vae-2"], minutes=3)
    assert recipe.all_settings["minutes"] == 3
    assert recipe.all_settings["steps"] > 100_000
    assert "start_from" not in recipe.all_settings
