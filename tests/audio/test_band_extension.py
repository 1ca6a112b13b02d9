"""A missing upper band is filled in; what is there stays."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from musicae.audio import stft as signal
from musicae.audio.bandwidth import bandwidth_hz
from musicae.audio.config import AudioConfig
from musicae.audio.domain import AudioDomain
from musicae.audio.representation import BandForm
from musicae.audio.sound import Sound
from musicae.likelihoods import build_likelihood
from musicae.nn.bands import EXTENSION
from musicae.nn.correction import CORRECTIONS
from musicae.spec import Layout, TensorSpec
from musicae.trained import TrainedModel, load
from musicae.training.experiment import Experiment

RATE_HZ = 16_000
SETTINGS = {
    "n_fft": 512, "chunk_s": 0.5, "widths": (8, 12), "latent_size": 8, "steps": 60, "evaluate_every": 60,
    "batch_size": 8, "learning_rate": 1e-2, "ema_decay": 0.9, "precision": "no",
}  # fmt: skip


def bright(seconds: float, seed: int) -> np.ndarray:
    """Bursts of a tone with many partials and of noise; phases such that what is filled in makes no higher peaks."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tone = sum(np.sin(2 * np.pi * 200 * n * time_s + 0.4 * n**2) / n for n in range(1, 39))
    sound: np.ndarray = 0.1 * (tone + 0.3 * rng.standard_normal(len(time_s))) * (np.sin(20 * time_s) > 0)
    return sound


@pytest.fixture(scope="module")
def extender(tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    folder = tmp_path_factory.mktemp("band")
    (folder / "sounds").mkdir()
    for number in range(6):
        soundfile.write(folder / "sounds" / f"{number}.wav", bright(2.0, number), RATE_HZ)
    experiment = Experiment.resolve("audio", task="upscale", data=[folder / "sounds"], settings=SETTINGS)
    return load(experiment.run(folder / "run", experiment.read()), "cpu")


def band_db(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequency_hz = np.fft.rfftfreq(len(samples), 1 / RATE_HZ)
    return float(10 * np.log10(power[(frequency_hz >= low_hz) & (frequency_hz < high_hz)].sum() + 1e-12))


@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_of_8_khz_becomes_one_of_16_with_an_upper_band(
    extender: TrainedModel, tmp_path: Path, channels: int
) -> None:
    import soxr

    wide = bright(3.0, 9)
    low = np.repeat(soxr.resample(wide, RATE_HZ, 8_000)[:, None], channels, 1)
    soundfile.write(tmp_path / "low.flac", low, 8_000)

    result, rate_hz = soundfile.read(
        extender.upscale(tmp_path / "low.flac").save(tmp_path / "high.flac"), always_2d=True
    )

    assert rate_hz == RATE_HZ
    assert result.shape == (2 * len(low), channels)
    plain = soxr.resample(low, 8_000, RATE_HZ)
    assert band_db(plain[:, 0], 4_500, 8_000) < band_db(wide, 4_500, 8_000) - 30
    for edges_hz in ((4_200, 5_400), (5_400, 6_600), (6_600, 7_900)):
        assert band_db(result[:, 0], *edges_hz) == pytest.approx(band_db(wide, *edges_hz), abs=3)
    assert band_db(result[:, 0] - plain[:, 0], 0, 3_000) < band_db(plain[:, 0], 0, 3_000) - 30


def test_a_file_that_is_wide_already_stays_as_it_is(extender: TrainedModel, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "wide.wav", bright(2.0, 3), RATE_HZ)

    upscaled = extender.upscale(tmp_path / "wide.wav")

    original, _ = soundfile.read(tmp_path / "wide.wav")
    assert upscaled.sample_rate_hz == RATE_HZ
    assert np.abs(upscaled.samples - original).max() < 1e-5
    assert "already" in upscaled.remarks[0]


def test_a_file_of_a_high_rate_whose_top_is_empty_is_filled(extender: TrainedModel, tmp_path: Path) -> None:
    """As a telephone call that somebody stored at 16 kHz and in 16 bits, whose rounding is no sound."""
    import soxr

    wide = bright(2.0, 3)
    empty = soxr.resample(soxr.resample(wide, RATE_HZ, 8_000), 8_000, RATE_HZ)
    soundfile.write(tmp_path / "call.wav", empty, RATE_HZ)

    upscaled = extender.upscale(tmp_path / "call.wav")

    assert band_db(upscaled.samples, 4_500, 7_500) > band_db(wide, 4_500, 7_500) - 6
    assert "filled in" in upscaled.remarks[0]


@pytest.mark.parametrize("end_hz", [3_000, 5_500, 8_000])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "FLOAT"])
def test_the_end_of_a_sound_is_found(end_hz: int, subtype: str) -> None:
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(3 * RATE_HZ))
    spectrum[round(end_hz * 3) :] = 0
    samples = np.fft.irfft(spectrum)
    samples *= 0.3 / np.abs(samples).max()
    step = {"PCM_U8": 2.0**-7, "PCM_16": 2.0**-15, "FLOAT": 0.0}[subtype]
    stored = np.round(samples / step) * step if step else samples

    found_hz = bandwidth_hz(Sound(stored, RATE_HZ, subtype=subtype))

    assert found_hz == pytest.approx(end_hz, abs=100)


