"""Remedies of drift: each is chosen on one half of a group, and judged on the other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..._inputs.pipelines import final_step
from ..._inputs.training_rows import TrainingRows, as_features, as_given
from ..._models.fitted import FittedHeads
from ..._results.bootstrap import Estimate, bootstrapped_means
from ..._results.drift_report import FEATURES, TOGETHER
from ...exceptions import ConstantConceptWarning
from ...numerics.drift import adjusted, recalibrate
from ...numerics.heads import SoftmaxHead
from ...numerics.targets import LabelTarget, evaluate
from .carried import LABEL, CarriedRows
from .parts import CONCEPT, INPUTS, MEANING
from .rows import NewRows

_FEWEST = 40  # rows of a group with labels, of which half choose and half judge
_HEAVIER = 3.0  # times its weight, for a group that helps
_MOST_CELLS = 0.05  # share of the training rows whose cell may be changed
_PROBABLY = 0.5
_LABEL_LOSS = "label log-loss"
COLUMNS = [
    *("group", "remedy", "of", "n_changed", "measure", "chosen"),
    *("change", "low", "high", "verdict", "n_rows", "reason"),
]


@dataclass(frozen=True, eq=False)
class _Halves:
    """The rows of a group that choose, and those that judge."""

    chosen: NewRows
    judged: NewRows
    positions: np.ndarray  # of the rows that choose, among the rows of the group


def try_remedies(
    behind: CarriedRows, findings: pd.DataFrame, *, n_bootstraps: int, seed: int
) -> pd.DataFrame:
    """Return a line for every remedy of every group with a finding.

    Parameters
    ----------
    behind : CarriedRows
    findings : DataFrame
    n_bootstraps : int
    seed : int
    """
    suspects = _suspects(behind, _carried(findings))
    lines = []
    for group, of_group in findings.groupby("group", sort=False):
        rng = np.random.RandomState(seed)
        lines += [
            {"group": group, **line}
            for line in _of_group(behind, of_group, suspects, n_bootstraps, rng)
        ]
    frame = pd.DataFrame(lines, columns=COLUMNS)
    return frame.fillna({"n_changed": 0, "reason": ""}).astype({"n_changed": int})


def _carried(findings: pd.DataFrame) -> pd.DataFrame:
    """Return the findings that cells of training rows carry."""
    named = ~findings["concept"].isin([TOGETHER, FEATURES])
    return findings[named & (findings["part"] != INPUTS)]


def _suspects(behind: CarriedRows, findings: pd.DataFrame) -> pd.DataFrame:
    """Return the labels and annotations behind findings that are probably wrong."""
    paths = list(findings["concept"].unique())
    if (findings["part"] == MEANING).any():
        paths.append(LABEL)
    if not paths:
        return pd.DataFrame(columns=["row", "path", "proposed"])
    suspects = behind.explainer.suspect_labels(which=paths)
    return suspects[suspects["probability_wrong"] > _PROBABLY]


def _of_group(
    behind: CarriedRows,
    findings: pd.DataFrame,
    suspects: pd.DataFrame,
    n_bootstraps: int,
    rng: np.random.RandomState,
) -> Iterator[dict[str, Any]]:
    group = findings["group"].iloc[0]
    new = behind.of_group(group)
    n = len(new.features)
    if n < _FEWEST:
        reason = f"fewer than {_FEWEST} rows, of which half choose and half judge"
        yield {"remedy": "none", "n_rows": n, "reason": reason}
        return
    order = rng.permutation(n)
    chosen, judged = np.sort(order[: n // 2]), np.sort(order[n // 2 :])
    halves = _Halves(new.rows(chosen), new.rows(judged), chosen)
    judge = _Judge(halves, n_bootstraps, rng)
    heads = behind.explainer._heads()
    yield _adjusted_label(heads, judge)
    for line in _carried(findings).to_dict("records"):
        if line["part"] == CONCEPT:
            yield from _recalibration(heads, judge, line["concept"])
        else:
            yield _adjusted_label(heads, judge, line["concept"])
        yield _relabelling(behind, judge, line, suspects)
    yield from _of_training_groups(behind, judge)


@dataclass(frozen=True, eq=False)
class _Judge:
    """Compares losses before and after a remedy on both halves."""

    halves: _Halves
    n_bootstraps: int
    rng: np.random.RandomState

    def line(
        self,
        remedy: str,
        of: Any,
        n_changed: int,
        before: tuple[np.ndarray, np.ndarray],
        after: tuple[np.ndarray, np.ndarray],
        measure: str = _LABEL_LOSS,
    ) -> dict[str, Any]:
        """Return what a remedy did, from losses on the half that chose and the other.

        NaN where a row does not count.
        """
        chosen = float(np.nanmean(after[0] - before[0]))
        change = after[1] - before[1]
        n = len(change)
        means = bootstrapped_means(
            {"change": change}, np.ones(n), np.arange(n), self.n_bootstraps, self.rng
        )
        found = Estimate.of(means["change"])
        return {
            "remedy": remedy,
            "of": of,
            "n_changed": n_changed,
            "measure": measure,
            "chosen": chosen,
            "change": found.value,
            "low": found.low,
            "high": found.high,
            "verdict": _verdict(found),
            "n_rows": int((~np.isnan(change)).sum()),
            "reason": "",
        }


def _verdict(change: Estimate) -> str:
    if change.high < 0:
        return "helps"
    return "hurts" if change.low > 0 else "not shown to help"


def _label_losses(heads: FittedHeads, rows: NewRows) -> np.ndarray:
    assert rows.labels is not None
    target = LabelTarget("loss", torch.from_numpy(rows.labels))
    losses: np.ndarray = evaluate(
        target, heads.tensors(), as_features(rows.features)
    ).numpy()
    return losses


def _both_losses(heads: FittedHeads, halves: _Halves) -> tuple[np.ndarray, np.ndarray]:
    return _label_losses(heads, halves.chosen), _label_losses(heads, halves.judged)


def _adjusted_label(
    heads: FittedHeads, judge: _Judge, concept: str | None = None
) -> dict[str, Any]:
    """Give the group constants of the labels, and own weights of a concept.

    The concept is as predicted, as it will be for other rows of the group.
    """
    halves = judge.halves
    both = (halves.chosen, halves.judged)
    label = SoftmaxHead(len(heads.classes))
    scores = [_label_scores(heads, rows) for rows in both]
    columns = [part[:, :0] for part in scores]
    if concept is not None:
        j, bottleneck = heads.names.index(concept), heads.tensors()
        head, at = bottleneck.concepts.heads[j], bottleneck.concepts.scores[j]
        columns = [
            head.activations(
                bottleneck.concept_scores(as_features(rows.features))[:, at]
            )
            for rows in both
        ]
    codes = [torch.from_numpy(rows.labels) for rows in both]
    after = [
        label.loss(part, c).numpy()
        for part, c in zip(
            adjusted(label, scores, columns, codes[0]), codes, strict=True
        )
    ]
    remedy, of = ("offset", LABEL) if concept is None else ("own weights", concept)
    before = _both_losses(heads, halves)
    return judge.line(remedy, of, 0, before, (after[0], after[1]))


def _label_scores(heads: FittedHeads, rows: NewRows) -> torch.Tensor:
    """Return scores whose softmax are the probabilities of the labels."""
    label = SoftmaxHead(len(heads.classes))
    logs = _label_logs(heads, rows)
    scores = logs @ label.contrasts(logs).T
    return 2 * scores if label.n_values == 2 else scores  # the log-odds


def _label_logs(heads: FittedHeads, rows: NewRows) -> torch.Tensor:
    bottleneck = heads.tensors()
    proba = bottleneck.label_probabilities(as_features(rows.features))
    return proba.clamp_min(torch.finfo(proba.dtype).tiny).log()


def _recalibration(
    heads: FittedHeads, judge: _Judge, concept: str
) -> Iterator[dict[str, Any]]:
    """Give a concept's head a constant and a factor, for the group alone."""
    halves, j = judge.halves, heads.names.index(concept)
    bottleneck = heads.tensors(shares=halves.chosen.shares)
    head, columns = bottleneck.concepts.heads[j], bottleneck.concepts.scores[j]
    scores = [
        bottleneck.concept_scores(as_features(rows.features))
        for rows in (halves.chosen, halves.judged)
    ]
    own = [each[:, columns] for each in scores]
    codes = [rows.codes[:, j] for rows in (halves.chosen, halves.judged)]
    known = [~np.isnan(each) for each in codes]
    if not head.n_activations:
        reason = "one value in training: nothing to recalibrate; fit with such rows"
        yield {"remedy": "recalibrate", "of": concept, "n_rows": 0, "reason": reason}
        return
    if min(each.sum() for each in known) < _FEWEST // 2:
        reason = f"fewer than {_FEWEST // 2} annotated rows in a half"
        yield {"remedy": "recalibrate", "of": concept, "n_rows": 0, "reason": reason}
        return
    at = torch.from_numpy(known[0])
    change = recalibrate(head, own[0][at], torch.from_numpy(codes[0])[at])
    moved = [each * change[-1] + change[:-1] for each in own]
    losses = []
    for part in (own, moved):
        pair = []
        for each, code, is_known in zip(part, codes, known, strict=True):
            loss = np.full(len(code), np.nan)
            at = torch.from_numpy(is_known)
            loss[is_known] = head.loss(each[at], torch.from_numpy(code)[at]).numpy()
            pair.append(loss)
        losses.append((pair[0], pair[1]))
    measure = f"log-loss of {concept}" if head.is_categorical else f"loss of {concept}"
    yield judge.line("recalibrate", concept, 0, losses[0], losses[1], measure)
    after = []
    for rows, every, new in zip(
        (halves.chosen, halves.judged), scores, moved, strict=True
    ):
        every = every.clone()
        every[:, columns] = new
        said = bottleneck.concepts.predict_activations(every)
        said = bottleneck.with_residual(said, as_features(rows.features))
        labels = torch.from_numpy(rows.labels)
        losses_of_labels = bottleneck.label.loss(bottleneck.label_scores(said), labels)
        after.append(losses_of_labels.numpy())
    before = _both_losses(heads, halves)
    yield judge.line("recalibrate", concept, 0, before, (after[0], after[1]))


