"""The report on drift: its arguments, its tests, and what is asked of it later."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from ..._inputs.checks import (
    check_count,
    check_row_order,
    count_rows,
    error_context,
)
from ..._results.drift_report import DriftReport
from ..requests import class_codes
from .arguments import (
    check_explainer,
    check_level,
    check_new_groups,
    check_train_groups,
)
from .carried import CarriedRows
from .parts import GroupTests, compare_group, frame_of
from .remedies import try_remedies
from .rows import BothRows, NewRows, code_annotations


class RowsBehindDrift(CarriedRows):
    """The rows behind a report on drift, of which more can be asked."""

    __module__ = "skclif"

    def remedies(
        self, findings: pd.DataFrame, *, n_bootstraps: int, seed: int
    ) -> pd.DataFrame:
        """Return what remedies do on held-out rows of the groups with findings."""
        if self.new.labels is None:
            raise ValueError(
                "Remedies are judged by the label's loss, and drift_report was given "
                "no y_new. Pass the labels of the new rows."
            )
        return try_remedies(self, findings, n_bootstraps=n_bootstraps, seed=seed)


def drift_report(
    explainer: Any,
    X_new: Any,
    y_new: ArrayLike | None = None,
    *,
    concepts_new: Any = None,
    groups: ArrayLike | None = None,
    time: ArrayLike | None = None,
    train_groups: ArrayLike | None = None,
    train_time: ArrayLike | None = None,
    n_permutations: int = 999,
    alpha: float = 0.02,
    random_state: int | np.random.RandomState | None = None,
) -> DriftReport:
    """Say which part of a model no longer fits new rows, and which concept.

    Every group of new rows is compared with all training rows, in three parts:

    - *inputs*, which needs neither labels nor annotations: a linear classifier tells
      new rows from training rows by the activations of each concept, of all concepts,
      and by the features;
    - *concept*, with `concepts_new`: whether the head of a concept still says what
      people say of the texts, P(concept | text);
    - *meaning*, with `y_new`: whether a concept says of the label what it said in
      training, P(label | concepts), given the other concepts.

    Training rows are judged by heads that were fitted without their annotation, because
    a head knows its own training rows better than any new ones.

    Parameters
    ----------
    explainer : ConceptInfluenceExplainer
        Fitted, with concepts. It holds the training rows.
    X_new : {array-like, sparse matrix} of shape (n_new, n_features) or (n_new,)
        New rows, none of them a training row; what the estimator takes.
    y_new : array-like of shape (n_new,), default=None
        Their labels. None leaves out the meaning of concepts.
    concepts_new : array-like of shape (n_new, n_concepts), default=None
        Their annotations, plain or soft; None or NaN where there is none. A DataFrame
        may leave out concepts. None leaves out concept heads, and meaning is that of
        predicted concepts.
    groups : array-like of shape (n_new,), default=None
        The group of each new row, such as its source. None is one group.
    time : array-like of shape (n_new,), default=None
        The date or the period of each new row; its periods are the groups. Dates are
        cut to months if there are about 100 rows a month, else to quarters or years.
        Other values, such as "2021 Q3", are periods as they are.
    train_groups : array-like of shape (n_samples,), default=None
        The group of each training row. It is named with the rows that carry a finding,
        and remedies drop or weight such groups. It does not change the tests.
    train_time : array-like of shape (n_samples,), default=None
        The same for dates and periods, which are cut as those of `time`.
    n_permutations : int, default=999
        Number of permutations of the groups, at least 99.
    alpha : float, default=0.02
        Probability of a false alarm anywhere in the report, if nothing drifted.
    random_state : int, RandomState instance or None, default=None
        Draws the permutations.

    Returns
    -------
    report : DriftReport
        The findings, the training rows that carry them, and remedies.

    Raises
    ------
    TypeError
        If the explainer is none, or its model has no concepts.
    ValueError
        If an argument does not fit to the rows, or a label or value is unknown.

    See Also
    --------
    skclif.metrics.bottleneck_report : Whether a bottleneck can be believed at all.

    Notes
    -----
    The statistics are score tests of interactions of the group with the terms of a
    model of both kinds of rows; see :doc:`/mathematics`. They are divided by the
    variance that the rows show, so that moved inputs or another share of labels alone
    are not taken for another meaning. The q-values are those of Westfall and Young
    (1993): they hold for all tests of the report together, which bounds the share of
    false findings as well.

    A concept that is annotated in about the same share of training rows and new rows is
    compared as annotated; otherwise as predicted. Rows count once, whatever their
    weight; those of weight 0 are left out. If two concepts always have the same values,
    no data can tell which of them changed its meaning: their tests are the same.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
    >>> from skclif import drift_report
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(600, 4))
    >>> concepts = pd.DataFrame({"food": X[:, 0] > 0, "service": X[:, 1] > 0})
    >>> y = concepts["food"].to_numpy() & (rng.random(600) < 0.8)
    >>> y[400:] = ~y[400:]  # what praised food now blames it
    >>> explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    >>> explainer = explainer.fit(X[:400], y[:400], concepts=concepts[:400])
    >>> report = drift_report(
    ...     explainer, X[400:], y[400:], concepts_new=concepts[400:], random_state=0
    ... )
    >>> report.findings[["part", "concept"]].head(1)
          part concept
    0  meaning    food
    """
    check_explainer(explainer)
    n_new = count_rows(X_new, "X_new")
    check_row_order(
        X_new=X_new, y_new=y_new, concepts_new=concepts_new, groups=groups, time=time
    )
    n_permutations = check_count(
        "n_permutations", n_permutations, 99, None, "permutations"
    )
    alpha = check_level(alpha, n_permutations)
    of_new, unit = check_new_groups(groups, time, n_new)
    of_training = check_train_groups(
        train_groups, train_time, explainer.n_samples_, unit
    )
    heads, features = explainer._heads(), explainer._features(X_new)
    labels = None
    if y_new is not None:
        labels = class_codes(heads.classes, features, y_new, "y_new")
    with error_context("concepts_new", "annotations of the new rows, as in fit"):
        shares = explainer._training.get("shares", {})
        coded, unseen = code_annotations(heads, concepts_new, n_new, shares)
    new = NewRows(features, labels, coded.codes, unseen, coded.shares)
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    rng = np.random.default_rng(seed)
    rows = BothRows.of(explainer, new, rng)
    tests: dict[object, GroupTests] = {}
    for code, name in enumerate(of_new.names):
        group = rows.with_group(np.flatnonzero(of_new.codes == code))
        tests[name] = compare_group(
            group, n_permutations, rng, has_concepts=concepts_new is not None
        )
    return DriftReport(
        frame_of(tests, alpha),
        alpha,
        of_new.names,
        rows.n_training,
        n_new,
        n_permutations,
        RowsBehindDrift(explainer._of_features(), new, of_new, of_training),
    )


drift_report.__module__ = "skclif"
