"""Few training rows whose removal changes a prediction, from a solved model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning

from .._inputs.checks import count_rows
from .._inputs.progress import Progress
from .._models.fitted import FittedHeads
from .._results.flip_set import FlipSet
from ..exceptions import warn_user
from ..numerics.edits import Limits
from ..numerics.flips import Flips
from ..numerics.joint_hessian import JointHessian
from ..numerics.matrix_free import MatrixFree
from ..numerics.sparse import Matrix
from ..numerics.targets import LabelTarget
from .methods import refuse_joint
from .solved import Solved

# What a search may cost: about half a minute of one core.
_MOST_WORK = 2.4e11
_WIDTHS = (4, 2, 1)


def one_row(X: Any) -> Any:
    """Return the only row of X, a bare text as a list of one."""
    if isinstance(X, str):
        return [X]
    n_rows = count_rows(X)
    if n_rows != 1:
        raise ValueError(
            f"X has {n_rows} rows, but smallest_flip_set explains one prediction. Give "
            "one row, such as X[[0]], X.iloc[[0]] or one text."
        )
    return X


def find_flip_set(
    solved: Solved,
    heads: FittedHeads,
    features: Matrix,
    max_size: int,
    training: pd.DataFrame,
    progress: Progress,
) -> FlipSet:
    """Return few rows without which another class is predicted for one row.

    Parameters
    ----------
    solved : Solved
    heads : FittedHeads
    features : ndarray or SparseFeatures of shape (1, n_features)
    max_size : int
    training : DataFrame
        What is known of each training row.
    progress : Progress
        Shows its bars.
    """
    if isinstance(solved.inverse, JointHessian):
        refuse_joint("smallest_flip_set")
    method, width = _affordable(solved, features, max_size)
    flips = Flips(
        solved.bottleneck,
        solved.data,
        solved.inverse,
        limits=Limits(float(heads.tol), heads.max_iter),
        features=solved.inputs(features),
        method=method,
        width=width,
        **heads.penalties,
    )
    with progress.stage("Looking for a flip set", unit="models") as advance:
        found, models = flips.search(max_size, advance)
    last = models[-1]
    if not last.converged:
        warn_user(
            f"The fit without rows {list(last.rows)} did not converge after "
            f"max_iter={heads.max_iter} steps, so it proves nothing. Raise max_iter, "
            "or lower C and concept_C.",
            ConvergenceWarning,
        )
    classes = heads.classes
    proba = np.stack([model.log_proba.cpu().numpy() for model in models])
    return FlipSet(
        found,
        found and last.converged,
        np.array(last.rows, dtype=int),
        classes[models[0].predicted],
        classes[last.predicted],
        np.exp(proba),
        classes,
        max_size,
        training,
    )


def _affordable(solved: Solved, features: Matrix, max_size: int) -> tuple[str, int]:
    """Return the method, and the number of sets of each size, that take little work."""
    if isinstance(solved.inverse, MatrixFree):
        return "first_order", 1
    questions = solved.questions(
        features, lambda _: LabelTarget("log_proba", solved.data.labels[:1]), None
    )
    work = solved.work(questions, paths=False)
    for method, each in (("newton", work.newton), ("leverage", work.leverage)):
        for width in _WIDTHS:
            n_models = 1 + width * (max_size - 1)
            if n_models * len(solved.data) * each <= _MOST_WORK:
                return method, width
    return "first_order", 1
