"""Nothing needs what only Linux has: the package works in a process that lacks what Windows lacks."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
POSIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}

# Runs before the package is imported: takes away what Windows lacks, and has its rules for renaming.
AS_ON_WINDOWS = """
import os, pathlib, signal, subprocess, sys, warnings
# What these take from the system at import is their own affair: they have guards of their own.
import accelerate, filelock, pretty_midi, safetensors.torch, sklearn.datasets, soundfile, symusic, torch.distributed
import multiprocessing.util, torch.utils.tensorboard
import musicae.audio.torchaudio_import

for name in ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty"):
    sys.modules[name] = None
for name in ("sched_getaffinity", "sched_setaffinity", "fork", "preadv", "pread", "posix_fadvise", "posix_fallocate",
             "O_DIRECTORY", "O_NOFOLLOW", "getuid", "geteuid", "getpgid", "killpg", "setsid", "getloadavg", "uname",
             "statvfs", "fchmod", "sysconf", "mkfifo"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGALRM", "SIGHUP", "SIGXFSZ", "SIGXCPU", "setitimer"):
    delattr(signal, name)

open_before, rename_before = os.open, os.rename
def open_as_on_windows(path, flags, *arguments, **options):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return open_before(path, flags, *arguments, **options)
def rename_as_on_windows(source, target, **options):
    if os.path.lexists(target):
        raise FileExistsError(17, "File exists", str(target))
    return rename_before(source, target, **options)
os.open, os.rename = open_as_on_windows, rename_as_on_windows
"""

USE = """
import numpy, musicae
from musicae.cli import main
from musicae.starter import starter_file
folder = pathlib.Path(sys.argv[1])
short = dict(steps=2, batch_size=4, evaluate_every=2, evaluate_examples=8, log_with=())
digits = musicae.train("image", out=folder / "digits", widths=(4, 8), latent_size=2, **short)
main(["train", "--resume", str(folder / "digits")], standalone_mode=False)
musicae.load(folder / "digits").grid(2).save(folder / "grid")
(folder / "sounds").mkdir()
for number in range(3):
    tone = 0.1 * numpy.sin(numpy.arange(8000) * (0.1 + number))
    musicae.Sound(tone, 8000).save(folder / "sounds" / f"{number}.wav")
main(["prepare", "--domain", "audio", str(folder / "sounds")], standalone_mode=False)
musicae.load("melody-2bar").interpolate(starter_file("a.mid"), starter_file("b.mid"), steps=2)[0].save(folder / "a.mid")
"""


def _imports_at_start(tree: ast.Module) -> set[str]:
    """Modules that are imported whenever the file is, in `try` and `if` as well."""
    found, waiting = set(), list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)
    return found


def test_no_file_imports_at_start_what_windows_lacks():
    files = [path for folder in ("musicae", "docs", "tools") for path in (ROOT / folder).rglob("*.py")]
    files += [ROOT / "tests" / "conftest.py", *(ROOT / "tests").rglob("test_*.py")]
    assert len(files) > 150
    found = {
        path.name: _imports_at_start(ast.parse(path.read_text(encoding="utf-8"))) & POSIX_MODULES for path in files
    }
    assert {name: modules for name, modules in found.items() if modules} == {}


@pytest.mark.skipif(os.name != "posix", reason="takes away what only POSIX has")
def test_it_trains_loads_and_writes_without_what_windows_lacks(tmp_path):
    environment = {**os.environ, "MUSICAE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", AS_ON_WINDOWS + USE, str(tmp_path)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.mid").is_file()
    assert len(list((tmp_path / "digits" / "checkpoints").iterdir())) >= 1
    assert [path for path in (tmp_path / "cache").iterdir() if not path.name.startswith(".")]
