"""Tensors of PyTorch as arguments: read as arrays, or left on their device."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import torch


def as_array(name: str, value: Any) -> Any:
    """Return a tensor as an array with the same numbers; anything else as it is.

    It shares memory with a tensor on the CPU, of a type that NumPy has. It is no part
    of a graph of autograd. A list of tensors is one array of all of them: equal tensors
    are different objects, so that each would be a group of its own.
    """
    if holds_tensors(value):
        value = _stacked(name, value)
    if not is_tensor(value):
        return value
    check_tensor(name, value)
    tensor = value.detach().resolve_conj().resolve_neg()
    return plain_floats(tensor).cpu().numpy()


def numbers_of(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor of ours as an array, wherever it was computed."""
    array: np.ndarray = tensor.cpu().numpy()
    return array


def is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor, without an import of PyTorch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def holds_tensors(value: Any) -> bool:
    """Return whether a list, or an array of objects, begins with a tensor."""
    of_objects = isinstance(value, list | tuple) or (
        isinstance(value, np.ndarray | pd.Series)
        and value.ndim == 1
        and value.dtype == np.dtype(object)
    )
    return of_objects and is_tensor(next(iter(value), None))


def _stacked(name: str, value: Any) -> torch.Tensor:
    import torch

    try:
        return torch.stack(list(value))
    except (TypeError, RuntimeError) as error:
        raise ValueError(
            f"{name} is a list of tensors that do not make one array ({error}). Give "
            "one tensor, or tensors of one shape and type."
        ) from error


def check_tensor(name: str, tensor: torch.Tensor) -> None:
    """Refuse a tensor that is not a plain table of numbers."""
    import torch

    if tensor.is_nested:
        raise TypeError(
            f"{name} is a nested tensor, whose rows have different lengths. Pad it by "
            "torch.nested.to_padded_tensor."
        )
    if tensor.layout != torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        scipy = ", or a sparse matrix of SciPy" if name.startswith("X") else ""
        raise TypeError(
            f"{name} is a sparse tensor ({layout}). Use {name}.to_dense(){scipy}."
        )
    if tensor.is_quantized:
        raise TypeError(f"{name} is a quantized tensor. Use {name}.dequantize().")
    if tensor.is_complex():
        raise ValueError(
            f"Complex data not supported: {name} is a tensor of {tensor.dtype}. Use "
            f"{name}.real, or torch.view_as_real."
        )
    if tensor.is_meta:
        raise ValueError(f"{name} is a tensor on the device 'meta': it has no values.")


def plain_floats(tensor: torch.Tensor) -> torch.Tensor:
    """Return floats that NumPy does not have, such as bfloat16, as float32."""
    import torch

    known = (torch.float64, torch.float32, torch.float16)
    if tensor.dtype.is_floating_point and tensor.dtype not in known:
        return tensor.float()
    return tensor


def shape_of(tensor: torch.Tensor) -> np.ndarray:
    """Return an array of the same shape, of zeros that take no memory."""
    return np.broadcast_to(np.zeros(()), tuple(tensor.shape))
