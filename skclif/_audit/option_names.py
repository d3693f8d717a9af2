"""Messages of estimators in the words of the commands: options in place of arguments.

Users of a command know its options. Messages that come out of an estimator name its
arguments, which the command set; each is written here again as what to do there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_FEWER = (
    "Leave out a concept with many values, or sort its values into fewer in the file."
)
# What a message says, and what it says on the command line.
_INSTEAD = (
    (r"set concept_C or C to a number", "give --concept-C or --C a number"),
    (r"set concept_C to a number", "give --concept-C a number"),
    (r"set C to a number", "give --C a number"),
    (r"Use long_text='mean'", "Use --long-text mean"),
    (
        r"Lower its weight, or lower C and concept_C\.",
        "Lower its weight, or give --C and --concept-C lower numbers.",
    ),
    (
        r"; raise max_iter=\d+, scale the features, or lower C(, residual_C)? and "
        r"concept_C\.",
        ". Give --C and --concept-C lower numbers.",
    ),
    (
        r"Scale the features and weights, or lower C(, residual_C)? and concept_C\.",
        "Give --C and --concept-C lower numbers.",
    ),
    (r", or lower tol=\S+\.", "."),
    (r" that tol=\S+ asks for", " of an optimum"),
    (
        r"probability_wrong is the same for all values of such a path\.",
        "suspects.csv lists no value of such a path or, with few held-out texts, all "
        "of them alike.",
    ),
    (r"^concept_C='auto' needs", "--concept-C auto needs"),
    (r"^C='auto' needs", "--C auto needs"),
    (
        r"Give a number for (concept_)?C, perhaps found by GridSearchCV; allow .*$",
        f"Give --C and --concept-C numbers. {_FEWER}",
    ),
    (
        r"Influence by method='first_order' needs no factors\. Else allow more .*$",
        _FEWER,
    ),
    (r"^method='newton' needs", "--method newton needs"),
    (r"^device=('[^']*') (is not known|was asked for)", r"--device \1 \2"),
    (
        r"; use device='cpu' or 'auto', or install a CUDA build",
        "; use --device cpu or auto, or install a CUDA build",
    ),
    (r"\bdtype='(\w+)'", r"--dtype \1"),
    (r"\band device='([^']*)'", r"and --device is \1"),
    (r"^text=.* names a column twice\.", "--text names a column twice. Give it once."),
    (
        r"Use method='leverage', which does not, or allow more by .*$",
        "Use --method leverage, which does not.",
    ),
)


_is_command: ContextVar[bool] = ContextVar("_is_command", default=True)


@contextmanager
def arguments_kept() -> Iterator[None]:
    """Leave messages as they are: whoever reads them called Python, not a command."""
    token = _is_command.set(False)
    try:
        yield
    finally:
        _is_command.reset(token)


def by_caller(command: str, python: str) -> str:
    """Return the words for whoever reads a message: of a command, or of Python."""
    return command if _is_command.get() else python


def table_name(name: str) -> str:
    """Return what a table of an audit is called: a file, or part of a report."""
    return by_caller(f"{name}.csv", f"report.{name}")


def in_options(message: str) -> str:
    """Return a message with options of the command in place of arguments."""
    if not _is_command.get():
        return message
    for words, instead in _INSTEAD:
        message = re.sub(words, instead, message)
    return message
