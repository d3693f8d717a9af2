"""What people should annotate next, as lines to decide on.

Two questions are kept apart. Which annotations of training texts teach a model most?
Here what a machine guesses is shown. And which held-out texts judge the model? These
are a random sample, and whoever annotates them does not see what a machine says.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._explain.explainer import ConceptInfluenceExplainer
from .._inputs.pipelines import final_step
from .._models.bottleneck import ConceptBottleneckClassifier
from ..exceptions import ConstantConceptWarning, ManyValuesWarning, PenaltyWarning
from .decision_values import UNANNOTATED
from .prompted import PERSON, PROMPTS, Prompted, annotations_table
from .prompts_kept import remembered
from .rejections import decided_annotations
from .rows import Reviews

BY_GAIN, BY_CONFIDENCE = "expected gain", "least confidence"
# What the column part says of a text.
TRAINING, HELD_OUT = "training", "held out"
ANNOTATIONS, NEXT, HELD_OUT_LIST = "annotations.csv", "next.csv", "held-out.csv"
MOST_BY_GAIN = 100  # annotations of an audit
_ABOUT_THE_FIT = (ConstantConceptWarning, ManyValuesWarning, PenaltyWarning)


def tables_of(
    reviews: Reviews,
    found: Prompted,
    is_held: np.ndarray | None,
    gains: pd.DataFrame | None,
    seed: int,
    limit: int,
) -> dict[str, pd.DataFrame]:
    """Return annotations, and what people should annotate, by the names of the files.

    Parameters
    ----------
    reviews : Reviews
    found : Prompted
    is_held : ndarray of bool of shape (n_rows,), or None
        Which texts an audit would hold out; None if that is not known.
    gains : DataFrame or None
        As `gains_of_texts` returns them.
    seed : int
        Of the order of held-out texts.
    limit : int
        Maximum number of lines of each list.
    """
    if is_held is None:
        next_lines = next_table(reviews, found, once=True, limit=limit)
        return {ANNOTATIONS: annotations_table(reviews, found), NEXT: next_lines}
    next_lines = next_table(
        reviews, found, is_asked=~is_held, gains=gains, once=True, limit=limit
    )
    parts = np.where(is_held, HELD_OUT, TRAINING).astype(object)
    return {
        ANNOTATIONS: annotations_table(reviews, found, parts),
        NEXT: next_lines,
        HELD_OUT_LIST: held_out_table(reviews, found, is_held, seed, limit),
    }


def keep_written(path: Path) -> str | None:
    """Rename a list that somebody wrote into, before another takes its place.

    Returns
    -------
    name : str or None
        The new name; None if there is no such list, or nobody wrote into it.
    """
    if not path.exists() or not _is_written_into(path):
        return None
    names = (f"{path.stem}-{n}{path.suffix}" for n in count(1))
    name = next(name for name in names if not (path.parent / name).exists())
    path.rename(path.parent / name)
    return name


def _is_written_into(path: Path) -> bool:
    """Return whether a list is not as it was written, as far as can be told."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        cells = table[["decision", "proposed", "why"]]
    except (ValueError, LookupError):  # a spreadsheet saved it in another form
        return True
    return bool((cells != "").to_numpy().any())


def gains_of_texts(
    reviews: Reviews, is_held: np.ndarray, n: int, device: str
) -> pd.DataFrame | None:
    """Return which missing annotations of texts that are not held out would help.

    As `expected_gains`, with positions in `reviews`. None if nothing is known of any
    concept.
    """
    train, held_out = reviews.take(~is_held), reviews.take(is_held)
    explainer = _explainer_of(train, device)
    if explainer is None:
        return None
    gains = expected_gains(explainer, train, held_out, n)
    return gains.assign(row=np.flatnonzero(~is_held)[gains["row"].astype(int)])


def _explainer_of(train: Reviews, device: str) -> ConceptInfluenceExplainer | None:
    """Return an explainer of the model that an audit would fit; None without concepts.

    Concepts of which nothing is known are left out.
    """
    known = train.concepts.loc[:, train.concepts.notna().any()]
    if not known.shape[1]:
        return None
    model = ConceptBottleneckClassifier(C="auto", concept_C="auto", device=device)
    explainer = ConceptInfluenceExplainer(model, device=device)
    with warnings.catch_warnings():
        for said in _ABOUT_THE_FIT:  # nobody is shown this model
            warnings.simplefilter("ignore", said)
        explainer.fit(train.features, train.labels, concepts=known)
    return explainer


