"""A run says what it was computed with, and can be trained again and compared."""

import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from tile_domain import TileDomain, tiles

from musicae import __version__
from musicae.cli import main
from musicae.domains import DOMAINS
from musicae.errors import MusicaeError
from musicae.shipped import find_model
from musicae.training.callbacks import Callback, RunStatus
from musicae.training.checkpoint import load_checkpoint, read_manifest, save_checkpoint
from musicae.training.environment import commit_of
from musicae.training.experiment import run_training
from musicae.training.reproduce import reproduce

TINY = {"widths": (8, 8), "latent_size": 4, "batch_size": 32, "precision": "no", "log_with": (), "steps": 6}
TILES = tiles(240)


@pytest.fixture(autouse=True)
def _tile_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOMAINS, "tile", lambda: TileDomain)


def test_a_run_records_versions_device_and_command_and_a_resumption_adds_its_own(tmp_path: Path) -> None:
    class Stop(Callback):
        def on_step(self, run: RunStatus) -> None:
            if run.step == 3:
                run.stop()

    run_training("tile", data=TILES, out=tmp_path / "run", callbacks=[Stop()], **TINY)
    best = run_training("tile", data=TILES, out=tmp_path / "run", resume=True, **TINY)
    first, second = read_manifest(best).environments
    assert first["packages"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert first["musicae"] == __version__
    assert first["device"] == "cpu"
    assert first["processes"] == 1
    assert first["command"]
    assert first["started"] <= second["started"]


def test_a_checkout_has_a_commit_and_another_folder_none(tmp_path: Path) -> None:
    checkout = Path(__file__).parents[2]
    assert commit_of(tmp_path) is None
    if (checkout / ".git").exists():
        assert len((commit_of(checkout) or "").rstrip("+")) == 40


def test_a_run_trained_again_is_equal_bit_for_bit(tmp_path: Path) -> None:
    run_training("tile", data=TILES, out=tmp_path / "run", **TINY)
    compared = reproduce(tmp_path / "run", tmp_path / "again", data=TILES)
    assert compared.is_exact and compared.is_equal
    assert compared.lines[:2] == ("best weights: equal bit for bit", "last weights: equal bit for bit")


def test_weights_and_scores_that_differ_are_found(tmp_path: Path) -> None:
    run_training("tile", data=TILES, out=tmp_path / "run", **TINY)
    best = find_model(str(tmp_path / "run"))
    network, _, manifest = load_checkpoint(best)
    with torch.no_grad():
        next(network.parameters()).add_(0.5)
    save_checkpoint(best, network, manifest.model_copy(update={"metrics": {**manifest.metrics, "loss": 1.0}}))
    compared = reproduce(tmp_path / "run", tmp_path / "again", data=TILES)
    assert not compared.is_exact and not compared.is_equal
    assert compared.lines[0] == "best weights: differ by up to 0.5"


def test_a_run_is_the_same_after_its_files_were_copied_and_not_after_one_changed(tmp_path: Path) -> None:
    runner, data = CliRunner(), tmp_path / "data"
    data.mkdir()
    for number, tile in enumerate(TILES):
        (data / f"{number}.tile").write_text(str(tile.tolist()), encoding="utf-8")
    settings = [
        part
        for key, value in TINY.items()
        if key != "log_with"
        for part in ("--set", f"{key}={list(value) if isinstance(value, tuple) else value}")
    ]
    train = ["train", "--domain", "tile", "--data", str(data), "--out", str(tmp_path / "run"), *settings]
    assert runner.invoke(main, train, catch_exceptions=False).exit_code == 0
    shutil.move(data, tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "elsewhere", data, copy_function=shutil.copyfile)  # other times
    again = runner.invoke(main, ["reproduce", str(tmp_path / "run")], catch_exceptions=False)
    assert again.exit_code == 0, again.output
    assert again.stdout == f"{tmp_path / 'run-reproduced'}\n"
    assert "best weights: equal bit for bit" in again.stderr
    (data / "3.tile").write_text(str((255 - TILES[3]).tolist()), encoding="utf-8")
    changed = runner.invoke(main, ["reproduce", str(tmp_path / "run")])
    assert changed.exit_code == 2
    assert "the data changed" in changed.stderr


def test_a_run_that_was_stopped_is_not_compared(tmp_path: Path) -> None:
    class Stop(Callback):
        def on_step(self, run: RunStatus) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training("tile", data=TILES, out=tmp_path / "run", callbacks=[Stop()], **TINY)
    with pytest.raises(MusicaeError, match="not finished"):
        reproduce(tmp_path / "run", tmp_path / "again", data=TILES)
