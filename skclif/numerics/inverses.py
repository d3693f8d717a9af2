"""Inverse Hessians of heads: from one Cholesky factor, or value by value.

A head of many values has a large Hessian. Its curvature ``diag(p) - pp'`` is a diagonal
matrix minus a product of rank one, so that the Hessian of all values is a block for
each value minus a product of as many columns as there are rows. The Woodbury identity
then needs a factor of every block, and one of a matrix of rows times rows: with few
rows and many values, that is far less than one factor of everything. See Eq. (50) of
docs/mathematics.rst.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from .heads import Head

# From this number of scores on, products with the inverse take less time than half
# solutions, which have more digits.
_MANY = 8
# Most numbers in hats at a time: 128 MB.
_MOST_VALUES = 2**24


class Inverse(Protocol):
    """The inverse of one head's Hessian.

    The head has ``p = n_scores * n_inputs`` parameters.
    """

    def __len__(self) -> int:
        """Return p."""

    def solve(self, right: Tensor) -> Tensor:
        """Return ``H^-1 right`` for columns (p, r)."""

    def hat(self, inputs: Tensor) -> Tensor:
        """Return ``U' H^-1 U`` for ``U = (I (x) x_1, I (x) x_2, ...)`` of every row.

        Inputs have shape (n_rows, n_terms, n_inputs), the result (n_rows, n_terms *
        n_scores, n_terms * n_scores).
        """

    def dense(self) -> Tensor:
        """Return ``H^-1``, (p, p)."""


@dataclass(frozen=True)
class Cholesky:
    """An inverse by the Cholesky factor of the whole Hessian.

    Attributes
    ----------
    factor : Tensor of shape (p, p)
    n_scores : int
    """

    factor: Tensor
    n_scores: int

    def __len__(self) -> int:
        """Return the number of parameters."""
        return len(self.factor)

    def solve(self, right: Tensor) -> Tensor:
        """Return ``H^-1 right``."""
        solved: Tensor = torch.cholesky_solve(right, self.factor)
        return solved

    def hat(self, inputs: Tensor) -> Tensor:
        """Return ``U' H^-1 U`` of every row."""
        if self.n_scores < _MANY:
            half = self._half_solved(inputs)
            return half @ half.transpose(1, 2)
        n_rows, n_terms, n_inputs = inputs.shape
        inverse = self._inverse.reshape(self.n_scores, n_inputs, -1)
        hat = inputs.new_empty(n_rows, n_terms, self.n_scores, n_terms, self.n_scores)
        for block in _blocks(n_rows, n_terms * len(self)):
            part = inputs[block]
            for score, columns in enumerate(inverse):
                half = (part @ columns).reshape(*part.shape[:2], self.n_scores, -1)
                hat[block, :, score] = (half @ part[:, None].mT).permute(0, 1, 3, 2)
        return hat.flatten(3).flatten(1, 2)

    def dense(self) -> Tensor:
        """Return ``H^-1``."""
        return self._inverse

    @cached_property
    def _inverse(self) -> Tensor:
        inverse: Tensor = torch.cholesky_inverse(self.factor)
        return inverse

    def _half_solved(self, inputs: Tensor) -> Tensor:
        """Return ``(L^-1 (e_a (x) x))'``, (n_rows, n_terms * n_scores, p)."""
        n_rows, n_terms = inputs.shape[:2]
        columns = _unit_columns(inputs.flatten(0, 1), self.n_scores)
        half: Tensor = torch.linalg.solve_triangular(self.factor, columns, upper=False)
        return half.T.reshape(n_rows, n_terms * self.n_scores, len(self.factor))


@dataclass(frozen=True)
class Restricted:
    """An inverse among the directions in which a head's parameters can move.

    It is ``N (N' H N)^-1 N'``, for directions that are the columns of N: 0 for what is
    bound. Solutions move no bound parameter, so influence is that at the active set.
    See Eq. (54) of docs/mathematics.rst.

    Attributes
    ----------
    free : Tensor of shape (p, q)
    factor : Tensor of shape (q, q)
        Cholesky factor of ``N' H N``.
    n_scores : int
    """

    free: Tensor
    factor: Tensor
    n_scores: int

    def __len__(self) -> int:
        """Return the number of parameters."""
        return len(self.free)

    def solve(self, right: Tensor) -> Tensor:
        """Return ``H^-1 right``."""
        solved: Tensor = self.free @ torch.cholesky_solve(
            self.free.T @ right, self.factor
        )
        return solved

    def hat(self, inputs: Tensor) -> Tensor:
        """Return ``U' H^-1 U`` of every row."""
        n_rows, n_terms = inputs.shape[:2]
        columns = self.free.T @ _unit_columns(inputs.flatten(0, 1), self.n_scores)
        half = torch.linalg.solve_triangular(self.factor, columns, upper=False)
        half = half.T.reshape(n_rows, n_terms * self.n_scores, len(self.factor))
        hat: Tensor = half @ half.transpose(1, 2)
        return hat

    def dense(self) -> Tensor:
        """Return ``H^-1``."""
        return self.solve(_identity(len(self), self.free))


