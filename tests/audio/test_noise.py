"""Families of noise sound as they are called, and rooms and levels change what they should."""

import pytest
import torch

from musicae.audio import stft as signal
from musicae.audio.noise import NOISES, convolved, gusts, room_response

RATE_HZ = 16_000
SAMPLES = 247 * 128


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(family: str, rows: int = 16, samples: int = SAMPLES, sample_rate_hz: int = RATE_HZ) -> torch.Tensor:
    return NOISES[family](rows, samples, seeded(), sample_rate_hz=sample_rate_hz)


def level(waveform: torch.Tensor) -> list[float]:
    return signal.rms(waveform)[:, 0].tolist()


def loudness_slope_db_per_octave(waveform: torch.Tensor) -> float:
    """Fitted to the power between 100 Hz and 6 kHz."""
    power = torch.fft.rfft(waveform).abs().pow(2).mean(0).double()
    frequency_hz = torch.fft.rfftfreq(waveform.shape[1], 1 / RATE_HZ).double()
    audible = (frequency_hz > 100) & (frequency_hz < 6_000)
    octaves, decibels = frequency_hz[audible].log2(), 10 * power[audible].log10()
    octaves = octaves - octaves.mean()
    return float((octaves * decibels).sum() / octaves.pow(2).sum())


@pytest.mark.parametrize("family", NOISES)
@pytest.mark.parametrize("sample_rate_hz", [8_000, 44_100])
def test_every_family_has_level_one_and_is_drawn_anew(family: str, sample_rate_hz: int) -> None:
    noise = drawn(family, 6, 9_999, sample_rate_hz)

    assert noise.shape == (6, 9_999)
    assert noise.isfinite().all()
    assert level(noise) == pytest.approx([1.0] * 6, abs=0.05)
    other = NOISES[family](6, 9_999, seeded(1), sample_rate_hz=sample_rate_hz)
    assert torch.equal(noise, drawn(family, 6, 9_999, sample_rate_hz))
    assert not torch.allclose(noise, other, atol=0.1)


@pytest.mark.parametrize(("family", "slope_db"), [("white", 0.0), ("pink", -3.01), ("brown", -6.02)])
def test_colours_fall_as_they_are_called(family: str, slope_db: float) -> None:
    assert loudness_slope_db_per_octave(drawn(family)) == pytest.approx(slope_db, abs=0.25)


def test_tilted_noise_is_of_every_colour_between_blue_and_brown() -> None:
    slopes = [loudness_slope_db_per_octave(row[None]) for row in drawn("tilted", 64)]

    assert -7 < min(slopes) < -4.5
    assert 1.5 < max(slopes) < 4


def test_hum_stands_on_the_mains_frequency_and_its_harmonics() -> None:
    hum = drawn("hum", 8)

    frequency_hz = torch.fft.rfftfreq(SAMPLES, 1 / RATE_HZ)
    power = torch.fft.rfft(hum * torch.hann_window(SAMPLES)).abs().pow(2)
    for row in power:
        loudest_hz = frequency_hz[row.argmax()].item()
        near = min(abs(loudest_hz / (mains * n) - 1) for mains in (50, 60) for n in range(1, 13))
        assert near < 0.02
        assert row[frequency_hz < 800].sum() / row.sum() > 0.999


def test_hum_has_no_alias_at_a_low_rate() -> None:
    hum = drawn("hum", 4, 4_000, 400)

    assert hum.isfinite().all()
    assert level(hum) == pytest.approx([1.0] * 4, abs=1e-4)


def test_hiss_keeps_to_a_band() -> None:
    power = torch.fft.rfft(drawn("hiss_band", 64)).abs().pow(2)

    assert len(power.argmax(1).unique()) > 40
    ordered = power.sort(1, descending=True).values.cumsum(1)
    width = (ordered < 0.9 * ordered[:, -1:]).sum(1) / power.shape[1]
    assert width.min() < 0.1


def test_clicks_are_few_and_crackle_is_many() -> None:
    def busy(family: str) -> float:
        """Sections of 10 ms, of 190, that hold a ten-thousandth of the energy."""
        energy = drawn(family, 32)[:, : 190 * 160].view(32, 190, 160).square().sum(2)
        return float((energy > 1e-4 * energy.sum(1, keepdim=True)).float().sum(1).mean())

    assert busy("clicks") < 0.1 * 190
    assert busy("clicks") < busy("crackle") < busy("white")
    assert drawn("clicks").abs().amax(1).min() > 8  # white noise has about 4


def test_gusts_move_the_level_by_twelve_decibels_at_most() -> None:
    level_db = 20 * gusts(64, SAMPLES, seeded(), sample_rate_hz=RATE_HZ).log10()

    assert level_db.abs().max() <= 12.001
    assert (level_db.amax(1) - level_db.amin(1)).median() > 6


def test_a_room_keeps_the_direct_sound_and_adds_a_tail_that_dies_away() -> None:
    response = room_response(32, 6_400, seeded(), sample_rate_hz=RATE_HZ)

    assert (response[:, 0] == 1).all()
    early, late = response[:, 1:1_600].square().sum(1), response[:, -1_600:].square().sum(1)
    assert (late < early).all()
    tail_db = 10 * response[:, 1:].square().sum(1).log10()
    assert -21 < tail_db.min() < -10
    assert 0 < tail_db.max() < 4


def test_convolving_with_an_impulse_moves_a_sound() -> None:
    sound = torch.randn(2, 500, generator=seeded())
    impulse = torch.zeros(2, 9)
    impulse[:, 7] = 2.0

    moved = convolved(sound, impulse)

    assert torch.allclose(moved[:, 7:], 2 * sound[:, :-7], atol=1e-5)
    assert torch.allclose(moved[:, :7], torch.zeros(2, 7), atol=1e-5)
