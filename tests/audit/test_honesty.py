"""The verdicts of an audit are those of a report on the same model and rows."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator

from skclif._audit.findings import audit
from skclif._audit.honesty import more_than_concepts, shares_of_paths
from skclif._audit.models import fit_models
from skclif._audit.option_names import arguments_kept
from skclif._audit.predictions import held_out_predictions
from skclif._audit.rows import Reviews
from skclif.exceptions import InterventionWarning
from skclif.metrics import bottleneck_report

from ..data import make_concept_data


def _reviews(concepts=True, missing=0.0):
    X, y, table = make_concept_data(200, missing=missing)
    texts = [f"text {i}" for i in range(200)]
    reviews = Reviews.from_parts(texts, texts, y, table if concepts else None)
    reviews = reviews.embedded(X)
    return reviews.take(np.arange(120)), reviews.take(np.arange(120, 200))


@pytest.fixture(scope="module")
def parts():
    return _reviews()


@pytest.fixture(scope="module")
def found(parts):
    train, held_out = parts
    models = fit_models(train)
    return models, audit(models, train, held_out, max_mistakes=1)


def test_numbers_are_those_of_a_report(parts, found):
    models, one = found
    train, held_out = parts
    report = bottleneck_report(
        FrozenEstimator(models.model),
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.labels for part in parts]),
        pd.concat([part.concepts for part in parts], ignore_index=True),
        cv=[(np.arange(120), np.arange(120, 200))],
        random_state=0,
    )
    own = pd.DataFrame(one.bottleneck["estimates"]).set_index(["name", "of", "unit"])
    other = report.estimates.set_index(["name", "of", "unit"])
    assert len(own) == 11
    assert set(own.index) < set(other.index)
    # Draws differ, and so do folds in which leakage is read.
    is_exact = own.index.get_level_values("name") != "leakage"
    np.testing.assert_allclose(
        own["value"][is_exact].astype(float),
        other.loc[own.index, "value"][is_exact],
        atol=1e-9,
    )
    assert np.isfinite(own["value"].astype(float)).all()
    names = [verdict["name"] for verdict in one.bottleneck["verdicts"]]
    assert names == [verdict.name for verdict in report.verdicts]


def test_what_is_kept_is_json(found):
    _, one = found
    assert json.loads(json.dumps(one.bottleneck, allow_nan=False)) == one.bottleneck
    shares = one.bottleneck["influence_by_path"]
    assert set(shares) == {"label", "food", "quiet", "price", "interaction"}
    assert sum(shares.values()) == pytest.approx(1)


def test_shares_of_paths_are_of_sizes():
    values = np.array([[1.0, -2.0], [-1.0, 4.0]])
    assert shares_of_paths(("a", "b"), values) == {"a": 0.25, "b": 0.75}
    assert shares_of_paths(("a",), np.zeros((2, 1))) == {}


def test_a_black_box_has_no_verdicts():
    train, held_out = _reviews(concepts=False)
    assert audit(fit_models(train), train, held_out, max_mistakes=1).bottleneck is None


def test_gaps_and_unknown_numbers_are_null():
    train, held_out = _reviews(missing=0.6)
    few = held_out.take(np.arange(20))
    one = audit(fit_models(train), train, few, max_mistakes=1)
    (leakage,) = (e for e in one.bottleneck["estimates"] if e["name"] == "leakage")
    assert leakage["value"] is leakage["low"] is None
    answers = {verdict["answer"] for verdict in one.bottleneck["verdicts"]}
    assert answers == {"cannot tell"}


# --- A bottleneck that beats its gold concepts ----------------------------------------


LEAKING = {"training": "sequential", "C": 1e6, "concept_C": 1e-3}


def _leaking(n=300, seed=0):
    """Return rows whose label depends on how strongly concepts apply, not on values."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    table = pd.DataFrame(np.where(X > 1, "yes", "no"), columns=[*"abcd"])
    y = np.where(X.sum(axis=1) > 0, "good", "bad")
    reviews = Reviews.from_parts([*map(str, range(n))], [*map(str, range(n))], y, table)
    reviews = reviews.embedded(X)
    return reviews.take(np.arange(n - 100)), reviews.take(np.arange(n - 100, n))


@pytest.fixture(scope="module")
def leaking():
    train, held_out = _leaking()
    models = fit_models(train, **LEAKING)
    with pytest.warns(InterventionWarning, match="may make this model's labels worse"):
        return models, held_out_predictions(models, held_out)


def test_an_audit_warns_of_a_bottleneck_that_beats_true_annotations():
    train, held_out = _leaking()
    honest = fit_models(train, training="independent")
    one = audit(honest, train, held_out, max_mistakes=1)
    assert not [note for note in one.warnings if "better than true" in note]
    one = audit(fit_models(train, **LEAKING), train, held_out, max_mistakes=1)
    scores = one.metrics["label"]
    (said,) = (note for note in one.warnings if "better than true" in note)
    for who in ("model", "gold", "corrected"):
        assert f" {scores[who]['log_loss']:.3f}" in said
    assert scores["corrected"]["log_loss"] > scores["model"]["log_loss"]
    assert "on 100 held-out texts" in said
    assert "something that the concepts do not say (leakage)" in said


def test_the_warning_names_options_or_arguments(leaking):
    models, predictions = leaking
    (command,) = more_than_concepts(models.model, predictions)
    assert command.endswith(
        "Let --concept-C auto choose the penalties of the concept"
        "s, add the concept that is missing, or let --residual-C "
        "carry it openly."
    )
    with arguments_kept():
        (python,) = more_than_concepts(models.model, predictions)
    assert "Let concept_C='auto' choose" in python
    assert "or let residual_C carry it openly" in python


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.head(49),  # too few to tell
        lambda table: table.assign(**{"annotated:a": None}),  # perhaps it tells this
        lambda table: table.assign(gold_loss=table["loss"] + 0.019),  # too little
        lambda table: table.assign(gold_loss=table["loss"] - 0.1),
        # Not more than chance.
        lambda table: table.assign(
            gold_loss=table["loss"] + np.where(np.arange(len(table)) < 3, 1.0, 0)
        ),
        lambda table: table.drop(columns=["gold_loss", "corrected_loss"]),
    ],
    ids=["few", "missing", "little", "worse", "chance", "unknown"],
)
def test_what_is_not_called_leakage(leaking, change):
    models, predictions = leaking
    assert len(more_than_concepts(models.model, predictions)) == 1
    assert more_than_concepts(models.model, change(predictions)) == []


def test_a_residual_may_tell_more_than_the_concepts():
    train, held_out = _leaking()
    models = fit_models(train, residual_C=1.0)
    predictions = held_out_predictions(models, held_out)
    assert (predictions["gold_loss"] - predictions["loss"]).mean() > 0.1
    assert more_than_concepts(models.model, predictions) == []
