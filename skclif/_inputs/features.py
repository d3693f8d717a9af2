"""Checks of features, dense or sparse."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from scipy import sparse
from sklearn.utils import get_tags
from sklearn.utils.validation import validate_data

from ..numerics.sparse import Matrix, SparseFeatures
from .checks import COMPLEX, error_context, refuse_dates, refuse_masked

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


def refuse_unreadable(model: Any, X: Any) -> None:
    """Refuse features that the classifier at the end of a pipeline cannot read.

    Raises
    ------
    TypeError
        If `X` is sparse, and the model is one of scikit-learn's that takes only dense
        features; others may not say what they take.
    ValueError
        If `X` holds complex numbers.
    """
    name = type(model).__name__
    ours = type(model).__module__.partition(".")[0] in ("sklearn", "skclif")
    if sparse.issparse(X) and ours and not get_tags(model).input_tags.sparse:
        raise TypeError(
            f"{name} takes no sparse features, which is what the steps before it or X "
            "give. Put TruncatedSVD(n_components=100) before it, or use a classifier "
            "that takes them (LogisticRegression, LinearSVC, MultinomialNB, "
            "RandomForestClassifier ...)."
        )
    types = [X.dtype] if hasattr(X, "dtype") else list(getattr(X, "dtypes", []))
    if any(getattr(dtype, "kind", "") == "c" for dtype in types):
        raise ValueError(
            f"{COMPLEX} by {name}: X holds complex numbers. Pass their real and "
            "imaginary parts as features."
        )


def refuse_texts(X: Any, model: Any, reader: str, otherwise: str = "") -> None:
    """Refuse texts among features that are to be numbers.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
    model : classifier
        Where a step can be put before.
    reader : str
        What needs numbers.
    otherwise : str
        What else people can do.

    Raises
    ------
    ValueError
        If `X` holds texts that are no numbers.
    """
    where = _texts_in(X)
    if where:
        name = type(model).__name__
        raise ValueError(
            f"{where}, but {reader} needs numbers. Put a step that makes them before "
            f"{name}, for example make_pipeline(TfidfVectorizer(), {name}()), with a "
            f"ColumnTransformer if there are several columns{otherwise}."
        )


def _texts_in(X: Any) -> str:
    """Return where X holds texts, or nothing."""
    frame = nw.from_native(X, pass_through=True, eager_only=True)
    if isinstance(frame, nw.DataFrame):
        for column in frame.iter_columns():
            if _is_text(column.to_numpy()):
                return f"The column {column.name!r} of X holds texts"
        return ""
    return "X holds texts" if _is_text(X) else ""


def _is_text(values: Any) -> bool:
    """Return whether the first entries are strings that are no numbers."""
    if getattr(getattr(values, "dtype", None), "kind", "O") not in "OUST":
        return False
    first = values.iloc[0] if hasattr(values, "iloc") else values[0]
    entries = [first] if isinstance(first, str) or not np.ndim(first) else first
    return any(isinstance(entry, str) and not _is_number(entry) for entry in entries)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
