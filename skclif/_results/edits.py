"""What an edit returns: the new model, and a record of what was done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from .comparison import EditComparison
from .shown import Shown

# What the record says if an edit is about how much concepts matter.
_OF_CONCEPTS = ("reliance", "group_losses", "balance", "effective_sample_size")
# A mean loss of fewer rows says little of a group.
_FEWEST = 10


@dataclass(frozen=True)
class HeadRecord:
    """How one head was solved again.

    Attributes
    ----------
    head : str
        Name of the concept, or "label".
    start : {"kept", "current", "zero"}
        "current" if it was solved from its parameters before the edit, "zero" if
        fitted from zero, "kept" if the edit changed nothing for it.
    n_steps : int
        Newton steps.
    before, after : float
        Distance to stationarity: norm of the gradient on the edited rows, at the
        parameters before the edit and at those reached (nats per unit of a parameter).
        0 for a head that was kept.
    tolerance : float
        Norms below this count as 0; from the estimator's `tol`.
    converged : bool
        Whether the head is at its optimum.
    """

    __module__ = "skclif"

    head: str
    start: str
    n_steps: int
    before: float
    after: float
    tolerance: float
    converged: bool


@dataclass(frozen=True, eq=False, repr=False)
class EditRecord:
    """What an edit changed, and what it reached; plain data.

    Attributes
    ----------
    changes : DataFrame
        A line for every change: kind ("relabel", "annotate", "reweight", "drop",
        "add", "drop_concept", "drop_value", "weigh_concept" or "reweight_label"), row
        (position; -1 for a concept or a value), concept, old, new. None is a missing
        annotation, the concept of a label, and the factor of a concept whose weights
        are not held. A new value that equals the old one is left out.
    n_steps : int or None
        The maximum number of Newton steps that was asked for; None for no maximum.
    heads : tuple of HeadRecord
        How the heads were solved, the label's last.
    predicted_effect, achieved_effect : float or None
        Effect on the target, ``after - before`` in its unit; on a loss, negative =
        good: predicted to first order, and measured with the edited model. None if no
        rows were given, or the effect is not defined to first order.
    seconds : float
        Time of solving.
    data_before, data_after : str
        SHA-256 of the training rows: features, labels, weights, annotations.
    model_before, model_after : str
        SHA-256 of the model's parameters.
    version : str
        The version of skclif.
    target, unit : str
        What the effects are effects on: by default the mean log-loss of the validation
        rows, in nats.
    higher_is_better : bool or None
        Whether a rise of the target is good; None if nobody said.
    reliance : DataFrame or None
        If the edit says how much concepts matter: concept, before, after. The mean size
        of the concept's effect on the log-probability of the predicted class (nats; 0 =
        predictions do not rest on it), on the validation rows, or else on those of
        training.
    group_losses : DataFrame or None
        If there are validation rows, and groups of them or such concepts: group,
        n_rows, and mean log-loss (nats) before and after.
    balance : DataFrame or None
        If the edit balances concepts, these, and if an earlier edit did, all: concept,
        and its mutual information with the label in training (nats; 0 = independent)
        before and after this edit, with the weights of then.
    effective_sample_size : tuple of float or None
        Where there is a balance: how many label terms of equal weight say as much,
        before and after this edit.
    """

    __module__ = "skclif"

    changes: pd.DataFrame
    n_steps: int | None
    heads: tuple[HeadRecord, ...]
    predicted_effect: float | None
    achieved_effect: float | None
    seconds: float
    data_before: str
    data_after: str
    model_before: str
    model_after: str
    version: str
    target: str = "mean log-loss"
    unit: str = "nats"
    higher_is_better: bool | None = False
    reliance: pd.DataFrame | None = None
    group_losses: pd.DataFrame | None = None
    balance: pd.DataFrame | None = None
    effective_sample_size: tuple[float, float] | None = None

    @property
    def worst_group_loss(self) -> tuple[float, float] | None:
        """The largest mean log-loss of a group (nats), before and after the edit.

        Groups of fewer than 10 rows do not count: the worst of many small groups would
        be the worst row. None if there is no larger group.
        """
        if self.group_losses is None:
            return None
        losses = self.group_losses[self.group_losses["n_rows"] >= _FEWEST]
        if losses.empty:
            return None
        return float(losses["before"].max()), float(losses["after"].max())

    @property
    def converged(self) -> bool:
        """Whether every head is at its optimum: the edit equals retraining."""
        return all(head.converged for head in self.heads)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain values that ``json.dumps`` takes.

        Returns
        -------
        record : dict
            The attributes; changes as a list of dict, heads too.
        """
        plain = dict(vars(self))
        changes = self.changes.astype(object)
        plain["changes"] = changes.to_dict("records")
        plain["heads"] = [asdict(head) for head in self.heads]
        for name in _OF_CONCEPTS:
            value = plain.pop(name)
            if isinstance(value, pd.DataFrame):
                value = value.astype(object).to_dict("records")
            if value is not None:  # records of other edits do not speak of it
                plain[name] = value
        return plain

    def __repr__(self) -> str:
        """Return one line: what was changed, and whether the optimum is reached."""
        kinds = self.changes["kind"].value_counts()
        what = ", ".join(f"{n} x {kind}" for kind, n in kinds.items()) or "nothing"
        reached = "at the optimum" if self.converged else "not at the optimum"
        return f"<EditRecord: {what}; {reached}, {self.seconds:.2g} s>"


