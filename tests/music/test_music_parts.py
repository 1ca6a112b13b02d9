"""The music domain in every part and time signature: starter data, tensors, transposition, scores, files, splits."""

import os
from pathlib import Path
from typing import get_args

import numpy as np
import pretty_midi
import pytest
import symusic
import torch
from music_pieces import common, map_piece, starter, starter_windows
from pydantic import ValidationError

from musicae.errors import MusicaeError
from musicae.music.config import ANY, PARTS, TIME_SIGNATURES
from musicae.music.domain import MusicConfig, MusicDomain
from musicae.music.piece import Piece

EVERY_PART = pytest.mark.parametrize("part", PARTS)
EVERY_SIGNATURE = pytest.mark.parametrize("signature", TIME_SIGNATURES)


@EVERY_PART
@EVERY_SIGNATURE
def test_there_is_starter_data_for_every_part_and_time_signature(part: str, signature: str) -> None:
    domain = MusicDomain(MusicConfig(part=part, time_signature=signature))
    readings = dict(starter(domain))
    with_windows = [reading for reading in readings.values() if len(reading.examples)]
    assert len(with_windows) >= 2, "training needs two items"
    stored = torch.from_numpy(starter_windows(domain))
    assert stored.dtype == (torch.uint8 if part in ("melody", "piano") else torch.uint16)
    tensor = domain.tensor(stored, torch.Generator().manual_seed(0)).target
    domain.spec.check(tuple(tensor.shape))
    assert tensor.dtype == torch.int64
    assert all(tensor[..., index].max() < size for index, size in enumerate(domain.spec.vocabulary))
    assert domain.spec.segment == {"4/4": 16, "2/4": 8, "3/4": 12, "6/8": 12, "9/8": 18}[signature]
    assert domain.spec.shape == (2 * domain.spec.segment, len(domain.spec.vocabulary))


def test_the_settings_are_those_of_the_tables() -> None:
    assert get_args(MusicConfig.model_fields["part"].annotation) == tuple(PARTS)
    assert get_args(MusicConfig.model_fields["time_signature"].annotation) == (ANY, *TIME_SIGNATURES)


def test_a_trio_moves_in_one_piece_and_its_drums_keep_their_rhythm() -> None:
    domain = common(part="trio")
    stored = torch.from_numpy(starter_windows(domain).astype(np.int64))
    moved = domain.tensor(stored, torch.Generator().manual_seed(2)).target
    assert not torch.equal(moved, stored)
    assert not ((moved[..., 2] > 0) & (stored[..., 2] == 0)).any()  # other drums, and some silent, but at no new step
    onset = stored[..., :2] >= 2
    assert torch.equal(moved[..., :2] >= 2, onset)
    shifts = (moved - stored)[..., :2]
    first = torch.where(onset, shifts, -99).flatten(1).amax(dim=1)
    assert torch.equal(torch.where(onset, shifts, first[:, None, None]), first[:, None, None].expand_as(shifts))
    assert set(range(-6, 6)) <= set(first.tolist())
    still_drums = torch.cat([moved[..., :2], stored[..., 2:]], dim=-1)
    np.testing.assert_array_equal(domain.identity(still_drums.numpy()), domain.identity(stored.numpy()))


def test_a_trio_moves_within_what_both_lines_allow() -> None:
    domain = common(part="trio")
    stored = torch.zeros(2000, 32, 3, dtype=torch.int64)
    stored[:, 0, 0], stored[:, 0, 1] = 89 - 2, 2 + 1  # two semitones from the top, one from the bottom
    moved = domain.tensor(stored, torch.Generator().manual_seed(0)).target
    assert set((moved - stored)[:, 0, 0].tolist()) == {-1, 0, 1, 2}


def test_the_identity_of_a_trio_hears_every_stream() -> None:
    domain = common(part="trio")
    window = starter_windows(domain, 1)
    marks = [domain.identity(window)[0]]
    for stream in range(3):
        other = window.copy()
        other[0, 30, stream] = other[0, 30, stream] + 3 if other[0, 30, stream] >= 2 else 40
        marks.append(domain.identity(other)[0])
    closer = window.astype(np.int64)
    closer[..., 1] += np.where(closer[..., 1] >= 2, 1, 0)  # the bass alone a semitone up
    marks.append(domain.identity(closer)[0])
    assert len(set(marks)) == 5


def test_drums_are_scored_by_single_hits() -> None:
    domain = common(part="drums")
    target = torch.zeros(4, 32, 1, dtype=torch.int64)
    target[:, 0], target[:, 8] = 1 + 4, 2
    estimate = target.clone()
    estimate[1, 0] = 1  # one of three hits is missing
    estimate[2, 5] = 256  # a hit too many
    estimate[3] = 0
    scores = domain.metrics(estimate, target, target)
    np.testing.assert_allclose(scores["accuracy"], [1, 31 / 32, 31 / 32, 30 / 32])
    np.testing.assert_allclose(scores["onset_f1"], [1, 2 * 2 / 5, 2 * 3 / 7, 0], rtol=1e-6)
    assert set(scores) == {"accuracy", "onset_f1"}


