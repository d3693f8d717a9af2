"""Features that stay as they are stored: loaded rows equal those of a float64 copy."""

import numpy as np
import pytest
import torch

from skclif.numerics import blocks, products
from skclif.numerics.stored import StoredFeatures, is_mapped


@pytest.fixture(params=["float16", "float32", "float64", "big-endian", "transposed"])
def array(request):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((5000, 7))
    if request.param == "big-endian":
        return values.astype(">f4")
    if request.param == "transposed":
        return np.asfortranarray(values.astype(np.float32))
    return values.astype(request.param)


def test_loaded_rows_are_those_of_a_copy(array):
    features, copy = StoredFeatures.of(array), torch.from_numpy(array.astype(float))
    some = torch.tensor([4999, 3, 3])
    positive = copy[:, 0] > 0

    for rows in (slice(2, 2500), some, positive, some.numpy()):
        loaded = features[rows]
        assert loaded.dtype == torch.float64 and loaded.is_contiguous()
        torch.testing.assert_close(loaded, copy[rows], rtol=0, atol=0)
    part = features.part(positive).part(slice(5, 60))
    assert part.shape == (55, 7)
    torch.testing.assert_close(part[:], copy[positive][5:60], rtol=0, atol=0)


def test_products_are_those_of_a_copy(array):
    features, copy = StoredFeatures.of(array), torch.from_numpy(array.astype(float))
    weights = torch.randn(9, 8, dtype=torch.float64)
    columns = torch.randn(len(copy), 3, dtype=torch.float64)

    for function, more in [
        (products.affine, [weights]),
        (products.affine, [weights[:2]]),
        (products.affine_adjoint, [columns]),
        (products.row_squares, []),
    ]:
        expected = function(copy, *more)
        torch.testing.assert_close(
            function(features, *more), expected, rtol=1e-13, atol=1e-11
        )
    assert products.largest_size(features) == products.largest_size(copy)


def test_nothing_is_copied_that_can_be_read(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, np.ones((6, 2), np.float32))
    mapped = np.load(path, mmap_mode="r")

    features = StoredFeatures.of(mapped)

    assert np.shares_memory(features.values.numpy(), mapped)
    assert is_mapped(np.asarray(mapped)[2:]) and not is_mapped(np.ones(3))
    # NumPy's copies of a file's rows are of the same class.
    assert isinstance(mapped.astype(float), np.memmap)
    assert not is_mapped(mapped.astype(float)) and not is_mapped(mapped.copy()[1:])
    copy = features.copy()
    assert not np.shares_memory(copy.values.numpy(), mapped)
    assert copy.values.dtype == torch.float32


class _Elsewhere:
    """Rows whose passes are their own."""

    def map_blocks(self, function, block_rows):
        yield slice(0, 1), function(block_rows)

    def sum_blocks(self, add, total, block_rows):
        add(total, block_rows)
        return total


def test_passes_over_rows_elsewhere_are_their_own():
    assert list(blocks.map_rows(lambda n: 2 * n, _Elsewhere(), 3)) == [(slice(0, 1), 6)]
    assert blocks.sum_rows(list.append, [], _Elsewhere(), 3) == [3]
