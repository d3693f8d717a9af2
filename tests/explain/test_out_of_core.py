"""Features in a memory-mapped file: the same numbers, and the file is not copied."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.frozen import FrozenEstimator

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._inputs import features
from skclif.numerics.stored import StoredFeatures

N_ROWS, N_NEW = 150, 60


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N_ROWS + N_NEW, 4))
    noise = 0.5 * rng.normal(size=(len(X), 2))
    concepts = np.where(X[:, :2] + noise > 0, "yes", "no")
    y = (X[:, 0] + X[:, 1] + 0.5 * rng.normal(size=len(X)) > 0).astype(int)
    return X, y, concepts


@pytest.fixture(scope="module")
def explainers(problem, tmp_path_factory):
    """Return explainers of one model: of rows in memory, and of rows in a file."""
    X, y, concepts = (part[:N_ROWS] for part in problem)
    path = tmp_path_factory.mktemp("rows") / "X.npy"
    np.save(path, X)
    clf = ConceptBottleneckClassifier(tol=1e-9).fit(X, y, concepts=concepts)
    explainer = ConceptInfluenceExplainer(FrozenEstimator(clf))
    in_memory = explainer.fit(X, y, concepts=concepts)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(features, "COPY_AT_MOST", 0)
        explainer = ConceptInfluenceExplainer(FrozenEstimator(clf))
        explainer.fit(np.load(path, mmap_mode="r"), y, concepts=concepts)
    return in_memory, explainer


@pytest.mark.skipif(sys.platform != "linux", reason="reads what is mapped from /proc")
def test_the_file_is_not_copied(explainers):
    stored = explainers[1]._training["features"]
    assert isinstance(stored, StoredFeatures)
    assert _is_in_a_file(stored.values.data_ptr())
    data = explainers[1]._solved_model().data
    assert data.features.values.data_ptr() == stored.values.data_ptr()


def _is_in_a_file(address):
    """Return whether this process has an address from the file of the rows."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, stop = (int(end, 16) for end in line.split()[0].split("-"))
        if start <= address < stop:
            return line.endswith("X.npy")
    return False


def _influence(method, **call):
    def ask(explainer, X, y, concepts):
        explainer = pickle.loads(pickle.dumps(explainer)).set_params(method=method)
        return explainer.influence(X[:8], y[:8], **call).values

    return ask


GROUPS = np.arange(N_ROWS) % 6
CALLS = {
    "newton": _influence("newton", paths=True),
    "leverage": _influence("leverage", paths=True),
    "first order": _influence("first_order", paths=True),
    "sums of paths": _influence("first_order"),
    "top": _influence("auto", top=4),
    "groups": _influence("newton", groups=GROUPS),
    "pairs": _influence("pairwise", groups=GROUPS),
    "means": _influence("auto", reduce="mean", target=("concept", "concept1", "yes")),
    "transform": lambda explainer, X, *_: explainer.transform(X),
    "suspects": lambda explainer, *_: explainer.suspect_labels()["loss"],
    "edits": lambda explainer, *_: explainer.edit(drop=[3]).estimator.estimator.coef_,
    "validate": lambda explainer, X, y, _: (
        explainer.validate(X[:5], y[:5], n_rows=2, n_paths=0, random_state=0)
        .to_frame()["relative_error"]
        .to_numpy()
        .round(4)
    ),
    "suggestions": lambda explainer, X, y, _: explainer.suggest_edits(
        X, y, kinds=["drop"], random_state=0
    ).to_frame()["effect"],
    "report": lambda explainer, X, y, c: explainer.report(
        X, y, c, max_mistakes=2, random_state=0
    ).suspects["probability_wrong"],
    "skops": lambda explainer, X, y, _: (
        _through_skops(explainer).influence(X[:2], y[:2]).values
    ),
}


def _through_skops(explainer):
    dumped = skops.io.dumps(explainer)
    trusted = skops.io.get_untrusted_types(data=dumped)
    return skops.io.loads(dumped, trusted=trusted)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_answers_are_those_of_rows_in_memory(explainers, problem, monkeypatch, call):
    new = [part[N_ROWS:] for part in problem]
    expected, found = (np.asarray(CALLS[call](e, *new), float) for e in explainers)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10 * scale)


def test_fingerprints_of_an_edit_tell_rows_apart(explainers):
    record = explainers[1].edit(drop=[3]).record
    assert record.data_before != record.data_after
    assert record.data_before == explainers[1].edit(drop=[4]).record.data_before