def _relabelling(
    behind: CarriedRows,
    judge: _Judge,
    finding: dict[str, Any],
    suspects: pd.DataFrame,
) -> dict[str, Any]:
    """Correct harmful cells of a finding that are probably wrong in training."""
    explainer, halves = behind.explainer, judge.halves
    influence = behind.influence(finding, halves.positions)
    suspects = suspects[suspects["path"].isin(list(influence))]
    harm = np.array(
        [
            influence[path][row]
            for path, row in zip(suspects["path"], suspects["row"], strict=True)
        ]
    )
    most = max(1, int(_MOST_CELLS * explainer.n_samples_))
    order = np.argsort(-harm, kind="stable")[:most]
    worst = suspects.iloc[order[harm[order] > 0]]
    remedy = {"remedy": "relabel", "of": finding["concept"], "n_changed": len(worst)}
    if not len(worst):
        reason = "no harmful value is probably wrong"
        return {**remedy, "n_rows": len(halves.judged.features), "reason": reason}
    labels = worst[worst["path"] == LABEL]
    others = worst[worst["path"] != LABEL]
    changes = {
        "y": dict(zip(labels["row"], labels["proposed"], strict=True)),
        "concepts": {
            path: dict(zip(part["row"], part["proposed"], strict=True))
            for path, part in others.groupby("path")
        },
    }
    return _edited(behind, judge, remedy, {k: v for k, v in changes.items() if v})


