"""The influence of groups of training rows: each removed as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .._inputs.progress import Progress
from .._models.fitted import FittedHeads
from ..exceptions import InfluenceWarning, warn_user
from ..numerics.removal import add_questions
from ..numerics.sets import Lost, carried_curvature, lost_by, remove_sets
from ..numerics.targets import Question
from .collect import SumGroups
from .confirm import Answered
from .engine import answer
from .solved import Solved
from .work import MOST_WORK

_DOING = {
    "newton": "Groups by newton",
    "leverage": "Groups by leverage",
    "pairwise": "Groups by pairs",
}
_NAMED = 5  # groups in a warning
# Errors relative to the change of parameters from where on newton warns.
_UNFINISHED = 0.1
# Share of a head's curvature from where on methods that keep it warn: a removal moves
# about 1 / (1 - share) times as far as they say.
_LARGE = 0.3


def influence_of_groups(
    solved: Solved,
    method: str,
    questions: Sequence[Question],
    kept: SumGroups,
    *,
    paths: bool,
    progress: Progress,
) -> Answered:
    """Return the influence of groups, each removed as a whole; to first order, sums.

    Groups without which a head has no optimum have NaN.

    Parameters
    ----------
    solved : Solved
    method : {"auto", "newton", "leverage", "pairwise", "first_order"}
        A `possible` one.
    questions : list of numerics.targets.Question
    kept : SumGroups
        Where the influence goes; nothing was added yet.
    paths : bool
        Whether the paths are wanted by themselves.
    progress : Progress
        Shows its bars.
    """
    if method == "first_order":
        return answer(solved, method, questions, kept, paths=paths, progress=progress)
    if method == "auto":
        work = solved.work(questions, paths=paths)
        method = work.method_of_sets(len(kept.names), MOST_WORK)
    if method == "newton":
        solved.check_dense()
    sets = [torch.from_numpy(rows).to(solved.device) for rows in kept.sets()]
    lost = lost_by(solved.bottleneck, solved.data, sets)
    defined = np.array([i for i, what in enumerate(lost) if not what], dtype=int)
    kept.values[:, [i for i, what in enumerate(lost) if what]] = np.nan
    errors = np.zeros(len(sets))
    with progress.stage(_DOING[method], len(defined)) as advance:
        for block, part, error in remove_sets(
            method,
            solved.bottleneck,
            solved.data,
            solved.factors,
            questions,
            [sets[i] for i in defined],
            paths=paths and len(solved.bottleneck.concepts) > 0,
        ):
            at = defined[block]
            _refuse_undefined(part, kept.names[at])
            kept.put(at, add_questions(questions, part).cpu().numpy())
            errors[at] = error.cpu().numpy()
            advance(len(at))
    _warn_of_unfinished(errors, kept.names)
    if method != "newton" and len(defined):
        carried = carried_curvature(
            solved.bottleneck,
            solved.data,
            solved.factors,
            [sets[i] for i in defined],
            but_one=method == "leverage",
        )
        _warn_of_large(carried.cpu().numpy(), kept.names[defined], method)
    return Answered(method, kept.values, lost=lost)


def warn_of_lost_groups(
    heads: FittedHeads, names: np.ndarray, lost: Sequence[Sequence[Lost]]
) -> None:
    """Warn of groups without which a head has no optimum, and say what they hold."""
    held = [i for i, what in enumerate(lost) if what]
    if not held:
        return
    if len(names) == 1:
        warn_user(
            f"The influence of group {_quoted(names[0])} is NaN: all training rows are "
            "in it, and nothing is left to train without it. Pass groups= with two "
            "groups or more, or use method='first_order', which is a derivative.",
            InfluenceWarning,
        )
        return
    told = "; ".join(
        f"group {_quoted(names[i])} has {_in_words(heads, lost[i])}"
        for i in held[:_NAMED]
    )
    more = f"; and {len(held) - _NAMED} more" if len(held) > _NAMED else ""
    warn_user(
        f"The influence of {len(held)} of {len(names)} groups is NaN, because a head "
        f"has no optimum without them: {told}{more}. Put such a group together with "
        "another one, or use method='first_order', which is a derivative.",
        InfluenceWarning,
    )


def _in_words(heads: FittedHeads, lost: Sequence[Lost]) -> str:
    """Return the first of what a group holds in words."""
    concept, code = lost[0]
    if concept is None:
        if code is None:
            return "all labels"
        return f"all rows with the label {_quoted(heads.classes[code])}"
    name = heads.names[concept]
    values = heads.values[concept]
    if code is None or values is None:
        return f"all annotations of {_quoted(name)}"
    return f"all annotations {_quoted(values[code])} of {_quoted(name)}"


def _quoted(value: Any) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)


def _refuse_undefined(influence: torch.Tensor, names: np.ndarray) -> None:
    undefined = ~influence.isfinite().all(dim=2).all(dim=0)
    if undefined.any():
        name = _quoted(names[int(undefined.nonzero()[0])])
        raise ValueError(
            f"The influence of group {name} is not defined: a row of it carries all "
            "the curvature of a head to working precision, or a head without it is not "
            "solved. Use method='first_order', or lower C and concept_C."
        )


def _warn_of_unfinished(errors: np.ndarray, names: np.ndarray) -> None:
    unfinished = errors > _UNFINISHED
    if unfinished.any():
        name = _quoted(names[errors.argmax()])
        warn_user(
            f"The removal of {int(unfinished.sum())} of {len(names)} groups did not "
            f"converge (group {name} is the worst): their influence can be far off. "
            "Lower C and concept_C, or retrain without these rows.",
            InfluenceWarning,
        )


def _warn_of_large(carried: np.ndarray, names: np.ndarray, method: str) -> None:
    large = carried > _LARGE
    if large.any():
        most = carried.argmax()
        warn_user(
            f"Too large for method={method!r}: {int(large.sum())} of {len(names)} "
            f"groups. Without them a head loses more than {_LARGE:.0%} of its "
            f"curvature where it moves (group {_quoted(names[most])}: "
            f"{carried[most]:.0%}), which this method keeps: their influence can be "
            "far off. Use method='newton', or smaller groups.",
            InfluenceWarning,
        )
