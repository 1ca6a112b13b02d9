"""Errors that a user can fix; each text says what happened, what was expected, and what to do next.

Callers of the Python API who pass a bad argument get a plain `ValueError`; the classes here are for
files, folders and models. The command line prints their text and exits with `exit_code`.
"""

from collections.abc import Iterable
from difflib import get_close_matches

_MOST_COMPARED = 60
"""Characters of an unknown name that are compared with the valid ones."""


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
    # The comparison takes the square of a name's length, and a name may be a whole damaged file.
    close = get_close_matches(name[:_MOST_COMPARED], names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown {kind} {in_short(name)}.{hint} Valid: {', '.join(names)}."


def in_short(value: object, most: int = 100) -> str:
    """A value as Python writes it, on one line of printable characters and cut to `most` of them, for an error."""
    written = repr(value)
    return written if len(written) <= most else f"{written[: most - 1]}…"


def sentence_of(error: object, most: int = 600) -> str:
    """The text of another error, on one line of printable characters and cut to `most` of them."""
    text = " ".join(str(error).split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text[:most])
    return text.rstrip(".")
