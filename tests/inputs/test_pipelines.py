"""Pipelines with steps that cannot be explained."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import (
    CountVectorizer,
    HashingVectorizer,
    TfidfVectorizer,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from skclif import (
    ConceptBottleneckClassifier,
    ConceptInfluenceExplainer,
    InfluenceReweighter,
)

X = np.random.default_rng(0).normal(size=(40, 3))
Y = (X[:, 0] > 0.5).astype(int)


class RandomSampler(BaseEstimator):
    """What imbalanced-learn's samplers have, and no `transform`."""

    def fit(self, X, y):
        return self

    def fit_resample(self, X, y):
        return X[::2], y[::2]


SAMPLING = [("scale", StandardScaler()), ("sample", RandomSampler())]


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize(
    "estimator",
    [
        Pipeline([*SAMPLING, ("classify", LogisticRegression())]),
        make_pipeline(
            StandardScaler(), Pipeline([*SAMPLING, ("classify", LogisticRegression())])
        ),
        Pipeline(
            [("sample", FrozenEstimator(RandomSampler())), ("c", LogisticRegression())]
        ),
    ],
    ids=["pipeline", "nested", "frozen step"],
)
@pytest.mark.parametrize("around", [ConceptInfluenceExplainer, InfluenceReweighter])
def test_a_sampler_is_named(around, estimator, routing):
    match = "step 'sample' of the pipeline is a sampler, .*Leave .* use weights instead"
    with (
        sklearn.config_context(enable_metadata_routing=routing),
        pytest.raises(TypeError, match=match),
    ):
        around(estimator).fit(X, Y)


def test_a_sampler_in_a_frozen_pipeline_is_named():
    steps = [*SAMPLING, ("classify", LogisticRegression().fit(X, Y))]
    frozen = FrozenEstimator(Pipeline(steps))
    with pytest.raises(TypeError, match="is a sampler, RandomSampler. Resampling"):
        ConceptInfluenceExplainer(frozen).fit(X, Y)


TEXTS = [f"text {i} {'good' if y else 'poor'}" for i, y in enumerate(Y)]


def with_gap(gap, row=3):
    return [gap if i == row else text for i, text in enumerate(TEXTS)]


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA], ids=repr)
@pytest.mark.parametrize(
    ("step", "X_of", "where"),
    [
        (TfidfVectorizer(), list, ""),
        (CountVectorizer(), lambda texts: np.array(texts, dtype=object), ""),
        (make_pipeline(HashingVectorizer(n_features=8)), pd.Series, ""),
        (make_union(CountVectorizer(), TfidfVectorizer()), list, ""),
        (
            make_column_transformer((TfidfVectorizer(), "review")),
            lambda texts: pd.DataFrame({"review": texts}),
            " in the column 'review'",
        ),
    ],
    ids=["tfidf", "counts", "hashing", "union", "columns"],
)
def test_a_missing_text_is_named_by_its_row(gap, step, X_of, where):
    explainer = ConceptInfluenceExplainer(make_pipeline(step, LogisticRegression()))
    match = rf"X has a missing text{where}: row 3 \(counted from 0\) .*fill the gaps"
    with pytest.raises(ValueError, match=match):
        explainer.fit(X_of(with_gap(gap)), Y)
    explainer.fit(X_of(TEXTS), Y)
    with pytest.raises(ValueError, match=match):
        explainer.influence(X_of(with_gap(gap)), Y)


def test_the_weights_of_missing_texts_are_not_learned_either():
    reweighter = InfluenceReweighter(
        make_pipeline(TfidfVectorizer(), LogisticRegression())
    )
    with pytest.raises(ValueError, match="X has a missing text: row 3"):
        reweighter.fit(with_gap(None), Y)


def test_a_vectoriser_that_reads_gaps_by_itself_gets_them():
    def words(text):
        return ["gap"] if text is None else text.split()

    step = CountVectorizer(analyzer=words)
    explainer = ConceptInfluenceExplainer(make_pipeline(step, LogisticRegression()))
    explainer.fit(with_gap(None), Y)
    assert "gap" in explainer.estimator_[0].vocabulary_


class Asking(TransformerMixin, BaseEstimator):
    """A step that learns from concepts, and says which it was given."""

    __metadata_request__fit = {"concepts": True}

    def fit(self, X, y=None, sample_weight=None, *, concepts=None):
        self.concepts_, self.weights_ = concepts, sample_weight
        return self

    def transform(self, X):
        return X


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("around", [ConceptInfluenceExplainer, InfluenceReweighter])
def test_leading_steps_get_the_concepts_that_they_ask_for(around, nested):
    leading = [StandardScaler(), Asking()]
    leading = [make_pipeline(*leading)] if nested else leading
    pipe = make_pipeline(*leading, ConceptBottleneckClassifier())
    concepts = np.where(X[:, :1] > 0, "yes", "no")
    extras = {"strength": 0} if around is InfluenceReweighter else {}
    around_it = around(pipe, **extras)
    fitted = around_it.fit(X, Y, np.ones(len(Y)), concepts=concepts).estimator_
    step = fitted[0][1] if nested else fitted[1]
    assert step.concepts_ is not None and np.array_equal(step.concepts_, concepts)
    assert step.weights_ is None  # it was not asked for
    step = clone(around_it).fit(X, Y).estimator_
    assert (step[0][1] if nested else step[1]).concepts_ is None
