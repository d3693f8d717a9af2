"""Joint training of both stages, by the estimator."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import InvalidParameterError

from skclif import (
    ConceptBottleneckClassifier,
    InfluenceReweighter,
    load_model,
    save_model,
)
from skclif.metrics import bottleneck_report

from ..data import make_concept_data, make_sparse_data


@pytest.fixture(scope="module")
def data():
    X, y, concepts = make_concept_data(70)
    return X, y, concepts.drop(columns="price")


@pytest.fixture(scope="module")
def fitted(data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(training="joint", concept_weight=2.0)
    return clf.fit(X, y, concepts=concepts)


def fit(data, **params):
    X, y, concepts = data
    return ConceptBottleneckClassifier(**params).fit(X, y, concepts=concepts)


def objective(clf, X, y, concepts):
    """Return the objective of fitted parameters in scikit-learn's layout, and them."""
    parts = [*clf.concept_coef_, *clf.concept_intercept_, clf.coef_, clf.intercept_]
    parameters = [torch.tensor(part, requires_grad=True) for part in parts]
    J, features = clf.n_concepts_, torch.from_numpy(X)
    of_concepts, seen, true = 0.0, [], []
    for j in range(J):
        coef, intercept = parameters[j], parameters[J + j]
        logits = features @ coef.T + intercept
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        given = concepts.iloc[:, j].notna().to_numpy()
        codes = np.searchsorted(
            clf.concept_classes_[j], concepts.iloc[given, j].to_numpy(dtype=str)
        )
        loss = torch.nn.functional.cross_entropy(
            logits[given], torch.from_numpy(codes), reduction="sum"
        )
        of_concepts = of_concepts + loss + (coef**2).sum() / (2 * clf.concept_C)
        p, known = logits.softmax(dim=1), logits.softmax(dim=1).clone()
        known[given] = torch.nn.functional.one_hot(
            torch.from_numpy(codes), logits.shape[1]
        ).double()
        start = 1 if logits.shape[1] == 2 else 0
        seen.append(p[:, start:])
        true.append(known[:, start:])
    coef, intercept = parameters[-2:]
    labels = torch.from_numpy(np.searchsorted(clf.classes_, y))
    of_label = (coef**2).sum() / (2 * clf.C)
    for share, z in (
        (1 - clf.intervention_prob_, torch.cat(seen, dim=1)),
        (clf.intervention_prob_, torch.cat(true, dim=1)),
    ):
        loss = torch.nn.functional.cross_entropy(
            z @ coef.T + intercept, labels, reduction="sum"
        )
        of_label = of_label + share * loss
    return of_label + clf.concept_weight * of_concepts, parameters


@pytest.mark.parametrize("prob", [None, 0.3])
def test_the_solution_is_stationary(data, prob):
    clf = fit(data, training="joint", concept_weight=2.0, intervention_prob=prob)
    value, parameters = objective(clf, *data)
    value.backward()
    # The bound is on scores in contrasts; in logits it is of the same size.
    assert max(float(p.grad.abs().max()) for p in parameters) < 1e-7
    training = {"training": "mixed", "intervention_prob": prob or 0.0}
    start = fit(data, **training)
    start.concept_weight = 2.0
    assert value < objective(start, *data)[0]
    assert clf.intervention_prob_ == (prob or 0.0)


def test_with_all_weight_on_concepts_the_heads_are_sequential(data):
    clf = fit(data, training="joint", concept_weight=1e6)
    sequential = fit(data, training="sequential")
    for one, other in zip(clf.concept_coef_, sequential.concept_coef_, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(clf.coef_, sequential.coef_, atol=1e-5)
    near = fit(data, training="joint", concept_weight=1e3)
    far = np.abs(near.coef_ - sequential.coef_).max()
    # The difference falls as the inverse of the weight.
    assert np.abs(clf.coef_ - sequential.coef_).max() < 3e-3 * far


def test_fits_are_the_same_each_time(data, fitted):
    again = fit(data, training="joint", concept_weight=2.0)
    np.testing.assert_array_equal(again.coef_, fitted.coef_)
    assert again.n_iter_ == fitted.n_iter_ > 1
    assert fitted.concept_weight_ == 2.0


def test_a_weight_is_a_number_of_rows(data):
    X, y, concepts = data
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 3, len(y))
    of_concepts = rng.integers(1, 3, concepts.shape)
    clf = ConceptBottleneckClassifier(training="joint", concept_weight=1.5)
    weighted = clf.fit(
        X, y, counts, concepts=concepts, concept_sample_weight=of_concepts
    ).predict_proba(X)
    rows = np.repeat(np.arange(len(y)), counts)
    repeated = clf.fit(
        X[rows],
        y[rows],
        concepts=concepts.iloc[rows],
        concept_sample_weight=of_concepts[rows],
    ).predict_proba(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-7)


def test_without_concepts_there_is_nothing_to_train_together(data):
    X, y, _ = data
    joint = ConceptBottleneckClassifier(training="joint", concept_weight=3).fit(X, y)
    np.testing.assert_array_equal(
        joint.coef_, ConceptBottleneckClassifier().fit(X, y).coef_
    )
    assert joint.concept_weight_ is None


