"""Data sets known by name, downloaded once with their checksums, and those at a URL. It knows no tensors."""

import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from musicae.atomic_io import atomic_write
from musicae.data.remote import fetch, is_remote
from musicae.errors import MusicaeError


class NamedSet(NamedTuple):
    """Where a set's files are, and their checksums.

    Attributes:
        domain: a key of `DOMAINS`.
        base_url: ends with a slash.
        files: name of a downloaded file → `md5:…`, as its publishers state it.
        members: if the download is one tar archive, the names of the set's files in it, without folders.
    """

    domain: str
    base_url: str
    files: dict[str, str]
    members: tuple[str, ...] = ()


NAMED_SETS: dict[str, NamedSet] = {
    "mnist": NamedSet(
        "image",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "md5:d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "md5:9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "md5:ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    # Xiao, Rasul & Vollgraf, 2017: github.com/zalandoresearch/fashion-mnist, where the checksums stand.
    "fashion-mnist": NamedSet(
        "image",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # this host has no TLS
        {
            "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    # Krizhevsky, 2009: cs.toronto.edu/~kriz/cifar.html, where the checksum stands.
    "cifar10": NamedSet(
        "image",
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530"},
        (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin", "batches.meta.txt"),
    ),
}


def locate(place: Path, domain: str) -> Path:
    """Turns a set's name or a URL into the folder of its files, downloading what is missing; leaves paths alone.

    Args:
        place: a name, a path or a URL. An existing file or folder of that name comes first.
        domain: a key of `DOMAINS`.

    Raises:
        MusicaeError: the download failed, its checksum is wrong, or there is no room for it.
    """
    if is_remote(place) and not place.exists():
        from musicae.data.files import writable_cache

        return fetch(place, writable_cache())
    known = NAMED_SETS.get(str(place))
    if known is None or known.domain != domain or place.exists():
        return place
    from musicae.data.files import cache_folder  # brings torch

    folder = cache_folder() / "sets" / str(place)
    if known.members and all((folder / name).is_file() for name in known.members):
        return folder
    import pooch  # brings requests

    fetcher = pooch.create(path=folder, base_url=known.base_url, registry=known.files)
    try:
        for name in known.files:
            fetched = Path(fetcher.fetch(name))
            if known.members:
                _unpack(fetched, known.members)
    except (OSError, ValueError, tarfile.TarError) as error:  # requests' errors are OSErrors, a checksum's ValueError
        raise MusicaeError(
            f"could not get {place} ({_first_line(error)}); check the network and the room on the disk and try again, "
            "or give a folder that holds it: --data FOLDER."
        ) from error
    return folder


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _unpack(archive: Path, members: tuple[str, ...]) -> None:
    """Extracts the named files of an archive, whatever folder in it they are in, to its own folder, and no others."""
    missing = set(members)
    with tarfile.open(archive) as tar:
        for entry in tar:
            name = PurePosixPath(entry.name).name
            content = tar.extractfile(entry) if name in missing and entry.isfile() else None
            if content is None:
                continue
            with atomic_write(archive.with_name(name)) as partial, partial.open("wb") as file:
                shutil.copyfileobj(content, file)
            missing.remove(name)
    if missing:
        raise ValueError(f"{archive} holds no {', '.join(sorted(missing))}")
