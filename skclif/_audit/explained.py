"""An audit of a fitted explainer: its rows are in memory, and there is no folder."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._explain.explainer import ConceptInfluenceExplainer
from .._explain.readable import annotations_of, labels_of
from .._inputs.training_rows import TrainingRows, as_given
from .._models.bottleneck import ConceptBottleneckClassifier
from .._models.fitted import FittedHeads
from ..metrics._bottleneck_parts import without_concepts
from .corrections import GoldModel, spreads_of
from .decisions import read_decisions
from .findings import Audit, audit
from .models import Models, messages, warnings_of
from .option_names import arguments_kept
from .revisions import Revision, as_arguments
from .rows import (
    Reviews,
    notes_on_annotations,
    notes_on_size,
    notes_on_split,
    tidy,
)


def rows_of(
    name: str, texts: dict[str, np.ndarray], heads: FittedHeads, rows: TrainingRows
) -> Reviews:
    """Return rows in memory as an audit takes them.

    Parameters
    ----------
    name : str
        What a row is called, before its position.
    texts : dict of str to ndarray of shape (n_rows,)
        By column; without any, rows are told apart by their features.
    heads : FittedHeads
    rows : TrainingRows
        As coded for these heads.
    """
    features, labels = as_given(rows.features), labels_of(heads, rows)
    joined = _joined(texts)
    told = _bytes_of(features) if joined is None else (t.encode() for t in joined)
    digests = [hashlib.sha256(content).hexdigest() for content in told]
    annotations = annotations_of(heads, rows)
    concepts = {concept: tidy(pd.Series(v)) for concept, v in annotations.items()}
    return Reviews(
        np.asarray([f"{name} {i}" for i in range(len(labels))], dtype=object),
        joined,
        np.asarray(digests, dtype=object),
        labels,
        pd.DataFrame(concepts, index=range(len(labels))),
        None,
        features,
        rows.weights,
    )


def audit_explained(
    explainer: ConceptInfluenceExplainer,
    train: Reviews,
    plain: Reviews,
    held_out: Reviews,
    *,
    ordinal: dict[str, list[Any]],
    max_mistakes: int | None,
    seed: int,
) -> tuple[Audit, list[str]]:
    """Audit an explainer of features on held-out rows.

    Parameters
    ----------
    explainer : ConceptInfluenceExplainer
        Fitted to the features of `train`; its estimator is a bottleneck.
    train, plain : Reviews
        The same rows; the second with the most probable value of soft annotations.
    held_out : Reviews
    ordinal : dict of str to list
        Values of ordered paths in their order.
    max_mistakes, seed
        As `audit` takes them.

    Returns
    -------
    found : Audit
    notes : list of str
        Reasons to doubt that the held-out rows tell much.
    """
    with arguments_kept():
        models = _models(explainer, plain.used())
        found = audit(
            models,
            train,
            held_out,
            max_mistakes=max_mistakes,
            seed=seed,
            ordinal=ordinal,
        )
        parts = train.used(), held_out
        notes = [*notes_on_size(*parts), *notes_on_annotations(held_out)]
    return found, [*notes, *notes_on_split(*parts)]


def accepted(
    revision: Revision, elsewhere: dict[str, str], path: Path
) -> dict[str, Any]:
    """Return what a file of decisions accepts, as arguments of `edit`.

    Parameters
    ----------
    revision : Revision
        The explained model and its training rows.
    elsewhere : dict of str to str
        Ids of other rows, and why they are not meant.
    path : Path
    """
    with arguments_kept():
        found = read_decisions(path, revision, elsewhere)
    return as_arguments(found.changes, revision.rows.positions())


def _models(explainer: ConceptInfluenceExplainer, used: Reviews) -> Models:
    """Return the explained model, and those that it is compared with."""
    model: ConceptBottleneckClassifier = explainer.estimator_
    black_box = gold = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if model.n_concepts_:
            with warnings_of("The black box"):
                black_box = without_concepts(model)
                if model.label_order_ is not None:  # a type may have said it
                    black_box.set_params(label_order=model.label_order_)
                black_box.fit(used.features, used.labels, used.weights)
            with warnings_of("The model of gold concepts"):
                gold = GoldModel.fit(used, model.C, _kinds(model))
    return Models(explainer, black_box, gold, spreads_of(model, used), messages(caught))


def _kinds(model: ConceptBottleneckClassifier) -> dict[str, str]:
    concepts = zip(model.concept_names_in_, model.concept_classes_, strict=True)
    return {
        str(name): "continuous" if values is None else "categorical"
        for name, values in concepts
    }


def _joined(texts: dict[str, np.ndarray]) -> np.ndarray | None:
    """Return one text for each row: several columns below each other, with names."""
    columns = {
        name: ["" if pd.isna(value) else str(value) for value in column]
        for name, column in texts.items()
    }
    if len(columns) < 2:
        found = next(iter(columns.values()), None)
        return None if found is None else np.asarray(found, dtype=object)
    rows = zip(*columns.values(), strict=True)
    joined = [
        "\n".join(f"{name}: {t}" for name, t in zip(columns, row, strict=True))
        for row in rows
    ]
    return np.asarray(joined, dtype=object)


def _bytes_of(features: Any) -> Iterable[bytes]:
    """Yield what tells rows apart that have no text: their features."""
    for row in range(features.shape[0]):
        one = features[[row]]
        dense = one if isinstance(one, np.ndarray) else one.toarray()
        yield np.ascontiguousarray(dense, dtype="<f8").tobytes()
