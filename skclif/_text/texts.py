"""What all transformers of texts tell scikit-learn."""

from __future__ import annotations

from typing import cast

from sklearn.base import BaseEstimator
from sklearn.utils import Tags


class TakesTextsMixin:
    """A transformer whose input is one text a row."""

    def __sklearn_tags__(self) -> Tags:
        tags = cast(BaseEstimator, super()).__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        return tags
