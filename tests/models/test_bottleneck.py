"""ConceptBottleneckClassifier as its users meet it."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from sklearn.utils.class_weight import compute_sample_weight

from skclif import ConceptBottleneckClassifier
from skclif.exceptions import InterventionWarning, PenaltyWarning
from skclif.numerics.tuning import GRID

from ..data import make_concept_data

SHARES = {"mixed": 0.4, "sequential": 0.0, "independent": 1.0}
TRAINING = list(SHARES)

pytestmark = pytest.mark.filterwarnings("ignore:Correcting concepts may make")


@pytest.fixture(scope="module")
def data():
    return make_concept_data()


@pytest.fixture(scope="module", params=TRAINING)
def fitted(request, data):
    X, y, concepts = data
    return ConceptBottleneckClassifier(training=request.param).fit(
        X, y, concepts=concepts
    )


def _reference(C, X, y, weights=None):
    return LogisticRegression(
        C=C, solver="newton-cholesky", tol=1e-12, max_iter=1000
    ).fit(X, y, sample_weight=weights)


def _label_reference(C, training, predicted, known, y, weights=None):
    """Fit scikit-learn's model to every row twice, with shares of its weight."""
    share, weights = SHARES[training], np.ones(len(y)) if weights is None else weights
    both = np.concatenate([(1 - share) * weights, share * weights])
    return _reference(C, np.concatenate([predicted, known]), np.tile(y, 2), both)


def _assert_same_head(coef, intercept, reference, *, rtol=1e-5):
    expected = reference.intercept_
    if len(expected) > 1:  # scikit-learn leaves the common shift of biases free
        expected = expected - expected.mean()
    np.testing.assert_allclose(coef, reference.coef_, rtol=rtol, atol=1e-8)
    np.testing.assert_allclose(intercept, expected, rtol=rtol, atol=1e-7)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("training", TRAINING)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_every_head_is_scikit_learns_optimum(n_classes, training, weighted):
    X, y, concepts = make_concept_data(n_classes=n_classes)
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.2, 3, len(X)) if weighted else np.ones(len(X))
    concept_weights = rng.uniform(0.2, 3, concepts.shape) if weighted else None
    clf = ConceptBottleneckClassifier(
        training=training, C=2.0, concept_C=0.5, class_weight="balanced"
    ).fit(X, y, weights, concepts=concepts, concept_sample_weight=concept_weights)
    activations, known = [], []
    for j, name in enumerate(concepts):
        rows = concepts[name].notna().to_numpy()
        own = weights[rows] * (concept_weights[rows, j] if weighted else 1)
        values = concepts.loc[rows, name].to_list()
        reference = _reference(0.5, X[rows], values, own)
        _assert_same_head(clf.concept_coef_[j], clf.concept_intercept_[j], reference)
        proba = reference.predict_proba(X)
        activations.append(proba[:, 1:] if proba.shape[1] == 2 else proba)
        true = proba.copy()
        true[rows] = np.asarray(values)[:, None] == reference.classes_
        known.append(true[:, 1:] if true.shape[1] == 2 else true)
    totals = pd.Series(weights).groupby(y).sum()
    balanced = (weights.sum() / (len(totals) * totals)).loc[y].to_numpy()
    reference = _label_reference(
        2.0, training, np.hstack(activations), np.hstack(known), y, weights * balanced
    )
    _assert_same_head(clf.coef_, clf.intercept_, reference)


@pytest.mark.parametrize("training", TRAINING)
def test_a_continuous_concept_is_scikit_learns_ridge(data, training):
    X, y, concepts = data
    rng = np.random.default_rng(1)
    price = X[:, 2] * 3 + rng.normal(size=len(X))
    rows = rng.random(len(X)) > 0.3
    mixed = concepts.assign(price=np.where(rows, price, np.nan))
    weights = rng.uniform(0.2, 3, len(X))
    clf = ConceptBottleneckClassifier(training=training, concept_C=0.5)
    clf.fit(X, y, weights, concepts=mixed)
    reference = Ridge(alpha=2.0).fit(X[rows], price[rows], sample_weight=weights[rows])
    np.testing.assert_allclose(clf.concept_coef_[2][0], reference.coef_, rtol=1e-8)
    np.testing.assert_allclose(clf.concept_intercept_[2], reference.intercept_)
    predicted = clf.predict_concepts(X)["price"]
    np.testing.assert_allclose(predicted, reference.predict(X))
    assert clf.concept_classes_[2] is None
    assert clf.get_feature_names_out().tolist()[-2:] == ["quiet=yes", "price"]
    assert list(clf.predict_concept_proba(X)) == ["food", "quiet"]
    activations = clf.transform(X)
    np.testing.assert_array_equal(activations[:, -1], predicted)
    true = activations.copy()
    for j, name in [(slice(0, 3), "food"), (slice(3, 4), "quiet")]:
        known = mixed[name].notna().to_numpy()
        values = clf.concept_classes_[["food", "quiet"].index(name)]
        columns = values[-(j.stop - j.start) :]
        true[known, j] = mixed.loc[known, name].to_numpy()[:, None] == columns
    true[rows, -1] = price[rows]
    label = _label_reference(1.0, training, activations, true, y, weights)
    _assert_same_head(clf.coef_, clf.intercept_, label)
    np.testing.assert_allclose(
        clf.contributions(X).values.sum(axis=2), clf.decision_function(X), atol=1e-12
    )


