"""Who errs: the sources of labels and annotations."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._results.suspect_groups import by_group
from skclif.datasets._annotators import ANNOTATORS, annotated_reviews

N = 300
PEOPLE = np.array(["Ann", "Ben", "Cy"], dtype=object)


@pytest.fixture(scope="module")
def reviews():
    return annotated_reviews(1200, 0)


@pytest.fixture(scope="module")
def of_reviews(reviews):
    model = make_pipeline(TfidfVectorizer(min_df=3), ConceptBottleneckClassifier(C=3))
    explainer = ConceptInfluenceExplainer(model)
    explainer.fit(reviews.data, reviews.target, concepts=reviews.concepts)
    return explainer.suspect_labels(groups=reviews.annotators)


def given():
    """Return features, labels, and two concepts of which Cy's are often wrong."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 4))
    concepts = pd.DataFrame(np.where(X[:, :2] > 0, "yes", "no"), columns=["a", "b"])
    who = PEOPLE[rng.integers(0, 3, N)]
    wrong = (who == "Cy") & (rng.random(N) < 0.3)
    concepts.loc[wrong, "a"] = np.where(concepts.loc[wrong, "a"] == "yes", "no", "yes")
    concepts.loc[:9, "b"] = None
    y = (X[:, :2].sum(axis=1) > 0).astype(int)
    return X, y, concepts, who, wrong


@pytest.fixture(scope="module")
def explainer():
    X, y, concepts, *_ = given()
    explainer = ConceptInfluenceExplainer(ConceptBottleneckClassifier())
    return explainer.fit(X, y, concepts=concepts)


def test_each_line_says_whose_value_it_is(of_reviews, reviews):
    assert (of_reviews["group"] == reviews.annotators[of_reviews["row"]]).all()
    assert of_reviews.columns[-2:].tolist() == ["group", "text"]


def test_annotators_who_err_are_named(of_reviews, reviews):
    """One calls waits Positive; two misread an idiom of praise for the food."""
    table = of_reviews.by_group(paths=True)
    assert len(table) == 5 * 5
    first = table.iloc[:3]
    assert set(zip(first["group"], first["path"], strict=True)) == {
        (ANNOTATORS[0], "service"),
        (ANNOTATORS[1], "food"),
        (ANNOTATORS[2], "food"),
    }
    confusion = first.set_index("path")[["current", "proposed"]]
    assert (confusion.loc["food"] == ["Negative", "Positive"]).all(axis=None)
    assert confusion.loc["service"].tolist() == ["Positive", "Negative"]
    assert (first["low"] > first["share_others"]).all()
    wrong = reviews.concepts.notna() & (reviews.concepts != reviews.clean_concepts)
    for line in first.itertuples():
        is_own = reviews.annotators == line.group
        planted = int(wrong.loc[is_own, line.path].sum())
        assert planted > 5
        assert line.expected_wrong == pytest.approx(planted, rel=0.5)
    said = repr(of_reviews)
    assert (
        "By group, more often wrong than the others: annotator 1 in service (" in said
    )
    assert said.count(", others ") == 3
    assert "How often each group is expected to be wrong" in of_reviews._repr_html_()


def test_numbers_of_groups_are_those_of_their_lines():
    """Shares, and the others at the same mix of paths, from the definition."""
    rng = np.random.default_rng(1)
    lines = pd.DataFrame(
        {
            "group": rng.choice(["x", "y", "z", None], 200, p=[0.5, 0.2, 0.2, 0.1]),
            "path": rng.choice(["easy", "hard"], 200),
            "current": "no",
            "proposed": "yes",
            "probability_wrong": rng.random(200),
        }
    )
    lines["probability_proposed"] = lines["probability_wrong"] / 2
    table = by_group(lines).set_index("group")
    more = table["n_values"] * (table["share"] - table["share_others"])
    assert more.is_monotonic_decreasing
    own = lines[lines["group"] == "x"]
    assert table.loc["x", "n_values"] == len(own)
    assert table.loc["x", "expected_wrong"] == pytest.approx(
        own["probability_wrong"].sum()
    )
    others = lines[lines["group"].isin(["y", "z"])]
    rates = others.groupby("path")["probability_wrong"].mean()
    expected = rates[own["path"]].mean()
    assert table.loc["x", "share_others"] == pytest.approx(expected)
    share = own["probability_wrong"].mean()
    assert table.loc["x", "share"] == pytest.approx(share)
    assert table.loc["x", "ratio"] == pytest.approx(share / expected)
    paths = by_group(lines, paths=True).set_index(["group", "path"])
    assert paths.loc[("x", "hard"), "share_others"] == pytest.approx(rates["hard"])
    assert paths.loc[("x", "hard"), "proposed"] == "yes"


