"""What a step of training costs, and how that grows with batch, width, window length and data.

    python experiments/scale.py                 measures everything, and writes the results: minutes on an idle core
    python experiments/scale.py music image     only these media, printed and not written
    python experiments/scale.py --report        the plot and the page again, from the stored results

The default model of each medium learns from random data of the right shape. One thing at a time is made larger: the
batch, the widths of the network, the length of a window, the number of examples, and the number of files they are read
from. For each the exponent is fitted: the slope of the logarithm of the cost over the logarithm of the size, by least
squares. 1 is linear, 0 is no growth; a fixed part makes an exponent smaller. Nothing may grow faster than `LARGEST`.

Every measurement is a process of its own, forked from one that has imported everything, with one thread. Time is the
processor's, of the fastest of a few steps, so that other programs disturb it little. Memory is the peak of the process
above that of the imports. Writes `results/scale.json`, `docs/scale.md` and `docs/media/scale.png`. Linux only.
"""

import argparse
import contextlib
import importlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "experiments" / "results" / "scale.json"
PAGE, PLOT = ROOT / "docs" / "scale.md", ROOT / "docs" / "media" / "scale.png"
STEPS, WARM_UP = 4, 2
RATE_HZ, CHUNK_S, STEPS_PER_BAR, SIDE = 16_000, 2.0, 16, 28

LARGEST = {"batch": 1.0, "width": 2.0, "window": 1.0, "examples": 1.0, "files": 1.0}
"""Exponents that time and memory may have: a network's products grow with the square of its width."""
STEP_OF_EXAMPLES = 0.0
"""Exponent of a step's time over the number of examples."""
TOLERANCE = 0.15


class Sizes(NamedTuple):
    """What is measured for a medium: the sizes of each axis, and the examples that the first three take."""

    batch: Sequence[int]
    width: Sequence[float]
    window: Sequence[float]
    examples: Sequence[int]
    files: Sequence[int]
    usual_batch: int
    usual_window: float


MEDIA = {
    "image": Sizes(
        batch=(16, 32, 64, 128), width=(0.5, 1, 1.5, 2), window=(16, 32, 64, 128),
        examples=(4_000, 16_000, 64_000, 256_000), files=(500, 1_000, 2_000, 4_000), usual_batch=32, usual_window=SIDE,
    ),
    "music": Sizes(
        batch=(24, 48, 96, 192), width=(0.5, 1, 1.5, 2), window=(2, 4, 8, 16),
        examples=(4_000, 16_000, 64_000, 256_000), files=(250, 500, 1_000, 2_000), usual_batch=48, usual_window=2,
    ),
    "audio": Sizes(
        batch=(1, 2, 4, 8), width=(0.5, 1, 1.5, 2), window=(1, 2, 4, 8),
        examples=(250, 500, 1_000, 2_000), files=(125, 250, 500, 1_000), usual_batch=2, usual_window=CHUNK_S,
    ),
}  # fmt: skip
UNITS = {
    "batch": "examples", "width": "times the default widths", "examples": "examples", "files": "files",
    "window": "pixels a side, bars, seconds",
}  # fmt: skip
COLOURS = {"image": "tab:blue", "music": "tab:orange", "audio": "tab:green"}


class _DoneError(Exception):
    """Ends a run whose steps were timed: it is neither evaluated nor saved."""


def array_of(medium: str, count: int, window: float) -> np.ndarray:
    """Random examples as `musicae.train` takes them."""
    generator = np.random.default_rng(0)
    if medium == "image":
        return generator.integers(0, 256, (count, int(window), int(window)), dtype=np.uint8)
    if medium == "music":
        return generator.integers(2, 90, (count, int(window) * STEPS_PER_BAR), dtype=np.uint8)
    return np.float32(0.1) * generator.standard_normal((count, round(window * RATE_HZ)), dtype=np.float32)


