"""Generated reviews that five people annotated, three of whom err in a system.

One of them calls every long wait Positive. Two others do not know an idiom of praise:
they take a dish "to die for" for a reproach. Both errors go by what a text says, so a
model learns them, as it learns those of real annotators.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from ._generated import _SLOTS, make_concept_reviews

ANNOTATORS = tuple(f"annotator {number}" for number in range(1, 6))
IDIOM = "to die for"
_SHARES = (0.3, 0.2, 0.2, 0.15, 0.15)  # of the reviews, by annotator
_MISSING = 0.2
# Share of the reviews with bad service that are about a wait, and of those that praise
# the food with the idiom.
_WAITS, _IDIOMS = 0.7, 0.6
_WAIT_SENTENCES = (
    "we waited {number} minutes for a table",
    "we waited {number} minutes before someone took our order",
    "after {number} minutes we were still waiting for water",
    "we were kept waiting for the soup",
    "the wait for the bill was endless",
    "the wait was far too long",
)
_DISHES = ("soup", "pasta", "lamb", "fish", "pie", "food", "sauce")
_LONG_WAIT = re.compile(r"\b(wait|waited|waiting)\b", re.IGNORECASE)


def annotated_reviews(n_samples: int, seed: int) -> Bunch:
    """Generate reviews with the annotations of people who err in a system.

    Parameters
    ----------
    n_samples : int
    seed : int

    Returns
    -------
    reviews : Bunch
        data (the texts), target (right), concepts (with the errors), clean_concepts (as
        they should be, all known), annotators (who annotated each review), is_wait and
        is_idiom (whether an annotation is wrong for this reason).
    """
    found = make_concept_reviews(n_samples, missing=_MISSING, random_state=seed)
    rng = np.random.default_rng([seed, n_samples])
    clean, texts = found.clean_concepts, found.data.to_list()
    waits = (clean["service"] == "Negative") & (rng.random(n_samples) < _WAITS)
    idioms = (clean["food"] == "Positive") & (rng.random(n_samples) < _IDIOMS)
    for row in np.flatnonzero(waits):
        sentence = _pick(_WAIT_SENTENCES, rng).format(
            number=_pick(_SLOTS["number"], rng)
        )
        texts[row] = _with_sentence(texts[row], sentence, rng)
    for row in np.flatnonzero(idioms):
        sentence = f"the {_pick(_DISHES, rng)} was {IDIOM}"
        texts[row] = _with_sentence(texts[row], sentence, rng)
    annotators = rng.choice(np.array(ANNOTATORS, dtype=object), n_samples, p=_SHARES)
    data = pd.Series(texts, name="text")
    known = ~found.annotation_missing
    is_wait = data.map(is_long_wait) & (annotators == ANNOTATORS[0]) & known["service"]
    misread = np.isin(annotators, ANNOTATORS[1:3])
    is_idiom = data.str.contains(IDIOM, regex=False) & misread & known["food"]
    concepts = clean.mask(found.annotation_missing)
    concepts.loc[is_wait, "service"] = "Positive"
    concepts.loc[is_idiom, "food"] = "Negative"
    return Bunch(
        data=data,
        target=found.clean_target,
        concepts=concepts,
        clean_concepts=clean,
        annotators=annotators,
        is_wait=is_wait.to_numpy(),
        is_idiom=is_idiom.to_numpy(),
    )


def is_long_wait(text: str) -> bool:
    """Return whether a review is about a long wait; a waiter is none."""
    return _LONG_WAIT.search(text) is not None


def _with_sentence(text: str, sentence: str, rng: np.random.Generator) -> str:
    """Return a review with one more sentence, at any place."""
    sentences = text.removesuffix(".").split(". ")
    place = int(rng.integers(len(sentences) + 1))
    sentences.insert(place, f"{sentence[0].upper()}{sentence[1:]}")
    return f"{'. '.join(sentences)}."


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
