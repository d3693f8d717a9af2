"""Scores of clean rows: by routing, by index, and what is refused."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, get_scorer, log_loss, make_scorer, max_error
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate

from skclif import InfluenceReweighter
from skclif.metrics import make_clean_scorer

N = 400


@pytest.fixture(scope="module")
def data():
    """Return rows of which those that are not clean have wrong labels."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 4))
    y = (X[:, 0] > 0).astype(int)
    clean = np.arange(N) % 4 == 0
    y[~clean & (X[:, 1] > 0)] = 1
    return X, y, clean


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.parametrize("scoring", ["accuracy", "neg_log_loss", "f1", "roc_auc"])
def test_the_score_is_that_of_the_clean_rows_alone(data, scoring):
    X, y, clean = data
    clf = LogisticRegression().fit(X, y)
    found = make_clean_scorer(scoring)(clf, X, y, is_clean=clean)
    assert found == pytest.approx(get_scorer(scoring)(clf, X[clean], y[clean]))
    assert found != pytest.approx(get_scorer(scoring)(clf, X, y))


def test_a_class_without_clean_rows_is_no_matter(data):
    X, y, clean = data
    y = np.where(X[:, 2] > 1.5, 2, y)
    clean = clean & (y < 2)
    clf = LogisticRegression().fit(X, y)
    found = make_clean_scorer("neg_log_loss")(clf, X, y, is_clean=clean)
    expected = log_loss(y[clean], clf.predict_proba(X[clean]), labels=[0, 1, 2])
    assert found == pytest.approx(-expected)


def test_a_search_by_clean_rows_chooses_weights_that_noise_refuses(data, routing):
    X, y, clean = data
    grid = {"strength": [0, 2.0]}
    reweighter = InfluenceReweighter(LogisticRegression(), random_state=0)
    plain = reweighter.set_score_request(sample_weight=False)
    plain = GridSearchCV(plain, grid).fit(X, y, is_clean=clean)
    assert plain.best_params_ == {"strength": 0}
    search = GridSearchCV(
        reweighter, grid, scoring=make_clean_scorer("neg_log_loss"), error_score="raise"
    )
    search.fit(X, y, is_clean=clean)
    assert search.best_params_ == {"strength": 2.0}


def test_clean_rows_can_have_another_name(data, routing):
    X, y, clean = data
    reweighter = InfluenceReweighter(LogisticRegression(), strength=0)
    reweighter = reweighter.set_fit_request(is_clean="trusted")
    scorer = make_clean_scorer("accuracy")
    search = GridSearchCV(
        reweighter, {"strength": [0]}, scoring=scorer, error_score="raise"
    )
    with pytest.raises(ValueError, match=r"is_clean is missing.*set_score_request"):
        search.fit(X, y, trusted=clean)
    expected = GridSearchCV(
        InfluenceReweighter(LogisticRegression()),
        {"strength": [0]},
        scoring=make_clean_scorer("accuracy"),
    ).fit(X, y, is_clean=clean)
    for part in (scorer, pickle.loads(pickle.dumps(scorer))):
        named = part.set_score_request(is_clean="trusted")
        search = search.set_params(scoring=named).fit(X, y, trusted=clean)
        assert search.best_score_ == expected.best_score_
    with pytest.raises(
        TypeError, match="is_clean must be True, False or a name, got 3"
    ):
        scorer.set_score_request(is_clean=3)


def test_scores_of_several_kinds_and_processes(data, routing):
    X, y, clean = data
    scoring = {"clean": make_clean_scorer("accuracy"), "all": "accuracy"}
    arguments = {"scoring": scoring, "error_score": "raise", "n_jobs": 2}
    scores = cross_validate(
        LogisticRegression(), X, y, params={"is_clean": clean}, **arguments
    )
    assert scores["test_clean"].mean() < scores["test_all"].mean() - 0.05


