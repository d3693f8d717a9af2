"""Problems of removals: copies of a solved head that lack some rows.

Each is solved from the optimum of that head. Its first step is that of `leverage`: the
row's curvature is taken out of the Hessian, which is not built again.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .bottleneck import Bottleneck, TrainingData
from .descent import Descent, descend
from .heads import Head
from .hessians import Factors
from .inverses import Inverse
from .leverage import block_diagonal
from .prepared import HeadRows, Passes, unflatten

# Most steps. Errors relative to the change, in the Hessian's norm, that end them.
MAX_STEPS = 12
TOL, _TOL_OF_SETS = 5e-4, 2e-4


class SolvedHead:
    """A head at its optimum, in the dtype of the passes, to be solved again.

    Attributes
    ----------
    parameters : Tensor of shape (n_scores, n_inputs)
    exact : Tensor of shape (n_scores, n_inputs), float64
    inverse : Tensor of shape (p, p)
    penalty : Tensor of shape (n_inputs,)
    """

    def __init__(
        self,
        head: Head,
        parameters: Tensor,
        inverse: Inverse,
        penalty: float,
        dtype: torch.dtype,
    ):
        self.head, self.exact = head, parameters.double()
        self.parameters = parameters.to(dtype)
        self.inverse = inverse.dense().to(dtype)
        self.penalty = torch.full_like(self.parameters[0], penalty)
        self.penalty[-1] = 0

    @property
    def jumps(self) -> bool:
        """Whether activations jump, so that nothing follows them to first order."""
        jacobian = self.head.activation_jacobian(
            self.exact.new_zeros(self.head.n_scores)
        )
        return bool(self.head.n_activations) and not jacobian.any()

    def by_problem(self, flat: Tensor, n: int) -> Tensor:
        """Return scores of rows, (n_scores * n, …), as (n_scores, n, …)."""
        return flat.reshape(self.head.n_scores, n, -1)


class Gap:
    """Rows that problems lack.

    Attributes
    ----------
    gradient : Tensor of shape (n_problems, n_scores, n_inputs)
        Of the loss of these rows.
    problems, rows : Tensor of shape (n_gone,), int64
        Problems, and the positions of the training rows that they lack.
    """

    def __init__(self, gradient: Tensor, problems: Tensor, rows: Tensor):
        self.gradient, self.problems, self.rows = gradient, problems, rows

    def among(self, at: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same positions, of problems `at` alone and as counted there."""
        if len(at) == len(self.gradient):
            return self.problems, self.rows
        place = self.problems.new_full((len(self.gradient),), -1)
        place[at] = torch.arange(len(at), device=at.device)
        place = place[self.problems]
        return place[place >= 0], self.rows[place >= 0]

    def first_step(self) -> Tensor | None:
        """Return the steps for the gradient alone, if they are known."""
        return None

    def correct(self, step: Tensor, at: Tensor) -> Tensor:
        """Return steps (n_at, p) with the inverse Hessian without these rows.

        There is little to gain from taking the curvature of many rows out of the
        Hessian: the secant pairs find it where steps go.
        """
        return step


class RowGap(Gap):
    """One row that each problem lacks, with all its copies.

    Its curvature is taken out of the Hessian too (Woodbury).
    """

    def __init__(self, solved: SolvedHead, own: HeadRows, removed: Tensor):
        n, n_scores, inverse = len(removed), solved.head.n_scores, solved.inverse
        self.own = unflatten(own.inputs.dense(), 0, (-1, n)).transpose(0, 1)
        residual = unflatten(own.residual, 1, (-1, n)).permute(2, 1, 0)
        gradient = residual.mT @ self.own
        super().__init__(gradient, torch.arange(n, device=removed.device), removed)
        # H^-1 (e_a (x) x) for every row x and score a, one after the other in memory.
        blocks = inverse.reshape(n_scores, -1, len(inverse))
        rows = self.own.flatten(0, 1)
        self.columns = torch.stack([rows @ block for block in blocks], dim=1)
        self.columns = self.columns.reshape(n, -1, len(inverse))
        hat = self._own_scores(self.columns, slice(None)).mT
        # A little less than the whole curvature, so that the rest stays definite.
        little = torch.finfo(hat.dtype).eps ** 0.5
        curvature = unflatten(own.curvature, 0, (-1, n)).transpose(0, 1)
        curvature = (1 - little) * block_diagonal(curvature)
        identity = torch.eye(hat.shape[1], dtype=hat.dtype, device=hat.device)
        # If the rest is singular all the same, a removal has no first step.
        self.inner = torch.linalg.solve_ex(identity - curvature @ hat, curvature).result
        residual = residual.flatten(1)[:, :, None]
        along = residual + self.inner @ (hat @ residual)
        self._first: Tensor = (along.mT @ self.columns).reshape(gradient.shape)

    def first_step(self) -> Tensor | None:
        """Return the steps for the gradient alone, known from the columns."""
        return self._first

    def correct(self, step: Tensor, at: Tensor) -> Tensor:
        """Return steps (n_at, p) with the inverse Hessian, without the curvature."""
        some = slice(None) if len(at) == len(self.gradient) else at
        own = self._own_scores(step[:, None], some)
        along = (self.inner[some] @ own.mT).mT
        corrected: Tensor = step + (along @ self.columns[some])[:, 0]
        return corrected

    def _own_scores(self, parameters: Tensor, some: slice | Tensor) -> Tensor:
        """Return scores of rows, (b, k, c * s), by k parameters each, (b, k, s * q)."""
        own = self.own[some]
        by_score = unflatten(parameters, 2, (-1, own.shape[2])).flatten(1, 2)
        scores = own @ by_score.mT  # (b, c, k * s)
        return (
            unflatten(scores, 2, (parameters.shape[1], -1)).transpose(1, 2).flatten(2)
        )


