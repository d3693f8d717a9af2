"""Restaurant reviews written by a small grammar, with known concepts and known errors.

Every opinion word serves several aspects ("great", "cold", "slow"), praise is often
negated blame and the reverse, and aspects without an opinion are still mentioned. So a
model has to combine words to find out what is said about what.
"""

from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils import Bunch, check_random_state

from .._inputs.sklearn import Interval, validate_params

_Judgement = tuple[str, bool]  # a concept, and whether it is praised

_CONCEPTS = ("food", "ambiance", "service", "noise")
_VALUES = ("Negative", "Positive", "unknown")

# Chance of each of _VALUES, in the order of _CONCEPTS.
_VALUE_CHANCES = (
    (0.40, 0.40, 0.20),
    (0.30, 0.35, 0.35),
    (0.37, 0.33, 0.30),
    (0.30, 0.25, 0.45),
)

# Stars: 1 + the cut points passed by a weighted sum of -1, +1 and 0, plus noise.
_CONCEPT_WEIGHTS = (2.0, 1.0, 1.5, 0.7)
_STARS_NOISE = 0.35
_CUT_POINTS = (-2.3, -0.75, 0.75, 2.3)

# These fit behind every subject of _SUBJECTS, and behind two joined by "and".
_PRAISE = (
    "great", "good", "lovely", "excellent", "wonderful", "very nice", "just right",
    "hard to fault", "better than expected", "as good as ever", "not bad at all",
    "not slow or dull", "never dull", "far from disappointing", "anything but poor",
    "the best in years", "warm and simple", "not cold or careless", "quite a joy",
    "worth the praise",
)  # fmt: skip
_BLAME = (
    "bad", "poor", "awful", "disappointing", "terrible", "very dull", "just wrong",
    "hard to enjoy", "worse than expected", "as bad as ever", "not great at all",
    "not good or even nice", "never lovely", "far from excellent",
    "anything but wonderful", "the worst in years", "cold and careless",
    "not warm or simple", "quite a shame", "not worth the praise",
)  # fmt: skip

_SUBJECTS = {
    "food": (
        "the food was", "the soup was", "the starters were", "the pasta was",
        "the fish was", "the kitchen was", "the desserts were", "the lamb was",
        "what we ate was", "the plates we shared were",
    ),
    "ambiance": (
        "the room was", "the decor was", "the setting was", "the light was",
        "the furniture was", "the terrace was", "the mood of the place was",
        "the style of the house was", "the air in there was", "the look of it all was",
    ),
    "service": (
        "the service was", "the waiter was", "the waitress was", "the staff were",
        "the welcome was", "our host was", "the people who served us were",
        "the help we got was", "the way we were treated was", "the care they took was",
    ),
    "noise": (
        "the noise level was", "the music was", "the sound in there was",
        "the acoustics were", "the volume of it all was", "the band was",
        "what we heard all night was", "the background music was",
        "the sound of the place was", "the choice of songs was",
    ),
}  # fmt: skip

