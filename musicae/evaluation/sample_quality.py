"""Quality of samples and paths: draws from the prior, and interpolations between held-out examples.

A score of generated music means nothing alone, so each is given with the score of real music. Draws are compared with
held-out examples; the same comparison for as many training examples is the floor that no model can get below. Paths
through latent space are compared with a crossfade between the same ends, in which more and more steps come from the
other end (Roberts et al., 2018, section 5.2). The domain says what is counted, see `HasStatistics`.
"""

import math

import numpy as np
import torch
from torch import Tensor

from musicae.capabilities import CutsBars, HasStatistics, Statistics
from musicae.data.dataset import DataSet, unseen
from musicae.domain import Batch, Domain
from musicae.errors import MusicaeError
from musicae.evaluation.bounds import negative_log_likelihood
from musicae.inference.interpolate import changes, latent_path
from musicae.inference.results import repeated_rows
from musicae.music.statistics import divergence_bits
from musicae.pipeline import Code, Pipeline
from musicae.spec import Layout
from musicae.trained import TrainedModel

_POINTS = 13  # of a path, ends included; the default of `interpolate`
_WINDOWS_PER_PART = 65_536


@torch.no_grad()
def sample_quality(
    trained: TrainedModel, dataset: DataSet, count: int, *, split: str = "test", temperature: float = 1.0, seed: int = 0
) -> dict[str, float]:
    """Compares samples, at the spread that the model advises, with held-out examples, augmented as in training.

    Args:
        trained: a model with a prior.
        dataset: read by its domain.
        count: how many samples to draw, and how many held-out and training examples to compare them with.
        split: the held-out split; examples whose content is also in training are left out.
        temperature: for drawing symbols.
        seed: seed of all draws.

    Returns:
        For each of the domain's histograms `sample_…_js_bits`, the distance to held-out music, and
        `training_…_js_bits`, its floor; for each share `sample_…` and `held_out_…`. For symbols also `…_copied`, the
        share whose content is in training (up to augmentation; for held-out music, before those are left out),
        `…_copied_bars`, the same for single bars, and `…_distinct`, the share of different examples.

    Raises:
        MusicaeError: the model has no prior or restores, or there is no held-out example.
    """
    pipeline = trained.pipeline
    pipeline.refuse_restorer("sample")
    domain, generator, random = trained.domain, pipeline.generator(seed), np.random.default_rng(seed)
    kept = unseen(domain, dataset, split)
    if not len(kept):
        raise MusicaeError(f"the {split} split has no example that does not also stand in training; give more data.")
    chosen = _some_of(kept, count, random)
    held_out = _augmented(pipeline, dataset, chosen, generator)
    condition = held_out.condition
    if condition is not None:  # each draw gets the condition of some held-out example
        condition = repeated_rows(condition, count)
    base = pipeline.draws(count, generator) * trained.network.config.sample_spread
    z = pipeline.drawn(base, condition, pipeline.labels(count, generator))
    samples = pipeline.decode_codes(z, condition, temperature=temperature, generator=generator)
    compared, train = {"sample": samples, "held_out": held_out.target}, dataset.splits["train"]
    if len(train):
        compared["training"] = _augmented(pipeline, dataset, _some_of(train, count, random), generator).target
    result = {"samples": float(count)}
    result |= _compared({name: _statistics(domain, batch) for name, batch in compared.items()})
    if domain.spec.layout is Layout.STEPS and len(train):
        result |= _copied(domain, dataset, samples, dataset.examples[chosen])
        result["held_out_copied"] = 1 - len(kept) / len(dataset.splits[split])
    return result


