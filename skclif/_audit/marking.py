"""Which words speak for what a page lists: misreadings, mistakes, and proposed values.

A model reads some of the listed texts again for this, so that only the first ones of
each list have marks.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from .._explain.word_evidence import Split, WordReader, question, split_by_words
from .._inputs.values import value_code
from .._models.fitted import FittedHeads
from ..exceptions import TruncatedTextWarning
from .findings import Audit
from .kinds import LABEL
from .marks import Mark, MarkedText, Marks

MOST_MARKED = 100  # texts of a list

# Path, value and rival: the arguments of `question`.
_Asked = tuple[str, Any, Any]


def find_marks(found: Audit, heads: FittedHeads, reader: WordReader) -> Marks | None:
    """Return which words speak for what the page of an audit lists.

    Parameters
    ----------
    found : Audit
    heads : FittedHeads
        Of the audited model.
    reader : WordReader
        Of the pipeline that gave the features; exact.
    """
    if "text" not in found.predictions:
        return None
    listed = found.evidence.listed[:MOST_MARKED]
    rows = found.predictions.iloc[listed].to_dict("records")
    texts = found.training.set_index("id")["text"]
    asked = [(row["text"], _of_mistake(row, heads)) for row in rows]
    for table in (found.suspects, found.suggestions):
        lines = table.head(MOST_MARKED).to_dict("records")
        asked += [(texts[line["id"]], _of_line(line, heads)) for line in lines]
    marked = _marked(asked, heads, reader)
    ends = np.cumsum([len(rows), min(len(found.suspects), MOST_MARKED)])
    mistakes, suspects, suggestions = np.split(np.arange(len(marked)), ends)
    return Marks(*([marked[i] for i in of] for of in (mistakes, suspects, suggestions)))


def _of_mistake(row: dict[str, Any], heads: FittedHeads) -> list[_Asked]:
    """Return what is asked of a mistake: concepts that were misread, and the label."""
    asked = []
    for name in heads.names:
        annotated, predicted = row[f"annotated:{name}"], row[f"predicted:{name}"]
        if not pd.isna(annotated) and not pd.isna(row[f"label_if_corrected:{name}"]):
            asked.append((name, predicted, annotated))
    return [*asked, (LABEL, row["predicted"], row["label"])]


def _of_line(line: dict[str, Any], heads: FittedHeads) -> list[_Asked]:
    """Return what is asked of a line of a list: its proposed value."""
    if line["path"] not in (LABEL, *heads.names) or line["kind"] == "reweight":
        return []
    proposed = line["proposed"]
    if pd.isna(proposed):
        proposed = line.get("guess")
    return [(line["path"], proposed, line["current"])]


def _marked(
    asked: Iterable[tuple[str, list[_Asked]]], heads: FittedHeads, reader: WordReader
) -> list[MarkedText | None]:
    """Return texts with marks; None where nothing was asked, or no word has a share."""
    known = [
        (text, [_known(one, heads) for one in of_text if _can_tell(one, heads)])
        for text, of_text in asked
    ]
    # Every text once, with all that is asked of it.
    together: dict[str, dict[_Asked, None]] = {}
    for text, of_text in known:
        together.setdefault(text, {}).update(dict.fromkeys(of_text))
    texts = [text for text, of_text in together.items() if of_text]
    questions = [
        {one: question(heads, *one) for one in together[text]} for text in texts
    ]
    with warnings.catch_warnings():
        # The audit has said it of all texts.
        warnings.simplefilter("ignore", TruncatedTextWarning)
        splits = split_by_words(
            reader, texts, [[one for one, *_ in q.values()] for q in questions]
        )
    found = {
        (text, one): (split, is_linear)
        for text, own, of_text in zip(texts, splits, questions, strict=True)
        for split, (one, (*_, is_linear)) in zip(own, of_text.items(), strict=True)
    }
    return [
        MarkedText(
            found[text, of_text[0]][0].spans,
            [_mark(one, *found[text, one]) for one in of_text],
        )
        if of_text
        else None
        for text, of_text in known
    ]


def _mark(asked: _Asked, split: Split, is_linear: bool) -> Mark:
    path, _, rival = asked
    return Mark(path, split.direction.value, rival, is_linear, split.shares)


def _can_tell(asked: _Asked, heads: FittedHeads) -> bool:
    """Return whether words can have shares of what is asked."""
    path, *_ = asked
    if path == LABEL:
        flips = heads.activation == "hard" and heads.n_concepts > 0
        return not flips
    values = heads.values[heads.names.index(path)]
    return values is None or len(values) > 1


def _known(asked: _Asked, heads: FittedHeads) -> _Asked:
    """Return what is asked, without values that the model does not know."""
    path, value, rival = asked
    values = heads.classes if path == LABEL else heads.values[heads.names.index(path)]
    if values is None or value_code(values, value) is None:
        return path, None, None
    if path == LABEL and heads.rules.is_latent(len(heads.classes)):
        return path, _threshold(value, rival, heads), None
    if value_code(values, rival) in (None, value_code(values, value)):
        return path, value, None
    return path, value, rival


def _threshold(value: Any, rival: Any, heads: FittedHeads) -> Any:
    """Return the lower of two labels: above it or not is what they differ in."""
    order = list(heads.rules.order or heads.classes.tolist())
    if rival not in order or value == rival:
        return None
    return min(value, rival, key=order.index)