def test_an_interval_is_that_of_a_counted_share():
    from scipy.stats import binomtest

    lines = {"group": "x", "path": "a", "probability_wrong": np.repeat([1.0, 0.0], 20)}
    (line,) = by_group(pd.DataFrame(lines)).to_dict("records")
    expected = binomtest(20, 40).proportion_ci(method="wilson")
    assert (line["low"], line["high"]) == pytest.approx((expected.low, expected.high))
    assert np.isnan(line["ratio"]) and np.isnan(line["share_others"])


def test_sources_of_each_path(explainer):
    """A table has the sources of some paths; others have one source."""
    *_, who, wrong = given()
    table = pd.DataFrame({"a": who, "b": np.where(np.arange(N) < 10, None, "Di")})
    found = explainer.suspect_labels(groups=table)
    whole = explainer.suspect_labels(groups=who)
    for path, expected in (("a", whole), ("label", explainer.suspect_labels())):
        lines = [f[f["path"] == path].set_index("row") for f in (found, expected)]
        np.testing.assert_allclose(
            *(one["probability_wrong"].sort_index() for one in lines)
        )
    assert found[found["path"] == "label"]["group"].isna().all()
    assert set(found[found["path"] == "b"]["group"]) == {"Di"}
    again = explainer.suspect_labels(groups=pl.DataFrame(table))
    pd.testing.assert_frame_equal(found, again)
    worst = found.by_group().iloc[0]
    assert worst["group"] == "Cy"
    assert worst["expected_wrong"] == pytest.approx(wrong.sum(), rel=0.4)


def test_suggestions_know_sources_of_each_path(explainer):
    X, y, concepts, who, _ = given()
    rng = np.random.default_rng(3)
    Z = rng.normal(size=(60, 4))
    labels = (Z[:, :2].sum(axis=1) > 0).astype(int)
    options = {"kinds": ["annotate"], "random_state": 0}
    one = explainer.suggest_edits(Z, labels, groups=who, **options).to_frame()
    table = pd.DataFrame({"label": who, "a": who, "b": who})
    other = explainer.suggest_edits(Z, labels, groups=table, **options).to_frame()
    pd.testing.assert_frame_equal(one, other)


def test_nobody_stands_out_where_all_err_alike(explainer):
    rng = np.random.default_rng(4)
    found = explainer.suspect_labels(groups=rng.integers(0, 2, N))
    assert "By group: none clearly errs more often than the others." in repr(found)
    alone = explainer.suspect_labels(groups=["Ann"] * N)
    assert "By group: none clearly errs" in repr(alone)


@pytest.mark.parametrize(
    ("groups", "match"),
    [
        (
            {"a": PEOPLE[[0] * N], "c": 1},
            "groups has the column 'c', .* paths: 'label', 'a', 'b'",
        ),
        ({"a": ["x"], "b": ["y"]}, f"groups has 1 rows, but there are {N} training"),
        (
            {"b": ["Di"] * 10 + [None] * (N - 10)},
            f"no value for 'b' in training row 10, .*{N - 10} of {N - 10} such values",
        ),
    ],
)
def test_tables_of_groups_that_are_refused(explainer, groups, match):
    with pytest.raises(ValueError, match=match):
        explainer.suspect_labels(groups=pd.DataFrame(groups))


def test_without_groups_nobody_can_be_named(explainer):
    found = explainer.suspect_labels()
    assert "group" not in found
    with pytest.raises(
        ValueError, match="call suspect_labels with groups, such as the"
    ):
        found.by_group()
