"""What a target of a set of rows is, and how it meets the rows of a model."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.utils import column_or_1d

from .._inputs.checks import error_context, refuse_masked
from .._inputs.many_values import is_nearly_one_each
from .._inputs.tensors import as_array
from .._results.words import how_many
from ..exceptions import ManyValuesWarning, warn_user

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..numerics.targets import SetTarget

FUNCTION = "from_function"
_UNNAMED = "a function of predicted probabilities"
_SHOWN = 4  # names of groups


@dataclass(frozen=True, eq=False, repr=False)
class Target:
    """One number of a whole set of rows, whose change is explained.

    The functions of :mod:`skclif.targets` make it. It is accepted wherever there is a
    `target`: by the explainer's `influence`, `validate`, `suggest_edits` and `edit`,
    and by :class:`~skclif.InfluenceReweighter`.

    Attributes
    ----------
    name : str
        What it is, as results show it.
    unit : str
        Unit of the number.
    higher_is_better : bool or None
        Whether a rise is good; None if nobody said.
    """

    __module__ = "skclif.targets"

    name: str
    unit: str
    higher_is_better: bool | None
    _kind: str = FUNCTION
    _rows: tuple[np.ndarray, ...] = ()
    _groups: tuple[Any, ...] | None = None
    _takes_groups: bool = False
    _needs_y: bool = True
    _settings: tuple[tuple[str, Any], ...] = ()
    _function: Callable[..., Any] | None = None
    _is_plain: bool = False
    _classes: tuple[Any, ...] | None = None
    _indexes: tuple[pd.Index | None, ...] = ()

    def __repr__(self) -> str:
        """Return the call that makes it, with long arguments in short."""
        parts = [f"{name}={reprlib.repr(value)}" for name, value in self._settings]
        if self._groups is not None:
            names = ", ".join(map(repr, self._groups[:_SHOWN]))
            more = ", …" if len(self._groups) > _SHOWN else ""
            rows = how_many(len(self._rows[0]), "row")
            parts.insert(0, f"groups=<{names}{more} of {rows}>")
        if self._classes is not None:
            parts.append(f"classes={reprlib.repr(self._classes)}")
        if self._function is not None:
            parts.insert(0, _name_of(self._function))
            parts += [f"name={self.name!r}", f"unit={self.unit!r}"]
            parts.append(f"higher_is_better={self.higher_is_better!r}")
        return f"{self._kind}({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same number of the same rows."""
        if not isinstance(other, Target):
            return NotImplemented
        mine, theirs = vars(self).copy(), vars(other).copy()
        rows, others = mine.pop("_rows"), theirs.pop("_rows")
        for one in (mine, theirs):
            one.pop("_indexes", None)  # they check the order, and are no values
        same = len(rows) == len(others) and all(map(np.array_equal, rows, others))
        return same and mine == theirs

    def __hash__(self) -> int:
        """Return a hash of what it is called."""
        return hash((self.name, self.unit, self._kind))


def as_target(target: Any) -> Target | None:
    """Return a target of a set, or a callable as one; None for any other target."""
    if isinstance(target, Target):
        return target
    if not callable(target):
        return None
    if getattr(target, "__module__", "").startswith("skclif.targets"):
        raise TypeError(
            f"target is the function {target.__name__}, which makes targets. Call it: "
            f"target=skclif.targets.{target.__name__}(...)."
        )
    name = _name_of(target)
    name = _UNNAMED if name == "<lambda>" else name
    return Target(
        name,
        f"units of {name}" if name != _UNNAMED else "units of the function",
        None,
        _needs_y=False,
        _function=target,
        _is_plain=True,
    )


def check_y(target: Target | None, y: Any, name: str = "y", of: str = "X") -> None:
    """Refuse to do without labels where a target needs them."""
    if target is not None and target._needs_y and y is None:
        raise ValueError(
            f"target={target!r} needs the labels of {of}; pass {name}, one label for "
            f"each row of {of}."
        )


def check_divisible(target: Target, why: str) -> None:
    """Refuse a plain function where rows are divided, and what has no direction."""
    if target._is_plain:
        raise ValueError(
            f"{why} divides the rows, and a plain function does not say what of it "
            "belongs to which row. Wrap it: target=skclif.targets.from_function("
            "function, *row_values, higher_is_better=...). It is then called with the "
            "probabilities of some rows and the entries of row_values of the same rows."
        )
    if target.higher_is_better is None:
        raise ValueError(
            f"{why} has to know which way target={target!r} is good; say "
            "higher_is_better=True or False in from_function."
        )


