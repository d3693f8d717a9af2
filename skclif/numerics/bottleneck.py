"""The two stages: concept heads on the features, a label head on their activations."""

import math
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from .blocked import BlockedHeads, by_head, relative_gradient
from .blocks import Elsewhere, map_rows, row_blocks, stride, sum_rows
from .bounded import minimise
from .heads import CategoricalHead, Head, HeadsProblem, HeadStack
from .products import affine, affine_adjoint, dense_rows, largest_size
from .row_space import RowSpace, row_space
from .sampling import Choice, tally
from .solvers import Convergence, head_groups, joined
from .sparse import Features, SparseFeatures
from .steps import Advance, unseen
from .stored import StoredFeatures
from .streaming import rows_at_once

# Numbers in dense features from which on a fit keeps nothing of all rows.
LONG = 2**22
# Parameters of a label head of which the Hessian is summed with every gradient.
_FEW = 512
# Columns of the weights of rows: TrainingData.has_weight.
LABEL, CONCEPTS = slice(0, 1), slice(1, None)

Sampled = TypeVar("Sampled")


@dataclass(frozen=True)
class TrainingData:
    """The data that both stages are fitted to, with effective weights.

    Attributes
    ----------
    features : Features of shape (n_samples, n_features), float64
        A tensor, or sparse or stored features.
    labels : Tensor of shape (n_samples,), int64
        Codes of the labels.
    label_weights : Tensor of shape (n_samples,), float64
        ``sample_weight * class_weight``.
    concepts : Tensor of shape (n_samples, n_concepts), float64
        Codes of the annotations, or the numbers of continuous concepts. Without an
        annotation, any valid code.
    annotated : Tensor of shape (n_samples, n_concepts), bool
    concept_weights : Tensor of shape (n_samples, n_concepts), float64
        ``sample_weight * concept_sample_weight``; 0 without an annotation.
    """

    features: Features
    labels: Tensor
    label_weights: Tensor
    concepts: Tensor
    annotated: Tensor
    concept_weights: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def to(self, device: torch.device) -> "TrainingData":
        """Return the same data on a device."""
        return TrainingData(
            *(getattr(self, field.name).to(device) for field in fields(self))
        )

    @property
    def alone(self) -> Tensor:
        """Which rows carry all the weight of their label, (n_samples,)."""
        labels, weights = self.labels, self.label_weights
        n_labels = int(labels.max()) + 1 if len(labels) else 0
        totals = weights.new_zeros(n_labels).index_add(0, labels, weights)
        return (weights > 0) & (totals[labels] == weights)

    def rows(self, block: slice | Tensor) -> "TrainingData":
        """Return some of the rows, loaded."""
        return self._beside(self.features[block], block)

    def blocks(self, block_rows: int) -> Generator[tuple[slice, "TrainingData"]]:
        """Yield slices in order, and these rows, loaded."""
        features = self.features
        if not isinstance(features, StoredFeatures):
            at_once = rows_at_once(block_rows, features.device)
            for block in row_blocks(len(self), at_once):
                yield block, self.rows(block)
            return
        with closing(features.blocks(block_rows)) as blocks:
            for block, rows in blocks:
                yield block, self._beside(rows, block)

    def _beside(self, features: Features, block: slice | Tensor) -> "TrainingData":
        """Return some of the rows, with their loaded features."""
        return TrainingData(
            features,
            self.labels[block],
            self.label_weights[block],
            self.concepts[block],
            self.annotated[block],
            self.concept_weights[block],
        )

    def loading(self, dtype: torch.dtype) -> "TrainingData":
        """Return the same rows, of which `rows` loads the features in another type."""
        features = self.features
        if isinstance(features, SparseFeatures):
            return self
        if isinstance(features, Tensor):
            features = StoredFeatures(features)
        return replace(self, features=features.loading(dtype))

    @property
    def has_weight(self) -> Tensor:
        """Where rows have weight for label and concepts, (n, 1 + n_concepts)."""
        return torch.cat([self.label_weights[:, None], self.concept_weights], 1) > 0

    def sampled(self, n_rows: int) -> slice | Tensor:
        """Return which rows are a sample of about this many, evenly spread.

        Heads of which few rows have weight get rows of their own beside these.
        """
        counted, step = self.has_weight, stride(len(self), n_rows)
        choice = Choice.of(len(self), n_rows, tally(counted, 0, step))
        if not choice.own:
            return slice(None, None, step)
        nothing = torch.zeros(counted.shape[1], dtype=torch.int64)
        return choice.rows(counted, 0, nothing)

    def sample(self, n_rows: int) -> "TrainingData":
        """Return a sample of about this many rows, in memory."""
        return self.rows(self.sampled(n_rows))

    def on_sample(
        self, function: Callable[["TrainingData"], Sampled], n_rows: int
    ) -> Sampled:
        """Return what a function makes of a sample of rows, where they are."""
        return function(self.sample(n_rows))

    def with_weight_in(self, heads: slice) -> "TrainingData":
        """Return the rows that have weight for heads, unless that is most of them.

        Parameters
        ----------
        heads : slice
            Columns of `has_weight`: LABEL or CONCEPTS.
        """
        counted = self.has_weight[:, heads].any(dim=1)
        return self if 2 * int(counted.sum()) > len(self) else self.part(counted)

    def part(self, rows: Tensor) -> "TrainingData":
        """Return some of the rows, whose features stay where they are stored."""
        if not isinstance(self.features, StoredFeatures):
            return self.rows(rows)
        others = (getattr(self, field.name)[rows] for field in fields(self)[1:])
        return TrainingData(self.features.part(rows), *others)

    def counted(self) -> "TrainingData":
        """Return the rows with weight in a head; the others do not move an optimum."""
        counted = self.has_weight.any(dim=1)
        return self if counted.all() else self.part(counted)

    def per_unit_of(self, row_weights: Tensor) -> "TrainingData":
        """Return the same rows with weight 1 instead of `row_weights`."""
        return replace(
            self,
            label_weights=self.label_weights / row_weights,
            concept_weights=self.concept_weights / row_weights[:, None],
        )

    def in_row_space(self) -> tuple["TrainingData", RowSpace | None]:
        """Return the data in coordinates of the rows' span, and the span."""
        span = row_space(self.features)
        if span is None:
            return self, None
        return replace(self, features=span.coordinates(self.features)), span