# What only one aspect can be said to do; the words still overlap between aspects.
_OWN_PRAISE = {
    "food": (
        "every plate came hot and full of taste", "I would order the lamb again",
        "the sauce alone was worth the trip", "not a crumb of the pie was left",
        "the fish came fresh and not dry", "the soup was rich and warm",
        "the lamb fell off the bone", "we still talk about the desserts",
    ),
    "ambiance": (
        "candles and old wood made the room warm", "I could sit there for hours",
        "the light was soft and easy on the eyes", "the garden felt like a holiday",
        "the chairs were soft enough for a long night", "the old walls have charm",
        "the terrace has a view of the whole town", "they chose the colours with care",
    ),
    "service": (
        "the waiter knew the menu by heart", "our glasses were never left empty",
        "nobody rushed us", "a mistake was put right before we could ask",
        "a smile came with every plate", "the bill came fast and without a fuss",
        "they found us a table without a booking", "all our questions were answered",
    ),
    "noise": (
        "we could talk without raising our voices", "it was calm even when full",
        "the music stayed soft and far away", "it was easy to hear each other",
        "no loud table spoiled the night", "it was quiet enough for a long talk",
        "thick carpets take the edge off every sound", "the band played low and well",
    ),
}  # fmt: skip
_OWN_BLAME = {
    "food": (
        "the soup came cold", "half of my plate went back", "the fish was dry",
        "the sauce had no taste left in it", "the pie was tough and too sweet",
        "I could not finish the lamb", "they forgot the salt in the pasta",
        "the desserts came straight from the freezer",
    ),
    "ambiance": (
        "the room felt like a station hall", "the light was cold and hard on the eyes",
        "the chairs hurt before the night was over", "the old walls need paint",
        "we were put next to the door", "the garden was full of smoke",
        "there was dust on the window", "the tables stand far too close together",
    ),
    "service": (
        "we waited an hour for the bill", "the waiter forgot half of the order",
        "nobody looked our way", "we had to ask three times for water",
        "a plate was taken before we could finish", "they rushed us out of the door",
        "our questions got a shrug", "the bill was wrong and nobody said sorry",
    ),
    "noise": (
        "we had to shout across the table", "the music drowned every word",
        "I could not hear my own friends", "it was loud even when half empty",
        "our ears hurt on the way home", "the next table could be heard by all",
        "the band played far too loud to talk",
        "every chair scraped over the stone floor",
    ),
}  # fmt: skip

# Mentions without a judgement; they fit every value of the concept.
_MENTIONS = {
    "food": (
        "I had the fish", "my wife took the soup", "we shared a pie",
        "we ordered the lamb and the pasta", "there are six desserts on the menu",
        "the starters change every month", "the food comes from near by",
    ),
    "ambiance": (
        "our table was by the window", "the room seats about forty",
        "the terrace was closed for the winter", "the decor is new this year",
        "the house has two floors", "they changed the light and the furniture",
    ),
    "service": (
        "a young waiter took our order", "the staff wore black", "we paid at the bar",
        "the waitress was new", "our host speaks four languages",
        "service is added to the bill",
    ),
    "noise": (
        "there was music from the bar", "a band plays there on weekends",
        "there was a birthday at the next table", "the radio was on",
        "there were families talking at every table", "we heard the trains go by",
    ),
}  # fmt: skip

_FILLERS = (
    "we went there {day} with {company}",
    "it was the birthday of {person}",
    "{person} had booked for {number}",
    "we paid {number} a head",
    "parking took {number} minutes",
    "it is {number} minutes from the station",
    "{person} had heard about it from {company}",
    "we live close by and came {day}",
    "the old owner sold it to {person}",
    "I was there {day} for the first time",
    "we had tickets for a show {day}",
)
_SLOTS = {
    "day": (
        "on a Monday", "on a Tuesday", "on a Friday", "on a Sunday", "last week",
        "in May", "in the rain", "after work", "at noon", "late at night",
    ),
    "company": (
        "my parents", "two friends", "the whole office", "our children",
        "an old colleague", "my brother", "a neighbour", "some clients",
    ),
    "person": (
        "my sister", "my husband", "a friend", "my boss", "our daughter", "my uncle",
        "someone we know", "my cousin",
    ),
    "number": ("ten", "twelve", "fifteen", "twenty", "thirty", "forty", "fifty"),
}  # fmt: skip