@dataclass(frozen=True, eq=False, repr=False)
class EditResult(Shown):
    """An edited model.

    Attributes
    ----------
    estimator : estimator
        Fitted, of the kind that the explainer explains: what retraining on the edited
        rows gives. In a pipeline, the leading steps are those of the model before.
    explainer : ConceptInfluenceExplainer
        Fitted on the edited rows, for influence and further edits. Rows keep their
        positions: a dropped row has weight 0, and added rows come last.
    record : EditRecord
        What was changed, and what was reached.
    before : estimator
        Fitted, as it was before the edit: what `compare` compares with.
    """

    __module__ = "skclif"

    estimator: Any
    explainer: Any
    record: EditRecord
    before: Any = None

    def compare(self, X: Any, y: Any, concepts: Any = None) -> EditComparison:
        """Compare the models before and after the edit on rows with known labels.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_rows, n_features) or (n_rows,)
            Rows, as the estimator takes them. Rows that neither chose the edit nor
            trained a model make an honest comparison.
        y : array-like of shape (n_rows,)
            Their labels.
        concepts : array-like of shape (n_rows, n_concepts), default=None
            Their annotations, for the quality of each concept; None or NaN where there
            is none. Of soft ones, the share of the predicted value counts as right. A
            DataFrame may leave out concepts.

        Returns
        -------
        comparison : EditComparison
            Accuracy and mean log-loss (nats) before and after, with 95 % intervals of
            their changes; the rows whose predictions changed; and the quality of each
            concept. Changes are *after − before*: on the log-loss, negative = good.

        Raises
        ------
        TypeError, ValueError
            If an argument has another form than in `fit`, a label or value is unknown,
            a label went from the model with the edit, or one of the two models was
            fitted again after the edit.

        Notes
        -----
        Both intervals pair each row with itself. That of the log-loss is Student's t
        interval of the per-row differences. That of the accuracy is the adjusted
        interval of Agresti and Min: with `b` rows that only the later model gets right,
        `c` rows that only the earlier one does, each plus one half, and
        ``m = n_rows + 2``, it is ``(b - c) / m`` plus or minus 1.96 times
        ``sqrt(b + c - (b - c)**2 / m) / m``. It has a width even if no prediction
        changed, because others could change on other rows. Both intervals are about
        the rows: they say nothing of how another training set would differ.
        """
        return self.explainer._compared(self, X, y, concepts)  # type: ignore[no-any-return]

    def _table(self) -> pd.DataFrame:
        return self.record.changes

    def __repr__(self) -> str:
        """Return one line, like that of the record."""
        return f"<EditResult{repr(self.record)[len('<EditRecord') :]}"
