"""Every kind of input at the few functions that read data for all public methods.

The tables of kinds and answers are those of `tests/test_bad_input.py`, which asks the
methods themselves about a few of each family.
"""

import re
import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from skclif._inputs.annotations import Annotations
from skclif._inputs.checks import (
    check_annotation_weights,
    check_labels,
    check_length,
    check_weights,
)
from skclif._inputs.concept_tables import concept_table
from skclif._inputs.features import check_features
from skclif._inputs.learning import learn
from skclif.numerics.sparse import SparseFeatures

from ..test_bad_input import (
    CODES,
    CONCEPTS,
    NUMBER_CODES,
    TABLES,
    Refused,
    Right,
    X,
    assert_same,
    fingerprint,
    frame,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:the matrix subclass"),
    pytest.mark.filterwarnings("ignore:__array__ implementation"),  # torch's
]
N = len(X)


def read_features(made, named):
    """Read as the methods do that follow `fit`."""
    estimator = BaseEstimator()
    check_features(estimator, frame(X) if named else X, reset=True)
    read = check_features(estimator, made, reset=False)
    return [read.dense().numpy() if isinstance(read, SparseFeatures) else read]


def read_labels(made, named):
    read = check_labels(made, N)
    return [read if read.dtype.kind in "OU" else read.astype(float)]


def read_weights(made, named):
    return [check_weights(made, X)]


def read_annotation_weights(made, named):
    return [check_annotation_weights(made, CONCEPTS, by_name=True)]


def read_annotations(made, named):
    check_length("concepts", len(concept_table(made)), N)
    annotations = Annotations.read(made, None, N)
    _, (codes, _) = learn(annotations, np.ones(N))
    return [np.nan_to_num(codes, nan=-1.0)]


READ = {
    "X": read_features,
    "y": read_labels,
    "sample_weight": read_weights,
    "concepts": read_annotations,
    "concept_sample_weight": read_annotation_weights,
}
# What these functions leave to others: the answer there, or None.
BY_OTHERS = {
    ("concepts", "None"): None,
    ("sample_weight", "ones"): Right(lambda made: np.ones(N)),
    ("y", "huge integers"): Right(lambda made: made.copy()),
    ("concept_sample_weight", "ones"): Right(lambda made: np.ones((N, 3))),
    ("concept_sample_weight", "zeros"): Right(),
}


def cells():
    for argument in READ:
        for kinds in TABLES[argument].values():
            for kind in kinds if isinstance(kinds, dict) else ():
                if BY_OTHERS.get((argument, kind), Right()) is not None:
                    yield argument, kinds[kind][:2], kind


@pytest.mark.parametrize(
    ("argument", "cell", "kind"),
    [pytest.param(*cell, id=f"{cell[0]}-{cell[2]}") for cell in cells()],
)
def test_every_kind(argument, cell, kind):
    build, answer = cell
    answer = BY_OTHERS.get((argument, kind), answer)
    made, named = build(), answer.frame if hasattr(answer, "frame") else False
    before = fingerprint(made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if isinstance(answer, Refused):
            with pytest.raises(answer.error, match=f"(?s){answer.match}"):
                READ[argument](made, named)
            assert fingerprint(made) == before
            return
        # A constant is named where it is read, other things where a model is fitted.
        is_named = argument == "X" or "one observed value" in (answer.warns or "")
        warns = answer.warns if is_named else None
        if warns is None:
            found = READ[argument](made, named)
        else:
            with pytest.warns(match=f"(?s){warns}"):
                found = READ[argument](made, named)
    assert fingerprint(made) == before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same(found, READ[argument](answer.plain(made), named), rtol=0, atol=0)
    # Equal numbers in another order of memory give other bits on some processors.
    if argument in ("X", "sample_weight", "concept_sample_weight"):
        assert found[0].dtype == np.float64
        assert found[0].flags.c_contiguous
        assert found[0].dtype.isnative


def test_big_endian_annotations_are_learned_where_they_count():
    weights = np.where(np.arange(N)[:, None] > np.arange(3), 1.0, 0.0)
    found, expected = (
        learn(Annotations.read(given, weights, N), np.ones(N))
        for given in (NUMBER_CODES.astype(">i8"), NUMBER_CODES)
    )
    np.testing.assert_array_equal(found[1].codes, expected[1].codes)
    for own, other in zip(found[0].classes, expected[0].classes, strict=True):
        np.testing.assert_array_equal(own, other)


def test_kinds_that_others_answer_are_kinds():
    for argument, kind in BY_OTHERS:
        assert any(kind in kinds for kinds in TABLES[argument].values())


def test_a_warning_of_the_shape_of_labels_is_asked_for():
    with pytest.warns(match="A column-vector y was passed"):
        check_labels(CODES[:, None], N, warn=True)


@pytest.mark.parametrize(("name", "of"), [("y_val", "X_val"), ("y", "X")])
def test_labels_are_named_as_their_rows_are(name, of):
    with pytest.raises(ValueError, match=re.escape(f"{name} has 24 rows, but {of} ")):
        check_labels(CODES, 25, name=name, of=of)