def test_intervening_on_a_number_puts_it_in(data):
    X, y, concepts = data
    mixed = concepts.assign(price=X[:, 2])
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=mixed)
    z = clf.transform(X)
    z[:, -1] = 7.5
    logits = z @ clf.coef_.T + clf.intercept_
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    known = pd.DataFrame({"price": np.full(len(X), 7.5)})
    np.testing.assert_allclose(clf.intervene(X, known), expected)
    with pytest.raises(
        ValueError, match="'price' is continuous, but has the value 'dear'"
    ):
        clf.intervene(X, known.assign(price="dear"))


def test_kinds_can_be_said(data):
    X, y, concepts = data
    stars = concepts.assign(price=np.arange(len(X)) % 4 + 1)
    numbers = ConceptBottleneckClassifier(concept_kinds={"price": "continuous"})
    numbers.fit(X, y, concepts=stars)
    assert numbers.concept_classes_[2] is None
    halves = concepts.assign(price=np.arange(len(X)) % 4 / 2)
    clf = ConceptBottleneckClassifier(concept_kinds={"price": "categorical"})
    clf.fit(X, y, concepts=halves)
    assert clf.concept_classes_[2].tolist() == [0, 0.5, 1, 1.5]
    assert clf.get_feature_names_out()[-3:].tolist() == [
        "price=0.5", "price=1", "price=1.5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "match"),
    [
        (
            {"taste": "continuous"},
            "names 'taste', but the concepts are 'food', 'quiet'",
        ),
        ({"food": "ordinal"}, "'food' the kind 'ordinal'; use 'categorical' or"),
        ({"food": "continuous"}, "'food' is continuous, but has the value '"),
    ],
)
def test_kinds_that_do_not_fit(data, kinds, match):
    X, y, concepts = data
    with pytest.raises(ValueError, match=match):
        ConceptBottleneckClassifier(concept_kinds=kinds).fit(X, y, concepts=concepts)


@pytest.mark.parametrize("bottleneck", ["logit", "hard"])
def test_the_label_head_sees_what_it_is_told(data, bottleneck):
    X, y, concepts = data
    soft = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    clf = ConceptBottleneckClassifier(bottleneck=bottleneck, training="sequential")
    clf.fit(X, y, concepts=concepts)
    activations = []
    for p in soft.predict_concept_proba(X).values():
        if bottleneck == "hard":
            values = (p == p.max(axis=1, keepdims=True)).astype(float)
            activations.append(values[:, 1:] if p.shape[1] == 2 else values)
        elif p.shape[1] == 2:
            activations.append(np.log(p[:, 1:] / p[:, :1]))
        else:
            activations.append(np.log(p) - np.log(p).mean(axis=1, keepdims=True))
    np.testing.assert_allclose(clf.transform(X), np.hstack(activations), atol=1e-6)
    reference = _reference(1.0, clf.transform(X), y)
    _assert_same_head(clf.coef_, clf.intercept_, reference)
    np.testing.assert_allclose(
        clf.contributions(X).values.sum(axis=2), clf.decision_function(X), atol=1e-12
    )


@pytest.mark.parametrize(("prob", "training"), [(0, "sequential"), (1, "independent")])
def test_mixed_training_ends_at_the_two_pure_ones(data, prob, training):
    X, y, concepts = data
    pure = ConceptBottleneckClassifier(training=training).fit(X, y, concepts=concepts)
    mixed = ConceptBottleneckClassifier(intervention_prob=prob)
    mixed.fit(X, y, concepts=concepts)
    np.testing.assert_array_equal(mixed.coef_, pure.coef_)
    assert mixed.intervention_prob_ == pure.intervention_prob_ == prob


def test_without_concepts_training_does_not_matter(data):
    X, y, _ = data
    coefs = [
        ConceptBottleneckClassifier(training=training).fit(X, y).coef_
        for training in TRAINING
    ]
    np.testing.assert_array_equal(coefs[0], coefs[1])
    np.testing.assert_array_equal(coefs[0], coefs[2])


