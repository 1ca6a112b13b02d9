"""`Picture`: a picture as a person has it, with everything of the original.

Pillow decodes. A picture is rotated upright as its EXIF data say; its mode, depth, transparency and colour profile are
kept. An unchanged picture saved in its own format gives the same bytes. Nothing here knows tensors or models.
"""

import base64
import html
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from PIL import Image

from musicae.atomic_io import atomic_write
from musicae.errors import DamagedFileError, MusicaeError
from musicae.image.pixels import (
    ALPHA_MODES,
    GREY_MODES,
    PictureTooLargeError,
    check_size,
    checked_pixels,
    eight_bits,
    image_of,
    opened,
    plain,
    plain_array,
    plain_square,
    square_of,
    upright,
)
from musicae.image.sets import MAX_SIDE, picture_set, set_labels

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_SAVED_AS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}
_LARGEST_SIDE = {"WEBP": 16_383}
_SAVED_MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "BMP": ("1", "L", "P", "RGB"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
}
_PROFILE_SPACE = {b"GRAY": ("1", "L", "LA", "I;16"), b"RGB ": ("P", "RGB", "RGBA"), b"CMYK": ("CMYK",)}
_LARGEST_FILE_BYTES = 2**30  # the largest picture that is decoded, stored as it is
_SHOWN_SIDE, _SMALL_SIDE = 1024, 96


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """One picture, upright. Made by `open`; immutable.

    Attributes:
        name: what files made from it are named after: its file's name without the ending.
        format: Pillow's name of the format it was read from, such as "JPEG"; None where it comes from no file.
        label: its class: the name of its file's folder, or its label in a set; None where there is none.
        set_path: the file of a set that it comes from.
        index: its number in the set, from 0; None if none was chosen, and it is the first.
        remarks: what is worth knowing of it, for people.
    """

    _image: Image.Image
    name: str = "picture"
    format: str | None = None
    label: str | None = None
    set_path: Path | None = None
    index: int | None = None
    remarks: tuple[str, ...] = ()
    _content: bytes | None = None  # the file as it was read

    suffix: ClassVar[str] = ".png"
    """Ending of the file that holds it as it is."""

    def __post_init__(self) -> None:
        if not isinstance(self._image, Image.Image):
            raise ValueError(f"expected a PIL image, got {type(self._image).__name__}; Picture.open takes the rest")

    @classmethod
    def open(cls, source: Any, *, index: int | None = None) -> Self:
        """Opens a picture; of an animation or a document, the first page.

        Args:
            source: a path (a picture, or a set in the format of IDX or CIFAR), a file's bytes, a file object, a PIL
                image, or an array: `(height, width)`, `(height, width, 1, 3 or 4)` or `(1 or 3, height, width)`, of
                uint8, bool, uint16 (grey) or floats in 0…1.
            index: number of a picture in a set's file, from 0.

        Raises:
            MusicaeError: no such file, no such picture in a set, or an index where there is one picture.
            DamagedFileError: not a picture, or truncated.
            PictureTooLargeError: more than 30,000 pixels a side or 120 million in all.
            ValueError: an object of another type, or an array of another shape or dtype, with NaN or values beyond 0…1.
        """
        if isinstance(source, (str, Path)) and picture_set(Path(source)) is not None:
            return cls._from_set(Path(source), index)
        if index:
            raise MusicaeError(f"{_called(source)} holds one picture; it has no number {index}.")
        if isinstance(source, cls):
            return source
        if isinstance(source, np.ndarray):
            return cls._from_array(source)
        if isinstance(source, Image.Image):
            check_size(*source.size, "the image")
            try:
                source.load()
            except Exception as error:  # Pillow's decoders raise many types
                raise DamagedFileError(f"the image can't be decoded ({error}).") from error
            # A copy: the caller's image can change.
            return cls(upright(source.copy()), name=_stem(getattr(source, "filename", "")), format=source.format)
        if isinstance(source, (str, Path)):
            path = Path(source)
            return cls._decoded(_content_of(path), str(path), name=path.stem, label=path.absolute().parent.name)
        if isinstance(source, (bytes, bytearray, memoryview)):
            return cls._decoded(bytes(source), "the data")
        if hasattr(source, "read"):
            content = source.read()
            if not isinstance(content, bytes):
                raise ValueError("expected a file object opened in binary mode, got one that reads text")
            name = getattr(source, "name", None)
            return cls._decoded(content, str(name or "the data"), name=_stem(name))
        raise ValueError(f"expected a path, bytes, a file object, a PIL image or an array, got {type(source).__name__}")

    @classmethod
    def _from_set(cls, path: Path, index: int | None) -> Self:
        known = picture_set(path)
        assert known is not None
        pictures = known.read(path)
        number = index or 0
        if not 0 <= number < len(pictures):
            raise MusicaeError(f"{path} holds pictures 0 to {len(pictures) - 1}; it has no number {number}.")
        labels = set_labels(path, required=False)
        return cls(
            image_of(pictures[number]),
            name=f"{path.name.split('.')[0]}-{number}",
            label=labels[number] if labels else None,
            set_path=path,
            index=index,
        )

    @classmethod
    def _from_array(cls, array: np.ndarray) -> Self:
        pixels = checked_pixels(array[None])[0]
        check_size(pixels.shape[1], pixels.shape[0], "the array")
        return cls(Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)))

    @classmethod
    def _decoded(cls, content: bytes, called: str, *, name: str = "picture", label: str | None = None) -> Self:
        pages = False
        with opened(content, called) as image:
            with suppress(Exception):  # a damaged second page can raise many types; only the first is read
                pages = getattr(image, "is_animated", False)
            deep = any(
                len(tile) > 3 and "16" in str(tile[3]) and image.mode == "RGB" for tile in getattr(image, "tile", ())
            )
            file_format = image.format
            turned = upright(image)
        remarks = []
        if pages:
            remarks.append(f"{called} has several pages; the first is read")
        if deep:
            remarks.append(f"{called} has 16 bits a colour, of which 8 are read")
        return cls(turned, name=name, format=file_format, label=label, remarks=tuple(remarks), _content=content)

    @property
    def mode(self) -> str:
        """Pillow's name of its pixel format: "L", "RGB", "RGBA", "P", "CMYK", "I;16" and so on."""
        return self._image.mode

    @property
    def depth(self) -> int:
        """Bits a value: 1, 8, 16 or 32."""
        return {"1": 1, "I": 32, "F": 32}.get(self.mode, 16 if self.mode.startswith("I;16") else 8)

    @property
    def width(self) -> int:
        """Width in pixels, when upright."""
        return self._image.width

    @property
    def height(self) -> int:
        """Height in pixels, when upright."""
        return self._image.height

    @property
    def is_grey(self) -> bool:
        """Whether its mode has no colours."""
        return self.mode in GREY_MODES

    @property
    def has_transparency(self) -> bool:
        """Whether it has an alpha channel, or a colour that is transparent."""
        return self.mode in ALPHA_MODES or "transparency" in self._image.info

    @property
    def colour_profile(self) -> bytes | None:
        """The ICC profile that it came with. It is kept and not applied."""
        return self._image.info.get("icc_profile")

    @cached_property
    def array(self) -> np.ndarray:
        """uint8 `(height, width)` of a grey picture, `(height, width, 3)` of one in colour; transparency on white."""
        pixels = plain_array(self._image, "L" if self.is_grey else "RGB")
        pixels.flags.writeable = False
        return pixels

    def planes(self) -> np.ndarray:
        """`(1 or 3, height, width)`, as `array`; uint16 where grey has 16 bits, else uint8."""
        if self.mode.startswith("I;16") and not self.has_transparency:
            return np.asarray(self._image).astype(np.uint16)[None]
        return self.array[None] if self.array.ndim == 2 else self.array.transpose(2, 0, 1)

    def square(self, *, size: int, channels: int) -> np.ndarray:
        """Crops to the centre and resizes (Lanczos). Cropping keeps proportions, at the price of the long side's ends.

        Args:
            size: side, in pixels.
            channels: 1 for grey, 3 for red, green and blue.

        Returns:
            uint8 `(channels, size, size)`.
        """
        if self._content is not None and self.format == "JPEG":
            return square_of(self._content, self.name, size=size, channels=channels)
        return plain_square(self._image, size=size, channels=channels)

    def to_pil(self) -> Image.Image:
        """A copy as a PIL image, upright, in its own mode, with its colour profile and EXIF in `info`."""
        return self._image.copy()

    def with_remarks(self, *remarks: str) -> Self:
        """The same with more remarks."""
        return replace(self, remarks=self.remarks + remarks)

    def with_planes(self, planes: np.ndarray, *, is_whole: bool = True) -> Self:
        """A picture of other pixels in the frame of this one: its name, colour profile and transparency.

        If this one is transparent, the colours are chosen so that on white the new picture looks like the given pixels.

        Args:
            planes: uint8 or uint16 `(1 or 3, height, width)` of any size.
            is_whole: whether they show the whole picture; if it is only the square centre, transparency becomes white.
        """
        image = image_of(planes)
        remarks = []
        if self.has_transparency and is_whole:
            image = _with_alpha(image, self._image)
        elif self.has_transparency:
            remarks.append("what was transparent is white")
        if (profile := self.colour_profile) is not None:
            if image.mode in _PROFILE_SPACE.get(profile[16:20], ()):
                image.info["icc_profile"] = profile
            else:
                remarks.append("the colour profile of the original is of another colour space and was left out")
        if self.depth > 8 and planes.dtype == np.uint8:
            remarks.append(f"{self.depth} bits a value became 8")
        image.info.update({key: self._image.info[key] for key in ("dpi", "exif") if key in self._image.info})
        remarks = [*self.remarks, *remarks]
        return replace(self, _image=image, _content=None, set_path=None, index=None, remarks=tuple(remarks))

    def save(self, path: Path | str) -> Path:
        """Writes a file, atomically. An unchanged picture in its own format is written as the bytes that were opened.

        Args:
            path: its ending chooses the format. What the format can't hold is converted: transparency becomes white in
                JPEG and BMP, 16 bits become 8 except in PNG and TIFF.

        Raises:
            MusicaeError: an ending that isn't written, a side longer than the format can have, or no place to write.
        """
        path = Path(path)
        file_format = {**_SAVED_AS, ".gif": "GIF"}.get(path.suffix.lower())
        if self._content is not None and file_format == self.format:
            content = self._content
        else:
            file_format = saved_format(path)
            if max(self.width, self.height) > (side := _LARGEST_SIDE.get(file_format, MAX_SIDE)):
                raise MusicaeError(f"{path.name} can have at most {side} pixels a side; choose another format.")
            content = _encoded(self._image, file_format)
        with atomic_write(path) as partial:
            partial.write_bytes(content)
        return path

    def plot(self) -> Image.Image:
        """As a PIL image to look at, grey or RGB: transparency on white, small ones enlarged in whole pixels."""
        image = Image.fromarray(self.array)
        times = max(1, 256 // max(image.size)) if max(image.size) <= _SMALL_SIDE else 1
        return image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)

    def _repr_png_(self) -> bytes:
        image = self.plot()
        image.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
        content = BytesIO()
        image.save(content, "PNG")
        return content.getvalue()

    def _repr_html_(self) -> str:
        encoded = base64.b64encode(self._repr_png_()).decode()
        lines = [f"{self.name}: {self.width}×{self.height}, {self.mode}", *self.remarks]
        caption = "".join(f"<div><small>{html.escape(line)}</small></div>" for line in lines)
        return (
            f'<img alt="{html.escape(self.name, quote=True)}" src="data:image/png;base64,{encoded}" '
            f'style="max-width: 100%">{caption}'
        )

    def __repr__(self) -> str:
        return f"<Picture {self.name!r}, {self.width}×{self.height}, {self.mode}>"


