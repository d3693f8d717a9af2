"""Requests to an explainer, checked: targets, groups, and how much to keep."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
import torch
from pandas.api.extensions import ExtensionDtype
from sklearn.utils import column_or_1d

from .. import targets
from .._inputs.checks import check_labels, error_context, refuse_masked
from .._inputs.collections import refuse_collections
from .._inputs.tensors import as_array
from .._inputs.training_rows import as_features
from .._models.fitted import FittedHeads
from ..numerics.sparse import Matrix
from ..numerics.targets import ConceptTarget, LabelTarget, Question, SetTarget, Target
from ..targets._target import (
    as_target,
    bind,
    check_defined,
    check_rows,
    check_y,
    with_classes,
)
from .collect import KeepAll, KeepTop, RemoteGroups, SumGroups

# Name, unit, and whether higher is better.
LABEL_TARGETS = {
    "loss": ("log-loss", "nats", False),
    "log_proba": ("log-probability", "nats", True),
    "logit": ("logit", "logits", True),
    "margin": ("margin", "logits", True),
}


# What may be given as a target.
TargetLike = str | tuple[Any, ...] | targets.Target | Callable[..., Any]


def checked_target(target: Any, y: Any, name: str = "y", of: str = "X") -> Any:
    """Return a target with a function as a target of a set, seen to have its labels."""
    of_set = as_target(target)
    check_y(of_set, y, name, of)
    return target if of_set is None else of_set


def needs_labels(target: Any) -> bool:
    """Return whether a target, not yet checked, is about labels of rows."""
    of_set = as_target(target)
    return not isinstance(target, tuple) if of_set is None else of_set._needs_y


def check_methods_of(
    questions: Sequence[Question],
    methods: Sequence[str],
    instead: str = "method='newton' or 'leverage'",
) -> None:
    """Refuse first order for a target without derivatives."""
    target = questions[0].target
    if isinstance(target, SetTarget) and "first_order" in methods:
        target.check_differentiable("method='first_order'", instead)


def mean_of(target: Any) -> str | None:
    """Return how a checked target of rows becomes one number: by its mean."""
    return None if isinstance(target, targets.Target) else "mean"


def describe_target(
    heads: FittedHeads, target: Any, reduce: Any
) -> tuple[str, str, bool | None]:
    """Return name, unit and direction of a checked target."""
    if reduce is not None and str(reduce) not in ("mean", "sum"):
        raise ValueError(f"reduce={reduce!r} is not known; use 'mean', 'sum' or None.")
    if isinstance(target, targets.Target):
        if reduce is not None:
            raise ValueError(
                f"reduce={reduce!r} and target={target!r} exclude each other: the "
                "target is one number of all rows already. Leave out reduce."
            )
        return target.name, target.unit, target.higher_is_better
    if isinstance(target, str) and target in LABEL_TARGETS:
        name, unit, higher_is_better = LABEL_TARGETS[target]
    elif isinstance(target, tuple) and target[:1] == ("concept",):
        _, _, name, unit = _concept_target(heads, target)
        higher_is_better = True
    else:
        raise ValueError(
            f"target={target!r} is not known; use one of {sorted(LABEL_TARGETS)}, "
            "('concept', name, value), ('concept', name) if it is continuous, a target "
            "of skclif.targets, or a function of predicted probabilities."
        )
    return f"{reduce} {name}" if reduce else name, unit, higher_is_better


def numeric_targets(
    heads: FittedHeads,
    target: Any,
    codes: np.ndarray,
    device: torch.device,
    features: Matrix | None = None,
    of: str = "X",
) -> Callable[[slice], Target]:
    """Return a function from a slice to the numeric target of these rows.

    Parameters
    ----------
    heads : FittedHeads
    target : object
        Checked, as in :meth:`ConceptInfluenceExplainer.influence`.
    codes : ndarray of shape (n_targets,)
        Codes of the classes that the targets are about.
    device : torch.device
    features : ndarray or SparseFeatures of shape (n_targets, n_features)
        Features of the rows; only a target of all of them together needs them.
    of : str, default="X"
        What the rows are called.
    """
    if isinstance(target, targets.Target):
        assert features is not None
        whole = set_target(heads, target, codes, device, features, of)
        return lambda _: whole
    if isinstance(target, str):
        on_device = torch.from_numpy(codes).to(device)
        return lambda block: LabelTarget(target, on_device[block])
    j, code, *_ = _concept_target(heads, target)
    return lambda block: ConceptTarget(j, code)


def set_target(
    heads: FittedHeads,
    target: targets.Target,
    codes: np.ndarray,
    device: torch.device,
    features: Matrix,
    of: str = "X",
    more: str = "",
) -> SetTarget:
    """Return the numeric target of all rows of features together.

    `more` is said where it is not defined for them.
    """
    check_rows(target, len(features), of)
    check_defined(target, codes, of, more)
    target = with_classes(target, heads.classes)
    proba = heads.tensors().label_probabilities(as_features(features))
    return bind(target, codes, len(heads.classes), proba, device)


def tells_apart(
    target: Any, numeric: Target, heads: FittedHeads, features: Matrix
) -> dict[str, np.ndarray]:
    """Return what tells a target of a set of rows from others of the same value.

    Of a function nobody knows what it depends on, so it is also asked about flatter and
    sharper predictions than those of the model.
    """
    if not isinstance(target, targets.Target):
        return {}
    settings = repr((target._kind, target._settings, target._classes))
    found = {"settings": np.array(settings)}
    for i, values in enumerate(target._rows):
        is_plain = values.dtype != np.dtype(object)
        found[f"of rows {i}"] = values if is_plain else values.astype(str)
    if target._function is not None:
        assert isinstance(numeric, SetTarget)
        proba = heads.tensors().label_probabilities(as_features(features))
        sharper = proba**2 / (proba**2).sum(dim=1, keepdim=True)
        others = torch.stack([(proba + 1 / proba.shape[1]) / 2, sharper])
        found["at other predictions"] = numeric.function(others).cpu().numpy()
    return found


def shares_of(reduce: Any, n_targets: int) -> np.ndarray | None:
    """Return the weights of targets in their mean or sum, (1, n_targets).

    None if each target is explained by itself.
    """
    if reduce is None:
        return None
    share = 1 / n_targets if reduce == "mean" else 1.0
    return np.full((1, n_targets), share)


def explained_codes(heads: FittedHeads, features: Matrix, y: Any) -> np.ndarray:
    """Return the code of the class that each target is about, by default predicted."""
    if y is not None:
        return class_codes(heads.classes, features, y)
    proba = heads.tensors().label_probabilities(as_features(features))
    codes: np.ndarray = proba.argmax(dim=1).numpy()
    return codes


def class_codes(
    classes: np.ndarray, features: Matrix, y: Any, name: str = "y"
) -> np.ndarray:
    """Return the codes of the labels of rows."""
    of = "X" + name.removeprefix("y")
    y = check_labels(y, len(features), name=name, of=of)
    unknown = ~np.isin(y, classes)
    if unknown.any():
        raise ValueError(
            f"{name} has the class {y[unknown].tolist()[0]!r}, which was not seen in "
            f"fit; known classes: {classes.tolist()}."
        )
    codes: np.ndarray = np.searchsorted(classes, y)
    return codes


def collector(
    n_targets: int,
    n_samples: int,
    n_paths: int,
    *,
    paths: bool,
    groups: Any,
    top: Any,
) -> tuple[KeepAll | KeepTop | SumGroups, np.ndarray | None]:
    """Return a collector for all targets, and the names of groups.

    Parameters
    ----------
    n_targets : int
    n_samples : int
        Number of training rows.
    n_paths : int
        Number of paths that arrive.
    paths, groups, top
        As in :meth:`ConceptInfluenceExplainer.influence`; groups may be where the
        training rows are.
    """
    if top is not None:
        if groups is not None:
            raise ValueError("top and groups exclude each other; use .top() after.")
        top = check_top(top)
        return KeepTop(n_targets, n_samples, top, n_paths, paths=paths), None
    if groups is None:
        return KeepAll.in_memory(n_targets, n_samples, n_paths, paths=paths), None
    if isinstance(groups, RemoteGroups):
        codes, names = groups.codes, groups.names
    else:
        what = "The influence of training rows in this process"
        refuse_collections(what, groups=groups)
        codes, names = check_groups(groups, n_samples)
    return SumGroups(n_targets, n_paths, codes, names, paths=paths), names


def check_top(top: Any) -> int:
    """Return the number of rows to keep for each target."""
    if not isinstance(top, Integral) or isinstance(top, bool) or top < 1:
        raise ValueError(f"top={top!r} must be a positive integer or None.")
    return int(top)


def check_groups(
    groups: Any, n_rows: int, name: str = "groups", row: str = "training row"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the code of every row's group, and the names of the groups."""
    groups = as_array(name, groups)
    refuse_masked(name, groups)
    with error_context(name, f"one group for each {row}"):
        column = _one_column(groups, name, row)
        if isinstance(groups, pd.DataFrame):
            groups = groups.squeeze(axis="columns")
        if _is_nullable_integer(groups):
            column = pd.Series(groups)  # as an array of numpy, it can be of floats
        codes, names = pd.factorize(column, sort=True)
    missing = codes < 0
    if missing.any():
        raise ValueError(
            f"{name} has no value for {row} {int(missing.argmax())} "
            f"({int(missing.sum())} of {len(codes)} are missing). Name a group for "
            "each row, such as 'unknown'."
        )
    if len(codes) != n_rows:
        raise ValueError(
            f"{name} has {len(codes)} entries, but there are {n_rows} "
            f"{row.replace('row', 'rows')}; it needs one for each."
        )
    if _is_nullable_integer(names):
        return codes, np.asarray(names, dtype=names.dtype.numpy_dtype)
    return codes, np.asarray(names)


