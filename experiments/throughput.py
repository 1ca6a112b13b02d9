"""How many examples a second every default model learns from, and whether a change made that slower.

    python experiments/throughput.py                      every case, in this checkout
    python experiments/throughput.py conv steps           some of them
    python experiments/throughput.py --against FOLDER     and of another checkout, such as an earlier revision's

Each case trains with the default settings on random data of the right shape, which cost what real ones do. The time of
a step is taken in a callback, so it covers all that the loop does: drawing, augmentation, corruption, forward and
backward pass, and the update. Every measurement runs in a process of its own. With two checkouts the processes take
turns, so that a busy minute of the machine affects both; the best median of a few turns counts, since other programs
can only make a step slower.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
STEPS, WARM_UP, TURNS = 12, 3, 3
THREADS = (1, 2)


class Case(NamedTuple):
    """What is trained; the model is the default where none is named."""

    domain: str
    task: str
    model: str | None = None
    settings: Mapping[str, Any] = {}


CASES = {
    "conv": Case("image", "reconstruct"),
    "mlp": Case("image", "reconstruct", "mlp"),
    "unet of pictures": Case("image", "denoise"),
    "steps": Case("music", "reconstruct"),
    "musicvae": Case("music", "reconstruct", "musicvae"),
    "restorer": Case("music", "denoise"),
    "spectrogram": Case("audio", "reconstruct"),
    "unet of sound": Case("audio", "denoise"),
    "unet that extends sound": Case("audio", "upscale"),
    "causal": Case("audio", "denoise", "causal", {"n_fft": 512}),
}
"""Every task of every medium with its default model, and the models that are no default."""


class _DoneError(Exception):
    """Ends a run whose steps were timed: it is neither evaluated nor saved."""


def random_data(case: Case) -> Any:
    """An array as `musicae.train` takes it: 28×28 pictures, two-bar melodies, two seconds of sound."""
    import numpy as np

    generator = np.random.default_rng(0)
    if case.domain == "image":
        return generator.integers(0, 256, (1024, 28, 28), dtype=np.uint8)
    if case.domain == "music":
        return generator.integers(2, 90, (1024, 32), dtype=np.uint8)
    return 0.1 * generator.standard_normal((64, 32_000)).astype(np.float32)


def step_seconds(case: Case, steps: int = STEPS, **settings: Any) -> dict[str, Any]:
    """Trains for a few steps.

    Args:
        case: what to train.
        steps: timed ones; `WARM_UP` are done before.
        **settings: of the training, such as `precision`.

    Returns:
        `step_s`, the seconds of every timed step, `batch_size`, `precision` and `loss`, that of the last step.
    """
    from musicae.training.callbacks import Callback, RunStatus
    from musicae.training.experiment import Experiment

    moments: list[float] = []
    losses: list[float] = []

    class Stopwatch(Callback):
        def on_step(self, run: RunStatus) -> None:
            assert run.loss is not None
            losses.append(run.loss.total.item())  # waits for the device, too
            moments.append(time.perf_counter())
            if len(moments) == WARM_UP + steps:
                raise _DoneError

    data = random_data(case)
    given = {"steps": 100_000, "evaluate_every": 100_000, "log_with": (), **case.settings, **settings}
    experiment = Experiment.resolve(case.domain, data=data, task=case.task, model=case.model, settings=given)
    dataset = experiment.read()
    with tempfile.TemporaryDirectory() as folder:
        try:
            experiment.run(Path(folder) / "run", dataset, callbacks=[Stopwatch()])
        except _DoneError:
            pass
    durations = [later - earlier for earlier, later in zip(moments, moments[1:], strict=False)][WARM_UP - 1 :]
    batch = min(experiment.config.batch_size, len(dataset.splits["train"]))
    return {"step_s": durations, "batch_size": batch, "loss": losses[-1]}


def measure_apart(name: str, checkout: Path, threads: int, **settings: Any) -> dict[str, Any]:
    """`step_seconds` in a process of its own, with the package of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--one", name, "--settings", json.dumps(settings)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=checkout)
    if done.returncode:
        raise RuntimeError(f"{name} of {checkout} failed: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(
    names: Sequence[str], checkouts: Sequence[Path], threads: int, turns: int = TURNS
) -> dict[str, list[float]]:
    """Examples a second of each case, one number for each checkout."""
    table = {}
    for name in names:
        best = [float("inf")] * len(checkouts)
        batch = 0
        for _ in range(turns):
            for number, checkout in enumerate(checkouts):
                found = measure_apart(name, checkout, threads)
                best[number] = min(best[number], statistics.median(found["step_s"]))
                batch = found["batch_size"]
        table[name] = [batch / seconds for seconds in best]
        shown = "  ".join(f"{rate:10.1f}" for rate in table[name])
        ratio = f"  ×{table[name][0] / table[name][1]:.3f}" if len(checkouts) > 1 else ""
        print(f"{name:24} {threads} thread{'s' * (threads > 1)}  {shown} examples/s{ratio}", flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CASES)}; all of them if none are given")
    parser.add_argument("--against", type=Path, help="another checkout; this one is shown first, then the other")
    parser.add_argument("--threads", type=int, nargs="*", default=list(THREADS))
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--settings", default="{}", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(step_seconds(CASES[given.one], **json.loads(given.settings))))
        return
    unknown = [name for name in given.names if name not in CASES]
    if unknown:
        parser.error(f"no case is called {unknown[0]!r}; choose of {', '.join(CASES)}")
    checkouts = [ROOT] if given.against is None else [ROOT, given.against.resolve()]
    for threads in given.threads:
        compare(given.names or list(CASES), checkouts, threads, given.turns)


if __name__ == "__main__":
    main()
