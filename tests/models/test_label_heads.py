"""Ordinal labels and monotone constraints: fit, predictions, files, messages."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
    load_model,
    save_model,
)
from skclif._models.files import model_bytes, read_model
from skclif._storage.containers import pack, unpack
from skclif.exceptions import ModelFileError
from skclif.metrics import bottleneck_report, linear_datamodeling_score

N = 90
ORDER = ["poor", "fair", "good", "best"]
# The price helps in these data, and food is good where labels are low.
CST = {"food": ["bad", "ok", "good"], "quiet": ["no", "yes"], "price": -1}


def make_data(n=N, seed=0):
    """Return X, y from 0 to 3, and concepts; some constraints of CST are against it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    noisy = X + 0.4 * rng.normal(size=X.shape)
    food = np.array(["good", "ok", "bad"])[np.digitize(noisy[:, 0], [-0.4, 0.4])]
    concepts = pd.DataFrame(
        {
            "food": food,
            "quiet": np.where(noisy[:, 1] > 0, "yes", "no"),
            "price": noisy[:, 2],
            "other": np.array(["a", "b", "c"])[np.digitize(noisy[:, 3], [-0.5, 0.5])],
        }
    )
    latent = 1.0 * X[:, 0] + 1.5 * X[:, 1] + 0.5 * X[:, 2] + X[:, 3]
    return X, np.digitize(latent + rng.logistic(size=n), [-1.5, 0, 1.5]), concepts


@pytest.fixture(scope="module")
def data():
    return make_data()


