"""The command that remakes figures: it trains legs in order, records their minutes, and makes a shipped model."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from safetensors import safe_open

from musicae.shipped import find_model
from musicae.trained import load
from musicae.training.checkpoint import read_manifest


@pytest.fixture
def run(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """With a recipe of two short legs that learns pictures of two colours; results go to the test's own folder."""
    module = script("run")
    recipes = module.ship.__dict__
    settings = {"size": 8, "width": 8, "depth": 1, "latent_size": 2, "steps": 6, "batch_size": 8, "evaluate_every": 3}
    start = module.Recipe("image", ("squares",), 1, settings, ("mse", "kl_bits"), model="mlp", is_leg=True)
    last = module.Recipe(
        "image", ("squares",), 1, settings, ("mse", "kl_bits"), model="mlp", start_from="tiny-start", shipped_as="tiny"
    )
    module.RECIPES.clear()
    module.RECIPES.update({"tiny-start": start, "tiny": last})
    module.SHIPPED.clear()
    module.SHIPPED["tiny"] = "tiny"
    recipes["CREDITS"]["squares"] = type(recipes["CREDITS"]["mnist"])("squares drawn by the test", "CC BY")
    recipes["USAGE"]["tiny"] = ("musicae vary square.png",)
    recipes["SUMMARY"]["tiny"], recipes["LIMITS"]["tiny"] = "Squares.", "Nothing but squares."
    monkeypatch.setattr(module.stored, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(module.report, "DOCUMENT", tmp_path / "docs" / "results.md")
    monkeypatch.setattr(module.report, "TABLES", {})
    monkeypatch.setattr(module.report, "TEMPLATE", _template(tmp_path))
    return module


def _template(folder: Path) -> Path:
    path = folder / "template.md"
    path.write_text("# Results\n", encoding="utf-8")
    return path


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    folder = tmp_path / "sets" / "squares"
    folder.mkdir(parents=True)
    for number in range(40):
        pixels = np.full((8, 8), 30 if number % 2 else 220, np.uint8)
        pixels[number % 8] = number * 6
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder.parent


def test_legs_are_trained_in_order_and_their_minutes_and_updates_added_up(
    run: ModuleType, sets: Path, tmp_path: Path
) -> None:
    run.train_and_score("tiny", sets, tmp_path / "runs")
    stored = run.stored.read("runs")
    assert list(stored) == ["tiny-start", "tiny"]
    assert [stored[name]["updates_in_all"] for name in stored] == [6, 12]
    assert stored["tiny"]["minutes_in_all"] > stored["tiny-start"]["minutes_in_all"] > 0
    assert stored["tiny"]["mse"] > 0
    manifest = load(tmp_path / "runs" / "tiny").manifest
    assert Path(manifest.training["start_from"]) == tmp_path / "runs" / "tiny-start"


def test_a_run_that_was_trained_is_scored_again_and_not_trained(run: ModuleType, sets: Path, tmp_path: Path) -> None:
    run.train_and_score("tiny-start", sets, tmp_path / "runs")
    before = run.stored.read("runs")["tiny-start"]
    weights = (find_model(str(tmp_path / "runs" / "tiny-start")) / "model.safetensors").read_bytes()
    run.train_and_score("tiny-start", sets, tmp_path / "runs")
    assert (find_model(str(tmp_path / "runs" / "tiny-start")) / "model.safetensors").read_bytes() == weights
    assert run.stored.read("runs")["tiny-start"]["mse"] == pytest.approx(before["mse"])


def test_a_shipped_model_is_small_names_no_folder_and_has_a_card(run: ModuleType, sets: Path, tmp_path: Path) -> None:
    run.train_and_score("tiny", sets, tmp_path / "runs")
    best, shipped = find_model(str(tmp_path / "runs" / "tiny")), tmp_path / "pretrained" / "tiny"
    line = run.ship.ship("tiny", best, lambda model: run.score(model, "tiny", sets), shipped.parent)
    assert line.startswith(str(shipped))
    with safe_open(shipped / "model.safetensors", framework="numpy") as weights:
        assert {weights.get_slice(key).get_dtype() for key in weights.keys()} == {"F16"}  # noqa: SIM118  # no mapping
    assert str(tmp_path) not in (shipped / "config.json").read_text()
    manifest = read_manifest(shipped)
    assert manifest.data["sets"] == ["squares"]
    assert manifest.data["updates_in_all"] == 12
    assert set(manifest.metrics) == {"mse", "kl_bits", "elbo_nats", "active_units"}
    card = (shipped / "README.md").read_text(encoding="utf-8")
    for words in ("--ship tiny", "`tiny-start`", "squares drawn by the test", "CC BY 4.0", "updates 12", "float16"):
        assert words in card
    assert load(shipped, "cpu").encode(sets / "squares" / "1.png").shape == (1, 2)


def test_names_that_do_not_go_together_are_refused(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    run = script("run")
    for arguments, words in (
        (["mnist-vae-2"], "needs --sets"),
        (["--sets", str(tmp_path), "--ship", "mnist-vae-2"], "is not shipped"),
        (["audio-outside"], "needs --sets"),
        (["nothing"], "nothing"),
    ):
        done = CliRunner().invoke(run.main, arguments)
        assert done.exit_code == 2
        assert words in done.output


def test_a_measurement_is_stored_under_its_name_and_the_document_written(
    run: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(run.MEASUREMENTS, "start-up", run.Measurement(lambda sets, runs: {"a": 1}, "", False))
    done = CliRunner().invoke(run.main, ["start-up"])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "results" / "start-up.json").read_text()) == {"a": 1}
    assert (tmp_path / "docs" / "results.md").read_text() == "# Results\n"


def test_every_measurement_that_was_made_is_one_that_can_be_made_again(script: Callable[[str], ModuleType]) -> None:
    run = script("run")
    names = {path.stem for path in run.stored.RESULTS.glob("*.json")}
    assert names - set(run.MEASUREMENTS) == {"runs", "scale", "start-up-before"}
