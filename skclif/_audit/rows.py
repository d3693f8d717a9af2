"""Rows to audit, their split, and checks whether they can be audited."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from .._inputs.annotations import Annotations
from .._inputs.learning import learn
from .._inputs.schema import ConceptSchema
from .._inputs.values import format_value, plain_value
from .._results.words import how_many, is_or_are
from ..exceptions import ConstantConceptWarning, DataFileError, ManyValuesWarning
from .kinds import as_classes, notes_on_numbers, refuse_amounts
from .option_names import by_caller

LEAST_PROBABILITY = 0.05  # of being wrong, for a label or annotation to be listed
FEWEST_ROWS = 50  # to train on, for figures to mean anything
_HASH_DIGITS = 16
_NAMED = 5
# Values that people tick, so that an empty cell may mean another one.
_TICKS = ("1", "true", "x", "y", "yes", "✓")


@dataclass(frozen=True, eq=False, repr=False)
class Reviews:
    """Rows to train on, or to evaluate on.

    Attributes
    ----------
    ids, labels : ndarray of shape (n_rows,)
    texts : ndarray of shape (n_rows,) or None
        None if texts are not kept.
    digests : ndarray of shape (n_rows,)
        SHA-256 of the texts in UTF-8, hexadecimal.
    concepts : DataFrame of shape (n_rows, n_concepts)
        Annotations as Python values, None = not annotated; no columns without concepts.
    groups : ndarray of shape (n_rows,) or None
    features : ndarray of shape (n_rows, n_features)
        Vectors of the texts; without columns before the texts are embedded.
    weights : ndarray of shape (n_rows,), float64
        As they were read, 1 if nothing was said; 0 for a row that was dropped.
    split_groups, times : ndarray of shape (n_rows,) or None
        What decides which rows are held out: groups that stay together, and times.
        Forgotten once that is done.
    """

    ids: np.ndarray
    texts: np.ndarray | None
    digests: np.ndarray
    labels: np.ndarray
    concepts: pd.DataFrame
    groups: np.ndarray | None
    features: np.ndarray
    weights: np.ndarray
    split_groups: np.ndarray | None = None
    times: np.ndarray | None = None

    @classmethod
    def from_parts(
        cls,
        ids: Iterable[Any],
        texts: Sequence[str],
        labels: Any,
        concepts: pd.DataFrame | None = None,
        groups: Any = None,
        *,
        split_groups: Any = None,
        times: Any = None,
        weights: Any = None,
    ) -> Reviews:
        """Return the rows that the loaders of `skclif.datasets` return in parts."""
        if concepts is None:
            concepts = pd.DataFrame(index=range(len(texts)))
        digests = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        return cls(
            np.asarray([str(i) for i in ids], dtype=object),
            np.asarray(texts, dtype=object),
            np.asarray(digests, dtype=object),
            as_classes(np.asarray(labels)),
            _tidy_table(concepts),
            None if groups is None else np.asarray(groups),
            np.empty((len(texts), 0), dtype=np.float32),
            np.ones(len(texts)) if weights is None else np.array(weights, float),
            None if split_groups is None else np.asarray(split_groups),
            None if times is None else np.asarray(times),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> Reviews:
        """Return some of the rows, by position or mask."""
        return Reviews(
            self.ids[rows],
            None if self.texts is None else self.texts[rows],
            self.digests[rows],
            self.labels[rows],
            self.concepts.iloc[rows].reset_index(drop=True),
            None if self.groups is None else self.groups[rows],
            self.features[rows],
            self.weights[rows],
            None if self.split_groups is None else self.split_groups[rows],
            None if self.times is None else self.times[rows],
        )

    def renamed(self, ids: list[str]) -> Reviews:
        """Return the same rows with other ids."""
        return replace(self, ids=np.asarray(ids, dtype=object))

    def embedded(self, features: np.ndarray) -> Reviews:
        """Return the same rows with vectors of their texts."""
        return replace(self, features=features)

    def used(self) -> Reviews:
        """Return the rows that have weight."""
        return self.take(self.weights > 0)

    def without_texts(self) -> Reviews:
        """Return the same rows, texts not kept."""
        return replace(self, texts=None)

    def hashes(self) -> np.ndarray:
        """Return the short hash of every text."""
        return np.asarray([short_hash(digest) for digest in self.digests], dtype=object)

    def known(self) -> pd.DataFrame:
        """Return what is known of every row.

        Columns: id, text_hash, text, group, label, ``annotated:<concept>``; no text and
        no group if there are none.
        """
        known: dict[str, Any] = {"id": self.ids, "text_hash": self.hashes()}
        if self.texts is not None:
            known["text"] = self.texts
        if self.groups is not None:
            known["group"] = self.groups
        known["label"] = self.labels
        for name, values in self.concepts.items():
            known[f"annotated:{name}"] = values
        return pd.DataFrame(known)

    def positions(self) -> dict[str, int]:
        """Return the position of every row by its id."""
        return {i: position for position, i in enumerate(self.ids)}


def _tidy_table(concepts: pd.DataFrame) -> pd.DataFrame:
    columns = {name: tidy(c) for name, c in concepts.reset_index(drop=True).items()}
    return pd.DataFrame(columns, index=range(len(concepts)))


def tidy(values: pd.Series) -> pd.Series:
    """Return annotations as Python objects: None if missing, 1 for 1.0."""
    plain = [None if pd.isna(value) else plain_value(value) for value in values]
    return pd.Series(plain, index=values.index, name=values.name, dtype=object)


def text_hash(text: str) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a text in UTF-8.

    With 64 bits, two of a million texts collide with a chance of 3 in 100 million.
    """
    return short_hash(hashlib.sha256(text.encode()).hexdigest())


