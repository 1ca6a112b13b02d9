"""Data in memory: arrays, torch and Hugging Face data sets, and sequences of media objects, split like files.

Each row or object is an item. A hash of its examples chooses its split; in runs of earlier versions, a hash of its
number, which is its name. Nothing is written to disk, so a run is resumed by giving the same data again; a fingerprint
of the content tells whether they are the same.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from musicae.data.dataset import DataSet, SplitBy, split_dataset
from musicae.data.files import describe_skipped
from musicae.data.reading import Block, Outcome, gather_blocks
from musicae.data.store import ReadReport, Stored, refuse_if_unusable
from musicae.domain import Domain, DomainConfig, Reading
from musicae.errors import DamagedFileError

_LOOKED_AT = 1000
"""Number of items, spread over all, from which a domain fills in its settings."""
_LABELS = ("label", "labels", "fine_label", "class", "target")
"""Columns that hold the class of a row, the first that is there."""
_ROWS = 256
"""Number of rows that are encoded at a time."""


class InMemory:
    """The items of data in memory, and their labels.

    Args:
        source: an array `(items, ...)`, a torch tensor, or anything that is iterated item by item, such as a torch
            `Dataset`, a Hugging Face data set, a column of one, or a list. An item is a row (an array or a tensor), a
            media object, what the domain opens as one (a PIL image, a `PrettyMIDI`, bytes, a path), a dictionary with
            an "array" and its "sampling_rate", or one of these and its label: as a pair, or as a dictionary with a
            "label" and one column that is no number, text or list. Classes that the source has names for
            (`features["label"].names`, `classes`) have these.

    Raises:
        ValueError: the source can't be iterated, has no items, or has labels for only some of them.
    """

    def __init__(self, source: Any) -> None:
        if isinstance(source, torch.Tensor):
            source = source.detach().cpu().numpy()
        self.array: np.ndarray | None = source if isinstance(source, np.ndarray) else None
        self.items: Sequence[Any] = source
        self.labels: tuple[str, ...] = ()
        if self.array is None:
            names = _class_names(source)
            pairs = [_item_and_label(item, names) for item in _iterated(source)]
            self.items = [item for item, _ in pairs]
            self.labels = tuple(label for _, label in pairs if label is not None)
            if self.labels and len(self.labels) != len(pairs):
                raise ValueError(f"{len(self.labels)} of {len(pairs)} items have a label; give one with each or none")
            if pairs and all(isinstance(item, np.ndarray) for item in self.items):
                shapes = {item.shape for item in self.items}
                self.array = np.stack(list(self.items)) if len(shapes) == 1 else None
        elif self.array.ndim < 2:
            raise ValueError(f"expected an array with one item a row, got shape {self.array.shape}")
        if not len(self.items):
            raise ValueError("the data hold no items")

    def configure(self, domain: type[Domain], config: DomainConfig, task: str) -> DomainConfig:
        """Fills in what a domain's config leaves to the data; see `Domain.configure_items`."""
        every = max(1, len(self.items) // _LOOKED_AT)
        plain = domain(config)
        looked_at = [_opened(plain, item) for item in self.items[::every]]
        return domain.configure_items(config, looked_at, self.labels, task)

    def read(self, domain: Domain, *, unique: bool = False, split_by: SplitBy = "content") -> DataSet:
        """Encodes every item in the domain's stored form, and splits them.

        Args:
            domain: with the config that `configure` gave.
            unique: keep only the first of the training examples that are the same.
            split_by: what chooses an item's split.

        Raises:
            ValueError: an array or an object that the domain does not take.
            MusicaeError: nothing usable, with the reasons counted.
        """
        stored = _joined(gather_blocks(domain, self._outcomes(domain)))
        report = stored.report
        refuse_if_unusable(report, domain.name, describe_skipped(report.skipped, report.damaged))
        return split_dataset(stored, _fingerprint(domain, stored), unique=unique, split_by=split_by)

    def _outcomes(self, domain: Domain) -> Iterator[Outcome]:
        if self.array is not None:
            yield from self._rows(domain, self.array)
            return
        for number, item in enumerate(self.items):
            try:
                opened = _opened(domain, item)
                label = self.labels[number : number + 1] or None
                if label and hasattr(opened, "label"):
                    opened = replace(opened, label=label[0])
                elif isinstance(item, np.ndarray) or (label and hasattr(opened, "array")):
                    row = item if isinstance(item, np.ndarray) else opened.array
                    yield f"item#{number}", Reading(domain.array_examples(row[None], label))
                    continue
                yield f"item#{number}", domain.examples(opened)
            except DamagedFileError as error:
                yield f"item#{number}", error

    def _rows(self, domain: Domain, array: np.ndarray) -> Iterator[Outcome]:
        """Encodes many rows at once; their names are their numbers."""
        for start in range(0, len(array), _ROWS):
            rows = array[start : start + _ROWS]
            labels = self.labels[start : start + len(rows)] or None
            stored = domain.array_examples(rows, labels)
            if len(stored) == len(rows):
                yield "item", Reading(stored, groups=np.arange(start, start + len(rows)))
                continue
            # A row may give several examples, or none; so each row is encoded alone, to know which belong together.
            for number in range(len(rows)):
                label = None if labels is None else labels[number : number + 1]
                examples = domain.array_examples(rows[number : number + 1], label)
                yield "item", Reading(examples, groups=np.full(len(examples), start + number))


def is_in_memory(data: Any) -> bool:
    """Whether data are given in memory, and not as paths and names of sets."""
    if data is None or isinstance(data, (str, Path)):
        return False
    return not (isinstance(data, (list, tuple)) and all(isinstance(place, (str, Path)) for place in data))


def _iterated(source: Any) -> Iterator[Any]:
    """The items of an iterable, or of an object with only a length and an index, such as a torch `Dataset`."""
    if isinstance(source, (Mapping, bytes, str)):
        raise ValueError(f"expected an array or a sequence of items, got {type(source).__name__}")
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        return (source[index] for index in range(len(source)))
    if isinstance(source, Iterable):
        return iter(source)
    raise ValueError(f"expected an array or a sequence of items, got {type(source).__name__}")


def _class_names(source: Any) -> tuple[str, ...]:
    """What a data set calls its classes, by their numbers; none where it doesn't say."""
    features = getattr(source, "features", None)
    if isinstance(features, Mapping):
        column = _label_column(features)
        names = None if column is None else getattr(features[column], "names", None)
    else:
        names = getattr(source, "classes", None)
    is_list = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    return tuple(cast(Sequence[str], names)) if is_list else ()


def _label_column(columns: Mapping[str, Any]) -> str | None:
    """The column that holds the class of a row; None where there is none."""
    return next((name for name in _LABELS if name in columns), None)


def _item_and_label(item: Any, class_names: Sequence[str]) -> tuple[Any, str | None]:
    label = None
    if isinstance(item, (tuple, list)) and len(item) in (1, 2):
        item, *rest = item
        label = _label(rest[0], class_names) if rest else None
    elif isinstance(item, Mapping) and not _is_sound(item) and not _is_file(item):
        item, label = _example_and_label(item, class_names)
    if isinstance(item, torch.Tensor):
        item = item.detach().cpu().numpy()
    return item, label


def _example_and_label(row: Mapping[str, Any], class_names: Sequence[str]) -> tuple[Any, str | None]:
    """The example of a row with named columns, and its label if it has one."""
    column = _label_column(row)
    examples = [name for name, value in row.items() if name != column and not _is_plain(value)]
    if len(examples) != 1:
        nothing = [str(name) for name, value in row.items() if name != column and value is None]
        hint = f" (in this one {' and '.join(nothing)} is None; leave such rows out)" if nothing else ""
        raise ValueError(
            f"an item is a dictionary with {', '.join(map(str, row))}; give one column, such as dataset['image']{hint}"
        )
    label = None if column is None else row[column]
    return row[examples[0]], None if label is None else _label(label, class_names)


def _is_plain(value: Any) -> bool:
    """Whether a column's value is a number, text, a list or nothing, and so no example."""
    return isinstance(value, (str, int, float, list, type(None))) or getattr(value, "ndim", None) == 0


def _label(value: Any, class_names: Sequence[str]) -> str | None:
    """A label's name; None for a negative number where classes have names, as in test sets without labels."""
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)) and value.ndim == 0:
        value = value.item()
    if class_names and isinstance(value, int) and not isinstance(value, bool):
        if value >= len(class_names):
            raise ValueError(f"an item has the label {value}, and the data name {len(class_names)} classes, from 0 on")
        return class_names[value] if value >= 0 else None
    if isinstance(value, (str, int)):
        return str(value)
    raise ValueError(f"expected a label that is text or a whole number, got {type(value).__name__}")