@torch.no_grad()
def path_quality(
    trained: TrainedModel, dataset: DataSet, count: int, *, split: str = "test", draws: int = 0, seed: int = 0
) -> dict[str, float]:
    """Compares paths through latent space between pairs of held-out examples with crossfades of the same ends.

    Both ends of a pair have the same shape: in music one time signature, since half way from one to another all changes
    at once. All paths have 13 points. `path` is a great circle where the prior is a standard normal, with evenly
    spaced changes, as `TrainedModel.interpolate` gives it; `uniform` is the same circle in equal parts. `crossfade` is
    between the decoded ends of the path: each step of symbols changes to the other end once, at a random point, so
    that at share t of the way it is the other end's with probability t; pictures and sounds are blended.

    Args:
        trained, dataset, split, seed: as in `sample_quality`.
        count: number of pairs.
        draws: of the importance-weighted bound; 0 for the negative ELBO.

    Returns:
        For each of `path`, `uniform` and `crossfade`: `…_change`, the mean distance of neighbouring points (symbols:
        share of different tokens; else the root mean square); `…_jump`, the largest distance over the mean one, 1 if
        all are equal, averaged over the pairs whose ends differ; `…_midpoint_…`, the domain's shares half way, to
        compare with `ends_…`; and `…_nll_nats`, the bound on -log p of a point between the ends, to compare with
        `ends_nll_nats`.

    Raises:
        MusicaeError: the model restores, or there are no two examples of one shape.
    """
    pipeline = trained.pipeline
    pipeline.refuse_restorer("interpolate")
    kept = unseen(trained.domain, dataset, split)
    if len(kept) < 2:
        raise MusicaeError(f"a path needs two examples that do not stand in training, and {split} has {len(kept)}.")
    generator, random = pipeline.generator(seed), np.random.default_rng(seed)
    pairs = _pairs(pipeline, dataset, kept, count, random)
    stored = torch.from_numpy(np.array(dataset.examples[pairs.ravel()]))
    codes = pipeline.encode(trained.domain.tensor(stored.to(pipeline.device)))
    ends = [
        Code(codes.base[row : row + 1], None if codes.condition is None else codes.condition[row : row + 1])
        for row in range(2 * count)
    ]
    values = {"pairs": np.array([float(count)])}
    for name in ("uniform", "path"):
        spacing = "even" if name == "path" else name
        paths = [
            latent_path(pipeline, ends[row], ends[row + 1], _POINTS, spacing=spacing) for row in range(0, 2 * count, 2)
        ]
        points = torch.stack([path.target for path in paths])
        conditions_of_paths = [path.condition for path in paths if path.condition is not None]
        condition = torch.cat(conditions_of_paths) if conditions_of_paths else None
        values |= _point_scores(trained, name, points, condition, draws, generator)
    faded = _crossfade(points[:, 0], points[:, -1], trained.domain.spec.layout, generator)
    values |= _point_scores(trained, "crossfade", faded, condition, draws, generator)
    return {name: float(np.nanmean(scores)) for name, scores in values.items() if not np.isnan(scores).all()}