@pytest.fixture(scope="module")
def bounded(data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(label_head="ordinal", monotonic_cst=CST)
    return clf.fit(X, y, concepts=concepts)


def test_two_labels_are_logistic_regression(data):
    X, y, _ = data
    clf = ConceptBottleneckClassifier(label_head="ordinal", C=2.0).fit(X, y > 1)
    reference = LogisticRegression(C=2.0, tol=1e-10).fit(X, y > 1)
    np.testing.assert_allclose(clf.coef_, reference.coef_, atol=1e-6)
    np.testing.assert_allclose(clf.intercept_, reference.intercept_, atol=1e-6)
    np.testing.assert_allclose(
        clf.decision_function(X), reference.decision_function(X), atol=1e-5
    )


@pytest.mark.parametrize("cst", [None, CST], ids=["free", "bounded"])
def test_words_in_a_given_order_are_the_numbers_of_their_ranks(data, cst):
    X, y, concepts = data
    params = {"label_head": "ordinal", "monotonic_cst": cst, "class_weight": "balanced"}
    numbers = ConceptBottleneckClassifier(**params).fit(X, y, concepts=concepts)
    words = ConceptBottleneckClassifier(label_order=ORDER, **params)
    words.fit(X, np.array(ORDER)[y], concepts=concepts)
    assert words.classes_.tolist() == sorted(ORDER)
    assert words.label_order_.tolist() == ORDER
    ranks = [ORDER.index(label) for label in words.classes_]
    proba = numbers.predict_proba(X)
    np.testing.assert_allclose(words.predict_proba(X), proba[:, ranks], atol=1e-9)
    np.testing.assert_allclose(words.coef_, numbers.coef_, atol=1e-9)
    np.testing.assert_array_equal(words.predict(X), np.array(ORDER)[numbers.predict(X)])
    typed = pd.Series(pd.Categorical(np.array(ORDER)[y], ORDER, ordered=True))
    by_type = ConceptBottleneckClassifier(**params).fit(X, typed, concepts=concepts)
    np.testing.assert_array_equal(by_type.coef_, words.coef_)
    texts = ConceptBottleneckClassifier(**params)
    texts.fit(X, np.array(["1", "2", "5", "10"])[y], concepts=concepts)
    assert texts.label_order_.tolist() == ["1", "2", "5", "10"]


def test_predictions_are_of_the_latent_number(data, bounded):
    X, _, _ = data
    latent = bounded.transform(X) @ bounded.coef_[0]
    above = 1 / (1 + np.exp(-(latent[:, None] + bounded.intercept_)))
    edges = np.hstack([np.ones((N, 1)), above, np.zeros((N, 1))])
    proba = bounded.predict_proba(X)
    np.testing.assert_allclose(proba, -np.diff(edges, axis=1), atol=1e-12)
    logits = bounded.decision_function(X)
    expected = np.log(proba) - np.log(proba).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(logits, expected, atol=1e-9)
    contributions = bounded.contributions(X).values
    assert contributions.shape == (N, 3, 5)
    odds = np.log(above / (1 - above))
    np.testing.assert_allclose(contributions.sum(axis=2), odds, atol=1e-9)
    assert (contributions[:, 0, :4] == contributions[:, 2, :4]).all()


def _expected(clf, proba):
    return proba @ np.array([clf.label_order_.tolist().index(c) for c in clf.classes_])


@pytest.mark.filterwarnings("ignore::skclif.exceptions.InterventionWarning")
@pytest.mark.parametrize("training", ["mixed", "sequential", "independent"])
@pytest.mark.parametrize(
    ("head", "n_labels"), [("softmax", 2), ("softmax", 4), ("ordinal", 4)]
)
def test_interventions_never_move_the_label_against_a_constraint(
    data, training, head, n_labels
):
    X, y, concepts = data
    y = y if n_labels == 4 else y > 1
    params = {"label_head": head, "training": training}
    free = ConceptBottleneckClassifier(**params).fit(X, y, concepts=concepts)
    bound = clone(free).set_params(monotonic_cst=CST, label_order=np.unique(y))
    bound.fit(X, y, concepts=concepts)
    wrong = dict.fromkeys(("free", "bound"), 0)
    for name, listed in {**CST, "price": [1.0, -1.0]}.items():
        for kind, clf in (("free", free), ("bound", bound)):
            order = clf.classes_ if kind == "free" else clf.label_order_
            ranks = np.searchsorted(order, clf.classes_)
            known = [pd.DataFrame({name: [value] * N}) for value in listed]
            # Of labels above each threshold, and so of expected labels too.
            above = [clf.intervene(X, k)[:, ranks].cumsum(axis=1) for k in known]
            wrong[kind] += int((np.diff(above, axis=0) > 1e-12).sum())
    assert wrong["bound"] == 0
    assert wrong["free"] > 0


def test_directions_of_values_with_an_order(data):
    X, y, concepts = data
    stars = np.digitize(concepts["price"], [-0.5, 0.5]) + 1
    typed = pd.Categorical(concepts["food"], ["bad", "ok", "good"], ordered=True)
    table = concepts.assign(food=typed, stars=stars)
    asked = {"food": 1, "stars": -1, "quiet": 0, "price": -1}
    clf = ConceptBottleneckClassifier(label_head="ordinal", monotonic_cst=asked)
    clf.fit(X, y, concepts=table)
    listed = {"food": ["bad", "ok", "good"], "stars": [3, 2, 1], "price": -1}
    assert clf.monotonic_cst_ == listed
    same = clone(clf).set_params(monotonic_cst=listed).fit(X, y, concepts=table)
    np.testing.assert_array_equal(clf.coef_, same.coef_)
    nothing = clone(clf).set_params(monotonic_cst={"quiet": 0}, label_head="softmax")
    assert nothing.fit(X, y, concepts=table).monotonic_cst_ == {}


def test_words_in_another_order_bind_the_same_softmax(data):
    X, y, concepts = data
    params = {"monotonic_cst": CST, "tol": 1e-10}
    numbers = ConceptBottleneckClassifier(**params).fit(X, y, concepts=concepts)
    words = ConceptBottleneckClassifier(label_order=ORDER, **params)
    words.fit(X, np.array(ORDER)[y], concepts=concepts)
    ranks = [ORDER.index(label) for label in words.classes_]
    proba = numbers.predict_proba(X)[:, ranks]
    np.testing.assert_allclose(words.predict_proba(X), proba, atol=1e-8)
    odds = np.diff(numbers.coef_, axis=0)  # against the next lower label
    bad, good, ok = odds[:, :3].T
    assert (ok - bad >= -1e-12).all()
    assert (good - ok >= -1e-12).all()
    assert (odds[:, 4] <= 1e-12).all()
    free = ConceptBottleneckClassifier().fit(X, y, concepts=concepts).coef_
    assert (np.diff(free, axis=0)[:, 1] < np.diff(free, axis=0)[:, 0]).any()


def test_values_that_are_left_out_are_free(data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(
        label_head="ordinal", monotonic_cst={"food": ["bad", "good"]}
    ).fit(X, y, concepts=concepts)
    bad, good, ok = clf.coef_[0][:3]
    assert bad == good
    assert ok not in (bad, good)


@pytest.mark.parametrize("bottleneck", ["logit", "hard"])
def test_other_bottlenecks_take_constraints(data, bottleneck):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(
        label_head="ordinal", monotonic_cst=CST, bottleneck=bottleneck, C="auto"
    ).fit(X, y, concepts=concepts)
    bad, good, ok = clf.coef_[0][:3]
    assert bad <= ok <= good
    assert clf.coef_[0][4] <= 0


def test_weights_count_as_copies(data):
    X, y, concepts = data
    counts = np.random.default_rng(3).integers(0, 3, N)
    clf = ConceptBottleneckClassifier(label_head="ordinal", monotonic_cst=CST)
    weighted = clone(clf).fit(X, y, counts, concepts=concepts)
    rows = np.repeat(np.arange(N), counts)
    copies = clone(clf).fit(X[rows], y[rows], concepts=concepts.iloc[rows])
    np.testing.assert_allclose(weighted.coef_, copies.coef_, atol=1e-7)


def test_a_search_over_heads(data):
    X, y, concepts = data
    grid = {"label_head": ["softmax", "ordinal"]}
    search = GridSearchCV(ConceptBottleneckClassifier(label_order=range(4)), grid, cv=2)
    search.fit(X, y, concepts=concepts)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_files_and_pickles_keep_the_head(data, tmp_path):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(
        label_head="ordinal", label_order=np.array(ORDER), monotonic_cst=CST
    ).fit(X, np.array(ORDER)[y], concepts=concepts)
    save_model(clf, tmp_path / "model")
    for again in (load_model(tmp_path / "model"), pickle.loads(pickle.dumps(clf))):
        np.testing.assert_array_equal(again.predict_proba(X), clf.predict_proba(X))
        assert again.label_order_.tolist() == ORDER
        assert again.monotonic_cst_ == clf.monotonic_cst_
        refitted = clone(again).fit(X, np.array(ORDER)[y], concepts=concepts)
        np.testing.assert_array_equal(refitted.coef_, clf.coef_)


def test_old_pickles_and_files_are_softmax(data, tmp_path):
    X, y, _ = data
    clf = ConceptBottleneckClassifier().fit(X, y)
    state = dict(clf.__getstate__())
    for name in ("label_head", "label_order", "monotonic_cst"):
        del state[name]
    for name in ("label_order_", "monotonic_cst_"):
        del state[name]
    old = ConceptBottleneckClassifier.__new__(ConceptBottleneckClassifier)
    old.__setstate__(state)
    np.testing.assert_array_equal(old.decision_function(X), clf.decision_function(X))
    assert clone(old).label_head == "softmax"
    # Models without an order are written as before there was one.
    (tmp_path / "model").write_bytes(model_bytes(clf))
    about = unpack(tmp_path / "model", "model", 2).about
    assert "label_head" not in about["parameters"]
    assert "label_order" not in about


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_order": None}, "an ordinal label without an order"),
        ({"label_order": [0, 1, 2, 7]}, "an order of other labels"),
        ({"monotonic_cst": {"food": ["bad", "new"]}}, "constraints on other values"),
        ({"monotonic_cst": {"food": ["x", "new"]}}, "has no value that concept 'food'"),
        ({"monotonic_cst": {"service": 1}}, "has the concept 'service'"),
        ({"monotonic_cst": {"price": 0}}, "constraints on other values"),
    ],
)
def test_damaged_rules_are_refused(bounded, tmp_path, change, message):
    path = tmp_path / "model"
    path.write_bytes(model_bytes(bounded))
    content = unpack(path, "model", 2)
    path.write_bytes(pack("model", 2, content.arrays, {**content.about, **change}))
    with pytest.raises(ModelFileError, match=message):
        read_model(path)


