"""Effects of concepts on predictions, from pairs of texts that people edited.

The names and definitions are those of CEBaB: Abraham et al. (2022), arXiv 2205.14140.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils import check_array

from .._inputs.checks import check_length, check_row_order, error_context
from .._inputs.concept_tables import read_table
from .._inputs.pipelines import transform_parts
from .._inputs.sklearn import StrOptions, _safe_indexing, validate_params
from .._inputs.tensors import as_array
from ..exceptions import InterventionWarning
from ._interventions import bottleneck_of

INTERVENTION = ["concept", "from", "to"]


def counterfactual_pairs(
    concepts: Any, *, groups: ArrayLike, edited: ArrayLike
) -> pd.DataFrame:
    """Pair the versions of a text that differ in one concept.

    People wrote some texts anew so that one concept has another value and everything
    else stays. Such a text and its original are a pair, and so are two edits of the
    same concept of one original. Every pair counts in both directions. Pairs whose
    annotations of that concept agree, or are missing, are left out: the edit failed.

    Parameters
    ----------
    concepts : DataFrame of shape (n_samples, n_concepts)
        The annotations of all versions, as people read them; NaN, None and
        ``pandas.NA`` mean *not annotated*. An array has the concepts "concept0",
        "concept1" and so on.
    groups : array-like of shape (n_samples,)
        What names the original of each row: versions of one text have the same value.
    edited : array-like of shape (n_samples,)
        The name of the concept that was edited in each row; None or NaN for originals.

    Returns
    -------
    pairs : DataFrame
        A line for each pair. Columns: base and counterfactual, the positions of the two
        rows; concept; from and to, its values in these rows; group.

    Raises
    ------
    ValueError
        If lengths differ, a group is missing, an edited concept is unknown, or there is
        no pair.

    See Also
    --------
    icace : The effects of the pairs on predictions.

    References
    ----------
    .. [1] E. D. Abraham, K. D'Oosterlinck, A. Feder, Y. Gat, A. Geiger, C. Potts,
       R. Reichart and Z. Wu, "CEBaB: Estimating the causal effects of real-world
       concepts on NLP model behavior", 2022, arXiv:2205.14140.

    Examples
    --------
    >>> import pandas as pd
    >>> from skclif.metrics import counterfactual_pairs
    >>> concepts = pd.DataFrame({"food": ["good", "bad"], "noise": ["low", "low"]})
    >>> counterfactual_pairs(concepts, groups=["a", "a"], edited=[None, "food"])
       base  counterfactual concept  from    to group
    0     0               1    food  good   bad     a
    1     1               0    food   bad  good     a
    """
    check_row_order(concepts=concepts, groups=groups, edited=edited)
    table, soft = read_table(concepts)
    if soft:
        raise ValueError(
            f"concepts has shares of the values of {next(iter(soft))!r}, and versions "
            "of a text are paired by the one value that each has. Give the value that "
            "most people chose."
        )
    names = _one_each("edited", edited, len(table))
    owners = _one_each("groups", groups, len(table))
    if len(missing := np.flatnonzero(pd.isna(owners))):
        raise ValueError(
            f"groups has no value in row {missing[0]} (counted from 0). Give every row "
            "the name of its original; a text without versions is a group by itself."
        )
    is_edit = ~pd.isna(names)
    if unknown := [n for n in names[is_edit] if n not in list(table.columns)]:
        raise ValueError(
            f"edited names the concept {unknown[0]!r}, but concepts has "
            f"{', '.join(map(repr, table.columns))}. Name its columns as edited does."
        )
    values = {name: table[name].to_numpy(dtype=object) for name in table.columns}
    lines = [
        line
        for _, rows in pd.Series(range(len(table))).groupby(owners, sort=False)
        for line in _pairs_of_one_text(values, names, is_edit, rows.tolist())
    ]
    if not lines:
        raise ValueError(
            "There is no pair: no two rows with the same value in groups have "
            "different annotations of the concept that edited names."
        )
    pairs = pd.DataFrame(lines, columns=["base", "counterfactual", *INTERVENTION])
    return pairs.assign(group=owners[pairs["base"]])


counterfactual_pairs.__module__ = "skclif.metrics"


def _pairs_of_one_text(
    values: dict[str, np.ndarray],
    names: np.ndarray,
    is_edit: np.ndarray,
    rows: list[int],
) -> list[tuple[int, int, str, Any, Any]]:
    pairs = []
    for base in rows:
        for other in rows:
            concepts = {names[row] for row in (base, other) if is_edit[row]}
            if base == other or len(concepts) != 1:  # two originals, or two concepts
                continue
            (concept,) = concepts
            before, after = values[concept][[base, other]]
            if not pd.isna(before) and not pd.isna(after) and before != after:
                pairs.append((base, other, concept, before, after))
    return pairs


def _one_each(name: str, values: Any, n_rows: int) -> np.ndarray:
    array = np.asarray(as_array(name, values), dtype=object)
    if array.ndim != 1:
        raise ValueError(
            f"{name} must be of shape (n_samples,), a value for each row of concepts, "
            f"got {type(values).__name__} of shape {array.shape}."
        )
    check_length(name, len(array), n_rows, "concepts")
    return array


def icace(probabilities: ArrayLike, pairs: pd.DataFrame) -> np.ndarray:
    """Compute the effect of each pair on predictions (ICaCE).

    The individual causal concept effect is the prediction for the counterfactual minus
    that for the base. It needs no explainer: the model is asked about both texts.

    Parameters
    ----------
    probabilities : array-like of shape (n_samples, n_classes)
        Predicted probabilities of all rows, or other outputs of the model.
    pairs : DataFrame
        What :func:`counterfactual_pairs` returned for these rows.

    Returns
    -------
    effects : ndarray of shape (n_pairs, n_classes), float64
        The change of each probability from base to counterfactual; positive = the edit
        makes the class more probable.

    Raises
    ------
    TypeError
        If `pairs` is no DataFrame.
    ValueError
        If `pairs` lacks columns or names rows that `probabilities` does not have.

    See Also
    --------
    estimate_icace : What a bottleneck says without the counterfactual.
    cace : The means over pairs.

    Examples
    --------
    >>> import pandas as pd
    >>> from skclif.metrics import counterfactual_pairs, icace
    >>> concepts = pd.DataFrame({"food": ["good", "bad"]})
    >>> pairs = counterfactual_pairs(concepts, groups=[7, 7], edited=[None, "food"])
    >>> icace([[0.25, 0.75], [0.5, 0.5]], pairs)
    array([[ 0.25, -0.25],
           [-0.25,  0.25]])
    """
    outputs = as_matrix("probabilities", probabilities)
    base, counterfactual = _positions(pairs, len(outputs), "probabilities")
    effects: np.ndarray = outputs[counterfactual] - outputs[base]
    return effects


icace.__module__ = "skclif.metrics"


@validate_params(
    {"start": [StrOptions({"predicted", "known"})]},
    prefer_skip_nested_validation=False,
)
def estimate_icace(
    estimator: Any, X: Any, pairs: pd.DataFrame, *, start: str = "predicted"
) -> np.ndarray:
    """Estimate the effect of each pair from its base alone, by interventions.

    A concept bottleneck answers "what if the food had been bad?" without seeing such a
    text: its concept is set to the value in column `to`, as
    :meth:`ConceptBottleneckClassifier.intervene` does. Other concepts stay as predicted
    for the base.

    Parameters
    ----------
    estimator : ConceptBottleneckClassifier or pipeline
        A fitted bottleneck with concepts, or a fitted pipeline that ends in one. Either
        may be in a :class:`~sklearn.frozen.FrozenEstimator`.
    X : array-like of shape (n_samples, n_features) or (n_samples,)
        What the estimator takes, features or texts. Only the bases are read.
    pairs : DataFrame
        What :func:`counterfactual_pairs` returned for these rows.
    start : {"predicted", "known"}, default="predicted"
        What the intervention is compared with: the prediction for the base as it is, or
        that with the concept set to its annotated value, column `from`.

    Returns
    -------
    estimates : ndarray of shape (n_pairs, n_classes), float64
        The estimated change of each probability, in the order of the model's
        ``classes_``; positive = the class becomes more probable.

    Raises
    ------
    TypeError
        If the estimator does not end in a ConceptBottleneckClassifier, or `pairs` is no
        DataFrame.
    ValueError
        If the model has no concepts or its bottleneck is "logit", or `pairs` names
        rows, concepts or values that are unknown.

    See Also
    --------
    icace_error : How far estimates are from the effects.
    concept_effects : The same question about all rows and values.

    Notes
    -----
    For the effects on *another* model, a black box, fit a bottleneck to its predictions
    in place of the labels: a row for each class, weighted by the black box's
    probability of the class. See the page "Judging influence".

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skclif import ConceptBottleneckClassifier
    >>> from skclif.metrics import counterfactual_pairs, estimate_icace
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> concepts = pd.DataFrame({"food": X[:, 0] > 0, "service": X[:, 1] > 0})
    >>> y = np.where(X[:, 0] + X[:, 1] > 0, "again", "never")
    >>> clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    >>> texts = np.array([[-1.0, 0, 0], [1, 0, 0]])  # one text, and its edit
    >>> read = pd.DataFrame({"food": [False, True]})
    >>> pairs = counterfactual_pairs(read, groups=[0, 0], edited=[None, "food"])
    >>> estimate_icace(clf, texts, pairs).round(2)  # of again, never
    array([[ 0.69, -0.69],
           [-0.69,  0.69]])
    """
    model = bottleneck_of(estimator, "estimate_icace")
    features = transform_parts(estimator, X)
    predicted = model.predict_proba(features)
    base, _ = _positions(pairs, len(predicted), "X")
    names = list(model.concept_names_in_)
    if unknown := [name for name in pairs["concept"] if name not in names]:
        raise ValueError(
            f"pairs names the concept {unknown[0]!r}, but the concepts of the model "
            f"are {', '.join(map(repr, names))}."
        )
    rows = _safe_indexing(features, base)
    after = _with_concept_set(model, rows, pairs, "to")
    if start == "known":
        return after - _with_concept_set(model, rows, pairs, "from")
    estimates: np.ndarray = after - predicted[base]
    return estimates


estimate_icace.__module__ = "skclif.metrics"


def _with_concept_set(
    model: Any, features: Any, pairs: pd.DataFrame, column: str
) -> np.ndarray:
    """Return probabilities with the concept of each pair at its value in a column."""
    values = pairs[column].astype(object)
    concepts = pd.DataFrame(
        {name: values.where(pairs["concept"] == name) for name in set(pairs["concept"])}
    )
    if isinstance(features, pd.DataFrame):
        concepts.index = features.index  # rows are matched by position
    with warnings.catch_warnings(), error_context("pairs", "of values the model knows"):
        # Of corrections that hurt: nothing is corrected here.
        warnings.simplefilter("ignore", InterventionWarning)
        probabilities: np.ndarray = model.intervene(features, concepts)
    return probabilities


def cace(effects: ArrayLike, pairs: pd.DataFrame) -> pd.DataFrame:
    """Average effects over all pairs of each intervention (CaCE).

    Parameters
    ----------
    effects : array-like of shape (n_pairs, n_classes) or (n_pairs,)
        Effects of the pairs, or their estimates: what :func:`icace` or
        :func:`estimate_icace` returned.
    pairs : DataFrame
        What :func:`counterfactual_pairs` returned.

    Returns
    -------
    means : DataFrame of shape (n_interventions, n_classes)
        The causal concept effects: a line for each intervention (concept, from, to), in
        the order in which they come first, and a column for each column of `effects`.
        Unit and sign are those of `effects`.

    Raises
    ------
    TypeError
        If `pairs` is no DataFrame.
    ValueError
        If `pairs` lacks columns, or its length is not that of `effects`.

    See Also
    --------
    order_faithfulness : Whether estimates order interventions as effects do.

    Examples
    --------
    >>> import pandas as pd
    >>> from skclif.metrics import cace, counterfactual_pairs
    >>> concepts = pd.DataFrame({"food": ["good", "bad", "good", "bad"]})
    >>> pairs = counterfactual_pairs(
    ...     concepts, groups=[1, 1, 2, 2], edited=[None, "food", "food", None]
    ... )
    >>> cace([0.2, -0.2, 0.4, -0.4], pairs).reset_index()
      concept  from    to    0
    0    food  good   bad  0.3
    1    food   bad  good -0.3
    """
    matrix = as_matrix("effects", effects)
    _check_pairs(pairs)
    check_length("effects", len(matrix), len(pairs), "pairs")
    keys = [pairs[column].to_numpy() for column in INTERVENTION]
    means = pd.DataFrame(matrix).groupby(keys, sort=False).mean()
    return means.rename_axis(index=INTERVENTION)


cace.__module__ = "skclif.metrics"


def _positions(
    pairs: pd.DataFrame, n_rows: int, of: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of bases and counterfactuals, checked."""
    _check_pairs(pairs)
    for column in ("base", "counterfactual"):
        rows = pairs[column].to_numpy()
        if rows.dtype.kind not in "iu" or (rows < 0).any() or (rows >= n_rows).any():
            raise ValueError(
                f"pairs[{column!r}] must be positions of rows of {of}, whole numbers "
                f"from 0 to {n_rows - 1}. Make the pairs of these rows by "
                "counterfactual_pairs."
            )
    return pairs["base"].to_numpy(), pairs["counterfactual"].to_numpy()


def _check_pairs(pairs: Any) -> None:
    if not isinstance(pairs, pd.DataFrame):
        raise TypeError(
            "pairs must be the DataFrame that counterfactual_pairs returns, got "
            f"{type(pairs).__name__}."
        )
    needed = ["base", "counterfactual", *INTERVENTION]
    if missing := [name for name in needed if name not in pairs.columns]:
        raise ValueError(
            f"pairs has no column {missing[0]!r}; it must be the DataFrame that "
            "counterfactual_pairs returns."
        )
    if not len(pairs):
        raise ValueError("pairs has no rows; there is nothing to compare.")


def as_matrix(name: str, values: ArrayLike) -> np.ndarray:
    """Return finite numbers with two dimensions; one column may be given as one."""
    with error_context(
        name, "numbers, with a row for each and a column for each class"
    ):
        matrix: np.ndarray = check_array(
            as_array(name, values), dtype=np.float64, ensure_2d=False, input_name=name
        )
    return matrix[:, np.newaxis] if matrix.ndim == 1 else matrix
