"""Suggestions as a table for people, and warnings about them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..._models.fitted import FittedHeads
from ..._results.suggestions import EditSuggestions
from ...exceptions import InfluenceWarning, SuggestionWarning, warn_user
from .believed import Believed
from .candidates import DROP, LABEL, ROW
from .selection import LEAST_FOR_INTERVAL, SuggestionSet


def frame_of(
    found: SuggestionSet,
    heads: FittedHeads,
    row_weights: np.ndarray,
    training: pd.DataFrame,
    believed: Believed | None = None,
) -> pd.DataFrame:
    """Return changes as a table for people.

    Parameters
    ----------
    found : SuggestionSet
    heads : FittedHeads
    row_weights : ndarray of shape (n_samples,)
    training : DataFrame
        Texts, labels and annotations of the training rows, in this order.
    believed : Believed or None
        What is believed of the values that would be replaced; None if no values are.
    """
    changes = found.changes
    names = ["label", *heads.names]
    values = [heads.classes, *heads.values]
    n_texts = training.shape[1] - len(names)
    lines = []
    for row, path, value in zip(
        changes.rows.tolist(), changes.paths, changes.values.tolist(), strict=True
    ):
        if path == ROW:
            kind, name = "drop" if value == DROP else "reweight", "row"
            current, proposed = row_weights[row], value * row_weights[row]
        else:
            kind, name = "relabel" if path == LABEL else "annotate", names[path]
            current = training.iloc[row, n_texts + path]
            proposed = value if values[path] is None else values[path][int(value)]
        lines.append((row, kind, name, _plain(current), _plain(proposed)))
    columns = ["row", "kind", "path", "current", "proposed"]
    frame = pd.DataFrame(lines, columns=columns, dtype=object).astype({"row": int})
    frame["effect"], frame["std_error"] = changes.effects, found.std_errors
    frame["probability_wrong"] = np.nan
    if believed is not None:
        # A weight is no value, and a missing value is not wrong.
        is_value = changes.paths != ROW
        chosen = believed.probability_wrong[changes.rows, changes.paths]
        frame["probability_wrong"] = np.where(is_value, chosen, np.nan)
    texts = training.iloc[changes.rows, :n_texts].reset_index(drop=True)
    return pd.concat([frame, texts], axis=1)


def warn_unless_helpful(suggestions: EditSuggestions) -> None:
    """Warn of a list that may not help rows that did not choose it."""
    if not suggestions.n_chosen or suggestions.helps:
        return
    interval = "no interval"
    if suggestions.interval is not None:
        low, high = suggestions.interval
        interval = f"95 % interval {low:+.2g} to {high:+.2g}"
    good = "positive" if suggestions.higher_is_better else "negative"
    warn_user(
        f"The suggested changes: {suggestions.in_words()}. On rows that did not choose "
        f"them, such lists change the {suggestions.target} by {suggestions.effect:+.2g}"
        f" {suggestions.unit} ({interval}; {good} = good). {_advice(suggestions)}",
        SuggestionWarning,
    )


def _advice(suggestions: EditSuggestions) -> str:
    if suggestions.related is False:
        return (
            "Changes that help such labels make the model less sure of right labels. "
            "Are the rows of X and y in the same order?"
        )
    if suggestions.interval is None:
        return f"Give {LEAST_FOR_INTERVAL} validation rows or more."
    return "Give more validation rows, or ask for fewer kinds of changes."


def warn_of_hard_suggestions(heads: FittedHeads, kinds: tuple[str, ...]) -> None:
    """Warn that annotations act through hard activations, whose flips are not seen."""
    if heads.activation != "hard" or not heads.n_concepts or "annotate" not in kinds:
        return
    warn_user(
        "In closed form, a changed annotation flips no hard activation of other rows, "
        "so the effects of annotations on the label are too small. Use "
        "bottleneck='soft' or 'logit'.",
        InfluenceWarning,
    )


def _plain(value: Any) -> Any:
    """Return a Python object; None for a missing value."""
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
