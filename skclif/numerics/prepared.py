"""Blocks of training rows, with all that a pass of refitted heads needs of them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from .blocks import row_blocks
from .bottleneck import Bottleneck, LabelRows, TrainingData
from .heads import Head
from .products import affine_adjoint, dense_rows, with_ones
from .sparse import Features, SparseFeatures
from .stored import StoredFeatures

# Rows of a block: its arrays for some dozens of problems stay in the cache. For fewer
# problems there are more, at most so many, and so many rows times problems.
BLOCK_ROWS = 512
_MOST_ROWS, _MOST_MOVES = 4096, 2**16
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


def head_inputs(features: Features, intercept: bool, dtype: torch.dtype) -> Inputs:
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
    head : Head
    inputs : Inputs
    probabilities : Tensor of shape (n_values, n)
    weights, codes : Tensor of shape (n,)
    """

    head: Head
    inputs: Inputs
    probabilities: Tensor
    weights: Tensor
    codes: Tensor

    @classmethod
    def of(
        cls, head: Head, inputs: Inputs, scores: Tensor, codes: Tensor, weights: Tensor
    ) -> "HeadRows":
        """Return rows with these scores, (n, n_scores)."""
        dtype = inputs.matrix.dtype
        probabilities = head.probabilities(scores.to(dtype)).T.contiguous()
        return cls(head, inputs, probabilities, weights.to(dtype), codes)

    @cached_property
    def residual(self) -> Tensor:
        """The residuals times the weights, (n_scores, n)."""
        residual = self.head.residual(self.probabilities.T, self.codes)
        weighted = self.weights[:, None] * residual
        return weighted.T.contiguous().to(self.weights.dtype)

    @cached_property
    def curvature(self) -> Tensor:
        """The curvature of every row's loss, (n, n_scores, n_scores)."""
        probabilities = self.probabilities.T.double()
        curvature = self.head.curvature(probabilities, self.codes)
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
                self.inputs,
                self.concept_scores[j],
                self.data.concepts[:, j],
                self.data.concept_weights[:, j],
            )
        return self._concepts[j]

    @cached_property
    def label(self) -> HeadRows:
        """All copies of the rows as the label head sees them."""
        head, rows = self.bottleneck.label, self.label_rows
        inputs = head_inputs(rows.activations, head.intercept, self.dtype)
        scores = self.bottleneck.label_scores(rows.activations)
        return HeadRows.of(head, inputs, scores, rows.labels, rows.weights)

    @cached_property
    def label_rows(self) -> LabelRows:
        """All copies of the rows."""
        return self.bottleneck.label_rows(self.data, self._scores)

    @cached_property
    def concept_scores(self) -> list[Tensor]:
        """The scores of every concept head, (n, n_scores_j)."""
        return list(self.bottleneck.concepts.split(self._scores))

    @cached_property
    def _scores(self) -> Tensor:
        return self.bottleneck.concept_scores(self.data.features)

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
    def inputs(self) -> Inputs:
        """The rows as the inputs of the concept heads."""
        return head_inputs(self.data.features, True, self.dtype)


class Passes:
    """The blocks of all training rows, as often as they are asked for.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    dtype : torch.dtype
        Of the products over rows. Stored rows are loaded in it.
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
        self.exact = bottleneck
        if isinstance(data.features, StoredFeatures):
            self.data = data.loading(dtype)
            self.bottleneck = replace(
                bottleneck,
                concept_parameters=bottleneck.concept_parameters.to(dtype),
                label_parameters=bottleneck.label_parameters.to(dtype),
            )
        self.block_rows = block_rows
        self._kept: dict[int, PreparedRows] = {}
        n_values = data.features.shape[1] + 4 * (
            bottleneck.concepts.n_scores + bottleneck.n_label_inputs
        )
        self._keeps = 8 * len(data) * n_values <= _KEPT

    def blocks(self, n_problems: int) -> Iterator[PreparedRows]:
        """Yield all rows in blocks, for a pass of so many problems."""
        n_rows = self.block_rows or BLOCK_ROWS
        if not self.block_rows and not self._keeps:
            n_rows = max(n_rows, min(_MOST_ROWS, _MOST_MOVES // max(1, n_problems)))
        for rows in row_blocks(len(self.data), n_rows):
            block = self._kept.get(rows.start)
            if block is None:
                block = self.block(self.data.rows(rows), rows)
                if self._keeps:
                    self._kept[rows.start] = block
            yield block

    def block(self, rows: TrainingData, at: slice = slice(0)) -> PreparedRows:
        """Return rows of `data`, prepared."""
        return PreparedRows(self.bottleneck, rows, at, self.dtype)

    def exactly(self, rows: TrainingData) -> PreparedRows:
        """Return rows loaded in double precision, prepared."""
        return PreparedRows(self.exact, rows, slice(0), self.dtype)


def unflatten(values: Tensor, dim: int, sizes: tuple[int, ...]) -> Tensor:
    """Return values with one axis in several."""
    unflattened: Tensor = values.unflatten(dim, sizes)  # type: ignore[no-untyped-call]
    return unflattened
