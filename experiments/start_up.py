"""How long commands take from a cold start, and how much of the package they load.

Each command runs in a process of its own. Times are medians: of wall time, which a busy machine makes longer, and of
processor time. The modules are those of `musicae` in `sys.modules` when the command ends. `import torch` alone is timed
beside them: it is the larger part of every command that uses a model, and says how fast the machine was.

    python experiments/start_up.py CHECKOUT     times `interpolate` of another checkout, such as an earlier revision's
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
_IMPORT_TORCH = (sys.executable, "-c", "import torch")
_COUNTING = """
import atexit, json, sys
from pathlib import Path
target = Path(sys.argv.pop(1))
loaded = lambda: sorted(name for name in sys.modules if name.split(".")[0] == "musicae")
atexit.register(lambda: target.write_text(json.dumps(loaded())))
from musicae.cli import main
main()
"""


class Command(NamedTuple):
    """Arguments of `musicae`, and the code that it is to end with."""

    arguments: tuple[str, ...]
    code: int = 0


COMMANDS = {
    "--help": Command(("--help",)),
    "denoise missing.wav": Command(("denoise", "missing.wav"), code=2),
    "models": Command(("models",)),
    "interpolate a.mid b.mid": Command(("interpolate", str(ROOT / "data" / "a.mid"), str(ROOT / "data" / "b.mid"))),
}
"""As tables show them."""


class Seconds(NamedTuple):
    """What one run of a command took."""

    wall: float
    processor: float


def measure(sets: Path, runs: Path, *, rounds: int = ROUNDS) -> dict[str, Any]:
    """Median seconds, of the clock and of the processor, and loaded modules of each command."""
    del sets, runs
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    found: dict[str, list[Seconds]] = {shown: [] for shown in COMMANDS}
    torch: list[Seconds] = []
    for _ in range(rounds):  # in turns, so that a busy moment of the machine affects all of them
        for shown, command in COMMANDS.items():
            found[shown].append(run_timed(command))
        torch.append(run_timed(Command(()), _IMPORT_TORCH))
    commands = {
        shown: {
            "wall_s": statistics.median(seconds.wall for seconds in found[shown]),
            "processor_s": statistics.median(seconds.processor for seconds in found[shown]),
            "modules": len(modules_loaded(command)),
        }
        for shown, command in COMMANDS.items()
    }
    alone = {
        "wall_s": statistics.median(seconds.wall for seconds in torch),
        "processor_s": statistics.median(seconds.processor for seconds in torch),
    }
    machine = {"cores": os.cpu_count(), "load": load}
    return {"commands": commands, "import_torch": alone, "rounds": rounds, "machine": machine}


def run_timed(
    command: Command, program: Sequence[str] = (sys.executable, str(ROOT / "cli.py")), root: Path = ROOT
) -> Seconds:
    """Runs a command, of `musicae` or another program, in a process and a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        started, before = time.perf_counter(), _processor_s()
        _run(list(program), command, folder, root)
        return Seconds(time.perf_counter() - started, _processor_s() - before)


def measure_checkout(checkout: Path, *, rounds: int = ROUNDS) -> dict[str, Any]:
    """Median wall time of `interpolate` of another checkout, and of `import torch`, by turns."""
    tunes = (str(ROOT / "data" / "a.mid"), str(ROOT / "data" / "b.mid"))
    cold, torch = [], []
    for _ in range(rounds):
        cold.append(run_timed(Command(("interpolate", *tunes)), [sys.executable, str(checkout / "cli.py")], checkout))
        torch.append(run_timed(Command(()), _IMPORT_TORCH))
    return {
        "cold_s": statistics.median(seconds.wall for seconds in cold),
        "import_torch_s": statistics.median(seconds.wall for seconds in torch),
        "rounds": rounds,
        "machine": {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)},
    }


def _processor_s() -> float:
    """Seconds of the processor that ended child processes took so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def modules_loaded(command: Command) -> list[str]:
    """Names of the modules of `musicae` that a command loads."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "modules.json"
        _run([sys.executable, "-c", _COUNTING, str(target)], command, folder)
        found: list[str] = json.loads(target.read_text())
        return found


def _run(program: list[str], command: Command, folder: str, root: Path = ROOT) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    line = [*program, *command.arguments]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != command.code:
        arguments = " ".join(command.arguments)
        raise RuntimeError(f"musicae {arguments} ended with {done.returncode}: {done.stderr.strip()[-500:]}")


if __name__ == "__main__":
    import stored

    print(stored.write("start-up-before", measure_checkout(Path(sys.argv[1]).resolve())))
