"""Influence of training rows on the mean loss and on the worst mistakes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .._explain.explainer import ConceptInfluenceExplainer
from .._explain.shares import influence_on_shares
from .._results.influence import dominant_paths
from ..exceptions import InfluenceWarning
from .rows import Reviews

N_CULPRITS = 5  # rows that raise the loss of a mistake most, and as many that lower it
N_TRACED = 500  # mistakes, unless another number is asked for
_VALUES_AT_ONCE = 20_000_000


@dataclass(frozen=True)
class Traced:
    """Influence on the mean loss of the held-out rows, and on the worst mistakes.

    Attributes
    ----------
    method : str
    paths : tuple of str
    mean : ndarray of shape (n_train, n_paths)
    culprits, helpers : list of (ndarray, ndarray)
        Of every mistake, positions of training rows and their influence, (n_culprits,
        n_paths): the rows that harm it, the most harmful first, and the rows that help,
        the most helpful last.
    """

    method: str
    paths: tuple[str, ...]
    mean: np.ndarray
    culprits: list[tuple[np.ndarray, np.ndarray]]
    helpers: list[tuple[np.ndarray, np.ndarray]]


def most_at_once(explainer: ConceptInfluenceExplainer) -> int:
    """Return how many mistakes can be traced in one pass over the training rows.

    The removal of training rows takes most of the time, and is done once a pass. So
    this many mistakes cost little more than one.
    """
    n_values = explainer.n_samples_ * (2 + len(explainer.concept_names_in_))
    return max(1, _VALUES_AT_ONCE // n_values)


def trace(
    explainer: ConceptInfluenceExplainer, held_out: Reviews, mistakes: np.ndarray
) -> Traced:
    """Return influence on the mean and on mistakes: one method, rows removed once."""
    X, labels = held_out.features, held_out.labels
    n_rows = len(held_out)
    everywhere = np.full((1, n_rows), 1 / n_rows)
    step = most_at_once(explainer)
    first = np.concatenate([everywhere, _one_each(mistakes[:step], n_rows)])
    method, paths, values = influence_on_shares(explainer, X, labels, first)
    mean, found = values[0], [_culprits(part) for part in values[1:]]
    for start in range(step, len(mistakes), step):
        block = mistakes[start : start + step]
        with warnings.catch_warnings():
            # The mistakes are among the rows that the first call has warned of.
            warnings.simplefilter("ignore", InfluenceWarning)
            *_, values = influence_on_shares(
                explainer, X[block], labels[block], np.eye(len(block)), method
            )
        found += [_culprits(part) for part in values]
    culprits, helpers = ([pair[k] for pair in found] for k in (0, 1))
    return Traced(method, paths, mean, culprits, helpers)


def _one_each(rows: np.ndarray, n_rows: int) -> np.ndarray:
    shares = np.zeros((len(rows), n_rows))
    shares[np.arange(len(rows)), rows] = 1
    return shares


def _culprits(values: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the rows that harm most and those that help most, with influence."""
    total = values.sum(axis=1)
    order = np.argsort(-total, kind="stable")
    order = order[~np.isnan(total[order])]  # not defined without the row
    harmful, helpful = order[:N_CULPRITS], order[-N_CULPRITS:]
    harmful, helpful = harmful[total[harmful] > 0], helpful[total[helpful] < 0]
    return [(rows, values[rows]) for rows in (harmful, helpful)]


def influence_table(
    traced: Traced,
    known: pd.DataFrame,
    kept: np.ndarray,
    held_out: Reviews,
    mistakes: np.ndarray,
) -> pd.DataFrame:
    """Return one line a target and training row, as `Audit` describes it.

    Parameters
    ----------
    traced : Traced
    known : DataFrame of shape (n_train, n_columns)
        What is known of the training rows.
    kept : ndarray of bool of shape (n_train,)
        The rows that have weight, and an influence; the others have no line on the
        mean.
    held_out : Reviews
    mistakes : ndarray of shape (n_mistakes,)
        Positions of the held-out rows that were traced.
    """
    order = np.argsort(-traced.mean.sum(axis=1), kind="stable")
    order = order[kept[order]]
    tables = [_influence_lines(known, order, traced.mean[order], traced.paths)]
    tables[0].insert(0, "target", "all")
    tables[0].insert(1, "target_id", None)
    tables[0].insert(2, "target_text_hash", None)
    hashes = held_out.hashes()
    found = zip(mistakes, traced.culprits, traced.helpers, strict=True)
    for row, culprits, helpers in found:
        rows, values = (
            np.concatenate(pair) for pair in zip(culprits, helpers, strict=True)
        )
        lines = _influence_lines(known, rows, values, traced.paths)
        # Among all rows: the most helpful of them is the last.
        n_helpers = len(helpers[0])
        lines.loc[len(rows) - n_helpers :, "rank"] += len(order) - len(rows)
        lines.insert(0, "target", "row")
        lines.insert(1, "target_id", held_out.ids[row])
        lines.insert(2, "target_text_hash", hashes[row])
        tables.append(lines)
    return pd.concat(tables, ignore_index=True)


def _influence_lines(
    known: pd.DataFrame, rows: np.ndarray, values: np.ndarray, paths: tuple[str, ...]
) -> pd.DataFrame:
    """Return lines for training rows in order of rank, `values` (n_rows, n_paths)."""
    lines: dict[str, Any] = {"rank": np.arange(1, len(rows) + 1)}
    for name in known.columns.drop("text", errors="ignore"):
        column = name if name.startswith("annotated:") else f"train_{name}"
        lines[column] = known[name].to_numpy()[rows]
    total = values.sum(axis=1)
    lines["influence"] = total
    lines["path"] = np.asarray(paths, dtype=object)[dominant_paths(values)]
    for path, part in zip(paths, values.T, strict=True):
        lines[f"path:{path}"] = part
    return pd.DataFrame(lines)
