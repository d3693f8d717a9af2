"""What a head has to offer."""

from .ridge import RidgeHead
from .softmax import SoftmaxHead

Head = SoftmaxHead | RidgeHead
