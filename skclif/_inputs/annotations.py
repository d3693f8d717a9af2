"""Annotations as given ↔ names, values and codes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from .._results.words import how_many
from ..exceptions import (
    ConstantConceptWarning,
    ManyValuesWarning,
    UnseenValueWarning,
    warn_user,
)
from .checks import (
    LARGEST_NUMBER,
    check_annotation_weights,
    check_length,
    check_row_order,
    sorted_values,
)
from .collections import refuse_collections
from .orders import order_of
from .soft import (
    Coded,
    Shares,
    coded,
    distributions_of,
    join_soft,
    values_given,
)
from .tensors import as_array

# What goes past the concepts, in contributions and as a path of influence.
NOT_IN_CONCEPTS = "not in the concepts"
RESERVED_NAMES = ("label", "interaction", NOT_IN_CONCEPTS)
KINDS = ("categorical", "continuous")
# More different whole numbers look like amounts, and not like grades.
MOST_GRADES = 20
# Fewer values are nothing to speak of, however few the rows.
_MANY = 10


def is_nearly_one_each(n_values: int, n_rows: int) -> bool:
    """Return whether there are nearly as many values as rows, as with free text."""
    return n_values > max(_MANY, n_rows / 2)


@dataclass(frozen=True)
class ManyValues:
    """Values of a concept that seem to be no categories.

    Attributes
    ----------
    concept : str
    n_values : int
        Different values.
    n_rows : int
        Annotated rows.
    example : object
        One of the values.
    are_numbers : bool
        Whether they are whole numbers: amounts, perhaps. Otherwise there are nearly as
        many values as rows, as with free text, names, ids and dates.
    """

    concept: str
    n_values: int
    n_rows: int
    example: Any
    are_numbers: bool

    @classmethod
    def of(
        cls, concept: str, values: np.ndarray, n_rows: int | None = None
    ) -> ManyValues | None:
        """Return what is odd about the annotated values of a concept, if anything.

        Parameters
        ----------
        concept : str
        values : ndarray
            Of all rows, or the different ones of more rows.
        n_rows : int, default=None
            Number of these rows. None is the number of values.
        """
        if values.dtype.kind not in "iufUO" or not len(values):
            return None
        n_rows = len(values) if n_rows is None else n_rows
        different = sorted_values(values, f"Concept {concept!r}")
        n, are_numbers = len(different), values.dtype.kind in "iuf"
        is_many = are_numbers and n > MOST_GRADES
        if not is_many and not is_nearly_one_each(n, n_rows):
            return None
        return cls(concept, n, n_rows, plain_value(different[0]), are_numbers)

    def __str__(self) -> str:
        """Return what is odd, and what to do in Python."""
        if self.are_numbers:
            return (
                f"Concept {self.concept!r} has {self.n_values} different whole numbers "
                f"in {self.n_rows} annotated rows, and each is a category of its own. "
                "If they are amounts, use "
                f"concept_kinds={{{self.concept!r}: 'continuous'}}; if not, "
                f"{{{self.concept!r}: 'categorical'}} says so."
            )
        return (
            f"Concept {self.concept!r} has {self.n_values} different values in "
            f"{self.n_rows} annotated rows, such as {self.example!r}: it seems to hold "
            "free text, names or dates, which no head can learn as categories. Leave "
            "it out, or group its values; if it is right, "
            f"concept_kinds={{{self.concept!r}: 'categorical'}} says so."
        )


@dataclass(frozen=True, eq=False)
class Annotations:
    """Annotations and their weights as they were given, read once.

    Attributes
    ----------
    table : DataFrame of shape (n_samples, n_concepts)
        With checked names; values as they were given, and `SoftValue` where more than
        one value has a share.
    weights : ndarray of shape (n_samples, n_concepts)
        Of the annotations by themselves.
    as_frame : bool
        Whether they came as a DataFrame of pandas.
    named : bool
        Whether their columns had names, in a table of any library.
    soft : dict of str to list of str
        The values that each concept with soft annotations names.
    """

    table: pd.DataFrame
    weights: np.ndarray
    as_frame: bool
    named: bool
    soft: Mapping[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, concepts: Any, weights: Any, n_samples: int) -> Annotations | None:
        """Read the arguments `concepts` and `concept_sample_weight` of a fit.

        Raises
        ------
        TypeError, ValueError
            If they have no such shape, or weights were given without annotations.
        """
        if concepts is None:
            if weights is not None:
                raise ValueError("concept_sample_weight was given without concepts.")
            return None
        table, soft = read_table(concepts)
        named = has_names(concepts)
        check_length("concepts", len(table), n_samples)
        check_row_order(concepts=concepts, concept_sample_weight=weights)
        weights = check_annotation_weights(weights, table, by_name=named)
        return cls(table, weights, isinstance(concepts, pd.DataFrame), named, soft)

    @property
    def orders(self) -> dict[str, list[Any]]:
        """The order of the values of each concept whose type has an order."""
        orders = {name: order_of(column) for name, column in self.table.items()}
        return {str(name): o for name, o in orders.items() if o is not None}

    @property
    def declared(self) -> dict[str, list[Any]]:
        """The values that a concept's columns or their type declare, seen or not."""
        types = {
            str(name): column.dtype.categories.tolist()
            for name, column in self.table.items()
            if isinstance(column.dtype, pd.CategoricalDtype)
        }
        return {**types, **self.soft}

    def many_values(self) -> list[ManyValues]:
        """Return the concepts whose values seem to be no categories.

        Concepts with numbers that are not whole are left out: they are continuous.
        """
        found = []
        for name, column in self.table.items():
            if name in self.soft:
                continue
            values = _plain(column[column.notna()])
            if _is_categorical(values):
                found.append(ManyValues.of(str(name), values))
        return [one for one in found if one is not None]

    def learn(
        self, sample_weight: np.ndarray, kinds: dict[str, str] | None = None
    ) -> tuple[ConceptSchema, Coded]:
        """Return names and values of the concepts, and the codes of all annotations.

        Annotations of rows or of weight 0 count as missing.

        Parameters
        ----------
        sample_weight : ndarray of shape (n_samples,)
        kinds : dict of str to {"categorical", "continuous"}, default=None
            Overrides: otherwise numbers that are not whole make a concept continuous.

        Raises
        ------
        ValueError
            If a concept has no observed value, or `kinds` does not fit.

        Warns
        -----
        ConstantConceptWarning
            If a concept has one observed value.
        ManyValuesWarning
            If the values of a concept seem to be no categories, and `kinds` does not
            say that they are.
        """
        kinds = check_kinds(kinds, list(self.table.columns))
        counted = self.weights * sample_weight[:, None] > 0
        codes = np.full(self.weights.shape, np.nan)
        classes: list[np.ndarray | None] = []
        orders, constants = self.orders, {}
        shares: Shares = {}
        for j, name in enumerate(self.table.columns):
            observed = counted[:, j] & self.table.iloc[:, j].notna().to_numpy()
            if name in self.soft:
                cells = self.table.iloc[observed, j].tolist()
                own, codes[observed, j], shares = _learn_soft(
                    name, cells, kinds.get(name), shares
                )
                classes.append(own)
                if len(own) == 1:
                    constants[str(name)] = plain_value(own[0])
                continue
            values = _plain(self.table.iloc[observed, j])
            known, codes[observed, j] = _learn_column(
                name, values, kinds.get(name), orders.get(name)
            )
            classes.append(known)
            if len(known) == 1 if known is not None else values.min() == values.max():
                constants[str(name)] = plain_value(values[0])
            elif known is not None and name not in kinds:
                many = ManyValues.of(name, values)
                if many is not None:
                    warn_user(str(many), ManyValuesWarning)
        warn_of_constants(constants)
        names = tuple(self.table.columns)
        return ConceptSchema(names, tuple(classes), self.as_frame), Coded(codes, shares)