@dataclass(frozen=True)
class LabelRows:
    """Training rows as the label head sees them: every row in one copy, or in two.

    Copies differ in activations and weights. The rows of the second copy follow all
    rows of the first.

    Attributes
    ----------
    shares : tuple of float
        Share of a row's weight in each copy. They add up to 1.
    activations : Tensor of shape (n_copies * n_samples, n_activations)
        The features, perhaps sparse, if there are no concepts. The inputs of a residual
        are the last of them, and equal in both copies.
    labels : Tensor of shape (n_copies * n_samples,), int64
    weights : Tensor of shape (n_copies * n_samples,)
        The label's weights times the share of the copy.
    moving : Tensor of shape (n_copies * n_samples, n_concepts), bool
        Whether activations follow the concept heads. True annotations do not.
    """

    shares: tuple[float, ...]
    activations: Features
    labels: Tensor
    weights: Tensor
    moving: Tensor

    @property
    def n_copies(self) -> int:
        """Number of copies of every row."""
        return len(self.shares)

    def by_copy(self, values: Tensor) -> Tensor:
        """Return values of all copies as (n_copies, n_samples, …)."""
        n_samples = len(values) // self.n_copies
        return values.reshape(self.n_copies, n_samples, *values.shape[1:])

    def by_row(self, values: Tensor) -> Tensor:
        """Return values of all copies as (n_samples, n_copies, …)."""
        return self.by_copy(values).transpose(0, 1)

    def total(self, values: Tensor) -> Tensor:
        """Sum values over the copies of every row, (n_samples, …)."""
        return values if self.n_copies == 1 else self.by_copy(values).sum(dim=0)

    def repeated(self, values: Tensor) -> Tensor:
        """Repeat values of rows for every copy, (n_copies * n_samples, …)."""
        return torch.cat([values] * self.n_copies)

    def positions(self, rows: Tensor) -> Tensor:
        """Return the positions of the copies of some rows, (n_rows, n_copies)."""
        n_samples = len(self.labels) // self.n_copies
        first = torch.arange(self.n_copies, device=rows.device) * n_samples
        return rows[:, None] + first

    def activation_jacobian(self, head: Head, concept: int, scores: Tensor) -> Tensor:
        """Differentiate the copies' activations in one concept's scores.

        Scores have shape (n_samples, n_scores_j). The result has shape (n_copies *
        n_samples, n_activations_j, n_scores_j).
        """
        jacobian = self.repeated(head.activation_jacobian(scores))
        return jacobian * self.moving[:, concept, None, None]


