"""Damage to pictures, and pictures of any size through a network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from musicae.errors import MusicaeError
from musicae.image import corruption as damage
from musicae.image import tiles as whole
from musicae.image.domain import ImageConfig, ImageDomain
from musicae.image.files import read_whole_picture
from musicae.image.tiles import in_tiles
from musicae.models import build_model
from musicae.spec import Layout, TensorSpec


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grey(size: int = 64, level: float = 0.5, count: int = 8, channels: int = 3) -> torch.Tensor:
    return torch.full((count, channels, size, size), level)


def noise_picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (channels, height, width), dtype=np.uint8)


def test_salt_and_pepper_hits_its_share_in_all_channels_at_once():
    damaged = damage.salt_and_pepper(grey(), generator(), share=0.2)
    assert (damaged == 0).float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert (damaged == 1).float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(damaged[:, 0], damaged[:, 2])


def test_speckle_grows_with_the_light():
    dark, light = (damage.speckle(grey(level=level), generator(), deviation=0.2) for level in (0.1, 0.4))
    assert light.std().item() == pytest.approx(0.08, rel=0.05)
    assert dark.std().item() == pytest.approx(0.02, rel=0.05)


def test_dropped_blocks_are_black_squares_an_eighth_wide():
    damaged = damage.dropped_blocks(grey(count=64), generator(), share=0.25)
    cells = damaged[:, 0].unflatten(1, (8, 8)).unflatten(3, (8, 8))  # (pictures, rows, 8, columns, 8)
    assert torch.equal(cells.amin((2, 4)), cells.amax((2, 4)))
    assert (cells == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_damage_is_drawn_anew_and_a_seed_fixes_it():
    same, rng = generator(1), generator(1)
    first, second = (damage.salt_and_pepper(grey(), rng, share=0.2) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, damage.salt_and_pepper(grey(), same, share=0.2))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_coarse_picture_is_pillows_bicubic_there_and_back(scale):
    pixels = np.asarray(Image.radial_gradient("L").resize((48, 48)), np.float32) / 255
    picture = Image.fromarray(pixels)
    there = picture.resize((48 // scale, 48 // scale), Image.Resampling.BICUBIC)
    back = np.asarray(there.resize((48, 48), Image.Resampling.BICUBIC)).clip(0, 1)
    found = damage.coarse(torch.from_numpy(pixels)[None, None], scale)[0, 0].numpy()
    assert np.abs(found - back).max() < 1e-3
    assert np.abs(found - pixels).max() > 1e-4


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_tiles_of_a_network_fit_without_seams(scale, monkeypatch):
    spec = TensorSpec(layout=Layout.GRID, shape=(3, 16, 16), likelihood="gaussian", correction="add")
    torch.manual_seed(0)
    model = build_model("unet", spec, {"widths": [8, 8], "latent_size": 4}).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    pixels, sizes = noise_picture(150, 210), []

    def restore(batch: torch.Tensor) -> torch.Tensor:
        sizes.append(batch.shape[-2:])
        with torch.no_grad():
            return model.reconstruct(batch)

    at_once = in_tiles(pixels, restore, scale=scale, channels=3)
    assert len(sizes) == 1
    monkeypatch.setattr(whole, "TILE", 64)
    monkeypatch.setattr(whole, "MARGIN", 32)
    in_pieces = in_tiles(pixels, restore, scale=scale, channels=3)
    assert len(sizes) > 10
    assert max(max(size) for size in sizes[1:]) <= 128
    assert np.abs(at_once.astype(int) - in_pieces).max() <= 1
    assert np.abs(at_once.astype(int) - np.repeat(np.repeat(pixels, scale, 1), scale, 2)).mean() > 5


def test_the_margin_is_as_wide_as_the_default_network_looks():
    spec = TensorSpec(layout=Layout.GRID, shape=(1, 16, 16), likelihood="gaussian", correction="add")
    torch.manual_seed(0)
    model = build_model("unet", spec, {}).eval()
    side = 2 * whole.MARGIN + 32
    picture = torch.zeros(1, 1, side, side, requires_grad=True)
    model.reconstruct(picture)[
        0, 0, whole.MARGIN : whole.MARGIN + 32, whole.MARGIN : whole.MARGIN + 32
    ].sum().backward()
    rows = picture.grad.abs().amax((0, 1, 3)).nonzero().flatten()
    assert rows.min() > 0
    assert rows.max() < side - 1


@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_keeps_its_colours_whatever_the_model_was_trained_on(colours, channels):
    pixels, shapes = noise_picture(20, 30, colours), []

    def same(batch: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(batch.shape))
        return batch

    assert np.array_equal(in_tiles(pixels, same, channels=channels), pixels)
    assert shapes == [(colours, 1, 20, 30) if channels == 1 else (1, 3, 20, 30)]


def test_files_are_restored_at_their_own_size_and_enlarged(tmp_path: Path):
    Image.fromarray(noise_picture(60, 90).transpose(1, 2, 0)).save(tmp_path / "a.png")
    domain = ImageDomain(ImageConfig(size=16, channels=3, scale=3))
    domain.map_file(tmp_path / "a.png", tmp_path / "b.png", lambda batch: batch, "denoise")
    with Image.open(tmp_path / "a.png") as before, Image.open(tmp_path / "b.png") as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))
    domain.map_file(tmp_path / "a.png", tmp_path / "c.png", lambda batch: batch, "upscale")
    with Image.open(tmp_path / "c.png") as picture:
        assert picture.size == (270, 180)


def test_a_turned_tiff_is_upright_and_a_broken_exif_block_is_no_damage(tmp_path: Path):
    pixels = np.arange(32, dtype=np.uint8).reshape(4, 8)
    Image.fromarray(pixels).save(tmp_path / "turned.tif", tiffinfo={274: 6})
    assert np.array_equal(read_whole_picture(tmp_path / "turned.tif")[0], np.rot90(pixels, -1))
    Image.fromarray(pixels).save(tmp_path / "broken.png", exif=b"garbage!")
    assert np.array_equal(read_whole_picture(tmp_path / "broken.png")[0], pixels)


def test_deep_greys_keep_their_range(tmp_path: Path):
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    wanted = np.round(ramp * 255)
    for name, values in (
        ("real", np.where(ramp == 1, np.float32(1.01), ramp)),
        ("wide", (ramp * 65535).astype(np.uint16)),
        ("wider", (ramp.astype(np.float64) * (2**31 - 1)).astype(np.int32)),
    ):
        Image.fromarray(values).save(tmp_path / f"{name}.tif")
        found = read_whole_picture(tmp_path / f"{name}.tif")[0].astype(int)
        expected = wanted / 2 if name == "wider" else wanted  # 2³¹ of 2³²
        assert np.abs(found - expected).max() <= 1, name


def test_a_result_that_its_format_cannot_hold_is_refused(tmp_path: Path):
    Image.new("L", (9000, 4)).save(tmp_path / "a.png")
    domain = ImageDomain(ImageConfig(size=16, channels=1, scale=4))
    for name, side in (("b.webp", 16383), ("b.png", 30000)):
        with pytest.raises(MusicaeError, match=f"or {side} a side"):
            domain.map_file(tmp_path / "a.png", tmp_path / name, lambda batch: batch, "upscale")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_result_too_large_to_read_again_is_refused(tmp_path: Path):
    Image.new("L", (9000, 1000)).save(tmp_path / "a.png")
    domain = ImageDomain(ImageConfig(size=16, channels=1, scale=4))
    with pytest.raises(MusicaeError, match="more than 120 million pixels"):
        domain.map_file(tmp_path / "a.png", tmp_path / "b.png", lambda batch: batch, "upscale")
    assert not (tmp_path / "b.png").exists()
