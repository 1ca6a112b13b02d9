"""Paths, squares and whole pieces between two media objects."""

import io
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile
import torch
from midi_notes import notes
from own_domains import conditioned_model
from PIL import Image
from symusic import Score

from musicae.audio.domain import AudioConfig, AudioDomain
from musicae.audio.sound import Sound
from musicae.errors import DamagedFileError, MusicaeError
from musicae.inference.interpolate import latent_path
from musicae.inference.latent_paths import slerp
from musicae.models import build_model
from musicae.music.piece import Piece
from musicae.starter import starter_file
from musicae.trained import TrainedModel

A, B = starter_file("a.mid"), starter_file("b.mid")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".musicae-cache"))


def repeated(source: Path, times: int) -> Piece:
    """A file's notes `times` times, one after the other."""
    score = Score(str(source)).copy()
    length = -(-score.end() // (4 * score.tpq)) * 4 * score.tpq
    for track in score.tracks:
        once = [(note.time, note.duration, note.pitch, note.velocity) for note in track.notes]
        for time in range(1, times):
            for start, duration, pitch, velocity in once:
                track.notes.append(type(track.notes[0])(start + time * length, duration, pitch, velocity))
    return Piece.open(score.dumps_midi())


def in_a_row(pieces: list[Piece], beats: int) -> list[tuple[float, float, int]]:
    """The notes of pieces of so many beats, one after the other."""
    return sorted(
        (start + beats * number, end + beats * number, pitch)
        for number, piece in enumerate(pieces)
        for start, end, pitch in notes(piece)
    )


# Between batches


def test_the_ends_of_a_path_are_the_reconstructions_of_the_inputs(music: TrainedModel, image: TrainedModel) -> None:
    for trained in (music, image):
        a, b = trained.sample(2, seed=4).tensor.split(1)
        for method in ("slerp", "lerp"):
            path = trained.interpolate(a, b, 5, method=method).tensor
            assert path.shape == (5, *trained.domain.spec.shape)
            torch.testing.assert_close(path[:1], trained.reconstruct(a))
            torch.testing.assert_close(path[-1:], trained.reconstruct(b))


def test_the_steps_of_a_path_change_about_equally_unless_the_way_is_wanted_evenly(image: TrainedModel) -> None:
    a, b = image.sample(2, seed=4).tensor.split(1)
    latent = image.network.latent
    z_a, z_b = (latent.to_base(image.encode(end))[0] for end in (a, b))
    uniform = image.interpolate(a, b, 7, spacing="uniform").tensor
    torch.testing.assert_close(uniform, image.decode(latent.from_base(slerp(z_a, z_b, 7))))
    even = image.interpolate(a, b, 7).tensor
    unevenness = [(path[1:] - path[:-1]).flatten(1).norm(dim=1) for path in (even, uniform)]
    assert unevenness[0].max() / unevenness[0].mean() < unevenness[1].max() / unevenness[1].mean()


def test_a_path_of_the_most_steps_has_as_many(image: TrainedModel) -> None:
    a, b = image.sample(2, seed=4).tensor.split(1)
    path = image.interpolate(a, b, 1000)
    assert path.tensor.shape == (1000, 1, 8, 8)
    torch.testing.assert_close(path.tensor[-1:], image.reconstruct(b))


@pytest.mark.parametrize("steps", [1, 0, -3, 1001])
def test_a_path_has_two_to_a_thousand_steps(music: TrainedModel, steps: int) -> None:
    for made in (music.interpolate, music.interpolate_songs):
        with pytest.raises(ValueError, match=f"steps is between 2 and 1000, got {steps}"):
            made(A, B, steps)


def test_bad_arguments_of_a_path_are_named(music: TrainedModel) -> None:
    batch = music.sample(2, seed=0).tensor
    for made in (
        lambda: music.interpolate(A, B, method="slrp"),
        lambda: music.interpolate_songs(A, B, method="slrp"),
        lambda: music.interpolate_corners(A, B, A, B, method="slrp"),
    ):
        with pytest.raises(ValueError, match=r"unknown method 'slrp'. Did you mean 'slerp'"):
            made()
    with pytest.raises(ValueError, match=r"unknown spacing 'evn'\. Did you mean 'even'"):
        music.interpolate(A, B, spacing="evn")
    with pytest.raises(ValueError, match="batches of one, got 2 and 1"):
        music.interpolate(batch, batch[:1])
    with pytest.raises(ValueError, match="two media objects or two batches"):
        music.interpolate(A, batch[:1])
    with pytest.raises(ValueError, match="steps is between 2 and 31, got 32"):
        music.interpolate_corners(A, B, A, B, 32)


# Between pieces


def test_the_ends_of_a_path_between_pieces_are_their_windows_reconstructed(music: TrainedModel) -> None:
    path = music.interpolate(A, B, steps=4)
    assert len(path) == 4
    for end, source in ((path[0], A), (path[-1], B)):
        assert notes(end) == notes(music.domain.compose(music.decode(music.encode(source)))) != []


def test_a_path_between_any_sources_of_two_pieces_is_the_same(music: TrainedModel) -> None:
    expected = music.interpolate(A, B, 2)
    for source in (pretty_midi.PrettyMIDI(str(A)), A.read_bytes(), io.BytesIO(A.read_bytes()), Piece.open(A), str(A)):
        path = music.interpolate(source, B, steps=2)
        assert torch.equal(path.tensor, expected.tensor)
        assert [notes(step) for step in path] == [notes(step) for step in expected]


def test_a_path_is_written_whole_and_step_by_step_with_picture_and_sound(music: TrainedModel, tmp_path: Path) -> None:
    path = music.interpolate(A, B, steps=3)
    whole = path.save(tmp_path / "deep" / "path")
    assert whole == tmp_path / "deep" / "path" / "interpolation.mid"
    steps = ["step-01.mid", "step-02.mid", "step-03.mid"]
    assert names(whole.parent) == ["interpolation.mid", "interpolation.png", "interpolation.wav", *steps]
    assert names(whole.parent.parent) == ["path"]
    assert [notes(whole.parent / step) for step in steps] == [notes(step) for step in path]
    assert notes(whole) == in_a_row(list(path), beats=8) == notes(path.joined)
    with Image.open(whole.with_suffix(".png")) as drawn:
        assert min(drawn.size) > 100
    sound, rate_hz = soundfile.read(whole.with_suffix(".wav"))
    assert np.sqrt(np.mean(sound**2)) > 0.01
    assert len(sound) / rate_hz > 1


def test_a_notebook_shows_a_path_and_plays_it(music: TrainedModel) -> None:
    shown = music.interpolate(A, B, steps=2)._repr_html_()
    assert "data:image/png;base64," in shown
    assert "<audio" in shown


def at_tempo(source: Path, tempo_bpm: float) -> Piece:
    piece = Piece.open(source)
    return piece.at_speed(tempo_bpm / piece.tempi[0][1])


@pytest.mark.parametrize(
    ("tempo", "expected"),
    [(None, [80.0] * 3), ("a", [80.0] * 3), ("b", [180.0] * 3), ("between", [80.0, 120.0, 180.0])],
)
def test_a_path_has_the_tempo_that_is_asked_for(music: TrainedModel, tempo: str | None, expected: list[float]) -> None:
    slow, fast = at_tempo(A, 80), at_tempo(B, 180)
    path = music.interpolate(slow, fast, 3, tempo=tempo)
    assert [piece.tempi[0][1] for piece in path] == pytest.approx(expected, rel=1e-4)
    whole = path.joined
    assert [whole.tempo_map.tempo_at(whole.bar_tick(bar)) for bar in (1, 3, 5)] == pytest.approx(expected, rel=1e-4)
    assert whole.duration_s == pytest.approx(sum(8 * 60 / bpm for bpm in expected), abs=2)
    wholes = music.interpolate_songs(slow, fast, 3, tempo=tempo)
    means = [music.domain.tempo_bpm(piece) for piece in wholes]
    assert means == pytest.approx(expected if tempo else [180.0] * 3, rel=1e-3)  # B is the longer one
    assert notes(wholes[1]) == notes(music.interpolate_songs(slow, fast, 3)[1])


def test_a_tempo_is_one_of_three_and_of_music(music: TrainedModel, image: TrainedModel) -> None:
    with pytest.raises(ValueError, match="unknown tempo 'c'"):
        music.interpolate(A, B, 3, tempo="c")
    with pytest.raises(MusicaeError, match="image has no tempo"):
        image.interpolate(np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint8), 3, tempo="b")


