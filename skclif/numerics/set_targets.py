"""Numbers of a whole set of rows, as functions of predicted probabilities.

A function takes probabilities of shape (..., n_rows, n_classes) and returns one number
for each leading index, (...). Autograd differentiates it. Where the largest of several
numbers changes from one to another, it takes the derivative of the one that is the
largest now; of equal ones, their mean. See Eqs. (72) to (74) of docs/mathematics.rst.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Most pairs of rows at a time: 32 MiB.
_MOST_PAIRS = 2**22


def worst_group_loss(proba: Tensor, codes: Tensor, groups: Tensor) -> Tensor:
    """Return the largest mean log-loss of a group: Eq. (73).

    Parameters
    ----------
    proba : Tensor of shape (..., n_rows, n_classes)
    codes, groups : Tensor of shape (n_rows,), int64
        Code of each row's label, and of its group.
    """
    of_groups: Tensor = _losses(proba, codes) @ _shares(groups).to(proba)
    return of_groups.amax(dim=-1)


def demographic_parity_gap(proba: Tensor, codes: Tensor, groups: Tensor) -> Tensor:
    """Return the largest gap between groups in a class's mean probability: Eq. (73)."""
    return _gap(proba, groups)


def equalized_odds_gap(proba: Tensor, codes: Tensor, groups: Tensor) -> Tensor:
    """Return the same gap among rows of one true class, the largest over classes.

    Only the groups that have rows of a class are compared.
    """
    gaps = [
        _gap(proba[..., codes == code, :], groups[codes == code])
        for code in _unique(codes)[0]
    ]
    return torch.stack(gaps).amax(dim=0)


