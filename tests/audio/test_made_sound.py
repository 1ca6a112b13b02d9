"""Sound that a model makes of a code is never a hazard, whatever the code, the file and the weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from musicae.attribute_vectors import LARGEST_LENGTH, AttributeInfo, AttributeVectors, distance_from_prior, moved_code
from musicae.audio.config import AudioConfig
from musicae.audio.domain import AudioDomain
from musicae.audio.loudness import MADE_LU, SOFTEST_LUFS, USUAL_LUFS, highest_allowed, loudness_lufs, true_peak
from musicae.audio.sound import Sound
from musicae.inference.shift import shift
from musicae.models import build_model
from musicae.trained import TrainedModel
from musicae.training.checkpoint import Manifest

RATE_HZ = 8_000
SETTINGS = {"widths": (4, 8), "latent_size": 4, "moment_size": 2}
_ROUNDING = 1 + 1e-3


def model(seed: int, size: float) -> TrainedModel:
    """A network of random weights, so many times as large as they begin."""
    config = AudioConfig(sample_rate_hz=RATE_HZ, n_fft=256, chunk_s=0.5, representation="magnitude")
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


SIZES, SEEDS = st.sampled_from([0.3, 1.0, 4.0]), st.integers(0, 999)


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, size=SIZES, spread=st.sampled_from([0.0, 1.0, 8.0]))
def test_samples_are_bounded(seed: int, size: float, spread: float) -> None:
    for made in model(seed, size).sample(2, spread=spread, seed=seed):
        check(made, most=highest_allowed(None), lufs=USUAL_LUFS)


def test_a_soft_note_is_made_audible_and_silence_stays() -> None:
    domain = model(0, 1.0).domain
    soft = domain.tensor(torch.from_numpy(domain.array_examples(sound(3, -20, 0.5).samples.reshape(1, -1)))).target
    for gain in (0.1, 0.3, 1.0):  # of magnitudes to the power 0.5
        made = domain.compose(gain * soft)
        found_lufs = loudness_lufs(made.samples.reshape(-1, 1), RATE_HZ)
        assert found_lufs >= SOFTEST_LUFS - 0.1 or made.true_peak > 0.99 * highest_allowed(None)
        check(made, most=highest_allowed(None), lufs=USUAL_LUFS)
    assert not domain.compose(0 * soft).samples.any()


@settings(max_examples=12, deadline=None)
@given(seed=SEEDS, size=SIZES, level_db=st.floats(-60, 0), seconds=st.sampled_from([0.2, 0.5, 1.3]))
def test_what_is_made_of_a_sound_is_no_louder(seed: int, size: float, level_db: float, seconds: float) -> None:
    source, trained = sound(seed, level_db, seconds), model(seed, size)
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
def test_a_move_out_of_what_a_model_knows_is_measured_and_held(amount: float, seed: int) -> None:
    torch.manual_seed(seed)
    base, vector = torch.randn(64, 400), torch.randn(400)
    far = distance_from_prior(base, vector, amount)
    assert far == pytest.approx((1 + amount**2) ** 0.5, rel=0.25)  # the vector is as long as a draw
    held = moved_code(base, vector, amount).norm(dim=1) / 400**0.5
    assert held.max() <= LARGEST_LENGTH + 1e-4
    assert (far > LARGEST_LENGTH) == bool(held.mean() > 0.99 * LARGEST_LENGTH) or abs(far - LARGEST_LENGTH) < 0.1


def test_a_shift_too_far_is_told() -> None:
    trained = model(0, 1.0)
    source, vector = sound(1, -20, 0.5), torch.randn(trained.network.latent_shape)
    info = {
        name: AttributeInfo(mean=0, deviation=1, explained=1, kind="plain", effects={"brightness": 1.0})
        for name in ("brightness",)
    }
    vectors = AttributeVectors(info, {"brightness": vector}, 100)
    near, far = (shift(trained.pipeline, vectors, source, "brightness", amount) for amount in (0.1, 40.0))
    assert not [remark for remark in near.remarks if "ask for less" in remark and "times" in remark]
    assert [remark for remark in far.remarks if "times as far out" in remark]
