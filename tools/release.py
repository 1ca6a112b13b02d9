"""Builds and checks a release, and says what to do next. `make release` runs it; it uploads and tags nothing.

    make release              # the checkout has to be ready: clean, not tagged yet, the version in CHANGELOG.md
    make release REHEARSE=1   # says what is missing for that, and builds and checks all the same

sdist and wheel are built twice, the second time from the unpacked sdist, and have to be equal to the byte. The wheel is
installed in a new environment with the packages of locks/dev.txt, and used there.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from lock import CONSTRAINTS, LOCKS, ROOT

DIST = ROOT / "dist"
_VERSION = re.compile(r"\d+\.\d+\.\d+(rc\d+)?")


def main() -> None:
    """Checks the checkout, builds, checks what was built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="go on though the checkout isn't ready")
    rehearse = parser.parse_args().rehearse
    source = (ROOT / "musicae" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    version = found[1] if found else ""
    problems = not_ready(version)
    for problem in problems:
        print(f"Not ready: {problem}", file=sys.stderr)
    if problems and not rehearse:
        sys.exit(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = build_twice(folder, version)
        _run(sys.executable, "-m", "twine", "check", "--strict", *files)
        use_wheel(folder / "environment", files[0])
    for file in files:
        print(f"{file.relative_to(ROOT)}  {file.stat().st_size:,} bytes  sha256 {_sha256(file)}")
    if problems:
        sys.exit(f"{version} was only rehearsed.")
    print(
        f"{version} is built and checked. Next, by hand:\n"
        f"  git tag -s v{version} -m 'musicae {version}' && git push origin v{version}\n"
        f"  twine upload {' '.join(str(file.relative_to(ROOT)) for file in files)}\n"
        "Then set the next version in musicae/__init__.py, and begin its part of CHANGELOG.md."
    )


def not_ready(version: str) -> list[str]:
    """Why this checkout can't be released, one sentence each; empty if it can."""
    found = []
    if not _VERSION.fullmatch(version):
        found.append(f"musicae/__init__.py has the version {version!r}; MAJOR.MINOR.PATCH is expected.")
    if _git("tag", "--list", f"v{version}"):
        found.append(f"the tag v{version} exists; set the next version in musicae/__init__.py.")
    if changed := _git("status", "--porcelain"):
        found.append(f"{len(changed.splitlines())} files are changed or untracked; commit or remove them.")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$", changelog, re.MULTILINE):
        found.append(f"CHANGELOG.md has no line '## {version} (YEAR-MONTH-DAY)'.")
    return found


def build_twice(folder: Path, version: str) -> list[Path]:
    """Builds into dist/ and again from the unpacked sdist; wheel and sdist, in this order.

    Raises:
        SystemExit: the builds differ.
    """
    DIST.mkdir(exist_ok=True)
    files = [DIST / f"musicae-{version}-py3-none-any.whl", DIST / f"musicae-{version}.tar.gz"]
    for file in files:
        file.unlink(missing_ok=True)
    build = (sys.executable, "-m", "build", "--no-isolation")  # with the locked hatchling
    _run(*build, "--outdir", DIST, ROOT)
    with tarfile.open(files[1]) as archive:
        archive.extractall(folder / "sources", filter="data")
    _run(*build, "--outdir", folder / "again", folder / "sources" / f"musicae-{version}")
    for file in files:
        if file.read_bytes() != (folder / "again" / file.name).read_bytes():
            sys.exit(f"{file.name} differs between two builds.")
    return files


def use_wheel(environment: Path, wheel: Path) -> None:
    """Installs the wheel in a new environment and uses it from there."""
    _run(sys.executable, "-m", "venv", environment)
    programs = environment / ("Scripts" if os.name == "nt" else "bin")
    install = (programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*install, "--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", LOCKS / "dev.txt")
    _run(*install, "--constraint", CONSTRAINTS, "torch")
    _run(*install, "--no-deps", wheel)
    _run(programs / "python", "-m", "pip", "check")
    _run(programs / "musicae", "--help", cwd=environment)
    _run(programs / "musicae", "models", cwd=environment)
    pieces = [ROOT / "data" / name for name in ("a.mid", "b.mid")]
    _run(programs / "musicae", "interpolate", *pieces, "--out", environment / "morph", cwd=environment)


def _run(*command: str | Path, cwd: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}")


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, encoding="utf-8"
    ).stdout.strip()  # fmt: skip


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
