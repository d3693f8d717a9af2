"""What known concepts would change: for all held-out rows, and for each mistake."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .._inputs.indicators import Indicators
from .._models.bottleneck import ConceptBottleneckClassifier
from ..exceptions import PenaltyWarning
from .rows import Reviews

# What failed in a mistake. A concept was misread if the label comes right once every
# value that was read otherwise than people read it is corrected, and no other value is.
# If it does not, and people did not read all concepts of the row, it may be one of the
# others that was misread, so that nothing else can be said either.
MISREAD, LABEL_HEAD, DOUBTFUL = "concept misread", "label head", "doubtful label"
UNKNOWN = "unknown"
# A label is doubtful if the concepts as people read them, and nothing else, give it
# less than this probability.
LEAST = 0.1


@dataclass(frozen=True)
class GoldModel:
    """A model of the label that sees annotations alone, not the text.

    It is what a bottleneck can reach without leakage. A missing annotation is a value
    by itself.

    Attributes
    ----------
    classifier : ConceptBottleneckClassifier
        Fitted to indicators of the values, without a bottleneck.
    indicators : Indicators
        The columns that it sees.
    """

    classifier: ConceptBottleneckClassifier
    indicators: Indicators

    @classmethod
    def fit(
        cls, train: Reviews, C: float | str, kinds: dict[str, str] | None = None
    ) -> GoldModel:
        """Fit the model to training rows; `kinds` are those of their concepts."""
        indicators = Indicators.learn(train.concepts, kinds)
        classifier = ConceptBottleneckClassifier(C=C)
        with warnings.catch_warnings():
            # Values that settle the label need no penalty; nobody has to act on that.
            warnings.simplefilter("ignore", PenaltyWarning)
            classifier.fit(
                indicators.encode(train.concepts), train.labels, train.weights
            )
        return cls(classifier, indicators)

    def predict_proba(self, rows: Reviews) -> np.ndarray:
        """Return probabilities of the labels, (n_rows, n_classes)."""
        return self.classifier.predict_proba(self.indicators.encode(rows.concepts))


def value_codes(
    model: ConceptBottleneckClassifier, concepts: pd.DataFrame
) -> dict[str, np.ndarray]:
    """Return the codes of annotations by concept, -1 if the model knows no such value.

    A code is the position among the values in `concept_classes_`. A concept of amounts
    has no codes.
    """
    return {
        name: pd.Index(values).get_indexer(
            pd.Index(concepts[name].to_numpy(dtype=object))
        )
        for name, values in zip(
            model.concept_names_in_, model.concept_classes_, strict=True
        )
        if values is not None
    }


def known_concepts(
    model: ConceptBottleneckClassifier, concepts: pd.DataFrame
) -> pd.DataFrame:
    """Return annotations that the model knows the value of; the others are None."""
    known, codes = {}, value_codes(model, concepts)
    for name in model.concept_names_in_:
        given = concepts[name].to_numpy(dtype=object)
        if name in codes:
            given = np.where(codes[name] >= 0, given, None)
        known[name] = pd.Series(given, dtype=object)
    return pd.DataFrame(known)


def never_annotated(
    model: ConceptBottleneckClassifier, concepts: pd.DataFrame
) -> list[str]:
    """Return the concepts of which no row has an annotation that the model knows."""
    known = known_concepts(model, concepts)
    return [str(name) for name, column in known.items() if column.isna().all()]


def spreads_of(model: ConceptBottleneckClassifier, train: Reviews) -> dict[str, float]:
    """Return the standard deviation of the annotations of every concept of amounts."""
    concepts = zip(model.concept_names_in_, model.concept_classes_, strict=True)
    used = train.used().concepts
    return {
        str(name): float(used[name].dropna().astype(float).std(ddof=0))
        for name, values in concepts
        if values is None
    }


def is_misread(
    annotated: pd.Series, predicted: pd.Series, spread: float | None
) -> pd.Series:
    """Return where a model reads a concept otherwise than people do.

    An amount is misread if it is further off than its annotations are from their mean
    as a rule, by their standard deviation `spread`: whoever always says the mean is as
    near as that. None for categories, which are misread if they differ.
    """
    known = annotated.notna()
    if spread is None:
        return known & (annotated != predicted)
    errors = (annotated.astype(float) - predicted.astype(float)).abs()
    return known & (errors > spread)


def correct(
    model: ConceptBottleneckClassifier, rows: Reviews, spreads: dict[str, float]
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Return what the model says with annotations in place of its predictions.

    Parameters
    ----------
    model : ConceptBottleneckClassifier
    rows : Reviews
    spreads : dict of str to float
        Of the concepts of amounts, as `spreads_of` returns them.

    Returns
    -------
    corrected : ndarray of shape (n_rows, n_classes)
        With all annotations.
    mended : ndarray of shape (n_rows, n_classes)
        With the annotations of the concepts that the model misread. The others, which
        it read as people do but perhaps not surely, stay as it predicts them.
    labels : DataFrame of shape (n_rows, n_concepts)
        The label with the annotation of one concept alone, where the model misread it;
        None elsewhere.
    """
    known = known_concepts(model, rows.concepts)
    predicted = pd.DataFrame(
        model.predict_concepts(rows.features), columns=model.concept_names_in_
    )
    misread = pd.DataFrame(
        {
            name: is_misread(known[name], predicted[name], spreads.get(name))
            for name in model.concept_names_in_
        }
    )
    labels = {}
    for name in model.concept_names_in_:
        proba = model.intervene(rows.features, known[[name]])
        says = model.classes_[proba.argmax(axis=1)].astype(object)
        labels[name] = pd.Series(np.where(misread[name], says, None), dtype=object)
    corrected, mended = (
        model.intervene(rows.features, values)
        for values in (known, known.where(misread, None))
    )
    return corrected, mended, pd.DataFrame(labels)


def what_failed(
    labels: np.ndarray,
    classes: np.ndarray,
    proba: np.ndarray,
    corrected: np.ndarray,
    mended: np.ndarray,
    gold: np.ndarray,
    least: float = LEAST,
    is_read: np.ndarray | None = None,
) -> list[Any]:
    """Return the stage that failed in each row; None if the prediction is right.

    Parameters
    ----------
    labels : ndarray of shape (n_rows,)
    classes : ndarray of shape (n_classes,)
    proba, corrected, mended, gold : ndarray of shape (n_rows, n_classes)
        Of the model as it predicts, with all annotations and with those of misread
        concepts, as `correct` returns them, and of the gold model.
    least : float
        A label is doubtful below this probability.
    is_read : ndarray of shape (n_rows,), bool, default=None
        Whether the row has annotations of all concepts, of values that the model knows.
        None if all rows have.
    """
    codes = np.searchsorted(classes, labels)
    rows = np.arange(len(labels))
    failed: list[Any] = []
    for row, code in zip(rows, codes, strict=True):
        if proba[row].argmax() == code:
            failed.append(None)
        elif mended[row].argmax() == code:
            failed.append(MISREAD)
        elif is_read is not None and not is_read[row]:
            failed.append(UNKNOWN)
        elif max(corrected[row, code], gold[row, code]) < least:
            failed.append(DOUBTFUL)
        else:
            failed.append(LABEL_HEAD)
    return failed
