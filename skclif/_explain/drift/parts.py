"""The three tests of drift: inputs, concept heads, and the meaning of concepts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import pandas as pd
import torch

from ..._results.drift_report import FEATURES, TOGETHER
from ...numerics.drift import (
    Interactions,
    discriminants,
    head_scores,
    label_scores,
    permutation_keys,
    permuted_groups,
    share_reaching,
    surprise,
    told_apart,
    whitened,
)
from ...numerics.heads import CategoricalHead, Head, SoftmaxHead
from .rows import BothRows

INPUTS, CONCEPT, MEANING = "inputs", "concept", "meaning"
_FEWEST = 30  # rows of a group, and annotated ones of a concept
# Annotations are used if about as many rows have them in training as in the group.
_SAME_SHARE = 0.05
_PENALTY = 1.0  # no higher penalty, which would leave known effects unexplained
_FOLDS = 5
_EDGE = 30.0  # log-odds, beyond which a score says nothing more


@dataclass(frozen=True, eq=False)
class Line:
    """One test of one group.

    Attributes
    ----------
    part : {"inputs", "concept", "meaning"}
    concept : str
    n_rows : int
        Rows of the group that speak.
    uses : str
        What was taken for the values of concepts: "predictions" or "annotations".
    effect : float
    reason : str
        Why there is no test; "" if there is one.
    """

    part: str
    concept: str
    n_rows: int
    uses: str = ""
    effect: float = np.nan
    reason: str = ""


@dataclass(eq=False)
class GroupTests:
    """All tests of one group, and how surprising they are in all permutations.

    Attributes
    ----------
    lines : list of Line
    statistics : list of float
        NaN where there is no test.
    surprises : list of ndarray of shape (1 + n_permutations,), or None
        That of the observed group first.
    """

    lines: list[Line] = field(default_factory=list)
    statistics: list[float] = field(default_factory=list)
    surprises: list[np.ndarray | None] = field(default_factory=list)

    def add(
        self,
        line: Line,
        statistics: np.ndarray | None = None,
        freedom: np.ndarray | None = None,
    ) -> None:
        """Add a test with its statistics, (1 + n_permutations, n_ways_to_look)."""
        self.lines.append(line)
        if statistics is None:
            self.statistics.append(np.nan)
            self.surprises.append(None)
            return
        self.statistics.append(float(statistics[0, 0]))
        self.surprises.append(surprise(statistics, freedom).max(axis=1))


def compare_group(
    rows: BothRows,
    n_permutations: int,
    rng: np.random.Generator,
    *,
    has_concepts: bool,
) -> GroupTests:
    """Compare the new rows with the training rows, in three parts.

    Parameters
    ----------
    rows : BothRows
        All new rows are of the group.
    n_permutations : int
    rng : Generator
    has_concepts : bool
        Whether annotations of new rows were given.
    """
    found = GroupTests()
    n_new = int(rows.is_new.sum())
    if n_new < _FEWEST:
        _too_few(found, rows, n_new, has_concepts)
        return found
    keys = permutation_keys(rows.is_new, n_permutations, rng)
    groups = permuted_groups(keys, n_new)
    _inputs(found, rows, groups, rng)
    if has_concepts:
        _heads(found, rows, keys, groups)
    if rows.labels is not None:
        _meaning(found, rows, groups, has_concepts=has_concepts)
    return found


def _too_few(found: GroupTests, rows: BothRows, n_new: int, has_concepts: bool) -> None:
    reason = f"fewer than {_FEWEST} rows"
    parts = [INPUTS, *([CONCEPT] if has_concepts else [])]
    parts += [MEANING] if rows.labels is not None else []
    for part in parts:
        for name in rows.heads.names:
            found.add(Line(part, name, n_new, reason=reason))
    for part in parts:
        if part != CONCEPT:
            found.add(Line(part, TOGETHER, n_new, reason=reason))
    found.add(Line(INPUTS, FEATURES, n_new, reason=reason))


# --- Inputs ---------------------------------------------------------------------------


def _inputs(
    found: GroupTests, rows: BothRows, groups: torch.Tensor, rng: np.random.Generator
) -> None:
    """Test whether activations moved, concept by concept and together, and features."""
    names, heads = rows.heads.names, rows.stack.heads
    said = [_said(head, part) for head, part in zip(heads, rows.scores, strict=True)]
    odds = [_bounded(head, part) for head, part in zip(heads, rows.scores, strict=True)]
    columns = {n: torch.cat(b, 1) for n, *b in zip(names, said, odds, strict=True)}
    columns |= {TOGETHER: torch.cat(said, dim=1), FEATURES: rows.directions}
    white = {name: whitened(part) for name, part in columns.items()}
    # Scores are looked at by themselves, too: texts of another mix move them most.
    ways = {name: [k] for k, name in enumerate(white)}
    for k, name in enumerate(names):
        ways[name].append(len(white) + k)
    parts = [*white.values(), *map(whitened, odds)]
    statistics = discriminants(parts, groups).numpy()
    freedom = np.array([max(1, part.shape[1]) for part in parts])
    folds = rng.permutation(len(groups)) % _FOLDS
    n_new = int(rows.is_new.sum())
    for name, part in white.items():
        uses = "features" if name == FEATURES else "predictions"
        if not part.shape[1]:
            line = Line(INPUTS, name, n_new, uses, reason="the same in all rows")
            found.add(line)
            continue
        effect = told_apart(part, rows.is_new, folds)
        line, at = Line(INPUTS, name, n_new, uses, effect), ways[name]
        found.add(line, statistics[:, at], freedom[at])


def _said(head: Head, scores: torch.Tensor) -> torch.Tensor:
    """Return the probabilities of a head, except one; a number is its own score."""
    if not head.is_categorical:
        return scores
    return head.probabilities(scores)[:, 1:]


def _bounded(head: Head, scores: torch.Tensor) -> torch.Tensor:
    return scores.clamp(-_EDGE, _EDGE) if head.is_categorical else scores


# --- Concept heads --------------------------------------------------------------------


def _heads(
    found: GroupTests, rows: BothRows, keys: np.ndarray, groups: torch.Tensor
) -> None:
    """Test whether concept heads still say what people say of the texts."""
    for j, name in enumerate(rows.heads.names):
        head, scores, codes = rows.stack.heads[j], rows.scores[j], rows.codes[:, j]
        known = rows.annotated[:, j].numpy()
        if j in rows.unseen:  # a constant so far
            known = known | rows.unseen[j]
            codes = torch.from_numpy(rows.unseen[j].astype(np.float64))
            head, scores = SoftmaxHead(2), codes.new_zeros(len(codes), 1)
        n_new = int((known & rows.is_new).sum())
        reason = ""
        if n_new < _FEWEST:
            reason = f"fewer than {_FEWEST} annotated rows"
        elif not head.n_activations:
            reason = "one value in training, and no other in the new rows"
        elif j not in rows.unseen and _are_ticks(head, codes, known, rows.is_new):
            reason = "one value where annotated: do gaps mean another?"
        if reason:
            found.add(Line(CONCEPT, name, n_new, "annotations", reason=reason))
            continue
        at = torch.from_numpy(known)
        among = groups if known.all() else permuted_groups(keys[known], n_new)
        terms = head_scores(head, scores[at], codes[at])
        interactions = Interactions.of(terms, among)
        statistics, gain = interactions.tested(range(terms.gradients.shape[1]))
        line = Line(CONCEPT, name, n_new, "annotations", gain / n_new)
        found.add(line, statistics)


def _are_ticks(
    head: Head, codes: torch.Tensor, known: np.ndarray, is_new: np.ndarray
) -> bool:
    """Return whether one value alone is annotated in the group, and others are gaps.

    Which rows are annotated then depends on the value, and no head can be judged.
    """
    values = codes[torch.from_numpy(known & is_new)]
    has_gaps = not known[is_new].all()
    return head.is_categorical and has_gaps and bool((values == values[:1]).all())


# --- Meaning --------------------------------------------------------------------------


def _meaning(
    found: GroupTests, rows: BothRows, groups: torch.Tensor, *, has_concepts: bool
) -> None:
    """Test whether concepts say of the label what they said in training."""
    assert rows.labels is not None
    names, is_new = rows.heads.names, rows.is_new
    n_new = int(is_new.sum())
    of_group = rows.labels[torch.from_numpy(is_new)]
    columns, owners, uses = _concept_columns(rows, has_concepts=has_concepts)
    if (of_group == of_group[0]).all():
        reason = "all labels of the group are the same"
        for name, by in zip([*names, TOGETHER], [*uses, ""], strict=True):
            found.add(Line(MEANING, name, n_new, by, reason=reason))
        return
    penalty = min(_PENALTY, 1 / rows.heads.C)
    terms = label_scores(columns, rows.labels, len(rows.heads.classes), penalty)
    n_directions = terms.gradients.shape[1] // (columns.shape[1] + 1)
    of_parameter = np.repeat([*owners, -1], n_directions)  # the constant is last
    interactions = Interactions.of(terms, groups)
    for j, name in enumerate(names):
        own = of_parameter == j
        reason = _not_varying(columns[:, np.flatnonzero(np.array(owners) == j)], is_new)
        if reason:
            found.add(Line(MEANING, name, n_new, uses[j], reason=reason))
            continue
        statistics, gain = interactions.tested(
            np.flatnonzero(own).tolist(),
            np.flatnonzero(~own).tolist(),
            None if terms.parameters is None else terms.parameters[own],
        )
        found.add(Line(MEANING, name, n_new, uses[j], gain / n_new), statistics)
    # The group's own constant: other shares of labels than the concepts explain.
    statistics, gain = interactions.tested(range(len(of_parameter))[-n_directions:])
    line = Line(MEANING, TOGETHER, n_new, "labels", gain / n_new)
    found.add(line, statistics)


def _not_varying(columns: torch.Tensor, is_new: np.ndarray) -> str:
    """Return why the meaning of a concept cannot be seen; "" if it can."""
    for rows, where in ((~is_new, "training"), (is_new, "the group")):
        part = columns[torch.from_numpy(rows)]
        if not part.numel() or float((part - part[0]).abs().max()) == 0:
            return f"one value in {where}"
    return ""


def _concept_columns(
    rows: BothRows, *, has_concepts: bool
) -> tuple[torch.Tensor, list[int], list[str]]:
    """Return what concepts say of every row, the concept of every column, and by what.

    Where people annotated, it is what they say. The column that says where they did
    belongs to no concept: -1.
    """
    columns, owners, uses = [], [], []
    for j, head in enumerate(rows.stack.heads):
        known = rows.annotated[:, j]
        shares = [
            float(known[torch.from_numpy(part)].double().mean())
            for part in (rows.is_new, ~rows.is_new)
        ]
        is_used = has_concepts and abs(shares[0] - shares[1]) <= _SAME_SHARE
        is_used = is_used and shares[0] > 0
        part = _values(head, rows.scores[j], rows.codes[:, j], known & is_used)
        columns.append(part)
        owners += [j] * part.shape[1]
        uses.append("annotations" if is_used else "predictions")
        if is_used and not known.all():
            columns.append(known.double()[:, None])
            owners.append(-1)
    return torch.cat(columns, dim=1), owners, uses


def _values(
    head: Head, scores: torch.Tensor, codes: torch.Tensor, known: torch.Tensor
) -> torch.Tensor:
    """Return values of a concept as columns, known ones in place of predictions."""
    said = head.probabilities(scores)
    if not head.is_categorical:
        said = torch.where(known[:, None], codes[:, None], said)
        return (said - said.mean()) / said.std().clamp_min(torch.finfo().eps)
    if not head.n_activations:
        return scores[:, :0]
    target = cast(CategoricalHead, head).target(codes, said)
    said = torch.where(known[:, None], target, said)
    contrasts = SoftmaxHead(said.shape[1]).contrasts(said)
    return said[:, 1:] if said.shape[1] == 2 else said @ contrasts.T


# --- All groups together --------------------------------------------------------------


def frame_of(tests: dict[object, GroupTests], alpha: float) -> pd.DataFrame:
    """Return a line for each test of all groups, the most certain first.

    The q-value is the share of permutations in which any test of the report is as
    surprising (Westfall and Young, 1993), so that it holds for all of them together:
    Eq. (60) of docs/mathematics.rst.
    """
    sizes = [s for each in tests.values() for s in each.surprises if s is not None]
    highest = np.max(sizes, axis=0) if sizes else np.empty(0)
    lines = []
    for group, each in tests.items():
        for line, statistic, sizes_of in zip(
            each.lines, each.statistics, each.surprises, strict=True
        ):
            size, p_value, q_value = -1.0, np.nan, np.nan
            if sizes_of is not None:
                size = float(sizes_of[0])
                p_value = share_reaching(size, sizes_of)
                q_value = share_reaching(size, highest)
            lines.append(
                {
                    "part": line.part,
                    "group": group,
                    "concept": line.concept,
                    "statistic": statistic,
                    "effect": line.effect,
                    "p_value": p_value,
                    "q_value": q_value,
                    "found": q_value <= alpha,
                    "n_rows": line.n_rows,
                    "uses": line.uses,
                    "reason": line.reason,
                    "surprise": size,
                }
            )
    frame = pd.DataFrame(lines)
    named = ~frame["concept"].isin([TOGETHER, FEATURES])
    # What is said of all concepts together adds little to what is said of one.
    rank = np.select([frame["found"] & named, frame["found"]], [0, 1], 2)
    order = np.lexsort([-frame["surprise"], rank])
    return frame.iloc[order].reset_index(drop=True).drop(columns="surprise")
