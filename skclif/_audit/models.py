"""The models of an audit: the audited one, and those that it is compared with."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator

from .._explain.explainer import ConceptInfluenceExplainer
from .._inputs.pipelines import final_step
from .._models.bottleneck import ConceptBottleneckClassifier
from ..exceptions import (
    ConstantConceptWarning,
    InfluenceWarning,
    InterventionWarning,
    ManyValuesWarning,
    PenaltyWarning,
    SuspectWarning,
)
from .corrections import GoldModel, spreads_of
from .option_names import in_options
from .rows import Reviews

_ABOUT_NUMBERS = (
    ConvergenceWarning,
    InfluenceWarning,
    InterventionWarning,
    PenaltyWarning,
    SuspectWarning,
)


@dataclass(frozen=True, eq=False, repr=False)
class Models:
    """The audited model with its explainer, and the black box to compare with.

    Attributes
    ----------
    explainer : ConceptInfluenceExplainer
        Fitted.
    black_box : ConceptBottleneckClassifier or None
        Fitted without concepts; None if the audited model has none either.
    gold : GoldModel or None
        Fitted to annotations alone; None if there are none.
    spreads : dict of str to float
        Standard deviation of the annotations of every concept of amounts.
    warnings : tuple of str
        About heads that did not converge, and Hessians that are nearly singular.
    """

    explainer: ConceptInfluenceExplainer
    black_box: ConceptBottleneckClassifier | None
    gold: GoldModel | None
    spreads: dict[str, float]
    warnings: tuple[str, ...]

    @property
    def model(self) -> ConceptBottleneckClassifier:
        """The audited model itself."""
        model: ConceptBottleneckClassifier = final_step(self.explainer.estimator_)
        return model


def fit_models(
    train: Reviews,
    model: ConceptBottleneckClassifier | None = None,
    *,
    training: str = "mixed",
    concept_C: float = 1.0,
    residual_C: float | None = None,
    concept_kinds: dict[str, str] | None = None,
    method: str = "auto",
    device: str = "cpu",
    verbose: int = 0,
    **options: Any,
) -> Models:
    """Fit the concept bottleneck to audit, and the black box to compare it with.

    Parameters
    ----------
    train : Reviews
        Rows that `check_parts` accepted, with features.
    model : ConceptBottleneckClassifier, default=None
        Already fitted to these rows, to be audited as it is.
    training, concept_C, residual_C, concept_kinds, device, **options
        Of :class:`ConceptBottleneckClassifier`; `options` are the black box's too.
    method : {"auto", "newton", "leverage", "first_order"}
        Of :class:`ConceptInfluenceExplainer`.
    verbose : int, default=0
        Whether all of them show progress.
    """
    options |= {"device": device, "verbose": verbose}
    audited = ConceptBottleneckClassifier(
        training=training,
        concept_C=concept_C,
        residual_C=residual_C,
        concept_kinds=concept_kinds,
        **options,
    )
    if model is not None:
        audited = FrozenEstimator(model)
    explainer = ConceptInfluenceExplainer(
        audited, method=method, device=device, verbose=verbose
    )
    black_box = gold = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for said in (ManyValuesWarning, ConstantConceptWarning):
            warnings.simplefilter("ignore", said)  # the checks have said it
        data = train.features, train.labels, train.weights
        if train.concepts.shape[1]:
            explainer.fit(*data, concepts=train.concepts)
            with warnings_of("The black box"):
                black_box = ConceptBottleneckClassifier(**options).fit(*data)
            with warnings_of("The model of gold concepts"):
                gold = GoldModel.fit(train, options.get("C", 1.0), concept_kinds)
        else:
            explainer.fit(*data)
    spreads = spreads_of(final_step(explainer.estimator_), train)
    return Models(explainer, black_box, gold, spreads, messages(caught))


@contextmanager
def warnings_of(model: str) -> Iterator[None]:
    """Put the name of a model before warnings about its numbers."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        message: Warning | str = warning.message
        if issubclass(warning.category, _ABOUT_NUMBERS):
            message = f"{model}: {message}"
        warnings.warn_explicit(
            message, warning.category, warning.filename, warning.lineno
        )


def messages(caught: list[warnings.WarningMessage]) -> tuple[str, ...]:
    """Return warnings about the numbers as `in_options`; issue all others again."""
    kept = []
    for warning in caught:
        if issubclass(warning.category, _ABOUT_NUMBERS):
            kept.append(in_options(str(warning.message)))
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    return tuple(kept)
