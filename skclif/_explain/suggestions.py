"""Which changes of training rows would help a target: compared, chosen, guarded.

The effect of every change alone comes in closed form. What a whole list is worth is
another question, because the best of many thousands look better than they are and do
not add up: lists are chosen on nine tenths of the validation rows, applied, and
measured on the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from numbers import Integral

import numpy as np
import pandas as pd
from scipy import stats

from .._results.suggestions import EditSuggestions
from ..exceptions import InfluenceWarning, SuggestionWarning
from .edits import TrainingSet
from .engine import Solved

KINDS = ("relabel", "annotate", "reweight", "drop")
FACTORS = (2.0, 0.5)  # that "reweight" tries
_DROP = 0.0
_QUARTILES = (0.25, 0.5, 0.75)
# Where a change acts, by number; concept j is 1 + j.
LABEL, ROW = 0, -1
FOLDS = 10
LEAST_ROWS = 2 * FOLDS
_SHARE = 0.1  # of the training rows, that may change if nobody says how many
_LEVEL = 0.95
# Standard scores below which labels in any order would do as well, one time in 100.
_UNRELATED = 2.33
_TOL, _MAX_ITER = 1e-6, 100


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
        Of each change alone, on the mean target.
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
class Validation:
    """Validation rows, and what is asked of them.

    Attributes
    ----------
    solved : Solved
    features : ndarray of shape (n_validation, n_features)
    codes : ndarray of shape (n_validation,)
        Of the class that each target is about.
    about : callable
        From codes to what gives a slice of targets as the numerics know them.
    about_labels : bool
        Whether targets are about labels, not concepts.
    """

    solved: Solved
    features: np.ndarray
    codes: np.ndarray
    about: Callable
    about_labels: bool

    def __len__(self) -> int:
        return len(self.codes)

    def questions(self, rows=slice(None)) -> list:
        """Return the target of each of some rows, in blocks."""
        return self.solved.questions(
            self.features[rows], self.about(self.codes[rows]), None
        )

    def adjoint(self, weights: np.ndarray):
        """Return the adjoint of weighted sums of the targets, one a row of weights."""
        from ..numerics.influence import add_adjoints

        start, parts = 0, []
        for question in self.questions():
            stop = start + len(question.features)
            combine = question.features.new_tensor(weights[:, start:stop])
            parts.append(self._solved_for(replace(question, combine=combine)))
            start = stop
        return add_adjoints(parts)

    def related(self) -> bool | None:
        """Return whether labels fit predictions; None if it is not about labels."""
        if not self.about_labels:
            return None
        import torch

        device, basis = self.solved.device, self.solved.basis
        features = torch.from_numpy(self.features).to(device)
        features = features if basis is None else features @ basis
        proba = self.solved.bottleneck.label_probabilities(features)
        log_proba = proba.clamp_min(torch.finfo(proba.dtype).tiny).log()
        return are_related(log_proba.cpu().numpy(), self.codes)

    def adjoints(self):
        """Yield adjoints of the single targets, in blocks."""
        yield from map(self._solved_for, self.questions())

    def _solved_for(self, question):
        from ..numerics.influence import solve_adjoint

        bottleneck = self.solved.bottleneck
        derivatives = question.target.derivatives(bottleneck, question.features)
        return solve_adjoint(
            bottleneck, self.solved.factors, derivatives, question.combine
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
    annotation_weights : Tensor of shape (n_samples, n_concepts)
        Of annotations that are there, or would be.
    class_weights : Tensor of shape (n_classes,)
    higher_is_better : bool
        What is good.
    """

    solved: Solved
    kinds: tuple[str, ...]
    row_weights: object
    annotation_weights: object
    class_weights: object
    higher_is_better: bool

    def best(self, adjoint) -> tuple[list[Changes], int]:
        """Return the best change of each row and path, and how many were compared.

        The list has the changes that are best for each target of the adjoint.
        """
        from ..numerics.blocks import row_blocks
        from ..numerics.suggestions import BLOCK_ROWS

        closed_form, compared = self._closed_form(), 0
        parts: list[list[Changes]] = [[] for _ in adjoint.label]
        for block in row_blocks(len(self.solved.data.features), BLOCK_ROWS):
            rows = np.arange(block.start, block.stop)
            changed = closed_form.of(self.solved.data.rows(block), adjoint)
            for path, values in self._values().items():
                effects = np.stack(
                    [self._effects(changed, rows, path, value) for value in values]
                )
                possible = ~self._current(rows, path, values)[:, None]
                # A row that is all that holds a head cannot go.
                possible = possible & np.isfinite(effects)
                compared += int(possible[:, 0].sum())
                best = np.where(possible, self.benefit(effects), -np.inf).argmax(axis=0)
                for t, chosen in enumerate(best):
                    found = effects[chosen, t, np.arange(len(rows))]
                    there = possible[chosen, t, np.arange(len(rows))]
                    proposed = np.asarray(values, dtype=float)[chosen]
                    paths = np.full(len(rows), path)
                    parts[t].append(Changes(rows, paths, proposed, found).take(there))
        return [_together(part) for part in parts], compared

    def choose(self, best: Changes, budget: int) -> Changes:
        """Return the best changes that go together, at most so many.

        A row whose weight changes has no other change.
        """
        benefit = self.benefit(best.effects)
        order = np.argsort(-benefit, kind="stable")[: int((benefit > 0).sum())]
        chosen: list[int] = []
        weighed, changed = set(), set()
        for position in order:
            row, path = best.rows[position], best.paths[position]
            if row in weighed or (path == ROW and row in changed):
                continue
            (weighed if path == ROW else changed).add(row)
            chosen.append(position)
            if len(chosen) == budget:
                break
        return best.take(np.asarray(chosen, dtype=int))

    def std_errors(self, changes: Changes, validation: Validation) -> np.ndarray:
        """Return the standard error of every effect, over validation rows."""
        closed_form, n = self._closed_form(), len(validation)
        total, squares = np.zeros(len(changes)), np.zeros(len(changes))
        keys = np.column_stack([changes.paths, changes.values])
        for adjoint in validation.adjoints():
            for path, value in np.unique(keys, axis=0):
                own = (keys == (path, value)).all(axis=1)
                rows = changes.rows[own]
                changed = closed_form.of(self.solved.data.rows(rows), adjoint)
                effects = self._effects(changed, rows, int(path), value)
                # From their mean, so that squares do not cancel.
                effects = effects - changes.effects[own]
                total[own] += effects.sum(axis=0)
                squares[own] += (effects**2).sum(axis=0)
        variance = (squares - total**2 / n) / (n - 1)
        errors: np.ndarray = np.sqrt(np.maximum(variance, 0) / n)
        return errors

    def edited(self, changes: Changes):
        """Return the training data with changes."""
        data = self.solved.data
        labels, concepts = data.labels.clone(), data.concepts.clone()
        annotated, label_weights = data.annotated.clone(), data.label_weights.clone()
        concept_weights = data.concept_weights.clone()
        for path in np.unique(changes.paths):
            part = changes.take(changes.paths == path)
            rows, values = part.rows, data.features.new_tensor(part.values)
            if path == ROW:
                label_weights[rows] *= values
                concept_weights[rows] *= values[:, None]
            elif path == LABEL:
                labels[rows] = values.to(labels.dtype)
                label_weights[rows] = self._label_weights(rows, labels[rows])
            else:
                j = path - 1
                concept_weights[rows, j] = self.annotation_weights[rows, j]
                concepts[rows, j] = values
                annotated[rows, j] = True
        return replace(
            data,
            labels=labels,
            label_weights=label_weights,
            concepts=concepts,
            annotated=annotated,
            concept_weights=concept_weights,
        )

    def benefit(self, effects: np.ndarray) -> np.ndarray:
        """Return effects as positive = good."""
        return effects if self.higher_is_better else -effects

    def _closed_form(self):
        from ..numerics.suggestions import ClosedForm

        return ClosedForm(self.solved.bottleneck, self.solved.factors)

    def _values(self) -> dict[int, list[float]]:
        """Return what can be proposed by path."""
        solved, values = self.solved, {}
        if "relabel" in self.kinds:
            values[LABEL] = list(range(solved.bottleneck.label.n_values))
        for j, head in enumerate(solved.bottleneck.concepts.heads):
            if "annotate" not in self.kinds:
                break
            if hasattr(head, "n_values"):
                values[1 + j] = list(range(head.n_values))
            else:
                given = solved.data.concept_weights[:, j] > 0
                numbers = solved.data.concepts[given, j].cpu().numpy()
                values[1 + j] = np.quantile(numbers, _QUARTILES).tolist()
        factors = list(FACTORS) * ("reweight" in self.kinds)
        factors += [_DROP] * ("drop" in self.kinds)
        return {**values, ROW: factors} if factors else values

    def _effects(self, changed, rows, path: int, value: float) -> np.ndarray:
        """Return the effects of one proposal for rows, (n_targets, n_rows)."""
        if path == ROW:
            return changed.reweight(value).cpu().numpy()
        data = self.solved.data
        if path == LABEL:
            codes = data.labels.new_full((len(rows),), int(value))
            effects = changed.relabel(codes, self._label_weights(rows, codes))
        else:
            codes = data.concepts.new_full((len(rows),), value)
            weights = self.annotation_weights[rows, path - 1]
            effects = changed.annotate(path - 1, codes, weights)
        return effects.cpu().numpy()

    def _current(self, rows, path: int, values) -> np.ndarray:
        """Return which proposals are what is there, (n_values, n_rows)."""
        data = self.solved.data
        proposed = np.asarray(values, dtype=float)[:, None]
        if path == ROW:
            return np.zeros((len(values), len(rows)), dtype=bool)
        if path == LABEL:
            return proposed == data.labels[rows].cpu().numpy()
        same = proposed == data.concepts[rows, path - 1].cpu().numpy()
        return same & data.annotated[rows, path - 1].cpu().numpy()

    def _label_weights(self, rows, codes):
        return self.row_weights[rows] * self.class_weights[codes]