def test_a_trio_is_scored_stream_by_stream() -> None:
    domain = common(part="trio")
    target = torch.zeros(1, 32, 3, dtype=torch.int64)
    target[0, 0] = torch.tensor([40, 20, 1])
    target[0, 8] = torch.tensor([42, 22, 2])
    estimate = target.clone()
    estimate[0, 8, 0] = 43
    estimate[0, :, 2] = 0
    scores = {name: round(value.item(), 5) for name, value in domain.metrics(estimate, target, target).items()}
    assert scores == {
        "accuracy": round((31 / 32 + 1 + 30 / 32) / 3, 5), "accuracy_melody": 31 / 32, "accuracy_bass": 1.0,
        "accuracy_drums": 30 / 32, "onset_f1": 0.5, "onset_f1_melody": 0.5, "onset_f1_bass": 1.0, "onset_f1_drums": 0.0,
    }  # fmt: skip


def compose(domain: MusicDomain, stored: np.ndarray) -> Piece:
    return domain.compose(domain.tensor(torch.from_numpy(stored)).target)


@EVERY_PART
@EVERY_SIGNATURE
def test_a_composed_window_is_selected_again_with_its_instruments(part: str, signature: str) -> None:
    domain = MusicDomain(MusicConfig(part=part, time_signature=signature, bars=1))
    stored = starter_windows(domain, 3)
    piece = Piece.open(compose(domain, stored).to_bytes())
    for index, window in enumerate(stored):
        np.testing.assert_array_equal(domain.select(piece, bar=1 + index).example[0], window)
    densest = domain.select(piece)
    assert densest.label.startswith("bar ") and densest.label.count("track") == len(domain.config.plan.instruments)
    _, numerator, denominator = piece.time_signatures[0]
    assert f"{numerator}/{denominator}" == signature


@EVERY_PART
def test_silence_is_saved_as_a_valid_file_of_its_length(part: str, tmp_path: Path) -> None:
    domain = common(part=part)
    piece = domain.compose(torch.zeros(2, *domain.spec.shape, dtype=torch.int64))
    reading = domain.read(piece.save(tmp_path / "x.mid"))
    assert len(reading.examples) == 0 and reading.skipped == {"no notes": 1}
    with pytest.raises(MusicaeError, match=r"x\.mid has no notes"):
        domain.select(domain.open(tmp_path / "x.mid"))


@EVERY_PART
def test_mapping_a_piece_through_nothing_keeps_it(part: str) -> None:
    domain = common(part=part)
    piece = compose(domain, starter_windows(domain, 5))
    seen = []

    def nothing(batch: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(batch.shape[1:]))
        return batch

    assert map_piece(domain, piece, nothing).to_bytes() == piece.to_bytes()
    assert seen == [domain.spec.shape]


@pytest.mark.parametrize(
    ("has", "wants", "named"),
    [("drums", "melody", "use --model drums-2bar"), ("melody", "drums", "melody-2bar reads these")],
)
def test_a_file_of_the_other_part_names_the_model_that_reads_it(
    has: str, wants: str, named: str, tmp_path: Path
) -> None:
    writer, reader = common(part=has), common(part=wants)
    piece = Piece.open(compose(writer, starter_windows(writer, 1)).save(tmp_path / "x.mid"))
    for use in (reader.select, lambda item: list(reader.windows(item))):
        with pytest.raises(MusicaeError, match=rf"x\.mid has .*{named}"):
            use(piece)
    ((reason, _),) = reader.read(tmp_path / "x.mid").skipped.items()
    assert named in reason


def test_a_file_in_five_four_learns_which_time_signatures_there_are(tmp_path: Path) -> None:
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(0))
    midi.instruments[0].notes = [
        pretty_midi.Note(80, 60 + index % 5, index / 2, index / 2 + 0.5) for index in range(40)
    ]
    midi.time_signature_changes.append(pretty_midi.TimeSignature(5, 4, 0))
    domain = MusicDomain(MusicConfig(time_signature="3/4"))
    with pytest.raises(
        MusicaeError, match=r"is in 5/4; this model reads 3/4; .* \(there are 4/4, 2/4, 3/4, 6/8, 9/8\)"
    ):
        domain.select(domain.open(midi))
    assert domain.examples(domain.open(midi)).skipped == {
        "time signature 5/4 (this model reads 3/4; there are 4/4, 2/4, 3/4, 6/8, 9/8)": 7
    }


@EVERY_PART
def test_a_preview_can_be_seen_and_played(part: str) -> None:
    domain = common(part=part)
    tensor = domain.tensor(torch.from_numpy(starter_windows(domain, 2))).target
    made = domain.preview({"original": tensor, "model": tensor}, columns=("first", "second"))
    assert list(made) == [".png", ".mid", ".wav"]
    assert made[".mid"].note_count > 4 and np.abs(made[".wav"].samples).max() > 0.5