def smooth_auroc(proba: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """Return the mean share of pairs of rows in the right order: Eq. (74).

    A pair counts by the logistic function of its difference in log-odds. With more than
    two classes, it is the mean over the classes, each against all others.
    """
    n_classes = proba.shape[-1]
    parts = []
    for code in range(n_classes) if n_classes > 2 else [1]:
        own = codes == code
        if not own.any() or own.all():
            continue
        others = [c for c in range(n_classes) if c != code]
        odds = _log(proba[..., code]) - _log(proba[..., others].sum(dim=-1))
        parts.append(_ordered(odds[..., own], odds[..., ~own], temperature))
    return torch.stack(parts).mean(dim=0)


def expected_cost(proba: Tensor, codes: Tensor, matrix: Tensor) -> Tensor:
    """Return the mean cost of a class drawn from the predicted probabilities."""
    of_rows: Tensor = (proba * matrix[codes].to(proba)).sum(dim=-1)
    return of_rows.mean(dim=-1)


def _log(proba: Tensor) -> Tensor:
    return proba.clamp_min(torch.finfo(proba.dtype).tiny).log()


def _losses(proba: Tensor, codes: Tensor) -> Tensor:
    at = codes.expand(proba.shape[:-1])[..., None]
    return -_log(proba.gather(-1, at).squeeze(-1))


def _shares(groups: Tensor) -> Tensor:
    """Return each row's share in the means of groups that have rows, (n, n_groups)."""
    _, codes, counts = _unique(groups)
    own: Tensor = torch.nn.functional.one_hot(codes, len(counts)).double()
    return own / counts


def _unique(codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the codes that there are, the place of each row's, and their counts."""
    found: tuple[Tensor, Tensor, Tensor] = torch.unique(
        codes, return_inverse=True, return_counts=True
    )
    return found


def _gap(proba: Tensor, groups: Tensor) -> Tensor:
    rates = _shares(groups).to(proba).T @ proba
    return (rates.amax(dim=-2) - rates.amin(dim=-2)).amax(dim=-1)


def _ordered(above: Tensor, below: Tensor, temperature: float) -> Tensor:
    """Return the share of pairs that are in the right order, (...)."""
    scaled = above / temperature, below / temperature
    total: Tensor = _Pairs.apply(*scaled)  # type: ignore[no-untyped-call]
    return total / (above.shape[-1] * below.shape[-1])


class _Pairs(torch.autograd.Function):
    """The sum of logistic functions of all differences, a block of pairs at a time.

    Autograd by itself would keep all pairs.
    """

    @staticmethod
    def forward(ctx: Any, above: Tensor, below: Tensor) -> Tensor:
        """Sum over pairs of above (..., n) and below (..., m), and keep derivatives."""
        wanted = any(ctx.needs_input_grad)
        total, of_below = above.new_zeros(above.shape[:-1]), torch.zeros_like(below)
        of_above = []
        at_once = max(1, _MOST_PAIRS // max(1, below.numel()))
        for part in torch.split(above, at_once, dim=-1):
            share = torch.sigmoid(part[..., :, None] - below[..., None, :])
            total += share.sum(dim=(-1, -2))
            if wanted:
                slope = share * (1 - share)
                of_above.append(slope.sum(dim=-1))
                of_below -= slope.sum(dim=-2)
        if wanted:
            ctx.save_for_backward(torch.cat(of_above, dim=-1), of_below)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        """Multiply the derivatives that were kept."""
        of_above, of_below = ctx.saved_tensors
        return grads[0][..., None] * of_above, grads[0][..., None] * of_below


# --- Functions of users ---------------------------------------------------------------


@dataclass(frozen=True)
class UserFunction:
    """A function that somebody wrote: of the probabilities of all rows, one number.

    It is called with tensors on the CPU, or with arrays, for one model at a time.

    Attributes
    ----------
    function : callable
    arguments : tuple of ndarray
        What follows the probabilities; one entry for each row.
    name : str
        For messages.
    takes : {"tensors", "arrays"}
    is_differentiable : bool
    """

    function: Callable[..., Any]
    arguments: Sequence[np.ndarray]
    name: str
    takes: str = "tensors"
    is_differentiable: bool = True

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        arguments: Sequence[np.ndarray],
        name: str,
        proba: Tensor,
    ) -> "UserFunction":
        """Find out by calls how the function is called, and whether it has derivatives.

        Parameters
        ----------
        function : callable
        arguments : sequence of ndarray
        name : str
        proba : Tensor of shape (n_rows, n_classes)
            Probabilities to call it with.

        Raises
        ------
        ValueError
            If it fails with tensors and with arrays, or does not return one number.
        """
        tensors = cls(function, arguments, name)
        probe = proba.detach().cpu().clone().requires_grad_()
        try:
            with torch.enable_grad(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Converting a tensor with requires")
                found = tensors._call(probe)
            _as_number(found)
        except Exception as error:  # whatever a function for arrays does with tensors
            return tensors._for_arrays(proba, error)
        attached = isinstance(found, Tensor) and found.requires_grad
        known = cls(function, arguments, name, is_differentiable=attached)
        known._number(known._call(proba.detach().cpu()))
        return known

    def __call__(self, proba: Tensor) -> Tensor:
        """Return the number for each leading index, (...)."""
        models = proba.reshape(-1, *proba.shape[-2:]).cpu()
        values = torch.stack([self._evaluate(one) for one in models])
        return values.reshape(proba.shape[:-2]).to(proba.device)

    def _for_arrays(self, proba: Tensor, with_tensors: Exception) -> "UserFunction":
        found = UserFunction(self.function, self.arguments, self.name, "arrays", False)
        try:
            found._number(found._call(proba.detach().cpu()))
        except Exception as error:
            failed = "With a torch tensor of predicted probabilities it failed: "
            failed += f"{_said(with_tensors)}. With a NumPy array: {_said(error)}"
            if _said(with_tensors) == _said(error):
                failed = f"With predicted probabilities it failed: {_said(error)}"
            raise ValueError(
                f"target={self.name} could not be evaluated. {failed}. It must take "
                "the probabilities of the rows of X, one column for each class, and "
                "return one number. Rows can be divided: what belongs to them is given "
                "as row_values of from_function, not kept in the function."
            ) from error
        return found

    def _evaluate(self, proba: Tensor) -> Tensor:
        try:
            found = _as_number(self._call(proba))
        except Exception as error:  # whatever a function of somebody raises
            raise ValueError(
                f"target={self.name} could be evaluated at predictions of the model, "
                "but not at those of another, such as the model without a training "
                f"row: {_said(error)}."
            ) from error
        return self._number(found).to(proba)

    def _number(self, found: Any) -> Tensor:
        number = _as_number(found)
        if not bool(number.isfinite()):
            raise ValueError(
                f"target={self.name} returned {float(number)} for predicted "
                "probabilities; it must return a finite number."
            )
        return number

    def _call(self, proba: Tensor) -> Any:
        if self.takes == "arrays":
            return self.function(proba.numpy().copy(), *self.arguments)
        return self.function(proba, *map(_as_tensor, self.arguments))


def _as_tensor(values: np.ndarray) -> Any:
    """Return numbers as a tensor; what has no tensor stays an array."""
    return torch.tensor(values) if values.dtype.kind in "biuf" else values


def _as_number(found: Any) -> Tensor:
    if isinstance(found, Tensor) and found.numel() == 1:
        return found.reshape(())
    if np.ndim(found) == 0 and np.asarray(found).dtype.kind in "biuf":
        return torch.tensor(float(found), dtype=torch.float64)
    kind = f"an array of shape {tuple(np.shape(found))}" if np.shape(found) else found
    raise ValueError(f"it returned {kind!s:.80}, not one number")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().rstrip('.')}"
