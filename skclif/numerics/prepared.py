"""Blocks of training rows, with all that a pass of refitted heads needs of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .blocks import row_blocks
from .bottleneck import Bottleneck, LabelRows, TrainingData
from .heads import Head
from .products import affine_adjoint, dense_rows, with_ones
from .sparse import Features, SparseFeatures

# Rows of a block: its arrays for some dozens of problems stay in the cache.
BLOCK_ROWS = 512
# Most bytes of blocks that are kept for the next pass. Others are made again.
_KEPT = 2**26


@dataclass(frozen=True)
class Inputs:
    """Inputs of a head, with a constant, and their two products.

    Attributes
    ----------
    matrix : Tensor of shape (n, n_inputs)
    """

    matrix: Tensor

    def scores(self, parameters: Tensor) -> Tensor:
        """Return the scores of all rows, (n_parameters, n)."""
        return parameters @ self.matrix.T

    def pull_back(self, columns: Tensor) -> Tensor:
        """Return sums of rows, (n_sums, n_inputs), weighted by columns (n_sums, n)."""
        return columns @ self.matrix

    def dense(self) -> Tensor:
        """Return the inputs as a matrix."""
        return self.matrix


@dataclass(frozen=True)
class _SparseInputs(Inputs):
    """The same of sparse features, which have no column for the constant.

    Attributes
    ----------
    features : SparseFeatures of shape (n, n_features)
    matrix : Tensor of shape (1,)
        The constant.
    """

    features: SparseFeatures

    def scores(self, parameters: Tensor) -> Tensor:
        """Return the scores of all rows, (n_parameters, n)."""
        constant = parameters[:, -1] * self.matrix
        return self.features.times(parameters[:, :-1]).T + constant[:, None]

    def pull_back(self, columns: Tensor) -> Tensor:
        """Return sums of rows, (n_sums, n_inputs), weighted by columns (n_sums, n)."""
        pulled = affine_adjoint(self.features, columns.T)
        pulled[:, -1] *= self.matrix
        return pulled

    def dense(self) -> Tensor:
        """Return the inputs as a matrix."""
        dense = with_ones(self.features)
        dense[:, -1] *= self.matrix
        return dense


def _inputs(features: Features, intercept: bool, dtype: torch.dtype) -> Inputs:
    """Return the inputs of a head that has an intercept, or has not."""
    if isinstance(features, SparseFeatures):
        return _SparseInputs(features.new_tensor([float(intercept)]), features)
    rows = dense_rows(features)
    inputs = rows.new_full((len(rows), rows.shape[1] + 1), intercept, dtype=dtype)
    inputs[:, :-1] = rows
    return Inputs(inputs)


@dataclass(frozen=True)
class HeadRows:
    """Rows as one head sees them at its optimum, in the dtype of the passes.

    Attributes
    ----------
    inputs : Inputs
    probabilities : Tensor of shape (n_values, n)
    residual : Tensor of shape (n_scores, n)
        Times the weight.
    weights, codes : Tensor of shape (n,)
    """

    inputs: Inputs
    probabilities: Tensor
    residual: Tensor
    weights: Tensor
    codes: Tensor

    @classmethod
    def of(
        cls, head: Head, inputs: Inputs, scores: Tensor, codes: Tensor, weights: Tensor
    ) -> "HeadRows":
        """Return rows with these scores, (n, n_scores)."""
        dtype, probabilities = inputs.matrix.dtype, head.probabilities(scores)
        residual = weights[:, None] * head.residual(probabilities, codes)
        return cls(
            inputs,
            probabilities.T.contiguous().to(dtype),
            residual.T.contiguous().to(dtype),
            weights.to(dtype),
            codes,
        )

    def curvature(self, head: Head) -> Tensor:
        """Return the curvature of every row's loss, (n, n_scores, n_scores)."""
        probabilities = self.probabilities.T.double()
        curvature = head.curvature(probabilities, self.codes)
        return self.weights[:, None, None] * curvature.to(self.weights.dtype)


@dataclass(frozen=True)
class PreparedRows:
    """A block of training rows as both stages see them.

    Attributes
    ----------
    rows : slice
        Which rows.
    concepts : list of HeadRows
    label : HeadRows
        Of all copies.
    label_rows : LabelRows
    moving : Tensor of shape (n_copies * n, n_concepts)
        1 where activations follow the concept heads, else 0.
    concept_scores : sequence of Tensor of shape (n, n_scores_j)
    """

    rows: slice
    concepts: list[HeadRows]
    label: HeadRows
    label_rows: LabelRows
    moving: Tensor
    concept_scores: list[Tensor]

    @classmethod
    def of(
        cls, bottleneck: Bottleneck, data: TrainingData, rows: slice, dtype: torch.dtype
    ) -> "PreparedRows":
        """Return loaded rows, of which `rows` says where they are among all."""
        stack, label = bottleneck.concepts, bottleneck.label
        scores = stack.split(bottleneck.concept_scores(data.features)) if stack else []
        inputs = _inputs(data.features, True, dtype) if stack else None
        concepts = []
        for j, head in enumerate(stack.heads):
            assert inputs is not None
            codes, weights = data.concepts[:, j], data.concept_weights[:, j]
            concepts.append(HeadRows.of(head, inputs, scores[j], codes, weights))
        seen = bottleneck.label_rows(data)
        return cls(
            rows,
            concepts,
            HeadRows.of(
                label,
                _inputs(seen.activations, label.intercept, dtype),
                bottleneck.label_scores(seen.activations),
                seen.labels,
                seen.weights,
            ),
            seen,
            seen.moving.to(dtype),
            list(scores),
        )

    def moves(self, head: Head, concept: int, shift: Tensor) -> Tensor:
        """Return how activations of all copies move, (n_activations, n_moves, n).

        A concept's scores move by `shift`, (n_scores, n_moves, n).
        """
        change = head.activation_change(self.concepts[concept].probabilities, shift)
        n_copies = self.label_rows.n_copies
        copies = torch.cat([change] * n_copies, dim=2) if n_copies > 1 else change
        return copies * self.moving[:, concept]


class Passes:
    """The blocks of all training rows, as often as they are asked for.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    dtype : torch.dtype
        Of the products over rows.
    block_rows : int, default=None
        Number of rows of a block.
    """

    def __init__(
        self,
        bottleneck: Bottleneck,
        data: TrainingData,
        dtype: torch.dtype,
        block_rows: int | None = None,
    ):
        self.bottleneck, self.data, self.dtype = bottleneck, data, dtype
        self.block_rows = block_rows or BLOCK_ROWS
        self._kept: dict[int, PreparedRows] = {}
        n_values = data.features.shape[1] + 4 * (
            bottleneck.concepts.n_scores + bottleneck.n_label_inputs
        )
        self._keeps = 8 * len(data) * n_values <= _KEPT

    def __iter__(self) -> Iterator[PreparedRows]:
        for rows in row_blocks(len(self.data), self.block_rows):
            block = self._kept.get(rows.start)
            if block is None:
                block = self.some(self.data.rows(rows), rows)
                if self._keeps:
                    self._kept[rows.start] = block
            yield block

    def some(self, rows: TrainingData, at: slice = slice(0)) -> PreparedRows:
        """Return loaded rows, prepared."""
        return PreparedRows.of(self.bottleneck, rows, at, self.dtype)