def test_a_click_is_no_band_and_silence_has_all_of_it() -> None:
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    clicked = 0.1 * np.sin(2 * np.pi * 700 * time_s)
    clicked[9_000] = 0.9
    assert bandwidth_hz(Sound(clicked, RATE_HZ)) < 2_000
    assert bandwidth_hz(Sound(np.zeros(9_000), RATE_HZ)) == RATE_HZ / 2


def test_silence_stays_silence(extender: TrainedModel, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silence.wav", np.zeros(8_000), 8_000)

    upscaled = extender.upscale(tmp_path / "silence.wav")
    result = upscaled.samples

    assert (len(result), upscaled.sample_rate_hz) == (16_000, RATE_HZ)
    assert not result.any()


def cut_noise(known: int) -> torch.Tensor:
    """`(2, 2, 257, 20)`, silent from a frequency on."""
    spectrum = torch.randn(2, 2, 257, 20, generator=torch.Generator().manual_seed(0))
    spectrum[:, :, known:] = 0
    return spectrum


def test_nothing_is_turned_down_and_the_lower_band_is_untouched() -> None:
    correction, corrupted = CORRECTIONS["extend"](2), cut_noise(128)

    filled = correction.apply_to(corrupted, torch.randn(2, 1, correction.rows(257), 20))

    assert torch.equal(filled[:, :, :108], corrupted[:, :, :108])  # below 85% of what is there
    own, given = (EXTENSION.means(part.square().sum(1)).mean(-1) for part in (filled, corrupted))
    assert (own >= 0.9 * given).all()
    assert (own[:, EXTENSION.rows(257) * 3 // 4 :] > 1e-3).all()
    full = torch.randn_like(corrupted)
    assert torch.equal(correction.apply_to(full, torch.ones(2, 1, correction.rows(257), 20)), full)


def test_an_untrained_network_goes_on_as_loud_as_the_last_octave() -> None:
    correction, corrupted = CORRECTIONS["extend"](2), cut_noise(100)

    filled = correction.apply_to(corrupted, torch.zeros(2, 1, correction.rows(257), 20))

    power = filled.square().sum(1)
    assert power[:, 110:].mean() == pytest.approx(power[:, 40:80].mean(), rel=0.5)


def test_a_steady_tone_is_copied_up_as_a_steady_tone() -> None:
    """Frame by frame, the phases of the copy go on as those of a tone do."""
    time_s = torch.arange(128 * 64) / RATE_HZ
    spectrum = signal.stft(torch.sin(2 * torch.pi * 1_000 * time_s)[None], n_fft=512)
    spectrum[:, :, 128:] = 0
    spectrum[:, :, 127] += 1e-3
    correction = CORRECTIONS["extend"](2)

    filled = correction.apply_to(spectrum, torch.zeros(1, 1, correction.rows(257), spectrum.shape[3]))

    samples = signal.inverse_stft(filled, samples=128 * 64)[0]
    resynthesised = signal.magnitude(signal.stft(samples[None], n_fft=512))
    wanted = signal.magnitude(filled)
    # A spectrum that belongs to a sound comes back as it was; with random phases this is about 0.5.
    upper = slice(116, 256)
    error = (resynthesised - wanted)[:, upper, 8:-8].norm() / wanted[:, upper, 8:-8].norm()
    assert error < 0.35


@pytest.mark.parametrize("known", [70, 130, 200])
def test_levels_of_bands_are_scored_where_the_target_has_sound(known: int) -> None:
    """What lies above the end of the target costs nothing, a level below it does."""
    likelihood = build_likelihood(
        TensorSpec(layout=Layout.GRID, shape=(2, 257, 20), likelihood="band_levels", correction="extend")
    )
    target = cut_noise(known)
    louder_above, louder_below = target.clone(), target.clone()
    louder_above[:, :, known + 8 :] = 1
    louder_below[:, :, known // 2 : known] *= 2

    same, above, below = (likelihood.log_prob(estimate, target) for estimate in (target, louder_above, louder_below))

    assert torch.allclose(above, same)
    assert (below < same).all()


def test_a_short_word_at_8_khz_keeps_its_s_and_highs_of_one_side_count() -> None:
    """What is high is held for a tenth of a second at any rate, and channels don't cancel."""
    rng = np.random.default_rng(0)
    word = np.zeros(8_000)
    word[1_000:3_000] = 0.3 * np.sin(2 * np.pi * 300 * np.arange(2_000) / 8_000)
    word[3_000:4_600] = 0.1 * rng.standard_normal(1_600)
    assert bandwidth_hz(Sound(word, 8_000)) == 4_000
    low = 0.2 * np.sin(2 * np.pi * 500 * np.arange(RATE_HZ) / RATE_HZ)
    high = 0.05 * rng.standard_normal(RATE_HZ)
    assert bandwidth_hz(Sound(np.stack([low + high, low - high], 1), RATE_HZ)) == 8_000


def test_rows_get_their_levels_back_and_the_rest_stays_bit_for_bit() -> None:
    form = BandForm(AudioConfig(sample_rate_hz=RATE_HZ, n_fft=512, chunk_s=1.0))
    time_s = torch.arange(form.config.chunk_samples) / RATE_HZ
    tones = sum(torch.sin(2 * torch.pi * hertz * time_s) for hertz in (300, 710, 1_130, 2_200))
    given = form.of_spectrum(signal.stft(0.1 * tones[None], n_fft=512), 3_500)
    correction = CORRECTIONS["extend"](2)
    answer = correction.apply_to(given, torch.zeros(1, 1, correction.rows(257), given.shape[3]))

    result = form.spectrum_of(answer, given)

    known = 90  # below 85% of the end
    assert torch.equal(result[:, :, :known], given[:, :, :known])
    back = signal.stft(signal.inverse_stft(result, samples=form.config.chunk_samples), n_fft=512)
    wanted, made = (EXTENSION.means(part.square().sum(1)).mean(-1)[0] for part in (answer, back))
    filled = EXTENSION.middles(257) > 116
    assert (10 * torch.log10(made / wanted))[filled].abs().mean() < 0.3
    silent = torch.zeros_like(given)
    assert torch.equal(form.spectrum_of(silent, silent), silent)


def test_a_former_model_is_refused() -> None:
    with pytest.raises(ValueError, match="train it again"):
        AudioConfig(representation="band")


def test_the_missing_band_is_scored_where_the_target_has_sound() -> None:
    domain = AudioDomain(AudioConfig(sample_rate_hz=RATE_HZ, n_fft=512, chunk_s=1.0, representation="top"))
    target = domain.tensor(0.1 * torch.randn(2, domain.config.chunk_samples)).target
    target[1, :, 150:] = 0
    cut = target.clone()
    cut[:, :, 120:] = 0
    right = domain.metrics(target, target, cut)
    softer = target.clone()
    softer[:, :, 120:] *= 0.5
    assert right["missing_band_level_db"].tolist() == pytest.approx([0, 0], abs=0.3)
    assert domain.metrics(softer, target, cut)["missing_band_level_db"].tolist() == pytest.approx([6, 6], abs=0.5)
    assert domain.metrics(target, target, target)["missing_band_level_db"].isnan().all()
