"""The measurement of how long commands take and what they load (tests/test_imports.py holds the counts)."""

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture
def start_up(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("start_up")


def test_a_command_that_ends_otherwise_than_it_should_is_no_measurement(start_up: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="ended with 2"):
        start_up.run_timed(start_up.Command(("denoise", "missing.wav")))


def test_each_command_is_measured_and_counted(start_up: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_up, "COMMANDS", {"--help": start_up.COMMANDS["--help"]})
    found = start_up.measure(None, None, rounds=1)
    assert set(found["commands"]) == {"--help"}
    row = found["commands"]["--help"]
    assert 0 < row["processor_s"] < row["wall_s"] + 0.1 < 60
    assert row["wall_s"] < found["import_torch"]["wall_s"]
    assert 1 <= found["commands"]["--help"]["modules"] <= 12
