"""The words of texts with their shares of a logit, where these are exact.

A mean over tokens is a sum over words, and what is linear in it is one too. Eqs. (61)
and (62) of docs/mathematics.rst.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler

from .._inputs.values import plain_value, value_code
from .._models.fitted import FittedHeads
from .._results.word_evidence import WordEvidence
from .._text.embedder import SentenceEmbedder
from .._text.finetune import ConceptEncoder
from .._text.texts import as_texts
from .suspects import LABEL

# Steps that are linear but for a constant.
_AFFINE = (StandardScaler, RobustScaler, PCA, TruncatedSVD)
_LOG_ODDS = "log-odds"


@dataclass(frozen=True)
class WordReader:
    """What a pipeline does to texts before its last step: vectors, then a linear map.

    Attributes
    ----------
    embedder : SentenceEmbedder
    steps : list of transformers
        Fitted, and linear but for a constant.
    """

    embedder: SentenceEmbedder
    steps: list[Any]

    @classmethod
    def of(cls, estimator: Any, needed_for: str) -> WordReader:
        """Return the reader of a pipeline.

        Raises
        ------
        TypeError
            If it has other steps.
        """
        embedder, *steps = _leading_steps(estimator) or [None]
        if not isinstance(embedder, SentenceEmbedder):
            raise TypeError(
                f"{needed_for} needs a pipeline that begins with a SentenceEmbedder, "
                f"whose vectors are sums over words; {_what_instead(embedder)}"
            )
        for step in steps:
            if not isinstance(step, _AFFINE):
                known = ", ".join(kind.__name__ for kind in _AFFINE)
                raise TypeError(
                    f"After the SentenceEmbedder, {needed_for} knows steps with "
                    f"which words keep their shares: {known}. The pipeline has a "
                    f"{type(step).__name__}; leave it out."
                )
        return cls(embedder, steps)

    def linear_map(self, n_values: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what the steps multiply vectors by, and what they add."""
        points = np.vstack([np.zeros(n_values), np.eye(n_values)])
        with warnings.catch_warnings():
            # They may have been fitted to a table.
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            for step in self.steps:
                points = np.asarray(step.transform(points))
        return points[1:] - points[0], points[0]

    def split(
        self, text: str, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float, float | None]:
        """Split what is linear in the features of a text by its words.

        Parameters
        ----------
        text : str
        weights : ndarray of shape (n_features,)
            Of the features before the last step.

        Returns
        -------
        spans : ndarray of shape (n_words, 2)
        parts : ndarray of shape (n_words,)
        constant : float
            What the steps add.
        special : float or None
            The part of the special tokens; None if they are no part of the vector.
        """
        ((_, words, _),) = self.embedder._words([text])
        matrix, offset = self.linear_map(len(words.rest))
        along = matrix @ weights
        parts = words.vectors @ along
        special = float(words.rest @ along) if words.rest.any() else None
        return words.spans, parts, float(offset @ weights), special


@dataclass(frozen=True)
class Direction:
    """What a logit is along features, near one text.

    Attributes
    ----------
    value : object
        What the logit is about.
    weights : ndarray of shape (n_features,)
    bias : float
    score : float
        The logit of the model.
    """

    value: Any
    weights: np.ndarray
    bias: float
    score: float


# From the features of one text, (n_features,).
Asked = Callable[[np.ndarray], Direction]
# From all logits to the value that is asked about, and the weights of the logits.
Choose = Callable[[np.ndarray], tuple[int, np.ndarray]]


@dataclass(frozen=True)
class Split:
    """A logit of one text, split by its words; as in :class:`WordEvidence`."""

    spans: np.ndarray
    shares: np.ndarray
    special: float
    bias: float
    direction: Direction
    limit: int | None


def split_by_words(
    reader: WordReader, texts: Sequence[str], asked: Sequence[Sequence[Asked]]
) -> list[list[Split]]:
    """Return the logits of texts, split by words, each text being read once."""
    found: list[list[Split]] = [[] for _ in texts]
    matrix = offset = None
    for row, words, limit in reader.embedder._words(texts):
        if matrix is None or offset is None:
            matrix, offset = reader.linear_map(len(words.rest))
        features = words.vector @ matrix + offset
        for one in asked[row]:
            direction = one(features)
            weights = matrix @ direction.weights
            found[row].append(
                Split(
                    words.spans,
                    words.vectors @ weights,
                    float(words.rest @ weights),
                    direction.bias + float(offset @ direction.weights),
                    direction,
                    limit,
                )
            )
    return found


