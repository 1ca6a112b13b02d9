"""Asks PyPI's vulnerability service about every locked version. `make audit` runs it; it needs the network.

A package that the service doesn't know is an error too, so that silence isn't read as safety. docs/releases.md says how
a finding is dealt with.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from lock import LOCKS, read_constraints

ACCEPTED: dict[str, str] = {}
"""Identifier of a vulnerability → why musicae is not concerned. An entry goes when the package is upgraded."""


def main() -> None:
    """Audits each lock, and torch, which no lock has."""
    accepted = [f"--ignore-vuln={name}" for name in ACCEPTED]
    with tempfile.TemporaryDirectory() as folder:
        torch = Path(folder, "torch.txt")
        torch.write_text(f"torch=={read_constraints()['torch']}\n", encoding="utf-8")
        failed = [
            path.name
            for path in (*sorted(LOCKS.glob("*.txt")), torch)
            if subprocess.run(
                [sys.executable, "-m", "pip_audit", "--strict", "--disable-pip", "--no-deps", "--progress-spinner=off",
                 *accepted, "--requirement", path],
                check=False,
            ).returncode
        ]  # fmt: skip
    if failed:
        sys.exit(f"A vulnerability, or a package that the service doesn't know, in: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
