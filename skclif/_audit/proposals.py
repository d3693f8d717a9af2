"""Proposals for a person to decide on: what may be wrong, and what would help."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator

from .._explain.explainer import ConceptInfluenceExplainer
from .._explain.suggestions.arguments import LEAST_ROWS
from .._explain.suggestions.candidates import KINDS
from .._models.bottleneck import ConceptBottleneckClassifier
from .._results.suspects import UNKNOWN
from ..exceptions import SuggestionWarning, SuspectWarning
from .kinds import orders
from .models import messages
from .option_names import in_options
from .rows import LEAST_PROBABILITY, Reviews, tidy

# Values of ordered paths in their order.
Orders: TypeAlias = dict[str, list[Any]] | None


def suspects_table(
    explainer: ConceptInfluenceExplainer,
    known: pd.DataFrame,
    groups: np.ndarray | None,
    ordinal: Orders = None,
    spreads: dict[str, float] | None = None,
) -> tuple[pd.DataFrame, list[str], list[str]]:
    """Return labels and annotations that may be wrong, and reasons to doubt them.

    Parameters
    ----------
    explainer : ConceptInfluenceExplainer
    known : DataFrame
        What is known of the training rows.
    groups : ndarray of shape (n_train,) or None
    ordinal : dict of str to list, default=None
        Values of ordered paths in their order.
    spreads : dict of str to float, default=None
        Of the concepts of amounts, whose proposals are rounded.

    Returns
    -------
    table : DataFrame
    notes : list of str
    unknown : list of str
        Paths of which nothing can be said, so that their lines are all alike.
    """
    columns = ["probability_wrong", "probability_proposed"]
    columns += ["loss", "margin", "self_influence"]
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = explainer.suspect_labels(
                ordinal=ordinal, groups=groups, sort_by="probability_wrong"
            )
    except ValueError as error:  # a term that holds a head cannot be left out
        nothing = _decisions(known, [], [], [], [], [], {c: [] for c in columns})
        return nothing, [f"Nothing is listed as suspect. {in_options(str(error))}"], []
    unknown = found.attrs[UNKNOWN]
    found = found[found["probability_wrong"] >= LEAST_PROBABILITY]
    kinds = np.where(found["path"] == "label", "relabel", "annotate")
    names = ["row", "path", "current", "proposed"]
    row, path, current, proposed = (found[name].to_numpy() for name in names)
    proposed = _rounded(path, proposed, spreads)
    evidence = {name: found[name].to_numpy() for name in columns}
    table = _decisions(known, row, kinds, path, current, proposed, evidence)
    return table, list(messages(caught)), unknown


def without_paths(table: pd.DataFrame, paths: Collection[str]) -> pd.DataFrame:
    """Return lines of suspects that are not about some paths."""
    return table[~table["path"].isin(list(paths))].reset_index(drop=True)


def suggestions_table(
    explainer: ConceptInfluenceExplainer,
    known: pd.DataFrame,
    held_out: Reviews,
    groups: np.ndarray | None,
    seed: int,
    ordinal: Orders = None,
    *,
    relabel: bool = True,
    spreads: dict[str, float] | None = None,
) -> tuple[pd.DataFrame, dict[str, Any] | None]:
    """Return changes that would help, and the effect of all of them.

    A missing annotation that would help is no change that can be made as it stands:
    the model only guesses the value. So `proposed` is empty, for a person to fill in,
    and these lines come after all others.

    Parameters
    ----------
    explainer : ConceptInfluenceExplainer
    known : DataFrame
        What is known of the training rows.
    held_out : Reviews
    groups : ndarray of shape (n_train,) or None
    seed : int
    ordinal : dict of str to list, default=None
        Values of ordered paths in their order.
    relabel : bool, default=True
        Whether other labels may be proposed.
    spreads : dict of str to float, default=None
        As `suspects_table` takes it.
    """
    columns = ["effect", "std_error", "probability_wrong"]
    if len(held_out) < LEAST_ROWS:
        nothing: dict[str, Any] = {name: [] for name in ["guess", *columns]}
        return _decisions(known, [], [], [], [], [], nothing), None
    with warnings.catch_warnings():
        # What it warns of is in `words`, which everything that shows suggestions says.
        warnings.simplefilter("ignore", SuggestionWarning)
        warnings.simplefilter("ignore", SuspectWarning)  # the suspects have said it
        found = explainer.suggest_edits(
            held_out.features,
            held_out.labels,
            kinds=[kind for kind in KINDS if relabel or kind != "relabel"],
            ordinal=ordinal,
            groups=groups,
            random_state=seed,
        )
    frame = found.frame
    asked = is_asked(frame)
    frame = pd.concat([frame[~asked], frame[asked]])
    asked = np.sort(asked.to_numpy())
    names = ["row", "kind", "path", "current", "proposed"]
    row, kind, path, current, proposed = (
        frame[name].to_numpy(dtype=object) for name in names
    )
    # A concept can have the name of the path of weights.
    concept = [p if k == "annotate" else None for p, k in zip(path, kind, strict=True)]
    proposed = _rounded(np.array(concept, dtype=object), proposed, spreads)
    evidence: dict[str, Any] = {
        "guess": tidy(pd.Series(proposed, dtype=object).where(asked, None))
    }
    evidence |= {name: frame[name].to_numpy() for name in columns}
    proposed[asked] = None
    worth = {
        "effect": found.effect,
        "interval": None if found.interval is None else list(found.interval),
        "verdict": found.verdict,
        "words": found.in_words(),
        "helps": found.helps,
        "n_candidates": found.n_candidates,
    }
    return _decisions(known, row, kind, path, current, proposed, evidence), worth


def _rounded(
    paths: np.ndarray, values: np.ndarray, spreads: dict[str, float] | None
) -> np.ndarray:
    """Return values, those of amounts with digits that a person would write.

    The last digit is worth less than a hundredth of the spread.
    """
    rounded = values.astype(object)
    for path, spread in (spreads or {}).items():
        if not spread:  # a constant, of which nothing else is proposed
            continue
        digits = 2 - math.floor(math.log10(spread))
        for row in np.flatnonzero(paths == path):
            rounded[row] = round(float(values[row]), digits)
    return rounded


def is_asked(table: pd.DataFrame) -> pd.Series:
    """Return which lines of suggestions ask for an annotation that is missing."""
    return (table["kind"] == "annotate") & table["current"].isna()


def wrong_probabilities(
    model: ConceptBottleneckClassifier,
    train: Reviews,
    device: str,
    ordinal: Collection[str] = (),
    verbose: int = 0,
) -> dict[tuple[str, str], float] | None:
    """Return the probability of being wrong by id and path, of every suspect.

    Labels and annotations that are not there have less than `LEAST_PROBABILITY`. None
    if nothing can be said of any of them. `ordinal` names ordered paths.
    """
    explainer = ConceptInfluenceExplainer(
        FrozenEstimator(model), device=device, verbose=verbose
    )
    concepts = train.concepts if train.concepts.shape[1] else None
    explainer.fit(train.features, train.labels, train.weights, concepts=concepts)
    table, notes, _ = suspects_table(
        explainer, train.known(), train.groups, orders(model, ordinal)
    )
    if notes and not len(table):
        return None
    columns = (table[column] for column in ("id", "path", "probability_wrong"))
    return {(i, path): float(p) for i, path, p in zip(*columns, strict=True)}


def _decisions(
    known: pd.DataFrame,
    row: Any,
    kind: Any,
    path: Any,
    current: Any,
    proposed: Any,
    evidence: dict[str, Any],
) -> pd.DataFrame:
    """Return lines for a person to decide on, texts last."""
    row = np.asarray(row, dtype=int)
    table = {
        "decision": np.full(len(row), "", dtype=object),
        "why": np.full(len(row), "", dtype=object),
        "kind": kind,
        "id": known["id"].to_numpy()[row],
        "text_hash": known["text_hash"].to_numpy()[row],
        "path": path,
        "current": tidy(pd.Series(current, dtype=object)),
        "proposed": tidy(pd.Series(proposed, dtype=object)),
        **evidence,
    }
    for name in ("group", "text"):
        if name in known:
            table[name] = known[name].to_numpy()[row]
    return pd.DataFrame(table)
