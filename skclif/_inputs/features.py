"""Checks of features, dense or sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.validation import validate_data

from ..numerics.sparse import Matrix, SparseFeatures
from .checks import error_context, refuse_dates, refuse_masked

# Beyond this, rounding is larger than the gradient near the optimum, and a fit ends
# anywhere.
LARGEST_FEATURE = 1e15
_FEATURES = (
    "a table of finite numbers, dense or sparse, of shape (n_samples, n_features) "
    "(texts go through a SentenceEmbedder or a TfidfVectorizer first)"
)


def check_features(estimator: Any, X: Any, *, reset: bool) -> Matrix:
    """Return features as finite float64 of a size that can be computed with.

    They are row-major, whatever container they come in: on some processors the bits of
    a product depend on the memory order, and equal numbers must give equal models.
    Sparse features stay sparse.
    """
    refuse_masked("X", X)
    with error_context("X", _FEATURES):
        refuse_dates(X)
        X = validate_data(
            estimator, X, reset=reset, dtype=np.float64, order="C", accept_sparse="csr"
        )
    if sparse.issparse(X):
        X = SparseFeatures.of(X)
    check_size("X", X)
    return X


def check_size(name: str, X: Any) -> None:
    """Refuse features that are too large for double precision."""
    X = X.matrix if isinstance(X, SparseFeatures) else X
    values = sparse.csr_array(X).data if sparse.issparse(X) else np.asarray(X, float)
    largest = max(values.max(initial=0), -values.min(initial=0))
    if largest > LARGEST_FEATURE:
        raise ValueError(
            f"{name} has values as large as {largest:.3g}; beyond "
            f"{LARGEST_FEATURE:g} they cannot be computed with in double precision. "
            "Divide the features by a constant, or clip them."
        )
