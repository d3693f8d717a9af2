"""Memory of influence: not rows x rows, rows x parameters, or rows x targets."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

rng = np.random.default_rng(0)
X = rng.normal(size=(40_000, 60))
concepts = (X[:, :4] + rng.normal(size=(40_000, 4)) > 0).astype(int)
y = (concepts.sum(axis=1) + rng.integers(0, 2, 40_000)) // 2
method = sys.argv[1]
explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier(), method=method)
explainer.fit(X, y, concepts=concepts)
explainer.influence(X[:3], y[:3], top=5)  # whatever a first call keeps

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

Path("/proc/self/clear_refs").write_text("5")  # forget the peak
before = status("VmRSS")
explainer.influence(X[:50], y[:50], paths=True, top=5)
print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
@pytest.mark.parametrize(
    ("method", "most"),
    # One block of rows is about 10. Newton, which "auto" confirms with, moves all rows
    # for some removals at once, in arrays of up to 2**22 numbers: 32 each.
    [
        ("first_order", 50),
        pytest.param("leverage", 50, marks=pytest.mark.full),
        pytest.param("auto", 150, marks=pytest.mark.full),
    ],
)
def test_top_streams_over_training_rows(method, most):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, method],
        capture_output=True,
        text=True,
        check=True,
    )
    growth = int(done.stdout) / 1024
    # In megabytes: rows x rows would be 12,800, rows x parameters 80, the whole answer
    # (50 targets x 40,000 rows x 5 paths) 80.
    assert growth < most


MANY_CLASSES = """
import sklearn
from pathlib import Path
import numpy as np
from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer

rng = np.random.default_rng(0)
X = rng.normal(size=(20_000, 8))
y = (X @ rng.normal(size=(8, 10)) + 9 * rng.normal(size=(20_000, 10))).argmax(axis=1)
explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

with sklearn.config_context(working_memory=0.05):  # no factors
    explainer.fit(X, y)
    explainer.influence(X[:1], y[:1], top=5)
with sklearn.config_context(working_memory=50):
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    explainer.influence(X[:60], y[:60], top=5)
    print(status("VmHWM") - before)
"""


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
def test_without_factors_targets_are_as_many_as_fit():
    done = subprocess.run(
        [sys.executable, "-c", MANY_CLASSES], capture_output=True, text=True, check=True
    )
    growth = int(done.stdout) / 1024
    # In megabytes: scores of all rows for all targets would be 86 in each array.
    assert growth < 150
