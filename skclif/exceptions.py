"""Errors and warnings of skclif; each is also one of Python's or scikit-learn's."""

import sys
import warnings

__all__ = [
    "ConstantConceptWarning",
    "CorrectionWarning",
    "DataFileError",
    "DataFileWarning",
    "InfluenceWarning",
    "InterventionWarning",
    "ManyValuesWarning",
    "ModelFileError",
    "PenaltyWarning",
    "RepeatedTextWarning",
    "ReweightingWarning",
    "SuggestionWarning",
    "SuspectWarning",
    "TrailError",
    "TrailWarning",
    "TruncatedTextWarning",
    "UnseenValueWarning",
]


class _Advising(Exception):
    """A message whose advice differs between Python and the command line.

    Parameters
    ----------
    message : str
        What is wrong.
    python : str, default=""
        What to do in Python.
    command : str, default=""
        What to do on the command line.

    Attributes
    ----------
    for_command : str
        The message with the advice for the command line.
    """

    def __init__(self, message: str, *, python: str = "", command: str = "") -> None:
        super().__init__(f"{message} {python}".strip())
        self.for_command = f"{message} {command}".strip()


class ConstantConceptWarning(UserWarning):
    """A concept has one value only in the rows of a fit, or after an edit."""


class CorrectionWarning(UserWarning):
    """Annotations that correct what prompts say, and confirm nothing."""


class DataFileError(_Advising, ValueError):
    """A data file cannot be read; the message names file, column and row."""


class DataFileWarning(_Advising, UserWarning):
    """A data file may not mean what was read; the message names what it is about."""


class InfluenceWarning(UserWarning):
    """Some influence can be far from what retraining gives, or lose digits."""


class InterventionWarning(UserWarning):
    """To correct concepts may make the label of a model worse."""


class ManyValuesWarning(UserWarning):
    """A concept, a label or groups have so many values that they seem no categories."""


class ModelFileError(ValueError):
    """A stored model or audit is damaged, has another format, or is something else."""


class PenaltyWarning(UserWarning):
    """A penalty was chosen at the edge of what was tried."""


class RepeatedTextWarning(UserWarning):
    """Texts to predict stand among those to train on: scores are too good."""


class ReweightingWarning(UserWarning):
    """Weights are not what was asked for, because there are too few rows."""


class SuggestionWarning(UserWarning):
    """Suggested changes may not help rows other than those that chose them."""


class SuspectWarning(UserWarning):
    """Little or nothing can be said of which labels or annotations are wrong."""


class TrailError(ValueError):
    """An audit trail was altered or shortened, or belongs to another audit."""


class TrailWarning(UserWarning):
    """The last line of an audit trail is incomplete, and is left out."""


class TruncatedTextWarning(UserWarning):
    """Some texts are longer than the embedding model reads."""


class UnseenValueWarning(UserWarning):
    """Annotations have values that a model cannot know, and count as missing."""


# What calls skclif on behalf of somebody else. Python's own `skip_file_prefixes` comes
# with 3.12, and would need scikit-learn to be imported.
_PASSED_THROUGH = {"skclif", "sklearn", "joblib", "contextlib", "functools"}


def for_command(message: BaseException | str) -> str:
    """Return the text of an error or a warning, with advice for the command line."""
    return getattr(message, "for_command", None) or str(message)


def warn_user(message: str | Warning, category: type[Warning]) -> None:
    """Warn at the first frame outside skclif and scikit-learn."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and _package(frame.f_globals) in _PASSED_THROUGH:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _package(names: dict[str, object]) -> str:
    return str(names.get("__name__")).partition(".")[0]
