"""Attribute vectors: directions in latent space along which an attribute grows, such as note density.

Roberts et al. (2018, section 6.4) take the difference between the mean codes of the quarters of the data with most and
least of an attribute. If the relation is linear, that is proportional to the covariance of code and attribute, which is
used here (the *plain* vector). Since attributes are correlated (dense melodies are syncopated too), it also changes
others. The *clean* vector is the most probable move that, by a linear regression of all attributes on the code, raises
one by a standard deviation and keeps the others:

    v_i = Σ W (Wᵀ Σ W)⁻¹ e_i,   Σ is the covariance of the codes, W the regression's weights.

The real effect of a move is measured by decoding moved codes. Of the two vectors the one with fewer side effects is
kept and scaled, so that a step of 1 raises the attribute by one standard deviation of the data, averaged over both
directions. Last, *corrected* vectors are mixtures of all vectors that cancel the measured side effects; each is kept if
its side effects are indeed smaller. All of this happens in the space where the prior is a standard normal.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from musicae.atomic_io import atomic_write
from musicae.capabilities import HasAttributes
from musicae.config import Config, load_json, read_config
from musicae.errors import CheckpointError, MusicaeError, in_short, sentence_of
from musicae.pipeline import Code, Pipeline
from musicae.precision import in_double
from musicae.tensor_files import TensorFile, write_tensors

if TYPE_CHECKING:
    from musicae.data.dataset import DataSet

FILE = "attributes.safetensors"
_MOST_WINDOWS = 20_000
_PROBED_WINDOWS = 128
_RIDGE = 1e-3  # relative to the codes' mean variance
_LARGEST_SCALE = 8.0  # relative to the regression; beyond it codes are unlike the data's
LARGEST_LENGTH = 1.3  # of a moved code, relative to a draw from the prior
_NO_EFFECT = 0.05  # in standard deviations; smaller effects are chance


class AttributeInfo(Config):
    """Measurements of one attribute.

    Attributes:
        mean, deviation: over the training windows, in the attribute's unit.
        explained: share of the variance that the regression on the code explains (R²).
        kind: which vector is used: plain, clean or corrected; see the module's docstring.
        effects: measured change of each attribute at a step of 1, in its standard deviations.
    """

    mean: float
    deviation: float = Field(gt=0)
    explained: float
    kind: Literal["plain", "clean", "corrected"]
    effects: dict[str, float]


class AttributeVectors(NamedTuple):
    """Attributes and their directions.

    Attributes:
        info: name → measurements.
        vectors: name → `latent_shape`, in the space where paths are drawn; a step of 1 changes the attribute by one
            standard deviation.
        windows: number of training windows that they were fitted on.
    """

    info: dict[str, AttributeInfo]
    vectors: dict[str, Tensor]
    windows: int

    def save(self, folder: Path) -> Path:
        """Writes `attributes.safetensors` into a checkpoint's folder; the rest is JSON in its header.

        The same vectors give the same bytes.
        """
        described = {name: info.model_dump(mode="json") for name, info in self.info.items()}
        path = folder / FILE
        with atomic_write(path) as partial:
            write_tensors(partial, self.vectors, {"attributes": json.dumps(described), "windows": str(self.windows)})
        return path

    @classmethod
    def load(cls, folder: Path, latent_shape: tuple[int, ...] | None = None) -> "AttributeVectors | None":
        """Reads what `save` wrote; None where there is none.

        Args:
            folder: a checkpoint's.
            latent_shape: of the model whose codes they move; None: any, but the same for all.

        Raises:
            CheckpointError: the file is damaged, or of another model.
        """
        path = folder / FILE
        if not path.is_file():
            return None
        with TensorFile(path) as file:
            try:
                described, windows = load_json(file.metadata["attributes"]), int(file.metadata["windows"])
                info = {name: read_config(AttributeInfo, row, "attribute key") for name, row in described.items()}
                _check(info, windows, file, latent_shape)
            except (ValueError, KeyError, TypeError, AttributeError, MusicaeError) as error:
                raise CheckpointError(f"{path} is damaged ({sentence_of(error, 300)}); copy the model anew.") from error
            return cls(info, {name: file.read(name).float() for name in info}, windows)


def _check(
    info: Mapping[str, AttributeInfo], windows: int, file: TensorFile, latent_shape: tuple[int, ...] | None
) -> None:
    """Raises `ValueError` unless measurements and vectors belong together."""
    if info.keys() != file.shapes.keys():
        raise ValueError(f"names {in_short(sorted(info))} and vectors {in_short(sorted(file.shapes))} differ")
    expected = next(iter(file.shapes.values()), ()) if latent_shape is None else latent_shape
    for name, measured in info.items():
        if file.shapes[name] != expected or not file.is_float(name):
            raise ValueError(f"{in_short(name)} is no vector of shape {expected}")
        if measured.effects.keys() != info.keys():
            raise ValueError(f"the effects of {in_short(name)} are not those on every attribute")
    if windows < 1:
        raise ValueError(f"fitted on {windows} windows")


def fit(pipeline: Pipeline, dataset: "DataSet", *, limit: int = _MOST_WINDOWS) -> AttributeVectors:
    """Fits the vectors to a model and its training data.

    Args:
        pipeline: the model and its domain.
        dataset: its `train` split is used.
        limit: most windows to use, spread over the split.

    Returns:
        The vectors of all attributes that vary over the data; none if the domain has no attributes.
    """
    domain, indices = pipeline.domain, dataset.splits["train"]
    if not isinstance(domain, HasAttributes):
        return AttributeVectors({}, {}, 0)
    indices = indices[np.unique(np.linspace(0, len(indices) - 1, min(limit, len(indices))).round().astype(int))]
    codes: list[Tensor] = []
    conditions: list[Tensor] = []
    measured: list[Mapping[str, Tensor]] = []
    # In parts, since examples are read from a memory map.
    for part in np.array_split(indices, math.ceil(len(indices) / domain.spec.evaluation_batch)):
        batch = domain.tensor(torch.from_numpy(np.array(dataset.examples[part])))
        found = domain.attributes(batch.target)
        measured.append({name: found[name] for name in found if name not in domain.unshifted_attributes})
        code = pipeline.encode(batch)
        codes.append(code.base.cpu())
        conditions += [] if code.condition is None else [code.condition.cpu()]
    base = torch.cat(codes)
    table = {name: torch.cat([part[name].cpu().double() for part in measured]) for name in measured[0]}
    usable = torch.stack([values.isfinite() for values in table.values()]).all(0)
    table = {name: values[usable] for name, values in table.items()}
    table = {name: values for name, values in table.items() if len(values) > 1 and float(values.std()) > 1e-9}
    if not table:
        return AttributeVectors({}, {}, 0)
    condition = torch.cat(conditions)[usable] if conditions else None
    return _fitted(pipeline, base[usable], condition, table)


def _fitted(pipeline: Pipeline, base: Tensor, condition: Tensor | None, table: dict[str, Tensor]) -> AttributeVectors:
    names, shape = list(table), base.shape[1:]
    values = torch.stack(list(table.values()), 1)  # (windows, attributes)
    mean, deviation = values.mean(0), values.std(0)
    plain, clean, explained = _directions(in_double(base.flatten(1)), (values - mean) / deviation)
    rows = torch.linspace(0, len(base) - 1, min(_PROBED_WINDOWS, len(base))).round().long()
    probed = base[rows].to(pipeline.device)
    probe = _Probe(pipeline, probed, None if condition is None else condition[rows], names, deviation)
    best: list[_Trial] = []
    for number in range(len(names)):
        straight, pure = (columns[:, number].view(shape).float() for columns in (plain, clean))
        trials = _Trial("plain", straight, probe.effects(straight)), _Trial("clean", pure, probe.effects(pure))
        best.append(_calibrated(probe, max(trials, key=lambda trial: trial.purity(number)), number))
    best = _corrected(probe, best)
    info = {
        name: AttributeInfo(
            mean=float(mean[number]),
            deviation=float(deviation[number]),
            explained=float(explained[number]),
            kind=best[number].kind,
            effects=dict(zip(names, best[number].effects.tolist(), strict=True)),
        )
        for number, name in enumerate(names)
    }
    return AttributeVectors(info, {name: trial.vector for name, trial in zip(names, best, strict=True)}, len(base))


def _directions(codes: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Plain and clean vectors, `(numbers, attributes)` each, and the variance explained `(attributes,)`.

    Args:
        codes: `(windows, numbers)`.
        wanted: `(windows, attributes)`, standardised.
    """
    centred = codes - codes.mean(0)
    count, numbers = centred.shape
    ridge = _RIDGE * centred.square().mean().clamp_min(1e-12)
    # W of the regression, by whichever matrix is smaller: that of the numbers, or that of the windows.
    if numbers <= count:
        covariance = centred.T @ centred / count
        weights = torch.linalg.solve(covariance + ridge * torch.eye(numbers).double(), centred.T @ wanted / count)
    else:
        products = centred @ centred.T / count
        weights = centred.T @ torch.linalg.solve(products + ridge * torch.eye(count).double(), wanted / count)
    moved = centred.T @ (centred @ weights) / count  # covariance of code and attribute
    response = weights.T @ moved  # (attributes, attributes), predicted effects of the columns of `moved`
    plain = moved / response.diagonal().clamp_min(1e-9)
    # A pseudo-inverse, since two attributes may depend on the code in the same way.
    clean = moved @ torch.linalg.pinv(response, rtol=1e-3, hermitian=True)
    explained = 1 - (wanted - centred @ weights).square().mean(0) / wanted.square().mean(0)
    return plain, clean, explained.clamp(0, 1)


