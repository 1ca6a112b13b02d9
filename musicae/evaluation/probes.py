"""How well the class of a picture can be predicted from its code: by nearest neighbours, and by a linear probe.

These are the usual measures of a representation: the class of the nearest training codes (Wu et al., 2018), and
multinomial logistic regression on the codes (Alain & Bengio, 2017). For comparison, both are also computed for
principal components, as many as a code has numbers.
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from musicae.data.dataset import DataSet
from musicae.domain import NO_LABEL, Domain
from musicae.evaluation.linear import batches, fitted_pca
from musicae.trained import TrainedModel

NEIGHBOURS = 5
_ITERATIONS = 1000
_MOST_CODES = 60_000  # codes of the training split that are used
_MOST_PROBED = 20_000  # of those, codes that logistic regression is fitted on


def code_scores(trained: TrainedModel, dataset: DataSet, fitted_on: np.ndarray, kept: np.ndarray) -> dict[str, float]:
    """`class_accuracy` of the codes, and, prefixed with `pca_`, that of principal components.

    Args:
        trained: a model with a vector latent; if it is conditional, it is given no class.
        dataset: read by its domain.
        fitted_on: examples to learn from; if there are very many, some of them are used.
        kept: examples to score.

    Returns:
        The accuracies; empty if the data have fewer than two classes, or codes are not finite.
    """
    domain, random = trained.domain, np.random.default_rng(0)
    if len(fitted_on) > _MOST_CODES:
        fitted_on = np.sort(random.choice(fitted_on, _MOST_CODES, replace=False))
    known = []
    for indices in (fitted_on, kept):
        names = _classes(domain, dataset, indices)
        known.append((indices[names != NO_LABEL], names[names != NO_LABEL]))
    (learned, learned_names), (scored, scored_names) = known
    if len(np.unique(learned_names)) < 2 or not len(scored):
        return {}
    codes = [_codes(trained, dataset, indices) for indices in (learned, scored)]
    if not all(np.isfinite(each).all() for each in codes):
        return {}
    pca = fitted_pca(domain, dataset, learned, codes[0].shape[1])
    components = [
        np.concatenate([pca.transform(batch.flatten(1).numpy()) for batch in batches(domain, dataset, indices)])
        for indices in (learned, scored)
    ]
    of_components = class_accuracy(components[0], learned_names, components[1], scored_names)
    return class_accuracy(codes[0], learned_names, codes[1], scored_names) | {
        f"pca_{name}": value for name, value in of_components.items()
    }


def class_accuracy(
    train_codes: np.ndarray, train_classes: np.ndarray, codes: np.ndarray, classes: np.ndarray
) -> dict[str, float]:
    """The accuracy of predicting the class from the code.

    Args:
        train_codes: `(examples, numbers)`, to learn from.
        train_classes: `(examples,)` names or numbers.
        codes, classes: the same of the examples that are scored.

    Returns:
        `knn_accuracy`, by a vote of the `NEIGHBOURS` nearest, and `probe_accuracy`, by logistic regression.

    Raises:
        ValueError: there is only one class.
    """
    if len(np.unique(train_classes)) < 2:
        raise ValueError("one class alone cannot be distinguished from others")
    neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(train_codes))).fit(train_codes, train_classes)
    scores = {"knn_accuracy": float(neighbours.score(codes, classes))}
    probed = np.arange(len(train_codes))
    if len(probed) > _MOST_PROBED:
        probed = np.random.default_rng(0).choice(probed, _MOST_PROBED, replace=False)
    if len(np.unique(train_classes[probed])) > 1:
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_ITERATIONS))
        probe.fit(train_codes[probed], train_classes[probed])
        scores["probe_accuracy"] = float(probe.score(codes, classes))
    return scores


def _classes(domain: Domain, dataset: DataSet, indices: np.ndarray) -> np.ndarray:
    """Class names of examples, `NO_LABEL` where they have none."""
    size, names = domain.spec.evaluation_batch, list[str]()
    for start in range(0, len(indices), size):
        part = indices[start : start + size]
        found = domain.labels(torch.from_numpy(np.array(dataset.examples[part])))
        names += found.get("label", [NO_LABEL] * len(part))
    return np.array(names)


def _codes(trained: TrainedModel, dataset: DataSet, indices: np.ndarray) -> np.ndarray:
    """Posterior means, `(examples, numbers)`."""
    with torch.no_grad():
        each = [trained.encode(batch).flatten(1).cpu() for batch in batches(trained.domain, dataset, indices)]
    return torch.cat(each).numpy()
