"""Whether the `fit` of a classifier uses sample weights, and what to do if not."""

from __future__ import annotations

from typing import Any

from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from .sklearn import BaseSearchCV, _routing_enabled
from .wrapper import AroundEstimatorMixin

_WEIGHTS = "sample_weight"


def check_weighted(model: Any) -> None:
    """Refuse by name a classifier whose `fit` uses no sample weights.

    Parameters
    ----------
    model : classifier
        No pipeline: the final step of one.

    Raises
    ------
    TypeError
        If it takes none, does not hand them on to what is inside, or is made for
        something else than one column of labels.
    """
    name = type(model).__name__
    if isinstance(model, BaseSearchCV):
        raise TypeError(
            f"estimator ends in a search, {name}, which would choose by its score on "
            "rows whose labels may be wrong. Put the search around the reweighter and "
            f"judge on clean rows: {name}(InfluenceReweighter(...), ..., "
            "scoring=make_clean_scorer(...)), with 'estimator__' in front of the names "
            "of parameters."
        )
    if isinstance(model, MultiOutputClassifier):
        raise TypeError(
            f"estimator is a {name}, which predicts several labels, but weights are "
            "learned for one. Put the reweighter inside: "
            f"{name}(InfluenceReweighter(...))."
        )
    if not _takes_weights(model):
        remedy = (
            f"put the reweighter inside: {name}(InfluenceReweighter(...))"
            if hasattr(model, "estimator")
            else "use a classifier that does (LogisticRegression, LinearSVC, "
            "HistGradientBoostingClassifier ...)"
        )
        raise TypeError(
            f"estimator must take sample_weight in fit, but {name} does not; {remedy}."
        )
    if _routing_enabled():
        _check_asked(model)
    else:
        _check_handed_on(model)


def _takes_weights(model: Any) -> bool:
    # The first two take any parameter, and hand it on.
    return isinstance(
        model, VotingClassifier | StackingClassifier
    ) or has_fit_parameter(model, _WEIGHTS)


def _members(model: Any) -> list[tuple[str, Any]]:
    """Return what an ensemble or a wrapper fits with its weights, by name."""
    if isinstance(model, VotingClassifier | StackingClassifier):
        members = [pair for pair in model.estimators if pair[1] != "drop"]
        if isinstance(model, StackingClassifier):
            # The default does not ask for weights.
            final = model.final_estimator or LogisticRegression()
            members.append(("final_estimator", final))
    elif isinstance(model, CalibratedClassifierCV | AroundEstimatorMixin):
        members = [("estimator", model.estimator)]
    else:
        members = []
    # What is frozen is not fitted. None is a default that takes weights, and asks.
    return [
        (name, member)
        for name, member in members
        if member is not None and not isinstance(member, FrozenEstimator)
    ]


def _check_handed_on(model: Any) -> None:
    if isinstance(model, AroundEstimatorMixin):  # knows how to reach into a pipeline
        return
    outer = type(model).__name__
    for name, member in _members(model):
        inner = type(member).__name__
        if isinstance(member, Pipeline):
            raise TypeError(
                f"{outer} cannot hand weights on to {name!r}, a Pipeline. Put the "
                "steps that make features before it: make_pipeline(TfidfVectorizer(), "
                f"{outer}(...))."
            )
        if not _takes_weights(member):
            raise TypeError(
                f"{outer} hands weights on to {name!r}, but {inner} takes no "
                "sample_weight in fit; leave it out, or use a classifier that does."
            )
        _check_handed_on(member)


def _check_asked(model: Any) -> None:
    """Refuse what would not see weights that were learned, with metadata routing."""
    outer = type(model).__name__
    try:
        get_routing_for_object(model)
    except NotImplementedError as error:
        raise TypeError(
            f"{outer} does not work with metadata routing. Turn it off for this fit: "
            "with sklearn.config_context(enable_metadata_routing=False)."
        ) from error
    for name, member in _members(model):
        if not get_routing_for_object(member).consumes("fit", [_WEIGHTS]):
            raise TypeError(
                f"With metadata routing, {outer} hands the learned weights on only to "
                f"what asks for them, and {name!r}, {_described(member)}, does not. "
                "Call set_fit_request(sample_weight=True) on it."
            )


def _described(member: Any) -> str:
    if isinstance(member, Pipeline):
        return f"a Pipeline that ends in {type(member.steps[-1][1]).__name__}"
    return f"a {type(member).__name__}"
