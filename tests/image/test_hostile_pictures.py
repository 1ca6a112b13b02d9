"""Small files that hold, or claim, enormous pictures: bounded in memory, or refused before anything is unpacked."""

import gzip
import io
import struct
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import fuzz_inputs
import numpy as np
import pytest
from PIL import Image

from musicae.errors import DamagedFileError, MusicaeError
from musicae.image import pixels, sets
from musicae.image.picture import Picture
from musicae.image.pixels import PictureTooLargeError, has_colours, plain, plain_array, square_of, upright


def test_pictures_converted_strip_by_strip_are_those_converted_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every mode and format, rotated and transparent ones among them."""
    files = fuzz_inputs.picture_files()

    def seen(data: bytes) -> list[np.ndarray]:
        (tmp_path / "a").write_bytes(data)
        found = [square_of(data, "a", size=size, channels=channels) for size in (8, 24) for channels in (1, 3)]
        found.append(np.array(has_colours(tmp_path / "a")))
        for mode in ("L", "RGB"):
            with pixels.opened(data, "a") as image:
                whole = upright(image)
                found += [plain_array(whole, mode), np.asarray(plain(whole, mode, (3, 2, 20, 19)))]
        return found

    at_once = [seen(data) for _, data in files]
    monkeypatch.setattr(pixels, "_STRIP_PIXELS", 100)
    for (name, data), expected in zip(files, at_once, strict=True):
        for one, other in zip(seen(data), expected, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
    assert len(files) >= 30


def test_transparency_is_on_white_in_every_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "_STRIP_PIXELS", 7)
    image = Image.new("RGBA", (5, 9), (200, 0, 0, 0))
    image.paste((0, 0, 200, 255), (0, 4, 5, 9))
    shown = plain_array(image, "RGB")
    assert (shown[:4] == 255).all()
    assert (shown[4:] == (0, 0, 200)).all()


def test_a_webp_may_be_half_as_large_since_its_decoder_holds_it_several_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "MAX_WEBP_PIXELS", 99)
    content = {name: io.BytesIO() for name in ("WEBP", "PNG")}
    for name, file in content.items():
        Image.new("RGB", (10, 10)).save(file, name)
    with pytest.raises(PictureTooLargeError, match="10×10 pixels"):
        Picture.open(content["WEBP"].getvalue())
    assert Picture.open(content["PNG"].getvalue()).width == 10


# Sets


def write_idx(path: Path, shape: tuple[int, int, int], body: bytes = b"") -> Path:
    content = struct.pack(">4I", 0x803, *shape) + body
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("ending", ["images-idx3-ubyte", "images-idx3-ubyte.gz"])
@pytest.mark.parametrize("shape", [(200_000, 28, 28), (2**32 - 1, 30_000, 30_000), (5, 30_000, 30_000)])
def test_a_set_that_claims_far_more_than_its_file_can_hold_is_refused_before_it_is_read(
    tmp_path: Path, ending: str, shape: tuple[int, int, int]
) -> None:
    path = write_idx(tmp_path / ending, shape, bytes(1_000))
    started = time.process_time()
    with pytest.raises(DamagedFileError, match="says it holds"):
        sets.read_idx(path)
    assert time.process_time() - started < 0.5


def test_a_large_set_that_is_as_large_as_it_says_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise hardly shrinks when it is packed."""
    monkeypatch.setattr(sets, "_ALWAYS_UNPACKED_BYTES", 1_000)
    given = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    path = write_idx(tmp_path / "train-images-idx3-ubyte.gz", given.shape, given.tobytes())
    np.testing.assert_array_equal(sets.read_idx(path)[:, 0], given)
    with pytest.raises(DamagedFileError, match="50 times as large"):
        sets.read_idx(write_idx(path, (100, 28, 28), bytes(78_400)))


def test_packed_labels_are_unpacked_as_far_as_their_header_says(tmp_path: Path) -> None:
    images = write_idx(tmp_path / "train-images-idx3-ubyte", (5, 2, 2), bytes(20))
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    (tmp_path / "train-labels-idx1-ubyte").unlink(missing_ok=True)
    images = images.rename(tmp_path / "train-images-idx3-ubyte.gz")
    for count, size in ((5, 2**26), (2**32 - 1, 5)):
        labels.write_bytes(gzip.compress(struct.pack(">2I", 0x801, count) + bytes(size), 1))
        started = time.process_time()
        with pytest.raises(DamagedFileError, match="not as many as its header says"):
            sets.set_labels(images, required=True)
        assert time.process_time() - started < 0.5


def test_a_file_of_class_names_is_read_as_far_as_names_go(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3073))
    (tmp_path / "batches.meta.txt").write_bytes(b"cat\ndog\n" + b"\n" * 2**18)
    assert sets.set_labels(tmp_path / "data_batch_1.bin", required=True) == ["cat"]


# Memory


@pytest.mark.soak
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of address space are Linux's")
@pytest.mark.parametrize("mode", ["RGBA", "RGB", "L", "I;16", "P", "F", "CMYK"])
def test_a_picture_of_the_largest_size_is_read_within_a_gigabyte(tmp_path: Path, mode: str) -> None:
    """Some of these files have 14 KB; they took up to 4 GB when they were converted as a whole."""
    options = {"P": {"transparency": 0}, "F": {"compression": "tiff_adobe_deflate"}}
    path = tmp_path / ("a.tif" if mode in ("F", "CMYK") else "a.png")
    Image.new(mode, (10_900, 10_900)).save(path, **options.get(mode, {}))
    code = f"""
    import resource
    from pathlib import Path
    from musicae.image.picture import Picture
    from musicae.image.pixels import has_colours, square_of
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**30,) * 2)
    path = Path({str(path)!r})
    square_of(path, size=32, channels=3)
    has_colours(path)
    Picture.open(path).array
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stderr


def test_a_file_that_is_far_too_large_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("musicae.image.picture._LARGEST_FILE_BYTES", 100)
    Image.new("RGB", (100, 100)).effect_spread(9).save(tmp_path / "a.png")
    with pytest.raises(MusicaeError, match="has over"):
        Picture.open(tmp_path / "a.png")


def test_real_values_of_any_bits_become_grey_without_a_warning() -> None:
    """Signalling NaN, infinities and numbers at the ends of their range, as a damaged TIFF holds them."""
    bits = np.array([0x7F800001, 0xFF800001, 0x7FC00000, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 0xFF7FFFFF, 0], np.uint32)
    for values in (bits.view(np.float32), bits[[0, 4, 6, 7]].view(np.float32)):
        image = Image.fromarray(values.reshape(2, -1))
        assert plain_array(image, "L").shape == (2, len(values) // 2)
