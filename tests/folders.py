"""Folders of audits for tests to copy and repair, and what has to come out of that.

An audit takes a second or two, a copy of its folder nothing. `Truth` keeps the rows as
a plain table and retrains on it; it knows nothing of trails, edits or decisions.
"""

import json
import shutil
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from click.testing import CliRunner
from safetensors.numpy import load_file
from sklearn.metrics import accuracy_score, f1_score, log_loss

from skclif import ConceptBottleneckClassifier
from skclif._audit.fingerprints import parameters_of
from skclif._models.files import read_model
from skclif.cli import main
from skclif.datasets import make_concept_reviews

CONCEPTS = ["food", "ambiance", "service", "price"]
COLUMNS = ["--text", "review", "--label", "stars", "--id", "review_id"]
COLUMNS += [part for name in CONCEPTS for part in ("--concept", name)]
OPTIONS = ["--max-mistakes", "2", "--long-text", "mean", "--group", "city", "--quiet"]
_SAID = {
    "food": {"Positive": "tasty", "Negative": "cold"},
    "ambiance": {"Positive": "warm", "Negative": "never"},
    "service": {"Positive": "great", "Negative": "rude"},
}
ODD_TEXTS = [
    "=SUM(soup) was tasty, and never cold",
    "The soup was cold.\nThe waiter was rude.\nNever the warm food!",
    "'Great' food; the \"best\", été comme hiver",
    "-12 degrees in the room, too cold",
    "The wine was warm.\r\n\r\nThe waiter was slow, the room too.",
    "@waiter: slow, slow, slow\tservice",
]


def reviews(n_samples=120, seed=0):
    """Return reviews with labels 1 to 5, four concepts (one of numbers), and groups."""
    found = make_concept_reviews(
        n_samples, label_noise=0.1, missing=0.3, random_state=seed
    )
    table = found.frame.rename(columns={"text": "review", "label": "stars"})
    table["review"] = [
        f"{_words(row)}.\nIt was table {k}, seat {k}, by door {k}. {_words(row)}!"
        for k, row in table.iterrows()
    ]
    table = table.drop(columns="noise")
    table.insert(0, "review_id", [f"007-{i:03d}" for i in range(n_samples)])
    price = np.asarray([1, 2, 3])[
        np.random.RandomState(seed).randint(3, size=n_samples)
    ]
    table["price"] = [str(p) if k % 4 else "" for k, p in enumerate(price)]
    table["city"] = np.array(["Paris", "Lyon", "Nice"])[np.arange(n_samples) % 3]
    for k, text in enumerate(ODD_TEXTS):
        table.loc[7 * k, "review"] = text
    return table


def _words(row):
    """Return a review of few words, from which even the tiny encoder can learn."""
    grade = int(row["stars"] > 2) + int(row["stars"] > 3)
    said = ["the", *[("bad", "slow", "good")[grade]] * 4]
    for name, words in _SAID.items():
        said += [words[row[name]]] * 3 if row[name] in words else []
    return " ".join(said)


@dataclass(frozen=True)
class Audited:
    """A file of reviews, and the folder of its audit."""

    file: Path
    out: Path
    model: str

    def copy(self, place, name="report"):
        """Return a copy of the folder that may be changed."""
        return Path(shutil.copytree(self.out, place / name))


def make_audit(place, model, *more, table=None):
    """Audit reviews in a new folder."""
    file = place / "reviews.csv"
    (reviews() if table is None else table).to_csv(file, index=False)
    out = place / "audited"
    result = run(
        "audit", file, *COLUMNS, *OPTIONS, "--out", out, "--model", model, *more
    )
    assert result.exit_code == 0, result.output
    return Audited(file, out, model)


def run(*arguments, **options):
    """Run the command, letting surprises through."""
    arguments = [str(argument) for argument in arguments]
    return CliRunner().invoke(main, arguments, catch_exceptions=False, **options)


