"""An explainer of training rows that lie on a cluster."""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn, cast

import numpy as np
import torch
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from .._cluster.collections import active_client, is_frame
from .._cluster.passes import RemoteData
from .._inputs.collections import described, is_collection
from .._inputs.pipelines import final_step, fit_leading, is_frozen
from .._models.bottleneck import ConceptBottleneckClassifier
from .._models.fitting import fit_rows
from .._models.linear import check_explainable
from .._models.on_cluster import read_on_cluster
from ..numerics.blocks import sum_rows
from ..numerics.bottleneck import Bottleneck, add_activations
from .solved import Solved

_WHAT = "A fit to Dask collections"


def fit_on_cluster(
    explainer: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    concepts: Any,
    concept_sample_weight: Any,
) -> None:
    """Fit an explainer where its training rows lie.

    Raises
    ------
    TypeError
        If the estimator, or a step of it, takes rows in this process alone.
    ValueError
        If its influence is computed for rows in this process alone.
    """
    check_explainable(explainer.estimator, concepts)
    _refuse_estimator(explainer.estimator)
    client = active_client(_WHAT)
    estimator = clone(explainer.estimator)
    metadata = {"concepts": concepts, "sample_weight": sample_weight}
    features = fit_leading(estimator, X, y, **metadata)
    if not is_collection(features):
        raise TypeError(
            f"The steps before the classifier make {described(features)} of "
            f"{described(X)}, and the rows are to stay on the cluster. Use steps that "
            "return Dask collections, such as SentenceEmbedder."
        )
    features = client.persist(features)  # texts are embedded once
    model = final_step(estimator)
    read = read_on_cluster(
        model, features, y, sample_weight, concepts, concept_sample_weight
    )
    fit_rows(model, read)
    data = cast(RemoteData, read.data)
    explainer.estimator_ = estimator
    heads = explainer._heads()
    if heads.rules.monotone:
        raise ValueError(
            "Influence on a model with monotonic_cst depends on single rows at the "
            "bounds, which have to be in this process. Leave monotonic_cst=None, or "
            "fit the explainer to rows in this process."
        )
    explainer._dtype = _dtype_of(features)
    explainer.classes_ = heads.classes
    explainer.concept_names_in_ = np.asarray(heads.names, dtype=object)
    explainer.n_samples_ = len(data)
    explainer._orders, explainer._declared, explainer._aside = {}, {}, {}
    explainer._index, explainer._at_optimum = None, True
    solved = Solved.of_remote(heads, data, getattr(torch, explainer._dtype))
    explainer.mean_activations_ = _mean_activations(solved.bottleneck, data)
    explainer._solved = solved


class RowsElsewhere:
    """In the place of training rows that are not in this process: says so."""

    def __get__(self, explainer: Any, kind: type | None = None) -> Any:
        """Refuse what needs the rows; an attribute of the explainer comes first."""
        if explainer is None:
            return self
        refuse_rows_elsewhere()


class RowsElsewhereError(ValueError, AttributeError):
    """Rows are on a cluster; `dir` and completion skip attributes that raise it."""


def refuse_rows_elsewhere(*_: Any) -> NoReturn:
    """Refuse what needs training rows that are on a cluster, whatever is asked.

    Raises
    ------
    ValueError
    """
    raise RowsElsewhereError(
        "This explainer was fitted to rows on a cluster. It has influence (to first "
        "order), predict_proba and transform, as long as the process and the cluster "
        "that fitted it; all else needs the training rows in this process. Fit it to "
        "them, or to a part of them, as arrays or pandas objects."
    )


def _refuse_estimator(estimator: Any) -> None:
    if is_frozen(estimator):
        raise TypeError(
            "estimator is frozen, and on a cluster an explainer fits its estimator "
            "itself. Pass it without FrozenEstimator; the fitted one is then "
            "explainer.estimator_."
        )
    model = final_step(estimator)
    if not isinstance(model, ConceptBottleneckClassifier):
        raise TypeError(
            f"estimator ends in {type(model).__name__}, which scikit-learn fits to "
            "rows in this process. Use ConceptBottleneckClassifier(); without concepts "
            "it is the same model."
        )
    steps = estimator.steps[:-1] if isinstance(estimator, Pipeline) else []
    for name, step in steps:
        if type(step).__module__.partition(".")[0] == "sklearn":
            raise TypeError(
                f"The step {name!r} of the pipeline, {type(step).__name__}, takes no "
                "Dask collections. Apply it to X before, for example by "
                "X.map_blocks(...), or use SentenceEmbedder."
            )


def _dtype_of(features: Any) -> str:
    types = set(features.dtypes) if is_frame(features) else {features.dtype}
    return "float32" if types == {np.dtype(np.float32)} else "float64"


def _mean_activations(bottleneck: Bottleneck, data: Any) -> np.ndarray:
    """Return the mean of activations in training, weighted by the rows."""
    zeros = torch.zeros(bottleneck.n_label_inputs, dtype=torch.float64)
    add = partial(add_activations, bottleneck)
    sums = sum_rows(add, zeros, data.with_sample_weight())
    means = (sums[:-1] / sums[-1]).numpy()
    n_activations = bottleneck.concepts.n_activations
    return means[:n_activations] if bottleneck.concepts else means
