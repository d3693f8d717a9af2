"""How much work a request is, and which method "auto" therefore takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..numerics.bottleneck import Bottleneck, TrainingData
from ..numerics.estimates import LEAST_ROWS as MANY_ROWS
from ..numerics.targets import Question

# What a request may cost under "auto", in floating-point operations as newton does
# them: up to about ten seconds of one core. It is a count and not a time, so that the
# same call always takes the same method.
MOST_WORK = 8e10
# What one method may cost that has to serve all of an audit: about a minute.
MOST_WORK_OF_AUDIT = 6e11
# What a removal by newton takes whatever the model.
_EACH = 1e6
# The removal of a set takes about so many times as long as that of one row, whose steps
# are fewer and share more.
_STEPS = 12
# Share of the work that is kept for the top rows, if one method is too much for all.
_FOR_TOP_ROWS = 0.15
# Products with the Hessian of jointly trained stages, for one removal.
_JOINT_PRODUCTS = 60


@dataclass(frozen=True)
class Work:
    """About how many operations methods take to remove one training row.

    The constants were fitted to times of bottlenecks of 300 to 100,000 rows, 64 to
    1,000 features and up to 18 concepts, and were right within a factor of two for
    newton there. Leverage of a few of very many rows is undercounted.

    Attributes
    ----------
    n_rows : int
        Of the training set.
    newton, leverage : float
        Newton's is infinite where its matrices do not fit the memory.
    """

    n_rows: int
    newton: float
    leverage: float

    @classmethod
    def of(
        cls,
        bottleneck: Bottleneck,
        data: TrainingData,
        questions: Sequence[Question],
        *,
        paths: bool,
        newton_fits: bool,
    ) -> Work:
        """Return the work of a request.

        Parameters
        ----------
        bottleneck : Bottleneck
        data : TrainingData
        questions : sequence of Question
        paths : bool
            Whether every loss term is removed by itself, too.
        newton_fits : bool
            Whether the inverse Hessians fit the memory as matrices.
        """
        n_targets = sum(len(question.features) for question in questions)
        request = _Request(bottleneck, data, n_targets, paths)
        newton = request.newton() if newton_fits else float("inf")
        return cls(len(data), newton, request.leverage())

    def method(self, most: float) -> str:
        """Return the better method of the two that can remove all rows in little work.

        Leverage is also what is left if neither can.
        """
        return "newton" if self.n_rows * self.newton <= most else "leverage"

    def method_of_sets(self, n_sets: int, most: float) -> str:
        """Return the better method that can remove all sets of rows in little work."""
        return "newton" if n_sets * _STEPS * self.newton <= most else "leverage"

    def screen(self, *, follows: bool) -> str:
        """Return the method for all rows, if the top rows have another.

        Parameters
        ----------
        follows : bool
            Whether first order follows annotations to the label.
        """
        most = (1 - _FOR_TOP_ROWS) * MOST_WORK
        if follows and self.n_rows * self.leverage > most:
            return "first_order"
        return "leverage"

    def bears(self, method: str, screen: str) -> int:
        """Return how many rows a method can remove after another screened all rows."""
        left = MOST_WORK
        if screen == "leverage":
            left = max(left - self.n_rows * self.leverage, _FOR_TOP_ROWS * left)
        each = self.newton if method == "newton" else self.leverage
        return int(min(left // each, self.n_rows))


def joint_work(bottleneck: Bottleneck, data: TrainingData) -> float:
    """Return the work of newton for all rows of stages that were trained together.

    Every step is some dozens of products with the Hessian.
    """
    stack, n_inputs = bottleneck.concepts, int(data.features.shape[1]) + 1
    product = 4.0 * n_inputs * stack.n_scores
    product += 10.0 * stack.n_scores * (stack.n_scores + stack.n_activations)
    return _JOINT_PRODUCTS * product * len(data) ** 2


@dataclass(frozen=True)
class _Request:
    bottleneck: Bottleneck
    data: TrainingData
    n_targets: int
    paths: bool

    @property
    def n_cases(self) -> int:
        """Number of changes of the label head for each row."""
        return 2 + len(self.bottleneck.concepts) if self.paths else 1

    @property
    def n_inputs(self) -> int:
        """Number of coordinates of a row, with the constant."""
        return int(self.data.features.shape[1]) + 1

    def newton(self) -> float:
        """Return the work of newton: passes over all rows for every case."""
        stack, label = self.bottleneck.concepts, self.bottleneck.label
        # Of many rows, steps that are estimated spare about half of the passes.
        n = max(min(len(self.data), MANY_ROWS), len(self.data) / 2)
        concepts = n * (0.25 * self.n_inputs * stack.n_scores + 5 * stack.n_activations)
        concepts += 1.2 * sum(size**2 for size in self._sizes())
        labels = 10.0 * label.n_values + 2.5 * label.n_scores * stack.n_activations
        targets = self._softmax() + 2 * label.n_scores * stack.n_activations
        if not stack or self.bottleneck.residual_scale is not None:
            labels += 0.5 * self.n_inputs * label.n_scores
            targets += self.n_inputs * label.n_scores
        cases = self.n_cases * (n * labels + self.n_targets * targets)
        return float(_EACH + concepts + cases + self._scores_of_targets() / 2)

    def leverage(self) -> float:
        """Return the work of leverage: products of matrices that rows share.

        They take less time for each operation, and are counted as fewer.
        """
        stack, label = self.bottleneck.concepts, self.bottleneck.label
        n_label = self.bottleneck.label_parameters.numel()
        solves = 1.5 * sum(size**2 for size in [*self._sizes(), n_label])
        carried = 2500.0 * len(stack) * n_label  # to the label head, and back
        labels = self._softmax() + 2 * label.n_scores * stack.n_activations
        if not stack or self.bottleneck.residual_scale is not None:
            labels += self.n_inputs * label.n_scores
        cases = self.n_cases * self.n_targets * labels
        return float(solves + carried + cases + self._scores_of_targets() / 2.5)

    def _sizes(self) -> list[int]:
        """Return the numbers of parameters of the concept heads."""
        heads = self.bottleneck.concepts.heads
        return [head.n_scores * self.n_inputs for head in heads]

    def _softmax(self) -> int:
        """Return the work of one softmax: about a hundred operations for each value."""
        return 100 * self.bottleneck.label.n_values

    def _scores_of_targets(self) -> int:
        """Return the work of products of a step with the features of all targets."""
        stack, label = self.bottleneck.concepts, self.bottleneck.label
        n_scores = stack.n_scores or label.n_scores
        return 2 * self.n_targets * self.n_inputs * n_scores
