"""A file of prompts, and annotations by people in its words."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from .._annotate.prompts import Prompts, read_with_content
from .._inputs.values import format_value
from ..exceptions import DataFileError
from .rows import Reviews, some_ids

_NAMED = 8  # values in an error


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