def menu_of(solved: Solved, kinds, training: TrainingSet, higher_is_better) -> Menu:
    """Return the menu of a solved model, with class weights as they were at fit."""
    weights = training.weights
    annotation_weights = weights[:, None] * training.concept_weights
    tensors = map(
        solved.data.features.new_tensor,
        (weights, annotation_weights, training.class_weight),
    )
    return Menu(solved, kinds, *tensors, higher_is_better)


@dataclass(frozen=True)
class Found:
    """A list of changes, and what is known of such lists.

    Attributes
    ----------
    changes : Changes
        Chosen on all validation rows.
    std_errors : ndarray of shape (n_changes,)
        Of their effects.
    effects : ndarray of shape (n_validation,)
        On each validation row, of the list that the rows outside its fold choose.
    value : float
        The mean target as the model is.
    related : bool or None
        Whether labels fit predictions; None if it is not about labels.
    n_candidates : int
        How many changes were compared.
    """

    changes: Changes
    std_errors: np.ndarray
    effects: np.ndarray
    value: float
    related: bool | None
    n_candidates: int


def suggest(menu: Menu, validation: Validation, budget: int, random_state) -> Found:
    """Choose changes on all validation rows, and see what such lists are worth."""
    chosen, effects, n_candidates = cross_fit(menu, validation, budget, random_state)
    return Found(
        chosen,
        menu.std_errors(chosen, validation),
        effects,
        float(menu.solved.values(validation.questions()).mean()),
        validation.related(),
        n_candidates,
    )


