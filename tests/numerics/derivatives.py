"""Derivatives of pulled activations, compared with autograd."""

import torch


def assert_pulls(head, row):
    """Compare both derivatives of pulled activations with autograd."""
    pull = torch.arange(1.0, 1 + head.n_activations).double()
    pulled = lambda scores: head.activations(scores) @ pull  # noqa: E731
    torch.testing.assert_close(
        head.activation_pull(row, pull), torch.func.grad(pulled)(row)
    )
    torch.testing.assert_close(
        head.activation_curvature(row, pull), torch.func.hessian(pulled)(row)
    )
