"""A drawing of the training rows behind a target, and of their paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .influence import InfluenceResult
from .plots import COLORS, HATCHES, axes, check_drawn, shorten, show_as_text

_PATHS = 6  # with a colour of their own
_REST = "other paths"


class InfluenceDisplay:
    """A drawing of the training rows behind a target, and of their paths.

    Every row has a bar. With paths, the bar is made of one piece for each path: what
    pushes the target up lies to the right of 0 and what pushes it down to the left, and
    a mark shows their sum, the influence of the row.

    Parameters
    ----------
    result : InfluenceResult
        What :meth:`ConceptInfluenceExplainer.influence` returned.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the bars.
    figure_ : matplotlib Figure
        The figure that holds them.
    bars_ : dict of str to matplotlib BarContainer
        The pieces of all rows, by path; one entry, "influence", without paths.
    totals_ : matplotlib PathCollection or None
        The marks of the sums; None without paths.
    frame_ : DataFrame
        What is drawn, a line for each row: its position or group, influence, and the
        part of each path.

    See Also
    --------
    ConceptInfluenceExplainer.influence : Computes what is drawn.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skclif import (
    ...     ConceptBottleneckClassifier, ConceptInfluenceExplainer, InfluenceDisplay
    ... )
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(80, 3))
    >>> y = np.where(X[:, 0] + X[:, 1] > 0, "good", "bad")
    >>> concepts = pd.DataFrame({"food": X[:, 0] > 0, "service": X[:, 1] > 0})
    >>> explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    >>> explainer = explainer.fit(X, y, concepts=concepts)
    >>> result = explainer.influence(X[:2], y[:2], paths=True)
    >>> InfluenceDisplay(result).plot(target=1, k=4)  # doctest: +SKIP
    """

    __module__ = "skclif"

    def __init__(self, result: InfluenceResult):
        check_drawn(
            self,
            "result",
            result,
            InfluenceResult,
            "ConceptInfluenceExplainer.influence",
        )
        self.result = result

    def plot(
        self, *, target: int = 0, k: int = 5, width: int = 48, ax: Any = None
    ) -> InfluenceDisplay:
        """Draw the rows that help and harm one target most.

        Parameters
        ----------
        target : int, default=0
            Position of the target.
        k : int, default=5
            How many helpful rows, and how many harmful ones, at most.
        width : int, default=48
            How many characters of a text are shown.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        display : InfluenceDisplay
            This object, with its attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no such target, or `k` or `width` is no whole number above 0.
        """
        for name, value in (("k", k), ("width", width)):
            if not _is_count(value) or value < 1:
                raise ValueError(f"{name}={value!r} must be a whole number, 1 or more.")
        n_targets = len(self.result.values)
        if not _is_count(target) or not 0 <= target < n_targets:
            raise ValueError(
                f"target={target!r} must be a position from 0 to {n_targets - 1}."
            )
        self.frame_, names = self._rows(int(target), int(k), int(width))
        ax = axes(self, ax, size=(9, 1.6 + 0.36 * len(names)))
        self.ax_, self.figure_ = ax, ax.figure
        self.bars_: dict[str, Any] = {}
        self.totals_ = None
        y = np.arange(len(self.frame_))
        self._bars(y)
        ax.axvline(0, color="0.3", linewidth=0.8)
        ax.set_yticks(y, names)
        show_as_text(ax.get_yticklabels())
        ax.invert_yaxis()
        ax.set_xlabel(self._x_label())
        ax.spines[["top", "right"]].set_visible(False)
        title = self._title(int(target), int(width))
        show_as_text([ax.set_title(title, fontsize="medium", loc="right")])
        return self

    def _rows(self, target: int, k: int, width: int) -> tuple[pd.DataFrame, list[str]]:
        """Return the lines that are drawn, and what each is called."""
        result = self.result._with_direction()
        parts = [
            found[found["target"] == target]
            for found in (result.helpful(k), result.harmful(k).iloc[::-1])
        ]
        # Most helpful first, most harmful last.
        shown = pd.concat(parts, ignore_index=True)
        axis = "row" if result.groups is None else "group"
        columns = {axis: shown[axis].to_numpy(), "influence": shown["influence"]}
        if result.paths is not None:
            values = self._values(target, shown[axis].to_numpy())
            columns |= _pieces(result.paths, values)
        names = [_name(line, axis, width) for line in shown.to_dict("records")]
        return pd.DataFrame(columns), names

    def _values(self, target: int, names: np.ndarray) -> np.ndarray:
        """Return the parts of rows or groups, (n_rows, n_paths)."""
        result = self.result
        if result.groups is not None:
            known = result.groups
        elif result.rows is not None:
            known = result.rows[target]
        else:
            return np.asarray(result.values[target][names.astype(int)])
        places = [int(np.flatnonzero(known == name)[0]) for name in names]
        return np.asarray(result.values[target][places])

    def _bars(self, y: np.ndarray) -> None:
        pieces = list(self.frame_.columns[2:]) or ["influence"]
        ends = {True: np.zeros(len(y)), False: np.zeros(len(y))}  # right and left of 0
        for number, name in enumerate(pieces):
            values = self.frame_[name].to_numpy()
            left = np.where(values >= 0, ends[True], ends[False])
            self.bars_[name] = self.ax_.barh(
                y,
                values,
                left=left,
                height=0.7,
                color=COLORS[number],
                hatch=HATCHES[number],
                edgecolor="white",
                linewidth=0.5,
                label=name,
            )
            for is_right, end in ends.items():
                end += np.where((values >= 0) == is_right, values, 0)
        if len(pieces) > 1:
            self.totals_ = self.ax_.scatter(
                self.frame_["influence"],
                y,
                marker="D",
                s=26,
                color="black",
                edgecolor="white",
                zorder=3,
                label="all paths",
            )
            legend = self.ax_.legend(
                title="through", frameon=False, loc="upper left", bbox_to_anchor=(1, 1)
            )
            show_as_text(legend.get_texts())

    def _title(self, target: int, width: int) -> str:
        title = f"rows behind target {target}"
        if target < len(self.result.explained):
            line = self.result.explained.iloc[target].to_dict()
            title += f": {_known(line, width)}"
        return title.removesuffix(": ")

    def _x_label(self) -> str:
        result = self.result
        low, high = "helps", "harms"
        if result.higher_is_better:
            low, high = high, low
        if result.higher_is_better is None:
            low, high = "lowers it", "raises it"
        return (
            f"effect of the row's presence on {result.target} ({result.unit})\n"
            f"← {low}    {high} →"
        )


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _pieces(paths: tuple[str, ...], values: np.ndarray) -> dict[str, np.ndarray]:
    """Return the parts of the paths that carry most, and of all others together."""
    order = np.argsort(-np.abs(values).sum(axis=0), kind="stable")
    named = order if len(paths) <= _PATHS else order[: _PATHS - 1]
    pieces = {paths[p]: values[:, p] for p in named}
    if len(named) < len(paths):
        pieces[_REST] = values[:, order[len(named) :]].sum(axis=1)
    return pieces


def _name(line: dict[str, Any], axis: str, width: int) -> str:
    """Return what a row is called: its position, and what is known of it."""
    return f"{line[axis]}  {_known(line, width)}".rstrip()


def _known(line: dict[str, Any], width: int) -> str:
    """Return the text and label of a row as far as they are known."""
    text = line.get("text")
    parts = [shorten(text, width)] if isinstance(text, str) else []
    if "label" in line:
        parts.append(f"[{line['label']}]")
    return "  ".join(parts)
