"""Which labels and annotations may be wrong: checked arguments, and the answer."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd
import torch

from .._inputs.orders import sorted_order
from .._inputs.progress import SILENT, Progress, counted
from .._inputs.soft import text_of_shares
from .._inputs.tensors import numbers_of
from .._models.fitted import FittedHeads
from .._results.suspect_groups import GROUP, GROUPS
from .._results.suspects import UNKNOWN, SuspectFrame
from ..exceptions import SuspectWarning, warn_user
from ..numerics.heads import CategoricalHead
from ..numerics.suspects import LeftOut, Verdicts, judge, leave_out
from .groups import EVIDENCE, OWN, RATIO, group_cells
from .methods import named_rows
from .solved import Solved
from .sources import Sources

# Values by path, in the order of the heads; None for a continuous concept.
Values: TypeAlias = dict[str, np.ndarray | None]

LABEL = "label"
EVENLY = "evenly"
SORTED_BY = (EVENLY, "probability_wrong")
# Labels get lines as if so many times as many were expected to be wrong, but no higher
# a share of them than of annotations.
_MORE_LABELS = 4.0
# Of a path, for the rate of wrong values and the corrections to say much.
LEAST_VALUES = 50
_SEQUENCES = (list, tuple, np.ndarray, pd.Index, pd.Series)
COLUMNS = [
    "row",
    "path",
    "current",
    "proposed",
    "loss",
    "margin",
    "self_influence",
    "probability_wrong",
    "probability_proposed",
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


def check_sort_by(sort_by: Any) -> str:
    """Return what the list is sorted by, checked."""
    if not isinstance(sort_by, str) or sort_by not in SORTED_BY:
        raise ValueError(
            f"sort_by must be {' or '.join(map(repr, SORTED_BY))}, got {sort_by!r}: "
            "the first finds the errors of all paths at the same pace, the second puts "
            "first what is most probably wrong, of any path."
        )
    return sort_by


def check_ordinal(
    ordinal: Any, values: Values, orders: Mapping[str, list[Any]]
) -> dict[str, np.ndarray]:
    """Return the ranks of the values of every path that is ordered.

    Parameters
    ----------
    ordinal
        As in :meth:`ConceptInfluenceExplainer.suspect_labels`.
    values : dict of str to ndarray or None
        By path.
    orders : dict of str to list
        The order of the values by their type, of the paths that have such a type.
    """
    if ordinal is None:
        return {}
    if isinstance(ordinal, Mapping):
        _check_known("ordinal", list(ordinal), values)
        return {path: _ranks(path, o, values[path]) for path, o in ordinal.items()}
    named = _as_names("ordinal", ordinal)
    _check_known("ordinal", named, values)
    return {path: _own_ranks(path, values[path], orders.get(path)) for path in named}


def left_out_terms(
    solved: Solved, values: Values, progress: Progress
) -> dict[str, LeftOut]:
    """Leave out every value of all paths, one at a time."""
    with progress.stage("Leaving values out", len(solved.data)) as advance:
        terms = leave_out(
            solved.bottleneck, solved.data, solved.factors, advance=advance
        )
    return dict(zip(values, terms, strict=True))


def warn_of_unknown(verdicts: Mapping[str, Verdicts]) -> None:
    """Warn of paths whose heads know nothing of their values."""
    unknown = {path: found for path, found in verdicts.items() if not found.is_known}
    if not unknown:
        return
    losses = ", ".join(
        f"{path!r} {found.known.loss:.3g} and {found.known.loss_of_shares:.3g}"
        for path, found in unknown.items()
    )
    warn_user(
        "Nothing can be said of which values of these paths are wrong: the model "
        "hardly tells them from chance (mean log-loss of its predictions, each value "
        f"left out, and of the shares of the values: {losses}). probability_wrong is "
        "the same for all values of such a path. Do texts, labels and annotations "
        "belong together row by row, and do the features say anything of these values?",
        SuspectWarning,
    )


def warn_of_few(verdicts: Mapping[str, Verdicts]) -> None:
    """Warn of paths with few values."""
    few = {path: v.known.n_terms for path, v in verdicts.items()}
    few = {path: n for path, n in few.items() if n < LEAST_VALUES}
    if few:
        counts = ", ".join(f"{path!r} {n:.6g}" for path, n in few.items())
        warn_user(
            "Some paths have few values, so their probability_wrong means little "
            f"({counts}; at least {LEAST_VALUES} are needed).",
            SuspectWarning,
        )


def judge_values(
    terms: dict[str, LeftOut],
    values: Values,
    asked: list[str],
    ranks: dict[str, np.ndarray],
    groups: Sources | None,
    progress: Progress = SILENT,
) -> dict[str, Verdicts]:
    """Return what the noise model says of the values of some paths.

    Parameters
    ----------
    terms : dict of str to LeftOut
        The terms of every path.
    values : dict of str to ndarray or None
        Values of every path, in the order of the heads.
    asked : list of str
        Paths to judge. Paths that share their rate are judged together.
    ranks : dict of str to ndarray
        Ranks of the values of ordered paths.
    groups : Sources or None
        Of the training rows.
    progress : Progress
        Shows its bars.
    """
    verdicts: dict[str, Verdicts] = {}
    together = [group for group in _groups(values) if not set(group).isdisjoint(asked)]
    with progress.stage("Judging values", len(together)) as advance:
        for group in counted(together, advance):
            verdicts |= _judge(group, terms, ranks, groups)
    return verdicts


def find_suspects(
    solved: Solved,
    values: Values,
    asked: list[str],
    ranks: dict[str, np.ndarray],
    groups: Sources | None,
    texts: dict[str, np.ndarray],
    progress: Progress,
    sort_by: str = EVENLY,
) -> pd.DataFrame:
    """Return a line for every label and annotation, the most suspect of a path first.

    Annotations of a constant are left out: nothing can contradict its only value.

    Parameters
    ----------
    solved : Solved
    values : dict of str to ndarray or None
        Values of every path, in the order of the heads.
    asked : list of str
        The paths to list.
    ranks : dict of str to ndarray
        Ranks of the values of ordered paths.
    groups : Sources or None
        Of the training rows.
    texts : dict of str to ndarray of shape (n_samples,)
        Texts of the training rows, by name.
    progress : Progress
        Shows its bars.
    sort_by : {"evenly", "probability_wrong"}
        As in :meth:`ConceptInfluenceExplainer.suspect_labels`.
    """
    terms = left_out_terms(solved, values, progress)
    terms = {path: term for path, term in terms.items() if not term.is_constant}
    values = {path: values[path] for path in terms}
    asked = [path for path in asked if path in terms]
    for path, term in terms.items():
        _refuse_undefined(path, term)
    if LABEL in asked:
        _warn_of_alone(solved)
    judged = asked
    if sort_by == EVENLY and LABEL in asked and len(asked) > 1:
        # Among other lines, the turns of labels depend on all annotations.
        judged = [path for path, known in values.items() if known is not None]
        judged = list(dict.fromkeys([*asked, *judged]))
    verdicts = judge_values(terms, values, judged, ranks, groups, progress)
    named = {path: verdicts[path] for path in asked}
    warn_of_unknown(named)
    warn_of_few(named)
    parts = [_lines(path, values[path], terms[path], verdicts[path]) for path in asked]
    frame = pd.concat(parts, ignore_index=True) if parts else _no_lines()
    unknown = [path for path in asked if not verdicts[path].is_known]
    # By log-odds, because probabilities near 1 are all the same number. Where the head
    # knows nothing, all are alike.
    log_odds = frame.pop("log_odds").to_numpy()
    order = np.lexsort([-frame["loss"].to_numpy(), -log_odds])
    frame = frame.iloc[order].reset_index(drop=True)
    if sort_by == EVENLY:
        turns = _turns(frame, verdicts, values)
        frame = frame.iloc[np.argsort(turns, kind="stable")].reset_index(drop=True)
    evidence = pd.DataFrame({name: frame.pop(name) for name in EVIDENCE})
    frame = frame.assign(rank=np.arange(1, len(frame) + 1))[COLUMNS]
    cells = None
    if groups is not None:
        frame[GROUP] = groups.of_lines(frame)
        is_known = ~frame["path"].isin(unknown)
        cells = group_cells(pd.concat([frame, evidence], axis=1)[is_known])
    for name, column in texts.items():
        name = f"text {name}" if name in frame else name
        frame[name] = column[frame["row"].to_numpy()]
    suspects = SuspectFrame(frame)
    suspects.attrs[UNKNOWN] = unknown
    if cells is not None:
        suspects.attrs[GROUPS] = cells
    return suspects


def _no_lines() -> pd.DataFrame:
    """Return a list without lines; rows are positions and paths names there, too."""
    nothing = pd.DataFrame(columns=[*COLUMNS[:-1], "log_odds", *EVIDENCE], dtype=float)
    kinds = {"row": np.intp, "path": str, "current": object, "proposed": object}
    return nothing.astype(kinds)


def _turns(
    frame: pd.DataFrame, verdicts: dict[str, Verdicts], values: Values
) -> np.ndarray:
    """Return when the turn of every line comes, lines sorted by suspicion.

    As seats are given to parties (Sainte-Laguë): by the middle of a line's place within
    its path, over the number of values of the path that are expected to be wrong.
    """
    expected = {
        path: float(found.log_odds.sigmoid().sum())
        for path, found in verdicts.items()
        if found.is_known
    }
    annotations = [
        path for path in expected if path != LABEL and values[path] is not None
    ]
    if LABEL in expected and annotations:
        # How often labels are wrong is hardest to tell, because nothing foretells them
        # well, and their errors cost the most.
        n_terms = sum(len(verdicts[path].log_odds) for path in annotations)
        rate = sum(expected[path] for path in annotations) / n_terms
        as_annotations = rate * len(verdicts[LABEL].log_odds)
        more = min(_MORE_LABELS * expected[LABEL], as_annotations)
        expected[LABEL] = max(expected[LABEL], more)
    place = frame.groupby("path").cumcount() + 0.5
    # Of a path of which nothing is known, any line is as good as the next.
    share = frame["path"].map(expected).astype(float).fillna(0.0)
    return np.where(share > 0, place / share.where(share > 0, 1.0), np.inf)


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
    group: list[str],
    terms: dict[str, LeftOut],
    ranks: dict[str, np.ndarray],
    groups: Sources | None,
) -> dict[str, Verdicts]:
    device = terms[group[0]].rows.device
    sources = None
    if groups is not None:
        sources = [groups.of_terms(path, terms[path].rows) for path in group]
    orders = [
        torch.from_numpy(ranks[path]).to(device) if path in ranks else None
        for path in group
    ]
    verdicts = judge([terms[path] for path in group], orders, sources)
    return dict(zip(group, verdicts, strict=True))


def _lines(
    path: str, values: np.ndarray | None, terms: LeftOut, verdicts: Verdicts
) -> pd.DataFrame:
    current, proposed = numbers_of(terms.codes), numbers_of(verdicts.proposed)
    if values is not None:
        current, proposed = _current(values, terms), values[proposed.astype(int)]
    log_odds_of_rate = np.log(verdicts.rate / (1 - verdicts.rate))
    return pd.DataFrame(
        {
            "row": numbers_of(terms.rows),
            "path": path,
            "current": pd.Series(current.astype(object), dtype=object),
            "proposed": pd.Series(proposed.astype(object), dtype=object),
            "loss": numbers_of(terms.loss),
            "margin": numbers_of(terms.margin),
            "self_influence": numbers_of(terms.self_influence),
            "probability_wrong": numbers_of(verdicts.log_odds.sigmoid()),
            "probability_proposed": numbers_of(verdicts.probability),
            "log_odds": numbers_of(verdicts.log_odds),
            RATIO: numbers_of(verdicts.log_odds_alike) - log_odds_of_rate,
            OWN: numbers_of(verdicts.log_odds != verdicts.log_odds_alike),
        }
    )


def _current(values: np.ndarray, terms: LeftOut) -> np.ndarray:
    """Return the values that were left out; text for soft annotations."""
    codes = numbers_of(terms.codes).astype(int)
    plain = values[np.minimum(codes, len(values) - 1)]
    is_soft = codes >= len(values)
    if not is_soft.any():
        return plain
    found: np.ndarray = plain.astype(object)
    head = cast(CategoricalHead, terms.head)
    shares = head.target(terms.codes[terms.codes >= len(values)], terms.without)
    texts = [text_of_shares(values.tolist(), row) for row in shares.tolist()]
    found[is_soft] = texts
    return found


def undefined_terms(terms: LeftOut) -> torch.Tensor:
    """Return which terms determine their head alone, so that none is without them."""
    return ~terms.without.isfinite().all(dim=1)


def _warn_of_alone(solved: Solved) -> None:
    """Warn of labels that cannot be left out, because no other row has them."""
    alone = solved.without_optimum
    if alone.any():
        warn_user(
            f"Nothing can be said of the label of {named_rows(alone)}: no other row "
            "has it, it is between others, and label_head='ordinal' has no optimum "
            "without it. It is not listed.",
            SuspectWarning,
        )


def _refuse_undefined(path: str, terms: LeftOut) -> None:
    undefined = undefined_terms(terms)
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


def _own_ranks(
    path: str, values: np.ndarray | None, order: list[Any] | None
) -> np.ndarray:
    """Return the rank of every value in the order of its type, or of sorting."""
    values = _categories(path, values)
    known: list[Any] = values.tolist()
    if order is not None:  # of a type, whose values need not all be there
        order = [value for value in order if value in known]
    if order is None or len(order) != len(known):
        order, is_order = sorted_order(values)
        if not is_order and len(order) > 2:
            warn_user(
                f"ordinal names {path!r}, but nothing says in which order its values "
                f"are, so letters decide: {' < '.join(map(str, order))}. If that is "
                f"wrong, pass ordinal={{{path!r}: [...]}} with the values in their "
                "order, or fit to an ordered categorical type.",
                SuspectWarning,
            )
    return np.array([order.index(value) for value in known])


def _categories(path: str, values: np.ndarray | None) -> np.ndarray:
    if values is None:
        raise ValueError(
            f"ordinal names {path!r}, which is continuous; leave it out: numbers are "
            "judged by their distance from the prediction."
        )
    return values


def in_order(ranks: Mapping[str, np.ndarray], values: Values) -> dict[str, list[Any]]:
    """Return the values of ordered paths in their order, as `ordinal` gives them."""
    return {
        path: _categories(path, values[path])[np.argsort(rank)].tolist()
        for path, rank in ranks.items()
    }


def _ranks(path: str, order: Any, values: np.ndarray | None) -> np.ndarray:
    """Return the rank of every value in an order that has each value once."""
    values = _categories(path, values)
    known: list[Any] = values.tolist()
    listed: list[Any] = []
    if isinstance(order, _SEQUENCES):
        listed = order.tolist() if hasattr(order, "tolist") else list(order)
    hashable = all(isinstance(value, Hashable) for value in listed)
    if not hashable or len(listed) != len(known) or set(listed) != set(known):
        able = [value for value in listed if isinstance(value, Hashable)]
        wrong = {
            "unknown": [v for v in able if v not in known],
            "missing": [v for v in known if v not in able],
            "repeated": [v for v in known if able.count(v) > 1],
        }
        found = "; ".join(f"{what}: {those}" for what, those in wrong.items() if those)
        raise ValueError(
            f"ordinal gives {path!r} the order {order!r}, but it must be a list that "
            f"has each of the values once: {known}. {found.capitalize()}."
        )
    return np.array([listed.index(value) for value in known])
