"""Rows on their way to a GPU: in order, whole, one block ahead, and let go."""

import pickle
import threading

import pytest
import torch

from skclif.numerics.blocks import map_rows, row_blocks, sum_rows
from skclif.numerics.bottleneck import TrainingData
from skclif.numerics.sparse import Features
from skclif.numerics.stored import StoredFeatures
from skclif.numerics.streaming import fits, rows_at_once, streamed

from ..gpu.pretend import DEVICE, Lane, OnDevice, pretend_cuda

TYPES = [torch.float16, torch.float32, torch.float64]


def _rows(n_rows=11, dtype=torch.float32):
    torch.manual_seed(0)
    return torch.randn(n_rows, 3).to(dtype)


def _streamed(rows, fetch=None, block_rows=2, loaded=torch.float64):
    lane = Lane(wrap=lambda tensor: tensor)
    found = streamed(
        (lambda block: rows[block]) if fetch is None else fetch,
        row_blocks(len(rows), block_rows),
        (min(block_rows, len(rows)), rows.shape[1]),
        rows.dtype,
        loaded,
        lane,
    )
    return lane, found


def _workers():
    return [t for t in threading.enumerate() if t.name.startswith("skclif-rows")]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("n_rows", [0, 1, 2, 3, 8, 11])
def test_blocks_are_the_rows_in_order(n_rows, dtype):
    rows = _rows(n_rows, dtype)
    lane, found = _streamed(rows)
    parts = list(found)
    assert [block for block, _ in parts] == list(row_blocks(n_rows, 2))
    for block, part in parts:  # also of blocks that were kept
        assert part.dtype == torch.float64
        torch.testing.assert_close(part, rows[block].double(), rtol=0, atol=0)
    assert lane.is_closed
    assert not _workers()


