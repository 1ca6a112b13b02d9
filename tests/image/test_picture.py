"""`Picture` opens from everything, keeps everything of the original, saves and shows itself."""

import base64
import io
import re
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from cifar_batches import batch_bytes, noise
from PIL import Image

from musicae.errors import DamagedFileError, MusicaeError
from musicae.image.picture import Picture


def pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape or (20, 30, 3), dtype=np.uint8)


def png(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(array).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize("source", [np.zeros((8, 8)), np.full((8, 8), np.nan), "tree.png", None])
def test_the_constructor_takes_only_a_pil_image(source: object) -> None:
    with pytest.raises(ValueError, match=r"expected a PIL image, got .*; Picture.open takes"):
        Picture(source)  # type: ignore[arg-type]  # the wrong type is the test


def test_a_picture_opens_from_whatever_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "tree.png"
    path.write_bytes(png(pixels()))
    with path.open("rb") as file:
        opened = [Picture.open(source) for source in (path, str(path), file)]
    assert {picture.name for picture in opened} == {"tree"}
    with Image.open(path) as image:
        opened += [Picture.open(source) for source in (path.read_bytes(), io.BytesIO(png(pixels())), image, pixels())]
    opened += [Picture.open(pixels().transpose(2, 0, 1)), Picture.open(pixels() / 255)]
    assert len(opened) == 9
    for picture in opened:
        np.testing.assert_array_equal(picture.array, pixels())
        assert (picture.width, picture.height, picture.mode, picture.depth) == (30, 20, "RGB", 8)
    assert opened[0].label == tmp_path.name
    assert opened[0].format == "PNG"
    assert Picture.open(opened[0]) is opened[0]


@pytest.mark.parametrize("source", [None, 3, [1, 2], {"array": 1}, io.StringIO("text")])
def test_what_is_no_picture_is_a_value_error(source: object) -> None:
    with pytest.raises(ValueError, match="expected a") as caught:
        Picture.open(source)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    with pytest.raises(MusicaeError, match="no such file"):
        Picture.open(tmp_path / "none.png")
    for content in (b"", b"hello", png(pixels(64, 64, 3))[:3000]):
        for source in (content, io.BytesIO(content)):
            with pytest.raises(DamagedFileError):
                Picture.open(source)


def test_an_image_that_cannot_be_decoded_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(pixels(64, 64, 3))[:3000])
    with Image.open(tmp_path / "a.png") as image, pytest.raises(DamagedFileError, match="can't be decoded"):
        Picture.open(image)


def test_a_picture_is_immutable() -> None:
    source = pixels()
    image = Image.fromarray(source)
    of_array, of_image = Picture.open(source), Picture.open(image)
    source[:] = 0
    image.paste(0, (0, 0, 30, 20))
    of_array.to_pil().paste(0, (0, 0, 30, 20))
    for picture in (of_array, of_image):
        np.testing.assert_array_equal(picture.array, pixels())
        with pytest.raises(ValueError, match="read-only"):
            picture.array[0] = 1
        with pytest.raises(FrozenInstanceError):
            picture.name = "other"  # type: ignore[misc]


def test_remarks_are_added_to_another() -> None:
    picture = Picture.open(pixels())
    assert picture.with_remarks("a").with_remarks("b", "c").remarks == ("a", "b", "c")
    assert picture.remarks == ()


def test_the_original_is_saved_untouched_in_its_own_format(tmp_path: Path) -> None:
    Image.fromarray(pixels()).save(tmp_path / "a.jpg", quality=40)
    pages = [Image.new("L", (8, 8), value) for value in (10, 200)]
    pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:])
    for name in ("a.jpg", "a.gif"):
        picture = Picture.open(tmp_path / name)
        saved = picture.save(tmp_path / "new" / f"b{Path(name).suffix}")
        assert saved.read_bytes() == (tmp_path / name).read_bytes()
    assert "several pages" in picture.remarks[0]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif"])
def test_every_mode_is_saved_in_every_format(tmp_path: Path, mode: str, suffix: str) -> None:
    if mode in ("I;16", "F"):
        image = Image.fromarray(np.linspace(0, 1, 300, dtype=np.float32).reshape(15, 20))
        image = image if mode == "F" else Image.fromarray((np.asarray(image) * 65535).astype(np.uint16))
    else:
        image = Image.radial_gradient("L").resize((20, 15)).convert("RGB").convert(mode)
    picture = Picture.open(image)
    saved = Picture.open(picture.save(tmp_path / f"a{suffix}"))
    assert saved.array.shape[:2] == picture.array.shape[:2]
    as_colour = [np.broadcast_to(p.array.reshape(15, 20, -1), (15, 20, 3)).astype(int) for p in (saved, picture)]
    difference = np.abs(as_colour[0] - as_colour[1])
    assert difference.mean() <= 6 if suffix == ".jpg" else difference.max() <= 1
    if suffix == ".png" and mode not in ("CMYK", "F"):
        assert saved.mode == mode


