"""Pictures and IDX files are read as they are, or refused with one sentence."""

import gzip
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from musicae.errors import DamagedFileError, MusicaeError
from musicae.image.domain import ImageConfig, ImageDomain
from musicae.image.files import PICTURE_SUFFIXES, PictureTooLargeError, read_picture
from musicae.image.idx import read_idx


def _domain(size: int = 16, channels: int = 1, **settings) -> ImageDomain:
    return ImageDomain(ImageConfig(size=size, channels=channels, **settings))


def _write_idx(path, pictures: np.ndarray, *, magic: int = 0x803, shape=None, extra: bytes = b"") -> None:
    content = struct.pack(">4I", magic, *(shape or pictures.shape)) + pictures.tobytes() + extra
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


def test_starter_digits_are_the_true_ones():
    from sklearn.datasets import load_digits

    domain = ImageDomain()
    ((name, reading),) = domain.starter()
    assert name == "digits"
    assert domain.spec.shape == (1, 8, 8)
    assert reading.examples.shape == (1797, 1, 8, 8)
    assert len(np.unique(reading.groups)) == 1797
    tensor = domain.to_tensor(torch.from_numpy(reading.examples))
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor[:, 0].numpy(), load_digits().images / 16, atol=0.5 / 255 + 1e-6)


def test_starter_digits_are_resized_when_asked():
    ((_, reading),) = _domain(28, 3).starter()
    assert reading.examples.shape == (1797, 3, 28, 28)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tensor_written_and_read_is_the_same(tmp_path, channels):
    domain = _domain(16, channels)
    stored = _noise(1, channels, 16, 16)
    tensor = domain.to_tensor(torch.from_numpy(stored))
    domain.write(tensor, tmp_path / "a.png")
    np.testing.assert_array_equal(domain.read(tmp_path / "a.png").examples, stored)
    selection = domain.select(tmp_path / "a.png")
    assert torch.equal(domain.to_tensor(torch.from_numpy(selection.example)), tensor)


def test_pictures_are_written_side_by_side_sixteen_to_a_row(tmp_path):
    domain = _domain(8)
    values = torch.linspace(0, 1, 20).view(20, 1, 1, 1).expand(20, 1, 8, 8)
    domain.write(values[:13], tmp_path / "row.png")
    domain.write(values, tmp_path / "sheet.png")
    row, sheet = np.asarray(Image.open(tmp_path / "row.png")), np.asarray(Image.open(tmp_path / "sheet.png"))
    assert row.shape == (8, 104)
    assert (np.diff(row[0, ::8].astype(int)) > 0).all()
    assert sheet.shape == (16, 128)
    assert (sheet[8:, 32:] == 255).all()
    assert (sheet[8, :32:8] == [215, 228, 242, 255]).all()


def test_writing_another_shape_names_both(tmp_path):
    with pytest.raises(ValueError, match=r"\(batch, 1, 16, 16\), got \(2, 1, 8, 8\)"):
        _domain(16).write(torch.zeros(2, 1, 8, 8), tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", PICTURE_SUFFIXES)
def test_every_format_is_read(tmp_path, suffix):
    assert len(PICTURE_SUFFIXES) == 8
    gradient = np.linspace(0, 255, 32).astype(np.uint8)[None].repeat(32, 0)
    Image.fromarray(gradient).convert("RGB").save(tmp_path / f"a{suffix.upper()}")
    domain = _domain(32)
    assert domain.reads(tmp_path / f"a{suffix.upper()}")
    read = domain.read(tmp_path / f"a{suffix.upper()}").examples
    assert np.abs(read[0, 0].astype(int) - gradient).max() <= 4


@pytest.mark.parametrize(
    ("mode", "colour", "grey", "rgb"),
    [
        ("1", 1, 255, (255, 255, 255)),
        ("L", 100, 100, (100, 100, 100)),
        ("RGB", (255, 0, 0), 76, (255, 0, 0)),
        ("RGBA", (255, 0, 0, 0), 255, (255, 255, 255)),
        ("LA", (0, 128), 127, (127, 127, 127)),
        ("CMYK", (0, 255, 255, 0), 76, (255, 0, 0)),
        ("I;16", 32896, 128, (128, 128, 128)),
        ("I;16", 200, 1, (1, 1, 1)),
        ("F", 0.5, 128, (128, 128, 128)),
        ("P", 0, 0, (0, 0, 0)),
    ],
)
def test_modes_become_grey_and_colour(tmp_path, mode, colour, grey, rgb):
    path = tmp_path / ("a.tif" if mode in ("CMYK", "F") else "a.png")
    Image.new(mode, (9, 9), colour).save(path)
    assert np.unique(_domain(16, 1).read(path).examples) == pytest.approx([grey], abs=1)
    assert _domain(16, 3).read(path).examples[0, :, 8, 8] == pytest.approx(rgb, abs=1)


def test_a_transparent_palette_colour_is_white(tmp_path):
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([255, 0, 0] * 256)
    picture.save(tmp_path / "a.png", transparency=0)
    assert (_domain(8, 3).read(tmp_path / "a.png").examples == 255).all()


def test_exif_rotation_is_undone(tmp_path):
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:8] = 255  # white above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    read = _domain(16).read(tmp_path / "a.png").examples[0, 0]
    assert (read[:, 8:] == 255).all()
    assert (read[:, :8] == 0).all()