def expected_gains(
    explainer: ConceptInfluenceExplainer,
    train: Reviews,
    held_out: Reviews,
    n: int,
) -> pd.DataFrame:
    """Return which missing annotations are expected to help, the best first.

    Parameters
    ----------
    explainer : ConceptInfluenceExplainer
        Of `train`.
    train, held_out : Reviews
        With features.
    n : int
        Maximum number of annotations.

    Returns
    -------
    gains : DataFrame
        Columns: row (position in `train`), concept, and gain, by which the log-losses
        of label and concepts are expected to fall on held-out rows, summed (nats;
        positive = good; others are left out). No lines if nothing is missing of which
        a model can learn.
    """
    model = final_step(explainer.estimator_)
    values = zip(model.concept_names_in_, model.concept_classes_, strict=True)
    learnable = [name for name, own in values if own is None or len(own) > 1]
    missing = train.concepts[learnable].isna().any(axis=1) & (train.weights > 0)
    if not missing.any() or not len(held_out):
        return pd.DataFrame({"row": [], "concept": [], "gain": []})
    found = explainer.suggest_annotations(
        None, held_out.features, held_out.labels, n=n, by="annotation"
    )
    frame = found.to_frame()
    return frame.loc[frame["gain"] > 0, ["row", "concept", "gain"]]


def machine_table(
    prompts: Mapping[str, Any],
    explainer: ConceptInfluenceExplainer,
    train: Reviews,
    held_out: Reviews,
    records: Sequence[dict[str, Any]],
) -> pd.DataFrame | None:
    """Return annotations of an audit that no person made, as lines to decide on.

    The order is that of `next_table`. Where prompts were sure, their value is proposed:
    who accepts it has read the text. Where they were not, nothing is.

    Parameters
    ----------
    prompts : dict
        What the audit keeps of annotations by prompts.
    explainer : ConceptInfluenceExplainer
        Of the present model.
    train, held_out : Reviews
        As they are now.
    records : sequence of dict
        Of the trail: what people decided there is theirs.

    Returns
    -------
    table : DataFrame or None
        None for an audit of an older version, which did not keep how sure prompts were.
    """
    found = remembered(prompts, train)
    if found is None:
        return None
    by_people, places = found.by_people.copy(), train.positions()
    for i, path in decided_annotations(records):
        if i in places and path in by_people:
            by_people.loc[places[i], path] = True
    found = replace(found, by_people=by_people)
    gains = expected_gains(explainer, train, held_out, MOST_BY_GAIN)
    asked = train.weights > 0
    return with_proposals(next_table(train, found, is_asked=asked, gains=gains))


def with_authors(table: pd.DataFrame, machine: pd.DataFrame | None) -> pd.DataFrame:
    """Return lines of an audit with who made the current annotation of each.

    Parameters
    ----------
    table : DataFrame
        Suspects or suggestions.
    machine : DataFrame or None
        As `machine_table` returns it; None leaves the lines as they are.
    """
    if machine is None:
        return table
    made = machine[machine["current"].notna()]
    by_prompts = set(zip(made["id"], made["path"], strict=True))
    lines = zip(
        table["id"], table["kind"], table["path"], table["current"], strict=True
    )
    who = [
        ""
        if kind != "annotate" or pd.isna(current)
        else PROMPTS
        if (i, path) in by_prompts
        else PERSON
        for i, kind, path, current in lines
    ]
    place = list(table).index("proposed") + 1
    found = table.copy()
    found.insert(place, "by", np.array(who, dtype=object))
    return found


def with_proposals(table: pd.DataFrame) -> pd.DataFrame:
    """Return lines that propose what is there: who accepts it has read the text."""
    proposed = table["current"].map(_written, na_action="ignore")
    return table.assign(proposed=proposed.where(proposed.notna(), None))


def _written(value: str) -> str:
    """Return how a line proposes a value of a concept."""
    return f"value:{value}" if value.casefold() == UNANNOTATED else value


