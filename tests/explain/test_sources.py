"""Who errs: the sources of labels and annotations."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from skclif import ConceptBottleneckClassifier, ConceptInfluenceExplainer
from skclif._results.suspect_groups import by_group, worst_in_words
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
    assert (table["low"] <= table["share"]).all()
    assert (table["share"] <= table["high"]).all()
    wrong = reviews.concepts.notna() & (reviews.concepts != reviews.clean_concepts)
    for line in first.itertuples():
        is_own = reviews.annotators == line.group
        given = reviews.concepts[line.path].notna() & is_own
        planted = wrong.loc[given, line.path].mean()
        assert planted > 0.1
        assert line.share == pytest.approx(planted, rel=0.6)
    said = repr(of_reviews)
    assert (
        "By group, more often wrong than the others: annotator 1 in service (" in said
    )
    assert said.count(" in food (") >= 1  # of the two
    assert "How often each group is expected to be wrong" in of_reviews._repr_html_()


def test_groups_are_compared_at_the_same_mix_of_paths():
    """Shares of groups are means over their paths, and so are those of the others."""
    cells = [
        ["x", "easy", 30, 50, 0.1, 0.05, 0.2, 0.02, True, "no", "yes"],
        ["x", "hard", 10, 70, 0.5, 0.3, 0.7, 0.4, False, "yes", "no"],
        ["y", "easy", 50, 30, 0.02, 0.0, 0.1, 0.1, False, "no", "yes"],
        ["y", "hard", 70, 10, 0.4, 0.3, 0.5, 0.5, False, "no", "yes"],
    ]
    table = by_group(cells).set_index("group")
    x = table.loc["x"]
    assert (x["n_values"], x["share"]) == (40, pytest.approx(0.2))
    assert x["share_others"] == pytest.approx((30 * 0.02 + 10 * 0.4) / 40)
    assert x["ratio"] == pytest.approx(x["share"] / x["share_others"])
    # As independent errors add up.
    below, above = np.hypot(30 * 0.05, 10 * 0.2), np.hypot(30 * 0.1, 10 * 0.2)
    assert x["low"] == pytest.approx(0.2 - below / 40)
    assert x["high"] == pytest.approx(0.2 + above / 40)
    assert table.index.tolist() == ["x", "y"]  # who makes more errors than the others
    paths = by_group(cells, paths=True)
    assert paths["path"].tolist() == ["easy", "hard", "easy", "hard"]
    assert paths[["current", "proposed"]].iloc[1].tolist() == ["yes", "no"]
    said = (
        "By group, more often wrong than the others: x in easy (10% of 30, others 2%)."
    )
    assert worst_in_words(cells) == said
    assert worst_in_words([[*c[:8], True, *c[9:]] for c in cells]).endswith(
        "; and 1 more."
    )


def test_a_group_alone_is_compared_with_nobody():
    cells = [["x", "a", 40, 0, 0.1, 0.0, 0.2, np.nan, False, None, None]]
    (line,) = by_group(cells).to_dict("records")
    assert (line["low"], line["high"]) == (0.0, 0.2)
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
    worst = found.by_group(paths=True).iloc[0]
    assert worst["group"] == "Cy"
    assert worst["low"] < wrong[who == "Cy"].mean() < worst["high"]


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
    *_, wrong = given()
    halves = np.zeros(N, dtype=int)
    for rows in (np.flatnonzero(wrong), np.flatnonzero(~wrong)):
        halves[rows[::2]] = 1
    found = explainer.suspect_labels(groups=halves)
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
