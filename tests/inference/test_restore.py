"""Whole media objects through a model: what is kept of them, how far a restoration may go, another condition."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from midi_notes import notes
from own_domains import conditioned_model
from symusic import Note, Score, TextMeta, Track
from tiny_models import write_chords

import musicae
from musicae.audio import stft as signal
from musicae.audio.sound import Sound
from musicae.domain import Answers
from musicae.errors import MusicaeError
from musicae.image.picture import Picture
from musicae.inference.restore import RestorationLimits
from musicae.music.piece import Piece
from musicae.starter import starter_file
from musicae.trained import TrainedModel

A = starter_file("a.mid")


def noise(seconds: float = 1.5) -> Sound:
    samples = 0.1 * np.random.default_rng(0).standard_normal(round(8000 * seconds))
    return Sound.open(samples.astype(np.float32), sample_rate_hz=8000)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """Denoises digits; hardly trained."""
    settings = {"widths": (8,), "latent_size": 4, "steps": 3, "evaluate_every": 3, "precision": "no", "log_with": ()}
    folder = tmp_path_factory.mktemp("digits") / "run"
    return musicae.train("image", task="denoise", out=folder, device="cpu", **settings)


# What is kept


def test_a_reconstructed_melody_is_as_long_as_its_piece(music: TrainedModel, tmp_path: Path) -> None:
    piece = music.reconstruct(A)
    assert piece.save(tmp_path / "deep" / "out.mid") == tmp_path / "deep" / "out.mid"
    assert Score(str(tmp_path / "deep" / "out.mid")).time_signatures[0].numerator == 4
    ends = [max(end for _, end, _ in notes(each)) for each in (A, piece)]
    assert ends[1] == pytest.approx(ends[0], abs=8)
    assert notes(piece) == notes(tmp_path / "deep" / "out.mid") != notes(A)


def test_other_tracks_tempo_and_texts_of_a_piece_stay_as_they_are(music: TrainedModel) -> None:
    score = Score(str(A))
    bass = Track("Bass", program=33)
    for bar in range(4):
        bass.notes.append(Note(bar * 4 * score.tpq, 4 * score.tpq, 36, 77))
    score.tracks.append(bass)
    score.tempos[0].qpm = 71.0
    score.markers.append(TextMeta(score.tpq, "here"))
    before = Piece.open(score)
    after = Score.from_midi(music.with_settings(track="0").reconstruct(before).data)
    before = Score.from_midi(before.data)
    kept = [track for track in after.tracks if track.name == "Bass"]
    assert len(kept) == 1 and kept[0].program == 33
    assert [(n.time, n.duration, n.pitch, n.velocity) for n in kept[0].notes] == [
        (n.time, n.duration, n.pitch, n.velocity) for n in before.tracks[1].notes
    ]
    assert after.tempos == before.tempos and after.markers == before.markers
    assert after.tracks[0].notes != before.tracks[0].notes


def test_a_model_that_changes_nothing_gives_the_piece_back(music: TrainedModel) -> None:
    piece = Piece.open(A)
    answers = Answers(lambda: music.domain.windows(piece), lambda batch: batch.target)
    assert notes(music.domain.assemble(piece, answers)) == notes(piece)


def test_a_denoised_sound_keeps_length_rate_and_format(audio: TrainedModel, tmp_path: Path) -> None:
    source = write_chords(tmp_path / "in", 1, sample_rate_hz=11_025, duration_s=1.7) / "chord-0.wav"
    out = audio.denoise(source).save(tmp_path / "out.wav")
    before, after = soundfile.info(source), soundfile.info(out)
    assert (after.frames, after.samplerate, after.subtype) == (before.frames, before.samplerate, before.subtype)
    assert np.isfinite(soundfile.read(out)[0]).all()
    assert not np.array_equal(soundfile.read(out)[0], soundfile.read(source)[0])


def test_a_picture_is_reconstructed_at_the_models_size_and_keeps_its_name(image: TrainedModel) -> None:
    picture = Picture.open(np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8))
    made = image.reconstruct(picture)
    assert (made.width, made.height, made.name) == (8, 8, picture.name)
    expected = (image.reconstruct(image.tensor(picture)).clamp(0, 1) * 255).round().byte()[0, 0]
    assert np.array_equal(made.array, expected.numpy())


def test_a_picture_is_denoised_at_its_own_size(digits: TrainedModel) -> None:
    array = np.random.default_rng(0).integers(0, 256, (21, 13), np.uint8)
    made = digits.denoise(array)
    assert made.array.shape == (21, 13)
    assert not np.array_equal(made.array, array)


def test_a_batch_is_answered_as_the_network_answers_it(music: TrainedModel, audio: TrainedModel) -> None:
    batch = music.sample(3, seed=1).tensor
    assert torch.equal(music.reconstruct(batch), music.network.reconstruct(batch))
    given = audio.tensor(noise())
    with torch.no_grad():
        expected = audio.network.reconstruct(given)
    # In the precision that masks are computed in, which may be lower.
    torch.testing.assert_close(audio.denoise(given), expected, atol=0.01 * float(expected.abs().max()), rtol=0)
    wider = torch.cat([given, given], dim=3)
    assert audio.denoise(wider).shape == wider.shape  # a restorer takes any length


# How far it may go


def test_strength_goes_from_the_sound_itself_to_all_that_the_model_does(audio: TrainedModel) -> None:
    given = noise()
    cleaned = {strength: audio.denoise(given, strength=strength).samples for strength in (0.0, 0.5, 1.0)}
    np.testing.assert_allclose(cleaned[0.0], given.samples, atol=1e-5)
    np.testing.assert_allclose(cleaned[0.5], (given.samples + cleaned[1.0]) / 2, atol=1e-4)
    assert np.abs(cleaned[1.0] - given.samples).max() > 0.01


@pytest.mark.parametrize("limits", [{"strength": 0.0}, {"max_attenuation_db": 0.0}])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_where_nothing_is_to_change_no_bit_does(
    audio: TrainedModel, tmp_path: Path, limits: dict[str, float], subtype: str
) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, (9_000, 2))
    soundfile.write(tmp_path / "a.wav", samples, 44_100, subtype=subtype)
    audio.denoise(tmp_path / "a.wav", **limits).save(tmp_path / "b.wav")
    before, after = (soundfile.read(tmp_path / name)[0] for name in ("a.wav", "b.wav"))
    assert np.array_equal(before, after)


def test_nothing_is_turned_down_by_more_than_is_allowed(audio: TrainedModel) -> None:
    given = audio.tensor(noise())
    before = signal.magnitude(given)
    free, held = (signal.magnitude(audio.denoise(given, max_attenuation_db=limit)) for limit in (None, 2.0))
    audible = before > 1e-4
    assert (20 * torch.log10(held / before))[audible].min() > -2.001
    assert (20 * torch.log10(free / before))[audible].min() < -3
    above = audible & (free > before * 10 ** (-2 / 20))
    assert torch.allclose(held[above], free[above])


def test_pictures_are_held_back_too(digits: TrainedModel) -> None:
    batch = torch.rand(2, 1, 8, 8)
    assert torch.equal(digits.denoise(batch, strength=0.0), batch)
    torch.testing.assert_close(digits.denoise(batch, strength=0.25), torch.lerp(batch, digits.denoise(batch), 0.25))
    array = np.random.default_rng(0).integers(0, 256, (21, 13), np.uint8)
    assert np.array_equal(digits.denoise(array, strength=0.0).array, array)


def test_what_a_medium_cannot_be_given_is_refused(music: TrainedModel, digits: TrainedModel) -> None:
    batch = torch.rand(2, 1, 8, 8)
    with pytest.raises(MusicaeError, match="only sound is turned down by decibels"):
        digits.denoise(batch, max_attenuation_db=6.0)
    with pytest.raises(MusicaeError, match="repaired or left, not in part"):
        RestorationLimits(strength=0.5).check(music.domain.spec)
    with pytest.raises(MusicaeError, match="image has no recordings of noise, only sound has"):
        digits.denoise(np.zeros((8, 8), np.uint8), noise_profile="noise.wav")
    with pytest.raises(ValueError, match="a noise profile goes with a sound, got a batch"):
        digits.denoise(batch, noise_profile="noise.wav")


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (RestorationLimits(strength=1.5), "strength is between 0 and 1, got 1.5"),
        (RestorationLimits(strength=-0.1), "strength is between 0 and 1, got -0.1"),
        (RestorationLimits(strength=math.nan), "strength is between 0 and 1, got nan"),
        (RestorationLimits(max_attenuation_db=-1.0), "0 dB or more, got -1.0"),
        (RestorationLimits(max_attenuation_db=math.nan), "0 dB or more, got nan"),
        (RestorationLimits(max_attenuation_db=math.inf), "0 dB or more, got inf"),
    ],
)
def test_limits_out_of_range_are_named(audio: TrainedModel, limits: RestorationLimits, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        limits.check(audio.domain.spec)
    with pytest.raises(ValueError, match=sentence):
        audio.denoise(noise(), strength=limits.strength, max_attenuation_db=limits.max_attenuation_db)


# Another condition


def test_another_condition_keeps_the_code_and_changes_the_piece() -> None:
    trained = conditioned_model()
    batch = trained.sample(2, seed=2).tensor
    z = trained.encode(batch)
    assert torch.equal(trained.reconstruct(batch, chords="b"), trained.decode(z, chords="b"))
    assert not torch.equal(trained.reconstruct(batch, chords="a"), trained.reconstruct(batch, chords="b"))
    assert notes(trained.reconstruct(A, chords="a")) != notes(trained.reconstruct(A, chords="b"))


def test_a_condition_is_spread_over_all_windows_of_a_piece() -> None:
    trained = conditioned_model()
    piece = Piece.open(A)
    windows = list(trained.domain.windows(piece))
    sizes = [len(window.batch.target) for window in windows]
    assert sum(sizes) > 2
    wanted = trained.domain.condition("ab", sum(sizes))
    decoded = [
        (window, trained.network.decode(trained.network.encode(*window.batch).mean, condition=part))
        for window, part in zip(windows, wanted.split(sizes), strict=True)
    ]
    assert notes(trained.reconstruct(A, chords="ab")) == notes(trained.domain.assemble(piece, decoded))
    assert notes(trained.reconstruct(A, chords="ab")) != notes(trained.reconstruct(A, chords="a"))


# Streams


def test_only_causal_models_of_sound_stream(audio: TrainedModel, music: TrainedModel) -> None:
    with pytest.raises(MusicaeError, match="looks ahead and cannot stream; take 'denoise-live-48k'"):
        audio.stream([np.zeros(100, np.float32)])
    with pytest.raises(MusicaeError, match="was trained to reconstruct, not to denoise"):
        music.stream([np.zeros(100, np.float32)])
