"""A solved model on its device: its Hessians, and what its training rows do to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import torch
from sklearn import get_config

from .._cluster.passes import RemoteData
from .._inputs.progress import SILENT, Progress
from .._inputs.tensors import numbers_of
from .._inputs.training_rows import TrainingRows, as_features
from .._models.fitted import FittedHeads
from ..numerics.bottleneck import Bottleneck, TrainingData
from ..numerics.first_order import Adjoint, add_adjoints, first_order, solve_adjoint
from ..numerics.hessians import Factors, factorise, factors_size
from ..numerics.joint_hessian import JointHessian, joint_first_order
from ..numerics.joint_removal import joint_newton, joint_retraining
from ..numerics.leverage import leverage
from ..numerics.matrix_free import MatrixFree
from ..numerics.newton import newton
from ..numerics.precision import fully
from ..numerics.removal import add_questions, without_optimum
from ..numerics.retraining import retraining
from ..numerics.row_space import RowSpace
from ..numerics.sets import pairwise
from ..numerics.sparse import Features, Matrix
from ..numerics.targets import Question, SetTarget, Target, evaluate
from .methods import flipping, refuse_joint, warn_of_undecided
from .work import Work

_DOING = {
    "newton": "Influence by newton",
    "leverage": "Influence by leverage",
    "pairwise": "Influence by pairs",
    "first_order": "Influence by first order",
    "retraining": "Retraining without rows",
}

_TARGET_BLOCK = 512
# Arrays of the size of all parameters, and of the scores of all rows, that conjugate
# gradients hold for each target.
_ARRAYS = 10


@dataclass(frozen=True)
class Solved:
    """A solved model with all that its influence needs, on the device.

    Attributes
    ----------
    bottleneck : Bottleneck
    data : TrainingData
    inverse : Factors, MatrixFree or JointHessian
        What solves systems with the Hessians.
    span : RowSpace or None
        The span of the rows, if the features are in its coordinates.
    follows : bool, default=True
        Whether first order follows annotations to the label: not through hard
        activations.
    """

    bottleneck: Bottleneck
    data: TrainingData
    inverse: Factors | MatrixFree | JointHessian
    span: RowSpace | None
    follows: bool = True

    @classmethod
    def of(
        cls,
        heads: FittedHeads,
        rows: TrainingRows,
        device: torch.device,
        dtype: torch.dtype,
    ) -> Solved:
        """Return a fitted model with its training rows.

        Its Hessians are factorised, unless they need too much memory.

        Parameters
        ----------
        heads : FittedHeads
        rows : TrainingRows
            What they were fitted to.
        device : torch.device
        dtype : torch.dtype
            Of the products over rows.
        """
        data, bottleneck = rows.data().to(device), heads.tensors(device, rows.shares)
        follows = not flipping(heads)
        n_coordinates = min(data.features.shape)
        too_large = factors_size(bottleneck, n_coordinates, len(data))
        too_large = too_large > _working_memory()
        if heads.is_joint:
            return cls._of_joint(heads, bottleneck, data, in_span=not too_large)
        if too_large:
            inverse = MatrixFree.of(bottleneck, data, **heads.penalties)
            solved = cls(bottleneck, data, inverse, None, follows)
        else:
            inside, span = data.in_row_space()
            reduced = bottleneck.inside(span)
            factors = factorise(reduced, inside, **heads.penalties, dtype=dtype)
            solved = cls(reduced, inside, factors, span, follows)
        warn_of_undecided(heads, bottleneck, data)
        return solved

    @classmethod
    def of_remote(
        cls, heads: FittedHeads, data: RemoteData, dtype: torch.dtype
    ) -> Solved:
        """Return a fitted model with its training rows on a cluster.

        Raises
        ------
        ValueError
            If its Hessians need more than scikit-learn's working memory.
        """
        bottleneck, n_features = heads.tensors(), data.features.shape[1]
        needed, allowed = factors_size(bottleneck, n_features), _working_memory()
        if needed > allowed:
            raise ValueError(
                "Influence of rows on a cluster needs the factorised Hessians of all "
                f"heads, about {needed / 2**20:,.3g} MiB for {n_features:,} features, "
                "and the working_memory of scikit-learn is "
                f"{allowed / 2**20:,.3g} MiB. Allow more by "
                "sklearn.set_config(working_memory=...) before fit, or use fewer "
                "features."
            )
        rows = cast(TrainingData, data)
        factors = factorise(bottleneck, rows, **heads.penalties, dtype=dtype)
        return cls(bottleneck, rows, factors, None, not flipping(heads))

    @classmethod
    def _of_joint(
        cls,
        heads: FittedHeads,
        bottleneck: Bottleneck,
        data: TrainingData,
        *,
        in_span: bool,
    ) -> Solved:
        """Return a model whose stages were trained together."""
        span = None
        if in_span:
            data, span = data.in_row_space()
        assert heads.concept_weight is not None
        hessian = JointHessian.of(
            bottleneck.inside(span),
            data,
            **heads.penalties,
            concept_weight=heads.concept_weight,
        )
        problem = hessian.problem
        return cls(problem.bottleneck, problem.data, hessian, span)

    @property
    def factors(self) -> Factors:
        """The factorised Hessians, which leverage and all that follows from it need.

        Raises
        ------
        ValueError
            If they would take more than scikit-learn's working memory, or the stages
            were trained together, so that no head has a Hessian of its own.
        """
        if isinstance(self.inverse, Factors):
            return self.inverse
        if isinstance(self.inverse, JointHessian):
            refuse_joint("What was asked")
        n_coordinates = min(self.data.features.shape)
        needed = factors_size(self.bottleneck, n_coordinates, len(self.data)) / 2**20
        n_features, allowed = self.data.features.shape[1], _working_memory() / 2**20
        raise ValueError(
            f"This needs the factorised Hessians of all heads, about {needed:,.3g} MiB "
            f"for {len(self.data):,} rows and {n_features:,} features, and the "
            f"working_memory of scikit-learn is {allowed:,.3g} MiB, or was so at fit. "
            "Influence by method='first_order' needs no factors. Else allow more by "
            "sklearn.set_config(working_memory=...) before fit, or use fewer features, "
            "for example TfidfVectorizer(max_features=...) or TruncatedSVD."
        )

    @property
    def is_joint(self) -> bool:
        """Whether the stages were trained together."""
        return isinstance(self.inverse, JointHessian)

    @cached_property
    def without_optimum(self) -> np.ndarray:
        """Which rows leave the label head without an optimum when they are removed."""
        return numbers_of(without_optimum(self.bottleneck, self.data))

    @property
    def device(self) -> torch.device:
        """The device of the model and its data."""
        return self.data.features.device

    def questions(
        self,
        features: Matrix,
        about: Callable[[slice], Target],
        shares: np.ndarray | None,
    ) -> list[Question]:
        """Return targets, or sums of them, in blocks of rows; one of a set whole.

        Parameters
        ----------
        features : ndarray or SparseFeatures of shape (n_targets, n_features)
        about : callable
            Maps a slice to the numeric target of these rows.
        shares : ndarray of shape (n_sums, n_targets) or None
            The weight of every target in every sum. None for the single targets.
        """
        if isinstance(whole := about(slice(0, len(features))), SetTarget):
            return [Question(self.inputs(features), whole)]
        questions = []
        n_block = self._targets_at_once() if shares is None else _TARGET_BLOCK
        for start in range(0, len(features), n_block):
            block = slice(start, start + n_block)
            rows, combine = self.inputs(features[block]), None
            if shares is not None:
                combine = self.data.label_weights.new_tensor(shares[:, block])
            questions.append(Question(rows, about(block), combine))
        return questions

    def inputs(self, features: Matrix) -> Features:
        """Return rows as the model sees them: on its device, in its coordinates."""
        rows = as_features(features).to(self.device)
        return rows if self.span is None else self.span.coordinates(rows)

    def _targets_at_once(self) -> int:
        """Return how many adjoints conjugate gradients can hold in memory."""
        if isinstance(self.inverse, Factors):
            return _TARGET_BLOCK
        bottleneck = self.bottleneck
        n_numbers = bottleneck.concept_parameters.numel()
        n_numbers += bottleneck.label_parameters.numel()
        # Products with a Hessian pass through the scores of all rows, one stage after
        # the other.
        of_label = len(bottleneck.copies) * bottleneck.label.n_scores
        n_numbers += len(self.data) * max(bottleneck.concepts.n_scores, of_label)
        fitting = _working_memory() // (8 * _ARRAYS * n_numbers)
        return min(max(1, fitting), _TARGET_BLOCK)

    def values(self, questions: Sequence[Question]) -> np.ndarray:
        """Return the values of the targets for this model, (n_answers,)."""
        parts = []
        for question in questions:
            value = evaluate(question.target, self.bottleneck, question.features)
            if question.combine is not None:
                value = question.combine @ value
            parts.append(numbers_of(value))
        if questions[0].combine is not None:
            total: np.ndarray = np.sum(parts, axis=0)
            return total
        return np.concatenate(parts)

    def blocks(
        self,
        method: str,
        questions: Sequence[Question],
        *,
        paths: bool,
        rows: np.ndarray | None = None,
        progress: Progress = SILENT,
    ) -> Iterator[tuple[slice, slice, np.ndarray]]:
        """Yield influence as blocks of answers and of training rows.

        Parameters
        ----------
        method : {"newton", "leverage", "first_order", "retraining"}
        questions : list of numerics.targets.Question
        paths : bool
            Whether the paths are wanted by themselves. If not, there may be only one.
        rows : ndarray of shape (n_rows,), default=None
            Positions of training rows. None is all rows.
        progress : Progress
            Shows its bars.

        Yields
        ------
        answers : slice
        block : slice
            Of `rows`.
        influence : ndarray of shape (n_answers, n_block, n_paths)
        """
        n_passes = 1
        if method == "first_order" and questions[0].combine is None:
            n_passes = len(questions)  # over all rows
        n_rows = n_passes * (len(self.data) if rows is None else len(rows))
        found = self._blocks(method, questions, paths=paths, rows=rows)
        with progress.stage(_DOING[method], n_rows) as advance:
            for answers, block, part in found:
                advance(block.stop - block.start)
                yield answers, block, part

    def _blocks(
        self,
        method: str,
        questions: Sequence[Question],
        *,
        paths: bool,
        rows: np.ndarray | None,
    ) -> Iterator[tuple[slice, slice, np.ndarray]]:
        positions = None if rows is None else torch.from_numpy(rows).to(self.device)
        if method == "first_order":
            yield from self._first_order(questions, positions, paths)
            return
        if method in ("leverage", "pairwise"):
            _ = self.factors  # or say why there are none
        alone = self.without_optimum if rows is None else self.without_optimum[rows]
        defined = np.flatnonzero(~alone)  # never empty: the lowest label has a row
        if len(defined) < len(alone):
            kept = defined if rows is None else rows[defined]
            positions = torch.from_numpy(kept).to(self.device)
        paths = (
            paths and len(self.bottleneck.concepts) > 0
        )  # else the label's path is the only one
        start = 0
        removals = self._removals(method, questions, positions, paths)
        for block, part in fully(removals):
            part = add_questions(questions, part)
            # A block ends where the next one begins. Rows in between are not defined.
            at, is_last = defined[block], block.stop == len(defined)
            stop = len(alone) if is_last else int(defined[block.stop])
            values = np.full((len(part), stop - start, part.shape[2]), np.nan)
            values[:, at - start] = numbers_of(part)
            yield slice(0, len(part)), slice(start, stop), values
            start = stop

    def _removals(
        self,
        method: str,
        questions: Sequence[Question],
        rows: torch.Tensor | None,
        paths: bool,
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        """Return the removals of rows by a method, a block at a time."""
        if isinstance(self.inverse, JointHessian):
            again = {"newton": joint_newton, "retraining": joint_retraining}
            return again[method](self.inverse, questions, rows, paths=paths)
        if method == "newton":
            self.check_dense()
        remove = {
            "newton": newton,
            "leverage": leverage,
            "pairwise": pairwise,
            "retraining": retraining,
        }
        return remove[method](
            self.bottleneck, self.data, self.factors, questions, rows, paths=paths
        )

    def first_order(
        self,
        adjoint: Adjoint,
        rows: torch.Tensor | None = None,
        *,
        paths: bool = True,
    ) -> Iterator[tuple[slice, torch.Tensor]]:
        """Yield the influence of every loss term, a block of training rows at a time.

        Parameters
        ----------
        adjoint : Adjoint
        rows : Tensor of shape (n_rows,), int64, default=None
            Positions of training rows. None is all.
        paths : bool, default=True
            Whether paths are wanted by themselves. If not, there may be only one.
        """
        if isinstance(self.inverse, JointHessian):
            return joint_first_order(self.inverse, adjoint, rows)
        data = self.data if rows is None else self.data.part(rows)
        return first_order(
            self.bottleneck, data, adjoint, dtype=self.inverse.dtype, paths=paths
        )

    def _first_order(
        self, questions: Sequence[Question], rows: torch.Tensor | None, paths: bool
    ) -> Iterator[tuple[slice, slice, np.ndarray]]:
        start = 0
        for adjoint in self.adjoints(questions):
            answers = slice(start, start + len(adjoint.label))
            start = answers.stop
            for block, part in self.first_order(adjoint, rows, paths=paths):
                yield answers, block, numbers_of(part)

    def adjoints(self, questions: Sequence[Question]) -> Iterable[Adjoint]:
        """Return the solutions of the adjoint system, of blocks of answers."""
        adjoints = (
            solve_adjoint(
                self.bottleneck,
                self.inverse,
                question.target.derivatives(self.bottleneck, question.features),
                question.sums,
            )
            for question in questions
        )
        if questions[0].combine is not None:
            return [add_adjoints(list(adjoints))]
        return adjoints

    def check_dense(self) -> None:
        """Refuse to make matrices of inverses that do not fit the memory."""
        needed, allowed = self.factors.dense_size, _working_memory()
        if needed > allowed:
            raise ValueError(
                "method='newton' needs the inverse Hessians of all heads as matrices, "
                f"{needed / 2**20:,.0f} MiB, and the working_memory of scikit-learn is "
                f"{allowed / 2**20:,.0f} MiB: a concept or the label has many values. "
                "Use method='leverage', which does not, or allow more by "
                "sklearn.set_config(working_memory=...)."
            )

    def work(self, questions: Sequence[Question], *, paths: bool) -> Work:
        """Return about how much work the removal of rows is."""
        fits = self.factors.dense_size <= _working_memory()
        return Work.of(
            self.bottleneck, self.data, questions, paths=paths, newton_fits=fits
        )


def _working_memory() -> int:
    """Return scikit-learn's working memory in bytes."""
    return int(get_config()["working_memory"] * 2**20)