def _is_sound(item: Any) -> bool:
    return isinstance(item, Mapping) and {"array", "sampling_rate"} <= item.keys()


def _is_file(item: Any) -> bool:
    return isinstance(item, Mapping) and {"bytes", "path"} <= item.keys()


def _opened(domain: Domain, item: Any) -> Any:
    """Opens an item as a media object; a row of an array stays as it is."""
    if isinstance(item, np.ndarray):
        return item
    if _is_sound(item):
        return domain.open(np.asarray(item["array"]), sample_rate_hz=int(item["sampling_rate"]))
    if _is_file(item):
        return domain.open(item["path"] if item["bytes"] is None else item["bytes"])
    return domain.open(item)


def _joined(blocks: Iterable[Block]) -> Stored:
    """Joins blocks in memory, as a store would hold them."""
    gathered = list(blocks)
    items: list[str] = []
    owners, files, read, skipped = [], [], 0, Counter[str]()
    damaged: dict[str, str] = {}
    for block in gathered:
        owners.append(block.owner + len(items))
        files.append(block.file + read)
        items += block.items
        read += block.files
        skipped.update(block.skipped)
        damaged |= block.damaged
    filled = [block.examples for block in gathered if len(block.examples)]
    examples = np.concatenate(filled) if filled else np.zeros(0, np.uint8)
    identity = np.concatenate([block.identity for block in gathered])
    duplicates = len(identity) - len(np.unique(identity))
    report = ReadReport(len(items), len(examples), dict(skipped), damaged, duplicates=duplicates)
    content = np.concatenate([block.content for block in gathered])
    return Stored(examples, identity, np.concatenate(owners), items, content, np.concatenate(files), report)


def _fingerprint(domain: Domain, stored: Stored) -> str:
    settings = [domain.name, domain.config.model_dump(mode="json"), stored.items]
    digest = hashlib.blake2b(json.dumps(settings).encode(), digest_size=10)
    digest.update(stored.owner.tobytes())
    digest.update(np.ascontiguousarray(stored.examples).data)
    return digest.hexdigest()
