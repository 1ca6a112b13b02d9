"""What a training step costs with data of several times the memory, beside one with data in memory.

    python experiments/beyond_memory.py                            4 GB of data and a limit of 1 GB, every case
    python experiments/beyond_memory.py conv --limit-gb 2 --times 4
    python experiments/beyond_memory.py --without-prefetch         read when the step asks, to see what that costs

A store of random examples is written, and dropped from the page cache. A process of its own then trains with the
default model. Its memory is limited by a control group (version 1 or 2), which counts the pages of files that it reads
as well, so no more than the limit can be cached; this needs the right to make control groups, as root has. Two runs
take turns in that process, a few steps each: one draws from all of the store, the other from a part of it that it holds
in memory. Both compute the same step, so the ratio of their medians is what reading costs. On a busy machine it varies;
`wait_ms` varies less: how long a step of either waited for its batch.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

GROUPS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))
LIMITS = ("memory.limit_in_bytes", "memory.max")
PEAKS = ("memory.max_usage_in_bytes", "memory.peak")
ROUNDS, STEPS = 6, 5
RESIDENT_BYTES = 64 * 10**6


class Case:
    """Random data of the right shape: domain, task, settings, and the shape and dtype of a raw example."""

    def __init__(self, domain: str, task: str, settings: dict[str, Any], shape: tuple[int, ...], dtype: str) -> None:
        self.domain, self.task, self.settings, self.shape, self.dtype = domain, task, settings, shape, dtype

    def rows(self, count: int, seed: int) -> np.ndarray:
        """`(count, ...)` as `Domain.array_examples` takes it."""
        generator = np.random.default_rng(seed)
        if self.dtype == "uint8":
            return generator.integers(0, 256, (count, *self.shape), dtype=np.uint8)
        return (0.1 * generator.standard_normal((count, *self.shape), dtype=np.float32)).clip(-1, 1)


CASES = {
    "conv": Case("image", "reconstruct", {"size": 32, "channels": 3}, (32, 32, 3), "uint8"),
    "unet of sound": Case("audio", "denoise", {}, (32_000,), "float32"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CASES)}; all of them if none are given")
    parser.add_argument("--limit-gb", type=float, default=1.0, help="memory of the training process")
    parser.add_argument("--times", type=float, default=4.0, help="size of the data, in limits")
    parser.add_argument("--without-prefetch", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the data are written; a disk and not a tmpfs")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(CASES[given.one], given.folder, prefetch=not given.without_prefetch)))
        return
    for name in given.names or CASES:
        found = measure_limited(name, given.limit_gb, given.times, given.without_prefetch, given.folder)
        print(f"{name:14}", "  ".join(f"{key} {value}" for key, value in found.items()), flush=True)


def measure_limited(
    name: str, limit_gb: float, times: float, without_prefetch: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Writes the data and measures in a limited process; seconds are medians."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="beyond-memory-") as place:
        store = write_store(CASES[name], Path(place), int(times * limit_gb * 1e9))
        with limited(int(limit_gb * 1e9)) as group:
            command = [sys.executable, __file__, "--one", name, "--folder", str(store)]
            command += ["--without-prefetch"] * without_prefetch
            # The shell joins the group and becomes the process, so that all of its memory is counted.
            joined = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh", *command]
            run = subprocess.run(joined, capture_output=True, text=True, check=False)
            if run.returncode:
                raise RuntimeError(f"{name} failed (137: the limit was too low): {run.returncode} {run.stderr[-3000:]}")
            found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
            for peak in PEAKS:
                with suppress(OSError):
                    found["peak_gb"] = round(int((group / peak).read_text(encoding="utf-8")) / 1e9, 2)
    return {"data_gb": round(times * limit_gb, 1), "limit_gb": limit_gb, **found}


@contextmanager
def limited(limit_bytes: int) -> Iterator[Path]:
    """A control group whose processes together may use so much memory, pages of files included."""
    for above, limit in zip(GROUPS, LIMITS, strict=True):
        group = above / f"musicae-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(limit_bytes), encoding="utf-8")
        except OSError:
            with suppress(OSError):
                group.rmdir()
            continue
        try:
            yield group
        finally:
            group.rmdir()
        return
    raise RuntimeError("no control group can be made here, so memory can't be limited; run this as root")


def write_store(case: Case, folder: Path, size_bytes: int) -> Path:
    """Writes a store of at least `size_bytes` of examples, and drops it from the page cache."""
    from musicae.data.reading import Block
    from musicae.data.store import StoreWriter, publish
    from musicae.domains import domain_class

    domain_type = domain_class(case.domain)
    domain = domain_type(domain_type.Config(**case.settings))
    written, at_once, item = folder / "writing", 256, 0
    written.mkdir()
    with StoreWriter(written, journal_s=1e9) as writer:
        while writer.nbytes < size_bytes:
            examples = domain.array_examples(case.rows(at_once, item))
            at_once = max(1, 64_000_000 // examples[0].nbytes)  # about as much as makes a hundred items
            names, numbers = [str(item)], np.array([item], np.uint64)
            identity = np.arange(len(examples), dtype=np.uint64)
            owner, file = np.zeros(len(examples), np.int64), np.zeros(1, np.int64)
            writer.write(Block(1, examples, identity, owner, names, numbers, file))
            item += 1
        writer.finish()
    store = folder / "store"
    publish(written, store)
    for path in store.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    return store


def measure(case: Case, store: Path, *, prefetch: bool) -> dict[str, Any]:
    """Steps on all of the store, and on a part held in memory, by turns."""
    from musicae.data.dataset import split_dataset
    from musicae.data.store import open_store
    from musicae.data.table import ExampleTable
    from musicae.domains import domain_class
    from musicae.models import build_model
    from musicae.training.experiment import Experiment
    from musicae.training.loop import TrainingRun
    from musicae.training.run_log import RunLog

    started = time.perf_counter()
    stored = open_store(store)
    opened_s = time.perf_counter() - started
    whole = split_dataset(stored, "beyond-memory")
    per_example = whole.examples.nbytes // len(whole.examples)
    train = whole.splits["train"]
    part = replace(whole, splits={**whole.splits, "train": train[: RESIDENT_BYTES // per_example]})
    if not prefetch:
        ExampleTable.prefetch = lambda self, rows: None  # type: ignore[method-assign]
    domain_type = domain_class(case.domain)
    domain = domain_type(domain_type.Config(**case.settings))
    few = case.rows(64, 0)
    settings = {**case.settings, "steps": 100_000, "log_with": (), "evaluate_examples": 8}
    experiment = Experiment.resolve(case.domain, data=few, task=case.task, settings=settings)
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for dataset, resident_gb in ((whole, 0.0), (part, 1.0)):
            config = experiment.config.model_copy(update={"resident_gb": resident_gb})
            model = build_model(experiment.model, domain.spec, experiment.manifest.model_settings)
            runs.append(TrainingRun(domain, model, dataset, config, experiment.manifest, Path(folder)))
        seconds: tuple[list[float], list[float]] = ([], [])
        waited: tuple[list[float], list[float]] = ([], [])
        for run, kept in zip(runs, waited, strict=True):
            run.train_table.batch = timed(run.train_table.batch, kept)  # type: ignore[method-assign]
        with RunLog(Path(folder), visible=False, track=lambda numbers, step: None) as log:
            for number in range(1 + ROUNDS):
                for run, kept in zip(runs, seconds, strict=True):
                    for step in range(STEPS):
                        started = time.perf_counter()
                        run.update(log)
                        # The first step of a turn waits for what was prefetched a turn ago, or isn't cached any more.
                        if number > 0 and step > 0:
                            kept.append(time.perf_counter() - started)
    streamed, resident = (statistics.median(kept) for kept in seconds)
    ratios = [a / b for a, b in zip(*seconds, strict=True)]
    return {
        "examples": len(whole.examples),
        "batch": runs[0].batch_size,
        "opened_s": round(opened_s, 2),
        "streamed_ms": round(1000 * streamed, 1),
        "resident_ms": round(1000 * resident, 1),
        "ratio": round(streamed / resident, 3),
        "median_ratio": round(statistics.median(ratios), 3),
        "wait_ms": [round(1000 * statistics.mean(kept), 2) for kept in waited],
    }


def timed(function: Callable[[Any], Any], kept: list[float]) -> Callable[[Any], Any]:
    """The function, with the seconds of each call kept."""

    def act(rows: Any) -> Any:
        started = time.perf_counter()
        answer = function(rows)
        kept.append(time.perf_counter() - started)
        return answer

    return act


if __name__ == "__main__":
    main()
