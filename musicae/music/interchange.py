"""What a piece can be opened from, and `PrettyMIDI` objects to MIDI files and back.

Not by pretty_midi's own writer and reader: the writer raises on names that are not Latin-1 and cuts tempi to whole
microseconds, the reader raises on key signatures that do not exist.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from musicae.music import midi
from musicae.music.midi import MICROSECONDS_PER_MINUTE
from musicae.music.score import (
    ABC_SUFFIXES,
    DENOMINATORS,
    MOST_MICROSECONDS,
    MOST_QUARTERS,
    MUSICXML_SUFFIXES,
    as_midi,
    check_size,
    is_abc,
    read_bytes,
)

if TYPE_CHECKING:
    import pretty_midi

    from musicae.music.piece import Piece

_LONGEST_TICK = 10_000_000  # of a PrettyMIDI's table of times; later ticks go on at the last tempo


class Content(NamedTuple):
    """What a source holds.

    Attributes:
        data: the bytes of a MIDI, RMID or ABC file.
        name: what to call it in errors: the file's name with its ending.
        is_abc: whether they are ABC.
    """

    data: bytes
    name: str
    is_abc: bool = False


def content_of(source: Any) -> Content:
    """Reads a path, bytes, a file object, a `PrettyMIDI` or a symusic `Score`.

    Raises:
        DamagedFileError: it is empty.
        MusicaeError: a path where nothing is, or of another ending.
        ValueError: an object of another type.
    """
    if isinstance(source, Content):
        return source
    if isinstance(source, (str, Path)):
        path = Path(source)
        data = b"" if path.is_file() else read_bytes(path)  # which says that nothing is there
        abc = is_abc(path)
        return Content(as_midi(data or read_bytes(path), path.name), path.name, abc)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _recognised(bytes(source), "piece")
    if hasattr(source, "read"):
        data, name = source.read(), getattr(source, "name", "")
        named = Path(name).name if isinstance(name, (str, Path)) and str(name) else "piece"
        return _recognised(data.encode() if isinstance(data, str) else bytes(data), named)
    if hasattr(source, "ttype") and hasattr(source, "dumps_midi"):  # symusic's, in any unit of time
        return Content(source.to("tick").dumps_midi(), "score")
    if hasattr(source, "instruments") and hasattr(source, "resolution"):
        return Content(midi_of(source), "PrettyMIDI")
    raise ValueError(
        "expected a path, the bytes of a file of MIDI, ABC or MusicXML, a file object, a PrettyMIDI or a symusic "
        f"Score, got {type(source).__name__}; tokens are given to a model as a torch tensor"
    )


def _recognised(data: bytes, name: str) -> Content:
    """Bytes by what they begin with, or the ending of a name."""
    check_size(len(data), name)
    abc = Path(name).suffix.lower() in ABC_SUFFIXES
    if not data.startswith((b"MThd", b"RIFF")):
        abc = abc or data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith((b"X:", b"%abc"))
    if not abc and (data.startswith(b"PK") or data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<?xml")):
        name = name if Path(name).suffix.lower() in MUSICXML_SUFFIXES else f"{name}{MUSICXML_SUFFIXES[0]}"
    return Content(as_midi(data, name), name, abc)


def midi_of(music: "pretty_midi.PrettyMIDI") -> bytes:
    """Writes a `PrettyMIDI` with all it holds: notes, velocities, controls, bends, tempi, signatures, programs, texts.

    Raises:
        ValueError: a time, pitch or program that is none.
    """
    conductor = _conductor(music)
    chunks = [midi.events_in_order(conductor)]
    pitched = 0
    for instrument in music.instruments:
        channel = (
            midi.DRUM_CHANNEL if instrument.is_drum else midi.PITCHED_CHANNELS[pitched % len(midi.PITCHED_CHANNELS)]
        )
        pitched += not instrument.is_drum
        chunks.append(_chunk(music, instrument, channel))
    lyrics = [(_tick(music, lyric.time), midi.text_message(midi.LYRIC, lyric.text)) for lyric in music.lyrics]
    if lyrics:
        chunks.append(midi.events_in_order(lyrics))  # behind the instruments: symusic makes a track of them
    return midi.MidiFile(1, music.resolution, tuple(chunks)).to_bytes()


def _conductor(music: "pretty_midi.PrettyMIDI") -> list[tuple[int, bytes]]:
    import pretty_midi

    events = []
    for second, tempo_bpm in zip(*music.get_tempo_changes(), strict=True):
        if np.isfinite(tempo_bpm) and tempo_bpm > MICROSECONDS_PER_MINUTE / MOST_MICROSECONDS:
            microseconds = max(1, round(MICROSECONDS_PER_MINUTE / tempo_bpm))
            events.append((_tick(music, second), midi.tempo_message(microseconds)))
    for signature in music.time_signature_changes:
        if signature.denominator in DENOMINATORS and 0 < signature.numerator < 256:
            message = midi.time_signature_message(signature.numerator, signature.denominator)
            events.append((_tick(music, signature.time), message))
    for key in music.key_signature_changes:
        mode, sharps = pretty_midi.key_number_to_mode_accidentals(key.key_number)
        events.append((_tick(music, key.time), midi.meta_message(midi.KEY_SIGNATURE, bytes((sharps % 256, mode % 2)))))
    for text in getattr(music, "text_events", ()):
        events.append((_tick(music, text.time), midi.text_message(midi.TEXT, text.text)))
    return events


def _chunk(music: "pretty_midi.PrettyMIDI", instrument: "pretty_midi.Instrument", channel: int) -> midi.EventTrack:
    if not 0 <= instrument.program <= 127:
        raise ValueError(f"expected a PrettyMIDI with programs 0 to 127, got {instrument.program}")
    rows = [(note.start, note.end, note.pitch, note.velocity) for note in instrument.notes]
    values = np.array(rows, dtype=np.float64).reshape(-1, 4)
    if not np.isfinite(values).all():
        raise ValueError("expected a PrettyMIDI of numbers, got a note whose time or pitch is none")
    if (values < 0).any() or (values[:, 2:] > 127).any():
        raise ValueError("expected a PrettyMIDI with notes from time 0 and of 0 to 127, got one outside")
    if len(values) and music.time_to_tick(values[:, :2].max()) > MOST_QUARTERS * music.resolution:
        raise ValueError(f"expected a PrettyMIDI of up to {MOST_QUARTERS:,} quarters, got a longer one")
    start, end = (np.array([music.time_to_tick(second) for second in values[:, side]], np.int64) for side in (0, 1))
    events = [(0, midi.text_message(midi.TRACK_NAME, str(instrument.name)))] if instrument.name else []
    events.append((0, bytes((0xC0 | channel, int(instrument.program)))))
    for change in instrument.control_changes:
        events.append((_tick(music, change.time), bytes((0xB0 | channel, change.number & 127, change.value & 127))))
    for bend in instrument.pitch_bends:
        value = min(max(int(bend.pitch) + 8192, 0), 16_383)
        events.append((_tick(music, bend.time), bytes((0xE0 | channel, value & 127, value >> 7))))
    pitch, velocity = values[:, 2].astype(np.int64), np.maximum(values[:, 3].astype(np.int64), 1)
    return midi.events_in_order(events + midi.note_messages(start, np.maximum(end, start), pitch, velocity, channel))


def _tick(music: "pretty_midi.PrettyMIDI", second: float) -> int:
    """Of an event; before the beginning it stands at it."""
    if not np.isfinite(second):
        raise ValueError("expected a PrettyMIDI of numbers, got an event whose time is none")
    return max(0, int(music.time_to_tick(max(0.0, float(second)))))


def pretty_midi_of(piece: "Piece") -> "pretty_midi.PrettyMIDI":
    """A `PrettyMIDI` of a piece, each of its tracks an instrument."""
    import pretty_midi

    times = piece.tempo_map
    music = pretty_midi.PrettyMIDI(resolution=piece.ticks_per_quarter)
    # The only way to give a PrettyMIDI several tempi; its reader does the same.
    music._tick_scales = list(zip(times.ticks.tolist(), times.tick_s.tolist(), strict=True))
    ends = [times.ticks[-1], *(track.end() for track in piece.score.tracks)]
    music._update_tick_to_time(int(min(max(ends) + 1, _LONGEST_TICK)))

    def seconds(ticks: Any) -> list[float]:
        found: list[float] = times.seconds(np.asarray(ticks, np.int64)).tolist()
        return found

    for index, track in enumerate(piece.score.tracks):
        if not (len(track.notes) or len(track.controls) or len(track.pitch_bends)):
            continue  # lyrics alone, which symusic makes a track of
        instrument = pretty_midi.Instrument(track.program, is_drum=track.is_drum, name=piece.tracks[index].name)
        notes = piece.notes(index)
        columns = zip(
            notes.velocity.tolist(), notes.pitch.tolist(), seconds(notes.start), seconds(notes.end), strict=True
        )
        instrument.notes = [pretty_midi.Note(*column) for column in columns]
        at = seconds([change.time for change in track.controls])
        instrument.control_changes = [
            pretty_midi.ControlChange(change.number, change.value, second)
            for change, second in zip(track.controls, at, strict=True)
        ]
        at = seconds([bend.time for bend in track.pitch_bends])
        instrument.pitch_bends = [
            pretty_midi.PitchBend(bend.value, second) for bend, second in zip(track.pitch_bends, at, strict=True)
        ]
        music.instruments.append(instrument)
    music.time_signature_changes = [
        pretty_midi.TimeSignature(numerator, denominator, seconds([tick])[0])
        for tick, numerator, denominator in piece.time_signatures
    ]
    music.key_signature_changes = [
        pretty_midi.KeySignature(pretty_midi.mode_accidentals_to_key_number(int(minor), sharps), seconds([tick])[0])
        for tick, sharps, minor in piece.key_signatures
    ]
    music.lyrics = [pretty_midi.Lyric(text, seconds([tick])[0]) for tick, text in piece.lyrics]
    texts = sorted((*piece.texts, *piece.markers))
    music.text_events = [pretty_midi.Text(text, seconds([tick])[0]) for tick, text in texts]
    return music