def with_groups(target: Target, groups: Any, name: str, of: str) -> Target:
    """Return a target with groups of rows, if it takes any.

    Parameters
    ----------
    target : Target
    groups : array-like or None
    name : str
        What the argument with groups is called.
    of : str
        What the rows are called.
    """
    if groups is None:
        if target._takes_groups and target._groups is None:
            raise ValueError(
                f"target={target!r} has no groups; pass {name}, one group for each row "
                f"of {of}."
            )
        return target
    if not target._takes_groups:
        raise ValueError(f"{name} was given, but target={target!r} takes no groups.")
    if target._groups is not None:
        raise ValueError(
            f"{name} was given, and target={target!r} has groups of its own; give them "
            "once."
        )
    codes, names = codes_of(groups, name)
    check_names(target._kind, names, name)
    return replace(target, _rows=(codes,), _groups=names)


def index_of(values: Any) -> pd.Index | None:
    """Return the index of values of pandas."""
    return values.index if isinstance(values, pd.DataFrame | pd.Series) else None


def indexed(target: Any) -> dict[str, pd.Series]:
    """Return what belongs to rows by an index, by its name; see `check_row_order`."""
    if not isinstance(target, Target):
        return {}
    return {
        "groups" if target._takes_groups else f"row_values[{i}]": pd.Series(0, index)
        for i, index in enumerate(target._indexes)
        if index is not None
    }


def with_classes(target: Target, classes: np.ndarray) -> Target:
    """Return a target whose costs are in the order of the classes of a model."""
    if target._classes is None:
        return target
    known = classes.tolist()
    if set(target._classes) != set(known):
        raise ValueError(
            f"target={target!r}: matrix is a DataFrame with the names "
            f"{list(target._classes)}, but the classes of the model are {known}. Name "
            "its rows and columns by the classes, or pass matrix.to_numpy() in the "
            "order of classes_."
        )
    settings = dict(target._settings)
    order = [target._classes.index(name) for name in known]
    settings["matrix"] = tuple(
        tuple(settings["matrix"][i][j] for j in order) for i in order
    )
    return replace(target, _settings=tuple(settings.items()), _classes=None)


def codes_of(groups: Any, name: str = "groups") -> tuple[np.ndarray, tuple[Any, ...]]:
    """Return the code of every row's group, and the names of the groups."""
    groups = as_array(name, groups)
    refuse_masked(name, groups)
    with error_context(name, "one group for each row, in a list or an array"):
        if isinstance(groups, str) or np.ndim(groups) == 0:
            raise ValueError(f"got {groups!r}.")
        if isinstance(groups, list | tuple):  # an array would make a text of NaN
            groups = pd.Series(groups)
        codes, names = pd.factorize(column_or_1d(groups, input_name=name), sort=True)
        if not len(codes):
            raise ValueError("got none.")
    if (codes < 0).any():
        raise ValueError(
            f"{name} has no value for row {int((codes < 0).argmax())} "
            f"({int((codes < 0).sum())} of {len(codes)} are missing). Name a group for "
            "each row, such as 'unknown'."
        )
    if is_nearly_one_each(len(names), len(codes)):
        warn_user(
            f"{name} has {len(names)} different groups in {len(codes)} rows; what is "
            "said of a group of a row or two is chance. If they are amounts, cut them "
            "into a few groups, for example by pandas.cut.",
            ManyValuesWarning,
        )
    return _kept(codes.astype(np.int64)), tuple(np.asarray(names).tolist())


def check_names(kind: str, names: tuple[Any, ...], argument: str = "groups") -> None:
    """Refuse one group where groups are compared."""
    if kind.endswith("_gap") and len(names) < 2:
        raise ValueError(
            f"{argument} has one group, {names[0]!r}, and {kind} compares groups; two "
            "or more are needed."
        )


def is_gap(target: Target) -> bool:
    """Return whether a target is a gap between groups: 0 at best."""
    return target._kind.endswith("_gap")