def test_correcting_concepts_warns_once_where_it_hurt(data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(training="sequential")
    clf.fit(X, y, concepts=concepts)
    before = log_loss(y, clf.predict_proba(X))
    message = (
        "annotations of its own training rows .* accuracy on them goes from "
        f"{clf.score(X, y):.1%} to .* log-loss from {before:.3f} to "
    )
    with pytest.warns(InterventionWarning, match=message) as caught:
        after = log_loss(y, clf.intervene(X, concepts))
    assert after > before and f"to {after:.3f}" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf.intervene(X, concepts)  # once is enough
    copy = pickle.loads(pickle.dumps(clf))
    with pytest.warns(InterventionWarning):
        copy.intervene(X, concepts)


@pytest.mark.parametrize("training", ["mixed", "independent"])
def test_correcting_concepts_warns_where_concepts_say_too_little(training):
    """The label depends on the score whose noisy sign is the concept."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = (X[:, 0] > 0).astype(int)
    concepts = (X[:, :1] + rng.normal(size=(200, 1)) > 0).astype(int)
    clf = ConceptBottleneckClassifier(training=training).fit(X, y, concepts=concepts)
    before = clf.predict_proba(X)
    message = "goes from .* say less about the label .*intervention_curve"
    with pytest.warns(InterventionWarning, match=message):
        after = clf.intervene(X, concepts)
    assert (after.argmax(axis=1) == y).mean() < (before.argmax(axis=1) == y).mean()


@pytest.mark.parametrize(
    ("training", "prob", "own"), [("sequential", 0.4, 0), ("independent", 0, 1)]
)
def test_shares_that_contradict_the_training_are_refused(data, training, prob, own):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(training=training, intervention_prob=prob)
    message = f"intervention_prob={prob} contradicts training='{training}', which is"
    with pytest.raises(ValueError, match=message):
        clf.fit(X, y, concepts=concepts)
    clf.set_params(intervention_prob=own).fit(X, y, concepts=concepts)
    assert clf.intervention_prob_ == own


@pytest.mark.parametrize("training", TRAINING)
def test_correcting_concepts_does_not_warn_where_it_helped(training):
    """The label depends on the true concepts, which features show with much noise."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, (400, 2))
    X = true + rng.normal(scale=3, size=true.shape)
    y = true.sum(axis=1)
    clf = ConceptBottleneckClassifier(training=training).fit(X, y, concepts=true)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert log_loss(y, clf.intervene(X, true)) < log_loss(y, clf.predict_proba(X))


@pytest.mark.filterwarnings("ignore:C=.* was chosen for")
@pytest.mark.parametrize("training", TRAINING)
def test_chosen_penalties_are_kept_and_are_those_of_a_plain_fit(data, training):
    X, y, concepts = data
    auto = ConceptBottleneckClassifier(training=training, C="auto", concept_C="auto")
    auto.fit(X, y, concepts=concepts)
    assert auto.get_params()["C"] == auto.get_params()["concept_C"] == "auto"
    assert isinstance(auto.C_, float) and auto.concept_C_.shape == (3,)
    assert set(auto.concept_C_) | {auto.C_} <= set(GRID)
    # One value for all concepts is a choice among others.
    same = clone(auto).set_params(C=auto.C_, concept_C=auto.concept_C_[0])
    same.fit(X, y, concepts=concepts.iloc[:, [0]])
    single = clone(auto).fit(X, y, concepts=concepts.iloc[:, [0]])
    np.testing.assert_array_equal(single.concept_coef_[0], same.concept_coef_[0])
    np.testing.assert_allclose(auto.concept_coef_[0], same.concept_coef_[0])
    copy = pickle.loads(pickle.dumps(auto))
    np.testing.assert_array_equal(copy.concept_C_, auto.concept_C_)


def test_a_chosen_penalty_of_the_black_box(data):
    X, y, _ = data
    auto = ConceptBottleneckClassifier(C="auto").fit(X, y)
    plain = ConceptBottleneckClassifier(C=auto.C_).fit(X, y)
    np.testing.assert_array_equal(auto.coef_, plain.coef_)
    loss = [
        -cross_val_score(
            LogisticRegression(C=C, max_iter=1000), X, y, cv=15, scoring="neg_log_loss"
        ).mean()
        for C in GRID
    ]
    best = GRID[int(np.argmin(loss))]
    assert abs(np.log10(best / auto.C_)) <= 0.51  # at most one step of the grid


def test_labels_that_features_say_nothing_about_end_at_the_edge(data):
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(200, 8)), rng.integers(0, 2, 200)
    concepts = pd.DataFrame({"a": rng.integers(0, 2, 200)})
    clf = ConceptBottleneckClassifier(C="auto", concept_C="auto")
    message = (
        r"C=0\.0001 was chosen for .*the label, at the edge of what is tried "
        r"\(from 0.0001 to 10000\)\. The features may tell nothing"
    )
    with pytest.warns(PenaltyWarning, match=message):
        clf.fit(X, noise, concepts=concepts)
    assert clf.C_ == 1e-4


