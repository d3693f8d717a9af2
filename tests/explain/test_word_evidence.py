"""Shares of words: they add up to logits that the model gives by itself."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit as log_odds
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from skclif import (
    ConceptBottleneckClassifier,
    ConceptEncoder,
    ConceptInfluenceExplainer,
    SentenceEmbedder,
)
from skclif._explain.word_evidence import WordReader
from skclif.exceptions import TruncatedTextWarning

_OPENINGS = ["the soup was", "our waiter is", "what a", "i found it", "very"]
_ENDINGS = ["good", "bad", "slow and cold", "kind; the bill, too!", "loud"]
TEXTS = [f"{a} {b}" for a in _OPENINGS for b in _ENDINGS]
NEW = ["Soup: cold, waiter — kind!", "", "very  very\ngood 3.50", "well-made bread"]


def _annotations():
    n = len(TEXTS)
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "food": rng.choice(["bad", "good", "unknown"], n),
            "noise": rng.choice(["no", "yes"], n),
            "length": rng.normal(size=n).round(2),
            "same": np.full(n, "one"),
        }
    )


pytestmark = pytest.mark.filterwarnings("ignore:1 concept has only one")


@pytest.fixture(scope="module")
def annotations():
    return _annotations()


@pytest.fixture(scope="module")
def fit(tiny_encoder, annotations):
    """Return explainers by their bottleneck's parameters, each fitted once."""
    embedder = SentenceEmbedder(tiny_encoder)

    def fitted(n_classes=3, steps=(), embed=embedder, concepts=annotations, **params):
        y = np.arange(len(TEXTS)) % n_classes
        clf = ConceptBottleneckClassifier(**params)
        pipeline = make_pipeline(embed, *steps, clf)
        explainer = ConceptInfluenceExplainer(pipeline, method="first_order")
        return explainer.fit(TEXTS, y, concepts=concepts)

    return fitted


def _sums(evidence):
    return (
        [shares.sum() for shares in evidence.shares]
        + evidence.special
        + (evidence.bias)
    )


def _check_sums(evidence, expected):
    np.testing.assert_allclose(_sums(evidence), expected, atol=1e-5)
    np.testing.assert_allclose(evidence.scores, expected, atol=1e-5)


# Steps that are linear, whitening too, and vectors of both kinds.
@pytest.mark.parametrize(
    ("steps", "options"),
    [
        ((), {}),
        ((StandardScaler(),), {"normalize": True}),
        ((PCA(5, whiten=True), TruncatedSVD(3)), {"layers": None}),
        ((), {"layers": (0, -1), "layer_pooling": "concat", "long_text": "mean"}),
    ],
)
def test_shares_of_concepts_add_up(fit, tiny_encoder, steps, options):
    explainer = fit(steps=steps, embed=SentenceEmbedder(tiny_encoder, **options))
    model = explainer.estimator_[-1]
    features = explainer.estimator_[:-1].transform(NEW)
    proba = model.predict_concept_proba(features)
    food = np.log(proba["food"])
    food -= food.mean(axis=1, keepdims=True)
    found = explainer.evidence(NEW, concept="food")
    _check_sums(found, food.max(axis=1))
    assert found.values.tolist() == model.predict_concepts(features)["food"].tolist()
    assert not found.linearised
    assert (found.special != 0).any() == (options.get("layers", 1) is None)
    _check_sums(explainer.evidence(NEW, concept="food", value="bad"), food[:, 0])
    against = explainer.evidence(NEW, concept="food", value="bad", against="good")
    _check_sums(against, food[:, 0] - food[:, 1])
    assert against.against == "good"
    noise = explainer.evidence(NEW, concept="noise", value="yes")
    _check_sums(noise, log_odds(proba["noise"][:, 1]))
    other = explainer.evidence(NEW, concept="noise", value="no", against="yes")
    _check_sums(other, -log_odds(proba["noise"][:, 1]))
    length = explainer.evidence(NEW, concept="length")
    expected = model.predict_concepts(features)["length"].astype(float)
    _check_sums(length, expected)
    assert (length.unit, length.against) == ("units of length", "")


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    ("params", "linearised"),
    [
        ({}, True),
        ({"residual_C": 0.5}, True),
        ({"bottleneck": "logit"}, False),
        ({"bottleneck": "logit", "residual_C": 0.5}, False),
        ({"concepts": None}, False),
    ],
)
def test_shares_of_labels_add_up(fit, n_classes, params, linearised):
    explainer = fit(n_classes, **params)
    logits = explainer.estimator_.decision_function(NEW)
    if n_classes == 2:
        logits = np.column_stack([-logits, logits])
    found = explainer.evidence(NEW, concept="label")
    _check_sums(found, logits.max(axis=1))
    assert found.linearised is linearised
    _check_sums(explainer.evidence(NEW, concept="label", value=1), logits[:, 1])
    if n_classes == 3:
        against = explainer.evidence(NEW, concept="label", value=1, against=2)
        _check_sums(against, logits[:, 1] - logits[:, 2])


