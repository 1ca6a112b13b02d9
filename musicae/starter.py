"""Where the starter files of `data/` lie: in the wheel, or in the checkout beside the package."""

from pathlib import Path

from musicae.errors import MusicaeError

_PACKAGE = Path(__file__).parent


def starter_file(name: str) -> Path:
    """Path of a starter file: `tunes.abc`, `grooves.txt`, `a.mid`, `b.mid`, `noisy.wav`.

    Raises:
        MusicaeError: neither the wheel's copy nor the checkout's `data/` holds it.
    """
    for folder in (_PACKAGE / "starter_files", _PACKAGE.parent / "data"):
        if (folder / name).is_file():
            return folder / name
    raise MusicaeError(f"starter file {name!r} is missing; reinstall musicae, or restore data/{name} in the checkout.")
