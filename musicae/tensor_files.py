"""Tensor files: safetensors, read with the care that a file from anywhere needs, and written reproducibly.

A header may claim anything. So its size is compared with the file's before it is parsed, types and shapes are known
before memory is taken for a tensor, tensors are read one at a time, and numbers that are not finite are refused. What
the shapes should be is known to the caller, who compares first and reads then.

Large matrices may be stored in eight bits a weight, or in four to six. Nothing here knows models.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor

from musicae.errors import CheckpointError, MusicaeError, in_short, sentence_of

MOST_HEADER_BYTES = 2**23
"""Largest header that is parsed, 8 MiB: about 80,000 tensors."""
MOST_NUMBERS = 1_000_000_000
"""Most numbers that are read of a file unless more are expected: 4 GB in float32."""
_MOST_AXES = 8
_LONGEST_AXIS = 2**48
_FLOATS = {"F64", "F32", "F16", "BF16"}
_COUNTS = {"I64", "I32", "I16", "I8", "U8", "BOOL"}

_SCALE = ".int8_scale"
"""Suffix: the scales of tensor `NAME` are stored as `NAME.int8_scale`."""
_GROUP_SCALE, _GROUP_SHAPE = ".group_scale", ".group_shape"
"""Suffixes: of a tensor in four to six bits the scale of each group of weights, and its own shape."""
_GROUP = 32
"""Weights that share a scale."""
_WORDS = {4: (1, 2), 5: (5, 8), 6: (3, 4)}
"""Bits of a weight → so many bytes in a row hold so many weights."""
_LEAST_QUANTISED = 4096
"""Tensors of fewer numbers stay float16: they take little space, and biases and norms suffer from rounding."""


class TensorFile:
    """A safetensors file whose header has been checked. Use it in a `with`.

    Args:
        path: the file.

    Attributes:
        shapes: shape of each tensor, by name; scales of int8 tensors are left out.
        metadata: the texts in the header.

    Raises:
        CheckpointError: it is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.is_file():
                raise CheckpointError(f"{path} is missing; the model folder is incomplete.")
            _check_header_size(path)
            self._file: Any = safe_open(path, "pt")
            self.metadata: dict[str, str] = dict(self._file.metadata() or {})
            slices = {name: self._file.get_slice(name) for name in self._file.keys()}  # noqa: SIM118 - it is no mapping
            self._types: dict[str, str] = {name: part.get_dtype() for name, part in slices.items()}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            for name, shape in shapes.items():
                _check_tensor(name, shape, self._types[name])
            self._scaled = {name for name in shapes if name + _SCALE in shapes}
            for name in self._scaled:
                _check_scale(name, shapes, self._types)
            self._grouped = {name for name in shapes if name + _GROUP_SCALE in shapes}
            whole = {name: self._whole_shape(name, shapes) for name in self._grouped}
        except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
            raise self._damaged(error) from error
        besides = {name + _SCALE for name in self._scaled}
        besides |= {name + suffix for name in self._grouped for suffix in (_GROUP_SCALE, _GROUP_SHAPE)}
        self.shapes = {name: whole.get(name, shape) for name, shape in shapes.items() if name not in besides}

    def _whole_shape(self, name: str, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """Shape of a tensor that is stored in groups. Raises `ValueError` where its parts do not fit each other."""
        stored, scale, axes = shapes[name], shapes[name + _GROUP_SCALE], shapes.get(name + _GROUP_SHAPE, ())
        types = [self._types.get(name + suffix) for suffix in ("", _GROUP_SCALE, _GROUP_SHAPE)]
        fits = (
            types[0] == "U8" and types[1] in _FLOATS and types[2] == "I64" and len(axes) == 1 and axes[0] <= _MOST_AXES
        )
        shape = tuple(self._file.get_tensor(name + _GROUP_SHAPE).tolist()) if fits else ()
        row = math.prod(shape[1:])
        groups = -(-row // _GROUP)
        sizes = [(*shape[:1], groups, _GROUP * bits // 8) for bits in _WORDS]
        if len(shape) < 2 or min(shape) < 1 or stored not in sizes or scale != (shape[0], groups):
            raise ValueError(f"the scales of {in_short(name)} do not fit it")
        return shape

    def __enter__(self) -> "TensorFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, traceback)

    def is_float(self, name: str) -> bool:
        """Whether a tensor holds real numbers, in any precision, and no counts."""
        return self._types[name] in _FLOATS or name in self._scaled or name in self._grouped

    def read(self, name: str) -> Tensor:
        """A tensor as it is stored; one in eight bits or fewer as float32.

        Raises:
            CheckpointError: it can't be read, or holds a number that is not finite.
        """
        try:
            value: Tensor = self._file.get_tensor(name)
            if name in self._scaled:
                value = value.float() * _along_first(self._file.get_tensor(name + _SCALE).float(), value)
            elif name in self._grouped:
                value = _unpacked(value, self._file.get_tensor(name + _GROUP_SCALE), self.shapes[name])
        except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
            raise self._damaged(error) from error
        if value.is_floating_point() and not _is_finite(value):
            raise CheckpointError(
                f"{self.path} holds numbers that are not finite, in {in_short(name)}; copy the model anew, or train it "
                "with a lower learning_rate."
            )
        return value

    def parts(self, name: str) -> dict[str, Tensor]:
        """What is stored of a tensor: suffix of its name → the rounded numbers (suffix "") and their scales.

        Raises:
            CheckpointError: it can't be read.
        """
        suffixes = [_SCALE] if name in self._scaled else [_GROUP_SCALE, _GROUP_SHAPE] if name in self._grouped else []
        try:
            return {suffix: self._file.get_tensor(name + suffix) for suffix in ("", *suffixes)}
        except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
            raise self._damaged(error) from error

    def sha256(self, names: Iterable[str]) -> str:
        """SHA-256 of tensors as they are stored, with their names, types, shapes and scales, in the names' order.

        Raises:
            CheckpointError: one can't be read.
        """
        found = hashlib.sha256()
        for name in sorted(names):
            for suffix, value in self.parts(name).items():
                found.update(f"{name}{suffix} {self._types[name + suffix]} {tuple(value.shape)}\n".encode())
                found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
        return found.hexdigest()

    def read_all(self, most_numbers: int = MOST_NUMBERS) -> dict[str, Tensor]:
        """All tensors by name; see `read`.

        Args:
            most_numbers: refuse a file with more.
        """
        numbers = sum(math.prod(shape) for shape in self.shapes.values())
        if numbers > most_numbers:
            raise self._damaged(f"it holds {numbers:,} numbers, more than the {most_numbers:,} expected")
        return {name: self.read(name) for name in self.shapes}

    def _damaged(self, reason: object) -> CheckpointError:
        if isinstance(reason, OSError):
            return CheckpointError(f"{self.path} cannot be read ({sentence_of(reason.strerror or reason)}).")
        return CheckpointError(f"{self.path} is damaged ({sentence_of(reason, 200)}); train or copy the model anew.")


def _check_header_size(path: Path) -> None:
    """Raises `ValueError` where a header is too large, or larger than its file."""
    with path.open("rb") as file:
        start = file.read(8)
    size, left = int.from_bytes(start, "little"), path.stat().st_size - 8
    if len(start) < 8 or size > left:
        raise ValueError("it ends before its header does")
    if size > MOST_HEADER_BYTES:
        raise ValueError(f"its header has {size:,} bytes, more than {MOST_HEADER_BYTES:,}")


def _check_tensor(name: str, shape: tuple[int, ...], stored: str) -> None:
    if stored not in _FLOATS | _COUNTS:
        raise ValueError(f"{in_short(name)} is stored as {stored}")
    if len(shape) > _MOST_AXES or any(size > _LONGEST_AXIS for size in shape):
        raise ValueError(f"{in_short(name)} has the shape {in_short(shape)}")


def _check_scale(name: str, shapes: Mapping[str, tuple[int, ...]], types: Mapping[str, str]) -> None:
    if types[name] != "I8" or types[name + _SCALE] not in _FLOATS or shapes[name + _SCALE] != shapes[name][:1]:
        raise ValueError(f"the scales of {in_short(name)} do not fit it")


def _is_finite(value: Tensor) -> bool:
    """Whether all numbers are finite. The smallest and the largest are NaN where any number is: one pass, no mask."""
    return not value.numel() or all(math.isfinite(float(end)) for end in torch.aminmax(value))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file, with the permissions of other files; the same content gives the same bytes.

    Args:
        path: the file.
        tensors: by name, on any device.
        metadata: texts for the header.

    Raises:
        MusicaeError: it cannot be written, as when no space is left.
    """
    contents = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    path.touch()
    mode = path.stat().st_mode  # by the user's umask; safetensors lets nobody else read its files
    try:
        if metadata:
            path.write_bytes(_with_sorted_header(save(contents, dict(metadata))))
        else:
            save_file(contents, path)
    except (SafetensorError, OSError) as error:
        size_mb = sum(value.numel() * value.element_size() for value in contents.values()) / 1e6
        raise MusicaeError(f"cannot write {path}, of {size_mb:.1f} MB: {error}; free some space.") from error
    path.chmod(mode)


def _with_sorted_header(content: bytes) -> bytes:
    """The file with its header's keys in order; safetensors writes texts in another order in each process."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


def quantise(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Quantises large matrices and kernels to int8, symmetrically, with a float32 scale for each output channel.

    A weight is stored as round(w / s) with s = max |w| / 127 over its channel, the first axis: the error is at most
    s / 2 (Krishnamoorthi, 2018, "Quantizing deep convolutional networks for efficient inference", section 3.1).

    Returns:
        The tensors, int8 where large, and for each of these its scales, named `NAME.int8_scale`.
    """
    stored = {}
    for name, value in tensors.items():
        if not _is_large(value):
            stored[name] = value
            continue
        scale = (value.flatten(1).abs().amax(1) / 127).clamp_min(torch.finfo(torch.float32).tiny)
        stored[name] = (value / _along_first(scale, value)).round().to(torch.int8)
        stored[name + _SCALE] = scale
    return stored


def quantise_in_groups(tensors: Mapping[str, Tensor], bits: int) -> dict[str, Tensor]:
    """Quantises large matrices and kernels to few bits, symmetrically, with a scale for every 32 weights of a row.

    A weight is stored as round(n · w / m), −n to n = 2^(bits − 1) − 1, with m the largest of its group. Small groups
    keep the error small where rows have a few large weights (Dettmers et al., 2023, "QLoRA", section 2).

    Args:
        tensors: by name.
        bits: of a weight, 4 to 6.

    Returns:
        The tensors, uint8 `(rows, groups, 4 · bits)` where large, and for each of these `NAME.group_scale`
        `(rows, groups)`, float16, and `NAME.group_shape`.
    """
    most = 2 ** (bits - 1) - 1
    size, count = _WORDS[bits]
    smallest, largest = torch.finfo(torch.float16).tiny, torch.finfo(torch.float16).max
    stored = {}
    for name, value in tensors.items():
        if not _is_large(value):
            stored[name] = value
            continue
        rows = value.float().flatten(1)
        grouped = torch.nn.functional.pad(rows, (0, -rows.shape[1] % _GROUP)).unflatten(1, (-1, _GROUP))
        scale = (grouped.abs().amax(2) / most).clamp(smallest, largest).half()
        levels = (grouped / scale.float().unsqueeze(2)).round().clamp(-most, most).long() + most
        words = (levels.unflatten(2, (-1, count)) << (bits * torch.arange(count))).sum(3)  # (rows, groups, words)
        stored[name] = ((words.unsqueeze(3) >> (8 * torch.arange(size))) & 255).flatten(2).to(torch.uint8)
        stored[name + _GROUP_SCALE] = scale
        stored[name + _GROUP_SHAPE] = torch.tensor(value.shape)
    return stored


def _unpacked(stored: Tensor, scale: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The inverse of `quantise_in_groups` for one tensor, float32."""
    bits = 8 * stored.shape[2] // _GROUP
    size, count = _WORDS[bits]
    words = torch.zeros(*stored.shape[:2], _GROUP // count, dtype=torch.int64 if size > 3 else torch.int32)
    for place in range(size):
        words += stored[..., place::size].to(words.dtype) << (8 * place)
    levels = torch.stack([(words >> (bits * place)) & (2**bits - 1) for place in range(count)], 3).flatten(2)
    levels = levels.float() - (2 ** (bits - 1) - 1)  # (rows, groups, 32)
    rows = (levels * scale.float().unsqueeze(2)).flatten(1)
    return rows[:, : math.prod(shape[1:])].reshape(shape)


def _is_large(value: Tensor) -> bool:
    return value.is_floating_point() and value.dim() >= 2 and value.numel() >= _LEAST_QUANTISED


def halved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Float tensors as float16, but for the scales of `quantise`."""
    return {
        name: value.half() if value.is_floating_point() and not name.endswith(_SCALE) else value
        for name, value in tensors.items()
    }


def _along_first(scale: Tensor, like: Tensor) -> Tensor:
    return scale.view(-1, *(1 for _ in like.shape[1:]))
