"""Chord symbols and where a piece's chords come from."""

import time
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import torch
from symusic.core import NoteTickList, ScoreTick, TextMetaTick, TrackTick

from musicae.errors import MusicaeError
from musicae.music.chords import (
    CLASSES,
    chord_line,
    chord_name,
    chord_pitches,
    parse_chord,
    parse_progression,
    spread,
    transpose_classes,
)
from musicae.music.piece import Piece
from musicae.music.score import read_scores

SYMBOLS = {
    "C": "C", "Am7": "Am", "F#dim": "F#dim", "Bbmaj7": "Bb", "G7": "G", "Dsus4": "D", "E/G#": "E", "C:maj": "C",
    "C:dominant": "C", "C:min7": "Cm", "N.C.": "N", "N": "N", "Caug": "C+", "C+": "C+", "B°": "Bdim", "Cø": "Cdim",
    "Bm7b5": "Bdim", "CmM7": "Cm", "C6": "C", "A5": "A", "Cadd9": "C", "C7#9": "C", "D♭m": "Dbm", "c:minor": "Cm",
    "G:half-diminished": "Gdim", "F:augmented-seventh": "F+", "A:suspended-fourth": "A", "Cb": "B",
    "C:major-minor": "C", "Cm7-5": "Cdim", "C7#5": "C+", "C(#5)": "C+", "Cma7": "C", "C6/9": "C", "Cm/maj7": "Cm",
    "C:hdim7": "Cdim", "C:power": "C", "A:min7/b3": "Am",
    "CMaj7": "C", "CMA7": "C", "FMAJ7": "F", "CmMaj7": "Cm",
}  # fmt: skip


def block_chords(*chords: tuple[int, ...], name: str = "PIANO", quarters: int = 2) -> TrackTick:
    """One chord after the other, each held for some quarters of 480 ticks."""
    track = TrackTick(name, 0, False)
    rows = [(index * quarters * 480, pitch) for index, chord in enumerate(chords) for pitch in chord]
    start, pitch = (np.array(column) for column in zip(*rows, strict=True))
    length = np.full(len(rows), quarters * 480, np.int32)
    track.notes = NoteTickList.from_numpy(
        start.astype(np.int32), length, pitch.astype(np.int8), np.full(len(rows), 80, np.int8)
    )
    return track


def score_of(*tracks: TrackTick) -> ScoreTick:
    score = ScoreTick(480)
    for track in tracks:
        score.tracks.append(track)
    return score


@pytest.mark.parametrize(("symbol", "name"), SYMBOLS.items())
def test_a_symbol_folds_to_its_triad(symbol, name):
    assert chord_name(parse_chord(symbol)) == name


def test_every_class_has_a_name_that_reads_as_that_class():
    assert [parse_chord(chord_name(chord)) for chord in range(CLASSES)] == list(range(49))
    with pytest.raises(ValueError, match="0 to 48, got 49"):
        chord_name(49)


@pytest.mark.parametrize("text", ["H", "Cxyz", "", "Verse 2", "Coda", "Bridge", "Fine"])
def test_what_is_no_chord_is_refused_with_the_grammar(text):
    with pytest.raises(MusicaeError, match=r"is no chord; write a root \(C, F#, Bb\) and a quality"):
        parse_chord(text)


def test_a_long_number_is_refused_at_once():
    started = time.process_time()
    with pytest.raises(MusicaeError, match="is no chord"):
        parse_chord("G" + "1" * 38 + "x")
    assert time.process_time() - started < 1


def test_a_progression_is_separated_by_spaces_commas_or_bars():
    assert parse_progression("| C F|G, Am |") == parse_progression("C F G Am") == [1, 21, 29, 38]
    with pytest.raises(MusicaeError, match="no chord given"):
        parse_progression(" | ")


def test_chords_share_the_steps_evenly():
    assert spread([1, 2, 3], 8).tolist() == [1, 1, 1, 2, 2, 2, 3, 3]
    with pytest.raises(MusicaeError, match="3 chords are more than the 2 steps"):
        spread([1, 2, 3], 2)


