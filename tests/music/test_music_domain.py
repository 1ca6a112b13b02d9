"""The music domain: windows, transposition, selection, files in and out, scores, previews."""

from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import torch
from music_pieces import common, map_piece, starter
from pydantic import ValidationError

from musicae.config import read_config
from musicae.domain import Domain
from musicae.errors import DamagedFileError, MusicaeError
from musicae.music.domain import MusicConfig, MusicDomain, MusicFrame
from musicae.music.tensors import FAR
from musicae.music.tokens import LINE_VOCABULARY, canonical


@pytest.fixture
def domain() -> MusicDomain:
    return common()


def make_midi(
    path: Path,
    steps: list[tuple[float, float, int]],
    *,
    tempo_bpm: float = 120,
    name: str = "Violin",
    time_signatures: tuple[tuple[int, int, float], ...] = (),
) -> Path:
    """Notes as (onset step, end step, pitch), time_signatures as (numerator, denominator, step)."""
    midi = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=tempo_bpm)
    step_s = 15 / tempo_bpm
    instrument = pretty_midi.Instrument(40, name=name)
    instrument.notes = [pretty_midi.Note(80, pitch, on * step_s, off * step_s) for on, off, pitch in steps]
    midi.instruments.append(instrument)
    midi.time_signature_changes = [pretty_midi.TimeSignature(a, b, at * step_s) for a, b, at in time_signatures]
    midi.write(str(path))
    return path


def scale(bars: int, start: int = 0) -> list[tuple[float, float, int]]:
    """Quarters, 4 to the bar."""
    return [(start + index * 4, start + index * 4 + 4, 60 + index % 7) for index in range(bars * 4)]