def cross_fit(
    menu: Menu, validation: Validation, budget: int, random_state, n_folds: int = FOLDS
) -> tuple[Changes, np.ndarray, int]:
    """Return what all validation rows choose, and effects of lists that others chose.

    Parameters
    ----------
    menu : Menu
    validation : Validation
    budget : int
    random_state : RandomState
    n_folds : int

    Returns
    -------
    chosen : Changes
    effects : ndarray of shape (n_validation,)
        On every row, of the list that the rows outside its fold choose.
    n_candidates : int
        How many changes were compared.
    """
    fold = folds(validation.codes, n_folds, random_state)
    inside = fold != np.arange(n_folds)[:, None]
    inside = np.concatenate([inside, np.ones((1, len(fold)), dtype=bool)])
    adjoint = validation.adjoint(inside / inside.sum(axis=1, keepdims=True))
    best, n_candidates = menu.best(adjoint)
    *lists, chosen = [menu.choose(changes, budget) for changes in best]
    effects = np.empty(len(fold))
    for number, changes in enumerate(lists):
        out = np.flatnonzero(fold == number)
        held_out = validation.questions(out)
        after = solve_edited(menu.solved, menu.edited(changes))
        effects[out] = after.values(held_out) - menu.solved.values(held_out)
    return chosen, effects, n_candidates


