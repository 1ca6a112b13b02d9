"""MusicXML files (.musicxml, .mxl) to MIDI: repeats played out, the pickup padded to a whole bar, chords as markers.

The conversion is music21's (the extra `musicxml`). A file is somebody else's text: its size is checked packed and
unpacked, and a document that declares entities is not read. Nothing here is kept on disk, as music21 would.
"""

import codecs
import io
import re
import zipfile
from typing import Any
from xml.etree import ElementTree

import numpy as np

from musicae.errors import DamagedFileError, sentence_of
from musicae.music import midi
from musicae.music.midi import EventTrack, MidiFile
from musicae.music.score import LARGEST_FILE_BYTES, check_size

_CONTAINER = "META-INF/container.xml"
_MOST_PLAYED_BARS = 5_000
_STAY = {midi.TRACK_NAME, midi.TEMPO, midi.TIME_SIGNATURE, midi.KEY_SIGNATURE}
"""Meta events that stay at the beginning when a pickup is padded."""


def midi_of_musicxml(data: bytes, name: str) -> bytes:
    """Converts a score.

    Args:
        data: the file's bytes, packed or not.
        name: the file's, for errors.

    Returns:
        A MIDI file, a track for each staff that plays.

    Raises:
        DamagedFileError: it is no MusicXML, or too large; or music21 is not installed.
    """
    try:
        from music21 import converter, exceptions21
        from music21.midi import translate
    except ImportError:
        # As a damaged file is: in a folder it is left out, and the others are read.
        raise DamagedFileError(
            f'{name} is MusicXML, which music21 reads; install it with: pip install "musicae[musicxml]"'
        ) from None
    text = _decoded(_unpacked(data, name) if data.startswith(b"PK") else data, name)
    try:
        score = _played_out(converter.parseData(text, format="musicxml"), exceptions21.Music21Exception, name)
        chords = _taken_chords(score)
        file = midi.read_events(translate.streamToMidiFile(score).writestr(), name)
    except DamagedFileError:
        raise
    except Exception as error:  # whatever its hundred modules raise on what is no score
        raise DamagedFileError(f"{name} is no MusicXML that can be read ({sentence_of(error, 200)}).") from error
    pad = _pickup_ticks(score, file.ticks_per_quarter)
    return _later(_with_markers(file, chords), pad).to_bytes()


def _unpacked(data: bytes, name: str) -> bytes:
    """The score in an .mxl file, whose container says where it is."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            container = ElementTree.fromstring(_decoded(_member(archive, _CONTAINER, name), name))
            files = (file for file in container.iter() if file.tag.rpartition("}")[2] == "rootfile")
            return _member(archive, next(files).get("full-path", ""), name)
    except DamagedFileError:
        raise
    except Exception as error:  # zipfile, zlib and the parser have ten kinds of them between them
        raise DamagedFileError(f"{name} is no packed MusicXML ({sentence_of(error, 100)}); export it again.") from error


def _member(archive: zipfile.ZipFile, place: str, name: str) -> bytes:
    """One file of an archive, if it is no larger than scores are."""
    check_size(archive.getinfo(place).file_size, name)
    with archive.open(place) as file:
        return file.read(LARGEST_FILE_BYTES)


def _decoded(data: bytes, name: str) -> str:
    """The text of a document in the encoding that it declares, without the declaration.

    Raises:
        DamagedFileError: it can't be decoded, or declares entities, which may unfold to any size.
    """
    marks = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
    declared = re.match(rb"\s*<\?xml[^>]*?encoding\s*=\s*[\"']([\w.-]+)", data[:200])
    encoding = next((name for mark, name in marks.items() if data.startswith(mark)), None)
    try:
        text = data.decode(encoding or (declared[1].decode() if declared else "utf-8"))
    except (UnicodeDecodeError, LookupError) as error:
        raise DamagedFileError(f"{name} is no MusicXML that can be read ({sentence_of(error, 100)}).") from error
    if "<!ENTITY" in text:
        raise DamagedFileError(f"{name} declares entities of its own, which no score needs; export it again.")
    return re.sub(r"^\s*<\?xml.*?\?>", "", text, count=1, flags=re.DOTALL)


def _played_out(score: Any, error: type[Exception], name: str) -> Any:
    """The score with its repeats written out; as it is where they can't be followed.

    Raises:
        DamagedFileError: it would have more bars than music has.
    """
    times = [int(repeat.times or 2) for repeat in score.recurse().getElementsByClass("Repeat")]
    bars = max((len(part.getElementsByClass("Measure")) for part in score.parts), default=0)
    if bars * max(times, default=1) > _MOST_PLAYED_BARS:
        raise DamagedFileError(f"{name} repeats its bars {max(times):,} times; write out what is to be played.")
    try:
        return score.expandRepeats()
    except error:
        return score


def _pickup_ticks(score: Any, ticks_per_quarter: int) -> int:
    """What the first bar lacks of a whole one."""
    for part in score.parts:
        first = part.getElementsByClass("Measure").first()
        if first is not None:
            lacks = float(first.barDuration.quarterLength) - float(first.duration.quarterLength)
            return max(0, round(lacks * ticks_per_quarter))
    return 0


def _taken_chords(score: Any) -> list[tuple[float, str]]:
    """`(quarter, symbol)` of the chord symbols, flats as people write them; taken out, since music21 plays them."""
    found = {}
    for part in score.parts:
        for symbol in list(part.recurse().getElementsByClass("Harmony")):
            found[float(symbol.getOffsetInHierarchy(part))] = str(symbol.figure).replace("-", "b")
            symbol.activeSite.remove(symbol)
    return sorted(found.items())


def _with_markers(file: MidiFile, texts: list[tuple[float, str]]) -> MidiFile:
    """The file with texts as markers in its first chunk."""
    first = file.tracks[0]
    events = list(zip(first.ticks.tolist(), first.messages, strict=True))
    ended = [events.pop()] if first.is_ended else []
    events += [
        (round(quarter * file.ticks_per_quarter), midi.text_message(midi.MARKER, text)) for quarter, text in texts
    ]
    track = midi.events_in_order(events)
    if ended:
        end = max(track.end, ended[0][0])
        track = EventTrack(np.append(track.ticks, end), [*track.messages, ended[0][1]])
    return file.with_track(0, track)


def _later(file: MidiFile, ticks: int) -> MidiFile:
    """The file with all but names, tempi and signatures of its beginning some ticks later."""
    if not ticks:
        return file
    for index, track in enumerate(file.tracks):
        frames = [_is_frame(message) for message in track.messages]
        moved = np.where(np.array(frames, bool) & (track.ticks == 0), 0, track.ticks + ticks)
        order = np.argsort(moved, kind="stable").tolist()
        file = file.with_track(index, EventTrack(moved[order], [track.messages[place] for place in order]))
    return file


def _is_frame(message: bytes) -> bool:
    """Whether an event says how the music is written or played, and is none of its sounds and words."""
    is_meta = message[:1] == midi.meta_message(midi.TEMPO)[:1]
    return message[1] in _STAY if is_meta else message[0] & 0xF0 in (0xB0, 0xC0)
