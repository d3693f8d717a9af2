"""Blocks of training rows, with all that a pass of refitted heads needs of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

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
# A sample has one of so many blocks, and at least so many of them.
_SAMPLED, _LEAST_BLOCKS = 16, 4


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
        dtype = inputs.matrix.dtype
        probabilities, weights = head.probabilities(scores.to(dtype)), weights.to(dtype)
        residual = weights[:, None] * head.residual(probabilities, codes)
        return cls(
            inputs,
            probabilities.T.contiguous(),
            residual.T.contiguous().to(dtype),
            weights,
            codes,
        )

    def curvature(self, head: Head) -> Tensor:
        """Return the curvature of every row's loss, (n, n_scores, n_scores)."""
        probabilities = self.probabilities.T.double()
        curvature = head.curvature(probabilities, self.codes)
        return self.weights[:, None, None] * curvature.to(self.weights.dtype)


class PreparedRows:
    """A block of training rows as both stages see them; what is asked for is made.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
        The loaded rows.
    rows : slice
        Where they are among all rows.
    dtype : torch.dtype
        Of products.
    """

    def __init__(
        self,
        bottleneck: Bottleneck,
        data: TrainingData,
        rows: slice,
        dtype: torch.dtype,
    ):
        self.bottleneck, self.data = bottleneck, data
        self.rows, self.dtype = rows, dtype
        self._concepts: dict[int, HeadRows] = {}

    def concept(self, j: int) -> HeadRows:
        """Return the rows as a concept head sees them."""
        if j not in self._concepts:
            self._concepts[j] = HeadRows.of(
                self.bottleneck.concepts.heads[j],
                self._inputs,
                self.concept_scores[j],
                self.data.concepts[:, j],
                self.data.concept_weights[:, j],
            )
        return self._concepts[j]

    @cached_property
    def label(self) -> HeadRows:
        """All copies of the rows as the label head sees them."""
        head, rows = self.bottleneck.label, self.label_rows
        inputs = _inputs(rows.activations, head.intercept, self.dtype)
        scores = self.bottleneck.label_scores(rows.activations)
        return HeadRows.of(head, inputs, scores, rows.labels, rows.weights)

    @cached_property
    def label_rows(self) -> LabelRows:
        """All copies of the rows."""
        return self.bottleneck.label_rows(self.data)

    @cached_property
    def concept_scores(self) -> list[Tensor]:
        """The scores of every concept head, (n, n_scores_j)."""
        scores = self.bottleneck.concept_scores(self.data.features)
        return list(self.bottleneck.concepts.split(scores))

    def moves(self, concept: int, change: Tensor) -> Tensor:
        """Return how activations of copies move, (n_activations, n_moves, n_moving).

        Those of the rows change by `change`, (n_activations, n_moves, n).
        """
        n_copies = self.n_moving // len(self.data)
        copies = [change] * n_copies or [change[:, :, :0]]
        moves = torch.cat(copies, dim=2) if n_copies > 1 else copies[0]
        if self._stays is not None:
            moves = moves * self._stays[:, concept]
        return moves

    @cached_property
    def n_moving(self) -> int:
        """Number of copies of rows, from the first, of which some follow the concepts.

        True annotations do not, and their copy is last.
        """
        by_copy = self.label_rows.by_copy(self.label_rows.moving).flatten(1)
        n_copies = int(by_copy.any(dim=1).nonzero().max()) + 1 if by_copy.any() else 0
        return n_copies * len(self.data)

    @cached_property
    def _stays(self) -> Tensor | None:
        """0 where activations of the moving copies stay, else 1; None if all move."""
        moving = self.label_rows.moving[: self.n_moving]
        return None if moving.all() else moving.to(self.dtype)

    @cached_property
    def _inputs(self) -> Inputs:
        return _inputs(self.data.features, True, self.dtype)


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

    def sample(self) -> tuple[list[slice], float]:
        """Return blocks of a few rows over all of them, and what part they are.

        There is none where rows are too few to leave some out.
        """
        blocks = list(row_blocks(len(self.data), self.block_rows))
        if len(blocks) < _LEAST_BLOCKS * _SAMPLED:
            return [], 0.0
        sampled = blocks[::_SAMPLED]
        n_rows = sum(block.stop - block.start for block in sampled)
        return sampled, n_rows / len(self.data)

    def some(self, rows: TrainingData, at: slice = slice(0)) -> PreparedRows:
        """Return loaded rows, prepared."""
        return PreparedRows(self.bottleneck, rows, at, self.dtype)


def unflatten(values: Tensor, dim: int, sizes: tuple[int, ...]) -> Tensor:
    """Return values with one axis in several."""
    unflattened: Tensor = values.unflatten(dim, sizes)  # type: ignore[no-untyped-call]
    return unflattened
