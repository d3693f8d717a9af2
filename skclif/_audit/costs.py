"""How much memory and time an audit takes, before anything is embedded."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from .._models.costs import explained_seconds, explained_size
from .._results.words import how_many
from ..exceptions import DataFileError
from .rows import Reviews, schema_of

_WORTH_SAYING = 2**29  # bytes
_LONG = 20.0  # seconds
_FEW = 10  # values never take much, whatever the number of texts


def cost_note(
    train: Reviews,
    kinds: dict[str, str],
    n_features: Callable[[], int],
    available: int | None = None,
    *,
    residual: bool = False,
) -> str | None:
    """Return how much memory and time these rows take; None if both are little.

    Parameters
    ----------
    train : Reviews
        The rows to train on.
    kinds : dict of str to {"categorical", "continuous"}
        Of the concepts that are numbers.
    n_features : callable
        Returns the length of the vectors of texts; that may load a model.
    available : int, default=None
        Bytes of memory that there are; None for those of this machine.
    residual : bool
        Whether the label sees the texts beside the concepts.

    Raises
    ------
    DataFileError
        If it takes more than there is.
    """
    schema, classes = schema_of(train, kinds), np.unique(train.labels)
    counts = {"the label": len(classes)}
    for name, values in zip(schema.names, schema.classes, strict=True):
        if values is not None:
            counts[repr(name)] = len(values)
    most = max(counts, key=lambda name: counts[name])
    if counts[most] <= _FEW:
        return None
    sizes = (schema, len(classes), len(train), n_features())
    size = explained_size(*sizes, residual=residual)
    seconds = explained_seconds(*sizes)
    if size < _WORTH_SAYING and seconds < _LONG:
        return None
    about = (
        f"Influence, suspects and suggestions take {size / 2**30:.1f} GiB of memory or "
        f"more, and about {_in_words(seconds)} of a processor: "
        f"{how_many(len(train), 'text')}, and {most} has "
        f"{how_many(counts[most], 'value')}."
    )
    if size > (_physical() if available is None else available):
        raise DataFileError(
            f"{about} This machine has less. Sort the values into fewer in the file, "
            "or give fewer texts."
        )
    return about


def _in_words(seconds: float) -> str:
    """Return a time as roughly as it is known."""
    if seconds < 90:
        return f"{max(round(seconds, -1), 10):.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours"


def _physical() -> float:
    """Return the bytes of memory of this machine; any number where it does not say."""
    if not hasattr(os, "sysconf"):
        return float("inf")
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
