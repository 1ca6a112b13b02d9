"""ABC files to scores: one for each tune, repeats played out, the pickup padded to a whole bar.

The conversion is abcMIDI's `abc2midi`, which symusic brings along. It is run here and not through
symusic's own reader because that one prints to the terminal, waits for ever on a tune that hangs the
converter, and adds an accompaniment for every chord symbol.

A tune is somebody else's text, and `abc2midi` obeys lines in it that open other files (`%%abc-include`,
`%%MIDI ptstress`, and the same as `I:`). Only lines that are known to be about the music reach it, and it runs
in an empty folder, under limits of time, memory and size, with no file left to open but its own two.
"""

import os
import re
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from symusic.core import ScoreTick  # importing symusic sets SYMUSIC_ABC2MIDI

from musicae.errors import DamagedFileError, MusicaeError
from musicae.limits import bare_environment, limited
from musicae.music.score import LARGEST_FILE_BYTES, NamedScore, checked, parse_midi

SECONDS_PER_TUNE = 5.0
LARGEST_TUNE_CHARACTERS = 200_000
MOST_TUNES = 20_000
_CONVERTER_BYTES = 256 * 2**20
# Standard input, output and error, and one more: the tune, and once it is read and closed, the result.
_CONVERTER_FILES = 4

# Commands of `%%MIDI` that say how the music sounds; `ptstress` names a file, macros may name anything.
_MIDI_COMMANDS = (
    r"MIDI[ \t]*=?[ \t]*("
    "C|barlines|bassprog|bassvol|beat|beataccents|beatmod|beatstring|c|channel|chordattack|chordname|chordprog|"
    "chordvol|control|deltaloudness|drone|droneoff|droneon|drum|drumbars|drummap|drumoff|drumon|expand|"
    "fermatafixed|fermataproportional|gchord|gchordbars|gchordoff|gchordon|grace|gracedivider|harpmode|"
    "makechordchannels|nobarlines|nobeataccents|noportamento|pitchbend|portamento|program|programbase|"
    "randomchordattack|ratio|rtranspose|snt|temperamentequal|temperamentlinear|temperamentnormal|transpose|"
    "trim|vol|volinc"
    r")(?![\w-])"
)
_ABOUT_MUSIC = re.compile(
    rf"%%({_MIDI_COMMANDS}|propagate-accidentals[ \t]|temperament[a-z]*[ \t]|(begin|end)(text|ps)[ \t]*$)"
)
# `I:` is `%%` by another name, as a line and within one.
_INSTRUCTION = re.compile(_MIDI_COMMANDS)
_FIELD = re.compile(r"I\s*:\s*(.*)")
_NAMES_A_FILE = re.compile(r"abc-include|ptstress", re.IGNORECASE)
_INLINE_FIELD = re.compile(r"\[\s*I\s*:\s*([^\]]*)\]?")

# Characters of a tune that its first bar is looked for in: patterns that find none take the square of the length.
_FIRST_BAR_WITHIN = 4_000

_TUNE_START = re.compile(r"^X:", re.MULTILINE)
_TITLE = re.compile(r"^T:(.*)$", re.MULTILINE)
_KEY_LINE = re.compile(r"^K:.*$", re.MULTILINE)
# Chord symbols, decorations, inline fields, grace notes and comments may hold characters that look like bar lines.
_NOT_MUSIC = re.compile(r'"[^"\n]*"|![^!\n]*!|\[[A-Za-z]:[^\]\n]*\]|\{[^}\n]*\}|%[^\n]*|^[A-Za-z]:[^\n]*', re.MULTILINE)
_BAR_LINE = re.compile(r"\||:(?=[|:])")
_OPENING_BAR = re.compile(r"[\s|:\[\]]*")


@dataclass(frozen=True)
class Tune:
    """A tune of a file, not converted yet.

    Attributes:
        title: what it says of itself, or the file's name and the tune's number.
        text: its lines, from X: on.
    """

    title: str
    text: str


