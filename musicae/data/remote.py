"""Files in object stores and on web servers, copied once into the cache: `s3://…`, `gs://…`, `https://…`.

fsspec reads them, so every protocol that it knows can be given, if the protocol's package is installed. A copy is made
again when the server states another size, time or checksum. Nothing here knows what the files hold.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from musicae.atomic_io import atomic_write, partial_path
from musicae.errors import MusicaeError

_STATED = (
    "size",
    "ETag",
    "etag",
    "md5Hash",
    "Content-MD5",
    "Digest",
    "Last-Modified",
    "LastModified",
    "mtime",
    "created",
)
"""What servers state of a file, by which a change is noticed."""
_AT_ONCE = 64
"""Files that are asked for together."""


def is_remote(place: str | Path) -> bool:
    """Whether a place is a URL. One letter before the colon is a drive of Windows."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", _text(place)) is not None


def url_of(place: str | Path) -> str:
    """The URL again, of which a path has dropped a slash."""
    scheme, rest = _text(place).split(":/", 1)
    return f"{scheme}://{rest.removeprefix('/')}"


def exists(place: str | Path) -> bool:
    """Whether there is a file or a folder. Raises `MusicaeError` where that can't be told."""
    with _errors_of(url_of(place)):
        import fsspec

        system, root = fsspec.core.url_to_fs(url_of(place))
        return bool(system.exists(root))


def fetch(place: str | Path, cache: Path) -> Path:
    """Copies a file, or a folder and those in it, unless that was done before.

    Args:
        place: a URL.
        cache: the folder of all copies.

    Returns:
        The copy, which has the name of the original. Its time stands for what the server states, so that it is the
        same on every machine.

    Raises:
        MusicaeError: there is nothing, it can't be read, or the protocol's package is missing.
    """
    url = url_of(place)
    name = PurePosixPath(url.partition("://")[2].strip("/")).name
    if name in ("", "..") or (os.name == "nt" and set(name) & set("\\:")):
        raise MusicaeError(f"{url} names no file and no folder; give the URL of one.")
    folder = cache / "remote" / hashlib.blake2b(url.encode(), digest_size=10).hexdigest()
    with _errors_of(url):
        system, listing = _listing(url)
        _update(system, listing, folder, name)
    return folder / name


@contextmanager
def _errors_of(url: str) -> Iterator[None]:
    try:
        yield
    except MusicaeError:
        raise
    except ImportError as error:
        raise MusicaeError(
            f"{url} can't be read without another package ({error}): pip install 'musicae[remote]' for http, or the "
            "one that fsspec asks for, such as s3fs or gcsfs."
        ) from error
    except FileNotFoundError as error:
        raise MusicaeError(
            f"there is nothing at {url}, or it can't be reached; check the network, and the URL of the file or folder."
        ) from error
    except Exception as error:  # every protocol's package has errors of its own
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise MusicaeError(
            f"could not get {url} ({said}); check the URL, the network and the access rights."
        ) from error


def _listing(url: str) -> tuple[Any, dict[str, tuple[str, dict[str, str]]]]:
    """The file system, and for each file: its path below the URL → where it is, and what the server states of it."""
    import fsspec

    system, root = fsspec.core.url_to_fs(url)
    system.invalidate_cache()
    root = root.rstrip("/")
    # On a web server a folder is a page that lists its files.
    if system.isfile(root) and not system.info(root).get("mimetype", "").startswith("text/html"):
        return system, {"": (root, _stated(system.info(root)))}
    found = {}
    for path, info in system.find(root, detail=True).items():
        below = path.removeprefix(root).lstrip("/")
        if info.get("size") is None:  # a web server's list of files states no sizes
            info = system.info(path)
        parts = PurePosixPath(below).parts
        if not path.startswith(root) or not parts or ".." in parts or (os.name == "nt" and set(below) & set("\\:")):
            raise MusicaeError(f"{url} lists {path!r}, which is no name of a file below it; give another folder.")
        found[below] = (path, _stated(info))
    if not found:
        raise FileNotFoundError(url)
    return system, found


def _stated(info: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(info[key]) for key in _STATED if info.get(key) is not None}


def _update(system: Any, listing: Mapping[str, tuple[str, dict[str, str]]], folder: Path, name: str) -> None:
    """Copies what isn't there or has changed, and removes what is no longer in the list."""
    known: dict[str, Any] = {}
    if (folder / "listing.json").is_file():
        known = json.loads((folder / "listing.json").read_bytes())
    place = folder / name
    for path in [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else []:
        if path.relative_to(place).as_posix() not in listing:
            path.unlink()
    wanted = [
        below for below, (_, stated) in listing.items() if not _is_copied(place / below, stated, known.get(below))
    ]
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        partials = [_partial(place / below) for below in some]
        try:
            system.get([listing[below][0] for below in some], [str(partial) for partial in partials])
            for below, partial in zip(some, partials, strict=True):
                _take(partial, place / below, listing[below][1])
        finally:
            for partial in partials:
                partial.unlink(missing_ok=True)
    with atomic_write(folder / "listing.json") as partial:
        partial.write_text(json.dumps({below: stated for below, (_, stated) in listing.items()}), encoding="utf-8")


def _partial(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return partial_path(path)


def _take(partial: Path, path: Path, stated: Mapping[str, str]) -> None:
    size = partial.stat().st_size
    if str(size) != stated.get("size", str(size)):
        raise MusicaeError(f"{path.name} came with {size} of {stated['size']} bytes; try again.")
    # Stores are named by the times of files, and all machines that share them must come to the same name.
    time_ns = int.from_bytes(
        hashlib.blake2b(json.dumps(stated, sort_keys=True).encode(), digest_size=4).digest(), "big"
    )
    os.utime(partial, ns=(time_ns * 10**9 // 4, time_ns * 10**9 // 4))
    partial.replace(path)


def _is_copied(path: Path, stated: Mapping[str, str], known: Mapping[str, str] | None) -> bool:
    return (
        known == stated and path.is_file() and str(path.stat().st_size) == stated.get("size", str(path.stat().st_size))
    )


def _text(place: str | Path) -> str:
    return place.as_posix() if isinstance(place, Path) else place