class _Probe:
    """Moves codes, decodes them, and measures the change of every attribute in standard deviations."""

    def __init__(
        self, pipeline: Pipeline, base: Tensor, condition: Tensor | None, names: list[str], deviation: Tensor
    ) -> None:
        self.pipeline, self.base, self.condition = pipeline, base, condition
        self.names, self.deviation = names, deviation
        assert isinstance(pipeline.domain, HasAttributes)
        self.attributes = pipeline.domain.attributes

    def effects(self, vector: Tensor) -> Tensor:
        """Change per step of 1, `(attributes,)`: half the difference between a step forward and one back."""
        ahead, back = (self._measured(moved_code(self.base, vector, sign)) for sign in (1, -1))
        change = (ahead - back) / 2
        # An attribute that could be measured in no window, such as the pitch of silence, counts as unchanged.
        return (change.nanmean(0) / self.deviation).nan_to_num(0.0)

    def _measured(self, base: Tensor) -> Tensor:
        values = self.attributes(self.pipeline.decode(base, self.condition).cpu())
        return torch.stack([values[name].cpu().double() for name in self.names], 1)


class _Trial(NamedTuple):
    """A vector, and the measured effect of a step of 1 along it on each attribute, `(attributes,)`."""

    kind: Literal["plain", "clean", "corrected"]
    vector: Tensor
    effects: Tensor

    def purity(self, number: int) -> float:
        """Share of the wanted effect in all effects; 0 if the attribute does not grow."""
        own = float(self.effects[number])
        return max(own, 0.0) / (float(self.effects.abs().sum()) + _NO_EFFECT)


