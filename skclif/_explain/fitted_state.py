"""What every method of a fitted explainer needs: its model, rows and factors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch

from .._cluster.passes import RemoteData
from .._inputs.devices import resolve_device
from .._inputs.features import check_features
from .._inputs.pipelines import final_step, transform_rows
from .._inputs.training_rows import TrainingRows, as_tensor, own_copy
from .._models.fitted import FittedHeads
from .._results.words import column_of_concept
from ..numerics.bottleneck import mean_activations
from ..numerics.hessians import Factors
from ..numerics.sparse import Matrix
from .cluster_fit import RowsElsewhere, refuse_rows_elsewhere
from .methods import refuse_joint
from .on_cluster import shown_rows
from .readable import annotations_of, labels_of
from .solved import Solved
from .suspects import LABEL


class ExplainerState:
    """What `fit` keeps, for the methods of the explainer.

    Attributes are described in :class:`ConceptInfluenceExplainer`.
    """

    estimator: Any
    estimator_: Any
    method: str
    device: str
    verbose: int
    classes_: np.ndarray
    concept_names_in_: np.ndarray
    n_samples_: int
    mean_activations_: np.ndarray
    # Training rows as arrays, and their texts and labels by column name; of rows on a
    # cluster, what refuses to give them.
    _training: Any = RowsElsewhere()
    _readable: Any = RowsElsewhere()
    # The type of products over rows, and the index of the rows, if there was one.
    _dtype: str
    _index: Any
    # Of the values of each path: their order, those that its type declares, and those
    # that edits have set aside.
    _orders: dict[str, list[Any]]
    _declared: dict[str, Any]
    _aside: dict[str, Any]
    # Whether the model is at the optimum of these rows; factors of a model near it.
    _at_optimum: bool
    _solved: Solved
    _nearby: Factors | None

    def _settle(self, rows: TrainingRows, texts: dict[str, np.ndarray]) -> None:
        """Keep the training rows and what follows from them and the fitted model."""
        heads = self._heads()
        self.classes_ = heads.classes
        self.concept_names_in_ = np.asarray(heads.names, dtype=object)
        self.n_samples_ = len(rows.features)
        self._training = rows.arrays()
        self._readable = {**texts, "label": labels_of(heads, rows)}
        device = resolve_device(self.device, rows.features)
        mean = mean_activations(
            heads.tensors(device, rows.shares),
            rows.data().to(device),
            as_tensor(rows.weights).to(device),
        )
        self.mean_activations_ = mean.cpu().numpy()

    def _require_rows(self) -> None:
        """Refuse what needs the training rows in this process if they are elsewhere."""
        if "_training" not in vars(self):
            refuse_rows_elsewhere()

    def _refuse_joint(self, method: str) -> None:
        """Refuse a method that needs rows here, and heads at their own optimum."""
        self._require_rows()
        if self._heads().is_joint:
            refuse_joint(method)

    def _heads(self) -> FittedHeads:
        """Return the heads of the fitted final step."""
        return FittedHeads.of(final_step(self.estimator_))

    def _known_orders(self) -> dict[str, list[Any]]:
        """Return the orders of values, by path: of their types, or of the model."""
        of_label = getattr(final_step(self.estimator_), "label_order_", None)
        if of_label is None:
            return self._orders
        return {**self._orders, LABEL: of_label.tolist()}

    def _features(self, X: Any) -> Matrix:
        """Return checked features of new rows, in float64."""
        return self._checked(transform_rows(self.estimator_, X))

    def _checked(self, features: Any) -> Matrix:
        """Return checked features in float64, in memory that nobody else can change."""
        model = final_step(self.estimator_)
        checked = check_features(model, features, reset=False, device=self.device)
        return own_copy(checked, features)

    def _solve(self, rows: TrainingRows) -> Solved:
        device = resolve_device(self.device, rows.features)
        return Solved.of(self._heads(), rows, device, getattr(torch, self._dtype))

    def _solved_model(self) -> Solved:
        if "_solved" not in vars(self):  # after loading
            self._solved = self._solve(TrainingRows(**self._training))
        return self._solved

    def _texts(self) -> dict[str, np.ndarray]:
        """Return the texts of the training rows by column name."""
        return {name: v for name, v in self._readable.items() if name != "label"}

    def _training_frame(self, shown: np.ndarray | None = None) -> pd.DataFrame:
        """Return what is known of training rows; of those shown, if they are elsewhere.

        Texts of rows on a cluster are not known.
        """
        data: Any = self._solved_model().data
        if isinstance(data, RemoteData):
            if shown is None:
                return pd.DataFrame()
            return shown_rows(data, self._heads(), shown)
        rows = TrainingRows(**self._training)
        known = {**self._texts(), "label": self._readable["label"]}
        for name, values in annotations_of(self._heads(), rows).items():
            known[column_of_concept(name, known)] = values
        return pd.DataFrame(known)
