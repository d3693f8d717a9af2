"""What a record says of data and model, and what replay compares with it."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest

from skclif import ConceptBottleneckClassifier
from skclif._audit.fingerprints import model_fingerprint
from skclif._audit.replay import replay_rows
from skclif._audit.revisions import Place, fit, fit_content
from skclif._audit.rows import Reviews
from skclif._audit.trail import AuditTrail

from ..data import make_concept_data

X, LABELS, CONCEPTS = make_concept_data(60)
PARAMETERS = {"C": 2.0}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return rows, and the records of their trail."""
    ids, texts = zip(*((f"id{i}", f"text {i}") for i in range(60)), strict=True)
    rows = Reviews.from_parts(ids, texts, LABELS, CONCEPTS).embedded(np.float32(X))
    place = Place.here("cpu")
    done = fit(rows, PARAMETERS, place)
    content = fit_content(done, rows.take(np.arange(0)), PARAMETERS, place)
    trail = AuditTrail(tmp_path_factory.mktemp("trail") / "trail.jsonl")
    trail.append("fit", content)
    return rows, trail.read()


def test_what_was_recorded_comes_out_again(recorded):
    rows, records = recorded
    assert replay_rows(records, rows).same


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("data", "ids, texts, labels, groups or annotations"),
        ("features", "the vectors of the texts"),
        ("weights", "the weights of the rows"),
        ("model", "the parameters of the model"),
    ],
)
def test_every_part_is_compared(recorded, part, said):
    rows, records = recorded
    records = deepcopy(records)
    records[0]["after"][part] = "0" * 64
    (step,) = replay_rows(records, rows).steps
    assert step.same is False
    assert step.reason.startswith(f"{said} differ")


def test_a_model_of_other_values_is_another_model():
    other = CONCEPTS.replace({"food": {"good": "great"}})
    renamed = CONCEPTS.rename(columns={"food": "meal"})
    found = {
        model_fingerprint(ConceptBottleneckClassifier().fit(X, y, concepts=concepts))
        for y, concepts in [
            (LABELS, CONCEPTS),
            (LABELS, other),
            (LABELS, renamed),
            (pd.Series(LABELS).replace("again", "ever").to_numpy(), CONCEPTS),
        ]
    }
    assert len(found) == 4
