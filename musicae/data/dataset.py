"""Data sets: folders and named sets, read once into a memory-mapped store, split by item.

All examples of an item (a song, a recording, a picture) go into one split. The split is chosen by a hash of the item's
content: adding a file moves no other, a renamed or moved file stays where it was, and copies are in one split. The hash
is of the file's bytes and not of the examples read from them, so that a song is held out by every model, whatever its
settings and whatever version reads it. Models of earlier versions were trained with a split by names, and keep it.
Nothing here knows models.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from musicae.data.files import Prepared, prepare_store
from musicae.data.reading import file_content
from musicae.data.store import ReadReport, Stored, open_store
from musicae.domain import Domain

SPLITS = ("train", "validation", "test")
_VALIDATION_SHARE, _TEST_SHARE = 0.05, 0.05

SplitBy = Literal["content", "names"]
"""What chooses an item's split."""


def split_of_run(data: Mapping[str, Any]) -> SplitBy:
    """How the data of a run were split, by the `data` of its manifest: runs of earlier versions don't say."""
    return "content" if data.get("split") == "content" else "names"


@dataclass(frozen=True)
class DataSet:
    """Stored examples of every split.

    Attributes:
        examples: `(examples, ...)`, memory-mapped, the domain's stored form.
        splits: split name → int64 indices into `examples`.
        fingerprint: equal for the same files, unchanged by their names, sizes and times, read with equal settings.
        content: a hash of what all items hold, whatever their names and order and the settings.
        report: what was read and what was left out.
        identity: uint64 `(examples,)`, what `Domain.identity` gave; None where it is not stored.
        owner: int64 `(examples,)`: the number of the item each comes from; None where it is not stored.
    """

    examples: np.ndarray
    splits: dict[str, np.ndarray]
    fingerprint: str
    content: str
    report: ReadReport
    identity: np.ndarray | None = None
    owner: np.ndarray | None = None

    def all_for_testing(self) -> "DataSet":
        """The same with every example in one split, `all`: for files that no training ever read."""
        return replace(self, splits={"train": np.zeros(0, np.int64), "all": np.arange(len(self.examples))})


def load_dataset(
    domain: Domain,
    paths: Sequence[Path],
    *,
    cache: Path | None = None,
    processes: int | None = None,
    unique: bool = False,
    split_by: SplitBy = "content",
) -> DataSet:
    """Reads a data set, or opens the store that an earlier call wrote.

    Args:
        domain: reads the files.
        paths: folders and files; none for the domain's starter data.
        cache: where stores are kept; by default `cache_folder()`.
        processes: number of reading processes; see `prepare_store`.
        unique: keep only the first of the training examples that are the same (up to augmentation).
        split_by: what chooses an item's split. For a trained model: `split_of_run(manifest.data)`.

    Raises:
        MusicaeError: nothing usable, with the reasons counted.
    """
    prepared = prepare_store(domain, paths, cache=cache, processes=processes)
    return open_dataset(domain, prepared, unique=unique, split_by=split_by)


def open_dataset(domain: Domain, prepared: Prepared, *, unique: bool = False, split_by: SplitBy = "content") -> DataSet:
    """Opens a complete store and splits its items."""
    stored = open_store(prepared.store)
    test_files = [number for number, (_, path) in enumerate(prepared.files) if domain.official_split(path) == "test"]
    is_test = np.isin(stored.file, test_files)
    return split_dataset(stored, prepared.store.name, is_test=is_test, unique=unique, split_by=split_by)


def split_dataset(
    stored: Stored,
    fingerprint: str,
    *,
    is_test: np.ndarray | None = None,
    unique: bool = False,
    split_by: SplitBy = "content",
) -> DataSet:
    """Splits the items of stored examples; see `split_items`.

    Args:
        stored: the examples and their items.
        fingerprint: of the data set.
        is_test: bool `(items,)`, those of an official test split; None: there is none.
        unique: as in `load_dataset`.
        split_by: as in `load_dataset`.
    """
    names = stored.items if split_by == "names" else [_key(content) for content in stored.content.tolist()]
    test_names = frozenset() if is_test is None else frozenset(names[item] for item in np.flatnonzero(is_test))
    assigned = split_items(sorted(set(names)), test_names)
    split_codes = {name: code for code, split in enumerate(SPLITS) for name in assigned[split]}
    split_code = np.array([split_codes[name] for name in names], np.int8)
    splits = {split: np.flatnonzero(split_code[stored.owner] == code) for code, split in enumerate(SPLITS)}
    if unique:
        _, first = np.unique(stored.identity[splits["train"]], return_index=True)
        splits["train"] = splits["train"][np.sort(first)]
    content = hashlib.blake2b(np.sort(stored.content).tobytes(), digest_size=10).hexdigest()
    return DataSet(stored.examples, splits, fingerprint, content, stored.report, stored.identity, stored.owner)


def split_items(names: Sequence[str], test_names: frozenset[str] = frozenset()) -> dict[str, list[str]]:
    """Splits items by the hash of their names.

    Args:
        names: unique; what stands for an item's content, or its own name.
        test_names: items of an official test split; if there are any, no other item is used for testing.

    Returns:
        Split → names. A split that is empty by chance is given an item: training always, validation if there are
        at least two items, the test split if there are at least three.
    """
    assigned: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in names:
        position = _hash(name) / 2**64  # 0…1
        if name in test_names:
            assigned["test"].append(name)
        elif position < _VALIDATION_SHARE:
            assigned["validation"].append(name)
        elif position < _VALIDATION_SHARE + _TEST_SHARE and not test_names:
            assigned["test"].append(name)
        else:
            assigned["train"].append(name)
    movable = ("validation", "train") if test_names else ("test", "validation", "train")
    items = sum(len(assigned[split]) for split in movable)
    for split, enough in (("train", 1), ("validation", 2), ("test", 3)):
        if not assigned[split] and items >= enough and split in movable:
            largest = max(movable, key=lambda name: len(assigned[name]))
            lowest = min(assigned[largest], key=_hash)
            assigned[largest].remove(lowest)
            assigned[split].append(lowest)
    return assigned


def content_key(path: Path) -> str:
    """What stands for a file in a split by content, if all of it is one item."""
    return _key(file_content(path))


def unseen(domain: Domain, dataset: DataSet, split: str) -> np.ndarray:
    """Indices of a split's examples whose content (up to augmentation) is not in the training split."""
    indices, train = dataset.splits[split], dataset.splits["train"]
    if dataset.identity is not None:
        known, asked = dataset.identity[train], dataset.identity[indices]
    else:
        known, asked = domain.identity(dataset.examples[train]), domain.identity(dataset.examples[indices])
    return indices[~np.isin(asked, known)]


def _key(content: int) -> str:
    return f"{content:016x}"


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(text), digest_size=8).digest(), "big")
