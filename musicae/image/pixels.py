"""Pixels of pictures: opens them with Pillow, rotates them upright, puts them on white, crops them to a square.

It also converts images to arrays and back. The size is checked in the header before a pixel is decoded, and what is
large is converted strip by strip: a file of a few kilobytes can hold 120 million pixels, and each copy takes half a
gigabyte. Nothing here knows `Picture`, tensors or domains.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from musicae.errors import DamagedFileError, MusicaeError
from musicae.image.sets import MAX_SIDE

MAX_PIXELS = 120_000_000
"""Most pixels that a picture may have."""
MAX_WEBP_PIXELS = 60_000_000
"""The same of a WebP, whose decoder holds several copies of it."""
GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")

Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a part, as Pillow has it."""
_STRIP_PIXELS = 2**21
# Named, since Pillow would otherwise try every format that it knows.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")


class PictureTooLargeError(MusicaeError):
    """A picture that is not damaged, but larger than what is decoded."""


def square_of(source: Path | bytes, called: str | None = None, *, size: int, channels: int) -> np.ndarray:
    """Reads a picture as a square, as `Picture.square` does, without keeping the rest of it; for data sets.

    Args:
        source: a path, or a file's bytes.
        called: its name in errors; by default the path.
        size, channels: as in `Picture.square`.

    Returns:
        uint8 `(channels, size, size)`.

    Raises:
        DamagedFileError: not a picture, or truncated.
        PictureTooLargeError: wider or larger than is decoded.
    """
    with opened(source, called or str(source)) as image:
        # A JPEG can be decoded at a fraction of its size; twice the wanted size is enough for the Lanczos filter.
        image.draft(None, (2 * size, 2 * size))
        return plain_square(upright(image), size=size, channels=channels)


def crops_of(source: Path | bytes, called: str | None = None, *, size: int, channels: int, most: int) -> np.ndarray:
    """Reads a picture as squares at its own resolution, side by side; for data sets.

    Args:
        source, called: as of `square_of`.
        size: side, in pixels; a picture that is smaller in one direction gives none.
        channels: as in `Picture.square`.
        most: how many; of a large picture they are taken evenly.

    Returns:
        uint8 `(crops, channels, size, size)`.

    Raises:
        DamagedFileError: not a picture, or truncated.
        PictureTooLargeError: wider or larger than is decoded.
    """
    with opened(source, called or str(source)) as image:
        image = upright(image)
        return cropped(plain_array(image, "L" if channels == 1 else "RGB"), size=size, most=most)


def cropped(pixels: np.ndarray, *, size: int, most: int) -> np.ndarray:
    """uint8 `(height, width[, 3])` → `(crops, channels, size, size)`, at most `most` of them, evenly spread."""
    rows, columns, planes = pixels.shape[0] // size, pixels.shape[1] // size, pixels[0, 0].size
    top, left = (pixels.shape[0] - rows * size) // 2, (pixels.shape[1] - columns * size) // 2
    part = pixels[top : top + rows * size, left : left + columns * size].reshape(rows, size, columns, size, planes)
    crops = part.transpose(0, 2, 4, 1, 3).reshape(rows * columns, planes, size, size)
    chosen = np.linspace(0, len(crops) - 1, min(most, len(crops))).round().astype(int)
    return np.ascontiguousarray(crops[chosen])


def header_of(path: Path) -> tuple[int, int, bool]:
    """`(width, height, may have colours)` of a file; no pixel is decoded.

    Raises:
        DamagedFileError: not a picture.
        PictureTooLargeError: wider or larger than is decoded.
    """
    with opened(path, str(path)) as image:
        return *image.size, image.mode not in GREY_MODES


def has_colours(path: Path) -> bool:
    """Whether any pixel of a file is not grey."""
    with opened(path, str(path)) as image:
        image.draft(None, (256, 256))
        image.load()
        strips = (np.asarray(strip) for strip, _ in _plain_strips(image, "RGB", (0, 0, *image.size)))
        return any(bool((pixels != pixels[..., :1]).any()) for pixels in strips)


