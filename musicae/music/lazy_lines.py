"""Lines for people that are made when somebody looks: a hundred thousand files are read, and few are looked at."""

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import overload


class Told(Sequence[str]):
    """Lines of text, made on the first look.

    Args:
        tell: makes them; called once at most.
    """

    def __init__(self, tell: Callable[[], Iterable[str]]) -> None:
        self._tell = tell

    @cached_property
    def _lines(self) -> tuple[str, ...]:
        return tuple(self._tell())

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self._lines[index]

    def __len__(self) -> int:
        return len(self._lines)
