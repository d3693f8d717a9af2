"""Annotations that prompts make of texts, beside those that people gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
import pandas as pd

from .._annotate.annotator import ConceptAnnotator
from .._annotate.prompts import Prompts
from .._results.words import column_of_concept, how_many, is_or_are
from .prompt_corrections import Correction, about_rows
from .prompt_file import PromptFile
from .rows import FEWEST_ROWS, Reviews

PERSON, PROMPTS = "person", "prompts"
_NAMED = 8  # values in a warning
_BESIDE = ("confidence", "by")  # columns beside that of a concept


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
