"""Long methods of the explainer say how far they are, and nothing unless asked."""

import numpy as np
import pandas as pd
import pytest

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._explain.work import MOST_WORK, Work

from ..data import make_concept_data

N = 60
NEW, LABELS, _ = make_concept_data(60, seed=1)
ROWS = [("Influence by newton", N, N)]
REMOVALS = ["Retraining without rows", "Influence by newton"]
REMOVALS += ["Influence by leverage", "Influence by first order"]


@pytest.fixture(scope="module")
def explainer():
    X, y, concepts = make_concept_data(N)
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    return explainer.fit(X, y, concepts=concepts)


CALLS = {
    "influence": (lambda e: e.influence(NEW, LABELS, paths=True).values, ROWS),
    "influence, first order": (
        lambda e: e.set_params(method="first_order").influence(NEW, LABELS).values,
        [("Influence by first order", N, N)],
    ),
    "validate": (
        lambda e: [
            one.retrained
            for one in e.validate(
                NEW, LABELS, n_rows=6, n_paths=4, random_state=0
            ).agreements.values()
        ],
        [
            ("Influence by leverage", N, N),
            *((doing, 6, 6) for doing in REMOVALS),
            *((doing, 4, 4) for doing in REMOVALS),
        ],
    ),
    "suspect_labels": (
        lambda e: e.suspect_labels(),
        [("Leaving values out", N, N), ("Judging values", 2, 2)],
    ),
    "suggest_edits": (
        lambda e: e.suggest_edits(NEW, LABELS, random_state=0).to_frame(),
        [
            ("Leaving values out", N, N),
            ("Judging values", 2, 2),
            ("Comparing changes", N, N),
            ("Measuring lists", 10, 10),
            ("Following changes", 1, 1),
        ],
    ),
}


@pytest.fixture(params=CALLS)
def call(request):
    return CALLS[request.param]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_methods_are_silent_unless_asked(explainer, call, bars, capfd):
    ask, expected = call
    explainer.set_params(verbose=0, method="auto")
    silent = ask(explainer)
    assert capfd.readouterr() == ("", "")
    explainer.set_params(verbose=1, method="auto")
    watched = ask(explainer)
    assert bars() == expected
    if isinstance(silent, pd.DataFrame):
        pd.testing.assert_frame_equal(watched, silent)
    else:
        np.testing.assert_array_equal(np.hstack(watched), np.hstack(silent))


def test_an_edit_counts_newton_steps(explainer, bars, capfd):
    explainer.set_params(verbose=0)
    silent = explainer.edit(drop=[3])
    assert capfd.readouterr() == ("", "")
    explainer.set_params(verbose=1)
    watched = explainer.edit(drop=[3])
    (_, n_steps, total) = bars()[0]
    counts = {"concepts": 0, "label": 0}
    for head in watched.record.heads:
        stage = "label" if head.head == "label" else "concepts"
        counts[stage] = max(counts[stage], head.n_steps)
    assert (n_steps, total) == (sum(counts.values()), None)
    np.testing.assert_array_equal(watched.estimator.coef_, silent.estimator.coef_)
    assert watched.explainer.verbose == 1


def test_the_rows_that_newton_confirms_have_a_bar(explainer, bars, monkeypatch):
    explainer.set_params(verbose=1, method="auto")
    work = Work(N, newton=MOST_WORK / 4.5, leverage=0.0)
    monkeypatch.setattr(Work, "of", lambda *_, **__: work)
    for top in (2, None):
        explainer.influence(NEW[:1], LABELS[:1], top=top)
    both = [("Influence by leverage", N, N), ("Influence by newton", 4, 4)]
    assert bars() == both + both


def test_an_explainer_of_an_older_version_is_silent(explainer):
    state = {k: v for k, v in explainer.__getstate__().items() if k != "verbose"}
    old = ConceptInfluenceExplainer.__new__(ConceptInfluenceExplainer)
    old.__setstate__(state)
    assert old.verbose == 0
