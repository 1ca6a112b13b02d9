"""The package builds, holds what it needs, and works from another folder."""

import ast
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import musicae

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, RELEASE_TOOLS = PYPROJECT["project"], PYPROJECT["dependency-groups"]["release"]
STARTER_FILES = ("a.mid", "b.mid", "grooves.txt", "noisy.wav", "tunes.abc")
MOST_WHEEL_BYTES = 52 * 2**20

# Names under which packages are imported, where that is another than the one they are installed by.
IMPORT_NAMES = {"pillow": "PIL", "scikit-learn": "sklearn"}
# Imported only where it is found, behind a fallback.
OPTIONAL_IMPORTS = {"fluidsynth", "fsspec", "huggingface_hub", "music21", "noisereduce", "onnx", "onnxruntime"}
OPTIONAL_IMPORTS |= {"pesq", "pystoi"}


def _requirements(lines: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


def _run(*command: str | Path, cwd: Path, path: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(path)} if path else dict(os.environ)
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the sdist, and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    """The wheel."""
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """A folder with the wheel installed in it."""
    folder = tmp_path_factory.mktemp("site")
    _run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check",
        "--target", folder, wheel, cwd=folder,
    )  # fmt: skip
    return folder


def test_the_wheel_holds_starter_files_models_and_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "musicae").rglob("*.py")}
    assert len(modules) >= 40
    assert modules <= names
    assert {f"musicae/starter_files/{name}" for name in STARTER_FILES} <= names
    shipped = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "musicae" / "pretrained").rglob("*")
        if path.suffix in (".safetensors", ".json", ".md")
    }
    assert any(name.endswith(".safetensors") for name in shipped), "no shipped model in musicae/pretrained"
    assert shipped <= names
    assert "musicae/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".sf2", ".pt", ".pkl"))]


def test_the_wheel_is_named_by_the_one_version_and_not_too_large(wheel):
    assert wheel.name == f"musicae-{musicae.__version__}-py3-none-any.whl"
    assert wheel.stat().st_size < MOST_WHEEL_BYTES


def test_the_sdist_holds_sources_tests_and_starter_files(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {f"data/{name}" for name in STARTER_FILES}
    expected |= {"Makefile", "constraints.txt", "LICENSE", "README.md", "SECURITY.md", "cli.py"}
    expected |= {"tests/test_packaging.py", "tools/lock.py", "locks/dev.txt"}
    assert expected <= names
    assert not [name for name in names if name.startswith(("data/cache", "runs/", ".venv", "shared/"))]
    assert not [name for name in names if name.endswith((".sf2", ".sf3"))]


@pytest.mark.soak
def test_another_build_gives_the_same_bytes(built, tmp_path):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (other,) = tmp_path.iterdir()
    for path in [other, *other.rglob("*")]:
        os.utime(path, (10**9, 10**9))
        path.chmod(0o700 if path.is_dir() else 0o600)
    changed = {**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(other)]
    options = {"umask": 0o077} if os.name == "posix" else {}
    subprocess.run(command, cwd=tmp_path, env=changed, check=True, capture_output=True, timeout=240, **options)
    names = sorted(path.name for path in built.iterdir())
    assert len(names) == 2
    for name in names:
        assert (built / name).read_bytes() == (tmp_path / "dist" / name).read_bytes(), f"{name} differs"


def test_starter_files_and_shipped_models_are_found_from_another_folder(site, tmp_path):
    script = (
        "import musicae; from musicae.starter import starter_file; from musicae.shipped import shipped_models;"
        "print(musicae.__file__);"
        f"[print(starter_file(name)) for name in {STARTER_FILES!r}];"
        "print('melody-2bar' in shipped_models())"
    )
    *paths, shipped = _run(sys.executable, "-c", script, cwd=tmp_path, path=site).splitlines()
    assert len(paths) == 1 + len(STARTER_FILES)
    assert all(Path(path).is_relative_to(site) for path in paths)
    assert shipped == "True"


def test_the_console_script_answers_from_another_folder(site, tmp_path):
    assert PROJECT["scripts"] == {"musicae": "musicae.cli:main"}
    help_text = _run(sys.executable, site / "bin" / "musicae", "--help", cwd=tmp_path, path=site)
    assert "interpolate" in help_text


def test_every_import_is_declared():
    imported = set()
    for path in (ROOT / "musicae").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"musicae"} - OPTIONAL_IMPORTS
    declared = {IMPORT_NAMES.get(Requirement(line).name, Requirement(line).name) for line in PROJECT["dependencies"]}
    assert len(foreign) >= 12, foreign
    assert foreign <= declared, "declare it in pyproject.toml, then make lock"


