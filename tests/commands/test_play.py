"""`humanize`, `groove-transfer` and `tap` from the command line."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from musicae.cli import main
from musicae.music.midi import NewTrack, Notes
from musicae.music.piece import Piece
from musicae.new_model import train as musicae_train
from musicae.starter import starter_file

Q = 480


def musicae(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="musicae")
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def beat(tmp_path: Path) -> Path:
    """Two bars of rock on an electronic kit's pads, stiff."""
    start = np.arange(16) * Q // 2
    pitch = np.where(start % (2 * Q) == 0, 36, np.where(start % Q == 0, 40, 22))
    kit = NewTrack("kit", 0, True, Notes(start, start + 60, pitch, np.full(16, 100)))
    return Piece.new([kit], name="beat").save(tmp_path / "beat.mid")


def hits(path: Path) -> list[tuple[int, int]]:
    notes = Piece.open(path).notes(0)
    return sorted(zip(((notes.start + 60) // 120).tolist(), notes.pitch.tolist(), strict=True))


def test_a_beat_is_humanized_on_its_own_kit(beat: Path) -> None:
    first = musicae("humanize", beat, "--seed", 1, "--out", "played.mid").stdout.strip()
    assert hits(Path(first)) == hits(beat)
    velocity = Piece.open(first).notes(0).velocity
    assert velocity.std() > 5
    again = musicae("humanize", beat, "--seed", 1, "--out", "again.mid").stdout.strip()
    assert Path(again).read_bytes() == Path(first).read_bytes()


def test_several_players_make_a_folder(beat: Path) -> None:
    musicae("humanize", beat, "--count", 3, "--seed", 2)
    written = sorted(Path("output/beat-humanize").glob("*player*.mid"))
    assert len(written) == 3
    assert all(hits(path) == hits(beat) for path in written)


def test_the_feel_of_one_groove_plays_another(beat: Path) -> None:
    musicae("humanize", beat, "--seed", 3, "--out", "feel.mid")
    musicae("groove-transfer", "feel.mid", beat, "--out", "both.mid")
    assert hits(Path("both.mid")) == hits(beat)
    ours, feel = (Piece.open(path).notes(0).velocity for path in ("both.mid", "feel.mid"))
    assert np.abs(ours - feel).mean() < np.abs(100 - feel).mean()


def test_taps_of_chosen_bars_are_played(tmp_path: Path) -> None:
    settings = {"part": "drums", "expression": True, "width": 16, "step_width": 8, "embedding": 4, "unrolled": 4}
    short = {"steps": 3, "evaluate_every": 3, "batch_size": 16, "precision": "no", "warmup_steps": 1}
    musicae_train("music", task="tap", out=tmp_path / "taps", log_with=(), **settings, **short)
    start = np.arange(32) * Q
    taps = NewTrack("pad", 0, False, Notes(start, start + 60, np.full(32, 60), np.full(32, 100)))
    Piece.new([taps], name="taps").save(Path("taps.mid"))
    options = ("--model", tmp_path / "taps")
    musicae("tap", "taps.mid", *options, "--bars", "3-4", "--out", "kit.mid")
    kit = Piece.open("kit.mid")
    assert all(track.is_drum for track in kit.tracks)
    assert not [
        tick for track in kit.tracks for tick in kit.notes(track.index).start if not 8 * Q - 60 <= tick < 16 * Q
    ]
    assert "has no bar 9; choose 1 to 8" in musicae("tap", "taps.mid", *options, "--bars", "9", code=2).stderr


def test_bars_and_solo_are_of_the_drums(beat: Path) -> None:
    song = Piece.open(beat)
    start = np.arange(8) * Q
    bass = NewTrack("bass", 33, False, Notes(start, start + Q, np.full(8, 40), np.full(8, 70)))
    kit = NewTrack("kit", 0, True, song.notes(0))
    Piece.new([bass, kit], name="song").save(Path("song.mid"))
    musicae("humanize", "song.mid", "--bars", "2", "--solo", "--seed", 1, "--out", "drums.mid")
    solo = Piece.open("drums.mid")
    assert [track.is_drum for track in solo.tracks if track.notes] == [True]
    first = solo.notes(0).start < 4 * Q - 60
    assert set(solo.notes(0).velocity[first].tolist()) == {100}


def test_what_cannot_be_played_is_said_in_a_sentence(beat: Path) -> None:
    assert "no such file: nowhere.mid" in musicae("humanize", "nowhere.mid", code=2).stderr
    melody = starter_file("a.mid")
    assert "no drums" in musicae("humanize", melody, code=2).stderr
    assert "use drums-2bar" in musicae("humanize", beat, "--model", "melody-2bar", code=2).stderr
    assert not Path("output").exists()


def test_a_melody_is_not_humanized_and_no_model_is_advised_that_refuses_as_well() -> None:
    said = musicae("humanize", starter_file("a.mid"), code=2).stderr
    assert "has no drums (channel 10), only other tracks" in said
    assert "expected a track of drums on channel 10" in said
    assert "--model" not in said
