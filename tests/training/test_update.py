"""Micro-batches, batches that don't fit into the memory, divergence, compiled networks and the state of float16."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from tile_domain import TileDomain, tiles

from musicae.domains import DOMAINS
from musicae.errors import MusicaeError
from musicae.models import build_model
from musicae.models.autoencoder import Loss
from musicae.models.conv import ConvAutoencoder
from musicae.training.checkpoint import read_manifest
from musicae.training.compiled import compile_networks
from musicae.training.experiment import Experiment
from musicae.training.loop import TrainingRun
from musicae.training.run_log import RunLog
from musicae.training.trouble import divergence, halved, is_out_of_memory, until_it_fits

TINY = {"widths": (8, 8), "latent_size": 4, "batch_size": 32, "warmup_steps": 5, "precision": "no", "log_with": ()}
TILES = tiles(240)
MELODIES = {"time_signature": "4/4", "width": 32, "step_width": 16, "latent_size": 6, "dropout": 0.2, "warmup_steps": 1}


@pytest.fixture(autouse=True)
def _tile_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOMAINS, "tile", lambda: TileDomain)


def train(folder: Path, model: type[ConvAutoencoder] | None = None, **settings) -> Path:
    run = Experiment.resolve("tile", data=TILES, model=model, settings={**TINY, **settings})
    return run.run(folder, run.read())


def losses(folder: Path, name: str = "validation/loss") -> dict[int, float]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


def started(folder: Path, domain: str = "tile", data: np.ndarray = TILES, **settings) -> TrainingRun:
    """A run before its first step."""
    resolved = Experiment.resolve(domain, data=data, settings={**(TINY if domain == "tile" else {}), **settings})
    torch.manual_seed(0)
    model = build_model(resolved.model, resolved.domain.spec, resolved.manifest.model_settings)
    return TrainingRun(resolved.domain, model, resolved.read(), resolved.config, resolved.manifest, folder)


def updated(run: TrainingRun, steps: int) -> dict[str, torch.Tensor]:
    """The weights after some updates."""
    with RunLog(run.folder, visible=False, track=lambda numbers, step: None) as log:
        for _ in range(steps):
            run.update(log)
    return dict(run.model.state_dict())


# Micro-batches


@pytest.mark.parametrize("size", [1, 5, 16, 31])
def test_micro_batches_update_the_weights_as_the_whole_batch_does(tmp_path, size):
    whole = updated(started(tmp_path / "whole"), 4)
    parts = updated(started(tmp_path / "parts", micro_batch=size), 4)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-5, atol=1e-5, msg=name)


def test_micro_batches_make_the_draws_of_the_whole_batch(tmp_path):
    melodies = np.random.default_rng(0).integers(2, 90, (40, 32), dtype=np.uint8)
    settings = {**MELODIES, "batch_size": 24, "precision": "no", "log_with": ()}
    whole = updated(started(tmp_path / "whole", "music", melodies, **settings), 3)  # dropout, word dropout and z
    parts = updated(started(tmp_path / "parts", "music", melodies, **settings, micro_batch=7), 3)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-4, msg=name)  # a step moves them by 1e-3


def test_a_model_that_counts_its_steps_counts_no_micro_batches(tmp_path):
    melodies = np.random.default_rng(0).integers(2, 90, (40, 32), dtype=np.uint8)
    resolved = Experiment.resolve(
        "music", data=melodies, model="musicvae",
        settings={"encoder_width": 8, "decoder_width": 8, "batch_size": 8, "micro_batch": 2, "log_with": ()}
        | {"time_signature": "4/4"},
    )  # fmt: skip
    model = build_model("musicvae", resolved.domain.spec, resolved.manifest.model_settings)
    run = TrainingRun(resolved.domain, model, resolved.read(), resolved.config, resolved.manifest, tmp_path)
    assert updated(run, 3)["updates"] == 3


# Memory


class Large(ConvAutoencoder):
    """Takes at most 9 examples at once: more don't fit into the memory."""

    most = 9
    error: BaseException = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    def forward(self, x: torch.Tensor, target: torch.Tensor | None = None, **options) -> Loss:
        if len(x) > self.most:
            raise self.error
        return super().forward(x, target, **options)


class Huge(Large):
    """Doesn't take a single example."""

    most = 0


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_says_so(tmp_path, capsys):
    train(tmp_path / "whole", steps=10, evaluate_every=5)
    capsys.readouterr()
    train(tmp_path / "halved", Large, steps=10, evaluate_every=5)
    said = capsys.readouterr().err
    assert re.findall(r"out of memory: .* parts of (\d+) examples", said) == ["16", "8", "6"]
    assert losses(tmp_path / "halved") == pytest.approx(losses(tmp_path / "whole"), rel=1e-4)


