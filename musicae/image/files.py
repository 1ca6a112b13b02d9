"""Picture files to square uint8 arrays and back: PNG, JPEG and the like.

A picture of any size becomes a square: turned as its EXIF says, laid on white where it is transparent,
cropped to its centre and resized (Lanczos). Cropping keeps proportions, at the price of the long side's
ends. The size is checked in the header before a pixel is decoded. Colour profiles are ignored. Nothing
here knows tensors or domains.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from musicae.atomic_io import written_whole
from musicae.errors import DamagedFileError, MusicaeError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")

MAX_SIDE = 30_000
MAX_PIXELS = 120_000_000
# By name, since Pillow would otherwise try every format it knows on a file called .png.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
_WRITTEN = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_HOW: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}
_LARGEST_SIDE = {"WEBP": 16_383}
_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F")


class PictureTooLargeError(MusicaeError):
    """A sound picture that is larger than what is decoded."""


def read_picture(path: Path, *, size: int, channels: int) -> np.ndarray:
    """Reads one picture; of an animation or a document, the first page.

    Args:
        path: one of `PICTURE_SUFFIXES`; the content decides the format, not the name.
        size: side of the square it becomes, in pixels.
        channels: 1 for grey, 3 for red, green and blue.

    Returns:
        uint8 `(channels, size, size)`.

    Raises:
        DamagedFileError: not a picture, or truncated.
        PictureTooLargeError: wider or larger than is decoded.
    """
    with _opened(path) as picture:
        # A JPEG can be decoded at an eighth of its size; twice the wanted one leaves Lanczos its work.
        picture.draft(None, (2 * size, 2 * size))
        return _square(_plain(picture, "L" if channels == 1 else "RGB"), size)


def read_whole_picture(path: Path) -> np.ndarray:
    """Reads one picture at its own size: uint8 `(1 or 3, height, width)`, upright, transparency on white.

    Raises:
        DamagedFileError: not a picture, or truncated.
        PictureTooLargeError: wider or larger than is decoded.
    """
    with _opened(path) as picture:
        pixels = np.asarray(_plain(picture, "L" if picture.mode in _GREY_MODES else "RGB"))
    return pixels[None].copy() if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def picture_kind(path: Path) -> tuple[int, int, bool]:
    """`(width, height, is colour)` of a picture. A colour file whose pixels are all grey is grey."""
    with _opened(path) as picture:
        width, height = picture.size
        if picture.mode in _GREY_MODES:
            return width, height, False
        picture.draft(None, (256, 256))
        pixels = np.asarray(_plain(picture, "RGB"))
        return width, height, bool((pixels != pixels[..., :1]).any())


def resize_pictures(pictures: np.ndarray, *, size: int, channels: int) -> np.ndarray:
    """uint8 `(pictures, 1 or 3, height, width)` → `(pictures, channels, size, size)`, as `read_picture` would."""
    given = pictures.shape[1]
    if given > channels or pictures.shape[2:] != (size, size):
        mode = "RGB" if given == channels == 3 else "L"
        squares = [_square(_image(picture).convert(mode), size) for picture in pictures]
        pictures = np.stack(squares) if squares else np.zeros((0, min(given, channels), size, size), np.uint8)
    return np.repeat(pictures, channels // pictures.shape[1], axis=1)


def write_picture(pixels: np.ndarray, path: Path) -> None:
    """Writes uint8 `(channels, height, width)`, under a temporary name that is then renamed."""
    kind = written_format(path)
    content = BytesIO()
    _image(pixels).save(content, format=kind, **_HOW.get(kind, {}))
    with written_whole(path) as partial:
        partial.write_bytes(content.getvalue())


def largest_side(path: Path) -> int:
    """Pixels a side that a picture of this name may have, so that it can be written and read again."""
    return min(MAX_SIDE, _LARGEST_SIDE.get(written_format(path), MAX_SIDE))


def written_format(path: Path) -> str:
    """Pillow's name of the format a path asks for. Raises `MusicaeError` for one that isn't written."""
    if path.suffix.lower() not in _WRITTEN:
        raise MusicaeError(f"can't write a picture as {path.name!r}; choose one of {', '.join(_WRITTEN)}.")
    return _WRITTEN[path.suffix.lower()]


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Opens a picture whose size is acceptable; whatever its decoder trips on becomes one sentence."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata, and of sizes that are checked here.
            warnings.simplefilter("ignore")
            # Opened by us: by name, Pillow maps some files into memory and then reads turned ones garbled.
            with path.open("rb") as file, Image.open(file, formats=_FORMATS) as picture:
                width, height = picture.size
                if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                    raise PictureTooLargeError(
                        f"{path} is {width}×{height} pixels; at most {MAX_SIDE} a side and {MAX_PIXELS // 10**6} "
                        "million in all are read. Scale it down first."
                    )
                yield picture
    except FileNotFoundError:
        raise MusicaeError(f"no such file: {path}") from None
    except Image.DecompressionBombError:
        raise PictureTooLargeError(
            f"{path} is larger than {MAX_PIXELS // 10**6} million pixels; scale it down first."
        ) from None
    except MusicaeError:
        raise
    except Exception as error:  # Pillow's decoders raise what they trip on: OSError, SyntaxError, struct.error, …
        if path.is_file() and path.stat().st_size == 0:
            raise DamagedFileError(f"{path} is empty.") from None
        # Where nothing was recognised, Pillow's text says no more than ours.
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"
        raise DamagedFileError(
            f"{path} can't be read as a picture; it is damaged or something else{reason}."
        ) from error


def _plain(picture: Image.Image, mode: str) -> Image.Image:
    """Decodes to `L` or `RGB`, upright, transparency on white."""
    picture.load()
    try:
        upright = ImageOps.exif_transpose(picture)
    except Exception:  # whatever a broken EXIF block makes Pillow trip on; the pixels are sound
        upright = picture
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        upright = Image.fromarray(_eight_bits(np.asarray(upright)))
    if upright.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    if upright.mode not in ("L", "RGB"):
        upright = upright.convert("RGB")
    return upright.convert(mode)


def _image(pixels: np.ndarray) -> Image.Image:
    """uint8 `(1 or 3, height, width)` → `L` or `RGB`."""
    return Image.fromarray(np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)))


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Deep grey values → uint8, by the range they are in: 0…1 (if real), 0…255, 0…65535 or 0…2³²."""
    deep = np.nan_to_num(values.astype(np.float64))
    highest = deep.max(initial=0.0)
    if values.dtype.kind == "f" and highest <= 2.0:  # resizing overshoots 1 a little
        deep = deep * 255
    elif highest > 65535:
        deep = deep / 2**24
    elif highest > 255 or (values.dtype.kind == "u" and values.dtype.itemsize == 2):
        deep = deep / 257
    return np.clip(np.floor(deep + 0.5), 0, 255).astype(np.uint8)


def _square(picture: Image.Image, size: int) -> np.ndarray:
    """Crops to the centre and resizes: uint8 `(channels, size, size)`."""
    if picture.size != (size, size):
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        # Cropped first: `resize(box=...)` would let what lies outside shine in at the edges.
        picture = picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture)
    return pixels[None].copy() if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