@dataclass(frozen=True)
class ByValue:
    """An inverse by a factor for each value, and one for all rows.

    Attributes
    ----------
    contrasts : Tensor of shape (n_scores, n_values)
    inputs : Tensor of shape (n, n_inputs)
        Of the rows that have weight.
    scales : Tensor of shape (n, n_values)
        ``sqrt(w_i) p_iv``.
    blocks : Tensor of shape (n_values, n_inputs, n_inputs)
        Cholesky factors of ``sum_i w_i p_iv x_i x_i'`` plus the penalty.
    inner : Tensor of shape (n, n)
        Cholesky factor of ``I - Q' B^-1 Q``, its singular direction filled in.
    """

    contrasts: Tensor
    inputs: Tensor
    scales: Tensor
    blocks: Tensor
    inner: Tensor

    def __len__(self) -> int:
        """Return the number of parameters."""
        return len(self.contrasts) * self.inputs.shape[1]

    def solve(self, right: Tensor) -> Tensor:
        """Return ``H^-1 right``."""
        n_inputs = self.inputs.shape[1]
        by_score = right.reshape(len(self.contrasts), n_inputs, -1)
        by_value = torch.einsum("sv,sir->vir", self.contrasts, by_score)
        solved = torch.cholesky_solve(by_value, self.blocks)
        scales = self.scales.T[:, :, None]
        pulled = (scales * (self.inputs @ solved)).sum(dim=0)
        pulled = torch.cholesky_solve(pulled, self.inner)
        moved = self.inputs.T @ (scales * pulled)
        solved = solved + torch.cholesky_solve(moved, self.blocks)
        return torch.einsum("sv,vir->sir", self.contrasts, solved).reshape(right.shape)

    def hat(self, inputs: Tensor) -> Tensor:
        """Return ``U' H^-1 U`` of every row."""
        n_rows, n_terms, _ = inputs.shape
        n_values = len(self.blocks)
        of_rows = self._half(self.inputs)
        hat = inputs.new_empty(
            n_rows, n_terms, len(self.contrasts), n_terms, len(self.contrasts)
        )
        for block in _blocks(n_rows, n_terms * n_values * len(self.inputs)):
            part = inputs[block]
            half = self._half(part.flatten(0, 1))  # (n_values, n_inputs, n)
            along = (of_rows.mT @ half) * self.scales.T[:, :, None]
            along = torch.linalg.solve_triangular(
                self.inner, along.transpose(0, 1).flatten(1), upper=False
            )
            along = along.reshape(len(along), n_values, len(part), n_terms)
            along = along.permute(2, 3, 1, 0).flatten(1, 2)  # of a row, (terms, n)
            by_value = (along @ along.mT).reshape(
                len(part), n_terms, n_values, n_terms, n_values
            )
            own = half.reshape(n_values, -1, len(part), n_terms)
            own = torch.einsum("vins,vint->nstv", own, own)
            by_value.diagonal(dim1=2, dim2=4).add_(own)
            hat[block] = torch.einsum(
                "av,nsvtw,bw->nsatb", self.contrasts, by_value, self.contrasts
            )
        return hat.flatten(3).flatten(1, 2)

    def dense(self) -> Tensor:
        """Return ``H^-1``."""
        size = len(self)
        inverse = self.inputs.new_empty(size, size)
        for block in _blocks(size, len(self.blocks) * len(self.inputs) + size):
            unit = inverse.new_zeros(size, min(block.stop, size) - block.start)
            unit[block].fill_diagonal_(1.0)
            inverse[:, block] = self.solve(unit)
        return inverse

    def _half(self, inputs: Tensor) -> Tensor:
        """Return ``L_v^-1 x`` of rows, (n_values, n_inputs, n_rows)."""
        half: Tensor = torch.linalg.solve_triangular(
            self.blocks, inputs.T.expand(len(self.blocks), -1, -1), upper=False
        )
        return half


