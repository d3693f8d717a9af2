"""How influence is computed: the methods, one for all rows or two."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn, cast

import numpy as np
import torch
from sklearn import get_config

from .._cluster.passes import RemoteData
from .._inputs.annotations import NOT_IN_CONCEPTS
from .._inputs.progress import SILENT, Progress
from .._inputs.training_rows import TrainingRows, as_features
from .._models.fitted import FittedHeads
from ..exceptions import InfluenceWarning, warn_user
from ..numerics.bottleneck import Bottleneck, TrainingData
from ..numerics.bounded import undecided
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
from . import on_cluster
from .collect import KeepAll, KeepTop, SumGroups
from .confirm import Answered, Confirming
from .work import MOST_WORK, Work, joint_work

_NOT_JOINT = (
    " works in closed form on heads that are each at their own optimum, "
    "and the heads of training='joint' are not. Such a model has influence and "
    "validate with method='newton' or 'first_order', and edit. For everything else, "
    "fit the explainer to the same model with training='mixed'."
)
METHODS = ("auto", "newton", "leverage", "pairwise", "first_order")
_DOING = {
    "newton": "Influence by newton",
    "leverage": "Influence by leverage",
    "pairwise": "Influence by pairs",
    "first_order": "Influence by first order",
    "retraining": "Retraining without rows",
}

_TARGET_BLOCK = 512
_NAMED_ROWS = 10  # in a warning
# Arrays of the size of all parameters, and of the scores of all rows, that conjugate
# gradients hold for each target.
_ARRAYS = 10


def refuse_joint(asked: str) -> NoReturn:
    """Refuse what needs heads that are each at their own optimum.

    Raises
    ------
    ValueError
    """
    raise ValueError(asked + _NOT_JOINT)


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
        follows = not _flipping(heads)
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
        _warn_of_undecided(heads, bottleneck, data)
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
        return cls(bottleneck, rows, factors, None, not _flipping(heads))

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
        found: np.ndarray = without_optimum(self.bottleneck, self.data).cpu().numpy()
        return found

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
            parts.append(value.cpu().numpy())
        if questions[0].combine is not None:
            total: np.ndarray = np.sum(parts, axis=0)
            return total
        return np.concatenate(parts)

    def answers(
        self,
        method: str,
        questions: Sequence[Question],
        kept: KeepAll | KeepTop | SumGroups,
        top: int | None = None,
        *,
        paths: bool,
        progress: Progress,
    ) -> Answered:
        """Return the influence that was kept, and how it was found.

        Parameters
        ----------
        method : {"auto", "newton", "leverage", "first_order"}
            A `possible` one.
        questions : list of numerics.targets.Question
        kept : KeepAll, KeepTop or SumGroups
            For all answers; nothing was added yet. Sums are to first order only.
        top : int or None
            Number of rows to keep for each answer; None if `kept` keeps all.
        paths : bool
            Whether the paths are wanted by themselves.
        progress : Progress
            Shows its bars.
        """
        if isinstance(self.data, RemoteData) and not isinstance(kept, KeepAll):
            return on_cluster.answer(
                self.data,
                self.bottleneck,
                self._adjoints(questions),
                self.inverse.dtype,
                kept,
                paths=paths,
                progress=progress,
            )
        if method == "auto":
            work = self.work(questions, paths=paths)
            method = work.method(MOST_WORK)
            if method == "leverage" and not isinstance(kept, SumGroups):
                derivable = is_differentiable(questions[0].target)
                screen = work.screen(follows=self.follows and derivable)
                both = Confirming(self, questions, work, screen, paths, progress)
                if isinstance(kept, KeepAll):
                    return both.all_rows(kept)
                assert top is not None
                return both.top_rows(len(kept.values), top)
        for answers, block, part in self.blocks(
            method, questions, paths=paths, progress=progress
        ):
            kept.add(answers, block, part)
        rows = kept.rows if isinstance(kept, KeepTop) else None
        return Answered(method, kept.values, rows)

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
            values[:, at - start] = part.cpu().numpy()
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
        for adjoint in self._adjoints(questions):
            answers = slice(start, start + len(adjoint.label))
            start = answers.stop
            for block, part in self.first_order(adjoint, rows, paths=paths):
                yield answers, block, part.cpu().numpy()

    def _adjoints(self, questions: Sequence[Question]) -> Iterable[Adjoint]:
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

    def passes(
        self, method: str, questions: Sequence[Question], *, paths: bool
    ) -> list[Pass]:
        """Return the passes over training rows that a method makes, in order.

        First order makes one for each block of answers, and other methods one for all.
        """
        groups = [list(questions)]
        if method == "first_order" and questions[0].combine is None:
            groups = [[question] for question in questions]
        passes: list[Pass] = []
        for group in groups:
            start = passes[-1].answers.stop if passes else 0
            n_answers = [question.n_answers for question in group]
            is_sum = group[0].combine is not None  # of all questions together
            stop = start + (n_answers[0] if is_sum else sum(n_answers))
            answers = slice(start, stop)
            passes.append(Pass(self, method, group, answers, paths=paths))
        return passes

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

    def possible(
        self, method: str, *, of_groups: bool = False, derivable: bool = True
    ) -> str:
        """Return a method in place of "auto" where there is nothing to choose from.

        That is "first_order" where nothing else fits the memory, and for groups of rows
        of jointly trained stages. Of single rows of these, it is "newton" if the
        removal of all is little work, or the target cannot be derived. It is
        "first_order" for rows on a cluster.
        """
        if isinstance(self.data, RemoteData):
            if method not in ("auto", on_cluster.METHOD):
                raise ValueError(
                    f"method={method!r} removes rows that have to be in this process, "
                    "and these are on a cluster. Use method='first_order' or 'auto'."
                )
            self.data.check_client()
            return on_cluster.METHOD
        if isinstance(self.inverse, JointHessian):
            if of_groups and method not in ("auto", "first_order"):
                raise ValueError(
                    f"method={method!r} removes groups from heads that are each at "
                    "their own optimum, and the heads of training='joint' are not. Use "
                    "method='first_order', which adds derivatives up, or "
                    "edit(drop=...) for one group."
                )
            if method in ("leverage", "pairwise"):
                raise ValueError(
                    f"method={method!r} is for heads that are each at their own "
                    "optimum, and the heads of training='joint' are not. Use "
                    "method='newton', 'first_order' or 'auto'."
                )
            if of_groups and not derivable:
                raise ValueError(
                    "Groups of rows have influence on a model with training='joint' to "
                    "first order only, which needs the derivative of the target. Write "
                    "it with torch and return a tensor (not float(...) or .item()), or "
                    "use edit(drop=..., target=...) for one group."
                )
            if method == "auto" and not of_groups:
                work = joint_work(self.bottleneck, self.data)
                little = work <= MOST_WORK or not derivable
                return "newton" if little else "first_order"
        if method == "auto" and not isinstance(self.inverse, Factors):
            return "first_order"
        return method

    def work(self, questions: Sequence[Question], *, paths: bool) -> Work:
        """Return about how much work the removal of rows is."""
        fits = self.factors.dense_size <= _working_memory()
        return Work.of(
            self.bottleneck, self.data, questions, paths=paths, newton_fits=fits
        )


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass over training rows, of which some can be asked for at a time.

    Attributes
    ----------
    solved : Solved
    method : {"newton", "leverage", "first_order"}
    questions : list of numerics.targets.Question
    answers : slice
        The position of their answers among all.
    paths : bool
        Whether the paths are wanted by themselves.
    """

    solved: Solved
    method: str
    questions: Sequence[Question]
    answers: slice
    paths: bool

    def rows(self, rows: slice) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the influence of some rows, a block of them at a time."""
        at = np.arange(rows.start, rows.stop)
        if self.method == "first_order":
            positions = torch.from_numpy(at).to(self.solved.device)
            found = self.solved.first_order(self._adjoint, positions, paths=self.paths)
            parts = ((block, part.cpu().numpy()) for block, part in found)
        else:
            blocks = self.solved.blocks(
                self.method, self.questions, paths=self.paths, rows=at
            )
            parts = ((block, part) for _, block, part in blocks)
        for block, part in parts:
            yield slice(rows.start + block.start, rows.start + block.stop), part

    @cached_property
    def _adjoint(self) -> Adjoint:
        (adjoint,) = self.solved._adjoints(self.questions)
        return adjoint


def is_differentiable(target: Target) -> bool:
    """Return whether first order can follow a target."""
    return not isinstance(target, SetTarget) or target.is_differentiable


def _warn_of_undecided(
    heads: FittedHeads, bottleneck: Bottleneck, data: TrainingData
) -> None:
    """Warn of constraints that hold, or do not, because of a single row."""
    if not bottleneck.label.is_bounded:
        return
    rows = data.counted()
    problem = bottleneck.label_problem(rows, heads.penalties["penalty"])
    columns, n_rows = undecided(problem, bottleneck.label_parameters, len(rows))
    constraints = heads.rules.constraints(heads.schema)
    near = [words for column, words in constraints if column in columns]
    if near:
        warn_user(
            f"Whether the constraints of monotonic_cst on {', '.join(near)} hold "
            f"is up to single rows: the removal of about {n_rows} of {len(rows)} "
            "training rows lets them go, or makes them hold. For these rows, influence "
            "by 'first_order' and 'leverage' can be far off: it takes constraints that "
            "hold as equalities. method='newton' solves again where that is wrong.",
            InfluenceWarning,
        )


def _working_memory() -> int:
    """Return scikit-learn's working memory in bytes."""
    return int(get_config()["working_memory"] * 2**20)


