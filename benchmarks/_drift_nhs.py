"""The drift of real comments of patients: by question, by trust and by quarter."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skclif import ConceptBottleneckClassifier, drift_report
from skclif.datasets import fetch_patient_feedback

from ._drift_plants import KINDS, NAMELESS, SILENT, read_rows, stack

_EARLY = ("2021Q1", "2021Q2", "2021Q3", "2021Q4")
_FEWEST = 20  # comments with a theme, for the share of them that is positive
_LATE = ("2022Q1", "2022Q2", "2022Q3")


@dataclass(frozen=True)
class Case:
    """A way to split comments by what is known of them.

    Attributes
    ----------
    name : str
    axis : {"question", "trust", "quarter"}
    train, new : tuple of str
        Values of the axis. New rows of each value are a group.
    parted : str
        The column by which training rows are groups that a remedy may drop.
    only : dict of str to str
        Other columns of which rows have one value alone.
    """

    name: str
    axis: str
    train: tuple[str, ...]
    new: tuple[str, ...]
    parted: str
    only: dict[str, str] = field(default_factory=dict)

    def rows(self, about):
        """Return which rows are trained on, and which are new."""
        own = np.ones(len(about), bool)
        for column, value in self.only.items():
            own &= (about[column] == value).to_numpy()
        values = about[self.axis]
        return [
            np.flatnonzero(own & values.isin(some).to_numpy())
            for some in (self.train, self.new)
        ]

    def trained_on(self):
        """Return what the model is fitted to, in words."""
        span = f"{self.train[0]} to {self.train[-1]}"
        words = span if self.axis == "quarter" else ", ".join(self.train)
        return "; ".join([words, *self.only.values()])


_OTHERS = ("why", "improve", "satisfied or not")
CASES = [
    Case("question", "question", _OTHERS, ("good",), "question"),
    Case(
        *("question, one trust", "question", ("improve",), ("good",), "quarter"),
        {"trust": "NHFT"},
    ),
    Case("trust", "trust", ("NHFT",), ("NEAS",), "question"),
    Case(
        *("trust, one question", "trust", ("NHFT",), ("NEAS",), "quarter"),
        {"question": "improve"},
    ),
    Case("quarter", "quarter", _EARLY, _LATE, "quarter"),
    Case("quarter, one trust", "quarter", _EARLY, _LATE, "quarter", {"trust": "NEAS"}),
]


def measure(explain, options):
    """Return a line for every group, and its tests.

    Parameters
    ----------
    explain : callable
        Returns a fitted explainer of rows.
    options : Namespace

    Returns
    -------
    lines : list of dict
        One for each group of every case.
    tests : DataFrame
        The frames of the reports below each other, with the case and its group.
    remedies : DataFrame
        What they do, by the reports, with the case.
    """
    rows, about = read_comments(options)
    lines, frames, remedies = [], [], []
    for case in CASES:
        at, new_at = case.rows(about)
        train, new = with_two_values(rows.take(at), rows.take(new_at))
        groups = about[case.axis].to_numpy()[new_at]
        explainer = explain(train)
        report = drift_report(
            explainer,
            new.X,
            new.y,
            concepts_new=new.concepts,
            **{"time" if case.axis == "quarter" else "groups": groups},
            train_groups=about[case.parted].fillna("unknown").to_numpy()[at],
            n_permutations=options.n_permutations,
            random_state=0,
        )
        done = report.remedies(random_state=0)
        remedies.append(done.assign(case=case.name))
        frames.append(report.frame.assign(case=case.name))
        for group in np.unique(groups):
            own = report.frame[report.frame["group"] == group]
            lines.append(
                {
                    "case": case.name,
                    "trained on": case.trained_on(),
                    "group": group,
                    "training rows": len(train),
                    "new rows": int((groups == group).sum()),
                    **{kind: summary(own, kind) for kind in KINDS},
                    **losses(train, new.take(np.flatnonzero(groups == group))),
                }
            )
        print(f"reported: {case.name}", flush=True)
    return lines, *(pd.concat(of, ignore_index=True) for of in (frames, remedies))


def polarity(options):
    """Return how often comments with a theme are positive, by question and trust.

    Groups, and a line for each theme; None where there are fewer than `_FEWEST`.
    """
    rows, about = read_comments(options)
    is_positive = rows.y == np.unique(rows.y)[-1]  # of the three labels, the last
    where = about["question"] + ", " + about["trust"]
    counts = where.value_counts()
    groups = sorted(counts.index[counts >= len(rows) / 10])
    lines = []
    for theme, values in rows.concepts.items():
        speaks = ~values.isin(SILENT).to_numpy()
        each = [speaks & (where == group).to_numpy() for group in groups]
        lines.append(
            [
                theme,
                *(
                    float(is_positive[at].mean()) if at.sum() >= _FEWEST else None
                    for at in each
                ),
            ]
        )
    return groups, lines


def with_two_values(train, new):
    """Return rows without the themes that training rows never have, or always."""
    kept = [name for name, values in train.concepts.items() if values.nunique() > 1]
    return [replace(rows, concepts=rows.concepts[kept]) for rows in (train, new)]


def read_comments(options):
    """Return all comments as rows, and what else is known of them."""
    if options.small:
        rows = read_rows("generated", 420)
        k = np.arange(len(rows))
        about = {
            "trust": np.array(["NEAS", "NHFT", "NHFT", "NEAS"])[k % 4],
            "question": np.array(["why", "improve", "good", "improve"])[k % 4],
            "quarter": np.array([*_EARLY, *_LATE])[k % 7],
        }
        return rows, pd.DataFrame(about)
    rows = read_rows("nhs")
    bunch = fetch_patient_feedback("all")
    return rows, bunch.metadata.reset_index(drop=True)


def losses(train, own):
    """Return the log-loss on a group's rows of every model, as fitted and knowing it.

    The latter is the mean over both halves of the rows, each judged by a model of the
    training rows and of the other half.
    """
    halves = np.arange(len(own)) % 2 == 0
    found = {}
    for name, fit in MODELS.items():
        found[name] = fit(train)(own)
        knowing = []
        for half in (halves, ~halves):
            more = stack([train, own.take(np.flatnonzero(half))])
            knowing.append(fit(more)(own.take(np.flatnonzero(~half))))
        found[f"{name}, with rows of it"] = float(np.mean(knowing))
    return found


def bottleneck(rows):
    """Fit a bottleneck; return what says its log-loss on other rows."""
    clf = ConceptBottleneckClassifier().fit(rows.X, rows.y, concepts=rows.concepts)
    return lambda other: _loss(clf, other.X, other.y)


def black_box(rows):
    """Fit the label to the texts alone; return what says its log-loss."""
    clf = ConceptBottleneckClassifier().fit(rows.X, rows.y)
    return lambda other: _loss(clf, other.X, other.y)


def true_themes(rows):
    """Fit the label to the annotations; return what says its log-loss."""
    clf = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    clf.fit(rows.concepts, rows.y)
    return lambda other: _loss(clf, other.concepts, other.y)


MODELS = {
    "true themes": true_themes,
    "bottleneck": bottleneck,
    "black box": black_box,
}


def _loss(clf, inputs, y):
    proba = clf.predict_proba(inputs)
    return float(log_loss(y, proba, labels=list(clf.classes_)))


def summary(frame, kind):
    """Return how many concepts of a part are findings, and the first, in words."""
    frame = frame[frame["part"] == kind]
    own = frame[~frame["concept"].isin(NAMELESS)]
    found = own[own["found"]]
    words = f"{len(found)} of {len(own)}"
    if not found.empty:
        words += f", first {found['concept'].iloc[0]}"
    # Of the meaning of all concepts together: how frequent labels are besides.
    if kind == "meaning" and frame["found"][frame["concept"] == "all"].any():
        words += "; and labels are more or less frequent"
    return words


def by_theme(tests):
    """Return the effects of findings: names of groups, and a line for each theme.

    A test that is no finding, or that there is not, is None.
    """
    names = tests["concept"].mask(tests["concept"] == "all", tests["part"].map(_ALL))
    where = tests["case"] + ": " + tests["group"].astype(str)
    effect = tests["effect"].where(tests["found"])
    shown = pd.DataFrame(
        {"part": tests["part"], "theme": names, "where": where, "effect": effect}
    )
    shown = shown[shown["theme"] != "features"]
    table = shown.pivot(index=["part", "theme"], columns="where", values="effect")
    groups = [
        f"{case}: {group}"
        for case in dict.fromkeys(tests["case"])
        for group in sorted(set(tests["group"][tests["case"] == case]))
    ]
    themes = [n for n in dict.fromkeys(shown["theme"]) if n not in _ALL.values()]
    keys = [(kind, name) for kind in KINDS for name in themes]
    keys += [key for key in _ALL.items() if key in table.index]
    table = table.reindex(pd.MultiIndex.from_tuples(keys))[groups]
    return groups, [
        [*key, *(None if pd.isna(value) else float(value) for value in values)]
        for key, values in table.iterrows()
    ]


# What tests of all concepts together are of.
_ALL = {"inputs": "all themes together", "meaning": "labels, whatever the themes"}
