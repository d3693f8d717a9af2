"""Rows of weight 0 are as good as removed, whatever else is asked for."""

import numpy as np

from skclif import ConceptBottleneckClassifier

from ..data import make_concept_data


def test_a_class_without_weight_does_not_count_for_balance():
    X, y, concepts = make_concept_data(60)
    y = np.where(np.arange(60) < 6, "unweighted", y)
    weights = np.where(y == "unweighted", 0.0, 1.0 + np.arange(60) % 2)
    kept = weights > 0
    clf = ConceptBottleneckClassifier(class_weight="balanced")
    some = clf.fit(X[kept], y[kept], weights[kept], concepts=concepts[kept])
    expected = dict(zip(some.classes_, some.class_weight_, strict=True))
    clf = ConceptBottleneckClassifier(class_weight="balanced")
    clf.fit(X, y, weights, concepts=concepts)
    found = dict(zip(clf.classes_, clf.class_weight_, strict=True))
    assert found == {**expected, "unweighted": 1.0}


def test_annotations_of_rows_without_weight_teach_no_value():
    X, y, concepts = make_concept_data(60)
    name = concepts.columns[0]
    concepts[name] = concepts[name].astype(object)
    concepts.loc[:4, name] = "zebra"
    weights = np.where(np.arange(60) < 5, 0.0, 1.0)
    clf = ConceptBottleneckClassifier().fit(X, y, weights, concepts=concepts)
    assert "zebra" not in clf.concept_classes_[0]
    kept = weights > 0
    some = ConceptBottleneckClassifier()
    some.fit(X[kept], y[kept], concepts=concepts[kept])
    np.testing.assert_allclose(
        clf.predict_proba(X), some.predict_proba(X), rtol=0, atol=1e-7
    )
