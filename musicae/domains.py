"""`DOMAINS`: every domain, imported when it is asked for. A new one is a package and a line here.

Each medium loads without the others: working with music imports no pictures.
"""

from collections.abc import Callable

from musicae.domain import Domain
from musicae.errors import MusicaeError, unknown_name


def _image() -> type[Domain]:
    from musicae.image.domain import ImageDomain

    return ImageDomain


def _music() -> type[Domain]:
    from musicae.music.domain import MusicDomain

    return MusicDomain


def _audio() -> type[Domain]:
    from musicae.audio.domain import AudioDomain

    return AudioDomain


DOMAINS: dict[str, Callable[[], type[Domain]]] = {"image": _image, "music": _music, "audio": _audio}
"""Name → a function that imports and returns the class."""


def domain_class(name: str) -> type[Domain]:
    """The class of a domain. Raises `MusicaeError` for a name that is not in `DOMAINS`."""
    if name not in DOMAINS:
        raise MusicaeError(unknown_name("domain", name, DOMAINS))
    return DOMAINS[name]()
