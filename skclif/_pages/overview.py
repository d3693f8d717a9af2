"""What a page says of an audit as a whole: scores, curves and counts, placed to draw.

Places are shares of the width or height of a drawing, in percent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from .._inputs.values import format_value

if TYPE_CHECKING:
    from .._audit.findings import Audit

_Dict = dict[str, Any]
_Axis = tuple[float, float]  # its ends

MOST_CLASSES = 12  # of a matrix; more are shown as the most common confusions
_MOST_PAIRS = 15
_SHADES = 5  # of a matrix, as the style has them
_MODELS = {
    "model": "Bottleneck",
    "corrected": "… with concepts as people read them",
    "gold": "Gold concepts alone",
    "black_box": "Black box",
    "majority": "Majority",
}


def scores_table(audit: Audit) -> list[_Dict]:
    """Return one line for each model, with the places of its accuracy."""
    lines = []
    found = audit.evidence.scores
    ends = [end for who in audit.metrics["label"] for end in _ends(found[who])]
    axis = _scale(ends)
    for who, quality in audit.metrics["label"].items():
        scores = found[who]
        name = _MODELS[who]
        if who == "model" and not audit.concepts:
            name = _MODELS["black_box"]
        lines.append(
            {
                "who": who,
                "name": name,
                "accuracy": _interval(scores["accuracy"], axis),
                "within_one": scores.get("within_one"),
                "macro_f1": quality["macro_f1"],
                "log_loss": scores["log_loss"],
            }
        )
    return lines


def concepts_table(audit: Audit) -> list[_Dict]:
    """Return one line for each concept; numbers have errors in place of shares."""
    lines = []
    for name, quality in audit.metrics.get("concepts", {}).items():
        line = {"name": name, "rows": quality["annotated_held_out_rows"]}
        line["accuracy"] = None
        line["is_number"] = "majority" not in quality
        line["model"] = quality["model"]
        line["baseline"] = quality["mean" if line["is_number"] else "majority"]
        if not line["is_number"] and quality["model"]["accuracy"] is not None:
            share = {
                "value": quality["model"]["accuracy"],
                "interval": audit.evidence.scores["concepts"][name],
            }
            line["accuracy"] = _interval(share)
        lines.append(line)
    return lines


def failures_table(audit: Audit, words: dict[str, str]) -> list[_Dict]:
    """Return how often each stage failed, the most common first."""
    if "failed" not in audit.predictions:
        return []
    counts = audit.predictions["failed"].dropna().value_counts()
    most = max(counts, default=1)
    return [
        {
            "name": name,
            "words": words[name],
            "n": int(n),
            "share": 100 * int(n) / most,
            "filter": urlencode({"failed": name}),
        }
        for name, n in counts.items()
    ]


def confusion_table(confusion: _Dict) -> _Dict:
    """Return the matrix to draw, or the most common confusions of many classes."""
    labels = [format_value(label) for label in confusion["labels"]]
    counts = {(a, b): n for a, b, n in confusion["counts"]}
    wrong = {pair: n for pair, n in counts.items() if pair[0] != pair[1]}
    if len(labels) > MOST_CLASSES:
        pairs = sorted(wrong, key=lambda pair: -wrong[pair])[:_MOST_PAIRS]
        return {"labels": [], "pairs": [_cell(labels, *p, wrong[p]) for p in pairs]}
    totals = [
        sum(n for (a, _), n in counts.items() if a == k) for k in range(len(labels))
    ]
    rows = [
        {
            "label": label,
            "total": totals[a],
            "cells": [
                _cell(labels, a, b, counts.get((a, b), 0), totals[a])
                for b in range(len(labels))
            ],
        }
        for a, label in enumerate(labels)
    ]
    return {"labels": labels, "rows": rows, "pairs": []}


def curve(audit: Audit) -> _Dict | None:
    """Return the accuracy as concepts are corrected, placed in a drawing."""
    found = audit.evidence.corrections
    if found is None:
        return None
    label = audit.metrics["label"]
    others = {
        name: label[who]["accuracy"]
        for who, name in (("black_box", "black box"), ("gold", "gold concepts alone"))
        if who in label
    }
    axis = _scale([*found["accuracy"], *others.values()])

    def y(value: float) -> float:
        return round(100 - _place(value, axis), 2)

    steps = found["n_corrected"]
    last = max(steps[-1], 1)
    points = [
        {"x": round(100 * n / last, 2), "y": y(value), "n": int(n), "value": value}
        for n, value in zip(steps, found["accuracy"], strict=True)
    ]
    lines = [{"name": n, "value": v, "y": y(v)} for n, v in others.items()]
    lines.sort(key=lambda line: line["y"])
    return {
        "points": points,
        "lines": lines,
        "ticks": [{"value": tick, "y": y(tick)} for tick in _ticks(axis)],
        "first": found["accuracy"][0],
        "last": found["accuracy"][-1],
    }


def _scale(values: Sequence[float]) -> _Axis:
    """Return an axis of shares for some values: from a tenth to a tenth."""
    low, high = math.floor(10 * min(values)) / 10, math.ceil(10 * max(values)) / 10
    return (low, high) if high > low else (low - 0.1, high) if low else (low, 0.1)


def _ticks(axis: _Axis) -> list[float]:
    low, high = axis
    step = 0.05 if high - low < 0.15 else 0.1 if high - low < 0.55 else 0.2
    n = math.floor((high - low) / step + 1e-9)
    return [low + step * k for k in range(n + 1)]


def _ends(scores: _Dict) -> list[float]:
    low, high = scores["accuracy"]["interval"]
    return [low, high]


def _interval(share: _Dict, axis: _Axis = (0.0, 1.0)) -> _Dict:
    """Return a share with its interval, and their places on an axis."""
    value, (low, high) = share["value"], share["interval"]
    x, left, right = (_place(one, axis) for one in (value, low, high))
    return {
        "value": value,
        "low": low,
        "high": high,
        "x": x,
        "left": left,
        "width": round(right - left, 2),
        "axis": axis,
    }


def _place(share: float, axis: _Axis) -> float:
    low, high = axis
    return round(100 * (share - low) / (high - low), 2)


def _cell(labels: list[str], true: int, said: int, n: int, total: int = 0) -> _Dict:
    share = n / total if total else 0.0
    return {
        "true": labels[true],
        "said": labels[said],
        "n": n,
        "is_right": true == said,
        "shade": min(_SHADES, int(share * (_SHADES + 1))) if n else 0,
        "filter": urlencode({"label": labels[true], "predicted": labels[said]}),
    }
