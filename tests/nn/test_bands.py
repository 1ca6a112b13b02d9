"""Rows for frequencies: one each below, one for several above, nothing lost and nothing twice."""

import pytest
import torch

from musicae.nn.bands import Bands
from musicae.nn.correction import MaskCorrection

BANDS = Bands(8, ((2, 2), (2, 4)))


@pytest.mark.parametrize(
    ("frequencies", "rows"),
    [(5, 5), (8, 8), (9, 9), (10, 9), (12, 10), (16, 11), (17, 11), (19, 11), (20, 12), (32, 15), (35, 15), (36, 16)],
)
def test_every_frequency_has_one_row(frequencies, rows):
    assert BANDS.rows(frequencies) == rows
    row = BANDS.spread(torch.arange(rows).float()[None, :, None], frequencies)[0, :, 0]
    assert len(row) == frequencies
    steps = row.diff()
    assert row[0] == 0
    assert row[-1] == rows - 1
    assert ((steps == 0) | (steps == 1)).all()
    assert (steps[:7] == 1).all() or frequencies < 8


@pytest.mark.parametrize("frequencies", [7, 8, 9, 17, 33])
def test_a_row_has_the_mean_of_its_frequencies(frequencies):
    power = torch.rand(2, 3, frequencies, 5)
    row = BANDS.spread(torch.arange(BANDS.rows(frequencies)).float()[None, :, None], frequencies)[0, :, 0]
    expected = torch.stack([power[:, :, row == number].mean(2) for number in range(BANDS.rows(frequencies))], 2)
    torch.testing.assert_close(BANDS.means(power), expected)


def test_a_mask_of_the_shipped_width_ends_at_24_khz():
    bin_hz = 48_000 / 3072
    frequencies = 1537
    row = MaskCorrection.BANDS.spread(torch.arange(584).float()[None, :, None], frequencies)[0, :, 0]
    assert MaskCorrection.rows(frequencies) == 584
    assert row[round(8_000 / bin_hz) - 1] == 511  # single frequencies up to 8 kHz
    widths_hz = row.unique(return_counts=True)[1][512:] * bin_hz
    assert widths_hz.unique().tolist() == [125, 250, 500, 515.625]  # the highest frequency belongs to the last row


@pytest.mark.parametrize("n_fft", [1024, 3072])
def test_what_a_network_is_given_does_not_depend_on_the_length_of_the_window(n_fft):
    samples = torch.sin(torch.arange(n_fft) * 2 * torch.pi * 32 / n_fft) * torch.hann_window(n_fft)
    spectrum = torch.fft.rfft(samples)[None, :, None]
    features = MaskCorrection(2).features(torch.stack((spectrum.real, spectrum.imag), 1))
    assert features[0, 0, 32, 0].item() == pytest.approx((1024 / 4) ** 0.3, rel=1e-3)


def test_a_mask_is_one_at_an_output_of_nothing_and_never_more():
    correction = MaskCorrection(2).eval()
    output = torch.tensor([-100.0, -1.0, 0.0, 100.0])
    assert correction.mask(output).tolist() == pytest.approx([0, 0.509, 1, 1], abs=1e-3)
    in_training = correction.train().mask(output)
    assert in_training[-1] > 1
    assert torch.autograd.functional.jacobian(correction.mask, torch.tensor([0.5])) > 0  # it can come back
