"""Sound cleaned as it arrives: the same as cleaning the file, in time, in place, and no later than promised."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from musicae.audio import stft as signal
from musicae.audio.domain import AudioConfig, AudioDomain
from musicae.audio.streaming import FrameStream, SoundStream
from musicae.errors import MusicaeError
from musicae.models import build_model
from musicae.trained import TrainedModel, load
from musicae.training.checkpoint import Manifest, save_checkpoint

RATE_HZ, N_FFT = 16_000, 512
LENGTHS = [0, 1, 2, 127, 128, 129, 255, 256, 257, 384, 511, 512, 513, 640, 1000]


def untrained(name: str, folder: Path, settings: dict[str, object]) -> TrainedModel:
    """A denoiser that has learned nothing."""
    domain = AudioDomain(AudioConfig(n_fft=N_FFT, chunk_s=0.5))
    torch.manual_seed(0)
    model = build_model(name, domain.spec, settings)
    if name == "causal":  # let different cells be turned down by very different amounts
        torch.nn.init.constant_(model.head.bias, -1)
        torch.nn.init.normal_(model.head.weight, std=0.2)
    manifest = Manifest(
        domain="audio", domain_settings=domain.config.model_dump(mode="json"), task="denoise", model=name,
        model_settings=settings,
    )  # fmt: skip
    save_checkpoint(folder, model, manifest)
    return load(folder, "cpu")


@pytest.fixture
def live(tmp_path: Path) -> TrainedModel:
    return untrained("causal", tmp_path / "live", {"width": 24, "layers": 3, "latent_size": 8})


def sound(samples: int, channels: int | None = None, seed: int = 0) -> np.ndarray:
    """Noise that swells and fades, `(samples,)` or `(samples, channels)`."""
    shape = (samples,) if channels is None else (samples, channels)
    swell = 0.1 * (1.2 + np.sin(np.arange(samples) / 900))
    noise = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return (noise.T * swell).T.astype(np.float32)


def cut(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (samples[start : start + size] for start in range(0, len(samples), size))


def streamed(live: TrainedModel, samples: np.ndarray, size: int = 1024, **options) -> np.ndarray:
    return np.concatenate([samples[:0], *live.stream(cut(samples, size), **options)])


def error_db(estimate: np.ndarray, target: np.ndarray) -> float:
    """Of the error, over the target."""
    error = np.square(estimate.astype(np.float64) - target).sum() / np.square(target, dtype=np.float64).sum()
    return 10 * float(np.log10(error + 1e-30))


def ones(magnitude: np.ndarray) -> np.ndarray:
    return np.ones_like(magnitude)


# Frames


@pytest.mark.parametrize("samples", LENGTHS)
def test_frames_under_a_mask_of_ones_are_the_sound(samples: int) -> None:
    frames, given = FrameStream(ones, n_fft=N_FFT, channels=2), sound(samples, 2)

    parts = [frames.push(block) for block in cut(given, 100)] + [frames.finish()]

    np.testing.assert_allclose(np.concatenate([part.samples for part in parts]), given, atol=1e-6)
    removed = np.concatenate([part.removed for part in parts])
    assert removed.shape == (samples,)
    assert np.abs(removed).max(initial=0) < 1e-5


@pytest.mark.parametrize("samples", [257, 512, 1000, 4096, 5001])
def test_frames_stand_where_a_whole_transform_puts_them(samples: int) -> None:
    given = sound(samples)
    spectrum = signal.stft(torch.from_numpy(given)[None], n_fft=N_FFT)
    mask = torch.rand(spectrum.shape[2:]).numpy()
    waiting, given_magnitudes = mask, []

    def next_of_mask(magnitude: np.ndarray) -> np.ndarray:
        nonlocal waiting
        now, waiting = np.split(waiting, [magnitude.shape[1]], axis=1)
        given_magnitudes.append(magnitude)
        return now

    frames = FrameStream(next_of_mask, n_fft=N_FFT, channels=1)
    parts = [frames.push(block).samples for block in cut(given[:, None], 333)] + [frames.finish().samples]

    expected = signal.inverse_stft(spectrum * torch.from_numpy(mask), samples=samples)[0].numpy()
    np.testing.assert_allclose(np.concatenate(parts)[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(np.concatenate(given_magnitudes, 1), signal.magnitude(spectrum)[0].numpy(), atol=1e-4)


def test_what_a_mask_removes_is_known_for_every_sample() -> None:
    frames = FrameStream(lambda magnitude: 0.25 * ones(magnitude), n_fft=N_FFT, channels=1)

    parts = [frames.push(sound(5000, 1)), frames.finish()]

    np.testing.assert_allclose(np.concatenate([part.removed for part in parts]), 0.75, atol=1e-4)


def test_a_mask_of_another_shape_or_without_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a mask of shape \(257, 1\), got \(257, 2\)"):
        FrameStream(lambda magnitude: np.ones((257, 2)), n_fft=N_FFT, channels=1).push(sound(300, 1))
    with pytest.raises(MusicaeError, match="not finite"):
        FrameStream(lambda magnitude: magnitude * np.nan, n_fft=N_FFT, channels=1).push(sound(300, 1))


# Streams


@pytest.mark.parametrize("size", [1, 7, 160, 1024, 10**6])
def test_blocks_of_any_size_give_what_the_file_gives(live: TrainedModel, tmp_path: Path, size: int) -> None:
    given = sound(9_001)
    soundfile.write(tmp_path / "in.wav", given, RATE_HZ, subtype="FLOAT")
    cleaned = soundfile.read(live.denoise(tmp_path / "in.wav").save(tmp_path / "out.wav"), dtype="float32")[0]

    result = streamed(live, given, size)

    assert result.shape == given.shape
    assert error_db(result, cleaned) < -80
    assert error_db(cleaned, given) > -20


@pytest.mark.parametrize("samples", [0, 1, 479, 480, 1441, 4799, 9_590, 9_599, 9_600])
@pytest.mark.parametrize("size", [1, 480, 777])
def test_a_stream_of_low_delay_is_the_masked_spectrum_and_has_no_clicks(samples: int, size: int) -> None:
    given = sound(samples, 2)
    low = np.linspace(1, 0, 961, dtype=np.float32)[:, None]  # a mask that changes a lot

    stream = FrameStream(lambda magnitude: low * np.ones_like(magnitude), n_fft=1920, channels=2)
    parts, behind, received = [], 0, 0
    for start in range(0, samples, size):
        parts.append(stream.push(given[start : start + size]))
        received += len(given[start : start + size])
        behind = max(behind, received - sum(len(part.samples) for part in parts))
    parts.append(stream.finish())
    result, removed = (np.concatenate(columns) for columns in zip(*parts, strict=True))

    assert result.shape == given.shape
    assert removed.shape == (samples,)
    assert behind <= stream.latency_samples == 959
    if samples:
        spectrum = signal.stft(torch.from_numpy(given.T.copy()), n_fft=1920)
        expected = signal.inverse_stft(spectrum * torch.from_numpy(low), samples=samples).numpy().T
        np.testing.assert_allclose(result, expected, atol=1e-5)
        assert np.abs(result).max() <= 1.5 * np.abs(given).max()


def test_what_a_stream_of_low_delay_removes_does_not_depend_on_its_blocks() -> None:
    given, masks = sound(9_000, 1), np.random.default_rng(0).random((961, 100)).astype(np.float32)

    def removed(size: int) -> np.ndarray:
        taken = iter(masks.T)
        stream = FrameStream(
            lambda magnitude: np.stack([next(taken) for _ in range(magnitude.shape[1])], 1), n_fft=1920, channels=1
        )
        parts = [stream.push(given[start : start + size]) for start in range(0, len(given), size)] + [stream.finish()]
        return np.concatenate([part.removed for part in parts])

    np.testing.assert_allclose(removed(480), removed(9_000), atol=1e-6)
    np.testing.assert_allclose(removed(97), removed(9_000), atol=1e-6)


def test_the_stream_is_what_the_model_makes_of_the_whole_spectrum(live: TrainedModel) -> None:
    given = sound(128 * 60)
    with torch.no_grad():
        estimate = live.network.reconstruct(signal.stft(torch.from_numpy(given)[None], n_fft=N_FFT))

    expected = signal.inverse_stft(estimate, samples=len(given))[0].numpy()

    assert error_db(streamed(live, given), expected) < -80


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_what_comes_out_is_as_long_as_what_went_in(live: TrainedModel, samples: int, channels: int | None) -> None:
    assert streamed(live, sound(samples, channels), 100).shape == sound(samples, channels).shape


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
def test_other_rates_keep_length_place_and_equal_the_file(live: TrainedModel, tmp_path: Path, rate_hz: int) -> None:
    given = sound(rate_hz // 2 + 1, 2)
    soundfile.write(tmp_path / "in.wav", given, rate_hz, subtype="FLOAT")
    cleaned = soundfile.read(live.denoise(tmp_path / "in.wav").save(tmp_path / "out.wav"), dtype="float32")[0]

    result = streamed(live, given, 441, sample_rate_hz=rate_hz)

    assert result.shape == given.shape
    assert error_db(result, cleaned) < -80
    assert error_db(streamed(live, given, 999, sample_rate_hz=rate_hz, strength=0.0), given) < -80


def test_nothing_is_lost_that_lies_above_the_models_band() -> None:
    given = np.sin(2 * np.pi * 15_000 * np.arange(44_100) / 44_100).astype(np.float32)[:, None]
    for mask, kept in ((ones, 1.0), (lambda magnitude: 0.5 * ones(magnitude), 0.5)):
        stream = SoundStream(mask, n_fft=N_FFT, mask_rate_hz=RATE_HZ, sample_rate_hz=44_100, channels=1)
        hiss = 1e-3 * sound(44_100, 1)  # something to turn down
        result = np.concatenate([stream.push(given + hiss), stream.finish()])
        inside = slice(100, -100)  # beyond its ends, resampling takes a sound to be silent
        np.testing.assert_allclose(result[inside], kept * (given + hiss)[inside], atol=2e-3)


def test_silence_stays_silence(live: TrainedModel) -> None:
    assert not streamed(live, np.zeros(3_000, np.float32)).any()
    after = streamed(live, np.concatenate((sound(4_000), np.zeros(4_000, np.float32))))
    assert not after[4_000 + N_FFT :].any()


@pytest.mark.parametrize("gain", [0.003, 3.0])
def test_a_louder_stream_comes_out_louder_and_otherwise_the_same(live: TrainedModel, gain: float) -> None:
    assert error_db(streamed(live, gain * sound(8_000)) / gain, streamed(live, sound(8_000))) < -60


def test_all_channels_are_turned_down_by_one_mask(live: TrainedModel) -> None:
    left = sound(8_000)
    both = streamed(live, np.stack((left, -0.25 * left), 1))
    np.testing.assert_allclose(both[:, 1], -0.25 * both[:, 0], atol=1e-6)
    assert error_db(both[:, 0], streamed(live, left)) < -60
    # What is heard on one side only isn't put on the other.
    assert not streamed(live, np.stack((left, 0 * left), 1))[:, 1].any()


def most_behind(stream: SoundStream, samples: int, size: int) -> int:
    """How far the output is behind at most, after blocks of a size."""
    pushed, given, most = 0, 0, 0
    for block in cut(sound(samples, 1), size):
        given += len(stream.push(block))
        pushed += len(block)
        most = max(most, pushed - given)
    assert given + len(stream.finish()) == samples
    return most


def test_the_delay_is_the_stated_one_and_no_more(live: TrainedModel) -> None:
    blocks = live.stream([])
    assert blocks.latency_samples == N_FFT - 1
    assert blocks.latency_s == pytest.approx(0.032, abs=1e-4)
    stream = SoundStream(ones, n_fft=N_FFT, mask_rate_hz=RATE_HZ, sample_rate_hz=RATE_HZ, channels=1)
    assert most_behind(stream, 4_000, 1) == stream.latency_samples == blocks.latency_samples


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_other_rates_state_the_delay_of_resampling_too(live: TrainedModel, rate_hz: int) -> None:
    stated = live.stream([], sample_rate_hz=rate_hz).latency_samples
    assert 0.032 * rate_hz < stated < 0.4 * rate_hz
    for size in (rate_hz // 1000, rate_hz // 100, 777):
        stream = SoundStream(ones, n_fft=N_FFT, mask_rate_hz=RATE_HZ, sample_rate_hz=rate_hz, channels=1)
        assert most_behind(stream, rate_hz, size) <= stated


def test_nothing_is_heard_before_it_happens(live: TrainedModel) -> None:
    given = sound(8_000)
    changed = given.copy()
    changed[5_000:] *= -7
    before, after = streamed(live, given, 160), streamed(live, changed, 160)
    np.testing.assert_array_equal(before[: 5_000 - N_FFT + 1], after[: 5_000 - N_FFT + 1])
    assert np.abs(before - after)[5_000:].max() > 0.1


def test_restraint_holds_for_streams_too(live: TrainedModel) -> None:
    given = sound(6_000)
    free, half = streamed(live, given), streamed(live, given, strength=0.5)
    np.testing.assert_allclose(half, (given + free) / 2, atol=1e-5)
    np.testing.assert_allclose(streamed(live, given, max_attenuation_db=0.0), given, atol=1e-5)
    with pytest.raises(ValueError, match="strength is between"):
        live.stream([], strength=2.0)


def test_a_stream_can_be_read_anew_from_its_first_block(live: TrainedModel) -> None:
    blocks = live.stream(list(cut(sound(3_000), 500)))
    np.testing.assert_array_equal(np.concatenate(list(blocks)), np.concatenate(list(blocks)))


def test_what_is_no_sound_is_refused_in_one_sentence(live: TrainedModel) -> None:
    for value in (np.nan, np.inf):
        with pytest.raises(MusicaeError, match="not finite numbers; check what writes it"):
            list(live.stream([np.full(10, value, np.float32)]))
    with pytest.raises(ValueError, match="float32 in -1…1, got int16"):
        list(live.stream([np.zeros(10, np.int16)]))
    with pytest.raises(ValueError, match=r"\(samples, channels\), got \(1, 2, 3\)"):
        list(live.stream([np.zeros((1, 2, 3), np.float32)]))
    with pytest.raises(ValueError, match="transpose it"):
        list(live.stream([np.zeros((2, 4_096), np.float32)]))
    with pytest.raises(ValueError, match="one of 2 channels"):
        list(live.stream([np.zeros((5, 2), np.float32), np.zeros(5, np.float32)]))
    with pytest.raises(ValueError, match="from 1,000 to 768,000"):
        live.stream([], sample_rate_hz=0)


def test_models_that_look_ahead_or_do_something_else_do_not_stream(tmp_path: Path) -> None:
    with pytest.raises(MusicaeError, match="looks ahead and cannot stream; take 'denoise-live-48k'"):
        untrained("unet", tmp_path / "unet", {"widths": (4,), "latent_size": 4}).stream([])
    with pytest.raises(MusicaeError, match="trained to reconstruct, not to denoise"):
        load("melody-2bar", "cpu").stream([])