@dataclass(frozen=True)
class ConceptSchema:
    """The concepts that a model knows.

    Attributes
    ----------
    names : tuple of str
    classes : tuple of ndarray or None
        Observed values of each categorical concept, in the order of its type or else
        sorted; None for a continuous one. One value makes a concept a constant.
    as_frame : bool
        Whether the annotations came as a DataFrame.
    """

    names: tuple[str, ...] = ()
    classes: tuple[np.ndarray | None, ...] = ()
    as_frame: bool = False

    def encode(
        self,
        annotations: Annotations,
        sample_weight: np.ndarray | None = None,
        *,
        partial: bool = False,
        of_fit: bool = False,
        shares: Shares | None = None,
    ) -> Coded:
        """Return codes (n_samples, n_concepts), float64, NaN where not annotated.

        The code of a continuous concept is its value. An annotation of weight 0, or in
        a row of weight 0, may have any value; it counts as not annotated if the model
        does not know it. So does a value that a model of other rows cannot know: one of
        a constant, or one that the type of the column declares, or a soft annotation
        with a share of such a value.

        Parameters
        ----------
        annotations : Annotations
        sample_weight : ndarray of shape (n_samples,), default=None
            None for 1.
        partial : bool, default=False
            Whether a table with names may leave out concepts.
        of_fit : bool, default=False
            Whether the rows are those of the fit, which has seen all values.
        shares : Shares, default=None
            What codes of other rows stand for; they stay as they are.

        Raises
        ------
        ValueError
            If the columns are not the model's, or a value was never seen in fit.

        Warns
        -----
        UnseenValueWarning
            If a value counts as not annotated.
        """
        columns = self._columns(annotations, partial)
        codes = np.full((len(annotations.table), len(self.names)), np.nan)
        unseen: list[str] = []
        shares = {} if shares is None else shares
        for j, column in enumerate(columns):
            if column is None:
                continue
            values = annotations.table.iloc[:, column]
            given = values.notna().to_numpy()
            if values.name in annotations.soft:
                cells = values[given].tolist()
                codes[given, j], shares, new = self._encode_soft(j, cells, shares)
                weight = annotations.weights[given, column]
                if sample_weight is not None:
                    weight = weight * sample_weight[given]
                counted = pd.Series(new, dtype=object)[weight > 0].dropna()
                if of_fit and len(counted):
                    self._refuse_value(j, counted.iloc[0])
                unseen += _counts(self.names[j], counted)
                continue
            weights = annotations.weights[:, column]
            if sample_weight is not None:
                weights = weights * sample_weight
            weightless = given & (weights == 0)
            given = given & ~weightless
            if not of_fit:
                missing = given & self._cannot_be_known(j, values)
                given = given & ~missing
                unseen += _counts(self.names[j], values[missing])
            codes[given, j] = self._encode_column(j, values[given])
            codes[weightless, j] = _known_codes(self.classes[j], values[weightless])
        if unseen:
            warn_user(
                "concepts has values that no row had in fit, so that they count as not "
                f"annotated: {', '.join(unseen)}.",
                UnseenValueWarning,
            )
        return Coded(codes, shares)

    def arrange(self, annotations: Annotations) -> np.ndarray:
        """Return the weights of annotations in the order of the concepts, 1 if none."""
        columns = self._columns(annotations, partial=True)
        weights = np.ones((len(annotations.table), len(self.names)))
        for j, column in enumerate(columns):
            if column is not None:
                weights[:, j] = annotations.weights[:, column]
        return weights

    def decode(
        self, codes: np.ndarray, index: pd.Index | None = None
    ) -> pd.DataFrame | np.ndarray:
        """Return values for codes, in the kind of container the annotations came in."""
        columns = [
            codes[:, j] if values is None else values[codes[:, j].astype(int)]
            for j, values in enumerate(self.classes)
        ]
        if self.as_frame:
            frame = dict(zip(self.names, columns, strict=True))
            return pd.DataFrame(frame, index=index, columns=list(self.names))
        return np.column_stack(_common_dtype(columns))

    def activation_names(self) -> list[str]:
        """Return ``concept=value`` (or ``concept``) for every activation column."""
        names = []
        for name, values in zip(self.names, self.classes, strict=True):
            if values is None:
                names.append(name)
                continue
            shown = values[len(values) - n_activations(values) :]
            names += [f"{name}={format_value(value)}" for value in shown]
        return names

    def _columns(self, annotations: Annotations, partial: bool) -> list[int | None]:
        """Return the column of every concept, by name where columns are named."""
        given = list(annotations.table.columns)
        if not annotations.named:
            if len(given) != len(self.names):
                raise ValueError(
                    f"concepts has {how_many(len(given), 'column')}, but the model "
                    "was fitted "
                    f"with {len(self.names)}: {', '.join(self.names)}."
                )
            return list(range(len(given)))
        unknown = [name for name in given if name not in self.names]
        missing = [name for name in self.names if name not in given]
        if unknown or (missing and not partial):
            raise ValueError(
                "concepts must have the columns the model was fitted with "
                f"({', '.join(self.names)}); unknown: {unknown}, missing: {missing}."
            )
        return [given.index(name) if name in given else None for name in self.names]

    def _cannot_be_known(self, j: int, values: pd.Series) -> np.ndarray:
        """Return which values are new but no mistake of spelling, (n_rows,)."""
        known = self.classes[j]
        is_declared = isinstance(values.dtype, pd.CategoricalDtype)
        if known is None or not (len(known) == 1 or is_declared):
            return np.zeros(len(values), dtype=bool)
        is_value = [isinstance(value, Hashable) for value in values.tolist()]
        unknown: np.ndarray = np.isnan(_known_codes(known, values)) & is_value
        return unknown

    def _encode_column(self, j: int, values: pd.Series) -> np.ndarray:
        classes = self.classes[j]
        if classes is None:
            return _numbers(self.names[j], _plain(values))
        codes = pd.Index(classes).get_indexer(pd.Index(_plain(values)))
        if (codes < 0).any():
            unknown = values.iloc[int(np.flatnonzero(codes < 0)[0])]
            unknown = unknown.item() if isinstance(unknown, np.generic) else unknown
            self._refuse_value(j, unknown)
        return codes

    def _encode_soft(
        self, j: int, cells: list[Any], shares: Shares
    ) -> tuple[np.ndarray, Shares, np.ndarray]:
        """Return codes of soft annotations, and a value of each that is not known.

        Values are known by their text, which columns are named by.
        """
        classes = self.classes[j]
        if classes is None:
            raise ValueError(
                f"concepts has soft annotations of concept {self.names[j]!r}, which "
                "is continuous; give it one column of numbers."
            )
        places = {format_value(value): k for k, value in enumerate(classes.tolist())}
        found, unknown = distributions_of(cells, places, len(classes))
        is_known = pd.isna(unknown)
        codes = np.full(len(cells), np.nan)
        codes[is_known], shares = coded(found[is_known], shares)
        return codes, shares, unknown

    def _refuse_value(self, j: int, unknown: Any) -> None:
        classes = self.classes[j]
        assert classes is not None
        raise ValueError(
            f"concepts has the value {unknown!r} for concept "
            f"{self.names[j]!r}, which was never seen in fit; known values: "
            f"{', '.join(repr(v) for v in classes.tolist())}."
        )


