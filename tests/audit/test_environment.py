"""What the trail records of the environment, and how a difference is said."""

import subprocess
import sys
from pathlib import Path

import pytest

from skclif._audit import environment as module
from skclif._audit.environment import differences, environment, versions

ADDED = {"processor", "blas", "torch blas", "torch instructions"}


def test_it_names_what_bits_depend_on():
    import scipy.linalg  # noqa: F401 - to have a BLAS
    import torch

    found = environment()
    assert found.keys() > ADDED
    assert versions().items() < found.items()
    assert found["torch instructions"] == torch.backends.cpu.get_cpu_capability()
    assert found["blas"]
    assert found == environment()


def test_what_is_unknown_on_a_platform_is_none(monkeypatch):
    def refuse(*arguments, **options):
        raise OSError("no such file")

    module._processor.cache_clear()
    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(module.platform, "processor", str)
    monkeypatch.setattr(module, "threadpool_info", list)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    found = environment()
    module._processor.cache_clear()
    assert {name for name, value in found.items() if value is None} == ADDED


def test_to_record_it_loads_nothing_that_is_slow():
    code = (
        "import sys; from skclif import AuditTrail; "
        "from skclif._audit.environment import environment; environment(); "
        "print('torch' in sys.modules, 'scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize(
    ("then", "now", "words"),
    [
        ({"blas": "a 1"}, {"blas": "a 1"}, ()),
        ({"blas": "a 1"}, {"blas": "a 2"}, ("blas a 1 then, a 2 now",)),
        ({}, {"blas": "a 2"}, ("blas unknown then, a 2 now",)),
        ({"gpu": "x"}, {"blas": None}, ("gpu x then, unknown now",)),
    ],
)
def test_differences_are_said_in_words(then, now, words):
    assert differences(then, now) == words