def test_thresholds_out_of_order_are_refused(bounded, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(model_bytes(bounded))
    content = unpack(path, "model", 2)
    content.arrays["intercept"] = np.sort(content.arrays["intercept"])
    path.write_bytes(pack("model", 2, content.arrays, content.about))
    with pytest.raises(ModelFileError, match="thresholds that are not in order"):
        read_model(path)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"label_order": None}, r"label_order=None, but the labels \['best', 'fair'"),
        ({"label_order": ORDER[:3]}, "must have each label of y once"),
        ({"label_order": [*ORDER, "poor"]}, "must have each label of y once"),
        ({"label_order": ["a", *ORDER[1:]]}, "must have each label of y once"),
        ({"label_order": [ORDER]}, "must have each label of y once"),
        ({"label_order": np.array([ORDER])}, "must have each label of y once"),
        ({"label_order": set(ORDER)}, "label_order must be a list .* got a set"),
        ({"monotonic_cst": {"service": 1}}, "has the concept 'service', but the conc"),
        ({"monotonic_cst": {"food": 1}}, "values of 'food' are words without an order"),
        ({"monotonic_cst": {"price": 2}}, r"monotonic_cst\['price'\]=2 must be 1"),
        ({"monotonic_cst": {"price": [0, 1]}}, "'price' is continuous: use 1"),
        ({"monotonic_cst": {"food": "bad"}}, "must be a list of values, or 1 or -1"),
        ({"monotonic_cst": {"food": True}}, "must be a list of values, or 1 or -1"),
        ({"monotonic_cst": {"food": ["foul", "vile"]}}, "has no value that concept"),
        ({"monotonic_cst": {"price": 0.5}}, r"monotonic_cst\['price'\]=0.5 must be 1"),
        ({"monotonic_cst": {"food": [["bad"], "good"]}}, "must have two or more diff"),
        ({"monotonic_cst": {"food": ["bad"]}}, "must have two or more different val"),
        ({"monotonic_cst": {"food": ["bad", "bad"]}}, "must have two or more differe"),
    ],
)
def test_what_cannot_be_is_refused(data, params, message):
    X, y, concepts = data
    params = {
        "label_head": "ordinal",
        "label_order": ORDER,
        "monotonic_cst": CST,
        **params,
    }
    clf = ConceptBottleneckClassifier(**params)
    with pytest.raises(ValueError, match=message):
        clf.fit(X, np.array(ORDER)[y], concepts=concepts)


