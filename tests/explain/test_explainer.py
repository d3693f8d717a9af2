"""ConceptInfluenceExplainer as its users meet it."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    SentenceEmbedder,
)
from skclif.exceptions import InfluenceWarning

from ..data import make_concept_data

N = 120


@pytest.fixture(scope="module")
def data():
    return make_concept_data(N)


@pytest.fixture(scope="module", params=["mixed", "sequential", "independent"])
def explainer(request, data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(training=request.param, class_weight="balanced")
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    return explainer.fit(X, y, concepts=concepts)


@pytest.fixture(scope="module")
def targets():
    X, y, _ = make_concept_data(9, seed=5)
    return X, y


def test_it_predicts_like_the_estimator(explainer, data, targets):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(**explainer.estimator.get_params())
    clf.fit(X, y, concepts=concepts)
    np.testing.assert_array_equal(explainer.predict(X), clf.predict(X))
    np.testing.assert_array_equal(explainer.predict_proba(X), clf.predict_proba(X))
    assert explainer.score(X, y) == clf.score(X, y)
    assert not hasattr(explainer.estimator, "classes_")


def test_the_value_of_a_target_is_what_it_says(explainer, targets):
    X, y = targets
    codes = np.searchsorted(explainer.classes_, y)
    clf = explainer.estimator_
    log_p = np.log(clf.predict_proba(X))
    logits = clf.decision_function(X)
    own = np.arange(len(y)), codes
    rivals = logits.copy()
    rivals[own] = -np.inf
    expected = {
        "loss": -log_p[own],
        "log_proba": log_p[own],
        "logit": logits[own],
        "margin": logits[own] - rivals.max(axis=1),
        ("concept", "food", "good"): clf.predict_concept_proba(X)["food"][:, 1],
        ("concept", "price", 3): clf.predict_concept_proba(X)["price"][:, 2],
        ("concept", "quiet", "yes"): clf.predict_concept_proba(X)["quiet"][:, 1],
    }
    for target, value in expected.items():
        result = explainer.influence(X, y, target=target)
        np.testing.assert_allclose(result.explained["value"], value)


def test_continuous_concepts_are_explained(targets):
    X, y, concepts = make_concept_data(N)
    concepts = concepts.assign(price=X[:, 2].round(2)).astype({"price": float})
    clf = ConceptBottleneckClassifier(bottleneck="hard")
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    explainer.fit(X, y, concepts=concepts)
    result = explainer.influence(targets[0], target=("concept", "price"), paths=True)
    assert result.target == "predicted price"
    assert result.unit == "units of price"
    predicted = explainer.estimator_.predict_concepts(targets[0])["price"]
    np.testing.assert_allclose(result.explained["value"], predicted)
    assert (result.values[:, :, 3] != 0).all()
    assert (result.values[:, :, :3] == 0).all()
    assert result.training["price"].tolist() == concepts["price"].tolist()
    with pytest.warns(InfluenceWarning, match="the paths of food, quiet are 0"):
        values = explainer.influence(*targets, paths=True).values
    assert (values[:, :, 3] != 0).all()
    with pytest.raises(ValueError, match="names a value, but concept 'price' is cont"):
        explainer.influence(targets[0], target=("concept", "price", 3))


def test_two_classes_have_signed_logits():
    X, y, concepts = make_concept_data(n_classes=2)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X, y, concepts=concepts)
    logits = explainer.estimator_.decision_function(X)
    sign = np.where(y == explainer.classes_[1], 1, -1)
    for target in ("logit", "margin"):
        value = explainer.influence(X, y, target=target).explained["value"]
        np.testing.assert_allclose(value, sign * logits)


def test_paths_sum_to_the_total(explainer, targets):
    X, y = targets
    whole = explainer.influence(X, y)
    parts = explainer.influence(X, y, paths=True)
    assert parts.paths == ("label", "food", "quiet", "price")
    assert parts.values.shape == (9, N, 4)
    assert whole.paths is None
    np.testing.assert_allclose(parts.values.sum(axis=2), whole.values, atol=1e-10)
    np.testing.assert_allclose(parts.totals, whole.totals, atol=1e-10)


def test_what_is_not_annotated_has_no_influence(explainer, data, targets):
    missing = data[2].isna().to_numpy()
    values = explainer.influence(*targets, paths=True).values
    assert (values[:, :, 1:][:, missing] == 0).all()
    assert (values[:, :, 1:][:, ~missing] != 0).all()


@pytest.fixture(scope="module", params=["mixed", "sequential", "independent"])
def leverage(request, data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(training=request.param, class_weight="balanced")
    explainer = ConceptInfluenceExplainer(clf, method="leverage")
    return explainer.fit(X, y, concepts=concepts)


def test_leverage_has_one_more_path(leverage, explainer, targets):
    parts = leverage.influence(*targets, paths=True)
    assert parts.paths == ("label", "food", "quiet", "price", "interaction")
    whole = leverage.influence(*targets)
    np.testing.assert_allclose(parts.totals, whole.values, atol=1e-12)
    np.testing.assert_array_equal(
        parts.explained["value"], leverage.influence(*targets).explained["value"]
    )
    if leverage.estimator.training == explainer.estimator.training:
        first = explainer.influence(*targets).values
        assert np.corrcoef(first.ravel(), whole.values.ravel())[0, 1] > 0.98
        assert not np.allclose(first, whole.values, rtol=1e-3)


def test_leverage_answers_every_question(leverage, data, targets):
    X, y, _ = data
    many = np.tile(X, (5, 1)), np.tile(y, 5)  # more than one block of targets
    once = leverage.influence(X, y, paths=True)
    mean = leverage.influence(*many, paths=True, reduce="mean")
    np.testing.assert_allclose(
        mean.values, once.values.mean(axis=0, keepdims=True), atol=1e-12
    )
    np.testing.assert_allclose(
        mean.explained["value"], [once.explained["value"].mean()]
    )
    groups = np.arange(N) % 4
    each = leverage.influence(X, y, groups=groups)
    mean = leverage.influence(*many, groups=groups, reduce="mean")
    np.testing.assert_allclose(mean.values[0], each.values.mean(axis=0), atol=1e-12)
    top = leverage.influence(X, y, top=3)
    np.testing.assert_array_equal(
        top.rows, np.argsort(-np.abs(once.totals), axis=1, kind="stable")[:, :3]
    )
    target = ("concept", "food", "good")
    of_food = leverage.influence(targets[0], target=target, paths=True).values
    assert (of_food[:, :, [0, 2, 3]] == 0).all()
    np.testing.assert_allclose(of_food[:, :, 4], 0, atol=1e-15)


def test_leverage_without_concepts_and_with_few_rows():
    X, y, _ = make_concept_data(30)
    X = np.hstack([X, np.random.default_rng(0).normal(size=(30, 50))])
    clf = ConceptBottleneckClassifier(C=0.01)
    explainer = ConceptInfluenceExplainer(clf, method="leverage").fit(X, y)
    result = explainer.influence(X[:4], y[:4], paths=True)
    assert result.paths == ("label",)
    assert result.values.shape == (4, 30, 1)
    row = int(np.abs(result.totals).sum(axis=0).argmax())
    clf.fit(np.delete(X, row, axis=0), np.delete(y, row))
    codes = np.searchsorted(clf.classes_, y[:4])
    without = -np.log(clf.predict_proba(X[:4])[np.arange(4), codes])
    np.testing.assert_allclose(
        result.totals[:, row], result.explained["value"] - without, rtol=0.05
    )


def test_leverage_sees_hard_activations_of_targets_flip(data):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(bottleneck="hard", concept_C=1000)
    explainer = ConceptInfluenceExplainer(clf, method="leverage")
    explainer.fit(X, y, concepts=concepts)
    with pytest.warns(InfluenceWarning, match="Leverage does not see hard activations"):
        values = explainer.influence(X, y, paths=True).values
    flipped = np.abs(values[:, :, 1:4]) > 1e-6
    assert 0 < flipped.mean() < 0.1


def test_hard_activations_are_warned_of(data, targets):
    X, y, concepts = data
    clf = ConceptBottleneckClassifier(bottleneck="hard")
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    explainer.fit(X, y, concepts=concepts)
    with pytest.warns(InfluenceWarning, match="the paths of food, quiet, price are 0"):
        values = explainer.influence(*targets, paths=True).values
    assert (values[:, :, 1:] == 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target = ("concept", "food", "good")
        values = explainer.influence(targets[0], target=target, paths=True).values
    assert (values[:, :, 1] != 0).any()


def test_a_concept_does_not_hear_of_labels(explainer, targets):
    values = explainer.influence(
        targets[0], target=("concept", "food", "good"), paths=True
    ).values
    assert (values[:, :, 1] != 0).any()
    assert (values[:, :, [0, 2, 3]] == 0).all()


def test_log_proba_is_minus_the_loss(explainer, targets):
    loss = explainer.influence(*targets, paths=True)
    log_proba = explainer.influence(*targets, target="log_proba", paths=True)
    np.testing.assert_array_equal(log_proba.values, -loss.values)
    assert not loss.higher_is_better
    assert log_proba.higher_is_better


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_reduced_targets(explainer, targets, reduce):
    each = explainer.influence(*targets, paths=True)
    one = explainer.influence(*targets, paths=True, reduce=reduce)
    assert one.values.shape == (1, N, 4)
    expected = getattr(each.values, reduce)(axis=0, keepdims=True)
    np.testing.assert_allclose(one.values, expected, atol=1e-12)
    value = getattr(each.explained["value"], reduce)()
    np.testing.assert_allclose(one.explained["value"], [value])
    assert one.target == f"{reduce} log-loss"


def test_many_targets_go_in_blocks(explainer, data):
    X, y, _ = data
    many = np.tile(X, (9, 1)), np.tile(y, 9)  # more than one block of targets
    once = explainer.influence(X, y)
    np.testing.assert_allclose(
        explainer.influence(*many).values, np.tile(once.values, (9, 1)), atol=1e-12
    )
    np.testing.assert_allclose(
        explainer.influence(*many, reduce="mean").values,
        explainer.influence(X, y, reduce="mean").values,
        atol=1e-12,
    )


@pytest.mark.parametrize("paths", [False, True])
def test_top_keeps_the_largest(explainer, targets, paths):
    full = explainer.influence(*targets, paths=paths)
    few = explainer.influence(*targets, paths=paths, top=7)
    order = np.argsort(-np.abs(full.totals), axis=1)[:, :7]
    np.testing.assert_array_equal(few.rows, order)
    index = order[:, :, None] if paths else order
    np.testing.assert_allclose(
        few.values, np.take_along_axis(full.values, index, axis=1)
    )
    pd.testing.assert_frame_equal(few.top(3), full.top(3))
    assert explainer.influence(*targets, top=1000).values.shape[1] == N


@pytest.mark.parametrize("paths", [False, True])
def test_groups_are_sums_to_first_order(explainer, targets, paths):
    groups = np.array(["ann", "bob", "eve"])[np.arange(N) % 3]
    full = explainer.influence(*targets, paths=paths)
    summed = explainer.influence(*targets, paths=paths, groups=groups)
    assert summed.groups.tolist() == ["ann", "bob", "eve"]
    for g, name in enumerate(summed.groups):
        np.testing.assert_allclose(
            summed.values[:, g], full.values[:, groups == name].sum(axis=1), atol=1e-12
        )
    assert list(summed.top(2)["group"][:2].isin(["ann", "bob", "eve"])) == [True, True]


def test_without_y_the_prediction_is_explained(explainer, targets):
    X = targets[0]
    one, two = explainer.influence(X), explainer.influence(X, explainer.predict(X))
    np.testing.assert_array_equal(one.values, two.values)
    assert one.explained["label"].tolist() == explainer.predict(X).tolist()


def test_a_frame_is_explained_without_y_and_without_a_warning(data):
    X, y, concepts = data
    frame = pd.DataFrame(X, columns=list("abcdef"))
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(frame, y, concepts=concepts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explained = explainer.influence(frame[:5]).explained
    assert explained["label"].tolist() == explainer.predict(frame[:5]).tolist()


def test_effects_of_concepts_follow_their_definition(explainer, targets):
    X = targets[0]
    effects = explainer.transform(X)
    assert effects.shape == (9, 3)
    assert explainer.get_feature_names_out().tolist() == ["food", "quiet", "price"]
    clf = explainer.estimator_
    z = clf.transform(X)
    k = clf.predict_proba(X).argmax(axis=1)

    def log_p(z):
        logits = z @ clf.coef_.T + clf.intercept_
        return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[
            np.arange(len(z)), k
        ]

    for j, columns in enumerate([slice(0, 3), slice(3, 4), slice(4, 8)]):
        changed = z.copy()
        changed[:, columns] = explainer.mean_activations_[columns]
        np.testing.assert_allclose(effects[:, j], log_p(z) - log_p(changed))


def test_mean_activations_are_weighted_and_what_the_label_head_saw(data):
    X, y, concepts = data
    weights = np.random.default_rng(0).uniform(0.1, 2, N)
    for training, share in [("sequential", 0), ("independent", 1), ("mixed", 0.4)]:
        explainer = ConceptInfluenceExplainer(
            ConceptBottleneckClassifier(training=training)
        ).fit(X, y, weights, concepts=concepts)
        z = explainer.estimator_.transform(X)
        rows = concepts["quiet"].notna().to_numpy()
        true = concepts.loc[rows, "quiet"] == "yes"
        z[rows, 3] = (1 - share) * z[rows, 3] + share * true
        expected = np.average(z[:, 3], weights=weights)
        np.testing.assert_allclose(explainer.mean_activations_[3], expected)


def test_a_planted_error_is_harmful_through_its_label(data):
    X, y, concepts = data
    X_dev, y_dev, _ = make_concept_data(200, seed=9)
    extreme = int(np.argmax(X[:, 0] + X[:, 1] - X[:, 2]))
    y = y.copy()
    y[extreme] = {"never": "again", "again": "never"}.get(y[extreme], "never")
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(X, y, concepts=concepts)
    result = explainer.influence(X_dev, y_dev, reduce="mean", paths=True)
    worst = result.harmful(3)
    assert extreme in worst["row"].tolist()
    row = worst[worst["row"] == extreme].iloc[0]
    assert row["influence"] > 0
    assert row["path"] == "label"
    # Removing it for real lowers the loss on the development rows.
    kept = np.delete(np.arange(N), extreme)
    clf = ConceptBottleneckClassifier().fit(
        X[kept], y[kept], concepts=concepts.iloc[kept]
    )
    loss = explainer.influence(X_dev, y_dev, reduce="mean").explained["value"][0]
    codes = np.searchsorted(clf.classes_, y_dev)
    retrained = -np.log(clf.predict_proba(X_dev)[np.arange(len(codes)), codes]).mean()
    assert retrained < loss
    np.testing.assert_allclose(loss - retrained, row["influence"], rtol=0.5)


def test_weights_of_rows_and_annotations_scale_influence(data, targets):
    X, y, concepts = data
    weights, concept_weights = np.ones(N), np.ones(concepts.shape)
    weights[4] = 0
    concept_weights[5, 0] = 0
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier()).fit(
        X, y, weights, concepts=concepts, concept_sample_weight=concept_weights
    )
    values = explainer.influence(*targets, paths=True).values
    assert (values[:, 4] == 0).all()
    assert (values[:, 5, 1] == 0).all()
    assert (values[:, 5, 0] != 0).all()


def test_a_pipeline_is_explained_at_its_last_step(data, targets):
    X, y, concepts = data
    scaler = StandardScaler().fit(X)
    clf = ConceptBottleneckClassifier(C=3)
    alone = ConceptInfluenceExplainer(clf).fit(
        scaler.transform(X), y, concepts=concepts
    )
    expected = alone.influence(scaler.transform(targets[0]), targets[1]).values
    nested = make_pipeline(FunctionTransformer(), make_pipeline(StandardScaler(), clf))
    for pipe in (make_pipeline(StandardScaler(), clf), make_pipeline(clf), nested):
        given = scaler.transform(X) if len(pipe) == 1 else X
        asked = scaler.transform(targets[0]) if len(pipe) == 1 else targets[0]
        explainer = ConceptInfluenceExplainer(pipe).fit(given, y, concepts=concepts)
        own = explainer.influence(asked, targets[1]).values
        np.testing.assert_allclose(own, expected, rtol=1e-6, atol=1e-12)
        assert isinstance(explainer.estimator_, Pipeline)
        np.testing.assert_array_equal(
            explainer.predict(asked), alone.predict(scaler.transform(targets[0]))
        )


def test_texts_are_explained_with_texts(tiny_encoder):
    texts = [f"{w} food and {s} service" for w in ("good", "bad") for s in
             ("great", "slow", "rude", "warm")] * 3  # fmt: skip
    y = [int("good" in text) for text in texts]
    concepts = pd.DataFrame({"food": ["fine" if v else "poor" for v in y]})
    pipe = make_pipeline(SentenceEmbedder(tiny_encoder), ConceptBottleneckClassifier())
    explainer = ConceptInfluenceExplainer(pipe).fit(texts, y, concepts=concepts)
    top = explainer.influence(["bad food", "the soup"], [1, 0], paths=True).top(2)
    assert list(top.columns) == [
        "target", "row", "influence", "path", "text", "label", "food",
    ]  # fmt: skip
    assert top["text"].tolist() == [texts[row] for row in top["row"]]
    assert top["label"].tolist() == [y[row] for row in top["row"]]
    assert set(top["path"]) <= {"label", "food"}
    assert explainer.transform(["good food"]).shape == (1, 1)


def test_tables_with_a_column_of_text(tiny_encoder):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"review": rng.choice(["good food", "bad food", "slow service"], 40),
         "visits": rng.integers(0, 9, 40)}
    )  # fmt: skip
    y = (frame["review"] == "good food").astype(int) + (frame["visits"] > 4)
    concepts = pd.DataFrame(
        {"food": np.where(frame["review"] == "bad food", "no", "ok")}
    )
    columns = ColumnTransformer(
        [
            ("text", SentenceEmbedder(tiny_encoder), "review"),
            ("numbers", StandardScaler(), ["visits"]),
        ]
    )
    pipe = make_pipeline(columns, ConceptBottleneckClassifier())
    search = GridSearchCV(pipe, {"conceptbottleneckclassifier__C": [0.1, 10]}, cv=2)
    search.fit(frame, y, conceptbottleneckclassifier__concepts=concepts)
    assert search.best_score_ > 0.5
    explainer = ConceptInfluenceExplainer(search.best_estimator_)
    explainer.fit(frame, y, concepts=concepts)
    top = explainer.influence(frame[:3], y[:3], paths=True).top(2)
    assert top["text"].tolist() == frame["review"].iloc[top["row"]].tolist()


def test_state_survives_pickle_and_skops(explainer, targets):
    expected = explainer.influence(*targets, paths=True)
    copy = pickle.loads(pickle.dumps(explainer))
    again = copy.influence(*targets, paths=True)
    np.testing.assert_array_equal(again.values, expected.values)
    pd.testing.assert_frame_equal(again.training, expected.training)
    dumped = skops.io.dumps(explainer)
    untrusted = skops.io.get_untrusted_types(data=dumped)
    assert all(name.startswith("skclif.") for name in untrusted)
    loaded = skops.io.loads(dumped, trusted=untrusted)
    again = loaded.influence(*targets, paths=True)
    np.testing.assert_array_equal(again.values, expected.values)


def test_fewer_rows_than_features():
    X, y, concepts = make_concept_data(40)
    X = np.hstack([X, np.random.default_rng(0).normal(size=(40, 60))])
    clf = ConceptBottleneckClassifier()
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    explainer.fit(X, y, concepts=concepts)
    weights = np.ones(40)
    influence = explainer.influence(X[:3], y[:3]).values[:, 7]
    step = 1e-4
    losses = []
    for factor in (1 + step, 1 - step):
        weights[7] = factor
        clf = ConceptBottleneckClassifier(tol=1e-11).fit(
            X, y, weights, concepts=concepts
        )
        codes = np.searchsorted(clf.classes_, y[:3])
        losses.append(-np.log(clf.predict_proba(X[:3])[np.arange(3), codes]))
    difference = (losses[0] - losses[1]) / (2 * step)
    np.testing.assert_allclose(influence, difference, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("estimator", "match"),
    [
        (GaussianNB(), "ends in such a model, got GaussianNB at the end"),
        (ConceptBottleneckClassifier, "must be an instance, got the class Concept"),
        (make_pipeline(StandardScaler(), GaussianNB()), "got GaussianNB at the end"),
    ],
)
def test_estimators_it_cannot_explain(data, estimator, match):
    with pytest.raises(TypeError, match=match):
        ConceptInfluenceExplainer(estimator).fit(*data[:2])
    with pytest.raises(ValueError, match="must be an object implementing"):
        ConceptInfluenceExplainer(Ridge()).fit(*data[:2])


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"target": "accuracy"}, "target='accuracy' is not known; use one of"),
        ({"target": ("concept", "food")}, "no single one of concept 'food'.*known"),
        ({"target": ("concept",)}, "names the concept None"),
        ({"target": ("label", "food")}, "is not known; use one of"),
        ({"target": ("concept", "taste", "good")}, "concept 'taste', but.*'food'"),
        ({"target": ("concept", "food", "great")}, "'great' of concept 'food'.*known"),
        ({"reduce": "median"}, "reduce='median' is not known"),
        ({"top": 0}, "top=0 must be a positive integer"),
        ({"top": 1.5}, "top=1.5 must be a positive integer"),
        ({"top": 3, "groups": np.zeros(N)}, "top and groups exclude each other"),
        ({"groups": np.zeros(3)}, "groups has 3 entries, but there are 120"),
        ({"y": ["never"] * 8 + ["soon"]}, "class 'soon', which was not seen in fit"),
        ({"y": ["never"]}, "inconsistent numbers of samples"),
        ({"X": np.zeros((9, 2))}, "X has 2 features, but"),
        ({"X": np.full((9, 6), np.nan)}, "contains NaN"),
        ({"X": np.zeros((0, 6))}, "Found array with 0 sample"),
    ],
)
def test_bad_questions(explainer, targets, kwargs, match):
    arguments = {"X": targets[0], "y": targets[1], **kwargs}
    with pytest.raises(ValueError, match=match):
        explainer.influence(**arguments)


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "transform", "influence"]
)
def test_unfitted(method, data):
    unfitted = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    with pytest.raises(NotFittedError):
        getattr(unfitted, method)(data[0])


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda X, y, c: (X, y[:-1], c), "inconsistent numbers of samples"),
        (lambda X, y, c: (X, y, c.iloc[1:]), "inconsistent numbers of samples"),
        (lambda X, y, c: (X, np.repeat("a", N), c), "at least 2 classes"),
        (lambda X, y, c: (np.where(X > 2, np.nan, X), y, c), "contains NaN"),
    ],
)
def test_bad_training_data(data, spoil, match):
    X, y, concepts = spoil(*data)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    with pytest.raises(ValueError, match=match):
        explainer.fit(X, y, concepts=concepts)


@pytest.mark.gpu
def test_cuda_agrees_with_cpu(data, targets):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    X, y, concepts = data
    results = [
        ConceptInfluenceExplainer(ConceptBottleneckClassifier(), device=device)
        .fit(X, y, concepts=concepts)
        .influence(*targets, paths=True)
        .values
        for device in ("cpu", "cuda")
    ]
    # float64 on both; sums in another order differ by rounding alone.
    np.testing.assert_allclose(results[1], results[0], rtol=1e-8, atol=1e-12)