def test_a_wide_picture_is_cropped_to_its_centre(tmp_path):
    pixels = np.zeros((30, 90), np.uint8)
    pixels[:, 30:60] = 200
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (_domain(16).read(tmp_path / "a.png").examples == 200).all()


def test_the_first_page_of_an_animation_is_read(tmp_path):
    pages = [Image.new("L", (8, 8), value) for value in (10, 200)]
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:])
    assert (_domain(8).read(tmp_path / "a.gif").examples == 10).all()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".webp", ".bmp", ".tif"])
def test_a_truncated_picture_is_damaged(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(_noise(64, 64, 3)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DamagedFileError, match=f"a{suffix}"):
        _domain().read(path)


@pytest.mark.parametrize("content", [b"", b"hello\n", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF89a"])
def test_what_is_no_picture_is_damaged_and_one_sentence(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(DamagedFileError) as caught:
        _domain().read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("width", "height"), [(100_000, 10), (10, 100_000), (100_000, 100_000), (25_000, 25_000)])
def test_a_huge_picture_is_refused_by_its_header(tmp_path, width, height):
    """There are no pixels in the file: decoding it would be another error."""
    path = tmp_path / "a.png"
    path.write_bytes(_png_header(width, height))
    with pytest.raises(PictureTooLargeError, match=r"[Ss]cale it down"):
        _domain().select(path)
    reading = _domain().read(path)
    assert len(reading.examples) == 0
    assert sum(reading.skipped.values()) == 1


def test_a_missing_file_says_so(tmp_path):
    for name in ("a.png", "train-images-idx3-ubyte.gz"):
        with pytest.raises(MusicaeError, match="no such file") as caught:
            _domain().read(tmp_path / name)
        assert not isinstance(caught.value, DamagedFileError)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "t10k-images.idx3-ubyte"])
def test_idx_files_are_read_and_every_picture_is_its_own_group(tmp_path, name):
    pictures = _noise(7, 12, 12)
    _write_idx(tmp_path / name, pictures)
    domain = ImageDomain(ImageDomain.configure(ImageConfig(), [tmp_path / name]))
    assert domain.spec.shape == (1, 12, 12)
    assert domain.reads(tmp_path / name)
    reading = domain.read(tmp_path / name)
    np.testing.assert_array_equal(reading.examples[:, 0], pictures)
    assert len(set(reading.groups)) == 7
    assert domain.official_split(tmp_path / name) == ("test" if name.startswith("t10k") else None)


def test_idx_labels_are_not_pictures(tmp_path):
    assert not _domain().reads(tmp_path / "train-labels-idx1-ubyte.gz")
    assert _domain().split_of(tmp_path / "test-photo.png") is None


def test_damaged_idx_files_say_how(tmp_path):
    pictures = _noise(3, 8, 8)
    path = tmp_path / "x-images-idx3-ubyte"
    for settings, message in [
        ({"magic": 0x801}, "no IDX file of pictures"),
        ({"shape": (4, 8, 8)}, "truncated"),
        ({"shape": (2, 8, 8)}, "goes on past its end"),
        ({"shape": (0, 8, 8)}, "0 pictures"),
        ({"shape": (4_000_000_000, 1000, 1000)}, "at most"),
        ({"shape": (4_000_000, 1000, 1)}, "truncated"),
    ]:
        _write_idx(path, pictures, **settings)
        with pytest.raises(DamagedFileError, match=message):
            read_idx(path)
    whole = tmp_path / "x-images-idx3-ubyte.gz"
    _write_idx(whole, pictures)
    for length in (0, 1, 5, 15, 60, whole.stat().st_size - 1):
        short = tmp_path / "y-images-idx3-ubyte.gz"
        short.write_bytes(whole.read_bytes()[:length])
        with pytest.raises(DamagedFileError):
            read_idx(short)


def test_a_picture_of_an_idx_file_is_chosen_by_number(tmp_path):
    pictures = _noise(5, 16, 16)
    path = tmp_path / "train-images-idx3-ubyte"
    _write_idx(path, pictures)
    selection = _domain().select(path, index=3)
    np.testing.assert_array_equal(selection.example[0, 0], pictures[3])
    assert "3" in selection.label
    for index in (5, -1):
        with pytest.raises(MusicaeError, match=f"0 to 4; it has no number {index}"):
            _domain().select(path, index=index)
    with pytest.raises(MusicaeError, match="no bar"):
        _domain().select(path, bar=3)


def test_settings_suit_the_data(tmp_path):
    Image.fromarray(_noise(200, 300, 3)).save(tmp_path / "colour.png")
    Image.fromarray(_noise(40, 30)).save(tmp_path / "grey.png")
    Image.fromarray(_noise(40, 30)).convert("RGB").save(tmp_path / "grey-as-colour.png")
    (tmp_path / "broken.png").write_bytes(b"x")

    def configure(*names: str, **settings) -> tuple:
        config = ImageDomain.configure(ImageConfig(**settings), [tmp_path / name for name in names])
        return config.size, config.channels, config.likelihood

    assert suited() == (8, 1, "bernoulli")
    assert suited("colour.png") == (64, 3, "gaussian")
    assert suited("grey.png") == (30, 1, "bernoulli")
    assert suited("grey-as-colour.png") == (30, 1, "bernoulli")
    assert suited("broken.png", "grey.png") == (30, 1, "bernoulli")
    assert suited("broken.png") == (64, 3, "gaussian")
    assert suited("colour.png", size=20, likelihood="bernoulli") == (20, 3, "bernoulli")
    assert suited("colour.png", channels=1) == (64, 1, "bernoulli")
    assert suited("missing-is-not-looked-at.png", size=20, channels=3) == (20, 3, "gaussian")


@pytest.mark.parametrize(
    "settings", [{"size": 3}, {"size": 513}, {"channels": 2}, {"noise_deviation": -1}, {"sizes": 8}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        ImageConfig(**settings)


def test_noise_has_the_strength_it_was_set_to():
    domain = _domain(64, noise_mean=0.1, noise_deviation=0.05)
    damage = domain.corruption("denoise")
    clean = torch.full((4, 1, 64, 64), 0.5)
    damaged = damage(clean, torch.Generator().manual_seed(0))
    assert damaged.mean().item() == pytest.approx(0.6, abs=0.002)
    assert damaged.std().item() == pytest.approx(0.05, rel=0.03)
    assert torch.equal(damaged, damage(clean, torch.Generator().manual_seed(0)))
    strong = _domain(64, noise_deviation=5.0).corruption("denoise")(clean, torch.Generator())
    assert strong.min() == 0
    assert strong.max() == 1
    assert domain.corruption("reconstruct") is None
    with pytest.raises(ValueError, match="got 'sharpen'"):
        domain.corruption("sharpen")


def test_binarised_pictures_are_drawn_from_their_grey_and_always_the_same_to_be_scored():
    domain = ImageDomain(ImageConfig(size=16, binarised=True))
    assert domain.spec.likelihood == "bernoulli"
    stored = torch.full((64, 1, 16, 16), 64, dtype=torch.uint8)
    drawn = domain.to_tensor(stored, torch.Generator().manual_seed(1))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(64 / 255, abs=0.01)
    assert torch.equal(domain.to_tensor(stored), domain.to_tensor(stored))
    assert not torch.equal(drawn, domain.to_tensor(stored, torch.Generator().manual_seed(2)))
    with pytest.raises(ValidationError, match="grey"):
        ImageConfig(binarised=True, channels=3)
    with pytest.raises(MusicaeError, match="leave binarised out to denoise"):
        ImageDomain.configure(ImageConfig(binarised=True), (), "denoise")


def test_identity_is_of_the_content():
    pictures = _noise(50, 3, 8, 8)
    pictures[7] = pictures[3]
    hashes = _domain(8, 3).identity(pictures)
    assert hashes.dtype == np.uint64
    assert hashes.shape == (50,)
    assert hashes[7] == hashes[3]
    assert len(np.unique(hashes)) == 49
    assert _domain(8, 3).identity(pictures[:0]).shape == (0,)


@pytest.mark.parametrize("size", [4, 8, 13, 28, 64])
def test_metrics_of_equal_and_of_known_pictures(size):
    domain = _domain(size)
    target = torch.rand(5, 1, size, size) * 0.5
    equal = domain.metrics(target, target, target)
    assert equal["mse"].tolist() == [0] * 5
    assert equal["psnr_db"].tolist() == pytest.approx([100] * 5)
    assert equal["ssim"].tolist() == pytest.approx([1] * 5)
    known = domain.metrics(target + 0.1, target, target)
    assert known["mse"].tolist() == pytest.approx([0.01] * 5, rel=1e-4)
    assert known["psnr_db"].tolist() == pytest.approx([20] * 5, rel=1e-4)
    worse = domain.metrics(1 - target, target, target)
    assert worse["ssim"].shape == (5,)
    assert (worse["ssim"] < known["ssim"]).all()


def test_ssim_of_large_pictures_is_that_of_the_paper():
    """Against a plain implementation: a Gaussian window of 11 with σ 1.5, the picture mirrored at its edges."""
    from scipy.ndimage import gaussian_filter

    a, b = torch.rand(2, 32, 32, dtype=torch.float64)

    def smooth(values: torch.Tensor) -> np.ndarray:
        return gaussian_filter(values.numpy(), 1.5, radius=5, mode="mirror")

    mean_a, mean_b = smooth(a), smooth(b)
    variance_a, variance_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    expected = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
    expected /= (mean_a**2 + mean_b**2 + 1e-4) * (variance_a + variance_b + 9e-4)
    ssim = _domain(32).metrics(a[None, None].float(), b[None, None].float(), b[None, None].float())["ssim"]
    assert ssim.item() == pytest.approx(expected.mean(), abs=1e-4)


def test_a_picture_is_mapped_at_the_models_size(tmp_path):
    Image.fromarray(np.full((50, 80), 100, np.uint8)).save(tmp_path / "a.jpg")
    seen = []

    def invert(batch: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(batch.shape))
        return 1 - batch

    _domain(16).map_file(tmp_path / "a.jpg", tmp_path / "out.png", invert)
    assert seen == [(1, 1, 16, 16)]
    written = np.asarray(Image.open(tmp_path / "out.png"))
    assert written.shape == (16, 16)
    assert np.abs(written.astype(int) - 155).max() <= 1


def test_a_failed_mapping_leaves_nothing(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")

    def fail(batch: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        _domain(8).map_file(tmp_path / "a.png", tmp_path / "out.png", fail)
    with pytest.raises(MusicaeError, match="choose one of"):
        _domain(8).map_file(tmp_path / "a.png", tmp_path / "out.mid", lambda batch: batch)
    _write_idx(tmp_path / "t10k-images-idx3-ubyte", _noise(2, 8, 8))
    with pytest.raises(MusicaeError, match="whole set"):
        _domain(8).map_file(tmp_path / "t10k-images-idx3-ubyte", tmp_path / "out.png", lambda batch: batch)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "t10k-images-idx3-ubyte"]


def test_preview_is_one_picture(tmp_path):
    batch = torch.rand(4, 3, 8, 8)
    assert _domain(8, 3).preview({"original": batch, "model": batch}, tmp_path / "step-0.5") == [
        tmp_path / "step-0.5.png"
    ]
    with Image.open(tmp_path / "step-0.5.png") as picture:
        assert picture.width > 300


def test_mnist_is_read_whole(shared_data):
    folder = shared_data("mnist")
    files = sorted(path for path in folder.rglob("*") if ImageDomain().reads(path))
    assert len(files) == 2
    domain = ImageDomain(ImageDomain.configure(ImageConfig(), files))
    counts = {domain.official_split(path): len(domain.read(path).examples) for path in files}
    assert domain.spec.shape == (1, 28, 28)
    assert counts == {None: 60_000, "test": 5_035}


def test_photographs_are_read(shared_data):
    files = sorted(shared_data("kodak24").glob("*.png"))
    assert len(files) == 21
    picture = read_picture(files[0], size=48, channels=3)
    with Image.open(files[0]) as original:
        whole = np.asarray(original.convert("RGB")).astype(float)
    side = min(whole.shape[:2])
    top, left = (whole.shape[0] - side) // 2, (whole.shape[1] - side) // 2
    centre = whole[top : top + side, left : left + side]
    np.testing.assert_allclose(picture.mean((1, 2)), centre.mean((0, 1)), atol=1.0)