@dataclass(frozen=True)
class Bottleneck:
    """Fitted parameters of both stages.

    Attributes
    ----------
    concepts : HeadStack
        One head per concept. Without heads there is no bottleneck: the label head sees
        the features.
    label : CategoricalHead
    concept_parameters : Tensor of shape (n_concept_scores, n_features + 1)
    label_parameters : Tensor of shape (n_label_scores, n_activations + 1)
        Bias last; before it the residual's, if there is one.
    intervention_prob : float
        Share of every row's weight with which the label head is trained on true
        annotations, where a row has them. The rest is trained on predictions.
    residual_scale : float or None
        If the label head sees the features too, after the activations, what they are
        multiplied by: Eq. (55) of docs/mathematics.rst.
    """

    concepts: HeadStack
    label: CategoricalHead
    concept_parameters: Tensor
    label_parameters: Tensor
    intervention_prob: float = 0.0
    residual_scale: float | None = None

    @property
    def n_label_inputs(self) -> int:
        """Number of inputs of the label head, with the constant."""
        return self.label_parameters.shape[1]

    def concept_scores(self, features: Features) -> Tensor:
        """Return the scores of all concept heads, (n_samples, n_concept_scores)."""
        return affine(features, self.concept_parameters)

    def activations(self, features: Features) -> Features:
        """Return the label head's inputs for new rows, (n_samples, n_activations)."""
        if self.concepts and isinstance(features, StoredFeatures):
            return features.mapped(lambda rows: dense_rows(self.activations(rows)))
        activations = self.concept_activations(features)
        if not isinstance(activations, Tensor):  # there are no concepts
            return activations
        return self.with_residual(activations, features)

    def concept_activations(self, features: Features) -> Features:
        """Return the activations of concepts; the features if there are none."""
        if not self.concepts:
            return features
        if isinstance(features, StoredFeatures):
            return features.mapped(lambda rows: self._concept_activations(rows))
        return self._concept_activations(features)

    def _concept_activations(self, features: Features) -> Tensor:
        return self.concepts.predict_activations(self.concept_scores(features))

    def with_residual(self, activations: Tensor, features: Features) -> Tensor:
        """Return activations of concepts, and what the residual sees beside them.

        No concept moves the inputs of the residual: they are constants of the row.
        """
        if self.residual_scale is None:
            return activations
        return torch.cat([activations, self.residual_scale * dense_rows(features)], 1)

    def scaled(self, residual_C: float | None, C: float) -> "Bottleneck":
        """Return the same bottleneck with the residual's inputs scaled to penalties.

        With them, one penalty ``1 / C`` is ``1 / residual_C`` on what the residual
        multiplies features by: Eq. (55) of docs/mathematics.rst.
        """
        if residual_C is None:
            return self
        return replace(self, residual_scale=math.sqrt(residual_C / C))

    @property
    def residual_inputs(self) -> slice:
        """Which of the label head's inputs are the residual's."""
        start = self.concepts.n_activations
        return slice(start, start if self.residual_scale is None else -1)

    @property
    def copies(self) -> tuple[tuple[float, bool], ...]:
        """The copies of training rows: their shares, and whether annotations are used.

        Predictions come first.
        """
        share = self.intervention_prob if self.concepts else 0.0
        both = ((1 - share, False), (share, True))
        return tuple(copy for copy in both if copy[0] > 0)

    def label_rows(self, data: TrainingData, scores: Tensor | None = None) -> LabelRows:
        """Return training rows as the label head sees them.

        `scores` are those of the concept heads, if they are known.
        """
        if scores is None or not self.concepts:
            predicted = self.activations(data.features)
        else:
            predicted = self.concepts.predict_activations(scores)
            predicted = self.with_residual(predicted, data.features)
        if not isinstance(predicted, Tensor):  # there are no concepts
            follow = torch.zeros_like(data.annotated)
            return LabelRows((1.0,), predicted, data.labels, data.label_weights, follow)
        nothing = torch.zeros_like(data.annotated)
        activations, weights, moving = [], [], []
        for share, known in self.copies:
            given = data.annotated if known else nothing
            activations.append(
                substitute(self.concepts, predicted, data.concepts, given)
                if known
                else predicted
            )
            weights.append(share * data.label_weights)
            moving.append(~given)
        n_copies = len(self.copies)
        return LabelRows(
            tuple(share for share, _ in self.copies),
            _joined(activations),
            _joined([data.labels] * n_copies),
            _joined(weights),
            _joined(moving),
        )

    def label_problem(self, data: TrainingData, penalty: float) -> HeadsProblem:
        """Return the problem of the label head, given the concept heads."""
        rows = self.label_rows(data)
        return HeadsProblem(
            HeadStack([self.label]),
            rows.activations,
            rows.labels[:, None],
            rows.weights[:, None],
            rows.weights.new_full((1,), penalty),
        )

    def label_scores(self, activations: Features) -> Tensor:
        """Return the scores of the label head, (n_samples, n_label_scores)."""
        return affine(activations, self.label_parameters)

    def label_probabilities(self, features: Features) -> Tensor:
        """Return the probabilities of the labels of new rows, (n, n_classes)."""
        if isinstance(features, StoredFeatures):
            return features.mapped(self.label_probabilities)
        return self.label.probabilities(self.label_scores(self.activations(features)))

    def label_logits(self, features: Features) -> Tensor:
        """Return the logits of the labels of new rows, (n, n_classes)."""
        return self.label.logits(self.label_scores(self.activations(features)))

    def intervened(self, features: Features, codes: Tensor) -> Tensor:
        """Return the probabilities of labels where some concepts are known.

        Parameters
        ----------
        features : Features of shape (n_samples, n_features)
        codes : Tensor of shape (n_samples, n_concepts)
            NaN where the prediction is used.
        """
        predicted = dense_rows(self.activations(features))
        activations = substitute(self.concepts, predicted, codes, ~codes.isnan())
        return self.label.probabilities(self.label_scores(activations))

    def inside(self, span: RowSpace | None) -> "Bottleneck":
        """Return the same bottleneck acting on coordinates of a span."""
        return self if span is None else self._with_inputs(span.into)

    def outside(self, span: RowSpace | None) -> "Bottleneck":
        """Return the same bottleneck acting on features again."""
        return self if span is None else self._with_inputs(span.out_of)

    def _with_inputs(self, change: Callable[[Tensor], Tensor]) -> "Bottleneck":
        """Return the same bottleneck with parameters for other features."""
        changed = replace(self, concept_parameters=change(self.concept_parameters))
        label = self.label_parameters
        if not self.concepts:
            return replace(changed, label_parameters=change(label))
        if self.residual_scale is None or not label.numel():
            return changed
        n_kept = self.concepts.n_activations
        label = torch.cat([label[:, :n_kept], change(label[:, n_kept:])], dim=1)
        return replace(changed, label_parameters=label)


