"""Products in float32 as float32 has them, whatever the user has allowed elsewhere.

Graphics cards multiply float32 with 10 bits of the mantissa (TF32), and processors with
7 (bfloat16), if PyTorch is told that this is enough. It is for a neural network. It is
not for a Hessian: 10 bits are three digits. The settings hold for the whole process.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Lock
from typing import Any, TypeVar

import torch

Part = TypeVar("Part")

# Since PyTorch 2.9, every kind of operation has a setting of its own.
_HAS_OWN_SETTINGS = hasattr(torch.backends, "fp32_precision")
_FULL = ("ieee", "none")
_lock = Lock()
_n_inside = 0
_undo = ExitStack()


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute products of float32 in float32, then put the user's settings back.

    It may be entered again, and by several threads: the last one to leave puts the
    settings back. Other threads compute in full precision meanwhile; what they set
    meanwhile is lost.
    """
    global _n_inside, _undo
    with _lock:
        if not _n_inside:
            _undo = _set_full()
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if not _n_inside:
                _undo.close()


def fully(parts: Iterator[Part]) -> Iterator[Part]:
    """Yield what an iterator computes in full precision, and not what follows on it."""
    while True:
        with full_precision():
            try:
                part = next(parts)
            except StopIteration:
                return
        yield part


def _set_full() -> ExitStack:
    """Ask for full precision; return what puts the settings back."""
    with ExitStack() as undo:
        if _HAS_OWN_SETTINGS:
            _set_own(undo)
        else:
            _set_matmul(undo)
            cudnn = torch.backends.cudnn
            undo.callback(setattr, cudnn, "allow_tf32", cudnn.allow_tf32)
            cudnn.allow_tf32 = False
        return undo.pop_all()


def _set_own(undo: ExitStack) -> None:
    """Set the kinds of operations of which less than full precision was asked.

    Both sets of settings must agree, or PyTorch refuses to multiply. The older one says
    so if they do not: then only the newer one was used.
    """
    cuda, cudnn, mkldnn = (
        getattr(torch.backends, name) for name in ("cuda", "cudnn", "mkldnn")
    )
    products = (cuda.matmul, mkldnn.matmul)
    kinds = (*products, cudnn.conv, cudnn.rnn, mkldnn.conv)
    given = {kind: kind.fp32_precision for kind in kinds}
    if all(before in _FULL for before in given.values()):
        return
    for kind, before in given.items():
        undo.callback(_put_back, kind, before)
    if not all(given[kind] in _FULL for kind in products):
        with suppress(RuntimeError):  # they do not agree
            _set_matmul(undo)
    for kind in kinds:
        if kind.fp32_precision not in _FULL:
            kind.fp32_precision = "ieee"


def _set_matmul(undo: ExitStack) -> None:
    """Set the precision of products by the older setting."""
    before = torch.get_float32_matmul_precision()
    if before != "highest":
        undo.callback(torch.set_float32_matmul_precision, before)
        torch.set_float32_matmul_precision("highest")


def _put_back(kind: Any, before: str) -> None:
    """Give a kind of operation its precision again, inherited if it was."""
    if kind.fp32_precision != before:
        kind.fp32_precision = "none"
    if kind.fp32_precision != before:
        kind.fp32_precision = before