@pytest.mark.parametrize(
    ("C", "concept_C", "advice"),
    [
        ("auto", "auto", "set concept_C or C"),
        (1.0, "auto", "set concept_C"),
        ("auto", 1.0, "set C"),
    ],
)
def test_the_edge_names_the_parameters_that_can_go_further(C, concept_C, advice):
    rng = np.random.default_rng(0)
    X, noise = rng.normal(size=(200, 8)), rng.integers(0, 2, 200)
    concepts = pd.DataFrame({name: rng.integers(0, 2, 200) for name in "ab"})
    clf = ConceptBottleneckClassifier(C=C, concept_C=concept_C)
    with pytest.warns(PenaltyWarning, match=f"; {advice} to a number to go further"):
        clf.fit(X, noise, concepts=concepts)


def test_penalties_of_concepts_by_name(data):
    X, y, concepts = data
    by_name = {"food": 0.1, "quiet": 3.0, "price": 1.0}
    clf = ConceptBottleneckClassifier(concept_C=by_name).fit(X, y, concepts=concepts)
    assert clf.concept_C_.tolist() == [0.1, 3.0, 1.0]
    for j, (name, C) in enumerate(by_name.items()):
        rows = concepts[name].notna().to_numpy()
        reference = _reference(C, X[rows], concepts.loc[rows, name].to_list())
        _assert_same_head(clf.concept_coef_[j], clf.concept_intercept_[j], reference)
    auto = ConceptBottleneckClassifier(C="auto", concept_C="auto")
    auto.fit(X, y, concepts=concepts)
    chosen = dict(zip(concepts.columns, auto.concept_C_.tolist(), strict=True))
    given = ConceptBottleneckClassifier(C=auto.C_, concept_C=chosen)
    given.fit(X, y, concepts=concepts)
    np.testing.assert_array_equal(given.coef_, auto.coef_)


@pytest.mark.parametrize(
    ("by_name", "match"),
    [
        ({"food": 1.0}, r"names \['food'\], but the concepts are \['food', 'quiet', "),
        ({"food": 1, "quiet": 1, "cost": 1}, "'cost'.*give one number for each"),
        ({"food": 0, "quiet": 1, "price": 1}, r"concept_C\['food'\] must be a finite"),
        ({"food": 1, "quiet": np.inf, "price": 1}, "above 0, got inf"),
        (
            {"food": 1, "quiet": 1, "price": "auto"},
            "above 0, got 'auto'. .* is for all concepts or none: concept_C=\"auto\"",
        ),
        ({"food": True, "quiet": 1, "price": 1}, "above 0, got True"),
    ],
)
def test_bad_penalties_by_name(data, by_name, match):
    X, y, concepts = data
    with pytest.raises(ValueError, match=match):
        ConceptBottleneckClassifier(concept_C=by_name).fit(X, y, concepts=concepts)


@pytest.mark.parametrize("value", ["best", 0, -1.0, None])
@pytest.mark.parametrize("name", ["C", "concept_C"])
def test_a_penalty_is_a_number_or_auto(data, name, value):
    X, y, concepts = data
    with pytest.raises(ValueError, match=f"The {name!r} parameter .*'auto'"):
        ConceptBottleneckClassifier(**{name: value}).fit(X, y, concepts=concepts)


def test_hard_predictions_are_like_known_values(data):
    X, y, concepts = data
    for training in TRAINING:
        clf = ConceptBottleneckClassifier(training=training, bottleneck="hard")
        clf.fit(X, y, concepts=concepts)
        known = clf.intervene(X, clf.predict_concepts(X))
        np.testing.assert_array_equal(known, clf.predict_proba(X))


