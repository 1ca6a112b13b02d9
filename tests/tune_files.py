"""Small MIDI files for tests."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from symusic import Note, Score, Tempo, TimeSignature, Track

from musicae.data.files import find_files, prepare_store
from musicae.music.domain import MusicDomain

SCALE = (60, 62, 64, 65, 67, 69, 71, 72)


def write_tune(path: Path, pitches: Sequence[int], *, numerator: int = 4) -> Path:
    """Quarters at 120 bpm, 480 ticks each."""
    score = Score(480)
    score.tempos.append(Tempo(0, 120))
    score.time_signatures.append(TimeSignature(0, numerator, 4))
    track = Track("Melody")
    for place, pitch in enumerate(pitches):
        if pitch == 0:  # a rest
            continue
        track.notes.append(Note(place * 480, 480, pitch, 90))
    score.tracks.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    score.dump_midi(str(path))
    return path


def write_tunes(folder: Path, count: int, first: int = 0) -> Path:
    """Each tune has a rhythm of pitches of its own, three bars long."""
    generator = np.random.default_rng(first)
    for number in range(first, first + count):
        write_tune(folder / f"tune-{number:03d}.mid", generator.choice(SCALE, 12).tolist())
    return folder


def interrupted_store(folder: Path, cache: Path, at: int) -> Path:
    """Ctrl-C at the file of that number, counted from 0; what is left of the reading."""
    names = [name for name, _ in find_files(MusicDomain(), [folder])]

    def read(self, path):
        if path.name == Path(names[at]).name:
            raise KeyboardInterrupt
        return MusicDomain.read(self, path)

    interrupted = type("MusicDomain", (MusicDomain,), {"read": read})
    with pytest.raises(KeyboardInterrupt):
        prepare_store(interrupted(), [folder], cache=cache, journal_s=0, processes=0)
    (left,) = cache.iterdir()
    return left
