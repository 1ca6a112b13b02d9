"""The page's scripts of others: where npm puts them, under which address the page finds them, and their licences.

They are not in the repository. `page/package.json` and its lock name them; a build of the package installs them
(`hatch_build.py`), and the wheel carries the files listed here with the licence of each.
"""

from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).parent / "page"
_MODULES = PAGE / "node_modules"


class Script(NamedTuple):
    """A file of a package of npm's.

    Attributes:
        address: where the page finds it.
        package: its package.
        path: in the package.
        licence: of the package, as it states it.
    """

    address: str
    package: str
    path: str
    licence: str

    @property
    def file(self) -> Path:
        """Where it is on the disk."""
        return _MODULES / self.package / self.path


SCRIPTS: tuple[Script, ...] = (
    Script("/scripts/spessasynth_lib.js", "spessasynth_lib", "dist/index.js", "Apache-2.0"),
    Script("/scripts/spessasynth_processor.js", "spessasynth_lib", "dist/spessasynth_processor.min.js", "Apache-2.0"),
    Script("/scripts/spessasynth_core.js", "spessasynth_core", "dist/index.js", "Apache-2.0"),
    Script("/scripts/stb_vorbis.js", "stb-vorbis", "dist/index.js", "Apache-2.0"),
    Script("/scripts/wavesurfer.js", "wavesurfer.js", "dist/wavesurfer.esm.js", "BSD-3-Clause"),
)
"""Every file of others that the page loads."""


def missing() -> list[str]:
    """Addresses of scripts that are not installed."""
    return [script.address for script in SCRIPTS if not script.file.is_file()]


def sound_font() -> Path | None:
    """The General MIDI font that pretty_midi brings; None where it brings none."""
    import pretty_midi

    fonts = sorted(Path(pretty_midi.__file__).parent.glob("*.sf2"))
    return fonts[0] if fonts else None