def test_a_known_value_has_no_logit(data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(bottleneck="logit")
    with pytest.raises(ValueError, match="'independent' needs bottleneck='soft'"):
        clone(clf).set_params(training="independent").fit(X, y, concepts=concepts)
    with pytest.raises(ValueError, match="intervention_prob=0.1 needs bottleneck="):
        clone(clf).set_params(intervention_prob=0.1).fit(X, y, concepts=concepts)
    assert clone(clf).fit(X, y, concepts=concepts).intervention_prob_ == 0
    clf.set_params(intervention_prob=0)
    clf.fit(X, y, concepts=concepts)
    with pytest.raises(ValueError, match="intervene needs bottleneck='soft'"):
        clf.intervene(X, concepts)


def test_balanced_weights_are_scikit_learns(data):
    X, y, _ = data
    clf = ConceptBottleneckClassifier(class_weight="balanced").fit(X, y)
    expected = compute_sample_weight("balanced", y)
    np.testing.assert_allclose(
        clf.class_weight_[np.searchsorted(clf.classes_, y)], expected
    )
    weighted = ConceptBottleneckClassifier().fit(X, y, sample_weight=expected)
    np.testing.assert_allclose(clf.coef_, weighted.coef_, rtol=1e-8)


def test_class_weight_reaches_the_label_head_only(data):
    X, y, concepts = data
    plain = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    weighted = ConceptBottleneckClassifier(class_weight={"never": 5.0}).fit(
        X, y, concepts=concepts
    )
    for own, other in zip(plain.concept_coef_, weighted.concept_coef_, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-10)
    assert not np.allclose(plain.coef_, weighted.coef_)


def test_without_concepts_it_is_logistic_regression(data):
    X, y, _ = data
    clf = ConceptBottleneckClassifier(C=3.0).fit(X, y)
    _assert_same_head(clf.coef_, clf.intercept_, _reference(3.0, X, y))
    assert clf.n_concepts_ == 0
    assert clf.concept_classes_ == [] == clf.concept_coef_
    np.testing.assert_array_equal(clf.transform(X), X)
    np.testing.assert_array_equal(
        clf.get_feature_names_out(), [f"x{i}" for i in range(6)]
    )


def test_fewer_rows_than_features():
    X, y, concepts = make_concept_data(n_samples=40)
    rng = np.random.default_rng(0)
    X = np.hstack([X, rng.normal(size=(40, 100))])
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    rows = concepts["food"].notna().to_numpy()
    reference = _reference(1.0, X[rows], concepts.loc[rows, "food"].to_list())
    _assert_same_head(clf.concept_coef_[0], clf.concept_intercept_[0], reference)


def test_an_annotation_of_weight_zero_is_missing(data):
    X, y, concepts = data
    weights = np.ones(concepts.shape)
    weights[:30, 1] = 0
    masked = concepts.copy()
    masked.iloc[:30, 1] = None
    one = ConceptBottleneckClassifier().fit(
        X, y, concepts=concepts, concept_sample_weight=weights
    )
    two = ConceptBottleneckClassifier().fit(X, y, concepts=masked)
    np.testing.assert_allclose(one.coef_, two.coef_, rtol=1e-10)


def test_missing_annotations_are_not_a_category(data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    assert [values.tolist() for values in clf.concept_classes_] == [
        ["bad", "good", "unknown"],
        ["no", "yes"],
        [1, 2, 3, 4],
    ]


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT], ids=repr)
def test_every_way_to_say_missing(data, missing):
    X, y, concepts = data
    given = concepts.astype(object).where(concepts.notna(), missing)
    one = ConceptBottleneckClassifier().fit(X, y, concepts=given)
    two = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    np.testing.assert_array_equal(one.coef_, two.coef_)


@pytest.mark.parametrize(
    "convert",
    [
        lambda c: c,
        lambda c: c.set_axis(c.index[::-1]),  # rows go by position, not by index
        lambda c: c.to_numpy(dtype=object),
        lambda c: c.to_numpy(dtype=object).tolist(),
        lambda c: [tuple(row) for row in c.to_numpy(dtype=object)],
        lambda c: c.astype({"food": "category", "quiet": "string", "price": "Int64"}),
        lambda c: c.astype({"price": float}),
    ],
    ids=["frame", "index", "array", "lists", "tuples", "dtypes", "floats"],
)
def test_containers_of_annotations_give_the_same_model(data, convert):
    X, y, concepts = data
    expected = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=convert(concepts))
    np.testing.assert_allclose(clf.coef_, expected.coef_, rtol=1e-12)
    names = clf.get_feature_names_out()
    assert [name.split("=")[1] for name in names] == [
        "bad", "good", "unknown", "yes", "1", "2", "3", "4",
    ]  # fmt: skip


@pytest.mark.parametrize("values", [[0, 1], [False, True], [0.0, 1.0], ["a", "b"]])
def test_binary_concepts_have_one_activation(data, values):
    X, y, _ = data
    concepts = np.asarray(values)[(X[:, :1] > 0).astype(int)]
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    assert clf.transform(X).shape == (len(X), 1)
    assert clf.predict_concepts(X).dtype == concepts.dtype
    assert clf.concept_classes_[0].tolist() == values