def random_windows(count: int, steps: int = 32, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    tokens = generator.integers(20, 70, (count, steps))
    kind = generator.random((count, steps))
    return canonical(np.where(kind < 0.6, 0, np.where(kind < 0.7, 1, tokens)).astype(np.uint8))[:, :, None]


def test_the_spec_is_one_stream_of_sixteenths() -> None:
    domain: Domain = common(bars=4)
    assert domain.spec.shape == (64, 1) and domain.spec.vocabulary == (LINE_VOCABULARY,) == (90,)


@pytest.mark.parametrize("settings", [{"bars": 3}, {"bars": 0}, {"min_notes": 0}, {"part": "band"}, {"tempo": 1}])
def test_a_wrong_setting_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MusicConfig(**settings)


def test_every_bar_starts_a_window(domain: MusicDomain, tmp_path: Path) -> None:
    reading = domain.read(make_midi(tmp_path / "a.mid", scale(40)))
    assert reading.examples.shape == (39, 32, 1) and reading.examples.dtype == np.uint8
    assert reading.skipped == {} and len(reading.parts) == 2
    assert "'Violin'" in reading.parts[0] and "used as melody" in reading.parts[0]


def test_a_file_without_the_wanted_track_is_counted_not_fatal(tmp_path: Path) -> None:
    reading = common(track="oboe").read(make_midi(tmp_path / "a.mid", scale(4)))
    assert len(reading.examples) == 0 and reading.skipped == {"no melody track 'oboe'": 1}


def test_the_tunes_of_an_abc_file_are_groups(domain: MusicDomain, tmp_path: Path) -> None:
    tune = "T:{0}\nM:4/4\nL:1/4\nK:C\nCDEF|GABc|cBAG|\n"
    (tmp_path / "x.abc").write_text("X:1\n" + tune.format("One") + "\nX:2\n" + tune.format("Two"))
    reading = domain.read(tmp_path / "x.abc")
    assert reading.groups is not None and reading.groups.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(reading.examples[:2], reading.examples[2:])


def test_the_starter_tunes_read_as_written(domain: MusicDomain) -> None:
    readings = dict(starter(domain))
    assert len(readings) >= 12
    assert sum(len(reading.examples) for reading in readings.values()) > 100
    # Frère Jacques: G A B G | G A B G, quarters.
    np.testing.assert_array_equal(readings["Frère Jacques"].examples[0][::4, 0], [48, 50, 52, 48] * 2)


def test_without_a_generator_the_tensor_is_the_stored_tokens(domain: MusicDomain) -> None:
    stored = random_windows(5)
    tensor = domain.tensor(torch.from_numpy(stored)).target
    assert tensor.dtype == torch.int64 and tensor.shape == (5, 32, 1)
    np.testing.assert_array_equal(tensor, stored)


def test_transposition_keeps_identity_rhythm_and_range(domain: MusicDomain) -> None:
    stored = random_windows(400)
    stored[0, :] = 0
    stored[1, :4, 0] = [2, 0, 89, 1]  # the whole range: it cannot move
    stored[2] = np.where(stored[2] >= 2, 4, stored[2])  # two semitones from the bottom
    tensor = domain.tensor(torch.from_numpy(stored), torch.Generator().manual_seed(1)).target
    moved = tensor.numpy()
    onset = stored >= 2
    shift = (moved.astype(int) - stored)[onset]
    assert moved[onset].min() >= 2 and moved.max() <= 89
    np.testing.assert_array_equal(moved[~onset], stored[~onset])
    np.testing.assert_array_equal(moved[:2], stored[:2])
    shares = np.bincount(shift + 87, minlength=175) / len(shift)
    assert shares[81:93].min() > 0.03 and 0.05 < 1 - shares[81:93].sum() < FAR
    for row, before, mask in zip(moved, stored, onset, strict=True):
        assert len(set((row.astype(int) - before)[mask].tolist())) <= 1
    np.testing.assert_array_equal(domain.identity(moved.astype(np.uint8)), domain.identity(stored))
    again = domain.tensor(torch.from_numpy(stored), torch.Generator().manual_seed(1)).target
    assert torch.equal(tensor, again)


def test_all_keys_are_equally_likely(domain: MusicDomain) -> None:
    stored = torch.full((12_000, 32, 1), 0, dtype=torch.uint8)
    stored[:, 0] = 40
    moved = domain.tensor(stored, torch.Generator().manual_seed(0)).target[:, 0, 0] - 40
    counts = torch.bincount(moved + 38, minlength=88)
    assert len(counts) == 88 and counts.min() > 15  # anywhere from A0 to C8
    near = counts[38 - 6 : 38 + 6]
    assert abs(near.sum() / 12_000 - (1 - FAR + FAR * 12 / 88)) < 0.02
    assert near.min() > 0.85 * near.float().mean() and near.max() < 1.15 * near.float().mean()


def test_different_melodies_have_different_identities(domain: MusicDomain) -> None:
    stored = random_windows(5000)
    hashes = domain.identity(stored)
    assert hashes.dtype == np.uint64 and len(np.unique(hashes)) == len(np.unique(stored, axis=0)) == 5000
    changed = stored.copy()
    changed[:, 31] = np.where(changed[:, 31] == 0, 30, 0)
    assert (domain.identity(changed) != hashes).all()


def test_windows_come_back_from_a_file_in_their_places(domain: MusicDomain, tmp_path: Path) -> None:
    stored = random_windows(9, seed=4)
    frame = MusicFrame(tempo_bpm=97.3, programs=(73,), track_names=("Флейта",), velocities=(55,))
    domain.compose(domain.tensor(torch.from_numpy(stored)).target, frame).save(tmp_path / "x.mid")
    piece = domain.open(tmp_path / "x.mid")
    for index, window in enumerate(stored):
        selection = domain.select(piece, bar=1 + 2 * index)
        np.testing.assert_array_equal(selection.example[0], window)
        assert selection.frame.programs == (73,) and abs(selection.frame.tempo_bpm - 97.3) < 1e-3
        assert selection.frame.velocities == (55,) and selection.frame.track_names == ("Флейта",)
    assert pretty_midi.PrettyMIDI(str(tmp_path / "x.mid")).time_signature_changes[0].time == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.mid"]


@pytest.mark.parametrize("microseconds", [333_333, 461_538, 500_000, 600_001, 1_234_567])
def test_the_tempo_of_a_piece_is_kept_to_the_microsecond(domain: MusicDomain, microseconds: int) -> None:
    frame = MusicFrame(tempo_bpm=60_000_000 / microseconds)
    piece = domain.compose(torch.full((1, 32, 1), 40), frame)
    assert piece.score.tempos[0].mspq == microseconds


def test_silence_is_composed_said_and_keeps_its_length(domain: MusicDomain, tmp_path: Path) -> None:
    piece = domain.compose(torch.zeros(3, 32, 1, dtype=torch.int64))
    assert piece.bars == 6 and piece.remarks == ("silent: no note anywhere",)
    assert domain.read(piece.save(tmp_path / "x.mid")).skipped == {"no notes": 1}


def test_saving_where_nothing_can_be_written_leaves_nothing(domain: MusicDomain, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MusicaeError, match="cannot be written"):
        domain.compose(torch.zeros(1, 32, 1, dtype=torch.int64)).save(tmp_path / "file" / "x.mid")
    with pytest.raises(ValueError, match="expected a batch"):
        domain.compose(torch.zeros(1, 16, 1, dtype=torch.int64))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_densest_window_is_selected_and_named(domain: MusicDomain, tmp_path: Path) -> None:
    notes = [*scale(2), *[(64 + index, 65 + index, 60 + index % 12) for index in range(32)], *scale(2, start=128)]
    piece = domain.open(make_midi(tmp_path / "a.mid", notes, tempo_bpm=90))
    selection = domain.select(piece)
    assert selection.label == "bars 5–6 of track 'Violin'"
    assert (selection.example >= 2).sum() == 32
    assert round(selection.frame.tempo_bpm) == 90 and selection.frame.programs == (40,)
    assert selection.frame.velocities == (80,) and selection.frame.title == "a" and selection.frame.first_bar == 5
    assert domain.select(piece, bar=10).label == "bar 10 of track 'Violin'"
    assert domain.select(piece, bar=1, track=0).label == "bars 1–2 of track 'Violin'"


def test_a_tune_shorter_than_a_window_is_filled_with_rests(domain: MusicDomain, tmp_path: Path) -> None:
    selection = domain.select(domain.open(make_midi(tmp_path / "a.mid", scale(1))))
    assert np.flatnonzero(selection.example[0]).tolist() == [0, 4, 8, 12, 16]
    assert selection.example[0, 16, 0] == 1


def test_a_pretty_midi_object_is_selected_and_read_like_its_file(domain: MusicDomain, tmp_path: Path) -> None:
    path = make_midi(tmp_path / "a.mid", scale(4))
    piece = domain.open(pretty_midi.PrettyMIDI(str(path)))
    np.testing.assert_array_equal(domain.select(piece).example, domain.select(domain.open(path)).example)
    np.testing.assert_array_equal(domain.examples(piece).examples, domain.read(path).examples)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"bar": 0}, "no bar 0; choose 1 to 6"),
        ({"bar": 7}, "no bar 7"),
        ({"bar": 5}, "bar 5 of a.mid is in 3/4"),
        ({"track": "oboe"}, "no track 'oboe'"),
        ({"track": 4}, "no track 4"),
        ({"bars": 4}, "a bar and a track can be chosen, not bars"),
    ],
)
def test_a_wrong_choice_says_what_there_is(domain: MusicDomain, tmp_path: Path, choice: dict, message: str) -> None:
    path = make_midi(tmp_path / "a.mid", scale(6)[:22], time_signatures=((4, 4, 0), (3, 4, 64)))
    with pytest.raises(MusicaeError, match=message):
        domain.select(domain.open(path), **choice)


