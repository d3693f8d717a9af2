"""Pipelines with steps that cannot be explained."""

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skclif import ConceptInfluenceExplainer, InfluenceReweighter

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
