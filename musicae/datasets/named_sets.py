"""Data sets known by name, downloaded once with their checksums. It knows no tensors."""

from pathlib import Path
from typing import NamedTuple

from musicae.datasets.dataset import cache_folder
from musicae.errors import MusicaeError


class NamedSet(NamedTuple):
    """Where a set's files are, and what they must hash to.

    Attributes:
        domain: a key of `DOMAINS`.
        base_url: ends with a slash.
        files: name → `md5:…`, as its publishers state it.
    """

    domain: str
    base_url: str
    files: dict[str, str]


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
}


def locate(place: Path, domain: str) -> Path:
    """Turns a set's name into the folder of its files, downloading what is missing; leaves paths alone.

    Args:
        place: what the user gave as data. Something that exists under that name comes first.
        domain: a key of `DOMAINS`.

    Raises:
        MusicaeError: the download failed or its checksum is wrong.
    """
    known = NAMED_SETS.get(str(place))
    if known is None or known.domain != domain or place.exists():
        return place
    import pooch  # brings requests

    folder = cache_folder() / "sets" / str(place)
    fetcher = pooch.create(path=folder, base_url=known.base_url, registry=known.files)
    try:
        for name in known.files:
            fetcher.fetch(name)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors, a wrong checksum is a ValueError
        raise MusicaeError(
            f"could not download {place} ({type(error).__name__}); try again, or give its folder: --data FOLDER."
        ) from error
    return folder