def test_a_file_in_another_time_signature_is_refused(domain: MusicDomain, tmp_path: Path) -> None:
    piece = domain.open(make_midi(tmp_path / "a.mid", scale(6), time_signatures=((6, 8, 0),)))
    for use in (domain.select, lambda item: list(domain.windows(item))):
        with pytest.raises(MusicaeError, match=r"a\.mid is in 6/8; this model reads 4/4"):
            use(piece)


def test_mapping_a_piece_through_nothing_gives_the_same_bytes(domain: MusicDomain, tmp_path: Path) -> None:
    # Notes tied over window edges, rests of several bars, a section in 3/4, an odd number of bars.
    notes = [(0, 8, 60), (12, 40, 62), (40, 41, 64), (100, 112, 65), (112, 130, 66), (136, 148, 67), (148, 150, 68)]
    time_signatures = ((4, 4, 0), (3, 4, 112), (4, 4, 136))
    piece = domain.open(make_midi(tmp_path / "a.mid", notes, tempo_bpm=93, time_signatures=time_signatures))
    assert map_piece(domain, piece, lambda batch: batch).to_bytes() == (tmp_path / "a.mid").read_bytes()


@pytest.mark.parametrize(
    ("bars", "passages"),
    [(0, None), (1, "bar 3 in 3/4 is copied as it is"), (2, "bars 3–4 in 3/4 are copied as they are")],
)
def test_bars_in_another_time_signature_stay_and_are_named(
    domain: MusicDomain, tmp_path: Path, bars: int, passages: str | None
) -> None:
    back = 32 + 12 * bars
    time_signatures = ((4, 4, 0), (3, 4, 32), (4, 4, back)) if bars else ((4, 4, 0),)
    between = [(step, step + 4, 70) for step in range(32, back, 4)]
    path = make_midi(tmp_path / "a.mid", scale(2) + between + scale(2, back), time_signatures=time_signatures)
    result = map_piece(domain, domain.open(path), lambda batch: batch.roll(1, 1))
    assert result.remarks == (() if passages is None else (f"a.mid: {passages}: this model reads 4/4",))
    kept = [note for note in result.notes(0).pitch.tolist() if note == 70]
    assert len(kept) == len(between)


