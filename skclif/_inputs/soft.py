"""Soft annotations: shares over the values of a concept in place of one value.

In a table they are columns named ``concept=value``. Inside, a concept has one column:
its cells are plain values, or `SoftValue` where more than one value has a share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd

# Shares of a row may add up to 1 with this error, as those in single precision do.
SUM_TOL = 1e-6
# Smaller shares are left out where a soft annotation is shown.
_SHOWN = 0.005
_WHAT = "Shares are numbers from 0 to 1 that add up to 1 in every row"

# Distributions over values, (n, n_values), by their number of values. In the codes of a
# concept with m values, m + i stands for row i of the distributions over m values.
Shares: TypeAlias = dict[int, np.ndarray]


class Coded(NamedTuple):
    """Annotations as codes.

    Attributes
    ----------
    codes : ndarray of shape (n_samples, n_concepts)
        Codes of values, or numbers; NaN where there is none. Codes beyond those of the
        values stand for distributions.
    shares : Shares
        What they stand for.
    """

    codes: np.ndarray
    shares: Shares


@dataclass(frozen=True, slots=True)
class SoftValue:
    """A soft annotation: the shares of values, which add up to 1.

    Attributes
    ----------
    values : tuple of str
    numbers : tuple of float
        The share of each value.
    """

    values: tuple[str, ...]
    numbers: tuple[float, ...]

    @property
    def shares(self) -> dict[str, float]:
        """The shares of values that have any."""
        pairs = zip(self.values, self.numbers, strict=True)
        return {value: share for value, share in pairs if share > 0}

    def __str__(self) -> str:
        return text_of_shares(self.values, self.numbers)


def text_of_shares(values: Sequence[Any], shares: Sequence[float]) -> str:
    """Return shares as people read them, the largest first: "good .7, bad .3"."""
    order = np.argsort(-np.asarray(shares), kind="stable")
    shown = [k for k in order.tolist() if shares[k] >= _SHOWN]
    return ", ".join(f"{values[k]} {_short(shares[k])}" for k in shown)


def _short(share: float) -> str:
    """Return a share with two digits, and none that say nothing."""
    if 1 - _SHOWN < share < 1:
        return ">.99"
    return f"{share:.2f}".lstrip("0").rstrip("0").rstrip(".")


def soft_values(values: Sequence[str], shares: np.ndarray) -> np.ndarray:
    """Return rows of shares as soft annotations, (n,), object.

    A value that has the whole share stands for itself, and None for NaN.

    Parameters
    ----------
    values : sequence of str
    shares : ndarray of shape (n, n_values)
        They add up to 1, but for rounding.
    """
    found = np.full(len(shares), None, dtype=object)
    n_positive, names = (shares > 0).sum(axis=1), tuple(values)
    is_whole, is_soft = n_positive == 1, n_positive > 1
    best = shares[is_whole].argmax(axis=1)
    found[is_whole] = np.array(names, dtype=object)[best]
    parts = shares[is_soft] / shares[is_soft].sum(axis=1, keepdims=True)
    soft = [SoftValue(names, tuple(row)) for row in parts.tolist()]
    found[is_soft] = np.fromiter(soft, dtype=object, count=len(soft))
    return found


def check_shares(
    said: str, row: int, values: Sequence[str], shares: Sequence[float]
) -> None:
    """Refuse shares of one row that are no distribution.

    Parameters
    ----------
    said : str
        How the message begins: where they were given.
    row : int
    values : sequence of str
    shares : sequence of float
    """
    for value, share in zip(values, shares, strict=True):
        if not 0 <= share < np.inf:
            raise ValueError(
                f"{said} the share {share:.3g} of {value!r} in row {row}. {_WHAT}."
            )
    total = sum(shares)
    if not abs(total - 1) <= SUM_TOL:
        raise ValueError(
            f"{said} shares in row {row} that add up to {total:.7g}. {_WHAT}: divide "
            "them by their sum, and give each value its column. Columns that are no "
            "shares of the values of one concept need names without '='."
        )


def join_soft(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Return annotations with one column for each concept, and the soft concepts.

    Parameters
    ----------
    table : DataFrame
        With names. Two or more columns of numbers whose names begin with the same
        ``concept=`` are shares; bools and words are plain annotations under any name.

    Returns
    -------
    table : DataFrame of shape (n_samples, n_concepts)
        A soft concept stands where the first of its columns stood.
    declared : dict of str to list of str
        The values that the columns of each soft concept name, with a share or without.

    Raises
    ------
    ValueError
        If shares are no distributions, a concept has soft and plain columns, or one
        column alone looks like shares.
    """
    declared = {
        str(name): _values_in(column)
        for name, column in table.items()
        if pd.api.types.is_object_dtype(column) and _values_in(column)
    }
    groups = {
        concept: columns
        for concept, columns in _by_concept(table).items()
        if _is_soft(concept, columns, table)
    }
    if not groups:
        return table, declared
    firsts = {columns[0]: concept for concept, columns in groups.items()}
    parts = {column for columns in groups.values() for column in columns}
    joined: dict[str, Any] = {}
    for name, column in table.items():
        if name in firsts:
            concept = firsts[str(name)]
            names = groups[concept]
            values = [part.partition("=")[2] for part in names]
            joined[concept] = _joined(concept, values, table[names])
            declared[concept] = values
        elif name not in parts:
            joined[str(name)] = column
    return pd.DataFrame(joined, index=table.index), declared


