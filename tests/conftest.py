"""Fixtures for all tests: seeds, threads, small trained models, a browser, and real data where it is."""

import importlib
import os
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import torch
from filelock import FileLock
from tiny_models import train_tiny

from musicae.data.dataset import DataSet, load_dataset
from musicae.domain import Domain
from musicae.studio.page_scripts import PAGE
from musicae.trained import TrainedModel, load

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_BROWSER_OPTIONS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
)


def pytest_configure(config: pytest.Config) -> None:
    """Two threads at most: the suite is meant for small machines, and more make sums differ."""
    torch.set_num_threads(min(2, torch.get_num_threads()))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--soak`, for the long checks of `make soak`."""
    parser.addoption("--soak", action="store_true", help="run the tests marked soak, which take minutes each")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips what needs a GPU where there is none, and long checks that were not asked for."""
    for item in items:
        if "gpu" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and torch sees none"))
        if "soak" in item.keywords and not config.getoption("--soak"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; run with --soak, or all of them with make soak"))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepared data sets go to the test's own folder and not to the checkout's."""
    monkeypatch.setenv("MUSICAE_CACHE", str(tmp_path / ".musicae-cache"))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function: a name in `tiny_models.SETTINGS` → the run's folder, trained when first asked for.

    All processes of a session share the models.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny-models"
    folder.mkdir(exist_ok=True)

    def run(name: str) -> Path:
        with FileLock(folder / f"{name}.lock"), pytest.MonkeyPatch.context() as patch:
            finished = folder / f"{name}.finished"
            if not finished.exists():
                patch.setenv("MUSICAE_CACHE", str(folder / f"{name}-cache"))
                finished.write_text(str(train_tiny(name, folder)), encoding="utf-8")
        return Path(finished.read_text(encoding="utf-8"))

    return run


@pytest.fixture
def music(tiny_run: Callable[[str], Path]) -> TrainedModel:
    """Learned the starter tunes."""
    return load(tiny_run("music"), "cpu")


@pytest.fixture
def image(tiny_run: Callable[[str], Path]) -> TrainedModel:
    """Learned the starter digits."""
    return load(tiny_run("image"), "cpu")


@pytest.fixture
def plain(tiny_run: Callable[[str], Path]) -> TrainedModel:
    """A plain autoencoder of the starter digits: without a prior."""
    return load(tiny_run("plain"), "cpu")


@pytest.fixture
def audio(tiny_run: Callable[[str], Path]) -> TrainedModel:
    """Learned to denoise chords, for a few steps; then its mask was made to differ from 1 everywhere."""
    trained = load(tiny_run("audio"), "cpu")
    head: Any = trained.network.get_submodule("decoder.head.2")
    torch.nn.init.normal_(head.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    torch.nn.init.constant_(head.bias, -1)
    return trained


@pytest.fixture(scope="session")
def starter_set(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Domain], DataSet]:
    """A function: a domain → its starter data, read once a session for equal settings."""
    folder = tmp_path_factory.mktemp("starter-sets")
    sets: dict[str, DataSet] = {}

    def read(domain: Domain) -> DataSet:
        key = f"{domain.name} {domain.config.model_dump_json()}"
        if key not in sets:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("MUSICAE_CACHE", str(folder))
                sets[key] = load_dataset(domain, ())
        return sets[key]

    return read


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function: name of a real data set → its folder, unpacked once a session; skips where it is absent.

    The archives are looked for in `$MUSICAE_SHARED_DATA`, else in `../shared/data` beside the checkout.
    """
    archives = Path(os.environ.get("MUSICAE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    unpacked: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in unpacked:
            archive = archives / f"{name}.tar.xz"
            if not archive.is_file():
                pytest.skip(f"real data set {name!r} is not here: no {archive}; set MUSICAE_SHARED_DATA to its folder")
            target = tmp_path_factory.mktemp(name)
            with tarfile.open(archive) as tar:
                tar.extractall(target, filter="data")
            inner = [path for path in target.iterdir() if path.is_dir()]
            unpacked[name] = target / name if (target / name).is_dir() else inner[0] if len(inner) == 1 else target
        return unpacked[name]

    return folder


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A function: name of a script in `experiments` → its module, freshly imported."""
    monkeypatch.syspath_prepend(ROOT / "experiments")

    def fresh(name: str) -> ModuleType:
        for path in (ROOT / "experiments").glob("*.py"):
            sys.modules.pop(path.stem, None)
        return importlib.import_module(name)

    return fresh


def _absent(reason: str) -> None:
    """Skips what needs a browser, or fails it where `$MUSICAE_NEEDS_BROWSER` is set."""
    if os.environ.get("MUSICAE_NEEDS_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def browser_path() -> str:
    """Where Chromium is."""
    found = next((path for path in map(shutil.which, _BROWSERS) if path), None)
    if found is None:
        _absent("no Chromium is installed; make browser installs Debian's")
    return str(found)


@pytest.fixture(scope="module")
def browser(browser_path: str) -> "Iterator[Browser]":
    """Chromium. One for each module: Playwright's loop, which runs in this thread as long, is in the way of others."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser_path, args=list(_BROWSER_OPTIONS))
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def npm_package() -> Callable[[str], Path]:
    """A function: name of a package that `musicae/studio/page/package.json` requires → its folder."""

    def folder(name: str) -> Path:
        found = PAGE / "node_modules" / name
        if not found.is_dir():
            _absent(f"{name} is not installed; run npm ci in musicae/studio/page")
        return found

    return folder
