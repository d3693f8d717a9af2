"""Totals that can be added up wherever they are: tensors, or containers of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Blank(NamedTuple):
    """A tensor of zeros, without the zeros."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


def blank(total: Any) -> Any:
    """Return a total of zeros without its zeros, which need not travel."""
    return _mapped(_without_zeros, total)


def zeros(blank: Any) -> Any:
    """Return a total of zeros, new in memory."""
    return _mapped(_with_zeros, blank)


def added(*totals: Any) -> Any:
    """Return the sum of totals, in the order in which they are given."""
    found, *others = totals
    for other in others:
        found = _mapped(_plus, found, other)
    return found


def _without_zeros(part: Any) -> Any:
    if isinstance(part, Tensor):
        return Blank(tuple(part.shape), part.dtype, part.device)
    return part


def _with_zeros(part: Any) -> Any:
    if isinstance(part, Blank):
        return torch.zeros(part.shape, dtype=part.dtype, device=part.device)
    return part


def _plus(left: Any, right: Any) -> Any:
    return None if left is None else left + right


def _mapped(function: Callable[..., Any], *trees: Any) -> Any:
    """Return containers of the same form with a function of their leaves.

    Leaves are tensors, arrays, numbers and None.
    """
    first = trees[0]
    if first is None or isinstance(
        first, Tensor | Blank | np.ndarray | np.generic | int | float
    ):
        return function(*trees)
    if isinstance(first, dict):
        return {
            name: _mapped(function, *(tree[name] for tree in trees)) for name in first
        }
    if isinstance(first, list | tuple):
        parts = [_mapped(function, *same) for same in zip(*trees, strict=True)]
        if hasattr(first, "_make"):
            return first._make(parts)
        return type(first)(parts)
    if is_dataclass(first) and not isinstance(first, type):
        changed = {
            part.name: _mapped(function, *(getattr(tree, part.name) for tree in trees))
            for part in fields(first)
        }
        return replace(first, **changed)
    raise TypeError(f"a {type(first).__name__} cannot be added up")