def test_the_tempo_of_the_first_piece_is_kept(music: TrainedModel) -> None:
    slow = Score(str(A))
    slow.tempos[0].qpm = 71.0
    path = music.interpolate(slow, B, steps=2)
    for piece in (path.joined, path[1]):
        assert [tempo.qpm for tempo in Score.from_midi(piece.data).tempos] == pytest.approx([71.0], abs=1e-3)


def test_of_very_slow_music_the_beginning_is_played_and_the_path_says_so(music: TrainedModel) -> None:
    slow = Score(str(A))
    slow.tempos[0].qpm = 3.6
    path = music.interpolate(slow, B, steps=13)
    assert path.preview()[".wav"].duration_s < 310
    assert path.remarks[-1] == "interpolation: lasts 29 minutes; the sound beside it is of the first 5 minutes"


def test_what_was_said_of_the_files_is_said_of_the_path(music: TrainedModel) -> None:
    mended = music.domain.open(A).with_remarks("a.mid: something was mended")
    assert music.interpolate(mended, B, steps=2).remarks[0] == "a.mid: something was mended"


def test_the_parts_that_were_taken_are_remarked(music: TrainedModel) -> None:
    path = music.interpolate(A, B, steps=2, choice_a={"bar": 3})
    assert path.remarks[0].startswith("from bars 3–4 of track ")
    assert notes(path[0]) == notes(music.domain.compose(music.decode(music.encode(A, bar=3))))


