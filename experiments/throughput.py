"""How many examples a second every default model learns from, and whether a change made that slower.

    python experiments/throughput.py                      every case, in this checkout
    python experiments/throughput.py conv steps           some of them
    python experiments/throughput.py --against FOLDER     and of another checkout, such as an earlier revision's
    python experiments/throughput.py --compile            with compiled networks, and without

Each case trains with the default settings on random data of the right shape, which cost what real ones do. The time of
a step is taken in a callback, so it covers all that the loop does: drawing, augmentation, corruption, forward and
backward pass, and the update. Every contender trains in a process of its own, and they take turns step by step, so that
a busy second of the machine affects all. Times are those of the fastest step, since other programs can only make a step
slower, and of the median step, by the clock and by the processor's time, which a busy machine lengthens less.
"""

import argparse
import contextlib
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
STEPS, WARM_UP = 12, 3
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


def train_in_turns(case: Case, settings: Mapping[str, Any]) -> None:
    """Trains; after each step writes its seconds and waits for a line on standard input, until that is closed.

    Args:
        case: what to train.
        settings: of the training, such as `precision`.
    """
    from musicae.training.callbacks import Callback, RunStatus
    from musicae.training.experiment import Experiment

    class InTurns(Callback):
        def __init__(self) -> None:
            self.started = (time.perf_counter(), time.process_time())

        def on_step(self, run: RunStatus) -> None:
            assert run.loss is not None
            loss = run.loss.total.item()  # waits for the device, too
            now = (time.perf_counter(), time.process_time())
            seconds = [end - start for start, end in zip(self.started, now, strict=True)]
            print(json.dumps({"seconds": seconds, "batch": batch, "loss": loss}), flush=True)
            if not sys.stdin.readline():
                raise _DoneError
            self.started = (time.perf_counter(), time.process_time())

    given = {"steps": 100_000, "evaluate_every": 100_000, "log_with": (), **case.settings, **settings}
    experiment = Experiment.resolve(
        case.domain, data=random_data(case), task=case.task, model=case.model, settings=given
    )
    dataset = experiment.read()
    batch = min(experiment.config.batch_size, len(dataset.splits["train"]))
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_DoneError):
        experiment.run(Path(folder) / "run", dataset, callbacks=[InTurns()])


class Contender(NamedTuple):
    """A checkout, and the settings of the training."""

    checkout: Path
    settings: Mapping[str, Any] = {}

    def start(self, name: str, threads: int) -> "subprocess.Popen[str]":
        """A process that trains a case in turns."""
        environment = {**os.environ, "PYTHONPATH": str(self.checkout), "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, __file__, "--one", name, "--settings", json.dumps(self.settings)]
        return subprocess.Popen(
            command, env=environment, cwd=self.checkout, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def measure(name: str, contenders: Sequence[Contender], threads: int, steps: int = STEPS) -> list[dict[str, Any]]:
    """Trains a case with each contender, in turns.

    Returns:
        For each contender `step_s` and `processor_s`, the seconds of every step after the first few, the `batch` and
        the last `loss`.
    """
    results: list[dict[str, Any]] = [{"step_s": [], "processor_s": []} for _ in contenders]
    running = [contender.start(name, threads) for contender in contenders]
    try:
        for step in range(WARM_UP + steps):
            for process, result in zip(running, results, strict=True):
                assert process.stdin is not None and process.stdout is not None
                if step:
                    process.stdin.write("next\n")
                    process.stdin.flush()
                if not (line := process.stdout.readline()):
                    raise RuntimeError(f"{name} failed after {step} steps: {' '.join(map(str, process.args))}")
                found = json.loads(line)
                if step >= WARM_UP:
                    for clock, seconds in zip(("step_s", "processor_s"), found.pop("seconds"), strict=True):
                        result[clock].append(seconds)
                result |= {"batch": found["batch"], "loss": found["loss"]}
    finally:
        for process in running:
            process.communicate()
    return results


def compare(names: Sequence[str], contenders: Sequence[Contender], threads: int, steps: int) -> None:
    """Prints examples a second of each case for each contender, and the first's share of the last's."""
    for name in names:
        results, shown = measure(name, contenders, threads, steps), []
        for clock, said in (("step_s", "clock"), ("processor_s", "processor")):
            for how, of in (("fastest", min), ("median", statistics.median)):
                rates = [result["batch"] / of(result[clock]) for result in results]
                ratio = f" (×{rates[0] / rates[-1]:.3f})" if len(rates) > 1 else ""
                shown.append(f"{said}, {how} {' '.join(f'{rate:.1f}' for rate in rates)}{ratio}")
        print(f"{name}, {threads} thread{'s' * (threads > 1)}: {'; '.join(shown)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CASES)}; all of them if none are given")
    parser.add_argument("--against", type=Path, help="another checkout; this one is shown first, then the other")
    parser.add_argument("--compile", action="store_true", help="compiled networks first, then those that are not")
    parser.add_argument("--threads", type=int, nargs="*", default=list(THREADS))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--settings", default="{}", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        train_in_turns(CASES[given.one], json.loads(given.settings))
        return
    unknown = [name for name in given.names if name not in CASES]
    if unknown:
        parser.error(f"no case is called {unknown[0]!r}; choose of {', '.join(CASES)}")
    from musicae.precision import resolve_precision

    precision = resolve_precision("auto")  # once, since a busy machine may measure otherwise the next time
    settings = {"precision": precision}
    contenders = [Contender(ROOT, settings)]
    if given.compile:
        contenders.insert(0, Contender(ROOT, {**settings, "compile": True}))
    elif given.against is not None:
        contenders.append(Contender(given.against.resolve(), settings))
    print(f"examples a second, precision {precision}")
    for threads in given.threads:
        compare(given.names or list(CASES), contenders, threads, given.steps)


if __name__ == "__main__":
    main()
