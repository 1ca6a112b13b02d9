"""Interpolation in latent space: a path between two media objects, a square between four, whole pieces, a morph.

Paths are drawn in the space where the prior is a standard normal. Conditions (chords) are not interpolated: each point
has that of the nearer end.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from musicae.capabilities import HasTempo, MorphsOverTime
from musicae.domain import Batch, Window
from musicae.errors import MusicaeError, unknown_name
from musicae.inference.latent_paths import METHODS, even_spacing, square_of_codes
from musicae.inference.results import Morph, name_of, repeated_rows, square
from musicae.pipeline import Choice, Code, Pipeline
from musicae.precision import in_double
from musicae.spec import Layout, TensorSpec

# A longer path would give hours of sound and a picture too large to read.
MAX_STEPS = 1000
_MAX_SQUARE_STEPS = 31
_MORPH_POINTS = 33
SPACINGS = ("even", "uniform")
TEMPI = ("a", "b", "between")
"""Whose tempo a path of music has."""
# Even points are chosen from a path with this many parts for each step, if that is not more than this many points.
_FINENESS, _MOST_DECODED = 16, 4000


class LatentPath(NamedTuple):
    """A path between two codes, decoded.

    Attributes:
        target: `(steps, *spec.shape)`.
        condition: of each step, `(steps, length)`; None where the model takes none.
        positions: how far along the path each step lies, 0 to 1.
    """

    target: Tensor
    condition: Tensor | None
    positions: tuple[float, ...]


class _Ends(NamedTuple):
    """One example of each of two sources.

    Attributes:
        codes: of one example each.
        originals: as the model is shown them, `(1, *spec.shape)` each.
        frames: of `Selection`s; None where batches were given.
        remarks: which parts they are.
    """

    codes: tuple[Code, Code]
    originals: tuple[Tensor, Tensor]
    frames: tuple[Any, Any] = (None, None)
    remarks: Sequence[str] = ()


def latent_path(
    pipeline: Pipeline, a: Code, b: Code, steps: int, method: str = "slerp", spacing: str = "even"
) -> LatentPath:
    """Decodes a path between two codes of one example each; see `TrainedModel.interpolate`."""
    _check(steps, method, MAX_STEPS)
    if spacing not in SPACINGS:
        raise ValueError(unknown_name("spacing", spacing, SPACINGS))
    parts = max(1, min(_FINENESS, _MOST_DECODED // steps)) if spacing == "even" else 1
    points = (steps - 1) * parts + 1
    path = METHODS[method](a.base[0], b.base[0], points)
    condition = None
    if a.condition is not None and b.condition is not None:
        nearer = (torch.arange(points) * 2 >= points).long().to(a.condition.device)
        condition = torch.cat([a.condition, b.condition])[nearer]
    decoded = pipeline.decode(path, condition)
    kept = torch.arange(points)
    if parts > 1:
        kept = even_spacing(changes(decoded, pipeline.domain.spec.layout), steps).cpu()
    positions = tuple((kept / (points - 1)).tolist())
    return LatentPath(decoded[kept], None if condition is None else condition[kept], positions)


def changes(points: Tensor, layout: Layout) -> Tensor:
    """The change from each point of a path to the next, `(points, *shape)` → float64 `(points - 1,)`.

    For symbols it is the share that differs, else the root mean square of the difference.
    """
    if layout is Layout.STEPS:
        return in_double(points[1:] != points[:-1]).flatten(1).mean(1)
    return in_double(points[1:] - points[:-1]).flatten(1).square().mean(1).sqrt()


def interpolate(
    pipeline: Pipeline, a: Any, b: Any, steps: int, method: str, spacing: str, tempo: str | None,
    choices: Sequence[Choice],
) -> Morph:  # fmt: skip
    """The path between one example of each of two media objects, or of batches of one."""
    _check(steps, method, MAX_STEPS)
    timed = _with_tempo(pipeline, tempo)
    if isinstance(a, Tensor) != isinstance(b, Tensor):
        raise ValueError("interpolate takes two media objects or two batches, got one of each")
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if len(a) != 1 or len(b) != 1:
            raise ValueError(f"interpolate takes batches of one, got {len(a)} and {len(b)} examples")
        if timed is not None:
            raise ValueError("batches have no tempo; leave it out")
        batches = (pipeline.batch_of(a), pipeline.batch_of(b))
        ends = _Ends(_encoded(pipeline, batches), (batches[0].target, batches[1].target))
    else:
        ends = _ends(pipeline, a, b, choices)
    frame = ends.frames[0]
    frames = [frame] * steps
    if timed is not None and tempo is not None:
        tempi = _tempi(timed, *ends.frames, steps, tempo)
        frames = [timed.frame_at_tempi(frame, [bpm]) for bpm in tempi]
        frame = timed.frame_at_tempi(frame, tempi)
    path = latent_path(pipeline, *ends.codes, steps, method, spacing)
    originals = ends.originals if pipeline.domain.names_columns else None
    return Morph(
        pipeline.domain, name="interpolation", part="step", tensor=path.target[:, None], frame=frame, frames=frames,
        positions=path.positions, originals=originals, remarks=[*ends.remarks, *_same(*ends.codes)],
    )  # fmt: skip


def morph(pipeline: Pipeline, a: Any, b: Any, method: str, choices: Sequence[Choice]) -> Any:
    """One example that changes from one media object's into another's while it lasts."""
    domain = pipeline.domain
    if not isinstance(domain, MorphsOverTime):
        raise MusicaeError("only sounds morph into each other while they last; leave --morph out.")
    ends = _ends(pipeline, a, b, choices)
    path = latent_path(pipeline, *ends.codes, _MORPH_POINTS, method).target
    return domain.morph_over_time(path.cpu(), ends.frames[0]).with_remarks(*ends.remarks, *_same(*ends.codes))


def interpolate_corners(
    pipeline: Pipeline, sources: tuple[Any, ...], steps: int, method: str, choices: Sequence[Choice]
) -> Morph:
    """The square between four media objects."""
    _check(steps, method, _MAX_SQUARE_STEPS)
    selections = [
        pipeline.select(source, choices[number] if number < len(choices) else {})
        for number, source in enumerate(sources)
    ]
    names = ("upper left", "lower left", "upper right", "lower right")
    remarks = [f"{name}: {found.label}" for name, found in zip(names, selections, strict=True)]
    codes = [pipeline.encode(pipeline.batch(selection)) for selection in selections]
    a, b, c, d = (code.base[0] for code in codes)
    cells = square_of_codes((a, b, c, d), steps, method)  # (steps, steps, *latent_shape)
    conditions = [code.condition for code in codes if code.condition is not None]
    condition = None
    if len(conditions) == len(codes):
        half = (torch.arange(steps) * 2 >= steps).long()
        nearest = (half[:, None] + 2 * half[None, :]).flatten()
        condition = torch.cat(conditions)[nearest.to(conditions[0].device)]
    decoded = pipeline.decode(cells.flatten(0, 1), condition).unflatten(0, (steps, steps))
    return square(pipeline.domain, decoded, "square", selections[0].frame, remarks)


def interpolate_songs(pipeline: Pipeline, a: Any, b: Any, steps: int, method: str, tempo: str | None = None) -> Morph:
    """A path of whole media objects: first windows are joined by a path, second windows, and so on.

    The frame, such as length and time signature, is that of the longer one; the shorter one is repeated.
    """
    _check(steps, method, MAX_STEPS)
    timed = _with_tempo(pipeline, tempo)
    domain, items = pipeline.domain, [pipeline.open(source) for source in (a, b)]
    seen = [list(domain.windows(item)) for item in items]
    sizes = [sum(len(window.batch.target) for window in windows) for windows in seen]
    longest = max(sizes)
    remarks = [remark for item in items for remark in item.remarks]
    starts, ends = (_repeated(pipeline, windows, longest) for windows in seen)
    order = 0 if (sizes[0], _length(items[0])) >= (sizes[1], _length(items[1])) else 1
    longer, shorter = items[order], items[1 - order]
    if torch.equal(starts.base, ends.base):
        remarks.append("both are the same to the model, so every step is the same")
    elif sizes[0] != sizes[1] or _length(items[0]) != _length(items[1]):
        repeated = " and repeated" if sizes[0] != sizes[1] else ""
        both = "length is that" if tempo else "tempo and length are those"
        remarks.append(f"{name_of(shorter)} is shorter{repeated}; {both} of {name_of(longer)}")
    remarks += [left_out for left_out in (domain.unread(shorter),) if left_out]
    paths = torch.stack([METHODS[method](start, end, steps) for start, end in zip(starts.base, ends.base, strict=True)])
    tempi = [] if timed is None or tempo is None else _tempi(timed, items[0], items[1], steps, tempo)
    songs = []
    for number in range(steps):
        nearer = (starts if (number + 1) * 2 < steps else ends).condition
        condition = _in_runs_of(domain.spec, (starts, ends)[order].condition, nearer)
        decoded = _decoded_by_window(pipeline, seen[order], paths[:, number], condition)
        # A list: what is lazy reads its answers anew each time.
        song = domain.assemble(longer, list(zip(seen[order], decoded, strict=True)))
        songs.append(song if timed is None else timed.at_tempo(song, tempi[number]))
    return Morph(domain, name="interpolation", part="step", items=songs, remarks=remarks)


def _tempi(domain: HasTempo, first: Any, last: Any, steps: int, tempo: str) -> list[float]:
    """Quarters per minute of each step; on the way between two tempi equal ratios follow each other."""
    a, b = domain.tempo_bpm(first), domain.tempo_bpm(last)
    shares = {"a": [0.0] * steps, "b": [1.0] * steps, "between": [number / (steps - 1) for number in range(steps)]}
    return [a * (b / a) ** share for share in shares[tempo]]


def _in_runs_of(spec: TensorSpec, frame: Tensor | None, nearer: Tensor | None) -> Tensor | None:
    """A condition whose runs (time signatures) are those of the frame, and the rest that of the nearer end."""
    if frame is None or nearer is None or spec.condition is None or not spec.segment_steps:
        return nearer
    size = spec.condition[1] // len(spec.segment_steps)
    return frame // size * size + nearer % size


def _decoded_by_window(
    pipeline: Pipeline, windows: Sequence[Window], base: Tensor, condition: Tensor | None
) -> list[Tensor]:
    """Codes decoded and cut as the windows are, on the CPU."""
    decoded = pipeline.decode(base, condition).cpu()
    return list(decoded.split([len(window.batch.target) for window in windows]))


def _ends(pipeline: Pipeline, a: Any, b: Any, choices: Sequence[Choice]) -> _Ends:
    """One example of each of two media objects, and a remark on which parts they are."""
    items = [pipeline.open(source) for source in (a, b)]
    first, last = (pipeline.select(item, choice) for item, choice in zip(items, choices, strict=True))
    batches = (pipeline.batch(first), pipeline.batch(last))
    remarks = [remark for item in items for remark in item.remarks]
    return _Ends(
        _encoded(pipeline, batches),
        (batches[0].target, batches[1].target),
        (first.frame, last.frame),
        [*dict.fromkeys(remarks), f"from {first.label} to {last.label}"],
    )


def _encoded(pipeline: Pipeline, batches: tuple[Batch, Batch]) -> tuple[Code, Code]:
    return pipeline.encode(batches[0]), pipeline.encode(batches[1])


def _same(start: Code, end: Code) -> list[str]:
    if torch.equal(start.base, end.base):
        return ["both ends are the same to the model, so every step is the same"]
    return []


def _length(item: Any) -> float:
    """Length of a media object in bars or seconds; windows don't tell it, since the last one is padded."""
    return float(getattr(item, "bars", 0) or getattr(item, "duration_s", 0))


def _repeated(pipeline: Pipeline, windows: Sequence[Window], count: int) -> Code:
    """Codes of windows, repeated from the beginning until there are `count`."""
    conditions = [window.batch.condition for window in windows if window.batch.condition is not None]
    target = torch.cat([window.batch.target for window in windows])
    code = pipeline.encode(Batch(target, torch.cat(conditions) if conditions else None))
    condition = None if code.condition is None else repeated_rows(code.condition, count)
    return Code(repeated_rows(code.base, count), condition)


def _with_tempo(pipeline: Pipeline, tempo: str | None) -> HasTempo | None:
    """The domain, where a tempo is asked for; else None."""
    if tempo is None:
        return None
    if tempo not in TEMPI:
        raise ValueError(unknown_name("tempo", tempo, TEMPI))
    if not isinstance(pipeline.domain, HasTempo):
        raise MusicaeError(f"{pipeline.domain.name} has no tempo; leave it out.")
    return pipeline.domain


def _check(steps: int, method: str, most: int) -> None:
    if method not in METHODS:
        raise ValueError(unknown_name("method", method, METHODS))
    if not 2 <= steps <= most:
        raise ValueError(f"steps is between 2 and {most}, got {steps}")
