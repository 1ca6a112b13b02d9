"""What the names of the set instruments44k say: instrument, sounding pitch, how loud it was played."""

import re
from pathlib import Path

_NAME = re.compile(r"(?:^|[_-])([a-gA-G])(b|s)?(-?\d)(?=[_.\-pfm]|$)")
_SEMITONES = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_ACCIDENTALS = {"b": -1, "s": 1, None: 0}
# Where octaves are counted from another C, or the instrument is written an octave higher than it sounds.
_OCTAVES = {"alto_sax": 1, "cello": 1, "piano": 1, "tuba": 1, "electric_bass": -1}
_BY_NUMBER = "upright_piano"
_DYNAMICS = {"ppp": 16, "pp": 33, "p": 49, "mp": 64, "mf": 80, "f": 96, "ff": 112, "fff": 127}
_MARK = re.compile(r"(?:^|[_-])(ppp|pp|p|mp|mf|f|ff|fff)(?=[_.\-]|$)", re.IGNORECASE)
_LAYER = re.compile(r"(?:vl|LEVEL)(\d)")
_LAYERS = {"tuba": 4, "upright_bass": 5, "upright_piano": 5}
_USUAL_VELOCITY = 80
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


def velocity_of(path: Path) -> int:
    """MIDI velocity that a dynamic mark or a layer in the name stands for; a usual one where there is none."""
    if (mark := _MARK.search(path.stem)) is not None:
        return _DYNAMICS[mark.group(1).lower()]
    if (layer := _LAYER.search(path.stem)) is not None:
        most = _LAYERS.get(path.parent.name, int(layer.group(1)))
        return min(127, round(127 * int(layer.group(1)) / most))
    return _USUAL_VELOCITY
