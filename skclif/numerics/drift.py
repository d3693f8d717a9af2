"""Whether new rows differ from training rows: statistics, and permutations of groups.

All statistics are made of sums over the new rows, so that every permutation of the
groups is a column of one matrix, and no model is fitted again.

- Inputs: the linear discriminant of new against training rows.
- Heads, and the meaning of concepts: score tests of the interactions of the group with
  the parameters of a model that is fitted to all rows together. What the parameters
  themselves and nuisance interactions explain is projected out. The statistic is
  divided by the variance that the rows show, so that it stays valid where inputs moved.

See Eqs. (57) to (60) of docs/mathematics.rst.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special, stats
from torch import Tensor

from .blocks import map_rows
from .bottleneck import Bottleneck, TrainingData, fit_concepts
from .bounded import minimise
from .heads import Head, HeadsProblem, HeadStack, SoftmaxHead
from .hessians import Factors
from .leverage import BLOCK_ROWS, remove_terms
from .products import affine, affine_adjoint, with_ones
from .sparse import Features

# Added to the variance of every score, in units of the rows' own information: a handful
# of rows cannot be sure of anything.
_LEAST_INFORMATION = 1.0
# Directions of the label's scores in which a meaning can change.
_LABEL_DIRECTIONS = 2
# Singular values below this share of the largest are rounding errors.
_RANK = 1e-9
_POWERS = 4  # iterations towards the main directions of features
# The model that recalibrates a head: a slight penalty, Newton steps, and their end.
_SLIGHT, _NEWTON_STEPS, _SETTLED = 1e-3, 50, 1e-8
_PRIOR = 1.0  # penalty of a change that is made for good
_HIGH = 0.9  # quantile that says how far permuted statistics spread
# Cube roots of chi-square spread by about 0.5. Those that spread less are of residuals
# near 0, as of a head that is sure and right, and such statistics prove nothing.
_LEAST_SPREAD = 0.1


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
    scaled = centred / centred.norm(dim=0)
    left, sizes, _ = torch.linalg.svd(scaled, full_matrices=False)
    spanning: Tensor = left[:, sizes > _RANK * sizes[0]]
    return spanning


def discriminants(columns: Sequence[Tensor], groups: Tensor) -> Tensor:
    """Return Hotelling's statistics of whitened columns, (n_groups, n_sets).

    Eq. (57) of docs/mathematics.rst.

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
    ranks = stats.rankdata(said)
    n_new = int(is_new.sum())
    wins = ranks[is_new].sum() - n_new * (n_new + 1) / 2
    return float(wins / (n_new * (len(is_new) - n_new)))


def principal_columns(parts: Sequence[Features], n_columns: int) -> Tensor:
    """Return the rows of all parts in about their main directions, by power iteration.

    The products never make sparse features dense.
    """
    rng = torch.Generator().manual_seed(0)
    n_features = parts[0].shape[1]
    directions = torch.randn(
        min(n_columns, n_features), n_features, generator=rng, dtype=torch.float64
    )
    n_rows = sum(len(part) for part in parts)
    for _ in range(_POWERS):
        middle = _means(parts)
        shift = directions @ middle
        found = directions.new_zeros(directions.shape)
        for part in parts:
            along = affine(part, _with_constants(directions, -shift))
            found += (
                affine_adjoint(part, along)[:, :-1] - along.sum(0)[:, None] * middle
            )
        directions = torch.linalg.qr(found.T / n_rows)[0].T.contiguous()
    shift = directions @ _means(parts)
    return torch.cat(
        [affine(part, _with_constants(directions, -shift)) for part in parts]
    )


def _with_constants(directions: Tensor, constants: Tensor) -> Tensor:
    """Return directions with a constant each, as products with features take them."""
    return torch.cat([directions, constants[:, None]], dim=1)