def is_by_value(head: Head, n_rows: int, n_inputs: int) -> bool:
    """Return whether the inverse of a head takes less value by value.

    Parameters
    ----------
    head : Head
    n_rows : int
        Rows, or copies of rows, that have weight in the head.
    n_inputs : int
    """
    if head.n_scores < _MANY or not head.intercept or not n_rows:
        return False
    if head.is_bounded or head.held or head.value_contrasts(torch.empty(0)) is None:
        return False
    n_values = head.n_scores + 1
    size = head.n_scores * n_inputs
    whole = size**3 + n_values**2 * n_rows * n_inputs**2 + 2 * n_rows * size**2
    of_a_row = n_inputs**2 + n_rows * n_inputs + n_rows**2 + n_rows * n_values
    by_value = n_values * (n_inputs**3 + n_rows * n_inputs**2 + n_rows * of_a_row)
    return by_value + n_rows**3 < whole


def by_value_size(head: Head, n_rows: int, n_inputs: int) -> int:
    """Return about how many bytes an inverse value by value takes."""
    n_values = head.n_scores + 1
    blocks = 2 * n_values * n_inputs * (n_inputs + n_rows)
    return 8 * (blocks + 3 * n_rows**2 + _MOST_VALUES)


def invert_by_value(
    head: Head, probabilities: Tensor, weights: Tensor, inputs: Tensor, penalty: float
) -> tuple[ByValue, float]:
    """Return the inverse of a head's Hessian value by value, and its condition.

    Parameters
    ----------
    head : Head
        One for which `is_by_value` is true.
    probabilities : Tensor of shape (n, n_values)
    weights : Tensor of shape (n,)
    inputs : Tensor of shape (n, n_inputs)
    penalty : float

    Returns
    -------
    inverse : ByValue
    remaining : float
        The smallest share of a diagonal entry that remains in a factor; 0 if there is
        no factor.
    """
    counted = weights > 0
    probabilities, inputs = probabilities[counted], inputs[counted]
    roots = weights[counted].sqrt()
    scales = roots[:, None] * probabilities
    scaled = (weights[counted, None] * probabilities).T[:, :, None] * inputs
    blocks = inputs.T @ scaled
    blocks.diagonal(dim1=1, dim2=2)[:, :-1].add_(penalty)
    factors, failed = torch.linalg.cholesky_ex(blocks)
    left = _remaining(factors, blocks)
    half = torch.linalg.solve_triangular(
        factors, inputs.T.expand(len(blocks), -1, -1), upper=False
    )
    gram = inputs.new_zeros(len(inputs), len(inputs))
    for value, part in zip(scales.T, half, strict=True):
        moved = part * value
        gram += moved.T @ moved
    # An equal shift of all biases does nothing. It is the square root of the weights
    # here, and is not seen through contrasts: any positive curvature will do.
    shift = roots / roots.norm()
    inner = _identity(len(gram), gram) - gram
    inner += shift[:, None] * shift
    factor, inner_failed = torch.linalg.cholesky_ex(inner)
    # What cancels is lost: the diagonal was 1 before the Gram matrix was taken off.
    left = min(left, float((factor.diagonal() ** 2).min()))
    if bool(failed.any()) or bool(inner_failed) or left != left:
        left = 0.0
    contrasts = head.value_contrasts(inputs)
    assert contrasts is not None
    return ByValue(contrasts, inputs, scales, factors, factor), left


def _remaining(factors: Tensor, matrices: Tensor) -> float:
    ends = (t.diagonal(dim1=-2, dim2=-1) for t in (factors, matrices))
    squares, diagonal = ends
    return float((squares**2 / diagonal).min())


def _identity(size: int, like: Tensor) -> Tensor:
    return torch.eye(size, dtype=like.dtype, device=like.device)


def _blocks(n_rows: int, n_values: int) -> list[slice]:
    """Return blocks of rows that take about `_MOST_VALUES` numbers each."""
    size = max(1, _MOST_VALUES // max(1, n_values))
    return [slice(start, start + size) for start in range(0, n_rows, size)]


def _unit_columns(inputs: Tensor, n_scores: int) -> Tensor:
    """Return ``e_a (x) x`` for every row and score, (p, n_rows * n_scores)."""
    identity = _identity(n_scores, inputs)
    columns = identity[None, :, :, None] * inputs[:, None, None, :]
    return columns.reshape(len(inputs) * n_scores, n_scores * inputs.shape[1]).T
