"""How influence is computed: the methods, and the choice that "auto" makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from sklearn import get_config

from .._inputs.annotations import NOT_IN_CONCEPTS
from .._inputs.progress import SILENT, Progress
from .._inputs.training_rows import TrainingRows, as_features
from .._models.fitted import FittedHeads
from ..exceptions import InfluenceWarning, warn_user
from ..numerics.bottleneck import Bottleneck, TrainingData
from ..numerics.bounded import undecided
from ..numerics.first_order import Adjoint, add_adjoints, first_order, solve_adjoint
from ..numerics.hessians import Factors, factorise, factors_size
from ..numerics.leverage import leverage
from ..numerics.matrix_free import MatrixFree
from ..numerics.newton import newton
from ..numerics.removal import without_optimum
from ..numerics.retraining import retraining
from ..numerics.row_space import RowSpace
from ..numerics.sparse import Features, Matrix
from ..numerics.targets import Question, Target, evaluate
from .collect import KeepAll, KeepTop, SumGroups

METHODS = ("auto", "newton", "leverage", "first_order")
CONFIRMED = "leverage, its top rows by newton"
_DOING = {
    "newton": "Influence by newton",
    "leverage": "Influence by leverage",
    "first_order": "Influence by first order",
    "retraining": "Retraining without rows",
}

# What newton may cost under "auto", in floating-point operations: about half a minute
# of one core. It is a count and not a time, so that the same call always takes the same
# method.
_MOST_WORK = 1e12
# Number of candidates that leverage proposes for each row that newton confirms.
_CANDIDATES = 2
_TARGET_BLOCK = 512
_NAMED_ROWS = 10  # in a warning
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
    inverse : Factors or MatrixFree
        What solves systems with the Hessians.
    span : RowSpace or None
        The span of the rows, if the features are in its coordinates.
    """

    bottleneck: Bottleneck
    data: TrainingData
    inverse: Factors | MatrixFree
    span: RowSpace | None

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
        data, bottleneck = rows.data().to(device), heads.tensors(device)
        n_coordinates = min(data.features.shape)
        if factors_size(bottleneck, n_coordinates, len(data)) > _working_memory():
            inverse = MatrixFree.of(bottleneck, data, **heads.penalties)
            solved = cls(bottleneck, data, inverse, None)
        else:
            inside, span = data.in_row_space()
            reduced = bottleneck.inside(span)
            factors = factorise(reduced, inside, **heads.penalties, dtype=dtype)
            solved = cls(reduced, inside, factors, span)
        _warn_of_undecided(heads, bottleneck, data)
        return solved

    @property
    def factors(self) -> Factors:
        """The factorised Hessians, which leverage and all that follows from it need.

        Raises
        ------
        ValueError
            If they would take more than scikit-learn's working memory.
        """
        if isinstance(self.inverse, Factors):
            return self.inverse
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
        """Return targets, or sums of them, in blocks of rows.

        Parameters
        ----------
        features : ndarray or SparseFeatures of shape (n_targets, n_features)
        about : callable
            Maps a slice to the numeric target of these rows.
        shares : ndarray of shape (n_sums, n_targets) or None
            The weight of every target in every sum. None for the single targets.
        """
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
    ) -> tuple[str, np.ndarray, np.ndarray | None]:
        """Return the method that was used, the influence kept, and its rows.

        Parameters
        ----------
        method : {"auto", "newton", "leverage", "first_order"}
            A `possible` one.
        questions : list of numerics.targets.Question
        kept : KeepAll, KeepTop or SumGroups
            For all answers; nothing was added yet.
        top : int or None
            Number of rows to keep for each answer; None if `kept` keeps all.
        paths : bool
            Whether the paths are wanted by themselves.
        progress : Progress
            Shows its bars.
        """
        if method == "auto":
            method = self.choose_method(questions, paths=paths)
            if top is not None and method == "leverage":
                return self.confirmed(
                    questions, len(kept.values), top, paths=paths, progress=progress
                )
        for answers, block, part in self.blocks(
            method, questions, paths=paths, progress=progress
        ):
            kept.add(answers, block, part)
        return method, kept.values, kept.rows if isinstance(kept, KeepTop) else None

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
            yield from self._first_order(questions, positions)
            return
        alone = self.without_optimum if rows is None else self.without_optimum[rows]
        defined = np.flatnonzero(~alone)  # never empty: the lowest label has a row
        if len(defined) < len(alone):
            kept = defined if rows is None else rows[defined]
            positions = torch.from_numpy(kept).to(self.device)
        if method == "newton":
            self._check_dense()
        remove = {"newton": newton, "leverage": leverage, "retraining": retraining}
        paths = (
            paths and len(self.bottleneck.concepts) > 0
        )  # else the label's path is the only one
        start = 0
        for block, part in remove[method](
            self.bottleneck, self.data, self.factors, questions, positions, paths=paths
        ):
            combine = questions[0].combine
            if combine is not None:  # each question has a part of each answer
                part = part.reshape(-1, len(combine), *part.shape[1:]).sum(dim=0)
            # A block ends where the next one begins. Rows in between are not defined.
            at, is_last = defined[block], block.stop == len(defined)
            stop = len(alone) if is_last else int(defined[block.stop])
            values = np.full((len(part), stop - start, part.shape[2]), np.nan)
            values[:, at - start] = part.cpu().numpy()
            yield slice(0, len(part)), slice(start, stop), values
            start = stop

    def _first_order(
        self, questions: Sequence[Question], rows: torch.Tensor | None
    ) -> Iterator[tuple[slice, slice, np.ndarray]]:
        data = self.data if rows is None else self.data.rows(rows)
        adjoints: Iterable[Adjoint] = (
            solve_adjoint(
                self.bottleneck,
                self.inverse,
                question.target.derivatives(self.bottleneck, question.features),
                question.combine,
            )
            for question in questions
        )
        if questions[0].combine is not None:
            adjoints = [add_adjoints(list(adjoints))]
        start = 0
        for adjoint in adjoints:
            answers = slice(start, start + len(adjoint.label))
            start = answers.stop
            for block, part in first_order(
                self.bottleneck, data, adjoint, dtype=self.inverse.dtype
            ):
                yield answers, block, part.cpu().numpy()

    def _check_dense(self) -> None:
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

    def possible(self, method: str) -> str:
        """Return "first_order" for "auto" where nothing else fits the memory."""
        if method == "auto" and not isinstance(self.inverse, Factors):
            return "first_order"
        return method

    def choose_method(self, questions: Sequence[Question], *, paths: bool) -> str:
        """Return "newton" if it can remove every row in little time, or "leverage"."""
        work = self._work(len(self.data.features), questions, paths)
        fits = self.factors.dense_size <= _working_memory()
        return "newton" if fits and work <= _MOST_WORK else "leverage"

    def confirmed(
        self,
        questions: Sequence[Question],
        n_answers: int,
        top: int,
        *,
        paths: bool,
        progress: Progress,
    ) -> tuple[str, np.ndarray, np.ndarray]:
        """Return the method, and influence and positions of the top rows.

        Leverage proposes rows, and newton removes them. If they are too many to remove,
        the influence is leverage's.
        """
        n = len(self.data.features)
        screen = KeepTop(n_answers, n, _CANDIDATES * top, 1, paths=False)
        for answers, block, part in self.blocks(
            "leverage", questions, paths=False, progress=progress
        ):
            screen.add(answers, block, part)
        rows, positions = np.unique(screen.rows, return_inverse=True)
        positions = positions.reshape(screen.rows.shape)
        bearable = self._work(len(rows), questions, paths) <= _MOST_WORK
        bearable = bearable and self.factors.dense_size <= _working_memory()
        method = "newton" if bearable else "leverage"
        exact = np.empty(0)
        for _, block, part in self.blocks(
            method, questions, paths=paths, rows=rows, progress=progress
        ):
            if not exact.size:
                exact = np.empty((*positions.shape, part.shape[2]))
            here = (positions >= block.start) & (positions < block.stop)
            answers = here.nonzero()[0]
            exact[here] = part[answers, positions[here] - block.start]
        totals = exact.sum(axis=2)
        order = np.argsort(-np.abs(totals), axis=1, kind="stable")[:, :top]
        values = np.take_along_axis(exact, order[:, :, None], axis=1)
        best = rows[np.take_along_axis(positions, order, axis=1)]
        values = values if paths else values.sum(axis=2)
        return (CONFIRMED if bearable else method), values, best

    def _work(self, n_rows: int, questions: Sequence[Question], paths: bool) -> float:
        """Return about how many operations newton takes to remove `n_rows` rows."""
        stack, label = self.bottleneck.concepts, self.bottleneck.label
        n, n_inputs = len(self.data.features), self.data.features.shape[1] + 1
        n_targets = sum(len(question.features) for question in questions)
        n_cases = 2 + len(stack) if paths else 1
        concepts = 6 * n * n_inputs * stack.n_scores
        concepts += sum(4 * (head.n_scores * n_inputs) ** 2 for head in stack.heads)
        # Softmax takes about a hundred operations per value.
        labels = 100 * label.n_values + 8 * label.n_scores * stack.n_activations
        if not stack or self.bottleneck.residual_scale is not None:
            labels += 6 * n_inputs * label.n_scores
        targets = 2 * n_inputs * (stack.n_scores or label.n_scores)
        return float(
            n_rows * (concepts + n_cases * (n + n_targets) * labels)
            + n_rows * n_targets * targets
        )


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
            "without it. So is the sum over a group with such a row. "
            "method='first_order' is a derivative, and has a value there.",
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
    names = [
        str(name)
        for name, values in zip(heads.names, heads.values, strict=True)
        if values is not None
    ]
    if method == "newton" or heads.activation != "hard" or not names:
        return
    if method == "first_order":
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