def take(target: Target, rows: np.ndarray) -> Target:
    """Return the same target of some of its rows."""
    parts = tuple(values[rows] for values in target._rows)
    return replace(target, _rows=parts, _indexes=())


def check_rows(target: Target, n_rows: int, of: str = "X", of_groups: str = "") -> None:
    """Refuse values that are not one for each row.

    `of_groups` is advice for groups.
    """
    if target._takes_groups and target._groups is None:
        raise ValueError(
            f"target={target!r} has no groups. Give one for each row of {of}: "
            f"{target._kind}(groups). Without, it is for InfluenceReweighter, whose "
            "fit takes target_groups."
        )
    for number, values in enumerate(target._rows, start=1):
        if len(values) != n_rows:
            what = "groups" if target._groups is not None else f"row_values {number}"
            raise ValueError(
                f"target={target!r}: {what} has {len(values)} entries, but {of} has "
                f"{how_many(n_rows, 'row')}; it needs one for each."
                + (of_groups if target._groups is not None else "")
            )


def bind(
    target: Target,
    codes: np.ndarray,
    n_classes: int,
    proba: Tensor,
    device: torch.device,
) -> SetTarget:
    """Return the numeric target of rows.

    Parameters
    ----------
    target : Target
        Of these rows; see `check_rows`.
    codes : ndarray of shape (n_rows,)
        Codes of the labels.
    n_classes : int
    proba : Tensor of shape (n_rows, n_classes)
        Predicted probabilities, to try functions on.
    device : torch.device
        Where the target is evaluated.
    """
    import torch

    from ..numerics import set_targets
    from ..numerics.targets import SetTarget

    settings = dict(target._settings)
    if target._function is not None:
        given = (codes, *target._rows) if settings.get("with_y") else target._rows
        function = set_targets.UserFunction.of(
            target._function, given, target.name, proba
        )
        return SetTarget(function, target.name, function.is_differentiable)
    labels = torch.as_tensor(codes, device=device)
    if target._takes_groups:
        settings["groups"] = torch.tensor(target._rows[0], device=device)
    if "matrix" in settings:
        costs = _check_matrix(target, settings["matrix"], n_classes)
        settings["matrix"] = torch.tensor(costs, dtype=proba.dtype, device=device)
    library = getattr(set_targets, target._kind)
    return SetTarget(partial(library, codes=labels, **settings), target.name)


def smallest_group(target: Target) -> str:
    """Return how many rows the smallest group has, in brackets; nothing without."""
    if target._groups is None:
        return ""
    counts = np.bincount(target._rows[0], minlength=len(target._groups))
    least = int(counts.argmin())
    return f" (group {target._groups[least]!r} has {how_many(counts[least], 'row')})"


def check_defined(
    target: Target, codes: np.ndarray, of: str = "X", more: str = ""
) -> None:
    """Refuse rows of which a target of the library is not defined."""
    reason = undefined(target, codes, of)
    if reason:
        raise ValueError(f"target={target!r} {reason}{more}.")


def undefined(target: Target, codes: np.ndarray, of: str) -> str:
    """Return why a target is not defined for rows; nothing if it is.

    Parameters
    ----------
    target : Target
    codes : ndarray of shape (n_rows,)
        Codes of the labels.
    of : str
        What the rows are called.
    """
    if target._kind == "smooth_auroc" and len(np.unique(codes)) < 2:
        return f"compares rows of two classes, and all labels of {of} are the same"
    if target._kind == "demographic_parity_gap" and len(np.unique(target._rows[0])) < 2:
        return f"compares groups, and all rows of {of} are of one group"
    if target._kind == "equalized_odds_gap":
        groups = target._rows[0]
        if not any(
            len(np.unique(groups[codes == code])) > 1 for code in np.unique(codes)
        ):
            return (
                "compares groups among rows of one label, and no label of "
                f"{of} has rows of two groups"
            )
    return ""


def _check_matrix(target: Target, matrix: Any, n_classes: int) -> Any:
    if len(matrix) != n_classes:
        raise ValueError(
            f"target={target!r}: matrix has {how_many(len(matrix), 'row')}, but the "
            f"model has {n_classes} classes; it needs one row and one column for each, "
            "in the order of classes_."
        )
    return matrix


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _kept(values: np.ndarray) -> np.ndarray:
    """Return a copy that nobody changes."""
    values = values.copy()
    values.flags.writeable = False
    return values
