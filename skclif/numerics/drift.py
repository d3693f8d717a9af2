"""Whether new rows differ from training rows: statistics, and permutations of groups.

All statistics are made of sums over the new rows, so that every permutation of the
groups is a column of one matrix, and no model is fitted again.

- Inputs: the linear discriminant of new against training rows.
- Heads, and the meaning of concepts: score tests of the interactions of the group with
  the parameters of a model that is fitted to all rows together. What the parameters
  themselves and nuisance interactions explain is projected out. The statistic is divided
  by the variance that the rows show, so that it stays valid where inputs moved.

See Eqs. (60) to (64) of docs/mathematics.rst.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from torch import Tensor

from .blocks import map_rows
from .bottleneck import Bottleneck, TrainingData
from .heads import Head, HeadsProblem, HeadStack, SoftmaxHead
from .hessians import Factors
from .leverage import BLOCK_ROWS, remove_terms
from .products import dense_rows, with_ones
from .bounded import minimise

# Added to the variance of every score, in units of the rows' own information: a handful
# of rows cannot be sure of anything.
_LEAST_INFORMATION = 1.0
# Directions of the label's scores in which a meaning can change.
_LABEL_DIRECTIONS = 2
# Singular values below this share of the largest are rounding errors.
_RANK = 1e-9
_BLOCK = 2**24  # numbers at a time in products with permutations


def permutation_keys(
    is_new: np.ndarray, n_permutations: int, rng: np.random.Generator
) -> np.ndarray:
    """Return keys of rows: in a permutation, those with the smallest keys are new.

    The first column is the observed group. Among any part of the rows, those with the
    smallest keys are a random part, so that concepts that lack annotations are permuted
    together with the others.

    Parameters
    ----------
    is_new : ndarray of shape (n_rows,), bool
    n_permutations : int
    rng : Generator

    Returns
    -------
    keys : ndarray of shape (n_rows, 1 + n_permutations), float32
    """
    keys = rng.random((len(is_new), 1 + n_permutations), dtype=np.float32)
    keys[:, 0] = ~is_new
    return keys


def permuted_groups(keys: np.ndarray, n_new: int) -> Tensor:
    """Return 1 for the `n_new` rows with the smallest keys of each column, else 0."""
    highest = np.partition(keys, n_new - 1, axis=0)[n_new - 1]
    return torch.from_numpy((keys <= highest).astype(np.float64))


# --- Inputs ---------------------------------------------------------------------------


def whitened(columns: Tensor) -> Tensor:
    """Return orthonormal columns, (n_rows, rank), that span the centred ones."""
    centred = columns - columns.mean(dim=0)
    scale = centred.norm(dim=0)
    centred = centred[:, scale > _RANK * (1 + columns.norm(dim=0))]
    if not centred.shape[1]:
        return centred
    left, sizes, _ = torch.linalg.svd(centred / centred.norm(dim=0), full_matrices=False)
    return left[:, sizes > _RANK * sizes[0]]


def discriminants(columns: Sequence[Tensor], groups: Tensor) -> Tensor:
    """Return Hotelling's statistics of whitened columns, (n_groups, n_sets).

    Parameters
    ----------
    columns : sequence of Tensor of shape (n_rows, rank)
        Of every test, as `whitened` returns them.
    groups : Tensor of shape (n_rows, n_groups)
    """
    n_rows, n_new = len(groups), groups[:, 0].sum()
    scale = (n_rows - 1) * n_rows / (n_new * (n_rows - n_new))
    squares = (groups.T @ torch.cat(list(columns), dim=1)) ** 2
    ends = np.cumsum([0, *(part.shape[1] for part in columns)])
    parts = [
        squares[:, a:b].sum(dim=1) for a, b in zip(ends[:-1], ends[1:], strict=True)
    ]
    return scale * torch.stack(parts, dim=1)


def told_apart(columns: Tensor, is_new: np.ndarray, folds: np.ndarray) -> float:
    """Return the area under the ROC curve of a classifier that tells new rows.

    It is the linear discriminant, each row judged by the other folds.
    """
    target = torch.from_numpy(is_new.astype(np.float64))
    inputs = with_ones(columns)
    said = np.empty(len(is_new))
    for fold in np.unique(folds):
        rest, own = torch.from_numpy(folds != fold), torch.from_numpy(folds == fold)
        part = inputs[rest]
        gram = part.T @ part
        gram.diagonal().add_(_RANK * gram.diagonal().mean())
        slopes = torch.linalg.solve(gram, part.T @ target[rest])
        said[own.numpy()] = (inputs[own] @ slopes).numpy()
    ranks = special.rankdata(said) if hasattr(special, "rankdata") else _ranks(said)
    n_new = int(is_new.sum())
    wins = ranks[is_new].sum() - n_new * (n_new + 1) / 2
    return float(wins / (n_new * (len(is_new) - n_new)))


def _ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    ranks: np.ndarray = rankdata(values)
    return ranks


# --- Interactions with the group ------------------------------------------------------


@dataclass(frozen=True)
class Scores:
    """Derivatives of a fitted model's log-likelihood, row by row.

    Attributes
    ----------
    gradients : Tensor of shape (n_rows, n_parameters)
    information : Tensor of shape (n_rows, n_parameters, n_parameters)
        Minus the second derivative.
    """

    gradients: Tensor
    information: Tensor


@dataclass(frozen=True)
class Interactions:
    """Efficient scores of the interactions of every group with all parameters.

    What the parameters themselves explain is projected out.

    Attributes
    ----------
    scores : Tensor of shape (n_groups, n_parameters)
    information : Tensor of shape (n_groups, n_parameters, n_parameters)
        By the model.
    variance : Tensor of shape (n_groups, n_parameters, n_parameters)
        As the rows show it.
    """

    scores: Tensor
    information: Tensor
    variance: Tensor

    @classmethod
    def of(cls, rows: Scores, groups: Tensor) -> "Interactions":
        """Sum the scores of rows over groups, (n_rows, n_groups) of 0 and 1."""
        g, n = rows.gradients, rows.gradients.shape[1]
        upper = torch.triu_indices(n, n)
        squares = g[:, upper[0]] * g[:, upper[1]]
        curved = rows.information[:, upper[0], upper[1]]
        summed = groups.T @ torch.cat([g, squares, curved], dim=1)
        u, meat, info = summed.split([n, upper.shape[1], upper.shape[1]], dim=1)
        meat, info = _symmetric(meat, upper, n), _symmetric(info, upper, n)
        total = rows.information.sum(dim=0)
        total.diagonal().add_(_RANK * total.diagonal().mean())
        share = torch.linalg.solve(total, info).mT  # info total^-1
        all_meat = g.T @ g
        crossed = share @ meat
        return cls(
            u - share @ g.sum(dim=0),
            info - share @ info,
            meat - crossed - crossed.mT + share @ all_meat @ share.mT,
        )

    def statistics(self, tested: Sequence[int], nuisance: Sequence[int]) -> "Tested":
        """Return score statistics of some interactions, given nuisance ones."""
        keep, out = list(tested), list(nuisance)
        u, info, variance = self.scores, self.information, self.variance
        left = torch.eye(u.shape[1], dtype=u.dtype)[keep].expand(len(u), -1, -1).clone()
        if out:
            among = _regular(info[:, out][:, :, out])
            left[:, :, out] = -torch.linalg.solve(among, info[:, out][:, :, keep]).mT
        score = (left @ u[:, :, None])[:, :, 0]
        own = left @ info @ left.mT
        shown = left @ variance @ left.mT
        return Tested(
            _quadratic(score, _regular(shown)), _quadratic(score, _regular(own))
        )


@dataclass(frozen=True)
class Tested:
    """Statistics of some interactions, for every group.

    Attributes
    ----------
    statistic : Tensor of shape (n_groups,)
        By the variance that the rows show.
    gain : Tensor of shape (n_groups,)
        Twice what the log-likelihood would gain with these interactions, about.
    """

    statistic: Tensor
    gain: Tensor


def _regular(matrices: Tensor) -> Tensor:
    eye = torch.eye(matrices.shape[-1], dtype=matrices.dtype)
    return matrices + _LEAST_INFORMATION * eye


def _quadratic(vectors: Tensor, matrices: Tensor) -> Tensor:
    solved = torch.linalg.solve(matrices, vectors[:, :, None])[:, :, 0]
    return (vectors * solved).sum(dim=1)


def _symmetric(flat: Tensor, upper: Tensor, n: int) -> Tensor:
    full = flat.new_empty(len(flat), n, n)
    full[:, upper[0], upper[1]] = flat
    full[:, upper[1], upper[0]] = flat
    return full


# --- The models whose interactions are tested -----------------------------------------


def left_out_scores(
    bottleneck: Bottleneck,
    data: TrainingData,
    factors: Factors,
    *,
    block_rows: int = BLOCK_ROWS,
) -> Tensor:
    """Return scores of the concept heads, each without the row's own annotation.

    What leaving it out does to the score of a mean row is taken off again. Otherwise
    the constant alone would tell annotations: without a "yes" there are fewer of them.

    Returns
    -------
    scores : Tensor of shape (n_samples, n_concept_scores)
    """
    middle = with_ones(dense_rows(data.features)).mean(dim=0)

    def of_block(rows: TrainingData) -> Tensor:
        features = with_ones(dense_rows(rows.features))
        stack, parts = bottleneck.concepts, []
        for j, scores in enumerate(stack.split(bottleneck.concept_scores(rows.features))):
            head, inverse = stack.heads[j], factors.concepts[j]
            removed, shift = remove_terms(
                head,
                scores[:, None],
                rows.concepts[:, j],
                rows.concept_weights[:, j, None],
                features[:, None],
                inverse,
            )
            at_middle = inverse.solve(
                torch.kron(torch.eye(head.n_scores, dtype=middle.dtype), middle[:, None])
            )
            parts.append(scores + shift - removed @ at_middle)
        return torch.cat(parts, dim=1)

    return torch.cat([part for _, part in map_rows(of_block, data, block_rows)])


def head_scores(head: Head, scores: Tensor, codes: Tensor) -> Scores:
    """Return the derivatives of a head that is recalibrated to all rows.

    Its parameters are a constant for every score, and a factor of all scores. Without a
    score that varies there is no factor.
    """
    centred = scores - scores.mean(dim=0)
    size = centred.pow(2).mean().sqrt()
    varies = bool(size > _RANK)
    eye = torch.eye(head.n_scores, dtype=scores.dtype)
    design = eye.expand(len(scores), -1, -1)
    if varies:
        design = torch.cat([design, (centred / size)[:, :, None]], dim=2)
    parameters = _recalibrated(head, design, codes)
    return _derivatives(head, design, design @ parameters, codes)


def _recalibrated(head: Head, design: Tensor, codes: Tensor) -> Tensor:
    """Return the parameters by which a head fits codes best, by damped Newton steps."""
    parameters = design.new_zeros(design.shape[2])

    def loss(p: Tensor) -> float:
        return float(head.loss(design @ p, codes).sum() + 0.5 * _SLIGHT * p @ p)

    for _ in range(_NEWTON_STEPS):
        rows = _derivatives(head, design, design @ parameters, codes)
        hessian = rows.information.sum(dim=0)
        hessian.diagonal().add_(_SLIGHT)
        gradient = rows.gradients.sum(dim=0) - _SLIGHT * parameters
        step = torch.linalg.solve(hessian, gradient)
        size, before = 1.0, loss(parameters)
        while loss(parameters + size * step) > before and size > _RANK:
            size /= 2
        parameters = parameters + size * step
        if float(step @ gradient) < _SETTLED:
            break
    return parameters


_SLIGHT, _NEWTON_STEPS, _SETTLED = 1e-3, 50, 1e-8


def _derivatives(head: Head, design: Tensor, scores: Tensor, codes: Tensor) -> Scores:
    said = head.probabilities(scores)
    gradients = -(head.residual(said, codes)[:, None] @ design)[:, 0]
    information = design.mT @ head.curvature(said, codes) @ design
    if not head.is_categorical:  # in units of the spread of the residuals
        spread = gradients.new_tensor(float(head.residual(said, codes).pow(2).mean()))
        spread = spread.clamp_min(_RANK)
        return Scores(gradients / spread.sqrt() / spread.sqrt(), information / spread)
    return Scores(gradients, information)


def label_scores(columns: Tensor, labels: Tensor, n_labels: int, penalty: float) -> Scores:
    """Return the derivatives of a label model that is fitted to all rows together.

    Parameters
    ----------
    columns : Tensor of shape (n_rows, n_columns)
        What concepts say of every row.
    labels : Tensor of shape (n_rows,), int64
    n_labels : int
    penalty : float

    Returns
    -------
    scores : Scores
        The parameters are by column, the constant last, and then by direction of the
        label's scores: ``column * n_directions + direction``.
    """
    head = SoftmaxHead(n_labels)
    problem = HeadsProblem(
        HeadStack([head]),
        columns,
        labels[:, None],
        columns.new_ones(len(columns), 1),
        columns.new_full((1,), penalty),
    )
    start = columns.new_zeros(head.n_scores, columns.shape[1] + 1)
    fitted, _ = minimise(problem, start, tol=1e-6 * len(columns), max_iter=100)
    inputs = with_ones(columns)
    said = head.probabilities(inputs @ fitted.T)
    directions = _main_directions(fitted[:, :-1], columns)
    residual = -head.residual(said, labels) @ directions
    curvature = directions.T @ head.curvature(said, labels) @ directions
    gradients = inputs[:, :, None] * residual[:, None]
    products = inputs[:, :, None, None, None] * inputs[:, None, None, :, None]
    information = products * curvature[:, None, :, None, :]
    n = inputs.shape[1] * directions.shape[1]
    return Scores(gradients.flatten(1), information.reshape(-1, n, n))


def _main_directions(weights: Tensor, columns: Tensor) -> Tensor:
    """Return the directions of scores that columns move most, (n_scores, n)."""
    moved = weights * columns.std(dim=0)
    left, _, _ = torch.linalg.svd(moved, full_matrices=False)
    return left[:, :_LABEL_DIRECTIONS]


# --- How surprising a statistic is ----------------------------------------------------


def surprise(statistics: np.ndarray) -> np.ndarray:
    """Return about ``-log p`` of statistics, (1 + n_permutations, n_tests).

    It makes tests of different size comparable, and orders those that no permutation
    reaches. Cube roots of sums of squares are nearly normal (Wilson and Hilferty); their
    centre and spread are quantiles over the permutations and the observed groups alike,
    so that comparisons with the permutations stay exact.
    """
    roots = np.cbrt(statistics)
    middle, high = np.quantile(roots, [0.5, _HIGH], axis=0)
    spread = (high - middle) / special.ndtri(_HIGH)
    varies = spread > 0
    z = (roots - middle) / np.where(varies, spread, 1.0)
    found: np.ndarray = np.where(varies, -special.log_ndtr(-z), 0.0)
    return found


_HIGH = 0.9


def permutation_p(statistics: np.ndarray) -> np.ndarray:
    """Return the share of permutations, the observed included, that reach the first."""
    reached = statistics >= statistics[:1] * (1 - _RANK)
    p: np.ndarray = reached.mean(axis=0)
    return p
