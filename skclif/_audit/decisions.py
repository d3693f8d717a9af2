"""What a person decided, compared with the current rows: changes and rejections."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .._results.words import how_many, is_or_are
from ..exceptions import DataFileError
from .amounts import warn_of_far_amounts
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

    Warns
    -----
    DataFileWarning
        If an amount is far outside those that are there.
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
    warn_of_far_amounts(changes, revision)
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


def _is_so(change: Change) -> bool:
    return _same(change.old, change.new)


def _same(old: Any, new: Any) -> bool:
    return old is new or (type(old) is type(new) and old == new)
