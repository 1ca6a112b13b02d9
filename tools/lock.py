"""Writes constraints.txt and locks/: the versions that are tested. `make lock` runs it; it needs uv and the network.

    python tools/lock.py                        # after a change of pyproject.toml; versions stay
    python tools/lock.py --upgrade numpy scipy  # newest versions of these, within the bounds of pyproject.toml
    python tools/lock.py --upgrade all
    python tools/lock.py --check                # asks only whether each system and Python finds its wheels

Each lock lists every package of an environment, also indirect ones, with the SHA-256 of each file that may be
installed, for Linux, macOS and Windows and each Python that musicae runs on. constraints.txt lists the direct ones
without hashes.

torch is the only package without hashes. Its build for CPUs has the same version as the one for CUDA and comes from
another index, so it has other hashes. constraints.txt holds its version; it and torchaudio belong together and are
changed there by hand.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
LOCKS = ROOT / "locks"
DEVELOPMENT = ("dev", "docs")
"""Extras of `locks/dev.txt`, which `make` and continuous integration install; others are in `locks/extras.txt`."""
HELD = ("torch", "torchaudio")
"""Never upgraded by this script."""
TORCH_NEEDS = (
    "filelock",
    "fsspec>=0.8.5",
    "jinja2",
    "networkx>=2.5.1",
    "setuptools>=77.0.3",
    "sympy>=1.13.3",
    "typing-extensions>=4.10.0",
)
"""What torch requires besides CUDA's libraries, which only its CUDA build needs and which it pins itself."""
SYSTEMS = ("linux", "aarch64-manylinux_2_28", "aarch64-apple-darwin", "windows")
PYTHONS = ("3.11", "3.12", "3.13")
_LOCKED = re.compile(r"^([\w.-]+)==([^\s;]+)(?: ; ([^\\]+?))? \\$", re.MULTILINE)


def main() -> None:
    """Makes and checks the locks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upgrade", nargs="+", default=[], metavar="NAME", help="packages to upgrade, or `all`")
    parser.add_argument("--uv", default="uv", help="the program uv")
    parser.add_argument("--check", action="store_true", help="write nothing")
    arguments = parser.parse_args()
    lock = LOCKS / "dev.txt"
    before = lock.read_bytes() if lock.is_file() else b""
    if not arguments.check:
        make_locks(arguments.uv, arguments.upgrade)
    if arguments.check or lock.read_bytes() != before:
        check_wheels(arguments.uv)


def make_locks(uv: str, upgraded: list[str]) -> None:
    """Makes the locks, then constraints.txt from them.

    Args:
        uv: the program.
        upgraded: packages that are upgraded, or "all"; others stay.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = read_constraints()
    upgrade = {canonicalize_name(name) for name in upgraded}
    if "all" in upgrade:
        upgrade = (upgrade | set(pins)) - {"all", *HELD}
    kept = {name: version for name, version in pins.items() if name not in upgrade}
    extras = sorted(set(project["project"]["optional-dependencies"]) - set(DEVELOPMENT))
    LOCKS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        config, constraints = Path(folder, "uv.toml"), Path(folder, "constraints.txt")
        needs = ", ".join(f'"{line}"' for line in TORCH_NEEDS)
        config.write_text(
            f'[[dependency-metadata]]\nname = "torch"\nversion = "{pins["torch"]}"\nrequires-dist = [{needs}]\n',
            encoding="utf-8",
        )
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in kept.items()), encoding="utf-8")

        def compile_lock(name: str, what: Iterable[str], *more: str) -> None:
            every = ["--upgrade"] if "all" in upgraded else [f"--upgrade-package={name}" for name in upgrade]
            subprocess.run(
                [
                    uv, "--config-file", config, "pip", "compile", "--quiet", *what, *every, *more,
                    "--constraint", constraints, "--universal", "--python-version", "3.11", "--generate-hashes",
                    "--no-emit-package", "torch", "--no-header", "--no-annotate", "--output-file", LOCKS / name,
                ],
                cwd=ROOT,
                check=True,
            )  # fmt: skip

        dev = ("--constraint", str(LOCKS / "dev.txt"))  # the locks agree with each other
        compile_lock("dev.txt", ["pyproject.toml", *(f"--extra={name}" for name in DEVELOPMENT)])
        compile_lock("extras.txt", ["pyproject.toml", *(f"--extra={name}" for name in extras)], *dev)
        compile_lock("release.txt", ["--group=release"], *dev)
    _head("dev.txt", f"musicae's requirements and its extras {' and '.join(DEVELOPMENT)}; make installs it")
    _head("extras.txt", f"musicae's requirements and its extras {', '.join(extras)}")
    _head("release.txt", "what make lock, make audit and make release use")
    write_constraints(direct_requirements(project), pins)


