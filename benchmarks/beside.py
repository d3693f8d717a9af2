"""What people ask of a model, answered by skclif, cleanlab, captum and the model.

A fifth of the labels and annotations of CEBaB's training part (*masked*) are changed.
Each library gets the same vectors, one logistic regression for the label and one for
each concept, with the penalty that is scikit-learn's default; skclif's bottleneck has
the same heads. captum gets an environment of its own in ``.cache/peers-beside``.

    python -m benchmarks.beside [--seeds 3]
"""

import re
import subprocess
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from cleanlab.rank import get_label_quality_scores
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

from ._peers import peers_python
from .noise import pollute_all
from .results import ROOT, BenchmarkParser, write_table
from .tasks import load_task

REQUIREMENTS = """\
torch==2.13.0
captum==0.9.0
"""
PLAIN = LogisticRegression(tol=1e-8, max_iter=10_000)  # C=1, as in all that follows
RATE = 0.2
N_MISTAKES = 20
BEFORE = "How good on new texts?"
AFTER = "And after a list was read?"
LIBRARIES = ["skclif", "cleanlab", "captum", "LogisticRegression"]
_ORDER = ["Negative", "unknown", "Positive"]
_PEERS = ROOT / ".cache" / "peers-beside"


# --- One draw of the noise ------------------------------------------------------------


class Draw:
    """A training part with planted errors, and the test part without any."""

    def __init__(self, task, seed):
        train, self.test = (load_task(task, part) for part in ("train", "test"))
        self.seed, self.X, self.true = seed, train.X, train.y
        clean = train.concepts.reset_index(drop=True)
        rng = np.random.default_rng(seed)
        self.y, self.concepts, _ = pollute_all(
            train.y, clean, "uniform", RATE, rng, _ORDER
        )
        self.given = {"label": pd.Series(self.y), **self.concepts}
        self.right = {"label": pd.Series(train.y), **clean}
        self.n_read = int((self.y != self.true).sum())

    def tables(self):
        """Yield name, features, given values and true values of label and concepts."""
        for name, values in self.given.items():
            rows = values.notna()
            yield name, self.X[rows], values[rows], self.right[name][rows]

    def mistakes(self, clf):
        """Return test rows that a model gets wrong, and their labels."""
        rows = np.flatnonzero(clf.predict(self.test.X) != self.test.y)[:N_MISTAKES]
        return self.test.X[rows], self.test.y[rows]

    def changes(self, lines):
        """Return what a reader of lines (path, row) corrects, as `edit` takes it."""
        found = {name: {} for name in self.right}
        for path, row in lines:
            if self.given[path][row] != self.right[path][row]:
                found[path][row] = self.right[path][row]
        return {"y": found.pop("label"), "concepts": found}

    def corrected(self, changes):
        """Return labels and annotations with these changes."""
        y, concepts = self.y.copy(), self.concepts.copy()
        for row, value in changes["y"].items():
            y[row] = value
        for name, values in changes["concepts"].items():
            concepts.loc[list(values), name] = list(values.values())
        return y, concepts

    def scores(self, clf):
        """Return accuracy and log-loss (nats) on the test part."""
        proba = clf.predict_proba(self.test.X)
        loss = log_loss(self.test.y, proba, labels=clf.classes_)
        return clf.score(self.test.X, self.test.y), loss


def suspicions(draw, explainer, answers):
    """Return a frame of label and annotations: "wrong", and a score of each library."""
    suspects = explainer.suspect_labels(sort_by="probability_wrong")
    suspects = suspects.set_index(["path", "row"])
    parts = {}
    for name, X, given, right in draw.tables():
        classes, codes = np.unique(given.astype(str), return_inverse=True)
        folds = StratifiedKFold(5, shuffle=True, random_state=draw.seed)
        proba = cross_val_predict(PLAIN, X, codes, cv=folds, method="predict_proba")
        own = clone(PLAIN).fit(X, codes).predict_proba(X)
        found = {"wrong": (given != right).to_numpy()}
        # By rank: probabilities near 1 are all the same number.
        found["skclif"] = -suspects.loc[name, "rank"].loc[given.index].to_numpy()
        found["cleanlab"] = -get_label_quality_scores(codes, proba)
        found["captum"] = answers[f"{name}_self"] if answers else np.nan
        found["LogisticRegression"] = -own[np.arange(len(codes)), codes]
        parts[name] = pd.DataFrame(found, index=given.index)
    return pd.concat(parts, names=["path", "row"])


