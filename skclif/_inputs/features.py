"""Checks of features: dense, stored or sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.utils.validation import validate_data

from ..numerics.sparse import Matrix, SparseFeatures
from ..numerics.stored import StoredFeatures, is_mapped
from .checks import error_context, refuse_dates, refuse_masked
from .collections import refuse_collections
from .devices import resolve_device
from .tensors import as_array, check_tensor, is_tensor, plain_floats, shape_of

# Beyond this, rounding is larger than the gradient near the optimum, and a fit ends
# anywhere.
LARGEST_FEATURE = 1e15
# Bytes. Features of which a copy in double precision is larger stay as they are stored.
COPY_AT_MOST = 2**26
_STORED = [np.float64, np.float32, np.float16]
_FEATURES = (
    "a table of finite numbers, dense or sparse, of shape (n_samples, n_features) "
    "(texts go through a SentenceEmbedder or a TfidfVectorizer first)"
)


def check_features(
    estimator: Any, X: Any, *, reset: bool, device: str | None = None
) -> Matrix:
    """Return features as finite float64 of a size that can be computed with.

    They are row-major, whatever container they come in: on some processors the bits of
    a product depend on the memory order, and equal numbers must give equal models.
    Sparse features stay sparse. Large features in single precision, or in a
    memory-mapped file, stay as they are, and are converted a block of rows at a time.
    So does a tensor on a GPU, if the computation is there too.

    Parameters
    ----------
    estimator : object
    X : object
    reset : bool
        Whether to learn the number and the names of the features.
    device : str, default=None
        Where to compute. None is the `device` of the estimator, or the CPU.
    """
    refuse_collections("This method", X=X)
    if is_tensor(X):
        device = getattr(estimator, "device", "cpu") if device is None else device
        if X.is_cuda and resolve_device(device).type == "cuda":
            return _check_on_device(estimator, X, reset=reset)
    X = as_array("X", X)
    refuse_masked("X", X)
    with error_context("X", _FEATURES):
        refuse_dates(X)
        large = _is_large(X)
        X = validate_data(
            estimator,
            X,
            reset=reset,
            dtype=_STORED if large else np.float64,
            order=None if large else "C",
            accept_sparse="csr",
        )
    if sparse.issparse(X):
        X = SparseFeatures.of(X)
    elif large and (X.dtype != np.float64 or is_mapped(X)):
        X = StoredFeatures.of(X)
    elif large:
        X = np.ascontiguousarray(X)
    check_size("X", X)
    return X


def _check_on_device(estimator: Any, X: torch.Tensor, *, reset: bool) -> StoredFeatures:
    """Check a tensor on a GPU, of which nothing but a few numbers leaves it.

    Rows are loaded to the CPU where something small is computed there.
    """
    check_tensor("X", X)
    with error_context("X", _FEATURES):
        validate_data(
            estimator, shape_of(X), reset=reset, dtype=None, ensure_all_finite=False
        )
    values = plain_floats(X.detach().resolve_neg())
    if not values.dtype.is_floating_point:
        values = values.double()
    features = StoredFeatures(values.contiguous(), device=torch.device("cpu"))
    _check_finite(estimator, features.to(values.device))
    return features


def _check_finite(estimator: Any, features: StoredFeatures) -> None:
    """Refuse features that are not finite, or too large, in one pass over them."""
    largest = features.new_zeros(1)
    for _, rows in features.blocks():  # NaN is the maximum of numbers with a NaN
        largest = torch.maximum(largest, rows.abs().max())
    value = float(largest)
    if np.isfinite(value):
        _refuse_large("X", value)
        return
    found = "NaN" if np.isnan(value) else "infinity"
    raise ValueError(
        f"Input X contains {found}. {type(estimator).__name__} takes finite features."
    )


def check_size(name: str, X: Any) -> None:
    """Refuse features that are too large for double precision."""
    if isinstance(X, StoredFeatures):
        largest = X.largest()
    else:
        X = X.matrix if isinstance(X, SparseFeatures) else X
        is_sparse = sparse.issparse(X)
        values = sparse.csr_array(X).data if is_sparse else np.asarray(X, float)
        largest = max(values.max(initial=0), -values.min(initial=0))
    _refuse_large(name, float(largest))


def _refuse_large(name: str, largest: float) -> None:
    if largest > LARGEST_FEATURE:
        raise ValueError(
            f"{name} has values as large as {largest:.3g}; beyond "
            f"{LARGEST_FEATURE:g} they cannot be computed with in double precision. "
            "Divide the features by a constant, or clip them."
        )


def _is_large(X: Any) -> bool:
    """Return whether a dense table is too large for a copy in double precision."""
    shape = getattr(X, "shape", None)
    if sparse.issparse(X) or not isinstance(shape, tuple) or len(shape) != 2:
        return False
    return 8 * int(shape[0]) * int(shape[1]) > COPY_AT_MOST
