"""Pictures, arrays and IDX files become tensors and pictures again, or are refused with one sentence."""

import gzip
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from musicae.config import read_config
from musicae.domain import Answers, Batch
from musicae.errors import DamagedFileError, MusicaeError
from musicae.image.config import ImageConfig
from musicae.image.domain import ImageDomain
from musicae.image.picture import PICTURE_SUFFIXES, Picture
from musicae.image.pixels import PictureTooLargeError
from musicae.image.sets import digits, read_idx


def _domain(size: int = 16, channels: int = 1, **settings) -> ImageDomain:
    return ImageDomain(ImageConfig(size=size, channels=channels, **settings))


def _target(domain: ImageDomain, stored: np.ndarray, generator: torch.Generator | None = None) -> torch.Tensor:
    return domain.tensor(torch.from_numpy(stored), generator).target


def _mapped(domain: ImageDomain, item: Picture, function=lambda batch: batch, task: str = "reconstruct") -> Picture:
    """What a function of tensors makes of a picture."""
    return domain.assemble(
        item, Answers(lambda: domain.windows(item, task), lambda batch: function(batch.target)), task
    )


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


def test_digits_are_the_true_ones():
    from sklearn.datasets import load_digits

    pictures, labels = digits()
    domain = ImageDomain()
    assert domain.spec.shape == (1, 8, 8)
    stored = domain.array_examples(pictures)
    assert stored.shape == (1797, 1, 8, 8)
    tensor = _target(domain, stored)
    assert tensor.dtype == torch.float32
    np.testing.assert_allclose(tensor[:, 0].numpy(), load_digits().images / 16, atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(labels, load_digits().target)


def test_an_array_is_stored_whatever_its_form():
    pixels = _noise(5, 16, 16, 3)
    domain = _domain(16, 3)
    expected = pixels.transpose(0, 3, 1, 2)
    forms = [pixels, expected, (pixels / 255), (pixels / 255).astype(np.float32)]
    opaque = np.concatenate([pixels, np.full((5, 16, 16, 1), 255, np.uint8)], axis=-1)
    for form in (*forms, opaque):
        np.testing.assert_array_equal(domain.array_examples(form), expected)
    grey = pixels[..., 0]
    for form in (grey, grey[..., None], grey[:, None], grey / 255, grey.astype(np.uint16) * 257):
        np.testing.assert_array_equal(_domain(16).array_examples(form), grey[:, None])
    np.testing.assert_array_equal(_domain(16).array_examples(grey > 99), np.where(grey > 99, 255, 0)[:, None])
    assert _domain(28, 3).array_examples(grey).shape == (5, 3, 28, 28)
    assert _domain(28, 3).array_examples(opaque[:0]).shape == (0, 3, 28, 28)


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        (np.zeros((2, 8)), r"got \(8,\)"),
        (np.zeros((2, 8, 8, 5)), r"got \(8, 8, 5\)"),
        (np.zeros((2, 0, 8)), r"got \(0, 8, 1\)"),
        (np.zeros((2, 8, 8), np.int64), "got int64"),
        (np.zeros((2, 8, 8), complex), "got complex128"),
        (np.full((2, 8, 8), np.nan), "NaN"),
        (np.full((2, 8, 8), np.inf), "infinity"),
        (np.full((2, 8, 8), 200.0), "values from 0 to 200"),
        (np.full((2, 8, 8), -0.5), "values from -0.5 to 0"),
    ],
)
def test_an_array_of_no_pictures_is_refused(array, wanted):
    for use in (_domain(8).array_examples, lambda array: Picture.open(array[0])):
        with pytest.raises(ValueError, match=wanted):
            use(array)


def test_labels_of_an_array_are_as_many_as_its_pictures():
    domain = ImageDomain(ImageConfig(size=8, channels=1, classes=("a", "b")))
    stored = torch.from_numpy(domain.array_examples(_noise(3, 8, 8), ["b", "a", "c"]))
    assert domain.labels(stored) == {"label": ["b", "a", "(none)"]}
    with pytest.raises(ValueError, match="a label for each of 3 pictures, got 2"):
        domain.array_examples(_noise(3, 8, 8), ["b", "a"])


def test_settings_are_taken_from_an_array_and_its_labels():
    items = list(_noise(20, 28, 24, 3))
    config = ImageDomain.configure_items(ImageConfig(), items, ["7", "10", "7"] * 7)
    assert (config.size, config.channels, config.classes, config.likelihood) == (24, 3, ("7", "10"), "gaussian")
    grey = ImageDomain.configure_items(ImageConfig(size=16), [item[..., 0] for item in items], [], "denoise")
    assert (grey.size, grey.channels, grey.classes, grey.likelihood) == (16, 1, (), "gaussian")
    large = [Picture.open(_noise(300, 200, 3))] * 3
    assert ImageDomain.configure_items(ImageConfig(), large).size == 64
    with pytest.raises(MusicaeError, match="needs 2 to 255 classes"):
        ImageDomain.configure_items(ImageConfig(labels=True), items, ["a"] * 20)
    with pytest.raises(ValueError, match="got int64"):
        ImageDomain.configure_items(ImageConfig(), [np.zeros((8, 8), np.int64)])


