"""The models that come with the package: they load by name, and do what their cards say."""

import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from sklearn.datasets import load_sample_image

from musicae.audio.sound import Sound
from musicae.cli import main
from musicae.image.picture import Picture
from musicae.music.piece import Piece
from musicae.shipped import LIVE_MODEL, PRETRAINED, SHIPPED_FOR, WEIGHTS, describe_models, shipped_models
from musicae.starter import starter_file, starter_items
from musicae.trained import TrainedModel, load
from musicae.training.checkpoint import read_manifest

ROOT = Path(__file__).resolve().parent.parent
A, B = starter_file("a.mid"), starter_file("b.mid")
RATE_HZ = 16_000
OF_MUSIC = ["drums-2bar", "drums-2bar-tap", "melody-16bar", "melody-2bar", "piano-2bar", "trio-2bar"]
OF_SOUND = ["denoise-48k", "denoise-live-48k", "notes-44k", "upscale-48k"]
OF_PICTURES = ["photo-denoise", "photo-upscale"]


@pytest.fixture(scope="module")
def melody() -> TrainedModel:
    return load("melody-2bar", "cpu")


@pytest.fixture(scope="module")
def denoiser() -> TrainedModel:
    return load("denoise-48k", "cpu")


def notes(piece: Piece) -> list[tuple[float, float, int]]:
    played = [note for track in piece.to_pretty_midi().instruments for note in track.notes]
    return sorted((round(note.start, 3), round(note.end, 3), note.pitch) for note in played)


def tune(seconds: float) -> np.ndarray:
    """The beginning of the second starter tune as it sounds, mono float64."""
    samples = Piece.open(B).render(sample_rate_hz=RATE_HZ).mono().samples[: round(seconds * RATE_HZ)]
    return samples.reshape(-1).astype(np.float64)


def flat(sound: Sound) -> np.ndarray:
    return sound.samples.reshape(-1)


def si_sdr_db(estimate: np.ndarray, clean: np.ndarray) -> float:
    scaled = clean * (estimate @ clean) / (clean @ clean)
    return float(10 * np.log10((scaled**2).sum() / ((estimate - scaled) ** 2).sum()))


def test_the_shipped_models_are_these_small_and_with_a_card():
    assert shipped_models() == sorted([*OF_MUSIC, *OF_SOUND, *OF_PICTURES])
    assert {LIVE_MODEL, *(name for row in SHIPPED_FOR.values() for name in row.values())} <= set(shipped_models())
    weights = {name: (PRETRAINED / name / WEIGHTS).stat().st_size for name in shipped_models()}
    assert max(weights.values()) < 18e6
    assert sum(weights.values()) < 54e6
    lines = list(describe_models())
    for name in shipped_models():
        card = (PRETRAINED / name / "README.md").read_text(encoding="utf-8").lower()
        assert all(word in card for word in ("data", "seed", "licence", "experiments/run.py"))
        assert not [path for path in (PRETRAINED / name).iterdir() if path.suffix in {".pt", ".pkl", ".ckpt"}]
        assert any(line.startswith(f"  {name}: ") for line in lines)


def test_a_card_states_a_licence_that_its_data_allow():
    for name in shipped_models():
        card = (PRETRAINED / name / "README.md").read_text(encoding="utf-8")
        data, licence = card.split("## Licence")
        if "BY-SA" in data:
            assert "CC BY-SA 4.0" in licence
        elif "CC BY" in data:
            assert "CC BY 4.0" in licence
        else:
            assert "MIT" in licence


def test_what_is_shipped_names_no_folder_of_the_machine_it_was_trained_on():
    assert shipped_models()
    for name in shipped_models():
        assert not any(Path(path).is_absolute() for path in read_manifest(PRETRAINED / name).data["paths"])


def test_a_path_between_the_starter_tunes_ends_in_their_reconstructions(melody):
    path = melody.interpolate(A, B, steps=5)
    for end, source in ((0, A), (-1, B)):
        assert torch.equal(path.tensor[end], melody.reconstruct(melody.tensor(source))[0])
    assert len(path) == 5
    assert all(notes(piece) for piece in path)
    assert notes(path[0]) != notes(path[-1])


def test_the_starter_tunes_come_back_nearly_note_for_note(melody):
    windows = np.concatenate([reading.examples for _, reading in starter_items(melody.domain)])
    target = melody.domain.tensor(torch.from_numpy(windows)).target
    scores = melody.domain.metrics(melody.reconstruct(target), target, target)
    assert len(windows) > 100
    assert float(scores["accuracy"].mean()) > 0.9
    assert float(scores["onset_f1"].mean()) > 0.85


