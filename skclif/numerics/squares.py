"""Sums of squares of rows, of which one triangle is enough."""

import torch
from scipy.linalg import blas
from torch import Tensor


def add_square(total: Tensor, rows: Tensor) -> None:
    """Add ``rows.T @ rows`` to the lower triangle of `total`, in place.

    Sums in single precision are added in double, or rounding would grow with the rows.
    """
    if rows.device.type != "cpu":
        total += (rows.T @ rows).tril()
        return
    # PyTorch has no product that stops at the triangle, which is half the work.
    if rows.dtype == total.dtype:
        target = total.numpy().T
        blas.dsyrk(1.0, rows.numpy().T, beta=1.0, c=target, overwrite_c=True)
    else:
        total += torch.from_numpy(blas.ssyrk(1.0, rows.numpy().T).T)
