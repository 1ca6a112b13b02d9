"""What a GPU gives: parity with the CPU, throughput beside the card's own ceilings, compiled networks, memory.

    make gpu                                              the tests marked gpu, then this on the GPU that torch sees
    python experiments/device.py --out build/gpu.json     this alone
    python experiments/device.py --device cpu --steps 2   on the CPU, to see that the script itself works

One JSON is written. `ceilings` are what the device reaches in a large matrix product and a large copy. Of each case of
`throughput.py`, `parity` says how far loss and gradients are from the CPU's, with the same weights and batch, in
float32; `training` how many examples a second are learned from, how many of the operations that the matrix product
reaches that is, the least time that reading and writing weights takes of a step, and the peak memory; `compiled` the
same with compiled networks.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from throughput import CASES, WARM_UP, Case, random_data
from torch.utils.flop_counter import FlopCounterMode

from musicae.errors import MusicaeError
from musicae.models import build_model, model_classes
from musicae.precision import best_device, resolve_precision
from musicae.training.experiment import Experiment
from musicae.training.loop import TrainingRun
from musicae.training.run_log import RunLog

ROOT = Path(__file__).resolve().parent.parent
STEPS = 20
# Bytes that an update moves a weight: AdamW reads weight, gradient and two moments and writes three of them, the
# average is read and written with the weight, the gradient is written, and forward and backward pass read the weight.
_BYTES_A_WEIGHT = 4 * (4 + 3 + 3 + 1 + 2)
_WITHOUT_DRAWS = {
    "latent": "deterministic",
    "replaced": 0.0,
    "dropout": 0.0,
    "moments_dropped": 0.0,
    "sampling_rate": 0.0,
}


def seconds_of(function: Callable[[], Any], device: torch.device, times: int) -> float:
    """The median time of a call, the device's work included."""
    durations = []
    for _ in range(times + 1):
        started = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        durations.append(time.perf_counter() - started)
    return statistics.median(durations[1:])


def ceilings(device: torch.device, side: int) -> dict[str, float]:
    """What the device reaches: TFLOP/s in matrix products of `side`, GB/s in a copy of a hundred of its rows."""
    found = {}
    for name, dtype, precision in (
        ("float32", torch.float32, "ieee"), ("tf32", torch.float32, "tf32"), ("bfloat16", torch.bfloat16, "ieee"),
    ):  # fmt: skip
        if name == "tf32" and device.type != "cuda":
            continue
        before = torch.backends.cuda.matmul.fp32_precision
        torch.backends.cuda.matmul.fp32_precision = precision
        try:
            matrix = torch.randn(side, side, device=device).to(dtype)
            found[f"{name}_tflops"] = 2 * side**3 / seconds_of(lambda m=matrix: m @ m, device, 5) / 1e12
        finally:
            torch.backends.cuda.matmul.fp32_precision = before
    block = torch.zeros(side * side * 16, dtype=torch.uint8, device=device)
    target = torch.empty_like(block)
    found["copy_gb_per_s"] = 2 * block.numel() / seconds_of(lambda: target.copy_(block), device, 5) / 1e9
    return found


def experiment_of(case: Case, **settings: Any) -> Experiment:
    """The case's training, with its default settings but those given."""
    given = {"steps": 100_000, "evaluate_every": 100_000, "log_with": (), **case.settings, **settings}
    return Experiment.resolve(case.domain, data=random_data(case), task=case.task, model=case.model, settings=given)


def parity(case: Case, device: torch.device, examples: int = 4) -> dict[str, float]:
    """Relative differences of the device's loss and gradients from the CPU's, without any draw, in float32."""
    experiment = experiment_of(case, precision="no")
    _, config = model_classes(experiment.model)
    chosen = {key: value for key, value in _WITHOUT_DRAWS.items() if key in config.model_fields}
    settings = {**experiment.manifest.model_settings, **chosen}
    settings |= {"prior": "standard"} if "prior" in settings else {}
    dataset = experiment.read()
    stored = torch.from_numpy(dataset.examples[dataset.splits["train"][:examples]])
    clean, condition = experiment.domain.tensor(stored)
    corruption = experiment.domain.corruption(case.task)
    corrupted = clean if corruption is None else corruption(clean, torch.Generator().manual_seed(0))
    found = []
    for place in (torch.device("cpu"), device):
        torch.manual_seed(0)
        model = build_model(experiment.model, experiment.domain.spec, settings).to(place).train()
        own = None if condition is None else condition.to(place)
        loss = model(corrupted.to(place), clean.to(place), condition=own).total
        loss.backward()
        gradients = [weight.grad.flatten().cpu() for weight in model.parameters() if weight.grad is not None]
        found.append((loss.item(), torch.cat(gradients)))
    (loss, gradient), (own_loss, own_gradient) = found
    return {
        "loss": abs(own_loss - loss) / abs(loss),
        "gradients": float((own_gradient - gradient).norm() / gradient.norm()),
    }


