"""What the names of the set instruments44k say: instrument, sounding pitch, how loud it was played."""

import re
from pathlib import Path

_NAME = re.compile(r"(?:^|[_-])([a-gA-G])(b|s)?(-?\d)(?=[_.\-pfm]|$)")
_SEMITONES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_ACCIDENTALS = {"b": -1, "s": 1, None: 0}
# Where octaves are counted from another C, or the instrument is written an octave higher than it sounds.
_OCTAVES = {"alto_sax": 1, "cello": 1, "piano": 1, "tuba": 1, "electric_bass": -1}
_BY_NUMBER = "upright_piano"
UNPITCHED = ("body_percussion", "drum_kit")


def pitch_of(path: Path) -> int | None:
    """MIDI pitch that a recording sounds at; None for what has none, such as drums."""
    instrument = path.parent.name
    if instrument in UNPITCHED:
        return None
    if instrument == _BY_NUMBER:
        return int(path.stem.rsplit("_", 1)[1])
    found = _NAME.search(path.stem)
    if found is None:
        return None
    name, accidental, octave = found.groups()
    return 12 * (int(octave) + 1 + _OCTAVES.get(instrument, 0)) + _SEMITONES[name.lower()] + _ACCIDENTALS[accidental]
