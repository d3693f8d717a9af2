"""Write the files of this folder with an older skclif, that of commit eb7c8f3.

PYTHONPATH has to name a checkout of that commit; the modules below are its own:

    PYTHONPATH=CHECKOUT OMP_NUM_THREADS=1 python tests/audit/old_trail/write.py
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from skclif._audit_data import Reviews
from skclif._revisions import Change, Place, edit, fit, fit_content, forget
from skclif._trail import AuditTrail

from skclif.datasets import load_reviews

FOLDER = Path(__file__).parent
FEATURES = ["x0", "x1", "x2", "x3"]
PARAMETERS = {"C": 1.0, "concept_C": 1.0, "training": "sequential"}
WHO = {"by": "audit team", "when": datetime(2026, 1, 2, tzinfo=UTC)}


def write_reviews():
    rng = np.random.default_rng(0)
    X = np.round(4 * rng.normal(size=(40, 4))) / 4
    table = pd.DataFrame(
        {
            "id": [f"r{k}" for k in range(40)],
            "text": [f"Review {k}: été, 寿司" for k in range(40)],
            "label": 1 + np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5]),
            "food": np.where(X[:, 0] > 0, "good", "bad"),
            "price": 1 + (X[:, 1] > 0),
        }
    )
    table["food"] = table["food"].where(np.arange(40) % 5 > 0, "")
    table = table.assign(**dict(zip(FEATURES, X.T, strict=True)))
    table.to_csv(FOLDER / "reviews.csv", index=False)


def main():
    write_reviews()
    file = FOLDER / "reviews.csv"
    found = load_reviews(file, id="id", concepts=["food", "price"])
    X = pd.read_csv(file)[FEATURES].to_numpy(dtype=np.float32)
    rows = Reviews.from_parts(found.ids, found.data, found.target, found.concepts)
    train, place = np.arange(30), Place("cpu", 1)
    held_out = rows.take(np.arange(30, 40))
    trail = AuditTrail(FOLDER / "trail.jsonl")
    trail.path.unlink(missing_ok=True)
    revision = fit(rows.take(train), X[train], np.ones(30), PARAMETERS, place)
    content = fit_content(revision, held_out, PARAMETERS, place, embedder={})
    trail.append("fit", content, **WHO)

    def change(kind, row, path, new):
        old = {"label": rows.labels, "row": np.ones(40)}.get(path)
        old = rows.concepts[path] if old is None else old.tolist()
        text_hash = rows.hashes()[row]
        return Change(kind, f"r{row}", text_hash, path, old[row], new)

    edits = [
        [change("relabel", 3, "label", 1), change("annotate", 5, "food", "good")],
        [change("drop", 7, "row", 0.0), change("reweight", 8, "row", 2.5)],
    ]
    for changes in edits:
        revision, content = edit(revision, changes, place)
        trail.append("edit", content, why="second reading", **WHO)
    revision, content = forget(revision, ["r3", "r11"], PARAMETERS, place)
    trail.append("forget", {**content, "held_out": []}, **WHO)
    revision, content = edit(revision, [change("annotate", 9, "price", None)], place)
    trail.append("edit", content, **WHO)
    model = revision.model
    parameters = {
        "classes_": model.classes_,
        "concept_names_in_": model.concept_names_in_,
        "concept_classes_": model.concept_classes_,
        "coef_": model.coef_,
        "intercept_": model.intercept_,
        "concept_coef_": model.concept_coef_,
        "concept_intercept_": model.concept_intercept_,
    }
    text = json.dumps(parameters, default=np.ndarray.tolist)
    (FOLDER / "model.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
