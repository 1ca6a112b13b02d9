"""Sound that a model makes of a code is never a hazard, whatever the code, the file and the weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicae.attribute_vectors import deviations_out, moved_code
from musicae.audio.config import AudioConfig
from musicae.audio.domain import AudioDomain
from musicae.audio.loudness import MADE_LU, USUAL_LUFS, highest_allowed, loudness_lufs, true_peak
from musicae.audio.sound import Sound
from musicae.models import build_model
from musicae.trained import TrainedModel
from musicae.training.checkpoint import Manifest

RATE_HZ = 8_000
SETTINGS = {"widths": (4, 8), "latent_size": 4, "moment_size": 2}
_ROUNDING = 1 + 1e-3


def model(representation: str, seed: int, size: float) -> TrainedModel:
    """A network of random weights, so many times as large as they begin."""
    config = AudioConfig(sample_rate_hz=RATE_HZ, n_fft=256, chunk_s=0.5, representation=representation)
    domain = AudioDomain(config)
    torch.manual_seed(seed)
    network = build_model("spectrogram", domain.spec, SETTINGS)
    with torch.no_grad():
        for parameter in network.decoder.parameters():  # type: ignore[union-attr]
            parameter.mul_(size)
    manifest = Manifest(
        domain="audio", domain_settings=config.model_dump(mode="json"), task="reconstruct", model="spectrogram",
        model_settings=SETTINGS,
    )  # fmt: skip
    return TrainedModel(network, domain, manifest, "cpu")


def sound(seed: int, level_db: float, seconds: float) -> Sound:
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tone = np.sin(2 * np.pi * rng.uniform(80, 2_000) * time_s) * np.exp(-time_s * rng.uniform(0, 8))
    samples = (tone + rng.uniform(0, 0.3) * rng.standard_normal(len(time_s))) * 10 ** (level_db / 20)
    return Sound(np.clip(samples, -1, 1), RATE_HZ)


def check(made: Sound, *, most: float, lufs: float) -> None:
    samples = made.samples.reshape(len(made.samples), -1)
    assert np.isfinite(samples).all()
    assert true_peak(samples) <= most * _ROUNDING
    assert np.abs(samples).max() <= 1.0
    assert loudness_lufs(samples, RATE_HZ) <= lufs + 0.1
    assert np.abs(samples[[0, -1]]).max() <= 0.01 * np.abs(samples).max() + 1e-6  # it fades in and out
    assert abs(samples.mean()) <= 0.02 * np.sqrt(np.mean(samples**2)) + 1e-6


FORMS = pytest.mark.parametrize("representation", ["synthesis", "magnitude"])
SIZES, SEEDS = st.sampled_from([0.3, 1.0, 4.0]), st.integers(0, 999)


@FORMS
@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, size=SIZES, spread=st.sampled_from([0.0, 1.0, 8.0]))
def test_samples_are_bounded(representation: str, seed: int, size: float, spread: float) -> None:
    for made in model(representation, seed, size).sample(2, spread=spread, seed=seed):
        check(made, most=highest_allowed(None), lufs=USUAL_LUFS)


@FORMS
@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, size=SIZES, level_db=st.floats(-60, 0), seconds=st.sampled_from([0.2, 0.5, 1.3]))
def test_what_is_made_of_a_sound_is_no_louder(
    representation: str, seed: int, size: float, level_db: float, seconds: float
) -> None:
    source, trained = sound(seed, level_db, seconds), model(representation, seed, size)
    other = sound(seed + 1, level_db, seconds)
    most = max(highest_allowed(each.levels.true_peak) for each in (source, other))
    whole = trained.reconstruct(source)
    samples = whole.samples.reshape(-1, 1)
    assert np.isfinite(samples).all()
    assert true_peak(samples) <= highest_allowed(source.levels.true_peak) * _ROUNDING
    varied = list(trained.vary(source, amount=1.0, count=2, seed=seed))
    path = list(trained.interpolate(source, other, 3))
    loudest = max(trained.domain.select(each).frame.loudness_lufs for each in (source, other))  # of their excerpts
    for made in (*varied, *path):
        check(made, most=most, lufs=max(loudest, -200) + MADE_LU)


@settings(max_examples=20, deadline=None)
@given(amount=st.floats(-50, 50), seed=SEEDS)
def test_the_distance_of_a_move_is_told_in_deviations_of_the_prior(amount: float, seed: int) -> None:
    torch.manual_seed(seed)
    base, vector = torch.randn(64, 40), torch.randn(40)
    far = deviations_out(base, vector, amount)
    along = moved_code(base, vector, amount) @ (vector / vector.norm())
    assert far == pytest.approx(float(along.abs().mean()), rel=1e-4)
    if amount == 0:
        assert far < 1.3
