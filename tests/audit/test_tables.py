"""The tables of an audit: which rows have a line, and what stands in it."""

from dataclasses import replace

import numpy as np

from skclif._audit.findings import audit
from skclif._audit.influence import N_CULPRITS
from skclif._audit.models import fit_models
from skclif._audit.rows import Reviews

from ..data import make_concept_data


def _table(weights=None, n_train=12):
    """Return the influence of a few rows on held-out ones, some of them mistakes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2))
    labels = np.where(X[:, 0] + 0.7 * rng.normal(size=40) > 0, "good", "bad")
    ids, texts = zip(*((f"id{i}", f"text {i}") for i in range(40)), strict=True)
    reviews = Reviews.from_parts(ids, texts, labels).embedded(X)
    is_held = np.arange(40) >= n_train
    train, held_out = reviews.take(~is_held), reviews.take(is_held)
    if weights is not None:
        train = replace(train, weights=weights)
    table = audit(fit_models(train), train, held_out).influence
    return dict(iter(table.groupby("target")))


def test_culprits_do_harm_and_helpers_help():
    found = _table(n_train=7)["row"]
    harms = found[found["influence"] > 0].groupby("target_id")["rank"]
    helps = found[found["influence"] < 0].groupby("target_id")["rank"]
    assert len(harms.size()) + len(helps.size()) > 0
    assert harms.size().max() <= N_CULPRITS and harms.size().min() < N_CULPRITS
    assert helps.size().max() <= N_CULPRITS and helps.size().min() < N_CULPRITS
    assert (harms.min() == 1).all()
    assert (helps.max() == 7).all()
    assert (found["influence"] != 0).all()


def test_rows_that_were_dropped_have_no_rank():
    weights = np.where(np.arange(12) < 3, 0.0, 1.0)
    found = _table(weights)["row"]
    assert found["rank"].max() == 9
    ranks = found.sort_values(["target_id", "rank"]).groupby("target_id")["influence"]
    assert ranks.apply(lambda values: values.is_monotonic_decreasing).all()


def test_rows_that_were_dropped_have_no_line():
    weights = np.where(np.arange(12) < 3, 0.0, 1.0)
    found = _table(weights)["all"]
    assert set(found["train_id"]) == {f"id{i}" for i in range(3, 12)}
    assert set(_table()["all"]["train_id"]) == {f"id{i}" for i in range(12)}


def test_the_probability_of_an_annotation_is_that_of_its_value():
    X, y, concepts = make_concept_data(120)
    ids, texts = zip(*((f"id{i}", f"text {i}") for i in range(120)), strict=True)
    reviews = Reviews.from_parts(ids, texts, y, concepts).embedded(X)
    is_held = np.arange(120) >= 80
    train, held_out = reviews.take(~is_held), reviews.take(is_held)
    models = fit_models(train)
    found = audit(models, train, held_out).predictions
    for j, (name, proba) in enumerate(
        models.model.predict_concept_proba(X[is_held]).items()
    ):
        values = models.model.concept_classes_[j].tolist()
        for row, value in enumerate(held_out.concepts[name]):
            said = found[f"p_annotated:{name}"][row]
            if value is None:
                assert np.isnan(said)
            else:
                assert said == proba[row, values.index(value)]
