"""Write the file of this folder with an older skclif, that of commit eb7c8f3.

PYTHONPATH has to name a checkout of that commit:

    PYTHONPATH=CHECKOUT OMP_NUM_THREADS=1 python tests/models/old_models/write.py
"""

import base64
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io

from skclif import ConceptBottleneckClassifier, save_model

FOLDER = Path(__file__).parent
SETTINGS = {
    "sequential": {"C": 2.0, "concept_C": 0.5},
    "independent": {"training": "independent", "class_weight": "balanced"},
}


def main():
    rng = np.random.default_rng(0)
    X = np.round(4 * rng.normal(size=(40, 3))) / 4
    concepts = pd.DataFrame(
        {
            "food": np.where(X[:, 0] > 0, "good", "bad"),
            "price": np.round(2 * X[:, 1] + rng.normal(size=40), 1),
        }
    )
    concepts["food"] = concepts["food"].where(np.arange(40) % 5 > 0, None)
    y = 1 + np.digitize(X[:, 0] + X[:, 1] + rng.normal(size=40), [-0.5, 0.5])
    old = {
        "X": X.tolist(),
        "y": y.tolist(),
        "concepts": {name: values.tolist() for name, values in concepts.items()},
        "models": {},
    }
    for name, settings in SETTINGS.items():
        clf = ConceptBottleneckClassifier(**settings).fit(X, y, concepts=concepts)
        path = FOLDER / "model.safetensors"
        save_model(clf, path)
        forms = {
            "file": path.read_bytes(),
            "pickle": pickle.dumps(clf),
            "skops": skops.io.dumps(clf),
        }
        path.unlink()
        old["models"][name] = {
            **{form: base64.b64encode(data).decode() for form, data in forms.items()},
            "proba": clf.predict_proba(X[:5]).tolist(),
            "corrected": clf.intervene(X[:5], concepts[:5]).tolist(),
        }
    (FOLDER / "models.json").write_text(json.dumps(old, indent=1) + "\n")


if __name__ == "__main__":
    main()