def test_penalties_are_chosen_before_stages_are_trained_together(data):
    penalties = {"C": "auto", "concept_C": "auto"}
    joint = fit(data, training="joint", **penalties)
    sequential = fit(data, training="sequential", **penalties)
    assert joint.C_ == sequential.C_
    np.testing.assert_array_equal(joint.concept_C_, sequential.concept_C_)


def test_sparse_features_give_the_same_model():
    X, y, concepts = make_sparse_data(40, 30)
    clf = ConceptBottleneckClassifier(training="joint", concept_weight=5)
    sparse = clf.fit(X, y, concepts=concepts).predict_proba(X)
    dense = clf.fit(X.toarray(), y, concepts=concepts).predict_proba(X.toarray())
    np.testing.assert_allclose(sparse, dense, atol=1e-8)


def test_soft_annotations_count_as_their_values(data):
    X, y, concepts = data
    soft = pd.DataFrame({"quiet=no": 0.25, "quiet=yes": 0.75}, index=range(len(y)))
    clf = ConceptBottleneckClassifier(training="joint")
    found = clf.fit(X, y, concepts=soft).predict_proba(X)
    rows = np.concatenate([np.arange(len(y))] * 2)
    plain = pd.DataFrame({"quiet": ["no"] * len(y) + ["yes"] * len(y)})
    shares = np.repeat([[0.25], [0.75]], len(y), axis=0)
    halves = np.full(2 * len(y), 0.5)
    clf.fit(
        *(X[rows], y[rows], halves),
        concepts=plain,
        concept_sample_weight=2 * shares,
    )
    np.testing.assert_allclose(found, clf.predict_proba(X), atol=1e-7)


def test_an_early_stop_is_said_once(data):
    with pytest.warns(ConvergenceWarning, match="Training both stages together") as w:
        fit(data, training="joint", concept_weight=0.1, C=100, max_iter=1)
    stopped = [one for one in w if "after 10 steps of L-BFGS" in str(one.message)]
    assert len(stopped) == 1


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"bottleneck": "hard"}, "needs bottleneck='soft' or 'logit': through hard"),
        ({"monotonic_cst": {"quiet": 1}}, "cannot keep the bounds of monotonic_cst"),
        (
            {"bottleneck": "logit", "intervention_prob": 0.5},
            "a true annotation has no logit. Leave it None",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(data, params, words):
    with pytest.raises(ValueError, match=words):
        fit(data, **{"training": "joint"} | params)


def test_other_trainings_ignore_the_weight(data, tmp_path):
    weighed = fit(data, training="mixed", concept_weight=2)
    np.testing.assert_array_equal(weighed.coef_, fit(data, training="mixed").coef_)
    assert weighed.concept_weight_ is None
    save_model(weighed, tmp_path / "model.skclif")
    assert load_model(tmp_path / "model.skclif").get_params() == weighed.get_params()


def test_a_weight_is_positive(data):
    with pytest.raises(InvalidParameterError, match="'concept_weight' parameter"):
        fit(data, training="joint", concept_weight=0)


def test_files_and_pickles_keep_the_weight(data, fitted, tmp_path):
    save_model(fitted, tmp_path / "model.skclif")
    for model in (
        load_model(tmp_path / "model.skclif"),
        pickle.loads(pickle.dumps(fitted)),
    ):
        assert model.get_params() == fitted.get_params()
        assert model.concept_weight_ == 2.0
        np.testing.assert_array_equal(
            model.predict_proba(data[0]), fitted.predict_proba(data[0])
        )


def test_files_of_other_models_do_not_name_the_weight(data, tmp_path):
    save_model(fit(data), tmp_path / "model.skclif")
    content = (tmp_path / "model.skclif").read_bytes()
    assert b"concept_weight" not in content
    assert load_model(tmp_path / "model.skclif").concept_weight_ is None


def test_older_models_are_not_joint(data):
    model = fit(data)
    state = model.__getstate__().copy()
    del state["concept_weight"], state["concept_weight_"]
    older = ConceptBottleneckClassifier.__new__(ConceptBottleneckClassifier)
    older.__setstate__(state)
    assert older.concept_weight == 1.0
    assert older.concept_weight_ is None


def test_a_report_reads_other_activations_of_the_same_heads(data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(training="joint", concept_weight=3)
    report = bottleneck_report(
        clf, X, y, concepts, cv=2, n_repeats=1, n_bootstraps=100, random_state=0
    )
    assert {"gold", "hard", "soft", "logit"} <= {*report.scores["model"]}


def test_weights_are_learned_one_stage_after_the_other(data):
    X, y, concepts = data
    weights = []
    for training in ("joint", "sequential"):
        clf = ConceptBottleneckClassifier(training=training)
        reweighter = InfluenceReweighter(
            clf, strength=1, n_rounds=1, cv=3, use_suspects=False, random_state=0
        ).fit(X, y, concepts=concepts)
        assert reweighter.estimator_.training == training
        weights.append(reweighter.sample_weight_)
    np.testing.assert_allclose(*weights)
