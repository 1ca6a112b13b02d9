"""Measurements of pictures: what judges them, and how likeness is measured."""

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest
import torch

from musicae.image.config import ImageConfig
from musicae.image.domain import ImageDomain
from musicae.starter import starter_items


@pytest.fixture
def image(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("image")


@pytest.fixture
def judges(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("judges")


def test_the_frechet_distance_is_that_of_the_gaussians_that_were_drawn_from(judges: ModuleType) -> None:
    random = np.random.default_rng(0)
    first = random.normal(size=(200_000, 3)) * [1.0, 2.0, 0.5]
    second = random.normal(size=(200_000, 3)) * [1.0, 1.0, 0.5] + [3.0, 0.0, 0.0]
    # Along an axis, (m₁ - m₂)² + (s₁ - s₂)².
    assert judges.frechet_distance(first, second) == pytest.approx(9 + 1, rel=0.01)
    rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
    assert judges.frechet_distance(first @ rotation, second @ rotation) == pytest.approx(10, rel=0.01)
    assert judges.frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    flat = first * [1.0, 0.0, 1.0]  # a feature that is always off
    assert judges.frechet_distance(flat, flat) == pytest.approx(0, abs=1e-6)


def test_the_classifier_learns_digits_and_judges_them_alike_each_time(judges: ModuleType) -> None:
    domain = ImageDomain(ImageDomain.configure(ImageConfig(size=28), ()))
    ((_, reading),) = starter_items(domain)
    stored = torch.from_numpy(reading.examples)
    classes = torch.tensor([int(name) for name in domain.labels(stored)["label"]])
    pictures = domain.tensor(stored).target
    judge = judges.train_classifier(pictures[:1500], classes[:1500])
    found = judge.classify(pictures[1500:])
    assert torch.equal(found, judge.classify(pictures[1500:]))
    assert (found == classes[1500:]).float().mean() > 0.5
    assert judge.describe(pictures[:7]).shape == (7, 64)


def test_cepstra_of_notes_tell_their_colour_and_not_only_their_level(judges: ModuleType) -> None:
    bands = torch.linspace(0, 1, 80)[None, :, None].expand(1, 80, 50)
    bright, dark = judges.cepstra(bands), judges.cepstra(-bands)
    assert bright.shape == (1, 26)
    assert bright[0, 1] == pytest.approx(-dark[0, 1])
    assert abs(bright[0, 1]) > 0.5
    louder = judges.cepstra(bands + 1)
    assert np.allclose(louder[0, 1:], bright[0, 1:], atol=1e-5)


def test_likeness_is_of_the_luma_away_from_the_edge(image: ModuleType) -> None:
    original = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    psnr_db, ssim = image.likeness(original, original)
    assert psnr_db > 100
    assert ssim == pytest.approx(1)
    framed = original.copy()
    framed[:16], framed[:, -16:] = 0, 0
    assert image.likeness(framed, original)[0] > 100
    greener = np.minimum(original.astype(int), 235).astype(np.uint8)
    brighter = greener.copy()
    brighter[..., 1] += 20
    expected = -20 * np.log10(0.587 * 20 / 255)
    assert image.likeness(brighter, greener)[0] == pytest.approx(expected, abs=1e-6)