def _means(parts: Sequence[Features]) -> Tensor:
    sums = [affine_adjoint(part, part.new_ones(len(part), 1))[0, :-1] for part in parts]
    return torch.stack(sums).sum(dim=0) / sum(len(part) for part in parts)


# --- Interactions with the group ------------------------------------------------------


@dataclass(frozen=True)
class Scores:
    """Derivatives of a fitted model's log-likelihood, row by row.

    Attributes
    ----------
    gradients : Tensor of shape (n_rows, n_parameters)
    information : Tensor of shape (n_rows, n_parameters, n_parameters)
        Minus the second derivative.
    parameters : Tensor of shape (n_parameters,), or None
        Of the model, where they say what a change would be like.
    """

    gradients: Tensor
    information: Tensor
    parameters: Tensor | None = None


@dataclass(frozen=True)
class Interactions:
    """Efficient scores of the interactions of every group with all parameters.

    What the parameters themselves explain is projected out: Eq. (58) of
    docs/mathematics.rst.

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
        n_pairs = upper.shape[1]
        u, meat = summed[:, :n], summed[:, n : n + n_pairs]
        info = summed[:, n + n_pairs :]
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

    def tested(
        self,
        tested: Sequence[int],
        nuisance: Sequence[int] = (),
        direction: Tensor | None = None,
    ) -> tuple[np.ndarray, float]:
        """Return score statistics of some interactions, given nuisance ones.

        Eq. (59) of docs/mathematics.rst.

        Parameters
        ----------
        tested, nuisance : sequence of int
            Parameters.
        direction : Tensor of shape (n_tested,), default=None
            Where to look by itself, too.

        Returns
        -------
        statistics : ndarray of shape (n_groups, 1) or (n_groups, 2)
            By the variance that the rows show; then that of the direction.
        gain : float
            About what the log-likelihood of the first group's rows would gain if it had
            the tested interactions.
        """
        keep, out = list(tested), list(nuisance)
        u, info, variance = self.scores, self.information, self.variance
        left = torch.eye(u.shape[1], dtype=u.dtype)[keep].expand(len(u), -1, -1).clone()
        if out:
            among = _regular(info[:, out][:, :, out])
            left[:, :, out] = -torch.linalg.solve(among, info[:, out][:, :, keep]).mT
        scores = (left @ u[:, :, None])[:, :, 0]
        shown = left @ variance @ left.mT
        statistics = [_quadratic(scores, _regular(shown))]
        if direction is not None and direction.any():
            along = direction / direction.norm()
            spread = along @ shown @ along + _LEAST_INFORMATION
            statistics.append((scores @ along) ** 2 / spread)
        first = left[:1]
        gain = _quadratic(scores[:1], _regular(first @ info[:1] @ first.mT))
        return torch.stack(statistics, dim=1).numpy(), float(gain[0]) / 2


def _regular(matrices: Tensor) -> Tensor:
    eye = torch.eye(matrices.shape[-1], dtype=matrices.dtype)
    return matrices + _LEAST_INFORMATION * eye


def _quadratic(vectors: Tensor, matrices: Tensor) -> Tensor:
    solved = torch.linalg.solve(matrices, vectors[:, :, None])[:, :, 0]
    quadratic: Tensor = (vectors * solved).sum(dim=1)
    return quadratic


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
    counted = (data.label_weights > 0) | (data.concept_weights > 0).any(dim=1)
    shares = counted.to(data.label_weights)[:, None] / counted.sum()
    middle = affine_adjoint(data.features, shares)[0]

    def of_block(rows: TrainingData) -> Tensor:
        features = with_ones(rows.features)
        stack, parts = bottleneck.concepts, []
        for j, scores in enumerate(
            stack.split(bottleneck.concept_scores(rows.features))
        ):
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
                torch.kron(torch.eye(head.n_scores).to(middle), middle[:, None])
            )
            parts.append(scores + shift - removed @ at_middle)
        return torch.cat(parts, dim=1)

    return torch.cat([part for _, part in map_rows(of_block, data, block_rows)])


def cross_fitted_scores(
    bottleneck: Bottleneck,
    data: TrainingData,
    new: Features,
    concept_penalties: Tensor,
    folds: tuple[np.ndarray, np.ndarray],
    *,
    tol: float,
    max_iter: int,
) -> Tensor:
    """Return scores of training rows and new rows by heads that were fitted without.

    A new row gets the scores of one of the folds, too, so that both kinds of rows are
    judged by heads of as many rows.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    new : Tensor or SparseFeatures of shape (n_new, n_features)
    concept_penalties : Tensor of shape (n_concepts,)
    folds : tuple of ndarray, int
        Of the training rows, and of the new rows.
    tol, max_iter
        As in `fit_concepts`.

    Returns
    -------
    scores : Tensor of shape (n_samples + n_new, n_concept_scores)
    """
    of_training, of_new = (torch.from_numpy(each) for each in folds)
    n = len(data)
    scores = data.label_weights.new_empty(n + len(new), bottleneck.concepts.n_scores)
    for fold in np.unique(folds[0]).tolist():
        rest, own = of_training != fold, (of_training == fold).nonzero()[:, 0]
        fitted, _ = fit_concepts(
            data.rows(rest.nonzero()[:, 0]),
            bottleneck.concepts.heads,
            bottleneck.label,
            intervention_prob=bottleneck.intervention_prob,
            concept_penalties=concept_penalties,
            tol=tol,
            max_iter=max_iter,
        )
        scores[own] = fitted.concept_scores(data.features[own])
        others = (of_new == fold).nonzero()[:, 0]
        scores[n + others] = fitted.concept_scores(new[others])
    return scores


def head_scores(head: Head, scores: Tensor, codes: Tensor) -> Scores:
    """Return the derivatives of a head that is recalibrated to all rows.

    Its parameters are a constant for every score, and a factor of all scores. Without a
    score that varies there is no factor.
    """
    centred = scores - scores.mean(dim=0)
    size = centred.pow(2).mean().sqrt()
    varies = bool(size > _RANK)
    design = _constants(head, scores)
    if varies:
        design = torch.cat([design, (centred / size)[:, :, None]], dim=2)
    parameters = _recalibrated(head, design, codes)
    return _derivatives(head, design, design @ parameters, codes)


def recalibrate(head: Head, scores: Tensor, codes: Tensor) -> Tensor:
    """Return a constant for every score, and last a factor of all, that fit codes best.

    The factor comes first. A penalty of 1 holds them to no change.
    """
    design = torch.cat([_constants(head, scores), scores[:, :, None]], dim=2)
    change = _recalibrated(head, design, codes, scores, _PRIOR)
    change[-1] += 1
    return change


def adjusted(
    head: Head, scores: Sequence[Tensor], columns: Sequence[Tensor], codes: Tensor
) -> list[Tensor]:
    """Return scores with a constant, and weights of columns, that fit codes best.

    A penalty of 1 holds them to no change.

    Parameters
    ----------
    head : Head
    scores, columns : sequence of Tensor of shape (n_rows, ...)
        Of the rows with the codes, and of others.
    codes : Tensor of shape (n_rows,)
        Of the first.
    """
    designs = []
    for each, part in zip(scores, columns, strict=True):
        constants = _constants(head, each)
        weights = part[:, None, :, None] * constants[:, :, None]
        designs.append(torch.cat([constants, weights.flatten(2)], dim=2))
    change = _recalibrated(head, designs[0], codes, scores[0], _PRIOR)
    return [
        each + design @ change for each, design in zip(scores, designs, strict=True)
    ]


def _constants(head: Head, scores: Tensor) -> Tensor:
    eye = torch.eye(head.n_scores).to(scores)
    return eye.expand(len(scores), -1, -1)


def _recalibrated(
    head: Head,
    design: Tensor,
    codes: Tensor,
    offset: Tensor | float = 0.0,
    penalty: float = _SLIGHT,
) -> Tensor:
    """Return the parameters by which a head fits codes best, by damped Newton steps."""
    parameters = design.new_zeros(design.shape[2])

    def loss(p: Tensor) -> float:
        return float(head.loss(design @ p + offset, codes).sum() + penalty * p @ p / 2)

    for _ in range(_NEWTON_STEPS):
        scores = design @ parameters + offset
        said = head.probabilities(scores)
        gradient = -(head.residual(said, codes)[:, None] @ design)[:, 0].sum(dim=0)
        gradient -= penalty * parameters
        hessian = (design.mT @ head.curvature(said, codes) @ design).sum(dim=0)
        hessian.diagonal().add_(penalty)
        step = torch.linalg.solve(hessian, gradient)
        size, before = 1.0, loss(parameters)
        while loss(parameters + size * step) > before and size > _RANK:
            size /= 2
        parameters = parameters + size * step
        if float(step @ gradient) < _SETTLED:
            break
    return parameters


def _derivatives(head: Head, design: Tensor, scores: Tensor, codes: Tensor) -> Scores:
    said = head.probabilities(scores)
    gradients = -(head.residual(said, codes)[:, None] @ design)[:, 0]
    information = design.mT @ head.curvature(said, codes) @ design
    if not head.is_categorical:  # in units of the spread of the residuals
        spread = head.residual(said, codes).pow(2).mean().clamp_min(_RANK)
        return Scores(gradients / spread, information / spread)
    return Scores(gradients, information)


def label_scores(
    columns: Tensor, labels: Tensor, n_labels: int, penalty: float
) -> Scores:
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
    parameters = (fitted.T @ directions).flatten()
    return Scores(gradients.flatten(1), information.reshape(-1, n, n), parameters)


def _main_directions(weights: Tensor, columns: Tensor) -> Tensor:
    """Return the directions of scores that columns move most, (n_scores, n)."""
    # torch warns of the spread of no columns: all concepts may be constants.
    moved = weights * columns.std(dim=0) if columns.shape[1] else weights
    left, _, _ = torch.linalg.svd(moved)
    directions: Tensor = left[:, :_LABEL_DIRECTIONS]
    return directions


# --- How surprising a statistic is ----------------------------------------------------


def surprise(statistics: np.ndarray, freedom: np.ndarray | None = None) -> np.ndarray:
    """Return about ``-log p`` of statistics, (1 + n_permutations, n_tests).

    It makes tests of different size comparable, and orders those that no permutation
    reaches. Cube roots of sums of squares are nearly normal (Wilson and Hilferty).
    Without degrees of freedom, their centre and spread are quantiles over the
    permutations and the observed groups alike, so that comparisons with the
    permutations stay exact.

    Parameters
    ----------
    statistics : ndarray of shape (1 + n_permutations, n_tests)
    freedom : ndarray of shape (n_tests,), default=None
        Degrees of freedom, if the statistics are those of chi-square.
    """
    if freedom is None:
        roots = np.cbrt(statistics)
        middle, high = np.quantile(roots, [0.5, _HIGH], axis=0)
        spread = (high - middle) / special.ndtri(_HIGH)
        spread = np.where(spread > 0, np.maximum(spread, _LEAST_SPREAD), 0.0)
    else:
        roots = np.cbrt(statistics / freedom)
        spread = np.sqrt(2 / (9 * freedom))
        middle = 1 - spread**2
    varies = spread > 0
    z = (roots - middle) / np.where(varies, spread, 1.0)
    found: np.ndarray = np.where(varies, -special.log_ndtr(-z), 0.0)
    return found


def share_reaching(first: float, permuted: np.ndarray) -> float:
    """Return the share of permutations, the observed included, that reach it."""
    return float((permuted >= first * (1 - _RANK)).mean())
