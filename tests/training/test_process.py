"""Freed memory is kept where glibc can be told so, and nowhere else is anything done."""

import ctypes
import subprocess
import sys

import pytest

from musicae.training.process import keep_freed_memory

HAS_GLIBC = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallopt")
FAULTS = """
import resource, torch
from musicae.training.process import keep_freed_memory
{}
def step():
    pieces = [torch.zeros(10 << 20) for _ in range(2)]  # 40 MiB each: glibc keeps less than 32 by itself
for _ in range(10): step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3): step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(told: str) -> int:
    """Pages that three steps fetch from the system, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", FAULTS.format(told)], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not HAS_GLIBC, reason="another allocator")
def test_a_step_gets_the_pages_of_the_one_before() -> None:
    assert faults("assert keep_freed_memory()") < faults("") / 4


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
