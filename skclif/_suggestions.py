"""Which changes of training rows would help a target: compared, chosen, guarded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from ._methods import Solved

KINDS = ("relabel", "annotate", "reweight", "drop")
# What weights can be multiplied with; dropping is 0.
FACTORS = (2.0, 0.5)
LABEL, ROW = 0, -1  # paths by number; concept j is 1 + j
_LEVEL = 0.95


@dataclass(frozen=True)
class Changes:
    """Changes of training rows, one an entry of each array.

    Attributes
    ----------
    rows : ndarray of int
    paths : ndarray of int
        `LABEL`, one plus the position of a concept, or `ROW`.
    values : ndarray of float
        Code of the label; code or number of the annotation; factor of the weight.
    effects : ndarray of float
        On the mean target, each change alone.
    """

    rows: np.ndarray
    paths: np.ndarray
    values: np.ndarray
    effects: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, kept) -> Changes:
        """Return some of the changes."""
        return Changes(
            self.rows[kept], self.paths[kept], self.values[kept], self.effects[kept]
        )


@dataclass(frozen=True)
class Menu:
    """The changes that are possible.

    Attributes
    ----------
    solved : Solved
    kinds : tuple of str
    row_weights : Tensor of shape (n_samples,)
        As given to `fit`.
    class_weights : Tensor of shape (n_classes,)
    higher_is_better : bool
        What is good.
    """

    solved: Solved
    kinds: tuple[str, ...]
    row_weights: object
    class_weights: object
    higher_is_better: bool

    def best(self, adjoint) -> tuple[Changes, int]:
        """Return the best change of each row and path, and how many were compared."""
        from .numerics.blocks import row_blocks
        from .numerics.suggestions import BLOCK_ROWS

        changes, parts, compared = self._closed_form(), [], 0
        for block in row_blocks(len(self.solved.data.features), BLOCK_ROWS):
            of_rows = changes.of(self.solved.data.rows(block), adjoint)
            for path, values in self._values().items():
                effects = np.stack(
                    [self._effects(of_rows, block, path, value) for value in values]
                )
                # What is there already is no change; what is not finite, undefined.
                effects[self._current(block, path, values)] = np.nan
                possible = np.isfinite(effects)
                compared += int(possible.sum())
                benefit = effects if self.higher_is_better else -effects
                best = np.where(possible, benefit, -np.inf).argmax(axis=0)
                columns = np.arange(effects.shape[1])
                parts.append(
                    Changes(
                        block.start + columns,
                        np.full(len(columns), path),
                        np.asarray(values, dtype=float)[best],
                        effects[best, columns],
                    )
                )
        together = zip(
            *((p.rows, p.paths, p.values, p.effects) for p in parts), strict=True
        )
        return Changes(*map(np.concatenate, together)), compared

    def choose(self, best: Changes, budget: int) -> Changes:
        """Return the best changes that go together, at most so many.

        A row whose weight changes has no other change.
        """
        benefit = best.effects if self.higher_is_better else -best.effects
        order = np.argsort(-benefit, kind="stable")
        chosen, weighed, changed = [], set(), set()
        for position in order[: int((benefit > 0).sum())]:
            row, path = best.rows[position], best.paths[position]
            if row in weighed or (path == ROW and row in changed):
                continue
            (weighed if path == ROW else changed).add(row)
            chosen.append(position)
            if len(chosen) == budget:
                break
        return best.take(np.asarray(chosen, dtype=int))

    def std_errors(self, changes: Changes, questions) -> np.ndarray:
        """Return the standard error of every effect, over validation rows."""
        from .numerics.influence import solve_adjoint

        solved, closed_form = self.solved, self._closed_form()
        n, total, squares = 0, np.zeros(len(changes)), np.zeros(len(changes))
        keys = np.column_stack([changes.paths, changes.values])
        groups, group_of = np.unique(keys, axis=0, return_inverse=True)
        for question in questions:
            derivatives = question.target.derivatives(
                solved.bottleneck, question.features
            )
            adjoint = solve_adjoint(solved.bottleneck, solved.factors, derivatives)
            n += len(question.features)
            for g, (path, value) in enumerate(groups):
                mine = np.flatnonzero(group_of.ravel() == g)
                rows = changes.rows[mine]
                of_rows = closed_form.of(solved.data.rows(rows), adjoint)
                effects = self._effects(of_rows, rows, int(path), value, whole=True)
                # Near the mean, so that squares do not cancel.
                effects = effects - changes.effects[mine]
                total[mine] += effects.sum(axis=0)
                squares[mine] += (effects**2).sum(axis=0)
        variance = (squares - total**2 / n) / (n - 1)
        return np.sqrt(np.maximum(variance, 0) / n)

    def edited(self, changes: Changes):
        """Return the training data with changes."""
        data = self.solved.data
        labels, concepts = data.labels.clone(), data.concepts.clone()
        annotated, label_weights = data.annotated.clone(), data.label_weights.clone()
        concept_weights = data.concept_weights.clone()
        for path in np.unique(changes.paths):
            part = changes.take(changes.paths == path)
            rows = part.rows
            values = data.features.new_tensor(part.values)
            if path == ROW:
                label_weights[rows] *= values
                concept_weights[rows] *= values[:, None]
            elif path == LABEL:
                labels[rows] = values.to(labels.dtype)
                label_weights[rows] = self._label_weights(rows, labels[rows])
            else:
                concept_weights[rows, path - 1] = self._annotation_weights(
                    rows, path - 1
                )
                concepts[rows, path - 1] = values
                annotated[rows, path - 1] = True
        return replace(
            data,
            labels=labels,
            label_weights=label_weights,
            concepts=concepts,
            annotated=annotated,
            concept_weights=concept_weights,
        )

    def _closed_form(self):
        from .numerics.suggestions import Changes as ClosedForm

        return ClosedForm(self.solved.bottleneck, self.solved.factors)

    def _values(self) -> dict[int, list[float]]:
        """Return what can be proposed by path."""
        solved, values = self.solved, {}
        if "relabel" in self.kinds:
            values[LABEL] = list(range(solved.bottleneck.label.n_values))
        if "annotate" in self.kinds:
            for j, head in enumerate(solved.bottleneck.concepts.heads):
                if hasattr(head, "n_values"):
                    values[1 + j] = list(range(head.n_values))
                else:
                    given = solved.data.concept_weights[:, j] > 0
                    numbers = solved.data.concepts[given, j].cpu().numpy()
                    values[1 + j] = np.quantile(numbers, [0.25, 0.5, 0.75]).tolist()
        factors = list(FACTORS) if "reweight" in self.kinds else []
        if factors := factors + [0.0] * ("drop" in self.kinds):
            values[ROW] = factors
        return values

    def _effects(self, of_rows, block, path, value, *, whole=False) -> np.ndarray:
        """Return effects of one proposal for rows, on the one target or on all."""
        if path == ROW:
            effects = of_rows.reweight(value)
        elif path == LABEL:
            codes = of_rows.rows.labels.new_full((len(of_rows.rows.labels),), value)
            effects = of_rows.relabel(codes, self._label_weights(block, codes))
        else:
            codes = self.solved.data.features.new_full(
                (len(of_rows.rows.labels),), value
            )
            weights = self._annotation_weights(block, path - 1)
            effects = of_rows.annotate(path - 1, codes, weights)
        return (effects if whole else effects[0]).cpu().numpy()

    def _current(self, block, path, values) -> np.ndarray:
        """Return which proposals are what is there, (n_values, n_block)."""
        rows = self.solved.data.rows(block)
        proposed = np.asarray(values, dtype=float)[:, None]
        if path == ROW:
            return np.zeros((len(values), len(rows.labels)), dtype=bool)
        if path == LABEL:
            return proposed == rows.labels.cpu().numpy()
        same = proposed == rows.concepts[:, path - 1].cpu().numpy()
        return same & rows.annotated[:, path - 1].cpu().numpy()

    def _label_weights(self, rows, codes):
        return self.row_weights[rows] * self.class_weights[codes]

    def _annotation_weights(self, rows, concept):
        """Return weights of annotations; of new ones, those of their rows."""
        data = self.solved.data
        return data.concept_weights[rows, concept].where(
            data.annotated[rows, concept], self.row_weights[rows]
        )


def mean_adjoint(solved: Solved, questions):
    """Return the adjoint of the mean that questions ask for."""
    from .numerics.influence import add_adjoints, solve_adjoint

    return add_adjoints(
        [
            solve_adjoint(
                solved.bottleneck,
                solved.factors,
                question.target.derivatives(solved.bottleneck, question.features),
                question.combine,
            )
            for question in questions
        ]
    )


def solve_edited(solved: Solved, data) -> Solved:
    """Return the model that training on other data gives."""
    from .numerics.bottleneck import refit

    factors = solved.factors
    bottleneck = refit(
        solved.bottleneck,
        data,
        penalty=factors.penalty,
        concept_penalty=factors.concept_penalty,
        tol=1e-6,
        max_iter=100,
    )
    return replace(solved, bottleneck=bottleneck, data=data)


def cross_fitted(menu: Menu, ask, halves: np.ndarray, budget: int) -> np.ndarray:
    """Return the effect of a list on every validation row that did not choose it.

    Parameters
    ----------
    menu : Menu
    ask : callable
        From positions of validation rows, and "mean" or None, to questions.
    halves : ndarray of bool of shape (n_validation,)
    budget : int
    """
    solved, effects = menu.solved, np.zeros(len(halves))
    for half in (halves, ~halves):
        adjoint = mean_adjoint(solved, ask(np.flatnonzero(~half), "mean"))
        chosen = menu.choose(menu.best(adjoint)[0], budget)
        held_out = ask(np.flatnonzero(half), None)
        after = solve_edited(solved, menu.edited(chosen))
        effects[half] = after.values(held_out) - solved.values(held_out)
    return effects


def interval_of(effects: np.ndarray, halves: np.ndarray) -> tuple[float, float]:
    """Return the confidence interval of the mean effect, by the spread in halves."""
    n = len(effects)
    residuals = effects.copy()
    for half in (halves, ~halves):
        residuals[half] -= effects[half].mean()
    error = np.sqrt((residuals**2).sum() / (n - 2) / n)
    reach = stats.t.ppf((1 + _LEVEL) / 2, n - 2) * error
    mean = float(effects.mean())
    return mean - reach, mean + reach


def split(codes: np.ndarray, random_state) -> np.ndarray:
    """Return a random half of the rows, of every class alike, as a mask."""
    order = np.lexsort((random_state.permutation(len(codes)), codes))
    half = np.zeros(len(codes), dtype=bool)
    half[order[::2]] = True
    return half