def _calibrated(probe: _Probe, trial: _Trial, number: int) -> _Trial:
    """Scales a vector so that a step of 1 changes its attribute by 1, as far as that is possible.

    Small moves may not change the most probable symbols, so a vector without effect is first made longer.
    """
    scale, best, last = 1.0, trial, trial
    for _ in range(5):
        own = float(last.effects[number])
        if abs(own - 1) < 0.03 or scale >= _LARGEST_SCALE:
            break
        scale = min(_LARGEST_SCALE, scale * (2.0 if own <= _NO_EFFECT else min(2.0, max(0.5, 1 / own))))
        vector = scale * trial.vector
        last = _Trial(trial.kind, vector, probe.effects(vector))
        if abs(float(last.effects[number]) - 1) < abs(float(best.effects[number]) - 1):
            best = last
        elif own > _NO_EFFECT:
            break
    return best


def _corrected(probe: _Probe, trials: list[_Trial]) -> list[_Trial]:
    """Mixes vectors so that their measured side effects cancel, and keeps each mixture with a higher purity.

    Vectors without effect are not mixed, and stay as they are.
    """
    effective = [number for number, trial in enumerate(trials) if float(trial.effects[number]) > _NO_EFFECT]
    if not effective:
        return trials
    effects = torch.stack(
        [trials[number].effects[effective] for number in effective]
    )  # (vectors moved, attributes changed)
    mixing = torch.linalg.pinv(effects, rtol=1e-2).to(trials[0].vector)
    mixed = torch.tensordot(mixing, torch.stack([trials[number].vector for number in effective]), dims=1)
    kept = list(trials)
    for number, vector in zip(effective, mixed, strict=True):
        tried = _calibrated(probe, _Trial("corrected", vector, probe.effects(vector)), number)
        kept[number] = tried if tried.purity(number) > kept[number].purity(number) else kept[number]
    return kept


def moved_code(base: Tensor, vector: Tensor, amount: float | Tensor) -> Tensor:
    """Moves codes `(batch, *latent_shape)` along a vector, and shortens those that become too long.

    Draws from a Gaussian of n numbers have a length of about √n, and the decoder never saw much longer codes in
    training. A code that was longer before keeps its length.
    """
    there = base + amount * vector.to(base)
    before, after = (code.flatten(1).norm(dim=1) for code in (base, there))
    largest = before.clamp_min(LARGEST_LENGTH * base[0].numel() ** 0.5)
    return there * (largest / torch.maximum(after, largest)).view(-1, *[1] * (base.dim() - 1))


def distance_from_prior(base: Tensor, vector: Tensor, amount: float) -> float:
    """How far from the middle of the prior moved codes would lie, on average: 1 is the distance of its own draws.

    Args:
        base: `(batch, *latent_shape)`, before the move, in the space where the prior is a standard normal.
        vector: `latent_shape`.
        amount: of the move, which `moved_code` holds to `LARGEST_LENGTH`.
    """
    there = (base + amount * vector.to(base)).flatten(1)
    return float(there.norm(dim=1).mean()) / there.shape[1] ** 0.5


def moved(pipeline: Pipeline, code: Code, vectors: AttributeVectors, attribute: str, amount: float) -> Tensor:
    """What codes decode to after a move along an attribute's vector, `(batch, *spec.shape)`."""
    return pipeline.decode(moved_code(code.base, vectors.vectors[attribute], amount), code.condition)
