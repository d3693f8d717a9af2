"""Annotations that prompts make of texts, beside those that people gave."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._annotate.annotator import ConceptAnnotator
from .._annotate.prompts import Prompts, read_with_content
from .._inputs.values import format_value
from .._results.words import column_of_concept, how_many, is_or_are
from ..exceptions import DataFileError
from .decision_lines import (
    ACCEPT,
    SKIP,
    Line,
    decision_of,
    read_lines,
    rows_explained,
)
from .decision_rows import Rows
from .decision_values import (
    UNANNOTATED,
    known_words,
    removal_word,
    value_of,
    value_word,
)
from .revisions import CHANGES, Revision
from .rows import FEWEST_ROWS, Reviews, short_hash, some_ids
from .spreadsheets import meant

RECORD, FORMAT_VERSION = "annotations.json", 1  # of skclif annotate
PERSON, PROMPTS = "person", "prompts"
_NAMED = 8
_BESIDE = ("confidence", "by")  # columns beside that of a concept
_DIGITS = 6  # of how sure prompts are, in audits


@dataclass(frozen=True, eq=False)
class PromptFile:
    """A file of prompts.

    Attributes
    ----------
    name : str
    sha256 : str
    concepts : dict
        As `read_prompts` returns them.
    """

    name: str
    sha256: str
    concepts: Prompts

    @classmethod
    def read(cls, path: Path) -> PromptFile:
        """Read a file; errors name the line."""
        concepts, content = read_with_content(path)
        return cls(path.name, hashlib.sha256(content).hexdigest(), concepts)


@dataclass(frozen=True, eq=False)
class Prompted:
    """Annotations of texts, and who made each.

    Attributes
    ----------
    concepts : DataFrame of shape (n_texts, n_concepts)
        Values; None where nobody annotated, and the prompts are not sure.
    guesses : DataFrame
        The most probable values by the prompts, however sure.
    confidence : DataFrame
        The probability of the guesses; NaN where a person annotated.
    by_people : DataFrame of bool
    """

    concepts: pd.DataFrame
    guesses: pd.DataFrame
    confidence: pd.DataFrame
    by_people: pd.DataFrame

    def counts(self) -> dict[str, dict[str, int]]:
        """Return how many texts people and prompts annotated, by concept."""
        known = self.concepts.notna()
        return {
            str(name): {
                "people": int((known[name] & self.by_people[name]).sum()),
                "prompts": int((known[name] & ~self.by_people[name]).sum()),
                "nobody": int((~known[name]).sum()),
            }
            for name in self.concepts
        }

    def values(self, prompts: Prompts) -> dict[str, dict[str, int]]:
        """Return how many texts have each value that prompts know, by concept."""
        return {
            name: {value: int((self.concepts[name] == value).sum()) for value in own}
            for name, own in prompts.items()
        }

    def unsure(self) -> dict[str, float]:
        """Return concepts that no text is annotated with, and the most sure guess."""
        return {
            str(name): float(self.confidence[name].max())
            for name, column in self.concepts.items()
            if column.isna().all()
        }


@dataclass(frozen=True, eq=False)
class Correction:
    """What a person says of one concept of one text.

    Attributes
    ----------
    id, text_hash, path : str
    value : str or None
        None takes the annotation away.
    """

    id: str
    text_hash: str
    path: str
    value: str | None

    def plain(self) -> list[str | None]:
        """Return it as JSON has it."""
        return [self.id, self.text_hash, self.path, self.value]


def with_people(reviews: Reviews, file: PromptFile) -> Reviews:
    """Return reviews with a column for each concept of a file of prompts.

    Annotations that are there are people's, in the words of the file.

    Raises
    ------
    DataFileError
        If people chose a value that the file does not have.
    """
    given, columns = reviews.concepts, {}
    nobody = pd.Series([None] * len(reviews), dtype=object)
    for name, values in file.concepts.items():
        column = given.get(name, nobody)
        words = column.map(format_value, na_action="ignore").astype(object)
        words = words.where(words.notna(), None)
        wrong = (words.notna() & ~words.isin([*values])).to_numpy()
        if wrong.any():
            raise _unknown_values(reviews, file, name, words[wrong], wrong)
        columns[name] = words
    others = {str(n): column for n, column in given.items() if n not in columns}
    return replace(reviews, concepts=pd.DataFrame({**columns, **others}))


def _unknown_values(
    reviews: Reviews, file: PromptFile, name: str, said: pd.Series, wrong: np.ndarray
) -> DataFileError:
    """Return the error about values of people that a file of prompts does not have."""
    values, counts = file.concepts[name], said.value_counts()
    listed = [f"{value!r} ({n:,} ×)" for value, n in counts.head(_NAMED).items()]
    more = f" and {len(counts) - _NAMED} more" if len(counts) > _NAMED else ""
    alike = {value.strip().casefold(): value for value in values}
    first = str(counts.index[0])
    meant = alike.get(first.strip().casefold())
    if meant is not None:
        advice = f"Write {meant!r} for {first!r} in one of the two files."
    else:
        prompts = "with prompts"
        if all(values.values()):  # one value may be what no prompt matches
            prompts = "with prompts, or without"
        advice = (
            f"Add it to --prompts, {prompts}, or correct the annotation; if it means "
            f"that there is none, say --missing {shlex.quote(first)}."
        )
    return DataFileError(
        f"Somebody annotated {name!r} with {', '.join(listed)}{more}, "
        f"{some_ids(reviews, wrong)}. {file.name} has the values "
        f"{', '.join(map(repr, values))}. {advice}"
    )


def annotate(
    reviews: Reviews,
    file: PromptFile,
    embedder: Any,
    confidence: float,
    corrections: Sequence[Correction] = (),
) -> Prompted:
    """Return what prompts and people say of texts.

    Parameters
    ----------
    reviews : Reviews
        As `with_people` returns them; the annotations that are there correct the
        prompts, and stay as they are.
    file : PromptFile
    embedder : SentenceEmbedder
    confidence : float
        The least probability of an annotation.
    corrections : sequence of Correction
        Where one of them takes an annotation away, the prompts make none.
    """
    names = list(file.concepts)
    people = reviews.concepts[names]
    annotator = ConceptAnnotator(file.concepts, embedder=embedder)
    shares = annotator.fit_transform(reviews.texts, concepts=people).to_numpy()
    guesses, sure, start = {}, {}, 0
    for name, values in zip(
        annotator.concept_names_, annotator.concept_classes_, strict=True
    ):
        own = shares[:, start : start + len(values)]
        guesses[name], sure[name] = values[own.argmax(axis=1)], own.max(axis=1)
        start += len(values)
    by_people = people.notna()
    for row, one in about_rows(reviews, corrections):
        if one.value is None:
            by_people.loc[row, one.path] = True
    found, probability = pd.DataFrame(guesses, dtype=object), pd.DataFrame(sure)
    is_sure = ~by_people & (probability >= confidence)
    kept = people.astype(object).where(~is_sure, found)
    kept = kept.where(kept.notna(), None)
    return Prompted(kept, found, probability.mask(by_people), by_people)


def words_on_unsure(found: Prompted, file: PromptFile, confidence: float) -> str | None:
    """Return which concepts no text is annotated with, and what to do; else None."""
    unsure = found.unsure()
    if not unsure:
        return None
    named = [
        f"{name!r}"
        + ("" if np.isnan(most) else f" (the surest text has {_below(most)})")
        for name, most in unsure.items()
    ]
    return (
        f"No text is annotated with {', '.join(named)}: nobody annotated one, and the "
        f"prompts in {file.name} are not sure of any (--min-confidence "
        f"{confidence:g}). Lower it, write clearer prompts, annotate some texts, or "
        "leave the concept out of the file."
    )


def words_on_values(found: Prompted, file: PromptFile) -> str | None:
    """Return which values no text has, of concepts that are annotated; else None."""
    unsure, counts = found.unsure(), found.values(file.concepts)
    gone = [
        f"{value!r} of {name!r}"
        for name, own in counts.items()
        for value, n in own.items()
        if not n and name not in unsure
    ]
    if not gone:
        return None
    more = f" and {len(gone) - _NAMED} more" if len(gone) > _NAMED else ""
    return (
        f"No text has the value {', '.join(gone[:_NAMED])}{more}, so that no model can "
        "learn it. Write clearer prompts, lower --min-confidence, annotate some texts, "
        "or leave the value out of the file."
    )


def words_on_few(reviews: Reviews) -> str | None:
    """Return that too few different texts are compared; None if there are enough."""
    n = len(set(reviews.digests))
    if n >= FEWEST_ROWS:
        return None
    return (
        f"There {is_or_are(n)} only {how_many(n, 'different text')}. What a text says "
        "is compared with what is usual among all of them: with fewer than "
        f"{FEWEST_ROWS}, annotations by prompts are rough. Give more texts."
    )


# --- What people correct --------------------------------------------------------------


@dataclass(frozen=True)
class _Values:
    """What lines of decisions ask of a model: which values there are."""

    concept_names_in_: Sequence[str]
    concept_classes_: Sequence[np.ndarray]


def read_corrections(
    path: Path, reviews: Reviews, file: PromptFile, encoding: str = "utf-8"
) -> tuple[list[Correction], int, int]:
    """Return what people say of annotations in a file of decisions.

    Lines may come from `skclif annotate`, from the lists of an audit, from its page, or
    from finished tasks. Of an accepted line the proposed value is true, and of a
    rejected one the current value, or none. What the machine said is not compared with
    the line: a person read the text.

    Returns
    -------
    corrections : list of Correction
    n_others : int
        Number of accepted lines that are about something else, such as labels.
    n_unsaid : int
        Number of lines with a value that somebody wrote in, and without a decision.

    Raises
    ------
    DataFileError
        If a line cannot be read, or its row, text or value is not there, or two lines
        differ.
    """
    values = [np.array([*own], dtype=object) for own in file.concepts.values()]
    revision: Any = Revision(_Values([*file.concepts], values), reviews)  # type: ignore[arg-type]
    rows = Rows(revision, {})
    n_others = n_unsaid = 0
    accepted: dict[tuple[str, str], Correction] = {}
    rejected: dict[tuple[str, str], Correction] = {}
    with rows_explained():
        for line in read_lines(path, _encoding(path, encoding)):
            decision = decision_of(line)
            if decision in SKIP:
                n_unsaid += not decision and _is_written_in(line)
                continue
            is_accepted = decision in ACCEPT
            if line["kind"] not in CHANGES:
                raise DataFileError(
                    f"{line['where']}: the kind {line['kind']!r} is none of "
                    f"{', '.join(CHANGES)}."
                )
            if line["kind"] != "annotate":
                n_others += is_accepted
                continue
            if not is_accepted:
                if line["path"] not in file.concepts:
                    continue  # of an audit with other concepts, too
                line = {**line, "proposed": _kept(line, revision)}
            new = _correction(line, rows, file)
            found = accepted if is_accepted else rejected
            if found.setdefault((new.id, new.path), new).value != new.value:
                kind = "accepted" if is_accepted else "rejected"
                raise DataFileError(
                    f"{line['where']}: two {kind} lines give {new.path!r} of "
                    f"{new.id!r} different values. Decide one of the two."
                )
    return list((rejected | accepted).values()), n_others, n_unsaid


def _encoding(path: Path, encoding: str) -> str:
    """Return the encoding of a list: that of skclif, or what a spreadsheet saved."""
    if not path.is_file():
        return encoding
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError:
        return encoding
    return "utf-8"


def _is_written_in(line: Line) -> bool:
    """Return whether a list left the value of a line to a person, who wrote one in."""
    is_asked = line["kind"] == "annotate" and (line.get("guess") or not line["current"])
    return bool(is_asked and line["proposed"] not in ("", line["current"]))


def _kept(line: Line, revision: Revision) -> str:
    """Return how a line would propose the value that a rejected line keeps."""
    if not line["current"]:
        return removal_word(line["path"], revision)
    return value_word(line["current"], line["path"], revision)


def _correction(line: Line, rows: Rows, file: PromptFile) -> Correction:
    """Return what a line says of an annotation."""
    line = rows.by_text(rows.named(line))
    if line["id"] not in rows.positions:
        raise DataFileError(
            f"{line['where']}: there is no row {line['id']!r}, and none with this "
            "text. Give the file and the --id that this list was made with."
        )
    if meant(line["path"], [*file.concepts]) is None:
        raise DataFileError(
            f"{line['where']}: {file.name} has no concept {line['path']!r}. It has "
            f"{', '.join(map(repr, file.concepts))}."
        )
    digest, kind, name, _ = rows.target(line)
    if not line["proposed"]:
        guess = line.get("guess")
        hint = f" The guess, {guess!r}, is not taken by itself." if guess else ""
        raise DataFileError(
            f"{line['where']}: the column proposed is empty, in an accepted line for "
            f"{name!r}. Write what is true into it "
            f"({known_words(kind, name, rows.revision)}).{hint}"
        )
    _refuse_unknown(line, name, file)
    value = value_of(line, kind, name, rows.revision)
    return Correction(line["id"], short_hash(digest), name, value)


def _refuse_unknown(line: Line, name: str, file: PromptFile) -> None:
    """Refuse a value that a file of prompts does not have."""
    said, values = line["proposed"], [*file.concepts[name]]
    is_removal = said.casefold().removeprefix("remove:") == UNANNOTATED
    is_value = said.casefold() == f"value:{UNANNOTATED}"
    if is_removal or is_value or meant(said, values) is not None:
        return
    close = {one.casefold(): one for one in values}.get(said.casefold())
    hint = "" if close is None else f" Did you mean {close!r}?"
    raise DataFileError(
        f"{line['where']}: the value {said!r} of {name!r} is not known: {file.name} "
        f"has {', '.join(map(repr, values))}.{hint} {UNANNOTATED!r} takes an "
        "annotation away."
    )


def read_record(path: Path) -> list[Correction]:
    """Return what people corrected, as `skclif annotate` keeps it in its folder.

    Raises
    ------
    DataFileError
        If the file is not of this kind.
    """
    try:
        record = json.loads(path.read_bytes())
        version = record["format_version"]
        found = [Correction(*one) for one in record["corrections"]]
    except (ValueError, LookupError, TypeError) as error:
        raise DataFileError(
            f"{path} is not the file that skclif annotate wrote ({error}). Restore it, "
            "or delete it: then only corrections that are given again count."
        ) from error
    if version != FORMAT_VERSION:
        raise DataFileError(
            f"{path} has format version {version!r}, and this skclif reads "
            f"{FORMAT_VERSION}. Name another --out."
        )
    return found


def placed(
    reviews: Reviews, file: PromptFile, corrections: Sequence[Correction]
) -> tuple[list[Correction], int]:
    """Return corrections of every text that they are about, and how many fit nothing.

    A correction belongs to a text: it is found by its hash if the row has another name
    now, and other rows with the same text have it too, unless people said something of
    their own there.

    Parameters
    ----------
    reviews : Reviews
        As `with_people` returns them.
    file : PromptFile
    corrections : sequence of Correction
        Of two about the same, the later counts.
    """
    rows_of: dict[str, list[int]] = {}
    for row, digest in enumerate(reviews.hashes()):
        rows_of.setdefault(digest, []).append(row)
    of_copies: dict[tuple[int, str], Correction] = {}
    own: dict[tuple[int, str], Correction] = {}
    n_left = 0
    for one in corrections:
        values = file.concepts.get(one.path, {})
        rows = rows_of.get(one.text_hash, [])
        if not rows or not values or not (one.value is None or one.value in values):
            n_left += 1
            continue
        given = reviews.concepts[one.path]
        named = [row for row in rows if reviews.ids[row] == one.id]
        for row in rows:
            if row in named:
                own[row, one.path] = one
            elif len(rows) == 1 or given.iloc[row] is None:
                of_copies[row, one.path] = replace(one, id=str(reviews.ids[row]))
    return list((of_copies | own).values()), n_left


def corrected(reviews: Reviews, corrections: Sequence[Correction]) -> Reviews:
    """Return reviews with what people said of their concepts."""
    concepts = reviews.concepts.copy()
    for row, one in about_rows(reviews, corrections):
        concepts.loc[row, one.path] = one.value
    return replace(reviews, concepts=concepts)


def about_rows(
    reviews: Reviews, corrections: Sequence[Correction]
) -> list[tuple[int, Correction]]:
    """Return corrections of texts and concepts that are there, with their rows."""
    positions, hashes = reviews.positions(), reviews.hashes()
    places = [positions.get(one.id) for one in corrections]
    return [
        (place, one)
        for place, one in zip(places, corrections, strict=True)
        if place is not None
        and hashes[place] == one.text_hash
        and one.path in reviews.concepts
    ]


# --- In audits ------------------------------------------------------------------------


def described(
    file: PromptFile,
    confidence: float,
    reviews: Reviews,
    found: Prompted,
    corrections: Sequence[Correction],
) -> dict[str, Any]:
    """Return what an audit keeps of annotations by prompts, as plain data."""
    return {
        "file": file.name,
        "sha256": file.sha256,
        "confidence": confidence,
        "concepts": file.concepts,
        "counts": found.counts(),
        # The others are the machine's, and a replay takes them from the folder.
        "by_people": {
            str(name): [str(i) for i in reviews.ids[is_own.to_numpy()]]
            for name, is_own in found.by_people.items()
        },
        "guesses": _guesses(reviews, found),
        "corrections": [one.plain() for one in corrections],
    }


def _guesses(reviews: Reviews, found: Prompted) -> dict[str, dict[str, list[Any]]]:
    """Return what prompts say where no person did, and how sure they are, by id."""
    return {
        str(name): {
            i: [guess, round(float(sure), _DIGITS)]
            for i, guess, sure, is_own in zip(
                *(reviews.ids, found.guesses[name], found.confidence[name]),
                found.by_people[name],
                strict=True,
            )
            if not is_own
        }
        for name in found.concepts
    }


def remembered(prompts: Mapping[str, Any], rows: Reviews) -> Prompted | None:
    """Return annotations of an audit and who made them; None if it is an older one.

    Parameters
    ----------
    prompts : dict
        What the audit keeps of them.
    rows : Reviews
        The rows to train on, as they are now.
    """
    if "guesses" not in prompts:
        return None
    names, guesses = list(prompts["guesses"]), prompts["guesses"]
    said = {name: [guesses[name].get(i) for i in rows.ids] for name in names}
    return Prompted(
        rows.concepts[names],
        _table({n: [None if x is None else x[0] for x in said[n]] for n in names}),
        pd.DataFrame(
            {n: [np.nan if x is None else x[1] for x in said[n]] for n in names}
        ),
        pd.DataFrame({n: [x is None for x in said[n]] for n in names}),
    )


def _table(columns: dict[str, list[Any]]) -> pd.DataFrame:
    return pd.DataFrame(columns, dtype=object)


def without(prompts: Mapping[str, Any], ids: Sequence[str]) -> dict[str, Any]:
    """Return what an audit keeps of annotations, without that of some rows."""
    gone = set(ids)
    by_people = {
        name: [i for i in own if i not in gone]
        for name, own in prompts["by_people"].items()
    }
    corrections = [one for one in prompts["corrections"] if one[0] not in gone]
    left = {**prompts, "by_people": by_people, "corrections": corrections}
    if "guesses" in prompts:  # which older audits lack
        left["guesses"] = {
            name: {i: said for i, said in own.items() if i not in gone}
            for name, own in prompts["guesses"].items()
        }
    return left


def recorded(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the trail says of annotations by prompts; nothing without any."""
    prompts = about.get("prompts")
    if prompts is None:
        return {}
    names = ("file", "sha256", "confidence", "counts")
    return {"prompts": {name: prompts[name] for name in names}}