def solve_edited(solved: Solved, data, tol: float = _TOL) -> Solved:
    """Return the model that training on other data gives."""
    from ..numerics.edits import Limits, solve_edit

    edited = solve_edit(
        solved.bottleneck,
        solved.data,
        data,
        solved.factors,
        penalty=solved.factors.penalty,
        concept_penalty=solved.factors.concept_penalty,
        limits=Limits(tol, _MAX_ITER),
    )
    return replace(solved, bottleneck=edited.bottleneck, data=data)


def folds(codes: np.ndarray, n_folds: int, random_state) -> np.ndarray:
    """Return a random fold for every row, of every class alike."""
    order = np.lexsort((random_state.permutation(len(codes)), codes))
    fold = np.empty(len(codes), dtype=int)
    fold[order] = np.arange(len(codes)) % n_folds
    return fold


def interval_of(effects: np.ndarray) -> tuple[float, float]:
    """Return the confidence interval of the mean effect."""
    n = len(effects)
    reach = stats.t.ppf((1 + _LEVEL) / 2, n - 1) * effects.std(ddof=1) / np.sqrt(n)
    return float(effects.mean() - reach), float(effects.mean() + reach)


def are_related(log_proba: np.ndarray, codes: np.ndarray) -> bool | None:
    """Return whether labels fit predictions better than in another order.

    None if all labels are the same.

    Parameters
    ----------
    log_proba : ndarray of shape (n, n_classes)
    codes : ndarray of shape (n,)
    """
    n = len(codes)
    if (codes == codes[0]).all():
        return None
    shares = np.bincount(codes, minlength=log_proba.shape[1]) / n
    # The mean over all orders of the labels is that over their shares.
    excess = log_proba[np.arange(n), codes] - log_proba @ shares
    return bool(excess.mean() > _UNRELATED * excess.std(ddof=1) / np.sqrt(n))


def check_kinds(kinds, n_concepts: int) -> tuple[str, ...]:
    """Return kinds of changes, each once, that there can be."""
    asked = (kinds,) if isinstance(kinds, str) else kinds
    asked = list(asked) if isinstance(asked, Iterable) else []
    if not asked or any(kind not in KINDS for kind in asked):
        raise ValueError(
            f"kinds={kinds!r} must name some of {', '.join(map(repr, KINDS))}."
        )
    if set(asked) == {"annotate"} and not n_concepts:
        raise ValueError(
            f"kinds={kinds!r} asks for annotations, but the model has no concepts."
        )
    return tuple(kind for kind in KINDS if kind in asked)