def done(*arguments):
    """Run the command, which has to succeed; return its result."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments):
    """Run the command, which has to refuse in one line; return the line."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def contents(folder):
    """Return the bytes of every file in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def records(folder):
    """Return the records of the trail, as JSON has them."""
    text = (folder / "trail.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n")[:-1]]


def lines(folder, name):
    """Return a table of the report, every cell as it is written."""
    return pd.read_csv(folder / name, dtype=str, keep_default_na=False)


def short_hash(text):
    return sha256(text.encode()).hexdigest()[:16]


def write(path, table):
    """Write lines of decisions; return the file."""
    pd.DataFrame(table).to_csv(path, index=False)
    return path


def bits(estimator):
    """Return every number of a model."""
    arrays = parameters_of(estimator)
    return b"".join(array.tobytes() for array in arrays)


class Truth:
    """The rows of an audit, as they should be after changes.

    Attributes
    ----------
    table : DataFrame
        All reviews by id; None is no annotation.
    train, held_out : list of str
        Ids.
    weights : Series
        Of the rows to train on.
    X : DataFrame
        Vectors by id, as the audit had them.
    """

    def __init__(self, audited):
        self.table = _read(audited.file).set_index("review_id")
        fit = records(audited.out)[-1]
        self.train = [row[0] for row in fit["rows"]]
        self.held_out = [row[0] for row in fit["held_out"]]
        stored = load_file(audited.out / "rows.safetensors")
        self.X = pd.DataFrame(
            np.concatenate([stored["X_train"], stored["X_held_out"]]),
            index=[*self.train, *self.held_out],
        )
        self.weights = pd.Series(1.0, index=self.train)
        self._take_penalties(read_model(audited.out / "model.safetensors").classifier)

    def line(self, kind, id, path, proposed="", **more):
        """Return an accepted line of decisions, with the value that is there."""
        current = self.value(id, path)
        return {
            "decision": "accept",
            "kind": kind,
            "id": id,
            "text_hash": short_hash(self.table.loc[id, "review"]),
            "path": path,
            "current": "" if current is None else current,
            "proposed": proposed,
            **more,
        }

    def value(self, id, path):
        if path == "row":
            return self.weights.get(id)
        return self.table.loc[id, "stars" if path == "label" else path]

    def change(self, kind, id, path, new):
        """Change a row, as a line of decisions says."""
        if kind in ("reweight", "drop"):
            self.weights[id] = float(new or 0)
        elif kind == "relabel":
            self.table.loc[id, "stars"] = int(new)
        else:
            value = None if new == "unannotated" else new
            self.table.at[id, path] = int(value) if path == "price" and value else value

    def forget(self, ids):
        self.train = [i for i in self.train if i not in ids]
        self.held_out = [i for i in self.held_out if i not in ids]
        self.weights = self.weights[self.train]
        self._take_penalties(self.fit(C="auto", concept_C="auto"))

    def _take_penalties(self, model):
        """Keep the penalties of a model, as edits do."""
        names = model.concept_names_in_.tolist()
        concept_C = dict(zip(names, model.concept_C_.tolist(), strict=True))
        self.penalties = {"C": model.C_, "concept_C": concept_C}

    def fit(self, **parameters):
        """Return a model that is retrained on the rows."""
        parameters = self.penalties | parameters
        rows = self.table.loc[self.train]
        concepts = rows[CONCEPTS].astype(object)
        model = ConceptBottleneckClassifier(**parameters)
        X = self.X.loc[self.train].to_numpy()
        labels = rows["stars"].to_numpy(dtype=np.int64)
        return model.fit(X, labels, self.weights.to_numpy(), concepts=concepts)

    def quality(self, model):
        """Return accuracy, macro F1 and log-loss on the held-out rows."""
        X, true = self.X.loc[self.held_out].to_numpy(), self.table.loc[self.held_out]
        true, proba = true["stars"].to_numpy(dtype=np.int64), model.predict_proba(X)
        predicted = model.classes_[proba.argmax(axis=1)]
        return {
            "accuracy": accuracy_score(true, predicted),
            "macro_f1": f1_score(true, predicted, average="macro", zero_division=0),
            "log_loss": log_loss(true, proba, labels=model.classes_),
        }

    def free(self, n=None, **wanted):
        """Return ids of rows to train on, with some values if asked for."""
        rows = self.table.loc[self.train]
        for name, value in wanted.items():
            is_so = rows[name].isna() if value is None else rows[name] == value
            rows = rows[is_so]
        return rows.index.tolist()[:n]


def _read(file):
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table["stars"] = table["stars"].astype(int)
    for name in CONCEPTS:
        values = [None if value == "" else value for value in table[name]]
        if name == "price":
            values = [None if value is None else int(value) for value in values]
        table[name] = pd.Series(values, dtype=object)
    return table