def shares_in(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the columns that are read as shares, right or wrong, by concept."""
    return {
        concept: columns
        for concept, columns in _by_concept(table).items()
        if len(columns) > 1 and all(_is_numbers(table[name]) for name in columns)
    }


def _by_concept(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return the columns named ``concept=value``, by concept."""
    found: dict[str, list[str]] = {}
    for name in table.columns:
        concept, _, value = name.partition("=")
        if concept and value:
            found.setdefault(concept, []).append(name)
    return found


def _is_soft(concept: str, columns: list[str], table: pd.DataFrame) -> bool:
    """Return whether columns are the shares of a concept's values."""
    numbers = [name for name in columns if _is_numbers(table[name])]
    if len(columns) == 1:
        _refuse_lone(concept, numbers, table)
        return False
    others = [name for name in columns if name not in numbers]
    if others:
        numbers = [name for name in numbers if table[name].notna().any()]
    if not numbers:
        return False
    if others:
        raise ValueError(
            f"concepts has shares of values of {concept!r} in the column "
            f"{numbers[0]!r}, but no numbers in {others[0]!r}. Columns named "
            f"'{concept}=...' are the shares of its values, so all of them need "
            "numbers. Rename the others if they are concepts of their own."
        )
    if concept in table.columns:
        raise ValueError(
            f"concepts has the plain column {concept!r} and soft columns of the same "
            f"concept ({', '.join(map(repr, columns))}). Leave one form out, or "
            "rename what is another concept."
        )
    return True


def _refuse_lone(concept: str, numbers: list[str], table: pd.DataFrame) -> None:
    """Refuse one column that looks like shares: those of other values are missing."""
    for name in numbers:
        shares = _floats(table[name])
        shares = shares[~np.isnan(shares)]
        are_shares = ((shares >= 0) & (shares <= 1)).all()
        if are_shares and (shares != np.floor(shares)).any():
            raise ValueError(
                f"concepts has the column {name!r} with shares, and no other column "
                f"of {concept!r}. A soft annotation needs a column for every value, "
                f"also if there are two: add '{concept}=...' with the rest of every "
                f"share. If {name!r} is a continuous concept, rename it."
            )


def _is_numbers(column: pd.Series) -> bool:
    dtype = column.dtype
    if pd.api.types.is_object_dtype(dtype):
        given = column[column.notna()]
        return all(
            isinstance(value, Real) and not isinstance(value, bool | np.bool_)
            for value in given
        )
    is_real = pd.api.types.is_numeric_dtype(dtype)
    return (
        is_real
        and not pd.api.types.is_bool_dtype(dtype)
        and not pd.api.types.is_complex_dtype(dtype)
    )


def _floats(column: pd.Series) -> np.ndarray:
    found: np.ndarray = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return found


def _joined(concept: str, values: list[str], columns: pd.DataFrame) -> pd.Series:
    """Return checked shares of one concept as one column."""
    shares = np.column_stack([_floats(columns[name]) for name in columns])
    missing = np.isnan(shares)
    some = missing.any(axis=1) & ~missing.all(axis=1)
    said = f"concepts gives concept {concept!r}"
    if some.any():
        row = int(some.argmax())
        lacks = columns.columns[missing[row].argmax()]
        raise ValueError(
            f"{said} shares in row {row}, but none (NaN) in {lacks!r}. {_WHAT}: write "
            "0, or leave all of them missing where the row is not annotated."
        )
    there = np.flatnonzero(~missing[:, 0])
    given = shares[there]
    wrong = ~((given >= 0) & (np.abs(given.sum(axis=1, keepdims=True) - 1) <= SUM_TOL))
    if wrong.any():
        row = int(there[wrong.any(axis=1).argmax()])
        check_shares(said, row, values, shares[row].tolist())
    cells = soft_values(values, shares)
    return pd.Series(cells, index=columns.index, dtype=object, name=concept)


def _values_in(column: pd.Series) -> list[str]:
    """Return the values of the soft cells of a column."""
    _, groups = _grouped(column)
    return list(dict.fromkeys(value for values in groups for value in values))


def values_given(cells: Iterable[Any]) -> list[Any]:
    """Return the values that plain and soft cells name; words are there once."""
    plain, groups = _grouped(cells)
    words = dict.fromkeys(cell for _, cell in plain if type(cell) is str)
    for values, (_, numbers) in groups.items():
        used = (np.array(numbers) > 0).any(axis=0)
        words |= dict.fromkeys(np.array(values, dtype=object)[used])
    return [*words, *(cell for _, cell in plain if type(cell) is not str)]


def _grouped(
    cells: Iterable[Any],
) -> tuple[
    list[tuple[int, Any]],
    dict[tuple[str, ...], tuple[list[int], list[tuple[float, ...]]]],
]:
    """Return plain cells with their places, and places and shares of soft ones.

    The soft ones are grouped by their values, of which a table has one tuple.
    """
    plain: list[tuple[int, Any]] = []
    groups: dict[tuple[str, ...], tuple[list[int], list[tuple[float, ...]]]] = {}
    for i, cell in enumerate(cells):
        if isinstance(cell, SoftValue):
            places, numbers = groups.setdefault(cell.values, ([], []))
            places.append(i)
            numbers.append(cell.numbers)
        else:
            plain.append((i, cell))
    return plain, groups


def distributions_of(
    cells: Sequence[Any], places: Mapping[Any, int], n_values: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distributions of cells, and a value of each that has no place.

    Parameters
    ----------
    cells : sequence of object
        Values and `SoftValue`.
    places : mapping of value to int
        Codes of the values.
    n_values : int

    Returns
    -------
    distributions : ndarray of shape (n_cells, n_values)
    unknown : ndarray of shape (n_cells,), object
        None where all values have a place.
    """
    found = np.zeros((len(cells), n_values))
    unknown = np.full(len(cells), None, dtype=object)
    plain, groups = _grouped(cells)
    for i, value in plain:
        place = places.get(value)
        if place is None:
            unknown[i] = value
        else:
            found[i, place] = 1.0
    for values, (rows, numbers) in groups.items():
        shares, at = np.array(numbers), np.array(rows)
        for value, column in zip(values, shares.T, strict=True):
            place = places.get(value)
            if place is None:
                unknown[at[column > 0]] = value
            else:
                found[at, place] = column
    return found, unknown


def coded(distributions: np.ndarray, shares: Shares) -> tuple[np.ndarray, Shares]:
    """Return codes of distributions, and the shares with those that they need.

    Parameters
    ----------
    distributions : ndarray of shape (n, n_values)
    shares : Shares
        What other codes stand for; they stay as they are.
    """
    n_values = distributions.shape[1]
    is_soft = (distributions > 0).sum(axis=1) > 1
    codes = distributions.argmax(axis=1).astype(np.float64)
    if not is_soft.any():
        return codes, shares
    before = shares.get(n_values, np.empty((0, n_values)))
    codes[is_soft] = n_values + len(before) + np.arange(is_soft.sum())
    return codes, {**shares, n_values: np.vstack([before, distributions[is_soft]])}


def distributions(codes: np.ndarray, n_values: int, shares: Shares) -> np.ndarray:
    """Return what codes of one concept stand for, (n, n_values); zeros for NaN."""
    known = ~np.isnan(codes)
    found = np.zeros((len(codes), n_values))
    table = np.eye(n_values)
    if n_values in shares:
        table = np.vstack([table, shares[n_values]])
    found[known] = table[codes[known].astype(int)]
    return found


def most_probable(codes: np.ndarray, n_values: int, shares: Shares) -> np.ndarray:
    """Return the code of the value with the largest share; NaN if two have it."""
    found = codes.copy()
    for row in np.flatnonzero(codes >= n_values):
        parts = shares[n_values][int(codes[row]) - n_values]
        best = np.flatnonzero(parts == parts.max())
        found[row] = best[0] if len(best) == 1 else np.nan
    return found


def weight_of_values(
    codes: np.ndarray, weights: np.ndarray, n_values: int, shares: Shares
) -> np.ndarray:
    """Return the weight of all annotations of each value, (n_values,)."""
    is_plain, is_soft = codes < n_values, codes >= n_values  # neither if NaN
    plain = codes[is_plain].astype(int)
    total = np.bincount(plain, weights=weights[is_plain], minlength=n_values)
    if is_soft.any():
        places = codes[is_soft].astype(int) - n_values
        total = total + weights[is_soft] @ shares[n_values][places]
    return total


def recoded(
    codes: np.ndarray, places: np.ndarray, n_before: int, n_after: int, shares: Shares
) -> tuple[np.ndarray, Shares]:
    """Return codes of one concept when its values get other places.

    All distributions of the old size are carried over, so that sets of rows with the
    same shares still have the same shares.

    Parameters
    ----------
    codes : ndarray of shape (n,)
    places : ndarray of shape (n_before,)
        New codes of the values; -1 for a value that goes, whose rows become NaN.
    n_before, n_after : int
        Number of values.
    shares : Shares
    """
    before = shares.get(n_before, np.empty((0, n_before)))
    stays = places >= 0
    after = np.zeros((len(before), n_after))
    after[:, places[stays]] = before[:, stays]
    lost = (before[:, ~stays] > 0).any(axis=1)
    there = shares.get(n_after, np.empty((0, n_after)))
    of_soft = np.where(lost, -1, n_after + len(there) + np.arange(len(before)))
    new = np.concatenate([places, of_soft])
    new = np.where(new < 0, np.nan, new.astype(np.float64))
    known = ~np.isnan(codes)
    found = np.full(len(codes), np.nan)
    found[known] = new[codes[known].astype(int)]
    if not len(before) or n_after == 1:  # one value has no distributions
        return found, shares
    return found, {**shares, n_after: np.vstack([there, after])}


def shown_values(values: np.ndarray, codes: np.ndarray, shares: Shares) -> np.ndarray:
    """Return what codes of one concept stand for, as people read it, (n,), object.

    Values stay what they are; distributions are text; None for NaN.
    """
    n, listed = len(values), values.tolist()
    found = np.full(len(codes), None, dtype=object)
    is_plain = codes < n  # not NaN
    found[is_plain] = values[codes[is_plain].astype(int)].astype(object)
    for row in np.flatnonzero(codes >= n):
        found[row] = text_of_shares(listed, shares[n][int(codes[row]) - n].tolist())
    return found
