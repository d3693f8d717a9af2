"""Errors and warnings of skclif; each is also one of Python's or scikit-learn's."""

__all__ = [
    "DataFileError",
    "InfluenceWarning",
    "ModelFileError",
    "ReweightingWarning",
    "SuggestionWarning",
    "TrailError",
    "TrailWarning",
    "TruncatedTextWarning",
]


class DataFileError(ValueError):
    """A data file cannot be read as asked; the message names file, column and row."""


class InfluenceWarning(UserWarning):
    """Some influence can be further from retraining than usual, or lose digits."""


class ModelFileError(ValueError):
    """A stored model or audit is damaged, of another format, or something else."""


class ReweightingWarning(UserWarning):
    """Weights stay as given, because too few rows could say how to change them."""


class SuggestionWarning(UserWarning):
    """Suggested changes may not help rows other than those that chose them."""


class TrailError(ValueError):
    """An audit trail was altered or shortened, or does not fit what it is of."""


class TrailWarning(UserWarning):
    """The last line of an audit trail was never finished, and is left out."""


class TruncatedTextWarning(UserWarning):
    """Some texts are longer than the embedding model reads."""
