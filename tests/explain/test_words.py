"""The words of a training row: their parts add up to its first-order influence."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    SentenceEmbedder,
)
from skclif.datasets import make_concept_reviews

from ..data import make_concept_data


@pytest.fixture(scope="module")
def reviews():
    found = make_concept_reviews(80, random_state=0)
    return list(found.data), np.asarray(found.target), found.concepts


def _explainer(reviews, *, with_concepts=True, min_df=1):
    texts, y, concepts = reviews
    clf = ConceptBottleneckClassifier() if with_concepts else LogisticRegression()
    pipeline = make_pipeline(TfidfVectorizer(min_df=min_df), clf)
    explainer = ConceptInfluenceExplainer(pipeline, method="first_order")
    return explainer.fit(texts, y, **({"concepts": concepts} if with_concepts else {}))


@pytest.mark.parametrize("memory", [1024, 0.01])  # with factors, and without
@pytest.mark.parametrize("min_df", [1, 20])  # more words than texts, and fewer
@pytest.mark.parametrize("with_concepts", [True, False])
def test_words_add_up_to_the_influence(reviews, with_concepts, min_df, memory):
    texts, y, _ = reviews
    with sklearn.config_context(working_memory=memory):
        explainer = _explainer(reviews, with_concepts=with_concepts, min_df=min_df)
        single = explainer.influence(texts[:3], y[:3])
        mean = explainer.influence(texts[:30], y[:30], reduce="mean")
        for row in (0, 17):
            for result, target in ((single, 0), (single, 2), (mean, 0)):
                frame = result.words(row, target)
                assert frame["influence"].sum() == pytest.approx(
                    result.values[target, row], rel=1e-6, abs=1e-12
                )
    counts = explainer.estimator_[0].transform([texts[17]])
    names = explainer.estimator_[0].get_feature_names_out()[counts.indices]
    is_word = ~frame["word"].str.startswith("(")
    assert set(frame["word"][is_word]) == set(names)
    assert frame["word"].tolist()[is_word.sum() :] == (
        ["(constant)", "(label)"] if with_concepts else ["(constant)"]
    )
    sizes = frame["influence"][is_word].abs()
    assert sizes.is_monotonic_decreasing
    np.testing.assert_allclose(sorted(frame["value"][is_word]), sorted(counts.data))


def test_a_word_has_the_part_that_its_column_has(reviews):
    """Without the word's column in the gradient of the row, by finite differences."""
    texts, y, _ = reviews
    explainer = _explainer(reviews, with_concepts=False, min_df=5)
    result = explainer.influence(texts[:1], y[:1])
    model, X = explainer.estimator_[-1], explainer.estimator_[0].transform(texts)
    frame, row = result.words(9).set_index("word"), 9
    word = frame.index[0]
    column = list(explainer.estimator_[0].get_feature_names_out()).index(word)
    # The gradient's part along one column, and no other, gets a little more weight.
    X, codes = X.toarray(), np.searchsorted(model.classes_, y)
    Z = np.column_stack([X, np.ones(len(X))])
    theta = np.column_stack([model.coef_, model.intercept_])

    def proba(theta):
        scores = Z @ theta.T
        if len(theta) == 1:
            scores = np.column_stack([np.zeros(len(Z)), scores])
        exp = np.exp(scores - scores.max(axis=1, keepdims=True))
        return exp / exp.sum(axis=1, keepdims=True)

    p = proba(theta)
    one_hot = np.eye(p.shape[1])[codes]
    residual = (p - one_hot)[:, -len(theta) :]
    part = np.zeros_like(theta)
    part[:, column] = residual[row] * X[row, column]
    shares = p[:, -len(theta) :]
    k, d = theta.shape
    hessian = np.zeros((k * d, k * d))
    for i, z in enumerate(Z):
        curvature = np.diag(shares[i]) - np.outer(shares[i], shares[i])
        hessian += np.kron(curvature, np.outer(z, z))
    hessian += np.kron(np.eye(k), np.diag(np.r_[np.ones(d - 1) / model.C, 0]))
    step = -np.linalg.lstsq(hessian, part.ravel(), rcond=None)[0].reshape(k, d)
    gradient = residual[0][:, None] * Z[0]
    assert (gradient * step).sum() == pytest.approx(frame.loc[word, "influence"], 1e-4)


def test_dense_features_have_names_too():
    X, y, concepts = make_concept_data(60)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    frame = pd.DataFrame(X, columns=list("abcdef"))
    result = explainer.fit(frame, y, concepts=concepts).influence(frame[:2], y[:2])
    others = ["(constant)", "(label)", "(not first order)"]
    assert set(result.words(3)["word"]) == {*"abcdef", *others}
    result = explainer.fit(X, y, concepts=concepts).influence(X[:2], y[:2])
    assert set(result.words(3)["word"][:-3]) == {f"x{j}" for j in range(6)}