def test_many_passages_in_another_time_signature_are_counted(domain: MusicDomain, tmp_path: Path) -> None:
    changes = [((4, 4, 28 * number), (3, 4, 28 * number + 16)) for number in range(4)]
    signatures = tuple(signature for pair in changes for signature in pair)
    piece = domain.open(make_midi(tmp_path / "a.mid", scale(7), time_signatures=signatures))
    remark = "a.mid: 4 of 8 bars, in 3/4, are copied as they are: this model reads 4/4"
    assert map_piece(domain, piece, lambda batch: batch).remarks == (remark,)
    signatures = ((4, 4, 0), (3, 4, 16), (6, 8, 28), (4, 4, 40))
    piece = domain.open(make_midi(tmp_path / "b.mid", scale(4)[:14], time_signatures=signatures))
    remark = "b.mid: bar 2 in 3/4, bar 3 in 6/8 are copied as they are: this model reads 4/4"
    assert map_piece(domain, piece, lambda batch: batch).remarks == (remark,)


def test_of_many_tunes_the_first_is_taken_and_said_to_be(domain: MusicDomain, tmp_path: Path) -> None:
    tune = "X:{0}\nT:{1}\nM:4/4\nL:1/4\nK:C\nCDEF|GABc|cBAG|\n"
    (tmp_path / "x.abc").write_text(tune.format(1, "One") + "\n" + tune.format(2, "Two"))
    remark = ("x.abc holds 2 tunes; the first, One, is taken",)
    piece = domain.open(tmp_path / "x.abc")
    assert piece.remarks == map_piece(domain, piece, lambda batch: batch).remarks == remark
    (tmp_path / "y.abc").write_text(tune.format(1, "One"))
    assert domain.open(tmp_path / "y.abc").remarks == domain.open(tmp_path / "x.abc", tune="Two").remarks == ()


def test_mapping_keeps_length_and_every_tempo(domain: MusicDomain, tmp_path: Path) -> None:
    midi = pretty_midi.PrettyMIDI(resolution=240, initial_tempo=100)
    midi._tick_scales = [(0, 60 / (100 * 240)), (960, 60 / (50 * 240))]
    midi._update_tick_to_time(10_000)
    midi.instruments.append(pretty_midi.Instrument(0))
    for beat in range(40):
        start, end = midi.tick_to_time(beat * 240), midi.tick_to_time(beat * 240 + 240)
        midi.instruments[0].notes.append(pretty_midi.Note(80, 60 + beat % 9, start, end))
    midi.write(str(tmp_path / "a.mid"))
    map_piece(domain, domain.open(tmp_path / "a.mid"), lambda batch: batch.roll(3, 1)).save(tmp_path / "b.mid")
    before, after = (pretty_midi.PrettyMIDI(str(tmp_path / name)) for name in ("a.mid", "b.mid"))
    np.testing.assert_allclose(after.get_tempo_changes(), before.get_tempo_changes(), rtol=1e-5)
    assert len(after.instruments[0].notes) == 40