def _pairs(
    pipeline: Pipeline, dataset: DataSet, kept: np.ndarray, count: int, random: np.random.Generator
) -> np.ndarray:
    """Indices `(count, 2)` of different examples whose own conditions (time signatures) are equal."""
    domain, conditions = pipeline.domain, []
    for rows in np.array_split(kept, -(-len(kept) // domain.spec.evaluation_batch)):
        batch = domain.tensor(torch.from_numpy(np.array(dataset.examples[rows])))
        condition = domain.condition_of(batch.target)
        conditions.append(torch.zeros(len(rows), 1) if condition is None else condition.flatten(1))
    _, kinds = torch.unique(torch.cat(conditions), dim=0, return_inverse=True)
    partners = [np.flatnonzero(kinds.numpy() == kind) for kind in range(int(kinds.max()) + 1)]
    firsts = np.concatenate([rows for rows in partners if len(rows) > 1] or [np.zeros(0, np.int64)])
    if not len(firsts):
        raise MusicaeError("a path needs two held-out examples of one time signature, and each here has its own.")
    found = []
    for first in random.choice(firsts, count):
        others = partners[int(kinds[first])]
        found.append((first, random.choice(others[others != first])))
    return kept[np.array(found)]


def _point_scores(
    trained: TrainedModel, name: str, points: Tensor, condition: Tensor | None, draws: int, generator: torch.Generator
) -> dict[str, np.ndarray]:
    """Scores of paths or crossfades `(pairs, points, *spec.shape)`: name → values to be averaged."""
    steps = np.stack([changes(path, trained.domain.spec.layout).cpu().numpy() for path in points])
    moving = steps.mean(1) > 0
    found = {f"{name}_change": steps, f"{name}_jump": steps[moving].max(1) / steps[moving].mean(1)}
    each = points.flatten(0, 1)
    for share, flat in _statistics(trained.domain, each).shares.items():
        values = flat.reshape(points.shape[:2])
        found |= {f"{name}_midpoint_{share}": values[:, _POINTS // 2], f"ends_{share}": values[:, [0, -1]]}
    if trained.network.latent.has_density:
        size = trained.domain.spec.evaluation_batch
        conditions = [None] * len(each.split(size)) if condition is None else list(condition.split(size))
        parts = [
            negative_log_likelihood(trained.network, part, part, draws, generator, condition)
            for part, condition in zip(each.split(size), conditions, strict=True)
        ]
        costs = torch.cat(parts).cpu().numpy().reshape(points.shape[:2])
        found |= {f"{name}_nll_nats": costs[:, 1:-1], "ends_nll_nats": costs[:, [0, -1]]}
    return found


def _crossfade(start: Tensor, end: Tensor, layout: Layout, generator: torch.Generator) -> Tensor:
    """`(pairs, *shape)` each → `(pairs, points, *shape)`; all streams of a step of symbols change together."""
    start, end = start.unsqueeze(1), end.unsqueeze(1)
    share = torch.linspace(0, 1, _POINTS, device=start.device).view(1, -1, *[1] * (start.dim() - 2))
    if layout is Layout.GRID:
        return (1 - share) * start + share * end
    change_at = torch.rand(len(start), 1, start.shape[2], 1, generator=generator, device=start.device)
    return torch.where(change_at < share, end, start)


def _statistics(domain: Domain, batch: Tensor) -> Statistics:
    """The domain's statistics of a batch; empty if it has none."""
    return domain.statistics(batch) if isinstance(domain, HasStatistics) else Statistics({}, {})


def _compared(statistics: dict[str, Statistics]) -> dict[str, float]:
    """Distances of `sample` and `training` to `held_out`, and the shares of all but training."""
    found = {}
    held_out = statistics["held_out"]
    for name in held_out.histograms:
        wanted = held_out.histograms[name].sum(0)
        for side in statistics.keys() - {"held_out"}:
            distance = divergence_bits(statistics[side].histograms[name].sum(0), wanted)
            found[f"{side}_{name}_js_bits"] = distance
    for name in held_out.shares:
        for side in statistics.keys() - {"training"}:
            values = statistics[side].shares[name]
            found[f"{side}_{name}"] = float(np.nanmean(values)) if not np.isnan(values).all() else math.nan
    return {name: found[name] for name in sorted(found) if not math.isnan(found[name])}


def _copied(domain: Domain, dataset: DataSet, samples: Tensor, held_out: np.ndarray) -> dict[str, float]:
    """Shares of examples and bars that are in training too; held-out examples are given without augmentation."""
    train = dataset.splits["train"]
    known = domain.identity(dataset.examples[train]) if dataset.identity is None else dataset.identity[train]
    drawn = domain.stored(samples) if isinstance(domain, CutsBars) else samples.cpu().numpy()
    own = domain.identity(drawn)
    found = {"sample_copied": float(np.isin(own, known).mean())}
    for name, identity in (("sample", own), ("held_out", domain.identity(held_out))):
        found[f"{name}_distinct"] = len(np.unique(identity)) / len(identity)
    if isinstance(domain, CutsBars) and domain.spec.segments > 1:
        parts = np.array_split(train, -(-len(train) // _WINDOWS_PER_PART))
        bars_of = (domain.identity(domain.single_bars(np.array(dataset.examples[part]))) for part in parts)
        known = np.unique(np.concatenate([np.unique(bars) for bars in bars_of]))
        for name, windows in (("sample", drawn), ("held_out", held_out)):
            bars = domain.identity(domain.single_bars(windows))
            found[f"{name}_copied_bars"] = float(np.isin(bars, known).mean())
    return found


def _some_of(indices: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` of the indices, each at most once, or all there are, in their order."""
    return np.sort(random.choice(indices, min(count, len(indices)), replace=False))


def _augmented(pipeline: Pipeline, dataset: DataSet, indices: np.ndarray, generator: torch.Generator) -> Batch:
    stored = torch.from_numpy(np.array(dataset.examples[indices])).to(pipeline.device)
    return pipeline.domain.tensor(stored, generator)