def _of_training_groups(behind: CarriedRows, judge: _Judge) -> Iterator[dict[str, Any]]:
    """Drop the most harmful group of training rows, and weight the most helpful."""
    explainer, rows = behind.explainer, judge.halves.chosen
    if not behind.of_training:
        return
    training = TrainingRows(**explainer._training)
    labels = explainer.classes_[rows.labels]
    X = as_given(rows.features)
    explainer = copy(explainer).set_params(method="first_order")
    total = explainer.influence(X, labels, reduce="mean").values[0]
    for groups in behind.of_training:
        sums = np.bincount(groups.codes, total, minlength=len(groups.names))
        if len(groups.names) < 2:
            continue
        for remedy, k in (("drop", int(sums.argmax())), ("weight", int(sums.argmin()))):
            at = np.flatnonzero((groups.codes == k) & (training.weights > 0))
            line = {
                "remedy": f"{remedy} {groups.name.removesuffix('s')}",
                "of": groups.names[k],
                "n_changed": len(at),
                "n_rows": len(judge.halves.judged.features),
            }
            if remedy == "drop" and sums[k] <= 0:
                yield {**line, "n_changed": 0, "reason": "no group is harmful"}
            elif remedy == "weight" and sums[k] >= 0:
                yield {**line, "n_changed": 0, "reason": "no group is helpful"}
            elif remedy == "drop":
                yield _edited(behind, judge, line, {"drop": at.tolist()})
            else:
                weights = {int(i): _HEAVIER * training.weights[i] for i in at}
                yield _edited(behind, judge, line, {"sample_weight": weights})


def _edited(
    behind: CarriedRows, judge: _Judge, line: dict[str, Any], changes: dict[str, Any]
) -> dict[str, Any]:
    """Return what an edit does to the label's loss."""
    n_rows = len(judge.halves.judged.features)
    try:
        with warnings.catch_warnings():  # nothing of the user's is edited
            warnings.simplefilter("ignore", ConstantConceptWarning)
            # A value of a concept without rows goes, as in a fit without them.
            result = behind.explainer.edit(**changes, empty_values="drop")
    except ValueError as error:  # such as one label that would be left alone
        return {**line, "n_rows": n_rows, "reason": str(error)}
    edited = FittedHeads.of(final_step(result.estimator))
    if len(edited.classes) < len(behind.explainer.classes_):
        reason = "a label would be left without training rows"
        return {**line, "n_rows": n_rows, "reason": reason}
    before = _both_losses(behind.explainer._heads(), judge.halves)
    after = _both_losses(edited, judge.halves)
    return judge.line(line["remedy"], line["of"], line["n_changed"], before, after)
