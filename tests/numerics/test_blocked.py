"""Passes over blocks of rows equal the problems of all rows."""

import pickle

import numpy as np
import pytest
import torch

from skclif.numerics import blocked, bottleneck
from skclif.numerics.blocked import BlockedHeads, factor_of, relative_gradient
from skclif.numerics.bottleneck import (
    CONCEPTS,
    Bottleneck,
    ConceptTerms,
    LabelTerms,
    TrainingData,
    concept_problem,
    label_inputs,
)
from skclif.numerics.heads import (
    ConstantHead,
    HeadStack,
    OrdinalHead,
    RidgeHead,
    Shares,
    SoftmaxHead,
)
from skclif.numerics.solvers import newton_cg
from skclif.numerics.stored import StoredFeatures

_SOFT = Shares.of(torch.tensor([[0.2, 0.5, 0.3], [0.0, 0.6, 0.4]]).double())
HEADS = [
    SoftmaxHead(2),
    SoftmaxHead(3),
    SoftmaxHead(5, "logit"),
    SoftmaxHead(2, "logit"),
    SoftmaxHead(3, "hard"),
    SoftmaxHead(3, shares=_SOFT),
    OrdinalHead(4),
    RidgeHead(),
    ConstantHead(),
]
# Equal heads that are not side by side, too.
STACK = HeadStack([SoftmaxHead(3), RidgeHead(), SoftmaxHead(2), SoftmaxHead(3)])


def _codes(head, shape, rng):
    if isinstance(head, RidgeHead):
        return rng.normal(size=shape)
    n_codes = len(head.shares.table) if getattr(head, "shares", None) else head.n_values
    return rng.integers(0, n_codes, shape).astype(float)


def _data(stack, n=400, d=5, *, seed=0, stored=False):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(np.float32)
    concepts = np.column_stack([_codes(head, n, rng) for head in stack.heads])
    weights = rng.uniform(0.2, 2, concepts.shape) * (rng.random(concepts.shape) > 0.3)
    features = torch.from_numpy(X)
    return TrainingData(
        StoredFeatures(features) if stored else features.double(),
        torch.from_numpy(rng.integers(0, 4, n)),
        torch.from_numpy(rng.uniform(0, 2, n)),
        torch.from_numpy(concepts),
        torch.from_numpy(weights > 0),
        torch.from_numpy(weights),
    )


def _penalties(stack):
    return torch.linspace(0.5, 2, len(stack)).double()


def _parameters(stack, d=5, seed=1):
    torch.manual_seed(seed)
    return torch.randn(stack.n_scores, d + 1, dtype=torch.float64)


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_terms_with_rows_last_equal_those_with_rows_first(head):
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(size=(2, head.n_scores, 7)))
    if isinstance(head, OrdinalHead):  # thresholds are in order
        scores[:, 1:] = scores[:, 1:].abs().cumsum(dim=1)
    moved = torch.from_numpy(rng.normal(size=scores.shape))
    codes = torch.from_numpy(_codes(head, (2, 7), rng))
    first, p = scores.mT, head.probabilities(scores.mT)

    loss, residual = head.terms(scores, codes)
    for found, expected in [
        (loss, head.loss(first, codes)),
        (residual.mT, head.residual(p, codes)),
        (
            head.curved(scores, codes, moved).mT,
            head.curvature_times(p, codes, moved.mT),
        ),
        (head.edges_at(scores, codes).mT, head.edge_weights(p, codes)),
    ]:
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    if isinstance(head, OrdinalHead):  # only for the label
        return
    torch.testing.assert_close(
        head.activated(scores).mT, head.activations(first), rtol=1e-12, atol=1e-14
    )
    if getattr(head, "activation", "soft") == "soft":
        known = head.true_activations(codes, scores)
        torch.testing.assert_close(head.known(codes, scores).mT, known)