def training(
    case: Case, device: torch.device, ceiling: dict[str, float], steps: int, **settings: Any
) -> dict[str, Any]:
    """Throughput, its share of the ceilings, and peak memory of a training."""
    experiment = experiment_of(case, **settings)
    dataset = experiment.read()
    torch.manual_seed(0)
    network = build_model(experiment.model, experiment.domain.spec, experiment.manifest.model_settings)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with tempfile.TemporaryDirectory() as folder:
        run = TrainingRun(
            experiment.domain, network, dataset, experiment.config, experiment.manifest, Path(folder) / "run"
        )
        if run.device.type != device.type:
            raise RuntimeError(f"trains on {run.device}, not on {device}; set MUSICAE_DEVICE={device.type}")
        with RunLog(run.folder, visible=False, track=lambda numbers, step: None) as log:
            started = time.perf_counter()
            for _ in range(WARM_UP):
                run.update(log)
            warm_up_s = time.perf_counter() - started
            step_s = seconds_of(lambda: run.update(log), device, steps)
            # A compiled network shows the counter nothing.
            counter = None if settings.get("compile") else FlopCounterMode(display=False)
            with counter or contextlib.nullcontext():
                run.update(log)
    weights = sum(weight.numel() for weight in network.parameters())
    found: dict[str, Any] = {
        "examples_per_s": run.batch_size / step_s,
        "step_s": step_s,
        "warm_up_s": warm_up_s,
        "batch_size": run.batch_size,
        "precision": run.precision,
        "weights": weights,
        "weights_share_of_step": weights * _BYTES_A_WEIGHT / (ceiling["copy_gb_per_s"] * 1e9) / step_s,
    }
    if counter is not None:
        found["tflops"] = counter.get_total_flops() / step_s / 1e12
        found["share_of_matrix_ceiling"] = found["tflops"] / max(
            ceiling[f"{name}_tflops"] for name in ("bfloat16", "float32")
        )
    if device.type == "cuda":
        found["peak_memory_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return found


def measure(
    device: torch.device, names: Sequence[str], steps: int, side: int, *, compiles: bool = True
) -> dict[str, Any]:
    """All of it, for the cases named."""
    os.environ["MUSICAE_DEVICE"] = device.type
    best_device.cache_clear()
    ceiling = ceilings(device, side)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    table: dict[str, Any] = {
        "device": card or f"{device.type} of {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "precision": resolve_precision("auto"),
        "ceilings": ceiling,
        "cases": {},
    }
    for name in names:
        case = CASES[name]
        row = table["cases"][name] = {
            "parity": parity(case, device),
            "training": training(case, device, ceiling, steps),
        }
        print(f"{name}: {row['training']['examples_per_s']:.1f} examples/s", file=sys.stderr, flush=True)
        if not compiles:
            continue
        try:
            row["compiled"] = training(case, device, ceiling, steps, compile=True)
            row["compiled"]["gain"] = row["compiled"]["examples_per_s"] / row["training"]["examples_per_s"]
        except (MusicaeError, RuntimeError) as error:  # of which torch's compiler has many kinds
            row["compiled"] = {"error": " ".join(str(error).split())[:300]}
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CASES)}; all of them if none are given")
    parser.add_argument("--device", help="cpu or cuda; by default the GPU")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--side", type=int, help="of the matrices that are multiplied to find the ceiling")
    parser.add_argument("--no-compile", action="store_true", help="leave out compiled networks, which take minutes")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu.json")
    given = parser.parse_args(arguments)
    if given.device is None and not torch.cuda.is_available():
        print("torch sees no GPU here, so nothing is measured; try the script itself with --device cpu.")
        return
    device = torch.device(given.device or "cuda")
    side = given.side or (8192 if device.type == "cuda" else 1024)
    table = measure(device, given.names or list(CASES), given.steps, side, compiles=not given.no_compile)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    print(given.out)


if __name__ == "__main__":
    main()
