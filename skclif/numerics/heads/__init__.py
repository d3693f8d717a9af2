"""Linear heads on shared features: softmax, ordinal, and ridge for numbers.

A softmax head with m values has m - 1 *scores* per row, linear in ``[x, 1]``. The
logits of its values are ``scores @ contrasts``. With three values or more, the
contrasts are orthonormal (Helmert). So the penalty on the weights of the scores equals
scikit-learn's penalty on the weights of all m logits, and there is no direction that
shifts all logits alike, along which the loss would be flat. With two values, the only
score is the log-odds of the second value. The only score of a ridge head is its
prediction. An ordinal head has one score that depends on the inputs, and thresholds. A
constant head, for a concept of which one value was seen, has no loss.
"""

from .cone import Cone
from .constant import ConstantHead
from .head import CategoricalHead, Head
from .ordinal import OrdinalHead
from .problem import HeadsProblem
from .ridge import RidgeHead
from .shares import Shares
from .softmax import SoftmaxHead
from .stack import HeadStack

__all__ = [
    "CategoricalHead",
    "Cone",
    "ConstantHead",
    "Head",
    "HeadStack",
    "HeadsProblem",
    "OrdinalHead",
    "RidgeHead",
    "Shares",
    "SoftmaxHead",
]