@pytest.mark.parametrize("concepts", [_annotations(), None])
def test_shares_of_thresholds_add_up(fit, concepts):
    explainer = fit(4, label_head="ordinal", concepts=concepts)
    proba = explainer.estimator_.predict_proba(NEW)
    for label in range(3):
        found = explainer.evidence(NEW, concept="label", value=label)
        _check_sums(found, log_odds(proba[:, label + 1 :].sum(axis=1)))
        assert set(found.values) == {f"above {label}"}
    above = explainer.evidence(NEW, concept="label")
    features = explainer.estimator_[:-1].transform(NEW)
    if concepts is not None:
        chosen = explainer.estimator_[-1].contributions(features).predicted()
        assert above.values.tolist() == [f"above {label}" for label in chosen]
    assert above.linearised == (concepts is not None)


def test_the_label_is_linear_near_a_text(fit):
    """The share of a word is the derivative along it, by finite differences."""
    explainer = fit(residual_C=0.5)
    found = explainer.evidence(NEW[:1], concept="label", value=2)
    embedder, model = explainer.estimator_
    ((_, words, _),) = embedder._words(NEW[:1])
    steps = 1e-6 * np.concatenate([words.vectors, -words.vectors])
    logits = model.decision_function(words.vector + steps)[:, 2]
    slopes = (logits[: len(logits) // 2] - logits[len(logits) // 2 :]) / 2e-6
    np.testing.assert_allclose(found.shares[0], slopes, rtol=1e-5, atol=1e-8)
    assert len(slopes) == 8


@pytest.mark.parametrize("is_frozen", [True, False])
def test_a_logistic_regression_is_exact(tiny_encoder, is_frozen):
    y = np.arange(len(TEXTS)) % 3
    clf = make_pipeline(SentenceEmbedder(tiny_encoder), PCA(2), LogisticRegression())
    if is_frozen:
        clf[-1].set_params(tol=1e-10, max_iter=1000)
        clf = FrozenEstimator(clf.fit(TEXTS, y))
    explainer = ConceptInfluenceExplainer(clf).fit(TEXTS, y)
    logits = np.log(explainer.predict_proba(NEW))
    logits -= logits.mean(axis=1, keepdims=True)
    found = explainer.evidence(NEW, concept="label")
    _check_sums(found, logits.max(axis=1))
    assert not found.linearised


def test_the_map_of_steps_is_what_they_do():
    # The sum of a token's values is 0 here, and hides constants; elsewhere it is not.
    X = np.random.default_rng(0).normal(2, 3, (40, 4))
    steps = make_pipeline(StandardScaler(), PCA(3, whiten=True)).fit(X)
    reader = WordReader(SentenceEmbedder(), [step for _, step in steps.steps])
    matrix, offset = reader.linear_map(4)
    np.testing.assert_allclose(X @ matrix + offset, steps.transform(X), atol=1e-12)


def test_steps_may_be_fitted_to_tables(tiny_encoder):
    y = np.arange(len(TEXTS)) % 2
    steps = SentenceEmbedder(tiny_encoder), StandardScaler(), LogisticRegression()
    pipeline = make_pipeline(*steps).set_output(transform="pandas")
    explainer = ConceptInfluenceExplainer(pipeline).fit(TEXTS, y)
    found = explainer.evidence(NEW, concept="label", value=1)
    _check_sums(found, explainer.estimator_.decision_function(NEW))


def test_shares_do_not_depend_on_batches_and_order(fit, tiny_encoder):
    together = fit().evidence(TEXTS + NEW, concept="food", value="bad")
    alone = fit(embed=SentenceEmbedder(tiny_encoder, batch_size=1))
    for text in (len(TEXTS), 3):
        own = alone.evidence([(TEXTS + NEW)[text]], concept="food", value="bad")
        np.testing.assert_allclose(own.shares[0], together.shares[text], atol=1e-6)
    for text, spans in zip(TEXTS + NEW, together.spans, strict=True):
        places = spans.ravel()
        assert (np.diff(places) >= 0).all()
        assert [text[a:b] for a, b in spans if a == b or " " in text[a:b]] == []
    words = [NEW[3][a:b] for a, b in together.spans[-1]]
    assert words == ["well-made", "bread"]


def test_texts_that_are_cut_say_where(fit):
    long = " ".join(TEXTS[:12])
    with pytest.warns(TruncatedTextWarning, match="1 of 2 texts is longer than the 32"):
        found = fit().evidence([long, "good"], concept="food")
    assert found.read.tolist() == [found.spans[0][-1, 1], 4]
    assert found.read[0] < len(long)
    assert "".join(piece for piece, _ in found._pieces(0)) == long


def test_what_is_shown(fit):
    explainer = fit()
    found = explainer.evidence(NEW, concept="food")
    frame = found.to_frame()
    assert list(frame.columns) == ["text", "word", "start", "stop", "share"]
    sums = frame.groupby("text")["share"].sum()
    np.testing.assert_allclose(sums, found.scores, atol=1e-5)
    assert (frame["word"] == "(bias)").sum() == len(found) == 4
    assert frame["start"].isna().equals(frame["word"] == "(bias)")
    top = found.top(2)
    assert top["text"].tolist() == [0, 0, 2, 2, 3, 3]
    sizes = frame[frame["text"] == 0]["share"].iloc[:-1].abs().nlargest(2)
    np.testing.assert_allclose(top["share"].abs()[:2], sizes)
    assert repr(found) == (
        "<WordEvidence of food (log-odds against the average value, positive = for "
        "it): 4 texts, shares of 14 words>"
    )
    assert "linearised shares" in repr(explainer.evidence(NEW, concept="label"))
    none = explainer.evidence([], concept="food")
    assert (len(none), len(none.to_frame()), len(none.top())) == (0, 0, 0)
    for k in (-1, 1.5, True):
        with pytest.raises(ValueError, match=f"k={k!r} must be a whole number"):
            found.top(k)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"concept": "price"}, "concept='price' is not known; use one of 'label', 'fo"),
        ({"concept": np.array(["food", "noise"])}, "concept=array.* is not known; us"),
        ({"concept": "same"}, "concept='same' has one value, 'one', whatever"),
        ({"concept": "food", "value": "ok"}, "value='ok' is no value of 'food'; known"),
        ({"concept": "label", "value": 7}, "value=7 is no value of 'label'; known val"),
        ({"concept": "food", "against": "bad"}, "against='bad' needs value="),
        (
            {"concept": "food", "value": "bad", "against": "ok"},
            "against='ok' is no value of 'food'",
        ),
        (
            {"concept": "food", "value": "bad", "against": "bad"},
            "against='bad' is the value itself; name another one of",
        ),
        ({"concept": "length", "value": 1}, "value=1 is for concepts with values"),
    ],
)
def test_unknown_values_are_refused(fit, arguments, match):
    with pytest.raises(ValueError, match=match):
        fit().evidence(NEW, **arguments)


