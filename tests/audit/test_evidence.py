"""What a page shows besides the tables: intervals, counts, and the label head."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

from skclif import ConceptBottleneckClassifier
from skclif._audit.evidence import (
    LabelHead,
    confusion_of,
    distinct,
    evidence,
    scores_of,
    wilson,
)
from skclif._audit.models import fit_models
from skclif._audit.predictions import held_out_predictions
from skclif._audit.rows import Reviews
from skclif.metrics import intervention_curve

from ..data import make_concept_data


@pytest.fixture(scope="module")
def parts():
    X, y, concepts = make_concept_data(180, seed=3)
    stars = np.searchsorted(np.unique(y), y) + 1
    ids, texts = zip(*((f"id{i}", f"text {i}") for i in range(180)), strict=True)
    reviews = Reviews.from_parts(ids, texts, stars, concepts).embedded(X)
    train, held_out = reviews.take(np.arange(110)), reviews.take(np.arange(110, 180))
    return fit_models(train), train, held_out


@pytest.fixture(scope="module")
def found(parts):
    models, train, held_out = parts
    predictions = held_out_predictions(models, held_out)
    wrong = np.flatnonzero(predictions["label"] != predictions["predicted"])
    return evidence(models, train, held_out, predictions, wrong, 0), predictions


def test_scores_are_those_of_the_tables(found):
    scores, table = found[0].scores, found[1]
    for who, prefix in [("model", ""), ("black_box", "black_box_"), ("gold", "gold_")]:
        one, said = scores[who], table[f"{prefix}predicted"]
        assert one["accuracy"]["value"] == accuracy_score(table["label"], said)
        low, high = one["accuracy"]["interval"]
        assert (low, high) == wilson(one["accuracy"]["value"], len(table))
        loss = one["log_loss"]["value"]
        proba = table[[f"{prefix}p={v}" for v in np.unique(table["label"])]]
        assert loss == pytest.approx(log_loss(table["label"], proba))
        losses = table[f"{prefix}loss"]
        half = norm.ppf(0.975) * losses.std() / np.sqrt(len(losses))
        np.testing.assert_allclose(
            one["log_loss"]["interval"], [loss - half, loss + half], rtol=1e-6
        )
        near = (table["label"] - said).abs() <= 1
        assert one["within_one"]["value"] == near.mean()


def test_the_majority_has_scores_of_its_own(parts, found):
    _, train, held_out = parts
    values, counts = np.unique(train.labels, return_counts=True)
    one = found[0].scores["majority"]
    right = (held_out.labels == values[counts.argmax()]).mean()
    assert one["accuracy"]["value"] == right
    shares = dict(zip(values, counts / counts.sum(), strict=True))
    losses = [-np.log(shares[label]) for label in held_out.labels]
    assert one["log_loss"]["value"] == pytest.approx(np.mean(losses))


def test_concepts_have_intervals_where_they_have_values(found):
    scores, table = found[0].scores["concepts"], found[1]
    for name, interval in scores.items():
        rows = table[table[f"annotated:{name}"].notna()]
        right = (rows[f"annotated:{name}"] == rows[f"predicted:{name}"]).mean()
        assert tuple(interval) == wilson(right, len(rows))


@pytest.mark.parametrize(
    ("labels", "is_ordered"),
    [
        ([1, 2, 3], True),
        (["0.5", "10", "9.5"], True),
        (["bad", "fair", "good"], False),
        ([True, False, True], False),
        (["1", "2", "nan"], False),
        ([1, 2, 1], False),  # two classes are next to each other anyway
    ],
)
def test_next_to_right_needs_three_numbers(labels, is_ordered):
    labels = np.asarray(labels, dtype=object)
    table = pd.DataFrame({"label": labels, "predicted": labels[::-1], "loss": 1.0})
    one = scores_of(labels, table, [])["model"]
    assert ("within_one" in one) == is_ordered


def test_next_to_right_goes_by_size_and_not_by_spelling():
    labels = np.asarray(["9.5", "10", "0.5"], dtype=object)
    said = np.asarray(["10", "9.5", "9.5"], dtype=object)
    table = pd.DataFrame({"label": labels, "predicted": said, "loss": 1.0})
    assert scores_of(labels, table, [])["model"]["within_one"]["value"] == 1
    table["predicted"] = np.asarray(["0.5", "0.5", "10"], dtype=object)
    assert scores_of(labels, table, [])["model"]["within_one"]["value"] == 1 / 3


def test_confusion_counts_every_pair(found):
    table, confusion = found[1], found[0].confusion
    matrix = confusion_matrix(table["label"], table["predicted"])
    counts = {(a, b): n for a, b, n in confusion["counts"]}
    assert confusion["labels"] == np.unique(table["label"]).tolist()
    for pair, n in np.ndenumerate(matrix):
        assert counts.get(pair, 0) == n
    assert min(counts.values()) > 0


def test_labels_are_in_order_by_size_and_words_by_spelling():
    assert distinct(["10", "9.5", "0.5", "10"]) == ["0.5", "9.5", "10"]
    assert distinct(["good", "bad"]) == ["bad", "good"]
    assert distinct([3, 1, 2]) == [1, 2, 3]
    table = pd.DataFrame({"label": ["10", "9"], "predicted": ["9", "9"]})
    assert confusion_of(table)["labels"] == ["9", "10"]


def test_corrections_are_the_intervention_curve(parts, found):
    models, _, held_out = parts
    curve = intervention_curve(
        models.model,
        held_out.features,
        held_out.labels,
        held_out.concepts,
        random_state=0,
    )
    assert found[0].corrections["accuracy"] == curve.accuracy.tolist()
    assert found[0].corrections["log_loss"] == curve.log_loss.tolist()


def test_values_that_training_lacks_are_not_corrected(parts):
    models, train, held_out = parts
    table = held_out.concepts.copy()
    name = table.columns[0]
    table[name] = pd.Series(["never seen"] * len(table), dtype=object)
    strange = replace(held_out, concepts=table)
    predictions = held_out_predictions(models, strange)
    curve = evidence(models, train, strange, predictions, np.arange(3), 0).corrections
    assert len(curve["n_corrected"]) == len(table.columns)
    table = table.map(lambda _: None)
    nothing = replace(held_out, concepts=table)
    predictions = held_out_predictions(models, nothing)
    found = evidence(models, train, nothing, predictions, np.arange(3), 0)
    assert found.corrections is None


@pytest.mark.parametrize("residual_C", [None, 0.1])
@pytest.mark.parametrize("bottleneck", ["soft", "hard", "logit"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_label_head_gives_the_probabilities(bottleneck, n_classes, residual_C):
    X, y, concepts = make_concept_data(120, seed=1)
    y = np.searchsorted(np.unique(y), y) % n_classes
    concepts = concepts.assign(score=X[:, 0])
    clf = ConceptBottleneckClassifier(bottleneck=bottleneck, residual_C=residual_C)
    clf.fit(X, y, concepts=concepts)
    head = LabelHead.of(clf, X[:9])
    scores = head.activations @ head.coef.T + head.intercept
    if scores.shape[1] == 1:
        scores = np.hstack([np.zeros_like(scores), scores])
    proba = np.exp(scores - scores.max(axis=1, keepdims=True))
    proba /= proba.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(proba, clf.predict_proba(X[:9]), atol=1e-12)
    assert head.names == list(concepts)
    assert head.values[-1] is None
    sizes = [stop - start for start, stop in head.columns]
    known = [1 if v is None or len(v) == 2 else len(v) for v in head.values]
    assert sizes == known
    assert LabelHead.of(clf, X[:0]).activations.size == 0
