"""The tables of pictures: what judges them, and that the README quotes what was written."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from musicae.image.domain import ImageConfig, ImageDomain

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def image(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("image")


def test_the_readme_quotes_the_tables_as_they_were_measured(image: ModuleType) -> None:
    tables = image.tables(json.loads(image.RESULTS.read_text()))
    assert tables.count("\n|---|") == 4
    assert tables in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_frechet_distance_is_that_of_the_gaussians_that_were_drawn_from(image: ModuleType) -> None:
    random = np.random.default_rng(0)
    first = random.normal(size=(200_000, 3)) * [1.0, 2.0, 0.5]
    second = random.normal(size=(200_000, 3)) * [1.0, 1.0, 0.5] + [3.0, 0.0, 0.0]
    # Along an axis, (m₁ - m₂)² + (s₁ - s₂)².
    assert image.frechet_distance(first, second) == pytest.approx(9 + 1, rel=0.01)
    turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
    assert image.frechet_distance(first @ turn, second @ turn) == pytest.approx(10, rel=0.01)
    assert image.frechet_distance(first, first) == pytest.approx(0, abs=1e-6)
    flat = first * [1.0, 0.0, 1.0]  # a feature that is always off
    assert image.frechet_distance(flat, flat) == pytest.approx(0, abs=1e-6)


def test_the_judge_learns_digits_and_judges_them_alike_each_time(image: ModuleType) -> None:
    domain = ImageDomain(ImageDomain.suited(ImageConfig(size=28), ()))
    ((_, reading),) = domain.starter()
    stored = torch.from_numpy(reading.examples)
    pictures, classes = domain.to_tensor(stored), torch.tensor([int(name) for name in domain.labels(stored)["label"]])
    judge = image.train_judge(pictures[:1500], classes[:1500])
    found = judge.classify(pictures[1500:])
    assert torch.equal(found, judge.classify(pictures[1500:]))
    assert (found == classes[1500:]).float().mean() > 0.5
    assert judge.describe(pictures[:7]).shape == (7, 64)


def test_likeness_is_of_the_luma_away_from_the_edge(image: ModuleType) -> None:
    photographs = sys.modules["photographs"]
    original = np.random.default_rng(0).integers(0, 256, (3, 64, 64)).astype(np.uint8)
    psnr_db, ssim = photographs.likeness(original, original)
    assert psnr_db > 100
    assert ssim == pytest.approx(1)
    framed = original.copy()
    framed[:, :16], framed[:, :, -16:] = 0, 0
    assert photographs.likeness(framed, original)[0] > 100
    greener = np.minimum(original.astype(int), 235).astype(np.uint8)
    brighter = greener.copy()
    brighter[1] += 20
    expected = -20 * np.log10(0.587 * 20 / 255)
    assert photographs.likeness(brighter, greener)[0] == pytest.approx(expected, abs=1e-6)
