"""Data sets: folders and named sets, read once into a memory-mapped store, split by item.

An item is what may not straddle training and testing: a song, a recording, a picture. Which split it
falls in is a hash of its name, so adding a file moves no other. Nothing here knows models.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from musicae import __version__
from musicae.domains.base import Domain, Reading
from musicae.errors import DamagedFileError, MusicaeError

SPLITS = ("train", "validation", "test")
_VALIDATION_SHARE, _TEST_SHARE = 0.05, 0.05


@dataclass(frozen=True)
class ReadReport:
    """What reading came to: counts, and the reason for everything left out."""

    items: int = 0
    examples: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)  # file name → the sentence


@dataclass(frozen=True)
class DataSet:
    """Stored examples of every split.

    Attributes:
        examples: `(examples, ...)`, memory-mapped, the domain's stored form.
        splits: split name → int64 indices into `examples`.
        fingerprint: names the content: equal for equal files read with equal settings.
        report: what was read and what was left out.
    """

    examples: np.ndarray
    splits: dict[str, np.ndarray]
    fingerprint: str
    report: ReadReport


def find_files(domain: Domain, paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Lists a domain's files once each: `(item name, path)`; a name starts with that of the folder given.

    Raises:
        MusicaeError: a path does not exist, or nothing below it is one of the domain's files.
    """
    found: list[tuple[str, Path]] = []
    for path in paths:
        if path.is_file():
            found.append((path.name, path))
        elif path.is_dir():
            files = (file for file in sorted(path.resolve().rglob("*")) if file.is_file() and domain.reads(file))
            # The folder's own name comes first: two sets may hold files of the same name.
            found.extend((file.relative_to(path.resolve().parent).as_posix(), file) for file in files)
        else:
            raise MusicaeError(f"no such file or folder: {path}")
    if paths and not found:
        places = ", ".join(str(path) for path in paths)
        raise MusicaeError(f"no {domain.name} files in {places}; expected {', '.join(domain.suffixes)}.")
    return _told_apart(found)


def _told_apart(found: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Drops a file that was listed before, and numbers the second and later files of one name."""
    once = {path.resolve(): (name, path) for name, path in reversed(found)}
    names = Counter[str]()
    files = []
    for name, path in reversed(once.values()):
        names[name] += 1
        files.append((name if names[name] == 1 else f"{name} ({names[name]})", path))
    return files


def read_all(domain: Domain, files: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, Reading | DamagedFileError]]:
    """Reads files one by one; a damaged one is yielded as its error and stops nothing."""
    for name, path in files:
        try:
            yield name, domain.read(path)
        except DamagedFileError as error:
            yield name, error


def load_dataset(domain: Domain, paths: Sequence[Path], *, cache: Path | None = None) -> DataSet:
    """Reads a data set, or opens the store an earlier call left.

    Args:
        domain: reads the files.
        paths: folders and files; none for the domain's starter data.
        cache: where stores are kept; by default `cache_folder()`.

    Raises:
        MusicaeError: nothing usable, with the reasons counted; or fewer than two items.
    """
    files = find_files(domain, paths)
    fingerprint = _fingerprint(domain, files)
    store = (cache or cache_folder()) / fingerprint
    if not (store / "report.json").is_file():
        _write_store(domain, files, store)
    return _open_store(store, fingerprint, {name for name, path in files if domain.split_of(path) == "test"})


def told_reasons(skipped: Mapping[str, int], damaged: Mapping[str, str]) -> str:
    """What was left out, in words: every reason with its count, the most frequent first."""
    reasons = [f"{count} × {reason}" for reason, count in sorted(skipped.items(), key=lambda row: -row[1])]
    reasons += [f"{len(damaged)} damaged file{'s' * (len(damaged) > 1)}"] if damaged else []
    return "; ".join(reasons) or "nothing"


def cache_folder() -> Path:
    """`$MUSICAE_CACHE`, else `data/cache` of a checkout, else the user's cache folder."""
    if "MUSICAE_CACHE" in os.environ:
        return Path(os.environ["MUSICAE_CACHE"])
    checkout = Path(__file__).parent.parent
    if (checkout / "pyproject.toml").is_file() and os.access(checkout / "data", os.W_OK):
        return checkout / "data" / "cache"
    import pooch

    return Path(pooch.os_cache("musicae"))


def split_items(names: Sequence[str], test_names: frozenset[str] = frozenset()) -> dict[str, list[str]]:
    """Deals items to splits by the hash of their names.

    Args:
        names: unique item names.
        test_names: items that are the test split by their set's own custom; if there are any, no
            other item is tested on.

    Returns:
        Split → names. Where chance leaves a split empty, training gets one item first, validation one of
        two or more, and the test split one of three or more.
    """
    dealt: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in names:
        place = _hash(name) / 2**64
        if name in test_names:
            dealt["test"].append(name)
        elif place < _VALIDATION_SHARE:
            dealt["validation"].append(name)
        elif place < _VALIDATION_SHARE + _TEST_SHARE and not test_names:
            dealt["test"].append(name)
        else:
            dealt["train"].append(name)
    movable = ("validation", "train") if test_names else ("test", "validation", "train")
    items = sum(len(dealt[split]) for split in movable)
    for split, enough in (("train", 1), ("validation", 2), ("test", 3)):
        if not dealt[split] and items >= enough and split in movable:
            giver = max(movable, key=lambda name: len(dealt[name]))
            lowest = min(dealt[giver], key=_hash)
            dealt[giver].remove(lowest)
            dealt[split].append(lowest)
    return dealt


def unseen(domain: Domain, dataset: DataSet, split: str) -> np.ndarray:
    """Indices of a split's examples whose content (up to augmentation) does not stand in training."""
    indices = dataset.splits[split]
    known = domain.identity(dataset.examples[dataset.splits["train"]])
    return indices[~np.isin(domain.identity(dataset.examples[indices]), known)]


class ExampleTable:
    """Stored examples of one split, ready to be drawn from by index.

    A set that fits stays on the device as one tensor and is indexed there; a larger one is read from
    the memory map, batch by batch.
    """

    def __init__(self, examples: np.ndarray, indices: np.ndarray, device: torch.device, budget_bytes: int) -> None:
        self.device = device
        self._examples = examples
        self._indices = torch.from_numpy(indices)
        size = len(indices) * (examples.nbytes // max(1, len(examples)))
        self._resident = torch.from_numpy(np.array(examples[indices])).to(device) if size <= budget_bytes else None

    def __len__(self) -> int:
        return len(self._indices)

    def batch(self, rows: torch.Tensor) -> torch.Tensor:
        """int64 `(batch,)` row numbers on the CPU → stored `(batch, ...)` on the device."""
        if self._resident is not None:
            return self._resident[rows.to(self.device)]
        return torch.from_numpy(np.array(self._examples[self._indices[rows].numpy()])).to(self.device)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=8).digest(), "big")


