"""Errors and warnings of skclif; each is also one of Python's or scikit-learn's."""

__all__ = [
    "DataFileError",
    "InfluenceWarning",
    "ReweightingWarning",
    "SuggestionWarning",
    "TruncatedTextWarning",
]


class DataFileError(ValueError):
    """A data file cannot be read as asked; the message names file, column and row."""


class InfluenceWarning(UserWarning):
    """Some influence can be further from retraining than usual, or lose digits."""


class ReweightingWarning(UserWarning):
    """Weights stay as given, because too few rows could say how to change them."""


class SuggestionWarning(UserWarning):
    """Suggested changes may not help rows other than those that chose them."""


class TruncatedTextWarning(UserWarning):
    """Some texts are longer than the embedding model reads."""
