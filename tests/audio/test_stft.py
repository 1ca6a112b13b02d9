"""Spectra invert exactly, and distances agree with their formulas."""

import math

import pytest
import torch

from musicae.audio import stft as signal


def noise(rows: int, samples: int, seed: int = 0) -> torch.Tensor:
    return torch.randn((rows, samples), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n_fft", [256, 512, 1024, 2048])
@pytest.mark.parametrize("samples", [4096, 5000, 7777])
def test_inverse_of_stft_is_the_waveform(n_fft: int, samples: int) -> None:
    waveform = noise(3, samples)

    spectrum = signal.stft(waveform, n_fft=n_fft)
    again = signal.inverse_stft(spectrum, samples=samples)

    assert spectrum.shape == (3, 2, n_fft // 2 + 1, samples // (n_fft // 4) + 1)
    assert again.shape == waveform.shape
    # The last samples stand under the fewest windows when the length is no multiple of the hop.
    assert (again - waveform).abs().max() < 1e-5


def test_stft_is_linear() -> None:
    one, other = noise(2, 4096), noise(2, 4096, seed=1)

    together = signal.stft(one + 3 * other, n_fft=512)
    apart = signal.stft(one, n_fft=512) + 3 * signal.stft(other, n_fft=512)

    assert torch.allclose(together, apart, atol=1e-4)


def test_a_sine_stands_in_its_own_bin() -> None:
    rate_hz, n_fft = 16_000, 512
    time_s = torch.arange(8192) / rate_hz
    spectrum = signal.stft(torch.sin(2 * math.pi * 1000 * time_s)[None], n_fft=n_fft)

    loudest = signal.magnitude(spectrum)[0, :, 32].argmax()

    assert loudest == 1000 * n_fft // rate_hz


def test_white_noise_has_the_cell_power_that_is_documented() -> None:
    power = signal.stft(0.1 * noise(4, 32_000), n_fft=512).pow(2).sum(1).mean()

    assert power.item() == pytest.approx(0.375 * 512 * 0.01, rel=0.02)


def test_power_of_frames_is_that_of_the_waveform() -> None:
    time_s = torch.arange(32_000) / 16_000
    tones = torch.stack([torch.sin(2 * math.pi * hz * time_s) for hz in (20, 50, 1_000, 7_990)])

    power = signal.frame_power(signal.stft(torch.cat((tones, noise(1, 32_000))), n_fft=512)).mean(1)

    assert power[:4].tolist() == pytest.approx([0.5] * 4, rel=0.02)
    assert power[4].item() == pytest.approx(1.0, rel=0.02)


def test_a_waveform_too_short_names_both_lengths() -> None:
    with pytest.raises(ValueError, match=r"more than 256 samples with n_fft=512, got 100"):
        signal.stft(noise(1, 100), n_fft=512)


def test_si_sdr_matches_its_formula() -> None:
    target, estimate = noise(2, 1000), noise(2, 1000) + 0.3 * noise(2, 1000, seed=1) + 0.1
    expected = []
    for t, e in zip(target.double(), estimate.double(), strict=True):
        projected = (t @ e) / (t @ t) * t
        expected.append(10 * math.log10(projected.pow(2).sum() / (e - projected).pow(2).sum()))

    measured = signal.si_sdr_db(estimate, target)

    assert measured.tolist() == pytest.approx(expected, abs=1e-3)


def test_si_sdr_ignores_level_and_stays_finite() -> None:
    target = noise(1, 1000)
    estimate = target + 0.1 * noise(1, 1000, seed=1)

    assert signal.si_sdr_db(5 * estimate, target).item() == pytest.approx(
        signal.si_sdr_db(estimate, target).item(), abs=1e-3
    )
    assert signal.si_sdr_db(target, target).item() == signal.SI_SDR_LIMIT_DB
    assert signal.si_sdr_db(0 * target, target).item() == -signal.SI_SDR_LIMIT_DB
    assert signal.si_sdr_db(estimate, 0 * target).item() == 0


def test_log_mel_l1_of_a_change_in_level_is_its_logarithm() -> None:
    spectrum = signal.magnitude(signal.stft(noise(2, 8192), n_fft=512))

    distance = signal.log_mel_l1(1.5 * spectrum, spectrum, sample_rate_hz=16_000)

    assert distance.tolist() == pytest.approx([math.log(1.5)] * 2, abs=1e-4)
    assert signal.log_mel_l1(spectrum, spectrum, sample_rate_hz=16_000).tolist() == [0, 0]


@pytest.mark.parametrize(("n_fft", "sample_rate_hz"), [(512, 16_000), (1024, 16_000), (1024, 44_100)])
def test_every_mel_band_hears_something(n_fft: int, sample_rate_hz: int) -> None:
    spectrum = signal.magnitude(signal.stft(noise(1, 8192), n_fft=n_fft))

    bands = signal.mel_magnitude(spectrum, sample_rate_hz=sample_rate_hz)

    assert bands.shape[:2] == (1, signal.MEL_BANDS)
    assert bands.amin() > 0


def test_mel_bands_rise_with_pitch() -> None:
    time_s = torch.arange(8192) / 16_000
    sines = torch.stack([torch.sin(2 * math.pi * hz * time_s) for hz in (200, 800, 3200)])

    linear = signal.magnitude(signal.stft(sines, n_fft=1024))
    loudest = signal.mel_magnitude(linear, sample_rate_hz=16_000).mean(2).argmax(1)

    assert loudest[0] < loudest[1] < loudest[2]


def test_rms_normalisation_sets_the_level_and_leaves_silence() -> None:
    rows = torch.stack((noise(1, 500)[0] * 7, torch.zeros(500)))

    level = signal.rms(signal.normalise_rms(rows, 0.1))[:, 0]

    assert level.tolist() == pytest.approx([0.1, 0.0], abs=1e-6)


@pytest.mark.parametrize(
    ("n_fft", "frames", "samples"), [(256, 1, 64), (512, 20, 2395), (512, 20, 2532), (1024, 63, 16_128)]
)
def test_the_inverse_is_that_of_torch_to_the_bit(n_fft: int, frames: int, samples: int) -> None:
    spectrum = torch.randn(2, 2, n_fft // 2 + 1, frames)
    expected = torch.istft(
        torch.complex(spectrum[:, 0], spectrum[:, 1]),
        n_fft,
        n_fft // 4,
        window=torch.hann_window(n_fft),
        length=samples,
    )
    assert torch.equal(signal.inverse_stft(spectrum, samples=samples), expected)


def test_gradient_flows_through_the_inverse() -> None:
    spectrum = signal.stft(noise(1, 4096), n_fft=512).requires_grad_()

    signal.inverse_stft(spectrum, samples=4096).pow(2).sum().backward()

    assert spectrum.grad is not None
    assert spectrum.grad.isfinite().all()


def test_the_multi_resolution_distance_is_its_formula_and_grows_with_the_noise() -> None:
    target = noise(2, 8192)
    assert torch.equal(signal.multi_resolution_distance(target, target), torch.zeros(2))
    distances = [
        signal.multi_resolution_distance(target + level * noise(2, 8192, 1), target) for level in (0.1, 0.5, 1.0)
    ]
    assert (distances[0] < distances[1]).all() and (distances[1] < distances[2]).all()
    # Twice as loud: all magnitudes are off by as much as they are, and their logarithms by log 2.
    assert signal.multi_resolution_distance(2 * target, target).tolist() == pytest.approx(
        [1 + math.log(2)] * 2, rel=1e-4
    )
    assert torch.isfinite(signal.multi_resolution_distance(target, torch.zeros_like(target))).all()


def test_the_log_spectral_distance_of_a_gain_is_that_gain_where_it_is_looked_for() -> None:
    target = signal.magnitude(signal.stft(noise(2, 8192), n_fft=512))
    louder = target * 10 ** (6 / 20)
    distance = signal.log_spectral_distance_db(louder, target)
    assert distance.tolist() == pytest.approx([6, 6], abs=1e-3)
    without_treble = target.clone()
    without_treble[:, 129:] = 0  # above 4 kHz
    without_bass = target.clone()
    without_bass[:, :120] = 0
    above, below = (
        signal.log_spectral_distance_db(cut, target, where=torch.arange(257)[None] >= 129)
        for cut in (without_treble, without_bass)
    )
    assert (above > 60).all()
    assert below.tolist() == [0, 0]


@pytest.mark.parametrize("samples", [1441, 4800, 10_007])
def test_windows_of_low_delay_are_inverted_exactly(samples: int) -> None:
    waveform = noise(2, samples)
    spectrum = signal.stft(waveform, n_fft=1920)
    assert spectrum.shape == (2, 2, 961, -(-samples // 480) + 1)
    torch.testing.assert_close(signal.inverse_stft(spectrum, samples=samples), waveform, atol=1e-5, rtol=0)


def test_a_frame_of_low_delay_hears_ten_milliseconds_and_sounds_for_twenty() -> None:
    waveform, frame = noise(1, 9600), 10
    changed = waveform.clone()
    changed[:, frame * 480 + 480 :] += 1
    before, after = (signal.stft(part, n_fft=1920)[..., : frame + 1] for part in (waveform, changed))
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)
    spectrum = signal.stft(waveform, n_fft=1920)
    spectrum[..., frame] = 0
    is_changed = (signal.inverse_stft(spectrum, samples=9600) - waveform).abs()[0] > 1e-5
    where = is_changed.nonzero().flatten()
    assert frame * 480 - 480 <= where.min() < frame * 480 - 470
    assert frame * 480 + 470 < where.max() < frame * 480 + 480


@pytest.mark.parametrize("n_fft", [512, 1024, 1920, 3072])
def test_the_power_under_a_window_is_the_mean_square_of_noise(n_fft: int) -> None:
    power = signal.frame_power(signal.stft(0.3 * noise(1, 100_000), n_fft=n_fft))
    assert power.mean().item() == pytest.approx(0.09, rel=0.03)