def ask_captum(draw, mistakes):
    """Return what captum says of the linear models, in a process of its own."""
    given = {"C": PLAIN.C}
    for name, X, values, _ in draw.tables():
        classes, codes = np.unique(values.astype(str), return_inverse=True)
        clf = clone(PLAIN).fit(X, codes)
        arrays = {"X": X, "y": codes, "coef": clf.coef_, "intercept": clf.intercept_}
        given |= {f"{name}_{part}": array for part, array in arrays.items()}
        if name == "label":
            given["X_test"] = mistakes[0]
            given["y_test"] = np.searchsorted(classes, mistakes[1].astype(str))
    with tempfile.TemporaryDirectory() as folder:
        problem, answers = Path(folder, "problem.npz"), Path(folder, "answers.npz")
        np.savez(problem, **given)
        program = Path(__file__).with_name("_beside_peers.py")
        python = peers_python(_PEERS, REQUIREMENTS)
        subprocess.run([python, program, problem, answers], check=True)
        return dict(np.load(answers))


# --- Answers --------------------------------------------------------------------------


def which_is_wrong(suspicious):
    """Yield average precision of finding planted errors, a row of the table a list."""
    is_label = suspicious.index.get_level_values("path") == "label"
    for question, rows in [
        ("Which labels are wrong?", is_label),
        ("Which annotations are wrong?", ~is_label),
    ]:
        part = suspicious[rows]
        yield (
            (question, "average precision"),
            {
                name: average_precision_score(part["wrong"], part[name])
                for name in LIBRARIES
                if part[name].notna().all()
            },
        )


def which_row_caused(draw, plain, answers, n_rows):
    """Yield how close influence on losses of mistakes is to retraining, and its time.

    Of the plain model. Retraining itself is what `LogisticRegression` can do.
    """
    X, y = draw.mistakes(plain)
    explainer = ConceptInfluenceExplainer(plain, method="newton").fit(draw.X, draw.y)
    start = time.process_time()
    explainer.influence(X, y)
    seconds = {"skclif": time.process_time() - start}
    found = explainer.validate(
        X, y, n_rows=n_rows, n_paths=0, methods=["newton"], random_state=draw.seed
    )
    agreement = found.agreements["newton", "row"]
    said, real = {"skclif": agreement.estimated}, agreement.retrained
    if answers:
        said["captum"] = answers["influence"][:, found.rows]
        seconds["captum"] = float(answers["seconds"])
    start = time.process_time()
    for row in found.rows[:10]:
        clone(plain).fit(np.delete(draw.X, row, 0), np.delete(draw.y, row))
    one = (time.process_time() - start) / len(found.rows[:10])
    seconds["LogisticRegression"] = one * len(draw.X)
    said["LogisticRegression"] = real
    question = "Which rows caused a mistake?"
    yield (
        (question, "correlation with retraining"),
        {
            name: np.corrcoef(one.ravel(), real.ravel())[0, 1]
            for name, one in said.items()
        },
    )
    yield (
        (question, "relative error"),
        {
            name: np.linalg.norm(one - real) / np.linalg.norm(real)
            for name, one in said.items()
        },
    )
    yield (
        (question, "times skclif's seconds"),
        {name: one / seconds["skclif"] for name, one in seconds.items()},
    )


def through_what(draw, explainer, n_rows):
    """Yield the same of the bottleneck, of whole rows and of single annotations."""
    found = explainer.validate(
        *draw.mistakes(explainer.estimator_),
        n_rows=n_rows,
        n_paths=n_rows,
        methods=["newton"],
        random_state=draw.seed,
    )
    paths = [found.agreements["newton", name] for name in draw.concepts]
    said, real = (
        np.concatenate([getattr(path, side).ravel() for path in paths])
        for side in ("estimated", "retrained")
    )
    measure = "correlation with retraining"
    yield (
        ("And one of a bottleneck?", measure),
        {"skclif": found.agreements["newton", "row"].pearson},
    )
    yield (
        ("Through which annotation?", measure),
        {"skclif": np.corrcoef(said, real)[0, 1]},
    )