def check_budget(budget, n_samples: int) -> int:
    """Return how many changes there may be, a tenth of the rows if nobody says."""
    if budget is None:
        return max(1, round(_SHARE * n_samples))
    if not isinstance(budget, Integral) or isinstance(budget, bool | np.bool_):
        raise TypeError(f"budget must be a whole number or None, got {budget!r}.")
    if budget < 1:
        raise ValueError(f"budget={budget} must be 1 or more: how many changes.")
    return int(budget)


def check_enough(n_validation: int) -> None:
    """Refuse validation rows too few to choose on some and measure on others."""
    if n_validation < LEAST_ROWS:
        raise ValueError(
            f"X has {n_validation} validation rows, but suggestions need at least "
            f"{LEAST_ROWS}: they are chosen on some and measured on others, in "
            f"{FOLDS} folds."
        )


def frame_of(
    found: Found, model, row_weights: np.ndarray, training: pd.DataFrame
) -> pd.DataFrame:
    """Return changes as people read them.

    Parameters
    ----------
    found : Found
    model : ConceptBottleneckClassifier
    row_weights : ndarray of shape (n_samples,)
    training : DataFrame
        What is known of training rows: texts, label, annotations.
    """
    changes = found.changes
    names = ["label", *map(str, model.concept_names_in_)]
    values = [model.classes_, *model.concept_classes_]
    lines = []
    for row, path, value in zip(
        changes.rows.tolist(), changes.paths, changes.values.tolist(), strict=True
    ):
        if path == ROW:
            kind, name = "drop" if value == _DROP else "reweight", "row"
            current, proposed = row_weights[row], value * row_weights[row]
        else:
            kind, name = "relabel" if path == LABEL else "annotate", names[path]
            current = training[name].iloc[row]
            proposed = value if values[path] is None else values[path][int(value)]
        lines.append((row, kind, name, _plain(current), _plain(proposed)))
    columns = ["row", "kind", "path", "current", "proposed"]
    frame = pd.DataFrame(lines, columns=columns, dtype=object).astype({"row": int})
    frame["effect"], frame["std_error"] = changes.effects, found.std_errors
    texts = training.drop(columns=names).iloc[changes.rows].reset_index(drop=True)
    return pd.concat([frame, texts], axis=1)


def warn_unless_helpful(suggestions: EditSuggestions) -> None:
    """Warn of a list that may do no good to rows that did not choose it."""
    if not suggestions.n_chosen or suggestions.helps:
        return
    low, high = suggestions.interval
    good = "positive" if suggestions.higher_is_better else "negative"
    message = (
        f"The suggested changes may not help: where they are not chosen, such lists "
        f"change the {suggestions.target} by {suggestions.effect:+.2g} [{low:+.2g}, "
        f"{high:+.2g}] ({suggestions.unit}, {good} = good). Give more validation rows, "
        "or ask for fewer kinds of changes."
    )
    if suggestions.related is False:
        message = (
            "The suggested changes may not help: the model predicts y no better than "
            "if its labels stood in another order. What helps such labels makes the "
            "model less sure of right ones. Are the rows of X and y in the same order?"
        )
    warnings.warn(message, SuggestionWarning, stacklevel=3)


def warn_of_hard_suggestions(model, kinds: tuple[str, ...]) -> None:
    """Warn that annotations act through hard activations without being seen to."""
    if model.bottleneck != "hard" or not model.n_concepts_ or "annotate" not in kinds:
        return
    warnings.warn(
        "In closed form, a changed annotation flips no hard activation of other rows, "
        "so that the effects of annotations on the label are too small. Use "
        "bottleneck='soft' or 'logit'.",
        InfluenceWarning,
        stacklevel=3,
    )


def _together(parts: list[Changes]) -> Changes:
    return Changes(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("rows", "paths", "values", "effects")
        )
    )


def _plain(value):
    """Return a Python object, None where nothing is known."""
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
