"""Linear heads on shared features: softmax for categories, ridge for numbers.

A softmax head with m values has m - 1 *scores* per row, linear in ``[x, 1]``; the
logits of its values are ``scores @ contrasts``. With three values or more the contrasts
are orthonormal (Helmert), so that the penalty on the scores' weights equals
scikit-learn's penalty on the weights of all m logits, while the direction that shifts
every logit alike, along which the loss is flat, does not exist. With two values the one
score is the log-odds of the second value. The one score of a ridge head is its
prediction.
"""

from .head import CategoricalHead, Head
from .problem import HeadsProblem
from .ridge import RidgeHead
from .softmax import SoftmaxHead
from .stack import HeadStack

__all__ = [
    "CategoricalHead",
    "Head",
    "HeadStack",
    "HeadsProblem",
    "RidgeHead",
    "SoftmaxHead",
]