# Closing remarks by the number of stars; most words are in more than one row.
_VERDICTS = (
    ("never again", "we will not come back", "a night to forget", "stay away"),
    ("I would not come back soon", "we had hoped for more", "not worth the money"),
    ("we may come back or not", "it was fine and no more", "a night like many"),
    ("we will come back soon", "worth the money", "I would send a friend there"),
    ("we will be back again and again", "a night to remember", "do not stay away"),
)


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, 10**9, closed="both")],
        "label_noise": [Interval(Real, 0, 1, closed="both")],
        "annotation_noise": [Interval(Real, 0, 1, closed="both")],
        "missing": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_concept_reviews(
    n_samples: int = 500,
    *,
    label_noise: float = 0.0,
    annotation_noise: float = 0.0,
    missing: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Generate restaurant reviews with known concepts, labels and planted errors.

    Each review has four concepts (food, ambiance, service, noise) with the values
    "Negative", "Positive" and "unknown" (nothing judged), and a label from 1 to 5
    stars: a weighted sum of the concepts, food first, plus a little noise. A grammar
    writes one to five sentences from them; no single word gives a concept away.

    Errors are planted afterwards and reported, so that finding and repairing them can
    be scored. They change neither the texts nor the clean values, and with the same
    `random_state` (and, for annotations, the same `missing`) a larger share keeps the
    errors of a smaller one and adds to them.

    Parameters
    ----------
    n_samples : int, default=500
        Number of reviews.

    label_noise : float, default=0.0
        Share of the labels, from 0 to 1, that are replaced by another label. Each of
        the other four is equally likely.

    annotation_noise : float, default=0.0
        Share of the annotations that are not missing, from 0 to 1, that are replaced
        by one of the two other values.

    missing : float, default=0.0
        Share of all annotations, from 0 to 1, that are set to NaN.

    random_state : int, RandomState instance or None, default=None
        Pass an int for the same reviews at every call. None draws new reviews. Neither
        uses NumPy's global random state.

    Returns
    -------
    reviews : :class:`~sklearn.utils.Bunch`
        Dictionary-like object with these fields:

        data : Series of shape (n_samples,)
            The texts.
        target : Series of shape (n_samples,)
            The labels, integers from 1 to 5, with the planted errors.
        concepts : DataFrame of shape (n_samples, 4)
            The annotations with the planted errors; NaN = not annotated.
        frame : DataFrame of shape (n_samples, 6)
            The columns "text" and "label" and those of `concepts`.
        clean_target : Series of shape (n_samples,)
            The labels without errors.
        clean_concepts : DataFrame of shape (n_samples, 4)
            The concepts without errors, all known.
        label_flipped : Series of bool of shape (n_samples,)
            True where `target` is wrong.
        annotation_flipped : DataFrame of bool of shape (n_samples, 4)
            True where `concepts` is wrong; a missing annotation is not wrong.
        annotation_missing : DataFrame of bool of shape (n_samples, 4)
            True where `concepts` is NaN.

    See Also
    --------
    fetch_cebab : Real reviews with the same four concepts.
    load_reviews : Reviews from a file of your own.

    Examples
    --------
    >>> from skclif.datasets import make_concept_reviews
    >>> reviews = make_concept_reviews(200, label_noise=0.1, random_state=0)
    >>> reviews.concepts.shape
    (200, 4)
    >>> int(reviews.label_flipped.sum())
    20
    """
    n_samples = int(n_samples)  # True is 1, as it is in scikit-learn
    streams = _generator(random_state).spawn(5)
    codes = _draw_codes(n_samples, streams[0])
    stars = _draw_stars(codes, streams[1])
    texts = [_write_review(*row, streams[2]) for row in zip(codes, stars, strict=True)]
    label_flipped = _plant(label_noise, np.ones(n_samples, bool), streams[3])
    is_missing = _plant(missing, np.ones(codes.shape, bool), streams[4])
    annotation_flipped = _plant(annotation_noise, ~is_missing, streams[4])

    target = np.where(label_flipped, 1 + _another(stars - 1, 5, streams[3]), stars)
    annotations = np.where(annotation_flipped, _another(codes, 3, streams[4]), codes)
    data = pd.Series(texts, name="text")
    target = pd.Series(target, name="label")
    concepts = _named(annotations).mask(is_missing)
    return Bunch(
        data=data,
        target=target,
        concepts=concepts,
        frame=pd.concat([data, target, concepts], axis=1),
        clean_target=pd.Series(stars, name="label"),
        clean_concepts=_named(codes),
        label_flipped=pd.Series(label_flipped, name="label_flipped"),
        annotation_flipped=pd.DataFrame(annotation_flipped, columns=[*_CONCEPTS]),
        annotation_missing=pd.DataFrame(is_missing, columns=[*_CONCEPTS]),
    )


make_concept_reviews.__module__ = "skclif.datasets"


def _generator(
    random_state: int | np.random.RandomState | None,
) -> np.random.Generator:
    if random_state is None:  # check_random_state would hand out the global state
        return np.random.default_rng()
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    return np.random.default_rng(seed)


def _draw_codes(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the index into _VALUES of every concept of every review."""
    return np.column_stack(
        [rng.choice(len(_VALUES), size=n_samples, p=p) for p in _VALUE_CHANCES]
    )


def _draw_stars(codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    signs = np.array([-1, 1, 0])[codes]
    score = signs @ _CONCEPT_WEIGHTS + rng.normal(0, _STARS_NOISE, len(codes))
    return np.asarray(1 + np.searchsorted(_CUT_POINTS, score))


def _plant(share: float, allowed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose exactly `share` of the allowed entries; a larger share adds to them."""
    order = rng.permutation(allowed.size)
    order = order[allowed.ravel()[order]]
    chosen = np.zeros(allowed.size, dtype=bool)
    chosen[order[: round(share * len(order))]] = True
    return chosen.reshape(allowed.shape)


def _another(codes: np.ndarray, n_codes: int, rng: np.random.Generator) -> np.ndarray:
    return (codes + rng.integers(1, n_codes, size=codes.shape)) % n_codes


def _named(codes: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(np.array(_VALUES, dtype=object)[codes], columns=[*_CONCEPTS])


def _write_review(codes: np.ndarray, stars: int, rng: np.random.Generator) -> str:
    """Write one to five sentences that say what `codes` hold, in random order."""
    values = dict(zip(_CONCEPTS, (_VALUES[code] for code in codes), strict=True))
    judged = [name for name, value in values.items() if value != "unknown"]
    rng.shuffle(judged)
    sentences = _opinions([(name, values[name] == "Positive") for name in judged], rng)
    if len(sentences) < 2 or rng.random() < 0.5:
        sentences.append(_pick(_MENTIONS[_pick(_CONCEPTS, rng)], rng))
    if len(sentences) < 2 or rng.random() < 0.5:
        sentences.append(_fill(_pick(_FILLERS, rng), rng))
    rng.shuffle(sentences)
    if len(sentences) < 5 and rng.random() < 0.75:
        sentences.append(_pick(_VERDICTS[stars - 1], rng))
    return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences)


def _opinions(judged: list[_Judgement], rng: np.random.Generator) -> list[str]:
    """Write at most three sentences about the (name, praised) pairs in `judged`."""
    sentences = []
    while judged:
        first, *judged = judged
        if judged and (len(judged) > 2 or rng.random() < 0.5):
            second, *judged = judged
            sentences.append(_pair(first, second, rng))
        else:
            sentences.append(_opinion(*first, rng))
    return sentences


def _pair(first: _Judgement, second: _Judgement, rng: np.random.Generator) -> str:
    """Write one sentence about two aspects, at times with one predicate for both."""
    (name, praised), (other, other_praised) = first, second
    if rng.random() < 0.7:
        link = "and" if praised == other_praised else "but"
        return f"{_opinion(*first, rng)} {link} {_opinion(*second, rng)}"
    subject, verb = _pick(_SUBJECTS[name], rng).rsplit(" ", 1)
    rival = _pick(_SUBJECTS[other], rng).rsplit(" ", 1)[0]
    predicate = _pick(_PRAISE if praised else _BLAME, rng)
    if praised == other_praised:
        return f"{subject} and {rival} were {predicate}"
    return f"{subject}, unlike {rival}, {verb} {predicate}"


def _opinion(name: str, praised: bool, rng: np.random.Generator) -> str:
    if rng.random() < 0.6:
        return _pick((_OWN_PRAISE if praised else _OWN_BLAME)[name], rng)
    predicate = _pick(_PRAISE if praised else _BLAME, rng)
    return f"{_pick(_SUBJECTS[name], rng)} {predicate}"


def _fill(template: str, rng: np.random.Generator) -> str:
    return template.format(
        **{slot: _pick(words, rng) for slot, words in _SLOTS.items()}
    )


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
