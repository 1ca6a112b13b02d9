"""Likelihoods of spectra: of sound to be cleaned, of a band to be filled in, of magnitudes."""

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicae.likelihoods import LEARNING_RATE_FACTOR, Likelihood, bounded_logarithm
from musicae.nn.bands import EXTENSION, PRESENT, below_the_end
from musicae.precision import in_float32
from musicae.spec import TensorSpec

# Loudness is perceived on a compressed scale; 0.3 is the usual exponent for speech enhancement
# (Braun & Tashev, 2021, "A consolidated view of loss functions for supervised deep learning-based
# speech enhancement").
MAGNITUDE_EXPONENT = 0.3


def compressed(spectrum: Tensor) -> Tensor:
    """Complex spectrum `(batch, 2, frequency, time)` → compressed magnitude `(batch, 1, frequency, time)`."""
    # The small constant keeps the gradient of a power below one finite at zero.
    return (spectrum.pow(2).sum(1, keepdim=True) + 1e-8).pow(MAGNITUDE_EXPONENT / 2)


class Estimate(Likelihood):
    """Base of the likelihoods whose parameters are the estimated spectrum and whose variance is each example's own."""

    parameters_are_values = True

    def mean(self, parameters: Tensor) -> Tensor:
        return parameters

    def mode(self, parameters: Tensor) -> Tensor:
        return parameters

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The estimate itself: its variance isn't known without a target."""
        return parameters


class Spectral(Estimate):
    """Complex spectra `(batch, 2, frequency, time)`, scored by the waveform's error, as a whole and band by band.

    Gaussians, each with the variance that fits the example best (its profile likelihood, which makes it the logarithm
    of an error, hence of a signal-to-noise ratio): one over all complex values; for each band one over them, so that a
    weak high band counts beside a loud low one, and one, weighted by `COMPRESSED_WEIGHT`, over compressed magnitudes.
    Bands are the sixths 0–1, 1–2, 2–3 and 3–6 of the frequencies: 0–4, 4–8, 8–12 and 12–24 kHz of sound at 48 kHz.
    Errors count down to 37 dB below the target, so that clean sound is kept as it is.
    """

    COMPRESSED_WEIGHT = 0.15  # with 0.3 masks let more noise pass than is best for the waveform
    _FLOOR = 2e-4
    _SILENCE = 1e-4  # mean square of a cell; a typical one has about 1
    _EDGES = (0.0, 1 / 6, 1 / 3, 1 / 2, 1.0)
    _WEIGHTS = (0.2, 0.12, 0.1, 0.1)

    @in_float32
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        numbers, edges = target[0].numel(), [round(edge * target.shape[2]) for edge in self._EDGES]
        total = self._log_variance(parameters, target)
        for weight, low, high in zip(self._WEIGHTS, edges[:-1], edges[1:], strict=True):
            if low == high:
                continue
            ours, theirs = parameters[:, :, low:high], target[:, :, low:high]
            total = total + weight * self._log_variance(ours, theirs)
            part = self._log_variance(compressed(ours), compressed(theirs))
            total = total + self.COMPRESSED_WEIGHT * weight / sum(self._WEIGHTS) * part
        return -0.5 * numbers * total

    def _log_variance(self, estimate: Tensor, target: Tensor) -> Tensor:
        error = (estimate - target).flatten(1).pow(2).mean(1)
        power = target.flatten(1).pow(2).mean(1)
        return torch.log(error + self._FLOOR * power + self._SILENCE)