def representatives(cells: pd.Series, kind: str | None) -> np.ndarray:
    """Return values from which the same is learned as from all given annotations.

    They are the distinct values of categories; of continuous numbers the smallest, the
    largest, and one that is not whole.

    Parameters
    ----------
    cells : Series
        Annotations that are given, of one concept.
    kind : {"categorical", "continuous"} or None
        None if the values say it.
    """
    values = _plain(cells)
    if not len(values):
        return values
    if kind == "continuous":
        values = _numbers(str(cells.name), values)
        return np.array([values.min(), values.max()])
    if kind is None and not _is_categorical(values):
        odd = values[~(values == np.floor(values)) | ~np.isfinite(values)]
        return np.array([values.min(), values.max(), odd[0]])
    return sorted_values(values, f"Concept {cells.name!r}")


def learn_schema(
    head: Annotations,
    values: Sequence[np.ndarray],
    counts: Sequence[int],
    kinds: dict[str, str] | None,
) -> ConceptSchema:
    """Return names and values of concepts, as :meth:`Annotations.learn` does.

    Parameters
    ----------
    head : Annotations
        Of plain concepts; the rows are not looked at.
    values : sequence of ndarray
        The `representatives` of every concept.
    counts : sequence of int
        Number of annotations for which they stand.
    kinds : dict of str to {"categorical", "continuous"} or None
    """
    names, orders = tuple(head.table.columns), head.orders
    kinds = check_kinds(kinds, list(names))
    classes: list[np.ndarray | None] = []
    constants = {}
    for name, own, n in zip(names, values, counts, strict=True):
        known, _ = _learn_column(name, own, kinds.get(name), orders.get(name))
        classes.append(known)
        if len(known) == 1 if known is not None else own.min() == own.max():
            constants[str(name)] = plain_value(own[0])
        elif known is not None and name not in kinds:
            many = ManyValues.of(name, own, n)
            if many is not None:
                warn_user(str(many), ManyValuesWarning)
    warn_of_constants(constants)
    return ConceptSchema(names, tuple(classes), head.as_frame)


