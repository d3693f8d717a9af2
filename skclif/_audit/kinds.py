"""Numbers among labels and annotations: classes, grades in an order, or amounts.

Labels are classes. Numbers that are not whole are carried as words, because a
classifier of scikit-learn takes no such numbers: the class "4.5" is 4.5 to every
reader, in the model file, the tables and the page. `in_order` gives back their order.

A concept whose numbers are not whole has grades if it has few of them (half points),
and amounts otherwise. Whole numbers are categories, unless somebody says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._inputs.many_values import MOST_GRADES as MANY_NUMBERS
from .._inputs.many_values import is_nearly_one_each
from .._inputs.soft import shares_in
from .._inputs.values import format_value, plain_value
from .._results.words import how_many
from .._storage.tables import as_numbers
from ..exceptions import DataFileError

if TYPE_CHECKING:
    from .._models.bottleneck import ConceptBottleneckClassifier

CATEGORICAL, CONTINUOUS = "categorical", "continuous"
LABEL = "label"
# Different numbers of a concept, some of them not whole, that are grades; more are
# amounts. Half points from 0 to 5 are 11 grades.
MOST_GRADES = 12
# Labels have no other kind to be, so more of them are classes.
MOST_CLASSES = 30
# Of a kind with fewer rows for each number, numbers are amounts.
_FEWEST_ROWS = 2


def as_classes(labels: np.ndarray) -> np.ndarray:
    """Return labels that a classifier takes: numbers that are not whole as words."""
    if labels.dtype.kind != "f":
        return labels
    if (labels % 1 == 0).all():
        return labels.astype(np.int64)
    return np.asarray([format_value(label) for label in labels], dtype=object)


def as_floats(values: Iterable[Any]) -> np.ndarray | None:
    """Return values as numbers if all of them are, or are words for numbers."""
    values = [plain_value(value) for value in values]
    words = [str(value) for value in values]
    numbers = as_numbers(words)
    is_words = any(isinstance(number, str) for number in numbers)
    if is_words or any(isinstance(value, bool) for value in values):
        return None
    return np.asarray(numbers, dtype=float)


def in_order(values: Iterable[Any]) -> list[Any]:
    """Return values by size if all are numbers, or words for numbers; else as given."""
    values = list(values)
    numbers = as_floats(values)
    if numbers is None:
        return values
    return [values[k] for k in np.argsort(numbers, kind="stable")]


def refuse_amounts(labels: np.ndarray) -> None:
    """Refuse labels that are numbers of a scale without steps.

    Raises
    ------
    DataFileError
        If there are too many different numbers, some of them not whole, for classes.
    """
    classes = pd.unique(labels)
    numbers = as_floats(classes)
    if numbers is None or (numbers % 1 == 0).all():
        return
    if len(classes) <= MOST_CLASSES and len(labels) >= _FEWEST_ROWS * len(classes):
        return
    example = format_value(classes[int(np.argmax(numbers % 1 != 0))])
    raise DataFileError(
        f"Labels are numbers that are not whole, such as {example}, and "
        f"{len(classes):,} of {how_many(len(labels), 'row')} are different; an audit "
        f"needs classes. Round or bin them in the file (up to {MOST_CLASSES} numbers, "
        "such as half points, are taken as classes), and name the new column with "
        "--label."
    )


def choose_kinds(
    parts: Sequence[pd.DataFrame], given: dict[str, str]
) -> dict[str, str]:
    """Return the kinds of concepts whose values do not say it, or that were given.

    Parameters
    ----------
    parts : sequence of DataFrame
        The annotations of all rows that will be audited.
    given : dict of str to str
        Kinds by concept, from the option --concept-kind.

    Raises
    ------
    DataFileError
        If a kind does not fit, a concept has about one value a row, or columns are
        shares of values.
    """
    names = [str(name) for name in parts[0]]
    for concept, columns in shares_in(parts[0]).items():
        raise DataFileError(
            f"The columns {', '.join(map(repr, columns))} are shares of the values of "
            f"{concept!r}, and an audit needs one value in each cell. Name a column of "
            "values with --concept, or rename the columns if they are concepts of "
            "their own. In Python, ConceptInfluenceExplainer takes shares, and shows "
            "the same page by report()."
        )
    unknown = [name for name in given if name not in names]
    if unknown:
        raise DataFileError(
            f"--concept-kind names {unknown[0]!r}, but the concepts are "
            f"{', '.join(map(repr, names)) or 'none'}. Name it with --concept, too."
        )
    found = {}
    for name in names:
        values = pd.concat([part[name].dropna() for part in parts])
        kind = _kind(name, values, given.get(name))
        if kind is not None:
            found[name] = kind
    return found


def _kind(name: str, values: pd.Series, given: str | None) -> str | None:
    """Return the kind of a concept, None for the one that a model assumes."""
    words = values[values.map(lambda value: isinstance(value, str | bool))]
    if given == CONTINUOUS:
        if len(words):
            raise DataFileError(
                f"--concept-kind {name}={CONTINUOUS}: the concept {name!r} has the "
                f"value {words.iloc[0]!r}, which is no number. Leave the option out, "
                "or write numbers."
            )
        return CONTINUOUS
    n_values = values.nunique()
    is_fraction = not len(words) and bool((values.astype(float) % 1 != 0).any())
    if given is None and is_fraction:
        is_few = n_values <= MOST_GRADES and len(values) >= _FEWEST_ROWS * n_values
        return CATEGORICAL if is_few else CONTINUOUS
    if is_nearly_one_each(n_values, len(values)):
        raise _name_rows(name, values, n_values, has_words=bool(len(words)))
    return given


def _name_rows(
    name: str, values: pd.Series, n_values: int, *, has_words: bool
) -> DataFileError:
    """Return why free text, names, dates and numbers of rows are no concept."""
    as_amounts = ""
    if not has_words:
        as_amounts = f" If they are amounts, add --concept-kind {name}={CONTINUOUS}."
    return DataFileError(
        f"Concept {name!r} has {n_values:,} different values in "
        f"{how_many(len(values), 'annotated row')}, such as {values.iloc[0]!r}: as "
        "free text, names, dates or numbers of rows have. Nearly every value occurs "
        "only once, so that nothing can be learned of it. Leave out --concept "
        f"{name}, or sort its values into a few categories in the file.{as_amounts}"
    )


def notes_on_numbers(
    labels: np.ndarray, parts: Sequence[pd.DataFrame], kinds: dict[str, str]
) -> list[str]:
    """Return warnings about labels and concepts whose numbers may be amounts."""
    notes = []
    classes = as_floats(np.unique(labels))
    if classes is not None and len(classes) > MANY_NUMBERS:
        notes.append(
            f"The labels are {len(classes)} different numbers, each of which is a "
            "class by itself. If they are amounts, round or bin them in the file."
        )
    for name in parts[0]:
        if name in kinds:
            continue
        values = pd.concat([part[name].dropna() for part in parts])
        if any(isinstance(value, str | bool) for value in values):
            continue
        n_values = values.nunique()
        if n_values > MANY_NUMBERS:
            notes.append(
                f"Concept {name!r} has {n_values} different whole numbers, each of "
                "which is a category by itself. If they are amounts, add "
                f"--concept-kind {name}={CONTINUOUS}; if not, "
                f"--concept-kind {name}={CATEGORICAL} ends this warning."
            )
    return notes


def ordered_paths(
    labels: np.ndarray,
    concepts: pd.DataFrame,
    kinds: dict[str, str],
    asked: Collection[str],
) -> list[str]:
    """Return the label and concepts of which wrong values are next to the right one.

    These are the ones that were asked for, and grades that are not whole: whole
    numbers can be codes, which have no order.

    Raises
    ------
    DataFileError
        If what was asked for is unknown, or has other values than numbers.
    """
    columns: dict[str, Any] = {LABEL: labels}
    columns |= {str(name): values.dropna() for name, values in concepts.items()}
    for name in asked:
        _refuse_unordered(name, columns, kinds)
    found = []
    for name, values in columns.items():
        numbers = as_floats(pd.unique(values))
        is_grades = (
            kinds.get(name) != CONTINUOUS
            and numbers is not None
            and len(numbers) > 2
            and bool((numbers % 1 != 0).any())
        )
        if name in asked or is_grades:
            found.append(name)
    return found


def _refuse_unordered(
    name: str, columns: dict[str, Any], kinds: dict[str, str]
) -> None:
    if name not in columns:
        raise DataFileError(
            f"--ordinal names {name!r}; it takes {LABEL!r} and concepts that are named "
            f"with --concept: {', '.join(map(repr, columns))}."
        )
    if kinds.get(name) == CONTINUOUS:
        raise DataFileError(
            f"--ordinal names {name!r}, which is continuous: amounts are judged by "
            "their distance from the prediction. Leave the option out, or add "
            f"--concept-kind {name}={CATEGORICAL}."
        )
    values = pd.unique(columns[name])
    if as_floats(values) is None:
        word = next(value for value in values if as_floats([value]) is None)
        raise DataFileError(
            f"--ordinal names {name!r}, which has the value {word!r}: only numbers "
            "have an order. Write numbers in place of the words, such as 1 for poor "
            "and 2 for fair."
        )


def orders(
    model: ConceptBottleneckClassifier, paths: Iterable[str]
) -> dict[str, list[Any]] | None:
    """Return the values of ordered paths by size, as suspects take them.

    Two values are next to each other anyway.
    """
    known = {LABEL: model.classes_}
    known |= dict(zip(model.concept_names_in_, model.concept_classes_, strict=True))
    found = {path: in_order(known[path].tolist()) for path in paths}
    return {path: values for path, values in found.items() if len(values) > 2} or None