def saved_format(path: Path) -> str:
    """Pillow's name of the format a path asks for. Raises `MusicaeError` for one that isn't written."""
    if path.suffix.lower() not in _SAVED_AS:
        raise MusicaeError(f"can't write a picture as {path.name!r}; choose one of {', '.join(_SAVED_AS)}.")
    return _SAVED_AS[path.suffix.lower()]


def _called(source: Any) -> str:
    return str(source) if isinstance(source, (str, Path)) else "the picture"


def _stem(name: Any) -> str:
    return Path(name).stem if isinstance(name, str) and name else "picture"


def _content_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # Python takes the memory for as much as is asked for, before it reads.
            content = file.read(min(os.fstat(file.fileno()).st_size, _LARGEST_FILE_BYTES) + 1)
        if len(content) > _LARGEST_FILE_BYTES:
            raise PictureTooLargeError(f"{path} has over {_LARGEST_FILE_BYTES // 2**20} MB; scale it down first.")
        return content
    except FileNotFoundError:
        raise MusicaeError(f"no such file: {path}") from None
    except OSError as error:
        raise DamagedFileError(f"{path} can't be read ({error.strerror or error}).") from error


def _with_alpha(image: Image.Image, original: Image.Image) -> Image.Image:
    """Gives an image the transparency of an original, so that on white it looks as it does now."""
    alpha = original.convert("RGBA").getchannel("A").resize(image.size, Image.Resampling.BICUBIC)
    share = np.asarray(alpha, np.float32)[..., None] / 255
    seen = np.asarray(image if image.mode in ("L", "RGB") else Image.fromarray(eight_bits(np.asarray(image))))
    seen = seen[..., None] if seen.ndim == 2 else seen
    # seen = share · colour + (1 - share) · white
    colours = np.clip(np.round((seen - 255 * (1 - share)) / np.maximum(share, 1 / 255)), 0, 255).astype(np.uint8)
    pixels = np.concatenate([np.where(share == 0, np.uint8(255), colours), np.asarray(alpha)[..., None]], axis=-1)
    return Image.fromarray(pixels)