class BandLevels(Estimate):
    """Complex spectra scored by the levels of rows of frequencies, for models that fill in a missing band.

    Laplace distributions with the scale that fits the example best (profile likelihoods): over the level of every row
    of `musicae.nn.bands.EXTENSION` in every frame; over its loudness, so that loud moments count for more than pauses;
    and over the levels of wider bands over the whole example, since medians of levels that can't be known are softer
    than the sound. Many recordings end at 8 or at 16 kHz, softened before that by a filter; rows near the highest one
    that the target holds, and above, are not judged.
    """

    LOUDNESS_WEIGHT, OVERALL_WEIGHT = 1.0, 0.3
    _LOUDNESS_EXPONENT = 0.23  # of power (Zwicker & Fastl, 1990)
    _WIDE = 6  # rows
    _LEAST_POWER = 1e-6
    _UNFILTERED = 0.92  # of the frequencies up to the end
    _FLOOR = 0.03  # nepers

    @in_float32
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        ours, theirs = (EXTENSION.means(spectrum.square().sum(1)) for spectrum in (parameters, target))
        judged = self._judged(theirs, target.shape[2])
        near = self._distance(self._levels(ours), self._levels(theirs), judged)
        heard, wanted = ((power + self._LEAST_POWER) ** self._LOUDNESS_EXPONENT for power in (ours, theirs))
        usual = ((wanted.mean(-1) * judged).sum(1) / judged.sum(1).clamp_min(1))[:, None, None]
        near = near + self.LOUDNESS_WEIGHT * self._distance(heard / usual, wanted / usual, judged)
        wide = [
            F.avg_pool1d((power.mean(-1) * judged)[:, None], self._WIDE, ceil_mode=True)[:, 0]
            for power in (ours, theirs)
        ]
        overall = (self._levels(wide[0]) - self._levels(wide[1])).abs().mean(1)
        return -target[0].numel() * (near + self.OVERALL_WEIGHT * torch.log(overall + self._FLOOR))

    def _distance(self, ours: Tensor, theirs: Tensor, judged: Tensor) -> Tensor:
        """The logarithm of the mean distance of rows that are judged, `(batch,)`."""
        rows = (ours - theirs).abs().mean(-1) * judged
        return torch.log(rows.sum(1) / judged.sum(1).clamp_min(1) + self._FLOOR)

    def _judged(self, power: Tensor, frequencies: int) -> Tensor:
        """Which rows are, bool `(batch, rows)`."""
        present = below_the_end(power, PRESENT)
        middle = EXTENSION.middles(frequencies).to(power)
        end = (middle * present).amax(1, keepdim=True)
        return present & ((middle <= self._UNFILTERED * end) | present[:, -1:])

    def _levels(self, power: Tensor) -> Tensor:
        return 0.5 * torch.log(power + self._LEAST_POWER)


class Magnitude(Likelihood):
    """Square roots of linear magnitudes `(batch, 1, frequency, time)`, scored cell by cell and band by band.

    A Gaussian over cells, with a learned deviation, scores the loud cells. Laplace distributions over the logarithms
    of bands, which widen with frequency as the ear's do, score the soft ones. Parameters go through a softplus, since a
    magnitude is not negative.
    """

    BANDS_WEIGHT = 8.0  # about the number of cells in a band
    BANDS = 64
    _SHARPNESS = 4.0
    _FLOOR = 1e-3  # of a band's magnitude, as in `musicae.audio.stft`

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__(spec)
        self.scaled_log_sigma = nn.Parameter(torch.tensor(-1.0 / LEARNING_RATE_FACTOR))
        self.scaled_log_scale = nn.Parameter(torch.tensor(-1.0 / LEARNING_RATE_FACTOR))

    @in_float32
    def log_prob(self, parameters: Tensor, target: Tensor) -> Tensor:
        ours = self.mean(parameters)
        log_sigma = bounded_logarithm(self.scaled_log_sigma)
        error = (ours - target).flatten(1).square().sum(1)
        cells = -0.5 * error * torch.exp(-2 * log_sigma) - target[0].numel() * (log_sigma + 0.5 * math.log(2 * math.pi))
        log_scale = bounded_logarithm(self.scaled_log_scale)
        distance = (self._log_bands(ours) - self._log_bands(target)).abs().flatten(1)
        bands = -distance.sum(1) * torch.exp(-log_scale) - distance.shape[1] * (log_scale + math.log(2))
        return cells + self.BANDS_WEIGHT * bands

    def mean(self, parameters: Tensor) -> Tensor:
        return F.softplus(parameters, beta=self._SHARPNESS)

    def mode(self, parameters: Tensor) -> Tensor:
        return self.mean(parameters)

    def sample(self, parameters: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The mean: cells drawn one by one would add a hiss."""
        return self.mean(parameters)

    def _log_bands(self, root: Tensor) -> Tensor:
        weights = band_weights(root.shape[2], self.BANDS, device=root.device).to(root)
        return torch.log(torch.einsum("bft,fn->bnt", root[:, 0].square(), weights) + self._FLOOR)


@lru_cache(maxsize=8)
def band_weights(frequencies: int, bands: int, *, device: torch.device | None = None) -> Tensor:
    """Overlapping triangles, even below a twelfth of the band and logarithmic above, `(frequencies, bands)`.

    The shape of the mel scale for any sample rate, since a tensor doesn't state its own. A band's weights add up to 1.
    They are kept on the device, since a copy in every step would make the host wait for it.
    """
    if device is not None and device.type != "cpu":
        return band_weights(frequencies, bands).to(device)
    corner = frequencies / 12
    place = torch.log1p(torch.arange(frequencies) / corner)  # (frequencies,)
    edges = torch.linspace(0, float(place[-1]), bands + 2)
    # Low bands are narrower than a bin; such a band covers the bins next to its middle.
    bins = torch.expm1(edges) * corner
    reach = torch.maximum((bins[2:] - bins[:-2]) / 2, torch.tensor(1.0))
    weights = (1 - (torch.arange(frequencies)[:, None] - bins[None, 1:-1]).abs() / reach).clamp_min(0)
    return weights / weights.sum(0, keepdim=True)
