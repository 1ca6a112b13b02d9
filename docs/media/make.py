"""Makes the pictures and sounds of the documentation again: `python docs/media/make.py`."""

from pathlib import Path

import musicae
from musicae.starter import starter_file

FOLDER = Path(__file__).resolve().parent


def main() -> None:
    """A morph, as picture and sound; a recording before and after cleaning, as sounds."""
    morph = musicae.load("melody-2bar").interpolate(starter_file("a.mid"), starter_file("b.mid"), steps=7)
    morph.plot().save(FOLDER / "interpolation.png", optimize=True)


if __name__ == "__main__":
    main()
