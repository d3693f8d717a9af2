"""Texts on workers, embedded where they lie: one model a worker."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from .collections import check_kind, is_frame
from .lazily import map_partitions


class _Kept:
    """The embedder that this process used last, with its model."""

    def __init__(self) -> None:
        self.embedder: Any = None
        self.lock = threading.RLock()

    def like(self, embedder: Any) -> Any:
        """Return the kept embedder if it is a clone, and otherwise keep this one."""
        with self.lock:
            if self.embedder is None or _of(self.embedder) != _of(embedder):
                self.embedder = embedder
            return self.embedder


def _of(embedder: Any) -> tuple[type, str]:
    return type(embedder), repr(embedder.get_params(deep=False))


KEPT = _Kept()


class EmbedderOnWorkers:
    """Embeds blocks of texts in a worker, with the model that it has loaded.

    Parameters
    ----------
    embedder : SentenceEmbedder
    """

    def __init__(self, embedder: Any):
        self.embedder = embedder

    def transform(self, X: Any) -> np.ndarray:
        """Return the vectors of texts."""
        with KEPT.lock:
            vectors: np.ndarray = KEPT.like(self.embedder).transform(X)
        return vectors


def check_column(X: Any) -> None:
    """Refuse Dask collections that are no column of texts.

    Raises
    ------
    TypeError, ValueError
    """
    check_kind("X", X)
    n_columns = 1 if X.ndim == 1 else len(X.columns) if is_frame(X) else X.shape[1]
    if n_columns != 1:
        kind = "dataframe" if is_frame(X) else "array"
        raise ValueError(
            f"X is a Dask {kind} of {n_columns} columns; the texts must be one column, "
            "for example X['text']."
        )


def embed_partitions(embedder: Any, X: Any, n_features: int) -> Any:
    """Return the vectors of a Dask array or column of texts, as a lazy Dask array."""
    example = np.empty((1, n_features), dtype=np.float32)
    return map_partitions(EmbedderOnWorkers(embedder), "transform", X, example)
