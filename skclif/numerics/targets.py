"""Scalars whose change is explained, and their derivatives in the scores.

A target enters influence only through its derivative with respect to the scores of the
label head and the scores of the concept heads, at the rows that it is about.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .bottleneck import Bottleneck


@dataclass(frozen=True)
class TargetDerivatives:
    """Targets and their derivatives at rows of features.

    Attributes
    ----------
    values : Tensor of shape (n_targets,)
    features : Tensor of shape (n_targets, n_features)
    activations : Tensor of shape (n_targets, n_activations)
    label_scores : Tensor of shape (n_targets, n_label_scores)
        Derivative in the label head's scores.
    concept_scores : Tensor of shape (n_targets, n_concept_scores)
        Derivative in the concept heads' scores, the way through the label head
        included.
    """

    values: Tensor
    features: Tensor
    activations: Tensor
    label_scores: Tensor
    concept_scores: Tensor


def label_target(
    bottleneck: Bottleneck, features: Tensor, codes: Tensor, kind: str
) -> TargetDerivatives:
    """Differentiate a function of the label logits, one target a row.

    Parameters
    ----------
    bottleneck : Bottleneck
    features : Tensor of shape (n_targets, n_features)
    codes : Tensor of shape (n_targets,), int64
        The class each target is about.
    kind : {"loss", "log_proba", "logit", "margin"}
    """
    concept_scores = bottleneck.concept_scores(features)
    activations = bottleneck.activations(features)
    scores = bottleneck.label_scores(activations)
    values, derivative = _LABEL_TARGETS[kind](bottleneck, scores, codes)
    through = through_activations(bottleneck, concept_scores, derivative)
    return TargetDerivatives(values, features, activations, derivative, through)


def concept_target(
    bottleneck: Bottleneck, features: Tensor, concept: int, code: int
) -> TargetDerivatives:
    """Differentiate the probability of one concept value, one target a row.

    Of a continuous concept it is the prediction, whatever the code.
    """
    columns = bottleneck.concepts.scores[concept]
    concept_scores = bottleneck.concept_scores(features)
    activations = bottleneck.activations(features)
    derivative = torch.zeros_like(concept_scores)
    value, derivative[:, columns] = bottleneck.concepts.heads[concept].value(
        concept_scores[:, columns], code
    )
    no_label = features.new_zeros(len(features), bottleneck.label.n_scores)
    return TargetDerivatives(value, features, activations, no_label, derivative)


def through_activations(
    bottleneck: Bottleneck, concept_scores: Tensor, derivative: Tensor
) -> Tensor:
    """Pull a derivative in the label scores back to the concept scores, row by row."""
    stack = bottleneck.concepts
    result = torch.zeros_like(concept_scores)
    if not stack:
        return result
    in_activations = derivative @ bottleneck.label_parameters[:, :-1]
    for head, columns, positions in zip(
        stack.heads, stack.scores, stack.activations, strict=True
    ):
        jacobian = head.activation_jacobian(concept_scores[:, columns])
        part = in_activations[:, None, positions] @ jacobian
        result[:, columns] = part.squeeze(1)
    return result


def _loss(
    bottleneck: Bottleneck, scores: Tensor, codes: Tensor
) -> tuple[Tensor, Tensor]:
    head = bottleneck.label
    residual = head.residual(head.probabilities(scores), codes)
    return head.loss(scores, codes), residual


def _log_proba(
    bottleneck: Bottleneck, scores: Tensor, codes: Tensor
) -> tuple[Tensor, Tensor]:
    loss, derivative = _loss(bottleneck, scores, codes)
    return -loss, -derivative


def _logit(
    bottleneck: Bottleneck, scores: Tensor, codes: Tensor
) -> tuple[Tensor, Tensor]:
    contrasts = bottleneck.label.contrasts(scores)
    if bottleneck.label.n_values == 2:
        # scikit-learn's decision function of two classes is the whole log-odds.
        contrasts = 2 * contrasts
    logits = scores @ contrasts
    return logits.gather(1, codes[:, None]).squeeze(1), contrasts.T[codes]


def _margin(
    bottleneck: Bottleneck, scores: Tensor, codes: Tensor
) -> tuple[Tensor, Tensor]:
    contrasts = bottleneck.label.contrasts(scores)
    logits = scores @ contrasts
    own = logits.gather(1, codes[:, None]).squeeze(1)
    best, rival = logits.scatter(1, codes[:, None], -torch.inf).max(dim=1)
    return own - best, contrasts.T[codes] - contrasts.T[rival]


_LABEL_TARGETS = {
    "loss": _loss,
    "log_proba": _log_proba,
    "logit": _logit,
    "margin": _margin,
}