def test_transparency_lies_on_white_and_is_kept_where_it_can_be(tmp_path: Path) -> None:
    array = pixels(20, 30, 4)
    array[:10, :, 3], array[10:, :, 3] = 0, 255
    picture = Picture.open(array)
    assert (picture.array[:10] == 255).all()
    assert np.array_equal(picture.array[10:], array[10:, :, :3])
    assert np.array_equal(np.asarray(picture.to_pil()), array)
    assert Picture.open(picture.save(tmp_path / "a.png")).mode == "RGBA"
    assert Picture.open(picture.save(tmp_path / "a.webp")).has_transparency
    assert (Picture.open(picture.save(tmp_path / "a.jpg")).array[:8] > 240).all()
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([255, 0, 0] * 256)
    palette.info["transparency"] = 0
    for suffix in (".png", ".tif", ".bmp", ".jpg"):
        assert (Picture.open(Picture.open(palette).save(tmp_path / f"b{suffix}")).array == 255).all(), suffix


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright_whatever_exif_says_and_stay_so(tmp_path: Path, orientation: int) -> None:
    array = np.zeros((16, 24, 3), np.uint8)
    array[:4, :4] = 250
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(array).save(tmp_path / "a.png", exif=exif)
    picture = Picture.open(tmp_path / "a.png")
    turned = {
        1: array,
        2: array[:, ::-1],
        3: array[::-1, ::-1],
        4: array[::-1],
        5: array.transpose(1, 0, 2),
        6: np.rot90(array, -1),
        7: array.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(array),
    }[orientation]
    np.testing.assert_array_equal(picture.array, turned)
    np.testing.assert_array_equal(Picture.open(picture.save(tmp_path / "b.tif")).array, turned)
    np.testing.assert_array_equal(Picture.open(picture.save(tmp_path / "b.png")).array, turned)
    np.testing.assert_array_equal(picture.with_planes(picture.planes()).array, turned)


def test_a_turned_tiff_is_upright_and_a_broken_exif_block_is_no_damage(tmp_path: Path) -> None:
    array = np.arange(32, dtype=np.uint8).reshape(4, 8)
    Image.fromarray(array).save(tmp_path / "turned.tif", tiffinfo={274: 6})
    assert np.array_equal(Picture.open(tmp_path / "turned.tif").array, np.rot90(array, -1))
    Image.fromarray(array).save(tmp_path / "broken.png", exif=b"garbage!")
    broken = Picture.open(tmp_path / "broken.png")
    assert np.array_equal(broken.array, array)
    assert np.array_equal(Picture.open(broken.save(tmp_path / "b.tif")).array, array)


def test_deep_greys_keep_their_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    wanted = np.round(ramp * 255)
    for name, values in (
        ("real", np.where(ramp == 1, np.float32(1.01), ramp)),
        ("wide", (ramp * 65535).astype(np.uint16)),
        ("wider", (ramp.astype(np.float64) * (2**31 - 1)).astype(np.int32)),
    ):
        Image.fromarray(values).save(tmp_path / f"{name}.tif")
        found = Picture.open(tmp_path / f"{name}.tif").array.astype(int)
        expected = wanted / 2 if name == "wider" else wanted  # 2³¹ of 2³²
        assert np.abs(found - expected).max() <= 1, name


def test_sixteen_bits_a_colour_are_said_to_be_read_as_eight(tmp_path: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + bytes(range(4 * 6)) for _ in range(4))
    header = chunk(b"IHDR", struct.pack(">2I5B", 4, 4, 16, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert "16 bits" in Picture.open(content).remarks[0]


def test_a_format_that_is_not_written_or_cannot_hold_it_is_refused(tmp_path: Path) -> None:
    picture = Picture.open(pixels())
    for name in ("a.mid", "a", "a.gif"):
        with pytest.raises(MusicaeError, match="choose one of"):
            picture.save(tmp_path / name)
    with pytest.raises(MusicaeError, match="at most 16383 pixels a side"):
        Picture.open(Image.new("L", (17_000, 4))).save(tmp_path / "a.webp")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(MusicaeError, match="is a folder"):
        picture.save(tmp_path / "folder.png")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_an_index_is_for_files_of_many_pictures(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(batch_bytes(noise(3), [3, 0, 9]))
    picture = Picture.open(path, index=2)
    np.testing.assert_array_equal(picture.array, noise(3)[2])
    assert (picture.index, picture.set_path, picture.label, picture.name) == (2, path, "9", "data_batch_1-2")
    assert picture.save(tmp_path / "a.png").is_file()
    (tmp_path / "one.png").write_bytes(png(pixels()))
    with pytest.raises(MusicaeError, match=r"one\.png holds one picture; it has no number 1"):
        Picture.open(tmp_path / "one.png", index=1)


@pytest.mark.parametrize("array", [pixels(8, 8), pixels(300, 2000, 3), pixels(40, 40, 4)])
def test_a_picture_shows_itself(array: np.ndarray) -> None:
    picture = Picture.open(array).with_remarks("1 < 2")
    image = picture.plot()
    assert image.mode in ("L", "RGB")
    assert min(image.size) >= min(256, *array.shape[:2])
    assert image.width / image.height == pytest.approx(array.shape[1] / array.shape[0])
    text = picture._repr_html_()
    assert "1 &lt; 2" in text
    encoded = re.search(r"base64,([^\"]+)", text)[1]
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as shown:
        assert max(shown.size) <= 1024
    assert repr(picture) == f"<Picture 'picture', {array.shape[1]}×{array.shape[0]}, {picture.mode}>"


def test_a_large_jpeg_becomes_the_same_square_from_a_file_and_from_memory(tmp_path: Path) -> None:
    from musicae.image.pixels import square_of

    smooth = Image.fromarray(pixels(6, 8, 3)).resize((800, 600), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "a.jpg", quality=95)
    picture = Picture.open(tmp_path / "a.jpg")
    of_file = square_of(tmp_path / "a.jpg", size=32, channels=3)
    np.testing.assert_array_equal(picture.square(size=32, channels=3), of_file)
    whole = Picture.open(picture.array).square(size=32, channels=3)
    assert np.abs(whole.astype(int) - of_file).mean() <= 4  # decoded at an eighth, and cropped there