def read_table(concepts: Any) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Return annotations with a column for each concept, and the soft concepts.

    See `concept_table` and `join_soft`.
    """
    table = _named_table(concepts)
    joined, soft = join_soft(table)
    return (table if joined is table else _check_names(joined)), soft


def concept_table(concepts: Any) -> pd.DataFrame:
    """Return annotations as a DataFrame with a column for each concept.

    Values are never converted, except that those of soft annotations are `SoftValue`.

    Raises
    ------
    TypeError
        If `concepts` is a dict, a sparse matrix or text.
    ValueError
        If it is not two-dimensional, has no columns, or names are not usable, or shares
        are no distributions.
    """
    return read_table(concepts)[0]


def _named_table(concepts: Any) -> pd.DataFrame:
    """Return annotations as a DataFrame with checked names, as they were given."""
    refuse_collections("This method", concepts=concepts)
    concepts = as_array("concepts", concepts)
    if isinstance(concepts, dict | str | bytes) or sparse.issparse(concepts):
        raise TypeError(
            "concepts must be a DataFrame, an array or a list of rows of shape "
            f"(n_samples, n_concepts), got {type(concepts).__name__}. Searches cannot "
            "slice it; pass pandas.DataFrame(concepts) instead."
        )
    if has_names(concepts):
        is_frame = isinstance(concepts, pd.DataFrame)
        return _check_names(concepts if is_frame else concepts.to_pandas())
    ndim = np.ndim(concepts) if hasattr(concepts, "shape") else _list_ndim(concepts)
    if ndim != 2:
        raise ValueError(
            "concepts must have two dimensions, (n_samples, n_concepts), got "
            f"{ndim}. A single concept is one column: a DataFrame with one column, or "
            "reshape(-1, 1)."
        )
    if isinstance(concepts, np.ndarray) and not concepts.dtype.isnative:
        concepts = concepts.astype(concepts.dtype.newbyteorder("="))  # for pandas
    table = pd.DataFrame(concepts)
    table.columns = [f"concept{j}" for j in range(table.shape[1])]
    return _check_names(table)


def has_names(concepts: Any) -> bool:
    """Return whether annotations are a table of pandas, polars, Arrow … with names."""
    return isinstance(concepts, pd.DataFrame) or hasattr(concepts, "to_pandas")


def n_activations(values: np.ndarray | None) -> int:
    """Return how many columns the label head sees of a concept with such values."""
    if values is None:
        return 1
    return len(values) if len(values) > 2 else len(values) - 1


def warn_of_constants(constants: Mapping[str, Any]) -> None:
    """Name the concepts of which only one value is there.

    Parameters
    ----------
    constants : mapping of str to object
        The value by the name of the concept.
    """
    if not constants:
        return
    several = len(constants) > 1
    named = ", ".join(f"{name!r} ({value!r})" for name, value in constants.items())
    warn_user(
        f"{how_many(len(constants), 'concept')} {'have' if several else 'has'} only "
        f"one observed value: {named}. Such a concept is a constant: it tells the "
        "label nothing and has no influence. Annotate rows with another value, or "
        f"leave {'them' if several else 'it'} out.",
        ConstantConceptWarning,
    )


def plain_value(value: Any) -> Any:
    """Return a Python number or string; a whole number if it is one."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def format_value(value: Any) -> str:
    """Return a value in the form used in names (1.0 from a column with NaN is 1)."""
    return str(plain_value(value))


