"""What known concepts would change, row by row and for the whole held-out part."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score

from skclif import ConceptBottleneckClassifier
from skclif._audit.corrections import (
    DOUBTFUL,
    LABEL_HEAD,
    MISREAD,
    UNKNOWN,
    GoldModel,
    correct,
    is_misread,
    known_concepts,
    never_annotated,
    spreads_of,
    value_codes,
    what_failed,
)

from .test_findings import _audit, _parts


@pytest.fixture(scope="module")
def parts():
    return _parts()


@pytest.fixture(scope="module")
def found(parts):
    return _audit(*parts)


def test_the_columns_are_those_of_intervening(parts, found):
    train, held_out = parts
    model = ConceptBottleneckClassifier()
    model.fit(train.features, train.labels, concepts=train.concepts)
    table, X = found.predictions, held_out.features
    corrected = model.intervene(X, held_out.concepts)
    says = model.classes_[corrected.argmax(axis=1)]
    assert table["corrected_predicted"].tolist() == says.tolist()
    quality = found.metrics["label"]["corrected"]
    assert quality["accuracy"] == accuracy_score(held_out.labels, says)
    n_misread = 0
    for name in model.concept_names_in_:
        alone = model.intervene(X, held_out.concepts[[name]]).argmax(axis=1)
        for k, line in enumerate(table.to_dict("records")):
            annotated, predicted = line[f"annotated:{name}"], line[f"predicted:{name}"]
            said = line[f"label_if_corrected:{name}"]
            if pd.notna(annotated) and annotated != predicted:
                n_misread += 1
                assert said == model.classes_[alone[k]]
            else:
                assert said is None
    assert n_misread


def test_the_stage_that_failed_is_named_for_every_mistake(found):
    table = found.predictions
    is_mistake = table["label"] != table["predicted"]
    assert (table["failed"].notna() == is_mistake).all()
    assert len(table[table["failed"] == MISREAD])


def test_a_concept_was_misread_if_mending_what_was_misread_mends_the_label(
    parts, found
):
    train, held_out = parts
    model = ConceptBottleneckClassifier()
    model.fit(train.features, train.labels, concepts=train.concepts)
    table = found.predictions
    annotated, predicted = (
        table[[f"{what}:{name}" for name in model.concept_names_in_]]
        .astype(object)
        .set_axis(model.concept_names_in_, axis=1)
        for what in ("annotated", "predicted")
    )
    misread = annotated.notna() & (annotated != predicted)
    mended = model.intervene(held_out.features, annotated.where(misread, None))
    is_right = model.classes_[mended.argmax(axis=1)] == table["label"]
    is_mistake = table["label"] != table["predicted"]
    called = table["failed"] == MISREAD
    assert (called == (is_mistake & is_right)).all()
    assert misread[called].any(axis=1).all()


def test_what_failed():
    classes, labels = np.array(["a", "b", "c"]), np.array(["a"] * 5)
    right, wrong, far = [0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.05, 0.9, 0.05]
    proba = np.array([right, wrong, wrong, wrong, wrong])
    corrected = np.array([far, right, right, wrong, far])
    mended = np.array([far, right, wrong, wrong, far])
    gold = np.array([far, far, far, far, far])
    every = classes, proba, corrected, mended, gold
    failed = what_failed(labels, *every)
    # The third is right with all annotations, but nothing in it was misread.
    assert failed == [None, MISREAD, LABEL_HEAD, LABEL_HEAD, DOUBTFUL]
    assert what_failed(labels, *every, least=0.04)[4] == LABEL_HEAD
    # What nobody read may have been misread; what was mended was misread anyway.
    is_read = np.array([False, False, False, True, False])
    stages = what_failed(labels, *every, is_read=is_read)
    assert stages == [None, MISREAD, UNKNOWN, LABEL_HEAD, UNKNOWN]
    gold[4] = wrong  # annotations alone would not rule the label out
    assert what_failed(labels, *every)[4] == LABEL_HEAD


def test_a_value_that_the_model_does_not_know_is_no_correction(parts):
    train, held_out = parts
    model = ConceptBottleneckClassifier()
    model.fit(train.features, train.labels, concepts=train.concepts)
    name = str(model.concept_names_in_[0])
    concepts = held_out.concepts.astype(object)
    concepts[name] = "never seen"
    known = known_concepts(model, concepts)
    assert known[name].isna().all()
    other = str(model.concept_names_in_[1])
    given = concepts[other].notna().to_numpy()
    assert (known[other].notna().to_numpy() == given).all()
    assert never_annotated(model, concepts) == [name]
    assert never_annotated(model, held_out.concepts) == []
    rows = type(held_out)(*(vars(held_out) | {"concepts": concepts}).values())
    _, _, labels = correct(model, rows, {})
    assert labels[name].isna().all()


def test_gold_concepts_see_annotations_alone(parts):
    train, held_out = parts
    gold = GoldModel.fit(train, 1.0)
    proba = gold.predict_proba(held_out)
    words = held_out.concepts.astype(object).where(held_out.concepts.notna(), "")
    groups = pd.DataFrame(proba).groupby([words[c].map(str).to_numpy() for c in words])
    # Equal annotations give equal probabilities, whatever the text is.
    np.testing.assert_allclose(groups.transform("mean"), proba, atol=1e-12)
    assert proba.sum(axis=1) == pytest.approx(1)
    concepts = held_out.concepts.astype(object)
    concepts.iloc[0] = "never seen"  # like a row without any of the known values
    rows = type(held_out)(*(vars(held_out) | {"concepts": concepts}).values())
    assert np.isfinite(gold.predict_proba(rows)).all()


@pytest.mark.parametrize(("error", "expected"), [(0.5, False), (1.5, True)])
def test_an_amount_is_misread_if_it_is_off_by_more_than_the_spread(error, expected):
    annotated = pd.Series([10.0, None, 10.0], dtype=object)
    predicted = pd.Series([10 + error, 50.0, 10 - error])
    found = is_misread(annotated, predicted, 1.0)
    assert found.tolist() == [expected, False, expected]


def test_amounts_are_known_whatever_they_are(parts):
    train, held_out = parts
    amounts = np.linspace(0, 1, len(train))
    concepts = train.concepts.assign(share=amounts)
    model = ConceptBottleneckClassifier()
    model.fit(train.features, train.labels, concepts=concepts)
    rows = held_out.concepts.assign(share=5.5)
    known = known_concepts(model, rows)
    assert (known["share"] == 5.5).all()
    assert "share" not in value_codes(model, rows)
    train = replace(train, concepts=concepts)
    assert spreads_of(model, train) == {"share": pytest.approx(amounts.std())}


@pytest.mark.parametrize("kept", [0, 1])
def test_what_no_held_out_row_says_is_unknown(parts, found, kept):
    train, held_out = parts
    empty = held_out.concepts.astype(object)
    empty.iloc[:, kept:] = None
    some = _audit(train, replace(held_out, concepts=empty), max_mistakes=1)
    assert list(some.metrics["label"]) == ["model", "black_box", "majority"]
    assert not [c for c in some.predictions if c.startswith(("gold_", "corrected_"))]
    stages = set(some.predictions["failed"].dropna())
    assert UNKNOWN in stages and stages <= {UNKNOWN, MISREAD}
    assert (MISREAD in stages) == bool(kept)
    said = {one["name"]: one["words"] for one in some.bottleneck["verdicts"]}
    assert "gold concepts hold" not in said["completeness"].replace("what gold", "")
    gold = [one for one in some.bottleneck["estimates"] if one["of"] == "gold"]
    assert gold and all(one["value"] is None for one in gold)
    is_row = found.predictions["failed"].notna()
    assert (some.predictions["failed"].notna() == is_row).all()


def test_a_row_with_a_gap_names_no_other_stage(parts, found):
    gaps = parts[1].concepts.isna().any(axis=1).to_numpy()
    failed = found.predictions["failed"]
    assert set(failed[gaps].dropna()) <= {MISREAD, UNKNOWN}
    assert UNKNOWN not in set(failed[~gaps].dropna())
    assert gaps.any() and not gaps.all()