def find_evidence(
    reader: WordReader, heads: FittedHeads, X: Any, concept: Any, value: Any, rival: Any
) -> WordEvidence:
    """Return the words of texts with their shares of a logit."""
    asked, unit, against, linearised = question(heads, concept, value, rival)
    texts = as_texts(X)
    found = [one for (one,) in split_by_words(reader, texts, [[asked]] * len(texts))]
    values = np.empty(len(found), dtype=object)
    values[:] = [one.direction.value for one in found]
    return WordEvidence(
        concept=str(concept),
        unit=unit,
        against=against,
        texts=tuple(texts),
        values=values,
        spans=tuple(one.spans for one in found),
        shares=tuple(one.shares for one in found),
        special=np.array([one.special for one in found], dtype=float),
        bias=np.array([one.bias for one in found], dtype=float),
        scores=np.array([one.direction.score for one in found], dtype=float),
        read=np.array(
            [
                len(text) if one.limit is None else one.spans[-1, 1]
                for text, one in zip(texts, found, strict=True)
            ],
            dtype=int,
        ),
        linearised=linearised,
    )


# --- What is asked --------------------------------------------------------------------


def question(
    heads: FittedHeads, concept: Any, value: Any, rival: Any
) -> tuple[Asked, str, str, bool]:
    """Return the logit that is asked for, its unit, and whether it is linearised."""
    if rival is not None and value is None:
        raise ValueError(
            f"against={rival!r} needs value=: log-odds are of one value against "
            "another."
        )
    if not isinstance(concept, str) or concept not in (LABEL, *heads.names):
        known = ", ".join(map(repr, [LABEL, *heads.names]))
        raise ValueError(f"concept={concept!r} is not known; use one of {known}.")
    if concept == LABEL:
        return _label_question(heads, value, rival)
    j = heads.names.index(concept)
    coef, intercept = heads.concept_coef[j], heads.concept_intercept[j]
    values = heads.values[j]
    if values is None:
        if value is not None:
            raise ValueError(
                f"value={value!r} is for concepts with values, and {concept!r} is a "
                "number; leave it out."
            )
        asked = _linear(coef[0], float(intercept[0]))
        return asked, f"units of {concept}", "", False
    if len(values) == 1:
        raise ValueError(
            f"concept={concept!r} has one value, {values.tolist()[0]!r}, whatever the "
            "text says, so no word has a share."
        )
    return *_categorical(coef, intercept, values, value, rival, concept), False


def _linear(weights: np.ndarray, bias: float) -> Asked:
    return lambda x: Direction(None, weights, bias, float(weights @ x + bias))


def _categorical(
    coef: np.ndarray,
    intercept: np.ndarray,
    values: np.ndarray,
    value: Any,
    rival: Any,
    concept: str,
) -> tuple[Asked, str, str]:
    """Return a logit that is linear in the features."""
    choose, against = _choice(values, value, rival, concept)
    asked = _exact(_logits(coef), _logits(intercept), values, choose)
    return asked, _LOG_ODDS, against


def _exact(
    coef: np.ndarray, intercept: np.ndarray, values: np.ndarray, choose: Choose
) -> Asked:
    """Return a logit of logits that are linear in the features."""

    def asked(x: np.ndarray) -> Direction:
        code, contrast = choose(coef @ x + intercept)
        weights, bias = contrast @ coef, float(contrast @ intercept)
        return Direction(
            plain_value(values[code]), weights, bias, float(weights @ x + bias)
        )

    return asked


def _logits(weights: np.ndarray) -> np.ndarray:
    """Return what the logits of all values are made of, centred over the values."""
    if len(weights) == 1:
        return np.concatenate([-weights / 2, weights / 2])
    centred: np.ndarray = weights - weights.mean(axis=0)
    return centred


def _choice(
    values: np.ndarray, value: Any, rival: Any, concept: str
) -> tuple[Choose, str]:
    """Return how logits become one, and what it is against."""
    given = None if value is None else _code(values, value, concept, "value")
    other = None if rival is None else _code(values, rival, concept, "against")
    if given is not None and given == other:
        raise ValueError(
            f"against={rival!r} is the value itself; name another one of "
            f"{values.tolist()}, or leave it out."
        )

    def choose(logits: np.ndarray) -> tuple[int, np.ndarray]:
        code = int(logits.argmax()) if given is None else given
        contrast = np.zeros(len(values))
        contrast[code] = 1.0
        if len(values) == 2:
            contrast[1 - code] = -1.0
        elif other is not None:
            contrast[other] = -1.0
        return code, contrast

    if len(values) == 2:
        return choose, "the other value"
    return choose, "the average value" if other is None else str(values[other])


def _code(values: np.ndarray, value: Any, concept: str, argument: str) -> int:
    code = value_code(values, value)
    if code is None:
        raise ValueError(
            f"{argument}={value!r} is no value of {concept!r}; known values: "
            f"{values.tolist()}."
        )
    return int(code)


# --- The label ------------------------------------------------------------------------