def test_transposing_moves_the_pitches_and_keeps_none():
    classes = torch.arange(CLASSES)
    for semitones in (-7, 0, 5, 12):
        moved = transpose_classes(classes, torch.tensor(semitones))
        assert moved[0] == 0
        for before, after in zip(classes[1:].tolist(), moved[1:].tolist(), strict=True):
            wanted = tuple((pitch + semitones) % 12 for pitch in chord_pitches(before))
            assert chord_pitches(after) == wanted
    each = transpose_classes(torch.tensor([[1, 0], [1, 5]]), torch.tensor([[1], [2]]))
    assert each.tolist() == [[5, 0], [9, 13]]


def test_markers_are_taken_first_and_words_among_them_are_not_chords():
    score = score_of(block_chords((60, 64, 67)))
    for tick, text in ((0, "Verse"), (480, "G:dominant"), (960, "C:major"), (1920, "Am")):
        score.markers.append(TextMetaTick(tick, text))
    line = chord_line(score, None)
    assert line.source == "markers"
    assert [chord_name(chord) for chord in line.classes_at(np.array([0, 480, 959, 960, 5000]))] == [
        "N", "G", "G", "C", "Am",
    ]  # fmt: skip


def test_block_chords_are_inferred_with_inversions_and_all_qualities():
    wanted = ["C", "Am", "F", "G", "Bdim", "Em", "C+"]
    played = [(60, 64, 67), (57, 60, 64), (57, 60, 65), (55, 59, 62), (59, 62, 65), (52, 55, 59), (48, 52, 56)]
    score = score_of(block_chords((72,), (74,), name="MELODY"), block_chords(*played))
    line = chord_line(score, 0)
    assert line.source == "inferred from the accompaniment"
    assert [chord_name(chord) for chord in line.classes_at(np.arange(7) * 960 + 480)] == wanted


def test_a_track_of_chords_goes_before_the_rest():
    score = score_of(block_chords((60, 64, 67)), block_chords((57, 60, 64), name="CHORDS"))
    assert chord_line(score, None).source == "track 'CHORDS'"
    assert [chord_name(chord) for chord in chord_line(score, None).classes_at(np.array([100]))] == ["Am"]


def test_a_passing_note_changes_no_chord_and_silence_has_none():
    held = block_chords((48, 52, 55), quarters=4)
    passing = block_chords((74,), name="x", quarters=1)
    late = block_chords((50, 53, 57), quarters=1)
    late.shift_time(8 * 480, inplace=True)
    line = chord_line(score_of(held, passing, late), None)
    assert [chord_name(chord) for chord in line.classes_at(np.array([0, 3, 6, 8]) * 480 + 10)] == ["C", "C", "N", "Dm"]


def test_without_accompaniment_there_are_no_chords():
    line = chord_line(score_of(block_chords((60,), (62,))), 0)
    assert line.source == "none" and not line.classes_at(np.arange(5) * 480).any()


def test_lead_sheets_and_songs_have_the_chords_they_are_marked_with(shared_data):
    sheets = sorted(shared_data("openewld").rglob("*.mid"))[:20]
    lines = [chord_line(read_scores(sheet)[0].score, 0) for sheet in sheets]
    assert all(line.source == "markers" and len(line.start) > 4 for line in lines)


def test_inference_agrees_with_the_chords_written_for_the_same_song(shared_data):
    agreement = []
    for song in sorted(shared_data("pop909").rglob("*.mid"))[:15]:
        score = read_scores(Path(song))[0].score
        names = [track.name for track in score.tracks]
        ticks = np.arange(0, score.end(), score.tpq)
        written = chord_line(score, 0).classes_at(ticks)
        score.tracks.pop(names.index("CHORDS"))
        inferred = chord_line(score, 0).classes_at(ticks)
        agreement.append((written == inferred)[written > 0].mean())
    assert len(agreement) == 15 and np.mean(agreement) > 0.88


def test_chords_of_a_pretty_midi_are_inferred():
    midi = pretty_midi.PrettyMIDI()
    piano = pretty_midi.Instrument(0)
    piano.notes = [pretty_midi.Note(80, pitch, 0.0, 2.0) for pitch in (55, 59, 62)]
    midi.instruments.append(piano)
    assert chord_name(int(chord_line(Piece.open(midi).score, None).classes_at(np.array([10]))[0])) == "G"
