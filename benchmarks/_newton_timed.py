"""Print seconds of newton at any commit, for `newton_speed`.

python _newton_timed.py all PROBLEM C PATHS ANSWER
python _newton_timed.py top PROBLEM C
"""

import json
import pickle
import sys
import time
from pathlib import Path

import numpy as np
import torch

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

N_TOP = 50


def fitted(X, y, concepts, C, training):
    """Return a fitted explainer that has its Hessians."""
    clf = ConceptBottleneckClassifier(C=C, concept_C=C, training=training)
    explainer = ConceptInfluenceExplainer(clf, method="first_order")
    return explainer.fit(X, y, concepts=concepts)


def timed(function):
    """Return a result, and the seconds of processor time that it took."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def all_rows(problem, C, paths, answer):
    """Return seconds of newton for all rows; the answer goes to a file."""
    X, y, concepts, X_test, y_test = pickle.loads(Path(problem).read_bytes())
    explainer = fitted(X, y, concepts, float(C), "sequential")
    explainer.influence(X_test[:2], y_test[:2])
    explainer.set_params(method="newton")
    asked = {"paths": True, "reduce": "mean"} if int(paths) else {}
    result, seconds = timed(lambda: explainer.influence(X_test, y_test, **asked))
    np.save(answer, result.values)
    return {"newton": seconds}


def top_rows(problem, C):
    """Return seconds of newton for the top rows of a mean, and of first order."""
    X, y, concepts, X_test, y_test = pickle.loads(Path(problem).read_bytes())
    explainer = fitted(X, y, concepts, float(C), "mixed")
    from skclif._explain.requests import class_codes
    from skclif.numerics.targets import LabelTarget

    solved = explainer._solved_model()
    codes = torch.from_numpy(class_codes(explainer.classes_, X_test, y_test))
    shares = np.full((1, len(codes)), 1 / len(codes))
    targets, mean = (
        solved.questions(X_test, lambda block: LabelTarget("loss", codes[block]), of)
        for of in (None, shares)
    )

    def ask(method, questions, rows=None):
        blocks = solved.blocks(method, questions, paths=False, rows=rows)
        return [part.sum(axis=2) for _, _, part in blocks]

    ask("first_order", mean)
    seconds = {}
    _, seconds["targets"] = timed(lambda: ask("first_order", targets))
    found, seconds["mean"] = timed(lambda: ask("first_order", mean))
    total = np.concatenate(found, axis=1)[0]
    top = np.sort(np.argsort(-np.abs(total), kind="stable")[:N_TOP])
    _, seconds["newton"] = timed(lambda: ask("newton", mean, top))
    return seconds


def main(what, *arguments):
    torch.set_num_threads(1)
    found = {"all": all_rows, "top": top_rows}[what](*arguments)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
