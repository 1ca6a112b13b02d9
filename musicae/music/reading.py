"""Files to scores: MIDI, ABC and `PrettyMIDI` objects become checked symusic scores in ticks.

Every score passes `musicae.music.checking`, so that nothing after it has to doubt its numbers. This
module doesn't know which track is the melody, nor what a step or a token is.
"""

import os
from io import FileIO
from pathlib import Path

import numpy as np
import pretty_midi
from symusic.core import NoteTickList, ScoreTick, TempoTick, TimeSignatureTick, TrackTick

from musicae.errors import DamagedFileError, MusicaeError
from musicae.music.abc import read_abc, read_titles
from musicae.music.checking import (
    DENOMINATORS,
    MICROSECONDS_PER_MINUTE,
    MOST_MICROSECONDS,
    MOST_QUARTERS,
    NamedScore,
    checked,
    parse_midi,
)
from musicae.music.notes import note_table

MIDI_SUFFIXES = (".mid", ".midi", ".kar")
ABC_SUFFIXES = (".abc",)

LARGEST_FILE_BYTES = 16 * 2**20  # the largest file in the public sets has 0.16 MB; larger ones are note bombs


def read_scores(source: Path | str | pretty_midi.PrettyMIDI) -> list[NamedScore]:
    """Reads every piece in a file: one for MIDI, one for each tune of an ABC file.

    Args:
        source: a path ending in .mid, .midi, .kar or .abc, or a `PrettyMIDI` object.

    Raises:
        DamagedFileError: the file exists, and is not what it claims to be.
        MusicaeError: the file is missing, unreadable, or of another kind.
    """
    if isinstance(source, pretty_midi.PrettyMIDI):
        return [NamedScore("PrettyMIDI", checked(_from_pretty_midi(source), "the PrettyMIDI object"))]
    path = source if isinstance(source, Path) else Path(source)
    data = _read_bytes(path)
    suffix = path.suffix.lower()
    if suffix in ABC_SUFFIXES:
        return read_abc(data, path)
    if suffix not in MIDI_SUFFIXES:
        raise MusicaeError(f"{path.name} is not a score; expected {', '.join(MIDI_SUFFIXES + ABC_SUFFIXES)}.")
    score = parse_midi(data, path.name)
    notes = note_table(score)
    return [NamedScore(path.stem, checked(score, path.name, notes), notes)]


def first_of_many(source: Path | str | pretty_midi.PrettyMIDI) -> str | None:
    """Says of a file of several tunes which one is taken where one is wanted; None of any other.

    Raises:
        As `read_scores`.
    """
    if isinstance(source, pretty_midi.PrettyMIDI) or Path(source).suffix.lower() not in ABC_SUFFIXES:
        return None
    path = Path(source)
    titles = read_titles(_read_bytes(path), path)
    return f"{path.name} holds {len(titles)} tunes; the first, {titles[0]}, is taken" if len(titles) > 1 else None


def _read_bytes(path: Path) -> bytes:
    try:
        with FileIO(path) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            if size_bytes > LARGEST_FILE_BYTES:
                raise DamagedFileError(
                    f"{path.name} has {size_bytes / 2**20:.0f} MB; scores up to {LARGEST_FILE_BYTES // 2**20} MB are "
                    "read; split it, or leave it out."
                )
            data = file.read()
    except FileNotFoundError:
        raise MusicaeError(f"{path} does not exist; check the name.") from None
    except OSError as error:
        if path.is_dir():
            raise MusicaeError(f"{path} is a folder; expected a MIDI or ABC file.") from None
        raise MusicaeError(f"{path} cannot be opened ({error.strerror}); check its permissions.") from None
    if not data:
        raise DamagedFileError(f"{path.name} is empty; expected a MIDI or ABC file; export it again.")
    return data


def _from_pretty_midi(midi: pretty_midi.PrettyMIDI) -> ScoreTick:
    """Copies notes, metres and tempi; not through its writer, which raises on names that are not Latin-1."""
    score = ScoreTick(midi.resolution)
    for instrument in midi.instruments:
        times = np.array([(note.start, note.end) for note in instrument.notes], dtype=np.float64).reshape(-1, 2)
        values = np.array([(note.pitch, note.velocity) for note in instrument.notes], dtype=np.float64).reshape(-1, 2)
        if not np.isfinite(times).all() or not np.isfinite(values).all():
            raise DamagedFileError("the PrettyMIDI object has a note whose time or pitch is not a number; mend it.")
        if (times < 0).any() or (values < 0).any() or (values > 127).any():
            raise DamagedFileError("the PrettyMIDI object has a note below time 0 or outside 0–127; mend it.")
        if times.size and midi.time_to_tick(times.max()) > MOST_QUARTERS * midi.resolution:
            raise DamagedFileError(f"the PrettyMIDI object lasts over {MOST_QUARTERS:,} quarters; check its times.")
        if not 0 <= instrument.program <= 127:
            raise DamagedFileError(f"the PrettyMIDI object has a program of {instrument.program}; 0 to 127 are known.")
        start = np.array([midi.time_to_tick(second) for second in times[:, 0]], dtype=np.int32)
        end = np.array([midi.time_to_tick(second) for second in times[:, 1]], dtype=np.int32)
        notes = NoteTickList.from_numpy(
            start, np.maximum(end - start, 0), values[:, 0].astype(np.int8), values[:, 1].astype(np.int8)
        )
        name = str(instrument.name).encode("utf-8", "replace").decode("utf-8")
        track = TrackTick(name, int(instrument.program), bool(instrument.is_drum))
        track.notes = notes
        score.tracks.append(track)
    for metre in midi.time_signature_changes:
        if metre.denominator not in DENOMINATORS or not 0 < metre.numerator < 256:
            continue  # a file's would be dropped as well
        tick = midi.time_to_tick(metre.time)
        score.time_signatures.append(TimeSignatureTick(tick, metre.numerator, metre.denominator))
    for second, tempo_bpm in zip(*midi.get_tempo_changes(), strict=True):
        if np.isfinite(tempo_bpm) and tempo_bpm > MICROSECONDS_PER_MINUTE / MOST_MICROSECONDS:
            score.tempos.append(TempoTick(midi.time_to_tick(second), mspq=round(MICROSECONDS_PER_MINUTE / tempo_bpm)))
    return score
