"""Which labels and annotations may be wrong: checked arguments, and the answer."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch

from .._models.fitted import FittedHeads
from ..numerics.suspects import LeftOut, Verdicts, judge, leave_out
from .engine import Solved

# Values by path, in the order of the heads; None for a continuous concept.
Values: TypeAlias = dict[str, np.ndarray | None]

LABEL = "label"
_SEQUENCES = (list, tuple, np.ndarray, pd.Index, pd.Series)
COLUMNS = [
    "row",
    "path",
    "current",
    "suggested",
    "loss",
    "margin",
    "self_influence",
    "probability",
    "rank",
]


def paths_and_values(heads: FittedHeads) -> Values:
    """Return the values of every path in order; None for a continuous concept."""
    concepts = zip(heads.names, heads.values, strict=True)
    return {LABEL: heads.classes, **dict(concepts)}


def check_which(which: Any, paths: Collection[str]) -> list[str]:
    """Return the names of the paths to list, checked."""
    if which is None:
        return list(paths)
    asked = _as_names("which", which)
    if not asked:
        raise ValueError("which is empty; name a path, or leave it out for all.")
    _check_known("which", asked, paths)
    return [path for path in paths if path in asked]


def check_ordinal(ordinal: Any, values: Values) -> dict[str, np.ndarray]:
    """Return the ranks of the values of every path that is ordered."""
    if ordinal is None:
        return {}
    if isinstance(ordinal, Mapping):
        _check_known("ordinal", list(ordinal), values)
        return {path: _ranks(path, o, values[path]) for path, o in ordinal.items()}
    named = _as_names("ordinal", ordinal)
    _check_known("ordinal", named, values)
    return {path: _ranks(path, values[path], values[path]) for path in named}


def find_suspects(
    solved: Solved,
    values: Values,
    asked: list[str],
    ranks: dict[str, np.ndarray],
    texts: dict[str, np.ndarray],
) -> pd.DataFrame:
    """Return a line for every label and annotation, the most suspect first.

    Parameters
    ----------
    solved : Solved
    values : dict of str to ndarray or None
        Values of every path, in the order of the heads.
    asked : list of str
        The paths to list.
    ranks : dict of str to ndarray
        Ranks of the values of ordered paths.
    texts : dict of str to ndarray of shape (n_samples,)
        Texts of the training rows, by name.
    """
    left_out = leave_out(solved.bottleneck, solved.data, solved.factors)
    terms = dict(zip(values, left_out, strict=True))
    for path, term in terms.items():
        _refuse_undefined(path, term)
    verdicts: dict[str, Verdicts] = {}
    for group in _groups(values):
        if not set(group).isdisjoint(asked):
            verdicts |= _judge(group, terms, ranks)
    parts = [_lines(path, values[path], terms[path], verdicts[path]) for path in asked]
    frame = pd.concat(parts, ignore_index=True)
    # By log-odds, because probabilities near 1 are all the same number.
    order = np.argsort(-frame.pop("log_odds").to_numpy(), kind="stable")
    frame = frame.iloc[order].reset_index(drop=True)
    frame = frame.assign(rank=np.arange(1, len(frame) + 1))[COLUMNS]
    for name, column in texts.items():
        name = f"text {name}" if name in COLUMNS else name
        frame[name] = column[frame["row"].to_numpy()]
    return frame


def _groups(values: Values) -> list[list[str]]:
    """Return groups of paths that share one rate of wrong values.

    Annotators are about as careful with each categorical concept as with the next. The
    outliers of each continuous concept are a matter of that concept.
    """
    concepts = [path for path in values if path != LABEL]
    categorical = [path for path in concepts if values[path] is not None]
    continuous = [[path] for path in concepts if values[path] is None]
    return [[LABEL], *([categorical] if categorical else []), *continuous]


def _judge(
    group: list[str], terms: dict[str, LeftOut], ranks: dict[str, np.ndarray]
) -> dict[str, Verdicts]:
    orders = [
        torch.from_numpy(ranks[path]).to(terms[path].rows.device)
        if path in ranks
        else None
        for path in group
    ]
    verdicts = judge([terms[path] for path in group], orders)
    return dict(zip(group, verdicts, strict=True))


def _lines(
    path: str, values: np.ndarray | None, terms: LeftOut, verdicts: Verdicts
) -> pd.DataFrame:
    current, suggested = _numpy(terms.codes), _numpy(verdicts.suggested)
    if values is not None:
        current, suggested = values[current.astype(int)], values[suggested.astype(int)]
    return pd.DataFrame(
        {
            "row": _numpy(terms.rows),
            "path": path,
            "current": pd.Series(current.astype(object), dtype=object),
            "suggested": pd.Series(suggested.astype(object), dtype=object),
            "loss": _numpy(terms.loss),
            "margin": _numpy(terms.margin),
            "self_influence": _numpy(terms.self_influence),
            "probability": _numpy(verdicts.log_odds.sigmoid()),
            "log_odds": _numpy(verdicts.log_odds),
        }
    )


def _refuse_undefined(path: str, terms: LeftOut) -> None:
    undefined = ~terms.without.isfinite().all(dim=1)
    if undefined.any():
        what = "label" if path == LABEL else f"annotation of {path!r}"
        raise ValueError(
            f"Training row {int(terms.rows[undefined][0])} cannot be left out: its "
            f"{what} carries all the curvature of a head to working precision. Lower "
            "its weight, or lower C and concept_C."
        )


def _as_names(argument: str, given: Any) -> list[str]:
    if isinstance(given, str):
        return [given]
    names: list[Any] = list(given) if isinstance(given, _SEQUENCES) else [None]
    if not all(isinstance(name, str) for name in names):
        wanted = "a name or a list of names, 'label' or names of concepts"
        if argument == "ordinal":
            wanted += ", or a dict from names to values in order"
        raise TypeError(f"{argument} must be {wanted}, got {given!r}.")
    return names


def _check_known(argument: str, names: list[Any], paths: Collection[str]) -> None:
    unknown = [name for name in names if name not in paths]
    if unknown:
        raise ValueError(
            f"{argument} names {unknown[0]!r}, but the paths are "
            f"{', '.join(map(repr, paths))}."
        )


def _ranks(path: str, order: Any, values: np.ndarray | None) -> np.ndarray:
    """Return the rank of every value in an order that has each value once."""
    if values is None:
        raise ValueError(
            f"ordinal names {path!r}, which is continuous; leave it out: numbers are "
            "judged by their distance from the prediction."
        )
    known: list[Any] = values.tolist()
    listed: list[Any] = []
    if isinstance(order, _SEQUENCES):
        listed = order.tolist() if hasattr(order, "tolist") else list(order)
    hashable = all(isinstance(value, Hashable) for value in listed)
    if not hashable or len(listed) != len(known) or set(listed) != set(known):
        raise ValueError(
            f"ordinal gives {path!r} the order {order!r}, but it must be a list that "
            f"has each of the values once: {known}."
        )
    return np.array([listed.index(value) for value in known])


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array