def test_a_path_between_equal_pieces_is_of_equal_steps_and_says_so(music: TrainedModel) -> None:
    path = music.interpolate(A, A, 3)
    steps = [notes(step) for step in path]
    assert steps[0] == steps[1] == steps[2] != []
    assert "both ends are the same to the model, so every step is the same" in path.remarks
    assert not any("the same" in remark for remark in music.interpolate(A, B, 3).remarks)


def test_a_bad_or_missing_second_piece_is_named(music: TrainedModel, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mid"
    bad.write_text("not MIDI")
    for second in (bad, tmp_path / "missing.mid"):
        for made in (music.interpolate, music.interpolate_songs):
            with pytest.raises(MusicaeError, match=second.name):
                made(A, second)
    with pytest.raises(DamagedFileError):
        music.interpolate_songs(A, bad)
    assert names(tmp_path) == ["bad.mid"]


def test_each_point_of_a_path_has_the_condition_of_the_nearer_end() -> None:
    trained = conditioned_model()
    batches = [trained.pipeline.batch(trained.pipeline.select(A, {"bar": bar})) for bar in (1, 3)]
    start, end = (trained.pipeline.encode(batch) for batch in batches)
    assert not torch.equal(start.condition, end.condition)
    path = latent_path(trained.pipeline, start, end, 4, spacing="uniform")
    assert torch.equal(path.condition, torch.cat([start.condition] * 2 + [end.condition] * 2))
    for row, batch in ((0, batches[0]), (3, batches[1])):
        expected = trained.network.reconstruct(batch.target, condition=batch.condition)
        assert torch.equal(path.target[row], expected[0])
    made = trained.interpolate(A, A, 4, spacing="uniform", choice_a={"bar": 1}, choice_b={"bar": 3})
    assert torch.equal(made.tensor, path.target)
    assert made.positions == path.positions == pytest.approx((0, 1 / 3, 2 / 3, 1))
    even = latent_path(trained.pipeline, start, end, 4).positions
    assert even[0] == 0 and even[-1] == 1 and list(even) == sorted(even)
    square = trained.interpolate_corners(A, A, A, A, 2, choices=[{"bar": bar} for bar in (1, 3, 1, 3)])
    assert torch.equal(square.tensor[0], path.target[[0, 3]])


# Squares


def test_a_square_has_the_reconstructions_in_its_corners(music: TrainedModel, tmp_path: Path) -> None:
    pieces = list(music.sample(4, seed=8))
    square = music.interpolate_corners(*pieces, 3)
    whole = square.save(tmp_path / "out")
    columns = ["column-01.mid", "column-02.mid", "column-03.mid"]
    assert names(whole.parent) == sorted([*columns, "square.mid", "square.png", "square.wav"])
    assert square.tensor.shape == (3, 3, *music.domain.spec.shape)
    left = music.interpolate(pieces[0], pieces[1], 3, spacing="uniform")
    right = music.interpolate(pieces[2], pieces[3], 3, spacing="uniform")
    assert torch.equal(square.tensor[0], left.tensor) and torch.equal(square.tensor[2], right.tensor)
    assert notes(square[0]) == notes(left.joined) and notes(square[2]) == notes(right.joined)
    assert notes(whole) == in_a_row(list(square), beats=24)
    assert [remark.split(":")[0] for remark in square.remarks[:2]] == ["upper left", "lower left"]


def test_each_corner_may_be_a_chosen_part(music: TrainedModel) -> None:
    square = music.interpolate_corners(A, A, B, B, 2, choices=[{"bar": 1}, {"bar": 3}])
    for row, bar in ((0, 1), (1, 3)):
        assert torch.equal(square.tensor[0, row], music.decode(music.encode(A, bar=bar))[0])
    assert torch.equal(square.tensor[1, 0], music.decode(music.encode(B))[0])


def test_a_square_of_pictures_is_one_picture(image: TrainedModel, tmp_path: Path) -> None:
    whole = image.interpolate_corners(*image.sample(4, seed=0), 4).save(tmp_path / "square")
    with Image.open(whole) as drawn:
        assert min(drawn.size) > 100


# Whole pieces


def test_whole_pieces_are_joined_window_by_window(music: TrainedModel, tmp_path: Path) -> None:
    longer = repeated(B, times=3)
    path = music.interpolate_songs(A, longer, 3)
    assert len(path) == 3 and path.tensor is None
    assert any(remark.startswith("a is shorter and repeated") for remark in path.remarks)
    assert notes(path[2]) == notes(music.reconstruct(longer))
    start = [note for note in notes(music.reconstruct(A)) if note[1] <= 8]
    assert [note for note in notes(path[0]) if note[1] <= 8] == start != []
    assert notes(path[1]) not in (notes(path[0]), notes(path[2]))
    ends = [max(end for _, end, _ in notes(piece)) for piece in path]
    assert max(ends) - min(ends) <= 8
    back = music.interpolate_songs(longer, A, 3)
    assert [notes(piece) for piece in back] == [notes(piece) for piece in reversed(list(path))]
    assert path.save(tmp_path / "path") == tmp_path / "path"
    assert names(tmp_path / "path") == ["step-01.mid", "step-02.mid", "step-03.mid"]


def test_the_windows_of_whole_pieces_have_the_condition_of_the_nearer_end() -> None:
    trained = conditioned_model()
    higher = Piece.open(Score(str(A)).shift_pitch(1))
    path = trained.interpolate_songs(A, higher, 3)
    for end, source in ((path[0], A), (path[2], higher)):
        assert notes(end) == notes(trained.reconstruct(source))
    assert notes(path[0]) != notes(path[2])


def test_whole_pieces_that_are_equal_say_so(music: TrainedModel) -> None:
    path = music.interpolate_songs(A, A, 2)
    assert notes(path[0]) == notes(path[1]) != []
    assert "both are the same to the model, so every step is the same" in path.remarks


def test_whole_pictures_and_whole_sounds_are_joined_too(image: TrainedModel) -> None:
    a, b = (np.random.default_rng(seed).integers(0, 256, (12, 12), np.uint8) for seed in (0, 1))
    path = image.interpolate_songs(a, b, 3)
    for end, source in ((path[0], a), (path[2], b)):
        assert np.array_equal(end.array, image.reconstruct(source).array)
    domain = AudioDomain(AudioConfig(sample_rate_hz=8000, n_fft=256, chunk_s=0.6, representation="magnitude"))
    network = build_model("spectrogram", domain.spec, {"widths": (4, 4), "latent_size": 4, "moment_size": 2})
    manifest = image.manifest.model_copy(update={"domain": "audio"})
    audio = TrainedModel(network, domain, manifest, "cpu")
    time_s = np.arange(16_000) / 8000
    longer = Sound.open(np.sin(2000 * time_s), sample_rate_hz=8000)
    shorter = Sound.open(np.sin(3000 * time_s[:9000]), sample_rate_hz=8000)
    sounds = audio.interpolate_songs(longer, shorter, 2)
    assert [sound.frames for sound in sounds] == [16_000, 16_000]
    first, again = (np.concatenate(list(sounds[0].blocks())) for _ in range(2))
    assert np.array_equal(first, again)
    np.testing.assert_allclose(first[:, 0], audio.reconstruct(longer).samples, atol=1e-3)


# One that changes while it lasts


def test_only_sounds_morph(music: TrainedModel, image: TrainedModel) -> None:
    for trained, source in ((music, A), (image, np.zeros((8, 8), np.uint8))):
        with pytest.raises(MusicaeError, match="only sounds morph into each other while they last"):
            trained.morph(source, source)
