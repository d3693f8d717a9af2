"""Costs that are known beforehand are those of the fitted model."""

import numpy as np
import pandas as pd
import pytest

from skclif import ConceptBottleneckClassifier
from skclif._inputs.schema import ConceptSchema
from skclif._models.costs import explained_size
from skclif._models.fitted import FittedHeads
from skclif.numerics.hessians import factors_size


@pytest.mark.parametrize(
    ("n_values", "residual_C"), [(None, None), (3, None), (20, None), (3, 0.1)]
)
def test_the_size_is_that_of_the_fitted_model(n_values, residual_C):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 9))
    y, concepts = rng.integers(0, 3, 80), None
    if n_values:
        many = rng.permutation(80) % n_values
        concepts = pd.DataFrame({"many": many, "number": X[:, 0]})
    clf = ConceptBottleneckClassifier(tol=1e-2, residual_C=residual_C)
    clf.fit(X, y, concepts=concepts)
    heads = FittedHeads.of(clf)
    expected = factors_size(heads.tensors(), 9, 80)
    residual = residual_C is not None
    assert explained_size(heads.schema, 3, 80, 9, residual=residual) == expected


def test_many_values_of_few_rows_fit_the_memory():
    def schema(n_values):
        return ConceptSchema(("many",), (np.arange(n_values),))

    # One factor of 50 values on 300 rows would take 1.7 GB by itself.
    assert explained_size(schema(50), 2, 300, 384) < 2**29
    # Each of many rows has its own value: rows times rows times values.
    assert explained_size(schema(3000), 2, 6000, 384) > 2**33