def _is_nullable_integer(groups: Any) -> bool:
    """Return whether these are a pandas "Int64" and the like."""
    dtype = getattr(groups, "dtype", None)
    return isinstance(dtype, ExtensionDtype) and pd.api.types.is_integer_dtype(dtype)


def _one_column(groups: Any, name: str, row: str) -> Any:
    try:
        return column_or_1d(groups, input_name=name)
    except ValueError as error:
        if "1d array" not in str(error):
            raise
        # scikit-learn speaks of y.
        shape = np.shape(groups)
        got = f"an array of shape {shape}" if shape else reprlib.repr(groups)
        raise ValueError(
            f"{name} must be one group for each {row}, in a list, an array or one "
            f"column, got {got}."
        ) from error


def _concept_target(
    heads: FittedHeads, target: tuple[Any, ...]
) -> tuple[int, int, str, str]:
    """Return position and code of a concept's value, and the target's name and unit."""
    names = list(heads.names)
    name = target[1] if len(target) > 1 else None
    if name not in names:
        raise ValueError(
            f"target names the concept {name!r}, but the model has "
            f"{', '.join(map(repr, names)) or 'no concepts'}."
        )
    j = names.index(name)
    classes = heads.values[j]
    if classes is None:
        if len(target) != 2:
            raise ValueError(
                f"target={target!r} names a value, but concept {name!r} is continuous; "
                f"use ('concept', {name!r})."
            )
        return j, 0, f"predicted {name}", f"units of {name}"
    values = classes.tolist()
    if len(target) != 3 or target[2] not in values:
        asked = repr(target[2]) if len(target) == 3 else "no single one"
        raise ValueError(
            f"target names the value {asked} of concept {name!r}, which was not seen "
            f"in fit; known values: {values}."
        )
    return j, values.index(target[2]), f"p({name} = {target[2]})", "probability"
