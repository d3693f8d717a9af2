"""Print the CPU seconds of one fit of an explainer, at any commit: for `compare`.

python _timed.py N_ROWS N_FEATURES N_CONCEPTS SHARE_WITHOUT_WEIGHT
"""

import sys
import time

import numpy as np
import pandas as pd
import torch  # noqa: F401 - its import is not what is timed

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer


def main(n_rows, n_features, n_concepts, share):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, n_features)).astype(np.float32)
    directions = rng.normal(size=(n_features, n_concepts)) / n_features**0.5
    scores = X @ directions + 0.5 * rng.normal(size=(n_rows, n_concepts))
    values = np.array(["Negative", "unknown", "Positive"], dtype=object)
    concepts = pd.DataFrame(values[np.digitize(scores, [-0.5, 0.5])])
    concepts = concepts.rename(columns="concept {}".format)
    y = np.digitize(scores.sum(axis=1), [-4, -1, 1, 4])
    weights = (rng.random(n_rows) >= share).astype(float)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    start = time.process_time()
    explainer.fit(X, y, weights, concepts=concepts)
    print(time.process_time() - start)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), float(sys.argv[4]))
