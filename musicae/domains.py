"""`DOMAINS`: every domain, imported when it is used. A new one needs a package and a line here.

Each medium is imported without the others: working with music imports no code for pictures.
"""

from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from musicae.errors import MusicaeError, unknown_name

if TYPE_CHECKING:
    from musicae.domain import Domain


def _image() -> "type[Domain]":
    from musicae.image.domain import ImageDomain

    return ImageDomain


def _music() -> "type[Domain]":
    from musicae.music.domain import MusicDomain

    return MusicDomain


def _audio() -> "type[Domain]":
    from musicae.audio.domain import AudioDomain

    return AudioDomain


DOMAINS: "dict[str, Callable[[], type[Domain]]]" = {"image": _image, "music": _music, "audio": _audio}
"""Name → a function that imports and returns the class."""


def domain_class(name: str) -> "type[Domain]":
    """The class of a domain. Raises `MusicaeError` for a name that is not in `DOMAINS`."""
    if name not in DOMAINS:
        raise MusicaeError(unknown_name("domain", name, DOMAINS))
    return DOMAINS[name]()


SUFFIXES: dict[str, tuple[str, ...]] = {
    "image": (
        *(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
        *("images-idx3-ubyte", "images-idx3-ubyte.gz", "images.idx3-ubyte", "images.idx3-ubyte.gz"),
        *(*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"),
    ),
    "music": (".mid", ".midi", ".kar", ".rmi", ".abc", ".musicxml", ".mxl"),
    "audio": (
        *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64", ".rf64"),
        *(".m4a", ".aac", ".mp4"),
    ),
}
"""Name → endings of its files, to find the domain of a file without importing one. A domain that is not listed here is
imported and asked."""

_MOST_LOOKED_AT = 10_000  # files of a folder


def domain_of(path: Path) -> str | None:
    """The domain of a file, by its name, or of most files below a folder; None if there is none."""
    endings = {name: SUFFIXES.get(name) or DOMAINS[name]().suffixes for name in DOMAINS}
    files = islice((file for file in path.rglob("*") if file.is_file()), _MOST_LOOKED_AT) if path.is_dir() else [path]
    found = Counter(name for file in files for name in endings if file.name.lower().endswith(endings[name]))
    return found.most_common(1)[0][0] if found else None
