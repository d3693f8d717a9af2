"""Which value of a row a line of decisions is about, and which value it proposes."""

from __future__ import annotations

import math
from typing import Any

from .._inputs.checks import LARGEST_NUMBER
from .._inputs.values import format_value, plain_value
from ..exceptions import DataFileError
from .decision_lines import Line
from .revisions import Revision
from .spreadsheets import can_become, meant, number

UNANNOTATED = "unannotated"  # what takes an annotation away
# What a concept with a value that reads like the word needs in its place.
_AS_VALUE, _AS_REMOVAL = f"value:{UNANNOTATED}", f"remove:{UNANNOTATED}"
_LEAST_WEIGHT, _LARGEST_WEIGHT = 1e-6, 1e6  # or 0


def path_of(line: Line, revision: Revision) -> str:
    """Return what a line changes: "label", the name of a concept, or "row"."""
    kind, path = line["kind"], line["path"]
    concepts = [str(name) for name in revision.model.concept_names_in_]
    known = {"relabel": ["label"], "annotate": concepts}.get(kind, ["row"])
    path = path or (known[0] if kind != "annotate" else path)
    found = meant(path, known)
    if found is None:
        raise DataFileError(
            f"{line['where']}: {kind!r} of {path!r}; it goes with "
            f"{', '.join(map(repr, known)) or 'concepts, of which there are none'}."
        )
    return found


def value_of(line: Line, kind: str, path: str, revision: Revision) -> Any:
    """Return the value that a line proposes; None takes an annotation away."""
    said = line["proposed"]
    if kind == "drop":
        return 0.0
    if kind == "reweight":
        return _weight(line)
    if kind == "annotate":
        word = _checked_removal_word(line, path, revision)
        if said.casefold() == word:
            return None
        if said.casefold() == _AS_VALUE and word == _AS_REMOVAL:
            alike = _like_the_word(path, revision)
            written = [f"value:{format_value(value)}" for value in alike]
            return alike[written.index(said) if said in written else 0]
    value = _known_value(kind, path, said, revision)
    if value is not None:
        return value
    if known_values(kind, path, revision) is None:
        raise DataFileError(
            f"{line['where']}: the value {said!r} of {path!r} is no finite number. "
            f"Write one, or {removal_word(path, revision)!r} to take it away."
        )
    words = known_words(kind, path, revision)
    hint = "."
    if kind == "annotate":
        word = removal_word(path, revision)
        hint = f", or write {word!r} to take the annotation away."
        if len(known_values(kind, path, revision) or []) == 1:
            hint += " A second value takes a new audit, of a file that has it."
    raise DataFileError(
        f"{line['where']}: the value {said!r} of {path!r} is not known to the model, "
        f"which has {words}{hint}"
    )


def known_words(kind: str, path: str, revision: Revision) -> str:
    """Return what a line may propose, in words."""
    known = known_values(kind, path, revision)
    if known is None:
        return "a finite number"
    return ", ".join(repr(format_value(value)) for value in known)


def known_values(kind: str, path: str, revision: Revision) -> list[Any] | None:
    """Return the values that the model knows of the label or a concept.

    None for a concept of numbers, which can have any.
    """
    model = revision.model
    if kind == "relabel":
        return list(model.classes_.tolist())
    if kind != "annotate":
        return []  # of weights
    known = model.concept_classes_[list(model.concept_names_in_).index(path)]
    return None if known is None else [plain_value(value) for value in known]


def removal_word(path: str, revision: Revision) -> str:
    """Return the word that takes an annotation of a concept away."""
    return _AS_REMOVAL if _like_the_word(path, revision) else UNANNOTATED


def value_word(value: Any, path: str, revision: Revision) -> str:
    """Return how a line proposes a value of a concept."""
    word = format_value(value)
    return f"value:{word}" if value in _like_the_word(path, revision) else word


def is_word(said: str, value: Any) -> bool:
    """Return whether a cell says a value, as a spreadsheet may have written it."""
    return can_become(word_of(value), said)


def word_of(value: Any) -> str:
    """Return a value as it is written in lists; "" is a missing annotation."""
    return "" if value is None else format_value(value)


def _weight(line: Line) -> float:
    said = line["proposed"]
    weight = _number(said)
    if weight is None or (
        weight != 0 and not _LEAST_WEIGHT <= weight <= _LARGEST_WEIGHT
    ):
        raise DataFileError(
            f"{line['where']}: the weight {said!r} of {line['id']!r} is neither 0 nor "
            f"a number from {_LEAST_WEIGHT:g} to {_LARGEST_WEIGHT:g}."
        )
    return weight


def _number(said: str) -> float | None:
    """Return the number in a cell; None if it is none, or could be two."""
    try:
        value = float(said)
        return value if math.isfinite(value) else None
    except ValueError:
        point, comma = number(said, decimal="."), number(said, decimal=",")
        if point is not None and comma is not None and point != comma:
            return None
        return comma if point is None else point


def _checked_removal_word(line: Line, path: str, revision: Revision) -> str:
    """Return the word that takes an annotation away; refuse a cell that is unclear."""
    where, said = line["where"], line["proposed"]
    word = removal_word(path, revision)
    if not said:
        raise DataFileError(
            f"{where}: the column proposed is empty, in an accepted line for {path!r}. "
            f"Write the value, or {word!r} to take the annotation away."
        )
    if said.casefold() == UNANNOTATED != word:
        raise DataFileError(
            f"{where}: {said!r} reads like a value of {path!r}, and like the word that "
            f"takes an annotation away. Write {_AS_VALUE!r} for the value, or "
            f"{_AS_REMOVAL!r} to take the annotation away."
        )
    return word


def _like_the_word(path: str, revision: Revision) -> list[Any]:
    """Return the values of a concept that read like the word that takes one away."""
    return [
        value
        for value in known_values("annotate", path, revision) or []
        if format_value(value).casefold() == UNANNOTATED
    ]


def _known_value(kind: str, path: str, said: str, revision: Revision) -> Any:
    """Return the value that a cell names, None if the model does not know it."""
    known = known_values(kind, path, revision)
    if known is None:
        amount = _number(said)
        is_finite = amount is not None and abs(amount) <= LARGEST_NUMBER
        return plain_value(amount) if is_finite else None
    words = [format_value(value) for value in known]
    word = meant(said, words)
    return None if word is None else known[words.index(word)]