def next_table(
    reviews: Reviews,
    found: Prompted,
    *,
    is_asked: np.ndarray | None = None,
    gains: pd.DataFrame | None = None,
    once: bool = False,
    limit: int | None = None,
) -> pd.DataFrame:
    """Return the annotations that people should make next, as lines to decide on.

    First come missing annotations by what is expected of them, if that is known. Then
    come those of which the prompts are least sure, one concept of each text before the
    next. Of equals, the one comes first whose row does.

    Parameters
    ----------
    reviews : Reviews
    found : Prompted
        Of the same rows.
    is_asked : ndarray of bool of shape (n_rows,), default=None
        Rows that people may be asked about; None for all of them.
    gains : DataFrame, default=None
        As `expected_gains` returns them, of the same rows.
    once : bool, default=False
        Whether rows with the same text are asked about once: a correction of one of
        them counts for all.
    limit : int, default=None
        Maximum number of lines; None for all.
    """
    open_ = ~found.by_people.to_numpy()
    if is_asked is not None:
        open_ &= is_asked[:, None]
    names = np.array([str(name) for name in found.concepts], dtype=object)
    order = _by_confidence(found.confidence.to_numpy(), open_)
    if gains is not None:
        order = _gains_first(gains, order, names, open_)
    if once:
        order = order[_is_first(reviews, order)]
    order = order if limit is None else order.head(limit)
    rows, columns = order["row"].to_numpy(), order["column"].to_numpy()
    own = {
        "current": found.concepts.to_numpy(dtype=object)[rows, columns],
        "proposed": None,
        "guess": found.guesses.to_numpy(dtype=object)[rows, columns],
        "confidence": found.confidence.to_numpy()[rows, columns],
    }
    if gains is not None:
        own["gain"] = order["gain"].to_numpy()
    own["ordered_by"] = order["by"].to_numpy()
    return _lines(reviews, rows, names[columns], own)


def held_out_table(
    reviews: Reviews, found: Prompted, is_held: np.ndarray, seed: int, limit: int
) -> pd.DataFrame:
    """Return what people have not annotated of held-out texts, as lines to decide on.

    Texts are in random order, so that the first of them are a sample of all, and every
    concept of a text is there before the next text. No line says what a machine would:
    people would follow it, and a model is judged by what they say.
    """
    places = np.random.RandomState(seed).permutation(np.flatnonzero(is_held))
    order, columns = np.nonzero(~found.by_people.to_numpy()[places])
    lines = pd.DataFrame({"row": places[order], "column": columns})
    lines = lines[_is_first(reviews, lines)].head(limit)
    rows, columns = lines["row"].to_numpy(), lines["column"].to_numpy()
    names = np.array([str(name) for name in found.concepts], dtype=object)
    own = {"current": None, "proposed": None}
    return _lines(reviews, rows, names[columns], own)


def _is_first(reviews: Reviews, order: pd.DataFrame) -> np.ndarray:
    """Return which lines are the first about their text and concept."""
    texts = reviews.digests[order["row"]]
    lines = pd.DataFrame({"text": texts, "column": order["column"].to_numpy()})
    is_first: np.ndarray = ~lines.duplicated().to_numpy()
    return is_first


def _lines(
    reviews: Reviews, rows: np.ndarray, paths: np.ndarray, own: dict[str, Any]
) -> pd.DataFrame:
    known = reviews.known()
    table: dict[str, Any] = {
        "decision": "",
        "why": "",
        "kind": "annotate",
        "id": reviews.ids[rows],
        "text_hash": known["text_hash"].to_numpy()[rows],
        "path": paths,
        **own,
    }
    if "text" in known:
        table["text"] = known["text"].to_numpy()[rows]
    return pd.DataFrame(table)


def _by_confidence(confidence: np.ndarray, open_: np.ndarray) -> pd.DataFrame:
    """Return places of open annotations, the least sure ones first."""
    rows, columns = np.nonzero(open_)
    order = np.argsort(confidence[rows, columns], kind="stable")
    turn = pd.Series(rows[order]).groupby(rows[order]).cumcount().to_numpy()
    order = order[np.argsort(turn, kind="stable")]
    return pd.DataFrame(
        {"row": rows[order], "column": columns[order], "by": BY_CONFIDENCE}
    )


def _gains_first(
    gains: pd.DataFrame, order: pd.DataFrame, names: np.ndarray, open_: np.ndarray
) -> pd.DataFrame:
    """Return places with those first of which a gain is expected."""
    places = {name: column for column, name in enumerate(names)}
    gains = gains[gains["concept"].isin(places)]
    first = pd.DataFrame(
        {
            "row": gains["row"].astype(int),
            "column": gains["concept"].map(places).astype(int),
            "by": BY_GAIN,
            "gain": gains["gain"].astype(float),
        }
    )
    first = first[open_[first["row"], first["column"]]]
    both = pd.concat([first, order.assign(gain=np.nan)])
    return both.drop_duplicates(["row", "column"])