def resized_squares(pictures: np.ndarray, *, size: int, channels: int) -> np.ndarray:
    """uint8 `(pictures, 1 or 3, height, width)` → `(pictures, channels, size, size)`, as `Picture.square` would."""
    given = pictures.shape[1]
    if given > channels or pictures.shape[2:] != (size, size):
        mode = "RGB" if given == channels == 3 else "L"
        squares = [cropped_square(image_of(picture).convert(mode), size) for picture in pictures]
        pictures = np.stack(squares) if squares else np.zeros((0, min(given, channels), size, size), np.uint8)
    return np.repeat(pictures, channels // pictures.shape[1], axis=1)


def checked_pixels(array: np.ndarray) -> np.ndarray:
    """Pictures in an array, as uint8 (uint16 stays) `(pictures, height, width, channels)`.

    Args:
        array: `(pictures, height, width)`, `(pictures, height, width, 1, 3 or 4)` or `(pictures, 1 or 3, height,
            width)`; uint8, uint16, bool, or floats in 0…1.

    Raises:
        ValueError: another shape or dtype, NaN, or values beyond 0…1.
    """
    if array.ndim == 3:
        array = array[..., None]
    elif array.ndim == 4 and array.shape[-1] not in (1, 3, 4) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[-1] not in (1, 3, 4) or 0 in array.shape[1:]:
        raise ValueError(
            f"expected pictures of shape (height, width) or (height, width, 1, 3 or 4), got {array.shape[1:]}"
        )
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint8 or (array.dtype == np.uint16 and array.shape[-1] == 1):
        return array
    if array.dtype.kind != "f":
        raise ValueError(f"expected pictures of uint8, bool or floats in 0 to 1, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError("expected pictures of finite numbers, got NaN or infinity")
    lowest, highest = float(array.min(initial=0.0)), float(array.max(initial=0.0))
    if lowest < 0 or highest > 1:
        raise ValueError(f"expected floats in 0 to 1, got values from {lowest:g} to {highest:g}")
    return np.floor(array * 255 + 0.5).astype(np.uint8)


def image_of(planes: np.ndarray) -> Image.Image:
    """uint8 or uint16 `(1 or 3, height, width)` → an image in mode `L`, `I;16` or `RGB`."""
    return Image.fromarray(np.ascontiguousarray(planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)))


def check_size(width: int, height: int, called: str, *, most: int = MAX_PIXELS) -> None:
    """Raises `PictureTooLargeError` for a picture larger than what is decoded; `called` is its name in the error."""
    if max(width, height) > MAX_SIDE or width * height > most:
        raise PictureTooLargeError(
            f"{called} is {width}×{height} pixels; at most {MAX_SIDE} a side and {most // 10**6} million in "
            "all are read. Scale it down first."
        )


@contextmanager
def opened(source: Path | bytes, called: str) -> Iterator[Image.Image]:
    """Opens a file or its bytes, if the size is acceptable. Any error of the decoder becomes one clear sentence.

    Raises:
        DamagedFileError: not a picture, empty, or truncated.
        PictureTooLargeError: wider or larger than is decoded.
        MusicaeError: no such file.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata, and of sizes that are checked here.
            warnings.simplefilter("ignore")
            # We open the file: given a name, Pillow maps some files into memory and then reads rotated ones wrongly.
            with (
                BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file,
                Image.open(file, formats=_FORMATS) as image,
            ):
                check_size(*image.size, called, most=MAX_WEBP_PIXELS if image.format == "WEBP" else MAX_PIXELS)
                yield image
    except FileNotFoundError:
        raise MusicaeError(f"no such file: {called}") from None
    except Image.DecompressionBombError:
        raise PictureTooLargeError(
            f"{called} is larger than {MAX_PIXELS // 10**6} million pixels; scale it down first."
        ) from None
    except MusicaeError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error and others
        if not (source if isinstance(source, bytes) else source.is_file() and source.stat().st_size):
            raise DamagedFileError(f"{called} is empty.") from None
        # If Pillow recognises no format, its text adds nothing to ours.
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise DamagedFileError(
            f"{called} can't be read as a picture; it is damaged or something else{reason}."
        ) from error


def upright(image: Image.Image) -> Image.Image:
    """Decodes an image, and gives a copy that is rotated as its EXIF data say; the one that was given is closed."""
    image.load()
    try:
        whole = ImageOps.exif_transpose(image)
    except Exception:  # a broken EXIF block can raise many types; the pixels are fine
        whole = image.copy()
        whole.info.pop("exif", None)
    image.close()
    return whole


def plain(image: Image.Image, mode: str, box: Box | None = None) -> Image.Image:
    """Converts an image, or a part of it, to mode `L` or `RGB`, with transparency on white."""
    whole = (0, 0, *image.size)
    box = box or whole
    if image.mode == mode and "transparency" not in image.info:
        return image if box == whole else image.crop(box)
    result = Image.new(mode, (box[2] - box[0], box[3] - box[1]))
    result.info = {key: value for key, value in image.info.items() if key != "transparency"}
    for strip, top in _plain_strips(image, mode, box):
        result.paste(strip, (0, top))
    return result


def plain_array(image: Image.Image, mode: str) -> np.ndarray:
    """As `plain`, uint8 `(height, width)` or `(height, width, 3)`."""
    pixels = np.empty((image.height, image.width, *((3,) if mode == "RGB" else ())), np.uint8)
    for strip, top in _plain_strips(image, mode, (0, 0, *image.size)):
        pixels[top : top + strip.height] = np.asarray(strip)
    return pixels


def _plain_strips(image: Image.Image, mode: str, box: Box) -> Iterator[tuple[Image.Image, int]]:
    """A part of an image in strips of mode `L` or `RGB`, each with its place from the top."""
    left, top, right, bottom = box
    rows = max(1, _STRIP_PIXELS // max(1, right - left))
    is_deep = image.mode in ("I", "F") or image.mode.startswith("I;16")
    scale = _deep_scale(image) if is_deep else 0.0
    for start in range(top, bottom, rows):
        strip = image.crop((left, start, right, min(start + rows, bottom)))
        if is_deep:
            strip = Image.fromarray(_scaled(np.asarray(strip), scale))
        if strip.mode in ALPHA_MODES or "transparency" in strip.info:
            strip = strip.convert("RGBA")
            strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
        if strip.mode not in ("L", "RGB"):
            strip = strip.convert("RGB")
        yield strip.convert(mode), start - top


def _deep_scale(image: Image.Image) -> float:
    """What the deep values of a whole image are multiplied by to be in 0…255."""
    rows = max(1, _STRIP_PIXELS // max(1, image.width))
    strips = (
        np.asarray(image.crop((0, start, image.width, min(start + rows, image.height))))
        for start in range(0, image.height, rows)
    )
    highest, kind = 0.0, np.dtype(np.uint8)
    for strip in strips:
        highest, kind = max(highest, float(_numbers(strip).max(initial=0.0))), strip.dtype
    return _scale(highest, kind)


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Deep grey values → uint8, by the range they are in: 0…1 (if real), 0…255, 0…65535 or 0…2³²."""
    highest = float(_numbers(values).max(initial=0.0))
    return _scaled(values, _scale(highest, values.dtype))


def _scale(highest: float, kind: np.dtype) -> float:
    if kind.kind == "f" and highest <= 2.0:  # resizing overshoots 1 a little
        return 255.0
    if highest > 65535:
        return 1 / 2**24
    return 1 / 257 if highest > 255 or (kind.kind == "u" and kind.itemsize == 2) else 1.0


def _scaled(values: np.ndarray, scale: float) -> np.ndarray:
    deep = _numbers(values)
    # A division rounds otherwise than a product with its inverse.
    with np.errstate(over="ignore"):
        deep = deep * scale if scale >= 1 else deep / round(1 / scale)
    return np.clip(np.floor(deep + 0.5), 0, 255).astype(np.uint8)


def _numbers(values: np.ndarray) -> np.ndarray:
    """In double precision, with 0 for NaN; a signalling one (some damaged files hold any bits) is not an error."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(values.astype(np.float64))


def plain_square(image: Image.Image, *, size: int, channels: int) -> np.ndarray:
    """An upright image cropped to the centre and resized: uint8 `(channels, size, size)`."""
    return cropped_square(plain(image, "L" if channels == 1 else "RGB", _centre(image)), size)


def _centre(image: Image.Image) -> Box:
    """The square in the middle."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return left, top, left + side, top + side


def cropped_square(picture: Image.Image, size: int) -> np.ndarray:
    """Crops to the centre and resizes: uint8 `(channels, size, size)`."""
    if picture.size != (size, size):
        # Cropped first: `resize(box=...)` would mix pixels from outside into the edges.
        square = picture if picture.width == picture.height else picture.crop(_centre(picture))
        picture = square.resize((size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture)
    return pixels[None].copy() if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