@pytest.mark.parametrize("backend", [None, "sines"])
def test_every_drum_that_is_composed_is_audible(backend: str | None) -> None:
    domain = common(part="drums")
    for bit in range(9):
        tensor = torch.zeros(1, 32, 1, dtype=torch.int64)
        tensor[0, 8] = 1 << bit
        sound = domain.compose(tensor).render(16_000, backend=backend).samples
        before, after = sound[: 16_000 - 400], sound[16_000 : 16_000 + 4_000]  # the hit is at 1 s
        assert np.abs(before).max(initial=0) < 1e-3 < 0.2 < np.abs(after).max(), bit


@pytest.mark.parametrize(
    "settings",
    [
        {"time_signature": "5/4"},
        {"part": "band"},
        {"time_signature": "2/4", "min_notes": 9},
        {"part": "drums", "chords": True},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MusicConfig(**settings)


def test_a_sets_own_test_files_are_known_by_its_table(tmp_path: Path) -> None:
    domain = common(part="drums")
    folder = tmp_path / "groove"
    (folder / "one").mkdir(parents=True)
    table = folder / "info.csv"
    table.write_text("drummer,midi_filename,split\na,one/x.mid,test\na,one/y.mid,train\na,one/z.mid,validation\n")
    expected = {"x": "test", "y": None, "z": None, "unlisted": None}
    assert {name: domain.official_split(folder / "one" / f"{name}.mid") for name in expected} == expected
    assert domain.official_split(tmp_path / "one" / "x.mid") is None
    table.write_text("drummer,midi_filename,split\na,one/y.mid,test\n")
    os.utime(table, ns=(1, 10**18))  # written again, by the clock
    assert (
        domain.official_split(folder / "one" / "y.mid") == "test"
        and domain.official_split(folder / "one" / "x.mid") is None
    )


@pytest.mark.parametrize("content", ["", "file,split\none/x.mid,test\n", "\x00\xff\n", '"unclosed'])
def test_another_table_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "info.csv").write_text(content, encoding="latin-1")
    assert common().official_split(tmp_path / "one" / "x.mid") is None


def midi_with_chords() -> pretty_midi.PrettyMIDI:
    """Eight bars of quarters over C, A minor and silence, as markers say."""
    midi = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=120)
    midi.instruments.append(pretty_midi.Instrument(0, name="melody"))
    midi.instruments[0].notes = [
        pretty_midi.Note(80, 60 + beat % 7, beat / 2, beat / 2 + 0.5) for beat in range(32)
    ]  # two seconds a bar
    return midi


def write_with_markers(path: Path, markers: dict[int, str]) -> Path:
    """The same tune with text at ticks."""
    midi_with_chords().write(str(path))
    score = symusic.Score(str(path))
    for tick, text in markers.items():
        score.markers.append(symusic.TextMeta(tick, text))
    score.dump_midi(str(path))
    return path


def test_chords_are_one_more_column_and_move_with_the_notes(tmp_path: Path) -> None:
    path = write_with_markers(tmp_path / "x.mid", {0: "C", 1920 + 2: "Am7", 2 * 1920: "G", 3 * 1920: "N.C."})
    plain, domain = common(), common(chords=True)
    stored = domain.read(path).examples
    assert stored.shape == (7, 32, 2) and stored.dtype == np.uint8
    np.testing.assert_array_equal(stored[..., :1], plain.read(path).examples)
    assert stored[0, :, 1].tolist() == [1] * 16 + [1 + 4 * 9 + 1] * 16
    assert stored[2, :, 1].tolist() == [1 + 4 * 7] * 16 + [0] * 16
    np.testing.assert_array_equal(domain.select(domain.open(path), bar=2).example[0], stored[1])
    assert domain.select(domain.open(path), bar=8).example.shape == (1, 32, 2)
    assert domain.spec.condition == (32, 49) and plain.spec.condition is None

    batch = domain.tensor(torch.from_numpy(np.repeat(stored[1:2], 500, axis=0)), torch.Generator().manual_seed(0))
    shift = batch.target[:, 0, 0] - int(stored[1, 0, 0])
    assert set(range(-6, 6)) <= set(shift.tolist())
    assert torch.equal((batch.condition[:, 0] - 2) // 4, (9 + shift) % 12)
    assert torch.equal((batch.condition[:, 16] - 1) // 4, (7 + shift) % 12)
    still = domain.tensor(torch.from_numpy(stored))
    assert still.condition.dtype == torch.int64 and torch.equal(
        still.condition, torch.from_numpy(stored[..., 1]).long()
    )
    np.testing.assert_array_equal(still.target, stored[..., :1])
    np.testing.assert_array_equal(domain.identity(stored), plain.identity(stored[..., :1]))


def test_files_without_notes_keep_the_column_of_chords(tmp_path: Path) -> None:
    (tmp_path / "x.abc").write_text("X:1\nT:A\nM:4/4\nL:1/4\nK:C\nCDEF|GABc|\n\nX:2\nT:B\nM:4/4\nL:1/4\nK:C\nz4|z4|\n")
    assert common(chords=True).read(tmp_path / "x.abc").examples.shape == (1, 32, 2)
