"""Which present values are believed wrong, and which values are believed true.

What would help is no reason to call a right value wrong. A present value is replaced
only by the value that the model of suspects believes in. See docs/suggestions.rst.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..suspects import Judged

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


def believe(judged: Judged, n_samples: int) -> Believed:
    """Return what is believed of all present values."""
    shape = n_samples, len(judged.terms)
    wrong, proposed, true = (np.full(shape, np.nan) for _ in range(3))
    for j, (path, terms) in enumerate(judged.terms.items()):
        verdicts, rows = judged.verdicts[path], _numpy(terms.rows)
        wrong[rows, j] = _numpy(verdicts.log_odds.sigmoid())
        proposed[rows, j] = _numpy(verdicts.proposed)
        is_number = not terms.head.is_categorical
        true[rows, j] = wrong[rows, j] if is_number else _numpy(verdicts.probability)
    # No value is NaN, and NaN is above no threshold.
    return Believed(wrong, proposed, (wrong > WRONG) & (true > TRUE))


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array
