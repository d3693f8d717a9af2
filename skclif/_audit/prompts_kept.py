"""What an audit keeps of annotations by prompts, and what it says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from .._results.words import how_many
from .prompt_corrections import Correction, corrected
from .prompt_file import PromptFile, with_people
from .prompted import Prompted
from .rows import Reviews

_NAMED = 8  # concepts in a warning
_DIGITS = 6  # of how sure prompts are


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
