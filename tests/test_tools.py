"""The tools of maintainers: the licences are complete, and a checkout that isn't ready is not released."""

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch):
    """A function: name of a script in `tools` → its module."""
    monkeypatch.syspath_prepend(ROOT / "tools")

    def module(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield module
    for path in (ROOT / "tools").glob("*.py"):
        sys.modules.pop(path.stem, None)


# Licences


@pytest.mark.skipif(sys.platform != "linux", reason="wheels for other systems bundle other files")
def test_everything_has_a_licence_and_is_on_the_page(tool):
    licences = tool("licences")
    assert licences.unknown() == []
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    direct = {name for names in licences.requirements().values() for name in names}
    models = licences.model_licences()
    assert len(direct) >= 25
    assert len(licences.indirect()) >= 50
    assert len(models) == len(list((ROOT / "musicae" / "pretrained").glob("*/config.json")))
    for name in [*direct, *licences.indirect(), *models]:
        assert f"\n| {name} | " in page, "make licences"
    libraries = {(name, one) for name in [*direct, *licences.indirect()] for one in licences.bundled(name)}
    assert ("pretty-midi", "TimGM6mb") in libraries
    assert ("soundfile", "libsndfile_x86_64") in libraries
    for name, one in libraries:
        assert f"\n| {name} | {licences.BUNDLED[one][0]} | " in page, "make licences"


def test_a_new_library_or_package_without_a_licence_is_noticed(tool, monkeypatch):
    licences = tool("licences")
    monkeypatch.delitem(licences.BUNDLED, "TimGM6mb")
    monkeypatch.delitem(licences.LICENCES, "numba")
    found = licences.unknown()
    assert any("pretty-midi" in line and "TimGM6mb" in line for line in found)
    assert any("numba" in line for line in found)


# Release


@pytest.fixture
def checkout(tool, tmp_path, monkeypatch) -> Path:
    """A checkout of its own, ready to be released as 1.2.3."""
    monkeypatch.setattr(tool("release"), "ROOT", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 1.2.3 (2026-11-28)\n\n- All.\n", encoding="utf-8")
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "--quiet", "--message", "All")
    return tmp_path


def _git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True)


def test_a_checkout_that_is_ready_can_be_released(tool, checkout):
    assert tool("release").not_ready("1.2.3") == []


def test_each_thing_that_is_missing_for_a_release_is_named(tool, checkout):
    _git(checkout, "tag", "v1.2.3")
    (checkout / "new.txt").write_text("new", encoding="utf-8")
    (checkout / "CHANGELOG.md").write_text("## 1.2.3 (unreleased)\n", encoding="utf-8")
    tagged, changed, undated = tool("release").not_ready("1.2.3")
    assert "tag v1.2.3 exists" in tagged
    assert "2 files are changed" in changed
    assert "CHANGELOG.md" in undated
    assert "'1.2'" in tool("release").not_ready("1.2")[0]


def test_a_lock_is_read_whole(tool):
    lock = tool("lock")
    for path in lock.LOCKS.glob("*.txt"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(list(lock.locked(path.name))) == sum("==" in line and not line.startswith("#") for line in lines)


# Security


def test_every_promise_of_security_names_a_test_that_exists():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promised = text.partition("## What is promised")[2].partition("## What is not promised")[0]
    rows = [line for line in promised.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(rows) >= 15
    for row in rows:
        names = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", row)
        assert names, row
        for path, name in names:
            assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path} has no {name}"