def test_a_function_sees_every_window_once_and_its_failure_is_passed_on(domain: MusicDomain, tmp_path: Path) -> None:
    piece = domain.open(make_midi(tmp_path / "a.mid", scale(301)))
    seen = []

    def count(batch: torch.Tensor) -> torch.Tensor:
        seen.append(len(batch))
        return torch.zeros_like(batch)

    silent = map_piece(domain, piece, count)
    assert sum(seen) == 151 and max(seen) <= 64
    assert silent.bars == 301 and silent.note_count == 0 and silent.remarks == ("silent: no note anywhere",)

    def fail(batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        map_piece(domain, piece, fail)


def test_scores_of_a_batch_are_what_counting_by_hand_gives(domain: MusicDomain) -> None:
    target = torch.zeros(5, 32, 1, dtype=torch.int64)
    target[:3, :16:4] = torch.tensor([40, 42, 44, 45])[:, None]
    target[4, 0] = 40
    estimate = target.clone()
    estimate[1, 4] = 43  # one wrong pitch of four
    estimate[2] = 0  # silence
    estimate[3, 0] = 40  # a note where there is none
    scores = domain.metrics(estimate, target, target)
    np.testing.assert_allclose(scores["accuracy"], [1, 31 / 32, 28 / 32, 31 / 32, 1])
    np.testing.assert_allclose(scores["onset_f1"], [1, 0.75, 0, 0, 1])
    both_silent = domain.metrics(estimate[2:3], estimate[2:3], target[:1])
    assert both_silent["onset_f1"].tolist() == [1.0]


def test_a_task_that_is_not_there_is_named_with_those_that_are(domain: MusicDomain) -> None:
    with pytest.raises(MusicaeError, match="'sharpen'; valid: reconstruct, denoise, upscale"):
        domain.corruption("sharpen")


def test_a_preview_is_a_picture_a_piece_and_its_sound(domain: MusicDomain) -> None:
    tensor = domain.tensor(torch.from_numpy(random_windows(3))).target
    made = domain.preview({"original": tensor, "model": tensor}, MusicFrame(tempo_bpm=80))
    assert list(made) == [".png", ".mid", ".wav"]
    assert min(made[".png"].size) > 100
    np.testing.assert_array_equal(domain.select(made[".mid"], bar=5).example[0], tensor[1])
    assert made[".wav"].duration_s == pytest.approx(made[".mid"].duration_s + 2, abs=0.1)


def test_damaged_files_are_refused_by_reading_and_by_opening(domain: MusicDomain, tmp_path: Path) -> None:
    (tmp_path / "x.mid").write_text("not midi")
    for use in (domain.read, domain.open):
        with pytest.raises(DamagedFileError):
            use(tmp_path / "x.mid")


def test_a_file_in_riff_is_read_like_the_one_in_it(domain: MusicDomain, tmp_path: Path) -> None:
    path = make_midi(tmp_path / "a.mid", scale(6))
    riff = domain.open(path).save(tmp_path / "a.rmi")
    assert riff.read_bytes().startswith(b"RIFF") and domain.reads(riff)
    np.testing.assert_array_equal(domain.read(riff).examples, domain.read(path).examples)


def test_an_array_of_tokens_is_stored_as_it_would_be_read(domain: MusicDomain) -> None:
    windows = random_windows(6)
    np.testing.assert_array_equal(domain.array_examples(windows.astype(np.int64)), windows)
    np.testing.assert_array_equal(domain.array_examples(windows[..., 0]), windows)
    spelled = windows.copy()
    spelled[:, 0] = 1  # a note-off where nothing sounds
    assert not domain.array_examples(spelled)[:, 0].any()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 16), np.int64), r"\(windows, 32, 1\), got \(3, 16, 1\)"),
        (np.zeros((3, 32, 2), np.int64), r"got \(3, 32, 2\)"),
        (np.zeros((3, 32)), "whole numbers, got float64"),
        (np.full((3, 32), 90), "melody tokens 0 to 89, got 90 to 90"),
        (np.full((3, 32), -1), "got -1 to -1"),
    ],
)
def test_an_array_that_is_no_music_is_refused(domain: MusicDomain, array: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        domain.array_examples(array)


def test_labels_of_an_array_are_refused_since_music_has_no_classes(domain: MusicDomain) -> None:
    with pytest.raises(ValueError, match="music keeps no classes"):
        domain.array_examples(np.zeros((1, 32), np.int64), ["a"])


def test_baselines_hold_the_commonest_token_or_copy_the_bar_before(domain: MusicDomain) -> None:
    target = torch.zeros(2, 32, 1, dtype=torch.int64)
    target[:, :16:4], target[:, 16::4] = 40, 50
    baselines = domain.baselines("reconstruct", target)
    assert list(baselines) == ["hold", "copy"] and domain.baselines("reconstruct") == {}
    assert not baselines["hold"](target, target).any()
    copied = baselines["copy"](target, target)
    assert not copied[:, :16].any() and torch.equal(copied[:, 16:], target[:, :16])
    assert list(common(bars=1).baselines("reconstruct", target[:, :16])) == ["hold"]


def test_a_config_of_an_older_checkpoint_is_read() -> None:
    config = read_config(MusicConfig, {"metre": "6/8", "bars": 4}, "music setting")
    assert config.time_signature == "6/8" and config.steps == 48


def test_chords_are_followed_only_by_models_that_take_them(domain: MusicDomain) -> None:
    with pytest.raises(MusicaeError, match="follows no chords"):
        domain.condition("C F")
    classes = common(chords=True).condition("C F", 2)
    assert classes.tolist() == [[1] * 32, [1 + 4 * 5] * 32]
