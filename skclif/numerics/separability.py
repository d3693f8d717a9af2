"""Whether classes can be told apart by a linear rule, so that no optimum is finite.

Without a penalty, softmax regression has a finite optimum if and only if no direction
of the weights ranks every row's own class first, ties allowed, and breaks one of the
ties (Albert and Anderson, 1984, Biometrika 71). A linear programme decides it: maximise
the sum of all leads ``(b_own - b_other) . [x, 1]``, none of them negative, over weights
in a box. The maximum is 0 where classes overlap in every direction.
"""

import numpy as np
from scipy.optimize import linprog

# Most entries of the programme's matrix, (n_samples * (n_classes - 1)) x n_weights.
LARGEST = 2_000_000
# A sum of leads above this is not a rounding error.
_LEAD = 1e-6


def programme_size(n_samples: int, n_features: int, n_classes: int) -> int:
    """Return the entries of the matrix of the linear programme."""
    others = n_classes - 1
    return n_samples * others * (n_features + 1) * others


def are_separable(features: np.ndarray, codes: np.ndarray, *, intercept: bool) -> bool:
    """Return whether a linear rule separates classes; rows may be on its boundary.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features)
    codes : ndarray of shape (n_samples,), int64
        Codes of the classes, 0 … n_classes - 1.
    intercept : bool
        Whether the rule may have a constant.

    Returns
    -------
    separable : bool
        True for complete and for quasi-complete separation.
    """
    scale = np.abs(features).max(axis=0)
    inputs = features / np.where(scale > 0, scale, 1.0)
    if intercept:
        inputs = np.column_stack([inputs, np.ones(len(inputs))])
    n_classes = int(codes.max()) + 1
    # The last class has weights 0: only differences of weights matter.
    weights_of = np.eye(n_classes)[:, :-1]
    leads = []
    for shift in range(1, n_classes):
        others = (codes + shift) % n_classes
        difference = weights_of[codes] - weights_of[others]
        leads.append(
            (difference[:, :, None] * inputs[:, None, :]).reshape(len(codes), -1)
        )
    lead = np.concatenate(leads)
    found = linprog(
        -lead.sum(axis=0), A_ub=-lead, b_ub=np.zeros(len(lead)), bounds=(-1, 1)
    )
    return bool(-found.fun > _LEAD)
