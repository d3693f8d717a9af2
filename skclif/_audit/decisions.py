"""What a person decided, compared with the current rows: changes and rejections."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .._results.words import how_many, is_or_are
from ..exceptions import DataFileError
<<<<<<< HEAD
from .kinds import as_floats
=======
from .decision_lines import (
    ACCEPT,
    REJECT,
    Line,
    decision_of,
    read_lines,
    rows_explained,
)
from .decision_rows import Rows
from .decision_values import is_word, known_words, value_of, word_of
>>>>>>> h-tools
from .lists import Lists
from .rejections import Key, Rejection, value_hash
from .revisions import Change, Revision
from .rows import LEAST_PROBABILITY, short_hash

# A value with a lower probability of being wrong is believed right.
BELIEVED_WRONG = 0.5

_Value = tuple[str, bool, str]  # id, whether it is an annotation, and path
# The probability that a present value is wrong, by id and path; below
# `LEAST_PROBABILITY` where there is none. None if it is not known of any value.
Wrong = Mapping[tuple[str, str], float] | None


@dataclass(frozen=True)
class Decisions:
    """Decisions that fit the current rows.

    Attributes
    ----------
    changes : list of Change
        Changes to make.
    rejections : list of Rejection
        Rejections to record.
    n_accepted, n_rejected, n_skipped : int
        Number of lines in the file.
    n_in_effect : int
        Number of accepted lines whose value is already there.
    by_effect : bool
        Whether some accepted lines were listed by their effect on the held-out rows.
    sha256 : str
        Of the file.
    """

    changes: list[Change]
    rejections: list[Rejection]
    n_accepted: int
    n_rejected: int
    n_skipped: int
    n_in_effect: int
    by_effect: bool
    sha256: str


def read_decisions(
    path: Path,
    revision: Revision,
    elsewhere: dict[str, str],
    encoding: str = "utf-8",
    *,
    lists: Lists | None = None,
    rejected: Collection[Key] = frozenset(),
    wrong: Callable[[], Wrong] = lambda: None,
    even_if_right: bool = False,
) -> Decisions:
    """Return the decisions of a file that are to be carried out.

    Parameters
    ----------
    path : Path
        In the form of ``suspects.csv`` and ``suggestions.csv``.
    revision : Revision
        The current model and its rows.
    elsewhere : dict of str to str
        Ids that are not among the rows, and the reason.
    encoding : str, default="utf-8"
    lists : Lists, default=None
        What the folder last proposed: it says where an accepted value comes from, even
        if columns were left out of the file. None for no lists.
    rejected : collection of Key, default=frozenset()
        Rejections that are recorded already.
    wrong : callable
        Returns the probability that each present value is wrong. It is called if a
        suggested value is accepted. What the file says of it is not relied on.
    even_if_right : bool, default=False
        Whether suggested values may replace values that are believed right.

    Raises
    ------
    DataFileError
        If a line cannot be read, or names a row, a text or a value that is not there,
        or no longer; or if a suggested value would replace one that is believed right.
        The message names the line, and nothing is changed.
    """
    with rows_explained():
        return _read_decisions(
            path, revision, elsewhere, encoding, lists, rejected, wrong, even_if_right
        )


def _read_decisions(
    path: Path,
    revision: Revision,
    elsewhere: dict[str, str],
    encoding: str,
    lists: Lists | None,
    rejected: Collection[Key],
    wrong: Callable[[], Wrong],
    even_if_right: bool,
) -> Decisions:
    lines = read_lines(path, encoding)
    decided = [decision_of(line) for line in lines]
    rows = Rows(revision, elsewhere)
    accepted, refused = (
        [
            rows.named(line)
            for line, word in zip(lines, decided, strict=True)
            if word in words
        ]
        for words in (ACCEPT, REJECT)
    )
    lists = Lists() if lists is None else lists
    pairs = [(line, _change(line, rows, lists)) for line in accepted]
    chosen = _chosen(pairs)
    by_effect = any(_is_by_effect(line, change, lists) for line, change in pairs)
    pairs = [(line, change) for line, change in pairs if not _is_so(change)]
    judged = _judged(pairs, wrong, even_if_right)
    changes = [judged[key] for key, change in chosen.items() if not _is_so(change)]
    _refuse_contradictions(path, changes)
    rejections: dict[Key, Rejection] = {}
    for line in refused:
        rejection = _rejection(line, rows, chosen)
        if rejection is not None and rejection.key not in rejected:
            rejections.setdefault(rejection.key, rejection)
    return Decisions(
        changes,
        list(rejections.values()),
        len(accepted),
        len(refused),
        len(lines) - len(accepted) - len(refused),
        len(accepted) - len(pairs),
        by_effect,
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def _change(line: Line, rows: Rows, lists: Lists) -> Change:
    """Return what an accepted line asks for."""
    digest, kind, path, old = rows.target(line)
    if kind == "annotate" and old is None and not line["proposed"]:
        raise _to_be_asked(line, path, rows.revision)
    new = value_of(line, kind, path, rows.revision)
    if not _is_current(line, kind, old) and not _same(old, new):
        raise _changed_since(line, path, old)
    return Change(
        kind,
        line["id"],
        short_hash(digest),
        path,
        old,
        new,
        line.get("why") or None,
        _source(line, kind, path, new, lists),
    )


def _rejection(
    line: Line, rows: Rows, chosen: dict[_Value, Change]
) -> Rejection | None:
    """Return what a rejected line is about; None if an accepted line changes it."""
    digest, kind, path, old = rows.target(line)
    proposed = _refused_value(line, kind, path, rows.revision)
    change = chosen.get((line["id"], kind == "annotate", path))
    if change is not None:
        same = change.kind == kind
        if same and (kind == "drop" or is_word(line["proposed"], change.new)):
            raise DataFileError(
                f"{line['where']}: another line accepts the same change of {path!r} "
                f"of {change.id!r}. Decide one of the two."
            )
        return None
    if not _is_current(line, kind, old):
        raise _changed_since(line, path, old)
    return Rejection(
        kind,
        line["id"],
        short_hash(digest),
        path,
        value_hash(digest, path, old),
        value_hash(digest, path, proposed),
        line.get("why") or None,
    )


def _refused_value(line: Line, kind: str, path: str, revision: Revision) -> Any:
    """Return the value that a rejected line proposes, "" if it says none."""
    if not line["proposed"] or kind == "drop":
        return line["proposed"]
    try:
        value = value_of(line, kind, path, revision)
    except DataFileError as error:
        raise DataFileError(
            f"{error} In a rejected line, proposed may be empty."
        ) from error
    return line["proposed"] if kind == "reweight" else value


def _chosen(pairs: list[tuple[Line, Change]]) -> dict[_Value, Change]:
    """Return accepted changes by the value that they change."""
    chosen: dict[_Value, Change] = {}
    for line, change in pairs:
        key = _key(change)
        if not _same(chosen.setdefault(key, change).new, change.new):
            raise DataFileError(
                f"{line['where']}: two accepted lines give {change.path!r} of "
                f"{change.id!r} different values, {word_of(chosen[key].new)!r} and "
                f"{word_of(change.new)!r}. Accept one."
            )
    return chosen


def _source(line: Line, kind: str, path: str, new: Any, lists: Lists) -> str:
    """Return which list proposed a value, or "person" if somebody wrote it in."""
    if line.get("guess"):
        return "person"  # the list asks for an annotation, and proposes none
    key = line["id"], kind, path
    listed = lists.suggestions.get(key)
    if listed is not None and (kind == "drop" or is_word(listed, new)):
        return "suggestion"
    if line.get("effect") and listed is None:  # of an earlier list
        return "suggestion"
    listed = lists.suspects.get(key)
    if listed is not None:
        return "suspect" if is_word(listed, new) else "person"
    is_evidence = line.get("probability_wrong") or line.get("probability")
    return "suspect" if is_evidence and not line.get("effect") else "person"


def _is_by_effect(line: Line, change: Change, lists: Lists) -> bool:
    """Return whether a line was listed because of its effect on the held-out rows.

    A value of the person's own does not change that: the effect chose the row.
    """
    if line.get("effect"):
        return True
    if line.get("probability_wrong") or line.get("probability"):  # a suspect
        return False
    return (change.id, change.kind, change.path) in lists.suggestions


def _judged(
    pairs: list[tuple[Line, Change]],
    wrong: Callable[[], Wrong],
    even_if_right: bool,
) -> dict[_Value, Change]:
    """Return changes by the value that they change, suggested values with evidence.

    A value that helps the label although the present one is right would make the
    concept mean something else. A person who wrote a value in has judged by themselves.
    """
    judged: dict[_Value, Change] = {}
    suggested = [pair for pair in pairs if _is_suggested_value(pair[1])]
    known = wrong() if suggested else None
    refused = []
    for line, change in pairs:
        if known is not None and _is_suggested_value(change):
            probability = known.get((change.id, change.path))
            is_right = probability is None or probability < BELIEVED_WRONG
            change = replace(
                change,
                probability_wrong=probability,
                even_if_right=is_right and even_if_right,
            )
            if is_right and not even_if_right:
                refused.append((line, change))
        # Of two lines for the same, the one with evidence says more.
        if _key(change) not in judged or change.source == "suggestion":
            judged[_key(change)] = change
    if refused:
        raise _believed_right(refused)
    return judged


def _believed_right(refused: list[tuple[Line, Change]]) -> DataFileError:
    line, change = refused[0]
    probability = change.probability_wrong
    said = (
        f"below {LEAST_PROBABILITY:g}" if probability is None else f"{probability:.2f}"
    )
    n_more = len(refused) - 1
    more = f" {how_many(n_more, 'more suggested line')} {is_or_are(n_more)} like it."
    more = more if n_more else ""
    return DataFileError(
        f"{line['where']}: {word_of(change.old)!r} is believed right as "
        f"{change.path!r} of {change.id!r}: its probability of being wrong is {said}, "
        f"and a suggestion needs {BELIEVED_WRONG:g} or more. It may help the label, "
        f"but by making {change.path!r} mean something else.{more} Write 'reject', or "
        "read the text and write the true value into proposed. --even-if-right makes "
        "such changes, and the trail records it."
    )


def _is_suggested_value(change: Change) -> bool:
    is_value = change.kind in ("relabel", "annotate") and change.old is not None
    return is_value and change.source == "suggestion"


def _is_current(line: Line, kind: str, old: Any) -> bool:
    said, may_be_empty = line["current"], kind in ("reweight", "drop")
    return is_word(said, old) or (not said and may_be_empty)


def _changed_since(line: Line, path: str, old: Any) -> DataFileError:
    return DataFileError(
        f"{line['where']}: {path!r} of {line['id']!r} has changed since: decided on "
        f"was {line['current']!r}, now it is {word_of(old)!r}. Look at it again, and "
        "write the value that it has into the column current."
    )


def _to_be_asked(line: Line, path: str, revision: Revision) -> DataFileError:
    return DataFileError(
        f"{line['where']}: {path!r} of {line['id']!r} is not annotated, and the column "
        "proposed is empty in this accepted line. Nobody but a person can say the "
        "value: read the text or ask somebody who does, and write what is true into "
        f"proposed ({known_words('annotate', path, revision)})."
    )


<<<<<<< HEAD
def _known_words(kind: str, path: str, revision: Revision) -> str:
    if _is_amount(kind, path, revision):
        return "a finite number"
    return ", ".join(repr(format_value(v)) for v in _values(kind, path, revision))


def _check_text(line: dict[str, str], digest: str, audited: str | None) -> None:
    where = line["where"]
    if not _same_hash(line["text_hash"], short_hash(digest)):
        raise DataFileError(
            f"{where}: the text of {line['id']!r} is not the one that was decided on: "
            f"its hash is {HASH_PREFIX}{short_hash(digest)}, not "
            f"{line['text_hash']!r}. Take the line from the present suspects.csv or "
            "suggestions.csv, and decide again."
        )
    text = line.get("text")
    if text and digest not in _digests(text) and not _same_text(text, audited):
        raise DataFileError(
            f"{where}: the text of {line['id']!r} in this file is not the one that "
            "was audited. If it was changed by mistake, restore it or leave out the "
            "column text; if the review itself is to change, audit it again."
        )


def _same_hash(said: str, known: str) -> bool:
    """Return whether a hash is the known one, or what a spreadsheet makes of it.

    Files of older versions have no prefix, so that some hashes are numbers to one.
    """
    if said == f"{HASH_PREFIX}{known}":
        return True
    if said == known or not _LIKE_A_NUMBER.fullmatch(known):
        return said == known
    try:
        return math.isclose(float(said), float(known), rel_tol=1e-4)
    except ValueError:
        return False


def _same_text(text: str, audited: str | None) -> bool:
    return audited is not None and _unix(text) == _unix(audited)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _digests(text: str) -> set[str]:
    """Return the hashes of a text with each kind of line end."""
    unix = _unix(text)
    forms = (text, unix, unix.replace("\n", "\r\n"), unix.replace("\n", "\r"))
    return {hashlib.sha256(form.encode()).hexdigest() for form in forms}


def _path(where: str, kind: str, path: str, revision: Revision) -> str:
    concepts = [str(name) for name in revision.model.concept_names_in_]
    known = {"relabel": ["label"], "annotate": concepts}.get(kind, ["row"])
    path = path or (known[0] if kind != "annotate" else path)
    if path not in known:
        raise DataFileError(
            f"{where}: {kind!r} of {path!r}; it goes with "
            f"{', '.join(map(repr, known)) or 'concepts, of which there are none'}."
        )
    return path


def _value(line: dict[str, str], kind: str, path: str, revision: Revision) -> Any:
    """Return the value that a line proposes."""
    where, said = line["where"], line["proposed"]
    if kind == "drop":
        return 0.0
    if kind == "reweight":
        try:
            weight = float(said)
        except ValueError:
            weight = -1.0
        if weight != 0 and not _LEAST_WEIGHT <= weight <= _LARGEST_WEIGHT:
            raise DataFileError(
                f"{where}: the weight {said!r} of {line['id']!r} is neither 0 nor a "
                f"number from {_LEAST_WEIGHT:g} to {_LARGEST_WEIGHT:g}."
            )
        return weight
    if kind == "annotate":
        word = _removal_word(where, path, said, revision)
        if said.casefold() == word:
            return None
        if said.casefold() == _AS_VALUE and word == _AS_REMOVAL:
            alike = _like_the_word(path, revision)
            written = [f"value:{format_value(value)}" for value in alike]
            return alike[written.index(said) if said in written else 0]
    value = _known_value(kind, path, said, revision)
    if value is not None:
        return value
    if _is_amount(kind, path, revision):
        raise DataFileError(
            f"{where}: the value {said!r} of {path!r} is no finite number. Write one, "
            f"or {word!r} to take the annotation away."
        )
    words = _known_words(kind, path, revision)
    hint = "."
    if kind == "annotate":
        hint = f", or write {word!r} to take the annotation away."
    raise DataFileError(
        f"{where}: the value {said!r} of {path!r} is not known to the model, which "
        f"has {words}{hint}"
    )


def _removal_word(where: str, path: str, said: str, revision: Revision) -> str:
    """Return the word that takes an annotation away; refuse a cell that is unclear."""
    word = _AS_REMOVAL if _like_the_word(path, revision) else UNANNOTATED
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
        for value in _values("annotate", path, revision)
        if format_value(value).casefold() == UNANNOTATED
    ]


def _known_value(kind: str, path: str, said: str, revision: Revision) -> Any:
    """Return the value that a cell names, None if the model does not know it."""
    if _is_amount(kind, path, revision):
        return _amount(said)
    known = _values(kind, path, revision)
    for value in known:
        if format_value(value) == said:
            return value
    return next((value for value in known if _is_word(said, value)), None)


def _values(kind: str, path: str, revision: Revision) -> list[Any]:
    """Return the values that the model knows of the label or a concept."""
    model = revision.model
    if kind == "relabel":
        return list(model.classes_.tolist())
    if kind != "annotate" or _is_amount(kind, path, revision):
        return []  # of weights, and of amounts
    known = model.concept_classes_[list(model.concept_names_in_).index(path)]
    return [plain_value(value) for value in known]


def _is_amount(kind: str, path: str, revision: Revision) -> bool:
    """Return whether a value is a number of a continuous concept."""
    model = revision.model
    if kind != "annotate":
        return False
    return model.concept_classes_[list(model.concept_names_in_).index(path)] is None


def _amount(said: str) -> Any:
    """Return the number that a cell says, None if it says none."""
    try:
        value = float(said)
    except ValueError:
        return None
    return plain_value(value) if abs(value) <= LARGEST_NUMBER else None


=======
>>>>>>> h-tools
def _refuse_contradictions(path: Path, changes: list[Change]) -> None:
    dropped = {change.id for change in changes if change.kind == "drop"}
    for change in changes:
        if change.id in dropped and change.kind != "drop":
            raise DataFileError(
                f"{path}: {change.id!r} is to be dropped and its {change.path!r} to be "
                "changed. Accept one of the two."
            )


def _key(change: Change) -> _Value:
    return change.id, change.kind == "annotate", change.path


<<<<<<< HEAD
def _is_word(said: str, value: Any) -> bool:
    """Return whether a cell says a value.

    A spreadsheet can write 4 as 4.0, 4.5 as 4.50, and True as TRUE. The label 4.5 is a
    word, because a classifier has no such classes.
    """
    word = _word(value)
    is_logical = said.casefold() in ("true", "false")
    return (
        said == word
        or (_is_number(value) and _equal(said, value))
        or (is_logical and said.casefold() == word.casefold())
    )


def _is_number(value: Any) -> bool:
    """Return whether a value is a number, or a word for one: "4.5" and not "007"."""
    return not isinstance(value, str) or as_floats([value]) is not None


def _word(value: Any) -> str:
    return "" if value is None else format_value(value)


=======
>>>>>>> h-tools
def _is_so(change: Change) -> bool:
    return _same(change.old, change.new)


def _same(old: Any, new: Any) -> bool:
    return old is new or (type(old) is type(new) and old == new)
