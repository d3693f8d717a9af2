"""The fitted heads of a model: all that influence, edits and files need to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight

from .._inputs.annotations import Annotations
from .._inputs.schema import ConceptSchema
from .._inputs.soft import Coded, Shares
from .._inputs.training_rows import TrainingRows, as_tensor
from .._inputs.values import value_code
from ..numerics.bottleneck import Bottleneck
from ..numerics.heads import ConstantHead, Head, HeadStack, RidgeHead, SoftmaxHead
from ..numerics.heads import Shares as TensorShares
from ..numerics.sparse import Matrix
from .label_heads import LabelRules
from .options import is_joint

# For a LogisticRegression, whose own tolerance is not for the gradient of the sum.
_TOL, _MAX_ITER = 1e-8, 100


class Penalties(TypedDict):
    """Penalties of the label head and of the concept heads."""

    penalty: float
    concept_penalties: torch.Tensor


@dataclass(frozen=True, eq=False)
class FittedHeads:
    """Fitted parameters of both stages, and how they were fitted.

    A :class:`~sklearn.linear_model.LogisticRegression` is a bottleneck without
    concepts.

    Attributes
    ----------
    schema : ConceptSchema
        Names and values of the concepts.
    classes : ndarray of shape (n_classes,)
    coef : ndarray of shape (n_classes, n_activations) or (1, n_activations)
        In scikit-learn's layout, like the next three.
    intercept : ndarray of shape (n_classes,), (n_classes - 1,) or (1,)
    concept_coef, concept_intercept : tuple of ndarray
    n_features : int
    C : float
    concept_C : ndarray of shape (n_concepts,)
    class_weight : ndarray of shape (n_classes,)
        1 for a LogisticRegression, whose own class weights depend on the rows.
    activation : {"soft", "logit", "hard"}
    intervention_prob : float
        Share of every row's weight with which the label head was trained on true
        annotations.
    residual_coef : ndarray of shape (n_classes, n_features) or (1, n_features), or None
        What the residual multiplies features by; None without a residual.
    residual_C : float or None
    concept_weight : float or None
        Weight of the concepts' losses, if both stages were trained together.
    label_intercept : bool
        Whether the label head has an intercept.
    tol : float
    max_iter : int
    rules : LabelRules
        Which label head it is.
    held : mapping of str to float
        Concepts whose weights in the label head stay as they are, each with the factor
        between these weights and those of the fit.
    """

    schema: ConceptSchema
    classes: np.ndarray
    coef: np.ndarray
    intercept: np.ndarray
    concept_coef: tuple[np.ndarray, ...]
    concept_intercept: tuple[np.ndarray, ...]
    n_features: int
    C: float
    concept_C: np.ndarray
    class_weight: np.ndarray
    activation: str = "soft"
    intervention_prob: float = 0.0
    residual_coef: np.ndarray | None = None
    residual_C: float | None = None
    concept_weight: float | None = None
    label_intercept: bool = True
    tol: float = _TOL
    max_iter: int = _MAX_ITER
    rules: LabelRules = LabelRules()
    held: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Any) -> FittedHeads:
        """Return the heads of a fitted bottleneck or LogisticRegression."""
        if isinstance(model, LogisticRegression):
            coef = np.asarray(model.coef_, dtype=np.float64)
            intercept = np.broadcast_to(model.intercept_, len(coef))
            C = np.inf if model.penalty is None else model.C
            return cls(
                ConceptSchema(),
                model.classes_,
                coef,
                intercept.astype(np.float64),
                (),
                (),
                model.n_features_in_,
                C,
                np.empty(0),
                np.ones(len(model.classes_)),
                label_intercept=model.fit_intercept,
            )
        schema = ConceptSchema(
            tuple(model.concept_names_in_),
            tuple(model.concept_classes_),
            model._concepts_as_frame,
        )
        return cls(
            schema,
            model.classes_,
            model.coef_,
            model.intercept_,
            tuple(model.concept_coef_),
            tuple(model.concept_intercept_),
            model.n_features_in_,
            model.C_,
            model.concept_C_,
            model.class_weight_,
            intervention_prob=model.intervention_prob_,
            residual_coef=model.residual_coef_,
            residual_C=model.residual_C_,
            concept_weight=model.concept_weight_,
            rules=LabelRules.of(model),
            held=model.held_concepts_,
            **_settings(model),
        )

    @classmethod
    def solved(
        cls,
        model: Any,
        bottleneck: Bottleneck,
        schema: ConceptSchema,
        classes: np.ndarray,
        class_weight: np.ndarray,
        C: float,
        concept_C: np.ndarray,
        rules: LabelRules,
    ) -> FittedHeads:
        """Return the heads of a bottleneck that is being fitted."""
        none = np.empty(0)
        nothing = (none,) * len(schema.names)
        n_features = bottleneck.concept_parameters.shape[1] - 1
        return cls(
            schema,
            classes,
            none,
            none,
            nothing,
            nothing,
            n_features,
            C,
            concept_C,
            class_weight,
            intervention_prob=bottleneck.intervention_prob,
            residual_C=model.residual_C,
            concept_weight=model.concept_weight if is_joint(model, schema) else None,
            rules=rules,
            **_settings(model),
        ).with_parameters(bottleneck)

    @property
    def names(self) -> list[str]:
        """Names of the concepts."""
        return [str(name) for name in self.schema.names]

    @property
    def values(self) -> list[np.ndarray | None]:
        """Sorted values of each concept; None for a continuous concept."""
        return list(self.schema.classes)

    @property
    def n_concepts(self) -> int:
        """Number of concepts."""
        return len(self.schema.names)

    @property
    def is_joint(self) -> bool:
        """Whether there are two stages that were trained together."""
        return self.concept_weight is not None and self.n_concepts > 0

    @property
    def penalties(self) -> Penalties:
        """Penalties of the label head and of the concept heads, by argument."""
        return {
            "penalty": 1 / self.C,
            "concept_penalties": torch.from_numpy(1 / self.concept_C),
        }

    def tensors(
        self, device: torch.device | None = None, shares: Shares | None = None
    ) -> Bottleneck:
        """Return the parameters as the numerics use them.

        Parameters
        ----------
        device : torch.device, default=None
        shares : Shares, default=None
            What codes of soft annotations stand for, in rows that are used with it.
        """
        stack = HeadStack(concept_heads(self.schema, self.activation, shares, device))
        label = self.rules.head(
            self.classes, self.schema, intercept=self.label_intercept
        )
        label = label.holding(self._held_columns(stack))
        concepts = [
            head.from_logit_weights(_join_bias(coef, intercept))
            for head, coef, intercept in zip(
                stack.heads, self.concept_coef, self.concept_intercept, strict=True
            )
        ]
        nothing = torch.empty(0, self.n_features + 1, dtype=torch.float64)
        bottleneck = Bottleneck(
            stack,
            label,
            torch.cat([nothing, *concepts]).to(device),
            nothing,
            intervention_prob=self.intervention_prob,
        ).scaled(self.residual_C, self.C)
        coef = self.coef
        if bottleneck.residual_scale is not None and self.residual_coef is not None:
            # Divided as `with_parameters` multiplies.
            coef = np.hstack([coef, self.residual_coef / bottleneck.residual_scale])
        # The scores of an ordinal head share the weights.
        coef = np.broadcast_to(coef, (len(self.intercept), coef.shape[1]))
        parameters = label.from_logit_weights(_join_bias(coef, self.intercept))
        return replace(bottleneck, label_parameters=parameters.to(device))

    def encode(
        self,
        X: Matrix,
        y: np.ndarray,
        sample_weight: np.ndarray,
        annotations: Annotations | None,
    ) -> TrainingRows:
        """Return checked rows, coded as this model codes.

        A row of weight 0 may have a label that the model does not know.
        """
        shape = (len(X), self.n_concepts)
        coded, weights = Coded(np.full(shape, np.nan), {}), np.ones(shape)
        if annotations is not None:
            coded = self.schema.encode(annotations, sample_weight, of_fit=True)
            weights = self.schema.arrange(annotations)
        labels, counted = np.full(len(y), -1), sample_weight > 0
        labels[counted] = np.searchsorted(self.classes, y[counted])
        for row in np.flatnonzero(~counted):
            code = value_code(self.classes, y[row])
            labels[row] = -1 if code is None else code
        return TrainingRows(
            X,
            labels,
            sample_weight,
            coded.codes,
            weights,
            self.class_weight,
            coded.shares,
        )

    def with_parameters(
        self,
        bottleneck: Bottleneck,
        kept: Sequence[bool] | None = None,
        dropped: Sequence[int] = (),
    ) -> FittedHeads:
        """Return heads with other parameters.

        Parameters
        ----------
        bottleneck : Bottleneck
            Parameters of the concepts that remain.
        kept : sequence of bool, default=None
            Whether each of their heads, and last the label head, keeps its parameters
            to the last digit. None means that no head does.
        dropped : sequence of int
            Positions of the concepts that are removed.
        """
        left = [j for j in range(self.n_concepts) if j not in dropped]
        kept = [False] * (len(left) + 1) if kept is None else kept
        stack = bottleneck.concepts
        pairs = [
            (self.concept_coef[j], self.concept_intercept[j])
            if kept[i]
            else _split_bias(head.to_logit_weights(bottleneck.concept_parameters[rows]))
            for i, (j, head, rows) in enumerate(
                zip(left, stack.heads, stack.scores, strict=True)
            )
        ]
        coef, intercept, residual = self.coef, self.intercept, self.residual_coef
        if not kept[-1]:
            weights = bottleneck.label.to_logit_weights(bottleneck.label_parameters)
            coef, intercept = _split_bias(weights)
            if self.rules.is_latent(len(self.classes)):
                coef = coef[:1]
            if bottleneck.residual_scale is not None:
                residual = bottleneck.residual_scale * coef[:, stack.n_activations :]
                coef = coef[:, : stack.n_activations].copy()
            for i, j in enumerate(left):  # to the last digit
                if self.names[j] in self.held:
                    coef[:, stack.activations[i]] = self._own_weights(j)
        schema = replace(
            self.schema,
            names=tuple(self.schema.names[j] for j in left),
            classes=tuple(self.schema.classes[j] for j in left),
        )
        return replace(
            self,
            schema=schema,
            rules=self.rules.without_gone(self.classes, schema),
            held={n: f for n, f in self.held.items() if n in schema.names},
            coef=coef,
            intercept=intercept,
            residual_coef=residual,
            concept_coef=tuple(coef for coef, _ in pairs),
            concept_intercept=tuple(intercept for _, intercept in pairs),
            concept_C=self.concept_C[left],
        )

    def hold(self, weights: Mapping[int, float | None]) -> FittedHeads:
        """Return heads whose label head has other weights of concepts, and holds them.

        Parameters
        ----------
        weights : mapping of int to (float or None)
            Factors by the position of the concept. None holds its weights no longer.
        """
        coef, held = self.coef.copy(), dict(self.held)
        activations = HeadStack(concept_heads(self.schema, self.activation)).activations
        for j, factor in weights.items():
            before = held.pop(self.names[j], 1.0)
            if factor is not None:
                coef[:, activations[j]] *= factor
                held[self.names[j]] = factor * before
        in_order = {name: held[name] for name in self.names if name in held}
        return replace(self, coef=coef, held=in_order)

    def _own_weights(self, j: int) -> np.ndarray:
        """Return the label head's weights of one concept."""
        stack = HeadStack(concept_heads(self.schema, self.activation))
        return self.coef[:, stack.activations[j]]

    def _held_columns(self, stack: HeadStack) -> tuple[int, ...]:
        """Return the activations of the concepts whose weights are held."""
        return tuple(
            column
            for name, columns in zip(self.names, stack.activations, strict=True)
            if name in self.held
            for column in range(columns.start, columns.stop)
        )

    def store(self, model: Any, n_iter: int) -> None:
        """Set the fitted attributes of a model to these heads."""
        model.classes_ = self.classes
        model.coef_, model.intercept_ = self.coef, self.intercept
        if isinstance(model, LogisticRegression):
            model.n_iter_ = np.array([n_iter], dtype=np.int32)
            return
        model.class_weight_, model.n_iter_ = self.class_weight, n_iter
        model.C_, model.concept_C_ = self.C, self.concept_C
        model.intervention_prob_ = self.intervention_prob
        model.residual_coef_, model.residual_C_ = self.residual_coef, self.residual_C
        model.concept_weight_ = self.concept_weight
        order = self.rules.order
        model.label_order_ = None
        if order is not None:
            ranked = [self.classes.tolist().index(label) for label in order]
            model.label_order_ = self.classes[ranked]
        model.monotonic_cst_ = dict(self.rules.monotone)
        model.held_concepts_ = dict(self.held)
        model.concept_names_in_ = np.asarray(self.schema.names, dtype=object)
        model.concept_classes_ = list(self.schema.classes)
        model.n_concepts_ = self.n_concepts
        model.concept_coef_ = list(self.concept_coef)
        model.concept_intercept_ = list(self.concept_intercept)
        model._concepts_as_frame = self.schema.as_frame

    def copy_to(self, model: Any, n_iter: int) -> Any:
        """Return a copy of a fitted model that has these heads."""
        new = copy(model)
        for parameter in ("concept_kinds", "concept_C"):
            given = getattr(model, parameter, None)
            if isinstance(given, dict):  # only those of concepts that remain
                left = {n: value for n, value in given.items() if n in self.names}
                setattr(new, parameter, left)
        if getattr(model, "label_order", None) is not None and self.rules.order:
            new.label_order = list(self.rules.order)
        if getattr(model, "monotonic_cst", None) is not None:
            new.monotonic_cst = dict(self.rules.monotone)
        self.store(new, n_iter)
        return new


