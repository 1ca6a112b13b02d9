"""A stretch of a piece is addressed, and everything outside of it stays as it is, event by event."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from music_pieces import common, events, map_piece

from musicae.cli import main
from musicae.errors import MusicaeError
from musicae.music.config import MusicConfig
from musicae.music.domain import MusicDomain
from musicae.music.midi import MARKER, NewTrack, Notes, text_message
from musicae.music.piece import Piece
from musicae.starter import starter_file

ANY = MusicDomain(MusicConfig())
PLAYED = MusicDomain(MusicConfig(expression=True))


def song() -> Piece:
    """A flute over chords and drums; bars 1 to 4 and 9 to 16 in 4/4, 5 to 8 in 3/4."""
    generator = np.random.default_rng(0)
    start = 240 * np.arange(120)
    tune = Notes(start + generator.integers(-9, 9, 120).clip(-start), start + 400, 60 + generator.integers(0, 12, 120),
                 generator.integers(30, 120, 120))  # fmt: skip
    below = 960 * np.repeat(np.arange(30), 3)
    chords = Notes(below, below + 900, np.tile([40, 44, 47], 30), np.full(90, 60))
    kit = Notes(start, start + 60, np.full(120, 38), np.full(120, 70))
    tracks = [NewTrack("flute", 73, False, tune), NewTrack("strings", 48, False, chords), NewTrack("kit", 0, True, kit)]
    signatures = ((0, 4, 4), (4 * 1920, 3, 4), (4 * 1920 + 4 * 1440, 4, 4))
    return Piece.new(tracks, time_signatures=signatures, tempi=((0, 120.0), (9000, 90.0)), name="song")


def silence(tokens: torch.Tensor) -> torch.Tensor:
    pads = tokens.clone()
    return torch.where(tokens[..., :1] >= 90, pads, 0)


@pytest.mark.parametrize("domain", [common(), ANY, PLAYED])
@pytest.mark.parametrize(("first", "last"), [(1, 1), (2, 3), (4, 6), (5, 8), (7, 11), (1, 13)])
def test_only_the_addressed_notes_change(domain: MusicDomain, first: int, last: int) -> None:
    piece = song()
    chosen = piece.with_bars(first, last)
    if domain.config.time_signature == "4/4" and (first, last) == (5, 8):
        with pytest.raises(MusicaeError, match="is in 3/4; this model reads 4/4"):
            list(domain.windows(chosen))
        return
    assert map_piece(domain, chosen, lambda tokens: tokens).data == piece.data
    made = map_piece(domain, chosen, silence)
    start, stop = piece.bar_tick(first), piece.bar_tick(last + 1)
    reads_all = domain.config.time_signature == "any"
    left = []
    for tick, end, pitch, velocity in zip(*piece.notes(0), strict=True):
        step = round(tick / 120) * 120  # a note that is played a hair early belongs to the bar of its step
        in_three = 4 * 1920 <= step < 4 * 1920 + 4 * 1440
        if not start <= step < stop or (in_three and not reads_all):
            left.append((tick, end, pitch, velocity))
    found = [made.notes(track.index) for track in made.tracks if track.program == 73]
    assert [tuple(note) for notes in found for note in zip(*notes, strict=True)] == left
    assert [event for event in events(made) if event[2][:1] != b"\xff"] == [
        event for event in events(piece) if event[2][:1] != b"\xff"
    ]
    others = [piece.notes(index) for index in (1, 2)]
    same = [made.notes(track.index) for track in made.tracks if track.program != 73]
    assert all(
        np.array_equal(a, b) for old, new in zip(others, same, strict=True) for a, b in zip(old, new, strict=True)
    )
    assert made.chosen_bars is None


def test_a_window_is_taken_from_the_chosen_bars() -> None:
    piece = song()
    label = ANY.select(piece.with_bars(9, 12)).label
    assert label.split()[1].split("–")[0] in {"9", "10", "11"}
    assert not [reason for reason in ANY.examples(piece).skipped if "time signature" in reason]


def test_bars_past_the_end_are_refused() -> None:
    with pytest.raises(MusicaeError, match="has no bar 40; choose 1 to"):
        list(ANY.windows(song().with_bars(3, 40)))
    with pytest.raises(ValueError, match="got 4 to 3"):
        song().with_bars(4, 3)


def test_the_part_alone() -> None:
    alone = ANY.solo(song())
    assert [track.name for track in alone.tracks if track.notes] == ["flute"]
    assert np.array_equal(alone.notes(0).start, song().notes(0).start)
    assert alone.tempi == song().tempi


@pytest.mark.parametrize("command", [["reconstruct"], ["shift", "--attribute", "density", "--amount", "1"]])
def test_a_stretch_of_a_song_is_addressed_on_the_command_line(command: list[str], tmp_path) -> None:
    source = Piece.open(starter_file("a.mid")).with_event(2000, text_message(MARKER, "verse"))
    path = source.save(tmp_path / "song.mid")
    runner = CliRunner()
    name, *options = command
    whole, part = tmp_path / "part.mid", tmp_path / "solo.mid"
    arguments = [name, str(path), "--model", "melody-2bar", "--bars", "5-8", *options]
    result = runner.invoke(main, [*arguments, "--out", str(whole)], prog_name="musicae")
    assert result.exit_code == 0, result.output
    made = Piece.open(whole)
    start, stop = source.bar_tick(5), source.bar_tick(9)
    old, new = ([note for note in zip(*piece.notes(0), strict=True) if not start <= note[0] < stop]
                for piece in (source, made))  # fmt: skip
    assert old == new and made.markers == source.markers
    result = runner.invoke(main, [*arguments, "--solo", "--out", str(part)], prog_name="musicae")
    assert result.exit_code == 0, result.output
    assert sum(track.notes > 0 for track in Piece.open(part).tracks) == 1
    for wrong, said in (("5-99", "no bar 99"), ("8-5", "--bars"), ("x", "--bars")):
        refused = runner.invoke(main, [name, str(path), "--bars", wrong, *options], prog_name="musicae")
        assert refused.exit_code == 2 and said in refused.stderr
