"""Baselines on the same folds, one after the other, each as soon as it is done."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state

from .._inputs.annotations import Annotations
from .._inputs.checks import check_labels, check_row_order, error_context
from .._inputs.devices import resolve_device
from .._inputs.indicators import Indicators
from .._inputs.learning import learn
from .._inputs.progress import Progress, check_verbose
from .._results.baselines import SCORES, BaselineComparison
from .._results.words import how_many
from .._text.embedder import SentenceEmbedder
from .._text.texts import as_texts
from .._text.weights import find_model
from ..exceptions import (
    PenaltyWarning,
    RepeatedTextWarning,
    TruncatedTextWarning,
    warn_user,
)
from ..numerics.agreement import macro_f1
from ..numerics.steps import Advance
from .pipelines import make_text_pipeline, sentence_vectors

_BOOTSTRAPS = 500
GOLD = "annotations"


@dataclass(frozen=True)
class Baseline:
    """A model to compare.

    Attributes
    ----------
    name : str
    sees : str
        What of a text it sees.
    estimator : estimator
    uses_concepts : bool
        Whether annotations teach it.
    """

    name: str
    sees: str
    estimator: Any
    uses_concepts: bool = False


def compare_baselines(
    X: Any,
    y: Any,
    concepts: Any = None,
    *,
    cv: Any = 5,
    vectors: Any = True,
    groups: Any = None,
    random_state: Any = None,
    on_model: Callable[[pd.Series], None] | None = None,
    verbose: int = 0,
) -> BaselineComparison:
    """Compare quick baselines for texts, cheapest first.

    Every model predicts each row when the row's fold is left out. The table begins with
    the majority and ends with the label from annotations alone, which is what a
    bottleneck can reach without leakage.

    Parameters
    ----------
    X : array-like of str of shape (n_samples,)
        The texts.
    y : array-like of shape (n_samples,)
        Their labels.
    concepts : DataFrame or array-like of shape (n_samples, n_concepts), default=None
        Annotations; None or NaN where one is missing. With them, bottlenecks and the
        label from annotations alone are part of the table.
    cv : int, splitter or iterable of splits, default=5
        Number of stratified folds, drawn by `random_state` (None is 5), or a splitter
        or (train, test) positions, which test no row twice. Rows that are not tested
        only train. Equal texts stay in one fold; what parts them, also `groups`, is
        obeyed with a warning.
    vectors : bool or transformer, default=True
        Sentence vectors, as in :func:`make_text_pipeline`. False compares words alone,
        in seconds.
    groups : array-like of shape (n_samples,), default=None
        Rows of one group stay in one fold.
    random_state : int, RandomState instance or None, default=None
        Draws folds and the bootstrap samples of intervals.
    on_model : callable, default=None
        Called with each line of the table as soon as it is there.
    verbose : int, default=0
        If positive, show the progress of each model on stderr, with the time left, as
        soon as the whole comparison has taken two seconds.

    Returns
    -------
    comparison : BaselineComparison
        The table, with a plot.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind, lengths differ, a class has fewer rows than
        there are folds, or most labels are of one row.
    OSError
        If the embedding model cannot be found; before anything is fitted.

    Warns
    -----
    RepeatedTextWarning
        If equal texts lie in several folds.
    TruncatedTextWarning
        If texts are longer than the embedding model reads.

    See Also
    --------
    make_text_pipeline : The models of the table, to fit and to change.

    Examples
    --------
    >>> from skclif import compare_baselines
    >>> from skclif.datasets import make_concept_reviews
    >>> reviews = make_concept_reviews(200, random_state=0)
    >>> comparison = compare_baselines(
    ...     reviews.data, reviews.target, vectors=False, random_state=0
    ... )
    >>> comparison.frame["model"].tolist()
    ['majority', 'words']
    """
    check_row_order(X=X, y=y, concepts=concepts, groups=groups)
    texts = _texts(X)
    y = _classes(y, len(texts))
    _check_vectors(vectors)
    annotations = _annotations(concepts, len(texts))
    if on_model is not None and not callable(on_model):
        raise TypeError(
            f"on_model must be a function of a line of the table, got {on_model!r}."
        )
    rng = check_random_state(random_state)
    check_verbose(verbose)
    folds = _folds(cv, texts, y, groups, rng)
    seed = int(rng.randint(2**31))
    rows, progress = [], Progress(verbose)
    for baseline in baselines(vectors, annotations is not None):
        with progress.stage(f"Model {baseline.name!r}", len(folds)) as done:
            row = _measured(baseline, texts, y, annotations, folds, seed, done)
        if baseline.name == "vectors":
            _warn_of_long_texts(baseline.estimator, texts)
        if on_model is not None:
            on_model(row)
        rows.append(row)
    frame = pd.DataFrame(rows).reset_index(drop=True)
    n_tested = sum(len(test) for _, test in folds)
    n_repeated = len(texts) - len(np.unique(texts))
    return BaselineComparison(frame, n_tested, len(folds), n_repeated)


compare_baselines.__module__ = "skclif"


def baselines(vectors: Any, has_concepts: bool) -> Iterator[Baseline]:
    """Yield the models of the table, cheapest first."""
    yield Baseline("majority", "nothing", DummyClassifier(strategy="prior"))
    seen = {"words": make_text_pipeline(vectors=False)}
    if vectors is not False:
        seen["vectors"] = make_text_pipeline(vectors=vectors, words=False)
        seen["vectors and words"] = make_text_pipeline(vectors=vectors)
    for sees, pipeline in seen.items():
        yield Baseline(sees, sees, pipeline)
    if not has_concepts:
        return
    for sees, pipeline in seen.items():
        name = f"bottleneck on {sees}"
        yield Baseline(name, sees, pipeline, uses_concepts=True)
    from .._models.bottleneck import ConceptBottleneckClassifier  # loads torch

    gold = ConceptBottleneckClassifier(C="auto")
    yield Baseline("label from annotations", GOLD, gold, uses_concepts=True)


def _measured(
    baseline: Baseline,
    texts: np.ndarray,
    y: np.ndarray,
    annotations: pd.DataFrame | None,
    folds: list[tuple[np.ndarray, np.ndarray]],
    seed: int,
    advance: Advance,
) -> pd.Series:
    """Return the line of one model."""
    start = time.perf_counter()
    classes = np.unique(y)
    proba = np.zeros((len(y), len(classes)))
    inputs, fit = texts, {}
    if baseline.sees == GOLD:
        assert annotations is not None
        # Values and scales of all rows; there is no label in them.
        inputs = Indicators.learn(annotations).encode(annotations)
    for fold, (train, test) in enumerate(folds):
        model = clone(baseline.estimator)
        if annotations is not None and baseline.uses_concepts:
            fit = _fit_params(model, annotations.iloc[train])
        with warnings.catch_warnings():
            # Penalties at an edge and slow solvers matter to nobody who compares.
            warnings.simplefilter("ignore", PenaltyWarning)
            warnings.simplefilter("ignore", ConvergenceWarning)
            # It is said once, of all texts, and not for every model and fold.
            warnings.simplefilter("ignore", TruncatedTextWarning)
            try:
                model.fit(inputs[train], y[train], **fit)
            except ValueError as error:
                raise ValueError(
                    f"The model {baseline.name!r} cannot be fitted without fold "
                    f"{fold + 1} of {len(folds)}: {error}"
                ) from error
            columns = np.searchsorted(classes, model.classes_)
            proba[np.ix_(test, columns)] = model.predict_proba(inputs[test])
        advance(1)
    seconds = time.perf_counter() - start
    tested = np.sort(np.concatenate([test for _, test in folds]))
    scores = _scores(proba[tested], y[tested], classes, seed)
    about = {"model": baseline.name, "sees": baseline.sees}
    return pd.Series({**about, **scores, "seconds": seconds})


def _warn_of_long_texts(pipeline: Any, texts: np.ndarray) -> None:
    """Embed all texts together, which warns once; their vectors are in memory."""
    embedder = pipeline["features"]
    if isinstance(embedder, SentenceEmbedder) and embedder.share_vectors:
        embedder.transform(texts)


def _fit_params(model: Any, annotations: pd.DataFrame) -> dict[str, Any]:
    if isinstance(model, Pipeline):
        return {"classifier__concepts": annotations}
    return {}  # annotations are its features


def _scores(
    proba: np.ndarray, y: np.ndarray, classes: np.ndarray, seed: int
) -> dict[str, float]:
    """Return every score, with the ends of its 95 % bootstrap interval over rows."""
    codes = np.searchsorted(classes, y)
    rng = np.random.RandomState(seed)
    samples = [np.arange(len(y))]
    samples += [rng.randint(len(y), size=len(y)) for _ in range(_BOOTSTRAPS)]
    predicted = proba.argmax(axis=1)
    least = np.finfo(float).tiny
    losses = -np.log(np.maximum(proba[np.arange(len(y)), codes], least))
    found = np.array(
        [
            [
                (predicted[rows] == codes[rows]).mean(),
                macro_f1(codes[rows], predicted[rows]),
                losses[rows].mean(),
            ]
            for rows in samples
        ]
    )
    low, high = np.percentile(found[1:], [2.5, 97.5], axis=0)
    return {
        f"{score}{end}": float(values[j])
        for j, score in enumerate(SCORES)
        for end, values in (("", found[0]), ("_low", low), ("_high", high))
    }


def _texts(X: Any) -> np.ndarray:
    texts = np.asarray(as_texts(X), dtype=object)
    if not len(texts):
        raise ValueError("X has no texts.")
    return texts


def _classes(y: Any, n_rows: int) -> np.ndarray:
    """Return labels that can be classes."""
    with warnings.catch_warnings():
        # Said below, as an error that names y.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        y = check_labels(y, n_rows)
    labels = np.unique(y)
    if len(labels) < 2:
        raise ValueError(
            f"y has one label only, {labels.tolist()[0]!r}: nothing to compare."
        )
    if len(labels) > len(y) / 2:
        raise ValueError(
            f"y has {len(labels)} different labels in {len(y)} rows, such as "
            f"{labels.tolist()[0]!r}: it seems to name the rows or to measure, not to "
            "be a class. Choose another column of labels, or cut numbers into a few "
            "classes."
        )
    return y


def _annotations(concepts: Any, n_rows: int) -> pd.DataFrame | None:
    """Return annotations that bottlenecks can learn."""
    read = Annotations.read(concepts, None, n_rows)
    if read is None:
        return None
    learn(read, np.ones(n_rows))  # says what is wrong with a concept
    return read.table


def _check_vectors(vectors: Any) -> None:
    """Refuse sentence vectors that cannot be had before any model is fitted."""
    embedder = sentence_vectors(vectors)
    if isinstance(embedder, SentenceEmbedder):
        if embedder.device != "cpu":  # to look for others loads torch
            resolve_device(embedder.device)
        find_model(embedder.model, embedder.verbose)


def _folds(
    cv: Any, texts: np.ndarray, y: np.ndarray, groups: Any, rng: np.random.RandomState
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return rows to train on and to test, for each fold."""
    if groups is not None:
        from .._explain.requests import check_groups  # loads torch

        groups, _ = check_groups(groups, len(texts))
    cv = 5 if cv is None else cv
    if isinstance(cv, int | np.integer) and not isinstance(cv, bool):
        folds = _drawn_folds(int(cv), texts, y, groups, rng)
        return _checked_folds(folds, texts, y)
    return _checked_folds(_split(cv, texts, y, groups), texts, y)


