"""The SHA-256 of arrays, held against hashes of bytes that are written out."""

import hashlib

import numpy as np

from skclif._audit.fingerprints import array_fingerprint
from skclif._storage.digests import sha256_of


def _sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_it_is_that_of_label_shape_and_bytes():
    array = np.array([[1.0, 2.0]], dtype="<f4")
    expected = _sha256(b"begin" + b"x (1, 2) " + b"\0\0\x80?\0\0\0@")
    assert sha256_of([("x", array)], b"begin") == expected
    assert sha256_of([("x", array.astype(">f4"))], b"begin") == expected
    assert sha256_of([("x", np.asfortranarray(array))], b"begin") == expected
    assert sha256_of([("x", array.T)], b"begin") != expected
    assert sha256_of([("x", np.array(1, np.uint8))]) == _sha256(b"x () \1")
    assert sha256_of([("x", np.empty((0, 2)))]) == _sha256(b"x (0, 2) ")


def test_fingerprints_in_trails_are_as_they_were_written():
    arrays = np.array([1.5]), np.array([True, False])
    expected = _sha256(b"float64 (1,) \0\0\0\0\0\0\xf8?bool (2,) \1\0")
    assert array_fingerprint(*arrays) == expected