def _joined(copies: list[Tensor]) -> Tensor:
    """Return the rows of all copies below each other."""
    return copies[0] if len(copies) == 1 else torch.cat(copies)


def substitute(
    stack: HeadStack, activations: Tensor, codes: Tensor, given: Tensor
) -> Tensor:
    """Replace the activations of the concepts that are given by their true values.

    Parameters
    ----------
    stack : HeadStack
    activations : Tensor of shape (n_samples, n_activations)
    codes : Tensor of shape (n_samples, n_concepts)
    given : Tensor of shape (n_samples, n_concepts), bool
    """
    result = activations.clone()
    # Not by positions: a GPU would have to tell how many there are.
    for j, (head, columns) in enumerate(
        zip(stack.heads, stack.activations, strict=True)
    ):
        known = given[:, j]
        true = head.true_activations(codes[:, j].where(known, 0.0), activations)
        result[:, columns] = true.where(known[:, None], result[:, columns])
    return result


def label_inputs(bottleneck: Bottleneck, rows: TrainingData) -> list[Tensor]:
    """Return what the label head sees of loaded rows, in each of their copies.

    The rows are on the last axis, (n_activations, n), of the type of the features. The
    numbers are those of `Bottleneck.label_rows`, for passes over all rows.
    """
    stack, features = bottleneck.concepts, rows.features
    parameters = bottleneck.concept_parameters.to(features.dtype)
    scores = affine(features, parameters).T
    shape = stack.n_activations, len(features)
    copies = [scores.new_empty(shape) for _ in bottleneck.copies]
    for (head, members, at), columns in zip(
        stack.groups, stack.groups_of_activations, strict=True
    ):
        own = head.activated(by_head(scores[at], head))
        for copy, (_, known) in zip(copies, bottleneck.copies, strict=True):
            values = own
            if known:
                given = rows.annotated[:, members].T[:, None]
                truth = head.known(rows.concepts[:, members].T, own)
                values = torch.where(given, truth, own)
            copy[columns] = values.flatten(0, 1)
    if bottleneck.residual_scale is None:
        return copies
    residual = bottleneck.residual_scale * dense_rows(features).T
    return [torch.cat([copy, residual]) for copy in copies]


