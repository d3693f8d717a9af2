"""What a person decided, read from a table and compared with the current rows."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .._inputs.annotations import format_value, plain_value
from .._inputs.checks import LARGEST_NUMBER
from .._results.words import how_many, is_or_are
from .._storage.cells import HASH_PREFIX, unescape_cell
from .._storage.tables import check_encoding, is_whole_text, read_columns
from ..exceptions import DataFileError
from .kinds import as_floats
from .lists import Lists
from .rejections import Key, Rejection, value_hash
from .revisions import CHANGES, Change, Revision, current_value
from .rows import LEAST_PROBABILITY, short_hash

ACCEPT = ("accept", "accepted", "yes", "y")
REJECT = ("reject", "rejected", "no", "n")
SKIP = ("", "skip", "skipped")
# A value with a lower probability of being wrong is believed right.
BELIEVED_WRONG = 0.5
UNANNOTATED = "unannotated"  # what takes an annotation away
_ALL_IDS = (
    "id and text_hash of every training row are in influence.csv, as train_id and "
    "train_text_hash."
)
_ROLES = {
    "decision": "whether it is accepted",
    "kind": "the kind of change",
    "id": "the identifier",
    "text_hash": "the hash of the text",
    "path": "what is changed",
    "current": "the value that was decided on",
    "proposed": "the new value",
    "why": "the reason",
    "text": "the text",
    "effect": "the effect",
    "probability_wrong": "the probability that the current value is wrong",
    "probability": "the same in older lists",
}
_OPTIONAL = {"why", "text", "effect", "probability_wrong", "probability"}
# What a concept with a value that reads like the word needs in its place.
_AS_VALUE, _AS_REMOVAL = f"value:{UNANNOTATED}", f"remove:{UNANNOTATED}"
_LEAST_WEIGHT, _LARGEST_WEIGHT = 1e-6, 1e6  # or 0
_LIKE_A_NUMBER = re.compile(r"\d+(e\d+)?", re.ASCII)


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
    with _rows_explained():
        return _read_decisions(
            path, revision, elsewhere, encoding, lists, rejected, wrong, even_if_right
        )


@contextmanager
def _rows_explained() -> Iterator[None]:
    """Say in errors what a number of a row means: a spreadsheet shows another one."""
    try:
        yield
    except DataFileError as error:
        if ", row " not in str(error):
            raise
        raise DataFileError(f"{error} (Row 1 is the first row of data.)") from error


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
    columns = read_columns(path, _ROLES, encoding, _OPTIONAL)
    lines = [
        _line(f"{path}, row {number}", columns, cells)
        for number, cells in enumerate(zip(*columns.values(), strict=True), 1)
    ]
    decided = [_decision(line) for line in lines]
    place = _Place(revision, revision.rows.positions(), elsewhere)
    accepted, refused = (
        [
            place.named(line)
            for line, word in zip(lines, decided, strict=True)
            if word in words
        ]
        for words in (ACCEPT, REJECT)
    )
    lists = Lists() if lists is None else lists
    pairs = [(line, _change(line, place, lists)) for line in accepted]
    chosen = _chosen(pairs)
    by_effect = any(_is_by_effect(line, change, lists) for line, change in pairs)
    pairs = [(line, change) for line, change in pairs if not _is_so(change)]
    judged = _judged(pairs, wrong, even_if_right)
    changes = [judged[key] for key, change in chosen.items() if not _is_so(change)]
    _refuse_contradictions(path, changes)
    rejections: dict[Key, Rejection] = {}
    for line in refused:
        rejection = _rejection(line, place, chosen)
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


def read_ids(path: Path, encoding: str = "utf-8") -> list[str]:
    """Return the identifiers in a text file with one per line, each once.

    Raises
    ------
    DataFileError
        If the file is not text, or holds no identifier.
    FileNotFoundError
        If there is no file.
    """
    check_encoding(encoding)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    if path.is_dir():
        raise DataFileError(f"{path} is a folder; name a text file.")
    try:
        text = path.read_bytes().decode(
            "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
        )
    except UnicodeError as error:
        raise DataFileError(
            f"{path} is not written in {encoding!r}; say what it is written in with "
            "--encoding."
        ) from error
    lines = (unescape_cell(line.strip()) for line in text.split("\n"))
    ids = list(dict.fromkeys(filter(None, lines)))
    if not ids:
        raise DataFileError(f"{path} names nobody: it should hold one id a line.")
    return ids


def _line(where: str, columns: Iterable[str], cells: Iterable[Any]) -> dict[str, str]:
    """Return the cells of a line without the escapes of spreadsheets, and its place.

    Except for texts, spaces at both ends are removed.
    """
    line = {"where": where}
    for name, value in zip(columns, cells, strict=True):
        cell = "" if value is None else unescape_cell(format_value(value))
        if not is_whole_text(cell):
            raise DataFileError(f"{where}: {name!r} holds half a character.")
        line[name] = cell if name == "text" else cell.strip()
    return line


def _decision(line: dict[str, str]) -> str:
    word = line["decision"].casefold()
    if word not in ACCEPT + REJECT + SKIP:
        raise DataFileError(
            f"{line['where']}: the decision {line['decision']!r} is not known. Write "
            f"{_either(ACCEPT)} to make the change, {_either(REJECT)} to record that "
            f"it is not to be made, or {_either(SKIP[1:])} or nothing to leave it "
            "undecided."
        )
    return word


def _either(words: Sequence[str]) -> str:
    *most, last = map(repr, words)
    return f"{', '.join(most)} or {last}"


@dataclass(frozen=True)
class _Place:
    """The current rows, and where other rows are."""

    revision: Revision
    positions: dict[str, int]
    elsewhere: dict[str, str]

    def named(self, line: dict[str, str]) -> dict[str, str]:
        """Return a line with the id that it had before a spreadsheet read "001" as 1.

        The hash of the text says which row is meant.
        """
        said, rows = line["id"], self.revision.rows
        if said in self.positions or said in self.elsewhere:
            return line
        alike = [i for i in self.positions if _equal(said, i)]
        meant = [
            i
            for i in alike
            if _same_hash(
                line["text_hash"], short_hash(rows.digests[self.positions[i]])
            )
        ]
        if len(meant) == 1:
            return {**line, "id": meant[0]}
        if alike:
            raise DataFileError(
                f"{line['where']}: of the row {said!r}: there is no such row. A "
                f"spreadsheet can take zeros off: is {alike[0]!r} meant? Its text is "
                "not the one that was decided on, or another row is like it. Restore "
                "id and text_hash."
            )
        return line

    def target(self, line: dict[str, str]) -> tuple[str, str, str, Any]:
        """Return digest of the text, kind, path and present value of what is decided.

        Row and text have to be those of the line.
        """
        where, position = line["where"], self.positions.get(line["id"])
        if position is None:
            if not line["id"]:
                raise DataFileError(f"{where}: the column id is empty. {_ALL_IDS}")
            unknown = f"there is no such row. {_ALL_IDS}"
            said = self.elsewhere.get(line["id"], unknown).removesuffix(".")
            raise DataFileError(f"{where}: of the row {line['id']!r}: {said}.")
        rows = self.revision.rows
        digest = str(rows.digests[position])
        _check_text(line, digest, None if rows.texts is None else rows.texts[position])
        kind = line["kind"]
        if kind not in CHANGES:
            raise DataFileError(
                f"{where}: the kind {kind!r} is none of {', '.join(CHANGES)}."
            )
        path = _path(where, kind, line["path"], self.revision)
        return digest, kind, path, current_value(self.revision, position, kind, path)


def _change(line: dict[str, str], place: _Place, lists: Lists) -> Change:
    """Return what an accepted line asks for."""
    digest, kind, path, old = place.target(line)
    if kind == "annotate" and old is None and not line["proposed"]:
        raise _to_be_asked(line, path, place.revision)
    new = _value(line, kind, path, place.revision)
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
    line: dict[str, str], place: _Place, chosen: dict[_Value, Change]
) -> Rejection | None:
    """Return what a rejected line is about; None if an accepted line changes it."""
    digest, kind, path, old = place.target(line)
    proposed = _refused_value(line, kind, path, place.revision)
    change = chosen.get((line["id"], kind == "annotate", path))
    if change is not None:
        same = change.kind == kind
        if same and (kind == "drop" or _is_word(line["proposed"], change.new)):
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


def _refused_value(
    line: dict[str, str], kind: str, path: str, revision: Revision
) -> Any:
    """Return the value that a rejected line proposes, "" if it says none."""
    if not line["proposed"] or kind == "drop":
        return line["proposed"]
    try:
        value = _value(line, kind, path, revision)
    except DataFileError as error:
        raise DataFileError(
            f"{error} In a rejected line, proposed may be empty."
        ) from error
    return line["proposed"] if kind == "reweight" else value


def _chosen(pairs: list[tuple[dict[str, str], Change]]) -> dict[_Value, Change]:
    """Return accepted changes by the value that they change."""
    chosen: dict[_Value, Change] = {}
    for line, change in pairs:
        key = _key(change)
        if not _same(chosen.setdefault(key, change).new, change.new):
            raise DataFileError(
                f"{line['where']}: two accepted lines give {change.path!r} of "
                f"{change.id!r} different values, {_word(chosen[key].new)!r} and "
                f"{_word(change.new)!r}. Accept one."
            )
    return chosen


def _source(line: dict[str, str], kind: str, path: str, new: Any, lists: Lists) -> str:
    """Return which list proposed a value, or "person" if somebody wrote it in."""
    if line.get("guess") is not None and not line.get("probability_wrong"):
        return "person"  # the list asks for an annotation, and proposes none
    key = line["id"], kind, path
    listed = lists.suggestions.get(key)
    if listed is not None and (kind == "drop" or _is_word(listed, new)):
        return "suggestion"
    if line.get("effect") and listed is None:  # of an earlier list
        return "suggestion"
    listed = lists.suspects.get(key)
    if listed is not None:
        return "suspect" if _is_word(listed, new) else "person"
    is_evidence = line.get("probability_wrong") or line.get("probability")
    return "suspect" if is_evidence and not line.get("effect") else "person"


def _is_by_effect(line: dict[str, str], change: Change, lists: Lists) -> bool:
    """Return whether a line was listed because of its effect on the held-out rows.

    A value of the person's own does not change that: the effect chose the row.
    """
    if line.get("effect"):
        return True
    if line.get("probability_wrong") or line.get("probability"):  # a suspect
        return False
    return (change.id, change.kind, change.path) in lists.suggestions


def _judged(
    pairs: list[tuple[dict[str, str], Change]],
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


def _believed_right(refused: list[tuple[dict[str, str], Change]]) -> DataFileError:
    line, change = refused[0]
    probability = change.probability_wrong
    said = (
        f"below {LEAST_PROBABILITY:g}" if probability is None else f"{probability:.2f}"
    )
    n_more = len(refused) - 1
    more = f" {how_many(n_more, 'more suggested line')} {is_or_are(n_more)} like it."
    more = more if n_more else ""
    return DataFileError(
        f"{line['where']}: {_word(change.old)!r} is believed right as {change.path!r} "
        f"of {change.id!r}: its probability of being wrong is {said}, and a suggestion "
        f"needs {BELIEVED_WRONG:g} or more. It may help the label, but by making "
        f"{change.path!r} mean something else.{more} Write 'reject', or read the text "
        "and write the true value into proposed. --even-if-right makes such changes, "
        "and the trail records it."
    )


def _is_suggested_value(change: Change) -> bool:
    is_value = change.kind in ("relabel", "annotate") and change.old is not None
    return is_value and change.source == "suggestion"


def _is_current(line: dict[str, str], kind: str, old: Any) -> bool:
    said, may_be_empty = line["current"], kind in ("reweight", "drop")
    return _is_word(said, old) or (not said and may_be_empty)


def _changed_since(line: dict[str, str], path: str, old: Any) -> DataFileError:
    return DataFileError(
        f"{line['where']}: {path!r} of {line['id']!r} has changed since: decided on "
        f"was {line['current']!r}, now it is {_word(old)!r}. Look at it again, and "
        "write the value that it has into the column current."
    )


def _to_be_asked(line: dict[str, str], path: str, revision: Revision) -> DataFileError:
    return DataFileError(
        f"{line['where']}: {path!r} of {line['id']!r} is not annotated, and the column "
        "proposed is empty in this accepted line. Nobody but a person can say the "
        "value: read the text or ask somebody who does, and write what is true into "
        f"proposed ({_known_words('annotate', path, revision)})."
    )


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


def _is_so(change: Change) -> bool:
    return _same(change.old, change.new)


def _same(old: Any, new: Any) -> bool:
    return old is new or (type(old) is type(new) and old == new)


def _equal(said: str, value: Any) -> bool:
    """Return whether a cell and a value are the same number, such as 4.0 and 4."""
    if isinstance(value, bool | None):
        return False
    try:
        return float(said) == float(value)
    except ValueError:
        return False
