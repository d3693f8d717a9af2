"""What the benchmark of interventions takes a short cut for."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks.interventions import clustered, reshuffled, trainings, with_label_head
from benchmarks.tasks import load_task
from skclif import ConceptBottleneckClassifier


@pytest.mark.parametrize("name", ["sequential", "mixed, 0.3", "independent"])
def test_another_label_head_is_that_of_another_fit(name):
    train, test = (load_task("generated", part, 4) for part in ("train", "test"))
    params = {**trainings([0.3])[name], "C": 3.0}
    start = ConceptBottleneckClassifier(training="sequential", concept_C=0.5)
    start.fit(train.X, train.y, concepts=train.concepts)
    found = with_label_head(start, train, **params)
    fitted = ConceptBottleneckClassifier(concept_C=0.5, **params)
    fitted.fit(train.X, train.y, concepts=train.concepts)
    np.testing.assert_allclose(
        found.intervene(test.X, test.concepts[["food"]]),
        fitted.intervene(test.X, test.concepts[["food"]]),
        atol=1e-7,
    )
    assert found.C == 3.0
    assert found.get_params() == fitted.get_params()


def test_parts_are_divided_anew_by_groups():
    parts = [load_task("generated", part, 4) for part in ("train", "dev", "test")]
    groups = np.arange(460) // 3
    found = reshuffled(parts, groups, np.random.default_rng(0))
    sizes = [len(part.y) for part, _ in found]
    np.testing.assert_allclose(sizes, [200, 160, 100], atol=2)
    seen = [set(ids) for _, ids in found]
    assert not seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2]
    texts = np.concatenate([part.texts for part in parts])
    for part, ids in found:
        assert all(groups[texts == text][0] in ids for text in part.texts[:20])


def test_intervals_are_of_groups():
    values = np.random.default_rng(0).normal(size=30)
    single = pd.DataFrame({"id": range(30), "change": values})
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert clustered(single)[1:] == pytest.approx(tuple(interval))
    # Copies of a row are no further draws.
    copied = clustered(pd.concat([single] * 4))
    assert copied == pytest.approx(clustered(single))