def how_good(draw, plain, explainer, suspicious):
    """Yield the scores of both models before and after as many lines are read.

    Of skclif, the plain model gets the labels of its list, and the bottleneck labels
    and annotations.
    """
    models = {"skclif": explainer.estimator_, "LogisticRegression": plain}
    scores = {name: draw.scores(clf) for name, clf in models.items()}
    for i, what in enumerate(["accuracy", "log-loss"]):
        yield (BEFORE, what), {name: pair[i] for name, pair in scores.items()}
    labels = suspicious.loc["label"]
    losses = {}
    for name in LIBRARIES:
        if labels[name].notna().all():
            rows = labels[name].sort_values(ascending=False, kind="stable").index
            changes = draw.changes(("label", row) for row in rows[: draw.n_read])
            y, _ = draw.corrected(changes)
            losses[name] = draw.scores(clone(PLAIN).fit(draw.X, y))[1]
    yield (AFTER, "log-loss of LogisticRegression"), losses
    edited = explainer.edit(**draw.changes(worst(suspicious)[: draw.n_read])).estimator
    yield (
        (AFTER, "log-loss of the bottleneck"),
        {"skclif": draw.scores(edited)[1]},
    )


def without_retraining(draw, explainer, suspicious):
    """Yield how close an edit comes to a new fit, and its share of the seconds."""
    lines = worst(suspicious)
    changes = draw.changes(lines[suspicious.loc[lines, "wrong"]][:10])
    start = time.process_time()
    edited = explainer.edit(**changes).estimator
    seconds = time.process_time() - start
    y, concepts = draw.corrected(changes)
    start = time.process_time()
    retrained = clone(explainer.estimator_).fit(draw.X, y, concepts=concepts)
    share = seconds / (time.process_time() - start)
    proba = [clf.predict_proba(draw.test.X) for clf in (edited, retrained)]
    question = "Ten corrections without retraining?"
    yield (
        (question, "largest error of a probability"),
        {"skclif": np.abs(proba[0] - proba[1]).max()},
    )
    yield (question, "share of retraining's seconds"), {"skclif": share}


def worst(suspicious):
    """Return (path, row) of all lines of skclif's list, the most suspicious first."""
    return suspicious["skclif"].sort_values(ascending=False, kind="stable").index


def measure(task, seed, n_rows, peers):
    """Return answers by question and measure, then library, for one draw."""
    draw = Draw(task, seed)
    plain = clone(PLAIN).fit(draw.X, draw.y)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    explainer.fit(draw.X, draw.y, concepts=draw.concepts)
    answers = ask_captum(draw, draw.mistakes(plain)) if peers else None
    suspicious = suspicions(draw, explainer, answers)
    return dict(
        [
            *which_is_wrong(suspicious),
            *which_row_caused(draw, plain, answers, n_rows),
            *through_what(draw, explainer, n_rows),
            *without_retraining(draw, explainer, suspicious),
            *how_good(draw, plain, explainer, suspicious),
        ]
    )


def table(draws):
    """Return means over draws, a row a question and measure, None without an answer."""
    return [
        [*row]
        + [
            float(np.mean([draw[row][name] for draw in draws]))
            if name in given
            else None
            for name in LIBRARIES
        ]
        for row, given in draws[0].items()
    ]


def main(argv=None):
    parser = BenchmarkParser(
        "beside", __doc__, task="generated", seeds=1, n_rows=6, peers=False
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.set_defaults(task="cebab-masked", n_rows=40, peers=True)
    options = parser.parse_args(argv)
    if options.peers:
        peers_python(_PEERS, REQUIREMENTS)  # now, not after minutes
    torch.set_num_threads(1)
    draws = [
        measure(options.task, seed, options.n_rows, options.peers)
        for seed in range(options.seeds)
    ]
    captum = re.search("captum==(.+)", REQUIREMENTS)[1]
    write_table(
        "beside",
        "What people ask, beside cleanlab, captum and LogisticRegression",
        ["question", "measure", *LIBRARIES],
        table(draws),
        [
            f"Means over {options.seeds} draws of the errors: {RATE:.0%} of labels and "
            "annotations became any other value. '-': it has no answer. cleanlab "
            f"{version('cleanlab')}, captum {captum}.",
            "Wrong values: skclif's suspects; cleanlab's label quality scores, of "
            "probabilities of five folds; captum's self-influence; the probability of "
            "the value by LogisticRegression, on the rows that it was fitted to.",
            f"Mistakes: the first {N_MISTAKES} of LogisticRegression, then of the "
            f"bottleneck, on the test part, and {options.n_rows} training rows, half "
            "of them the most influential. skclif's newton, and captum's exact "
            "NaiveInfluenceFunction with the penalty as its regularisation. Seconds "
            "are of the processor, on one thread, from a fitted model to the influence "
            "of all training rows. Those of LogisticRegression are of fits without "
            "each row, estimated from ten.",
            "A list is read for as many lines as labels are wrong, and what is wrong "
            "in them corrected; for LogisticRegression, lists of labels.",
        ],
        options=options,
    )


if __name__ == "__main__":
    main()
