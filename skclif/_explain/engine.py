"""How influence is computed: the method that is taken, one for all rows or two."""

from __future__ import annotations

from collections.abc import Sequence

from .._cluster.passes import RemoteData
from .._inputs.progress import Progress
from .._inputs.tensors import numbers_of
from ..exceptions import InfluenceWarning, warn_user
from ..numerics.hessians import Factors
from ..numerics.joint_hessian import JointHessian
from ..numerics.targets import Question
from . import on_cluster
from .collect import KeepAll, KeepTop, SumGroups
from .confirm import Answered, Confirming
from .methods import is_differentiable, named_rows
from .solved import Solved
from .work import MOST_WORK, joint_work


def possible(
    solved: Solved, method: str, *, of_groups: bool = False, derivable: bool = True
) -> str:
    """Return a method in place of "auto" where there is nothing to choose from.

    That is "first_order" where nothing else fits the memory, and for groups of rows
    of jointly trained stages. Of single rows of these, it is "newton" if the
    removal of all is little work, or the target cannot be derived. It is
    "first_order" for rows on a cluster.
    """
    if isinstance(solved.data, RemoteData):
        if method not in ("auto", on_cluster.METHOD):
            raise ValueError(
                f"method={method!r} removes rows that have to be in this process, "
                "and these are on a cluster. Use method='first_order' or 'auto'."
            )
        solved.data.check_client()
        return on_cluster.METHOD
    if isinstance(solved.inverse, JointHessian):
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
            work = joint_work(solved.bottleneck, solved.data)
            little = work <= MOST_WORK or not derivable
            return "newton" if little else "first_order"
    if method == "auto" and not isinstance(solved.inverse, Factors):
        return "first_order"
    return method


def taken(
    solved: Solved,
    method: str,
    questions: Sequence[Question],
    *,
    paths: bool,
    progress: Progress,
) -> tuple[str, Confirming | None]:
    """Return the method for all rows, and what confirms the top ones by a better one.

    Parameters
    ----------
    solved : Solved
    method : {"auto", "newton", "leverage", "first_order"}
        A `possible` one. Only "auto" leaves something to choose.
    questions : list of numerics.targets.Question
    paths : bool
        Whether the paths are wanted by themselves.
    progress : Progress
        Shows the bars of both.
    """
    if method != "auto":
        return method, None
    work = solved.work(questions, paths=paths)
    method = work.method(MOST_WORK)
    if method != "leverage":
        return method, None
    derivable = is_differentiable(questions[0].target)
    screen = work.screen(follows=solved.follows and derivable)
    return screen, Confirming(solved, questions, work, screen, paths, progress)


def answer(
    solved: Solved,
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
    solved : Solved
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
    if isinstance(solved.data, RemoteData) and not isinstance(kept, KeepAll):
        return on_cluster.answer(
            solved.data,
            solved.bottleneck,
            solved.adjoints(questions),
            solved.inverse.dtype,
            kept,
            paths=paths,
            progress=progress,
        )
    method, both = taken(solved, method, questions, paths=paths, progress=progress)
    if both is not None and isinstance(kept, KeepAll):
        return both.all_rows(kept)
    if both is not None:
        assert top is not None
        return both.top_rows(len(kept.values), top)
    for answers, block, part in solved.blocks(
        method, questions, paths=paths, progress=progress
    ):
        kept.add(answers, block, part)
    rows = kept.rows if isinstance(kept, KeepTop) else None
    return Answered(method, kept.values, rows)


def warn_of_lost_labels(solved: Solved, method: str) -> None:
    """Warn of rows without which a label has no row left."""
    if method == "first_order":  # a derivative, which loses no row
        return
    alone = numbers_of(solved.data.alone)
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