def term_paths(heads: FittedHeads) -> tuple[str, ...]:
    """Return the names of the paths that loss terms have by themselves.

    The label's term has two if there is a residual.
    """
    residual = () if heads.residual_coef is None else (NOT_IN_CONCEPTS,)
    return ("label", *heads.names, *residual)


def path_names(heads: FittedHeads, method: str) -> tuple[str, ...]:
    """Return the names of the paths of influence by a method."""
    names = term_paths(heads)
    if method == "first_order" or not heads.n_concepts:
        return names
    return (*names, "interaction")


def warn_of_lost_labels(solved: Solved, method: str) -> None:
    """Warn of rows without which a label has no row left."""
    if method == "first_order":  # a derivative, which loses no row
        return
    alone = solved.data.alone.cpu().numpy()
    undefined = solved.without_optimum
    if undefined.any():
        warn_user(
            f"The influence of {named_rows(undefined)} is NaN: no other row has its "
            "label, which is between others, and label_head='ordinal' has no optimum "
            "without it. method='first_order' is a derivative, and has a value there.",
            InfluenceWarning,
        )
    if (alone & ~undefined).any():
        warn_user(
            f"The influence of {named_rows(alone & ~undefined)} can be far off: no "
            "other row has its label, and without it the label's probability goes to "
            "0 and its loss has no bound. method='first_order' is a derivative.",
            InfluenceWarning,
        )


