"""The package builds, holds what it needs, and works from another folder."""

import ast
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import musicae

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
STARTER_FILES = ("a.mid", "b.mid", "grooves.txt", "noisy.wav", "tunes.abc")
MOST_WHEEL_BYTES = 52 * 2**20

# Names under which packages are imported, where that is another than the one they are installed by.
IMPORT_NAMES = {"pillow": "PIL", "scikit-learn": "sklearn"}
# Imported only where it is found, behind a fallback; audioread comes with librosa.
OPTIONAL_IMPORTS = {"fluidsynth", "audioread", "noisereduce", "pesq", "pystoi"}


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
    expected |= {"Makefile", "constraints.txt", "LICENSE", "README.md", "cli.py", "tests/test_packaging.py"}
    assert expected <= names
    assert not [name for name in names if name.startswith(("data/cache", "runs/", ".venv", "shared/"))]


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
    assert foreign <= declared, "declare it in pyproject.toml and constraints.txt"


def test_constraints_pin_every_direct_dependency_within_its_bounds():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins), "name==version, no local version, no URL"
    pinned = _requirements(pins)
    declared = _requirements(
        [*PROJECT["dependencies"], *(line for group in PROJECT["optional-dependencies"].values() for line in group)]
    )
    assert len(declared) >= 25
    assert set(pinned) == set(declared)
    for name, requirement in declared.items():
        (pin,) = pinned[name].specifier
        assert pin.version in requirement.specifier, f"{pinned[name]} is outside {requirement}"


def test_torch_and_torchaudio_are_the_tested_pair():
    pinned = _requirements([line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line])
    for name in ("torch", "torchaudio"):
        (pin,) = pinned[name].specifier
        assert version(name).split("+")[0] == pin.version
