"""The checksum of a file covers all that is in it."""

import numpy as np
import pytest

from skclif._storage.containers import pack, unpack
from skclif.exceptions import ModelFileError

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.arange(4)}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rows.safetensors"
    path.write_bytes(pack("rows", 1, ARRAYS, {"said": "ä"}))
    return path


def test_what_was_packed_comes_back(file):
    arrays, about, *_ = unpack(file, "rows", 1)
    assert about == {"said": "ä"}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"dtype":"I64"', b'"dtype":"F64"'),
        (b'"shape":[2,3]', b'"shape":[3,2]'),
        (np.float64(5).tobytes(), np.float64(6).tobytes()),
        (b"said", b"sald"),
    ],
)
def test_what_changed_is_damage(file, old, new):
    content = file.read_bytes()
    assert content.count(old) == 1
    file.write_bytes(content.replace(old, new))
    with pytest.raises(ModelFileError, match="is damaged"):
        unpack(file, "rows", 1)


@pytest.mark.parametrize(
    ("kind", "version", "match"),
    [
        ("model", 1, "does not hold a model: it says it is 'skclif-rows'"),
        ("rows", 2, "has format version '1'; skclif .* reads 2"),
    ],
)
def test_another_kind_or_version_is_refused(file, kind, version, match):
    with pytest.raises(ModelFileError, match=match):
        unpack(file, kind, version)