def check_wheels(uv: str) -> None:
    """Asks the index whether every system and Python finds a wheel with a hash of the lock; installs nothing.

    Raises:
        SystemExit: one doesn't.
    """
    for system in SYSTEMS:
        for python in PYTHONS:
            with tempfile.TemporaryDirectory() as folder:
                done = subprocess.run(
                    [
                        uv, "pip", "install", "--dry-run", "--no-deps", "--only-binary", ":all:", "--require-hashes",
                        "--target", folder, "--python-platform", system, "--python-version", python,
                        "--requirement", LOCKS / "dev.txt",
                    ],
                    capture_output=True,
                    check=False,
                    encoding="utf-8",
                )  # fmt: skip
            if done.returncode:
                sys.exit(f"locks/dev.txt does not fit {system}, Python {python}:\n{done.stderr}")
    print(f"locks/dev.txt has wheels for {', '.join(SYSTEMS)}, each with Python {', '.join(PYTHONS)}")


def read_constraints() -> dict[str, str]:
    """Name → version, of constraints.txt."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pinned = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pinned}


def locked(name: str) -> Iterator[Requirement]:
    """The requirements of a lock, each `name==version` with its marker."""
    for package, version, marker in _LOCKED.findall((LOCKS / name).read_text(encoding="utf-8")):
        yield Requirement(f"{package}=={version}" + (f" ; {marker}" if marker else ""))


def direct_requirements(project: dict) -> list[Requirement]:
    """What pyproject.toml asks for, extras and the group of release tools included."""
    lines = list(project["project"]["dependencies"])
    lines += (line for extra in project["project"]["optional-dependencies"].values() for line in extra)
    lines += project["dependency-groups"]["release"]
    return [Requirement(line) for line in lines]


def write_constraints(direct: list[Requirement], pins: dict[str, str]) -> None:
    """Writes the versions of direct requirements, as the locks have them on the oldest Python."""
    oldest = {"python_version": "3.11", "python_full_version": "3.11.0"}
    found = {
        canonicalize_name(requirement.name): next(iter(requirement.specifier)).version
        for lock in ("release.txt", "extras.txt", "dev.txt")
        for requirement in locked(lock)
        if requirement.marker is None or requirement.marker.evaluate(oldest)
    }
    found["torch"] = pins["torch"]
    names = sorted({canonicalize_name(requirement.name) for requirement in direct})
    CONSTRAINTS.write_text(
        "# Tested versions of direct requirements. Made by make lock; locks/ has indirect ones and hashes.\n"
        "# torch and torchaudio belong together: see musicae/audio/torchaudio_import.py.\n"
        + "".join(f"{name}=={found[name]}\n" for name in names),
        encoding="utf-8",
    )


def _head(name: str, what: str) -> None:
    path = LOCKS / name
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    body = "".join(line for line in lines if not line.startswith("#"))
    path.write_text(f"# Made by make lock: {what}.\n# torch is left out: see tools/lock.py.\n{body}", encoding="utf-8")


if __name__ == "__main__":
    main()