def concept_effects(
    bottleneck: Bottleneck, features: Features, average: Tensor
) -> Tensor:
    """Return the effect of every concept on the log-probability of the predicted class.

    It is ``log p`` minus its value with the concept's activations set to `average`, of
    shape (n_activations,). The result has shape (n_samples, n_concepts).
    """
    if isinstance(features, StoredFeatures):
        return features.mapped(lambda rows: concept_effects(bottleneck, rows, average))
    activations = dense_rows(bottleneck.activations(features))
    scores = bottleneck.label_scores(activations)
    predicted = bottleneck.label.probabilities(scores).argmax(dim=1)
    loss = bottleneck.label.loss(scores, predicted)
    effects = features.new_empty(len(features), len(bottleneck.concepts))
    for j, columns in enumerate(bottleneck.concepts.activations):
        without = activations.clone()
        without[:, columns] = average[columns]
        scores = bottleneck.label_scores(without)
        effects[:, j] = bottleneck.label.loss(scores, predicted) - loss
    return effects


def mean_activations(
    bottleneck: Bottleneck, data: TrainingData, weights: Tensor
) -> Tensor:
    """Return the mean over rows of the label head's activations in training.

    It is that of the features if there are no concepts.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    weights : Tensor of shape (n_samples,)
        Weights of the rows in the mean.
    """
    inputs = bottleneck.concepts.n_activations or data.features.shape[1]
    if bottleneck.residual_scale is not None:
        inputs += data.features.shape[1]
    weighted = replace(data, label_weights=weights)
    add = partial(add_activations, bottleneck)
    sums = sum_rows(add, weights.new_zeros(inputs + 1), weighted)
    means = sums[:-1] / sums[-1]
    return means[: bottleneck.concepts.n_activations] if bottleneck.concepts else means


def add_activations(bottleneck: Bottleneck, total: Tensor, data: TrainingData) -> None:
    """Add what the label head sees of rows, times their weights, and the weights."""
    rows = bottleneck.label_rows(data)
    total += affine_adjoint(rows.activations, rows.weights[:, None])[0]


def correction(bottleneck: Bottleneck, data: TrainingData) -> Tensor:
    """Return what known concepts do to the label on training rows, (2, 2).

    Accuracy and mean log-loss as predicted, and with the annotations in place of
    predictions. Rows count by their weights in the label head.
    """
    whole = (data.label_weights.new_zeros(2, 2), data.label_weights.new_zeros(()))
    add = partial(_add_correction, bottleneck)
    sums, weight = sum_rows(add, whole, data)
    return sums / weight


def _add_correction(
    bottleneck: Bottleneck, total: tuple[Tensor, Tensor], data: TrainingData
) -> None:
    """Add how many labels are right and the loss, both ways, and the weights."""
    weights = data.label_weights
    both = replace(bottleneck, intervention_prob=0.5)  # predictions, then annotations
    for inputs, line in zip(label_inputs(both, data), total[0], strict=True):
        scores = bottleneck.label_scores(inputs.T)
        hit = bottleneck.label.probabilities(scores).argmax(dim=1) == data.labels
        loss = bottleneck.label.loss(scores, data.labels)
        line += torch.stack([weights @ hit.to(weights), weights @ loss])
    total[1].add_(weights.sum())