def test_a_fold_may_lack_what_rules_name(data):
    """They may name labels and values of other rows; the fit is that without them."""
    X, y, concepts = data
    params = {"label_head": "ordinal", "label_order": ORDER}
    clf = ConceptBottleneckClassifier(**params, monotonic_cst={"food": ["bad", "good"]})
    clf.fit(X, np.array(ORDER)[y], concepts=concepts)
    wide = clone(clf).set_params(
        label_order=["none", *ORDER[:2], "so-so", *ORDER[2:]],
        monotonic_cst={"food": ["bad", "odd", "good"], "price": 0.0},
    )
    with pytest.warns(UserWarning, match="value 'odd', which concept 'food' has in no"):
        wide.fit(X, np.array(ORDER)[y], concepts=concepts)
    assert wide.label_order_.tolist() == ORDER
    assert wide.monotonic_cst_ == clf.monotonic_cst_
    np.testing.assert_array_equal(wide.coef_, clf.coef_)
    wide.set_params(monotonic_cst={"food": ["bad", "odd"], "price": 1.0})
    with pytest.warns(UserWarning, match="nothing is constrained if only one value"):
        wide.fit(X, np.array(ORDER)[y], concepts=concepts)
    assert wide.monotonic_cst_ == {"price": 1}


def test_constraints_need_concepts(data):
    X, y, _ = data
    clf = ConceptBottleneckClassifier(label_head="ordinal", monotonic_cst={"food": 1})
    with pytest.raises(ValueError, match="monotonic_cst needs concepts, but concepts="):
        clf.fit(X, y)


