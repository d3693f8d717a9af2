"""A strong pipeline for texts, of standard parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .._models.bottleneck import ConceptBottleneckClassifier
from .._text.embedder import SentenceEmbedder

# Components of the words next to sentence vectors; more hardly help.
_COMPONENTS = 200
# For word counts alone, whose Hessians may not fit the memory that "auto" needs.
_C_OF_WORDS = 3.0


def make_text_pipeline(
    *,
    vectors: Any = True,
    words: bool = True,
    columns: Sequence[str] | None = None,
    text: str = "text",
    classifier: Any = None,
) -> Pipeline:
    """Return a text classifier of standard parts, ready to fit and to change.

    Words and characters are counted by TF-IDF. Next to sentence vectors, their counts
    become 200 components of a truncated SVD; alone, they stay sparse. Tabular columns
    may stand beside the text: numbers are scaled, and gaps take their mean; everything
    else is one-hot encoded.

    Parameters
    ----------
    vectors : bool or transformer, default=True
        Sentence vectors: those of a :class:`SentenceEmbedder` with its defaults, those
        of a given transformer of texts, or none.
    words : bool, default=True
        Whether to count words (single and pairs) and characters (two to five).
    columns : sequence of str, default=None
        Names of tabular columns of X, which then is a DataFrame. None takes texts
        alone: a list, a Series or an array.
    text : str, default="text"
        Name of the column of texts. It counts only with `columns`.
    classifier : estimator, default=None
        The final step. None is a :class:`ConceptBottleneckClassifier`, which without
        annotations is a logistic regression, with ``C="auto"`` and
        ``concept_C="auto"``; for words alone, with 3 for both.

    Returns
    -------
    pipeline : Pipeline
        Its steps are "features" and "classifier". With annotations:
        ``pipeline.fit(X, y, classifier__concepts=concepts)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind, or if nothing is left to see.

    See Also
    --------
    compare_baselines : What such pipelines reach on your data.
    SentenceEmbedder : The sentence vectors.

    Examples
    --------
    >>> from skclif import make_text_pipeline
    >>> texts = ["Great soup!", "Lovely service.", "Cold and bland.", "Never again."]
    >>> pipeline = make_text_pipeline(vectors=False).fit(texts * 5, [1, 1, 0, 0] * 5)
    >>> pipeline.predict(["great service"])
    array([1])
    """
    if not isinstance(words, bool):
        raise TypeError(f"words must be True or False, got {words!r}.")
    embedder = _embedder(vectors)
    if embedder is None and not words:
        raise ValueError(
            "vectors=False and words=False leave no text to see; use at least one."
        )
    texts = _text_features(embedder, words)
    features = texts if columns is None else _beside(texts, text, columns)
    if classifier is None:
        C: Any = "auto" if embedder is not None else _C_OF_WORDS
        classifier = ConceptBottleneckClassifier(C=C, concept_C=C)
    elif isinstance(classifier, type) or not hasattr(classifier, "fit"):
        raise TypeError(
            f"classifier must be an estimator, got {classifier!r}; pass an instance, "
            "for example LogisticRegression()."
        )
    return Pipeline([("features", features), ("classifier", classifier)])


make_text_pipeline.__module__ = "skclif"


def _embedder(vectors: Any) -> Any:
    """Return a transformer of texts, or None."""
    if isinstance(vectors, bool):
        return SentenceEmbedder() if vectors else None
    if isinstance(vectors, type) or not hasattr(vectors, "transform"):
        raise TypeError(
            f"vectors must be True, False or a transformer of texts, got {vectors!r}."
        )
    return clone(vectors)


def _text_features(embedder: Any, words: bool) -> Any:
    if not words:
        return embedder
    counts = FeatureUnion(
        [
            ("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)),
            (
                "characters",
                TfidfVectorizer(
                    analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True
                ),
            ),
        ]
    )
    if embedder is None:
        return counts
    components = make_pipeline(counts, TruncatedSVD(_COMPONENTS, random_state=0))
    return FeatureUnion([("vectors", embedder), ("words", components)])


def _beside(texts: Any, text: str, columns: Sequence[str]) -> ColumnTransformer:
    """Return features of texts and of tabular columns, by the kind of each column."""
    is_names = not isinstance(columns, str) and all(
        isinstance(name, str) for name in columns
    )
    if not is_names:
        raise TypeError(
            f"columns must be names of columns in a list, got {columns!r}, or None."
        )
    if not isinstance(text, str):
        raise TypeError(f"text must be the name of a column, got {text!r}.")
    columns = list(columns)
    if text in columns or not columns or len(set(columns)) < len(columns):
        raise ValueError(
            f"columns={columns} must name different columns beside that of the "
            f"texts, {text!r}."
        )
    numbers = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2)
    return ColumnTransformer(
        [
            ("text", texts, text),
            ("numbers", numbers, _Columns(tuple(columns), numbers=True)),
            ("categories", categories, _Columns(tuple(columns), numbers=False)),
        ]
    )


@dataclass(frozen=True)
class _Columns:
    """Choose the columns of numbers, or the others, among columns that must be there.

    Attributes
    ----------
    names : tuple of str
    numbers : bool
    """

    names: tuple[str, ...]
    numbers: bool

    def __call__(self, table: pd.DataFrame) -> list[str]:
        """Return the names of the columns of this kind."""
        missing = [name for name in self.names if name not in table.columns]
        if missing:
            raise ValueError(
                f"X has no column {', '.join(map(repr, missing))}; its columns are "
                f"{list(map(str, table.columns))}."
            )
        for name in self.names:
            if _is_date(table[name]):
                raise ValueError(
                    f"The column {name!r} holds dates. Turn them into numbers, for "
                    "example days since the first, or leave the column out."
                )
        return [name for name in self.names if _is_number(table[name]) is self.numbers]


def _is_number(column: pd.Series) -> bool:
    kinds = pd.api.types
    is_number = kinds.is_numeric_dtype(column.dtype)
    return bool(is_number and not kinds.is_bool_dtype(column.dtype))


def _is_date(column: pd.Series) -> bool:
    """Return whether a column holds dates, times or durations."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return True
    kind = pd.api.types.infer_dtype(column, skipna=True)
    return str(kind).startswith(("date", "time", "period"))
