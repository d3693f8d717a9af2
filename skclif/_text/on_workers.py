"""Texts embedded on the workers of a cluster, into the store of this process."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from .._cluster.embedding import KEPT
from .._inputs.progress import Progress
from ..exceptions import DataFileError
from .embedder import SentenceEmbedder
from .encoder import at_once, longest_first
from .store import EmbeddingStore
from .texts import as_texts
from .weights import find_model

# Tasks for each thread that wait on the cluster: more would only hold texts there.
_WAITING = 3
# Seconds without a result after which it is looked whether there are workers at all.
_PATIENCE = 30

_Part = tuple[list[int], np.ndarray, list[int | None]]


def fill_store(embedder: SentenceEmbedder, texts: Any, client: Any) -> int:
    """Embed the texts that the embedder's store lacks on workers, and store them.

    The embedder then finds all of them. Batches are those of one process, so that the
    same processors give the same bits. A run that is killed loses what workers are at.

    Parameters
    ----------
    embedder : SentenceEmbedder
        With a `cache_dir`, which workers do not see.
    texts : array-like of str
    client : distributed.Client

    Returns
    -------
    n_missing : int
        How many distinct texts were embedded.

    Raises
    ------
    OSError
        If workers cannot load the model, or none are left.
    DataFileError
        If their model is another one.
    """
    assert embedder.cache_dir is not None
    distinct = [*dict.fromkeys(as_texts(texts))]
    keys = embedder._keys(distinct)
    with EmbeddingStore(embedder.cache_dir) as store:
        missing = set(range(len(distinct)))
        for found in store.fetch(keys):
            missing.difference_update(found[0])
        if not missing:
            return 0
        rows = sorted(missing)
        order = [rows[i] for i in longest_first([distinct[row] for row in rows])]
        step = at_once(embedder.batch_size)
        parts = [order[i : i + step] for i in range(0, len(order), step)]
        run = _EmbedOnWorker(embedder)
        with Progress(embedder.verbose).stage(
            "Embedding texts", len(distinct), "texts", n_known=len(distinct) - len(rows)
        ) as advance:
            for own, vectors, limits in _computed(client, run, distinct, parts):
                store.add([keys[row] for row in own], vectors, limits)
                advance(len(own))
    return len(missing)


class _EmbedOnWorker:
    """Embeds texts in a worker, with the model that it has loaded.

    Parameters
    ----------
    embedder : SentenceEmbedder
    """

    def __init__(self, embedder: SentenceEmbedder):
        self.fingerprint = embedder._fingerprint(find_model(embedder.model))
        self.embedder = clone(embedder).set_params(cache_dir=None, verbose=0)
        if Path(embedder.model).is_dir():  # workers may run in another folder
            self.embedder.set_params(model=str(Path(embedder.model).resolve()))

    def __call__(self, texts: list[str]) -> tuple[np.ndarray, list[int | None]]:
        """Return vectors, and where texts were cut, in their order."""
        with KEPT.lock:
            kept = KEPT.like(self.embedder)
            if kept._fingerprint(find_model(kept.model)) != self.fingerprint:
                raise _OtherModelError(self.embedder.model)
            blocks = list(kept._encoded(texts, range(len(texts))))
        rows = [row for own, *_ in blocks for row in own]
        limits = [limit for *_, own in blocks for limit in own]
        places = np.argsort(rows)
        vectors = np.concatenate([vectors for _, vectors, _ in blocks])
        return vectors[places], [limits[i] for i in places]


class _OtherModelError(Exception):
    """The model of a worker has other files."""


def _computed(
    client: Any, run: _EmbedOnWorker, texts: list[str], parts: Sequence[list[int]]
) -> Iterator[_Part]:
    """Yield rows, their vectors and where they were cut, as workers are done."""
    left = iter(parts)
    at_work: dict[Any, list[int]] = {}
    name = str(run.embedder.model)
    try:
        while True:
            most = _WAITING * max(1, sum(client.nthreads().values()))
            while len(at_work) < most and (rows := next(left, None)) is not None:
                batch = [texts[row] for row in rows]
                key = f"skclif-embed-{uuid.uuid4().hex}"
                future = client.submit(run, batch, pure=False, key=key)
                at_work[future] = rows
            if not at_work:
                return
            for future in _finished(client, at_work):
                yield at_work.pop(future), *_result(future, name)
    finally:
        client.cancel(list(at_work))


def _finished(client: Any, futures: dict[Any, list[int]]) -> list[Any]:
    """Wait until some futures are done; refuse to wait for workers that are gone."""
    from distributed import wait

    while True:
        try:
            with client.as_current():
                found = wait(list(futures), _PATIENCE, return_when="FIRST_COMPLETED")
            return list(found.done)
        except TimeoutError as error:
            if client.status == "running" and client.scheduler_info()["workers"]:
                continue
            raise OSError(
                "all workers of the cluster are gone. What was embedded is kept: start "
                "workers, and run the same command again to continue."
            ) from error


def _result(future: Any, model: str) -> tuple[np.ndarray, list[int | None]]:
    """Return what a worker computed, or say in words why it did not."""
    from distributed import KilledWorker

    try:
        found: tuple[np.ndarray, list[int | None]] = future.result()
    except KilledWorker as error:
        raise OSError(
            "several workers died one after the other while they embedded the same "
            "texts; most often they lack memory. Give each more of it, or use fewer. "
            "What was embedded is kept: run the same command again to continue."
        ) from error
    except _OtherModelError as error:
        raise DataFileError(
            f"A worker has another model by the name of {model!r}: its files differ "
            "from those here. Install the same version on all workers, or give a path "
            "that all of them see."
        ) from error
    except RuntimeError as error:
        if "deserialization of the task graph" not in str(error):
            raise
        raise OSError(
            "the Dask scheduler cannot read the tasks: it needs the same versions of "
            "Python, skclif, PyTorch and NumPy as this process, as workers do. Start "
            "it in an environment with skclif[dask]."
        ) from error
    except (OSError, ImportError) as error:
        raise OSError(
            f"a worker cannot use the model {model!r}: {error} Install what it needs "
            "on all workers, such as skclif[offline], or give a path that all of them "
            "see."
        ) from error
    return found