def short_hash(digest: str) -> str:
    """Return the first digits of a SHA-256, as shown to users."""
    return digest[:_HASH_DIGITS]


def same_kinds(train: Reviews, held_out: Reviews) -> tuple[Reviews, Reviews]:
    """Make 5 equal to "5" if one file has only numbers and the other has words too."""
    parts = (train, held_out)
    labels = _same_kind(train.labels, held_out.labels)
    groups: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    if train.groups is not None and held_out.groups is not None:
        groups = _same_kind(train.groups, held_out.groups)
    tables = [part.concepts.copy() for part in parts]
    for name in train.concepts:
        columns = _same_kind(*(table[name].to_numpy() for table in tables))
        for table, column in zip(tables, columns, strict=True):
            table[name] = pd.Series(column, dtype=object)
    first, second = (
        replace(part, labels=labels[k], concepts=tables[k], groups=groups[k])
        for k, part in enumerate(parts)
    )
    return first, second


def check_parts(
    train: Reviews,
    held_out: Reviews,
    kinds: dict[str, str] | None = None,
    prompted: Collection[str] = (),
) -> list[str]:
    """Refuse data that cannot be audited, before the long embedding.

    Parameters
    ----------
    train, held_out : Reviews
    kinds : dict of str to str, default=None
        Kinds of concepts that `choose_kinds` returned; None for those of older audits,
        which had none.
    prompted : collection of str, default=()
        Concepts that prompts annotated.

    Returns
    -------
    notes : list of str
        Warnings about data that can be audited.

    Raises
    ------
    ValueError
        If there are fewer than two labels, labels are not classes, a held-out label
        does not occur in training, or a concept has no two values there.
    """
    classes = check_labels(train.labels)
    unseen = ~np.isin(held_out.labels, classes)
    if unseen.any():
        raise DataFileError(
            f"The held-out label {plain_value(held_out.labels[unseen][0])!r} "
            f"({some_ids(held_out, unseen)}) does not occur in the training data, "
            f"which has {_listing(classes)}. Correct it, or add such rows to the "
            "training data."
        )
    kinds = {} if kinds is None else kinds
    notes = notes_on_size(train, held_out)
    tables = train.concepts, held_out.concepts
    notes += notes_on_numbers(train.labels, tables, kinds)
    if train.concepts.shape[1]:
        notes += _notes_on_constants(train.concepts, prompted)
        notes += _unseen_values(schema_of(train, kinds), held_out)
    notes += notes_on_annotations(held_out, prompted)
    return notes + notes_on_split(train, held_out)


def notes_on_annotations(
    held_out: Reviews, prompted: Collection[str] = ()
) -> list[str]:
    """Return a warning about concepts of which no held-out row has an annotation."""
    is_known = held_out.concepts.notna().any()
    none = [str(name) for name, known in is_known.items() if not known]
    if not none or not len(held_out):
        return []
    if len(none) == len(is_known):
        lists = " skclif annotate --label lists them, in held-out.csv."
        what = "Annotate some of them." + (lists if prompted else "")
        what = by_caller(what, "Pass concepts.")
        return [
            "No held-out row has an annotation: how well concepts are predicted, where "
            "mistakes begin and what corrected concepts would be worth remains "
            f"unknown. {what}"
        ]
    they_are = "it is" if len(none) == 1 else "they are"
    return [
        f"No held-out row has an annotation of {_listing(none)}: how well {they_are} "
        "predicted, what all concepts as people read them would be worth, and where "
        "most mistakes begin remains unknown."
    ]


def notes_on_split(train: Reviews, held_out: Reviews) -> list[str]:
    """Return warnings about held-out rows that say nothing, or flatter a model."""
    notes = []
    leaked = np.isin(held_out.digests, train.digests)
    if leaked.any():
        flatters = "it flatters" if leaked.sum() == 1 else "they flatter"
        notes.append(
            f"{leaked.sum()} of the {how_many(len(held_out), 'held-out text')} "
            f"{is_or_are(leaked.sum())} also in the "
            f"training data ({some_ids(held_out, leaked)}); {flatters} every model."
        )
    single = [c for c in np.unique(train.labels) if not np.isin(c, held_out.labels)]
    if single:
        notes.append(
            f"No held-out row has the label {_listing(single)}: how well it is "
            "predicted remains unknown."
        )
    return notes