def _split(
    cv: Any, texts: np.ndarray, y: np.ndarray, groups: np.ndarray | None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the folds of a splitter, or of an iterable of splits."""
    is_iterable = isinstance(cv, Iterable) and not isinstance(cv, str)
    splits: Any = cv if is_iterable and not hasattr(cv, "split") else None
    if splits is None and hasattr(cv, "split") and not isinstance(cv, str):
        with error_context("cv", "a number of folds or a splitter for these rows"):
            splits = list(check_cv(cv).split(texts, y, groups))
    splits = [] if splits is None else list(splits)
    if not splits or not all(hasattr(s, "__len__") and len(s) == 2 for s in splits):
        raise TypeError(
            f"cv must be a number of folds or a splitter, got {cv!r}; or an iterable "
            "of (train, test) positions."
        )
    return [(np.asarray(train), np.asarray(test)) for train, test in splits]


def _drawn_folds(
    n_folds: int,
    texts: np.ndarray,
    y: np.ndarray,
    groups: np.ndarray | None,
    rng: np.random.RandomState,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return stratified folds of groups, or of different texts."""
    if n_folds < 2:
        raise ValueError(f"cv={n_folds} must be 2 or more folds.")
    if groups is not None:
        _check_rarest(n_folds, y, "rows")
        if n_folds > len(np.unique(groups)):
            raise ValueError(
                f"cv={n_folds} folds need as many groups, and there are "
                f"{len(np.unique(groups))}; use fewer folds, or no groups."
            )
        by_group = StratifiedGroupKFold(n_folds, shuffle=True, random_state=rng)
        return list(by_group.split(texts, y, groups))
    # Equal texts are one, with the label of the first of them.
    codes, different = pd.factorize(texts)
    if len(different) < n_folds:
        raise ValueError(
            f"cv={n_folds} folds need as many different texts, and {len(texts)} rows "
            f"have {len(different)}. Are these the texts?"
        )
    labels = y[~pd.Series(texts).duplicated().to_numpy()]
    _check_rarest(n_folds, labels, "different texts")
    by_text = StratifiedKFold(n_folds, shuffle=True, random_state=rng)
    parts = [np.isin(codes, test) for _, test in by_text.split(different, labels)]
    return [(np.flatnonzero(~part), np.flatnonzero(part)) for part in parts]


def _check_rarest(n_folds: int, y: np.ndarray, what: str) -> None:
    labels, counts = np.unique(y, return_counts=True)
    fewest, rarest = counts.min(), labels.tolist()[counts.argmin()]
    if n_folds > fewest:
        raise ValueError(
            f"cv={n_folds} folds need as many {what} of every label, and {rarest!r} "
            f"has {fewest}. Use fewer folds (at least 2), or leave out labels that are "
            "so rare."
        )


def _checked_folds(
    folds: list[tuple[np.ndarray, np.ndarray]], texts: np.ndarray, y: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return folds that every model can be measured on; warn of texts in several."""
    for fold, (train, test) in enumerate(folds):
        unseen = np.setdiff1d(y[test], y[train])
        if len(unseen):
            raise ValueError(
                f"Without fold {fold + 1} of {len(folds)} there is no row of the label "
                f"{unseen.tolist()[0]!r}, which then has no probability: all its rows "
                "are in one group or part. Leave this label out, or cut the rows in "
                "another way."
            )
    tested = np.concatenate([test for _, test in folds])
    if len(np.unique(tested)) < len(tested):
        raise ValueError("cv must test no row twice.")
    seen = sum(np.isin(texts[test], texts[train]).sum() for train, test in folds)
    if seen:
        warn_user(
            f"{how_many(int(seen), 'text')} of {len(tested)} to predict also "
            f"{'stands' if seen == 1 else 'stand'} among the rows to train on, so that "
            "all scores are too good. Give equal texts one group, or leave out all but "
            "one of them.",
            RepeatedTextWarning,
        )
    return folds
