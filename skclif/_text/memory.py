"""Vectors in the memory of the process, shared by all embedders and their clones.

A search clones its pipeline for every candidate and fold, and each clone sees mostly
the texts of the others. Keys are those of the store on disk, so that another model,
option or text is another vector.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from weakref import WeakValueDictionary

import numpy as np

from .encoder import Encoder

LIMIT = 256 * 2**20  # bytes
# What a vector takes beside its values: its key, its place and two objects.
_OVERHEAD = 350


class VectorMemory:
    """The vectors that were used last, up to a number of bytes.

    Parameters
    ----------
    limit : int
        Bytes that all vectors may take together.

    Attributes
    ----------
    computing : threading.RLock
        Held by who computes vectors, so that threads do not compute the same ones.
    encoders : mapping of tuple to Encoder
        Loaded models, while an embedder holds them. Only who holds `computing` may use
        one: tokenisers are not made for several threads.
    warned : bool
        Whether this process was told that it shares nothing with others.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.computing = threading.RLock()
        self.encoders: WeakValueDictionary[object, Encoder] = WeakValueDictionary()
        self.warned = False
        self._lock = threading.Lock()
        self._vectors: OrderedDict[bytes, tuple[np.ndarray, int | None]] = OrderedDict()
        self._size = 0

    def __getstate__(self) -> dict[str, object]:
        raise TypeError("Vectors in memory belong to one process.")

    def fetch(
        self, keys: Sequence[bytes]
    ) -> tuple[list[int], list[np.ndarray], list[int | None]]:
        """Return the positions of known keys, their vectors, and where texts were cut.

        Parameters
        ----------
        keys : sequence of bytes
        """
        rows, vectors, limits = [], [], []
        with self._lock:
            for row, key in enumerate(keys):
                found = self._vectors.get(key)
                if found is not None:
                    self._vectors.move_to_end(key)
                    rows.append(row)
                    vectors.append(found[0])
                    limits.append(found[1])
        return rows, vectors, limits

    def add(
        self,
        keys: Sequence[bytes],
        vectors: np.ndarray,
        limits: Sequence[int | None],
    ) -> None:
        """Keep vectors, and let go of those that were not used for longest."""
        with self._lock:
            for key, vector, limit in zip(keys, vectors, limits, strict=True):
                if key in self._vectors:
                    continue
                own = vector.copy()  # not a view that keeps a whole batch alive
                own.setflags(write=False)
                self._vectors[key] = own, limit
                self._size += own.nbytes + _OVERHEAD
            while self._size > self.limit:
                _, (oldest, _) = self._vectors.popitem(last=False)
                self._size -= oldest.nbytes + _OVERHEAD

    def clear(self) -> None:
        """Let go of all vectors."""
        with self._lock:
            self._vectors.clear()
            self._size = 0


SHARED = VectorMemory()
