"""Batches by index: from memory or from a file, asked for ahead or not, they are the same."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from musicae.data.table import ExampleTable

CPU = torch.device("cpu")


def mapped(folder: Path, examples: np.ndarray) -> np.ndarray:
    (folder / "examples.bin").write_bytes(examples.tobytes())
    return np.memmap(folder / "examples.bin", examples.dtype, "r", shape=examples.shape)


@pytest.mark.parametrize("budget_bytes", [0, 10**9])
def test_a_table_gives_the_rows_of_its_split(budget_bytes):
    examples = np.arange(40, dtype=np.uint8).reshape(10, 4)
    table = ExampleTable(examples, np.array([7, 2, 5]), CPU, budget_bytes)
    assert len(table) == 3
    assert table.batch(torch.tensor([2, 0])).tolist() == [[20, 21, 22, 23], [28, 29, 30, 31]]


@pytest.mark.parametrize("shape", [(5000, 3), (300, 7, 11, 2), (9, 20_000)])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "int64"])
def test_rows_read_from_a_file_are_those_in_memory(tmp_path, shape, dtype):
    generator = np.random.default_rng(0)
    examples = generator.integers(0, 100, shape).astype(dtype)
    indices = generator.permutation(len(examples))[: len(examples) // 2]
    from_file = ExampleTable(mapped(tmp_path, examples), indices, CPU, 0)
    in_memory = ExampleTable(examples, indices, CPU, 10**9)
    for count in (0, 1, 3, 64):
        rows = torch.from_numpy(generator.integers(0, len(indices), count))  # some of them twice
        wanted = in_memory.batch(rows)
        assert wanted.shape == (count, *shape[1:])
        assert torch.equal(from_file.batch(rows), wanted)


def test_what_was_asked_for_ahead_is_what_is_given_and_only_where_it_is_wanted(tmp_path):
    examples = np.random.default_rng(0).integers(0, 256, (1000, 16), dtype=np.uint8)
    table = ExampleTable(mapped(tmp_path, examples), np.arange(1000), CPU, 0)
    batches = torch.randperm(1000, generator=torch.Generator().manual_seed(0)).split(50)
    for now, after in zip(batches, (*batches[1:], batches[0]), strict=True):
        assert np.array_equal(table.batch(now).numpy(), examples[now.numpy()])
        table.prefetch(after)
    assert np.array_equal(table.batch(batches[5]).numpy(), examples[batches[5].numpy()])  # something else
    table.prefetch(batches[1])
    table.prefetch(batches[2])
    assert np.array_equal(table.batch(batches[2]).numpy(), examples[batches[2].numpy()])


def test_the_rows_asked_for_ahead_are_read_while_the_caller_is_busy(tmp_path):
    examples = np.random.default_rng(0).integers(0, 256, (1000, 16), dtype=np.uint8)
    table = ExampleTable(mapped(tmp_path, examples), np.arange(1000), CPU, 0)
    rows = torch.arange(10)
    table.prefetch(rows)
    table._next[1].result(timeout=60)
    os.truncate(tmp_path / "examples.bin", 0)  # so that nothing more can be read
    assert np.array_equal(table.batch(rows).numpy(), examples[:10])
    with pytest.raises(OSError, match="shorter than when it was opened"):
        table.batch(rows)


def test_a_file_that_was_cut_is_an_error_and_no_crash(tmp_path):
    examples = np.zeros((1000, 1000), np.uint8)
    table = ExampleTable(mapped(tmp_path, examples), np.arange(1000), CPU, 0)
    os.truncate(tmp_path / "examples.bin", 500_500)
    assert table.batch(torch.tensor([0, 499])).shape == (2, 1000)
    table.prefetch(torch.tensor([500]))
    for _ in range(2):
        with pytest.raises(OSError, match="shorter than when it was opened"):
            table.batch(torch.tensor([500]))
