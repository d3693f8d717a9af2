"""Verdicts claim what the whole interval holds, and nothing else."""

import numpy as np
import pytest

from skclif._results.bootstrap import Estimate
from skclif._results.verdicts import (
    FEWEST,
    Sizes,
    calibrated,
    coarse,
    complete,
    correctable,
    leaking,
    learned,
    past_concepts,
    relied_on,
)

MANY = Sizes(100, 100)
NONE = Estimate(np.nan, np.nan, np.nan)
ABOVE = Estimate(0.08, 0.05, 0.11)
HARDLY = Estimate(0.012, 0.005, 0.018)  # surely above zero, surely too little
NEAR = Estimate(0.0, -0.01, 0.015)
BELOW = Estimate(-0.2, -0.3, -0.1)
WIDE = Estimate(0.03, -0.05, 0.11)
ANSWERS = [
    (ABOVE, "yes"),
    (HARDLY, "no"),
    (NEAR, "no"),
    (BELOW, "no"),
    (WIDE, "cannot tell"),
    (Estimate(0.01, -0.02, 0.05), "cannot tell"),
    (NONE, "cannot tell"),
]


@pytest.mark.parametrize("estimate, answer", ANSWERS)
def test_what_is_measured_in_nats(estimate, answer):
    minus = Estimate(-estimate.value, -estimate.high, -estimate.low)
    found = [
        coarse(estimate, 0.53, 0.58, MANY),
        leaking(estimate if estimate is not BELOW else NEAR, MANY),
        relied_on(estimate, (0.6, 0.5, 0.3), MANY),
        correctable(minus, (0.6, 0.7), 4, MANY),
    ]
    assert [verdict.answer for verdict in found] == [answer] * 4


def test_what_gold_concepts_hold_is_unknown_without_them():
    words = complete(ABOVE, NONE, MANY).words
    assert words.endswith(
        ", and what gold concepts hold is unknown: annotations are missing."
    )
    assert "nan" not in words


def test_nothing_is_said_of_concepts_that_few_rows_have():
    verdict = calibrated({"food": NONE}, {"food": FEWEST - 1})
    assert verdict.answer == "cannot tell"
    assert verdict.words == "Too few annotated rows to tell; 50 are needed."


@pytest.mark.parametrize("estimate, answer", ANSWERS)
def test_what_goes_past_the_concepts(estimate, answer):
    found = past_concepts(estimate, MANY)
    assert (found.name, found.answer) == ("residual", answer)
    few = past_concepts(estimate, Sizes(FEWEST - 1, 10))
    assert few.answer == "cannot tell"
    assert "too few to tell" in few.words
    if estimate is NONE:
        assert found.words.startswith("The bottleneck is not clearly better than")
    if estimate is ABOVE:
        assert found.words == (
            "Of what the bottleneck knows of the label, 8% (5% to 11%) goes past the "
            "concepts. The concepts lack no more than that, and perhaps less: what "
            "they tell of the label can go past them, too."
        )
    if estimate is WIDE:
        assert found.words == (
            "Too close to tell from these rows: of what the bottleneck knows, 3% (-5% "
            "to 11%) goes past the concepts."
        )
    if estimate is NEAR:
        assert found.words.startswith("Hardly: of what the bottleneck knows")


def test_no_number_is_minus_zero():
    tiny = Estimate(-1e-9, -1e-6, 1e-9)
    assert "0% (0% to 0%)" in past_concepts(tiny, MANY).words
    assert leaking(tiny, MANY).words == (
        "No leakage found: 0.000 nats (95 % interval 0.000 to 0.000)."
    )


