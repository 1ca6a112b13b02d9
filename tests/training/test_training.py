"""The training loop: resuming, stopping, skipping, several processes; on the embedded digits."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from musicae.errors import CheckpointError, MusicaeError
from musicae.models.conv import ConvAutoencoder
from musicae.models.unet import UNet
from musicae.trained import load
from musicae.training.config import TrainConfig
from musicae.training.experiment import Experiment

ROOT = Path(__file__).resolve().parent.parent
TINY = {"widths": (8, 8), "latent_size": 4, "batch_size": 32, "warmup_steps": 5, "precision": "no"}


def digits(**settings) -> Experiment:
    return Experiment.resolve("image", settings={**TINY, **settings})


def losses(folder: Path, name: str = "validation/loss") -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


def test_training_lowers_the_loss_and_leaves_a_model_and_a_preview(tmp_path):
    experiment = digits(steps=120, evaluate_every=20)
    best = experiment.run(tmp_path / "run", experiment.read())
    history = losses(tmp_path / "run")
    assert len(history) == 6
    assert history[120] < 0.8 * history[20]
    assert load(tmp_path / "run").manifest.metrics["loss"] == pytest.approx(min(history.values()))
    assert best == tmp_path / "run" / "best"
    assert list((tmp_path / "run" / "previews").glob("*.png"))
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_equal_seeds_give_equal_losses_and_other_seeds_others(tmp_path):
    results = []
    for number, seed in enumerate((1, 1, 2)):
        experiment = digits(steps=20, evaluate_every=10, seed=seed)
        experiment.run(tmp_path / str(number), experiment.read())
        results.append(losses(tmp_path / str(number)))
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_a_resumed_run_has_the_losses_of_an_unbroken_one(tmp_path, monkeypatch):
    unbroken = digits(steps=60, evaluate_every=10)
    unbroken.run(tmp_path / "unbroken", unbroken.read())

    forward, calls = ConvAutoencoder.forward, []

    def interrupted_at_33(self, *args, **kwargs):
        calls.append(self.training)
        if sum(calls) == 33:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(ConvAutoencoder, "forward", interrupted_at_33)
    broken = digits(steps=60, evaluate_every=10)
    broken.run(tmp_path / "broken", broken.read())
    monkeypatch.undo()
    monkeypatch.setenv("MUSICAE_CACHE", str(tmp_path / "cache"))
    assert max(losses(tmp_path / "broken")) == 30
    resumed = Experiment.of_run(tmp_path / "broken")
    resumed.run(tmp_path / "broken", resumed.read(), resume=True)
    assert losses(tmp_path / "broken") == losses(tmp_path / "unbroken")
    finals = [load(tmp_path / name / "last").model.state_dict() for name in ("broken", "unbroken")]
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
    assert "continue with --resume" in err
    assert "Traceback" not in err
    assert load(tmp_path / "run" / "last").manifest.domain == "image"


def test_a_resume_without_a_run_says_so(tmp_path):
    with pytest.raises(CheckpointError, match="no model"):
        Experiment.of_run(tmp_path)


def test_data_that_changed_is_not_resumed(tmp_path):
    experiment = digits(steps=10)
    experiment.run(tmp_path / "run", experiment.read())
    again = Experiment.of_run(tmp_path / "run")
    dataset = again.read()
    with pytest.raises(MusicaeError, match="data changed"):
        again.run(
            tmp_path / "run", type(dataset)(dataset.examples, dataset.splits, "other", dataset.report), resume=True
        )


def test_a_non_finite_update_is_skipped_and_counted(tmp_path, monkeypatch):
    forward, calls = ConvAutoencoder.forward, []

    def sometimes_nan(self, *args, **kwargs):
        loss = forward(self, *args, **kwargs)
        calls.append(self.training)
        return loss._replace(total=loss.total * float("nan")) if sum(calls) == 7 and self.training else loss

    monkeypatch.setattr(ConvAutoencoder, "forward", sometimes_nan)
    experiment = digits(steps=20, evaluate_every=10)
    experiment.run(tmp_path / "run", experiment.read())
    assert losses(tmp_path / "run", "validation/skipped_updates") == {10: 1, 20: 1}
    assert all(torch.isfinite(value).all() for value in load(tmp_path / "run").model.state_dict().values())


def test_many_non_finite_updates_in_a_row_stop_the_run(tmp_path, monkeypatch):
    forward = ConvAutoencoder.forward

    def always_nan(self, *args, **kwargs):
        loss = forward(self, *args, **kwargs)
        return loss._replace(total=loss.total * float("nan"))

    monkeypatch.setattr(ConvAutoencoder, "forward", always_nan)
    experiment = digits(steps=100, bad_updates=5)
    with pytest.raises(MusicaeError, match="5 updates in a row were not finite"):
        experiment.run(tmp_path / "run", experiment.read())


def test_training_stops_early_when_nothing_gets_better(tmp_path):
    # With so small a learning rate the average can't move by a representable amount after the first look.
    experiment = digits(steps=500, evaluate_every=5, patience=3, learning_rate=1e-30)
    experiment.run(tmp_path / "run", experiment.read())
    assert max(losses(tmp_path / "run")) == 20


def test_a_larger_data_set_is_read_from_the_memory_map_with_the_same_losses(tmp_path):
    histories = []
    for number, resident_gb in enumerate((2.0, 0.0)):
        experiment = digits(steps=20, evaluate_every=10, resident_gb=resident_gb)
        experiment.run(tmp_path / str(number), experiment.read())
        histories.append(losses(tmp_path / str(number)))
    assert histories[0] == histories[1]


def test_minutes_end_a_run(tmp_path):
    experiment = digits(steps=1_000_000, minutes=0.02, evaluate_every=10_000_000)
    started = time.monotonic()
    experiment.run(tmp_path / "run", experiment.read())
    assert time.monotonic() - started < 30
    assert losses(tmp_path / "run", "validation/minutes").popitem()[1] == pytest.approx(0.02, abs=0.02)


def test_training_works_outside_the_main_thread(tmp_path):
    experiment = digits(steps=5)
    worker = threading.Thread(target=lambda: experiment.run(tmp_path / "run", experiment.read()))
    worker.start()
    worker.join()
    assert load(tmp_path / "run").manifest.task == "reconstruct"


def test_two_processes_lose_what_one_does(tmp_path):
    settings = ["--latent", "deterministic", "--steps", "12", "--batch-size", "32", "--precision", "no"]
    settings += ["--set", "widths=[8]", "--set", "evaluate_every=4", "--set", "warmup_steps=2"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    histories = []
    for processes in ("1", "2"):
        command = [*launch, "--num_processes", processes, str(ROOT / "cli.py"), "train", "--domain", "image", *settings]
        environment = {**os.environ, "MUSICAE_CACHE": str(tmp_path / f"cache-{processes}"), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, "--out", processes], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr[-2000:]
        histories.append(losses(tmp_path / processes))
    assert list(histories[0]) == list(histories[1]) == [4, 8, 12]
    for step, loss in histories[0].items():
        assert histories[1][step] == pytest.approx(loss, rel=1e-4)


def test_every_batch_is_damaged_anew_and_in_evaluation_always_alike(tmp_path, monkeypatch):
    forward, noises = UNet.forward, {True: [], False: []}

    def recording(self, x, target, *args, **kwargs):
        noises[self.training].append(x - target)
        return forward(self, x, target, *args, **kwargs)

    monkeypatch.setattr(UNet, "forward", recording)
    settings = {"widths": (8,), "latent_size": 4, "batch_size": 32, "precision": "no", "evaluate_examples": 32}
    experiment = Experiment.resolve("image", task="denoise", settings={**settings, "steps": 8, "evaluate_every": 4})
    experiment.run(tmp_path / "run", experiment.read())
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
    from musicae.domains import DOMAINS
    from musicae.models import MODELS

    checked = 0
    for domain in DOMAINS.values():
        for entry in MODELS.values():
            keys = [set(config.model_fields) for config in (domain.Config, entry.config, TrainConfig)]
            assert sum(map(len, keys)) == len(set.union(*keys)), (domain, entry)
            checked += 1
    assert checked == len(DOMAINS) * len(MODELS)


def test_a_denoiser_of_digits_gains_on_its_noisy_input(tmp_path):
    from musicae.evaluation.evaluate import evaluate

    settings = {"widths": (16, 32), "latent_size": 16, "steps": 300, "evaluate_every": 100, "batch_size": 64}
    experiment = Experiment.resolve("image", task="denoise", settings={**settings, "precision": "no"})
    dataset = experiment.read()
    trained = load(experiment.run(tmp_path / "run", dataset))
    clean = trained.domain.to_tensor(torch.from_numpy(dataset.examples[dataset.splits["test"]].copy()))
    noisy = trained.domain.corruption("denoise", split="test")(clean, torch.Generator().manual_seed(0))
    noisy_psnr_db = trained.domain.metrics(noisy, clean, noisy)["psnr_db"].mean()
    assert evaluate(trained, dataset)["psnr_db"] > noisy_psnr_db + 3
