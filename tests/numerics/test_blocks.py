"""Passes over rows: in order, in blocks, by the data itself if it lies elsewhere."""

import pytest

from skclif.numerics.blocks import map_rows, row_blocks, stride, sum_rows


@pytest.mark.parametrize("n_rows", [0, 1, 2, 3, 7])
def test_blocks_cover_all_rows_in_order(n_rows):
    rows = list(range(n_rows))
    blocks = list(row_blocks(n_rows, 3))
    assert sum((rows[block] for block in blocks), []) == rows
    assert all(block.stop - block.start == 3 for block in blocks[:-1])


def test_a_stride_takes_no_more_than_is_allowed_and_half_of_it():
    for n_rows in range(1, 30):
        for at_most in range(1, 12):
            taken = len(range(n_rows)[:: stride(n_rows, at_most)])
            assert min(n_rows, at_most) / 2 <= taken <= at_most


class _Elsewhere:
    """Rows whose passes are their own."""

    def map_blocks(self, function, block_rows):
        yield slice(0, 1), function(block_rows)

    def sum_blocks(self, add, total, block_rows):
        add(total, block_rows)
        return total


def test_passes_over_rows_elsewhere_are_their_own():
    assert list(map_rows(lambda n: 2 * n, _Elsewhere(), 3)) == [(slice(0, 1), 6)]
    assert sum_rows(list.append, [], _Elsewhere(), 3) == [3]
