"""Numbers whose change is explained, and their derivatives in the scores.

First-order influence needs only the derivative of a target in the scores of the label
head and of the concept heads, at the rows that the target is about. A target can also
be evaluated at other scores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .bottleneck import Bottleneck
from .heads import CategoricalHead, Head
from .sparse import Features

_PLACES = 16  # along a change, where it is differentiated


@dataclass(frozen=True)
class TargetDerivatives:
    """Targets and their derivatives at rows of features.

    Attributes
    ----------
    values : Tensor of shape (n_targets,)
    features : Tensor or SparseFeatures of shape (n_targets, n_features)
    activations : Tensor of shape (n_targets, n_activations)
        The features, perhaps sparse, if there are no concepts.
    label_scores : Tensor of shape (n_targets, n_label_scores)
        Derivative in the label head's scores.
    concept_scores : Tensor of shape (n_targets, n_concept_scores)
        Derivative in the concept heads' scores, including the way through the label
        head.
    """

    values: Tensor
    features: Features
    activations: Features
    label_scores: Tensor
    concept_scores: Tensor


@dataclass(frozen=True)
class LabelTarget:
    """A function of the label logits, one target per row.

    Attributes
    ----------
    kind : {"loss", "log_proba", "logit", "margin", "error"}
        "error" is the probability of all other classes. Wrong labels that are spread
        evenly over all classes change its scale, but not its direction (Ghosh et al.,
        2017, arXiv 1712.09482).
    codes : Tensor of shape (n_targets,), int64
        The class that each target is about.
    """

    kind: str
    codes: Tensor

    def value(
        self,
        bottleneck: Bottleneck,
        label_scores: Tensor,
        concept_scores: Sequence[Tensor],
    ) -> Tensor:
        """Evaluate at scores (..., n_targets, n_scores), giving (..., n_targets).

        There is one tensor of concept scores per concept.
        """
        value, _ = _LABEL_TARGETS[self.kind]
        return value(bottleneck.label, label_scores, self.codes)

    def derivatives(
        self, bottleneck: Bottleneck, features: Features
    ) -> TargetDerivatives:
        """Differentiate at rows of features, (n_targets, n_features)."""
        concept_scores = bottleneck.concept_scores(features)
        activations = bottleneck.activations(features)
        label, scores = bottleneck.label, bottleneck.label_scores(activations)
        value, differentiate = _LABEL_TARGETS[self.kind]
        values = value(label, scores, self.codes)
        derivative = differentiate(label, scores, self.codes)
        through = through_activations(bottleneck, concept_scores, derivative)
        return TargetDerivatives(values, features, activations, derivative, through)


@dataclass(frozen=True)
class ConceptTarget:
    """The probability of a concept's value, or the prediction of a continuous one.

    Attributes
    ----------
    concept : int
        Position of the concept.
    code : int
        Code of the value; not used if the concept is continuous.
    """

    concept: int
    code: int

    def value(
        self,
        bottleneck: Bottleneck,
        label_scores: Tensor,
        concept_scores: Sequence[Tensor],
    ) -> Tensor:
        """Evaluate at scores (..., n_targets, n_scores), giving (..., n_targets).

        There is one tensor of concept scores per concept.
        """
        head = bottleneck.concepts.heads[self.concept]
        return head.value(concept_scores[self.concept], self.code)[0]

    def derivatives(
        self, bottleneck: Bottleneck, features: Features
    ) -> TargetDerivatives:
        """Differentiate at rows of features, (n_targets, n_features)."""
        columns = bottleneck.concepts.scores[self.concept]
        head = bottleneck.concepts.heads[self.concept]
        concept_scores = bottleneck.concept_scores(features)
        derivative = torch.zeros_like(concept_scores)
        value, derivative[:, columns] = head.value(
            concept_scores[:, columns], self.code
        )
        no_label = features.new_zeros(len(features), bottleneck.label.n_scores)
        activations = bottleneck.activations(features)
        return TargetDerivatives(value, features, activations, no_label, derivative)


@dataclass(frozen=True)
class SetTarget:
    """One number of all rows together: Eq. (72) of docs/mathematics.rst.

    Attributes
    ----------
    function : callable
        Maps label probabilities (..., n_rows, n_classes) to numbers (...).
    name : str
        For messages.
    is_differentiable : bool
        Whether autograd can differentiate it.
    """

    function: Callable[[Tensor], Tensor]
    name: str
    is_differentiable: bool = True

    def value(
        self,
        bottleneck: Bottleneck,
        label_scores: Tensor,
        concept_scores: Sequence[Tensor],
    ) -> Tensor:
        """Evaluate at scores (..., n_rows, n_scores), giving (..., 1)."""
        return self.function(bottleneck.label.probabilities(label_scores))[..., None]

    def derivatives(
        self, bottleneck: Bottleneck, features: Features
    ) -> TargetDerivatives:
        """Differentiate at all rows: one value, and derivatives row by row."""
        concept_scores = bottleneck.concept_scores(features)
        activations = bottleneck.activations(features)
        scores = bottleneck.label_scores(activations)
        value, derivative = self.in_scores(bottleneck.label, scores)
        through = through_activations(bottleneck, concept_scores, derivative)
        return TargetDerivatives(
            value[None], features, activations, derivative, through
        )

    def in_scores(self, head: Head, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return the number and its derivative in the label scores of all rows."""
        return self._differentiate(scores, head.probabilities)

    def in_probabilities(self, proba: Tensor) -> tuple[Tensor, Tensor]:
        """Return the number and its derivative in the probabilities of all rows.

        Leading indices are of models: one number for each.
        """
        return self._differentiate(proba, lambda same: same)

    def _differentiate(
        self, at: Tensor, to_probabilities: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        self.check_differentiable("This")
        with torch.enable_grad():
            at = at.detach().clone().requires_grad_()
            value = self.function(to_probabilities(at))
            (derivative,) = torch.autograd.grad(value.sum(), at, materialize_grads=True)
        if not bool(derivative.isfinite().all()):
            raise ValueError(
                f"The derivative of target={self.name} is NaN or infinite at predicted "
                "probabilities; it must be finite. Change the function (torch.sqrt has "
                "none at 0, for example), or use newton or leverage as a method of "
                "influence, which only evaluate it."
            )
        return value.detach(), derivative

    def check_differentiable(self, what: str, instead: str = "") -> None:
        """Refuse what needs derivatives if there are none, and say what does not."""
        if not self.is_differentiable:
            raise ValueError(
                f"{what} needs the derivative of the target, and {self.name} returns "
                "no torch tensor that depends on the predicted probabilities. Write it "
                "with torch and return a tensor (not float(...) or .item())"
                + (f", or use {instead}, which only evaluate it." if instead else ".")
            )

    def contributions(self, before: Tensor, after: Tensor) -> Tensor:
        """Return what each row adds to a change of the number, times how many rows.

        The mean over the rows is the change: Eq. (75) of docs/mathematics.rst. The
        derivative is taken all along the way, because it can change on it: a gap that
        is closed can open on the other side.

        Parameters
        ----------
        before : Tensor of shape (n_rows, n_classes)
            Probabilities.
        after : Tensor of shape (..., n_rows, n_classes)
            Of one model, or of many.

        Returns
        -------
        parts : Tensor of shape (..., n_rows)
        """
        move = after - before
        places = (torch.arange(_PLACES).to(before) + 0.5) / _PLACES
        slopes = [self.in_probabilities(before + t * move)[1] for t in places]
        rows = len(before) * (torch.stack(slopes).mean(dim=0) * move).sum(dim=-1)
        change = self.function(after) - self.function(before)
        return rows + (change - rows.mean(dim=-1))[..., None]


@dataclass(frozen=True)
class LinearTarget:
    """A number of all rows, linear in probabilities: the part of each row.

    Attributes
    ----------
    slopes : Tensor of shape (n_targets, n_classes)
    """

    slopes: Tensor

    def value(
        self,
        bottleneck: Bottleneck,
        label_scores: Tensor,
        concept_scores: Sequence[Tensor],
    ) -> Tensor:
        """Evaluate at scores (..., n_targets, n_scores), giving (..., n_targets)."""
        proba = bottleneck.label.probabilities(label_scores)
        return (proba * self.slopes).sum(dim=-1)

    def derivatives(
        self, bottleneck: Bottleneck, features: Features
    ) -> TargetDerivatives:
        """Differentiate at rows of features, (n_targets, n_features)."""
        total = SetTarget(lambda proba: (proba * self.slopes).sum(), "")
        found = total.derivatives(bottleneck, features)
        return replace(found, values=evaluate(self, bottleneck, features))


Target = LabelTarget | ConceptTarget | SetTarget | LinearTarget


@dataclass(frozen=True)
class Question:
    """Targets, one per row of features, or combinations of them.

    A target of a set is one of all rows of features together, with one answer.

    Attributes
    ----------
    features : Tensor or SparseFeatures of shape (n_targets, n_features)
    target : LabelTarget, ConceptTarget, SetTarget or LinearTarget
    combine : Tensor of shape (n_answers, n_targets) or None
        Combinations of targets to answer. None is each target by itself.
    """

    features: Features
    target: Target
    combine: Tensor | None = None

    @property
    def sums(self) -> Tensor | None:
        """How the derivatives of rows combine to those of answers.

        The derivative of one number of all rows is the sum over the rows.
        """
        if isinstance(self.target, SetTarget):
            like = self.features
            return torch.ones(1, len(like), dtype=like.dtype, device=like.device)
        return self.combine

    @property
    def n_answers(self) -> int:
        """Number of answers."""
        sums = self.sums
        return len(self.features) if sums is None else len(sums)


def evaluate(target: Target, bottleneck: Bottleneck, features: Features) -> Tensor:
    """Evaluate a target with a bottleneck, at its rows of features."""
    label_scores = bottleneck.label_scores(bottleneck.activations(features))
    concept_scores = bottleneck.concepts.split(bottleneck.concept_scores(features))
    return target.value(bottleneck, label_scores, concept_scores)


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


# Values and derivatives take scores (..., n_targets, n_scores) and codes (n_targets,).
# A value has shape (..., n_targets), its derivative in the scores that of the scores.
_Function = Callable[[CategoricalHead, Tensor, Tensor], Tensor]


def _loss(head: CategoricalHead, scores: Tensor, codes: Tensor) -> Tensor:
    return head.loss(scores, codes.expand(scores.shape[:-1]))


def _loss_derivative(head: CategoricalHead, scores: Tensor, codes: Tensor) -> Tensor:
    codes = codes.expand(scores.shape[:-1])
    return head.residual(head.probabilities(scores), codes)


def _log_proba(head: CategoricalHead, scores: Tensor, codes: Tensor) -> Tensor:
    return -_loss(head, scores, codes)


def _log_proba_derivative(
    head: CategoricalHead, scores: Tensor, codes: Tensor
) -> Tensor:
    return -_loss_derivative(head, scores, codes)


def _error(head: CategoricalHead, scores: Tensor, codes: Tensor) -> Tensor:
    return 1 - torch.exp(-_loss(head, scores, codes))


def _error_derivative(head: CategoricalHead, scores: Tensor, codes: Tensor) -> Tensor:
    probability = torch.exp(-_loss(head, scores, codes))
    return probability[..., None] * _loss_derivative(head, scores, codes)


def _logit(head: CategoricalHead, scores: Tensor, codes: Tensor) -> Tensor:
    logits = head.logits(scores)
    own = logits.gather(-1, codes.expand(scores.shape[:-1])[..., None]).squeeze(-1)
    # scikit-learn's decision function of two classes is the whole log-odds.
    return 2 * own if head.n_values == 2 else own


def _logit_derivative(head: CategoricalHead, scores: Tensor, codes: Tensor) -> Tensor:
    jacobian = head.logit_jacobian(head.probabilities(scores))
    own = _of_codes(jacobian, codes)
    return 2 * own if head.n_values == 2 else own


def _margin(head: CategoricalHead, scores: Tensor, codes: Tensor) -> Tensor:
    logits, best, _ = _rivals(head, scores, codes)
    own = codes.expand(logits.shape[:-1])[..., None]
    return logits.gather(-1, own).squeeze(-1) - best


def _margin_derivative(head: CategoricalHead, scores: Tensor, codes: Tensor) -> Tensor:
    _, _, rival = _rivals(head, scores, codes)
    jacobian = head.logit_jacobian(head.probabilities(scores))
    return _of_codes(jacobian, codes) - _of_codes(jacobian, rival)


def _of_codes(jacobian: Tensor, codes: Tensor) -> Tensor:
    """Return the derivatives (..., n_scores) of the logits of some classes."""
    shape = (*jacobian.shape[:-2], 1, jacobian.shape[-1])
    at = codes.expand(jacobian.shape[:-2])[..., None, None].expand(shape)
    return jacobian.gather(-2, at).squeeze(-2)


def _rivals(
    head: CategoricalHead, scores: Tensor, codes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return all logits, the largest of another class, and that class."""
    logits = head.logits(scores)
    own = codes.expand(logits.shape[:-1])[..., None]
    best, rival = logits.scatter(-1, own, -torch.inf).max(dim=-1)
    return logits, best, rival


_LABEL_TARGETS: dict[str, tuple[_Function, _Function]] = {
    "loss": (_loss, _loss_derivative),
    "log_proba": (_log_proba, _log_proba_derivative),
    "logit": (_logit, _logit_derivative),
    "margin": (_margin, _margin_derivative),
    "error": (_error, _error_derivative),
}
