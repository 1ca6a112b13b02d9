"""Corruptions of pictures, and pictures of any size through a network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from musicae.domain import Answers
from musicae.errors import MusicaeError
from musicae.image import corruption, tiles
from musicae.image.config import ImageConfig
from musicae.image.domain import ImageDomain
from musicae.image.picture import Picture
from musicae.models import build_model
from musicae.spec import Layout, TensorSpec


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def grey(size: int = 64, level: float = 0.5, count: int = 8, channels: int = 3) -> torch.Tensor:
    return torch.full((count, channels, size, size), level)


def noise_picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (channels, height, width), dtype=np.uint8)


def in_tiles(planes: np.ndarray, function, *, scale: int = 1, channels: int) -> np.ndarray:
    """Cuts, answers and joins; tile after tile, as `assemble` does."""
    _, height, width = planes.shape
    answers = ((tile, function(seen)) for tile, seen in tiles.cut(planes, scale=scale, channels=channels))
    return tiles.join(answers, (len(planes), scale * height, scale * width), planes.dtype)


def restored(domain: ImageDomain, item: Picture, task: str, function=lambda batch: batch) -> Picture:
    return domain.assemble(
        item, Answers(lambda: domain.windows(item, task), lambda batch: function(batch.target)), task
    )


def test_salt_and_pepper_hits_its_share_in_all_channels_at_once():
    corrupted = corruption.salt_and_pepper(grey(), generator(), share=0.2)
    assert (corrupted == 0).float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert (corrupted == 1).float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(corrupted[:, 0], corrupted[:, 2])


def test_speckle_grows_with_the_light():
    dark, light = (corruption.speckle(grey(level=level), generator(), deviation=0.2) for level in (0.1, 0.4))
    assert light.std().item() == pytest.approx(0.08, rel=0.05)
    assert dark.std().item() == pytest.approx(0.02, rel=0.05)


def test_dropped_blocks_are_black_squares_an_eighth_wide():
    corrupted = corruption.dropped_blocks(grey(count=64), generator(), share=0.25)
    cells = corrupted[:, 0].unflatten(1, (8, 8)).unflatten(3, (8, 8))  # (pictures, rows, 8, columns, 8)
    assert torch.equal(cells.amin((2, 4)), cells.amax((2, 4)))
    assert (cells == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_corruption_is_drawn_anew_and_a_seed_fixes_it():
    same, rng = generator(1), generator(1)
    first, second = (corruption.salt_and_pepper(grey(), rng, share=0.2) for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, corruption.salt_and_pepper(grey(), same, share=0.2))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_picture_of_low_resolution_is_pillows_bicubic_there_and_back(scale):
    pixels = np.asarray(Image.radial_gradient("L").resize((48, 48)), np.float32) / 255
    picture = Image.fromarray(pixels)
    there = picture.resize((48 // scale, 48 // scale), Image.Resampling.BICUBIC)
    back = np.asarray(there.resize((48, 48), Image.Resampling.BICUBIC)).clip(0, 1)
    found = corruption.low_resolution(torch.from_numpy(pixels)[None, None], scale)[0, 0].numpy()
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
    monkeypatch.setattr(tiles, "TILE", 64)
    monkeypatch.setattr(tiles, "MARGIN", 32)
    in_pieces = in_tiles(pixels, restore, scale=scale, channels=3)
    assert len(sizes) > 10
    assert max(max(size) for size in sizes[1:]) <= 128
    assert np.abs(at_once.astype(int) - in_pieces).max() <= 1
    assert np.abs(at_once.astype(int) - np.repeat(np.repeat(pixels, scale, 1), scale, 2)).mean() > 5


def test_the_margin_is_as_wide_as_the_default_network_looks():
    spec = TensorSpec(layout=Layout.GRID, shape=(1, 16, 16), likelihood="gaussian", correction="add")
    torch.manual_seed(0)
    model = build_model("unet", spec, {}).eval()
    side = 2 * tiles.MARGIN + 32
    picture = torch.zeros(1, 1, side, side, requires_grad=True)
    model.reconstruct(picture)[
        0, 0, tiles.MARGIN : tiles.MARGIN + 32, tiles.MARGIN : tiles.MARGIN + 32
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


def test_pictures_are_restored_at_their_own_size_and_made_larger():
    item = Picture.open(noise_picture(60, 90).transpose(1, 2, 0))
    domain = ImageDomain(ImageConfig(size=16, channels=3, scale=3))
    assert np.array_equal(restored(domain, item, "denoise").array, item.array)
    assert restored(domain, item, "upscale").array.shape == (180, 270, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_restored_picture_keeps_what_it_came_with(tmp_path: Path, channels: int):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    Image.fromarray(noise_picture(20, 30).transpose(1, 2, 0)).save(
        tmp_path / "a.jpg", icc_profile=profile, exif=exif, dpi=(300, 300)
    )
    domain = ImageDomain(ImageConfig(size=16, channels=channels, scale=2))
    for task in ("denoise", "upscale"):
        result = restored(domain, domain.open(tmp_path / "a.jpg"), task, lambda batch: 1 - batch)
        assert (result.name, result.colour_profile, result.remarks) == ("a", profile, ())
        for suffix in (".jpg", ".png", ".tif", ".webp"):
            with Image.open(result.save(tmp_path / f"result{suffix}")) as saved:
                assert saved.info["icc_profile"] == profile, suffix
                if suffix != ".tif":
                    assert saved.getexif()[0x010F] == "a camera", suffix


def test_a_profile_of_another_colour_space_is_left_out_and_it_is_said():
    image = Image.new("L", (8, 8), 90)
    image.info["icc_profile"] = b"\0" * 16 + b"CMYK" + b"\0" * 108
    domain = ImageDomain(ImageConfig(size=16, channels=1))
    result = restored(domain, domain.open(image), "denoise")
    assert result.colour_profile is None
    assert "colour space" in result.remarks[0]


def test_a_reconstruction_of_a_transparent_picture_is_on_white_and_it_is_said():
    pixels = np.concatenate([noise_picture(24, 36), noise_picture(24, 36, 1)]).transpose(1, 2, 0)
    result = restored(ImageDomain(ImageConfig(size=16, channels=3)), Picture.open(pixels), "reconstruct")
    assert (result.mode, result.array.shape) == ("RGB", (16, 16, 3))
    assert result.remarks == ("what was transparent is white",)


@pytest.mark.parametrize("scale", [1, 2])
def test_a_transparent_picture_stays_so_and_looks_on_white_as_the_answer_does(scale: int):
    pixels = np.concatenate([noise_picture(24, 36), noise_picture(24, 36, 1)]).transpose(1, 2, 0)
    pixels[:8, :, 3] = 0
    pixels[8:16, :, 3] = 255
    item = Picture.open(pixels)
    domain = ImageDomain(ImageConfig(size=16, channels=3, scale=2))
    result = restored(domain, item, "denoise" if scale == 1 else "upscale")
    assert result.mode == "RGBA"
    alpha = np.asarray(result.to_pil())[..., 3]
    assert alpha.shape == (24 * scale, 36 * scale)
    if scale == 1:
        assert np.array_equal(alpha, pixels[..., 3])
        assert np.abs(result.array.astype(int) - item.array).max() <= 1


def test_sixteen_bits_stay_sixteen(tmp_path: Path):
    deep = np.random.default_rng(0).integers(0, 65536, (20, 30), dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    domain = ImageDomain(ImageConfig(size=16, channels=1))
    result = restored(domain, domain.open(tmp_path / "a.png"), "denoise")
    assert (result.depth, result.remarks) == (16, ())
    for suffix in (".png", ".tif"):
        with Image.open(result.save(tmp_path / f"b{suffix}")) as saved:
            assert np.array_equal(np.asarray(saved), deep)
    result.save(tmp_path / "b.jpg")
    floats = Picture.open(Image.fromarray(deep.astype(np.float32) / 65535))
    assert restored(domain, floats, "denoise").remarks == ("32 bits a value became 8",)


def test_memory_holds_one_tile_at_a_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tiles, "TILE", 64)
    monkeypatch.setattr(tiles, "MARGIN", 32)
    domain = ImageDomain(ImageConfig(size=16, channels=1))
    item = Picture.open(noise_picture(200, 300, 1)[0])
    windows = domain.windows(item, "denoise")
    first = next(windows)
    assert first.batch.target.shape == (1, 1, 96, 96)
    assert first.batch.target.untyped_storage().nbytes() == 4 * 96 * 96
    assert len(list(windows)) == 4 * 5 - 1


def test_a_failing_network_gives_no_picture():
    def fail(batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    domain = ImageDomain(ImageConfig(size=16, channels=1))
    with pytest.raises(RuntimeError):
        restored(domain, Picture.open(noise_picture(20, 30, 1)[0]), "denoise", fail)


def test_a_result_too_large_to_read_again_is_refused():
    domain = ImageDomain(ImageConfig(size=16, channels=1, scale=4))
    for size in ((9000, 1000), (9000, 4)):
        with pytest.raises(MusicaeError, match="more than 120 million pixels, or 30000 a side"):
            restored(domain, Picture.open(Image.new("L", size)), "upscale")