@pytest.mark.parametrize("top", [None, 5])
def test_what_words_do_not_carry_has_a_line(reviews, top):
    texts, y, concepts = reviews
    pipeline = make_pipeline(TfidfVectorizer(), ConceptBottleneckClassifier())
    explainer = ConceptInfluenceExplainer(pipeline, method="newton")
    explainer.fit(texts, y, concepts=concepts)
    result = explainer.influence(texts[:2], y[:2], top=top)
    column = 3
    row = column if top is None else int(result.rows[1, column])
    frame = result.words(row, 1)
    assert frame["word"].iloc[-1] == "(not first order)"
    assert frame["influence"].sum() == pytest.approx(result.values[1, column])
    if top is not None:  # rows that are not shown
        hidden = next(i for i in range(80) if i not in result.rows[1])
        assert "(not first order)" not in set(result.words(hidden, 1)["word"])


def test_names_behind_a_frozen_pipeline_and_a_hash(reviews):
    texts, y, concepts = reviews
    fitted = make_pipeline(TfidfVectorizer(), ConceptBottleneckClassifier())
    fitted.fit(texts, y, conceptbottleneckclassifier__concepts=concepts)
    frozen = ConceptInfluenceExplainer(FrozenEstimator(fitted), method="first_order")
    result = frozen.fit(texts, y, concepts=concepts).influence(texts[:1], y[:1])
    assert set(result.words(2)["word"]) & set(fitted[0].get_feature_names_out())
    hashed = make_pipeline(HashingVectorizer(n_features=64), LogisticRegression())
    explainer = ConceptInfluenceExplainer(hashed).fit(texts, y)
    frame = explainer.influence(texts[:1], y[:1]).words(2)
    assert frame["word"].str.match(r"x\d+$|\(").all()