def _encoded(image: Image.Image, file_format: str) -> bytes:
    """A file's content; what the format can't hold is converted."""
    options = dict(_OPTIONS.get(file_format, {}))
    profile = image.info.get("icc_profile")
    exif = image.info.get("exif")
    allowed = _SAVED_MODES[file_format]
    if ("transparency" in image.info and image.mode != "P") or (image.mode == "PA"):
        image = image.convert("RGBA")
    if image.mode.startswith("I;16") and image.mode != "I;16" and "I;16" in allowed:
        image = Image.fromarray(np.asarray(image).astype(np.uint16))
    if image.mode not in allowed or ("transparency" in image.info and file_format != "PNG"):
        transparent = image.mode in ALPHA_MODES or "transparency" in image.info
        if transparent and "RGBA" in allowed:
            image = image.convert("RGBA")
        else:
            image = plain(image, "L" if image.mode in GREY_MODES and "L" in allowed else "RGB")
    if profile is not None and image.mode in _PROFILE_SPACE.get(profile[16:20], ()):
        options["icc_profile"] = profile
    if exif is not None and file_format != "BMP":
        options["exif"] = exif
    if "dpi" in image.info:
        options["dpi"] = image.info["dpi"]
    content = BytesIO()
    image.save(content, format=file_format, **options)
    return content.getvalue()
