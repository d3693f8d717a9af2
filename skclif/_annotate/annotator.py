"""Texts to annotations: prompts first, then what people said."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from .._inputs.checks import (
    all_or_nothing,
    check_labels,
    check_length,
    check_row_order,
    error_context,
)
from .._inputs.documentation import DocumentedMixin
from .._inputs.sklearn import HasMethods, Interval, StrOptions, _fit_context
from .._text.embedder import SentenceEmbedder
from .._text.texts import TakesTextsMixin, as_texts
from ..exceptions import CorrectionWarning, warn_user
from .given import read_given, refuse_annotations
from .heads import fit_head
from .labels import agree_with_labels
from .prompts import Prompts, check_prompts
from .scores import RIVAL, Compared, average_prompts, unit
from .units import Units

__all__ = ["ConceptAnnotator"]

# Chosen by the development parts of three sets of texts; see docs/annotator.rst.
# Without annotations: log-odds for one spread of a score, and how many spreads above 0
# a mention is as probable as not.
MENTION, VALUE, USUAL = 2.0, 1.0, 0.9
# With annotations: the standard deviations, in log-odds, that are expected of what the
# bias, one spread of a score, the parts that matter and the whole text add.
BIAS, SCORE, FOCUS, TEXT = 1.0, 0.5, 2.0, 1.0
# The first few annotations are often corrections, not a sample: by one or two of them
# nobody knows how common a value is. The variance of the bias grows up to this number.
SAMPLE = 10
# With few concepts, others that nobody asked about would be nearer to most parts: what
# the nearest of some others says at least, in spreads of a score.
OTHERS = 0.7
# Of similarities of the default model; as good as so many texts.
_USUAL_SPREAD, _FEW = 0.13, 10


class ConceptAnnotator(
    TakesTextsMixin, DocumentedMixin, TransformerMixin, BaseEstimator
):
    """Annotate texts by prompts, and learn from the annotations there are.

    A prompt is what a text would say if a concept had a value: "The food was
    delicious." A text is compared with prompts sentence by sentence and clause by
    clause. Without annotations, that alone gives the shares of the values. With some,
    a head for each concept corrects them, and is held to the prompts as far as
    annotations do not contradict. So every annotation helps, from the first on.

    Parameters
    ----------
    concepts : mapping of str to mapping of str to str or list of str
        The prompts of each value of each concept. Prompts are short sentences. One
        value of a concept may have none (an empty list): it is what no prompt of the
        other values matches, for example that a text says nothing of the concept.
        :func:`read_prompts` reads them from a file.
    embedder : transformer of texts, default=None
        What turns texts into dense vectors. None is the default model of
        :class:`SentenceEmbedder` with ``layers=None``: its own vectors are made for
        comparing sentences, those of other layers are not.
    output : {"soft", "categories"}, default="soft"
        What `transform` returns: the shares of all values, in columns
        ``concept=value``; or for each concept the value with the largest share, in
        columns ``concept``.
    threshold : float, default=0.7
        With ``output="categories"``: a value with a smaller share stays missing (NaN).
    correct_with_labels : bool, default=False
        Whether `fit_transform` corrects shares by the labels `y` of the texts: a value
        loses as much as it is rarer among texts with that label. See the notes.

    Attributes
    ----------
    concept_names_ : ndarray of shape (n_concepts,)
        Names of the concepts.
    concept_classes_ : list of ndarray
        The values of each concept.
    n_annotated_ : ndarray of shape (n_concepts,)
        Number of texts that `fit` was given an annotation of.
    embedder_ : transformer
        The fitted embedder.
    coef_ : list of ndarray of shape (n_features_of_concept, n_values)
        What annotations added for each concept; 0 without annotations.

    See Also
    --------
    read_prompts, write_prompts : Prompts in a file.
    ConceptBottleneckClassifier : Takes what this returns as `concepts`.

    Notes
    -----
    *Without annotations.* From each vector the average of all is taken. A part of a
    text is near a concept by its similarity to the average prompt of the concept, minus
    half the similarity to the nearest other concept. How near the nearest part is,
    standardised over the texts of `fit`, gives the log-odds that the concept is
    mentioned. Among values with prompts, those parts decide that are nearest to the
    concept. Nothing says how common a value is; annotations do. With one to three
    concepts, a constant stands for the nearest other concept.

    *With annotations.* A softmax head is fitted to the annotated texts of each concept.
    It begins at the log-odds of the prompts, and its features are these scores and the
    average vector of the parts that speak of the concept. Its penalty is a fixed one:
    more annotations move it further. Only how common a value is, is learned slowly from
    the first ten, which need not be a sample: confirm right annotations, too, instead
    of correcting wrong ones alone.

    *Annotated texts.* `fit_transform` returns the annotations that people gave as they
    are, and shares for the others. `transform` does not know which texts were
    annotated.

    *Labels.* ``correct_with_labels=True`` is the automatic concept correction of
    CB-LLM [1]_ without a table that says which value belongs to which label: how often
    each value comes with each label is estimated from the shares themselves. It is for
    training rows alone, and `transform`, which has no labels, never uses them.
    Corrected annotations know something of the label that the text may not say, so a
    bottleneck that is trained on them looks better on them than it is; test on others.

    References
    ----------
    .. [1] Sun et al. (2025), Concept Bottleneck Large Language Models,
       arXiv 2412.07992.

    Examples
    --------
    >>> from skclif import ConceptAnnotator
    >>> annotator = ConceptAnnotator({
    ...     "food": {"good": ["The food was delicious."],
    ...              "bad": ["The food was terrible."], "not mentioned": []},
    ... })
    >>> texts = ["Tasty pasta, slow waiter.", "Cold, bland soup.", "It was very loud."]
    >>> annotator.fit_transform(texts).round(1)  # doctest: +SKIP
       food=good  food=bad  food=not mentioned
    0        0.6       0.1                 0.3
    1        0.1       0.5                 0.4
    2        0.0       0.1                 0.9
    """

    __module__ = "skclif"
    __metadata_request__fit = {"concepts": True}

    _parameter_constraints: dict[str, Any] = {
        "concepts": "no_validation",  # by `check_prompts`, with better messages
        "embedder": [HasMethods(["fit", "transform"]), None],
        "output": [StrOptions({"soft", "categories"})],
        "threshold": [Interval(Real, 0, 1, closed="both")],
        "correct_with_labels": ["boolean"],
    }

    def __init__(
        self,
        concepts: Mapping[str, Mapping[str, Any]],
        *,
        embedder: Any = None,
        output: str = "soft",
        threshold: float = 0.7,
        correct_with_labels: bool = False,
    ) -> None:
        self.concepts = concepts
        self.embedder = embedder
        self.output = output
        self.threshold = threshold
        self.correct_with_labels = correct_with_labels

    @_fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit(
        self, X: Any, y: ArrayLike | None = None, *, concepts: Any = None
    ) -> ConceptAnnotator:
        """Learn what is usual among texts, and from annotations if there are some.

        Parameters
        ----------
        X : array-like of str of shape (n_samples,) or (n_samples, 1)
            The texts, annotated or not. Shares are calibrated over them, so a hundred
            or more are better than a few.
        y : array-like of shape (n_samples,), default=None
            Labels. Only ``correct_with_labels=True`` asks for them, in `fit_transform`.
        concepts : array-like of shape (n_samples, n_concepts), default=None
            The annotations there are; NaN, None and ``pandas.NA`` mean *not
            annotated*. Columns are concepts that have prompts, not necessarily all; or
            shares of all values of a concept in columns ``concept=value``.

        Returns
        -------
        self : ConceptAnnotator
            The fitted annotator.

        Raises
        ------
        TypeError, ValueError
            If texts, prompts or annotations cannot be used, or the embedder does not
            return dense vectors.

        Warns
        -----
        CorrectionWarning
            If ten or more annotations of a concept all contradict its prompts.
        """
        self._fit(X, y, concepts)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    @all_or_nothing
    def fit_transform(
        self, X: Any, y: ArrayLike | None = None, *, concepts: Any = None
    ) -> pd.DataFrame:
        """Learn as `fit` does, and annotate the texts that nobody annotated.

        Parameters
        ----------
        X : array-like of str of shape (n_samples,) or (n_samples, 1)
            The texts.
        y : array-like of shape (n_samples,), default=None
            Labels, for ``correct_with_labels=True``.
        concepts : array-like of shape (n_samples, n_concepts), default=None
            As for `fit`.

        Returns
        -------
        annotations : DataFrame of shape (n_samples, n_features_out)
            As `transform` returns them, but the annotations that people gave are as
            they gave them, and the others are corrected by labels if that is asked for.

        Raises
        ------
        TypeError, ValueError
            As for `fit`; also if labels are needed and missing.
        """
        labels = self._read_labels(X, y) if self.correct_with_labels else None
        shares, given = self._fit(X, y, concepts)
        found = []
        for own, people in zip(shares, given, strict=True):
            is_known = ~np.isnan(people[:, 0])
            own = np.where(is_known[:, None], people, own)
            if labels is not None:
                own = agree_with_labels(own, labels, is_known)
            found.append(own)
        return self._table(found, X)

    def transform(self, X: Any) -> pd.DataFrame:
        """Annotate texts.

        Parameters
        ----------
        X : array-like of str of shape (n_samples,) or (n_samples, 1)
            The texts.

        Returns
        -------
        annotations : DataFrame of shape (n_samples, n_features_out)
            With ``output="soft"`` the share of each value in columns
            ``concept=value``, which sum to 1 for each concept. With ``"categories"``
            the value with the largest share, or NaN if that is below `threshold`.

        Raises
        ------
        NotFittedError
            If the annotator is not fitted.
        TypeError, ValueError
            If texts cannot be used.
        """
        return self._table(self._annotate(X), X)

    def confidence(self, X: Any) -> pd.DataFrame:
        """Return the largest share of each concept, which `threshold` is compared with.

        Parameters
        ----------
        X : array-like of str of shape (n_samples,) or (n_samples, 1)
            The texts.

        Returns
        -------
        confidence : DataFrame of shape (n_samples, n_concepts)
            From ``1 / n_values`` to 1, the higher the surer.

        Raises
        ------
        NotFittedError
            If the annotator is not fitted.
        TypeError, ValueError
            If texts cannot be used.
        """
        shares = self._annotate(X)
        largest = {
            name: own.max(axis=1)
            for name, own in zip(self.concept_names_, shares, strict=True)
        }
        return pd.DataFrame(largest, index=_index_of(X))

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return the names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Ignored: texts have no names.

        Returns
        -------
        names : ndarray of str
            ``concept=value`` for each value, or the names of the concepts with
            ``output="categories"``.

        Raises
        ------
        NotFittedError
            If the annotator is not fitted.
        """
        check_is_fitted(self)
        if self.output == "categories":
            return self.concept_names_
        names = [
            f"{name}={value}"
            for name, values in zip(
                self.concept_names_, self.concept_classes_, strict=True
            )
            for value in values
        ]
        return np.array(names, dtype=object)

    def _read_labels(self, X: Any, y: Any) -> np.ndarray:
        if y is None:
            raise ValueError(
                "correct_with_labels=True needs the labels y of the texts, got None. "
                "Pass them, or use correct_with_labels=False."
            )
        check_row_order(X=X, y=y)
        return check_labels(y, len(as_texts(X)))

    def _fit(
        self, X: Any, y: Any, concepts: Any
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Fit; return the shares of the texts, and those that people gave."""
        prompts = check_prompts(self.concepts)
        texts = as_texts(X)
        if not texts:
            raise ValueError("X has no rows; give the texts that are to be annotated.")
        values = {name: list(own) for name, own in prompts.items()}
        refuse_annotations(y, values)
        given = [*read_given(concepts, values, X, len(texts)).values()]
        known = [~np.isnan(own[:, 0]) for own in given]
        self.concept_names_ = np.array(list(values), dtype=object)
        self.concept_classes_ = [np.array(own, dtype=object) for own in values.values()]
        self.n_annotated_ = np.array([own.sum() for own in known])
        self._has_prompts = [
            np.array([len(own) > 0 for own in values.values()])
            for values in prompts.values()
        ]
        embedder = SentenceEmbedder(layers=None, long_text="mean")
        if self.embedder is not None:
            with error_context("embedder", "a transformer of texts to vectors"):
                embedder = clone(self.embedder)
        self.embedder_ = embedder.fit(texts, y)
        units = Units.of(texts)
        compared = self._compare_first(units, self._vectors(units.parts), prompts)
        self.coef_ = []
        for j, (own, rows) in enumerate(zip(given, known, strict=True)):
            features, offsets = self._features(compared, j)
            _warn_of_corrections(self.concept_names_[j], offsets[rows], own[rows])
            self.coef_.append(fit_head(features[rows], offsets[rows], own[rows]))
        return self._shares(compared), given

    def _vectors(self, texts: list[str]) -> np.ndarray:
        """Embed texts, and check what an embedder of the user's returns."""
        vectors = self.embedder_.transform(texts)
        if issparse(vectors):
            raise TypeError(
                "embedder must return dense vectors, got a sparse matrix. Put a "
                "TruncatedSVD behind a vectoriser of words, as in "
                "make_pipeline(TfidfVectorizer(), TruncatedSVD(100))."
            )
        with error_context("embedder", "a transformer of texts to vectors"):
            vectors = check_array(vectors, dtype=[np.float64, np.float32])
        check_length("What embedder returns", len(vectors), len(texts), "its input")
        return vectors

    def _compare_first(
        self, units: Units, vectors: np.ndarray, prompts: Prompts
    ) -> Compared:
        """Compare the texts of a fit with prompts, and learn what is usual."""
        each = [[own for own in values.values() if own] for values in prompts.values()]
        said = [prompt for values in each for own in values for prompt in own]
        of_prompts = self._vectors(said)
        # A few texts alone would be their own average; many outweigh the prompts.
        together = np.concatenate([vectors, of_prompts])
        self._center = together.mean(axis=0, dtype=np.float64).astype(vectors.dtype)
        n_each = [[len(own) for own in values] for values in each]
        self._directions = average_prompts(unit(of_prompts - self._center), n_each)
        compared = self._compare(units, vectors)
        self._usual_text = compared.whole.mean(axis=0)
        near = map(compared.with_concept, range(len(prompts)))
        averages, mentions, values = [], [], []
        for own in near:
            averages.append((own.values.mean(axis=0), own.focus.mean(axis=0)))
            mentions.append(own.mention.var())
            values.append((own.values - averages[-1][0]).var())
        self._usual = averages
        several = [v for v, own in zip(values, each, strict=True) if len(own) > 1]
        n_texts = len(units.starts)
        self._spreads = _spread(mentions, n_texts), _spread(several, n_texts)
        self._unasked = max(0.0, OTHERS - compared.rival / self._spreads[0])
        return compared

    def _compare(self, units: Units, vectors: np.ndarray) -> Compared:
        return Compared(units, unit(vectors - self._center), self._directions)

    def _features(self, compared: Compared, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scaled features for the head of a concept, and its offsets."""
        near, (values, focus) = compared.with_concept(j), self._usual[j]
        mention = near.mention[:, None] / self._spreads[0] - USUAL
        mention -= RIVAL * self._unasked
        relative = (near.values - values) / self._spreads[1]
        known = min(self.n_annotated_[j] / SAMPLE, 1.0)
        bias = np.full_like(mention, BIAS * np.sqrt(known))
        scores = SCORE * mention, SCORE * relative
        parts = FOCUS * (near.focus - focus), TEXT * (compared.whole - self._usual_text)
        return np.hstack([bias, *scores, *parts]), self._offsets(j, mention, relative)

    def _offsets(self, j: int, mention: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return the log-odds that prompts alone give the values of a concept."""
        has_prompts = self._has_prompts[j]
        offsets = np.zeros((len(mention), len(has_prompts)))
        offsets[:, has_prompts] = log_softmax(VALUE * values, axis=1)
        if not has_prompts.all():
            offsets[:, has_prompts] += MENTION * mention
        return offsets

    def _shares(self, compared: Compared) -> list[np.ndarray]:
        found = []
        for j, coef in enumerate(self.coef_):
            features, offsets = self._features(compared, j)
            found.append(softmax(offsets + features @ coef, axis=1))
        return found

    def _annotate(self, X: Any) -> list[np.ndarray]:
        """Return the shares of new texts."""
        check_is_fitted(self)
        texts = as_texts(X)
        if not texts:
            return [np.empty((0, len(values))) for values in self.concept_classes_]
        units = Units.of(texts)
        return self._shares(self._compare(units, self._vectors(units.parts)))

    def _table(self, shares: list[np.ndarray], X: Any) -> pd.DataFrame:
        names, index = self.get_feature_names_out(), _index_of(X)
        if self.output == "soft":
            return pd.DataFrame(np.hstack(shares), index=index, columns=names)
        columns = {}
        for name, values, own in zip(names, self.concept_classes_, shares, strict=True):
            is_sure = own.max(axis=1) >= self.threshold
            columns[name] = np.where(is_sure, values[own.argmax(axis=1)], np.nan)
        return pd.DataFrame(columns, index=index, dtype=object)


def _warn_of_corrections(name: str, offsets: np.ndarray, given: np.ndarray) -> None:
    """Warn if annotations are no sample of texts: prompts are wrong in each of them."""
    if len(given) < SAMPLE or (offsets.argmax(axis=1) == given.argmax(axis=1)).any():
        return
    warn_user(
        f"All {len(given)} annotations of concept {name!r} contradict its prompts. If "
        "they are corrections of what was wrong, all texts are annotated as if prompts "
        "were always wrong. Annotate some random texts too, and confirm what is right.",
        CorrectionWarning,
    )


def _spread(variances: list[Any], n_texts: int) -> float:
    """Return a standard deviation of scores, near the usual one with few texts."""
    mean = float(np.mean(variances)) if variances else 0.0
    total = n_texts * mean + _FEW * _USUAL_SPREAD**2
    return float(np.sqrt(total / (n_texts + _FEW)))


def _index_of(X: Any) -> pd.Index | None:
    return X.index if isinstance(X, pd.Series | pd.DataFrame) else None
