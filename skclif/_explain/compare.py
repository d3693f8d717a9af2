"""Each method of influence, compared with leave-one-out retraining."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from .._inputs.progress import Progress
from .._results.validation import Agreement, ValidationResult, resolution
from ..exceptions import InfluenceWarning, warn_user
from ..numerics.targets import Question
from .methods import METHODS
from .solved import Solved


def check_methods(methods: Any, *, is_joint: bool = False) -> tuple[str, ...]:
    """Return names of methods, each once, without "auto".

    Of jointly trained stages, "leverage" and "pairwise" are left out, unless nothing
    else is asked for.
    """
    known = METHODS[1:]
    asked = (methods,) if isinstance(methods, str) else methods
    asked = list(asked) if isinstance(asked, Iterable) else []
    if not asked or any(method not in known for method in asked):
        raise ValueError(
            f"methods={methods!r} must name some of {', '.join(map(repr, known))}."
        )
    out = ("leverage", "pairwise") if is_joint else ()
    left = [method for method in asked if method not in out]
    if not left:
        raise ValueError(
            f"methods={methods!r} must name 'newton' or 'first_order' for a model of "
            "training='joint': others are for heads that are each at their own "
            "optimum."
        )
    return tuple(dict.fromkeys(left))


def compare_with_retraining(
    solved: Solved,
    questions: Sequence[Question],
    paths: tuple[str, ...],
    *,
    n_rows: int,
    n_paths: int,
    methods: tuple[str, ...],
    random_state: np.random.RandomState,
    target: str,
    unit: str,
    progress: Progress,
) -> ValidationResult:
    """Leave out rows, and single terms of some rows, by retraining and by each method.

    `paths` are the names of the loss terms. The other arguments are the checked
    arguments of :meth:`ConceptInfluenceExplainer.validate`.
    """
    timed = partial(_timed, solved, questions=questions, progress=progress)
    rows = _influential_and_random(solved, questions, n_rows, random_state, progress)
    path_rows = np.sort(random_state.permutation(rows)[:n_paths])
    agreements: dict[tuple[str, str], Agreement] = {}
    ratios: dict[tuple[str, str], float] = {}
    shares = {"row": 1.0}
    truth, seconds = timed("retraining", rows=rows, paths=False)
    least = resolution(truth.sum(axis=2))
    if not truth.any():
        warn_user(
            f"target={target} did not change when any of {len(rows)} training rows was "
            "left out and the model retrained, so there is nothing to compare: errors "
            "and correlations are NaN. Does it depend on the predicted probabilities?",
            InfluenceWarning,
        )
    for method in methods:
        values, own = timed(method, rows=rows, paths=False)
        both = values.sum(axis=2), truth.sum(axis=2)
        agreements[method, "row"] = Agreement(*both, least)
        ratios[method, "row"] = seconds / own
    if not len(path_rows):
        return ValidationResult(
            target, unit, rows, path_rows, agreements, ratios, shares
        )
    weights = solved.data.rows(torch.from_numpy(path_rows))
    present = np.column_stack(
        [weights.label_weights.cpu() > 0, weights.concept_weights.cpu() > 0]
    )
    if solved.bottleneck.residual_scale is not None:  # the label's second path
        present = np.column_stack([present, present[:, 0]])
    present = np.column_stack([present, present.any(axis=1)])
    truth, seconds = timed("retraining", rows=path_rows, paths=True)
    whole = np.linalg.norm(truth.sum(axis=2))
    named = [*paths, "interaction"][: truth.shape[2]]
    for k, path in enumerate(named):
        size = np.linalg.norm(truth[:, :, k])
        shares[path] = float(size / whole) if whole > 0 else float("nan")
    for method in methods:
        values, own = timed(method, rows=path_rows, paths=True)
        ratios[method, "paths"] = seconds / own
        for k, path in enumerate(named[: values.shape[2]]):
            if present[:, k].any():
                there = values[:, present[:, k], k], truth[:, present[:, k], k]
                agreements[method, path] = Agreement(*there, least)
    return ValidationResult(target, unit, rows, path_rows, agreements, ratios, shares)


def _influential_and_random(
    solved: Solved,
    questions: Sequence[Question],
    n_rows: int,
    random_state: np.random.RandomState,
    progress: Progress,
) -> np.ndarray:
    """Return rows: first the most influential over all targets, then random others.

    Rows whose influence is not defined are left out.
    """
    total = np.zeros(len(solved.data.features))
    screen = "first_order" if solved.is_joint else "leverage"
    for _, block, part in solved.blocks(
        screen, questions, paths=False, progress=progress
    ):
        total[block] += np.abs(part.sum(axis=2)).sum(axis=0)
    order = np.argsort(-total, kind="stable")
    order = order[~solved.without_optimum[order]]
    top = order[: n_rows // 2]
    rest = random_state.permutation(np.sort(order[len(top) :]))
    return np.concatenate([top, rest[: n_rows - len(top)]])


def _timed(
    solved: Solved,
    method: str,
    *,
    questions: Sequence[Question],
    rows: np.ndarray,
    paths: bool,
    progress: Progress,
) -> tuple[np.ndarray, float]:
    """Return influence of rows, (n_answers, n_rows, n_paths), and seconds."""
    start = time.perf_counter()
    blocks = list(
        solved.blocks(method, questions, paths=paths, rows=rows, progress=progress)
    )
    n_answers = max(answers.stop for answers, _, _ in blocks)
    values = np.empty((n_answers, len(rows), blocks[0][2].shape[2]))
    for answers, block, part in blocks:
        values[answers, block] = part
    return values, time.perf_counter() - start
