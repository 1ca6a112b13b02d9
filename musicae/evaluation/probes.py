"""What codes say of a picture's class, which the model was not told: the neighbours', and a linear probe's.

The usual measures of a representation: the class of the nearest training codes (Wu et al., 2018), and
multinomial logistic regression on the codes (Alain & Bengio, 2017). Knows neither models nor files.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

NEIGHBOURS = 5
_ITERATIONS = 1000
_EXAMPLES_PROBED = 20_000  # of the training codes, that logistic regression is fitted on


def class_accuracy(
    train_codes: np.ndarray, train_classes: np.ndarray, codes: np.ndarray, classes: np.ndarray
) -> dict[str, float]:
    """Shares of codes whose class is found.

    Args:
        train_codes: `(examples, numbers)`, those that are learned from.
        train_classes: `(examples,)` integers.
        codes, classes: those that are asked about.

    Returns:
        `knn_accuracy`, by a vote of the `NEIGHBOURS` nearest, and `probe_accuracy`, by logistic regression.
    """
    if len(np.unique(train_classes)) < 2:
        raise ValueError("one class alone cannot be told from others")
    neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(train_codes))).fit(train_codes, train_classes)
    stride = -(-len(train_codes) // _EXAMPLES_PROBED)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_ITERATIONS))
    probe.fit(train_codes[::stride], train_classes[::stride])
    return {
        "knn_accuracy": float(neighbours.score(codes, classes)),
        "probe_accuracy": float(probe.score(codes, classes)),
    }
