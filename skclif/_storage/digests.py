"""The SHA-256 of arrays: equal only for equal bits, and the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def sha256_of(arrays: Iterable[tuple[str, np.ndarray]], begin: bytes = b"") -> str:
    """Return the SHA-256 of labelled arrays, hexadecimal.

    Parameters
    ----------
    arrays : iterable of (str, ndarray)
        The label has to say what dtype the array has, because equal bytes of two dtypes
        are different numbers. Shapes are added here.
    begin : bytes, default=b""
        What is hashed before the arrays.
    """
    digest = hashlib.sha256(begin)
    for label, array in arrays:
        digest.update(f"{label} {array.shape} ".encode())
        plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(plain.reshape(-1).view(np.uint8))
    return digest.hexdigest()
