"""The metres a model can be trained for: how many 16ths a bar has, and which signatures are read so.

A model states one metre. Cut time is written in the same bars as 4/4, and 2/4 has the same beats with
twice the bar lines, so a 4/4 model reads both, 2/4 in pairs of bars; 3/8 is read in pairs as 6/8.
This module knows neither notes nor files.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Metre:
    """A metre that a model reads.

    Attributes:
        name: as people write it.
        numerator, denominator: as it is written into files.
        steps_per_bar: 16ths.
        steps_per_beat: 16ths of a beat as it is felt.
        file_bars: time signature → how many of the file's bars make one of this metre.
    """

    name: str
    numerator: int
    denominator: int
    steps_per_bar: int
    steps_per_beat: int
    file_bars: Mapping[tuple[int, int], int]


METRES: dict[str, Metre] = {
    metre.name: metre
    for metre in (
        Metre("4/4", 4, 4, 16, 4, {(4, 4): 1, (2, 2): 1, (8, 8): 1, (2, 4): 2, (4, 8): 2}),
        Metre("2/4", 2, 4, 8, 4, {(2, 4): 1, (4, 8): 1}),
        Metre("3/4", 3, 4, 12, 4, {(3, 4): 1}),
        Metre("6/8", 6, 8, 12, 6, {(6, 8): 1, (3, 8): 2}),
    )
}
"""Name → metre; the first is the default."""


def metre_is_another(signature: str, metre: Metre) -> str:
    """Says that a file's metre is not the model's, and where no model has it, which metres there are."""
    there = "" if metres_for([signature]) else f"; there are {', '.join(METRES)}"
    return f"{signature} (this model reads {metre.name}{there})"


def metres_for(signatures: Iterable[str]) -> list[str]:
    """Names of the metres that read one of some time signatures."""
    pairs = {(int(upper), int(lower)) for upper, lower in (signature.split("/") for signature in signatures)}
    return [name for name, metre in METRES.items() if pairs & metre.file_bars.keys()]
