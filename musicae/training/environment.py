"""What a run was computed with: versions, commit, command, device. It goes into the manifest of its checkpoints."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from musicae import __version__

PACKAGES = ("torch", "numpy", "accelerate", "librosa", "symusic", "scipy")
"""Packages whose versions may change results."""
_GIT_S = 10


def environment_now(device: torch.device, processes: int) -> dict[str, Any]:
    """Describes this process.

    Args:
        device: where is computed.
        processes: how many take part.
    """
    on_gpu = device.type == "cuda"
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "musicae": __version__,
        "commit": commit_of(Path(__file__).parents[2]),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if on_gpu else device.type,
        "processes": processes,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def commit_of(checkout: Path) -> str | None:
    """The commit of a git checkout, with `+` where tracked files were changed since; None outside of a checkout."""
    if not (checkout / ".git").exists():
        return None
    try:
        commit, changed = (
            subprocess.run(
                ["git", "-C", str(checkout), *command],
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=_GIT_S,
                check=True,
            ).stdout.strip()
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):  # no git, or a checkout of another user
        return None
    return commit + "+" * bool(changed)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
