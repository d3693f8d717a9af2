"""Features that stay as they are stored, beside a copy of them in double precision."""

import pickle

import numpy as np
import pytest
import torch

from skclif.numerics import products
from skclif.numerics.stored import StoredFeatures, each_row, is_mapped

# More than a block, and no multiple of one.
N_ROWS = 2500
STORED = {
    "float16": lambda values: values.astype(np.float16),
    "float32": lambda values: values.astype(np.float32),
    "float64": lambda values: values,
    "big-endian": lambda values: values.astype(">f4"),
    "column-major": lambda values: np.asfortranarray(values.astype(np.float32)),
    "backwards": lambda values: values.astype(np.float32)[::-1],
}


@pytest.fixture(scope="module", params=STORED)
def array(request):
    values = np.random.default_rng(0).standard_normal((N_ROWS, 7))
    values[7, 3] = -9  # the largest magnitude
    return STORED[request.param](values)


@pytest.fixture
def features(array):
    return StoredFeatures.of(array)


@pytest.fixture
def copy(array):
    return torch.from_numpy(array.astype(float))


def _numbers(*shape):
    return torch.randn(*shape, generator=torch.manual_seed(1), dtype=torch.float64)


def _assert_equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_loaded_rows_are_those_of_a_copy(features, copy):
    some = torch.tensor([N_ROWS - 1, 3, 3])
    positive = copy[:, 0] > 0
    for rows in (slice(2, 2300), slice(0), some, some.numpy(), positive):
        loaded = features[rows]
        _assert_equal(loaded, copy[rows])
        assert loaded.is_contiguous()
    assert features.loading(torch.float32)[some].dtype == torch.float32
    _assert_equal(features.to(torch.float32), copy.float())


def test_parts_of_parts_are_loaded_when_they_are_asked_for(features, copy):
    positive = copy[:, 0] > 0
    part = features.part(positive).part(slice(5, 60))
    assert part.shape == (55, 7)
    assert part.values.data_ptr() == features.values.data_ptr()
    _assert_equal(part[:], copy[positive][5:60])


def test_functions_of_rows_are_those_of_a_copy(features, copy):
    def first_two(rows):
        assert isinstance(rows, torch.Tensor)
        return 2 * rows[:, :2]

    for rows in (slice(None), slice(0)):
        _assert_equal(each_row(first_two, features.part(rows)), first_two(copy[rows]))


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (products.affine, (9, 8)),  # many weights have another order of products
        (products.affine, (2, 8)),
        (products.affine_adjoint, (N_ROWS, 3)),
        (products.row_squares, None),
        (products.with_ones, None),
    ],
)
def test_products_are_those_of_a_copy(features, copy, function, shape):
    more = [] if shape is None else [_numbers(*shape)]
    found, expected = function(features, *more), function(copy, *more)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-11)


def test_the_largest_size_is_that_of_a_copy(features):
    assert products.largest_size(features) == 9


def test_a_pickle_has_the_rows_that_are_asked_for(features, copy):
    some = torch.tensor([9, 1])
    for dtype in (torch.float64, torch.float32):
        part = features.part(some).loading(dtype)
        again = pickle.loads(pickle.dumps(part))
        assert again.values.dtype == features.values.dtype
        assert len(again.values) == 2
        _assert_equal(again[:], copy[some].to(dtype))


def test_nothing_is_copied_that_can_be_read(tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((6, 2), np.float32))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    features = StoredFeatures.of(mapped)
    assert np.shares_memory(features.values.numpy(), mapped)
    copy = features.copy()
    assert not np.shares_memory(copy.values.numpy(), mapped)
    assert copy.values.dtype == torch.float32


def test_views_of_a_file_are_told_from_arrays(tmp_path):
    np.save(tmp_path / "rows.npy", np.ones((6, 2), np.float32))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert is_mapped(mapped)
    assert is_mapped(np.asarray(mapped)[2:])
    assert not is_mapped(np.array(mapped))
    # NumPy's copies of a file's rows are of the same class.
    assert isinstance(mapped.astype(float), np.memmap)
    assert not is_mapped(mapped.astype(float)) and not is_mapped(mapped.copy()[1:])
    assert not is_mapped([1.0])