def _list_ndim(concepts: Any) -> int:
    if not hasattr(concepts, "__len__") or not hasattr(concepts, "__getitem__"):
        raise TypeError(
            "concepts must be a DataFrame, an array or a list of rows of shape "
            f"(n_samples, n_concepts), got {type(concepts).__name__}."
        )
    rows = list(concepts)
    if any(isinstance(row, dict | set) for row in rows):
        raise TypeError(
            "concepts must be a DataFrame, an array or a list of rows of shape "
            "(n_samples, n_concepts), got a list of dict or set. Pass "
            "pandas.DataFrame(concepts) instead."
        )
    nested = all(
        hasattr(row, "__len__") and not isinstance(row, str | bytes) for row in rows
    )
    lengths = {len(row) for row in rows} if nested else set()
    if len(lengths) > 1:
        raise ValueError(
            f"concepts has rows of different lengths: {sorted(lengths)}; every row "
            "needs one entry a concept, None where it is not annotated."
        )
    return 2 if nested and rows else 1


def _check_names(table: pd.DataFrame) -> pd.DataFrame:
    names = list(table.columns)
    if not names:
        raise ValueError(
            "concepts has no columns; pass concepts=None for a model without a "
            "bottleneck."
        )
    wrong = [name for name in names if not isinstance(name, str)]
    if wrong:
        raise ValueError(
            f"The columns of concepts must be named by strings, got {wrong[0]!r}. "
            "Rename them, for example with concepts.columns.astype(str)."
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"concepts has columns of the same name: {repeated}.")
    for name in RESERVED_NAMES:
        if name in names:
            raise ValueError(
                f"A concept cannot be named {name!r}: the name is reserved for a path "
                "of influence. Rename the column."
            )
    return table


