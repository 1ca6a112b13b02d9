"""The training loop: resuming, stopping, skipping; on small grey squares."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tile_domain import SIDE, Tile, TileDomain, tiles

from musicae.domains import DOMAINS, domain_class
from musicae.errors import CheckpointError, MusicaeError
from musicae.models import MODELS, model_classes
from musicae.models.conv import ConvAutoencoder
from musicae.models.unet import UNet
from musicae.shipped import find_model
from musicae.training.checkpoint import load_checkpoint, read_manifest
from musicae.training.config import TrainConfig
from musicae.training.experiment import Experiment

ROOT = Path(__file__).resolve().parents[2]
TINY = {"widths": (8, 8), "latent_size": 4, "batch_size": 32, "warmup_steps": 5, "precision": "no", "log_with": ()}
TILES = tiles(240)


@pytest.fixture(autouse=True)
def _tile_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOMAINS, "tile", lambda: TileDomain)


def experiment(**settings) -> Experiment:
    return Experiment.resolve("tile", data=TILES, settings={**TINY, **settings})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(find_model(str(folder)))[0].state_dict()


def train(folder: Path, *, resume: bool = False, **settings) -> Path:
    run = Experiment.of_run(folder, data=TILES) if resume else experiment(**settings)
    return run.run(folder, run.read(), resume=resume)


def losses(folder: Path, name: str = "validation/loss") -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


def test_training_lowers_the_loss_and_leaves_a_model_and_a_preview(tmp_path):
    best = train(tmp_path / "run", steps=120, evaluate_every=20, log_with=("tensorboard",))
    history = losses(tmp_path / "run")
    assert len(history) == 6
    assert history[120] < 0.8 * history[20]
    assert best == find_model(str(tmp_path / "run")) == find_model(str(tmp_path / "run" / "best"))
    assert read_manifest(best).metrics["loss"] == pytest.approx(min(history.values()))
    with Image.open(tmp_path / "run" / "previews" / "step-000020.png") as preview:
        assert preview.size == (SIDE, 2 * SIDE)
    assert Tile.open(tmp_path / "run" / "previews" / "step-000020.tile").array.shape == (SIDE, SIDE)
    board = EventAccumulator(str(next((tmp_path / "run" / "tensorboard").iterdir()))).Reload()
    assert {event.step: event.value for event in board.Scalars("validation/loss")} == pytest.approx(history)


def test_equal_seeds_give_equal_losses_and_other_seeds_others(tmp_path):
    results = []
    for number, seed in enumerate((1, 1, 2)):
        train(tmp_path / str(number), steps=20, evaluate_every=10, seed=seed)
        results.append(losses(tmp_path / str(number)))
    assert results[0] == results[1]
    assert results[0] != results[2]


@pytest.mark.skipif(os.name != "posix", reason="os.kill ends the process on Windows")
def test_a_resumed_run_has_the_losses_of_an_unbroken_one(tmp_path, monkeypatch):
    train(tmp_path / "unbroken", steps=60, evaluate_every=10)
    forward, calls = ConvAutoencoder.forward, []

    def interrupted_at_33(self, *args, **kwargs):
        calls.append(self.training)
        if sum(calls) == 33:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ConvAutoencoder, "forward", interrupted_at_33)
        train(tmp_path / "broken", steps=60, evaluate_every=10)
    assert max(losses(tmp_path / "broken")) == 30
    train(tmp_path / "broken", resume=True)
    assert losses(tmp_path / "broken") == losses(tmp_path / "unbroken")
    finals = [weights(tmp_path / name / "last") for name in ("broken", "unbroken")]
    assert all(torch.equal(finals[0][key], finals[1][key]) for key in finals[1])


def test_ctrl_c_saves_and_exits_cleanly(tmp_path):
    command = [sys.executable, str(ROOT / "cli.py"), "train", "--domain", "image", "--steps", "100000"]
    environment = {**os.environ, "MUSICAE_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [*command, "--out", "run", "--set", "widths=[8]"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 100
    while not (tmp_path / "run" / "metrics.jsonl").exists() or not (tmp_path / "run" / "metrics.jsonl").read_text():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "training on the CPU in 1 process" in err
    assert "continue with --resume" in err
    assert "Traceback" not in err
    assert read_manifest(find_model(str(tmp_path / "run" / "last"))).domain == "image"


def test_a_resume_without_a_run_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="holds no run"):
        Experiment.of_run(tmp_path)


def test_data_that_changed_are_not_resumed(tmp_path):
    train(tmp_path / "run", steps=10)
    changed = TILES.copy()
    changed[0, 0, 0] ^= 1
    again = Experiment.of_run(tmp_path / "run", data=changed)
    with pytest.raises(MusicaeError, match="data changed"):
        again.run(tmp_path / "run", again.read(), resume=True)


def test_a_non_finite_update_is_skipped_and_counted(tmp_path, monkeypatch):
    forward, calls = ConvAutoencoder.forward, []

    def sometimes_nan(self, *args, **kwargs):
        loss = forward(self, *args, **kwargs)
        calls.append(self.training)
        return loss._replace(total=loss.total * float("nan")) if sum(calls) == 7 and self.training else loss

    monkeypatch.setattr(ConvAutoencoder, "forward", sometimes_nan)
    train(tmp_path / "run", steps=20, evaluate_every=10)
    assert losses(tmp_path / "run", "validation/skipped_updates") == {10: 1, 20: 1}
    assert all(torch.isfinite(value).all() for value in weights(tmp_path / "run" / "best").values())


def test_many_non_finite_updates_in_a_row_stop_the_run(tmp_path, monkeypatch):
    forward = ConvAutoencoder.forward

    def always_nan(self, *args, **kwargs):
        loss = forward(self, *args, **kwargs)
        return loss._replace(total=loss.total * float("nan"))

    monkeypatch.setattr(ConvAutoencoder, "forward", always_nan)
    with pytest.raises(MusicaeError, match="5 updates in a row were not finite"):
        train(tmp_path / "run", steps=100, bad_updates=5)


def test_training_stops_early_when_nothing_gets_better(tmp_path):
    # With so small a learning rate the average can't move by a representable amount after the first look.
    train(tmp_path / "run", steps=500, evaluate_every=5, patience=3, learning_rate=1e-30)
    assert max(losses(tmp_path / "run")) == 20


def test_a_larger_data_set_is_read_batch_by_batch_with_the_same_losses(tmp_path):
    for resident_gb in (2.0, 0.0):
        train(tmp_path / str(resident_gb), steps=20, evaluate_every=10, resident_gb=resident_gb)
    assert losses(tmp_path / "2.0") == losses(tmp_path / "0.0")


def test_minutes_end_a_run(tmp_path):
    started = time.monotonic()
    train(tmp_path / "run", steps=1_000_000, minutes=0.02, evaluate_every=10_000_000)
    assert time.monotonic() - started < 30
    assert losses(tmp_path / "run", "validation/minutes").popitem()[1] == pytest.approx(0.02, abs=0.02)


def test_training_works_outside_the_main_thread(tmp_path):
    worker = threading.Thread(target=lambda: train(tmp_path / "run", steps=5))
    worker.start()
    worker.join()
    assert read_manifest(find_model(str(tmp_path / "run" / "best"))).task == "reconstruct"


def test_the_first_line_says_where_it_trains(tmp_path, capsys):
    train(tmp_path / "run", steps=2)
    assert re.match(r"training on the CPU in 1 process of \d+ threads?, precision float32\n", capsys.readouterr().err)


# Minutes and updates


def test_minutes_and_updates_of_all_legs_are_added_up_to_the_end_of_each(tmp_path):
    first = read_manifest(train(tmp_path / "first", steps=20, evaluate_every=10)).data
    started = time.monotonic()
    second = read_manifest(
        train(tmp_path / "second", steps=15, evaluate_every=5, patience=1, start_from=str(tmp_path / "first"))
    )
    assert first["updates_in_all"] == 20
    assert second.data["updates_in_all"] == 20 + max(losses(tmp_path / "second"))
    # The end of the run counts, not the moment of the best checkpoint.
    at_last_evaluation = losses(tmp_path / "second", "validation/minutes")[max(losses(tmp_path / "second"))]
    own = second.data["minutes_in_all"] - first["minutes_in_all"]
    assert second.metrics["minutes"] <= at_last_evaluation < own < (time.monotonic() - started) / 60
    assert second.data["started_from"] == str(tmp_path / "first")


@pytest.mark.skipif(os.name != "posix", reason="os.kill ends the process on Windows")
def test_a_resumed_run_counts_its_updates_once(tmp_path, monkeypatch):
    train(tmp_path / "start", steps=10)
    forward, calls = ConvAutoencoder.forward, []

    def interrupted_at_7(self, *args, **kwargs):
        calls.append(self.training)
        if sum(calls) == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return forward(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ConvAutoencoder, "forward", interrupted_at_7)
        train(tmp_path / "run", steps=20, evaluate_every=5, start_from=str(tmp_path / "start"))
    assert read_manifest(find_model(str(tmp_path / "run" / "last"))).data["updates_in_all"] == 17
    assert read_manifest(train(tmp_path / "run", resume=True)).data["updates_in_all"] == 30


# Starting from another model


def test_a_model_to_start_from_gives_its_settings_and_its_weights(tmp_path):
    settings = {"widths": (8, 12), "latent_size": 6, "brightest": 240}
    train(tmp_path / "first", steps=30, evaluate_every=30, **settings)
    fresh = {key: value for key, value in TINY.items() if key not in settings}
    started = Experiment.resolve(
        "tile",
        data=TILES,
        settings={**fresh, "start_from": str(tmp_path / "first"), "steps": 1, "learning_rate": 1e-30},
    )
    assert started.manifest.model_settings == read_manifest(find_model(str(tmp_path / "first"))).model_settings
    assert started.domain.config.brightest == 240
    assert started.config.steps == 1
    best = started.run(tmp_path / "second", started.read())
    first, second = (weights(folder) for folder in (tmp_path / "first" / "best", best))
    assert all(torch.allclose(first[name], second[name]) for name in first)


@pytest.mark.parametrize(("learning_rate", "sentence"), [(1e-3, "better than"), (1e-30, "no better than")])
def test_a_restorer_that_goes_on_from_another_says_what_it_gained(tmp_path, capsys, learning_rate, sentence):
    def run(folder: Path, **settings) -> Path:
        made = Experiment.resolve("tile", data=TILES, task="denoise", settings={**TINY, **settings})
        return made.run(folder, made.read())

    first = run(tmp_path / "first", steps=20, evaluate_every=20)
    own = read_manifest(first).metrics["loss"]
    capsys.readouterr()
    settings = {"start_from": str(tmp_path / "first"), "learning_rate": learning_rate}
    second = read_manifest(run(tmp_path / "second", steps=40, evaluate_every=20, **settings))
    history = losses(tmp_path / "second")
    assert history[0] == pytest.approx(own)  # it is scored before anything is learned
    assert f"\n{sentence} {tmp_path / 'first'}" in capsys.readouterr().err
    assert second.metrics["loss"] == min(history.values()) <= history[0]


def test_own_settings_come_before_those_of_the_start(tmp_path):
    train(tmp_path / "first", steps=2)
    start = {"start_from": str(tmp_path / "first")}
    other = Experiment.resolve("tile", data=TILES, settings={**start, "latent_size": 7, "brightest": 200})
    assert other.manifest.model_settings["latent_size"] == 7
    assert other.manifest.model_settings["widths"] == [8, 8]
    assert other.domain.config.brightest == 200
    assert Experiment.resolve("tile", data=TILES, model="mlp", settings=start).manifest.model == "mlp"
    # A model that reconstructs can't be the start of one that restores.
    assert Experiment.resolve("tile", data=TILES, task="denoise", settings=start).manifest.model == "unet"
    with pytest.raises(MusicaeError, match="is a model of tile, not of music"):
        Experiment.resolve("music", settings=start)


def test_every_batch_is_corrupted_anew_and_in_evaluation_always_alike(tmp_path, monkeypatch):
    forward, noises = UNet.forward, {True: [], False: []}

    def recording(self, x, target, *args, **kwargs):
        noises[self.training].append(x - target)
        return forward(self, x, target, *args, **kwargs)

    monkeypatch.setattr(UNet, "forward", recording)
    settings = {**TINY, "widths": (8,), "evaluate_examples": 32, "steps": 8, "evaluate_every": 4}
    denoiser = Experiment.resolve("tile", task="denoise", data=TILES, settings=settings)
    denoiser.run(tmp_path / "run", denoiser.read())
    drawn = torch.stack(noises[True]).flatten(1)
    assert len(drawn) == 8
    likeness = torch.corrcoef(drawn) - torch.eye(8)
    assert likeness.abs().max() < 0.3  # one tensor of noise for all batches would give 1
    assert torch.corrcoef(torch.stack(noises[True])[0].flatten(1)).fill_diagonal_(0).abs().max() < 0.9
    first, second = noises[False]
    assert torch.equal(first, second)


def test_the_learning_rate_warms_up_and_falls_to_a_hundredth():
    config = TrainConfig(steps=1000, learning_rate=1.0)
    assert config.learning_rate_at(0, 0.0) == pytest.approx(0.01)
    assert config.learning_rate_at(99, 0.0) == pytest.approx(1.0)
    assert config.learning_rate_at(500, 0.5) == pytest.approx(0.505)
    assert config.learning_rate_at(1000, 1.0) == pytest.approx(0.01)
    assert TrainConfig(steps=10).learning_rate_at(1, 0.0) == pytest.approx(1e-3)


def test_beta_rises_over_the_warm_up_of_the_kl():
    config = TrainConfig(beta=0.4, kl_warmup=0.5)
    assert [config.beta_at(progress) for progress in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.0, 0.2, 0.4, 0.4])
    assert TrainConfig(beta=0.4, kl_warmup=0.0).beta_at(0.0) == 0.4


def test_no_setting_belongs_to_two_configs():
    checked = 0
    for domain in ("image", "music", "audio"):
        for model in MODELS:
            configs = (domain_class(domain).Config, model_classes(model)[1], TrainConfig)
            keys = [set(config.model_fields) | set(config.RENAMED) for config in configs]
            assert sum(map(len, keys)) == len(set.union(*keys)), (domain, model)
            checked += 1
    assert checked == 3 * len(MODELS)


def test_a_denoiser_gains_on_its_noisy_input(tmp_path):
    settings = {**TINY, "widths": (8, 16), "latent_size": 16, "steps": 120, "evaluate_every": 60, "learning_rate": 3e-3}
    denoiser = Experiment.resolve("tile", task="denoise", data=tiles(1000), settings=settings)
    dataset = denoiser.read()
    network, domain, _ = load_checkpoint(denoiser.run(tmp_path / "run", dataset))
    clean = domain.tensor(torch.from_numpy(dataset.examples[dataset.splits["test"]])).target
    noisy = domain.corruption("denoise")(clean, torch.Generator().manual_seed(0))
    with torch.no_grad():
        answer = network.reconstruct(noisy)
    gain_db = 10 * torch.log10((noisy - clean).square().mean() / (answer - clean).square().mean())
    assert gain_db > 3
