"""What drift was found between training rows and new rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from .plots import COLORS, HATCHES, axes, check_drawn, shorten, show_as_text
from .shown import Shown
from .words import how_many

PARTS = {
    "inputs": "inputs moved",
    "concept": "concept head is stale",
    "meaning": "concept means something else",
}
TOGETHER, FEATURES = "all", "features"  # tests that are of no concept
_LONG = 30  # characters of a name in a plot


def what_moved(part: str, concept: str) -> str:
    """Return what a test is about, in words."""
    if part == "meaning" and concept == TOGETHER:
        return "labels are more or less frequent"
    return PARTS[part]


class Behind(Protocol):
    """What can be asked of the rows behind a report."""

    def rows(self, findings: pd.DataFrame, n_rows: int) -> pd.DataFrame:
        """Return training rows that carry findings."""

    def remedies(
        self, findings: pd.DataFrame, *, n_bootstraps: int, seed: int
    ) -> pd.DataFrame:
        """Return what remedies do on held-out new rows."""


def _check_at_least(name: str, value: Any, least: int) -> int:
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_whole:
        raise TypeError(f"{name} must be a whole number, got {value!r}.")
    if value < least:
        raise ValueError(f"{name}={value} must be {least} or more.")
    return int(value)


@dataclass(frozen=True, eq=False, repr=False)
class DriftReport(Shown):
    """Which part of a model no longer fits new rows, by group and concept.

    What :func:`drift_report` returns. Three parts are kept apart, because each needs
    another remedy: "inputs", the texts are others; "concept", the texts are read
    otherwise by people than by the concept's head; "meaning", the concept says
    something else of the label.

    Attributes
    ----------
    frame : DataFrame
        A line for each test, the most certain finding first, then what was not found,
        the most surprising first. Columns:

        - part: "inputs", "concept" or "meaning";
        - group: of the new rows;
        - concept: its name; "all" for the activations of all concepts together, or
          for meaning, labels that are more or less frequent than the concepts explain;
          and "features" for what the concepts are read from;
        - statistic: 0 or more; comparable only among tests of the same kind;
        - effect: for inputs, the area under the ROC curve of a classifier that tells
          new rows from training rows (0.5 or less = not at all, 1 = always); for the
          other parts, what the log-likelihood of the group's rows would gain if the
          group had its own terms (nats per row; 0 = nothing);
        - p_value: of this test alone, by permuting groups;
        - q_value: probability that without any drift *any* test of the report is as
          surprising;
        - found: whether the q-value is at most `alpha`;
        - n_rows: rows of the group that speak;
        - uses: whether "predictions", "annotations" or "features" were compared;
        - reason: why there is no test, whose numbers are NaN then; "" if there is one.
    alpha : float
        Probability of a false alarm anywhere in the report.
    groups : list
        Groups of the new rows, in order.
    n_training, n_new, n_permutations : int
    """

    __module__ = "skclif"

    frame: pd.DataFrame
    alpha: float
    groups: list[Any]
    n_training: int
    n_new: int
    n_permutations: int
    _behind: Behind

    @property
    def findings(self) -> pd.DataFrame:
        """The lines of `frame` that were found, the most certain first."""
        return self.frame[self.frame["found"]].reset_index(drop=True)

    def to_frame(self) -> pd.DataFrame:
        """Return a line for each test.

        Returns
        -------
        frame : DataFrame
            A copy of `frame`.
        """
        return self.frame.copy()

    def rows(self, n_rows: int = 10) -> pd.DataFrame:
        """Return the training rows that carry the findings, the most harmful first.

        Only findings of a concept's head or of its meaning have such rows: where inputs
        moved, training rows are right and others are missing.

        Parameters
        ----------
        n_rows : int, default=10
            Maximum number for each finding.

        Returns
        -------
        rows : DataFrame
            A line for each label or annotation that harms: part, group and concept of
            the finding; row (position in training); path, "label" or the concept;
            influence, the first-order effect of its presence on a mean loss over the
            new rows of the group (nats; positive = harmful): the loss of the concept's
            head, or, for meaning, the loss of the label as far as it moves through this
            concept; current, its value; train_group and train_time, if they were given;
            and the row's text, if it has one. Harmful is not the same as wrong.

        Raises
        ------
        TypeError
            If `n_rows` is no whole number.
        ValueError
            If `n_rows` is below 1.
        """
        n_rows = _check_at_least("n_rows", n_rows, 1)
        return self._behind.rows(self.findings, n_rows)

    def remedies(
        self, *, n_bootstraps: int = 1000, random_state: int | None = None
    ) -> pd.DataFrame:
        """Try remedies, and say what each does on new rows that did not choose it.

        Each group with a finding is halved. One half chooses what is dropped, weighted,
        corrected or fitted; the other judges it. Remedies are

        - "offset": a constant for each label, for rows of the group alone;
        - "own weights": such constants, and own weights of a concept whose meaning
          changed, for rows of the group alone;
        - "recalibrate": a constant and a factor for the log-odds of a stale head, for
          rows of the group alone;
        - "relabel": annotations or labels that harm and are probably wrong get the
          value that :meth:`ConceptInfluenceExplainer.suspect_labels` proposes, up to
          5 % of the rows. What harms and is right is never given another value;
        - "drop train_group" and "weight train_group", if groups or times of training
          rows were given: the most harmful one is left out, and the most helpful one
          counts three times.

        Parameters
        ----------
        n_bootstraps : int, default=1000
            Number of bootstrap samples for the intervals.
        random_state : int, default=None
            Halves the groups, and draws the samples.

        Returns
        -------
        remedies : DataFrame
            A line for each remedy: group; remedy; of, what it is about; n_changed, the
            training values or rows that change; measure, "label log-loss" or
            "log-loss of" a concept; chosen, the change of its mean on the half that
            chose (nats; negative = good), which is too good to be true; change, that
            on the other half, with the ends of its 95 % interval, low and high, which
            pairs each row with itself; verdict, "helps" if the interval is below 0,
            "hurts" if it is above, else "not shown to help"; n_rows that judge; and
            reason, why there is none, "" if there is one.

        Raises
        ------
        TypeError
            If `n_bootstraps` or `random_state` is no whole number.
        ValueError
            If the report has no `y_new`, or `n_bootstraps` is below 100.
        """
        n_bootstraps = _check_at_least("n_bootstraps", n_bootstraps, 100)
        if random_state is not None:
            random_state = _check_at_least("random_state", random_state, 0)
        seed = np.random.RandomState(random_state).randint(np.iinfo(np.int32).max)
        return self._behind.remedies(
            self.findings, n_bootstraps=n_bootstraps, seed=int(seed)
        )

    def plot(self, *, ax: Any = None) -> DriftDisplay:
        """Draw how certain each test is, for each concept.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        display : DriftDisplay
            The drawing, with its attributes.
        """
        return DriftDisplay(self).plot(ax=ax)

    def _table(self) -> pd.DataFrame:
        shown = self.findings if len(self.findings) else self.frame
        columns = ["part", "group", "concept", "effect", "q_value"]
        return shown[columns].round(4)

    def __repr__(self) -> str:
        """Return one line: what was compared, and what was found first."""
        n_groups = len(self.groups)
        of = f" in {how_many(n_groups, 'group')}" if n_groups > 1 else ""
        about = (
            f"{how_many(self.n_new, 'new row')}{of} against "
            f"{how_many(self.n_training, 'training row')}"
        )
        return f"<DriftReport on {about}: {self._found(n_groups > 1)}>"

    def _found(self, names_group: bool) -> str:
        tested = self.frame["q_value"].notna()
        if not tested.any():
            reason = self.frame["reason"].value_counts().index[0]
            return f"nothing could be tested: {reason}"
        left = len(self.groups) - self.frame.loc[tested, "group"].nunique()
        untested = f"; {how_many(left, 'group')} could not be tested" if left else ""
        findings = self.findings
        if not len(findings):
            return f"no drift found{untested}"
        first = findings.iloc[0]
        name, group = (shorten(str(first[k]), _LONG) for k in ("concept", "group"))
        said = what_moved(first["part"], first["concept"])
        if said == PARTS[first["part"]]:
            said += f": {name!r}"
        where = f" in {group!r}" if names_group else ""
        more = f", {len(findings) - 1} more" if len(findings) > 1 else ""
        return f"{said}{where}{more}{untested}"


class DriftDisplay:
    """A drawing of a report on drift: how certain each test is, for each concept.

    Bars are ``-log10`` of q-values. Those that reach the dashed line were found. The
    bars of "all" are those of all concepts together, and, where concepts could mean
    something else, of labels that are more or less frequent.

    Parameters
    ----------
    report : DriftReport
        What :func:`drift_report` returned.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with a bar for each concept and part.
    figure_ : matplotlib Figure
        The figure that holds them.
    bars_ : dict of str to matplotlib BarContainer
        The bars of each part.

    See Also
    --------
    drift_report : Computes what is drawn.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
    >>> from skclif import DriftDisplay, drift_report
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 4))
    >>> concepts = pd.DataFrame({"food": X[:, 0] > 0})
    >>> y = X[:, 0] + rng.normal(size=300) > 0
    >>> explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    >>> explainer = explainer.fit(X[:200], y[:200], concepts=concepts[:200])
    >>> report = drift_report(explainer, X[200:] + 1, random_state=0)
    >>> DriftDisplay(report).plot()  # doctest: +SKIP
    """

    __module__ = "skclif"

    def __init__(self, report: DriftReport):
        check_drawn(self, "report", report, DriftReport, "drift_report")
        self.report = report

    def plot(self, *, ax: Any = None) -> DriftDisplay:
        """Draw the most certain group of every concept and part.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None for a new figure.

        Returns
        -------
        display : DriftDisplay
            This object, with its attributes.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        frame = self.report.frame.dropna(subset="q_value")
        names = list(dict.fromkeys(frame["concept"]))
        parts = [part for part in PARTS if (frame["part"] == part).any()]
        ax = axes(self, ax, size=(7, 1.9 + 0.32 * len(names)))
        self.ax_, self.figure_, self.bars_ = ax, ax.figure, {}
        height = 0.8 / max(1, len(parts))
        for k, part in enumerate(parts):
            best = frame[frame["part"] == part].groupby("concept")["q_value"].min()
            at = [n for n, name in enumerate(names) if name in best.index]
            lengths = [-np.log10(best[names[n]]) for n in at]
            places = [n + (k - (len(parts) - 1) / 2) * height for n in at]
            self.bars_[part] = ax.barh(
                places,
                lengths,
                height,
                color=COLORS[k],
                hatch=HATCHES[k],
                label=PARTS[part],
            )
        ax.axvline(-np.log10(self.report.alpha), color="0.3", linestyle="--")
        ax.set_yticks(range(len(names)), [shorten(name, _LONG) for name in names])
        show_as_text(ax.get_yticklabels())
        ax.invert_yaxis()
        ax.set_xlabel("certainty: -log10 of the q-value (dashed: found)")
        if parts:  # one below the other: side by side they are wider than the figure
            ax.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
        else:
            ax.set_title("nothing could be tested")
        ax.spines[["top", "right"]].set_visible(False)
        return self