def test_two_words_need_an_order_only_for_constraints(data):
    X, y, concepts = data
    words = np.where(y > 1, "good", "bad")
    clf = ConceptBottleneckClassifier(label_head="ordinal")
    clf.fit(X, words, concepts=concepts)
    with pytest.raises(ValueError, match="label_order=None, but the labels"):
        clf.set_params(monotonic_cst=CST).fit(X, words, concepts=concepts)


def test_every_label_needs_weight(data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(label_head="ordinal")
    with pytest.raises(ValueError, match="the rows of 2 have weight 0. Leave these"):
        clf.fit(X, y, (y != 2).astype(float), concepts=concepts)


@pytest.fixture(scope="module")
def typed():
    """Return X, labels and annotations whose types say their order."""
    X, y, concepts = make_data()
    labels = pd.Series(pd.Categorical(np.array(ORDER)[y], ORDER, ordered=True))
    food = pd.Categorical(concepts["food"], ["bad", "ok", "good"], ordered=True)
    return X, labels, concepts.assign(food=food)


TYPED = ConceptBottleneckClassifier(label_head="ordinal", monotonic_cst={"food": 1})


def test_an_explainer_knows_the_order_of_types(typed):
    X, labels, concepts = typed
    explainer = ConceptInfluenceExplainer(make_pipeline(SelectKBest(k=4), TYPED))
    model = explainer.fit(X, labels, concepts=concepts).estimator_[-1]
    assert model.label_order_.tolist() == ORDER
    assert model.monotonic_cst_ == {"food": ["bad", "ok", "good"]}


@pytest.mark.parametrize("given", ["X_val", "is_clean", "nothing"])
def test_a_reweighter_knows_the_order_of_types(typed, given):
    X, labels, concepts = typed
    extra = {
        "X_val": {"X_val": X[:40], "y_val": labels[:40]},
        "is_clean": {"is_clean": np.arange(N) < 40},
        "nothing": {},
    }[given]
    model = InfluenceReweighter(TYPED, strength=1.0, n_rounds=1, random_state=0)
    model.fit(X, labels, concepts=concepts, **extra)
    assert model.estimator_.label_order_.tolist() == ORDER
    assert model.estimator_.monotonic_cst_ == {"food": ["bad", "ok", "good"]}


def test_metrics_know_the_order_of_types(typed):
    X, labels, concepts = typed
    few = {"cv": 2, "n_repeats": 1, "n_bootstraps": 100, "random_state": 0}
    report = bottleneck_report(TYPED, X, labels, concepts, **few)
    model = clone(TYPED).set_params(label_order=ORDER)
    told = bottleneck_report(model, X, np.asarray(labels), concepts, **few)
    pd.testing.assert_frame_equal(report.estimates, told.estimates)
    clf = ConceptBottleneckClassifier(label_head="ordinal")
    influence = {"none": np.random.RandomState(0).randn(20, N)}
    score = linear_datamodeling_score(
        clf, X, labels, influence, X_test=X[:20], y_test=labels[:20], n_subsets=5
    )
    assert np.isfinite(score["none"].score)
