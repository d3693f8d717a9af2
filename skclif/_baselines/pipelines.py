"""A strong pipeline for texts, of standard parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from .._text.embedder import SentenceEmbedder
from .features import ColumnsOfKind, TextFeatures, WordComponents

# Components of the words next to sentence vectors; more hardly help.
_COMPONENTS = 200
# Of these components beside sentence vectors. On the development parts of CEBaB, Yelp
# and NHS feedback 1 and 2 are no better in sum: 0.003 and 0.011 more log-loss.
_WEIGHT = 1.5
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
    become 200 components of a truncated SVD, or as many as there are words, weighted
    1.5; alone, they stay sparse. Tabular columns
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
    embedder = sentence_vectors(vectors)
    if embedder is None and not words:
        raise ValueError(
            "vectors=False and words=False leave no text to see; use at least one."
        )
    texts = _text_features(embedder, words)
    features = texts if columns is None else _beside(texts, text, columns)
    if classifier is None:
        # Late, because it loads torch: a table of baselines begins without.
        from .._models.bottleneck import ConceptBottleneckClassifier

        C: Any = "auto" if embedder is not None else _C_OF_WORDS
        classifier = ConceptBottleneckClassifier(C=C, concept_C=C)
    elif isinstance(classifier, type) or not hasattr(classifier, "fit"):
        raise TypeError(
            f"classifier must be an estimator, got {classifier!r}; pass an instance, "
            "for example LogisticRegression()."
        )
    return Pipeline([("features", features), ("classifier", classifier)])


make_text_pipeline.__module__ = "skclif"


def sentence_vectors(vectors: Any) -> Any:
    """Return the transformer of texts that `vectors` asks for, or None."""
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
    counts = TextFeatures(
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
    components = Pipeline(
        [("counts", counts), ("components", WordComponents(_COMPONENTS))]
    )
    return TextFeatures(
        [("vectors", embedder), ("words", components)],
        transformer_weights={"words": _WEIGHT},
    )


def _beside(texts: Any, text: str, columns: Sequence[str]) -> ColumnTransformer:
    """Return features of texts and of tabular columns, by the kind of each column."""
    is_names = isinstance(columns, Iterable) and not isinstance(columns, str)
    if not is_names or not all(isinstance(name, str) for name in columns):
        raise TypeError(
            f"columns must be names of columns in a list, got {columns!r}, or None."
        )
    if not isinstance(text, str):
        raise TypeError(f"text must be the name of a column, got {text!r}.")
    names = tuple(columns)
    if text in names or not names or len(set(names)) < len(names):
        raise ValueError(
            f"columns={list(names)} must name different columns beside that of the "
            f"texts, {text!r}."
        )
    numbers = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    categories = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2)
    return ColumnTransformer(
        [
            ("text", texts, ColumnsOfKind("text", names, text)),
            ("numbers", numbers, ColumnsOfKind("numbers", names, text)),
            ("categories", categories, ColumnsOfKind("categories", names, text)),
        ]
    )
