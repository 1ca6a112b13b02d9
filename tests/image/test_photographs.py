"""What restorers of photographs learn from: crops, turned and grey, and the mixed corruptions."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from musicae.errors import MusicaeError
from musicae.image import corruption
from musicae.image.config import ImageConfig
from musicae.image.domain import ImageDomain
from musicae.image.picture import Picture
from musicae.models import build_model
from musicae.trained import TrainedModel
from musicae.training.experiment import Experiment

SIDE = 32


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photograph(height: int = 70, width: int = 100) -> np.ndarray:
    """A smooth picture with a little texture, uint8 `(height, width, 3)`."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x / width, y / height, 0.5 + 0.4 * np.sin(x / 9) * np.cos(y / 7)], -1)
    return (255 * np.clip(smooth + 0.02 * rng.standard_normal(smooth.shape), 0, 1)).astype(np.uint8)


def batch(count: int = 64, level: float = 0.5, channels: int = 3) -> torch.Tensor:
    """Coloured pictures without texture."""
    colour = torch.linspace(level, level + 0.1, channels)[None, :, None, None]
    return colour.expand(count, channels, SIDE, SIDE).clone()


def restorer(**settings) -> ImageDomain:
    return ImageDomain(ImageConfig(size=SIDE, channels=3, likelihood="gaussian", **settings))


def test_a_restorer_learns_from_crops_at_their_own_resolution(tmp_path: Path):
    pixels = photograph()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    files = [tmp_path / "a.png"]
    config = ImageDomain.configure(ImageConfig(size=SIDE), files, "denoise")
    reading = ImageDomain(config).read(files[0])
    # 2 rows and 3 columns in the middle: 3 pixels are left over at the top and the bottom, 2 at the sides.
    assert reading.examples.shape == (6, 3, SIDE, SIDE)
    np.testing.assert_array_equal(
        reading.examples[4], pixels[3 + SIDE : 3 + 2 * SIDE, 2 + SIDE : 2 + 2 * SIDE].transpose(2, 0, 1)
    )
    item = ImageDomain(config).examples(Picture.open(files[0]))
    np.testing.assert_array_equal(item.examples, reading.examples)
    whole = ImageDomain(ImageDomain.configure(ImageConfig(size=SIDE), files, "reconstruct"))
    assert whole.read(files[0]).examples.shape == (1, 3, SIDE, SIDE)


def test_a_picture_smaller_than_a_crop_is_used_whole(tmp_path: Path):
    Image.fromarray(photograph(20, 90)).save(tmp_path / "a.png")
    assert len(restorer(crops=True).read(tmp_path / "a.png").examples) == 1


def test_a_large_picture_gives_no_more_crops_than_allowed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("musicae.image.domain._MOST_CROPS", 3)
    pixels = photograph()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    crops = restorer(crops=True).read(tmp_path / "a.png").examples
    assert len(crops) == 3
    np.testing.assert_array_equal(crops[0], pixels[3 : 3 + SIDE, 2 : 2 + SIDE].transpose(2, 0, 1))


def test_sets_are_not_cut_and_digits_not_turned():
    config = ImageDomain.configure(ImageConfig(), [], "denoise")
    assert not config.crops
    assert not config.turned
    stored = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    domain = ImageDomain(config)
    assert torch.equal(domain.tensor(stored, generator()).target, domain.tensor(stored).target)


def test_training_shows_all_eight_ways_up_and_some_in_grey():
    stored = torch.from_numpy(photograph(SIDE, SIDE).transpose(2, 0, 1)[None].copy())
    domain = restorer(turned=True)
    seen = domain.tensor(stored.expand(400, -1, -1, -1), generator()).target
    ways = [
        torch.rot90(one, turns, (-2, -1)) for one in (stored[0] / 255, stored[0].flip(-1) / 255) for turns in range(4)
    ]
    counts = [int((seen == way).flatten(1).all(1).sum()) for way in ways]
    assert all(25 < count < 70 for count in counts)
    is_grey = (seen == seen[:, :1]).flatten(1).all(1)
    assert 20 < int(is_grey.sum()) < 65
    assert sum(counts) + int(is_grey.sum()) == 400
    assert torch.equal(domain.tensor(stored).target, stored / 255)


def test_a_grey_model_sees_every_crop_as_light_as_it_is():
    stored = torch.from_numpy(photograph(SIDE, SIDE)[..., :1].transpose(2, 0, 1)[None].copy())
    domain = ImageDomain(ImageConfig(size=SIDE, channels=1, likelihood="gaussian", turned=True))
    seen = domain.tensor(stored.expand(200, -1, -1, -1), generator()).target
    torch.testing.assert_close(seen.mean((1, 2, 3)), (stored / 255).mean().expand(200))


def test_mixed_noise_has_every_strength_and_half_of_it_goes_beyond_white_and_black():
    noisy = corruption.mixed_noise(batch(count=400, level=0.45), generator())
    deviation = (noisy - batch(count=400, level=0.45)).flatten(1).std(1)
    assert 8 < int((deviation == 0).sum()) < 40  # one in twenty stays clean
    assert deviation[deviation > 0].min() < 2 / 255
    assert 45 / 255 < deviation.max() < 62 / 255
    bright = corruption.mixed_noise(batch(count=400, level=0.9), generator())
    beyond = (bright > 1).flatten(1).any(1).float().mean()
    assert 0.25 < beyond < 0.5