def split_tunes(data: bytes, name: str) -> list[Tune]:
    """Finds the tunes of a file.

    Args:
        data: the file's bytes; UTF-8, or Latin-1 as older collections are.
        name: the file's, for errors and for tunes without a title.

    Raises:
        DamagedFileError: there is none.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    starts = [match.start() for match in _TUNE_START.finditer(text)]
    if not starts or "\0" in text:
        raise DamagedFileError(f"{name} holds no ABC tune; expected a header that starts with X: and ends with K:.")
    if len(starts) > MOST_TUNES:
        raise DamagedFileError(f"{name} holds {len(starts):,} tunes; up to {MOST_TUNES:,} are read; split it.")
    blocks = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    return [Tune(_title(block, name), block) for block in blocks]


def pick_tune(tunes: list[Tune], name: str, wanted: int | str | None) -> tuple[list[Tune], tuple[str, ...]]:
    """The wanted tune of a file's, and what is worth knowing about the choice.

    Args:
        tunes: of the file.
        name: the file's, for the error.
        wanted: its place (from 1) or title; None: the first, and a remark where there are others.

    Raises:
        MusicaeError: there is no such tune.
    """
    titles = [tune.title for tune in tunes]
    if wanted is None:
        more = (f"{name} holds {len(tunes)} tunes; the first, {titles[0]}, is taken",)
        return tunes[:1], more if len(tunes) > 1 else ()
    index = titles.index(wanted) if wanted in titles else wanted - 1 if isinstance(wanted, int) else -1
    if not 0 <= index < len(tunes):
        there = ", ".join(titles[:20])
        raise MusicaeError(f"{name} has no tune {wanted!r}; choose 1 to {len(tunes)}, or a title: {there}.")
    return [tunes[index]], ()


def read_abc(data: bytes, name: str) -> list[NamedScore]:
    """Reads every tune of a file; as `split_tunes` and `read_tune`."""
    return [NamedScore(tune.title, read_tune(tune, name)) for tune in split_tunes(data, name)]


def _title(block: str, name: str) -> str:
    field = _TITLE.search(block)
    title = field.group(1).strip() if field else ""
    return title or f"{Path(name).stem} {block[2 : block.find(chr(10))].strip()}"


def read_tune(tune: Tune, name: str) -> ScoreTick:
    """Converts a tune.

    Args:
        tune: as `split_tunes` gives it.
        name: the file's, for errors.

    Returns:
        A checked score whose first full bar starts on a bar line.

    Raises:
        DamagedFileError: it can't be converted.
    """
    name = f"{name}, tune {tune.title[:80]!r}"
    block = without_directives(tune.text) if len(tune.text) <= LARGEST_TUNE_CHARACTERS else ""
    key = _KEY_LINE.search(block)
    if key is None:
        raise DamagedFileError(f"{name} has no K: line or is too long; expected a header X:, T:, M:, L:, K: and notes.")
    # Chord symbols would be played as a second track of chords and bass.
    header, body = block[: key.end()] + "\n%%MIDI gchordoff\n", block[key.end() :].lstrip("\n")
    # A tune ends at an empty line.
    body = re.split(r"\n[ \t]*\n", body)[0]
    score = checked(_convert(header + body + "\n", name), name)
    _pad_pickup(score, header, body, name)
    return score


def without_directives(text: str) -> str:
    """A tune without comments and without the instructions to a program that are not about its music.

    What is left out: every line that begins with %, and every `I:`, but for those that set how the music sounds.
    """
    kept = []
    for line in text.split("\n"):
        begin = line.lstrip()
        field = _FIELD.match(begin)
        if begin.startswith("%"):
            is_kept = _ABOUT_MUSIC.match(line) is not None
        else:
            is_kept = field is None or _INSTRUCTION.match(field.group(1)) is not None
        left = _INLINE_FIELD.sub(lambda found: found[0] if _INSTRUCTION.match(found[1]) else "", line)
        # A line that is empty now would end the tune. What names a file is not kept, however it is written.
        if is_kept and (left.strip() or not begin) and not _NAMES_A_FILE.search(left):
            kept.append(left)
    return "\n".join(kept)


def _convert(tune: str, name: str) -> ScoreTick:
    with tempfile.TemporaryDirectory(prefix="musicae-abc-") as folder:
        source, target = Path(folder, "tune.abc"), Path(folder, "tune.mid")
        # An empty line would end the tune, and its result be opened, while the source is.
        source.write_text(tune.rstrip() + "\n", encoding="utf-8")
        command = limited(
            [os.environ["SYMUSIC_ABC2MIDI"], source.name, "-o", target.name],
            cpu_s=round(SECONDS_PER_TUNE), memory_bytes=_CONVERTER_BYTES, written_bytes=LARGEST_FILE_BYTES,
            open_files=_CONVERTER_FILES,
        )  # fmt: skip
        nowhere = subprocess.DEVNULL
        try:
            # What it prints is as long as a tune wants it to be.
            done = subprocess.run(
                command, cwd=folder, env=bare_environment(), stdin=nowhere, stdout=nowhere, stderr=nowhere,
                timeout=SECONDS_PER_TUNE, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise DamagedFileError(f"{name} took over {SECONDS_PER_TUNE:g} s to convert; check its repeats.") from None
        if done.returncode < 0:
            raise DamagedFileError(
                f"{name} cannot be read as ABC: its converter ended ({_signal(-done.returncode)}); check the tune."
            )
        if not target.is_file() or target.stat().st_size > LARGEST_FILE_BYTES:
            raise DamagedFileError(f"{name} cannot be read as ABC; expected notes after the K: line; check the tune.")
        return parse_midi(target.read_bytes(), name)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _pad_pickup(score: ScoreTick, header: str, body: str, name: str) -> None:
    """Delays the notes so that the first full bar starts on a bar line.

    The length of the pickup is measured by converting the first bar alone, so that every rule of the
    notation (tuplets, unit length, broken rhythm) is the converter's.
    """
    if not len(score.time_signatures):
        return
    first = _first_bar(body)
    if first is None:
        return
    signature = score.time_signatures[0]
    bar = score.tpq * 4 * signature.numerator // signature.denominator
    pickup = _convert(header + first + "|\n", name).end()
    sixteenth = score.tpq // 4
    pickup = (pickup + sixteenth // 2) // sixteenth * sixteenth
    if not 0 < pickup < bar:
        return
    score.shift_time(bar - pickup, inplace=True)
    for event in (score.time_signatures[0], *score.tempos[:1]):
        event.time = 0


def _first_bar(body: str) -> str | None:
    """The music up to the first bar line that has notes before it, rests made notes so that they count."""
    body = body[:_FIRST_BAR_WITHIN]
    blanked = _NOT_MUSIC.sub(lambda match: " " * len(match.group()), body)
    opening = _OPENING_BAR.match(blanked)
    start = opening.end() if opening else 0
    # `[` opens a chord as well as a bar: go back to it when notes follow.
    if start and blanked[start - 1] == "[":
        start -= 1
    line = _BAR_LINE.search(blanked, start)
    if line is None:
        return None
    music = zip(body[start : line.start()], blanked[start : line.start()], strict=True)
    return "".join("C" if bare in "zx" else letter for letter, bare in music)
