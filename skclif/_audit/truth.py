"""What is right where errors were planted, so that the lists can be marked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from .._inputs.values import format_value
from .rows import Reviews

_VALUES = ("relabel", "annotate")  # kinds of changes that propose a value


@dataclass(frozen=True)
class Truth:
    """The right values of training rows, where the given ones are wrong or missing.

    Attributes
    ----------
    values : dict of str to dict of str to object
        By id and path ("label" or the name of a concept). What is not here was right
        when the rows were read.
    """

    values: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, about: dict[str, Any]) -> Truth | None:
        """Return what is known of audited rows; None if no errors were planted."""
        values = about.get("truth")
        return None if values is None else cls(values)

    @classmethod
    def between(cls, given: Reviews, right: Reviews) -> Truth:
        """Return the truth about rows from the same rows without errors or gaps."""
        values: dict[str, dict[str, Any]] = {}
        pairs = {"label": (given.labels.tolist(), right.labels.tolist())}
        for name in given.concepts:
            pairs[name] = (given.concepts[name].tolist(), right.concepts[name].tolist())
        for path, columns in pairs.items():
            for i, said, true in zip(given.ids, *columns, strict=True):
                if said != true:
                    values.setdefault(i, {})[path] = true
        return cls(values)

    def right(self, i: str, path: str, current: Any) -> Any:
        """Return the right value of a row, given the one that it has."""
        return self.values.get(i, {}).get(path, current)

    def is_wrong(self, i: str, path: str, current: Any) -> bool:
        """Return whether a value is there and wrong."""
        return not pd.isna(current) and self.right(i, path, current) != current

    def wrong(self, training: pd.DataFrame) -> list[tuple[str, str, Any, Any]]:
        """Return id, path, given and right value of everything that is still wrong.

        Parameters
        ----------
        training : DataFrame
            The present rows, as `Audit.training` has them.
        """
        is_known = training["id"].isin(list(self.values))
        return [
            (line["id"], path, given, true)
            for line in training[is_known].to_dict("records")
            for path, true in self.values[line["id"]].items()
            for given in [line["label" if path == "label" else f"annotated:{path}"]]
            if self.is_wrong(line["id"], path, given)
        ]

    def errors(self, training: pd.DataFrame) -> dict[str, str]:
        """Return in words what is still wrong, by id."""
        found: dict[str, list[str]] = {}
        for i, path, given, true in self.wrong(training):
            said = f"{path} {format_value(given)} instead of {format_value(true)}"
            found.setdefault(i, []).append(said)
        return {i: ", ".join(parts) for i, parts in found.items()}

    def judged(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a line for every line of a list that proposes a value.

        Returns
        -------
        judged : DataFrame
            Columns: is_wrong (the present value), is_true (the proposed value, or the
            guess where the present one is missing).
        """
        table = table[table["kind"].isin(_VALUES)]
        columns = [table[name] for name in ("id", "path", "current", "proposed")]
        columns.append(table["guess"] if "guess" in table else table["proposed"])
        lines = [
            (
                self.is_wrong(i, path, current),
                self.right(i, path, current)
                == (guess if pd.isna(current) else proposed),
            )
            for i, path, current, proposed, guess in zip(*columns, strict=True)
        ]
        judged = pd.DataFrame(lines, table.index, ["is_wrong", "is_true"])
        return judged.astype(bool)

    def mended(self, rows: Reviews) -> Reviews:
        """Return rows without their errors; what is missing stays missing."""
        labels, concepts = rows.labels.copy(), rows.concepts.copy()
        for row, i in enumerate(rows.ids):
            labels[row] = self.right(i, "label", labels[row])
        for name, column in concepts.items():
            mended = [
                None if pd.isna(value) else self.right(i, str(name), value)
                for i, value in zip(rows.ids, column, strict=True)
            ]
            concepts[name] = pd.Series(mended, dtype=object)
        return replace(rows, labels=labels, concepts=concepts)


def mark(truth: Truth | None, line: dict[str, Any], errors: dict[str, str]) -> str:
    """Return what is known of a line of a list, in words; "" if nothing is.

    Parameters
    ----------
    truth : Truth or None
    line : dict
        With kind, id, path, current and proposed; guess where one is missing.
    errors : dict of str to str
        What is wrong in words, by id.
    """
    if truth is None:
        return ""
    i, current = line["id"], line["current"]
    if line["kind"] not in _VALUES:
        said = errors.get(i)
        return "nothing was planted in this row" if said is None else f"planted: {said}"
    true = truth.right(i, line["path"], current)
    if pd.isna(true):  # missing, and nothing is known of it
        return ""
    if true == current:
        return "right as it is"
    if pd.isna(current):
        guessed = "right" if true == line["guess"] else "wrong"
        return (
            f"missing; the true value is {format_value(true)}, the guess is {guessed}"
        )
    if true == line["proposed"]:
        return "really wrong, and the proposed value is the true one"
    return f"really wrong, but the true value is {format_value(true)}"
