"""What a classifier at the end of a pipeline cannot read, refused before it is fitted.

This module needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import get_tags

from .checks import COMPLEX


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
    if not hasattr(X, "columns"):
        return "X holds texts" if _is_text(X) else ""
    for name, values in _columns(X):
        if _is_text(values):
            return f"The column {name!r} of X holds texts"
    return ""


def _columns(X: Any) -> Iterator[tuple[Any, np.ndarray]]:
    if isinstance(X, pd.DataFrame):  # names may be there twice
        for position, name in enumerate(X.columns):
            yield name, X.iloc[:, position].to_numpy()
        return
    for column in nw.from_native(X, eager_only=True).iter_columns():
        yield column.name, column.to_numpy()


def _is_text(values: Any) -> bool:
    """Return whether the first entries are strings that are no numbers."""
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    if kind not in "OUST" or not len(values):
        return False
    first = values.iloc[0] if hasattr(values, "iloc") else values[0]
    is_row = isinstance(first, list | tuple) or getattr(first, "ndim", 0) > 0
    entries = first if is_row else [first]
    return any(isinstance(entry, str) and not _is_number(entry) for entry in entries)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
