"""Long fits say how far they are, and nothing unless asked."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from skclif import ConceptBottleneckClassifier, InfluenceReweighter, load_model
from skclif import save_model as save
from skclif.exceptions import PenaltyWarning, ReweightingWarning

from ..data import make_concept_data

X, Y, CONCEPTS = make_concept_data(60)
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind.__module__}.{kind.__name__}")
    for kind in (PenaltyWarning, ReweightingWarning)
]


def test_a_fit_counts_newton_steps_and_penalties(bars, capfd):
    clf = ConceptBottleneckClassifier(C="auto", concept_C="auto")
    silent = clone(clf).fit(X, Y, concepts=CONCEPTS)
    assert capfd.readouterr() == ("", "")
    watched = clf.set_params(verbose=1).fit(X, Y, concepts=CONCEPTS)
    found = bars()
    doing = ["Choosing concept_C", "Fitting the concepts"]
    doing += ["Choosing C", "Fitting the label"]
    assert [name for name, *_ in found] == doing
    assert all(total is None for *_, total in found)
    counts = {name: n for name, n, _ in found}
    fits = counts["Fitting the concepts"], counts["Fitting the label"]
    assert max(fits) == watched.n_iter_
    assert 3 <= counts["Choosing C"] <= 17
    np.testing.assert_array_equal(watched.coef_, silent.coef_)


def test_the_file_of_a_model_says_nothing_of_progress(tmp_path):
    paths = [tmp_path / f"{verbose}.safetensors" for verbose in (0, 1)]
    for verbose, path in enumerate(paths):
        clf = ConceptBottleneckClassifier(verbose=verbose)
        save(clf.fit(X, Y, concepts=CONCEPTS), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert load_model(paths[1]).verbose == 0


@pytest.mark.parametrize(
    ("options", "n_trials"), [({}, 7), ({"strength": 1.0, "n_rounds": 2}, 3)]
)
def test_a_reweighter_counts_its_trials(options, n_trials, bars, capfd):
    """Rounds that are not needed are done, too."""
    model = ConceptBottleneckClassifier()
    reweighter = InfluenceReweighter(model, cv=3, random_state=0, **options)
    silent = clone(reweighter).fit(X, Y)
    assert capfd.readouterr() == ("", "")
    watched = reweighter.set_params(verbose=1).fit(X, Y)
    assert bars() == [("Learning weights", n_trials, n_trials)]
    np.testing.assert_array_equal(watched.sample_weight_, silent.sample_weight_)


@pytest.mark.parametrize(
    "model",
    [
        ConceptBottleneckClassifier(),
        InfluenceReweighter(ConceptBottleneckClassifier(), strength=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_models_of_older_versions_are_silent(model):
    model = clone(model).fit(X, Y)
    state = {k: v for k, v in model.__getstate__().items() if k != "verbose"}
    old = type(model).__new__(type(model))
    old.__setstate__(state)
    assert old.verbose == 0
    assert clone(old).verbose == 0
    assert pickle.loads(pickle.dumps(model.set_params(verbose=1))).verbose == 1
