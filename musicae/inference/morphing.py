"""Morphs between files through latent space: a path, a square between four, and whole songs.

Paths are drawn in the space where the prior is a standard normal. A condition (chords) has no
in-between: each point is told that of the nearer end.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicae.atomic_io import refuse_place
from musicae.domain import Batch
from musicae.errors import MusicaeError, unknown_name
from musicae.inference.coder import Code, Coder
from musicae.inference.latent_paths import METHODS, even_spacing, square
from musicae.inference.result_files import files_into, numbered, stem_of, write_parts, write_square
from musicae.inference.transforming import windows_of_file
from musicae.spec import Layout

# A render of a longer path would be minutes of sound and a picture no one can read.
MAX_STEPS = 1000
_MAX_SQUARE_STEPS = 31
_TURNING_POINTS = 33
SPACINGS = ("even", "uniform")
# Of this many parts of a step are the even ones chosen, as long as no more points than this are decoded.
_FINENESS, _MOST_DECODED = 16, 4000


def morph(coder: Coder, a: Code, b: Code, steps: int, method: str = "slerp", spacing: str = "even") -> Batch:
    """Decodes a path between two codes of one example each; see `TrainedModel.interpolate`.

    Returns:
        `(steps, *spec.shape)`, and what the model was told of each.
    """
    _check(steps, method, MAX_STEPS)
    if spacing not in SPACINGS:
        raise ValueError(unknown_name("spacing", spacing, SPACINGS))
    parts = max(1, min(_FINENESS, _MOST_DECODED // steps)) if spacing == "even" else 1
    points = (steps - 1) * parts + 1
    if torch.equal(a.base, b.base):
        coder.remarks.append("both ends are the same to the model, so every step is the same")
    path = METHODS[method](a.base[0], b.base[0], points)
    condition = None
    if a.condition is not None and b.condition is not None:
        nearer = (torch.arange(points) * 2 >= points).long().to(a.condition.device)
        condition = torch.cat([a.condition, b.condition])[nearer]
    decoded = coder.decode(path, condition)
    kept = even_spacing(changes(decoded, coder.domain.spec.layout), steps) if parts > 1 else slice(None)
    return Batch(decoded[kept], None if condition is None else condition[kept])


def changes(points: Tensor, layout: Layout) -> Tensor:
    """How far each point of a path is from the one before it, `(points, *shape)` → float64 `(points - 1,)`.

    Of symbols it is the share of them that differ, else the root mean square.
    """
    if layout is Layout.STEPS:
        return (points[1:] != points[:-1]).double().flatten(1).mean(1)
    return (points[1:] - points[:-1]).double().flatten(1).square().mean(1).sqrt()


def morph_files(
    coder: Coder,
    a: Any,
    b: Any,
    steps: int,
    method: str,
    spacing: str,
    out: Path | str | None,
    choices: list[dict[str, Any]],
) -> Path:
    """Writes the path between one example of each of two files; see `TrainedModel.interpolate`."""
    _check(steps, method, MAX_STEPS)
    first, last = (coder.select(source, choice) for source, choice in zip((a, b), choices, strict=True))
    coder.remarks.append(f"from {first.label} to {last.label}")
    start, end = (coder.encode(coder.batch(selection)) for selection in (first, last))
    path = morph(coder, start, end, steps, method, spacing).target
    folder = Path(out) if out is not None else Path("output") / f"{stem_of(a)}-to-{stem_of(b)}"
    whole, remarks = write_parts(coder.domain, numbered("step", path[:, None]), folder, "interpolation", first.source)
    coder.remarks.extend(remarks)
    return whole


def turn_files(
    coder: Coder, a: Any, b: Any, method: str, out: Path | str | None, choices: list[dict[str, Any]]
) -> Path:
    """Writes one example that turns from one file's into another's while it lasts; see `TrainedModel.turn`."""
    coder.domain.turned(torch.zeros(2, *coder.domain.spec.shape))  # refused before anything is decoded
    target = Path(out) if out is not None else Path(f"{stem_of(a)}-to-{stem_of(b)}{coder.domain.output_suffix}")
    refuse_place(target)
    for source in (a, b):
        coder.readable_beside(source, target)
    first, last = (coder.select(source, choice) for source, choice in zip((a, b), choices, strict=True))
    coder.remarks.append(f"from {first.label} to {last.label}")
    start, end = (coder.encode(coder.batch(selection)) for selection in (first, last))
    path = morph(coder, start, end, _TURNING_POINTS, method).target
    coder.domain.write(coder.domain.turned(path.cpu()), target, coder.domain.lasting(first.source))
    return target


def morph_square(
    coder: Coder,
    sources: tuple[Any, ...],
    steps: int,
    method: str,
    out: Path | str | None,
    choices: list[dict[str, Any]],
) -> Path:
    """Writes the square between four files; see `TrainedModel.interpolate_corners`."""
    _check(steps, method, _MAX_SQUARE_STEPS)
    selections = [
        coder.select(source, choices[number] if number < len(choices) else {}) for number, source in enumerate(sources)
    ]
    names = ("upper left", "lower left", "upper right", "lower right")
    coder.remarks.extend(f"{name}: {found.label}" for name, found in zip(names, selections, strict=True))
    codes = [coder.encode(coder.batch(selection)) for selection in selections]
    a, b, c, d = (code.base[0] for code in codes)
    cells = square((a, b, c, d), steps, method)  # (steps, steps, *latent_shape)
    conditions = [code.condition for code in codes if code.condition is not None]
    condition = None
    if len(conditions) == len(codes):
        half = (torch.arange(steps) * 2 >= steps).long()
        nearest = (half[:, None] + 2 * half[None, :]).flatten()
        condition = torch.cat(conditions)[nearest.to(conditions[0].device)]
    decoded = coder.decode(cells.flatten(0, 1), condition).unflatten(0, (steps, steps))
    folder = Path(out) if out is not None else Path("output") / "-".join(["square", *map(stem_of, sources)])
    whole, remarks = write_square(coder.domain, decoded, folder, "square", selections[0].source)
    coder.remarks.extend(remarks)
    return whole


def morph_songs(coder: Coder, a: Any, b: Any, steps: int, method: str, out: Path | str | None) -> list[Path]:
    """Writes a path of whole files; see `TrainedModel.interpolate_songs`."""
    _check(steps, method, MAX_STEPS)
    folder = Path(out) if out is not None else Path("output") / f"{stem_of(a)}-to-{stem_of(b)}"
    suffix, digits = coder.domain.output_suffix, max(2, len(str(steps)))
    with files_into(folder) as temporary:
        seen = [windows_of_file(coder, source) for source in (a, b)]
        sizes = [len(windows) for windows in seen]
        windows, shorter_is = max(sizes), "shorter and repeated"
        if sizes[0] == sizes[1]:
            sizes, shorter_is = [_length(coder, source) for source in (a, b)], "shorter"
        longer, shorter = (a, b) if sizes[0] >= sizes[1] else (b, a)
        for source in (a, b):
            coder.remarks.extend(coder.domain.passed_over(coder.readable(source), copied=source is longer))
        starts, ends = (_repeated(coder, part, windows) for part in seen)
        if torch.equal(starts.base, ends.base):
            coder.remarks.append("both files are the same to the model, so every step is the same")
        elif sizes[0] != sizes[1]:
            coder.remarks.append(f"{stem_of(shorter)} is {shorter_is}; tempo and length are those of {stem_of(longer)}")
        pairs = zip(starts.base, ends.base, strict=True)
        paths = torch.stack([METHODS[method](start, end, steps) for start, end in pairs])
        names = [f"step-{number:0{digits}d}{suffix}" for number in range(1, steps + 1)]
        for number, name in enumerate(names):
            condition = (starts if number * 2 < steps else ends).condition
            _write_song(coder, longer, temporary / name, paths[:, number], condition)
    return [folder / name for name in names]


def _length(coder: Coder, source: Any) -> int:
    """How many symbols a file as long as the source holds; 0 for pictures and sound, which have none.

    Windows don't tell, as the last is filled up. So the file is written full of sound, and read again.
    """
    spec = coder.domain.spec
    if spec.layout is not Layout.STEPS:
        return 0
    sound = torch.tensor(spec.vocabulary) - 1  # the last symbol of every stream is heard
    with tempfile.TemporaryDirectory(prefix="musicae-") as folder:
        full = Path(folder) / f"full{coder.domain.output_suffix}"
        coder.domain.map_file(coder.readable(source), full, lambda batch, *_: sound.expand_as(batch))
        try:
            windows = windows_of_file(coder, full)
        except MusicaeError:  # the model's settings name a track by its number, which what is written lacks
            return 0
    return sum(int((window.target == sound).sum()) for window in windows)


def _write_song(coder: Coder, frame: Any, target: Path, base: Tensor, condition: Tensor | None) -> None:
    """Writes a file in the frame of another: its windows are decoded one after the other."""
    done = 0

    def following(batch: Batch) -> Tensor:
        nonlocal done
        part = slice(done, done + len(batch.target))
        done = part.stop
        return coder.decode(base[part], None if condition is None else condition[part])

    coder.map_file(frame, target, following)


def _repeated(coder: Coder, windows: list[Batch], count: int) -> Code:
    """Codes of windows, from the beginning again until there are `count`."""
    told = [window.condition for window in windows if window.condition is not None]
    code = coder.encode(Batch(torch.cat([window.target for window in windows]), torch.cat(told) if told else None))
    order = torch.arange(count, device=code.base.device) % len(windows)
    return Code(code.base[order], None if code.condition is None else code.condition[order])


def _check(steps: int, method: str, most: int) -> None:
    if method not in METHODS:
        raise ValueError(unknown_name("method", method, METHODS))
    if not 2 <= steps <= most:
        raise ValueError(f"steps is between 2 and {most}, got {steps}")
