"""A second device that is not there: tensors of it are on the CPU, but nobody can tell.

A machine without a GPU cannot run CUDA, but most faults of code for GPUs have nothing
to do with CUDA: a tensor was made without a device, or `numpy()` came before `cpu()`.
Here "cuda:0" refuses what a GPU refuses, and its numbers are those of the CPU.
"""

import threading
from collections import Counter
from contextlib import contextmanager
from types import SimpleNamespace

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from skclif.numerics import stored

DEVICE = torch.device("cuda", 0)
_aten = torch.ops.aten
# What may have an index, or one number, on the CPU.
_INDEXED = (
    *(_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default),
    _aten._index_put_impl_.default,
)
# What waits for the device: the CPU has to know a value, or how many there are.
_WAITS = (
    *(_aten._local_scalar_dense.default, _aten.nonzero.default),
    *(_aten.masked_select.default, _aten.equal.default, _aten._unique2.default),
)


class OnDevice(torch.Tensor):
    """A tensor that says it is on the device."""

    # Of C++, which has no guard for a device that was not compiled in.
    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: DEVICE)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    @staticmethod
    def __new__(cls, host):
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            host.shape,
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            layout=host.layout,
            device="meta",
            requires_grad=host.requires_grad,
        )
        self.host = host
        return self

    # C++ would make these of lists, on what it believes to be the device.
    def __getitem__(self, index):
        return super().__getitem__(_of_lists(index))

    def __setitem__(self, index, value):
        super().__setitem__(_of_lists(index), value)

    def new_tensor(self, values, dtype=None):
        return torch.tensor(values, dtype=dtype or self.dtype, device=DEVICE)

    def tolist(self):
        return self.host.tolist()

    def __repr__(self):
        return f"on {DEVICE}: {self.host!r}"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Sees every operation, also those that make tensors."""

    # Or PyTorch would start CUDA as soon as it reads the name of the device.
    _mode_key = torch._C._TorchDispatchModeKey.FAKE

    def __init__(self):
        super().__init__()
        self.waits = Counter()
        self.brought_back = []  # sizes of what went to the CPU

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        is_there = bool(args) and isinstance(args[0], OnDevice)
        if is_there and func in _WAITS:
            self.waits[func] += 1
        if is_there and func is _aten.index.Tensor:
            self.waits[func] += any(
                t is not None and t.dtype == torch.bool for t in args[1]
            )
        out = _run(func, args, kwargs or {})
        if func is _aten._to_copy.default and is_there and type(out) is torch.Tensor:
            self.brought_back.append(out.numel())
        return out


def _is_there(device):
    """Return whether a device is the one that is not there."""
    return torch.device(device).type in ("cuda", "meta")


def _host(value):
    return value.host if isinstance(value, OnDevice) else value


def _of_lists(index):
    """Return an index with tensors in place of lists."""
    if isinstance(index, tuple):
        return tuple(map(_of_lists, index))
    if isinstance(index, list):
        return torch.tensor(index, dtype=None if index else torch.int64)
    return index


def _run(func, args, kwargs):
    """Run an operation on the CPU; its results are where those of a GPU are."""
    found = {}  # tensors of the device, by their counterparts on the CPU
    here = []
    host = _unwrapped(args, found, here)
    options = {k: _unwrapped((v,), found, here)[0] for k, v in kwargs.items()}
    goes_there = bool(found)
    if options.get("device") is not None:
        goes_there = _is_there(options["device"])
        options["device"] = torch.device("cpu")
    if func is _aten.copy_.default:
        host[0].copy_(host[1])
        return args[0]
    if found and here and func is not _aten._to_copy.default:
        _refuse_two_devices(func, args, here)
    out = func(*host, **options)
    if not goes_there:
        return out
    if isinstance(out, torch.Tensor):
        known = found.get(id(out))
        return OnDevice(out) if known is None else known
    return pytree.tree_map_only(torch.Tensor, OnDevice, out)


def _unwrapped(values, found, here):
    """Return arguments on the CPU; note which tensors were on the device, and not."""
    unwrapped = []
    for value in values:
        if isinstance(value, OnDevice):
            found[id(value.host)] = value
            value = value.host
        elif isinstance(value, torch.Tensor):
            assert not value.is_meta, "the pretence has a gap"
            here.append(value)
        elif isinstance(value, list | tuple):
            value = _unwrapped(value, found, here)
        unwrapped.append(value)
    return unwrapped


def _refuse_two_devices(func, args, here):
    """Refuse what a GPU refuses: tensors of which some are on the CPU."""
    if func in _INDEXED and isinstance(args[0], OnDevice):
        values = args[2:3]  # of what is written
        here = [t for t in values if any(t is other for other in here)]
    if any(t.dim() for t in here):
        raise RuntimeError(
            f"Expected all tensors to be on the same device in {func}, but found at "
            f"least two devices, {DEVICE} and cpu"
        )


class Lane:
    """A lane to the device, whose copies end as late as they may."""

    made = []

    def __init__(self, device=DEVICE, wrap=OnDevice):
        self.wrap = wrap
        self.lock, self.copies, self.marks = threading.Lock(), {}, 0
        self.read = {}  # targets that the computation may still read
        self.sent = {}  # sources that nobody knows to be sent
        self.is_closed = False
        self.made.append(self)

    def buffers(self, n_values, dtype):
        pinned = torch.full((n_values,), 7, dtype=dtype)
        return pinned, self.wrap(torch.full((n_values,), 8, dtype=dtype))

    def send(self, source, target, after):
        with self.lock:
            place = _host(target).data_ptr()
            assert self.read.get(place, -1) < (after or 0), "written to while read"
            assert source.data_ptr() not in self.sent, "filled while it is sent"
            event = object()
            self.copies[event] = source, target
            self.sent[source.data_ptr()] = event
            return event

    def _end(self, event):
        with self.lock:
            source, target = self.copies.pop(event, (None, None))
            if target is not None:
                target.copy_(source)
                self.read[_host(target).data_ptr()] = self.marks

    def wait(self, event):
        self._end(event)
        self.sent = {k: v for k, v in self.sent.items() if v is not event}

    def join(self, event):
        self._end(event)

    def mark(self):
        self.marks += 1
        return self.marks

    def close(self):
        self.is_closed = True


@contextmanager
def pretend_cuda(monkeypatch, memory=2**40):
    """Let there be a CUDA device, "cuda:0"; yield the mode, which counts waits."""
    # `torch.tensor` makes a tensor on the CPU first, and then moves it.
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    properties = SimpleNamespace(total_memory=2**33)
    known = {
        "is_available": True,
        "device_count": 1,
        "get_device_properties": properties,
        "mem_get_info": (memory, memory),
        "memory_reserved": 0,
        "memory_allocated": 0,
    }
    try:
        with monkeypatch.context() as patch, _Mode() as mode:
            for name, value in known.items():
                patch.setattr(torch.cuda, name, lambda *_, value=value: value)
            patch.setattr(stored, "CudaLane", Lane)
            yield mode
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