def named_rows(chosen: np.ndarray) -> str:
    """Return training rows in words, the first of them by their positions."""
    rows = np.flatnonzero(chosen)
    if len(rows) == 1:
        return f"training row {rows[0]}"
    named = ", ".join(map(str, rows[:_NAMED_ROWS]))
    more = f" and {len(rows) - _NAMED_ROWS} more" if len(rows) > _NAMED_ROWS else ""
    return f"training rows {named}{more}"


def warn_of_hard_activations(heads: FittedHeads, method: str) -> None:
    """Warn that a method does not follow annotations through hard activations."""
    names = _flipping(heads)
    if method == "newton" or not names:
        return
    if method in ("first_order", "pairwise"):
        what = (
            "To first order, annotations do not move the label through hard "
            f"activations: the paths of {', '.join(names)} are 0, although the removal "
            "of an annotation can flip an activation."
        )
    else:
        what = (
            "Leverage does not see hard activations of other training rows flip when "
            f"an annotation of {', '.join(names)} is removed."
        )
    warn_user(
        f"{what} Use method='newton', or bottleneck='soft' or 'logit'.",
        InfluenceWarning,
    )


def _flipping(heads: FittedHeads) -> list[str]:
    """Return the concepts whose activations flip, and do not move by little."""
    if heads.activation != "hard":
        return []
    concepts = zip(heads.names, heads.values, strict=True)
    return [str(name) for name, values in concepts if values is not None]
