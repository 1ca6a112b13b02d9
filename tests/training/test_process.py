"""The process that trains: it keeps freed memory where glibc can, and reads Ctrl-C between steps."""

import ctypes
import os
import signal
import subprocess
import sys

import pytest

from musicae.training.process import interrupt_flag, keep_freed_memory

HAS_GLIBC = sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallopt")
FAULTS = """
import resource, numpy
from musicae.training.process import keep_freed_memory
{}
def step():
    pieces = [numpy.ones(5 << 20) for _ in range(2)]  # 40 MiB each: glibc keeps less than 32 by itself
for _ in range(10): step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3): step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(first: str) -> int:
    """Pages that three steps fetch from the system, in a process of its own."""
    environment = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}
    command = [sys.executable, "-c", FAULTS.format(first)]
    return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not HAS_GLIBC, reason="another allocator")
def test_a_step_gets_the_pages_of_the_one_before() -> None:
    assert faults("assert keep_freed_memory()") < faults("") / 4


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


@pytest.mark.skipif(os.name != "posix", reason="os.kill ends the process on Windows")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_end_is_a_flag_inside_and_what_it_was_outside(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interrupt_flag() as flag:
        assert not flag.is_set()
        os.kill(os.getpid(), number)
        assert flag.wait(5)
    assert signal.getsignal(number) == before