def largest_sizes(data: TrainingData) -> tuple[float, float]:
    """Return the largest magnitudes of a feature and of a weight."""
    sizes = [part for _, part in map_rows(_largest_sizes, data)]
    features, weights = zip(*sizes, strict=True)
    return max(features), max(weights)


def _largest_sizes(data: TrainingData) -> tuple[float, float]:
    weights = torch.cat([data.label_weights[:, None], data.concept_weights], dim=1)
    return largest_size(data.features), float(weights.max())


def fit_concepts(
    data: TrainingData,
    concept_heads: Sequence[Head],
    label: CategoricalHead,
    *,
    intervention_prob: float,
    concept_penalties: Tensor,
    tol: float,
    max_iter: int,
    advance: Advance = unseen,
) -> tuple[Bottleneck, Convergence]:
    """Fit the concept heads alone; the label head has no parameters yet.

    Parameters
    ----------
    data : TrainingData
    concept_heads : sequence of Head
        One head per concept. Without heads there is no bottleneck.
    label : CategoricalHead
    intervention_prob : float
        Share of every row's weight with which the label head is to be trained on true
        annotations, where a row has them.
    concept_penalties : Tensor of shape (n_concepts,)
        ``1 / concept_C`` of every concept.
    tol : float
        Bound on the gradient norm of every head.
    max_iter : int
        Maximum number of Newton steps.
    advance : callable
        Called after each Newton step.
    """
    stack, limits = HeadStack(concept_heads), Limits(tol, max_iter, advance)
    if stack and is_long(data):
        data = data.with_weight_in(CONCEPTS)
    if stack and is_long(data):
        terms = ConceptTerms(stack, concept_penalties)
        parameters, convergence = solve_blocked(data, terms, None, limits)
    else:
        # Without heads, no row is needed.
        data = data.counted() if stack else data.rows(slice(0, 0))
        parameters, convergence = solve_heads(
            concept_problem(stack, data, concept_penalties),
            tol=tol,
            max_iter=max_iter,
            advance=advance,
        )
    nothing = data.features.new_empty(0)
    bottleneck = Bottleneck(stack, label, parameters, nothing, intervention_prob)
    return bottleneck, convergence


def fit_label(
    bottleneck: Bottleneck,
    data: TrainingData,
    *,
    penalty: float,
    tol: float,
    max_iter: int,
    advance: Advance = unseen,
) -> tuple[Bottleneck, Convergence]:
    """Fit the label head, starting from its parameters if it has any."""
    given = bottleneck.label_parameters
    start = given if len(given) else None
    if is_long(data):
        data = data.with_weight_in(LABEL)
    if is_long(data):
        terms = LabelTerms(bottleneck, penalty)
        limits = Limits(tol, max_iter, advance)
        parameters, convergence = solve_blocked(data, terms, start, limits)
    else:
        parameters, convergence = solve_heads(
            bottleneck.label_problem(data.counted(), penalty),
            start,
            tol=tol,
            max_iter=max_iter,
            advance=advance,
        )
    return replace(bottleneck, label_parameters=parameters), convergence


def relative_gradients(
    bottleneck: Bottleneck,
    data: TrainingData,
    *,
    penalty: float,
    concept_penalties: Tensor,
) -> Tensor:
    """Return every head's gradient norm relative to a typical row's, the label's last.

    It is near 0 at the optimum for `data`, and about 1 if one row was exchanged.
    """
    stack = bottleneck.concepts
    if is_long(data):
        terms = LabelTerms(bottleneck, penalty)
        of_label = relative_gradient(data, terms, bottleneck.label_parameters)
        if not stack:
            return of_label
        of_concepts = relative_gradient(
            data, ConceptTerms(stack, concept_penalties), bottleneck.concept_parameters
        )
        return torch.cat([of_concepts, of_label])
    label = bottleneck.label_problem(data, penalty)
    label_ratio = label.relative_gradient(bottleneck.label_parameters)
    if not stack:
        return label_ratio
    concepts = concept_problem(stack, data, concept_penalties)
    ratios = concepts.relative_gradient(bottleneck.concept_parameters)
    return torch.cat([ratios, label_ratio])


