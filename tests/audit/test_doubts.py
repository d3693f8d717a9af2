"""What is said first of a model that explains little."""

import numpy as np
import pandas as pd
import pytest

from skclif._audit.findings import audit
from skclif._audit.models import fit_models
from skclif._audit.quality import doubts_of, what_was_learned
from skclif._audit.rows import Reviews, check_parts

LABELS = np.array(["bad"] * 20 + ["good"] * 40)


def rows(labels, concepts=None):
    """Return rows with these labels."""
    ids = [f"id{i}" for i in range(len(labels))]
    return Reviews.from_parts(ids, [f"text {i}" for i in ids], labels, concepts)


def predictions(n_right, n=40, loss=0.7):
    """Return held-out rows, half of them bad, of which so many bad ones are right."""
    label = np.array(["bad", "good"] * (n // 2))
    predicted = np.full(n, "good", dtype=object)
    predicted[np.flatnonzero(label == "bad")[:n_right]] = "bad"
    losses = loss + np.random.default_rng(0).normal(0, 0.2, n)
    return pd.DataFrame({"label": label, "predicted": predicted, "loss": losses})


def doubts(found, advice=""):
    return doubts_of(what_was_learned(rows(LABELS), found, {}), advice)


@pytest.mark.parametrize(
    ("found", "match", "is_none"),
    [
        (predictions(0), r"is no better than .* \(50.0% and 50.0% of 40 held", True),
        (predictions(2), r"is not clearly better than always .* means little", False),
        # With so many rows, what is not clear is hardly anything.
        (predictions(1, n=60), r"is not clearly .* Nothing was learned", True),
        (predictions(15), None, False),
        # Too few to say that nothing was learned.
        (predictions(0, n=28), r"is no better .* of 28 .* learned .* means lit", False),
        (predictions(0, n=30), r"is no better .* of 30 .* Nothing was learned", True),
    ],
)
def test_a_model_no_better_than_the_majority_is_called_that(found, match, is_none):
    (learned,) = what_was_learned(rows(LABELS), found, {})
    assert learned.is_none == is_none
    said = doubts_of([learned], "Do this.")
    assert len(said) == (match is not None)
    if match is not None:
        with pytest.raises(ValueError, match=f"The black box {match}"):
            raise ValueError(said[0])
        assert said[0].endswith("Do this.") == is_none


def test_a_clear_gain_in_log_loss_is_enough():
    """Shares of 1/3 and 2/3 have a log-loss of 0.75 on these rows."""
    assert doubts(predictions(2, loss=0.5)) == []


def test_one_held_out_row_says_nothing_clear():
    (said,) = doubts(predictions(0, n=2).head(1))
    assert "(0.0% and 0.0% of 1 held-out texts right)" in said


def test_few_training_rows_are_named_before_anything_is_fitted():
    held_out = rows(["bad", "good"])
    notes = check_parts(rows(LABELS[:49]), held_out)
    assert notes[0].startswith("There are only 49 texts to train on and 2 to evaluate")
    assert "the figures and lists of an audit mean nothing" in notes[0]
    assert not [n for n in check_parts(rows(LABELS[:50]), held_out) if "only" in n]


# --- Each concept ---------------------------------------------------------------------


def concept_predictions(annotated, predicted, p=None):
    """Return held-out rows with a good label, and annotations of two concepts."""
    n = len(annotated)
    table = {"label": ["bad", "good"] * (n // 2)}
    table |= {"predicted": table["label"], "loss": np.full(n, 0.1)}
    table |= {"annotated:c": annotated, "predicted:c": predicted}
    return pd.DataFrame({**table, "p_annotated:c": np.nan if p is None else p})


def learned_of_a_concept(training, found, spreads=None):
    concepts = pd.DataFrame({"c": training}, dtype=object)
    train = rows(["bad", "good"] * (len(training) // 2), concepts)
    _, learned = what_was_learned(train, found, spreads or {})
    return learned


def test_a_concept_that_says_its_most_common_value_is_not_learned():
    true = ["yes", "no", "no", "no"] * 10
    guess = concept_predictions(true, ["no"] * 40, [0.25, 0.75, 0.75, 0.75] * 10)
    learned = learned_of_a_concept(["yes", "no", "no", "no"] * 5, guess)
    assert learned.is_none
    assert (learned.score, learned.score_of_guess) == (0.75, 0.75)
    right = learned_of_a_concept(
        ["yes", "no"] * 10, concept_predictions(true, true, [0.9] * 40)
    )
    assert not right.is_none


def test_a_concept_of_amounts_is_compared_with_its_mean():
    rng = np.random.default_rng(0)
    true = rng.normal(50, 10, 40)
    training = rng.normal(50, 10, 20).tolist()
    near = concept_predictions(true, true + rng.normal(0, 3, 40))
    assert not learned_of_a_concept(training, near, {"c": 10.0}).is_none
    far = concept_predictions(true, rng.normal(50, 10, 40))
    learned = learned_of_a_concept(training, far, {"c": 10.0})
    assert learned.is_none
    said = doubts_of([learned_of_label(), learned])
    assert said[0].startswith("Nothing was learned of 1 concept: 'c' (off by ")
    assert "by the model and by always saying the mean" in said[0]


def learned_of_label():
    return what_was_learned(rows(LABELS), predictions(20, loss=0.1), {})[0]


def test_a_concept_that_no_held_out_row_has_is_not_judged():
    found = concept_predictions([None] * 40, ["no"] * 40)
    assert not learned_of_a_concept(["yes", "no"] * 10, found).is_none


def test_a_value_that_training_lacks_does_not_make_the_others_unlearned():
    true = ["yes", "no", "no", "new"] * 10
    said = ["yes", "no", "no", "no"] * 10
    found = concept_predictions(true, said, [0.9, 0.9, 0.9, 0.0] * 10)
    assert learned_of_a_concept(["yes", "no", "no", "no"] * 5, found).is_clear


# --- What an audit lists then ---------------------------------------------------------


def audit_of(is_rare):
    """Return an audit of labels, one in ten of them rare."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 8))
    labels = np.where(is_rare(X, rng), "remove", "keep")
    concepts = pd.DataFrame({"rude": np.where(X[:, 0] > 0, "yes", "no")})
    ids = [f"id{i}" for i in range(400)]
    reviews = Reviews.from_parts(ids, [f"text {i}" for i in ids], labels, concepts)
    reviews = reviews.embedded(X)
    is_held = np.arange(400) >= 280
    train, held_out = reviews.take(~is_held), reviews.take(is_held)
    models = fit_models(train, C="auto", concept_C="auto")
    return audit(models, train, held_out, advice="Name another model.")


def nowhere(X, rng):
    """Return labels that have nothing to do with the texts."""
    return rng.random(400) < 0.1


def not_where_it_counts(X, rng):
    """Return labels that training teaches, and that held-out texts do not have."""
    learned = X[:, 0] + X[:, 1] + 0.5 * rng.normal(size=400) > 2
    return np.where(np.arange(400) < 280, learned, rng.random(400) < 0.1)


@pytest.mark.parametrize("is_rare", [nowhere, not_where_it_counts])
def test_rare_labels_are_not_called_wrong_where_nothing_was_learned(is_rare):
    found = audit_of(is_rare)
    assert found.nothing_learned == ("label",)
    assert "label" not in set(found.suspects["path"])
    assert "relabel" not in set(found.suggestions["kind"])
    assert "nothing was learned of the labels" in found.warnings[0]
    assert found.warnings[0].endswith("Name another model.")
    assert len(found.suspects) == (found.suspects["path"] == "rude").sum()
