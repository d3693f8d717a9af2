"""The influence of training rows on targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from .shown import Shown
from .words import column_of_concept, how_many

_SHOWN_PATHS = 4
# Most numbers of influence that are ranked at a time: 128 MB.
_MOST_VALUES = 2**24
NOT_FIRST_ORDER = "(not first order)"


@dataclass(frozen=True, eq=False, repr=False)
class InfluenceResult(Shown):
    """The influence of training rows on targets.

    Influence is the effect of the row's presence: ``target(trained with the row) -
    target(trained without it)``, in units of the target. On a loss, positive means
    harmful: without the row the loss would be lower.

    Attributes
    ----------
    values : ndarray of shape (n_targets, n_train) or (n_targets, n_train, n_paths)
        With paths, the sum over the last axis is the row's influence. With ``top=k``
        the second axis holds k rows per target, by magnitude; with groups, the groups.
    paths : tuple of str or None
        ``"label"``, then the concepts, then ``"interaction"``, except to first order.
        With a `residual_C`, ``"not in the concepts"`` stands before the interaction:
        the part of the label's influence that goes through the residual's weights. None
        if paths were not asked for.
    target : str
        The quantity that is influenced.
    unit : str
        Unit of the target and of `values`.
    higher_is_better : bool or None
        Whether an increase of the target is helpful. None if the target is a function
        of which nobody said it; then no row is helpful or harmful.
    method : str
        How it was computed: "newton", "leverage", "pairwise", "first_order", or two of
        them, for example "leverage, its top rows by newton".
    rows : ndarray of shape (n_targets, k) or None
        Training rows (positions) of the second axis of `values`; None for all, in
        order.
    groups : ndarray of shape (n_groups,) or None
        Names along the second axis of `values`, if groups of rows were removed.
    training : DataFrame
        What is known of each training row: text, label, annotations. The annotations
        of a concept "text" are in the column "annotated text". Of rows on a cluster,
        those in `rows` alone, by their positions, without texts.
    explained : DataFrame
        What is known of each target: text, label, value. Of one target of a whole
        set: how many rows, and its value.
    confirmed : ndarray of bool of shape (n_train,) or None
        The rows whose influence is by the second method that `method` names; that of
        the others is by the first. None if all values are by the same method, which
        with ``top=k`` is the second.
    n_train : int or None
        Number of training rows; None in results of older versions.
    """

    __module__ = "skclif"

    values: np.ndarray
    paths: tuple[str, ...] | None
    target: str
    unit: str
    higher_is_better: bool | None
    method: str
    rows: np.ndarray | None = None
    groups: np.ndarray | None = None
    training: pd.DataFrame = field(default_factory=pd.DataFrame)
    explained: pd.DataFrame = field(default_factory=pd.DataFrame)
    _words: Callable[[int, int, str | None], pd.DataFrame] | None = None
    confirmed: np.ndarray | None = None
    n_train: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what asks the model: it belongs to this process."""
        return {**vars(self), "_words": None}

    @property
    def totals(self) -> np.ndarray:
        """Influence of whole rows, all paths together, (n_targets, n_train)."""
        if self.paths is None:
            return self.values
        return np.asarray(self.values.sum(axis=2))

    def top(self, k: int = 5) -> pd.DataFrame:
        """Return the rows of largest influence on each target, by magnitude.

        Parameters
        ----------
        k : int, default=5
            Number of rows per target.

        Returns
        -------
        frame : DataFrame
            Columns: target (position), row (position) or group, influence, path (that
            with the largest part of it, if paths were asked for), confirmed (by the
            better of two methods, if there were two), then what is known of the row.
        """
        return self._ranked(k, lambda totals: -np.abs(totals))

    def helpful(self, k: int = 5) -> pd.DataFrame:
        """Return the rows whose presence helps each target most.

        Parameters
        ----------
        k : int, default=5
            Maximum number of rows per target. Rows that do not help are left out.

        Returns
        -------
        frame : DataFrame
            Columns as in `top`; the most helpful first.
        """
        sign = self._sign()
        return self._ranked(k, lambda totals: -sign * totals, below_zero=True)

    def harmful(self, k: int = 5) -> pd.DataFrame:
        """Return the rows whose presence harms each target most.

        Parameters
        ----------
        k : int, default=5
            Maximum number of rows per target. Rows that do not harm are left out.

        Returns
        -------
        frame : DataFrame
            Columns as in `top`; the most harmful first.
        """
        sign = self._sign()
        return self._ranked(k, lambda totals: sign * totals, below_zero=True)

    def words(self, row: int, target: int = 0, path: str | None = None) -> pd.DataFrame:
        """Return the words through which a training row acts on a target.

        Heads on word counts, or on the mean over tokens of a :class:`SentenceEmbedder`,
        are linear in them, so the first-order influence of a row's annotations is a sum
        over its words. What another `method` adds to that belongs to no word, and has a
        line of its own.

        Parameters
        ----------
        row : int
            Position of the training row.
        target : int, default=0
            Position of the target.
        path : str, default=None
            A concept: the influence of the row's annotation of it alone. It is split to
            first order only. None is all of the row's paths together.

        Returns
        -------
        frame : DataFrame
            Columns: word, influence (in the unit of the target, with the sign of
            `values`), by magnitude. Of texts that a :class:`SentenceEmbedder` reads,
            start and stop say where in the text the word is, in characters. Of other
            features, word is the name and value is that of this row; features that are
            0 are left out. The last lines are what no word carries: "(constant)" of the
            biases; "(special tokens)" that the model puts around a text; in a
            bottleneck "(label)", which acts on concepts; and "(not first order)" if
            `method` is another. All lines add up to the influence that this result
            shows for the row, or the row and the path; if it shows none, to that of
            first order.

        Raises
        ------
        TypeError
            If steps that are not linear are behind a :class:`SentenceEmbedder`.
        ValueError
            If there is no such row, target or path, the path is "label" in a
            bottleneck, a path of another `method` is asked for, the vectors of texts
            are no sums over words, the result is about groups, or it was loaded from a
            pickle.
        """
        if self._words is None:
            raise ValueError(
                "This result was loaded without its model, so its words cannot be "
                "told. Ask the explainer for the influence again."
            )
        if self.groups is not None:
            raise ValueError(
                "This result is about groups, and words are those of one training row. "
                "Ask the explainer for the influence without groups."
            )
        n_targets, n_train = len(self.values), self.n_train or len(self.training)
        for name, value, n in (("row", row, n_train), ("target", target, n_targets)):
            is_number = isinstance(value, Integral) and not isinstance(value, bool)
            if not is_number or not 0 <= value < n:
                raise ValueError(
                    f"{name}={value!r} must be a position from 0 to {n - 1}."
                )
        frame = self._words(int(row), int(target), path)
        if path is not None and self.method != "first_order":
            raise ValueError(
                f"path={path!r} can be split by words only to first order, and this "
                f"result is by {self.method}, which is no sum over words. Use "
                "ConceptInfluenceExplainer(..., method='first_order'), or leave path "
                "out: then a line says what is not first order."
            )
        shown = self._of_row(int(row), int(target))
        if self.method == "first_order" or shown is None:
            return frame
        rest = frame.tail(1).assign(word=NOT_FIRST_ORDER)
        rest["influence"] = shown - frame["influence"].sum()
        return pd.concat([frame, rest], ignore_index=True)

    def _of_row(self, row: int, target: int) -> float | None:
        """Return the influence of a training row, if this result shows it."""
        if self.groups is not None:
            return None
        if self.rows is None:
            return float(self.totals[target, row])
        (places,) = np.nonzero(self.rows[target] == row)
        return float(self.totals[target, places[0]]) if len(places) else None

    def to_frame(self) -> pd.DataFrame:
        """Return every value, one per line.

        Returns
        -------
        frame : DataFrame
            Columns: target (position), row (position) or group, path (if they were
            asked for), influence, confirmed (by the better of two methods, if there
            were two).
        """
        n_targets, n_columns = self.values.shape[:2]
        targets, columns = np.indices((n_targets, n_columns)).reshape(2, -1)
        frame = {"target": targets, self._axis: self._names(targets, columns)}
        times = 1
        if self.paths is not None:
            times = len(self.paths)
            frame = {name: np.repeat(column, times) for name, column in frame.items()}
            frame["path"] = np.tile(np.asarray(self.paths), len(targets))
        frame["influence"] = self.values.ravel()
        if self.confirmed is not None:
            frame["confirmed"] = np.repeat(self.confirmed[columns], times)
        return pd.DataFrame(frame)

    @property
    def _axis(self) -> str:
        return "row" if self.groups is None else "group"

    def _names(self, targets: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the rows or groups of columns of `values`."""
        if self.groups is not None:
            return np.asarray(self.groups[columns])
        return columns if self.rows is None else self.rows[targets, columns]

    def _with_direction(self) -> InfluenceResult:
        """Return the same with a direction: up, if it is not known which is good."""
        if self.higher_is_better is not None:
            return self
        return replace(self, higher_is_better=True)

    def _sign(self) -> int:
        """Return 1 if a rise of the target is good, and -1 if it is bad."""
        if self.higher_is_better is None:
            raise ValueError(
                f"Nobody said whether a rise of the target ({self.target}) is good. "
                "Use top(), or make the target by skclif.targets.from_function("
                "function, higher_is_better=True or False)."
            )
        return 1 if self.higher_is_better else -1

    def _ranked(
        self,
        k: int,
        key: Callable[[np.ndarray], np.ndarray],
        *,
        below_zero: bool = False,
    ) -> pd.DataFrame:
        """Return the rows in the order of a key of their influence, or some of them.

        A few targets are ranked at a time: all of them may not fit the memory.
        """
        if not isinstance(k, Integral) or isinstance(k, bool) or k < 0:
            raise ValueError(
                f"k={k!r} must be a whole number, 0 or more: the rows per target."
            )
        step = max(1, _MOST_VALUES // max(1, self.values[:1].size))
        found = [(np.empty(0, int), np.empty(0, int))]
        for start in range(0, len(self.values), step):
            part = self.values[start : start + step]
            ranks = key(part if self.paths is None else part.sum(axis=2))
            order = np.argsort(ranks, axis=1, kind="stable")[:, :k]
            targets = np.indices(order.shape)[0]
            kept = ranks[targets, order] < 0 if below_zero else targets >= 0
            found.append((start + targets[kept], order[kept]))
        targets, columns = (np.concatenate(parts) for parts in zip(*found, strict=True))
        parts = self.values[targets, columns]
        names = self._names(targets, columns)
        frame = pd.DataFrame(
            {
                "target": targets,
                self._axis: names,
                "influence": parts if self.paths is None else parts.sum(axis=1),
            }
        )
        if self.paths is not None:
            frame["path"] = np.asarray(self.paths, dtype=object)[dominant_paths(parts)]
        if self.confirmed is not None:
            frame["confirmed"] = self.confirmed[columns]
        if self.groups is not None or self.training.empty:
            return frame
        known = self.training.loc[names].reset_index(drop=True)
        taken = list(frame.columns)
        for name in known.columns:
            taken.append(column_of_concept(name, taken))
        known.columns = pd.Index(taken[len(frame.columns) :])
        return pd.concat([frame, known], axis=1)

    def _table(self) -> pd.DataFrame:
        return self._first(1).top()

    def _first(self, n: int) -> InfluenceResult:
        """Return the same on the first targets alone."""
        rows = None if self.rows is None else self.rows[:n]
        first = {"values": self.values[:n], "explained": self.explained[:n]}
        return replace(self, rows=rows, **first)

    def __repr__(self) -> str:
        """Return one line: what, how many, unit and sign."""
        kind = "group" if self.groups is not None else "training row"
        n_targets, n_columns = self.values.shape[:2]
        shape = f"{how_many(n_targets, 'target')} x {how_many(n_columns, kind)}"
        good = {True: "helpful", False: "harmful", None: "raises it"}
        sign, paths = good[self.higher_is_better], ""
        if self.paths is not None:
            shown = ", ".join(self.paths[:_SHOWN_PATHS])
            more = ", …" if len(self.paths) > _SHOWN_PATHS else ""
            paths = f"; paths {shown}{more}"
        return (
            f"<InfluenceResult on {self.target} ({self.unit}, positive = {sign}) by "
            f"{self.method}: {shape}{paths}>"
        )


def dominant_paths(parts: np.ndarray) -> np.ndarray:
    """Return, for each row, the path with the largest part in the total's direction."""
    direction = np.sign(parts.sum(axis=1, keepdims=True))
    return np.asarray((direction * parts).argmax(axis=1))