def test_without_routing_clean_rows_are_found_by_index(data):
    X, y, clean = data
    index = pd.Index([f"row {i}" for i in range(N)])
    shuffled = np.random.default_rng(1).permutation(N)
    is_clean = pd.Series(clean, index).iloc[shuffled]
    scorer = make_clean_scorer("accuracy", is_clean=is_clean)
    scores = cross_val_score(
        LogisticRegression(),
        X,
        pd.Series(y, index),
        scoring=scorer,
        error_score="raise",
    )
    plain = cross_val_score(LogisticRegression(), X, y)
    assert scores.mean() < plain.mean() - 0.05
    clf = LogisticRegression().fit(X, y)
    expected = accuracy_score(y[clean], clf.predict(X[clean]))
    assert scorer(clf, X, pd.Series(y, index)) == pytest.approx(expected)


def test_a_scorer_is_copied_and_pickled(data):
    X, y, clean = data
    clf = LogisticRegression().fit(X, y)
    scorer = make_clean_scorer("accuracy")
    for copy in (clone(scorer, safe=False), pickle.loads(pickle.dumps(scorer))):
        assert copy(clf, X, y, is_clean=clean) == scorer(clf, X, y, is_clean=clean)
    assert repr(scorer).startswith("make_clean_scorer(make_scorer(accuracy_score")


def test_a_scorer_of_ones_own(data):
    X, y, clean = data
    clf = LogisticRegression().fit(X, y)

    def share_of_weight(estimator, X, y, sample_weight=None):
        return sample_weight.sum() / len(y)

    assert make_clean_scorer(share_of_weight)(clf, X, y, is_clean=clean) == 0.25


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((3,), TypeError, "scoring must be the name of a score or a scorer, got int"),
        (("nothing",), ValueError, "'nothing' is not a valid scoring value"),
        (
            (make_scorer(max_error),),
            TypeError,
            "takes no sample_weight, so it cannot be told which rows are clean; use a",
        ),
        ((lambda e, X, y: 0,), TypeError, "takes no sample_weight"),
        (
            (accuracy_score,),
            TypeError,
            "is a metric of labels and predictions, not a s",
        ),
    ],
)
def test_scoring_that_is_no_weighted_score(arguments, error, match):
    with pytest.raises(error, match=match):
        make_clean_scorer(*arguments)


@pytest.mark.parametrize(
    ("is_clean", "error", "match"),
    [
        (
            [True],
            TypeError,
            "is_clean must be a Series of pandas with the index of y, got builtins",
        ),
        (
            pd.Series([True, False], index=[1, 1]),
            ValueError,
            "The index of is_clean must not have a label twice, but has 1",
        ),
        (pd.Series([2, 0]), ValueError, "one True or False for each row .* contains 2"),
    ],
)
def test_flags_that_cannot_be_looked_up(is_clean, error, match):
    with pytest.raises(error, match=match):
        make_clean_scorer("accuracy", is_clean=is_clean)


def test_rows_of_which_nothing_is_known(data):
    X, y, clean = data
    clf = LogisticRegression().fit(X, y)
    with pytest.raises(
        ValueError, match="is_clean is missing. With sklearn.set_config"
    ):
        make_clean_scorer("accuracy")(clf, X, y)
    with pytest.raises(
        ValueError, match="marks none of the 400 rows to score; use few"
    ):
        make_clean_scorer("accuracy")(clf, X, y, is_clean=np.zeros(N, bool))
    with pytest.raises(ValueError, match="is_clean has 3 rows, but X has 400"):
        make_clean_scorer("accuracy")(clf, X, y, is_clean=clean[:3])
    scorer = make_clean_scorer("accuracy", is_clean=pd.Series(clean))
    with pytest.raises(
        TypeError, match="y must be a Series of pandas, so that is_clean"
    ):
        scorer(clf, X, y)
    with pytest.raises(
        ValueError, match="The index of is_clean lacks 400, which is in"
    ):
        scorer(clf, X[:2], pd.Series(y[:2], index=[3, 400]))
