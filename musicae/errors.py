"""Errors that a user can fix; each text says what happened, what was expected, and what to do next.

Callers of the Python API who pass a bad argument get a plain `ValueError`; the classes here are for
files, folders and models. The command line prints their text and exits with `exit_code`.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class MusicaeError(Exception):
    """An error that a user can fix: a missing file, an empty folder, a model of another domain."""

    exit_code = 2


class DamagedFileError(MusicaeError):
    """A file that exists but cannot be read as what it claims to be."""

    exit_code = 1


class CheckpointError(MusicaeError):
    """A model folder that is missing, damaged, or written by a newer version."""


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> str:
    """The text for a name that is not in a table, with the closest name that is.

    Args:
        kind: what was looked up, in the singular: `"model"`, `"config key"`.
        name: what the user wrote.
        valid: the names that exist.
    """
    names = sorted(valid)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown {kind} {name!r}.{hint} Valid: {', '.join(names)}."