@pytest.mark.parametrize("channels", [1, 3])
def test_a_tensor_composed_saved_and_read_is_the_same(tmp_path, channels):
    domain = _domain(16, channels)
    stored = _noise(1, channels, 16, 16)
    tensor = _target(domain, stored)
    path = domain.compose(tensor).save(tmp_path / "a.png")
    np.testing.assert_array_equal(domain.read(path).examples, stored)
    for item in (domain.open(path), domain.compose(tensor)):
        assert torch.equal(_target(domain, domain.select(item).example), tensor)
        np.testing.assert_array_equal(domain.examples(item).examples, stored)


def test_pictures_are_composed_side_by_side_sixteen_to_a_row():
    domain = _domain(8)
    values = torch.linspace(0, 1, 20).view(20, 1, 1, 1).expand(20, 1, 8, 8)
    row, sheet = domain.compose(values[:13]).array, domain.compose(values).array
    assert row.shape == (8, 104)
    assert (np.diff(row[0, ::8].astype(int)) > 0).all()
    assert sheet.shape == (16, 128)
    assert (sheet[8:, 32:] == 255).all()
    assert (sheet[8, :32:8] == [215, 228, 242, 255]).all()


def test_composing_another_shape_names_both():
    with pytest.raises(ValueError, match=r"\(batch, 1, 16, 16\), got \(2, 1, 8, 8\)"):
        _domain(16).compose(torch.zeros(2, 1, 8, 8))


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
        _domain().open(path)
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
    assert _domain().official_split(tmp_path / "test-photo.png") is None


