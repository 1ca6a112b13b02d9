"""Music that is unusual, through the command line: what is odd is read, the rest is one sentence."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import torch
from click.testing import CliRunner, Result
from symusic import Score

from musicae.cli import main
from musicae.music.chords import GRAMMAR
from musicae.starter import starter_file
from musicae.trained import load

Notes = list[tuple[float, float, int]]
A = starter_file("a.mid")
MODEL = "melody-2bar"
READS = "4/4, 3/4, 6/8 and 9/8"
SIGNATURES = "there are 4/4, 2/4, 3/4, 6/8, 9/8"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model() -> list[object]:
    return ["--model", MODEL]


def musicae(*arguments: object, code: int = 0) -> Result:
    """Runs a command in this process and checks its exit code; a refusal is one sentence, `Error: …`, at the end."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="musicae")
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == code, f"{result.exit_code}: {result.output}"
    assert code == 0 or result.stderr.splitlines()[-1].startswith("Error: ")
    return result


def write(name: str, *tracks: Notes, drums: bool = False, signature: tuple[int, int] = (4, 4)) -> str:
    """Writes tracks of `(start, end, pitch)` in quarters, at 60 quarters a minute."""
    midi = pretty_midi.PrettyMIDI(initial_tempo=60)
    midi.time_signature_changes.append(pretty_midi.TimeSignature(*signature, 0))
    for notes in tracks:
        instrument = pretty_midi.Instrument(0, is_drum=drums)
        instrument.notes = [pretty_midi.Note(90, pitch, start, end) for start, end, pitch in notes]
        midi.instruments.append(instrument)
    midi.write(name)
    return name


