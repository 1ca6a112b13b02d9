"""The table of splits that a set has of its own, in a folder above its files, as the Groove MIDI Dataset has it."""

import csv
from functools import lru_cache
from pathlib import Path

SPLIT_TABLE = "info.csv"


def is_test_file(path: Path) -> bool:
    """Whether a table in a folder above lists a file as one of the test split."""
    path = path.absolute()
    for folder in path.parents:
        table = folder / SPLIT_TABLE
        changed_ns = _changed_ns(table)
        if changed_ns and path.relative_to(folder).as_posix() in _test_files(table, changed_ns):
            return True
    return False


def _changed_ns(table: Path) -> int:
    """When the table was last written; 0 where there is none."""
    try:
        return table.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=64)
def _test_files(table: Path, changed_ns: int) -> frozenset[str]:
    """Files of the test split, relative to the table's folder; none where it is a table of something else."""
    del changed_ns  # a table that was written again is read again
    try:
        with table.open(encoding="utf-8", errors="replace", newline="") as lines:
            rows = csv.DictReader(lines)
            if not {"midi_filename", "split"} <= set(rows.fieldnames or ()):
                return frozenset()
            return frozenset(row["midi_filename"] for row in rows if row["split"] == "test")
    except (OSError, csv.Error):  # someone else's file of the same name
        return frozenset()
