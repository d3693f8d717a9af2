"""What to annotate next, and which concepts are worth most care."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain.annotations.beliefs import beliefs_of_labels
from skclif._inputs.training_rows import as_tensor
from skclif.numerics.answers import interest_in_label
from skclif.numerics.concept_noise import damage_of_noise
from skclif.numerics.edits import Limits

N, CONCEPTS = 40, ["food", "service"]


@cache
def _rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 6))
    seen = X[:, :2] + 0.3 * rng.normal(size=(120, 2))
    concepts = pd.DataFrame(np.where(seen > 0, "good", "bad"), columns=CONCEPTS)
    y = np.digitize(seen.sum(axis=1), [-1, 1])
    return X, y, concepts.astype(object)


@cache
def _explainer(missing=False, **parameters):
    X, y, concepts = _rows()
    concepts = concepts[:N].copy()
    if missing:
        concepts.loc[[3, 8, 9], "food"] = None
        concepts.loc[[8], "service"] = None
    clf = ConceptBottleneckClassifier(**parameters)
    return ConceptInfluenceExplainer(clf).fit(X[:N], y[:N], concepts=concepts)


def _suggest(X_pool, missing=False, **how):
    X, y, _ = _rows()
    return _explainer(missing).suggest_annotations(X_pool, X[80:], y[80:], **how)


def test_rows_of_a_pool_come_with_all_their_gains():
    X, *_ = _rows()
    found = _suggest(X[N:80], n=5)
    frame = found.to_frame(paths=True)
    assert frame["row"].is_unique
    assert frame["row"].between(0, 39).all()
    names = ["gain of label", *(f"gain of {name}" for name in CONCEPTS)]
    np.testing.assert_allclose(frame[names].sum(axis=1), frame["gain"])
    assert list(found.to_frame()) == ["row", "gain"]
    assert found.gain == pytest.approx(frame["gain"].sum())
    assert (found.n_chosen, found.n_candidates, found.n_validation) == (5, 40, 40)
    clf = _explainer().estimator_
    X, y, _ = _rows()
    assert found.value == pytest.approx(log_loss(y[80:], clf.predict_proba(X[80:])))
    assert repr(found).startswith(
        "<AnnotationSuggestions for mean log-loss of label and concepts, summed: 5 "
        "rows of the pool, out of 40; expected to lower it by"
    )


def test_gains_are_those_of_the_sum_of_targets():
    X, *_ = _rows()
    first = {
        target: _suggest(X[N : N + 1], n=1, target=target).gain
        for target in ("all", "loss", "concepts")
    }
    assert first["all"] == pytest.approx(first["loss"] + first["concepts"])


def test_a_batch_does_not_hold_copies():
    # The same text again and again: its copies teach little once it is answered.
    X, *_ = _rows()
    best = _suggest(X[N:80], n=1).to_frame()["row"][0]
    pool = np.vstack([np.tile(X[N + best], (20, 1)), X[N:60]])
    rows = _suggest(pool, n=6).to_frame()["row"]
    assert rows[0] < 20 or rows[0] == 20 + best
    assert (rows < 20).sum() <= 2
    assert (rows >= 20).sum() >= 4


def test_all_of_a_small_pool_is_listed():
    X, *_ = _rows()
    assert sorted(_suggest(X[N : N + 3]).to_frame()["row"]) == [0, 1, 2]


def test_the_order_of_the_pool_does_not_matter():
    X, *_ = _rows()
    there = _suggest(X[N:60], n=4).to_frame()
    back = _suggest(X[N:60][::-1], n=4).to_frame()
    assert (19 - back["row"]).tolist() == there["row"].tolist()
    np.testing.assert_allclose(back["gain"], there["gain"])


def test_missing_annotations_of_training_rows():
    by_row = _suggest(None, missing=True)
    assert sorted(by_row.to_frame()["row"]) == [3, 8, 9]
    frame = by_row.to_frame(paths=True)
    assert "gain of label" not in frame
    own = frame.set_index("row")["gain of service"]
    assert own.notna().tolist() == (own.index == 8).tolist()
    single = _suggest(None, missing=True, by="annotation").to_frame()
    pairs = {(3, "food"), (8, "food"), (9, "food"), (8, "service")}
    assert set(zip(single["row"], single["concept"], strict=True)) == pairs
    assert "4 annotations of training, out of 4" in repr(
        _suggest(None, missing=True, by="annotation")
    )


def test_rows_where_no_training_row_is_are_seen():
    # Fewer rows than features: what a new direction would teach is most, and the span
    # of the training rows does not hold it. Coordinates are those of any rotation.
    rng = np.random.default_rng(1)
    X = rng.normal(size=(60, 30))
    X[:20, 20:] = 0
    y, concepts = (X[:, 0] > 0).astype(int), np.where(X[:, :1] > 0, "yes", "no")
    clf = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    turn = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    ask = {"n": 5}
    plain = clf.fit(X[:20], y[:20], concepts=concepts[:20]).suggest_annotations(
        X[20:40], X[40:], y[40:], **ask
    )
    whole = clf.fit(
        X[:50] @ turn,
        y[:50],
        (np.arange(50) < 20).astype(float),  # others span all, and move nothing
        concepts=concepts[:50],
    ).suggest_annotations(X[20:40] @ turn, X[40:] @ turn, y[40:], **ask)
    assert plain.to_frame()["row"].tolist() == whole.to_frame()["row"].tolist()
    np.testing.assert_allclose(
        plain.to_frame()["gain"], whole.to_frame()["gain"], rtol=1e-4
    )


def test_sparse_features_are_as_dense_ones():
    X, y, concepts = _rows()
    clf = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    clf.fit(sparse.csr_matrix(X[:N]), y[:N], concepts=concepts[:N])
    found = clf.suggest_annotations(
        sparse.csr_matrix(X[N:80]), sparse.csr_matrix(X[80:]), y[80:], n=5
    )
    dense = _suggest(X[N:80], n=5).to_frame()
    np.testing.assert_allclose(found.to_frame()["gain"], dense["gain"], rtol=1e-6)
    assert found.to_frame()["row"].tolist() == dense["row"].tolist()


def test_constants_are_not_asked_for_and_numbers_are():
    X, y, concepts = _rows()
    table = concepts[:N].assign(always="yes", score=X[:N, 2] + 0.25)
    table.loc[5, ["always", "score"]] = None
    with pytest.warns(match="always"):
        explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier()).fit(
            X[:N], y[:N], concepts=table.astype({"score": float})
        )
    found = explainer.suggest_annotations(None, X[80:], y[80:], by="annotation")
    assert found.to_frame()["concept"].tolist() == ["score"]
    assert found.gain > 0


def test_beliefs_of_labels_are_calibrated_on_validation_rows():
    X, y, _ = _rows()
    bottleneck = _explainer()._heads().tensors()
    features, codes = as_tensor(X[80:]), as_tensor(y[80:])
    beliefs = beliefs_of_labels(bottleneck, features, codes, features).numpy()
    np.testing.assert_allclose(beliefs.sum(axis=1), 1)
    shares = np.bincount(y[80:], minlength=3) / 40
    np.testing.assert_allclose(beliefs.mean(axis=0), shares, atol=0.02)
    # A label that no validation row has is possible all the same.
    some = y[80:] != 2
    less = beliefs_of_labels(bottleneck, features[some], codes[some], features)
    assert 0 < less[:, 2].mean() < 0.1


REFUSED = {
    "by": ({"by": "text"}, ValueError, "by='text' is not known; use 'row'"),
    "by a pool": ({"by": "annotation"}, ValueError, "rows of X_pool have no label"),
    "n": ({"n": 0}, ValueError, "n=0 must be 1 or more"),
    "n no number": ({"n": 2.5}, TypeError, "n must be a whole number, got 2.5"),
    "target": ({"target": "logit"}, ValueError, "target='logit' is not known; use one"),
    "short y_val": ({"y_val": [1]}, ValueError, "y_val has 1 row, but X_val has 40"),
    "class": ({"y_val": [9] * 40}, ValueError, "y_val has the class 9, which was not"),
    "NaN": (
        {"X_pool": np.full((2, 6), np.nan)},
        ValueError,
        "X_pool must be what X is in fit: Input X contains NaN",
    ),
    "width": (
        {"X_val": np.zeros((40, 2))},
        ValueError,
        "X_val must be what X is in fit: X has 2 features",
    ),
    "nothing missing": ({"X_pool": None}, ValueError, "no training row lacks one"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind):
    changed, error, message = REFUSED[kind]
    X, y, _ = _rows()
    given = {"X_pool": X[N:80], "X_val": X[80:], "y_val": y[80:]} | changed
    with pytest.raises(error, match=message):
        _explainer().suggest_annotations(**given)


@pytest.mark.parametrize(
    ("pool", "error", "message"),
    [
        ([1, 2], TypeError, "X_pool must be what X is in fit: 'int' object has no"),
        # A vectoriser takes the names of a table's columns for texts.
        (pd.DataFrame({"text": ["good", "bad"]}), ValueError, "make 1 row of 2. Texts"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(pool, error, message):
    texts, y = ["good soup", "bad soup", "good tea", "bad tea"], [1, 0, 1, 0]
    clf = make_pipeline(TfidfVectorizer(), ConceptBottleneckClassifier())
    explainer = ConceptInfluenceExplainer(clf).fit(
        texts, y, concepts=[["soup"], ["soup"], ["tea"], ["tea"]]
    )
    with pytest.raises(error, match=message):
        explainer.suggest_annotations(pool, texts, y)
    with pytest.raises(error, match=message.replace("X_pool", "X_val")):
        explainer.rank_concepts(pool, y[:2])


def test_without_concepts_nothing_is_asked():
    X, y, _ = _rows()
    explainer = ConceptInfluenceExplainer(LogisticRegression()).fit(X[:N], y[:N])
    with pytest.raises(ValueError, match="the model has no concepts. Give concepts"):
        explainer.suggest_annotations(X[N:80], X[80:], y[80:])
    with pytest.raises(ValueError, match="rank_concepts compares concepts, but the"):
        explainer.rank_concepts(X[80:], y[80:])


def test_paths_of_a_frame_are_asked_for_by_true_or_false():
    with pytest.raises(ValueError, match="paths='food' must be True or False"):
        _suggest(None, missing=True).to_frame(paths="food")


@pytest.mark.parametrize("prob", [0.0, 0.4])
def test_damage_is_that_of_retraining_with_noise(prob):
    # If every annotation is replaced with the same chance, training is on average on
    # each row with its own value, and with the other value, in these shares.
    X, y, concepts = _rows()
    how = {"training": "sequential"}
    if prob:
        how = {"training": "mixed", "intervention_prob": prob}
    explainer, share = _explainer(tol=1e-9, **how), 0.2
    solved = explainer._solved_model()
    factors = solved.factors
    held_out = as_tensor(X[80:]), as_tensor(y[80:])
    before = log_loss(y[80:], explainer.predict_proba(X[80:]))
    for j, name in enumerate(CONCEPTS):
        turned = concepts[:N][name].map({"good": "bad", "bad": "good"})
        table = pd.concat([concepts[:N], concepts[:N].assign(**{name: turned})])
        weights = np.repeat([1 - share, share], N)
        clf = ConceptBottleneckClassifier(**how, tol=1e-9)
        clf.fit(np.vstack([X[:N]] * 2), np.r_[y[:N], y[:N]], weights, concepts=table)
        real = log_loss(y[80:], clf.predict_proba(X[80:])) - before
        found = damage_of_noise(
            *(solved.bottleneck, solved.data, j, share, *held_out),
            penalty=factors.penalty,
            concept_penalties=factors.concept_penalties,
            limits=Limits(1e-9, 100),
        )
        assert found.mean == pytest.approx(real, rel=1e-5)
        # Around that mean, a value that is replaced changes the residual by 1.
        inputs = np.c_[X[:N], np.ones(N)]
        noisy = ConceptInfluenceExplainer(clf).fit(
            np.vstack([X[:N]] * 2), np.r_[y[:N], y[:N]], weights, concepts=table
        )
        moved = noisy._solved_model()
        interest = interest_in_label(moved.bottleneck, moved.factors, *held_out)
        squares = np.einsum(
            "ni,ij,nj->", inputs, interest.matrices[1 + j].numpy(), inputs
        )
        variance = share - share**2
        assert found.spread == pytest.approx(variance * squares / 2, rel=1e-5)


def _soft(shares):
    """Return both concepts as shares, of which those of food are given."""
    _, _, concepts = _rows()
    service = (concepts[:N]["service"] == "good").astype(float)
    columns = {"food=bad": 1 - shares, "food=good": shares}
    columns |= {"service=bad": 1 - service, "service=good": service}
    return pd.DataFrame(columns)


def test_a_pool_beside_soft_annotations_is_as_beside_rows_with_every_value():
    X, y, concepts = _rows()
    shares = np.random.default_rng(1).uniform(0.1, 0.9, N)
    soft = ConceptInfluenceExplainer(ConceptBottleneckClassifier(training="sequential"))
    soft.fit(X[:N], y[:N], concepts=_soft(shares))
    table = pd.concat([concepts[:N].assign(food=value) for value in ("good", "bad")])
    expanded = ConceptInfluenceExplainer(
        ConceptBottleneckClassifier(training="sequential")
    )
    weights = np.r_[shares, 1 - shares]
    expanded.fit(np.vstack([X[:N]] * 2), np.tile(y[:N], 2), weights, concepts=table)
    one, other = (
        explainer.suggest_annotations(X[N:80], X[80:], y[80:], n=8).to_frame(paths=True)
        for explainer in (soft, expanded)
    )
    pd.testing.assert_frame_equal(one, other, rtol=1e-4)


def test_noise_replaces_a_soft_annotation_as_each_of_its_values():
    # The part that is good becomes bad, and the other way round.
    X, y, _ = _rows()
    shares, share = np.random.default_rng(1).uniform(0.1, 0.9, N), 0.2
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier(tol=1e-9))
    explainer.fit(X[:N], y[:N], concepts=_soft(shares))
    tables = [_soft(shares), _soft(np.ones(N)), _soft(np.zeros(N))]
    weights = np.r_[np.full(N, 1 - share), share * (1 - shares), share * shares]
    clf = ConceptBottleneckClassifier(tol=1e-9).fit(
        np.vstack([X[:N]] * 3), np.tile(y[:N], 3), weights, concepts=pd.concat(tables)
    )
    before = log_loss(y[80:], explainer.predict_proba(X[80:]))
    real = log_loss(y[80:], clf.predict_proba(X[80:])) - before
    solved = explainer._solved_model()
    found = damage_of_noise(
        *(solved.bottleneck, solved.data, 0, share, as_tensor(X[80:])),
        as_tensor(y[80:]),
        penalty=solved.factors.penalty,
        concept_penalties=solved.factors.concept_penalties,
        limits=Limits(1e-9, 100),
    )
    assert found.mean == pytest.approx(real, rel=1e-5)
    ranking = explainer.rank_concepts(X[80:], y[80:], share=share)
    damage = ranking.set_index("concept")["damage"]
    assert damage["food"] == pytest.approx(found.mean + found.spread)


def test_an_almost_certain_annotation_counts_as_the_value():
    X, y, concepts = _rows()
    certain = (concepts[:N]["food"] == "good").to_numpy(float)
    found = []
    for shares in (certain, certain.clip(1e-6, 1 - 1e-6)):
        explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier(tol=1e-9))
        explainer.fit(X[:N], y[:N], concepts=_soft(shares))
        ranking = explainer.rank_concepts(X[80:], y[80:])
        found.append(ranking.set_index("concept")["damage"])
    pd.testing.assert_series_equal(*found, rtol=1e-3)


def test_a_ranking_adds_up():
    X, y, _ = _rows()
    found = _explainer(missing=True).rank_concepts(X[80:], y[80:])
    assert list(found) == ["concept", "damage", "n_annotations", "share", "cumulative"]
    assert found["damage"].is_monotonic_decreasing
    assert found["cumulative"].iloc[-1] == pytest.approx(1)
    counts = found.set_index("concept")["n_annotations"]
    assert counts.to_dict() == {"food": N - 3, "service": N - 1}


@pytest.mark.parametrize(
    ("share", "error", "message"),
    [
        (0, ValueError, "share=0 must be above 0 and at most 1"),
        (1.5, ValueError, "share=1.5 must be above 0 and at most 1"),
        (True, TypeError, "share must be a number, got True"),
        ("all", TypeError, "share must be a number, got 'all'"),
    ],
)
def test_refused_shares(share, error, message):
    X, y, _ = _rows()
    with pytest.raises(error, match=message):
        _explainer().rank_concepts(X[80:], y[80:], share=share)
