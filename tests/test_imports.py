"""Imports point down only, and heavy libraries are imported where they are needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import musicae

PACKAGE = Path(musicae.__file__).parent

# From the bottom up. A part is a module or a whole subpackage; it may import its own layer and those below.
LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(layer.split())
    for layer in (
        "errors config train_config spec starter precision whole_files",
        "likelihoods latent_space score sound nn plots render figures pictures",
        "models domains",
        "datasets checkpoint",
        "shipped",
        "operations",
        "training trained",
        "evaluation inspection demo",
        "cli commands",
    )
)
# Neighbours that know nothing of each other.
STRANGERS = (("models", "domains"), ("training", "trained"))
# The only importer of a library, whatever its layer.
SOLE_IMPORTERS = {"accelerate": {"training.loop"}, "torchaudio": {"sound.torchaudio_import"}}
# What `--help` must not wait for.
HEAVY = ("librosa", "matplotlib", "torchaudio", "torchmetrics", "sklearn", "scipy", "numba", "huggingface_hub")


def _modules() -> dict[str, Path]:
    """Dotted name without `musicae.` → file; the package's own `__init__` is a façade and left out."""
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if parts:
            names[".".join(parts)] = path
    return names


MODULES = _modules()


def _imports(path: Path) -> set[str]:
    """Dotted names of everything a file imports, wherever in the file it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole.removeprefix("musicae.") in MODULES else str(node.module))
    return found


def _own_imports(name: str) -> set[str]:
    """The project's modules that a module imports, without `musicae.`; its own subpackage's `__init__` counts."""
    own = {found.removeprefix("musicae.") for found in _imports(MODULES[name]) if found.startswith("musicae.")}
    return own & set(MODULES)


def _layer(part: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if part in layer)


def test_every_module_has_a_layer():
    parts = {name.split(".")[0] for name in MODULES}
    assert len(MODULES) >= 40, sorted(MODULES)
    assert parts <= frozenset().union(*LAYERS), "give it a place in LAYERS"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_its_own_layer_and_those_below(name):
    part = name.split(".")[0]
    up = {other for other in _own_imports(name) if _layer(other.split(".")[0]) > _layer(part)}
    assert not up, f"{name} imports {up}, which stand above it"


@pytest.mark.parametrize(("one", "other"), [*STRANGERS, *[(b, a) for a, b in STRANGERS]])
def test_strangers_do_not_import_each_other(one, other):
    members = [name for name in MODULES if name.split(".")[0] == one]
    assert members
    for name in members:
        assert not {found for found in _own_imports(name) if found.split(".")[0] == other}, name


def test_no_imports_go_in_a_circle():
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " → ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in sorted(_own_imports(name)):
                visit(other, (*above, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())
    assert done == set(MODULES)


@pytest.mark.parametrize("library", SOLE_IMPORTERS)
def test_a_delicate_library_has_one_importer(library):
    importers = {name for name, path in MODULES.items() if library in {i.split(".")[0] for i in _imports(path)}}
    assert importers == SOLE_IMPORTERS[library]


@pytest.mark.parametrize("module", ["musicae", "musicae.domains", "musicae.cli"])
def test_importing_brings_no_heavy_library(module):
    script = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_importing_the_package_imports_nothing_else():
    script = "import sys, musicae; print(*[name for name in ('torch', 'numpy', 'click') if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.split() == []
