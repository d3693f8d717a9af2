"""Training rows and new rows, as the tests of drift see them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from ..._inputs.annotations import Annotations
from ..._inputs.checks import check_length
from ..._inputs.concept_tables import concept_table
from ..._inputs.soft import Coded, Shares
from ..._inputs.training_rows import TrainingRows, as_features
from ..._models.fitted import FittedHeads
from ...numerics.drift import cross_fitted_scores, left_out_scores, principal_columns
from ...numerics.heads import HeadStack
from ...numerics.hessians import Factors
from ...numerics.sparse import Matrix
from ..explainer import ConceptInfluenceExplainer

_DIRECTIONS = 50  # of the features
_FOLDS = 5


@dataclass(frozen=True, eq=False)
class NewRows:
    """New rows, coded as the model codes.

    Attributes
    ----------
    features : ndarray or SparseFeatures of shape (n_new, n_features)
    labels : ndarray of shape (n_new,), int64, or None
        Codes.
    codes : ndarray of shape (n_new, n_concepts)
        Of the annotations; NaN where there is none.
    unseen : dict of int to ndarray of shape (n_new,), bool
        Which rows have another value of a concept that had one value in training.
    shares : Shares
        What codes of soft annotations stand for, of training rows too.
    """

    __module__ = "skclif"

    features: Matrix
    labels: np.ndarray | None
    codes: np.ndarray
    unseen: dict[int, np.ndarray]
    shares: Shares = field(default_factory=dict)

    def rows(self, chosen: np.ndarray) -> NewRows:
        """Return some of the rows."""
        return NewRows(
            self.features[chosen],
            None if self.labels is None else self.labels[chosen],
            self.codes[chosen],
            {j: values[chosen] for j, values in self.unseen.items()},
            self.shares,
        )


def code_annotations(
    heads: FittedHeads, concepts: Any, n_rows: int, shares: Shares
) -> tuple[Coded, dict[int, np.ndarray]]:
    """Return codes of new annotations, and unseen values of constant concepts.

    `shares` are those of the training rows.
    """
    codes = np.full((n_rows, heads.n_concepts), np.nan)
    if concepts is not None:
        check_length("concepts_new", len(concept_table(concepts)), n_rows, "X_new")
    annotations = Annotations.read(concepts, None, n_rows)
    if annotations is None:
        return Coded(codes, shares), {}
    table, unseen = annotations.table.copy(), {}
    for j, (name, values) in enumerate(zip(heads.names, heads.values, strict=True)):
        if values is None or len(values) != 1:
            continue
        place = list(table.columns).index(name) if name in table.columns else None
        if not annotations.named and table.shape[1] == heads.n_concepts:
            place = j
        if place is None:
            continue
        column = table.iloc[:, place]
        given = column.notna().to_numpy()
        is_other = given & ~column.isin(values.tolist()).to_numpy()
        if is_other.any():
            unseen[j] = is_other
            table = table.astype({table.columns[place]: object})
            table.iloc[is_other, place] = None
    annotations = replace(annotations, table=table)
    return heads.schema.encode(annotations, partial=True, shares=shares), unseen


@dataclass(frozen=True, eq=False)
class BothRows:
    """Training rows, and new rows below them.

    Attributes
    ----------
    heads : FittedHeads
    stack : HeadStack
    n_training : int
    scores : tuple of Tensor of shape (n_rows, n_scores_j)
        Of every concept head. Those of training rows are without their own annotation.
    codes : Tensor of shape (n_rows, n_concepts)
    annotated : Tensor of shape (n_rows, n_concepts), bool
    directions : Tensor of shape (n_rows, n_directions)
        Features in their main directions.
    labels : Tensor of shape (n_rows,), int64, or None
    unseen : dict of int to ndarray of shape (n_rows,), bool
    """

    heads: FittedHeads
    stack: HeadStack
    n_training: int
    scores: tuple[torch.Tensor, ...]
    codes: torch.Tensor
    annotated: torch.Tensor
    directions: torch.Tensor
    labels: torch.Tensor | None
    unseen: dict[int, np.ndarray]

    @classmethod
    def of(
        cls,
        explainer: ConceptInfluenceExplainer,
        new: NewRows,
        rng: np.random.Generator,
    ) -> BothRows:
        """Return the training rows that count, and new rows."""
        training, heads = TrainingRows(**explainer._training), explainer._heads()
        counted = training.weights > 0
        data = training.data()
        kept = torch.from_numpy(np.flatnonzero(counted))
        scores = _scores(explainer, heads, new, rng)
        stack = heads.tensors(shares=new.shares).concepts
        everywhere = torch.cat([kept, len(data) + torch.arange(len(new.features))])
        is_new = ~np.isnan(new.codes)
        codes = np.where(is_new, new.codes, 0.0)
        labels = None
        if new.labels is not None:
            labels = torch.cat([data.labels[kept], torch.from_numpy(new.labels)])
        n = len(kept)
        parts = [as_features(training.features)[kept], as_features(new.features)]
        return cls(
            heads,
            stack,
            n,
            tuple(stack.split(scores[everywhere])),
            torch.cat([data.concepts[kept], torch.from_numpy(codes)]),
            torch.cat([data.annotated[kept], torch.from_numpy(is_new)]),
            principal_columns(parts, _DIRECTIONS),
            labels,
            {j: np.concatenate([np.zeros(n, bool), v]) for j, v in new.unseen.items()},
        )

    def with_group(self, chosen: np.ndarray) -> BothRows:
        """Return the training rows with some of the new rows, by their positions."""
        rows = np.concatenate([np.arange(self.n_training), self.n_training + chosen])
        at = torch.from_numpy(rows)
        return replace(
            self,
            scores=tuple(part[at] for part in self.scores),
            codes=self.codes[at],
            annotated=self.annotated[at],
            directions=self.directions[at],
            labels=None if self.labels is None else self.labels[at],
            unseen={j: values[rows] for j, values in self.unseen.items()},
        )

    @property
    def is_new(self) -> np.ndarray:
        """Which rows are new."""
        found: np.ndarray = np.arange(len(self.codes)) >= self.n_training
        return found


def _scores(
    explainer: ConceptInfluenceExplainer,
    heads: FittedHeads,
    new: NewRows,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Return scores of training rows by heads without them, and scores of new rows."""
    solved, features = explainer._solved_model(), as_features(new.features)
    if isinstance(solved.inverse, Factors):
        left_out = left_out_scores(solved.bottleneck, solved.data, solved.factors)
        _refuse_undefined(left_out)
        scores = heads.tensors().concept_scores(features)
        return torch.cat([left_out.cpu().to(scores), scores])
    training = TrainingRows(**explainer._training)
    n = len(solved.data)  # no inverse Hessians: heads are fitted without folds of rows
    folds = tuple(rng.permutation(size) % _FOLDS for size in (n, len(features)))
    return cross_fitted_scores(
        heads.tensors(shares=training.shares),
        training.data(),
        features,
        heads.penalties["concept_penalties"],
        (folds[0], folds[1]),
        tol=heads.tol,
        max_iter=heads.max_iter,
    )


def _refuse_undefined(scores: torch.Tensor) -> None:
    undefined = ~scores.isfinite().all(dim=1)
    if undefined.any():
        raise ValueError(
            f"Training row {int(undefined.nonzero()[0])} cannot be left out: it "
            "carries all the curvature of a concept head to working precision. Lower "
            "its weight, or lower concept_C."
        )
