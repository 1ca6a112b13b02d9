"""The benchmark of a GPU, on the CPU; and the comparison of two checkouts' throughput."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture
def device(script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("MUSICAE_DEVICE", "cpu")  # which the script sets, and is taken back after the test
    return script("device")


def test_one_json_has_parity_ceilings_and_throughput(device: ModuleType, tmp_path: Path) -> None:
    target = tmp_path / "gpu.json"
    device.main(["mlp", "--device", "cpu", "--steps", "1", "--side", "64", "--no-compile", "--out", str(target)])
    table = json.loads(target.read_text())
    row = table["cases"]["mlp"]
    assert set(table["ceilings"]) == {"float32_tflops", "bfloat16_tflops", "copy_gb_per_s"}
    assert row["parity"] == {"loss": 0.0, "gradients": 0.0}
    assert row["training"]["examples_per_s"] == pytest.approx(row["training"]["batch_size"] / row["training"]["step_s"])
    # Two operations a weight and example in the forward pass, and twice as many in the backward pass.
    expected = 6 * row["training"]["weights"] * row["training"]["batch_size"] / row["training"]["step_s"] / 1e12
    assert row["training"]["tflops"] == pytest.approx(expected, rel=0.1)
    assert row["training"]["weights_share_of_step"] > 0


def test_without_a_gpu_it_says_so(
    device: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    device.main(["--out", str(tmp_path / "gpu.json")])
    assert "no GPU" in capsys.readouterr().out
    assert not (tmp_path / "gpu.json").exists()


def test_every_default_model_is_measured(script: Callable[[str], ModuleType]) -> None:
    from musicae.domains import DOMAINS, domain_class
    from musicae.models import MODELS

    cases = script("throughput").CASES.values()
    tasks = {
        (name, task) for name in DOMAINS for task in domain_class(name).tasks if (name, task) != ("image", "upscale")
    }
    assert {(case.domain, case.task) for case in cases if case.model is None} >= tasks - {
        ("music", "upscale"),
        ("music", "tap"),
    }
    assert {case.model for case in cases} - {None} == {"mlp", "musicvae", "causal"} < set(MODELS)


@pytest.mark.soak
def test_contenders_take_turns(script: Callable[[str], ModuleType]) -> None:
    throughput = script("throughput")
    pair = [throughput.Contender(throughput.ROOT, {"precision": "no", "batch_size": size}) for size in (8, 16)]
    small, large = throughput.measure("mlp", pair, threads=1, steps=2)
    assert (small["batch"], large["batch"]) == (8, 16)
    assert len(small["step_s"]) == len(large["processor_s"]) == 2