def _fingerprint(domain: Domain, files: list[tuple[str, Path]]) -> str:
    listing = [(name, path.stat().st_size, path.stat().st_mtime_ns) for name, path in files]
    content = json.dumps([__version__, domain.name, domain.config.model_dump(mode="json"), listing])
    return hashlib.blake2b(content.encode(), digest_size=10).hexdigest()


def _write_store(domain: Domain, files: list[tuple[str, Path]], store: Path) -> None:
    """Reads everything into `store`, through a temporary folder that is renamed when it is whole."""
    store.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".reading-", dir=store.parent))
    try:
        readings = read_all(domain, files) if files else domain.starter()
        items: list[str] = []
        owners: list[np.ndarray] = []
        skipped, damaged = Counter[str](), dict[str, str]()
        shape, dtype = (0,), "uint8"
        with (temporary / "examples.bin").open("wb") as output:
            for name, reading in readings:
                if isinstance(reading, DamagedFileError):
                    damaged[name] = str(reading)
                    continue
                skipped.update(reading.skipped)
                if not len(reading.examples):
                    continue
                output.write(np.ascontiguousarray(reading.examples).tobytes())
                shape, dtype = reading.examples.shape[1:], reading.examples.dtype.name
                groups = reading.groups if reading.groups is not None else np.zeros(len(reading.examples), np.int64)
                kinds, inverse = np.unique(groups, return_inverse=True)
                owners.append(inverse + len(items))
                items.extend(f"{name}#{kind}" if reading.groups is not None else name for kind in kinds)
        owner = np.concatenate(owners) if owners else np.zeros(0, np.int64)
        report = ReadReport(len(items), len(owner), dict(skipped), damaged)
        _refuse_if_unusable(domain, report)
        np.save(temporary / "owner.npy", owner)
        layout = {"items": items, "shape": [len(owner), *shape], "dtype": dtype}
        (temporary / "items.json").write_text(json.dumps(layout))
        (temporary / "report.json").write_text(json.dumps(asdict(report)))
        _publish(temporary, store)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish(temporary: Path, store: Path) -> None:
    """Renames a whole store to its place, unless another process that read the same data was faster."""
    try:
        temporary.rename(store)
    except OSError:
        if not (store / "report.json").is_file():
            raise


def _refuse_if_unusable(domain: Domain, report: ReadReport) -> None:
    if report.examples == 0:
        left_out = told_reasons(report.skipped, report.damaged)
        raise MusicaeError(f"nothing to learn from: no usable {domain.name} example. Left out: {left_out}.")
    if report.items < 2:
        raise MusicaeError("only one item: training needs at least two, one of them to validate on. Add more files.")


def _open_store(store: Path, fingerprint: str, test_files: set[str]) -> DataSet:
    layout = json.loads((store / "items.json").read_text())
    report = ReadReport(**json.loads((store / "report.json").read_text()))
    examples = np.memmap(store / "examples.bin", dtype=layout["dtype"], mode="r", shape=tuple(layout["shape"]))
    owner = np.load(store / "owner.npy")
    items = layout["items"]
    test_items = frozenset(item for item in items if item.rpartition("#")[0] in test_files or item in test_files)
    dealt = split_items(sorted(set(items)), test_items)
    code_of = {item: code for code, split in enumerate(SPLITS) for item in dealt[split]}
    split_code = np.array([code_of[item] for item in items], np.int8)
    splits = {split: np.flatnonzero(split_code[owner] == code) for code, split in enumerate(SPLITS)}
    return DataSet(examples, splits, fingerprint, report)