def prompted_concepts(about: Mapping[str, Any]) -> list[str]:
    """Return the concepts of an audit that prompts annotated."""
    return list((about.get("prompts") or {"concepts": ()})["concepts"])


def prompt_notes(about: Mapping[str, Any]) -> list[str]:
    """Return a warning if a machine made annotations of an audit; else nothing."""
    prompts = about.get("prompts")
    if prompts is None:
        return []
    return [
        f"A machine made annotations of the training texts: {made_by(prompts)}. No "
        "annotation of a held-out text is the machine's."
    ]


def made_by(prompts: Mapping[str, Any]) -> str:
    """Return in words who annotated what, from which file."""
    counts = [*prompts["counts"].items()]
    parts = [
        f"{name} {n['prompts']:,}"
        + (f" and people {n['people']:,}" * (n["people"] > 0))
        for name, n in counts[:_NAMED]
    ]
    if len(counts) > _NAMED:
        parts.append(f"and {how_many(len(counts) - _NAMED, 'more concept')}")
    total = sum(next(iter(prompts["counts"].values())).values())
    return (
        f"from the prompts in {prompts['file']} (SHA-256 {prompts['sha256'][:12]}…), "
        f"where it was at least {100 * prompts['confidence']:g}% sure. Of "
        f"{how_many(total, 'text')}: {', '.join(parts)}"
    )