def test_activations_are_the_concept_probabilities(fitted, data):
    X = data[0]
    proba = fitted.predict_concept_proba(X)
    assert list(proba) == ["food", "quiet", "price"]
    expected = np.hstack([proba["food"], proba["quiet"][:, 1:], proba["price"]])
    np.testing.assert_allclose(fitted.transform(X), expected)
    for values in proba.values():
        np.testing.assert_allclose(values.sum(axis=1), 1)
    assert fitted.get_feature_names_out().tolist() == [
        "food=bad", "food=good", "food=unknown", "quiet=yes",
        "price=1", "price=2", "price=3", "price=4",
    ]  # fmt: skip


def test_predict_concepts_answers_in_kind(fitted, data):
    X, y, concepts = data
    frame = fitted.predict_concepts(pd.DataFrame(X, index=range(5, 125)))
    assert list(frame.columns) == ["food", "quiet", "price"]
    assert frame.index[0] == 5
    best = fitted.predict_concept_proba(X)["price"].argmax(axis=1)
    np.testing.assert_array_equal(frame["price"], np.array([1, 2, 3, 4])[best])
    array = concepts.to_numpy(dtype=object)
    clf = clone(fitted).fit(X, y, concepts=array)
    predicted = clf.predict_concepts(X)
    assert isinstance(predicted, np.ndarray)
    np.testing.assert_array_equal(predicted, frame.to_numpy(dtype=object))
    assert clf.concept_names_in_.tolist() == ["concept0", "concept1", "concept2"]