def write_files(medium: str, folder: Path, count: int) -> None:
    """Small files: pictures of 28×28, tunes of eight bars, sounds of two seconds."""
    from musicae.audio.sound import Sound
    from musicae.image.picture import Picture

    generator = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"{number:06d}"
        if medium == "image":
            Picture.open(generator.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)).save(path.with_suffix(".png"))
        elif medium == "music":
            path.with_suffix(".mid").write_bytes(tune(generator.integers(50, 80, 64)))
        else:
            noise = np.float32(0.1) * generator.standard_normal(round(CHUNK_S * RATE_HZ), dtype=np.float32)
            Sound(noise, RATE_HZ).save(path.with_suffix(".wav"))


def tune(pitches: np.ndarray) -> bytes:
    """A MIDI file of eighth notes."""
    notes = b"".join(bytes((0, 0x90, pitch, 80, 120, 0x80, pitch, 0)) for pitch in pitches.tolist())  # 240 a quarter
    track = notes + b"\x00\xff\x2f\x00"
    header = b"MThd" + (6).to_bytes(4, "big") + b"".join(number.to_bytes(2, "big") for number in (0, 1, 240))
    return header + b"MTrk" + len(track).to_bytes(4, "big") + track


def widened(medium: str, factor: float) -> dict[str, Any]:
    """Settings of the default model with its widths multiplied."""
    if medium == "image":
        return {"widths": [round(factor * width) for width in (32, 64, 128)]}
    if medium == "music":
        return {"width": round(768 * factor), "step_width": round(128 * factor), "phrase_size": round(256 * factor)}
    return {"widths": [round(factor * width) for width in (32, 48, 64, 96, 128)]}


def measure(medium: str, axis: str, value: float, precision: str = "no") -> dict[str, float]:
    """Reads data, trains a few steps, and says what that cost; to be called in a process of its own.

    Args:
        medium: of `MEDIA`.
        axis: what is varied: a key of `LARGEST`.
        value: how large it is.
        precision: of the training.

    Returns:
        `step_s`, `read_s` and `peak_mb`.
    """
    from musicae.data.dataset import load_dataset
    from musicae.training.callbacks import Callback, RunStatus
    from musicae.training.experiment import Experiment

    moments: list[float] = []

    class Stopwatch(Callback):
        def on_step(self, run: RunStatus) -> None:
            moments.append(time.process_time())
            if len(moments) == WARM_UP + STEPS:
                raise _DoneError

    usual = MEDIA[medium]
    batch = int(value) if axis == "batch" else usual.usual_batch
    window = value if axis == "window" else usual.usual_window
    settings: dict[str, Any] = {"batch_size": batch, "precision": precision, "steps": 100_000, "log_with": ()}
    settings |= {"evaluate_every": 100_000} | (widened(medium, value) if axis == "width" else {})
    settings |= {"bars": int(window)} if medium == "music" else {"chunk_s": window} if medium == "audio" else {}
    before_mb = _reset_peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MUSICAE_CACHE"] = f"{folder}/cache"
        if axis == "files":
            data: Any = Path(folder) / "files"
            data.mkdir()
            write_files(medium, data, int(value))
        else:
            count = int(value) if axis == "examples" else 4 * batch
            data = array_of(medium, max(count, 64), window)
        experiment = Experiment.resolve(medium, data=data, settings=settings)
        started = time.process_time()
        # The time of reading is that of one process.
        dataset = load_dataset(experiment.domain, (data,), processes=0) if axis == "files" else experiment.read()
        read_s = time.process_time() - started
        with contextlib.suppress(_DoneError):
            experiment.run(Path(folder) / "run", dataset, callbacks=[Stopwatch()])
    step_s = min(later - earlier for earlier, later in zip(moments[WARM_UP - 1 :], moments[WARM_UP:], strict=False))
    return {"step_s": step_s, "read_s": read_s, "peak_mb": _peak_mb() - before_mb}


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls a function in a forked process."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()

    def answer() -> None:
        with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
            there.send(function(*arguments))

    process = context.Process(target=answer)
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        raise RuntimeError(f"{function.__name__}{arguments} failed") from None
    finally:
        process.join()


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The slope of log cost over log size, by least squares."""
    slope, _ = np.polyfit(np.log(sizes), np.log(np.maximum(costs, 1e-9)), 1)
    return float(slope)


def exponents(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The fitted exponent of every cost of every medium along every axis, and the largest that is allowed."""
    found = []
    for medium in MEDIA:
        for axis, largest in LARGEST.items():
            line = [point for point in points if (point["medium"], point["axis"]) == (medium, axis)]
            if not line:
                continue
            sizes = [point["value"] ** (2 if (medium, axis) == ("image", "window") else 1) for point in line]
            costs = ("read_s", "peak_mb") if axis == "files" else ("step_s", "peak_mb")
            for cost in (*costs, "read_s") if axis == "examples" else costs:
                most = STEP_OF_EXAMPLES if (axis, cost) == ("examples", "step_s") else largest
                fitted = exponent(sizes, [point[cost] for point in line])
                found.append({"medium": medium, "axis": axis, "cost": cost, "exponent": fitted, "largest": most})
    return found


