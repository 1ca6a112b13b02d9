"""Long sounds in chunks come out as they would at once, and channels are masked alike."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sound_files import map_file

import musicae
from musicae.audio import overlap_add
from musicae.audio import stft as signal
from musicae.audio.domain import AudioConfig, AudioDomain
from musicae.audio.overlap_add import ALIGNED_FRAMES, Framing, OverlapAdd, joint_spectrum, masked_alike
from musicae.audio.sound import Sound
from musicae.precision import restoring_precision
from musicae.starter import starter_file

RATE_HZ = 16_000
WHOLE = {"edge_samples": 0, "fade_samples": 0}


def framing(n_fft: int = 1024, rate_hz: int = RATE_HZ) -> Framing:
    examples = Framing.of_examples(sample_rate_hz=rate_hz, n_fft=n_fft, chunk_samples=127 * n_fft // 4, level_rms=0.1)
    return examples.for_restoring(shares_mask=True)


def decibels(reference: np.ndarray, difference: np.ndarray) -> float:
    return float(10 * np.log10((difference**2).sum() / (reference**2).sum()))


def noise(seconds: float, channels: int = 1, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * RATE_HZ), channels))


def through(sound: Sound, function: Callable[[torch.Tensor], torch.Tensor], framing: Framing) -> np.ndarray:
    """Samples of what a function of spectra makes of a sound."""

    def answers() -> Iterator[tuple[overlap_add.Spectra, torch.Tensor]]:
        with torch.inference_mode():
            for part in overlap_add.spectra(sound, framing):
                yield part, function(part.shown)

    return overlap_add.assemble(sound, answers, framing).samples


def halves_what_is_loud(batch: torch.Tensor) -> torch.Tensor:
    """A mask that depends on the sound, in 0…1."""
    return batch * torch.sigmoid(3 - signal.magnitude(batch))[:, None]


@pytest.mark.parametrize(("n_fft", "rate_hz"), [(1024, 16_000), (256, 8_000), (2048, 44_100), (4096, 4_000)])
def test_chunks_fall_on_the_grid_of_a_u_net(n_fft: int, rate_hz: int) -> None:
    cut, hop = framing(n_fft, rate_hz), n_fft // 4
    assert cut.step_samples % (ALIGNED_FRAMES * hop) == 0
    assert (cut.chunk_samples // hop + 1) % ALIGNED_FRAMES == 0
    assert cut.step_samples > cut.chunk_samples // 2
    assert cut.edge_samples >= 60 * hop


@pytest.mark.parametrize("frames", [1, 100, 163_583, 163_584, 163_585, 163_840, 300_000])
def test_chunks_that_nothing_changes_give_back_every_frame(frames: int) -> None:
    sound = np.random.default_rng(0).standard_normal((frames, 2)).astype(np.float32)
    blocks, adder = (sound[start : start + 50_000] for start in range(0, frames, 50_000)), OverlapAdd(framing())
    joined = np.concatenate([adder.add(chunk.samples, chunk) for chunk in overlap_add.cut(blocks, framing())])
    assert joined.shape == sound.shape
    np.testing.assert_allclose(joined, sound, atol=1e-6)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_shipped_denoiser_gives_in_chunks_what_it_gives_at_once(bfloat16: bool) -> None:
    tune, _ = soundfile.read(starter_file("noisy.wav"), dtype="float32")
    long = np.concatenate((tune, 0.5 * tune[::-1] + 0.02 * noise(len(tune) / RATE_HZ)[:, 0], tune))
    model = musicae.load("denoise-48k", "cpu").network

    def restored(batch: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return model.reconstruct(batch)

    cut = framing()
    assert len(long) > 2 * cut.step_samples
    at_once = Framing(cut.sample_rate_hz, cut.n_fft, 10**7, cut.level_rms, 0, 0, cut.least_samples)
    chunks, whole = (through(Sound(long, RATE_HZ), restored, framing) for framing in (cut, at_once))
    assert decibels(whole, chunks - whole) < -60
    seconds = ((chunks - whole)[: len(whole) // RATE_HZ * RATE_HZ].reshape(-1, RATE_HZ) ** 2).mean(1)
    assert 10 * math.log10(seconds.max() / (whole**2).mean()) < -50
    assert decibels(long, whole - long) > -20  # and it did something


def test_bfloat16_is_as_good_as_float32_for_masks() -> None:
    tune, _ = soundfile.read(starter_file("noisy.wav"), dtype="float32")
    spectrum = signal.stft(torch.from_numpy(0.1 * tune[None] / np.sqrt((tune**2).mean())), n_fft=1024)
    model = musicae.load("denoise-48k", "cpu").network
    with torch.inference_mode():
        full = model.reconstruct(spectrum)
        with torch.autocast("cpu", torch.bfloat16):
            half = model.reconstruct(spectrum)
    assert half.dtype == torch.float32
    assert decibels(full.numpy(), (half - full).numpy()) < -45
    assert not restoring_precision(torch.device("cpu"), by_mask=False)._enabled


# One mask for all channels


def stereo(tmp_path: Path, left: np.ndarray, right: np.ndarray, function: Callable = halves_what_is_loud) -> np.ndarray:
    domain = AudioDomain(AudioConfig(n_fft=256, chunk_s=0.26))
    soundfile.write(tmp_path / "in.wav", np.concatenate((left, right), 1), RATE_HZ, subtype="FLOAT")
    map_file(domain, tmp_path / "in.wav", tmp_path / "out.wav", function, "denoise")
    return soundfile.read(tmp_path / "out.wav")[0]


def test_equal_channels_stay_equal_and_are_as_the_mono_sound(tmp_path: Path) -> None:
    sound = noise(3.0)
    out = stereo(tmp_path, sound, sound)
    np.testing.assert_array_equal(out[:, 0], out[:, 1])
    domain = AudioDomain(AudioConfig(n_fft=256, chunk_s=0.26))
    soundfile.write(tmp_path / "mono.wav", sound, RATE_HZ, subtype="FLOAT")
    map_file(domain, tmp_path / "mono.wav", tmp_path / "mono-out.wav", halves_what_is_loud, "denoise")
    np.testing.assert_allclose(out[:, 0], soundfile.read(tmp_path / "mono-out.wav")[0], atol=1e-5)
    assert np.abs(out[:, 0] - sound[:, 0]).max() > 0.01


def test_a_silent_channel_stays_silent(tmp_path: Path) -> None:
    out = stereo(tmp_path, noise(3.0), np.zeros((3 * RATE_HZ, 1)))
    assert not out[:, 1].any()
    assert out[:, 0].any()


def test_channels_of_opposite_phase_survive(tmp_path: Path) -> None:
    sound = noise(3.0)
    out = stereo(tmp_path, sound, -sound)
    np.testing.assert_array_equal(out[:, 0], -out[:, 1])
    assert (out[:, 0] ** 2).mean() > 0.2 * (sound**2).mean()


def test_the_image_does_not_wander(tmp_path: Path) -> None:
    """A voice at the left and noise at the right: what is left of the voice lies where it lay, cell by cell."""
    voice, hiss = noise(3.0), noise(3.0, seed=1)
    panned = stereo(tmp_path, voice + 0.3 * hiss, 0.25 * voice + 0.3 * hiss)
    given = np.concatenate((voice + 0.3 * hiss, 0.25 * voice + 0.3 * hiss), 1)
    before, after = (signal.stft(torch.from_numpy(x.T.copy()).float(), n_fft=256) for x in (given, panned))
    loud = signal.magnitude(before).amin(0) > 0.2
    ratios = [(signal.magnitude(part)[0] / signal.magnitude(part)[1].clamp_min(1e-9))[loud] for part in (before, after)]
    assert (ratios[0] / ratios[1]).log().abs().median() < 0.03


def test_channels_that_nothing_changes_come_back(tmp_path: Path) -> None:
    left, right = noise(3.0), 0.1 * noise(3.0, seed=1)
    out = stereo(tmp_path, left, right, lambda batch: batch)
    np.testing.assert_allclose(out, np.concatenate((left, right), 1), atol=1e-6)


def test_the_function_sees_stereo_as_one_sound_whose_power_is_the_mean() -> None:
    spectrum = torch.randn(3, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    joint = joint_spectrum(spectrum)
    assert joint.shape == (1, 2, 5, 7)
    torch.testing.assert_close(joint.square().sum(1), spectrum.square().sum(1).mean(0, keepdim=True))
    torch.testing.assert_close(joint_spectrum(spectrum[:1]), spectrum[:1])
    assert not joint_spectrum(0 * spectrum).any()
    torch.testing.assert_close(masked_alike(spectrum, joint, 0.25 * joint), 0.25 * spectrum)
    torch.testing.assert_close(masked_alike(spectrum, joint, 3 * joint), spectrum)


# Corner cases through a trained model


def write_corner_case(path: Path, what: str) -> np.ndarray:
    generator = np.random.default_rng(0)
    sound = {
        "one sample": np.full(1, 0.3),
        "shorter than a window": 0.1 * generator.standard_normal(50),
        "constant": np.full(12_000, 0.25),
        "clipped": np.clip(3 * np.sin(np.arange(12_000) / 9), -1, 1),
        "silence": np.zeros(12_000),
        "silence in the middle": 0.1 * generator.standard_normal(30_000) * (np.abs(np.arange(30_000) - 15_000) > 8_000),
        "a click": np.eye(1, 12_000, 5_000)[0],
        "faint": 1e-7 * generator.standard_normal(12_000),
    }[what]
    soundfile.write(path, sound, 8_000, subtype="FLOAT")
    return sound


@pytest.mark.parametrize(
    "what",
    [
        "one sample",
        "shorter than a window",
        "constant",
        "clipped",
        "silence",
        "silence in the middle",
        "a click",
        "faint",
    ],
)
def test_odd_sounds_are_denoised_without_numbers_that_are_none(tiny_run, tmp_path: Path, what: str) -> None:
    given = write_corner_case(tmp_path / "in.wav", what)
    trained = musicae.load(tiny_run("audio"), "cpu")
    after, _ = soundfile.read(trained.denoise(tmp_path / "in.wav").save(tmp_path / "out.wav"))
    assert after.shape == given.shape
    assert np.isfinite(after).all()
    assert np.abs(after).max() <= 1.5 * np.abs(given).max()
    if what.startswith("silence"):
        assert not after[13_000:17_000].any()
        assert after.any() == (what != "silence")