def test_residuals_of_nearly_certain_rows_keep_their_digits():
    scores = torch.tensor([[[60.0], [0.0]]]).double()
    codes = torch.tensor([[0]]).double()
    head = SoftmaxHead(3)

    _, residual = head.terms(scores, codes)

    expected = head.residual(head.probabilities(scores.mT), codes).mT
    torch.testing.assert_close(residual, expected, rtol=1e-12, atol=0)
    assert 0 < residual.abs().max() < 1e-15


@pytest.mark.parametrize("stored", [False, True], ids=["tensor", "stored"])
@pytest.mark.parametrize("block_rows", [1, 7, 399, 1000])
def test_a_look_and_a_product_equal_those_of_all_rows(block_rows, stored):
    penalties = _penalties(STACK)
    data = _data(STACK, stored=stored)
    heads = BlockedHeads.of(data, ConceptTerms(STACK, penalties), block_rows=block_rows)
    whole = concept_problem(STACK, _data(STACK), penalties)
    parameters, direction = _parameters(STACK), _parameters(STACK, seed=2)
    probabilities = whole.probabilities(scores := whole.scores(parameters))

    look = heads.look(parameters)

    for found, expected in [
        (look.value, whole.objective(scores, parameters)),
        (look.gradient, whole.gradient(probabilities, parameters)),
        (heads.largest_score(parameters), whole.largest_score(scores)),
        (heads.sizes[0], whole.weights.sum(dim=0)),
        (
            heads.hessian_times(parameters, direction),
            whole.hessian_times(probabilities, direction),
        ),
    ]:
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    noise, least = (
        heads.noise(parameters),
        whole.gradient_noise(probabilities, parameters),
    )
    # Of numbers, the largest of a block is the scale.
    assert (noise > least)[[0, 2, 3]].all() and (noise < 30 * least).all()
    assert (look.magnitude >= whole.magnitude(scores, look.value)).all()
    part = heads.of_heads([3, 0])
    columns = STACK.columns([3, 0])
    torch.testing.assert_close(
        part.look(parameters[columns]).gradient, look.gradient[columns]
    )


def test_products_in_single_precision_are_of_any_size():
    data, penalties = _data(STACK), _penalties(STACK)
    terms, parameters = ConceptTerms(STACK, penalties), _parameters(STACK)
    exact = BlockedHeads.of(data, terms)
    single = BlockedHeads.of(data, terms, dtype=torch.float32)
    for size in (1e-60, 1.0, 1e60):
        direction = size * _parameters(STACK, seed=2)
        expected = exact.hessian_times(parameters, direction)
        found = single.hessian_times(parameters, direction)
        assert found.dtype == torch.float64
        assert 0 < (found - expected).norm() < 1e-6 * expected.norm()


def test_terms_can_be_sent_to_where_rows_are():
    data, parameters = _data(STACK), _parameters(STACK)
    terms = pickle.loads(pickle.dumps(ConceptTerms(STACK, _penalties(STACK))))
    kept = BlockedHeads.of(data, ConceptTerms(STACK, _penalties(STACK)))
    sent = BlockedHeads.of(data, terms)
    assert torch.equal(sent.look(parameters).value, kept.look(parameters).value)


def _label(activation="soft", prob=0.4, residual_scale=None, label=None):
    heads = [SoftmaxHead(3, activation), RidgeHead(), SoftmaxHead(2, activation)]
    stack = HeadStack(
        [*heads, ConstantHead(), SoftmaxHead(3, activation, shares=_SOFT)]
    )
    own = _parameters(stack)
    label = label or SoftmaxHead(4)
    n_inputs = stack.n_activations + 1 + (5 if residual_scale else 0)
    parameters = 0.3 * _parameters(HeadStack([label]), n_inputs - 1)
    return Bottleneck(stack, label, own, parameters, prob, residual_scale)


