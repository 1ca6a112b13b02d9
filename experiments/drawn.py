"""Pictures that models draw, judged by networks that know only real ones (judges.py)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from image import class_names
from judges import Classifier, frechet_distance, train_classifier
from stored import read, trained_model
from torch import Tensor

from musicae.data.dataset import DataSet, load_dataset, split_of_run
from musicae.evaluation.linear import tensors
from musicae.trained import TrainedModel

DRAWS, PHOTOGRAPHS_DRAWN = 5000, 1500
DIGITS = ("mnist-vae-40", "mnist-aae-8", "mnist-conditional", "mnist-grid", "mnist-ae-8", "mnist-ae-32")
_BY_LABEL = ("mnist-conditional", "mnist-grid")
_PART = 250
MEDIA = Path(__file__).resolve().parent.parent / "docs" / "media"
_SHOWN, _SMALLER, _COLOURS = 12, 3, 128


def digits(sets: Path, runs: Path) -> dict[str, Any]:
    """Fréchet distances of draws to the test digits, and how often the judge agrees with the label asked for.

    A model without a run keeps the row that it has; one of a model with labels is needed. Draws of `mnist-grid` are
    shown in the docs.
    """
    models = {name: trained_model(runs, name) for name in DIGITS if (runs / name).is_dir()}
    labelled = models[_BY_LABEL[0]] if _BY_LABEL[0] in models else models[_BY_LABEL[1]]
    train, test = (_labelled(labelled, sets / "mnist", splits) for splits in (["train"], ["test"]))
    judge = train_classifier(*train)
    found = read("image-samples") | _real(judge, train, test)
    if "mnist-grid" in models:
        show(models["mnist-grid"], "drawn-digits.png")
    for name, model in models.items():
        if name in _BY_LABEL:
            found[name], found[f"{name}, label agreement"] = _by_label(model, judge, test[0])
        elif model.network.latent.is_generative:
            found[name] = _distance(judge, _sampled(model, DRAWS, seed=0), test[0])
        else:
            noise = _noise(model.network.latent_shape)
            found[f"{name}, N(0, I)"] = _distance(judge, model.decode(noise), test[0])
            found[f"{name}, fitted Gaussian"] = _distance(judge, _of_fitted_gaussian(model, train[0]), test[0])
    return found


def satellite(sets: Path, runs: Path) -> dict[str, Any]:
    """The same of satellite photographs, beside a Gaussian fitted to the codes of the first stage."""
    model, start = (trained_model(runs, name) for name in ("satellite-grid", "satellite-grid-start"))
    train, test = (_labelled(model, sets / "eurosat64", splits) for splits in (["train"], ["test"]))
    judge = train_classifier(*train, epochs=40, batch=64, is_turned=True)
    show(model, "drawn-satellite.jpg")
    found = _real(judge, train, test)
    found["test pictures rebuilt"] = _distance(judge, _rebuilt(start, test[0]), test[0])
    found["fitted Gaussian"] = _distance(judge, _of_fitted_gaussian(start, train[0], PHOTOGRAPHS_DRAWN), test[0])
    found["satellite-grid"], found["satellite-grid, label agreement"] = _by_label(
        model, judge, test[0], PHOTOGRAPHS_DRAWN
    )
    return found


def show(model: TrainedModel, name: str) -> None:
    """Draws a row of each class, the first ones, into the docs' folder of pictures."""
    classes: Sequence[str] = model.domain.config.classes
    rows = {label: model.sample(_SHOWN, seed=number, label=label).tensor for number, label in enumerate(classes)}
    drawn: Any = model.domain.preview(rows)[".png"]
    drawn = drawn.reduce(_SMALLER)
    drawn = drawn.quantize(_COLOURS) if name.endswith(".png") else drawn.convert("RGB")
    drawn.save(MEDIA / name, optimize=True)


def _real(judge: Classifier, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """What the judge makes of pictures that nobody drew."""
    return {
        "held-out pictures": len(test[0]),
        "judge_accuracy": float((judge.classify(test[0]) == test[1]).float().mean()),
        "training pictures": _distance(judge, train[0][:DRAWS], test[0]),
    }


def _distance(judge: Classifier, pictures: Tensor, real: Tensor) -> float:
    return frechet_distance(judge.describe(pictures.clamp(0, 1)), judge.describe(real))


def _by_label(model: TrainedModel, judge: Classifier, real: Tensor, draws: int = DRAWS) -> tuple[float, float]:
    """Fréchet distance of as many draws of each class, and the share that the judge takes for it."""
    names: Sequence[str] = model.domain.config.classes
    each = [_sampled(model, draws // len(names), seed=number, label=name) for number, name in enumerate(names)]
    agreed = [(judge.classify(pictures) == number).float().mean() for number, pictures in enumerate(each)]
    return _distance(judge, torch.cat(each), real), float(torch.stack(agreed).mean())


def _sampled(model: TrainedModel, count: int, seed: int, label: str | None = None) -> Tensor:
    """Draws from the prior, some at a time."""
    parts = range(0, count, _PART)
    drawn = [model.sample(min(_PART, count - start), seed=1000 * seed + start, label=label) for start in parts]
    return torch.cat([part.tensor for part in drawn])


def _of_fitted_gaussian(model: TrainedModel, pictures: Tensor, draws: int = DRAWS) -> Tensor:
    """What is decoded of draws from a Gaussian that has the mean and covariance of the pictures' codes."""
    shape = model.network.latent_shape
    codes = torch.cat([model.encode(part) for part in pictures.split(_PART)]).flatten(1).double()
    covariance = torch.cov(codes.T) + 1e-9 * torch.eye(codes.shape[1], dtype=torch.double)
    drawn = codes.mean(0) + _noise((codes.shape[1],), draws).double() @ torch.linalg.cholesky(covariance).T
    return torch.cat([model.decode(part) for part in drawn.float().view(-1, *shape).split(_PART)])


def _noise(shape: Sequence[int], draws: int = DRAWS) -> Tensor:
    return torch.randn(draws, *shape, generator=torch.Generator().manual_seed(0))


def _rebuilt(model: TrainedModel, pictures: Tensor) -> Tensor:
    return torch.cat([model.decode(model.encode(part)) for part in pictures.split(_PART)])


def _labelled(model: TrainedModel, folder: Path, splits: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Pictures of some splits, as the model's run was split, and the numbers of their classes."""
    dataset: DataSet = load_dataset(model.domain, [folder], split_by=split_of_run(model.manifest.data))
    indices = np.concatenate([dataset.splits[split] for split in splits])
    names: Sequence[str] = model.domain.config.classes
    numbers = torch.tensor([names.index(name) for name in class_names(model.domain, dataset, indices)])
    return tensors(model.domain, dataset, indices), numbers
