"""Starter data: files that come with the package, and the data that are learned without `--data`.

    image    scikit-learn's 1,797 digits
    music    the tunes of `tunes.abc`, the grooves of `grooves.txt`, or trios put together from both
    audio    the tunes, played by seven instruments

This module is above the media packages, since the starter sounds are rendered tunes.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from musicae.domain import Domain, Reading
from musicae.errors import MusicaeError

if TYPE_CHECKING:
    from musicae.audio.config import AudioConfig
    from musicae.music.config import MusicConfig

_PACKAGE = Path(__file__).parent
# General MIDI programs of the starter sounds; consecutive tunes have them in this order.
_PROGRAMS = {"piano": 0, "violin": 40, "flute": 73, "guitar": 24, "accordion": 21, "harp": 46, "clarinet": 71}
_SOUNDS, _SOUND_S = 30, 18.0


def starter_file(name: str) -> Path:
    """Path of a starter file: `tunes.abc`, `grooves.txt`, `a.mid`, `b.mid`, `noisy.wav`.

    Raises:
        MusicaeError: neither the wheel's copy nor the checkout's `data/` holds it.
    """
    for folder in (_PACKAGE / "starter_files", _PACKAGE.parent / "data"):
        if (folder / name).is_file():
            return folder / name
    raise MusicaeError(f"starter file {name!r} is missing; reinstall musicae, or restore data/{name} in the checkout.")


class Starter(NamedTuple):
    """The starter data of a domain.

    Attributes:
        read: yields every item, read by a domain with its settings.
        training: defaults of the training settings for this small data set.
    """

    read: Callable[[Domain], Iterator[tuple[str, Reading]]]
    training: dict[str, Any]


def starter_items(domain: Domain) -> Iterator[tuple[str, Reading]]:
    """Reads the starter data of a domain.

    Args:
        domain: its settings choose what is read, such as drums or melodies.

    Yields:
        Each item's name, and its examples.

    Raises:
        MusicaeError: the domain has no starter data; files or arrays must be given.
    """
    if domain.name not in STARTERS:
        raise MusicaeError(f"there are no starter data for {domain.name}; give files or folders: --data PATH.")
    yield from STARTERS[domain.name].read(domain)


def starter_settings(domain: str, *, timed: bool = False) -> dict[str, Any]:
    """Training settings for the starter data of a domain, by its name.

    Args:
        domain: the domain's name.
        timed: whether the user gives a number of minutes; then no number of steps is set.
    """
    settings = STARTERS[domain].training if domain in STARTERS else {}
    return {key: value for key, value in settings.items() if not (timed and key == "steps")}


def _digits(domain: Domain) -> Iterator[tuple[str, Reading]]:
    """scikit-learn's 1,797 digits, 8×8 with 17 grey values (Alpaydin & Kaynak, 1998)."""
    from musicae.image.sets import digits

    pictures, labels = digits()
    stored = domain.array_examples(pictures, [str(label) for label in labels])
    yield "digits", Reading(stored, groups=np.arange(len(stored)))


def _pieces(domain: Domain) -> Iterator[tuple[str, Reading]]:
    """Tunes, grooves, or trios of both, depending on the instruments that the domain reads."""
    from musicae.music.starters import starter_pieces

    for piece in starter_pieces(cast("MusicConfig", domain.config), starter_file):
        yield piece.name, domain.examples(piece)


def _sounds(domain: Domain) -> Iterator[tuple[str, Reading]]:
    """The first tunes, played by seven instruments."""
    from musicae.music.piece import Piece
    from musicae.music.starters import read_tunes

    rate = cast("AudioConfig", domain.config).sample_rate_hz
    for number, tune in enumerate(read_tunes(starter_file("tunes.abc"))[:_SOUNDS]):
        instrument, program = list(_PROGRAMS.items())[number % len(_PROGRAMS)]
        midi = tune.to_pretty_midi()
        for part in midi.instruments:
            part.program = program
            part.notes = [note for note in part.notes if note.end <= _SOUND_S]
        sound = Piece.open(midi).render(rate)
        reading = domain.examples(sound)
        yield f"{number + 1} {tune.name}", replace(reading, parts=(instrument, *reading.parts))


STARTERS: dict[str, Starter] = {
    "image": Starter(_digits, {"steps": 600, "beta": 0.2, "evaluate_every": 100}),
    "music": Starter(_pieces, {}),
    "audio": Starter(_sounds, {}),
}
"""Name of a domain → its starter data."""
