"""The tunes of `data/tunes.abc`: every bar adds up, and they read as they are written.

The bars are counted here from the text alone, so that the converter which reads the tunes is checked too.
"""

import importlib.util
import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import pretty_midi
import pytest
import symusic

from musicae.music.score import read_scores

DATA = Path(__file__).parents[2] / "data"
TUNES = DATA / "tunes.abc"

QUARTER = Fraction(1, 4)
# One tick is how late the converter starts each note.
TICKS_OF_SLACK = 1

TOKEN = re.compile(
    r"(?P<line>:?\|[:\]|]?)(?P<ending>[12](?= ))?"
    r"|(?P<accidental>[_^=]*)(?P<pitch>[A-Ga-gz])(?P<octave>[,']*)(?P<number>\d*)(?P<slashes>/*)(?P<divisor>\d*)"
    r"(?P<tie>-?)(?P<broken>[<>]?)"
    r"|(?P<space>\s+)"
)


@dataclass
class WrittenNote:
    """A note or rest; its length in whole notes."""

    pitch: str
    length: Fraction
    tied: bool


@dataclass
class WrittenBar:
    """A bar, and what its bar lines say."""

    notes: list[WrittenNote] = field(default_factory=list)
    starts_repeat: bool = False
    ends_repeat: bool = False
    ending: int = 0

    @property
    def length(self) -> Fraction:
        """In whole notes."""
        return sum((note.length for note in self.notes), Fraction(0))


@dataclass
class WrittenTune:
    """A tune's header fields by letter (the first of each) and its bars as written."""

    text: str
    header: dict[str, str]
    bars: list[WrittenBar]

    @property
    def bar_length(self) -> Fraction:
        """Length of a bar in whole notes."""
        return Fraction(self.header["M"])


def written_tunes(text: str) -> list[WrittenTune]:
    """Splits a file at its X: lines."""
    tunes = []
    for block in re.split(r"^(?=X:)", text, flags=re.MULTILINE)[1:]:
        head, body = re.match(r"(.*?^K:[^\n]*\n)(.*)", block, re.MULTILINE | re.DOTALL).groups()
        header: dict[str, str] = {}
        for letter, value in re.findall(r"^([A-Z]):(.*)$", head, re.MULTILINE):
            header.setdefault(letter, value.strip())
        tunes.append(WrittenTune(block, header, written_bars(body, Fraction(header["L"]))))
    return tunes


def written_bars(body: str, unit: Fraction) -> list[WrittenBar]:
    """Notes between bar lines; raises on any sign that is not understood here."""
    bars = [WrittenBar()]
    broken = ""
    position = 0
    while position < len(body):
        token = TOKEN.match(body, position)
        assert token, f"not understood: {body[position : position + 20]!r}"
        position = token.end()
        if token["line"]:
            if bars[-1].notes:
                bars[-1].ends_repeat = token["line"].startswith(":")
                bars.append(WrittenBar())
            bars[-1].starts_repeat |= token["line"].endswith(":")
            bars[-1].ending = int(token["ending"] or bars[-1].ending)
        elif token["pitch"]:
            length = unit * int(token["number"] or 1)
            if token["slashes"]:
                length /= int(token["divisor"]) if token["divisor"] else 2 ** len(token["slashes"])
            if broken:
                length *= Fraction(1, 2) if broken == ">" else Fraction(3, 2)
            broken = token["broken"]
            if broken:
                length *= Fraction(3, 2) if broken == ">" else Fraction(1, 2)
            bars[-1].notes.append(WrittenNote(token["pitch"], length, bool(token["tie"])))
    return [bar for bar in bars if bar.notes]


def played_bars(bars: list[WrittenBar]) -> list[WrittenBar]:
    """Repeats and first and second endings played out."""
    played, start, index, again = [], 0, 0, False
    while index < len(bars):
        if bars[index].starts_repeat and not again:
            start = index
        if again and bars[index].ending == 1:
            index = next(later for later in range(index, len(bars)) if bars[later].ending == 2)
            again = False
        played.append(bars[index])
        if bars[index].ends_repeat and not again:
            index, again = start, True
            continue
        if bars[index].ends_repeat:
            start, again = index + 1, False
        index += 1
    return played


def sounding_notes(tune: WrittenTune) -> list[tuple[Fraction, Fraction]]:
    """Onset and end of every note as played, in quarters, tied notes joined."""
    notes: list[tuple[Fraction, Fraction]] = []
    time, tied = Fraction(0), False
    for note in (note for bar in played_bars(tune.bars) for note in bar.notes):
        end = time + note.length / QUARTER
        if note.pitch != "z":
            notes[len(notes) - tied :] = [(notes[-1][0] if tied else time, end)]
        time, tied = end, note.tied
    return notes


def bars_that_do_not_add_up(tunes: list[WrittenTune]) -> list[str]:
    """Title and number of each bar that is not exactly as long as its time signature says."""
    return [
        f"{tune.header['T']}, bar {number}: {bar.length} of {tune.bar_length}"
        for tune in tunes
        for number, bar in enumerate(tune.bars, start=1)
        if bar.length != tune.bar_length
    ]