def check_labels(labels: np.ndarray) -> np.ndarray:
    """Return the distinct labels; refuse what a classifier cannot learn."""
    refuse_amounts(labels)
    classes = np.unique(labels)
    if len(classes) < 2:
        raise DataFileError(
            f"All {len(labels)} rows to train on have the same label, "
            f"{plain_value(classes[0])!r}; a classifier needs at least two."
        )
    return classes


def _same_kind(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kinds = {
        isinstance(value, str)
        for values in (first, second)
        for value in values[~pd.isna(values)]
    }
    if len(kinds) < 2:
        return first, second
    return _as_words(first), _as_words(second)


def _as_words(values: np.ndarray) -> np.ndarray:
    words = [None if pd.isna(value) else format_value(value) for value in values]
    return np.asarray(words, dtype=object)


def notes_on_size(train: Reviews, held_out: Reviews) -> list[str]:
    """Return a warning if there are few rows."""
    if len(train) >= FEWEST_ROWS:
        return []
    return [
        f"There are only {how_many(len(train), 'text')} to train on and "
        f"{len(held_out):,} to evaluate on. With fewer than {FEWEST_ROWS} to train on, "
        "the figures and lists of an audit mean nothing: other texts of the same kind "
        "would give other ones. Take this as a rehearsal, and audit more texts."
    ]


def _notes_on_constants(concepts: pd.DataFrame, prompted: Collection[str]) -> list[str]:
    """Return a warning for a concept that has one value in the rows to train on.

    Refuse a concept without any, and one value that people seem to have ticked.
    """
    notes, by_prompts = [], []
    for name, column in concepts.items():
        given = column.dropna()
        if given.nunique() > 1:
            continue
        if len(given) and name in prompted:
            by_prompts.append(f"{name!r} ({plain_value(given.iloc[0])!r})")
            continue
        if not len(given):
            raise DataFileError(
                f"Concept {name!r} has no annotation in the rows to train on. Leave "
                f"out --concept {name}, or annotate rows."
            )
        value, n_empty = plain_value(given.iloc[0]), len(column) - len(given)
        only = (
            f"Concept {name!r} has one value only, {value!r}, in the rows to train on"
        )
        if n_empty and str(value).casefold() in _TICKS:
            raise DataFileError(
                f"{only}; {how_many(n_empty, 'cell')} "
                f"{is_or_are(n_empty)} empty, which means not annotated. If empty "
                "means a value, because people ticked where something applies, name "
                f"that value: --empty {name}={0 if value == 1 else 'no'}. "
                f"Otherwise leave out --concept {name}, or annotate rows with another "
                "value."
            )
        notes.append(
            f"{only}: it is a constant, which tells the label nothing, has no "
            "influence, and is never suspect. Annotate rows with another value, or "
            f"leave out --concept {name}."
        )
    if by_prompts:
        notes.append(
            f"The rows to train on have one value only of {', '.join(by_prompts)}. "
            "That is a constant, which tells the label nothing, has no influence, and "
            "is never suspect. Write clearer prompts, lower --min-confidence, annotate "
            "texts with another value, or leave it out of the file of prompts."
        )
    return notes


def schema_of(train: Reviews, kinds: dict[str, str]) -> ConceptSchema:
    """Return the concepts that a model of these rows would know."""
    if not train.concepts.shape[1]:
        return ConceptSchema()
    annotations = Annotations.read(train.concepts, None, len(train))
    assert annotations is not None
    with warnings.catch_warnings():
        for said in (ManyValuesWarning, ConstantConceptWarning):
            warnings.simplefilter("ignore", said)  # in words of the command
        return learn(annotations, np.ones(len(train)), kinds)[0]


def _unseen_values(schema: ConceptSchema, held_out: Reviews) -> list[str]:
    notes = []
    for name, values in zip(schema.names, schema.classes, strict=True):
        if values is None:
            continue
        given = held_out.concepts[name].dropna()
        unseen = given[~given.isin(values)]
        if len(unseen):
            notes.append(
                f"Concept {name!r} has the value {plain_value(unseen.iloc[0])!r} in "
                "held-out rows but never in training; it cannot be predicted and "
                f"counts as a mistake of the concept ({how_many(len(unseen), 'row')})."
            )
    return notes


def some_ids(reviews: Reviews, mask: np.ndarray) -> str:
    """Name the first rows of a mask by their ids."""
    ids = [str(i) for i in reviews.ids[mask]]
    word = "id" if len(ids) == 1 else "ids"
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f"{word} {', '.join(ids[:_NAMED])}{more}"


def _listing(values: Iterable[Any]) -> str:
    values = [repr(plain_value(value)) for value in values]
    more = f" and {len(values) - 10} more" if len(values) > 10 else ""
    return ", ".join(values[:10]) + more