def test_a_grey_picture_has_grey_noise_whatever_its_kind():
    grey = torch.full((100, 1, SIDE, SIDE), 0.4).expand(-1, 3, -1, -1)
    noisy = corruption.mixed_noise(grey, generator())
    assert not torch.equal(noisy, grey)
    assert (noisy - noisy[:, :1]).abs().max() < 1.5 / 255  # JPEG rounds colours


def test_jpeg_is_pillows_where_blocks_begin_at_the_corner():
    pixels = photograph(64, 64)
    content = BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=40, subsampling=2)
    wanted = np.asarray(Image.open(content)).transpose(2, 0, 1) / np.float32(255)
    picture = torch.from_numpy(pixels.transpose(2, 0, 1) / np.float32(255))
    places = [torch.randint(0, 8, (3,), generator=generator(seed)).tolist() for seed in range(2000)]
    seed = next(seed for seed, (top, left, halved) in enumerate(places) if top == left == 0 and halved < 4)
    found = corruption.jpeg(picture, generator(seed), quality=40)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-6)
    shifted = next(seed for seed, (top, _, halved) in enumerate(places) if top == 4 and halved < 4)
    assert not torch.equal(corruption.jpeg(picture, generator(shifted), quality=40), found)


def test_scales_are_mixed_and_nothing_moves():
    # A ramp stays where it is, whatever the filter; only its edge blurs.
    ramp = torch.linspace(0.2, 0.8, 48)[None, None, None, :].expand(60, 3, 48, 48)
    lowered = corruption.mixed_low_resolution(ramp, generator(), scales=(2, 3, 4))
    middle = (lowered - ramp)[..., 8:-8]
    assert middle.mean().abs() < 0.002
    assert (middle.mean((1, 2, 3)).abs() < 0.003).all()
    texture = torch.rand((60, 3, 48, 48), generator=generator())
    kept = (corruption.mixed_low_resolution(texture, generator(), scales=(2, 3, 4)) - 0.5).square().mean((1, 2, 3))
    assert kept.max() > 3 * kept.min()


@pytest.mark.parametrize("task", ["denoise", "upscale"])
def test_an_untrained_restorer_changes_nothing(task: str):
    domain = restorer(scale="any")
    network = build_model("unet", domain.spec, {"widths": (8, 12), "latent_size": 8})
    picture = torch.rand((1, 3, 24, 40), generator=generator())
    torch.testing.assert_close(network.eval().reconstruct(picture), picture)


@pytest.fixture
def enlarger() -> TrainedModel:
    domain = restorer(scale="any", corruption="mixed")
    network = build_model("unet", domain.spec, {"widths": (8, 12), "latent_size": 8}).eval()
    manifest = Experiment.resolve(domain.name, model="unet", task="upscale").manifest
    return TrainedModel(network, domain, manifest, "cpu")


def test_one_network_enlarges_by_two_three_and_four(enlarger: TrainedModel):
    picture = Picture.open(photograph(20, 30))
    for scale in (2, 3, 4):
        large = enlarger.upscale(picture, scale=scale)
        assert (large.width, large.height) == (scale * 30, scale * 20)
        wanted = picture.to_pil().resize((scale * 30, scale * 20), Image.Resampling.BICUBIC)
        assert np.abs(large.array.astype(int) - np.asarray(wanted).astype(int)).max() <= 2
    assert enlarger.upscale(picture).width == 60


def test_a_scale_that_was_not_learned_is_refused(enlarger: TrainedModel):
    with pytest.raises(MusicaeError, match=r"2 or 3 or 4 times larger, not 5"):
        enlarger.upscale(Picture.open(photograph(20, 30)), scale=5)
    with pytest.raises(MusicaeError, match=r"3 times larger, not 2"):
        restorer(scale=3).at_scale(2)


def test_most_jpegs_have_their_blocks_at_the_corner(monkeypatch: pytest.MonkeyPatch):
    """At an edge between blocks neighbouring columns differ most."""
    monkeypatch.setattr(corruption, "_NOISE_SHARES", (0.0, 0.0, 1.0))
    monkeypatch.setattr(corruption, "_COMPRESSED_NOISE", 0.0)
    monkeypatch.setattr(corruption, "_QUALITIES", (5, 6))
    picture = torch.from_numpy(photograph(96, 96).transpose(2, 0, 1).copy())[None].float() / 255
    found = corruption.mixed_noise(picture.expand(150, -1, -1, -1).clone(), generator())
    steps = (found - picture).diff(dim=-1).square().mean((1, 2))  # (pictures, columns)
    phases = torch.stack([steps[:, phase::8].mean(1) for phase in range(8)], 1).argmax(1)
    assert 0.58 < float((phases == 7).float().mean()) < 0.83  # two thirds, and an eighth of the others
