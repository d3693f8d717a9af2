"""Sparse features against dense ones: products, row spaces, adjoints."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from skclif.exceptions import InfluenceWarning
from skclif.numerics import solvers
from skclif.numerics.bottleneck import TrainingData
from skclif.numerics.first_order import first_order, solve_adjoint
from skclif.numerics.heads import RidgeHead, SoftmaxHead
from skclif.numerics.hessians import factorise, factors_size
from skclif.numerics.matrix_free import MatrixFree
from skclif.numerics.products import (
    affine,
    affine_adjoint,
    dense_rows,
    largest_size,
    row_squares,
    with_ones,
)
from skclif.numerics.row_space import DenseRowSpace, SparseRowSpace, row_space
from skclif.numerics.sparse import SparseFeatures
from skclif.numerics.targets import ConceptTarget, LabelTarget

from .stages import fit_stages

DTYPES = [np.float64, np.float32, np.int64, np.int8, np.uint8, bool]
# Few values, so that many are 0, whole columns and rows too.
VALUES = st.sampled_from([0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.5, -3.0])


def matrices(dtypes=DTYPES):
    """Return dense matrices of any small shape, mostly zeros."""
    shapes = st.tuples(st.integers(1, 7), st.integers(1, 7))
    found = shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=VALUES))
    return st.builds(lambda a, t: np.abs(a).astype(t), found, st.sampled_from(dtypes))


def plain(array):
    return sparse.csr_array(array)


def spelled_out(array, index_dtype=np.int64):
    """Return rows with every zero stored, and columns in reverse."""
    n, d = array.shape
    columns = np.tile(np.arange(d, dtype=index_dtype)[::-1], n)
    starts = d * np.arange(n + 1, dtype=index_dtype)
    return sparse.csr_array((array[:, ::-1].ravel(), columns, starts), shape=(n, d))


def in_parts(array):
    """Return coordinates of which each comes twice: the value, and 0."""
    n, d = array.shape
    rows, columns = (part.ravel() for part in np.indices((n, d)))
    values = np.concatenate([array.ravel(), np.zeros_like(array).ravel()])
    twice = np.tile(rows, 2)[::-1], np.tile(columns, 2)[::-1]
    return sparse.coo_array((values[::-1], twice), shape=(n, d))


CONTAINERS = {
    "csr_array": plain,
    "csr_matrix": sparse.csr_matrix,
    "csc_array": sparse.csc_array,
    "csc_matrix": sparse.csc_matrix,
    "coo_array": sparse.coo_array,
    "coo_matrix": sparse.coo_matrix,
    "bsr_array": sparse.bsr_array,
    "int64 indices": spelled_out,
    "int32 indices": lambda array: spelled_out(array, np.int32),
    "duplicates": in_parts,
}


def memory(matrix):
    """Return a copy of what a matrix holds."""
    names = ("data", "indices", "indptr", "row", "col")
    return [np.array(getattr(matrix, n)) for n in names if hasattr(matrix, n)]


def of(array):
    return SparseFeatures.of(sparse.csr_array(array))


# --- One form -------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(array=matrices(), name=st.sampled_from(sorted(CONTAINERS)))
def test_equal_numbers_give_equal_bits_in_every_container(array, name):
    given_matrix = CONTAINERS[name](array)
    before = memory(given_matrix)
    features = SparseFeatures.of(given_matrix)
    for old, new in zip(before, memory(given_matrix), strict=True):
        np.testing.assert_array_equal(old, new)
    assert features.matrix.has_canonical_format
    assert features.matrix.dtype == np.float64
    for part, expected in zip(features.parts(), of(array).parts(), strict=True):
        assert part.dtype == expected.dtype
        assert part.tobytes() == expected.tobytes()
    np.testing.assert_array_equal(features.dense().numpy(), array.astype(float))


def test_a_copy_is_nobody_elses():
    matrix = sparse.csr_array(np.eye(3))
    shared = SparseFeatures.of(matrix)
    assert shared.shares_memory(matrix)
    own = shared.copy()
    assert not own.shares_memory(matrix)
    matrix.data[0] = 7
    assert own.dense()[0, 0] == 1
    assert not SparseFeatures.of(sparse.coo_array(np.eye(3))).shares_memory([])


# --- Products -------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(array=matrices(), seed=st.integers(0, 100), n=st.integers(1, 9))
def test_products_are_those_of_a_dense_matrix(array, seed, n):
    features, dense = of(array), torch.from_numpy(array.astype(float))
    rng, (n_rows, n_columns) = np.random.default_rng(seed), array.shape
    assert (len(features), features.shape) == (n_rows, (n_rows, n_columns))
    assert (features.dtype, features.device.type) == (torch.float64, "cpu")
    weights = torch.from_numpy(rng.normal(size=(n, n_columns + 1)))
    columns = torch.from_numpy(rng.normal(size=(n_rows, n)))
    others = array[rng.integers(0, n_rows, n)].astype(float)
    close = {"rtol": 1e-13, "atol": 1e-13}
    for of_features in (
        lambda x: affine(x, weights),
        lambda x: affine_adjoint(x, columns),
        row_squares,
        with_ones,
        dense_rows,
    ):
        torch.testing.assert_close(of_features(features), of_features(dense), **close)
    for rows in (torch.from_numpy(others), of(others)):
        torch.testing.assert_close(
            features.inner(rows), torch.from_numpy(others) @ dense.T, **close
        )
    torch.testing.assert_close(features.squared.dense(), dense**2, **close)
    assert largest_size(features) == largest_size(dense)


@settings(deadline=None, max_examples=40)
@given(array=matrices(), data=st.data())
def test_rows_and_columns_are_those_of_a_dense_matrix(array, data):
    features, dense = of(array), torch.from_numpy(array.astype(float))
    some = st.lists(st.integers(0, len(array) - 1), max_size=9)
    positions = torch.tensor(data.draw(some), dtype=torch.int64)
    mask = torch.from_numpy(data.draw(arrays(bool, len(array))))
    for rows in (slice(1, 3), positions, mask):
        assert torch.equal(features[rows].dense(), dense[rows])
    assert torch.equal(features[mask.numpy()].dense(), dense[mask])
    chosen = data.draw(st.sets(st.integers(0, array.shape[1] - 1)))
    columns = torch.tensor(sorted(chosen), dtype=torch.int64)
    assert torch.equal(features.columns(columns).dense(), dense[:, columns])
    without = dense.clone()
    without[:, columns] = 0
    assert torch.equal(features.without_columns(columns).dense(), without)
    assert torch.equal(features.dense(), dense)
    below = torch.cat([dense, dense[:1]])
    for others in (of(array[:1]), array[:1].astype(float)):
        assert torch.equal(features.above(others).dense(), below)


def test_new_tensors_are_like_those_of_a_dense_matrix():
    features, dense = of(np.eye(3)), torch.eye(3, dtype=torch.float64)
    for tensors in (features, dense):
        assert torch.equal(tensors.new_zeros(2, 1), dense[1:, :1] * 0)
        assert torch.equal(tensors.new_ones(2), dense[0, :2] * 0 + 1)
        assert tensors.new_empty(0).dtype == torch.float64
        assert torch.equal(tensors.new_tensor([2.0]), 2 * dense[0, :1])
    assert features.new_zeros(1, dtype=torch.float32).dtype == torch.float32
    assert features.to(torch.float32).dtype == torch.float32
    assert features.to(torch.device("cpu")) is features


def test_other_devices_are_refused():
    with pytest.raises(ValueError, match='device=cuda cannot .* use device="cpu", or'):
        of(np.eye(2)).to(torch.device("cuda"))


# --- Row spaces -----------------------------------------------------------------------

N_ROWS, N_COLUMNS = 40, 300


def wide(kind="plain", seed=0):
    """Return more columns than rows, in forms that are hard for a row space."""
    rng = np.random.default_rng(seed)
    X = sparse.random_array((N_ROWS, N_COLUMNS), density=0.1, rng=rng).toarray()
    if kind == "empty rows":
        X[::5] = 0
    elif kind == "twins":
        X[20:] = X[:20]
    elif kind == "zeros":
        X[:] = 0
    elif kind == "long columns":
        X[:, :3] = 10.0 ** rng.uniform(4, 8, size=(N_ROWS, 3))
    elif kind == "long rows":
        X *= 10.0 ** rng.uniform(-6, 6, size=(N_ROWS, 1))
    return X


KINDS = ["plain", "empty rows", "twins", "zeros", "long columns", "long rows"]


@pytest.mark.parametrize("as_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("kind", KINDS)
def test_coordinates_keep_scores_lengths_and_products(kind, as_sparse):
    X = wide(kind)
    dense = torch.from_numpy(X)
    features = of(X) if as_sparse else dense
    span = row_space(features)
    assert isinstance(span, SparseRowSpace if as_sparse else DenseRowSpace)
    inside = span.coordinates(features)
    assert inside.shape == (N_ROWS, span.n_coordinates)
    sizes = torch.linalg.vector_norm(dense, dim=1)
    sizes[sizes == 0] = 1
    near = {"rtol": 1e-9, "atol": 1e-9}
    # A rotation keeps every inner product of rows, relative to their lengths.
    inner, expected = inside @ inside.T, dense @ dense.T
    scale = sizes[:, None] * sizes
    torch.testing.assert_close(inner / scale, expected / scale, **near)
    # Parameters that act on coordinates act on features alike, and the reverse.
    rng = np.random.default_rng(1)
    given_there = torch.from_numpy(rng.normal(size=(2, span.n_coordinates + 1)))
    outside = span.out_of(given_there)
    there = affine(inside, given_there)
    largest = sizes[:, None]
    torch.testing.assert_close(
        affine(features, outside) / largest, there / largest, **near
    )
    torch.testing.assert_close(span.into(outside), given_there, **near)
    # What is outside has no score: a part in the span has all of it.
    free = torch.from_numpy(rng.normal(size=(2, N_COLUMNS + 1)))
    torch.testing.assert_close(
        affine(inside, span.into(free)) / largest,
        affine(features, free) / largest,
        **near,
    )
    # Penalties are those of the features.
    before, after = outside.square().sum(), given_there.square().sum()
    torch.testing.assert_close(before, after, **near)


@pytest.mark.parametrize("kind", KINDS)
def test_new_rows_have_the_coordinates_of_a_dense_row_space(kind):
    X, new = wide(kind), wide("plain", seed=9)[:7]
    span = row_space(of(X))
    theirs = row_space(torch.from_numpy(X))
    parameters = np.random.default_rng(2).normal(size=(3, N_COLUMNS + 1))
    inside = theirs.out_of(theirs.into(torch.from_numpy(parameters)))
    if kind in ("empty rows", "twins", "zeros"):  # the QR adds directions of its own
        inside = span.out_of(span.into(inside))
    expected = affine(torch.from_numpy(new), inside)
    for rows in (of(new), torch.from_numpy(new)):
        scores = affine(span.coordinates(rows), span.into(inside))
        torch.testing.assert_close(scores, expected, rtol=1e-7, atol=1e-7)


def test_the_rank_is_found():
    assert row_space(of(wide())).n_coordinates == N_ROWS
    assert row_space(of(wide("empty rows"))).n_coordinates == N_ROWS - 8
    assert row_space(of(wide("twins"))).n_coordinates == N_ROWS // 2
    assert row_space(of(wide("zeros"))).n_coordinates == 0


def test_without_more_columns_than_rows_there_is_no_row_space():
    for shape in ((5, 5), (6, 5)):
        assert row_space(of(np.ones(shape))) is None
        assert row_space(torch.ones(shape, dtype=torch.float64)) is None


# --- Systems without factors ----------------------------------------------------------


def stages(shape=(60, 8), *, prob=0.4, as_sparse=False, concepts=True, intercept=True):
    """Return a bottleneck at its optimum, its data and its penalties."""
    rng = np.random.default_rng(3)
    X = sparse.random_array(shape, density=0.4, rng=rng).toarray()
    scores = X @ rng.normal(size=(shape[1], 3))
    codes = np.column_stack([np.digitize(scores[:, 0], [-0.5, 0.5]), scores[:, 1]])
    labels = torch.from_numpy(np.digitize(scores.sum(axis=1), [-0.7, 0.7]))
    annotated = rng.random(codes.shape) > 0.2
    if not concepts:
        codes, annotated = codes[:, :0], annotated[:, :0]
    weights = annotated * rng.uniform(0.3, 2, annotated.shape)
    data = TrainingData(
        of(X) if as_sparse else torch.from_numpy(X),
        labels,
        torch.from_numpy(rng.uniform(0.3, 2, len(X))),
        torch.from_numpy(np.where(annotated, codes, 0.0)),
        torch.from_numpy(annotated),
        torch.from_numpy(weights),
    )
    heads = [SoftmaxHead(3), RidgeHead()] if concepts else []
    penalties = {
        "penalty": 0.8,
        "concept_penalties": torch.ones(len(heads), dtype=torch.float64),
    }
    bottleneck = fit_stages(data, heads, 3, intervention_prob=prob, **penalties)
    return bottleneck, data, penalties


TARGETS = {
    "loss": lambda n: LabelTarget("loss", torch.arange(n) % 3),
    "margin": lambda n: LabelTarget("margin", torch.arange(n) % 3),
    "concept": lambda n: ConceptTarget(0, 1),
    "number": lambda n: ConceptTarget(1, None),
}


def influence(bottleneck, data, inverse, target):
    rows = data.features[:7]
    derivatives = TARGETS[target](7).derivatives(bottleneck, rows)
    adjoint = solve_adjoint(bottleneck, inverse, derivatives)
    blocks = [part for _, part in first_order(bottleneck, data, adjoint)]
    return torch.cat(blocks, dim=1)


@pytest.mark.parametrize("as_sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("prob", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("shape", [(60, 8), (30, 50)])
def test_without_factors_influence_is_that_of_factors(shape, prob, target, as_sparse):
    bottleneck, data, penalties = stages(shape, prob=prob)
    expected = influence(
        bottleneck, data, factorise(bottleneck, data, **penalties), target
    )
    bottleneck, data, penalties = stages(shape, prob=prob, as_sparse=as_sparse)
    inverse = MatrixFree.of(bottleneck, data, **penalties)
    found = influence(bottleneck, data, inverse, target)
    scale = float(expected.abs().max())
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=1e-8)


def test_without_concepts_too():
    found = []
    for invert, as_sparse in (
        (factorise, False),
        (MatrixFree.of, False),
        (MatrixFree.of, True),
    ):
        bottleneck, data, penalties = stages(concepts=False, as_sparse=as_sparse)
        inverse = invert(bottleneck, data, **penalties)
        found.append(influence(bottleneck, data, inverse, "loss"))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("stage", ["label", "concept"])
def test_systems_that_are_not_solved_are_named(monkeypatch, stage):
    bottleneck, data, penalties = stages((30, 50), as_sparse=True)
    inverse = MatrixFree.of(bottleneck, data, **penalties)
    monkeypatch.setattr(solvers, "_MAX_CG", 2)
    match = f"of a {stage} head was solved to a relative residual of .* in 2 steps of"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The adjoint system")
        warnings.filterwarnings("always", f".*of a {stage} head")
        with pytest.warns(InfluenceWarning, match=match):
            influence(bottleneck, data, inverse, "loss")


def test_the_size_of_factors_grows_with_squares_of_parameters():
    bottleneck, _, _ = stages((60, 8))
    wider, more = factors_size(bottleneck, 80_000), factors_size(bottleneck, 160_000)
    assert more / wider == pytest.approx(4, rel=0.01)
    # Of the first concept alone, with two scores, the Hessian is this large.
    assert wider > 8 * (2 * 80_001) ** 2


def test_sparse_features_have_a_preconditioner_of_their_own():
    features = of(np.eye(3))
    found = solvers.preconditioner_of(features)
    assert isinstance(found, solvers.DiagonalPreconditioner)
    found = solvers.preconditioner_of(features.dense())
    assert isinstance(found, solvers.Preconditioner)