def load_make() -> ModuleType:
    """`data/make.py` as a module."""
    specification = importlib.util.spec_from_file_location("starter_files_make", DATA / "make.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


STARTER_TUNES = written_tunes(TUNES.read_text(encoding="utf-8"))


def test_there_are_enough_tunes_and_most_are_in_common_time() -> None:
    signatures = [tune.header["M"] for tune in STARTER_TUNES]

    assert len(signatures) == 59
    assert {signature: signatures.count(signature) for signature in set(signatures)} == {
        "4/4": 40,
        "6/8": 7,
        "3/4": 5,
        "2/4": 3,
        "3/8": 1,
        "9/8": 2,
        "12/8": 1,
    }


def test_every_bar_is_as_long_as_its_time_signature_pickups_and_endings_included() -> None:
    assert bars_that_do_not_add_up(STARTER_TUNES) == []


def test_a_bar_that_lost_a_note_is_found() -> None:
    text = TUNES.read_text(encoding="utf-8")
    corrupted = text.replace("K:G\nGGGA|GGD2|", "K:G\nGGGA|GGD|")

    assert bars_that_do_not_add_up(written_tunes(corrupted)) == ["Good King Wenceslas, bar 2: 3/4 of 1"]


def test_repeats_and_endings_are_played_out_in_order() -> None:
    bars = written_bars("C|:D|E|1 F:|2 G|\n|:A|B:|\nc|]", Fraction(1))

    assert "".join(bar.notes[0].pitch for bar in played_bars(bars)) == "CDEFDEGABABc"


@pytest.mark.parametrize("tune", STARTER_TUNES, ids=lambda tune: tune.header["X"])
def test_symusic_plays_the_notes_that_are_written(tune: WrittenTune, tmp_path: Path) -> None:
    path = tmp_path / "tune.abc"
    path.write_text(tune.text, encoding="utf-8")

    score = symusic.Score(path, fmt="abc")

    expected = sounding_notes(tune)
    (track,) = score.tracks
    read = [(note.start, note.end) for note in track.notes]
    assert len(read) == len(expected)
    for (start, end), (expected_start, expected_end) in zip(read, expected, strict=True):
        assert abs(start - expected_start * score.tpq) <= TICKS_OF_SLACK
        assert end == expected_end * score.tpq
    assert [
        (signature.time, f"{signature.numerator}/{signature.denominator}") for signature in score.time_signatures
    ] == [(0, tune.header["M"])]


def test_the_reader_starts_every_tune_on_its_first_bar_line() -> None:
    scores = read_scores(TUNES)

    assert [score.title for score in scores] == [tune.header["T"] for tune in STARTER_TUNES]
    for score, tune in zip(scores, STARTER_TUNES, strict=True):
        first = sounding_notes(tune)[0][0]
        assert abs(score.score.tracks[0].notes[0].start - first * score.score.tpq) <= TICKS_OF_SLACK, score.title


def test_melodies_stay_in_a_singable_range() -> None:
    for score in read_scores(TUNES):
        pitches = [note.pitch for note in score.score.tracks[0].notes]
        assert 48 <= min(pitches) <= max(pitches) <= 96, score.title


def test_every_tune_says_what_it_is_and_where_it_comes_from() -> None:
    assert [int(tune.header["X"]) for tune in STARTER_TUNES] == list(range(1, len(STARTER_TUNES) + 1))
    assert len({tune.header["T"] for tune in STARTER_TUNES}) == len(STARTER_TUNES)
    for tune in STARTER_TUNES:
        assert all(tune.header[letter] for letter in "TCOSMLQK"), tune.header["T"]
        composer = tune.header["C"]
        is_own = composer == "musicae, 2026"
        assert tune.header["Z"] == ("written for musicae" if is_own else "transcribed by hand for musicae")
        old = composer == "Trad." or int(re.fullmatch(r"\D+, (\d{4})", composer)[1]) < 1900
        assert is_own or old, tune.header["T"]


def test_the_table_in_the_readme_is_the_one_in_the_tunes() -> None:
    make = load_make()
    readme = (DATA / "README.md").read_text(encoding="utf-8")

    assert f"{make.TABLE_START}\n{make.table()}{make.TABLE_END}" in readme
    assert f"`tunes.abc` | {len(STARTER_TUNES)} tunes, most of them well known," in readme


def test_the_starter_midi_files_are_made_from_the_tunes_and_come_out_the_same_every_time(tmp_path: Path) -> None:
    make = load_make()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        make.make_midi(tmp_path / name)

    for name, title in {"a.mid": make.QUARTER_NOTE_TUNE, "b.mid": make.EIGHTH_NOTE_TUNE}.items():
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
        assert (tmp_path / "first" / name).read_bytes() == (DATA / name).read_bytes()
        midi = pretty_midi.PrettyMIDI(str(DATA / name))
        (tune,) = [tune for tune in STARTER_TUNES if tune.header["T"] == title]
        (melody,) = midi.instruments
        tempo_bpm = float(tune.header["Q"].split("=")[1])
        assert melody.name == "melody"
        assert midi.get_tempo_changes()[1] == pytest.approx([tempo_bpm])
        onsets = [midi.time_to_tick(note.start) for note in melody.notes]
        assert onsets == [start * midi.resolution for start, _ in sounding_notes(tune)]