def test_damaged_idx_files_say_how(tmp_path):
    pictures = _noise(3, 8, 8)
    path = tmp_path / "x-images-idx3-ubyte"
    for settings, message in [
        ({"magic": 0x801}, "no IDX file of pictures"),
        ({"shape": (4, 8, 8)}, "truncated"),
        ({"shape": (2, 8, 8)}, "goes on past its end"),
        ({"shape": (0, 8, 8)}, "0 pictures"),
        ({"shape": (4_000_000_000, 1000, 1000)}, "at most"),
        ({"shape": (4_000_000, 1000, 1)}, "says it holds 4,000,000,000"),
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
    domain = _domain()
    whole = domain.open(path)
    for selection in (domain.select(whole, index=3), domain.select(domain.open(path, index=3))):
        np.testing.assert_array_equal(selection.example[0, 0], pictures[3])
        assert "3" in selection.label
    np.testing.assert_array_equal(domain.select(whole).example[0, 0], pictures[0])
    np.testing.assert_array_equal(domain.examples(whole).examples[:, 0], pictures)
    np.testing.assert_array_equal(domain.examples(domain.open(path, index=3)).examples[:, 0], pictures[3:4])
    for index in (5, -1):
        with pytest.raises(MusicaeError, match=f"0 to 4; it has no number {index}"):
            domain.select(whole, index=index)
        with pytest.raises(MusicaeError, match=f"0 to 4; it has no number {index}"):
            domain.open(path, index=index)
    with pytest.raises(MusicaeError, match="no bar"):
        domain.select(whole, bar=3)
    one = domain.open(Image.fromarray(pictures[0]))
    with pytest.raises(MusicaeError, match="one picture; it has no number 2"):
        domain.select(one, index=2)


def test_settings_suit_the_data(tmp_path):
    Image.fromarray(_noise(200, 300, 3)).save(tmp_path / "colour.png")
    Image.fromarray(_noise(40, 30)).save(tmp_path / "grey.png")
    Image.fromarray(_noise(40, 30)).convert("RGB").save(tmp_path / "grey-as-colour.png")
    (tmp_path / "broken.png").write_bytes(b"x")

    def suited(*names: str, **settings) -> tuple:
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


def test_the_commonest_size_and_colour_decide_and_it_is_said(tmp_path):
    for number in range(5):
        Image.fromarray(_noise(40, 30, 3)).save(tmp_path / f"b{number}.png")
    Image.fromarray(_noise(200, 300)).save(tmp_path / "a.png")  # the first by name
    Image.fromarray(_noise(10, 10)).save(tmp_path / "c.png")
    (tmp_path / "d.png").write_bytes(b"x")
    files = sorted(tmp_path.glob("*.png"))
    config = ImageDomain.configure(ImageConfig(), files)
    assert (config.size, config.channels) == (30, 3)
    domain = ImageDomain(config)
    remark = domain.remark_on(files)
    assert remark.startswith(
        "7 pictures looked at, from 10×10 to 300×200 pixels, about 2 of them grey: the middle square of"
    )
    assert "30×30 colour" in remark
    assert "cut into squares of 30×30 colour" in ImageDomain(config.model_copy(update={"crops": True})).remark_on(files)
    assert domain.remark_on([]) is None
    squares = ImageDomain(ImageConfig(size=10, channels=1))
    assert squares.remark_on([tmp_path / "c.png"]) is None
    assert squares.remark_on([tmp_path / "a.png"]).startswith("1 picture looked at, 300×200 pixels: the middle square")


def test_a_set_counts_with_all_its_pictures(tmp_path):
    _write_idx(tmp_path / "train-images-idx3-ubyte", _noise(9, 12, 12))
    for number in range(4):
        Image.fromarray(_noise(40, 30, 3)).save(tmp_path / f"{number}.png")
    config = ImageDomain.configure(ImageConfig(), sorted(tmp_path.iterdir()))
    assert (config.size, config.channels) == (12, 1)


def test_of_many_files_some_are_looked_at(tmp_path, monkeypatch):
    Image.fromarray(_noise(40, 30, 3)).save(tmp_path / "a.png")
    opened = []
    real = ImageDomain.configure.__globals__["survey_files"].__globals__["header_of"]
    monkeypatch.setattr("musicae.image.config.header_of", lambda path: opened.append(path) or real(path))
    files = [tmp_path / "a.png"] * 5001
    assert ImageDomain.configure(ImageConfig(), files).size == 30
    assert 1000 < len(opened) <= 2000


def test_settings_by_their_former_names_are_read():
    config = read_config(ImageConfig, {"damage": "blocks", "damaged_share": 0.5}, "setting")
    assert (config.corruption, config.corrupted_share) == ("blocks", 0.5)


@pytest.mark.parametrize(
    "settings", [{"size": 3}, {"size": 513}, {"channels": 2}, {"noise_deviation": -1}, {"sizes": 8}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValidationError):
        ImageConfig(**settings)


def test_noise_has_the_strength_it_was_set_to():
    domain = _domain(64, noise_mean=0.1, noise_deviation=0.05)
    corrupt = domain.corruption("denoise")
    clean = torch.full((4, 1, 64, 64), 0.5)
    noisy = corrupt(clean, torch.Generator().manual_seed(0))
    assert noisy.mean().item() == pytest.approx(0.6, abs=0.002)
    assert noisy.std().item() == pytest.approx(0.05, rel=0.03)
    assert torch.equal(noisy, corrupt(clean, torch.Generator().manual_seed(0)))
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
    drawn = domain.tensor(stored, torch.Generator().manual_seed(1)).target
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(64 / 255, abs=0.01)
    assert torch.equal(domain.tensor(stored).target, domain.tensor(stored).target)
    assert not torch.equal(drawn, domain.tensor(stored, torch.Generator().manual_seed(2)).target)
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


def test_a_picture_is_reconstructed_at_the_models_size():
    seen = []

    def invert(batch: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(batch.shape))
        return 1 - batch

    item = Picture.open(np.full((50, 80), 100, np.uint8))
    result = _mapped(_domain(16), item, invert)
    assert seen == [(1, 1, 16, 16)]
    assert result.array.shape == (16, 16)
    assert np.abs(result.array.astype(int) - 155).max() <= 1
    assert (item.array == 100).all()


def test_windows_carry_the_class(tmp_path):
    (tmp_path / "dogs").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "dogs" / "a.png")
    domain = ImageDomain(ImageConfig(size=8, channels=1, labels=True, classes=("cats", "dogs")))
    (window,) = domain.windows(domain.open(tmp_path / "dogs" / "a.png"))
    assert isinstance(window.batch, Batch)
    assert window.batch.condition.tolist() == [[2]]


def test_a_whole_set_and_other_tasks_are_refused(tmp_path):
    path = tmp_path / "t10k-images-idx3-ubyte"
    _write_idx(path, _noise(2, 8, 8))
    domain = _domain(8)
    with pytest.raises(MusicaeError, match="whole set"):
        _mapped(domain, domain.open(path))
    assert np.array_equal(_mapped(domain, domain.open(path, index=0)).array, _noise(2, 8, 8)[0])
    with pytest.raises(ValueError, match="got 'sharpen'"):
        _mapped(domain, domain.open(path, index=0), task="sharpen")
    for bad in (tmp_path, tmp_path / "none.png", tmp_path / "a.mid"):
        with pytest.raises(MusicaeError):
            domain.open(bad)


def test_preview_is_one_picture(tmp_path):
    batch = torch.rand(4, 3, 8, 8)
    domain = _domain(8, 3)
    preview = domain.preview({"original": batch, "model": batch})
    assert list(preview) == [".png"]
    assert preview[".png"].width > 300
    named = domain.preview({"original": batch, "model": batch}, columns=["1", "2", "3", "4"])
    assert named[".png"].height > preview[".png"].height


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
    picture = Picture.open(files[0]).square(size=48, channels=3)
    with Image.open(files[0]) as original:
        whole = np.asarray(original.convert("RGB")).astype(float)
    side = min(whole.shape[:2])
    top, left = (whole.shape[0] - side) // 2, (whole.shape[1] - side) // 2
    centre = whole[top : top + side, left : left + side]
    np.testing.assert_allclose(picture.mean((1, 2)), centre.mean((0, 1)), atol=1.0)
