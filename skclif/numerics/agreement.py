"""How well predicted values agree with true ones, quick enough to resample."""

import numpy as np


def macro_f1(true: np.ndarray, predicted: np.ndarray) -> float:
    """Return the mean F1 of all values that are true or predicted somewhere.

    This is `f1_score(true, predicted, average="macro")` of scikit-learn, whose checks
    of its arguments take a hundred times as long on a few dozen rows.

    Parameters
    ----------
    true, predicted : ndarray of shape (n_samples,)
        Codes, from 0 on; at least one.
    """
    n_values = max(true.max(), predicted.max()) + 1
    hits = np.bincount(true[true == predicted], minlength=n_values)
    sizes = np.bincount(true, minlength=n_values)
    sizes += np.bincount(predicted, minlength=n_values)
    met = sizes > 0
    return float((2 * hits[met] / sizes[met]).mean())