def test_probabilities_logits_and_labels_agree(fitted, data):
    X = data[0]
    proba, logits = fitted.predict_proba(X), fitted.decision_function(X)
    exp = np.exp(logits)
    np.testing.assert_allclose(proba, exp / exp.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(logits.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_array_equal(
        fitted.predict(X), fitted.classes_[proba.argmax(axis=1)]
    )


def test_decision_function_of_two_classes_is_the_log_odds():
    X, y, concepts = make_concept_data(n_classes=2)
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    proba = clf.predict_proba(X)
    log_odds = np.log(proba[:, 1] / proba[:, 0])
    np.testing.assert_allclose(clf.decision_function(X), log_odds)


def test_intervening_with_nothing_changes_nothing(fitted, data):
    X, _, concepts = data
    nothing = pd.DataFrame(None, index=concepts.index, columns=concepts.columns)
    np.testing.assert_array_equal(fitted.intervene(X, nothing), fitted.predict_proba(X))


def test_intervening_puts_in_the_true_activations(fitted, data):
    X, _, concepts = data
    z = fitted.transform(X)
    food = concepts["food"].to_numpy(dtype=object)
    for i, value in enumerate(food):
        if isinstance(value, str):
            z[i, :3] = np.array(["bad", "good", "unknown"]) == value
    logits = z @ fitted.coef_.T + fitted.intercept_
    exp = np.exp(logits)
    np.testing.assert_allclose(
        fitted.intervene(X, concepts[["food"]]), exp / exp.sum(axis=1, keepdims=True)
    )
    full = concepts.assign(quiet=None, price=None)
    np.testing.assert_allclose(
        fitted.intervene(X, full), fitted.intervene(X, concepts[["food"]])
    )


def test_contributions_sum_to_the_centred_logits(fitted, data):
    X = data[0]
    contributions = fitted.contributions(X).values
    assert contributions.shape == (len(X), 3, 4)
    np.testing.assert_allclose(
        contributions.sum(axis=2), fitted.decision_function(X), atol=1e-12
    )
    np.testing.assert_allclose(contributions.sum(axis=1), 0, atol=1e-12)
    coef = fitted.coef_[:, 3:4]
    np.testing.assert_allclose(
        contributions[:, :, 1], fitted.transform(X)[:, 3:4] @ coef.T, atol=1e-12
    )


def test_contributions_have_names_and_the_index(fitted, data):
    X, _, concepts = data
    index = pd.Index([f"r{i}" for i in range(len(X))])
    found = fitted.contributions(pd.DataFrame(X, index=index))
    assert found.concepts == (*concepts.columns, "intercept")
    assert found.classes.tolist() == fitted.classes_.tolist()
    assert found.index.equals(index)
    assert found.top(1)["class"].tolist() == fitted.predict(X).tolist()
    assert fitted.contributions(X).index.equals(pd.RangeIndex(len(X)))


def test_contributions_do_not_depend_on_the_output_of_transform(data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    expected = clf.contributions(X).values
    clf.set_output(transform="pandas")
    np.testing.assert_array_equal(clf.contributions(X).values, expected)


def test_contributions_of_two_classes():
    X, y, concepts = make_concept_data(n_classes=2)
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    totals = clf.contributions(X).values.sum(axis=2)
    np.testing.assert_allclose(totals[:, 1] - totals[:, 0], clf.decision_function(X))


def test_fitted_state_survives_pickle_and_skops(fitted, data):
    X = data[0]
    expected = fitted.intervene(X, data[2])
    copy = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copy.intervene(X, data[2]), expected)
    dumped = skops.io.dumps(fitted)
    untrusted = skops.io.get_untrusted_types(data=dumped)
    assert untrusted == ["skclif.ConceptBottleneckClassifier"]
    loaded = skops.io.loads(dumped, trusted=untrusted)
    np.testing.assert_array_equal(loaded.intervene(X, data[2]), expected)


def test_repeated_fits_are_identical_and_leave_global_state_alone(data):
    X, y, concepts = data
    before = np.random.get_state()[1].copy()
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    coef = clf.coef_.copy()
    np.testing.assert_array_equal(clf.fit(X, y, concepts=concepts).coef_, coef)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_refitting_without_concepts_forgets_them(data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts).fit(X, y)
    assert clf.n_concepts_ == 0
    assert clf.coef_.shape == (3, 6)


def test_convergence_warning_names_head_value_and_remedy(data):
    X, y, concepts = data
    with pytest.warns(ConvergenceWarning) as caught:
        ConceptBottleneckClassifier(max_iter=1).fit(X, y, concepts=concepts)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 4
    for name, message in zip(
        ["food", "quiet", "price", "label"], messages, strict=True
    ):
        assert f"head of {name!r} stopped at a gradient norm of" in message
        assert "above the 1e-08 that tol=1e-08 asks for; raise max_iter=1" in message


def test_extreme_class_weights_do_not_stall_the_line_search():
    """The objective's rounding noise is that of large weighted logits, not its own."""
    X, y = make_blobs(n_samples=50, centers=2, random_state=0, cluster_std=20)
    weights = {0: 1000, 1: 0.0001}
    clf = ConceptBottleneckClassifier(C=0.1, class_weight=weights)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        clf.fit(X, y)
    assert clf.n_iter_ < 40


@pytest.mark.parametrize(
    "method",
    [
        "predict", "predict_proba", "decision_function", "transform",
        "predict_concepts", "predict_concept_proba", "contributions",
    ],
)  # fmt: skip
def test_unfitted(method, data):
    with pytest.raises(NotFittedError):
        getattr(ConceptBottleneckClassifier(), method)(data[0])
    with pytest.raises(NotFittedError):
        ConceptBottleneckClassifier().intervene(data[0], data[2])


@pytest.mark.parametrize(
    "method", ["predict_concepts", "predict_concept_proba", "contributions"]
)
def test_methods_about_concepts_need_concepts(method, data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier().fit(X, y)
    with pytest.raises(ValueError, match=f"{method} needs a model with concepts"):
        getattr(clf, method)(X)
    with pytest.raises(ValueError, match="intervene needs a model with concepts"):
        clf.intervene(X, concepts)


def _with_column(concepts, **columns):
    return concepts.assign(**columns)


BAD_CONCEPTS = [
    (lambda c: c.to_dict("list"), TypeError, "Searches cannot slice it"),
    (lambda c: "food", TypeError, "got str"),
    (lambda c: 3, TypeError, "concepts must be a DataFrame.*got int"),
    (
        lambda c: sparse.csr_array(np.eye(120)),
        TypeError,
        "concepts must be a DataFrame",
    ),
    (lambda c: c["food"], ValueError, "two dimensions.*got 1.*reshape"),
    (lambda c: list(c["quiet"]), ValueError, "two dimensions.*got 1"),
    (lambda c: np.zeros((120, 2, 2)), ValueError, "two dimensions.*got 3"),
    (lambda c: [["a"], ["b", "c"]] * 60, ValueError, "rows of different lengths"),
    (lambda c: c.iloc[:-1], ValueError, "inconsistent numbers of samples"),
    (lambda c: c[[]], ValueError, "concepts has no columns"),
    (lambda c: c.rename(columns={"food": 3}), ValueError, "named by strings, got 3"),
    (lambda c: c.rename(columns={"food": "label"}), ValueError, "'label'.*reserved"),
    (
        lambda c: c.rename(columns={"food": "interaction"}),
        ValueError,
        "'interaction'.*reserved",
    ),
    (lambda c: c.rename(columns={"food": "quiet"}), ValueError, r"same name.*'quiet'"),
    (
        lambda c: _with_column(c, quiet=np.r_[np.inf, np.linspace(0, 1, 119)]),
        ValueError,
        "'quiet' is continuous, but has the value inf",
    ),
    (
        lambda c: _with_column(c, quiet=[1, 2, np.inf] * 40),
        ValueError,
        "'quiet' is continuous, but has the value inf",
    ),
    (
        lambda c: _with_column(c, quiet=[1, "a"] * 60),
        ValueError,
        r"'quiet' mixes values that cannot be ordered \(int, str\)",
    ),
    (
        lambda c: _with_column(c, quiet=None),
        ValueError,
        "'quiet' has no annotation that has weight. Leave it out, or annotate rows",
    ),
]


@pytest.mark.parametrize(("spoil", "error", "match"), BAD_CONCEPTS)
def test_bad_concepts(data, spoil, error, match):
    X, y, concepts = data
    with pytest.raises(error, match=match):
        ConceptBottleneckClassifier().fit(X, y, concepts=spoil(concepts))


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda c: c.assign(food="great"), "'great' for concept 'food'.*never seen"),
        (lambda c: c.rename(columns={"food": "taste"}), r"unknown: \['taste'\]"),
        (lambda c: c.to_numpy(dtype=object)[:, :2], "has 2 columns.*fitted with 3"),
        (lambda c: c.iloc[:5], "inconsistent numbers of samples"),
    ],
)
def test_bad_interventions(fitted, data, spoil, match):
    with pytest.raises(ValueError, match=match):
        fitted.intervene(data[0], spoil(data[2]))