def test_a_step_that_never_fits_names_what_to_lower(tmp_path):
    with pytest.raises(MusicaeError, match=r"doesn't fit into the memory.*--batch-size \(now 32\)"):
        train(tmp_path / "run", Huge, steps=10)


def test_another_error_of_a_step_is_not_taken_for_a_lack_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(Large, "error", RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        train(tmp_path / "run", Large, steps=10)


def test_a_lack_of_memory_is_known_by_what_torch_and_numpy_raise():
    for allocate in (lambda: torch.empty(2**52), lambda: np.empty(2**55)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shape '[2]' is invalid")) and not is_out_of_memory(OSError("no space"))


def test_what_an_attempt_held_is_free_before_the_next_one():
    alive, sizes = [], iter((100, 50))

    class Held:
        def __del__(self) -> None:
            alive.remove(self.number)

        def __init__(self, number: int) -> None:
            self.number = number
            alive.append(number)

    def attempt() -> list[int]:
        held = Held(next(sizes))
        if held.number > 60:
            raise MemoryError
        return list(alive)

    assert until_it_fits(attempt, lambda: None) == [50]


def test_halves_end_at_one():
    assert [halved(size) for size in (9, 2, 1)] == [5, 1, 0]


# Divergence


def test_a_loss_that_runs_away_is_remarked(tmp_path, capsys):
    train(tmp_path / "good", steps=40, evaluate_every=10)
    assert "diverged" not in capsys.readouterr().err
    train(tmp_path / "bad", steps=40, evaluate_every=10, learning_rate=300.0, gradient_clip=1e9, ema_decay=0.0)
    said = capsys.readouterr().err
    assert "the loss has diverged" in said or "not finite" in said
    assert "lower --learning-rate" in said


@pytest.mark.parametrize(
    ("loss", "first", "best", "is_absurd"),
    [
        (1e9, math.inf, math.inf, True),
        (600.0, math.inf, math.inf, False),
        (700.0, 600.0, 500.0, False),
        (7000.0, 600.0, 500.0, True),
        (-100.0, -50.0, -2000.0, False),
        (30_000.0, -50.0, -2000.0, True),
        (math.nan, 600.0, 500.0, True),
    ],
)
def test_an_absurd_loss_is_known_by_the_first_and_the_best(loss, first, best, is_absurd):
    assert (divergence(loss, first, best, numbers=64) is not None) == is_absurd


# Compiled networks


@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of itself
@pytest.mark.parametrize(
    ("name", "settings", "count"), [("conv", {"widths": (4, 8)}, 2), ("mlp", {"width": 8}, 2), ("unet", {}, 2)]
)
def test_networks_are_compiled_and_keep_the_names_of_their_weights(name, settings, count):
    torch.manual_seed(0)
    model = build_model(name, TileDomain(TileDomain.Config()).spec, settings)
    batch, names = torch.rand(2, 1, 8, 8), list(model.state_dict())
    before = model(batch, generator=torch.Generator().manual_seed(0)).total
    assert compile_networks(model, torch.device("cpu"), backend="eager") == count
    assert list(model.state_dict()) == names
    torch.testing.assert_close(model(batch, generator=torch.Generator().manual_seed(0)).total, before)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")  # torch's compiler warns of itself
def test_compiled_networks_learn_what_the_others_do(tmp_path):
    plain = updated(started(tmp_path / "plain"), 3)
    compiled = updated(started(tmp_path / "compiled", compile=True), 3)
    assert list(plain) == list(compiled)
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_without_a_compiler_compile_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (str(tmp_path / "no-compiler"),))
    torch._dynamo.reset()
    with pytest.raises(MusicaeError, match="compile=true can't be used here"):
        started(tmp_path / "run", compile=True)


# Float16


def scaled(run: TrainingRun, **options) -> TrainingRun:
    """The run as it is in float16, which Accelerate has only for a GPU."""
    run.accelerator.scaler = torch.amp.GradScaler("cpu", **options)
    run.optimizer = AcceleratedOptimizer(run.optimizer.optimizer, scaler=run.accelerator.scaler)
    return run


def test_the_scale_of_float16_is_resumed_exactly(tmp_path):
    run = scaled(started(tmp_path), init_scale=2.0**10, growth_interval=3)
    updated(run, 4)
    assert run.accelerator.scaler.get_scale() == 2.0**11
    run.save()
    again = scaled(started(tmp_path))
    again.restore()
    assert again.accelerator.scaler.state_dict() == run.accelerator.scaler.state_dict()
    one, other = updated(run, 3), updated(again, 3)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert again.accelerator.scaler.get_scale() == 2.0**12


def test_a_resumed_run_goes_on_with_the_micro_batches_that_fitted(tmp_path):
    run = started(tmp_path)
    run.micro_batch = 4
    run.save()
    again = started(tmp_path)
    again.restore()
    assert again.micro_batch == 4
    assert read_manifest(tmp_path / "checkpoints" / "step-000000").training["micro_batch"] is None
