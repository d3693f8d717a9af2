"""Which present values are believed wrong, and which values are believed true.

What would help is no reason to call a right value wrong. A present value is replaced
only by the value that the model of suspects believes in. See docs/suggestions.rst.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..._inputs.progress import SILENT, Progress
from ..._inputs.tensors import numbers_of
from ..solved import Solved
from ..sources import Sources
from ..suspects import (
    Values,
    judge_values,
    left_out_terms,
    undefined_terms,
    warn_of_unknown,
)

# A present value is replaced only where it is wrong with more than this probability,
WRONG = 0.5
# and the proposed value is the true one with more than this. No single number has a
# probability: a number is replaced where it is wrong with more than this.
TRUE = 0.6


@dataclass(frozen=True)
class Believed:
    """What is believed of the present values of training rows.

    Columns are the label and the concepts, in the order of the heads.

    Attributes
    ----------
    probability_wrong : ndarray of shape (n_samples, 1 + n_concepts)
        NaN where there is no value, or a value of weight 0.
    proposed : ndarray of shape (n_samples, 1 + n_concepts)
        The code or the number that would take the place of the present one.
    replaceable : ndarray of bool of shape (n_samples, 1 + n_concepts)
        Whether the present value is believed wrong, and the proposed value true.
    """

    probability_wrong: np.ndarray
    proposed: np.ndarray
    replaceable: np.ndarray


def believe(
    solved: Solved,
    values: Values,
    ranks: dict[str, np.ndarray],
    groups: Sources | None,
    progress: Progress = SILENT,
) -> Believed:
    """Return what is believed of all present values.

    Nothing is believed of a path with a value that determines its head alone: the head
    says nothing without it, nor of a constant, whose value nothing contradicts. Where
    the head knows nothing of its values, none of them is replaceable.

    Parameters
    ----------
    solved : Solved
    values : dict of str to ndarray or None
        Values of every path, in the order of the heads.
    ranks : dict of str to ndarray
        Ranks of the values of ordered paths.
    groups : Sources or None
        Of the training rows.
    progress : Progress
        Shows its bars.
    """
    terms = left_out_terms(solved, values, progress)
    known = {
        path: values[path]
        for path, term in terms.items()
        if not (undefined_terms(term).any() or term.is_constant)
    }
    verdicts = judge_values(terms, known, list(known), ranks, groups, progress)
    warn_of_unknown(verdicts)
    shape = len(solved.data), len(values)
    wrong, proposed, true = (np.full(shape, np.nan) for _ in range(3))
    for j, path in enumerate(values):
        if path not in known:
            continue
        rows = numbers_of(terms[path].rows)
        wrong[rows, j] = numbers_of(verdicts[path].log_odds.sigmoid())
        proposed[rows, j] = numbers_of(verdicts[path].proposed)
        true[rows, j] = numbers_of(verdicts[path].probability)
        if values[path] is None:
            true[rows, j] = wrong[rows, j]
    # What is not judged is NaN, and NaN is above no threshold.
    return Believed(wrong, proposed, (wrong > WRONG) & (true > TRUE))
