"""What the label would be if concepts had other values, and a drawing of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .interventions import paired_mean
from .plots import COLORS, axes, check_drawn, show_as_text
from .shown import Shown
from .words import how_many

_MARKERS = ("o", "s", "^", "D", "v", "P")


# No `from __future__ import annotations` here: `dataclass` would look the strings up in
# `skclif.metrics`, which need not be loaded yet.
@dataclass(frozen=True, eq=False, repr=False)
class ConceptEffects(Shown):
    """How the probabilities of the labels change when a concept is set to a value.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        The labels.
    values : DataFrame
        A line for each value: concept, value.
    changes : ndarray of shape (n_values, n_samples, n_classes), float64
        Probability of each label with the concept set to the value, minus the
        probability as predicted.
    predicted : ndarray of shape (n_samples, n_classes), float64
        Probabilities as predicted.
    sample_weight : ndarray of shape (n_samples,), float64
        Weights of the rows.
    label_order : ndarray of shape (n_classes,) or None, default=None
        The labels as they are listed and drawn, for a model that knows their order.
        None is as in `classes`.
    """

    __module__ = "skclif.metrics"

    classes: np.ndarray
    values: pd.DataFrame
    changes: np.ndarray
    predicted: np.ndarray
    sample_weight: np.ndarray
    label_order: np.ndarray | None = None

    def to_frame(self) -> pd.DataFrame:
        """Return the mean effects over rows.

        Returns
        -------
        frame : DataFrame
            A line for each value and label. Columns: concept, value, label; effect, the
            mean change of the label's probability; low and high, the ends of its 95 %
            confidence interval over rows (Student's t, NaN from one row).
        """
        n_values, n_classes = len(self.values), len(self.classes)
        labels = self._ordered()
        columns = [self.classes.tolist().index(label) for label in labels]
        changes = self.changes[:, :, columns].transpose(0, 2, 1)
        by_row = changes.reshape(n_values * n_classes, -1)
        effect, reach = paired_mean(by_row, self.sample_weight)
        frame = self.values.loc[self.values.index.repeat(n_classes)]
        frame = frame.reset_index(drop=True)
        frame["label"] = np.tile(labels, n_values)
        return frame.assign(effect=effect, low=effect - reach, high=effect + reach)

    def _ordered(self) -> np.ndarray:
        return self.classes if self.label_order is None else self.label_order

    def _table(self) -> pd.DataFrame:
        return self.to_frame()

    def __repr__(self) -> str:
        """Return one line: how many values, labels and rows."""
        n_concepts = self.values["concept"].nunique()
        return (
            f"<ConceptEffects of {how_many(len(self.values), 'value')} of "
            f"{how_many(n_concepts, 'concept')} on "
            f"{how_many(len(self.classes), 'label')}: mean over "
            f"{how_many(len(self.predicted), 'row')}>"
        )


class ConceptEffectDisplay:
    """A drawing of what the label would be if concepts had other values.

    A line for each value of each concept, and a mark for each label: by how much its
    probability changes, on average over rows, when the concept is set to this value.
    Bars are 95 % confidence intervals over rows.

    Parameters
    ----------
    effects : ConceptEffects
        What :func:`concept_effects` returned.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the marks.
    figure_ : matplotlib Figure
        The figure that holds them.
    errorbars_ : dict of object to matplotlib ErrorbarContainer
        Marks and intervals by label.

    See Also
    --------
    concept_effects : Computes what is drawn.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skclif import ConceptBottleneckClassifier
    >>> from skclif.metrics import ConceptEffectDisplay, concept_effects
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 3))
    >>> concepts = pd.DataFrame({"food": X[:, 0] > 0, "service": X[:, 1] > 0})
    >>> y = np.where(X[:, 0] + X[:, 1] > 0, "again", "never")
    >>> clf = ConceptBottleneckClassifier().fit(X, y, concepts=concepts)
    >>> effects = concept_effects(clf, X)
    >>> ConceptEffectDisplay(effects).plot(labels=["again"])  # doctest: +SKIP
    """

    __module__ = "skclif.metrics"

    def __init__(self, effects: ConceptEffects):
        check_drawn(self, "effects", effects, ConceptEffects, "concept_effects")
        self.effects = effects

    def plot(self, *, labels: Any = None, ax: Any = None) -> "ConceptEffectDisplay":
        """Draw the effects on some labels.

        Parameters
        ----------
        labels : list, default=None
            Which labels, six at most. None for the second of two, and the first and
            last of more.
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        display : ConceptEffectDisplay
            This object, with its attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If a label is not known, or there are more than six.
        """
        shown = self._labels(labels)
        frame = self.effects.to_frame()
        y = np.arange(len(self.effects.values))
        ax = axes(self, ax, size=(7, 1.4 + 0.36 * len(y)))
        self.ax_, self.figure_ = ax, ax.figure
        self.errorbars_: dict[Any, Any] = {}
        for number, label in enumerate(shown):
            own = frame[frame["label"] == label]
            self.errorbars_[label] = ax.errorbar(
                own["effect"].to_numpy(),
                y + 0.16 * (number - (len(shown) - 1) / 2),
                xerr=np.abs(own[["low", "high"]].T - own["effect"]).to_numpy(),
                fmt=_MARKERS[number],
                color=COLORS[number],
                capsize=3,
                label=str(label),
            )
        ax.axvline(0, color="0.3", linewidth=0.8)
        pairs = self.effects.values.itertuples(index=False)
        ax.set_yticks(y, [f"{concept} = {value}" for concept, value in pairs])
        legend = ax.legend(title="label", frameon=False)
        show_as_text([*ax.get_yticklabels(), *legend.get_texts()])
        ax.set_ylim(len(y) - 0.5, -0.5)
        ax.set_xlabel("mean change of the label's probability\nif set to this value")
        ax.spines[["top", "right"]].set_visible(False)
        return self

    def _labels(self, labels: Any) -> list[Any]:
        known: list[Any] = self.effects._ordered().tolist()
        if labels is None:
            return known[1:] if len(known) == 2 else [known[0], known[-1]]
        chosen: list[Any] = list(labels)
        unknown = [label for label in chosen if label not in known]
        if unknown:
            raise ValueError(
                f"labels has {unknown[0]!r}, which the model does not know; there are "
                f"{', '.join(map(repr, known))}."
            )
        if not 1 <= len(chosen) <= len(_MARKERS):
            raise ValueError(
                f"labels must name 1 to {len(_MARKERS)} labels, got {len(chosen)}."
            )
        return chosen