def test_the_next_block_is_fetched_during_the_computation():
    rows, fetched = _rows(), [threading.Event() for _ in range(6)]

    def fetch(block):
        fetched[block.start // 2].set()
        return rows[block]

    _, found = _streamed(rows, fetch)
    for block, _ in found:
        following = block.start // 2 + 1
        if following < len(fetched):
            assert fetched[following].wait(10)
        for later in fetched[following + 1 :]:  # there are two buffers
            assert not later.is_set()


def test_an_error_is_that_of_its_block():
    rows = _rows()

    def fetch(block):
        if block.start == 4:
            raise OSError("the file has gone")
        return rows[block]

    lane, found = _streamed(rows, fetch)
    starts = []
    with pytest.raises(OSError, match="the file has gone"):
        for block, _ in found:
            starts.append(block.start)
    assert starts == [0, 2]
    assert lane.is_closed
    assert not _workers()


def test_blocks_that_nobody_wants_are_not_fetched():
    rows, n_fetched = _rows(), []
    lane, found = _streamed(rows, lambda block: n_fetched.append(0) or rows[block])
    next(found)
    found.close()
    assert len(n_fetched) <= 2
    assert lane.is_closed
    assert not _workers()


@pytest.fixture(params=[True, False], ids=["fits", "streams"])
def is_moved(request):
    """Whether the features fit the memory of the device."""
    return request.param


@pytest.fixture
def cuda(monkeypatch, is_moved):
    """Pretend that there is a GPU."""
    monkeypatch.setattr(Lane, "made", [])
    with pretend_cuda(monkeypatch, memory=2**40 if is_moved else 10) as mode:
        yield mode


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("index", [None, torch.tensor([3, 1, 9, 9, 0])])
def test_stored_rows_come_to_the_device(cuda, is_moved, dtype, index):
    rows = _rows(dtype=dtype)
    here = StoredFeatures(rows, index)
    there = here.to(DEVICE)
    assert isinstance(there.values, OnDevice) == is_moved
    assert there.device == DEVICE and len(there) == len(here)
    expected = rows.double() if index is None else rows.double()[index]
    for block, part in there.blocks(2):
        assert part.device == DEVICE
        assert part.dtype == torch.float64
        torch.testing.assert_close(part.host, expected[block], rtol=0, atol=0)
    torch.testing.assert_close(there[1:3].host, expected[1:3], rtol=0, atol=0)
    torch.testing.assert_close(
        there.times(torch.ones(2, 3).double().to(DEVICE)).host,
        expected @ torch.ones(3, 2).double(),
    )
    assert all(lane.is_closed for lane in Lane.made)
    assert len(Lane.made) == (1 if is_moved else 2)
    back = there.to(torch.device("cpu"))
    assert not isinstance(back[:2], OnDevice)


def _data(features):
    n = len(features)
    ones = torch.ones(n, 1, dtype=torch.float64)
    codes = torch.arange(n)
    return TrainingData(features, codes, ones[:, 0], ones, ones > 0, ones)


def _total(sums, rows):
    sums += rows.features.sum(dim=0) * rows.labels.sum()


def test_passes_over_rows_stream(cuda, is_moved):
    rows = _rows(50)
    data = _data(StoredFeatures(rows)).to(DEVICE)
    parts = list(map_rows(lambda part: (part.features, part.labels), data, 4))
    # Two of these blocks are one on the pretended device.
    assert [block for block, _ in parts] == list(row_blocks(50, 8))
    for block, (features, labels) in parts:
        torch.testing.assert_close(features.host, rows[block].double())
        assert labels.tolist() == list(range(block.start, block.stop))
    sums = sum_rows(_total, torch.zeros(3).double().to(DEVICE), data, 4)
    expected = sum(
        (rows[b].double().sum(dim=0) * torch.arange(50)[b].sum())
        for b in row_blocks(50, 8)
    )
    torch.testing.assert_close(sums.host, expected)
    assert all(lane.is_closed for lane in Lane.made)


def test_an_error_of_a_pass_lets_rows_go(cuda):
    data = _data(StoredFeatures(_rows(50))).to(DEVICE)

    def fail(*_):
        raise KeyError("of the pass")

    with pytest.raises(KeyError):
        sum_rows(fail, torch.zeros(3), data, 4)
    with pytest.raises(KeyError):
        list(map_rows(fail, data, 4))
    assert all(lane.is_closed for lane in Lane.made)
    assert not _workers()


def test_features_on_a_device_are_saved_as_those_of_the_cpu(cuda):
    features = StoredFeatures(_rows(), torch.tensor([1, 4])).to(DEVICE)
    again = pickle.loads(pickle.dumps(features))
    assert again.device == again.values.device == torch.device("cpu")
    torch.testing.assert_close(again[:], features[:].host)


def test_nothing_changes_on_the_cpu():
    rows = _rows(50)
    features = StoredFeatures(rows)
    cpu = torch.device("cpu")
    assert features.to(cpu).values is rows
    assert rows_at_once(8, cpu) == 8
    data: Features = _data(rows.double())
    starts = [block.start for block, _ in map_rows(len, data, 16)]
    assert starts == [0, 16, 32, 48]
    assert not _workers()


@pytest.mark.parametrize(
    ("gigabytes", "times"), [(2, 1), (6, 1), (8, 2), (24, 6), (80, 16), (141, 16)]
)
def test_blocks_grow_with_the_memory_of_a_gpu(monkeypatch, gigabytes, times):
    class Properties:
        total_memory = gigabytes * 2**30

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties)
    assert rows_at_once(2048, DEVICE) == times * 2048


def test_memory_that_pytorch_holds_for_later_is_free(monkeypatch):
    known = {"mem_get_info": (600, 10**6), "memory_reserved": 900}
    known["memory_allocated"] = 500  # 1000 bytes are left
    for name, value in known.items():
        monkeypatch.setattr(torch.cuda, name, lambda _, value=value: value)
    assert fits(600, DEVICE)
    assert not fits(601, DEVICE)
