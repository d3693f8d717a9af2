"""Products in full precision, and the user's settings afterwards."""

import threading

import pytest
import torch

from skclif.numerics import precision
from skclif.numerics.blocks import map_rows, sum_rows
from skclif.numerics.precision import full_precision, fully

OWN = hasattr(torch.backends, "fp32_precision")
own_settings = pytest.mark.skipif(not OWN, reason="CUDA settings of PyTorch 2.9")


def _settings():
    """Return all settings; None for those that cannot be read, as others disagree."""

    def read(setting):
        try:
            return setting()
        except RuntimeError:
            return None

    backends = torch.backends
    settings = [
        torch.get_float32_matmul_precision,
        lambda: backends.cuda.matmul.allow_tf32,
        lambda: backends.cudnn.allow_tf32,
    ]
    if OWN:
        kinds = (
            *(backends, backends.cuda.matmul, backends.mkldnn.matmul),
            *(backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn),
            *(backends.mkldnn, backends.mkldnn.conv),
        )
        settings += [lambda kind=kind: kind.fp32_precision for kind in kinds]
    return [read(setting) for setting in settings]


def _is_full():
    kinds = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    if OWN:
        kinds += (torch.backends.mkldnn.matmul, torch.backends.cudnn.rnn)
        return all(kind.fp32_precision in ("ieee", "none") for kind in kinds)
    return not torch.backends.cuda.matmul.allow_tf32 and not (
        torch.backends.cudnn.allow_tf32
    )


def _set_all():
    torch.backends.fp32_precision = "tf32"


def _set_matmul():
    torch.backends.cuda.matmul.fp32_precision = "tf32"


def _set_processor():
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"


@pytest.fixture(
    params=[
        None,
        lambda: torch.set_float32_matmul_precision("high"),
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
        lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
        *(pytest.param(s, marks=own_settings) for s in (_set_all, _set_matmul)),
        pytest.param(_set_processor, marks=own_settings),
    ],
    ids=["default", "high", "medium", "old", "cudnn", "all", "matmul", "processor"],
)
def settings(request):
    """Set what a user may set, and return it; afterwards, all is as at the start."""
    before = _settings()
    if request.param is not None:
        request.param()
    yield _settings()
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = True
    if OWN:
        kinds = (torch.backends, torch.backends.cuda.matmul)
        for kind in (*kinds, torch.backends.mkldnn.matmul):
            kind.fp32_precision = "none"
    assert _settings() == before


def test_precision_is_full_inside_and_as_before_afterwards(settings):
    with full_precision():
        assert _is_full()
        torch.ones(2, 2) @ torch.ones(2, 2)  # refused if settings disagree
    assert _settings() == settings


def test_an_error_puts_the_settings_back(settings):
    with pytest.raises(KeyError), full_precision():
        raise KeyError
    assert _settings() == settings


def test_what_is_computed_on_demand_is_full_and_what_follows_is_not(settings):
    def compute():
        for _ in range(2):
            assert _is_full()
            yield _settings()

    for _ in fully(compute()):
        assert _settings() == settings
    assert _settings() == settings


def test_passes_over_rows_are_in_full_precision(settings):
    rows = [torch.ones(2, 2)]

    class Rows(list):
        def rows(self, block):
            return self[block]

    def add(total, _):
        total.append(_is_full())

    assert sum_rows(add, [], Rows(rows)) == [True]
    ((_, is_full),) = map_rows(lambda _: _is_full(), Rows(rows))
    assert is_full
    assert _settings() == settings


def test_the_last_to_leave_puts_the_settings_back(settings):
    with full_precision():
        with full_precision():
            assert _is_full()
        assert _is_full()
    assert _settings() == settings


def test_threads_do_not_end_the_precision_of_others(settings):
    entered, left = threading.Event(), threading.Event()
    found = []

    def compute():
        with full_precision():
            entered.set()
            left.wait(10)
            found.append(_is_full())

    thread = threading.Thread(target=compute)
    with full_precision():
        thread.start()
        assert entered.wait(10)
    left.set()
    thread.join(10)
    assert found == [True]
    assert _settings() == settings


def test_a_setting_that_fails_changes_nothing(settings, monkeypatch):
    def refuse(*_):
        raise RuntimeError("no such setting")

    monkeypatch.setattr(precision.ExitStack, "pop_all", refuse)
    with pytest.raises(RuntimeError, match="no such setting"), full_precision():
        pass
    monkeypatch.undo()
    assert _settings() == settings
    with full_precision():
        assert _is_full()
    assert _settings() == settings


def test_older_versions_have_two_settings(monkeypatch):
    monkeypatch.setattr(precision, "_HAS_OWN_SETTINGS", False)
    torch.set_float32_matmul_precision("high")
    try:
        with full_precision():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision("highest")
