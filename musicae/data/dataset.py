"""Data sets: folders and named sets, read once into a memory-mapped store, split by item.

All examples of an item (a song, a recording, a picture) go into one split. The split is chosen by a hash of the
item's name, so adding a file moves no other. Nothing here knows models.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from musicae.data.files import Prepared, prepare_store
from musicae.data.store import ReadReport, Stored, open_store
from musicae.domain import Domain

SPLITS = ("train", "validation", "test")
_VALIDATION_SHARE, _TEST_SHARE = 0.05, 0.05


@dataclass(frozen=True)
class DataSet:
    """Stored examples of every split.

    Attributes:
        examples: `(examples, ...)`, memory-mapped, the domain's stored form.
        splits: split name → int64 indices into `examples`.
        fingerprint: names the content: equal for equal files read with equal settings.
        report: what was read and what was left out.
        identity: uint64 `(examples,)`, what `Domain.identity` gave; None where it is not stored.
        owner: int64 `(examples,)`: the number of the item each comes from; None where it is not stored.
    """

    examples: np.ndarray
    splits: dict[str, np.ndarray]
    fingerprint: str
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
) -> DataSet:
    """Reads a data set, or opens the store that an earlier call wrote.

    Args:
        domain: reads the files.
        paths: folders and files; none for the domain's starter data.
        cache: where stores are kept; by default `cache_folder()`.
        processes: number of reading processes; see `prepare_store`.
        unique: keep only the first of the training examples that are the same (up to augmentation).

    Raises:
        MusicaeError: nothing usable, with the reasons counted.
    """
    return open_dataset(domain, prepare_store(domain, paths, cache=cache, processes=processes), unique=unique)


def open_dataset(domain: Domain, prepared: Prepared, *, unique: bool = False) -> DataSet:
    """Opens a complete store and splits its items."""
    stored = open_store(prepared.store)
    test_files = {name for name, path in prepared.files if domain.official_split(path) == "test"}
    test_items = {item for item in stored.items if item.rpartition("#")[0] in test_files or item in test_files}
    return split_dataset(stored, prepared.store.name, test_items=frozenset(test_items), unique=unique)


def split_dataset(
    stored: Stored, fingerprint: str, *, test_items: frozenset[str] = frozenset(), unique: bool = False
) -> DataSet:
    """Splits the items of stored examples; see `split_items`."""
    assigned = split_items(sorted(set(stored.items)), test_items)
    split_codes = {item: code for code, split in enumerate(SPLITS) for item in assigned[split]}
    split_code = np.array([split_codes[item] for item in stored.items], np.int8)
    splits = {split: np.flatnonzero(split_code[stored.owner] == code) for code, split in enumerate(SPLITS)}
    if unique:
        _, first = np.unique(stored.identity[splits["train"]], return_index=True)
        splits["train"] = splits["train"][np.sort(first)]
    return DataSet(stored.examples, splits, fingerprint, stored.report, stored.identity, stored.owner)


def split_items(names: Sequence[str], test_names: frozenset[str] = frozenset()) -> dict[str, list[str]]:
    """Splits items by the hash of their names.

    Args:
        names: unique item names.
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


def unseen(domain: Domain, dataset: DataSet, split: str) -> np.ndarray:
    """Indices of a split's examples whose content (up to augmentation) is not in the training split."""
    indices, train = dataset.splits[split], dataset.splits["train"]
    if dataset.identity is not None:
        known, asked = dataset.identity[train], dataset.identity[indices]
    else:
        known, asked = domain.identity(dataset.examples[train]), domain.identity(dataset.examples[indices])
    return indices[~np.isin(asked, known)]


class ExampleTable:
    """Stored examples of one split, from which batches are taken by index.

    A split that fits is kept on the device as one tensor; a larger one is read from the memory map, batch by batch.

    Args:
        examples: `(examples, ...)` of all splits, in stored form.
        indices: int64, those of this split.
        device: where batches are wanted.
        budget_bytes: size up to which the split is kept on the device.
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
