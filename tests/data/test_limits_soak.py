"""Data beyond a memory limit, and many files: what the scripts in experiments measure stays within its bounds."""

import os
import sys
from collections.abc import Callable
from types import ModuleType

import pytest

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(7200),
    pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and measured as Linux does"),
]


@pytest.mark.parametrize("name", ["conv", "unet of sound"])
def test_a_step_on_data_of_four_times_the_memory_costs_what_one_in_memory_does(
    script: Callable[[str], ModuleType], name: str
) -> None:
    beyond_memory = script("beyond_memory")
    try:
        with beyond_memory.limited(2**30):
            pass
    except RuntimeError as error:
        pytest.skip(str(error))
    found = beyond_memory.measure_limited(name, limit_gb=1.0, times=4.0)
    assert found["ratio"] <= 1.1
    assert found["peak_gb"] <= 1.08


def test_50_000_files_are_read_within_two_gib_of_all_processes(script: Callable[[str], ModuleType]) -> None:
    processes = min(4, len(os.sched_getaffinity(0)))
    found = script("prepare_memory").measure(50_000, processes)
    assert found["said"] == "150,000 examples of 50,000 items in 50,000 files"
    assert found["processes"] >= 1 + processes
    assert found["peak_gib"] < 2