def test_words_say_what_was_measured():
    assert coarse(ABOVE, 0.53, 0.58, MANY).words == (
        "The concepts are too coarse for this label: gold concepts reach 53.0%, the "
        "black box 58.0%; their log-loss minus its own is 0.080 nats (95 % interval "
        "0.050 to 0.110)."
    )
    assert leaking(NEAR, Sizes(100, 80)).words == (
        "No leakage found: 0.000 nats (95 % interval -0.010 to 0.015) on the 80 of 100 "
        "rows with all annotations."
    )
    verdict = leaking(BELOW, MANY)  # the second model has too much to learn
    assert (verdict.answer, "too few to learn" in verdict.words) == (
        "cannot tell",
        True,
    )
    assert correctable(ABOVE, (0.6, 0.55), 4, MANY).words.startswith("It hurts: with 4")
    assert correctable(NEAR, (0.6, 0.6), 4, MANY).words.startswith("It hardly helps")
    # Surely a loss, but too little to act on.
    assert correctable(HARDLY, (0.6, 0.6), 4, MANY).words.startswith("It hardly helps")
    assert relied_on(ABOVE, (0.6, 0.5, 0.3), MANY).words.startswith("It does: accuracy")


@pytest.mark.parametrize("n", [0, 1, FEWEST - 1])
def test_few_rows_cannot_tell(n):
    few = Sizes(n, n)
    found = [
        coarse(ABOVE, 0.53, 0.58, Sizes(100, n, "group")),
        leaking(ABOVE, few),
        complete(ABOVE, ABOVE, few),
        relied_on(ABOVE, (0.6, 0.5, 0.3), few),
        correctable(ABOVE, (0.6, 0.5), 4, few),
        learned({"food": ABOVE}, {"food": n}),
        calibrated({"food": NEAR}, {"food": n}),
    ]
    # Of a concept's gain, "cannot tell" or no claim at all for one without rows.
    assert {verdict.answer for verdict in found} == {"cannot tell"}
    words = "annotated in full: too few to tell; 50 are needed."
    assert found[0].words.endswith(
        f"100 held-out groups {'is' if n == 1 else 'are'} {words}"
    )
    assert "too few to tell; 50 are needed" in found[1].words


@pytest.mark.parametrize(
    "held, answer",
    [
        (Estimate(0.97, 0.93, 1.02), "yes"),
        (Estimate(0.8, 0.7, 0.89), "no"),
        (Estimate(0.9, 0.8, 0.95), "cannot tell"),
        (NONE, "cannot tell"),
    ],
)
def test_completeness(held, answer):
    verdict = complete(held, held, MANY)
    assert verdict.answer == answer
    nothing = "nothing to compare with" in verdict.words
    assert nothing == np.isnan(held.value)


def test_concepts_that_are_predicted_no_better_than_guessed_are_named():
    rows = dict.fromkeys("abc", 100)
    assert learned({"a": ABOVE, "b": HARDLY}, rows).answer == "yes"
    verdict = learned({"a": ABOVE, "b": BELOW, "c": WIDE}, rows)
    assert (verdict.answer, "'b' is predicted no better" in verdict.words) == (
        "no",
        True,
    )
    assert verdict.words.endswith(
        "guess. Not clearly of 'c': too few rows, or too little learned."
    )
    verdict = learned({"a": BELOW, "b": BELOW}, rows)
    assert "'a', 'b' are predicted no better" in verdict.words
    verdict = learned({"a": ABOVE, "c": WIDE}, rows)
    assert (verdict.answer, "'c'" in verdict.words) == ("cannot tell", True)


def test_concepts_that_are_too_sure_are_named():
    rows = dict.fromkeys("abc", 100)
    verdict = calibrated({"a": ABOVE, "b": NEAR, "c": BELOW}, rows)
    assert verdict.answer == "no"
    assert verdict.words == (
        "'a' is too sure by 8.0% (5.0% to 11.0%); 'c' is too unsure by 20.0% (10.0% to "
        "30.0%)."
    )
    assert calibrated({"a": NEAR, "b": HARDLY}, rows).answer == "yes"
    assert calibrated({"a": NEAR, "b": WIDE}, rows).answer == "cannot tell"