def _settings(model: Any) -> dict[str, Any]:
    """Return the settings with which a bottleneck is fitted."""
    return {
        "activation": model.bottleneck,
        "tol": model.tol,
        "max_iter": model.max_iter,
    }


def concept_heads(
    schema: ConceptSchema,
    activation: str,
    shares: Shares | None = None,
    device: torch.device | None = None,
) -> list[Head]:
    """Return a head for every concept, which knows what soft codes stand for."""
    tables = {
        n_values: TensorShares.of(as_tensor(table).to(device))
        for n_values, table in ({} if shares is None else shares).items()
    }
    return [_concept_head(values, activation, tables) for values in schema.classes]


def _concept_head(
    values: np.ndarray | None, activation: str, tables: dict[int, TensorShares]
) -> Head:
    if values is None:
        return RidgeHead()
    if len(values) == 1:
        return ConstantHead()
    return SoftmaxHead(len(values), activation, shares=tables.get(len(values)))


def class_weights(
    class_weight: Any, classes: np.ndarray, y: np.ndarray, sample_weight: np.ndarray
) -> np.ndarray:
    """Return the weights of classes, (n_classes,), as scikit-learn computes them.

    Rows of weight 0 count as removed. A class that has only such rows gets weight 1.
    """
    if class_weight != "balanced":
        weights: np.ndarray = compute_class_weight(class_weight, classes=classes, y=y)
        return weights
    counted = sample_weight > 0
    present = np.isin(classes, y[counted])
    weights = np.ones(len(classes))
    weights[present] = compute_class_weight(
        "balanced",
        classes=classes[present],
        y=y[counted],
        sample_weight=sample_weight[counted],
    )
    return weights


def _split_bias(weights: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    array = weights.cpu().numpy()
    return array[:, :-1].copy(), array[:, -1].copy()


def _join_bias(coef: np.ndarray, intercept: np.ndarray) -> torch.Tensor:
    joined = np.column_stack([coef, intercept])
    return as_tensor(np.ascontiguousarray(joined, dtype=np.float64))
