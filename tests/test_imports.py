"""Imports point down only, each medium loads without the others, and heavy libraries are imported late."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import musicae
from musicae.starter import starter_file

PACKAGE = Path(musicae.__file__).parent

# From the bottom up. A part is a module or a whole subpackage; it may import its own layer and those below.
LAYERS: tuple[frozenset[str], ...] = tuple(
    frozenset(layer.split())
    for layer in (
        "errors config spec atomic_io tensor_files limits precision capabilities stft",
        "nn likelihoods spectral_likelihoods",
        "models shipped hub domain roll_panel plots",
        "image music audio",
        "domains starter",
        "data",
        "pipeline",
        "attribute_vectors",
        "training inference export",
        "trained new_model sharing",
        "evaluation demo studio",
        "commands cli",
    )
)
# Neighbours that know nothing of each other, but for one module that makes sound of music.
STRANGERS = (
    *(("image", "music"), ("image", "audio"), ("music", "audio"), ("audio", "music")),
    *(("models", "image"), ("models", "music"), ("models", "audio"), ("models", "domain")),
    *(("image", "models"), ("music", "models"), ("audio", "models")),
    *(("training", "inference"), ("inference", "training")),
)
EXCEPTIONS = {("music.render", "audio.sound")}
# The only importer of a library, whatever its layer.
SOLE_IMPORTERS = {"accelerate": {"training.loop"}, "torchaudio": {"audio.torchaudio_import"}}
# What `--help` must not wait for.
HEAVY = ("librosa", "matplotlib", "torchaudio", "torchmetrics", "sklearn", "scipy", "numba", "huggingface_hub")
MOST_LINES = 500


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


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _nodes(node: ast.AST) -> list[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`, which import nothing."""
    children = [child for child in ast.iter_child_nodes(node) if not _is_for_types(child)]
    return children + [below for child in children for below in _nodes(child)]


def _imports(path: Path) -> set[str]:
    """Dotted names of everything a file imports, wherever in the file it does."""
    found = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8"))):
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
    """The project's modules that a module imports, without `musicae.`."""
    own = {found.removeprefix("musicae.") for found in _imports(MODULES[name]) if found.startswith("musicae.")}
    return own & set(MODULES)


def _layer(part: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if part in layer)


def test_every_module_has_a_layer():
    parts = {name.split(".")[0] for name in MODULES}
    assert len(MODULES) >= 80, sorted(MODULES)
    assert parts <= frozenset().union(*LAYERS), "give it a place in LAYERS"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_its_own_layer_and_those_below(name):
    part = name.split(".")[0]
    up = {other for other in _own_imports(name) if _layer(other.split(".")[0]) > _layer(part)}
    assert not up, f"{name} imports {up}, which stand above it"


@pytest.mark.parametrize("name", MODULES)
def test_a_file_is_short_enough_to_be_one_idea(name):
    lines = len(MODULES[name].read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES, f"{MODULES[name].name} has {lines} lines"


@pytest.mark.parametrize(("one", "other"), STRANGERS)
def test_strangers_do_not_import_each_other(one, other):
    members = [name for name in MODULES if name.split(".")[0] == one]
    assert members
    for name in members:
        found = {(name, imported) for imported in _own_imports(name) if imported.split(".")[0] == other}
        assert not found - EXCEPTIONS, name


def test_no_imports_go_in_a_circle():
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " → ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in sorted(_top_level_imports(name)):
                visit(other, (*above, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())
    assert done == set(MODULES)


def _top_level_imports(name: str) -> set[str]:
    """The project's modules that are imported when a module is, not later inside its functions."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("musicae"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}".removeprefix("musicae.")
                found.add(whole if whole in MODULES else str(node.module).removeprefix("musicae."))
    return found & set(MODULES)


@pytest.mark.parametrize("library", SOLE_IMPORTERS)
def test_a_delicate_library_has_one_importer(library):
    importers = {name for name, path in MODULES.items() if library in {i.split(".")[0] for i in _imports(path)}}
    assert importers == SOLE_IMPORTERS[library]


def _python(script: str, cwd: Path = PACKAGE.parent) -> str:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("module", ["musicae", "musicae.domains", "musicae.cli", "musicae.trained"])
def test_importing_brings_no_heavy_library(module):
    script = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    assert _python(script).split() == []


def test_importing_the_package_imports_nothing_else():
    script = "import sys, musicae; print(*[name for name in ('torch', 'numpy', 'click') if name in sys.modules])"
    assert _python(script).split() == []


def test_the_package_lists_what_it_offers():
    assert {"load", "train", "TrainedModel", "Picture", "Piece", "Sound"} <= set(dir(musicae))
    assert all(getattr(musicae, name) is not None for name in musicae.__all__)


LOADED = "print(*sorted(name for name in sys.modules if name.split('.')[0] == 'musicae'))"


def test_help_loads_few_modules():
    script = f"import sys; from musicae.cli import main; main(['--help'], standalone_mode=False); print(); {LOADED}"
    assert len(_python(script).splitlines()[-1].split()) <= 12


def test_a_path_between_melodies_loads_no_pictures_and_of_sound_only_the_recording(tmp_path):
    arguments = ["interpolate", str(starter_file("a.mid")), str(starter_file("b.mid")), "--steps", "2"]
    script = f"import sys; from musicae.cli import main; main({arguments!r}, standalone_mode=False); {LOADED}"
    loaded = _python(script, tmp_path).splitlines()[-1].split()
    assert len(loaded) <= 68, len(loaded)
    assert not [name for name in loaded if name.startswith("musicae.image")]
    assert {name for name in loaded if name.startswith("musicae.audio")} <= {"musicae.audio", "musicae.audio.sound"}


def test_a_music_model_loads_without_the_other_media():
    script = "import sys, musicae; musicae.load('melody-2bar', 'cpu'); " + LOADED
    loaded = _python(script).split()
    assert not [name for name in loaded if name.startswith(("musicae.image", "musicae.audio"))]
