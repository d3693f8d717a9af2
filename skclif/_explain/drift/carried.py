"""Which training rows carry what drifted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..._inputs.training_rows import TrainingRows
from ..._results.drift_report import TOGETHER
from ...numerics.first_order import Adjoint
from ...numerics.heads import Head
from ...numerics.products import affine_adjoint
from ...numerics.sparse import Features
from ...numerics.targets import LabelTarget
from ..explainer import ConceptInfluenceExplainer
from ..readable import annotations_of
from ..solved import Solved
from .arguments import RowGroups
from .parts import CONCEPT, MEANING
from .rows import NewRows

LABEL = "label"


@dataclass(frozen=True, eq=False)
class CarriedRows:
    """New rows by group, and what of the training rows carries their drift.

    Attributes
    ----------
    explainer : ConceptInfluenceExplainer
        It takes features.
    new : NewRows
    groups : RowGroups
        Of the new rows.
    of_training : list of RowGroups
        Of the training rows, as they were given.
    """

    explainer: ConceptInfluenceExplainer
    new: NewRows
    groups: RowGroups
    of_training: list[RowGroups]

    def of_group(self, name: Any) -> NewRows:
        """Return the new rows of a group."""
        return self.new.rows(self.groups.rows(name))

    def rows(self, findings: pd.DataFrame, n_rows: int) -> pd.DataFrame:
        """Return the cells of training rows that carry findings, the worst first."""
        parts = [
            self._of_finding(line, n_rows)
            for line in findings.to_dict("records")
            if _is_carried(line)
        ]
        columns = ["part", "group", "concept", "row", "path", "influence", "current"]
        columns += [each.name.removesuffix("s") for each in self.of_training]
        columns += list(self.explainer._texts())
        if not parts:
            return pd.DataFrame(columns=columns)
        return pd.concat(parts, ignore_index=True)

    def _of_finding(self, finding: dict[str, Any], n_rows: int) -> pd.DataFrame:
        heads = self.explainer._heads()
        training = TrainingRows(**self.explainer._training)
        concept = finding["concept"]
        influence = self.influence(finding)
        known = {LABEL: self.explainer._readable["label"]}
        known |= annotations_of(heads, training)
        cells = [(path, values) for path, values in influence.items()]
        rows = np.concatenate([np.arange(len(values)) for _, values in cells])
        paths = np.repeat([path for path, _ in cells], [len(v) for _, v in cells])
        values = np.concatenate([values for _, values in cells])
        worst = np.argsort(-values, kind="stable")[:n_rows]
        worst = worst[values[worst] > 0]
        frame = pd.DataFrame(
            {
                "part": finding["part"],
                "group": [finding["group"]] * len(worst),
                "concept": concept,
                "row": rows[worst],
                "path": paths[worst],
                "influence": values[worst],
                "current": pd.Series(
                    [known[paths[k]][rows[k]] for k in worst], dtype=object
                ),
            }
        )
        for each in self.of_training:
            frame[each.name.removesuffix("s")] = each.of_rows()[rows[worst]]
        for name, texts in self.explainer._texts().items():
            frame[name] = texts[rows[worst]]
        return frame

    def influence(
        self, finding: dict[str, Any], among: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Return the influence of training cells on the loss of a group, by path.

        Parameters
        ----------
        finding : dict
            A line of the frame that names a concept, of part "concept" or "meaning".
        among : ndarray of int, default=None
            Positions among the rows of the group; None for all of them.

        Returns
        -------
        influence : dict of str to ndarray of shape (n_samples,)
            Effect of the presence of every label or annotation on the mean loss (nats);
            positive = harmful. A head's loss is that of its concept. For meaning, it is
            the label's loss as far as the concept's own weights and head move it.
        """
        solved, heads = self.explainer._solved_model(), self.explainer._heads()
        j = heads.names.index(finding["concept"])
        new = self.of_group(finding["group"])
        new = new if among is None else new.rows(among)
        features = solved.inputs(new.features)
        if finding["part"] == CONCEPT:
            head = heads.tensors(solved.device, new.shares).concepts.heads[j]
            adjoint = _adjoint_of_head(solved, head, features, new.codes[:, j], j)
        else:
            assert new.labels is not None
            labels = torch.from_numpy(new.labels).to(solved.device)
            adjoint = _adjoint_of_meaning(solved, features, labels, j)
        found = _influence(solved, adjoint)
        if finding["part"] == CONCEPT:
            return {finding["concept"]: found[:, 1 + j]}
        return {LABEL: found[:, 0], finding["concept"]: found[:, 1 + j]}


def _is_carried(line: dict[str, Any]) -> bool:
    return line["part"] in (CONCEPT, MEANING) and line["concept"] != TOGETHER


def _influence(solved: Solved, adjoint: Adjoint) -> np.ndarray:
    """Return first-order influence of all terms, (n_samples, 1 + n_concepts)."""
    blocks = solved.first_order(adjoint)
    found = torch.cat([part[0] for _, part in blocks])
    return found.double().cpu().numpy()


def _adjoint_of_head(
    solved: Solved, head: Head, features: Features, codes: np.ndarray, j: int
) -> Adjoint:
    """Return the adjoint of the mean loss of one concept head on annotated rows.

    `head` is that of the concept, which knows what the codes of these rows stand for.
    """
    columns = solved.bottleneck.concepts.scores[j]
    at = torch.from_numpy(np.flatnonzero(~np.isnan(codes))).to(solved.device)
    known = torch.from_numpy(codes).to(solved.device)[at]
    features = features[at]
    scores = solved.bottleneck.concept_scores(features)[:, columns]
    residual = head.residual(head.probabilities(scores), known) / len(at)
    return _solved(solved, None, {j: affine_adjoint(features, residual).flatten()})


def _adjoint_of_meaning(
    solved: Solved, features: Features, labels: torch.Tensor, j: int
) -> Adjoint:
    """Return the adjoint of the mean label loss through one concept alone."""
    bottleneck = solved.bottleneck
    stack = bottleneck.concepts
    said = LabelTarget("loss", labels).derivatives(bottleneck, features)
    share = 1 / len(labels)
    own = torch.zeros(bottleneck.n_label_inputs, dtype=torch.bool)
    own[stack.activations[j]] = True
    label = share * affine_adjoint(said.activations, said.label_scores)
    label = label * own.to(label.device)
    missing = bottleneck.label.missing(bottleneck.n_label_inputs)
    if missing is not None:
        label = label.masked_fill(missing.to(label.device), 0.0)
    scores = share * said.concept_scores[:, stack.scores[j]]
    return _solved(
        solved, label.flatten(), {j: affine_adjoint(features, scores).flatten()}
    )


def _solved(
    solved: Solved, label: torch.Tensor | None, concepts: dict[int, torch.Tensor]
) -> Adjoint:
    bottleneck = solved.bottleneck
    if label is None:
        label = bottleneck.label_parameters.new_zeros(
            bottleneck.label_parameters.numel()
        )
    n_inputs = bottleneck.concept_parameters.shape[1]
    nothing = [
        label.new_zeros(head.n_scores * n_inputs) for head in bottleneck.concepts.heads
    ]
    parts = [concepts.get(k, part)[None] for k, part in enumerate(nothing)]
    return Adjoint(*solved.inverse.solve(label[None], parts))
