"""Batches of stored examples by index: from a tensor on the device, or from a file larger than the memory.

A step of training must not wait for the disk. So the loop says which rows it wants next, and threads read them while
the step is computed. What is read is the same in both cases, bit for bit.
"""

import os
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

_READERS = 8
"""Threads that read rows of one batch: a disk answers several requests at once, and they mostly wait."""


class ExampleTable:
    """Stored examples of one split, from which batches are taken by index.

    A split that fits is kept on the device as one tensor; a larger one is read from its file, batch by batch.

    Args:
        examples: `(examples, ...)` of all splits, in stored form.
        indices: int64, those of this split.
        device: where batches are wanted.
        budget_bytes: size up to which the split is kept on the device.
    """

    def __init__(self, examples: np.ndarray, indices: np.ndarray, device: torch.device, budget_bytes: int) -> None:
        self.device = device
        self._indices = torch.from_numpy(indices)
        size = len(indices) * (examples.nbytes // max(1, len(examples)))
        self._resident = torch.from_numpy(np.array(examples[indices])).to(device) if size <= budget_bytes else None
        self._rows: _Rows | None = None if self._resident is not None else _Rows(examples)
        self._next: tuple[torch.Tensor, Future[torch.Tensor]] | None = None

    def __len__(self) -> int:
        return len(self._indices)

    def batch(self, rows: torch.Tensor) -> torch.Tensor:
        """int64 `(batch,)` row numbers on the CPU → stored `(batch, ...)` on the device."""
        if self._rows is None:
            assert self._resident is not None
            return self._resident[rows.to(self.device, non_blocking=True)]
        ahead, self._next = self._next, None
        is_wanted = ahead is not None and torch.equal(ahead[0], rows)
        read = ahead[1].result() if ahead is not None and is_wanted else self._read(rows)
        return read.to(self.device, non_blocking=read.is_pinned())

    def prefetch(self, rows: torch.Tensor) -> None:
        """Begins to read the rows that the next call of `batch` will ask for."""
        if self._rows is not None:
            self._next = rows, self._rows.background.submit(self._read, rows)

    def _read(self, rows: torch.Tensor) -> torch.Tensor:
        assert self._rows is not None
        read = torch.from_numpy(self._rows.read(self._indices[rows].numpy()))
        return read.pin_memory() if self.device.type == "cuda" else read


class _Rows:
    """Reads rows of an array, from its file if it is memory-mapped.

    Through the memory map each row would be a page fault, answered one after the other, with neighbours read that
    nobody wants. Here rows are read in the order of the file, by several threads, and nothing else is.
    """

    def __init__(self, examples: np.ndarray) -> None:
        self._examples = examples
        self._file: int | None = None
        self.background = ThreadPoolExecutor(1, "prefetch")
        if isinstance(examples, np.memmap) and examples.filename is not None and hasattr(os, "preadv"):
            self._readers = ThreadPoolExecutor(_READERS, "rows")
            self._file = os.open(Path(str(examples.filename)), os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)
            with suppress(OSError, AttributeError):  # advice alone; not every system has it
                os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """int64 `(rows,)` → `(rows, ...)`, a copy."""
        if self._file is None:
            return np.array(self._examples[indices])
        read = np.empty((len(indices), *self._examples.shape[1:]), self._examples.dtype)
        order = np.argsort(indices, kind="stable")
        parts = np.array_split(order, max(1, min(_READERS, len(order))))
        list(self._readers.map(lambda part: self._fill(read, indices, part), parts))
        return read

    def _fill(self, read: np.ndarray, indices: np.ndarray, part: np.ndarray) -> None:
        assert self._file is not None
        for place in part:
            row = read[place : place + 1].reshape(-1).view(np.uint8)
            done, start = 0, int(indices[place]) * row.nbytes
            while done < row.nbytes:  # a single read may give less
                count = os.preadv(self._file, [row[done:].data], start + done)
                if count == 0:
                    raise OSError("the store's examples.bin is shorter than when it was opened.")
                done += count