def check_kinds(kinds: dict[str, str] | None, names: list[str]) -> dict[str, str]:
    """Return the kinds of concepts that were given, by names that there are."""
    kinds = {} if kinds is None else kinds
    unknown = [name for name in kinds if name not in names]
    if unknown:
        raise ValueError(
            f"concept_kinds names {unknown[0]!r}, but the concepts are "
            f"{', '.join(map(repr, names))}."
        )
    for name, kind in kinds.items():
        if kind not in KINDS:
            raise ValueError(
                f"concept_kinds gives {name!r} the kind {kind!r}; use 'categorical' or "
                "'continuous'."
            )
    return kinds


def _learn_column(
    name: str, values: np.ndarray, kind: str | None, order: list[Any] | None
) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the values of a concept, None if continuous, and all codes.

    The values are in `order`, and sorted if it is None.
    """
    if kind is None:
        kind = "categorical" if _is_categorical(values) else "continuous"
    if kind == "continuous":
        values = _numbers(name, values)
    observed = sorted_values(values, f"Concept {name!r}")
    if not len(observed):
        raise _nothing_annotated(name)
    if kind == "continuous":
        return None, values
    codes = np.searchsorted(observed, values)
    if order is None:
        return observed, codes
    places = np.argsort(pd.Index(order).get_indexer(pd.Index(observed)))
    return observed[places], np.argsort(places)[codes]


def _learn_soft(
    name: str, cells: list[Any], kind: str | None, shares: Shares
) -> tuple[np.ndarray, np.ndarray, Shares]:
    """Return the values of a concept with soft annotations, all codes, and shares."""
    if kind == "continuous":
        raise ValueError(
            f"concept_kinds says that {name!r} is continuous, but its annotations are "
            "shares of values: leave it out of concept_kinds, or give it one column of "
            "numbers."
        )
    given = values_given(cells)
    if not given:
        raise _nothing_annotated(name)
    values = pd.Series(given, dtype=object, name=name)
    known = sorted_values(_plain(values), f"Concept {name!r}")
    places = {value: k for k, value in enumerate(known.tolist())}
    found, _ = distributions_of(cells, places, len(known))
    return known, *coded(found, shares)


def _nothing_annotated(name: str) -> ValueError:
    return ValueError(
        f"Concept {name!r} has no annotation that has weight. Leave it out, or "
        "annotate rows."
    )


def values_in_order(
    name: str, values: Sequence[Any], order: list[Any] | None
) -> np.ndarray | None:
    """Return the distinct values as a fit holds them; None for continuous numbers.

    They are sorted if the order lacks one of them, or is None.
    """
    if order is not None and not set(values) <= set(order):
        order = None
    column = pd.Series(list(values), dtype=object, name=name)
    return _learn_column(name, _plain(column), None, order)[0]


def _is_categorical(values: np.ndarray) -> bool:
    if values.dtype.kind != "f":
        return True
    return bool(np.all(np.isfinite(values) & (values == np.floor(values))))


def _counts(name: str, values: pd.Series) -> list[str]:
    """Return what values there are, and in how many rows."""
    counts = pd.Series(values.to_numpy(dtype=object)).value_counts(sort=False)
    return [
        f"{plain_value(value)!r} of {name!r} ({how_many(n, 'row')})"
        for value, n in counts.items()
    ]


def _known_codes(classes: np.ndarray | None, values: pd.Series) -> np.ndarray:
    """Return the codes of values that may be anything, NaN where there is none."""
    if not len(values):
        return np.empty(0)
    objects = values.to_numpy(dtype=object)
    if classes is None:
        numbers = [value_code(None, value) for value in objects]
        return np.array(numbers, dtype=np.float64)  # NaN for None
    codes = np.full(len(objects), np.nan)
    known = classes.astype(object)
    usable = np.array([isinstance(value, Hashable) for value in objects])
    for alike in (_are_bool, _are_not_bool):  # Python says that True is 1
        codes_alike, rows = alike(known).nonzero()[0], alike(objects) & usable
        index = pd.Index(known[codes_alike], dtype=object)
        found = index.get_indexer(pd.Index(objects[rows], dtype=object))
        codes[rows] = np.where(found < 0, np.nan, np.append(codes_alike, -1)[found])
    return codes


def _are_bool(values: np.ndarray) -> np.ndarray:
    return np.array([isinstance(value, bool | np.bool_) for value in values], bool)


def _are_not_bool(values: np.ndarray) -> np.ndarray:
    return ~_are_bool(values)


def _numbers(name: str, values: np.ndarray) -> np.ndarray:
    """Return the values of a continuous concept as finite float64."""
    odd = [v for v in values.tolist() if not isinstance(v, int | float)]
    if odd:
        raise ValueError(
            f"Concept {name!r} is continuous, but has the value {odd[0]!r}; give "
            "numbers."
        )
    values = values.astype(np.float64)
    if not (np.abs(values) <= LARGEST_NUMBER).all():
        raise ValueError(
            f"Concept {name!r} is continuous, but has the value "
            f"{values[np.abs(values).argmax()]:.3g}; numbers must be at most "
            f"{LARGEST_NUMBER:g} in size. Divide them by a constant, clip them, or "
            "leave those rows not annotated."
        )
    return values


def _plain(values: pd.Series) -> np.ndarray:
    """Return annotated values as an array of the plainest dtype that holds them."""
    array = values.to_numpy(dtype=object)
    kinds = {type(value) for value in array}
    for kind in kinds:
        if not issubclass(kind, Hashable):
            raise ValueError(
                f"Concept {values.name!r} has a value of type {kind.__name__}; an "
                "annotation is one value, a string or a number. Give every value a "
                "concept of its own."
            )
    if kinds and all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return array.astype(bool)
    numbers = (int, float, np.integer, np.floating)
    try:
        if kinds and all(issubclass(kind, int | np.integer) for kind in kinds):
            return array.astype(np.int64)
        if kinds and all(issubclass(kind, numbers) for kind in kinds):
            return array.astype(np.float64)
    except OverflowError as error:
        raise ValueError(
            f"Concept {values.name!r} has a number too large to compute with. Divide "
            "the numbers by a constant, or use .astype(str) if they are codes."
        ) from error
    if kinds and all(issubclass(kind, str) for kind in kinds):
        return array.astype(str)
    return array


def _common_dtype(columns: list[np.ndarray]) -> list[np.ndarray]:
    same = len({column.dtype for column in columns}) == 1
    return columns if same else [column.astype(object) for column in columns]


def value_code(classes: np.ndarray | None, value: Any) -> float | None:
    """Return the code of a value, None if it has none; a number is its own."""
    value = value.item() if isinstance(value, np.generic) else value
    if classes is None:
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        size: Any = abs(value) if is_number else np.inf
        return float(value) if size <= LARGEST_NUMBER else None
    if not pd.api.types.is_scalar(value):
        return None
    for code, known in enumerate(classes.tolist()):
        if isinstance(value, bool) == isinstance(known, bool) and value == known:
            return float(code)
    return None