def test_an_intervention_needs_values(fitted, data):
    with pytest.raises(TypeError, match="got NoneType: pass .* use predict_proba if"):
        fitted.intervene(data[0], None)


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (np.ones(120), "Expected 2D array"),
        (np.ones((120, 2)), r"shape \(120, 2\), but concepts has shape \(120, 3\)"),
        (-np.ones((120, 3)), "Negative values"),
        (np.full((120, 3), np.nan), r"has no weight \(NaN\) in row"),
        (np.zeros((120, 3)), "'food' has no annotation that has weight"),
    ],
)
def test_bad_concept_sample_weight(data, weights, match):
    X, y, concepts = data
    with pytest.raises(ValueError, match=match):
        ConceptBottleneckClassifier().fit(
            X, y, concepts=concepts, concept_sample_weight=weights
        )


def test_concept_sample_weight_needs_concepts(data):
    with pytest.raises(ValueError, match="given without concepts"):
        ConceptBottleneckClassifier().fit(
            *data[:2], concept_sample_weight=np.ones((120, 3))
        )


@pytest.mark.parametrize(
    ("device", "match"),
    [
        ("tpu", "'tpu' is not known; use 'cpu', 'cuda'"),
        ("cuda:x", "'cuda:x' is not known"),
        ("cuda:99", "'cuda:99' was asked for, but PyTorch sees"),
    ],
)
def test_bad_devices(data, device, match):
    with pytest.raises(ValueError, match=match):
        ConceptBottleneckClassifier(device=device).fit(*data[:2])


def test_automatic_device_is_always_there(data):
    X, y, concepts = data
    auto = ConceptBottleneckClassifier(device="auto").fit(X, y, concepts=concepts)
    cpu = clone(auto).set_params(device="cpu").fit(X, y, concepts=concepts)
    np.testing.assert_allclose(auto.coef_, cpu.coef_, rtol=1e-8)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (
            lambda X, y: (X, np.repeat("a", 120)),
            "only one class: 'a'|at least 2 classes",
        ),
        (lambda X, y: (X, X[:, 0]), "Unknown label type: continuous"),
        (lambda X, y: (X, None), "requires y to be passed"),
        (lambda X, y: (X[:50], y), "inconsistent numbers of samples"),
        (lambda X, y: (np.where(X > 2, np.nan, X), y), "Input X contains NaN"),
        (lambda X, y: (np.where(X > 2, np.inf, X), y), "Input X contains infinity"),
        (lambda X, y: (["a"] * 120, y), "Expected 2D array|could not convert"),
    ],
)
def test_bad_rows(data, spoil, match):
    X, y = spoil(*data[:2])
    with pytest.raises((ValueError, TypeError), match=match):
        ConceptBottleneckClassifier().fit(X, y)


def test_annotations_in_the_place_of_weights(data):
    X, y, concepts = data
    with pytest.raises(ValueError, match="one dimension.*concepts=concepts"):
        ConceptBottleneckClassifier().fit(X, y, concepts)


def test_negative_sample_weight(data):
    X, y, _ = data
    with pytest.raises(ValueError, match="Negative values"):
        ConceptBottleneckClassifier().fit(X, y, sample_weight=-np.ones(len(X)))


@pytest.mark.gpu
def test_cuda_agrees_with_cpu(data):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    X, y, concepts = data
    cpu = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    cuda = ConceptBottleneckClassifier(device="cuda").fit(X, y, concepts=concepts)
    # Both stand at the optimum to tol=1e-8; parameters agree to that over curvature.
    np.testing.assert_allclose(cuda.predict_proba(X), cpu.predict_proba(X), atol=1e-8)