def test_transposed_windows_come_back_as_well(melody):
    """Training transposes: no key is better known than another."""
    windows = np.concatenate([reading.examples for _, reading in starter_items(melody.domain)])[:200]
    accuracy = []
    for seed in (1, 2):
        generator = torch.Generator().manual_seed(seed)
        target = melody.domain.tensor(torch.from_numpy(windows), generator).target
        accuracy.append(float(melody.domain.metrics(melody.reconstruct(target), target, target)["accuracy"].mean()))
    assert min(accuracy) > 0.88


def test_samples_are_music(melody):
    tokens = melody.sample(32, temperature=0.5, seed=0).tensor
    assert torch.equal(tokens, melody.sample(32, temperature=0.5, seed=0).tensor)
    onsets = (tokens >= 2).sum(dim=(1, 2))
    assert (onsets > 0).float().mean() > 0.9
    assert len(torch.unique(tokens, dim=0)) > 24


def test_a_real_song_is_reconstructed_whole(melody, shared_data):
    song = Piece.open(next(iter(sorted(shared_data("nottingham").rglob("*.mid")))))
    rebuilt = melody.reconstruct(song)
    assert notes(rebuilt)
    assert rebuilt.duration_s == pytest.approx(song.duration_s, abs=4)


def test_the_starter_noise_is_turned_down_and_the_length_kept(denoiser):
    noisy = Sound.open(starter_file("noisy.wav"))
    cleaned = denoiser.denoise(noisy)
    assert (cleaned.frames, cleaned.sample_rate_hz, cleaned.channels) == (
        noisy.frames,
        noisy.sample_rate_hz,
        noisy.channels,
    )
    # The noise has a hum at 50 Hz, where the tune has nothing.
    turning = np.exp(-2j * np.pi * 50 * np.arange(noisy.frames) / noisy.sample_rate_hz)
    before_db, after_db = (20 * np.log10(abs((flat(sound) * turning).mean())) for sound in (noisy, cleaned))
    assert after_db < before_db - 20


def test_white_noise_on_a_tune_is_removed(denoiser):
    clean = tune(10)
    noise = np.random.default_rng(0).standard_normal(len(clean))
    noise *= np.sqrt((clean**2).mean() / (noise**2).mean()) * 10 ** (-5 / 20)
    noisy = (clean + noise).astype(np.float32)
    assert si_sdr_db(noisy, clean) == pytest.approx(5.0, abs=0.3)
    assert si_sdr_db(flat(denoiser.denoise(noisy, sample_rate_hz=RATE_HZ)), clean) > 10.0


def test_clean_sound_a_steady_tone_and_silence_are_left_alone(denoiser):
    clean = tune(8).astype(np.float32)
    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(8 * RATE_HZ) / RATE_HZ)).astype(np.float32)
    silence = np.zeros(RATE_HZ, np.float32)
    kept = [flat(denoiser.denoise(samples, sample_rate_hz=RATE_HZ)) for samples in (clean, tone, silence)]
    assert si_sdr_db(kept[0].astype(np.float64), clean.astype(np.float64)) > 25
    middle = slice(RATE_HZ, 7 * RATE_HZ)
    assert abs(20 * np.log10(np.std(kept[1][middle]) / np.std(tone[middle]))) < 1
    assert not kept[2].any()


def test_what_is_cleaned_live_is_what_is_cleaned_as_a_whole():
    model = load(LIVE_MODEL, "cpu")
    noisy = flat(Sound.open(starter_file("noisy.wav")))
    stream = model.stream(np.array_split(noisy, 97))
    assert stream.latency_s <= 0.02
    live = np.concatenate(list(stream)).reshape(-1)
    whole = flat(model.denoise(noisy, sample_rate_hz=stream.sample_rate_hz))
    assert np.abs(live - whole).max() < 1e-4
    assert np.mean(live**2) < 0.95 * np.mean(noisy**2)


def test_a_note_comes_back_with_its_pitch_and_is_the_end_of_a_path_to_another():
    model, played = load("notes-44k", "cpu"), {}
    for program, pitch in ((73, 72), (0, 60)):  # a flute, a piano
        midi = pretty_midi.PrettyMIDI()
        midi.instruments.append(pretty_midi.Instrument(program))
        midi.instruments[0].notes.append(pretty_midi.Note(100, pitch, 0, 1.8))
        played[pitch] = Piece.open(midi).render(sample_rate_hz=RATE_HZ).mono()
    path = model.interpolate(played[72], played[60], steps=3, spacing="uniform")
    found = model.domain.attributes(path.tensor)["pitch"]
    assert (float(found[0]), float(found[-1])) == pytest.approx((72, 60), abs=0.5)
    assert all(sound.duration_s == pytest.approx(3.0, abs=0.1) for sound in path)
    assert {"brightness", "loudness", "noisiness"} <= set(model.attribute_vectors.info)