def as_remembered(
    read: Reviews, remembered: Reviews, prompts: Mapping[str, Any]
) -> Reviews:
    """Return rows that were read again, with the annotations that prompts once made.

    What people annotated comes from the file, and from the corrections on record. The
    rest depends on the texts as vectors do, and comes from the folder.
    """
    file = PromptFile(prompts["file"], prompts["sha256"], prompts["concepts"])
    read = with_people(read, file)
    read = corrected(read, [Correction(*one) for one in prompts["corrections"]])
    concepts, known = read.concepts.copy(), remembered.positions()
    places = [known.get(i) for i in read.ids]
    for name, people in prompts["by_people"].items():
        machine = set(remembered.ids) - set(people)
        for row, (i, place) in enumerate(zip(read.ids, places, strict=True)):
            if place is not None and i in machine and concepts.loc[row, name] is None:
                concepts.loc[row, name] = remembered.concepts.loc[place, name]
    return replace(read, concepts=concepts[list(remembered.concepts)])


# --- Files ----------------------------------------------------------------------------


def annotations_table(
    reviews: Reviews, found: Prompted, parts: np.ndarray | None = None
) -> pd.DataFrame:
    """Return a line for each text: values, how sure of them, and who says so.

    `parts` says of each text whether it is held out, if that is known.
    """
    known = reviews.known()
    table = known[[n for n in ("id", "text_hash", "text") if n in known]]
    columns: dict[str, Any] = {str(name): table[name] for name in table}
    if parts is not None:
        columns["part"] = parts
    taken = [*columns]
    taken += [f"{what}:{name}" for name in found.concepts for what in _BESIDE]
    for name, values in found.concepts.items():
        own = column_of_concept(str(name), taken)
        columns[own] = values
        columns[f"confidence:{own}"] = found.confidence[name]
        who = np.where(values.notna(), PROMPTS, "")
        columns[f"by:{own}"] = np.where(found.by_people[name], PERSON, who)
    return pd.DataFrame(columns)


def _below(share: float) -> str:
    """Return a share in two digits, not rounded up to what it does not reach."""
    return f"{floor(share * 100) / 100:.2f}"