class Problems:
    """Copies of a solved head, each without some rows or with moved inputs.

    Parameters
    ----------
    solved : SolvedHead
    n : int
    gap : Gap, default=None
        The rows that they lack.
    moved : sequence of int
        Concepts whose activations move: one, or all.
    patient : bool
        Whether problems that are open after all steps are to be solved again.

    Attributes
    ----------
    change : Tensor of shape (n, n_scores, n_inputs)
        Change of the parameters.
    size : Tensor of shape (n,)
        Size of the last step relative to the change, in the Hessian's norm; 0 if it was
        before the last pass, and no other follows.
    error : Tensor of shape (n,)
        Estimated error relative to the change, in the Hessian's norm.
    unsettled, settled : Tensor of shape (n,), bool
        Problems that take another step whatever their error, or none after the first.
    extent : Tensor of shape (n,)
        Square of how far scores move, in the Hessian's norm, together with the inputs.
        0 where that is not estimated: then what counts is the change of parameters.
    at : Tensor of int64 or None
        Problems that wait for their gradient.
    """

    def __init__(
        self,
        solved: SolvedHead,
        n: int,
        gap: Gap | None = None,
        moved: Sequence[int] = (),
        *,
        patient: bool = False,
    ):
        self.solved, self.gap, self.moved, self.patient = solved, gap, moved, patient
        self.parameters = solved.parameters
        self.change = self.parameters.new_zeros(n, *self.parameters.shape)
        self.error, self.size = self.change.new_zeros(n), self.change.new_zeros(n)
        self.extent = torch.zeros_like(self.size)
        self.unsettled = torch.zeros_like(self.size, dtype=torch.bool)
        self.settled = self.unsettled
        self._known: tuple[Tensor, Tensor] | None = None
        self.at: Tensor | None = None
        self.tol = _TOL_OF_SETS if patient else TOL

    def know(self, change: Tensor, error: Tensor) -> None:
        """Take changes with these errors as first steps, before they start."""
        self._known, self.settled = (change, error), error <= self.tol

    def gap_gradient(self) -> Tensor:
        """Return the gradients before any step, where inputs do not move."""
        return torch.zeros_like(self.change) if self.gap is None else -self.gap.gradient

    @property
    def is_open(self) -> Tensor:
        """Which problems wait for their gradient, (n,), bool."""
        is_open = torch.zeros_like(self.settled)
        if self.at is not None:
            is_open[self.at] = True
        return is_open

    def start(self, first: Tensor) -> None:
        """Take the first steps, for these gradients."""
        # One step is exact if the objective is quadratic.
        is_set = self.gap is not None and self.gap.first_step() is None
        self.is_exact = self.solved.head.is_quadratic and not is_set
        max_steps = 1 if self.is_exact else MAX_STEPS
        self._descent: Descent = descend(
            self, self.change, first, self.size, max_steps, self.tol
        )
        self._advance(None)

    def go_on(self, gradient: Tensor) -> None:
        """Take the next steps, for the gradients of problems `at`."""
        self._advance(gradient)

    def _advance(self, gradient: Tensor | None) -> None:
        try:
            self.at = self._descent.send(gradient)  # type: ignore[arg-type]
        except StopIteration as end:
            self.at = None
            self.error = torch.zeros_like(self.error) if self.is_exact else end.value
            if self._known is not None:
                self.error = torch.where(self.settled, self._known[1], self.error)

    def first_step(self, gradient: Tensor) -> Tensor:
        """Return the first steps of all problems."""
        if self._known is not None:
            return self._known[0]
        if self.gap is not None and not self.moved:
            step = self.gap.first_step()
            if step is not None:
                return step
        return -self.precondition(
            gradient, torch.arange(len(gradient), device=gradient.device)
        )

    def precondition(self, gradient: Tensor, at: Tensor) -> Tensor:
        """Apply the inverse Hessian, without the curvature of a row that is missing."""
        step = gradient.flatten(1) @ self.solved.inverse
        if self.gap is not None:
            step = self.gap.correct(step, at)
        return step.reshape(gradient.shape)


class Stages:
    """Both stages at their optimum, with what removals need of them.

    Parameters
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    factors : Factors
    pass_rows : int, default=None
        Number of rows of one block of a pass. None is what fits the cache.

    Attributes
    ----------
    passes : Passes
        Over all rows, in the dtype of the factors.
    concepts : list of SolvedHead
    label : SolvedHead
    cross : list of Tensor of shape (n_label_parameters, n_concept_parameters)
        Of each concept head, as that of `Factors`.
    """

    def __init__(
        self,
        bottleneck: Bottleneck,
        data: TrainingData,
        factors: Factors,
        pass_rows: int | None = None,
    ):
        dtype = factors.dtype
        self.bottleneck, self.stack, self.data = bottleneck, bottleneck.concepts, data
        self.passes = Passes(bottleneck, data, dtype, pass_rows)
        self.concepts = [
            SolvedHead(
                head,
                bottleneck.concept_parameters[self.stack.scores[j]],
                factors.concepts[j],
                float(factors.concept_penalties[j]),
                dtype,
            )
            for j, head in enumerate(self.stack.heads)
        ]
        self.label = SolvedHead(
            bottleneck.label,
            bottleneck.label_parameters,
            factors.label,
            factors.penalty,
            dtype,
        )
        self.cross = [cross.to(dtype) for cross in factors.cross]

    def columns(self, problems: Problems) -> slice:
        """Return the inputs of the label head that problems see moved."""
        columns = [self.stack.activations[j] for j in problems.moved]
        return slice(columns[0].start, columns[-1].stop) if columns else slice(0)
