"""What the numbers of a music model's tensors mean, in words that other programs can be written by."""

from typing import Any

from musicae.music.config import MusicConfig
from musicae.music.expression import ON_GRID

_STEPS_PER_QUARTER = 4


def describe(config: MusicConfig, chord_classes: int) -> dict[str, Any]:
    """A model's steps, time signatures, symbols and values, as JSON.

    Args:
        config: of its domain.
        chord_classes: how many chords the condition tells apart; 1 without chords.
    """
    described: dict[str, Any] = {
        "part": config.part,
        "bars": config.bars,
        "steps_per_quarter": _STEPS_PER_QUARTER,
        "time_signatures": [
            {"name": signature.name, "class": chord_classes * number, "steps_per_bar": signature.steps_per_bar}
            for number, signature in enumerate(config.signatures)
        ],
        "streams": [
            {"column": column, "name": stream.name, "symbols": stream.meanings}
            for column, stream in enumerate(config.plan.streams)
        ],
    }
    if chord_classes > 1:
        described["chords"] = "a condition's class is that of the time signature plus a chord's, 0 for none"
    if config.expression:
        described["values"] = {
            "velocity": "1 to 127",
            "offset": f"from the grid, in 120ths of a step, plus {ON_GRID}",
        }
    return described
