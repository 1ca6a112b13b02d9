"""Nothing is written louder than it may be, and what is not too loud is left alone to the bit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from sound_files import mapped

from musicae.audio.domain import AudioConfig, AudioDomain
from musicae.audio.loudness import (
    FADE_S,
    MADE_LU,
    USUAL_LUFS,
    fade_ends,
    highest_allowed,
    limit,
    loudness_lufs,
    true_peak,
)
from musicae.audio.sound import Sound
from musicae.trained import load

RATE_HZ = 44_100


def noise(frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    return 0.2 * np.random.default_rng(seed).standard_normal((frames, channels)).astype(np.float32)


def limited(samples: np.ndarray, most: float, size: int = 10_000, sample_peak: float = 10.0) -> np.ndarray:
    blocks = (samples[start : start + size] for start in range(0, len(samples), size))
    return np.concatenate(list(limit(blocks, true_peak=most, sample_peak=sample_peak, sample_rate_hz=RATE_HZ)))


# True peak


def test_a_sine_between_samples_is_as_high_as_it_is() -> None:
    """A quarter of the rate, sampled 45 degrees off its peaks: samples stop at 0.707."""
    sine = 0.5 * np.sin(np.pi / 2 * np.arange(4_000) + np.pi / 4)[:, None]
    assert np.abs(sine).max() == pytest.approx(0.5 / np.sqrt(2))
    # At its ends a sine that begins abruptly overshoots, as any interpolation of it does.
    assert true_peak((sine * np.hanning(4_000)[:, None]).astype(np.float32)) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("channels", [1, 2])
def test_it_is_what_a_resampler_finds_at_four_times_the_rate(channels: int) -> None:
    # Below 0.4 of the rate: near the Nyquist frequency every interpolator rolls off in its own way.
    sound = soxr.resample(noise(20_000, channels), 16_000, 22_050)[1_000:-1_000]
    expected = np.abs(soxr.resample(sound, 22_050, 4 * 22_050, quality="VHQ")).max()
    assert true_peak(sound) == pytest.approx(expected, rel=0.02)


def test_blocks_and_their_order_do_not_matter() -> None:
    samples = noise(100_000, 2)
    whole = Sound(samples, RATE_HZ).true_peak
    streamed = Sound.from_blocks(lambda: (samples[i : i + 777] for i in range(0, 100_000, 777)), RATE_HZ, 2)
    assert streamed.true_peak == whole >= np.abs(samples).max()


# Limiter


@pytest.mark.parametrize("size", [1, 100, 65_536])
def test_what_is_not_too_loud_is_untouched(size: int) -> None:
    samples = noise(3_000 if size == 1 else 30_000, 2)
    assert np.array_equal(limited(samples, true_peak(samples) * 1.0001, size), samples)


@pytest.mark.parametrize("size", [500, 7_777, 10**6])
@pytest.mark.parametrize("channels", [1, 2])
def test_no_peak_passes_and_length_and_place_stay(size: int, channels: int) -> None:
    samples = noise(50_000, channels)
    most = 0.5 * true_peak(samples)
    result = limited(samples, most, size)
    assert result.shape == samples.shape
    assert true_peak(result) <= most * 1.001
    assert np.corrcoef(result[:, 0], samples[:, 0])[0, 1] > 0.95
    assert np.array_equal(result, limited(samples, most))


def test_only_the_neighbourhood_of_a_peak_is_turned_down() -> None:
    samples = 0.1 * noise(40_000, 2)
    samples[20_000, 0] = 0.9
    result = limited(samples, 0.3)
    changed = np.flatnonzero((result != samples).any(1))
    assert 20_000 - 0.02 * RATE_HZ < changed[0] < 20_000 < changed[-1] < 20_000 + 0.02 * RATE_HZ
    ratio = result[changed] / samples[changed]
    assert np.abs(ratio[:, 0] - ratio[:, 1]).max() < 1e-4  # both channels alike
    assert np.abs(np.diff(ratio[:, 1])).max() < 0.02  # no step


def test_samples_have_a_ceiling_of_their_own() -> None:
    samples = 2 * noise(20_000)
    assert np.abs(limited(samples, 100.0, sample_peak=0.7)).max() <= 0.7


def test_silence_and_the_loudest_numbers_pass() -> None:
    assert not limited(np.zeros((5_000, 1), np.float32), 0.0).any()
    huge = 1e25 * noise(5_000)
    assert np.isfinite(limited(huge, 1e24)).all()
    assert list(limit([], true_peak=1.0, sample_peak=1.0, sample_rate_hz=RATE_HZ)) == []


# Fades


@pytest.mark.parametrize("frames", [1, 3, 50, 5_000])
def test_ends_fade_and_the_middle_stays(frames: int) -> None:
    ones = np.ones((frames, 2), np.float32)
    blocks = (ones[start : start + 70] for start in range(0, frames, 70))
    result = np.concatenate(list(fade_ends(blocks, frames, 16_000)))
    size = min(round(FADE_S * 16_000), frames // 4)
    assert np.array_equal(result[size : frames - size], ones[size : frames - size])
    np.testing.assert_allclose(result, result[::-1], atol=1e-6)
    if frames == 5_000:
        assert result[0, 0] < 1e-3
        assert (np.diff(result[:size, 0]) > 0).all()


# Through the domain


@pytest.fixture
def synthesiser() -> AudioDomain:
    return AudioDomain(AudioConfig(representation="magnitude", n_fft=256, chunk_s=0.26))


@pytest.mark.parametrize("rate_hz", [8_000, 44_100])
def test_a_model_that_makes_everything_ten_times_as_loud_is_held_to_its_source(
    synthesiser: AudioDomain, rate_hz: int
) -> None:
    source = Sound(noise(3 * rate_hz, 2), rate_hz)
    result = mapped(synthesiser, source, lambda batch: batch * 10**0.5)
    assert result.true_peak <= source.true_peak * 10 ** (1 / 20) * 1.001
    assert result.rms > 0.5 * source.rms
    assert result.samples.shape == source.samples.shape


def test_a_restoration_that_turns_up_is_held_too() -> None:
    domain, source = AudioDomain(AudioConfig(n_fft=256, chunk_s=0.26)), Sound(noise(48_000), 16_000)
    result = mapped(domain, source, lambda batch: 3 * batch, "upscale")
    assert result.true_peak <= highest_allowed(source.true_peak) * 1.001


def test_what_is_decoded_fades_at_both_ends_and_stays_below_full_scale(synthesiser: AudioDomain) -> None:
    loud = 30 * torch.rand(3, *synthesiser.spec.shape, generator=torch.Generator().manual_seed(0))
    drawn = synthesiser.compose(loud)
    size = synthesiser.config.chunk_samples
    assert drawn.frames == 3 * size
    assert drawn.true_peak <= 10 ** (-1 / 20) * 1.001
    assert loudness_lufs(drawn.samples[:, None], drawn.sample_rate_hz) == pytest.approx(USUAL_LUFS, abs=0.1)
    for part in drawn.samples.reshape(3, size):
        assert np.abs(part[[0, 1, -2, -1]]).max() < 0.01 < np.abs(part).max()


def test_an_example_is_no_louder_than_what_it_was_made_from(synthesiser: AudioDomain) -> None:
    source = Sound(0.1 * noise(40_000), RATE_HZ)
    selection = synthesiser.select(source)
    loud = 30 * torch.rand(1, *synthesiser.spec.shape, generator=torch.Generator().manual_seed(0))
    made = synthesiser.compose(loud, selection.frame)
    assert made.sample_rate_hz == RATE_HZ
    assert made.true_peak <= highest_allowed(source.true_peak) * 1.001
    made_lufs = loudness_lufs(made.samples[:, None], RATE_HZ)
    assert made_lufs == pytest.approx(selection.frame.loudness_lufs + MADE_LU, abs=0.2)
    assert np.abs(made.samples[[0, -1]]).max() < 1e-3


def test_a_shifted_note_does_not_clip(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """Before there was a limit, 36 to 75 of 100 samples of this note came out at full scale."""
    note = Sound.open(shared_data("notes16k") / "alto_sax" / "db3_p_rr1_cnd.flac")
    model = load("notes-44k", "cpu")
    for amount in (1.0, 3.0):
        shifted = Sound.open(model.shift(note, "brightness", amount).save(tmp_path / "shifted.wav"))
        assert shifted.true_peak <= note.true_peak * 10 ** (1 / 20) * 1.01
        assert (np.abs(shifted.samples) > 0.99).mean() == 0
        assert shifted.rms > 0.3 * note.rms
        assert shifted.frames == note.frames
