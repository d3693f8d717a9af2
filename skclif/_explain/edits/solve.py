"""From a checked edit to the edited model, and the record of it."""

from __future__ import annotations

import json
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..._inputs.pipelines import final_step, with_final_step
from ..._inputs.training_rows import TrainingSet
from ..._models.linear import as_bottleneck, with_parameters
from ..._results.edits import EditRecord, HeadRecord
from ..._storage.digests import sha256_of
from ..requests import numeric_targets
from .edit import Edit

if TYPE_CHECKING:
    import torch

    from ...numerics.hessians import Factors


@dataclass(frozen=True)
class Edited:
    """An edited model, its training rows, and how it was solved.

    Attributes
    ----------
    estimator : estimator
    rows : TrainingSet
    heads : tuple of HeadRecord
    factors : numerics.hessians.Factors or None
        As given, of the concepts that are left.
    seconds : float
    """

    estimator: object
    rows: TrainingSet
    heads: tuple[HeadRecord, ...]
    factors: Factors | None
    seconds: float


def edit_model(
    estimator,
    old: TrainingSet,
    edit: Edit,
    factors: Factors | None,
    device: torch.device,
    n_steps: int | None,
    *,
    settled: bool,
) -> Edited:
    """Apply an edit and solve both stages again.

    Parameters
    ----------
    estimator : estimator
        Fitted to `old`.
    old : TrainingSet
    edit : Edit
    factors : numerics.hessians.Factors or None
        Of about this model, in the coordinates that these rows are solved in.
    device : torch.device
    n_steps : int or None
        Most Newton steps.
    settled : bool
        Whether every head stands at its optimum for `old`.

    Warns
    -----
    ConvergenceWarning
        If a head did not reach its optimum, and nobody said to stop before.
    """
    from ...numerics.edits import KEPT, Limits, solve_edit

    start = time.perf_counter()
    last = final_step(estimator)
    model = as_bottleneck(last)
    new = edit.apply(model, old)
    if edit.dropped_concepts:
        new = new.without_concepts(edit.dropped_concepts)
    data, basis = new.data().to(device).in_row_space()
    solution = solve_edit(
        model._bottleneck(device).rotated(basis),
        old.data().to(device),
        data,
        factors,
        penalty=1 / model.C,
        concept_penalty=1 / model.concept_C,
        limits=Limits(float(model.tol), model.max_iter, n_steps),
        dropped=edit.dropped_concepts,
        settled=settled,
    )
    back = None if basis is None else basis.T
    way = solution.way
    edited = with_parameters(
        last,
        solution.bottleneck.rotated(back),
        max(way.n_steps),
        [start == KEPT for start in way.start],
        edit.dropped_concepts,
    )
    names = [*np.delete(model.concept_names_in_, edit.dropped_concepts), "label"]
    parts = zip(names, *vars(way).values(), strict=True)
    heads = tuple(HeadRecord(str(name), *rest) for name, *rest in parts)
    if n_steps is None:
        _warn_unless_converged(heads, model.max_iter)
    seconds = time.perf_counter() - start
    whole = with_final_step(estimator, edited)
    return Edited(whole, new, heads, solution.factors, seconds)


def effects(
    solved, model, edited_model, edit: Edit, new: TrainingSet, features, codes
) -> tuple[float | None, float]:
    """Return the predicted and the achieved effect on the mean log-loss of rows.

    Parameters
    ----------
    solved : Solved
        Before the edit.
    model, edited_model : ConceptBottleneckClassifier
    edit : Edit
    new : TrainingSet
        After the edit.
    features : ndarray of shape (n_targets, n_features)
    codes : ndarray of shape (n_targets,)
        Of their labels.
    """
    from ...numerics.edits import predicted_effect

    about = numeric_targets(model, "loss", codes, solved.device)
    before, after = (_mean_loss(one, features, codes) for one in (model, edited_model))
    # Features of added rows may leave the span that factors are written in.
    outside = solved.basis is not None and edit.added is not None
    if edit.dropped_concepts or outside:
        return None, after - before
    data = new.data().to(solved.device)
    if solved.basis is not None:
        data, _ = data.in_row_space()
    questions = solved.questions(features, about, "mean")
    predicted = predicted_effect(solved.bottleneck, data, solved.factors, questions)
    return predicted, after - before


def write_record(
    estimator, old: TrainingSet, edit: Edit, edited: Edited, n_steps, effect
) -> EditRecord:
    """Return the record of an edit; `effect` is the predicted and the achieved one."""
    from ..._version import __version__

    before, after = final_step(estimator), final_step(edited.estimator)
    model = as_bottleneck(before)
    models = fingerprints(_parameters(before), _parameters(after))
    left = np.delete(model.concept_names_in_, edit.dropped_concepts)
    rows = fingerprints(
        {
            **old.arrays(),
            "classes": model.classes_,
            "concepts": model.concept_names_in_,
        },
        {**edited.rows.arrays(), "classes": model.classes_, "concepts": left},
    )
    return EditRecord(
        changes=edit.changes(model, old),
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
    )


def _mean_loss(model, features: np.ndarray, codes: np.ndarray) -> float:
    import torch

    from ...numerics.targets import LabelTarget, evaluate

    target = LabelTarget("loss", torch.from_numpy(codes))
    rows = torch.from_numpy(features)
    return float(evaluate(target, model._bottleneck(), rows).mean())


def _parameters(model) -> dict[str, np.ndarray]:
    """Return the fitted parameters of a model by name."""
    arrays = {"coef_": model.coef_, "intercept_": model.intercept_}
    for name in ("concept_coef_", "concept_intercept_"):
        for j, array in enumerate(getattr(model, name, [])):
            arrays[f"{name} {j}"] = array
    return arrays


def _warn_unless_converged(heads: tuple[HeadRecord, ...], max_iter: int) -> None:
    for head in heads:
        if not head.converged:
            warnings.warn(
                f"The head of {head.head!r} stopped at a gradient norm of "
                f"{head.after:.2g} after {head.n_steps} Newton steps, above the "
                f"{head.tolerance:.2g} of the optimum; raise max_iter={max_iter}, "
                "scale the features, or lower C and concept_C.",
                ConvergenceWarning,
                stacklevel=4,
            )


def fingerprints(*sets: dict[str, np.ndarray]) -> list[str]:
    """Return the SHA-256 of sets of named arrays; what they share is read once."""
    digests: dict[int, str] = {}
    found = []
    for arrays in sets:
        for array in arrays.values():
            if id(array) not in digests:
                plain = array.astype(str) if array.dtype == object else array
                digests[id(array)] = sha256_of([(plain.dtype.str, plain)])
        named = {name: digests[id(array)] for name, array in arrays.items()}
        found.append(sha256_of([], json.dumps(named).encode()))
    return found
