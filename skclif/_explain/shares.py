"""Influence on several sums of explained rows, from one set of removals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._inputs.progress import Progress
from .collect import KeepAll
from .engine import answer, possible, warn_of_lost_labels
from .methods import path_names, warn_of_hard_activations
from .requests import explained_codes, numeric_targets
from .work import MOST_WORK_OF_AUDIT

if TYPE_CHECKING:
    from .explainer import ConceptInfluenceExplainer


def influence_on_shares(
    explainer: ConceptInfluenceExplainer,
    X: Any,
    y: Any,
    shares: np.ndarray,
    method: str | None = None,
) -> tuple[str, tuple[str, ...], np.ndarray]:
    """Return the influence of every training row on weighted sums of losses, by path.

    The removal of training rows takes most of the time. All sums share it, which
    separate calls of `ConceptInfluenceExplainer.influence` would not.

    Parameters
    ----------
    explainer : ConceptInfluenceExplainer
        A fitted explainer. It does not change.
    X, y
        As in `ConceptInfluenceExplainer.influence`.
    shares : ndarray of shape (n_sums, n_targets)
        The weight of every row in every sum.
    method : {"newton", "leverage", "first_order"}, default=None
        None is the explainer's own method. "auto" is one method for all rows here:
        newton if that takes about a minute or less, and otherwise leverage.

    Returns
    -------
    method : str
        The method that was used.
    paths : tuple of str
    values : ndarray of shape (n_sums, n_train, n_paths)
        On a loss (nats); positive = harmful.
    """
    heads, features = explainer._heads(), explainer._features(X)
    codes = explained_codes(heads, features, y)
    solved = explainer._solved_model()
    about = numeric_targets(heads, "loss", codes, solved.device)
    method = possible(solved, explainer.method if method is None else method)
    paths = path_names(heads, method)
    kept = KeepAll.in_memory(len(shares), explainer.n_samples_, len(paths), paths=True)
    questions = solved.questions(features, about, shares)
    if method == "auto":
        method = solved.work(questions, paths=True).method(MOST_WORK_OF_AUDIT)
    progress = Progress(explainer.verbose)
    answered = answer(solved, method, questions, kept, paths=True, progress=progress)
    warn_of_lost_labels(solved, method)
    warn_of_hard_activations(heads, method)
    return method, paths, answered.values