def concept_problem(
    stack: HeadStack, data: TrainingData, penalties: Tensor
) -> HeadsProblem:
    """Return the problem of the concept heads."""
    return HeadsProblem(
        stack,
        data.features,
        data.concepts,
        data.concept_weights,
        penalties.to(data.label_weights),
    )


@dataclass(frozen=True)
class ConceptTerms:
    """What makes the problem of the concept heads of some rows."""

    stack: HeadStack
    penalties: Tensor

    def __call__(self, rows: TrainingData) -> HeadsProblem:
        """Return the problem, in the type of the features."""
        return concept_problem(self.stack, rows, self.penalties)


@dataclass(frozen=True)
class LabelTerms:
    """What makes the problem of the label head of some rows."""

    bottleneck: Bottleneck
    penalty: float

    def __call__(self, rows: TrainingData) -> HeadsProblem:
        """Return the problem, in the type of the features."""
        bottleneck = self.bottleneck
        if not bottleneck.concepts:
            return bottleneck.label_problem(rows, self.penalty)
        copies = label_inputs(bottleneck, rows)
        n_copies = len(copies)
        weights = [share * rows.label_weights for share, _ in bottleneck.copies]
        return HeadsProblem(
            HeadStack([bottleneck.label]),
            torch.cat(copies, dim=1).T,
            _joined([rows.labels] * n_copies)[:, None],
            _joined(weights)[:, None],
            rows.label_weights.new_full((1,), self.penalty),
        )


@dataclass(frozen=True)
class Limits:
    """Where a fit ends, and whom it tells of its steps."""

    tol: float
    max_iter: int
    advance: Advance = unseen


def is_long(data: TrainingData) -> bool:
    """Return whether rows are so many that they are passed over in blocks."""
    if isinstance(data, Elsewhere):
        return True
    features = data.features
    if isinstance(features, SparseFeatures) or len(data) < 4 * (features.shape[1] + 1):
        return False
    is_stored = isinstance(features, StoredFeatures)
    return is_stored or features.shape[0] * features.shape[1] >= LONG


def solve_blocked(
    data: TrainingData,
    terms: ConceptTerms | LabelTerms,
    start: Tensor | None,
    limits: Limits,
) -> tuple[Tensor, Convergence]:
    """Solve by passes over blocks of rows, from a fit of some rows if not told where.

    Hessians of bounded heads, and of a label head on few activations, are summed.
    """
    heads = BlockedHeads.of(data, terms)
    n_inputs = heads.n_inputs
    of_few = isinstance(terms, LabelTerms) and bool(terms.bottleneck.concepts)
    size = max(head.n_scores for head in heads.frame.stack.heads) * n_inputs
    is_direct = bool(heads.cones) or (of_few and size <= _FEW)
    heads, start = replace(heads, is_direct=is_direct).prepared(start)
    return minimise(
        heads,
        start,
        tol=limits.tol,
        max_iter=limits.max_iter,
        advance=limits.advance,
    )


def solve_heads(
    problem: HeadsProblem,
    start: Tensor | None = None,
    *,
    tol: float,
    max_iter: int,
    advance: Advance = unseen,
) -> tuple[Tensor, Convergence]:
    """Solve in coordinates of the rows' span, from zero if no start is given.

    Sparse features stay as they are: their products are cheaper than coordinates.
    """
    stack, features = problem.stack, problem.features
    if start is None:
        start = features.new_zeros(stack.n_scores, features.shape[1] + 1)
    if not stack:
        nothing = features.new_empty(0)
        return start, Convergence(0, *[nothing] * 5)
    if isinstance(features, SparseFeatures):
        solved, fits = torch.empty_like(start), []
        for group in head_groups(problem):
            columns, part = stack.columns(group), problem.of_heads(group)
            solved[columns], fit = minimise(
                part, start[columns], tol=tol, max_iter=max_iter, advance=advance
            )
            fits.append(fit)
        return solved, joined(fits)
    span = None if problem.is_about_inputs else row_space(features)
    if span is None:
        return minimise(problem, start, tol=tol, max_iter=max_iter, advance=advance)
    problem = replace(problem, features=span.coordinates(features))
    parameters, convergence = minimise(
        problem, span.into(start), tol=tol, max_iter=max_iter, advance=advance
    )
    return span.out_of(parameters), convergence