def _declared() -> dict[str, Requirement]:
    """Every direct requirement, extras and release tools included."""
    extras = PROJECT["optional-dependencies"].values()
    return _requirements([*PROJECT["dependencies"], *(line for group in extras for line in group), *RELEASE_TOOLS])


def _constraints() -> dict[str, str]:
    """Name → version, of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins), "name==version, no local version, no URL"
    return {canonicalize_name(name): version for name, version in (pin.split("==") for pin in pins)}


def _locked(name: str) -> dict[str, str]:
    """Name → version in a lock, of what is installed on this Python and system."""
    text = (ROOT / "locks" / name).read_text(encoding="utf-8").replace("\\\n", "")
    found = [Requirement(line.split("--hash")[0]) for line in text.splitlines() if line and not line.startswith("#")]
    here = [line for line in found if line.marker is None or line.marker.evaluate()]
    assert len(here) == len({line.name for line in here}), "one version of a package"
    return {canonicalize_name(line.name): next(iter(line.specifier)).version for line in here}


def test_constraints_pin_every_direct_dependency_within_its_bounds():
    pinned, declared = _constraints(), _declared()
    assert len(declared) >= 25
    assert set(pinned) == set(declared), "make lock"
    for name, requirement in declared.items():
        assert pinned[name] in requirement.specifier, f"{name} {pinned[name]} is outside {requirement}"


@pytest.mark.parametrize("name", ["dev.txt", "extras.txt", "release.txt"])
def test_a_lock_holds_hashes_and_no_addresses(name):
    text = (ROOT / "locks" / name).read_text(encoding="utf-8")
    entries = [line for line in text.replace("\\\n", "").splitlines() if line and not line.startswith("#")]
    assert len(entries) >= 30
    for entry in entries:
        assert re.fullmatch(r"[\w.-]+==[\w.]+( ; [^@]+?)? ( *--hash=sha256:[0-9a-f]{64} ?)+", entry), entry[:100]
    assert "://" not in text
    assert not [entry for entry in entries if entry.startswith(("torch==", "nvidia", "triton", "cuda"))]


def test_locks_have_the_versions_of_the_constraints():
    pinned, locked = _constraints(), {name: _locked(name) for name in ("dev.txt", "extras.txt", "release.txt")}
    assert set(pinned) - {"torch"} <= set().union(*locked.values()), "make lock"
    for name, versions in locked.items():
        assert {package: versions[package] for package in versions.keys() & pinned.keys()} == {
            package: pinned[package] for package in versions.keys() & pinned.keys()
        }, f"locks/{name} and constraints.txt differ; make lock"


def test_the_lock_holds_all_that_its_packages_require():
    """The installation takes the lock as it is, without looking for what else a package needs."""
    locked, missing, looked_at = _locked("dev.txt"), [], 0
    for package in [*locked, "torch"]:
        for line in requires(package) or ():
            needed = Requirement(line)
            name = canonicalize_name(needed.name)
            if name == "torch" or (needed.marker is not None and not needed.marker.evaluate({"extra": ""})):
                continue
            looked_at += 1
            # CUDA's libraries come with torch's CUDA build only, which pins them itself.
            if name not in locked and not (package == "torch" and name.startswith(("nvidia-", "cuda-", "triton"))):
                missing.append(f"{package} needs {line}")
    assert looked_at > 100
    assert not missing, "make lock"


def test_torch_and_torchaudio_are_the_tested_pair():
    pinned = _constraints()
    for name in ("torch", "torchaudio"):
        assert version(name).split("+")[0] == pinned[name]