def _label_question(
    heads: FittedHeads, value: Any, rival: Any
) -> tuple[Asked, str, str, bool]:
    values = heads.classes
    if heads.rules.is_latent(len(values)):
        choose, against, values = _threshold(heads, value, rival)
        coef = np.repeat(heads.coef, len(values), axis=0)
        logits = coef, heads.intercept
        past = heads.residual_coef
        past = None if past is None else np.repeat(past, len(values), axis=0)
    else:
        choose, against = _choice(values, value, rival, LABEL)
        logits = _logits(heads.coef), _logits(heads.intercept)
        past = heads.residual_coef
        past = None if past is None else _logits(past)
    bottleneck = heads.tensors()
    stack = bottleneck.concepts
    if not stack:
        return _exact(*logits, values, choose), _LOG_ODDS, against, False
    is_curved = _is_curved(heads)
    parameters = bottleneck.concept_parameters.numpy()

    def linearised(x: np.ndarray) -> Direction:
        features = torch.from_numpy(np.ascontiguousarray(x))[None]
        scores = bottleneck.concept_scores(features)
        activations = stack.predict_activations(scores)[0].numpy()
        of_classes = logits[0] @ activations + logits[1]
        if past is not None:
            of_classes = of_classes + past @ x
        code, contrast = choose(of_classes)
        of_activations = contrast @ logits[0]
        of_scores = np.concatenate(
            [
                of_activations[own] @ head.activation_jacobian(part)[0].numpy()
                for head, part, own in zip(
                    stack.heads, stack.split(scores), stack.activations, strict=True
                )
            ]
        )
        weights = of_scores @ parameters[:, :-1]
        if past is not None:
            weights = weights + contrast @ past
        score = float(contrast @ of_classes)
        return Direction(
            plain_value(values[code]), weights, score - float(weights @ x), score
        )

    return linearised, _LOG_ODDS, against, is_curved


def _is_curved(heads: FittedHeads) -> bool:
    """Return whether activations are no linear function of the features.

    Raises
    ------
    ValueError
        If they do not move with the features at all.
    """
    categorical = [v for v in heads.values if v is not None and len(v) > 1]
    if categorical and heads.activation == "hard":
        raise ValueError(
            "With bottleneck='hard', the label sees the most probable value of each "
            "concept alone, which no single word moves, so no word has a share of the "
            "label. Ask for a concept, or use bottleneck='soft' or 'logit'."
        )
    return bool(categorical) and heads.activation == "soft"


def _threshold(
    heads: FittedHeads, value: Any, rival: Any
) -> tuple[Choose, str, np.ndarray]:
    """Return which threshold is asked for, as `contributions` chooses it."""
    order = list(heads.rules.order or heads.classes.tolist())
    if rival is not None:
        raise ValueError(
            f"against={rival!r} is for labels without thresholds: with "
            "label_head='ordinal', a score is that of a label above `value`, against "
            "all others."
        )
    given = None
    if value is not None:
        if value not in order[:-1]:
            raise ValueError(
                f"value={value!r} is no label with another one above it; with "
                f"label_head='ordinal', use one of {order[:-1]}."
            )
        given = order.index(value)

    def choose(scores: np.ndarray) -> tuple[int, np.ndarray]:
        likely = max(int((scores > 0).sum()) - 1, 0)
        code = likely if given is None else given
        return code, np.eye(len(order) - 1)[code]

    names = np.array([f"above {label}" for label in order[:-1]], dtype=object)
    return choose, "the labels up to it", names


# --- Steps of pipelines ---------------------------------------------------------------


def exact_reader(estimator: Any) -> WordReader | None:
    """Return the reader of a pipeline whose vectors are sums over words, or None.

    An embedder alone is a pipeline that somebody keeps in two parts.
    """
    is_alone = isinstance(estimator, SentenceEmbedder)
    steps = [estimator] if is_alone else _leading_steps(estimator)
    embedder, *steps = steps or [None]
    if not isinstance(embedder, SentenceEmbedder) or embedder._why_no_words():
        return None
    if not all(isinstance(step, _AFFINE) for step in steps):
        return None
    return WordReader(embedder, steps)


def begins_with_embedder(estimator: Any) -> bool:
    """Return whether texts become vectors by a SentenceEmbedder first."""
    return isinstance((_leading_steps(estimator) or [None])[0], SentenceEmbedder)


def _leading_steps(estimator: Any) -> list[Any]:
    """Return all steps but the last, out of nested and frozen pipelines."""
    return _flat(estimator)[:-1]


def _flat(step: Any) -> list[Any]:
    if step is None or isinstance(step, str):  # "passthrough"
        return []
    if isinstance(step, FrozenEstimator):
        return _flat(step.estimator)
    if isinstance(step, Pipeline):
        return [one for _, part in step.steps for one in _flat(part)]
    return [step]


def _what_instead(step: Any) -> str:
    if step is None:
        return "the estimator reads features. Put a SentenceEmbedder before it."
    name = type(step).__name__
    if isinstance(step, CountVectorizer | HashingVectorizer):
        return (
            f"it begins with a {name}, whose features are words already: multiply "
            "them by the coefficients of the last step, and for training rows see "
            "influence(...).words(row)."
        )
    if isinstance(step, ConceptEncoder):
        return (
            f"it begins with a {name}, whose vectors are not split by words. Its "
            "`save_encoder` writes a folder that a SentenceEmbedder reads; fit that to "
            "other texts than those that the encoder has learned from."
        )
    return (
        f"it begins with a {name}. `contributions` of the last step says what each "
        "concept adds to the label, for any features."
    )
