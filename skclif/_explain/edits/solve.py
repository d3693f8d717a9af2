"""From a checked edit to the edited model, and the record of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from ..._inputs.learning import warn_of_constants
from ..._inputs.pipelines import final_step, with_final_step
from ..._inputs.progress import Progress
from ..._inputs.training_rows import TrainingRows, as_features
from ..._models.fitted import FittedHeads, concept_heads
from ..._results.edits import EditRecord, EditResult, HeadRecord
from ..._storage.digests import sha256_of
from ..._version import __version__
from ...exceptions import warn_user
from ...numerics.edits import KEPT, Limits, predicted_effect, solve_edit
from ...numerics.heads import HeadStack
from ...numerics.hessians import Factors
from ...numerics.sparse import Matrix, SparseFeatures
from ...numerics.stored import StoredFeatures
from ...numerics.targets import SetTarget, evaluate
from ..methods import is_differentiable
from ..requests import numeric_targets, shares_of
from ..solved import Solved
from .edit import Edit
from .empty import Empty
from .grown import values_gone
from .verdicts import (
    balance,
    group_losses,
    groups_by_label,
    reliance,
    warn_of_dependence,
)


@dataclass(frozen=True)
class Edited:
    """An edited model, its training rows, and how it was solved.

    Attributes
    ----------
    estimator : estimator
    rows : TrainingRows
    heads : tuple of HeadRecord
    factors : numerics.hessians.Factors or None
        The given factors, without those of dropped concepts.
    seconds : float
    empty : Empty
        Values that went from the model.
    gone : dict of str to dict of int to object
        Annotations of these values, by concept and row.
    """

    estimator: Any
    rows: TrainingRows
    heads: tuple[HeadRecord, ...]
    factors: Factors | None
    seconds: float
    empty: Empty
    gone: dict[str, dict[int, Any]]

    def aside(self, before: dict[str, dict[int, Any]]) -> dict[str, dict[int, Any]]:
        """Return the annotations that the model does not know, of rows without weight.

        Parameters
        ----------
        before : dict of str to dict of int to object
            Those before the edit, by concept and row.
        """
        heads = FittedHeads.of(final_step(self.estimator))
        found = {}
        for name, codes in zip(heads.names, self.rows.codes.T, strict=True):
            values = {**before.get(name, {}), **self.gone.get(name, {})}
            left = {row: v for row, v in values.items() if np.isnan(codes[row])}
            if left:
                found[name] = left
        return found


def edit_model(
    estimator: Any,
    old: TrainingRows,
    edit: Edit,
    factors: Factors | None,
    device: torch.device,
    n_steps: int | None,
    *,
    settled: bool,
    progress: Progress,
) -> Edited:
    """Apply an edit and solve both stages again.

    Parameters
    ----------
    estimator : estimator
        Fitted to `old`.
    old : TrainingRows
    edit : Edit
    factors : numerics.hessians.Factors or None
        Factors of this model or a similar model, in the coordinates in which these rows
        are solved.
    device : torch.device
    n_steps : int or None
        Maximum number of Newton steps per stage. None runs to convergence.
    settled : bool
        Whether every head is at its optimum for `old`.
    progress : Progress
        Shows its bars.

    Raises
    ------
    ValueError
        If the edit leaves a class or a value of a concept without weight.

    Warns
    -----
    ConstantConceptWarning
        If one value of a concept is left.
    ConvergenceWarning
        If a head did not reach its optimum, although `n_steps` is None.
    """
    start = time.perf_counter()
    last = final_step(estimator)
    heads, old = edit.grow(FittedHeads.of(last), old)
    new, empty = edit.apply(heads, old)
    warn_of_constants(empty.constants(heads))
    if edit.grown.values or edit.releases:  # another Hessian, of more parameters
        factors = None
    gone = values_gone(heads, new, empty)
    if empty:  # in the codes of the model without these values
        old, new = empty.recode(heads, old), empty.recode(heads, new)
        heads, factors = empty.remove_from(heads), None
    heads = heads.hold(edit.concept_weights)
    grown = [j for j in edit.grown.values if j not in edit.dropped_concepts]
    if edit.dropped_concepts:
        new = new.without_concepts(edit.dropped_concepts)
    data, span = new.data().to(device), None
    if factors is not None or not isinstance(data.features, SparseFeatures):
        data, span = data.in_row_space()
    with progress.stage("Solving again", unit="Newton steps") as advance:
        solution = solve_edit(
            heads.tensors(device, new.shares).inside(span),
            old.data().to(device),
            data,
            factors,
            **heads.penalties,
            limits=Limits(float(heads.tol), heads.max_iter, n_steps),
            dropped=edit.dropped_concepts,
            reshaped=[*empty.concepts, *grown],
            label_reshaped=bool(empty.labels),
            label_moved=bool(edit.concept_weights),
            settled=settled,
            concept_weight=heads.concept_weight,
            advance=advance,
        )
    way = solution.way
    edited = heads.with_parameters(
        solution.bottleneck.outside(span),
        [start == KEPT for start in way.start],
        edit.dropped_concepts,
    )
    parts = zip([*edited.names, "label"], *vars(way).values(), strict=True)
    records = tuple(HeadRecord(*part) for part in parts)
    if n_steps is None:
        _warn_unless_converged(records, edited)
    model = edited.copy_to(last, max(way.n_steps))
    if edited.n_concepts:
        model._note_correction(edited.tensors(device, new.shares), new.data())
    seconds = time.perf_counter() - start
    whole = with_final_step(estimator, model)
    return Edited(whole, new, records, solution.factors, seconds, empty, gone)


def effects(
    solved: Solved,
    heads: FittedHeads,
    edit: Edit,
    edited: Edited,
    features: Matrix,
    codes: np.ndarray,
    target: Any = "loss",
) -> tuple[float | None, float]:
    """Return the predicted and the achieved effect on a target of rows, or its mean.

    Parameters
    ----------
    solved : Solved
        The model before the edit.
    heads : FittedHeads
        Before the edit.
    edit : Edit
    edited : Edited
    features : ndarray or SparseFeatures of shape (n_targets, n_features)
    codes : ndarray of shape (n_targets,)
        Codes of the labels.
    target : object, default="loss"
        Checked, as in :meth:`ConceptInfluenceExplainer.edit`.
    """
    about = numeric_targets(heads, target, codes, solved.device, features)
    change = _change(heads, edited, features, codes, target)
    # Features of added rows may leave the span that the factors belong to.
    outside = solved.span is not None and edit.added is not None
    changed = edit.dropped_concepts or edit.concept_weights or edit.grown.values
    if changed or edited.empty or outside:
        return None, change
    data = edited.rows.data().to(solved.device)
    if solved.span is not None:
        data, _ = data.in_row_space()
    questions = solved.questions(features, about, shares_of("mean", len(features)))
    if not is_differentiable(questions[0].target):
        return None, change
    # The same heads, with the soft annotations that came with the edit.
    shares, device = edited.rows.shares, solved.device
    stack = HeadStack(concept_heads(heads.schema, heads.activation, shares, device))
    bottleneck = replace(solved.bottleneck, concepts=stack)
    predicted = predicted_effect(bottleneck, data, solved.inverse, questions)
    return predicted, change


def write_record(
    estimator: Any,
    old: TrainingRows,
    edit: Edit,
    edited: Edited,
    n_steps: int | None,
    effect: tuple[float | None, float | None],
    on: tuple[str, str, bool | None],
    verdict: dict[str, Any],
) -> EditRecord:
    """Return the record of an edit, with its effects and what it says of concepts.

    `on` is name, unit and direction of what they are effects on.
    """
    before = FittedHeads.of(final_step(estimator))
    after = FittedHeads.of(final_step(edited.estimator))
    models = fingerprints(_parameters(before), _parameters(after))
    rows = fingerprints(
        *(
            {
                **rows.arrays(),
                "classes": heads.classes,
                "concepts": np.asarray(heads.names, dtype=object),
            }
            for rows, heads in ((old, before), (edited.rows, after))
        )
    )
    return EditRecord(
        changes=edit.changes(
            *edit.grow(before, old), edited.empty, edited.rows.label_weights
        ),
        n_steps=n_steps,
        heads=edited.heads,
        predicted_effect=effect[0],
        achieved_effect=effect[1],
        seconds=edited.seconds,
        data_before=rows[0],
        data_after=rows[1],
        model_before=models[0],
        model_after=models[1],
        version=__version__,
        target=on[0],
        unit=on[1],
        higher_is_better=on[2],
        **verdict,
    )


def verdict_of(
    models: Sequence[FittedHeads],
    means: Sequence[np.ndarray],
    old: TrainingRows,
    edit: Edit,
    edited: Edited,
    features: Matrix | None,
    codes: np.ndarray | None,
    groups: np.ndarray | None,
) -> dict[str, Any]:
    """Return what the record of an edit says of concepts and of groups of rows.

    Parameters
    ----------
    models : sequence of two FittedHeads
        Before the edit and after.
    means : sequence of two ndarray of shape (n_activations,)
        Their mean activations in training.
    old : TrainingRows
        Before the edit.
    edit : Edit
    edited : Edited
    features : ndarray or SparseFeatures of shape (n_rows, n_features), or None
        Of the validation rows.
    codes : ndarray of shape (n_rows,) or None
        Their labels, as the model before the edit codes them.
    groups : ndarray of shape (n_rows,) or None
        Groups of the validation rows.
    """
    found: dict[str, Any] = {}
    if edit.judged:
        rows = old.features if features is None else features
        found["reliance"] = reliance(models, means, rows)
    if edit.rebalanced or old.label_weights is not None:
        heads, rows_before = edit.grow(models[0], old)
        rows_after, _ = edit.apply(heads, rows_before)
        # Weights of an earlier edit do not say which concepts they are for.
        asked = edit.rebalanced or range(heads.n_concepts)
        parts = balance(heads, (rows_before, rows_after), asked)
        found["balance"], found["effective_sample_size"] = parts
        if edit.rebalanced:
            warn_of_dependence(found["balance"])
    if features is None or codes is None or (groups is None and not edit.judged):
        return found
    if groups is None:
        groups = groups_by_label(models[0], features, codes, edit.judged)
    both = codes, edited.empty.new_labels(models[0], codes)
    found["group_losses"] = group_losses(models, features, both, groups)
    return found


def heads_of_edit(result: EditResult) -> tuple[FittedHeads, FittedHeads]:
    """Return the heads before and after an edit, seen to be those of its record.

    Raises
    ------
    ValueError
        If one of the models is not there any more.
    """
    if result.before is None:
        raise ValueError(
            "This result holds no model from before the edit, because an older version "
            "of skclif made it. Edit again, and compare the new result."
        )
    before, after = (
        FittedHeads.of(final_step(model)) for model in (result.before, result.estimator)
    )
    found = fingerprints(_parameters(before), _parameters(after))
    if found != [result.record.model_before, result.record.model_after] or (
        result.explainer.estimator_ is not result.estimator
    ):
        raise ValueError(
            "The model before or after the edit was fitted again since, so the edit "
            "cannot be compared with it. Edit again, and compare before you fit."
        )
    return before, after


def _change(
    before: FittedHeads,
    edited: Edited,
    features: Matrix,
    codes: np.ndarray,
    target: Any,
) -> float:
    """Return by how much an edit changed a target of rows, or its mean over them."""
    after, rows = FittedHeads.of(final_step(edited.estimator)), as_features(features)
    everyone, device = slice(0, len(features)), torch.device("cpu")
    old = numeric_targets(before, target, codes, device, features)(everyone)
    value = evaluate(old, before.tensors(), rows).mean()
    if isinstance(old, SetTarget):  # of the classes before the edit
        found = after.tensors().label_probabilities(rows)
        proba = found.new_zeros(len(found), len(before.classes))
        proba[:, np.searchsorted(before.classes, after.classes)] = found
        return float(old.function(proba) - value)
    new_codes = edited.empty.new_labels(before, codes)
    new = numeric_targets(after, target, new_codes, device)(everyone)
    return float(evaluate(new, after.tensors(), rows).mean() - value)


def _parameters(heads: FittedHeads) -> dict[str, np.ndarray]:
    """Return the fitted parameters of a model by name."""
    arrays = {"coef_": heads.coef, "intercept_": heads.intercept}
    if heads.residual_coef is not None:
        arrays["residual_coef_"] = heads.residual_coef
    for j, (coef, intercept) in enumerate(
        zip(heads.concept_coef, heads.concept_intercept, strict=True)
    ):
        arrays |= {f"concept_coef_ {j}": coef, f"concept_intercept_ {j}": intercept}
    return arrays


def _warn_unless_converged(records: tuple[HeadRecord, ...], heads: FittedHeads) -> None:
    left = [head for head in records if not head.converged]
    if heads.is_joint:  # all heads took the same steps
        left = sorted(left, key=lambda head: head.tolerance / head.after)[:1]
    for head in left:
        norm, raised = f"at a gradient norm of {head.after:.2g}", ""
        done = f"The head of {head.head!r} stopped {norm} after {head.n_steps} Newton"
        if heads.is_joint:
            raised = " or concept_weight"
            done = (
                f"Training both stages together stopped {norm} in the head of "
                f"{head.head!r} after {head.n_steps} L-BFGS"
            )
        warn_user(
            f"{done} steps, above the {head.tolerance:.2g} of the optimum; raise "
            f"max_iter={heads.max_iter}{raised}, scale the features, or lower C and "
            "concept_C.",
            ConvergenceWarning,
        )


def fingerprints(*sets: dict[str, Any]) -> list[str]:
    """Return the SHA-256 of sets of named arrays; shared arrays are read once."""
    digests: dict[int, str] = {}
    found = []
    for arrays in sets:
        for array in arrays.values():
            if id(array) not in digests:
                digests[id(array)] = sha256_of(
                    [(part.dtype.str, part) for part in _plain(array)]
                )
        named = {name: digests[id(array)] for name, array in arrays.items()}
        found.append(sha256_of([], json.dumps(named).encode()))
    return found


def _plain(array: Any) -> list[np.ndarray]:
    """Return arrays of bytes that tell an array from others."""
    if isinstance(array, SparseFeatures | StoredFeatures):
        return array.parts()
    if isinstance(array, dict):  # shares, by the number of values
        return [array[n_values] for n_values in sorted(array)]
    return [array.astype(str) if array.dtype == object else array]