def test_what_is_refused(reviews):
    texts, y, _ = reviews
    result = _explainer(reviews).influence(texts[:2], y[:2])
    for arguments, match in (
        ({"row": 80}, "row=80 must be a position from 0 to 79"),
        ({"row": -1}, "row=-1 must be"),
        ({"row": 1.5}, "row=1.5 must be"),
        ({"row": True}, "row=True must be"),
        ({"row": 0, "target": 2}, "target=2 must be a position from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=match):
            result.words(**arguments)
    loaded = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(loaded.values, result.values)
    with pytest.raises(ValueError, match="loaded without its model"):
        loaded.words(0)


def test_a_result_is_of_the_model_that_gave_it(reviews):
    texts, y, concepts = reviews
    explainer = _explainer(reviews)
    result = explainer.influence(texts[:2], y[:2])
    before = result.words(9)
    explainer.fit(texts[::-1], y[::-1], concepts=concepts[::-1])
    pd.testing.assert_frame_equal(result.words(9), before)


# --- Words of texts that an embedder reads --------------------------------------------

_TEXTS = [
    f"{a} {b}"
    for a in ("the soup was", "our waiter is", "what a", "i found it", "very")
    for b in ("good", "bad", "slow and cold", "kind; the bill, too!", "loud")
]


def _embedded(tiny_encoder, *, method="first_order", layers="auto", **params):
    rng = np.random.default_rng(0)
    concepts = pd.DataFrame(
        {
            "food": rng.choice(["bad", "good", "unknown"], len(_TEXTS)),
            "noise": rng.choice(["no", "yes"], len(_TEXTS)),
            "length": rng.normal(size=len(_TEXTS)).round(2),
        }
    )
    concepts.loc[4, "food"] = None
    y = np.arange(len(_TEXTS)) % 3
    pipeline = make_pipeline(
        SentenceEmbedder(tiny_encoder, layers=layers),
        StandardScaler(),
        ConceptBottleneckClassifier(**params),
    )
    explainer = ConceptInfluenceExplainer(pipeline, method=method)
    return explainer.fit(_TEXTS, y, concepts=concepts), y, concepts


@pytest.mark.parametrize("layers", ["auto", None])
def test_words_of_a_text_add_up_to_a_path(tiny_encoder, layers):
    explainer, y, _ = _embedded(tiny_encoder, layers=layers, residual_C=0.5)
    result = explainer.influence(_TEXTS[:3], y[:3], paths=True)
    mean = explainer.influence(_TEXTS, y, paths=True, reduce="mean")
    for shown, target, row in ((result, 0, 3), (result, 2, 18), (mean, 0, 4)):
        for path in ("food", "noise", "length"):
            frame = shown.words(row, target, path)
            assert list(frame.columns) == ["word", "start", "stop", "influence"]
            expected = shown.values[target, row, shown.paths.index(path)]
            assert frame["influence"].sum() == pytest.approx(expected, 1e-4, 1e-7)
            special = ["(special tokens)"] if layers is None else []
            n_words = len(frame) - 1 - len(special)
            assert frame["word"].tolist()[n_words:] == ["(constant)", *special]
            for line in frame.head(n_words).itertuples():
                assert _TEXTS[row][line.start : line.stop] == line.word
            assert frame["influence"].head(n_words).abs().is_monotonic_decreasing
        whole = shown.words(row, target)
        assert whole["influence"].sum() == pytest.approx(
            shown.totals[target, row], 1e-4, 1e-7
        )
        assert "(label)" in set(whole["word"])
        assert set(whole["word"]) > {*_TEXTS[row].replace(";", " ;").split()[:3]}
    # A row without the annotation has nothing to split.
    assert (result.words(4, 0, "food")["influence"] == 0).all()


def test_a_word_has_its_part_of_the_gradient(tiny_encoder):
    """The word's part of the row's gradient alone, by the Hessian of the one head."""
    explainer, _, concepts = _embedded(tiny_encoder)
    embedder, scaler, model = explainer.estimator_
    row, asked = 7, _TEXTS[:1]
    frame = explainer.influence(asked, target=("concept", "noise", "yes")).words(
        row, path="noise"
    )
    Z = np.column_stack([explainer.estimator_[:-1].transform(_TEXTS), np.ones(25)])
    j = list(model.concept_names_in_).index("noise")
    theta = np.r_[model.concept_coef_[j][0], model.concept_intercept_[j]]
    p = 1 / (1 + np.exp(-Z @ theta))
    hessian = (Z.T * p * (1 - p)) @ Z + np.diag(np.r_[np.ones(len(theta) - 1), 0])
    residual = p[row] - (concepts["noise"][row] == "yes")
    ((_, words, _),) = embedder._words([_TEXTS[row]])
    word = list(map(tuple, words.spans)).index(tuple(frame.loc[0, ["start", "stop"]]))
    part = residual * np.r_[words.vectors[word] / scaler.scale_, 0]
    asked_proba = p[0] * (1 - p[0]) * Z[0]
    effect = -asked_proba @ np.linalg.solve(hessian, part)
    assert effect == pytest.approx(frame.loc[0, "influence"], 1e-4)


def test_a_black_box_has_one_path_that_words_share(tiny_encoder):
    y = np.arange(len(_TEXTS)) % 3
    pipeline = make_pipeline(SentenceEmbedder(tiny_encoder), LogisticRegression())
    explainer = ConceptInfluenceExplainer(pipeline, method="first_order")
    result = explainer.fit(_TEXTS, y).influence(_TEXTS[:2], y[:2])
    frame = result.words(5, 1, "label")
    assert frame["influence"].sum() == pytest.approx(result.values[1, 5], 1e-4)
    pd.testing.assert_frame_equal(frame, result.words(5, 1))


def test_what_other_methods_add_has_a_line(tiny_encoder):
    explainer, y, _ = _embedded(tiny_encoder, method="newton")
    result = explainer.influence(_TEXTS[:2], y[:2])
    frame = result.words(3, 1)
    assert frame["word"].iloc[-1] == "(not first order)"
    assert frame["influence"].sum() == pytest.approx(result.values[1, 3])
    assert frame["start"].tail(3).isna().all()


def test_paths_that_words_do_not_share_are_refused(tiny_encoder, reviews):
    explainer, y, concepts = _embedded(tiny_encoder)
    result = explainer.influence(_TEXTS[:2], y[:2])
    with pytest.raises(ValueError, match="path='label' is no sum over words: in a bot"):
        result.words(0, path="label")
    with pytest.raises(ValueError, match="path='price' is not known; use one of 'foo"):
        result.words(0, path="price")
    for method in ("leverage", "newton"):
        explainer.set_params(method=method)
        result = explainer.influence(_TEXTS[:2], y[:2])
        with pytest.raises(ValueError, match=f"this result is by {method}, which is"):
            result.words(0, path="food")
        with pytest.raises(ValueError, match="path='price' is not known; use one of"):
            result.words(0, path="price")
    pipeline = make_pipeline(
        SentenceEmbedder(tiny_encoder, pooling="top"), ConceptBottleneckClassifier()
    )
    explainer = ConceptInfluenceExplainer(pipeline, method="first_order")
    result = explainer.fit(_TEXTS, y, concepts=concepts).influence(_TEXTS[:1], y[:1])
    with pytest.raises(ValueError, match="takes sentences apart"):
        result.words(0)
    pipeline = make_pipeline(
        SentenceEmbedder(tiny_encoder), Normalizer(), LogisticRegression()
    )
    result = ConceptInfluenceExplainer(pipeline).fit(_TEXTS, y).influence(_TEXTS[:1])
    with pytest.raises(TypeError, match="SentenceEmbedder, words knows steps with"):
        result.words(0)
    # A vectoriser's words have paths, too.
    texts, y, _ = reviews
    explainer = _explainer(reviews)
    result = explainer.influence(texts[:1], y[:1], paths=True)
    frame = result.words(9, path="food")
    expected = result.values[0, 9, result.paths.index("food")]
    assert frame["influence"].sum() == pytest.approx(expected)
    assert frame["word"].iloc[-1] == "(constant)"