def test_labels_without_shares_are_refused(fit):
    hard = fit(bottleneck="hard")
    with pytest.raises(ValueError, match="bottleneck='hard', the label sees the most"):
        hard.evidence(NEW, concept="label")
    assert len(hard.evidence(NEW, concept="food")) == 4
    ordinal = fit(4, label_head="ordinal")
    with pytest.raises(ValueError, match=r"value=3 is no label with another one above"):
        ordinal.evidence(NEW, concept="label", value=3)
    with pytest.raises(ValueError, match="against=1 is for labels without thresholds"):
        ordinal.evidence(NEW, concept="label", value=2, against=1)


def test_pipelines_that_are_not_exact_are_refused(fit, tiny_encoder, annotations):
    y = np.arange(len(TEXTS)) % 3
    sentences = fit(embed=SentenceEmbedder(tiny_encoder, pooling="max"))
    with pytest.raises(ValueError, match=r"SentenceEmbedder\(pooling='max'\) takes"):
        sentences.evidence(NEW, concept="food")
    with pytest.raises(TypeError, match="The pipeline has a Normalizer; leave it out"):
        fit(steps=[Normalizer()]).evidence(NEW, concept="food")
    words = make_pipeline(TfidfVectorizer(), LogisticRegression())
    words = ConceptInfluenceExplainer(words).fit(TEXTS, y)
    with pytest.raises(TypeError, match=r"TfidfVectorizer, whose features are words"):
        words.evidence(NEW, concept="label")
    columns = ColumnTransformer([("t", SentenceEmbedder(tiny_encoder), "text")])
    columns = make_pipeline(columns, LogisticRegression())
    frame = pd.DataFrame({"text": TEXTS})
    columns = ConceptInfluenceExplainer(columns).fit(frame, y)
    with pytest.raises(TypeError, match="begins with a ColumnTransformer. `contributi"):
        columns.evidence(frame, concept="label")
    with pytest.raises(TypeError, match="a ConceptEncoder, whose vectors are not sp"):
        WordReader.of(make_pipeline(ConceptEncoder(), LogisticRegression()), "evidence")
    alone = ConceptInfluenceExplainer(LogisticRegression()).fit(np.eye(6), [0, 1] * 3)
    with pytest.raises(TypeError, match="the estimator reads features. Put a Sentence"):
        alone.evidence(NEW, concept="label")
    with pytest.raises(TypeError, match="X is a single text"):
        fit().evidence("good", concept="food")