@pytest.mark.parametrize("prob", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(
    "how", [{}, {"activation": "hard"}, {"residual_scale": 0.7}], ids=str
)
def test_label_inputs_are_those_of_label_rows(how, prob):
    model = _label(prob=prob, **how)
    data = _data(model.concepts, n=60)

    copies = torch.cat(label_inputs(model, data), dim=1).T

    expected = model.label_rows(data).activations
    torch.testing.assert_close(copies, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("label", [SoftmaxHead(4), OrdinalHead(4)], ids=repr)
def test_hessians_that_are_summed_equal_products(label):
    model = _label(label=label)
    data, terms = _data(model.concepts), LabelTerms(model, 0.3)
    heads = BlockedHeads.of(data, terms, is_direct=True, block_rows=33)
    parameters = heads.frame.without_missing(model.label_parameters)
    direction = heads.frame.without_missing(torch.randn_like(parameters))
    whole = model.label_problem(data, 0.3)

    (hessian,) = heads.look(parameters).hessians

    product = (hessian @ direction.flatten()).reshape(direction.shape)
    probabilities = whole.probabilities(whole.scores(parameters))
    torch.testing.assert_close(
        heads.frame.without_missing(product),
        whole.hessian_times(probabilities, direction),
        rtol=1e-10,
        atol=1e-10,
    )


def _solved(heads, start=None, tol=1e-9):
    heads, start = heads.prepared(start)
    return heads, *newton_cg(heads, start, tol=tol, max_iter=50)


def test_a_fit_ends_where_the_fit_of_all_rows_in_memory_does():
    penalties, data = _penalties(STACK), _data(STACK, n=3000, stored=True)
    whole = concept_problem(STACK, _data(STACK, n=3000), penalties)
    zero = torch.zeros(STACK.n_scores, 6).double()
    expected, _ = newton_cg(whole, zero, tol=1e-10, max_iter=50)

    heads = BlockedHeads.of(data, ConceptTerms(STACK, penalties))
    heads, found, fit = _solved(heads)

    assert heads.dtype == torch.float32
    assert fit.converged.all() and fit.n_iter < 8
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    _, again, fit = _solved(heads, found)  # starts where it is told
    assert fit.n_iter == 0 and torch.equal(again, found)


def _nearly_equal(size):
    """Return rows of which two columns are equal in single precision."""
    data = _data(HeadStack([SoftmaxHead(2)]), n=600, d=3)
    X = data.features.clone()
    X[:, 1] = X[:, 0] + 1e-7 * X[:, 1]
    return TrainingData(size * X, *list(vars(data).values())[1:])


@pytest.mark.parametrize("size", [1.0, 1e3])
def test_products_that_are_too_rough_give_way_to_double_precision(size, monkeypatch):
    data, types = _nearly_equal(size), []
    stack, penalties = HeadStack([SoftmaxHead(2)]), torch.tensor([1e-6]).double()
    original = blocked.BlockedHeads.hessian_times

    def times(self, *args):
        types.append(self.dtype)
        return original(self, *args)

    monkeypatch.setattr(blocked.BlockedHeads, "hessian_times", times)
    heads = BlockedHeads.of(data, ConceptTerms(stack, penalties))
    _, found, fit = _solved(heads, tol=1e-6)
    assert (fit.gradient_norm <= fit.tolerance).all() and fit.n_iter < 15
    whole = concept_problem(stack, data, penalties)
    expected, _ = newton_cg(whole, torch.zeros(1, 4).double(), tol=1e-6, max_iter=50)
    torch.testing.assert_close(
        whole.scores(found), whole.scores(expected), rtol=1e-6, atol=1e-6
    )
    assert types[0] == torch.float32


@pytest.mark.parametrize("size", [1e30, 1e-30])
def test_weights_that_do_not_fit_single_precision_have_products_in_double(size):
    stack = HeadStack([SoftmaxHead(3)])
    data, terms = _data(stack), ConceptTerms(stack, size * torch.ones(1).double())
    weighted = TrainingData(
        *list(vars(data).values())[:-1], concept_weights=size * data.concept_weights
    )
    heads, found, fit = _solved(BlockedHeads.of(weighted, terms), tol=1e-9)
    assert heads.dtype == torch.float64 and fit.converged.all()
    _, expected, _ = _solved(
        BlockedHeads.of(data, ConceptTerms(stack, torch.ones(1).double()))
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


def test_large_heads_have_a_cheaper_preconditioner(monkeypatch):
    penalties, data = _penalties(STACK), _data(STACK)
    heads = BlockedHeads.of(data, ConceptTerms(STACK, penalties))
    _, expected, _ = _solved(heads)
    monkeypatch.setattr(blocked, "_LARGEST_FACTORS", 0)
    monkeypatch.setattr(blocked, "factor_of", None)
    _, found, fit = _solved(heads)
    assert fit.converged.all()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_heads_of_many_values_have_a_cheaper_preconditioner(monkeypatch):
    # The Hessian is small, and pairs of values are many.
    stack = HeadStack([SoftmaxHead(110)])
    data, penalties = _data(stack, n=60, d=2), 10 * _penalties(stack)
    heads = BlockedHeads.of(data, ConceptTerms(stack, penalties))
    monkeypatch.setattr(blocked, "factor_of", None)
    _, _, fit = _solved(heads)
    assert fit.converged.all()


def test_conjugate_gradients_need_a_preconditioner():
    heads = BlockedHeads.of(_data(STACK), ConceptTerms(STACK, _penalties(STACK)))
    with pytest.raises(ValueError, match="conjugate gradients need a preconditioner"):
        newton_cg(heads, torch.zeros(STACK.n_scores, 6).double(), tol=1, max_iter=1)


def test_singular_hessians_have_a_factor():
    factor = factor_of(torch.ones(3, 3).double(), None)
    torch.testing.assert_close(factor @ factor.T, torch.ones(3, 3).double())
    missing = torch.tensor([[False, True, False]])
    factor = factor_of(torch.full((3, 3), 2.0).double().tril(), missing)
    expected = torch.tensor([[2.0, 0, 2], [0, 1, 0], [2, 0, 2]]).double()
    torch.testing.assert_close(factor @ factor.T, expected)
    assert factor_of(torch.full((2, 2), torch.nan).double(), None).isnan().any()


def test_relative_gradients_are_those_of_all_rows():
    penalties, data = _penalties(STACK), _data(STACK)
    parameters = _parameters(STACK)
    found = relative_gradient(data, ConceptTerms(STACK, penalties), parameters)
    expected = concept_problem(STACK, data, penalties).relative_gradient(parameters)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_long_are_dense_rows_of_many_numbers(monkeypatch):
    data = _data(STACK, n=100)
    assert not bottleneck.is_long(data)
    assert bottleneck.is_long(_data(STACK, n=100, stored=True))
    assert not bottleneck.is_long(_data(STACK, n=20, stored=True))  # as many features
    monkeypatch.setattr(bottleneck, "LONG", 500)
    assert bottleneck.is_long(data)
    assert len(data.sample(30)) == 25
    assert torch.equal(data.sample(30).labels, data.labels[::4])


def test_a_sample_has_rows_of_heads_with_few(monkeypatch):
    data = _data(STACK, n=1000)
    weights = torch.zeros_like(data.concept_weights)
    weights[:, 0] = 1
    weights[801:900:2, 1], weights[3, 2] = 1, 1
    data = TrainingData(*list(vars(data).values())[:-1], concept_weights=weights)
    sample = data.sample(100)
    assert len(sample) == 100 + 50 + 1
    assert (
        (sample.concept_weights > 0).sum(dim=0) == torch.tensor([151, 50, 1, 0])
    ).all()
    monkeypatch.setattr(bottleneck, "LONG", 1)
    few = data.with_weight_in(slice(2, None))
    assert len(few) == 51 and torch.equal(few.labels[0], data.labels[3])
    assert data.with_weight_in(CONCEPTS) is data