def notes(path: str | Path) -> list[tuple[int, int, int]]:
    """`(start, end, pitch)` in 16ths."""
    score = Score(str(path))
    unit = score.tpq // 4
    return sorted((n.start // unit, n.end // unit, n.pitch) for track in score.tracks for n in track.notes)


PAD = 90  # of 4/4


def in_slots(tokens: torch.Tensor) -> torch.Tensor:
    """Two bars of 4/4, `(batch, 32, 1)`, in slots as long as a bar of 9/8."""
    return torch.nn.functional.pad(tokens.unflatten(1, (2, 16)), (0, 0, 0, 2), value=PAD).flatten(1, 2)


def quarters(z: torch.Tensor, **_: object) -> torch.Tensor:
    """Four notes in each bar of two, whatever the code."""
    tokens = torch.zeros(len(z), 32, 1, dtype=torch.int64)
    tokens[:, ::4] = 40
    return in_slots(tokens)


def scale(count: int, length: float = 1.0) -> Notes:
    return [(number * length, (number + 1) * length, 60 + number % 12) for number in range(count)]


# Unusual, and read


def test_one_note_is_enough_to_interpolate_and_too_little_to_learn_from(model: list[object]) -> None:
    one = write("one.mid", [(0.0, 1.0, 60)])
    said = musicae("interpolate", one, A, "--steps", 2, *model, "--out", "out").stderr
    assert said.startswith("from bar 1 of track 0 to bars ")
    assert musicae("reconstruct", one, *model, "--out", "whole.mid").stdout == "whole.mid\n"
    assert Path("whole.mid").stat().st_size > 0
    assert "fewer than 4 notes" in musicae("inspect", write("late.mid", [(7.0, 8.0, 60)]), code=2).stderr
    refused = musicae("attributes", one, *model, code=2).stderr
    assert refused == "Error: no window to measure in 1 file. Left out: 1 × a section in 4/4 shorter than 2 bars.\n"


def test_twenty_minutes_of_64ths_keep_their_length(model: list[object]) -> None:
    pitches = np.random.default_rng(0).integers(50, 80, 20 * 60 * 16)
    fast = write("fast.mid", [(n / 16, (n + 1) / 16, int(pitch)) for n, pitch in enumerate(pitches)])
    musicae("reconstruct", fast, *model, "--out", "out.mid")
    assert 4 * 1200 - 32 <= max(end for _, end, _ in notes("out.mid")) <= 4 * 1200 + 16
    report = musicae("inspect", fast).stdout
    assert f"{len(pitches)} notes" in report and report.splitlines()[-1].startswith("In all: ")


def test_the_melody_is_found_among_three_hundred_instruments(model: list[object]) -> None:
    tracks = [[(n / 2, n / 2 + 0.5, 40 + (k * 7 + n) % 50) for n in range(32)] for k in range(300)]
    band = write("band.mid", *tracks)
    musicae("reconstruct", band, *model, "--out", "out.mid")
    assert len(Score("out.mid").tracks) == 300  # all play on
    assert musicae("inspect", band).stdout.count("not used") == 299


def test_the_ends_of_a_path_between_identical_files_are_the_same(model: list[object]) -> None:
    result = musicae("interpolate", A, A, "--steps", 3, *model, "--out", "out")
    assert "both ends are the same to the model, so every step is the same" in result.stderr.splitlines()
    steps = [notes(f"out/step-{number:02d}.mid") for number in (1, 2, 3)]
    assert steps[0] == steps[1] == steps[2] != []


@pytest.mark.parametrize(("bars_a", "bars_b"), [(3, 4), (4, 3), (1, 2), (5, 6)])
def test_whole_songs_of_as_many_windows_are_as_long_as_the_longer(
    monkeypatch: pytest.MonkeyPatch, bars_a: int, bars_b: int
) -> None:
    trained = load(MODEL, "cpu")
    monkeypatch.setattr(trained.network, "decode", quarters)
    a, b = write("a.mid", scale(4 * bars_a)), write("b.mid", scale(4 * bars_b)[::-1])
    morph = trained.interpolate_songs(a, b, 3)
    assert [step.note_count for step in morph] == [4 * max(bars_a, bars_b)] * 3
    said = "a is shorter; tempo and length are those of b" if bars_a < bars_b else "b is shorter; tempo and length"
    assert morph.remarks[0].startswith(said)


def write_mixed(name: str) -> str:
    """Writes four bars in 4/4, two in 5/4 and two in 4/4."""
    midi = pretty_midi.PrettyMIDI(initial_tempo=60)
    midi.time_signature_changes = [pretty_midi.TimeSignature(*each) for each in ((4, 4, 0), (5, 4, 16), (4, 4, 26))]
    midi.instruments.append(pretty_midi.Instrument(0))
    midi.instruments[0].notes = [pretty_midi.Note(90, pitch, start, end) for start, end, pitch in scale(34)]
    midi.write(name)
    return name


def test_bars_in_another_time_signature_are_said_by_every_command_on_whole_files(model: list[object]) -> None:
    mixed = write_mixed("mixed.mid")
    copied = f"mixed.mid: bars 5–6 in 5/4 are copied as they are: this model reads {READS}\n"
    assert musicae("reconstruct", mixed, *model).stderr == copied
    assert copied in musicae("shift", mixed, "--attribute", "density", *model).stderr
    few = write("few.mid", scale(8))
    assert copied in musicae("interpolate", few, mixed, "--whole", "--steps", 3, *model).stderr
    longer = write("longer.mid", scale(80))
    left_out = copied.replace("copied as they are", "left out")
    assert left_out in musicae("interpolate", longer, mixed, "--whole", "--steps", 2, *model).stderr


def test_the_first_of_many_tunes_is_said_by_every_command(model: list[object]) -> None:
    tune = "X:{0}\nT:{1}\nM:4/4\nL:1/4\nK:C\nCDEF|GABc|cBAG|\n"
    Path("tunes.abc").write_text(tune.format(1, "One") + "\n" + tune.format(2, "Two"), encoding="utf-8")
    said = "tunes.abc holds 2 tunes; the first, One, is taken\n"
    assert musicae("reconstruct", "tunes.abc", *model).stderr == said
    assert said in musicae("shift", "tunes.abc", "--attribute", "density", *model).stderr
    assert said in musicae("interpolate", "tunes.abc", A, "--whole", "--steps", 2, *model).stderr
    assert musicae("render", "tunes.abc").stderr == said
    assert musicae("render", A, "--out", "a.wav").stderr == ""


def test_bars_of_rest_at_the_end_count_where_songs_are_compared() -> None:
    trained = load(MODEL, "cpu")
    rests = torch.zeros(2, 32, 1, dtype=torch.int64)
    rests[:, 0], rests[:, 4] = 40, 1
    trained.domain.compose(in_slots(rests)).save("rests.mid")
    morph = trained.interpolate_songs(write("busy.mid", scale(12)), "rests.mid", 2)
    assert morph.remarks[0] == "busy is shorter; tempo and length are those of rests"


# Unusual, and refused


def test_only_drums_name_their_model(model: list[object], tmp_path: Path) -> None:
    beat = write("beat.mid", [(n / 2, n / 2 + 0.1, (36, 42, 38, 42)[n % 4]) for n in range(64)], drums=True)
    for command in (["reconstruct", beat], ["interpolate", A, beat], ["vary", beat], ["attributes", beat]):
        assert "(use --model drums-2bar)" in musicae(*command, *model, code=2).stderr
    assert "(use --model drums-2bar)" in musicae("inspect", beat, code=2).stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != ".musicae-cache"] == ["beat.mid"]


def test_only_drums_in_a_time_signature_that_no_shipped_model_reads_name_no_model(model: list[object]) -> None:
    beat = write(
        "beat.mid", [(n / 2, n / 2 + 0.1, (36, 42, 38)[n % 3]) for n in range(64)], drums=True, signature=(6, 8)
    )
    refused = musicae("reconstruct", beat, *model, code=2).stderr
    assert refused == (
        "Error: beat.mid has only drums (channel 10, or with a drum kit's bank), no melody; expected a track with a "
        "melody.\n"
    )
    assert "--model" not in musicae("inspect", beat, code=2).stderr


@pytest.mark.parametrize("pitches", [range(13), range(109, 121)])
def test_a_melody_that_no_token_can_say_is_refused_by_every_command(model: list[object], pitches: range) -> None:
    far = write("far.mid", [(n, n + 1, pitches[n % 12]) for n in range(16)])
    for command in (
        ["reconstruct", far],
        ["interpolate", far, A],
        ["interpolate", far, A, "--whole"],
        ["interpolate", A, far, "--whole"],
        ["vary", far],
    ):
        refused = musicae(*command, *model, "--out", "out.mid", code=2).stderr
        assert f"far.mid has no window in {READS} with notes from A0 to C8; choose another file or track." in refused
        assert not Path("out.mid").exists()


def test_a_melody_that_no_token_can_say_is_not_shifted(model: list[object]) -> None:
    far = write("far.mid", [(n, n + 1, n % 12) for n in range(16)])
    refused = musicae("shift", far, "--attribute", "density", *model, "--out", "out.mid", code=2).stderr
    assert f"no window in {READS} with notes from A0 to C8" in refused and not Path("out.mid").exists()


@pytest.mark.parametrize(
    ("name", "reads", "signature", "advice"),
    [
        (MODEL, "4/4, 3/4, 6/8 and 9/8", (5, 4), "choose another file: no model can be trained for 5/4"),
        ("common time", "4/4", (5, 4), "choose another file: no model can be trained for 5/4"),
        ("common time", "4/4", (3, 4), "choose another file, or train a model for 3/4"),
        ("common time", "4/4", (3, 8), "choose another file, or train a model for 6/8"),
    ],
)
def test_another_time_signature_says_which_there_are(
    tiny_run: Callable[[str], Path], name: str, reads: str, signature: tuple[int, int], advice: str
) -> None:
    model = name if name == MODEL else tiny_run(name)
    file = write("odd.mid", scale(60), signature=signature)
    said = f"odd.mid is in {signature[0]}/{signature[1]}; this model reads {reads}; {advice} ({SIGNATURES})."
    for command in (["reconstruct", file], ["interpolate", file, A], ["interpolate", A, file, "--whole"]):
        refused = musicae(*command, "--model", model, code=2).stderr
        assert said in refused
    inspected = musicae("inspect", file, "--set", "time_signature=4/4", code=2).stderr
    assert f"time signature {signature[0]}/{signature[1]} (this model reads 4/4" in inspected


def test_a_chord_that_cannot_be_parsed_shows_the_grammar() -> None:
    small = ["--set", "width=8", "--set", "step_width=8", "--set", "warmup_steps=0", "--precision", "no"]
    Path("songs").mkdir()
    for number in range(4):
        write(f"songs/{number}.mid", [(n, n + 1, 60 + (n * (number + 2)) % 12) for n in range(40)])
    data = ["--domain", "music", "--data", "songs"]
    musicae("train", *data, "--set", "chords=true", "--steps", 1, *small, "--out", "run")
    for command in (["sample", "--out", "out"], ["reconstruct", A, "--out", "out.mid"]):
        refused = musicae(*command, "--model", "run", "--chords", "C Hmaj9 G", code=2).stderr
        assert refused == f"Error: 'Hmaj9' is no chord; {GRAMMAR}.\n"
    assert not Path("out").exists() and not Path("out.mid").exists()
    assert musicae("sample", "--model", "run", "--chords", "C F | G7 Am", "--count", 1).stdout.startswith("output/")


@pytest.mark.parametrize("amount", ["nan", "inf"])
def test_an_amount_that_is_no_number_moves_nothing(amount: str) -> None:
    trained = load(MODEL, "cpu")
    with pytest.raises(ValueError, match="amount is a number of standard deviations"):
        trained.shift(A, "density", float(amount))


def test_a_place_that_cannot_be_written_is_called_by_its_own_name(model: list[object]) -> None:
    Path("file").write_text("mine", encoding="utf-8")
    for command, place in (
        (["sample", *model, "--count", 1], "file/deep.mid"),
        (["reconstruct", A, *model], "file/deep.mid"),
        (["render", A], "file/deep.wav"),
    ):
        refused = musicae(*command, "--out", place, code=2).stderr
        assert "since file is a file" in refused and ".writing" not in refused
    assert Path("file").read_text(encoding="utf-8") == "mine"


# Silence, and what is read back


def test_an_empty_decode_is_a_valid_file_and_says_so() -> None:
    trained = load(MODEL, "cpu")
    with torch.no_grad():
        trained.network.head[-1].bias[0] += 1e6  # whatever the code, every step holds
    morph = trained.sample(2, seed=0)
    assert morph.remarks == tuple(f"sample-0{number}: silent: no note anywhere" for number in (1, 2))
    whole = morph.save("out")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not any(instrument.notes for instrument in pretty_midi.PrettyMIDI(str(whole)).instruments)
    assert {path.suffix for path in Path("out").iterdir()} == {".mid", ".png", ".wav"}
    assert "has no notes" in musicae("reconstruct", whole, "--model", MODEL, code=2).stderr


# Many


def test_a_picture_of_very_many_is_of_the_first_and_the_file_of_all(
    model: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("musicae.inference.results._MOST_DRAWN", 3)
    few = musicae("sample", *model, "--count", 3, "--seed", 1, "--out", "few")
    many = musicae("sample", *model, "--count", 5, "--seed", 1, "--out", "many")
    assert few.stderr == ""
    assert many.stderr == "samples holds all 5 parts; its picture and its sound are of the first 3\n"
    parts = [notes(f"many/sample-{number:02d}.mid") for number in range(1, 6)]
    moved = [(a + 32 * index, b + 32 * index, pitch) for index, part in enumerate(parts) for a, b, pitch in part]
    assert notes("many/samples.mid") == sorted(moved)
    assert len(list(Path("many").iterdir())) == 5 + 3