def too_fast(fitted: Sequence[Mapping[str, Any]]) -> list[str]:
    """What grows faster than it may, one sentence each."""
    return [
        f"{row['cost']} of {row['medium']} grows with {row['axis']} to the power of {row['exponent']:.2f}, "
        f"more than {row['largest']:g}"
        for row in fitted
        if row["exponent"] > row["largest"] + TOLERANCE
    ]


def page(results: Mapping[str, Any]) -> str:
    """The documentation's page."""
    rows = {(row["medium"], row["axis"], row["cost"]): row for row in results["exponents"]}
    points = results["points"]
    lines = [
        "# What training costs",
        "",
        "How the time and memory of a step grow with the size of the batch, of the network, of a window and of the",
        "data. Made by `python experiments/scale.py`: the default model of each medium, random data, one thread,",
        f"precision {results['precision']}, the processor's time of the fastest of a few steps, and the",
        "peak of the memory above that of the imports.",
        "",
        "![Time and memory over the sizes](media/scale.png)",
        "",
        "The exponent is the slope of log cost over log size: 1 is linear, 0 is no growth, and a fixed part makes it",
        "smaller. A window's size is its number of pixels, bars or seconds. A network's products grow with the square",
        "of its width.",
        "",
        "| growing | cost | picture | music | sound | at most |",
        "|---|---|---|---|---|---|",
    ]
    names = {"step_s": "time of a step", "read_s": "time to read", "peak_mb": "memory"}
    for axis in LARGEST:
        for cost, name in names.items():
            found = [rows.get((medium, axis, cost)) for medium in MEDIA]
            if all(found):
                values = " | ".join(f"{row['exponent']:.2f}" for row in found if row)
                lines.append(f"| {axis} | {name} | {values} | {found[0]['largest']:g} |")  # type: ignore[index]  # not None here
    lines += ["", "At the largest batch and the default widths and windows:", ""]
    lines += ["| | examples a batch | examples a second | memory |", "|---|---|---|---|"]
    for medium, sizes in MEDIA.items():
        point = next(p for p in points if (p["medium"], p["axis"], p["value"]) == (medium, "batch", max(sizes.batch)))
        rate = point["value"] / point["step_s"]
        lines.append(f"| {medium} | {point['value']:g} | {rate:,.0f} | {point['peak_mb']:,.0f} MB |")
    lines += [
        "",
        "What a run does at its end, the fit of the prior and of the attribute vectors, takes at most 20,000 examples,",
        "and an evaluation at most `evaluate_examples`, so neither grows with the data.",
    ]
    return "\n".join(lines) + "\n"


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Time and memory over the size, a column for each axis."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullFormatter

    figure, axes = plt.subplots(2, len(LARGEST), figsize=(3 * len(LARGEST), 5), sharey="row", layout="constrained")
    rows = {(row["medium"], row["axis"], row["cost"]): row["exponent"] for row in results["exponents"]}
    for column, axis in enumerate(LARGEST):
        for panel, cost in zip(axes[:, column], ("read_s" if axis == "files" else "step_s", "peak_mb"), strict=True):
            for medium, colour in COLOURS.items():
                line = [p for p in results["points"] if (p["medium"], p["axis"]) == (medium, axis)]
                label = f"{medium} {rows[medium, axis, cost]:.2f}"
                panel.loglog([p["value"] for p in line], [p[cost] for p in line], "o-", color=colour, label=label)
            panel.legend(fontsize=7, frameon=False)
            panel.yaxis.set_minor_formatter(NullFormatter())  # between powers of ten they lie over each other
            panel.xaxis.set_minor_formatter(NullFormatter())
            values = sorted({p["value"] for p in results["points"] if p["axis"] == axis})
            marked = values[:: -(-len(values) // 5)]
            panel.set_xticks(marked, [f"{value:g}" if value < 10_000 else f"{value // 1000}k" for value in marked])
            panel.tick_params(axis="x", labelsize=7)
            panel.grid(alpha=0.3)
        axes[0, column].set_title(f"{axis}" + (" (time to read)" if axis == "files" else ""), fontsize=10)
        axes[1, column].set_xlabel(UNITS[axis], fontsize=8)
    axes[0, 0].set_ylabel("seconds a step")
    axes[1, 0].set_ylabel("MB")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70, metadata={"Software": None})
    plt.close(figure)


def _status_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def _reset_peak_mb() -> float:
    """Makes the peak count from now on; returns the present memory."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    return _status_mb("VmRSS")


def _peak_mb() -> float:
    return _status_mb("VmHWM")


def _precision() -> str:
    from musicae.precision import resolve_precision

    return resolve_precision("auto")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("media", nargs="*", help=f"of {', '.join(MEDIA)}; all of them if none are given")
    parser.add_argument("--axis", nargs="*", default=list(LARGEST), choices=list(LARGEST))
    parser.add_argument("--report", action="store_true", help="only the page and the plot, from the stored results")
    given = parser.parse_args()
    is_whole = not given.media and set(given.axis) == set(LARGEST)
    if given.report:
        results = json.loads(RESULTS.read_text(encoding="utf-8"))
    else:
        from musicae.models import MODELS

        for module in ("training.experiment", *(f"{medium}.domain" for medium in MEDIA)):
            importlib.import_module(f"musicae.{module}")  # once, before processes are forked
        for entry in MODELS.values():
            entry.load()
        precision = apart(_precision)
        load = os.getloadavg()[0]
        started = time.perf_counter()
        points: list[dict[str, Any]] = []
        for medium in given.media or MEDIA:
            for axis in given.axis:
                for value in getattr(MEDIA[medium], axis):
                    cost = apart(measure, medium, axis, value, precision)
                    points.append({"medium": medium, "axis": axis, "value": value, **cost})
                    shown = "  ".join(f"{name} {number:.4g}" for name, number in cost.items())
                    print(f"{medium:6} {axis:9}{value:10g}  {shown}", flush=True)
        results = {"precision": precision, "load_average": load, "minutes": (time.perf_counter() - started) / 60}
        results |= {"points": points, "exponents": exponents(points)}
        for row in results["exponents"]:
            print(f"{row['medium']:6} {row['axis']:9} {row['cost']:8} exponent {row['exponent']:5.2f}")
    if is_whole:
        if not given.report:
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(results), encoding="utf-8")
        draw(results, PLOT)
    problems = too_fast(results["exponents"])
    print(*problems, sep="\n")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