def test_a_narrow_tune_becomes_wide(tmp_path):
    wide = Sound(tune(6).astype(np.float32), RATE_HZ)
    narrow = wide.resample(8_000)
    narrow.save(tmp_path / "narrow.wav")
    command = ["upscale", str(tmp_path / "narrow.wav"), "-o", str(tmp_path / "w.wav")]
    result = CliRunner().invoke(main, command, prog_name="musicae")
    assert result.exit_code == 0, result.stderr
    filled = Sound.open(tmp_path / "w.wav")
    assert (filled.frames, filled.sample_rate_hz) == (3 * wide.frames, 48_000)
    original, found, plain = (
        np.abs(np.fft.rfft(flat(sound)[: wide.frames]))
        for sound in (wide, filled.resample(RATE_HZ), narrow.resample(RATE_HZ))
    )
    above = np.fft.rfftfreq(wide.frames, 1 / RATE_HZ) > 4_200
    levels_db = [10 * np.log10(np.square(part[above]).sum()) for part in (found, original, plain)]
    assert abs(levels_db[0] - levels_db[1]) < 12  # a tune of few partials has little up there
    assert levels_db[2] < levels_db[1] - 20
    below = np.fft.rfftfreq(wide.frames, 1 / RATE_HZ) < 3_000
    assert np.linalg.norm((found - plain)[below]) < 0.05 * np.linalg.norm(plain[below])


@pytest.mark.slow
def test_the_first_command_of_the_readme_is_quick(tmp_path):
    """Ten seconds of wall time on two idle cores; the processor's time is what a busy one can be held to."""
    resource = pytest.importorskip("resource", reason="reads the processor's time of a child")
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, str(ROOT / "cli.py"), "interpolate", str(A), str(B), "--out", str(tmp_path / "x")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert min(used_s, time.monotonic() - started) < 10
    sound = Sound.open(next((tmp_path / "x").glob("*.wav")))
    assert np.sqrt((sound.samples**2).mean()) > 0.01


# Photographs: scikit-learn's two, which nothing was trained on.


def photograph(name: str) -> np.ndarray:
    """Half its size, so that no trace of its JPEG is left: uint8 `(213, 320, 3)`."""
    return np.asarray(Image.fromarray(load_sample_image(name)).reduce(2))


def psnr_db(estimate: Any, original: np.ndarray) -> float:
    error = np.mean((np.asarray(estimate, np.float64) - original) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-10)))


@pytest.mark.parametrize("name", ["china.jpg", "flower.jpg"])
@pytest.mark.parametrize(("deviation", "gain_db"), [(10, 0.5), (25, 4.0), (50, 6.0)])
def test_a_photograph_is_cleaned_of_noise_of_any_strength(name: str, deviation: int, gain_db: float):
    original = photograph(name)
    noise = deviation * np.random.default_rng(0).standard_normal(original.shape)
    noisy = (original + noise).round().clip(0, 255).astype(np.uint8)
    cleaned = load("photo-denoise", "cpu").denoise(noisy)
    assert psnr_db(cleaned.array, original) > psnr_db(noisy, original) + gain_db


def test_a_compressed_photograph_comes_nearer_to_what_it_was_and_a_clean_one_stays():
    model = load("photo-denoise", "cpu")
    # Tiles and leaves as fine as a pixel are partly taken for noise.
    for name, least_db in (("china.jpg", 30), ("flower.jpg", 37)):
        original, content = photograph(name), BytesIO()
        Image.fromarray(original).save(content, "JPEG", quality=30)
        compressed = Picture.open(content.getvalue())
        assert psnr_db(model.denoise(compressed).array, original) > psnr_db(compressed.array, original) + 0.15
        assert psnr_db(model.denoise(original).array, original) > least_db


def test_grey_noise_is_cleaned_too():
    original = np.asarray(Image.fromarray(photograph("china.jpg")).convert("L"))
    noise = 25 * np.random.default_rng(0).standard_normal(original.shape)
    noisy = Picture.open((original + noise).round().clip(0, 255).astype(np.uint8))
    cleaned = load("photo-denoise", "cpu").denoise(noisy)
    assert cleaned.array.ndim == 2
    assert psnr_db(cleaned.array, original) > psnr_db(noisy.array, original) + 4


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_an_enlarged_photograph_is_nearer_to_what_it_was_than_an_interpolated_one(scale: int):
    for name in ("china.jpg", "flower.jpg"):
        original = photograph(name)[: 213 // scale * scale, : 320 // scale * scale]
        size = (original.shape[1], original.shape[0])
        small = Image.fromarray(original).resize((size[0] // scale, size[1] // scale), Image.Resampling.BICUBIC)
        bicubic = small.resize(size, Image.Resampling.BICUBIC)
        enlarged = load("photo-upscale", "cpu").upscale(small, scale=scale)
        assert psnr_db(enlarged.array, original) > psnr_db(bicubic, original) + 0.1, name
