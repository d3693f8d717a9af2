"""What a curve of interventions says about its rows."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from skclif.metrics import InterventionCurve


def _curve(n_samples=8, n_steps=4, weight=None, seed=0, **changes):
    rng = np.random.default_rng(seed)
    fields = {
        "n_corrected": np.arange(n_steps),
        "losses": rng.exponential(size=(n_steps, n_samples)),
        "correct": rng.integers(2, size=(n_steps, n_samples)).astype(float),
        "sample_weight": np.ones(n_samples) if weight is None else np.array(weight),
        "n_known": np.full(n_samples, n_steps - 1),
        "order": "random",
        "n_repeats": 10,
    }
    return InterventionCurve(**{**fields, **changes})


def test_scores_are_weighted_means_over_rows():
    weight = [1.0, 2.0, 0.0, 3.0]
    curve = _curve(4, weight=weight)
    for step in range(4):
        loss = sum(w * v for w, v in zip(weight, curve.losses[step], strict=True)) / 6
        right = sum(w * v for w, v in zip(weight, curve.correct[step], strict=True)) / 6
        assert curve.log_loss[step] == pytest.approx(loss)
        assert curve.accuracy[step] == pytest.approx(right)


@pytest.mark.parametrize("score", ["log_loss", "accuracy"])
@pytest.mark.parametrize("since", ["previous", "start"])
def test_intervals_are_those_of_a_paired_t_test(score, since):
    curve = _curve(20)
    found = curve.changes(score, since=since)
    assert found.columns.tolist() == ["n_corrected", "change", "low", "high"]
    assert found["n_corrected"].tolist() == [1, 2, 3]
    values = curve.rows(score)
    for step in (1, 2, 3):
        before = values[step - 1 if since == "previous" else 0]
        test = stats.ttest_rel(values[step], before)
        low, high = test.confidence_interval(0.95)
        line = found.iloc[step - 1]
        assert line["change"] == pytest.approx((values[step] - before).mean())
        assert (line["low"], line["high"]) == pytest.approx((low, high))


def test_weighted_intervals_are_what_the_docstring_says():
    weight = np.array([1.0, 2.0, 0.5, 4.0, 1.0])
    curve = _curve(5, weight=weight)
    line = curve.changes().iloc[0]
    change = curve.losses[1] - curve.losses[0]
    mean = sum(weight * change) / sum(weight)
    error = np.sqrt(5 / 4 * sum(weight**2 * (change - mean) ** 2)) / sum(weight)
    # 2.776445: the 97.5 % point of Student's t with 4 degrees of freedom.
    assert line["change"] == pytest.approx(mean)
    assert line["high"] - mean == pytest.approx(2.776445 * error)
    assert mean - line["low"] == pytest.approx(2.776445 * error)


def test_rows_of_weight_0_are_no_rows_and_the_unit_of_weights_does_not_matter():
    full, weight = _curve(6), np.array([1.0, 3.0, 1.0, 2.0, 0.0, 0.0])
    rows = slice(0, 4)
    kept = {"losses": full.losses[:, rows], "correct": full.correct[:, rows]}
    expected = _curve(4, weight=weight[rows], **kept)
    for scale in (1.0, 1e-3):
        found = _curve(6, weight=scale * weight)
        for score in ("log_loss", "accuracy"):
            np.testing.assert_allclose(
                found.changes(score), expected.changes(score), rtol=1e-12
            )


@pytest.mark.parametrize("weight", [[1.0], [0.0, 5.0, 0.0]])
def test_one_row_has_no_interval(weight):
    found = _curve(len(weight), weight=weight).changes()
    assert found[["low", "high"]].isna().all(axis=None)
    assert found["change"].notna().all()


def test_intervals_cover_the_change_of_all_rows():
    everybody = _curve(100_000, 2)
    truth = (everybody.losses[1] - everybody.losses[0]).mean()
    held = 0
    for rows in everybody.losses.T.reshape(1_000, 100, 2):
        ones = {"losses": rows.T, "correct": np.ones((2, 100))}
        line = _curve(100, 2, **ones).changes().iloc[0]
        held += line["low"] <= truth <= line["high"]
    # 950 are expected; fewer than 920 or more than 980 would come up once in 10,000.
    assert 920 <= held <= 980


def test_what_a_curve_shows():
    curve = _curve(3)
    frame = curve.to_frame()
    assert frame.columns.tolist() == ["n_corrected", "accuracy", "log_loss"]
    np.testing.assert_array_equal(frame["log_loss"], curve.log_loss)
    np.testing.assert_array_equal(frame["accuracy"], curve.accuracy)
    ends = (
        f"accuracy {curve.accuracy[0]:.3f} to {curve.accuracy[3]:.3f}, "
        f"log-loss {curve.log_loss[0]:.3f} to {curve.log_loss[3]:.3f}>"
    )
    assert repr(curve) == (
        "<InterventionCurve in order random (mean of 10): 0 to 3 concepts corrected in "
        f"3 rows; {ends}"
    )
    assert repr(_curve(3, order=("food", "price"), n_repeats=1)).startswith(
        "<InterventionCurve in order of names: 0 to 3"
    )
    assert "order influence: 0 to 3 concepts corrected in 1 row;" in repr(
        _curve(1, order="influence", n_repeats=1)
    )
    with pytest.raises(AttributeError, match="cannot assign"):
        curve.order = "influence"


@pytest.mark.parametrize("score", ["loss", None, 3])
def test_unknown_scores(score):
    with pytest.raises(ValueError, match=r"score=.* is not known; use 'log_loss' or"):
        _curve().changes(score)
    with pytest.raises(ValueError, match=r"score=.* is not known; use 'log_loss' or"):
        _curve().rows(score)


def test_unknown_comparisons():
    with pytest.raises(ValueError, match=r"since='now' is not known; use 'previous' o"):
        _curve().changes(since="now")


def test_the_result_loads_before_metrics():
    code = "import skclif._results.interventions"
    subprocess.run([sys.executable, "-c", code], check=True)
