"""`infill`, `continue` and `sample --key` from the command line."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from musicae.cli import main
from musicae.music.piece import Piece
from musicae.music.tonality import parse_key
from musicae.starter import starter_file

B = starter_file("b.mid")


def musicae(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="musicae")
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def notes(piece: Piece, first: int, last: int) -> list[tuple[int, int]]:
    """Onsets and pitches of the first track from one bar to another."""
    own = piece.notes(0)
    inside = (own.start >= piece.bar_tick(first)) & (own.start < piece.bar_tick(last + 1))
    return list(zip(own.start[inside].tolist(), own.pitch[inside].tolist(), strict=True))


@pytest.mark.parametrize(("model", "bars"), [("melody-16bar", "5-6"), ("piano-2bar", "3")])
def test_bars_are_made_up_and_all_others_stay(model: str, bars: str) -> None:
    made = musicae("infill", B, "--bars", bars, "--seed", 1, "--model", model).stdout.strip()
    before, after = Piece.open(B), Piece.open(made)
    first, last = int(bars.partition("-")[0]), int(bars.rpartition("-")[2])
    assert notes(after, 1, first - 1) == notes(before, 1, first - 1)
    assert notes(after, last + 1, before.bars) == notes(before, last + 1, before.bars)
    assert notes(after, first, last) != notes(before, first, last)
    assert notes(after, first, last)


@pytest.mark.parametrize("model", ["melody-16bar", "piano-2bar"])
def test_a_tune_goes_on(model: str) -> None:
    made = musicae("continue", B, "--bars", 3, "--seed", 1, "--model", model, "--out", "more.mid").stdout.strip()
    before, after = Piece.open(B), Piece.open(made)
    assert after.bars == before.bars + 3
    assert notes(after, 1, before.bars) == notes(before, 1, before.bars)
    assert notes(after, before.bars + 1, after.bars)


def test_several_versions_make_a_folder_and_differ() -> None:
    musicae("infill", B, "--bars", "2-3", "--count", 2, "--seed", 3)
    versions = sorted(Path("output/b-infill").glob("*version*.mid"))
    assert len(versions) == 2
    assert len({tuple(notes(Piece.open(path), 2, 3)) for path in versions}) == 2


def test_bars_that_are_not_there_are_refused_and_nothing_is_written() -> None:
    refused = musicae("infill", B, "--bars", "900", code=2)
    assert "has no bars 900 to 900; choose 1 to" in refused.output
    assert "doesn't know how bars follow each other" in musicae("continue", B, "--model", "melody-2bar", code=2).output
    assert not Path("output").exists()


@pytest.mark.parametrize("model", ["melody-2bar", "melody-16bar", "piano-2bar"])
def test_samples_are_in_the_key(model: str) -> None:
    musicae("sample", "--model", model, "--key", "Eb minor", "--count", 2, "--seed", 1, "--out", "made")
    pieces = [Piece.open(path) for path in sorted(Path("made").glob("sample-*.mid"))]
    assert len(pieces) == 2
    for piece in pieces:
        pitch = torch.from_numpy(piece.notes(0).pitch.copy())
        assert len(pitch) and parse_key("Eb minor").has(pitch).all()


def test_a_wrong_key_is_refused_before_anything_is_drawn() -> None:
    assert "'blue' is no key; write a tonic and a mode" in musicae("sample", "--key", "blue", code=2).output
    drums = musicae("sample", "--model", "drums-2bar", "--key", "C", code=2)
    assert "a key is for music with pitches" in drums.output
    assert not Path("output").exists()
